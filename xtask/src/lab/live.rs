//! The live view: what `lbctl list` shows and what the load sees, once a second, until somebody ends it.

use std::{fmt::Write as _, time::Duration};

use anyhow::Result;
use tokio::time::{MissedTickBehavior, interval};

use super::{
    client::event::{Request, now},
    load::{Load, Log},
    site::{BALANCER, CLIENT, Family, HOSTS, PREFIX},
    story::Site,
};

/// What the figures are of.
const WINDOW: Duration = Duration::from_secs(5);
/// Requests are forgotten after this.
const MEMORY: Duration = Duration::from_mins(1);

/// Shows it until it is dropped.
pub(super) async fn view(site: &Site) -> Result<()> {
    let mut loads = Vec::new();
    for family in Family::BOTH {
        loads.push((family, Load::start(family, &site.certificate)?));
    }
    let ctl = site.balancer.ctl_as_typed();
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tick.tick().await;
        // A daemon that was stopped by hand is a thing to look at, too.
        let list = site.balancer.ctl(&["list"]).await.unwrap_or_else(|error| format!("{error:#}\n"));
        let mut screen = format!("\x1b[H\x1b[2J{list}\n");
        for (family, load) in &loads {
            _ = writeln!(screen, "{}", load.look(|log| line(*family, log)));
        }
        _ = write!(
            screen,
            "\nIn another terminal:\n  \
             {ctl} depool b3 --reason 'to see it drain'\n  \
             {ctl} where {}:40000 {}:443\n  \
             ip netns exec {CLIENT} bash        (also {BALANCER}, {PREFIX}router, {})\n\
             Ctrl-C ends the lab and removes it.\n",
            Family::V4.client(),
            Family::V4.vip(),
            HOSTS.map(|host| host.namespace).join(", "),
        );
        print!("{screen}");
    }
}

/// A family's figures.
fn line(family: Family, log: &mut Log) -> String {
    let now = now();
    log.forget_before(now.saturating_sub(MEMORY.as_micros() as u64));
    let recent: Vec<&Request> = log.short_since(now.saturating_sub(WINDOW.as_micros() as u64)).collect();
    let shares: Vec<String> = HOSTS
        .iter()
        .map(|host| {
            let count = recent.iter().filter(|r| r.host.as_deref() == Some(host.name)).count();
            format!("{} {} %", host.name, count * 100 / recent.len().max(1))
        })
        .collect();
    let last = log.requests.iter().rev().find_map(|r| r.error.as_deref()).unwrap_or("");
    format!(
        "{}: {} requests, {} failed{}{last}; new connections of the last {} s: {}/s, {}",
        family.name(),
        log.total,
        log.failed,
        if last.is_empty() { "" } else { ", the latest: " },
        WINDOW.as_secs(),
        recent.len() as u64 / WINDOW.as_secs(),
        shares.join(", ")
    )
}
