//! Runs the harness programs and collects their windows.

use std::{os::fd::AsFd, sync::atomic::Ordering, time::Duration};

use anyhow::{Context, Result, bail, ensure};
use aya::{
    Ebpf, TestRun, TestRunAttrs, TestRunOptions,
    maps::{Map, ProgramArray},
    programs::{ProgramFd, Xdp, XdpMode},
};
use lb_common::harness::{Harness as State, SAMPLES, Settings, WINDOW};
use lb_userspace::datapath::region::Region;
use nix::{
    sched::{CpuSet, sched_setaffinity},
    unistd::Pid,
};
use zerocopy::IntoBytes as _;

use crate::{
    case::{Case, Target},
    frame::{Frame, PORT},
};

static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/lb-harness"));

const PACKETS_PER_WINDOW: u32 = WINDOW as u32;
/// At least so many before that, and at most.
const WARM_UP: (u64, u64) = (WINDOW, 400_000);
/// Live frames sent at once: what a network card's driver handles at once.
const BATCH: u32 = 64;
const PROGRAMS: [&str; 9] = [
    "bench_v4",
    "bench_v6",
    "bench_live4",
    "bench_sink",
    "bench_pass",
    "bench_floor_tx",
    "bench_yardstick",
    "bench_grow",
    "bench_grow_thrice",
];

/// The loaded harness.
pub(crate) struct Harness {
    ebpf: Ebpf,
    state: Region,
    windows: Region,
    targets: ProgramArray<aya::maps::MapData>,
    /// Measured per case and round.
    wanted: u64,
}

/// How the packets of one run are drawn.
#[derive(Clone, Copy)]
enum Draw {
    /// Each flow once, in order.
    Each,
    /// As the case says.
    Random,
}

/// Keeps the measurement on one CPU: the last, as the first takes most interrupts.
pub(crate) fn pin_to_last_cpu() -> Result<()> {
    let mut set = CpuSet::new();
    set.set(std::thread::available_parallelism()?.get() - 1)?;
    sched_setaffinity(Pid::from_raw(0), &set).context("pinning to a CPU")
}

impl Harness {
    pub(crate) fn load(wanted: u64) -> Result<Self> {
        ensure!(
            !OBJECT.is_empty(),
            "built without the harness object: a BPF toolchain is needed (`cargo xtask setup`)"
        );
        let mut ebpf = Ebpf::load(OBJECT).context("loading the harness")?;
        for name in PROGRAMS {
            xdp(&mut ebpf, name)?.load().with_context(|| format!("verifying {name}"))?;
        }
        let region = |ebpf: &Ebpf, name: &str, entries: u32, size: u32| -> Result<Region> {
            let Some(Map::Array(map)) = ebpf.map(name) else { bail!("no map {name}") };
            Ok(Region::map(name, map.fd().as_fd(), entries, size)?)
        };
        let state = region(&ebpf, "HARNESS", 1, size_of::<State>() as u32)?;
        let windows = region(&ebpf, "WINDOWS", SAMPLES, 8)?;
        let targets = ProgramArray::try_from(ebpf.take_map("TARGET").context("no map TARGET")?)?;
        Ok(Self { ebpf, state, windows, targets, wanted })
    }

    /// Attaches a program of the harness to an interface, for as long as this process lives.
    pub(crate) fn attach(&mut self, program: &str, interface: &str) -> Result<()> {
        xdp(&mut self.ebpf, program)?
            .attach(interface, XdpMode::Driver)
            .with_context(|| format!("attaching {program} to {interface}"))?;
        Ok(())
    }

    /// One round of one case: warm up until every flow was seen, then measure.
    pub(crate) fn measure(&mut self, case: &mut Case) -> Result<()> {
        if case.opened {
            self.run(case, case.frame.opening(), Draw::Each, case.flows.next_multiple_of(WINDOW))?;
            self.run(case, case.frame, Draw::Each, case.flows.next_multiple_of(WINDOW))?;
        }
        let warm_up = (4 * case.flows).clamp(WARM_UP.0, WARM_UP.1).next_multiple_of(WINDOW);
        self.run(case, case.frame, Draw::Random, warm_up + self.wanted * WINDOW + 1)?;
        let done = self.read(|s| &s.windows).min(u64::from(SAMPLES));
        for window in (warm_up / WINDOW)..done {
            let took = Duration::from_nanos(self.windows.word(window as usize).load(Ordering::Relaxed));
            case.windows.push(took.as_secs_f64() * 1e9 / f64::from(PACKETS_PER_WINDOW));
        }
        Ok(())
    }

