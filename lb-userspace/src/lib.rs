//! `lbd`, `lbctl` and `lbdecap`. Modules in the order of dependency; each may use what stands above it, siblings never each other.
//!
//! | module | is |
//! |---|---|
//! | [`model`] | the domain: services, pools, backends, checks, states. Pure, everyone may use it |
//! | [`config`] | file → model, all problems at once |
//! | [`health`] | checks → `HealthEvent` |
//! | [`neighbour`] | the kernel's routes and neighbours → `NeighbourEvent` |
//! | [`outliers`] | counters → backends that stand out from their pool. Pure |
//! | [`datapath`] | model → kernel tables. Only here aya and `lb_common` are named |
//! | [`coordinator`] | the one owner of the state: `apply(event, now) -> effects` |
//! | [`api`] | JSON types, server on the unix socket, client |
//! | [`metrics`] | Prometheus, `/livez`, `/readyz`, PyBal's endpoints |
//! | [`cli`] | what `lbctl` prints and asks |
//! | [`daemon`] | wiring |
//! | [`decap`] | `lbdecap`, the other program: what a receiving host runs. It names aya and `lb_common`, too |

pub mod api;
pub mod cli;
pub mod config;
pub mod coordinator;
pub mod daemon;
pub mod datapath;
pub mod decap;
pub mod health;
pub mod metrics;
pub mod model;
pub mod neighbour;
pub mod outliers;
