//! JSON over the unix socket: the types, what the daemon must offer, the server, the client.
//!
//! | module | is |
//! |---|---|
//! | [`types`] | the JSON, the same for both sides; keys are stable |
//! | [`sources`] | what the server reads: snapshot, checks, data plane |
//! | [`moment`] | one look at all of them |
//! | [`view`] | a moment → JSON (pure) |
//! | [`control`] | what the server asks the daemon to do |
//! | [`reads`], [`lookups`] | routes that change nothing |
//! | [`writes`], [`captures`] | routes that only the socket has |
//! | [`socket`] | the unix socket: made without a moment of wrong permissions |
//! | [`peer`] | who is on the other end, and whether they may write |
//! | [`serve`] | connections: bounded in number, time and size |
//! | [`client`] | `lbctl`'s end |

pub mod captures;
pub mod client;
pub mod control;
pub mod error;
pub mod lookups;
pub mod moment;
pub mod peer;
pub mod reads;
pub mod serve;
pub mod socket;
pub mod sources;
pub mod types;
pub mod view;
pub mod writes;

#[cfg(test)]
use crate as lb;
#[cfg(test)]
pub(crate) mod fixture;
#[cfg(test)]
mod tests;
