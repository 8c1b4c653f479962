//! What the kernel program and the daemon share: the packet parser and every type, constant and name of the tables.
//!
//! **Byte order:** packet headers and everything copied from a packet (addresses, ports, MACs) are byte arrays in
//! network order; every other number is in the host's order.
//!
//! **ABI:** a map value has no padding and a size that `abi!` pins at compile time. Whoever changes the meaning or
//! layout of one raises [`ABI_VERSION`]: a daemon adopts only tables of its own version.
//!
//! | module | holds |
//! |---|---|
//! | [`net`] | header structs, the cursor, the parser, checksums |
//! | [`hash`] | the keyed flow hash and how slot, bucket and tag come from it |
//! | [`service`] | destination → service and pool |
//! | [`slot`] | pool → range of slots, and the packed slot itself |
//! | [`backend`] | where a frame goes and how |
//! | [`pin`] | flows that must not follow their slot |
//! | [`counter`], [`reason`] | what is counted |
//! | [`probe`] | checks that take the way of clients' packets |
//! | [`knobs`] | constants that the loader sets once |
//! | [`decap`] | what the decapsulator of receiving hosts and its loader share |
//! | [`explain`] | what the dry-run program reports about one frame |
//! | [`harness`] | what the benchmark and its kernel half share |
//! | [`names`] | program and map names |
#![no_std]
#![forbid(unsafe_op_in_unsafe_fn)]
#![warn(missing_docs)]

#[macro_use]
mod abi;
#[macro_use]
mod labelled;

#[cfg(test)]
extern crate std;

pub mod backend;
pub mod counter;
pub mod decap;
pub mod explain;
pub mod flow;
pub mod frame;
pub mod harness;
pub mod hash;
pub mod knobs;
pub mod names;
pub mod net;
pub mod pin;
pub mod probe;
pub mod reason;
pub mod rules;
pub mod service;
pub mod settings;
pub mod shape;
pub mod slot;

pub use abi::ABI_VERSION;
