//! A loaded object with its tables, and one packet through it, watched from all sides: the model, the dry run, the live program and the
//! counters must agree.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    time::Duration,
};

use aya::{TestRun as _, TestRunOptions};
use lb_common::{
    explain::{self, Explain},
    names,
    pin::{self, Pin, WAYS},
    reason::{Reason, Verdict},
};
use lb_userspace::{
    datapath::{
        Desired, Error,
        mapped::Mapped,
        region::Region,
        tables::{Applied, Memory as _, Settings, Swept, Tables, U64Map},
    },
    model::Limits,
};
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::{
    clock::{Dated, REMEMBERED, later},
    counts::{Counters, Counts},
    frame::{Flow, Kind, frame},
    model::{Judged, Model, Outcome},
    shelf::{Lent, Ticking},
    view::{INGRESS, Placed, SECRET, View},
};

pub(crate) const ABORTED: u32 = 0;
pub(crate) const DROP: u32 = 1;
pub(crate) const PASS: u32 = 2;
pub(crate) const TX: u32 = 3;
pub(crate) const REDIRECT: u32 = 4;

/// The action that belongs to an outcome.
pub(crate) fn action(outcome: &Outcome) -> u32 {
    match outcome {
        Outcome::Stopped(why) | Outcome::Answered { why, .. } => match why.verdict() {
            Verdict::Pass => PASS,
            Verdict::Drop => DROP,
            Verdict::Answer => TX,
        },
        Outcome::Sent { redirected: true, .. } => REDIRECT,
        Outcome::Sent { redirected: false, .. } => TX,
    }
}

/// See the module.
pub(crate) struct World {
    pub(crate) object: Lent,
    pub(crate) tables: Tables<Dated>,
    pub(crate) desired: Desired,
    settings: Settings,
    placed: Placed,
    /// The daemon's last tick, and all of them.
    time: (u16, u32),
    model: RefCell<Model>,
    report: Region,
    fragments: Region,
    rates: [Region; 2],
    /// Everything the program may write but counters and reports.
    written: Vec<Region>,
    clock: Region,
    counters: Counters,
    /// The counters after the last watched packet, unless something unwatched happened since.
    counted: RefCell<Option<Counts>>,
    /// The model has no buckets that fill up and no rates that are exceeded: tests of those do without it.
    modelled: Cell<bool>,
}

impl World {
    /// A loaded program with these tables; `None`, loudly, without the privilege to.
    pub(crate) fn new(pins: u32, desired: Desired) -> Option<Self> {
        Self::with(Limits { pins, ..small() }, 0, desired)
    }

    /// The same with other sizes, and frames of up to `ingress_mtu` (0: of whatever length).
    pub(crate) fn with(limits: Limits, ingress_mtu: u32, desired: Desired) -> Option<Self> {
        Self::on(&limits, Ticking::Kernel, ingress_mtu, desired)
    }

    /// The same with a clock that stands still (see [`crate::clock`]).
    pub(crate) fn still(limits: Limits, ingress_mtu: u32, desired: Desired) -> Option<Self> {
        Self::on(&limits, Ticking::Still, ingress_mtu, desired)
    }

    fn on(limits: &Limits, ticking: Ticking, ingress_mtu: u32, desired: Desired) -> Option<Self> {
        if !nix::unistd::geteuid().is_root() {
            eprintln!(
                "SKIPPED: loading the program needs root. Type: sudo -E env \"PATH=$PATH\" cargo xtask test"
            );
            return None;
        }
        let object = Lent::new(limits, &SECRET, ticking);
        let settings = Settings { ingress_mtu, ..object.settings(&SECRET) };
        let memory = Dated::new(Mapped::new(&object).unwrap());
        let tick = object.now().unwrap();
        let (tables, _) = Tables::adopt(memory, &object.limits(), settings, tick).unwrap();
        let mut world = Self {
            report: object.region(names::EXPLAIN).unwrap(),
            fragments: object.region(names::FRAGMENTS).unwrap(),
            rates: [names::RATES, names::CEILINGS].map(|name| object.region(name).unwrap()),
            written: WRITTEN.map(|name| object.region(name).unwrap()).into(),
            clock: object.region(names::CLOCK).unwrap(),
            counters: Counters::of(&object),
            object,
            tables,
            desired,
            settings,
            placed: Placed::default(),
            time: (tick, 0),
            model: RefCell::default(),
            counted: RefCell::default(),
            modelled: Cell::new(true),
        };
        world.apply();
        Some(world)
    }

