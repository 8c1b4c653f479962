//! Packets through the real bytecode (`BPF_PROG_TEST_RUN`), with the real tables written by the daemon's own code.
//!
//! | module | holds |
//! |---|---|
//! | `frame`, `icmp` | frames built by somebody else's code (etherparse), and the byte edits that no builder offers |
//! | `site` | pools and services |
//! | `model` | what must become of a frame, written from the specification without the product's parser; it remembers flows itself |
//! | `view` | what the model may look at |
//! | `clock` | time that only the test moves |
//! | `shelf` | loaded objects, handed from test to test |
//! | `world`, `counts` | a loaded object with tables, and one packet through it, watched from all sides |
//! | `verdicts` | one named case for each thing a frame can be |
//! | `truncation` | every header cut at every byte |
//! | `tunnels`, `too_big` | backends behind tunnels; packets that are too long |
//! | `echo`, `icmp_errors`, `fragments` | what has no port |
//! | `shapes`, `rules`, `quic` | prefixes and ranges; lists, hash fields, turns, sources, tracking; connection ids |
//! | `transitions`, `flood` | slots that change owner: bases, pins, and how they end; more flows than fit |
//! | `random` | random frames against random sites |
//! | `probe` | checks on the way of clients' packets |
//!
//! Loading a program needs root; without it the tests say so and do nothing.

mod clock;
mod counts;
mod echo;
mod flood;
mod fragments;
mod frame;
mod icmp;
mod icmp_errors;
mod model;
mod probe;
mod quic;
mod random;
mod rules;
mod shapes;
mod shelf;
mod site;
mod too_big;
mod transitions;
mod truncation;
mod tunnels;
mod verdicts;
mod view;
mod world;
