//! The loaded object with a configuration, and one frame through each of its programs.

use std::{cell::RefCell, net::IpAddr};

use aya::{
    Ebpf, TestRun as _, TestRunOptions,
    programs::{SchedClassifier, Xdp},
    util::KernelVersion,
};
use lb_common::decap::{COUNT, Fate, Outcome, PROG_TC, PROG_XDP, PROG_XDP_FRAGS};
use lb_userspace::decap::{object, settings::Settings};

use crate::frame::{Family, HOST4, HOST6, PORT};

const XDP_DROP: u32 = 1;
const XDP_PASS: u32 = 2;
const TC_NEXT: u32 = u32::MAX;
const TC_SHOT: u32 = 2;

/// A program of the object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Program {
    Xdp,
    XdpFrags,
    Tc,
}

pub(crate) const PROGRAMS: [Program; 3] = [Program::Xdp, Program::XdpFrags, Program::Tc];

fn kernel() -> KernelVersion {
    KernelVersion::current().expect("its version")
}

/// tc can change the family of a packet: Linux 6.3.
pub(crate) fn tc_mixes() -> bool {
    kernel() >= KernelVersion::new(6, 3, 0)
}

/// The programs that take this family out of that one on this kernel.
pub(crate) fn programs(outer: Family, inner: Family) -> impl Iterator<Item = Program> {
    PROGRAMS.into_iter().filter(move |program| *program != Program::Tc || outer == inner || tc_mixes())
}

/// The hooks of this kernel: tcx came with Linux 6.6.
pub(crate) fn hooks() -> &'static [&'static str] {
    const HOOKS: [&str; 4] = ["native", "generic", "clsact", "tcx"];
    if kernel() >= KernelVersion::new(6, 6, 0) { &HOOKS } else { &HOOKS[..3] }
}

/// The object, loaded.
pub(crate) struct World(RefCell<Ebpf>);

/// For this host's two addresses and the GUE port, from anywhere; `None` without root.
pub(crate) fn world() -> Option<World> {
    World::new(PORT, &[])
}

impl World {
    pub(crate) fn new(gue_port: u16, sources: &[&str]) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: loading a program needs root");
            return None;
        }
        let sources: Vec<_> = sources.iter().map(|p| p.parse().unwrap()).collect();
        let addresses = [IpAddr::from([10, 9, 0, 1]), HOST4.into(), HOST6.into()];
        let settings = Settings::new(&addresses, &sources, gue_port).unwrap();
        let mut object = object::load(&settings.to_config(1), None).unwrap();
        for name in [PROG_XDP, PROG_XDP_FRAGS] {
            let program: &mut Xdp = object.program_mut(name).unwrap().try_into().unwrap();
            program.load().unwrap();
        }
        let program: &mut SchedClassifier = object.program_mut(PROG_TC).unwrap().try_into().unwrap();
        program.load().unwrap();
        Some(Self(RefCell::new(object)))
    }

    /// What becomes of a frame, by the one counter that moved; the action must fit it.
    pub(crate) fn run(&self, program: Program, frame: &[u8]) -> (Outcome, Vec<u8>) {
        let before = self.counts();
        let mut out = vec![0; frame.len() + 256];
        let options =
            TestRunOptions { data_in: Some(frame), data_out: Some(&mut out), ..TestRunOptions::default() };
        let mut object = self.0.borrow_mut();
        let result = match program {
            Program::Xdp | Program::XdpFrags => {
                let name = if program == Program::Xdp { PROG_XDP } else { PROG_XDP_FRAGS };
                let program: &mut Xdp = object.program_mut(name).unwrap().try_into().unwrap();
                program.test_run(options)
            }
            Program::Tc => {
                let program: &mut SchedClassifier = object.program_mut(PROG_TC).unwrap().try_into().unwrap();
                program.test_run(options)
            }
        }
        .unwrap();
        drop(object);
        out.truncate(result.data_size_out as usize);
        let moved: Vec<Outcome> = self
            .counts()
            .iter()
            .zip(&before)
            .zip(Outcome::ALL)
            .filter(|((after, before), _)| after != before)
            .map(|((after, before), outcome)| {
                assert_eq!(*after, before + 1);
                *outcome
            })
            .collect();
        let &[outcome] = &moved[..] else { panic!("{program:?}: counted {moved:?}") };
        let (pass, drop) = if program == Program::Tc { (TC_NEXT, TC_SHOT) } else { (XDP_PASS, XDP_DROP) };
        let expected = if outcome.fate() == Fate::Drop { drop } else { pass };
        assert_eq!(result.return_value, expected, "{program:?}: {outcome:?}");
        if outcome.fate() != Fate::Stripped {
            assert_eq!(out, frame, "{program:?}: {outcome:?} changed the frame");
        }
        (outcome, out)
    }

    fn counts(&self) -> Vec<u64> {
        object::counts(self.0.borrow().map(COUNT).unwrap()).unwrap()
    }
}