    /// The kernel's clock in ticks.
    pub(crate) fn now(&self) -> u16 {
        self.object.run(names::PROG_CLOCK, &[0; 64]).unwrap();
        (self.clock.word(0).load(ORDER) >> self.object.clock.shift) as u16
    }

    /// The daemon's tick when it is `now` to the program, and how many it has seen. One before its last is not seen.
    fn daemon(&mut self, now: u16) -> (u16, u32) {
        let tick = self.tables.memory().daemon(now);
        let (last, all) = self.time;
        let passed = tick.wrapping_sub(last);
        if passed < 1 << 15 {
            self.time = (tick, all + u32::from(passed));
        }
        (tick, self.time.1)
    }

    fn apply(&mut self) -> Applied {
        self.counted.take();
        let now = self.now();
        let (tick, time) = self.daemon(now);
        let applied = self.tables.apply(&self.desired, tick);
        assert!(applied.problem.is_none(), "{:?}", applied.problem);
        let ticks = |time: Duration| time.as_nanos().div_ceil(self.settings.tick.as_nanos()) as u32;
        self.placed.follow(&self.desired, &self.tables, time, ticks);
        self.model.borrow_mut().tidy(&self.view(now), true);
        applied
    }

    /// Changes what is wanted and makes it so.
    pub(crate) fn change(&mut self, change: impl FnOnce(&mut Desired)) -> Applied {
        change(&mut self.desired);
        self.desired.revision += 1;
        self.apply()
    }

    /// What the daemon does once a second.
    pub(crate) fn sweep(&mut self) -> Swept {
        self.sweep_later(0)
    }

    /// The same as if it were so many ticks later.
    pub(crate) fn sweep_later(&mut self, ticks: u16) -> Swept {
        self.counted.take();
        let later = self.now().wrapping_add(ticks);
        let (tick, time) = self.daemon(later);
        let swept = self.tables.sweep(tick);
        self.placed.give_up(time);
        swept.released.iter().for_each(|index| drop(self.placed.known.remove(index)));
        self.model.borrow_mut().tidy(&self.view(later), false);
        swept
    }

    /// From now on without the model.
    pub(crate) fn unmodelled(&self) {
        self.modelled.set(false);
    }