    fn run(&mut self, case: &Case, frame: Frame, draw: Draw, packets: u64) -> Result<()> {
        let bytes = frame.bytes()?;
        self.prepare(case, frame, &bytes, draw)?;
        let repeat = u32::try_from(packets)?;
        let running = || format!("running {}", case.name);
        match &case.target {
            Target::Veth(ifindex, _) => {
                // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
                let context: Vec<u8> =
                    [0, bytes.len() as u32, 0, *ifindex, 0, 0].iter().flat_map(|w| w.to_ne_bytes()).collect();
                let options = TestRunOptions {
                    data_in: Some(&bytes),
                    ctx_in: Some(&context),
                    repeat,
                    attrs: TestRunAttrs::new().xdp_live_frames(BATCH),
                    ..TestRunOptions::default()
                };
                xdp(&mut self.ebpf, "bench_live4")?.test_run(options).with_context(running)?;
                let (returned, sent) = (self.read(|s| &s.returned), packets);
                ensure!(
                    case.action != crate::case::TX || returned >= sent / 100 * 99,
                    "{}: {returned} of {sent} frames came back",
                    case.name
                );
            }
            target => {
                let fd: ProgramFd = match target {
                    Target::Ours(world) => world.world()?.program()?,
                    Target::Own(name) => xdp(&mut self.ebpf, name)?.fd()?.try_clone()?,
                    Target::Veth(..) => bail!("{}: not for the harness", case.name),
                };
                self.targets.set(0, &fd, 0).context("setting the program under test")?;
                let mut out = vec![0; bytes.len() + 128];
                let options = TestRunOptions {
                    data_in: Some(&bytes),
                    data_out: Some(&mut out),
                    repeat,
                    ..TestRunOptions::default()
                };
                let program = xdp(&mut self.ebpf, if frame.is_six() { "bench_v6" } else { "bench_v4" })?;
                let action = program.test_run(options).with_context(running)?.return_value;
                ensure!(action == case.action, "{}: action {action}, wanted {}", case.name, case.action);
            }
        }
        Ok(())
    }

    fn prepare(&mut self, case: &Case, frame: Frame, bytes: &[u8], draw: Draw) -> Result<()> {
        let word = |at: usize| -> Result<u64> {
            let mut word = [0; 8];
            word.copy_from_slice(bytes.get(at..at + 8).context("a short frame")?);
            Ok(u64::from_le_bytes(word))
        };
        let each = matches!(draw, Draw::Each);
        let state = State {
            settings: Settings {
                flow_mask: case.flows - 1,
                service_mask: case.services - 1,
                service_base: u64::from(frame.destination()),
                sequential: u64::from(each),
                ttl: 64,
                port: u64::from(PORT),
                flags: u64::from(frame.flags()),
                flood: if each { 0 } else { case.flood },
                len: bytes.len() as u64,
                link_low: word(0)?,
                link_high: word(8)? & 0xffff_ffff_ffff,
                action: u64::from(case.action),
            },
            random: 88_172_645_463_325_252,
            ..State::default()
        };
        for (at, word) in state.as_bytes().chunks_exact(8).enumerate() {
            let mut value = [0; 8];
            value.copy_from_slice(word);
            self.state.word(at).store(u64::from_ne_bytes(value), Ordering::Relaxed);
        }
        Ok(())
    }

    /// A word of the state, as the program left it.
    fn read(&self, field: impl Fn(&State) -> &u64) -> u64 {
        let state = State::default();
        let at = std::ptr::from_ref(field(&state)).addr() - std::ptr::from_ref(&state).addr();
        self.state.word(at / 8).load(Ordering::Relaxed)
    }
}

fn xdp<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut Xdp> {
    Ok(ebpf.program_mut(name).with_context(|| format!("no program {name}"))?.try_into()?)
}
