//! The sockets against the kernel: two hosts on a segment, each a network namespace. They need root.

mod advert;
mod claims;
mod segment;
