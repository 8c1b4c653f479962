//! PyBal's endpoints, byte for byte: monitoring and restart scripts parse them. Pure.
//!
//! What those scripts rely on: JSON only for exactly `Accept: application/json`; four keys per server and no fifth; 404 for what is unknown
//! or inactive; `/pools` texts end with a line end, `/alerts` and 404 texts do not; a trailing slash is allowed; below a server and below
//! `/alerts` any further path is ignored. JSON is spaced as Python's `json.dumps` does. PyBal answers in the order of a hash table, so nobody
//! can rely on an order; ours is that of the names. `/` is 404 in PyBal; here it is the status page.

use std::{io, sync::Arc};

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

use crate::{
    api::view::alerts::too_small,
    coordinator::snapshot::{BackendView, PoolView, Snapshot},
    model::{BackendName, Disposition, Pooled},
};

/// An answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// 200 or 404.
    pub status: u16,
    /// `text/plain` or `application/json`, without parameters.
    pub content_type: &'static str,
    /// Body.
    pub body: String,
}

#[derive(Serialize)]
struct Server {
    pooled: bool,
    weight: u32,
    up: bool,
    enabled: bool,
}

impl From<&BackendView> for Server {
    fn from(b: &BackendView) -> Self {
        Self { pooled: b.in_pool(), weight: b.weight.get(), up: b.up == Some(true), enabled: b.enabled() }
    }
}

#[derive(Serialize)]
struct Alerts {
    status: &'static str,
    msg: String,
}

#[derive(Serialize)]
struct NotFound {
    error: &'static str,
}

const NOT_FOUND: &str = "The desired url was not found";

/// Answers a path, with or without JSON.
pub fn answer(snapshot: &Snapshot, path: &str, json: bool) -> Reply {
    let segments: Vec<String> = path.trim_start_matches('/').split('/').map(decode).collect();
    let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
    match segments.as_slice() {
        ["pools"] | ["pools", ""] => pools(snapshot, json),
        ["pools", pool] | ["pools", pool, ""] => {
            snapshot.pools.get(*pool).map_or_else(|| not_found(json), |pool| servers_of(pool, json))
        }
        ["pools", pool, host, ..] => servers(snapshot.pools.get(*pool))
            .find(|(name, _)| name.as_str() == *host)
            .map_or_else(|| not_found(json), |(_, backend)| server(backend, json)),
        ["alerts", ..] => alerts(snapshot, json),
        _ => not_found(json),
    }
}

/// The servers PyBal would know: inactive ones it never hears of.
fn servers(pool: Option<&Arc<PoolView>>) -> impl Iterator<Item = (&BackendName, &BackendView)> {
    pool.into_iter().flat_map(|pool| &pool.backends).filter(|(_, b)| b.pooled != Pooled::Inactive)
}

fn pools(snapshot: &Snapshot, json: bool) -> Reply {
    let names: Vec<_> = snapshot.pools.keys().map(ToString::to_string).collect();
    if json {
        return ok_json(&names);
    }
    ok_text(names.join("\n") + "\n")
}

fn servers_of(pool: &Arc<PoolView>, json: bool) -> Reply {
    if json {
        let all: std::collections::BTreeMap<_, _> =
            servers(Some(pool)).map(|(name, b)| (name.as_str(), Server::from(b))).collect();
        return ok_json(&all);
    }
    let lines: Vec<_> = servers(Some(pool)).map(|(name, b)| format!("{name}:\t{}\n", state(b))).collect();
    ok_text(lines.concat())
}

fn server(backend: &BackendView, json: bool) -> Reply {
    if json {
        return ok_json(&Server::from(backend));
    }
    ok_text(state(backend) + "\n")
}

/// `enabled/up/pooled`.
fn state(b: &BackendView) -> String {
    let enabled = if b.enabled() { "enabled" } else { "disabled" };
    let up = match (b.up, b.partially_up) {
        (Some(true), _) => "up",
        (_, true) => "partially up",
        (_, false) => "down",
    };
    let pooled = if b.in_pool() { "pooled" } else { "not pooled" };
    format!("{enabled}/{up}/{pooled}")
}

fn alerts(snapshot: &Snapshot, json: bool) -> Reply {
    let mut critical = Vec::new();
    let mut warning = String::new();
    for (name, pool) in &snapshot.pools {
        let down: Vec<_> = servers(Some(pool))
            .filter(|(_, b)| b.disposition == Disposition::Held)
            .map(|(name, _)| name.as_str())
            .collect();
        if !down.is_empty() {
            critical.push(format!("{name}: Servers {} are marked down but pooled", down.join(", ")));
        } else if too_small(servers(Some(pool)).count(), pool.threshold.fraction) {
            warning.extend(["Pool ", name.as_str(), " is too small to allow depooling. "]);
        }
    }
    let (status, word, msg) = if !critical.is_empty() {
        ("critical", "CRITICAL", critical.join("; "))
    } else if !warning.is_empty() {
        ("warning", "WARNING", warning)
    } else {
        ("ok", "OK", "All pools are healthy".to_owned())
    };
    if json {
        return ok_json(&Alerts { status, msg });
    }
    ok_text(format!("{word} - {msg}"))
}

fn not_found(json: bool) -> Reply {
    let reply = if json { ok_json(&NotFound { error: NOT_FOUND }) } else { ok_text(NOT_FOUND.to_owned()) };
    Reply { status: 404, ..reply }
}

fn ok_text(body: String) -> Reply {
    Reply { status: 200, content_type: "text/plain", body }
}

fn ok_json<T: Serialize>(value: &T) -> Reply {
    let mut body = Vec::new();
    let written = value.serialize(&mut Serializer::with_formatter(&mut body, Spaced));
    debug_assert!(written.is_ok(), "plain data always serializes");
    Reply { status: 200, content_type: "application/json", body: String::from_utf8_lossy(&body).into_owned() }
}

/// Undoes `%41`; whatever is wrong stays as it is and is not found.
fn decode(segment: &str) -> String {
    let mut out = Vec::with_capacity(segment.len());
    let mut rest = segment.as_bytes();
    while let [first, tail @ ..] = rest {
        let byte = match tail {
            [high, low, ..] if *first == b'%' => {
                std::str::from_utf8(&[*high, *low]).ok().and_then(|hex| u8::from_str_radix(hex, 16).ok())
            }
            _ => None,
        };
        out.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&out).into_owned()
}

/// The separators of Python's `json.dumps`.
struct Spaced;

impl Formatter for Spaced {
    fn begin_array_value<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_key<W: ?Sized + io::Write>(&mut self, out: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { out.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, out: &mut W) -> io::Result<()> {
        out.write_all(b": ")
    }
}
