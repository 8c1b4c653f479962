//! The JSON of `/api/v1`, the same for both sides. Keys are only ever added; times are seconds since 1970, durations seconds.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

pub use crate::{
    coordinator::{
        command::{Change, Command, Outcome, Refusal, Selector},
        snapshot::Override,
    },
    datapath::Route,
    model::{Combine, Disposition, Method, Net, Pooled, Ports, Protocol, Protocols, Scheduler, UdpClass},
};

/// Body of every answer that is not a success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// What is wrong.
    pub error: String,
    /// What to do about it.
    pub help: String,
}

/// `GET /api/v1/status`: the daemon on one screen.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Version of the daemon.
    pub version: String,
    /// Version of the kernel tables' layout.
    pub abi: u32,
    /// Seconds since the daemon started.
    pub uptime: u64,
    /// The first configuration is in force and in the kernel.
    pub ready: bool,
    /// Seconds since the coordinator last published; about a second, else it is stuck.
    pub snapshot_age: f64,
    /// The configuration in force.
    pub config: ConfigState,
    /// What the kernel has.
    pub datapath: DatapathState,
    /// Pools by name.
    pub pools: Vec<PoolSummary>,
    /// Overrides in force.
    pub overrides: Vec<OverrideRow>,
    /// What needs an operator, the worst first.
    pub alerts: Vec<Alert>,
}

/// The configuration in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigState {
    /// When it was loaded.
    pub loaded: u64,
    /// Why the last reload was refused.
    pub problem: Option<String>,
    /// Reloads done.
    pub reloads_done: u64,
    /// Reloads refused.
    pub reloads_refused: u64,
}

/// What the kernel has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatapathState {
    /// Revision in the kernel.
    pub revision: u64,
    /// Revision wanted.
    pub wanted_revision: u64,
    /// Interfaces the program is attached to.
    pub attachments: Vec<Attachment>,
    /// Table entries found changed and repaired.
    pub drift_repaired: u64,
    /// The last thing that could not be written.
    pub problem: Option<String>,
    /// Why checks with `via = "vip"`, or some of them, go to the backends' own addresses.
    #[serde(default)]
    pub check_path_problem: Option<String>,
}

/// The program on an interface.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// Interface.
    pub interface: String,
    /// `native` or `generic`.
    pub mode: String,
    /// Kernel driver.
    pub driver: String,
}

/// A pool in one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PoolSummary {
    /// Name.
    pub name: String,
    /// Services that use it.
    pub services: Vec<String>,
    /// Configured backends, inactive ones included.
    pub backends: u64,
    /// Those that get new connections and pass their checks.
    pub serving: u64,
    /// Those that get new connections though they fail.
    pub held: u64,
    /// Those that keep only established connections.
    pub draining: u64,
    /// Those that failed.
    pub down: u64,
    /// Those that get nothing for another reason.
    pub out: u64,
    /// Up and enabled, as the threshold counts.
    pub up_and_enabled: u64,
    /// All but inactive ones, counted the same way.
    pub total: u64,
    /// Whether one more may be taken out.
    pub can_depool: bool,
}

/// An override in force.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideRow {
    /// Pool.
    pub pool: String,
    /// Backend.
    pub backend: String,
    /// What it is.
    #[serde(flatten)]
    pub what: OverrideInfo,
}

/// Who changed what, why, since and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverrideInfo {
    /// Wish, if overridden.
    pub pooled: Option<Pooled>,
    /// Weight, if overridden.
    pub weight: Option<u32>,
    /// Who.
    pub by: String,
    /// Why.
    pub reason: Option<String>,
    /// Since when.
    pub since: u64,
    /// Until when.
    pub until: Option<u64>,
}

/// How bad it is. Ordered: the worst is the greatest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// Someone should look in working hours.
    Warning,
    /// Users may notice.
    Critical,
}

/// Something that needs an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// How bad.
    pub severity: Severity,
    /// One sentence.
    pub text: String,
}

/// `GET /api/v1/list`: services and pools in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct List {
    /// Services by name.
    pub services: Vec<Service>,
    /// Pools by name.
    pub pools: Vec<Pool>,
}

