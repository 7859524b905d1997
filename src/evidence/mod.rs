//! Askers.
