//! The rows of the report. A case is one line: its name, its world, its frame, and what differs from 256 flows to one service.

use anyhow::Result;

use lb_userspace::model::Method;

use crate::{
    case::{Case, DROP, PASS, TX},
    frame::{ACK4, ACK6, Frame, STRAY4, STRAY6, SYN4, UDP4},
    live::Veths,
    world::{Planned, Rule, Site},
};

/// The row that the others are divided by.
pub(crate) const UNIT: &str = "v4_tcp_hot";
/// Fixed work: rows of the baseline are divided by it, so that each stands for itself.
pub(crate) const YARDSTICK: &str = "yardstick";
/// Live rows are divided by it.
pub(crate) const LIVE_FLOOR: &str = "live_floor";
/// What making room for an outer header and undoing that takes, once and three times.
pub(crate) const GROW: &str = "grow";
pub(crate) const GROW_THRICE: &str = "grow_thrice";
/// More flows than there are slots.
const MILLION: u64 = 1 << 20;
/// About as many as there are packets in a run.
const ALL_NEW: u64 = lb_common::harness::FLOOD_FLOWS;
/// Enough that each of 64 pools is as busy as the one of the hot case, and that each of 4096 backends has four flows.
const BUSY: u64 = 1 << 14;

fn ours(name: &'static str, world: &Planned, frame: Frame) -> Case {
    Case::ours(name, world, frame)
}

/// Packets through the harness; the first row is the zero. `small` is the site that the others differ from.
pub(crate) fn harness(small: Site) -> Vec<Case> {
    let mut cases = vec![
        Case::own("pass", "bench_pass", ACK4, PASS),
        Case::own("floor_tx", "bench_floor_tx", ACK4, TX),
        Case::own(YARDSTICK, "bench_yardstick", ACK4, TX),
        Case::own(GROW, "bench_grow", ACK4, PASS),
        Case::own(GROW_THRICE, "bench_grow_thrice", ACK4, PASS),
    ];
    cases.extend(through_ours(small));
    cases
}

/// Those through our program.
pub(crate) fn through_ours(site: Site) -> Vec<Case> {
    let small = &site.stable();
    let services_10k = &Site { services: 10_000, ..site }.stable();
    let services_8k = &Site { services: 8_192, ..site }.stable();
    let backends_4096 = &Site { backends: 4096, ..site }.stable();
    let pools_64 = &Site { services: 64, pools: 64, ..site }.stable();
    let pools_64_short = &Site { services: 64, pools: 64, slots: 8_191, ..site }.stable();
    // Twice the backends: half of them serve.
    let moving = &Site { backends: 40, ..site }.moving();
    let flooded = &Site { backends: 40, ..site }.moving();
    let tunnel = |six, method| Site { six, method, ..site }.stable();
    let [ipip4, ipip6] = [false, true].map(|six| tunnel(six, Method::Ipip));
    let [gue4, gue6] = [false, true].map(|six| tunnel(six, Method::Gue));
    let rule = |rule| Site { rule, ..site }.stable();
    let (tracked, wlc, blocking) =
        (&rule(Rule::Tracked), &rule(Rule::LeastConnections), &rule(Rule::Blocking));
    vec![
        ours(UNIT, small, ACK4),
        ours("v4_tcp_16k", small, ACK4).flows(BUSY),
        ours("v4_tcp_1m", small, ACK4).flows(MILLION),
        ours("v6_tcp_hot", small, ACK6).counted(),
        ours("v6_tcp_1m", small, ACK6).flows(MILLION),
        ours("v4_udp_hot", small, UDP4).counted(),
        ours("v4_syn_new", small, SYN4).flows(ALL_NEW).counted(),
        ours("not_ours_v4", small, STRAY4).passed().counted(),
        ours("not_ours_v6", small, STRAY6).passed().counted(),
        // Growth in one dimension each …
        ours("services_10k", services_10k, ACK4),
        ours("services_8k_hit", services_8k, ACK4).flows(BUSY).services(8_192),
        ours("backends_4096", backends_4096, ACK4).flows(BUSY),
        ours("pools_64", pools_64, ACK4).flows(BUSY).services(64),
        // … and the worst it can do to the caches: a million flows.
        ours("backends_4096_1m", backends_4096, ACK4).flows(MILLION),
        ours("pools_64_1m", pools_64, ACK4).flows(MILLION).services(64),
        ours("pools_64_short", pools_64_short, ACK4).flows(BUSY).services(64),
        ours("pools_64_short_1m", pools_64_short, ACK4).flows(MILLION).services(64),
        ours("ipip_4in4", &ipip4, ACK4).wrapped().counted(),
        ours("ipip_6in4", &ipip4, ACK6).wrapped(),
        ours("ipip_4in6", &ipip6, ACK4).wrapped(),
        ours("ipip_6in6", &ipip6, ACK6).wrapped(),
        ours("gue_4in4", &gue4, ACK4).wrapped().counted(),
        ours("gue_6in4", &gue4, ACK6).wrapped(),
        ours("gue_4in6", &gue6, ACK4).wrapped(),
        ours("gue_6in6", &gue6, ACK6).wrapped(),
        // Services with rules.
        ours("blocking", blocking, ACK4).counted(),
        ours("tracked", tracked, ACK4).opened().counted(),
        ours("tracked_1m", tracked, ACK4).flows(MILLION).opened(),
        ours("tracked_syn_new", tracked, SYN4).flows(ALL_NEW),
        ours("wlc", wlc, ACK4).opened(),
        // All slots in transition: flows with a pin, flows older than the transition, new ones, and a drain under a SYN flood.
        ours("moving_pinned", moving, ACK4).opened().counted(),
        ours("moving_pinned_16k", moving, ACK4).flows(BUSY).opened(),
        ours("moving_old", flooded, ACK4).counted(),
        ours("moving_syn_new", flooded, SYN4).flows(ALL_NEW).counted(),
        ours("moving_flooded", flooded, ACK4).flood(),
    ]
}

/// Live frames through a veth; the first row is the floor.
pub(crate) fn live(veths: &mut Veths<'_>, site: Site) -> Result<Vec<Case>> {
    Ok(vec![
        veths.floor(LIVE_FLOOR, ACK4, TX)?,
        veths.ours("live_hot", site, ACK4)?,
        veths.ours("live_1m", site, ACK4)?.flows(MILLION),
        veths.floor("live_generator", ACK4, DROP)?,
    ])
}
