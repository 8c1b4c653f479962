//! The load as the lab sees it: a process in the client's namespace whose events are collected.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    path::Path,
    process::Stdio,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use tokio::{
    io::{AsyncBufReadExt as _, BufReader},
    process::{Child, ChildStdin, Command},
    task::JoinHandle,
    time::{Instant, sleep, timeout},
};

use super::{
    client::event::{Event, Kind, Request, now},
    site::{CLIENT, Family, HTTP},
};

/// For the last transfers after the load was told to stop.
const PATIENCE: Duration = Duration::from_mins(1);

/// Running load of one address family. Dropping it ends it.
#[derive(Debug)]
pub(super) struct Load {
    child: Child,
    family: Family,
    /// Its end is the signal to stop.
    stdin: Option<ChildStdin>,
    log: Arc<Mutex<Log>>,
    reader: JoinHandle<Result<()>>,
}

/// What happened so far.
#[derive(Debug, Default)]
pub(super) struct Log {
    /// In the order in which they ended.
    pub(super) requests: Vec<Request>,
    /// Transfers under way: host and beginning, by id.
    pub(super) under_way: BTreeMap<u64, (String, u64)>,
    /// Also those that were forgotten since.
    pub(super) total: u64,
    pub(super) failed: u64,
}

impl Load {
    /// Starts sending to the family's VIP.
    pub(super) fn start(family: Family, certificate: &Path) -> Result<Self> {
        let mut child = Command::new("ip")
            .args(["netns", "exec", CLIENT])
            .arg(env::current_exe()?)
            .args(["lab-client", &family.vip().to_string(), "--certificate"])
            .arg(certificate)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("starting the load")?;
        let stdin = child.stdin.take();
        let stdout = child.stdout.take().context("the load's output is not piped")?;
        let log = Arc::new(Mutex::new(Log::default()));
        let filled = Arc::clone(&log);
        let reader = tokio::spawn(async move {
            let mut lines = BufReader::new(stdout).lines();
            while let Some(line) = lines.next_line().await? {
                let event = serde_json::from_str(&line).with_context(|| format!("the load said: {line}"))?;
                lock(&filled).add(event);
            }
            Ok(())
        });
        Ok(Self { child, family, stdin, log, reader })
    }

    /// Begins a SYN flood beside the load, to the same VIP; it ends when it is dropped, and in any case after `seconds`.
    pub(super) fn flood(&self, rate: u16, seconds: u16) -> Result<Child> {
        Command::new("ip")
            .args(["netns", "exec", CLIENT])
            .arg(env::current_exe()?)
            .args(["lab-client", &self.family.vip().to_string(), "--flood"])
            .args([HTTP.to_string(), rate.to_string(), seconds.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .context("starting the flood")
    }

    /// Looks at what happened.
    pub(super) fn look<T>(&self, question: impl FnOnce(&mut Log) -> T) -> T {
        question(&mut lock(&self.log))
    }

    /// Waits until the answer is yes.
    pub(super) async fn until(
        &mut self,
        what: &str,
        patience: Duration,
        mut question: impl FnMut(&Log) -> bool,
    ) -> Result<()> {
        let deadline = Instant::now() + patience;
        while !self.look(|log| question(log)) {
            if let Some(status) = self.child.try_wait()? {
                bail!("the load has ended by itself: {status}");
            }
            if Instant::now() > deadline {
                let (total, failed) = self.look(|log| (log.total, log.failed));
                bail!(
                    "not within {} s: {what} ({total} requests so far, {failed} failed)",
                    patience.as_secs()
                );
            }
            sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Waits for so many requests on new connections that began at `from` or later.
    pub(super) async fn until_new(&mut self, number: usize, from: u64) -> Result<()> {
        self.until(&format!("{number} requests on new connections"), Duration::from_mins(1), |log| {
            log.short_since(from).count() >= number
        })
        .await
    }

    /// Ends the load, letting transfers finish; everything that happened.
    pub(super) async fn finish(mut self) -> Result<Log> {
        drop(self.stdin.take());
        let Ok(ended) = timeout(PATIENCE, self.reader).await else {
            bail!("the load does not end within {} s", PATIENCE.as_secs());
        };
        ended??;
        let status = self.child.wait().await?;
        if !status.success() {
            bail!("the load ended with {status}");
        }
        Ok(std::mem::take(&mut *lock(&self.log)))
    }
}

impl Log {
    fn add(&mut self, event: Event) {
        match event {
            Event::Began { id, host, at } => {
                self.under_way.insert(id, (host, at));
            }
            Event::Ended(request) => {
                self.under_way.remove(&request.id);
                self.total += 1;
                self.failed += u64::from(request.error.is_some());
                self.requests.push(request);
            }
        }
    }

    /// Requests on connections of their own that began at `from` or later.
    pub(super) fn short_since(&self, from: u64) -> impl Iterator<Item = &Request> {
        // From the latest back. Whoever ended before `from` began before it; a second is for ends told out of order.
        let recent = self.requests.iter().rev().take_while(move |r| r.end + 1_000_000 >= from);
        recent.filter(move |r| r.kind == Kind::Short && r.start >= from)
    }

    /// Transfers that a host serves now, not older than `age`.
    pub(super) fn transfers_on(&self, host: &str, age: Duration) -> BTreeSet<u64> {
        let oldest = now().saturating_sub(u64::try_from(age.as_micros()).unwrap_or(u64::MAX));
        self.under_way.iter().filter(|(_, (on, at))| on == host && *at >= oldest).map(|(id, _)| *id).collect()
    }

    /// Drops what ended before `from`; the sums stay.
    pub(super) fn forget_before(&mut self, from: u64) {
        let first = self.requests.partition_point(|request| request.end < from);
        self.requests.drain(..first);
    }
}

/// A panic while adding cannot leave a log half changed.
fn lock(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::client::event::Via;

    fn short(id: u64, start: u64, end: u64) -> Event {
        Event::Ended(Request {
            id,
            kind: Kind::Short,
            via: Via::Http,
            host: None,
            opened: true,
            start,
            end,
            error: None,
        })
    }

    #[test]
    fn a_transfer_is_under_way_until_it_ends() {
        let mut log = Log::default();
        let began = |id, host: &str, at| Event::Began { id, host: host.to_owned(), at };
        log.add(began(1, "b1", now()));
        log.add(began(2, "b1", 5));
        log.add(began(3, "b2", now()));
        assert_eq!(log.transfers_on("b1", Duration::MAX), BTreeSet::from([1, 2]));
        assert_eq!(log.transfers_on("b1", Duration::from_secs(5)), BTreeSet::from([1]));
        log.add(short(1, 1, 2));
        assert_eq!(log.transfers_on("b1", Duration::MAX), BTreeSet::from([2]));
    }

    #[test]
    fn requests_count_from_their_beginning_also_when_told_out_of_order() {
        let mut log = Log::default();
        for (id, start, end) in [(1, 10, 20), (2, 30, 60), (3, 40, 50), (4, 5, 55)] {
            log.add(short(id, start, end));
        }
        let ids: BTreeSet<u64> = log.short_since(30).map(|r| r.id).collect();
        assert_eq!(ids, BTreeSet::from([2, 3]));
    }

    #[test]
    fn what_is_forgotten_stays_in_the_sums() {
        let mut log = Log::default();
        log.add(short(1, 1, 2));
        log.add(short(2, 3, 4));
        log.forget_before(3);
        assert_eq!((log.requests.len(), log.total, log.failed), (1, 2, 0));
    }
}
