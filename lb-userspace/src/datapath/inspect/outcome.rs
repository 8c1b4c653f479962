//! What the dry run reported → a route in the words of the configuration. Pure.

use std::net::{IpAddr, Ipv6Addr};

use lb_common::{
    backend::{Backend, METHOD_BITS, METHOD_GUE, METHOD_IPIP, TUNNEL},
    explain::{self, Explain},
    reason::{Reason, Verdict},
};

use super::{outer, sentence};
use crate::datapath::{hex, live::Names, question::Route};

/// One run of the program.
pub(in crate::datapath) struct Run<'a> {
    /// What it reported.
    pub(in crate::datapath) found: &'a Explain,
    /// The record of the backend it found.
    pub(in crate::datapath) backend: Option<Backend>,
    /// Name of the interface of that backend.
    pub(in crate::datapath) interface: Option<String>,
    /// Frame that went in.
    pub(in crate::datapath) frame: &'a [u8],
    /// Frame that came out.
    pub(in crate::datapath) out: &'a [u8],
}

/// The verdict's word.
pub(in crate::datapath) const fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Pass => "pass",
        Verdict::Drop => "drop",
        Verdict::Answer => "answer",
    }
}

/// The route.
pub(in crate::datapath) fn route(names: &Names, run: &Run<'_>) -> Route {
    let found = run.found;
    let has = |flag| found.flags & flag != 0;
    let backend = |index: u16| match index {
        0 => "nobody".to_owned(),
        i => names.backends.get(&i).map_or_else(|| format!("backend #{i}"), ToString::to_string),
    };
    let pool = names.pools.get(&found.pool);
    let mut route = Route {
        verdict: "forward".to_owned(),
        quoted: has(explain::QUOTED),
        decided_by: decided_by(found).map(str::to_owned),
        frame: hex::of(run.frame),
        ..Route::default()
    };
    let mut sent = has(explain::FORWARDED);
    if !sent {
        let reason = Reason::ALL.get(found.reason as usize).copied().unwrap_or(Reason::BadTable);
        word(reason.verdict()).clone_into(&mut route.verdict);
        route.reason = Some((reason.as_str().to_owned(), reason.describe().trim().to_owned()));
        sent = reason.verdict() == Verdict::Answer;
    }
    if has(explain::HAS_SERVICE) {
        route.service = names.services.get(&found.service).map(ToString::to_string);
        route.pool = pool.map(ToString::to_string);
    }
    if has(explain::HAS_SLOT) {
        let of = pool.and_then(|p| names.slots.get(p)).copied().unwrap_or_default();
        route.slot = Some((found.slot, of));
        route.cur = Some(backend(found.cur));
        route.base = has(explain::IN_TRANSITION).then(|| backend(found.base));
    }
    if sent {
        route.frame_out = Some(hex::of(run.out));
    }
    if found.backend != 0 {
        route.backend = Some(backend(found.backend));
        if let Some(record) = &run.backend {
            add_way(&mut route, record, run);
        }
    }
    route.sentence = sentence::of(&route);
    route
}

fn decided_by(found: &Explain) -> Option<&'static str> {
    let has = |flag| found.flags & flag != 0;
    Some(match () {
        () if has(explain::FOLLOWS) => "fragment",
        () if has(explain::BY_FLOW) => "flow",
        () if has(explain::BY_ID) => "connection id",
        () if has(explain::BY_SOURCE) => "source",
        () if has(explain::BY_SEQUENCE) => "turn",
        () if has(explain::BY_PIN) => "pin",
        () if has(explain::BY_FREEZE) => "freeze",
        () if has(explain::BY_BASE) => "base",
        () if has(explain::HAS_SLOT) && has(explain::IN_TRANSITION) => "cur",
        () if has(explain::HAS_SLOT) => "slot",
        () => return None,
    })
}

/// How the frame leaves: from the record, and from the bytes if it was sent.
fn add_way(route: &mut Route, record: &Backend, run: &Run<'_>) {
    let addr = Ipv6Addr::from(record.addr);
    route.address = Some(addr.to_ipv4_mapped().map_or(IpAddr::V6(addr), IpAddr::V4));
    let method = match record.method & ((1 << METHOD_BITS) - 1) {
        _ if record.flags & TUNNEL == 0 => "dr",
        METHOD_IPIP => "ipip",
        METHOD_GUE => "gue",
        _ => "unknown",
    };
    route.method = Some(method.to_owned());
    route.interface.clone_from(&run.interface);
    let mac = crate::model::Mac(record.dst_mac);
    route.mac = Some(mac.to_string());
    route.via = Some(format!("{mac} on {}", run.interface.as_deref().unwrap_or("an interface that is gone")));
    if route.verdict != "forward" {
        return;
    }
    if let Some(leaving) = outer::read(run.out) {
        route.mac = Some(leaving.mac.to_string());
        route.vlan = leaving.vlan;
        route.outer = leaving.outer.filter(|_| method != "dr");
    }
}
