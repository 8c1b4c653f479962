//! The JSON of `/api/v1`, the same for both sides. Keys are only ever added; times are seconds since 1970, durations seconds.

mod alert;
mod backend;
mod capture;
mod check;
mod command;
mod config;
mod drops;
mod flow;
mod kernel;
mod outlier;
mod overrides;
mod pool;
mod route;
mod service;
mod status;
mod table;
mod top;
mod traffic;

pub use self::{
    alert::{Alert, Severity},
    backend::{Backend, Backends, Leaving, NextHop, Share},
    capture::{CaptureBatch, CaptureId, CaptureSample, CaptureStarted, CaptureWish},
    check::{Check, CheckResult, CheckRun, CheckRuns},
    command::{Done, ErrorBody, Outcomes, Shutdown},
    config::{Candidate, CandidateFile, ReloadReport},
    drops::{Drop, Drops, PinCount},
    flow::{AGES, Ages, FlowKind, FlowReport, Known, Remembered, RememberedOf, TableUse},
    kernel::{Kernel, KernelFeature},
    outlier::{Finding, LoweredWeight, Measured, Outlier, Rates, Standing},
    overrides::{OverrideInfo, OverrideRow},
    pool::{Pool, PoolSummary, Table},
    route::WhereQuery,
    service::{List, Service},
    status::{Attachment, ConfigState, DatapathState, Status},
    table::{Difference, NOBODY, Owners, TableQuery, TableReport, TableShare, Tables},
    top::{Top, TopBackend, TopService},
    traffic::Traffic,
};
pub use crate::{
    coordinator::{
        command::{Change, Command, Outcome, Refusal, Selector},
        snapshot::Override,
    },
    datapath::{Connections, Fill, Route},
    model::{Combine, Disposition, Method, Net, Pooled, Ports, Protocol, Protocols, Scheduler, UdpClass},
    outliers::Measure,
};
