//! The single owner of the state: event → state → effects → snapshot.
//!
//! [`State::apply`](state) is pure; this file runs it: wait, decide, act, publish.

pub mod command;
pub mod snapshot;
