//! `GET /api/v1/flows` and `/api/v1/flow`: what the tables remember of flows.

pub use crate::datapath::inspect::flows::{
    AGES, Ages, FlowReport, Kind as FlowKind, Known, Remembered, RememberedOf, TableUse,
};
