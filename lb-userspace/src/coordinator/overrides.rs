//! What operators changed by command, and the document it is kept in.
//!
//! Wish and weight of a backend are two settings with their own author, reason and end, so that a weight for ten minutes does not end a
//! depool that was meant to last.

use std::{
    collections::BTreeMap,
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};

use super::snapshot::Override;
use crate::model::{BackendId, Pooled, Weight};

/// An override of a backend that left the configuration is kept so long, for its return.
pub const KEPT_WHILE_ABSENT: Duration = Duration::from_hours(24);

/// The document's version this program writes, and the newest it reads.
pub const VERSION: u32 = 1;

/// One overridden value and its circumstances.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Setting<T> {
    /// The value in force instead of the file's.
    pub value: T,
    /// Login name of who asked.
    pub by: String,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Since when.
    #[serde(with = "unix")]
    pub since: SystemTime,
    /// Until when; `None`: until somebody changes it.
    #[serde(default, with = "unix_option", skip_serializing_if = "Option::is_none")]
    pub until: Option<SystemTime>,
}

impl<T> Setting<T> {
    fn expired(&self, now: SystemTime) -> bool {
        self.until.is_some_and(|until| until <= now)
    }
}

/// What is overridden on one backend.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The wish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pooled: Option<Setting<Pooled>>,
    /// The weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weight: Option<Setting<Weight>>,
    /// Since when the configuration has no such backend.
    #[serde(default, with = "unix_option", skip_serializing_if = "Option::is_none")]
    pub absent_since: Option<SystemTime>,
}

impl Entry {
    fn is_empty(&self) -> bool {
        self.pooled.is_none() && self.weight.is_none()
    }

    /// Without what has ended at `now`.
    #[must_use]
    pub fn unexpired(&self, now: SystemTime) -> Self {
        let mut entry = self.clone();
        entry.pooled.take_if(|setting| setting.expired(now));
        entry.weight.take_if(|setting| setting.expired(now));
        entry
    }

    /// Both settings as one line for people: author, reason and start of the later one; the end that comes first.
    pub fn view(&self) -> Option<Override> {
        let pooled = self.pooled.as_ref().map(|s| (s.since, &s.by, &s.reason, s.until));
        let weight = self.weight.as_ref().map(|s| (s.since, &s.by, &s.reason, s.until));
        let (since, by, reason, _) = pooled.max(weight)?;
        let until = [pooled, weight].into_iter().flatten().filter_map(|s| s.3).min();
        Some(Override {
            pooled: self.pooled.as_ref().map(|s| s.value),
            weight: self.weight.as_ref().map(|s| s.value),
            by: by.clone(),
            reason: reason.clone(),
            since,
            until,
        })
    }
}

/// All overrides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overrides(BTreeMap<BackendId, Entry>);

impl Overrides {
    /// What is overridden on a backend.
    pub fn get(&self, id: &BackendId) -> Option<&Entry> {
        self.0.get(id)
    }

    /// Sets or, if nothing is left in it, drops a backend's entry.
    pub fn put(&mut self, id: &BackendId, entry: Entry) {
        if entry.is_empty() {
            self.0.remove(id);
        } else {
            self.0.insert(id.clone(), entry);
        }
    }

    /// Those with a setting that has ended at `now`.
    pub fn expired(&self, now: SystemTime) -> Vec<BackendId> {
        self.0.iter().filter(|(_, entry)| entry.unexpired(now) != **entry).map(|(id, _)| id.clone()).collect()
    }

    /// Notes which backends the configuration has; returns those it newly lacks.
    pub fn note_absent(&mut self, now: SystemTime, present: impl Fn(&BackendId) -> bool) -> Vec<BackendId> {
        let mut gone = Vec::new();
        for (id, entry) in &mut self.0 {
            if present(id) {
                entry.absent_since = None;
            } else if entry.absent_since.is_none() {
                entry.absent_since = Some(now);
                gone.push(id.clone());
            }
        }
        gone
    }

    /// Drops those absent for longer than [`KEPT_WHILE_ABSENT`], and returns them.
    pub fn forget_absent(&mut self, now: SystemTime) -> Vec<BackendId> {
        let old = |entry: &Entry| {
            entry
                .absent_since
                .and_then(|since| now.duration_since(since).ok())
                .is_some_and(|absent| absent >= KEPT_WHILE_ABSENT)
        };
        self.0.extract_if(.., |_, entry| old(entry)).map(|(id, _)| id).collect()
    }

    /// How many backends have an override.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// As it goes to disk.
    pub fn document(&self, now: SystemTime) -> Document {
        Document {
            version: VERSION,
            saved_at: now,
            overrides: self
                .0
                .iter()
                .map(|(id, entry)| Record { id: id.clone(), entry: entry.clone() })
                .collect(),
        }
    }
}

impl From<Document> for Overrides {
    fn from(document: Document) -> Self {
        Self(document.overrides.into_iter().map(|r| (r.id, r.entry)).collect())
    }
}

/// The file `overrides.json`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Of this shape: [`VERSION`].
    pub version: u32,
    /// When it was written.
    #[serde(with = "unix")]
    pub saved_at: SystemTime,
    /// One record per backend.
    pub overrides: Vec<Record>,
}

/// A backend's entry in the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Pool and name.
    #[serde(flatten)]
    pub id: BackendId,
    /// Its overrides.
    #[serde(flatten)]
    pub entry: Entry,
}

/// Whole seconds since 1970.
mod unix {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(t: &SystemTime, s: S) -> Result<S::Ok, S::Error> {
        t.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs().serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<SystemTime, D::Error> {
        let seconds = u64::deserialize(d)?;
        UNIX_EPOCH
            .checked_add(Duration::from_secs(seconds))
            .ok_or_else(|| D::Error::custom(format!("{seconds} is not a time")))
    }
}

/// The same, or null.
mod unix_option {
    use std::time::SystemTime;

    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize)]
    struct Stamp(#[serde(with = "super::unix")] SystemTime);

    #[expect(clippy::ref_option, reason = "the signature serde asks for")]
    pub(super) fn serialize<S: Serializer>(t: &Option<SystemTime>, s: S) -> Result<S::Ok, S::Error> {
        t.map(Stamp).serialize(s)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<SystemTime>, D::Error> {
        Ok(Option::<Stamp>::deserialize(d)?.map(|stamp| stamp.0))
    }
}
