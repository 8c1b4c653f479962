//! Runs the harness program and collects its windows.

use std::{os::fd::AsFd, sync::atomic::Ordering, time::Duration};

use anyhow::{Context, Result, ensure};
use aya::{
    Ebpf, TestRun, TestRunOptions,
    maps::{Map, ProgramArray},
    programs::{ProgramFd, Xdp},
};
use lb_common::harness::{Harness as State, SAMPLES, WINDOW};
use lb_userspace::datapath::region::Region;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb-harness"));

/// Packets measured per case and round.
const PACKETS: u64 = 32 * WINDOW;
const PACKETS_PER_WINDOW: u32 = WINDOW as u32;

/// One row of the report.
pub(crate) struct Case {
    /// Its name.
    pub(crate) name: &'static str,
    /// The frame all packets are made of.
    pub(crate) frame: Vec<u8>,
    /// The program under test; `None`: the harness's own, by name.
    pub(crate) target: Target,
    /// Different flows, a power of two.
    pub(crate) flows: u64,
    /// Different destination addresses, a power of two.
    pub(crate) services: u64,
    /// Expected XDP action.
    pub(crate) action: u32,
    /// ns per packet of each window.
    pub(crate) windows: Vec<f64>,
}

impl Case {
    /// A case with one flow to one service.
    pub(crate) fn new(name: &'static str, frame: Vec<u8>, target: Target, action: u32) -> Self {
        Self { name, frame, target, flows: 1, services: 1, action, windows: Vec::new() }
    }

    /// With so many flows, a power of two.
    pub(crate) fn flows(self, flows: u64) -> Self {
        Self { flows, ..self }
    }

    /// With so many destination addresses, a power of two.
    pub(crate) fn services(self, services: u64) -> Self {
        Self { services, ..self }
    }
}

/// A program under test.
pub(crate) enum Target {
    /// One of the harness object.
    Own(&'static str),
    /// Ours, kept alive by its object.
    Ours(std::rc::Rc<crate::setup::World>),
}

/// The loaded harness.
pub(crate) struct Harness {
    ebpf: Ebpf,
    state: Region,
    windows: Region,
    targets: ProgramArray<aya::maps::MapData>,
}

/// Index of each field of [`State`] as a word.
mod field {
    pub(super) const FLOW_MASK: usize = 0;
    pub(super) const SERVICE_MASK: usize = 1;
    pub(super) const SERVICE_BASE: usize = 2;
    pub(super) const TTL: usize = 4;
    pub(super) const PORT: usize = 5;
    pub(super) const RANDOM: usize = 6;
    pub(super) const ITERATION: usize = 7;
    pub(super) const WINDOWS: usize = 9;
}

/// Keeps the measurement on one CPU: the last, as the first takes most interrupts.
pub(crate) fn pin_to_last_cpu() -> Result<()> {
    let mut set = CpuSet::new();
    set.set(std::thread::available_parallelism()?.get() - 1)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("pinning to a CPU")
}

impl Harness {
    pub(crate) fn load() -> Result<Self> {
        ensure!(
            !OBJECT.is_empty(),
            "built without the harness object: a BPF toolchain is needed (`cargo xtask setup`)"
        );
        let mut ebpf = Ebpf::load(OBJECT).context("loading the harness")?;
        for name in ["bench_v4", "bench_v6", "bench_pass", "bench_floor_tx"] {
            xdp(&mut ebpf, name)?.load().with_context(|| format!("verifying {name}"))?;
        }
        let region = |ebpf: &Ebpf, name: &str, entries: u32, size: u32| -> Result<Region> {
            let Some(Map::Array(map)) = ebpf.map(name) else { anyhow::bail!("no map {name}") };
            Ok(Region::map(name, map.fd().as_fd(), entries, size)?)
        };
        let state = region(&ebpf, "HARNESS", 1, size_of::<State>() as u32)?;
        let windows = region(&ebpf, "WINDOWS", SAMPLES, 8)?;
        let targets = ProgramArray::try_from(ebpf.take_map("TARGET").context("no map TARGET")?)?;
        Ok(Self { ebpf, state, windows, targets })
    }

    /// One round of one case: warm up until every flow was seen, then measure.
    pub(crate) fn measure(&mut self, case: &mut Case) -> Result<()> {
        let warm_up = (4 * case.flows).clamp(WINDOW, 400_000).next_multiple_of(WINDOW);
        let v6 = case.frame[12..14] == [0x86, 0xdd];
        let dst = if v6 { &case.frame[50..54] } else { &case.frame[30..34] };
        let base = u32::from_be_bytes(dst.try_into()?);
        for (field, value) in [
            (field::FLOW_MASK, case.flows - 1),
            (field::SERVICE_MASK, case.services - 1),
            (field::SERVICE_BASE, u64::from(base)),
            (field::TTL, 64),
            (field::PORT, u64::from(crate::setup::PORT)),
            (field::RANDOM, 88_172_645_463_325_252),
            (field::ITERATION, 0),
            (field::WINDOWS, 0),
        ] {
            self.state.word(field).store(value, Ordering::Relaxed);
        }
        let fd: ProgramFd = match &case.target {
            Target::Own(name) => xdp(&mut self.ebpf, name)?.fd()?.try_clone()?,
            Target::Ours(world) => world.program()?,
        };
        self.targets.set(0, &fd, 0).context("setting the program under test")?;
        let program = xdp(&mut self.ebpf, if v6 { "bench_v6" } else { "bench_v4" })?;
        let repeat = u32::try_from(warm_up + PACKETS + 1)?;
        let mut out = vec![0; case.frame.len() + 64];
        let result = program
            .test_run(TestRunOptions {
                data_in: Some(&case.frame),
                data_out: Some(&mut out),
                repeat,
                ..TestRunOptions::default()
            })
            .with_context(|| format!("running {}", case.name))?;
        ensure!(
            result.return_value == case.action,
            "{}: action {}, wanted {}",
            case.name,
            result.return_value,
            case.action
        );
        let done = self.state.word(field::WINDOWS).load(Ordering::Relaxed).min(u64::from(SAMPLES));
        for window in (warm_up / WINDOW)..done {
            let took = Duration::from_nanos(self.windows.word(window as usize).load(Ordering::Relaxed));
            case.windows.push(took.as_secs_f64() * 1e9 / f64::from(PACKETS_PER_WINDOW));
        }
        Ok(())
    }
}

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}
