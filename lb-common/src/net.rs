//! Packet headers and the walk through them. Kernel program, unit tests and fuzz target run these same lines.

pub mod csum;
pub mod cursor;
pub mod eth;
pub mod ipv4;
pub mod ipv6;
pub mod l4;
pub mod parse;

/// IP protocol number of TCP.
pub const TCP: u8 = 6;
/// IP protocol number of UDP.
pub const UDP: u8 = 17;
