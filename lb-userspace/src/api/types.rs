//! The JSON of `/api/v1`, the same for both sides. Keys are only ever added; times are seconds since 1970, durations seconds.

mod alert;
mod backend;
mod check;
mod command;
mod config;
mod drops;
mod overrides;
mod pool;
mod route;
mod service;
mod status;
mod traffic;

pub use self::{
    alert::{Alert, Severity},
    backend::{Backend, Backends, Leaving, NextHop, Share},
    check::{Check, CheckResult, CheckRun, CheckRuns},
    command::{Done, ErrorBody, Outcomes, Shutdown},
    config::{Candidate, CandidateFile, ReloadReport},
    drops::{Drop, Drops, PinCount},
    overrides::{OverrideInfo, OverrideRow},
    pool::{Pool, PoolSummary, Table},
    route::WhereQuery,
    service::{List, Service},
    status::{Attachment, ConfigState, DatapathState, Status},
    traffic::Traffic,
};
pub use crate::{
    coordinator::{
        command::{Change, Command, Outcome, Refusal, Selector},
        snapshot::Override,
    },
    datapath::Route,
    model::{Combine, Disposition, Method, Net, Pooled, Ports, Protocol, Protocols, Scheduler, UdpClass},
};