    /// What the model may see.
    pub(crate) fn view(&self, now: u16) -> View<'_> {
        View {
            desired: &self.desired,
            services: &self.placed.services,
            endpoints: &self.placed.endpoints,
            known: &self.placed.known,
            memory: &self.tables.memory().mapped,
            ingress_mtu: self.settings.ingress_mtu,
            now,
            tick: self.settings.tick,
            frozen: self.tables.memory().load64(U64Map::Settings, 1) != 0,
        }
    }

    /// Lets `ticks` pass as far as slots and flows are concerned: everything in the tables was used so much longer ago.
    pub(crate) fn pass(&mut self, ticks: u16) {
        self.tables.memory().age(ticks);
        self.age_the_rest(ticks);
    }

    /// Lets `ticks` pass where the clock stands still: the daemon sees time go by.
    pub(crate) fn tick(&mut self, ticks: u16) {
        self.tables.memory().pass(ticks);
        self.age_the_rest(ticks);
        // Another tick's.
        for region in &self.rates {
            (0..region.words()).for_each(|i| region.word(i).store(0, ORDER));
        }
    }

    /// What the daemon does not look at.
    fn age_the_rest(&mut self, ticks: u16) {
        for i in 0..self.fragments.words() {
            let word = self.fragments.word(i);
            word.store(later(word.load(ORDER), ticks.wrapping_neg()), ORDER);
        }
        self.model.borrow_mut().pass(ticks);
    }

    /// Compares what the model remembers with what lies in the tables.
    pub(crate) fn compare_memory(&self) -> Result<(), String> {
        let model = self.model.borrow().remembered();
        let (memory, now) = (&self.tables.memory().mapped, self.now());
        for (map, wanted) in REMEMBERED.into_iter().zip(model) {
            let mask = self.buckets(map) - 1;
            let mut wanted: HashMap<(u32, u32), Mark> = wanted
                .into_iter()
                .map(|(hash, mark)| ((pin::bucket(hash) & mask, pin::tag(hash)), mark))
                .collect();
            for i in 0..memory.len64(map) {
                let found = Pin(memory.load64(map, i));
                // What has ended binds nothing, though it may lie there until its place is needed.
                if found.expired(now, u16::MAX) {
                    continue;
                }
                let key = ((i / WAYS) as u32, found.tag());
                let lies = (found.backend(), found.time(), found.closing());
                let expected = wanted.remove(&key);
                if expected != Some(lies) {
                    return Err(format!("{map:?} {key:x?}: {lies:?}, the model has {expected:?}"));
                }
            }
            // Its place may have been needed.
            let over = |(_, time, closing): &Mark| *closing || now.wrapping_sub(*time) > OVER;
            wanted.retain(|_, mark| !over(mark));
            if let Some((key, mark)) = wanted.iter().next() {
                return Err(format!("{map:?} {key:x?}: nothing, the model has {mark:?}"));
            }
        }
        Ok(())
    }

    /// Live words of a table of flows.
    pub(crate) fn pins(&self, map: U64Map) -> Vec<Pin> {
        let memory = self.tables.memory();
        (0..memory.len64(map)).map(|i| Pin(memory.load64(map, i))).filter(|p| p.0 != 0).collect()
    }

    /// Buckets of a table.
    pub(crate) fn buckets(&self, map: U64Map) -> u32 {
        (self.tables.memory().len64(map) / WAYS) as u32
    }

    /// All counters now.
    pub(crate) fn counts(&self) -> Counts {
        let services = self.placed.services.iter().map(|s| s.index + 1).max().unwrap_or(0);
        let backends = self.placed.known.keys().map(|index| index + 1).max().unwrap_or(0);
        self.counters.read([services, backends])
    }

    /// Everything the program may write.
    fn written(&self) -> Vec<u64> {
        let words = self.written.iter().map(Region::all);
        let mut all = Vec::with_capacity(words.clone().map(<[_]>::len).sum());
        for words in words {
            all.extend(words.iter().map(|word| word.load(ORDER)));
        }
        all
    }

    /// Runs a program on a frame.
    pub(crate) fn run(&self, program: &str, frame: &[u8]) -> (u32, Vec<u8>) {
        self.run_with(program, frame, 0).unwrap()
    }

    /// The same with so many bytes of metadata in front of the frame, which take from the room there is.
    pub(crate) fn run_with(
        &self,
        program: &str,
        frame: &[u8],
        metadata: usize,
    ) -> Result<(u32, Vec<u8>), Error> {
        let data = [&vec![0; metadata], frame].concat();
        let mut out = vec![0; data.len() + 256];
        // struct xdp_md: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let context: Vec<u8> = [metadata as u32, data.len() as u32, 0, INGRESS, 0, 0]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .collect();
        let result = self.object.with_program(program, |program| {
            program
                .test_run(TestRunOptions {
                    data_in: Some(&data),
                    data_out: Some(&mut out),
                    ctx_in: (metadata > 0).then_some(&context),
                    ..TestRunOptions::default()
                })
                .map_err(|e| Error::Kernel(e.to_string()))
        })?;
        out.truncate(result.data_size_out as usize);
        Ok((result.return_value, out.split_off(metadata.min(out.len()))))
    }

    /// What the dry run says, after making sure that it agrees with itself.
    pub(crate) fn ask_program(&self, bytes: &[u8]) -> (Outcome, Explain) {
        let (got, out) = self.run(names::PROG_WHERE, bytes);
        let words: [u64; size_of::<Explain>() / 8] = std::array::from_fn(|i| self.report.word(i).load(ORDER));
        let told = Explain::read_from_bytes(words.as_bytes()).unwrap();
        let outcome = if told.flags & explain::FORWARDED == 0 {
            let why = Reason::ALL[told.reason as usize];
            match why.verdict() {
                Verdict::Answer => Outcome::Answered { why, frame: out.clone() },
                Verdict::Pass | Verdict::Drop => Outcome::Stopped(why),
            }
        } else {
            let service = (told.flags & explain::HAS_SERVICE != 0 && told.flags & explain::QUOTED == 0)
                .then(|| self.view(0).service_name(told.service));
            let backend = self.placed.known.get(&told.backend).expect("a backend with a name").id.to_string();
            Outcome::Sent { service, backend, redirected: got == REDIRECT, frame: out.clone() }
        };
        assert_eq!(got, action(&outcome), "the dry run's action and its report differ: {told:?}");
        if got == PASS {
            assert_eq!(out, bytes, "a passed frame changed");
        }
        (outcome, told)
    }

    /// The model's answer; it remembers the frame.
    pub(crate) fn judge(&self, bytes: &[u8], now: u16) -> Judged {
        self.model.borrow_mut().judge(&self.view(now), bytes)
    }

    /// What the model would say; it remembers nothing.
    pub(crate) fn expected(&self, bytes: &[u8]) -> Judged {
        let mut model = self.model.borrow().clone();
        model.judge(&self.view(self.now()), bytes)
    }

    /// The dry run, compared with the model.
    pub(crate) fn ask(&self, bytes: &[u8]) -> (Outcome, Explain) {
        let (outcome, told) = self.ask_program(bytes);
        if self.modelled.get() {
            let expected = self.expected(bytes);
            assert_eq!(outcome, expected.outcome, "dry run and model differ: {told:?} {bytes:02x?}");
            assert_eq!(told, expected.told, "dry run and model tell different things: {bytes:02x?}");
        }
        (outcome, told)
    }

    /// Sends the frame through the live program: the same action, the same bytes as the dry run's.
    pub(crate) fn send(&self, bytes: &[u8], asked: &Outcome) {
        let (got, out) = self.run(names::PROG_LB, bytes);
        assert_eq!(got, action(asked), "live program and dry run differ: {asked:?}");
        match asked {
            Outcome::Sent { frame, .. } | Outcome::Answered { frame, .. } => {
                assert_eq!(&out, frame, "live program and dry run write differently");
            }
            Outcome::Stopped(_) if got == PASS => assert_eq!(out, bytes, "a passed frame changed"),
            Outcome::Stopped(_) => {}
        }
    }

    /// A frame through everything: the dry run says what the model says and writes nothing, the live program does it and counts exactly
    /// this frame.
    pub(crate) fn watched(&self, bytes: &[u8]) -> (Outcome, Explain) {
        let before = self.counted.take().unwrap_or_else(|| self.counts());
        let written = self.written();
        let (outcome, told) = self.ask(bytes);
        assert!(self.written() == written, "the dry run wrote something");
        let judged = self.modelled.get().then(|| self.judge(bytes, self.now()));
        self.send(bytes, &outcome);
        let after = self.counts();
        if let Some(judged) = judged {
            let mut expected = before;
            expected.add(bytes.len(), &judged);
            assert_eq!(after, expected, "counters after {judged:?}");
        }
        self.counted.replace(Some(after));
        (outcome, told)
    }

    /// Sends one packet of a flow, watched; where it went, in a word.
    pub(crate) fn packet(&self, flow: Flow, kind: Kind) -> String {
        self.watched(&frame(flow, kind)).0.short()
    }

    /// Where a packet of a flow would go, in a word.
    pub(crate) fn whereto(&self, flow: Flow, kind: Kind) -> String {
        self.ask(&frame(flow, kind)).0.short()
    }

    /// The index of a backend (`pool/name`).
    pub(crate) fn index(&self, name: &str) -> u16 {
        *self.placed.known.iter().find(|(_, known)| known.id.to_string() == name).unwrap().0
    }
}

/// Backend, time of the last use, closing.
pub(crate) type Mark = (u16, u16, bool);

/// Sources are forgotten after 5 minutes, which has so many ticks at most; everything else sooner.
const OVER: u16 = 250;

const ORDER: std::sync::atomic::Ordering = std::sync::atomic::Ordering::SeqCst;

/// Tables that the program writes.
const WRITTEN: [&str; 8] = [
    names::STAMPS,
    names::PROBATION,
    names::PROTECTED,
    names::FLOWS_NEW,
    names::FLOWS,
    names::SOURCES,
    names::CURSORS,
    names::FRAGMENTS,
];

/// Sizes for a handful of pools.
pub(crate) fn small() -> Limits {
    Limits {
        services: 64,
        backends: 64,
        pools: 16,
        slots: 4096,
        pins: 1024,
        flows: 4096,
        sources: 1024,
        prefixes: 64,
    }
}
