//! The decapsulator of receiving hosts: packets through its real bytecode, and tunnelled requests answered in real namespaces.
//!
//! | module | holds |
//! |---|---|
//! | `frame` | inner packets built by somebody else's code (etherparse), outer headers written byte by byte |
//! | `world` | the loaded object, and one frame through each of its programs |
//! | `combinations` | every tunnel with every family, byte for byte |
//! | `marks` | congestion marks, every pair |
//! | `refusals` | one named case for each thing that is passed on unchanged |
//! | `truncation` | every header cut at every byte |
//! | `command` | `lbdecap` itself: attach, change, status, detach at every hook |
//! | `kernel_devices` | the script for the kernel's own tunnel devices; end to end where the kernel has them |
//! | `namespaces` | a host that holds a VIP answers what was sent to it through tunnels |
//!
//! Loading a program needs root; without it the tests say so and do nothing.

mod combinations;
mod command;
mod frame;
mod kernel_devices;
mod marks;
#[path = "../e2e/namespace.rs"]
#[expect(dead_code, reason = "the other suite's; not all of it is used here")]
mod namespace;
mod namespaces;
mod refusals;
mod truncation;
mod world;
