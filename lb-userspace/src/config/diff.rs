//! What changes between two configurations. Both are compared as they would be written to a file with every key, so nothing that
//! means something can change unseen.

use std::{collections::BTreeMap, fmt};

use serde::Serialize;

use super::{
    disturbs,
    print::{
        Keys, backend_keys, check_keys, global_keys, inline, limits_keys, pool_keys, service_keys,
        tunnel_keys,
    },
};
use crate::model::{Config, Pool, PoolName};

/// The keys of `[lbd]` that a running daemon can change, besides all of `[lbd.tunnel]`. The others it reads once, when it starts.
const RELOADABLE: [&str; 1] = ["icmp_rate"];

/// A key with another value. The values are as in a file; none means that the key is not there.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct KeyChange {
    /// The key, such as `weight`.
    pub key: String,
    /// Value so far.
    pub old: Option<String>,
    /// Value to come.
    pub new: Option<String>,
}

/// What happens to something that has a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "change")]
pub enum Change {
    /// It is new.
    Added {
        /// Its keys and values, as in a file.
        value: String,
    },
    /// It goes.
    Removed,
    /// It stays, with other values.
    Changed {
        /// Which.
        keys: Vec<KeyChange>,
    },
}

/// A service, backend or check that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ItemDiff {
    /// Its name.
    pub name: String,
    /// What happens.
    #[serde(flatten)]
    pub change: Change,
}

/// A pool that changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PoolDiff {
    /// Its name.
    pub name: String,
    /// What happens to the pool itself; none when only its backends or checks change.
    #[serde(flatten)]
    pub change: Option<Change>,
    /// Its backends that change.
    pub backends: Vec<ItemDiff>,
    /// Its checks that change.
    pub checks: Vec<ItemDiff>,
}

/// Everything that changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Diff {
    /// Keys of `[lbd]` and `[lbd.limits]` that change only with a restart of the daemon.
    pub restart: Vec<KeyChange>,
    /// Other keys of `[lbd]` and `[lbd.tunnel]`.
    pub global: Vec<KeyChange>,
    /// Pools.
    pub pools: Vec<PoolDiff>,
    /// Services.
    pub services: Vec<ItemDiff>,
    /// What of this moves established connections, in sentences.
    pub disturbs: Vec<String>,
}

impl Diff {
    /// One line for each change; none: nothing changes.
    pub fn lines(&self) -> Vec<String> {
        if self.is_empty() { Vec::new() } else { self.to_string().lines().map(str::to_owned).collect() }
    }

    /// Whether nothing changes.
    pub fn is_empty(&self) -> bool {
        // What disturbs is one of the others.
        let Self { restart, global, pools, services, disturbs: _ } = self;
        restart.is_empty() && global.is_empty() && pools.is_empty() && services.is_empty()
    }

    /// Whether part of it waits for a restart of the daemon.
    pub fn needs_restart(&self) -> bool {
        !self.restart.is_empty()
    }
}

/// What has to change to make `old` into `new`.
pub fn diff(old: &Config, new: &Config) -> Diff {
    let (before, after) = (&old.global, &new.global);
    let (mut global, mut restart): (Vec<_>, Vec<_>) = key_changes(global_keys(before), global_keys(after))
        .into_iter()
        .partition(|change| RELOADABLE.contains(&&*change.key));
    let within = |table: &str, changes: Vec<KeyChange>| {
        let named = |change: KeyChange| KeyChange { key: format!("{table}.{}", change.key), ..change };
        changes.into_iter().map(named).collect::<Vec<_>>()
    };
    restart.extend(within("limits", key_changes(limits_keys(&before.limits), limits_keys(&after.limits))));
    global.extend(within("tunnel", key_changes(tunnel_keys(&before.tunnel), tunnel_keys(&after.tunnel))));
    Diff {
        restart,
        global,
        pools: pools(old, new),
        services: items(
            old.services.iter().map(|(name, s)| (name.as_str(), service_keys(s))),
            new.services.iter().map(|(name, s)| (name.as_str(), service_keys(s))),
        ),
        disturbs: disturbs::disturbs(old, new),
    }
}

