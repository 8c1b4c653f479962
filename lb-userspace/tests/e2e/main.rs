//! The real `lbd` and `lbctl` in network namespaces: a client, a switch, a balancer and cache hosts that hold the VIPs and answer the client
//! directly. Every request is a real one. Needs root; without it each test says so and passes.
//!
//! `site` is the network, `server` what runs on a cache host, `client` what asks, `daemon` the programs under test.

mod client;
mod daemon;
mod namespace;
mod server;
mod site;
mod until;

mod changes;
mod detach;
mod drain;
mod health;
mod hostile;
mod jumbo;
mod lookups;
mod production;
mod reload;
mod restart;
mod start;
mod startup_errors;
mod tracked;
