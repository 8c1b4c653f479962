//! `--wait`: look until the backends are where they should be, or until the time is up.

use std::{
    io::Write,
    time::{Duration, Instant},
};

use super::{
    exit::Failure,
    output::plain,
    units::{age, short},
};
use crate::{
    api::{
        client::{Client, ClientError},
        types::{Backend, Backends, Connections, Disposition, Selector, Share},
    },
    cli::output::DIM,
};

/// Between two looks: first soon, as most changes are quick.
const FIRST_LOOK: Duration = Duration::from_millis(100);
const LOOK: Duration = Duration::from_secs(1);

/// Every pin that was made before this much silence has been counted.
const COUNTED: Duration = Duration::from_secs(2);

/// What is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Goal {
    /// New connections go there, and the kernel knows.
    Serving,
    /// No connection is left: none is active where all are tracked; else no slot and no pin keeps one for it, or not a packet came for
    /// `quiet`.
    Drained {
        /// That long.
        quiet: Duration,
    },
    /// The kernel has the wanted tables.
    Written,
}

/// How far one look is from the goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There.
    Done,
    /// Not yet: what is missing, per backend.
    Waiting(Vec<String>),
    /// It will never be: somebody wants something else.
    Lost(String),
}

/// Judges one look. `waited` is the time since the first one.
pub fn judge(goal: Goal, now: &Backends, waited: Duration) -> Progress {
    if now.revision < now.wanted_revision {
        return Progress::Waiting(vec!["the kernel's tables are being written".into()]);
    }
    let mut missing = Vec::new();
    for b in &now.backends {
        let id = plain(&format!("{}/{}", b.pool, b.name));
        match goal {
            Goal::Written => {}
            Goal::Serving => {
                if b.pooled != crate::model::Pooled::Yes {
                    return Progress::Lost(format!("{id} was set to pooled={} meanwhile", b.pooled));
                }
                if !serves(b) {
                    let why = if b.why.is_empty() { String::new() } else { format!(": {}", plain(&b.why)) };
                    missing.push(format!("{id} is {}{why}", b.state));
                }
            }
            Goal::Drained { quiet } => {
                if b.state.takes_new() {
                    return Progress::Lost(format!("{id} takes new connections again: it is {}", b.state));
                }
                let connections = b.connections.unwrap_or_default();
                missing.extend(still_draining(&id, b.table.unwrap_or_default(), connections, quiet, waited));
            }
        }
    }
    if let Goal::Drained { quiet } = goal {
        for l in &now.leaving {
            let id = plain(&format!("{}/{}", l.pool, l.name));
            missing.extend(still_draining(&id, l.table, l.connections, quiet, waited));
        }
    }
    if missing.is_empty() { Progress::Done } else { Progress::Waiting(missing) }
}

fn serves(b: &Backend) -> bool {
    b.state == Disposition::Serving && (b.weight == 0 || b.table.is_some_and(|share| share.slots > 0))
}

/// `None` when nothing is left. A backend that never had a packet is as quiet as we have watched it. Flows that began while their slots
/// were in transition are bound by pins alone; those are counted once a second. Where every connection is tracked none of this is needed:
/// they are counted.
fn still_draining(
    id: &str,
    share: Share,
    connections: Connections,
    quiet: Duration,
    waited: Duration,
) -> Option<String> {
    if connections.exact {
        let gone = connections.active == 0 && waited >= COUNTED;
        let inactive = connections.inactive;
        return (share.slots > 0 || !gone)
            .then(|| format!("{id}: {} active connection(s), {inactive} inactive", connections.active));
    }
    let silent = share.quiet_for.unwrap_or(waited.as_secs());
    let unbound = share.draining_slots == 0 && share.pins == 0 && silent >= COUNTED.as_secs();
    let gone = unbound || silent >= quiet.as_secs();
    if share.slots == 0 && gone {
        return None;
    }
    Some(format!(
        "{id}: {} slot(s) drain, {} flow(s) pinned, quiet for {}",
        share.draining_slots,
        share.pins,
        age(silent)
    ))
}

/// Looks until the goal is reached. Progress goes to stderr.
pub async fn run(client: &Client, selector: &Selector, goal: Goal, limit: Duration) -> Result<(), Failure> {
    let path = match &selector.pool {
        Some(pool) => format!("/api/v1/backends/{}?pool={pool}", selector.backend),
        None => format!("/api/v1/backends/{}", selector.backend),
    };
    let begin = Instant::now();
    let mut pause = FIRST_LOOK;
    let mut before: Option<(Instant, u64)> = None;
    let mut said = String::new();
    let mut missing = Vec::new();
    loop {
        match client.get::<Backends>(&path).await {
            Ok(now) => {
                match judge(goal, &now, begin.elapsed()) {
                    Progress::Done => return Ok(()),
                    Progress::Lost(why) => {
                        return Err(Failure::refused(why, "somebody else changed it; see `lbctl status`"));
                    }
                    Progress::Waiting(now) => missing = now,
                }
                let packets = total_packets(&now);
                let rate = before.map(|(when, then)| rate(packets.saturating_sub(then), when.elapsed()));
                before = Some((Instant::now(), packets));
                let line = missing.join("; ");
                let line = match (goal, rate) {
                    (Goal::Drained { .. }, Some(rate)) => format!("{line}, {} packets/s", short(rate)),
                    _ => line,
                };
                say(&mut said, &line);
            }
            // Gone from the configuration and from the tables: nothing is left to wait for, unless it should serve.
            Err(ClientError::Answer { status: 404, .. }) if matches!(goal, Goal::Drained { .. }) => {
                return Ok(());
            }
            // A restart of the daemon keeps the tables; it will be back.
            Err(ClientError::Unreachable { .. }) => say(&mut said, "lbd is not reachable, trying again"),
            Err(error) => return Err(error.into()),
        }
        let left = limit.saturating_sub(begin.elapsed());
        if left.is_zero() {
            return Err(Failure::refused(
                format!("not reached within {}: {}", age(limit.as_secs()), missing.join("; ")),
                "the change itself stands; repeat the command with a longer --wait to wait on",
            ));
        }
        tokio::time::sleep(pause.min(left)).await;
        pause = (pause * 2).min(LOOK);
    }
}

