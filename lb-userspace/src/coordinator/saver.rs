//! Writes the overrides from one place, off the coordinator's task, and holds answers back until what they promise is on disk.

use std::{future::pending, io, time::Duration};

use tokio::{
    sync::oneshot,
    task::JoinHandle,
    time::{Instant, sleep_until},
};

use super::{
    command::{Outcome, Refusal},
    overrides::Document,
    store::Store,
};

/// After a failed write the next one is tried so much later.
const RETRY: Duration = Duration::from_secs(5);

type Reply = oneshot::Sender<Result<Vec<Outcome>, Refusal>>;

/// The writer.
#[derive(Debug)]
pub(super) struct Saver {
    store: Store,
    /// Counts documents; the latest one to write.
    latest: u64,
    waiting: Option<Document>,
    not_before: Option<Instant>,
    writing: Option<(u64, Document, JoinHandle<io::Result<()>>)>,
    /// Answers, each with the document it waits for. As many as commands were taken within one write.
    replies: Vec<(u64, Reply, Vec<Outcome>)>,
    failing: bool,
}

impl Saver {
    pub(super) fn new(store: Store) -> Self {
        Self {
            store,
            latest: 0,
            waiting: None,
            not_before: None,
            writing: None,
            replies: Vec::new(),
            failing: false,
        }
    }

    /// Writes this one next; one that still waits is superseded.
    pub(super) fn save(&mut self, document: Document) {
        self.latest += 1;
        self.waiting = Some(document);
        self.not_before = None;
        self.start();
    }

    /// Sends the answer once everything given to [`Saver::save`] so far is written, or cannot be.
    pub(super) fn reply_when_saved(&mut self, reply: Reply, outcomes: Vec<Outcome>) {
        self.replies.push((self.latest, reply, outcomes));
    }

    /// Whether everything is written, or was tried and failed.
    pub(super) fn idle(&self) -> bool {
        self.writing.is_none() && (self.waiting.is_none() || self.not_before.is_some())
    }

    fn start(&mut self) {
        if self.writing.is_some() {
            return;
        }
        if let Some(document) = self.waiting.take() {
            let (store, copy) = (self.store.clone(), document.clone());
            let task = tokio::task::spawn_blocking(move || store.save(&copy));
            self.writing = Some((self.latest, document, task));
        }
    }

    /// Waits for the write under way, or for the time to try again. Cancel safe. Waits for ever when there is nothing to do.
    pub(super) async fn progress(&mut self) {
        if let Some((number, _, task)) = &mut self.writing {
            let result = task.await.unwrap_or_else(|error| Err(io::Error::other(error)));
            let number = *number;
            self.written(number, result);
        } else if let Some(at) = self.not_before {
            sleep_until(at).await;
            self.not_before = None;
        } else {
            pending::<()>().await;
        }
        if self.not_before.is_none() {
            self.start();
        }
    }

    fn written(&mut self, number: u64, result: io::Result<()>) {
        let document = self.writing.take().map(|(_, document, _)| document);
        let problem = result.err().map(|error| error.to_string());
        if let Some(problem) = &problem {
            if !self.failing {
                tracing::error!("cannot save the overrides, trying again every {RETRY:?}: {problem}");
            }
            if self.waiting.is_none() {
                self.waiting = document;
                self.not_before = Some(Instant::now() + RETRY);
            }
        } else if self.failing {
            tracing::info!("the overrides are saved again");
        }
        self.failing = problem.is_some();
        for (_, reply, mut outcomes) in self.replies.extract_if(.., |(needs, ..)| *needs <= number) {
            // A full disk must not keep an operator from taking a host out: it is done, and he is told what is missing.
            if let Some(problem) = &problem {
                for outcome in &mut outcomes {
                    let note = format!(" (but not saved, a restart forgets it: {problem})");
                    outcome.summary.push_str(&note);
                }
            }
            // Who asked may have gone.
            let _ = reply.send(Ok(outcomes));
        }
    }
}