/// A service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Service {
    /// Name.
    pub name: String,
    /// Addresses and prefixes.
    pub addresses: Vec<Net>,
    /// Port: a number, a range such as `8000-8099`, or `all`.
    pub port: Ports,
    /// Protocol: `tcp`, `udp` or `tcp+udp`.
    pub protocol: Protocols,
    /// Its pool.
    pub pool: String,
    /// Who gets a new connection.
    #[serde(default)]
    pub scheduler: Scheduler,
    /// Class of a UDP service.
    pub udp_class: UdpClass,
    /// Seconds without a packet after which a flow is over.
    pub idle: u64,
    /// Seconds a drained backend keeps its flows at most.
    pub drain_timeout: u64,
    /// Traffic; `null` when the counters could not be read.
    pub traffic: Option<Traffic>,
}

/// Counters since the tables were made; they survive restarts of the daemon.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Packets forwarded.
    pub packets: u64,
    /// Bytes forwarded.
    pub bytes: u64,
    /// TCP connection attempts (SYN).
    pub connections: u64,
    /// TCP packets with FIN or RST.
    pub closes: u64,
}

/// A pool in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Pool {
    /// The line of `status`.
    #[serde(flatten)]
    pub summary: PoolSummary,
    /// Depool threshold, 0.0 to 1.0.
    pub threshold: f64,
    /// The threshold counts weight instead of backends.
    pub threshold_by_weight: bool,
    /// How checks combine.
    pub combine: Combine,
    /// It has checks; without them backends are taken to be up.
    pub checked: bool,
    /// How often the threshold kept a failing backend in or refused a command.
    pub could_not_depool_total: u64,
    /// The table; `null` until the kernel has it.
    pub table: Option<Table>,
    /// Backends by name.
    pub members: Vec<Backend>,
    /// Backends that are gone from the configuration and still drain.
    pub leaving: Vec<Leaving>,
}

/// A pool's table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// Equal on balancers that agree.
    pub digest: String,
    /// Slots.
    pub slots: u32,
    /// Slots in transition.
    pub in_transition: u32,
}

/// A backend of one pool.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backend {
    /// Pool.
    pub pool: String,
    /// Name.
    pub name: String,
    /// Address.
    pub address: IpAddr,
    /// How packets reach it.
    #[serde(default)]
    pub method: Method,
    /// Weight in force.
    pub weight: u32,
    /// Weight in the file.
    pub configured_weight: u32,
    /// Wish in force.
    pub pooled: Pooled,
    /// Wish in the file.
    pub configured_pooled: Pooled,
    /// Override in force.
    #[serde(rename = "override")]
    pub overridden: Option<OverrideInfo>,
    /// What the checks say together; `null` before all have a verdict.
    pub up: Option<bool>,
    /// Some checks say up, but not enough.
    pub partially_up: bool,
    /// What the data plane does with it.
    pub state: Disposition,
    /// Why; empty for one that simply serves.
    pub why: String,
    /// Since when.
    pub since: u64,
    /// Its checks.
    pub checks: Vec<Check>,
    /// Where its frames go.
    pub next_hop: Option<NextHop>,
    /// Why there is no next hop.
    pub next_hop_problem: Option<String>,
    /// Its part of the table; `null` until the kernel has it.
    pub table: Option<Share>,
    /// Traffic; `null` when the counters could not be read.
    pub traffic: Option<Traffic>,
}

/// Where a backend's frames go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NextHop {
    /// Destination MAC address.
    pub mac: String,
    /// Address of the router whose MAC address that is; `null`: the backend's own.
    pub gateway: Option<String>,
    /// Egress interface's index.
    pub ifindex: u32,
    /// VLAN id, 0 for none.
    pub vlan: u16,
    /// Largest L3 packet on this way, in bytes.
    pub mtu: u32,
}

/// A backend's part of a pool's table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// Slots whose new connections it gets.
    pub slots: u32,
    /// Slots in transition whose old connections it keeps.
    pub draining_slots: u32,
    /// Flows pinned to it.
    pub pins: u32,
    /// Seconds since the last packet went to it; `null` before the first.
    pub quiet_for: Option<u64>,
}

