//! The read-only HTTP port: Prometheus, liveness, PyBal's endpoints, a status page, and the API's reads.
//!
//! Nothing here talks to the coordinator: all of it is read from the published snapshot, the checks' board and the kernel's counters, so it
//! works when the coordinator is stuck, and `/livez` says so.
//!
//! | module | is |
//! |---|---|
//! | [`names`] | every metric's name, type, labels and help, once; `docs/metrics.md` comes from it |
//! | [`collect`] | a moment → samples (pure) |
//! | `connections`, `outliers` | parts of it |
//! | [`process`] | the daemon's own memory, CPU time and files |
//! | [`compat`] | PyBal's metric names, optional |
//! | [`scrape`] | one collection a second, away from the runtime |
//! | [`pybal`] | PyBal's endpoints, byte for byte (pure) |
//! | [`page`] | the status page (pure) |
//! | [`http`] | the routes |

pub mod collect;
pub mod compat;
mod connections;
pub mod http;
pub mod names;
mod outliers;
pub mod page;
pub mod process;
pub mod pybal;
pub mod scrape;

#[cfg(test)]
mod tests;
