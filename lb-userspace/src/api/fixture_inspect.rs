//! What can be looked up in the small site: the answers of a kernel that is not there.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering},
};

use super::{
    super::lb::{
        datapath::{
            self, Inspect, Probe, Route,
            capture::{Batch, CaptureError, Sample, Started, Wish},
            inspect::{
                flows::{Ages, FlowReport, Kind, Known, Remembered, RememberedOf, TableUse},
                slots::{Difference, Owners, TableReport, TableShare},
            },
            probe::{Outer, Shape},
        },
        model::PoolName,
    },
    FakeDatapath, NOT_SERVICE,
};

/// Where packets go: port 80 is service `text`, whose slot moves; port 82 is behind a tunnel.
pub(super) fn route(probe: &Probe) -> Result<Route, datapath::Error> {
    let shape = match probe {
        Probe::Shape(shape) => shape.clone(),
        // Its last byte stands for what is in a real one.
        Probe::Frame(bytes) => {
            let port = u16::from(bytes.last().copied().unwrap_or_default());
            Shape::new(([198, 51, 100, 7].into(), 1), ([203, 0, 113, 10].into(), port), 6)
        }
    };
    if !matches!(shape.dst_port, 80 | 82) {
        return Ok(Route {
            verdict: "pass".into(),
            sentence: format!("A packet of no service goes to the kernel's own stack, unchanged: {NOT_SERVICE}"),
            reason: Some(("not_service".into(), NOT_SERVICE.into())),
            ..Route::default()
        });
    }
    let first = shape.flags.syn && !shape.quoted;
    let (backend, last) = if first { ("cp1001", 1) } else { ("cp1002", 2) };
    let tunnel = shape.dst_port == 82;
    Ok(Route {
        verdict: "forward".into(),
        sentence: format!("A packet of service text goes to {backend}."),
        service: Some("text".into()),
        pool: Some("text_80".into()),
        slot: Some((411, 65_537)),
        cur: Some("cp1001".into()),
        base: Some("cp1002".into()),
        decided_by: Some(if first { "cur" } else { "base" }.into()),
        quoted: shape.quoted,
        backend: Some(backend.into()),
        address: Some([10, 64, 0, last].into()),
        via: Some(format!("02:00:00:00:00:0{last} on eth0")),
        mac: Some(format!("02:00:00:00:00:0{last}")),
        interface: Some("eth0".into()),
        method: Some(if tunnel { "gue" } else { "dr" }.into()),
        outer: tunnel.then(|| Outer {
            source: [172, 16, 3, 9].into(),
            destination: [10, 64, 0, last].into(),
            ports: Some((49_152, 6_080)),
        }),
        vlan: tunnel.then_some(20),
        frame: "0200".into(),
        frame_out: Some("0201".into()),
        ..Route::default()
    })
}

/// The pool `text_80` with one slot that somebody else wrote.
fn table(owners: bool) -> TableReport {
    let share = |name: &str, id: &str, slots, wanted_slots, draining_slots, expected| TableShare {
        name: name.into(),
        id: id.into(),
        weight: 100,
        takes_new: expected > 0.0,
        slots,
        wanted_slots,
        draining_slots,
        expected,
    };
    TableReport {
        pool: "text_80".into(),
        digest: "7f3a91c25d0e4411".into(),
        wanted_digest: "7f3a91c25d0e4412".into(),
        slots: 7,
        in_transition: 2,
        backends: vec![
            share("cp1001", "00000000000000a1", 4, 3, 0, 0.5),
            share("cp1002", "00000000000000a2", 0, 0, 2, 0.0),
            share("cp1005", "00000000000000a5", 3, 4, 0, 0.5),
        ],
        differences: vec![Difference { has: Some("cp1001".into()), wanted: Some("cp1005".into()), slots: 1 }],
        drift_repaired: 3,
        owners: owners.then(|| Owners { cur: vec![0, 0, 2, 0, 2, 2, 0], base: vec![(1, 1), (4, 1)] }),
    }
}

/// Calls of [`Inspect::captured`]: the first has packets, the second the end.
static ASKED: AtomicU64 = AtomicU64::new(0);

impl Inspect for FakeDatapath {
    fn flows(&self) -> Result<Remembered, datapath::Error> {
        let of = |pool: &str, backend: &str, kinds: &[(Kind, [u64; 5])]| RememberedOf {
            pool: pool.into(),
            backend: backend.into(),
            kinds: kinds.iter().map(|(kind, ages)| (*kind, Ages(*ages))).collect::<BTreeMap<_, _>>(),
        };
        Ok(Remembered {
            tables: vec![
                TableUse { table: "PROBATION".into(), used: 5, room: 1_024 },
                TableUse { table: "SOURCES".into(), used: 0, room: 1_024 },
            ],
            backends: vec![
                of("dns_53_udp", "d1", &[(Kind::FlowNew, [1, 0, 0, 0, 0])]),
                of(
                    "text_80",
                    "cp1001",
                    &[(Kind::PinProbation, [4, 1, 0, 0, 0]), (Kind::PinProtected, [10, 20, 5, 0, 0])],
                ),
            ],
            resolution: 1.024,
        })
    }

    fn flow(&self, probe: &Probe) -> Result<FlowReport, datapath::Error> {
        let known = Known {
            kind: Kind::PinProtected,
            backend: "text_80/cp1001".into(),
            age: 3.1,
            closing: false,
        };
        let route = route(probe)?;
        Ok(FlowReport { known: if route.service.is_some() { vec![known] } else { Vec::new() }, route })
    }

    fn table(&self, pool: &PoolName, owners: bool) -> Result<Option<TableReport>, datapath::Error> {
        Ok((pool.as_str() == "text_80").then(|| table(owners)))
    }

    fn tables(&self, owners: bool) -> Result<Vec<TableReport>, datapath::Error> {
        Ok(vec![table(owners)])
    }

    fn capture(&self, wish: &Wish) -> Result<Started, CaptureError> {
        if wish.reasons.iter().any(|reason| reason == "nonsense") {
            return Err(CaptureError::Wish("packets are not dropped for `nonsense`".into()));
        }
        if wish.every == 999 {
            return Err(CaptureError::Busy);
        }
        ASKED.store(0, Ordering::Relaxed);
        Ok(Started { id: 7, reasons: vec!["no_backend".into(), "blocked".into()] })
    }

    fn captured(&self, id: u64) -> Result<Batch, CaptureError> {
        if id != 7 {
            return Err(CaptureError::Unknown);
        }
        if ASKED.fetch_add(1, Ordering::Relaxed) > 0 {
            return Ok(Batch { samples: Vec::new(), lost: 2, ended: Some("its time is over".into()) });
        }
        let sample = Sample {
            at: 1_704_067_200.25,
            reason: "no_backend".into(),
            length: 60,
            bytes: "00".repeat(60),
            summary: "198.51.100.7:40000 > 203.0.113.10:80 tcp syn ttl 64".into(),
        };
        Ok(Batch { samples: vec![sample], lost: 0, ended: None })
    }

    fn end_capture(&self, id: u64) -> Result<(), CaptureError> {
        if id == 7 { Ok(()) } else { Err(CaptureError::Unknown) }
    }
}
