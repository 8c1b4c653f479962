//! Packets through the real bytecode (`BPF_PROG_TEST_RUN`), with the real tables written by the daemon's own code.
//!
//! | module | holds |
//! |---|---|
//! | `frame` | frames built by somebody else's code (etherparse), and the byte edits that no builder offers |
//! | `model` | what must become of a frame, written from the specification without the product's parser |
//! | `world` | a loaded object with tables, and one packet through it, watched from all sides |
//! | `verdicts` | one named case for each thing a frame can be |
//! | `probe` | checks on the way of clients' packets |
//! | `random` | random frames against random sites |
//! | `truncation` | every header cut at every byte |
//! | `transitions` | slots that change owner: bases, pins, and how they end |
//!
//! Loading a program needs root; without it the tests say so and do nothing.

mod counts;
mod echo;
mod fragments;
mod frame;
mod icmp;
mod icmp_errors;
mod model;
mod probe;
mod random;
mod site;
mod too_big;
mod transitions;
mod truncation;
mod tunnels;
mod verdicts;
mod view;
mod world;