/// A backend that is gone from the configuration and still drains.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leaving {
    /// Pool.
    pub pool: String,
    /// Name.
    pub name: String,
    /// Its part of the table.
    #[serde(flatten)]
    pub table: Share,
}

/// The latest result of a check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    /// Name.
    pub name: String,
    /// `tcp`, `idle`, `http` or `https`.
    pub kind: String,
    /// Port.
    pub port: u16,
    /// The VIP it goes to by the way of clients' packets; `null`: it goes to the backend's own address.
    pub vip: Option<IpAddr>,
    /// Why it goes another way than configured, if it does.
    pub note: Option<String>,
    /// Its verdict; `null` before the first.
    pub up: Option<bool>,
    /// The latest result; `null` before the first.
    pub last: Option<CheckResult>,
}

/// One result and the counts so far.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckResult {
    /// It passed.
    pub ok: bool,
    /// For people.
    pub detail: String,
    /// Seconds it took; `null` when it failed.
    pub latency: Option<f64>,
    /// Seconds ago.
    pub age: f64,
    /// Equal results in a row.
    pub streak: u32,
    /// Passes so far.
    pub passes: u64,
    /// Failures so far.
    pub failures: u64,
    /// Checks this host could not do; they count neither way.
    pub not_done: u64,
    /// Changes to up.
    pub ups: u64,
    /// Changes to down.
    pub downs: u64,
}

/// `GET /api/v1/backends/H`: the host in every pool that has it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Backends {
    /// Revision in the kernel.
    pub revision: u64,
    /// Revision wanted; what the kernel has is older while this is greater.
    pub wanted_revision: u64,
    /// One per pool.
    pub backends: Vec<Backend>,
    /// Gone from the configuration, still draining.
    pub leaving: Vec<Leaving>,
}

/// `GET /api/v1/drops`: packets that were not forwarded.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drops {
    /// Every reason.
    pub reasons: Vec<Drop>,
    /// What happened in slots in transition.
    pub pins: Vec<PinCount>,
}

/// Packets of one reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drop {
    /// Label.
    pub reason: String,
    /// `pass` or `drop`.
    pub verdict: String,
    /// One sentence.
    pub describe: String,
    /// Packets.
    pub packets: u64,
}

/// Events of one kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinCount {
    /// Label.
    pub event: String,
    /// How many.
    pub count: u64,
}

/// Query of `GET /api/v1/where`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct WhereQuery {
    /// Source.
    pub src: std::net::SocketAddr,
    /// Destination.
    pub dst: std::net::SocketAddr,
    /// Protocol.
    pub protocol: Protocol,
    /// A connection's first packet.
    pub first: bool,
}

/// Answer to `POST /api/v1/command`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// One per backend concerned.
    pub outcomes: Vec<Outcome>,
}

/// A configuration somebody asks about.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Candidate {
    /// Its text with the name to show in problems; none: the daemon's own file, read again.
    pub file: Option<CandidateFile>,
}

/// A configuration's text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CandidateFile {
    /// Name to show.
    pub name: String,
    /// Text.
    pub text: String,
}

/// What a reload did, or would do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// Where the configuration came from.
    pub source: String,
    /// One sentence per difference; empty when nothing differs.
    pub changes: Vec<String>,
    /// What was understood but will surprise, or needs a restart.
    pub warnings: Vec<String>,
}

/// Answer to `POST /api/v1/checks/run`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckRuns {
    /// One per check and pool.
    pub runs: Vec<CheckRun>,
}

/// One check, run at once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CheckRun {
    /// Pool.
    pub pool: String,
    /// Backend.
    pub backend: String,
    /// Check.
    pub check: String,
    /// It passed.
    pub ok: bool,
    /// For people.
    pub detail: String,
    /// Seconds it took; `null` when it failed.
    pub latency: Option<f64>,
}

/// Body of `POST /api/v1/shutdown`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shutdown {
    /// Also take the program off the interfaces: forwarding ends.
    #[serde(default)]
    pub detach: bool,
}

/// Answer of writes that have nothing to tell.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Done {
    /// One sentence.
    pub done: String,
}
