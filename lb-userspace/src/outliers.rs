//! Backends that work, but stand out from their pool. Pure: counters in, findings out, `now` is an argument.
//!
//! The oldest lesson of this field: a host that refuses to work attracts connections. It answers its checks, ends what it gets at once, and so
//! has the fewest connections of all. Here the backends of a pool are compared with each other over a sliding minute. What is judged is
//! only what a balancer that sees the clients' packets alone can see: a backend's own packets, its resets among them, pass it by.
//!
//! | module | is |
//! |---|---|
//! | [`measure`] | what is looked at, and when a value is extreme |
//! | [`statistics`] | median and median deviation: half of the pool may be wrong without moving them |
//! | [`window`] | what one backend did in the last minute |
//! | [`report`] | what is known of a pool, for others to see |
//! | [`watch`] | a pool: observe, judge, wait for it to last |

pub mod measure;
pub mod report;
mod statistics;
pub mod watch;
mod window;

#[cfg(test)]
mod tests;

pub use measure::Measure;
pub use report::{BackendReport, Finding, Rates, Report};
pub use watch::{Change, Seen, Watch};
pub use window::WINDOW;
