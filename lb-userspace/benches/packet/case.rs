//! One row: what is sent to which program, and what was measured.

use crate::{
    cases::{GROW, GROW_THRICE, UNIT, YARDSTICK},
    frame::Frame,
    world::{Planned, World},
};

/// XDP actions.
pub(crate) const DROP: u32 = 1;
pub(crate) const PASS: u32 = 2;
pub(crate) const TX: u32 = 3;
/// Flows of a case that does not say otherwise.
const HOT: u64 = 256;
/// Of two packets one belongs to the flood.
const EVERY_SECOND: u64 = 1;

/// One row of the report.
#[expect(
    clippy::struct_excessive_bools,
    reason = "each says one thing about the row, and is written where the row is"
)]
pub(crate) struct Case {
    /// Its name.
    pub(crate) name: &'static str,
    /// What all packets are made of.
    pub(crate) frame: Frame,
    /// The program under test.
    pub(crate) target: Target,
    /// Different flows, a power of two.
    pub(crate) flows: u64,
    /// Different destination addresses, a power of two, at most as many as flows.
    pub(crate) services: u64,
    /// Each flow sends a SYN before it is measured.
    pub(crate) opened: bool,
    /// Mask of [`lb_common::harness::Settings::flood`].
    pub(crate) flood: u64,
    /// An outer header is put in front, which the harness takes away.
    pub(crate) wrapped: bool,
    /// Its instructions say something that those of the other rows do not.
    pub(crate) counted: bool,
    /// Through the other build of our program.
    pub(crate) other: bool,
    /// Expected XDP action.
    pub(crate) action: u32,
    /// ns per packet of each window.
    pub(crate) windows: Vec<f64>,
}

/// A program under test, kept alive by its object.
pub(crate) enum Target {
    /// One of the harness object, by name.
    Own(&'static str),
    /// Ours.
    Ours(Planned),
    /// Whichever is attached to the other end of a veth of this index.
    Veth(u32, Option<Planned>),
}

impl Case {
    fn new(name: &'static str, target: Target, frame: Frame, action: u32) -> Self {
        Self {
            name,
            frame,
            target,
            flows: HOT,
            services: 1,
            opened: false,
            flood: 0,
            wrapped: false,
            counted: false,
            other: false,
            action,
            windows: Vec::new(),
        }
    }

    /// A program of the harness.
    pub(crate) fn own(name: &'static str, program: &'static str, frame: Frame, action: u32) -> Self {
        Self::new(name, Target::Own(program), frame, action)
    }

    /// Our program, which forwards.
    pub(crate) fn ours(name: &'static str, world: &Planned, frame: Frame) -> Self {
        Self::new(name, Target::Ours(world.clone()), frame, TX)
    }

    /// Live frames out of the veth of this index; `action`: [`TX`] if they leave, [`DROP`] if they are only made.
    pub(crate) fn live(
        name: &'static str,
        ifindex: u32,
        world: Option<Planned>,
        frame: Frame,
        action: u32,
    ) -> Self {
        Self::new(name, Target::Veth(ifindex, world), frame, action)
    }

    /// Our program, which passes.
    pub(crate) fn passed(self) -> Self {
        Self { action: PASS, ..self }
    }

    /// With so many flows, a power of two.
    pub(crate) fn flows(self, flows: u64) -> Self {
        Self { flows, ..self }
    }

    /// With so many destination addresses, a power of two.
    pub(crate) fn services(self, services: u64) -> Self {
        Self { services, ..self }
    }

    /// With a first packet of each flow before.
    pub(crate) fn opened(self) -> Self {
        Self { opened: true, ..self }
    }

    /// Among those whose instructions are counted.
    pub(crate) fn counted(self) -> Self {
        Self { counted: true, ..self }
    }

    /// In a tunnel.
    pub(crate) fn wrapped(self) -> Self {
        Self { wrapped: true, ..self }
    }

    /// With a new flow's first packet between any two.
    pub(crate) fn flood(self) -> Self {
        Self { flood: EVERY_SECOND, ..self }
    }

    /// Through the other build of our program.
    pub(crate) fn other(self) -> Self {
        Self { other: true, ..self }
    }

    /// Others are compared with it.
    pub(crate) fn is_needed(&self) -> bool {
        ["pass", YARDSTICK, GROW, GROW_THRICE, UNIT].contains(&self.name) && !self.other
    }

    /// What it touches stays in the processor's first caches, whatever their size: its ratio is about the same on every machine.
    pub(crate) fn is_cached(&self) -> bool {
        self.flows <= HOT && self.flood == 0
    }

    /// Live or through the harness.
    pub(crate) fn is_live(&self) -> bool {
        matches!(self.target, Target::Veth(..))
    }

    /// Measured through our program.
    pub(crate) fn world(&self) -> Option<&World> {
        match &self.target {
            Target::Ours(world) | Target::Veth(_, Some(world)) => world.made(),
            Target::Own(_) | Target::Veth(_, None) => None,
        }
    }
}