fn say(said: &mut String, line: &str) {
    if said != line {
        // Progress nobody can read is no reason to stop waiting.
        let _ = writeln!(anstream::stderr().lock(), "{DIM}waiting: {line}{DIM:#}");
        line.clone_into(said);
    }
}

fn total_packets(backends: &Backends) -> u64 {
    backends.backends.iter().filter_map(|b| b.traffic).map(|traffic| traffic.packets).sum()
}

#[expect(clippy::cast_precision_loss, reason = "a rate for people")]
fn rate(packets: u64, time: Duration) -> f64 {
    packets as f64 / time.as_secs_f64().max(0.001)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::{fixture::Site, moment::Moment, view};

    fn look(change: impl FnOnce(&mut Backends)) -> Backends {
        let site = Site::new();
        let moment = Moment::with_counters(&site.sources);
        let mut backends = view::backends(&moment, "cp1002", None).unwrap();
        change(&mut backends);
        backends
    }

    const DRAINED: Goal = Goal::Drained { quiet: Duration::from_mins(1) };

    fn share(backends: &mut Backends) -> &mut Share {
        backends.backends[0].table.as_mut().unwrap()
    }

    #[test]
    fn slots_that_drain_are_waited_for() {
        let now = look(|_| {});
        assert!(
            matches!(judge(DRAINED, &now, Duration::ZERO), Progress::Waiting(why) if why[0].contains("1200 slot(s)"))
        );
    }

    #[test]
    fn no_draining_slot_or_a_minute_of_silence_ends_the_wait() {
        let now = look(|b| {
            share(b).draining_slots = 0;
            share(b).pins = 0;
            share(b).quiet_for = Some(2);
        });
        assert_eq!(judge(DRAINED, &now, Duration::ZERO), Progress::Done);
        let now = look(|b| share(b).quiet_for = Some(60));
        assert_eq!(judge(DRAINED, &now, Duration::ZERO), Progress::Done);
        let now = look(|b| share(b).quiet_for = None);
        assert!(matches!(judge(DRAINED, &now, Duration::from_secs(59)), Progress::Waiting(_)));
        assert_eq!(judge(DRAINED, &now, Duration::from_mins(1)), Progress::Done);
    }

    #[test]
    fn where_connections_are_counted_the_last_active_one_ends_the_wait_and_silence_does_not() {
        let counted = |active| {
            look(|b| {
                b.backends[0].connections = Some(Connections { active, inactive: 3, exact: true });
                share(b).quiet_for = Some(600);
            })
        };
        let later = Duration::from_mins(5);
        assert!(
            matches!(judge(DRAINED, &counted(1), later), Progress::Waiting(why) if why[0].ends_with("1 active connection(s), 3 inactive"))
        );
        assert_eq!(judge(DRAINED, &counted(0), later), Progress::Done, "slots may still be in transition");
        assert!(
            matches!(judge(DRAINED, &counted(0), Duration::from_secs(1)), Progress::Waiting(_)),
            "not counted yet"
        );
    }

    #[test]
    fn flows_that_only_pins_hold_are_waited_for() {
        let pinned = look(|b| {
            share(b).draining_slots = 0;
            share(b).pins = 1;
            share(b).quiet_for = Some(9);
        });
        assert!(matches!(judge(DRAINED, &pinned, Duration::from_secs(9)), Progress::Waiting(_)));
        let not_counted_yet = look(|b| {
            share(b).draining_slots = 0;
            share(b).pins = 0;
            share(b).quiet_for = Some(1);
        });
        assert!(matches!(judge(DRAINED, &not_counted_yet, Duration::from_secs(9)), Progress::Waiting(_)));
    }

    #[test]
    fn a_table_that_the_kernel_lacks_proves_nothing() {
        let now = look(|b| {
            share(b).draining_slots = 0;
            b.wanted_revision += 1;
        });
        assert!(matches!(judge(DRAINED, &now, Duration::ZERO), Progress::Waiting(_)));
        let now = look(|b| {
            share(b).draining_slots = 0;
            share(b).slots = 1;
        });
        assert!(matches!(judge(DRAINED, &now, Duration::ZERO), Progress::Waiting(_)));
    }

    #[test]
    fn a_backend_that_somebody_pooled_again_is_not_waited_for() {
        let now = look(|b| b.backends[0].state = Disposition::Serving);
        assert!(matches!(judge(DRAINED, &now, Duration::ZERO), Progress::Lost(_)));
        let now = look(|_| {});
        assert!(matches!(judge(Goal::Serving, &now, Duration::ZERO), Progress::Lost(_)));
    }

    #[test]
    fn serving_means_that_new_connections_go_there() {
        let serving = |slots: u32, state: Disposition| {
            look(|b| {
                b.backends[0].pooled = crate::model::Pooled::Yes;
                b.backends[0].state = state;
                share(b).slots = slots;
            })
        };
        let judge = |now| judge(Goal::Serving, &now, Duration::ZERO);
        assert_eq!(judge(serving(9, Disposition::Serving)), Progress::Done);
        assert!(matches!(judge(serving(0, Disposition::Serving)), Progress::Waiting(_)));
        assert!(matches!(judge(serving(9, Disposition::Held)), Progress::Waiting(_)));
    }
}
