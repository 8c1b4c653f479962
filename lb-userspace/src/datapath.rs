//! Model → kernel tables. The only module that names aya and `lb_common`.
//!
//! [`Desired`] is the whole wanted state, handed over as a level: the data plane makes the kernel's tables equal to the latest one.

mod attach;
pub mod capture;
pub mod clock;
pub mod counters;
pub mod digest;
mod driver;
pub mod engine;
mod frame;
pub mod hex;
pub mod inspect;
pub mod kernel_check;
mod keyed;
mod live;
pub mod maglev;
pub mod mapped;
pub mod object;
pub mod preview;
pub mod probe;
pub mod question;
pub mod region;
mod rendezvous;
pub mod schedule;
pub mod tables;
pub(crate) mod unlink;

use std::{collections::BTreeMap, net::IpAddr, sync::Arc, time::Duration};

use self::probe::DesiredProbe;
pub use self::{
    frame::{Impossible, LONGEST as LONGEST_FRAME},
    inspect::Inspect,
    question::{Probe, Route},
};
use crate::model::{
    BackendId, BackendName, Disposition, Endpoint, Method, NextHop, PoolName, Rules, ServiceName, Tunnel,
    UdpClass, Weight,
};

/// Version of the kernel tables' layout: a daemon of the same version adopts what it finds.
pub const ABI: u32 = lb_common::ABI_VERSION;

/// Flows of which one is tracked where a service does not track all.
pub const SAMPLE: u32 = lb_common::flow::SAMPLE as u32;

/// The whole wanted state of the data plane.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Desired {
    /// Counts up with each new state; [`Status::revision`] says which one the kernel has.
    pub revision: u64,
    /// Services by name.
    pub services: BTreeMap<ServiceName, DesiredService>,
    /// Pools by name.
    pub pools: BTreeMap<PoolName, DesiredPool>,
    /// Outer sources of tunnels.
    pub tunnel: Tunnel,
    /// ICMP answers a second that the program may make; 0: none.
    pub icmp_rate: u32,
    /// Ways that checks take, with the next hop as it is.
    pub probes: BTreeMap<DesiredProbe, Option<NextHop>>,
}

/// A service as the data plane needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredService {
    /// Its addresses with ports and protocols.
    pub endpoints: Vec<Endpoint>,
    /// Its pool; exists in [`Desired::pools`].
    pub pool: PoolName,
    /// UDP class.
    pub udp_class: UdpClass,
    /// What it does with flows.
    pub rules: Rules,
}

/// A pool as the data plane needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DesiredPool {
    /// Slots of its table; a prime.
    pub slots: u32,
    /// A slot in transition is stable again after so long without a packet to anyone but its new owner: the longest of its services'.
    pub idle: Duration,
    /// After so long a slot leaves transition regardless: the longest of its services'.
    pub drain_timeout: Duration,
    /// The configured backends, except `inactive` ones: the table is built over all of them with their weights, so that it does not
    /// depend on health.
    pub backends: BTreeMap<BackendName, DesiredBackend>,
}

/// A backend as the data plane needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DesiredBackend {
    /// Its address: with pool and name its identity.
    pub address: IpAddr,
    /// Weight (configured or overridden). 0 takes no new connections.
    pub weight: Weight,
    /// What to do with it.
    pub disposition: Disposition,
    /// Where its frames go. `None` for one that is down or out drops them with a reason; for one that serves or drains it keeps the
    /// kernel's record as it is, as after a restart, before its way is known anew.
    pub next_hop: Option<NextHop>,
    /// How packets reach it.
    pub method: Method,
    /// Destination port of GUE; means something with [`Method::Gue`] only.
    pub gue_port: u16,
    /// Its number in the connection ids of QUIC.
    pub server_id: Option<u16>,
}

/// What the kernel has. Published on a watch channel after each change and at least once a second.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct Status {
    /// [`Desired::revision`] of the state the tables are equal to.
    pub revision: u64,
    /// Pools by name.
    pub pools: BTreeMap<PoolName, PoolStatus>,
    /// Interfaces the program is attached to.
    pub attachments: Vec<Attachment>,
    /// Table entries that differed from what was written and were repaired, since the start.
    pub drift_repaired: u64,
    /// Flows pinned while their slots change hands.
    pub pins: Fill,
    /// Flows tracked one by one, and those of the sample.
    pub flows: Fill,
    /// So many flows are pinned that nothing new is: new connections of slots in transition stay with the slot's earlier owner.
    pub frozen: bool,
    /// Counts up with each reading of the counters in [`BackendStatus::count`], about once a second.
    pub sample: u64,
    /// The last thing that could not be written, for people.
    pub problem: Option<String>,
    /// Why checks do not take the way of clients' packets, or some do not, though they should.
    pub check_path_problem: Option<String>,
}

