//! What happens to pools and balancers while connections live.

use lb_common::counter::PinEvent;
use lb_userspace::model::Disposition;

use crate::{
    balancer::{Balancer, Flags, backend, name, pool},
    flows::{Dice, Flows},
};

/// New connections a second.
const BIRTHS: u64 = 12;
const BACKENDS: u8 = 8;
/// Pins there is room for: more than there are connections, few enough for a flood to matter.
const PINS: u32 = 65_536;

/// One balancer or several, their connections, and the time.
struct Site {
    balancers: Vec<Option<Balancer>>,
    flows: Flows,
    dice: Dice,
    now: u64,
}

impl Site {
    fn new(balancers: usize) -> Option<Self> {
        let balancers: Vec<_> = (0..balancers).map(|_| Balancer::new(pool(BACKENDS), PINS)).collect();
        balancers.iter().all(Option::is_some).then(|| Self {
            balancers,
            flows: Flows::default(),
            dice: Dice(7),
            now: 0,
        })
    }

    fn run(&mut self, seconds: u64) {
        for _ in 0..seconds {
            self.now += 1;
            self.flows.second(self.now, BIRTHS, &self.balancers, &mut self.dice);
            for balancer in self.balancers.iter_mut().flatten() {
                balancer.second();
            }
        }
    }

    /// On all balancers, as an operator's command reaches all.
    fn dispose(&mut self, n: u8, disposition: Disposition) {
        for balancer in self.balancers.iter_mut().flatten() {
            balancer.set(n, |b| b.disposition = disposition);
        }
    }

    fn one(&mut self) -> &mut Balancer {
        self.balancers[0].as_mut().unwrap()
    }

    fn unbroken(&self, what: &str) {
        assert!(self.flows.right > 1_000, "{what}: too little was seen: {}", self.flows.right);
        assert_eq!(self.flows.broken, 0, "{what}: of {} packets", self.flows.right);
    }
}

#[test]
fn a_rolling_drain_of_every_backend_breaks_nothing() {
    let Some(mut site) = Site::new(1) else { return };
    site.run(60);
    for n in 1..=BACKENDS {
        site.dispose(n, Disposition::Draining);
        let of = site.flows.of(n);
        assert!(of > 0, "cp{n} had nothing to drain");
        // Some are back before they are empty, and the next one begins while the last transition lasts.
        site.run(40);
        assert!(site.flows.of(n) <= of, "cp{n} got new connections while it drained");
        site.dispose(n, Disposition::Serving);
        site.run(20);
        site.unbroken(&format!("cp{n}"));
    }
    site.run(100);
    site.unbroken("afterwards");
    assert!(site.flows.live() > 500, "{}", site.flows.live());
}

#[test]
fn flaps_weights_additions_and_removals_on_top_of_each_other_break_nothing_of_the_living() {
    let Some(mut site) = Site::new(1) else { return };
    site.run(60);
    for round in 0..40u64 {
        let n = 1 + (site.dice.below(u64::from(BACKENDS) - 1)) as u8;
        match round % 5 {
            0 => site.dispose(n, Disposition::Draining),
            1 => site.one().set(n, |b| b.weight = 3.try_into().unwrap()),
            2 => {
                // A host dies: its connections are lost with it, nobody else's.
                site.dispose(n, Disposition::Down);
                site.flows.died(n);
            }
            3 => {
                let new = 9 + (round / 5) as u8;
                let pool = site.one().desired.pools.values_mut().next().unwrap();
                pool.backends.insert(name(new), backend(new).1);
                site.one().apply();
            }
            _ => {
                for back in 1..=BACKENDS {
                    site.one().set(back, |b| {
                        b.disposition = Disposition::Serving;
                        b.weight = 10.try_into().unwrap();
                    });
                }
                // Removed from the configuration: drains.
                let gone = 9 + (round / 5) as u8;
                if round % 10 == 4 {
                    site.one().desired.pools.values_mut().next().unwrap().backends.remove(&name(gone));
                    site.one().apply();
                }
            }
        }
        site.run(1 + round % 13);
        site.unbroken(&format!("round {round}"));
    }
}

#[test]
fn slots_become_stable_again_and_nothing_breaks_then_either() {
    let Some(mut site) = Site::new(1) else { return };
    site.run(60);
    site.dispose(1, Disposition::Draining);
    site.run(30);
    assert!(site.one().in_transition() > 0);
    // The longest connections of the drained host end; then nothing but the new owners is used for `idle`.
    site.run(900 + crate::balancer::IDLE + 60);
    assert_eq!(site.one().in_transition(), 0);
    site.unbroken("long after");
}

#[test]
fn a_syn_flood_during_drains_breaks_nothing() {
    let Some(mut site) = Site::new(1) else { return };
    site.run(60);
    let mut n = 0u32;
    for drained in 1..=4 {
        site.dispose(drained, Disposition::Draining);
        for _ in 0..5 {
            // Several times what the probation tier holds for a second, from everywhere.
            for _ in 0..12_000 {
                n += 1;
                let src = std::net::Ipv4Addr::from(0xc612_0000 | n.wrapping_mul(0x9E37_79B1) >> 15);
                site.one().packet(src, (n % 60_000 + 1024) as u16, Flags::Syn);
            }
            site.run(3);
        }
        site.unbroken(&format!("cp{drained}"));
    }
    assert!(site.one().event(PinEvent::Frozen) > 0, "the flood filled nothing: nothing was proved");
    for drained in 1..=4 {
        site.dispose(drained, Disposition::Serving);
    }
    site.run(60);
    site.unbroken("afterwards");
}

#[test]
fn balancers_with_equal_tables_stand_in_for_each_other() {
    let Some(mut site) = Site::new(3) else { return };
    site.run(120);
    // One leaves, and its connections reach the others; then it returns with empty pins.
    let left = site.balancers[1].take();
    site.run(60);
    site.unbroken("one left");
    drop(left);
    site.balancers[1] = Balancer::new(pool(BACKENDS), PINS);
    site.run(60);
    site.unbroken("it returned");
    // A change of the pool while all stand: each pins what it sees.
    site.dispose(2, Disposition::Draining);
    site.run(60);
    site.unbroken("a drain on all three");
}

#[test]
fn a_balancer_lost_during_a_drain_costs_only_connections_that_were_younger_than_the_drain() {
    let Some(mut site) = Site::new(3) else { return };
    site.run(120);
    site.dispose(2, Disposition::Draining);
    site.run(30);
    site.unbroken("before the loss");
    // What was born in slots in transition is pinned on the balancer that saw it, and on no other: those connections, and no others, go
    // to the slot's base now. An eighth of the slots is in transition, a third of the ways is lost or moved.
    let live = site.flows.live() as u64;
    site.balancers[1] = None;
    site.run(20);
    assert!(site.flows.broken > 0, "a loss that costs nothing: this test cannot see what it looks for");
    assert!(site.flows.broken < live / 4, "{} packets of {live} connections went wrong", site.flows.broken);
}
