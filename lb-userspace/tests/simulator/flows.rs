//! Connections: when they begin, speak and end, and who owns them.

use std::net::Ipv4Addr;

use crate::balancer::{Balancer, Flags};

/// A generator of numbers that is the same in every run (SplitMix64).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let x = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let x = (x ^ (x >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        x ^ (x >> 31)
    }

    /// 0 to `below` - 1.
    pub(crate) fn below(&mut self, below: u64) -> u64 {
        self.roll() % below
    }
}

/// An established connection.
struct Flow {
    src: Ipv4Addr,
    port: u16,
    owner: u8,
    ends: u64,
    /// Seconds between its packets.
    every: u64,
    /// Which of the routers' ways it takes.
    way: u64,
}

/// All connections, and what became of them.
#[derive(Default)]
pub(crate) struct Flows {
    live: Vec<Flow>,
    born: u64,
    /// Packets of established connections that reached their owner.
    pub(crate) right: u64,
    /// Those that reached somebody else, or nobody, while the owner lived.
    pub(crate) broken: u64,
    /// First packets that reached a backend.
    pub(crate) opened: u64,
}

/// Shortest and longest life of a connection, in seconds.
const LIVES: [u64; 2] = [5, 15 * 60];

/// Which balancer a connection's packets reach: the routers' equal-cost choice among those that are there.
fn reached(balancers: &[Option<Balancer>], way: u64) -> Option<&Balancer> {
    let there: Vec<&Balancer> = balancers.iter().flatten().collect();
    there.get((way % there.len().max(1) as u64) as usize).copied()
}

impl Flows {
    /// A second: `births` connections begin, others speak or end.
    pub(crate) fn second(&mut self, now: u64, births: u64, balancers: &[Option<Balancer>], dice: &mut Dice) {
        for _ in 0..births {
            self.born += 1;
            let n = self.born;
            // Ports are used again, as real ones are: after 64 k connections of a client.
            let src = Ipv4Addr::from(0xc633_6400 + (n % 251) as u32);
            let port = 1024 + (n / 251 % 60_000) as u16;
            let way = dice.roll();
            let Some(balancer) = reached(balancers, way) else { continue };
            let Some(owner) = balancer.packet(src, port, Flags::Syn) else { continue };
            self.opened += 1;
            // Few live long, most live shortly: about uniform in the logarithm.
            let least = LIVES[0] << dice.below(8);
            let life = (least + dice.below(least)).min(LIVES[1]);
            let flow = Flow { src, port, owner, ends: now + life, every: 1 + dice.below(20), way };
            self.speak(&flow, Flags::Ack, balancers);
            self.live.push(flow);
        }
        let mut live = std::mem::take(&mut self.live);
        live.retain(|flow| {
            if now >= flow.ends {
                self.speak(flow, Flags::Fin, balancers);
                return false;
            }
            if (now + u64::from(flow.port)).is_multiple_of(flow.every) {
                self.speak(flow, Flags::Ack, balancers);
            }
            true
        });
        self.live = live;
    }

    fn speak(&mut self, flow: &Flow, flags: Flags, balancers: &[Option<Balancer>]) {
        let Some(balancer) = reached(balancers, flow.way) else { return };
        if balancer.packet(flow.src, flow.port, flags) == Some(flow.owner) {
            self.right += 1;
        } else {
            self.broken += 1;
        }
    }

    /// Connections of a host that died are gone: their clients were told by a reset.
    pub(crate) fn died(&mut self, owner: u8) {
        self.live.retain(|flow| flow.owner != owner);
    }

    /// Connections there are.
    pub(crate) fn live(&self) -> usize {
        self.live.len()
    }

    /// Connections of a backend.
    pub(crate) fn of(&self, owner: u8) -> usize {
        self.live.iter().filter(|flow| flow.owner == owner).count()
    }
}
