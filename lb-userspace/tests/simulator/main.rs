//! Thousands of connections over half an hour of changes, through the real tables and the real bytecode: no established connection may
//! reach another backend than the one that knows it.
//!
//! | module | holds |
//! |---|---|
//! | `balancer` | a loaded program with tables; one packet through it; time |
//! | `flows` | connections: when they begin, speak and end, and who owns them |
//! | `stories` | what happens to pools and balancers meanwhile |
//!
//! Time is made to pass by ageing what the tables say was used when: the program's clock is the kernel's. Loading a program needs root;
//! without it the tests say so and do nothing.

mod balancer;
mod flows;
mod stories;
