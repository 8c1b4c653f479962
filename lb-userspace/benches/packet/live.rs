//! Pairs of veths that live frames go through: out of the near end, into the program under test on the far end, back into the sink.

use std::process::Command;

use anyhow::{Context, Result, ensure};
use nix::{
    net::if_::if_nametoindex,
    sched::{CloneFlags, unshare},
};

use crate::{case::Case, driver::Harness, frame::Frame, world::Site};

/// Makes pairs, each for one program.
pub(crate) struct Veths<'h> {
    harness: &'h mut Harness,
    made: u32,
}

/// Moves this process into a network namespace of its own, which goes with it, and what was made in it.
pub(crate) fn leave_network() -> Result<()> {
    unshare(CloneFlags::CLONE_NEWNET).context("making a network namespace")
}

impl<'h> Veths<'h> {
    pub(crate) fn new(harness: &'h mut Harness) -> Self {
        Self { harness, made: 0 }
    }

    /// A pair whose far end swaps the MAC addresses and sends back. With the action `DROP` frames are only made and never sent.
    pub(crate) fn floor(&mut self, name: &'static str, frame: Frame, action: u32) -> Result<Case> {
        let (near, far) = self.pair()?;
        self.harness.attach("bench_floor_tx", &far)?;
        Ok(Case::live(name, index(&near)?, None, frame, action))
    }

    /// A pair whose far end is a balancer of this kind.
    pub(crate) fn ours(&mut self, name: &'static str, site: Site, frame: Frame) -> Result<Case> {
        let (near, far) = self.pair()?;
        let world = Site { ifindex: index(&far)?, ..site }.stable();
        world.world()?.attach(&far).with_context(|| format!("attaching to {far}"))?;
        Ok(Case::live(name, index(&near)?, Some(world), frame, crate::case::TX))
    }

    fn pair(&mut self) -> Result<(String, String)> {
        let (near, far) = (format!("near{}", self.made), format!("far{}", self.made));
        self.made += 1;
        ip(&["link", "add", &near, "type", "veth", "peer", "name", &far])?;
        for end in [&near, &far] {
            // Nobody listens here: no router solicitations between the frames.
            std::fs::write(format!("/proc/sys/net/ipv6/conf/{end}/disable_ipv6"), "1")
                .with_context(|| format!("disabling IPv6 on {end}"))?;
            ip(&["link", "set", end, "up"])?;
        }
        self.harness.attach("bench_sink", &near)?;
        Ok((near, far))
    }
}

fn index(interface: &str) -> Result<u32> {
    if_nametoindex(interface).with_context(|| interface.to_owned())
}

fn ip(words: &[&str]) -> Result<()> {
    let output = Command::new("ip").args(words).output().context("running `ip` (of iproute2)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "ip {}: {}", words.join(" "), said.trim_end());
    Ok(())
}