/// How full a table is, as of the latest sweep.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Fill {
    /// Entries in use.
    pub used: u64,
    /// Entries there.
    pub limit: u64,
}

/// A pool's table.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize)]
pub struct PoolStatus {
    /// Digest of (secret, configured set, weights, serving set) → slots: equal on balancers that agree. 16 hex digits.
    pub digest: String,
    /// Slots of the table.
    pub slots: u32,
    /// Slots in transition.
    pub in_transition: u32,
    /// Per backend, also those removed from the configuration but still draining.
    pub backends: BTreeMap<BackendName, BackendStatus>,
}

/// A backend's part of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct BackendStatus {
    /// Slots whose new connections it gets.
    pub slots: u32,
    /// Slots in transition whose old connections it keeps.
    pub draining_slots: u32,
    /// Flows pinned to it.
    pub pins: u32,
    /// Its connections.
    pub connections: Connections,
    /// Its counters, as of the latest reading.
    pub count: Count,
    /// Seconds since the last packet went to it, at a resolution of a second; `None` before the first.
    pub quiet_for: Option<u64>,
}

/// Connections of a backend, as `ipvsadm` counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Connections {
    /// Established: something came after the first packet, and no FIN or RST yet.
    pub active: u64,
    /// All others that are known: opening or closing.
    pub inactive: u64,
    /// Every flow was counted. Otherwise this is an estimate, from one flow in 64.
    pub exact: bool,
}

/// The program on an interface.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Attachment {
    /// Interface name.
    pub interface: String,
    /// `native` or `generic`.
    pub mode: &'static str,
    /// Kernel driver, `veth` or `ixgbe`.
    pub driver: String,
    /// The program for packets of several buffers: the interface's MTU is above a buffer's size.
    pub frags: bool,
}

/// Counters of a service or a backend, summed over CPUs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Count {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded.
    pub bytes: u64,
    /// TCP connection attempts.
    pub syns: u64,
    /// TCP packets with FIN or RST.
    pub closes: u64,
    /// Those of them with RST.
    pub resets: u64,
    /// Connection attempts that were repeated because nothing answered, of the flows that are tracked; backends only.
    pub retransmits: u64,
}

impl std::ops::AddAssign for Count {
    fn add_assign(&mut self, other: Self) {
        let Self { packets, bytes, syns, closes, resets, retransmits } = other;
        self.packets += packets;
        self.bytes += bytes;
        self.syns += syns;
        self.closes += closes;
        self.resets += resets;
        self.retransmits += retransmits;
    }
}

/// All counters of one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Counters {
    /// Per service.
    pub services: BTreeMap<ServiceName, Count>,
    /// Per backend.
    pub backends: Vec<(BackendId, Count)>,
    /// Packets per reason's label, with its verdict (`pass`, `drop` or `answer`) and its sentence.
    pub reasons: Vec<ReasonCount>,
    /// Events in slots in transition, by label.
    pub pins: Vec<(&'static str, u64)>,
    /// Packets of checks on the way of clients' packets, by label.
    pub probes: Vec<(&'static str, u64)>,
}

/// Packets that left the walk early for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct ReasonCount {
    /// Metric label.
    pub reason: &'static str,
    /// `pass`, `drop` or `answer`.
    pub verdict: &'static str,
    /// One sentence.
    pub describe: &'static str,
    /// How many.
    pub packets: u64,
}

/// What the rest of the daemon asks of the data plane at any time, from any thread. Reads never wait for a rebuild.
pub trait Reader: Inspect {
    /// All counters, read from the per-CPU maps now.
    fn counters(&self) -> Result<Counters, Error>;
    /// Runs the live program's dry-run twin on a frame.
    fn route(&self, probe: &Probe) -> Result<Route, Error>;
    /// The latest status.
    fn status(&self) -> Arc<Status>;
}

/// What can go wrong with the kernel.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A packet that cannot be.
    #[error(transparent)]
    Probe(frame::Impossible),
    /// A step of loading, attaching, reading or writing failed: the step and its object, what to do about it where that is known, and
    /// all that aya and the kernel said.
    #[error("{0}")]
    Kernel(String),
    /// A table is full.
    #[error(
        "{table} is full: {need} wanted, {have} there. Raise `limits.{limit}`; tables keep their size until `lbctl shutdown --detach` and a new start"
    )]
    Full {
        /// Table.
        table: &'static str,
        /// Wanted entries.
        need: u64,
        /// Entries there.
        have: u64,
        /// Config key.
        limit: &'static str,
    },
}

fn kernel(what: String, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    let source = source.into();
    let mut text = what;
    text.push_str(": ");
    text.push_str(&source.to_string());
    let mut next = source.source();
    while let Some(cause) = next {
        let said = cause.to_string();
        // Some errors repeat what they wrap.
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        next = cause.source();
    }
    Error::Kernel(text)
}
