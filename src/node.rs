//! One node, pure: inputs in, outputs out.

pub mod status;