fn pools(old: &Config, new: &Config) -> Vec<PoolDiff> {
    let own = items(
        old.pools.iter().map(|(name, pool)| (name.as_str(), pool_keys(pool))),
        new.pools.iter().map(|(name, pool)| (name.as_str(), pool_keys(pool))),
    );
    let mut own: BTreeMap<String, Change> = own.into_iter().map(|item| (item.name, item.change)).collect();
    let mut names: Vec<&str> = old.pools.keys().chain(new.pools.keys()).map(PoolName::as_str).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter_map(|name| {
            let (before, after) = (old.pools.get(name).map(|p| &**p), new.pools.get(name).map(|p| &**p));
            let diff = PoolDiff {
                name: name.to_owned(),
                change: own.remove(name),
                backends: items(backends(before), backends(after)),
                checks: items(checks(before), checks(after)),
            };
            let same = diff.change.is_none() && diff.backends.is_empty() && diff.checks.is_empty();
            (!same).then_some(diff)
        })
        .collect()
}

fn backends(pool: Option<&Pool>) -> impl Iterator<Item = (&str, Keys)> {
    pool.into_iter()
        .flat_map(|pool| pool.backends.iter().map(|(name, backend)| (name.as_str(), backend_keys(backend))))
}

fn checks(pool: Option<&Pool>) -> impl Iterator<Item = (&str, Keys)> {
    pool.into_iter().flat_map(|pool| pool.checks.iter().map(|check| (&*check.name, check_keys(check))))
}

fn items<'a>(
    old: impl Iterator<Item = (&'a str, Keys)>,
    new: impl Iterator<Item = (&'a str, Keys)>,
) -> Vec<ItemDiff> {
    let mut both: BTreeMap<&str, (Option<Keys>, Option<Keys>)> = BTreeMap::new();
    for (name, keys) in old {
        both.entry(name).or_default().0 = Some(keys);
    }
    for (name, keys) in new {
        both.entry(name).or_default().1 = Some(keys);
    }
    both.into_iter()
        .filter_map(|(name, pair)| {
            let change = match pair {
                (Some(old), Some(new)) if old == new => return None,
                (Some(old), Some(new)) => Change::Changed { keys: key_changes(old, new) },
                (None, Some(new)) => Change::Added { value: inline(new) },
                (Some(_), None) => Change::Removed,
                (None, None) => return None,
            };
            Some(ItemDiff { name: name.to_owned(), change })
        })
        .collect()
}

fn key_changes(old: Keys, new: Keys) -> Vec<KeyChange> {
    let mut old: BTreeMap<&str, String> = old.into_iter().collect();
    let mut changes = Vec::new();
    for (key, new) in new {
        let old = old.remove(key);
        if old.as_ref() != Some(&new) {
            changes.push(KeyChange { key: key.to_owned(), old, new: Some(new) });
        }
    }
    changes.extend(old.into_iter().map(|(key, old)| KeyChange {
        key: key.to_owned(),
        old: Some(old),
        new: None,
    }));
    changes
}

/// Lines that begin with `+` (added), `-` (removed), `~` (changed) or `!` (what of it moves established connections).
impl fmt::Display for Diff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("no change\n");
        }
        for change in &self.restart {
            writeln!(f, "~ lbd {change} (needs a restart)")?;
        }
        for change in &self.global {
            writeln!(f, "~ lbd {change}")?;
        }
        for pool in &self.pools {
            if let Some(change) = &pool.change {
                write_change(f, "pool", &pool.name, change)?;
            }
            for backend in &pool.backends {
                write_change(f, "backend", &format!("{}/{}", pool.name, backend.name), &backend.change)?;
            }
            for check in &pool.checks {
                write_change(f, "check", &format!("{}/{}", pool.name, check.name), &check.change)?;
            }
        }
        for service in &self.services {
            write_change(f, "service", &service.name, &service.change)?;
        }
        for sentence in &self.disturbs {
            writeln!(f, "! {sentence}")?;
        }
        Ok(())
    }
}

fn write_change(f: &mut fmt::Formatter<'_>, what: &str, name: &str, change: &Change) -> fmt::Result {
    match change {
        Change::Added { value } => writeln!(f, "+ {what} {name} {value}"),
        Change::Removed => writeln!(f, "- {what} {name}"),
        Change::Changed { keys } => keys.iter().try_for_each(|key| writeln!(f, "~ {what} {name} {key}")),
    }
}

impl fmt::Display for KeyChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let none = "(none)";
        write!(
            f,
            "{}: {} -> {}",
            self.key,
            self.old.as_deref().unwrap_or(none),
            self.new.as_deref().unwrap_or(none)
        )
    }
}
