//! The single owner of the state: event → state → effects → snapshot.
//!
//! [`State::apply`](state::State::apply) is pure; this file runs it: wait, decide, act, publish.

pub mod adopted;
pub mod changes;
pub mod command;
mod commands;
pub mod effect;
pub mod event;
mod facts;
mod member;
mod near;
pub mod overrides;
mod pool;
mod reload;
pub mod snapshot;
pub mod state;
pub mod threshold;
mod view;

pub use adopted::{Adopted, AdoptedBackend};
pub use effect::Effect;
pub use event::{Event, Now};
pub use overrides::Overrides;
pub use state::State;
