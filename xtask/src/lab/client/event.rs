//! What the load tells the lab.

use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

/// Kinds of load.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::lab) enum Kind {
    /// A connection for each request.
    Short,
    /// Many requests on one connection.
    Keepalive,
    /// A large object, read slowly over many seconds.
    Download,
    /// A large body, sent slowly over many seconds.
    Upload,
}

impl Kind {
    pub(in crate::lab) const ALL: [Self; 4] = [Self::Short, Self::Keepalive, Self::Download, Self::Upload];

    pub(in crate::lab) const fn name(self) -> &'static str {
        match self {
            Self::Short => "new connection each",
            Self::Keepalive => "keep-alive",
            Self::Download => "slow download",
            Self::Upload => "slow upload",
        }
    }

    /// Lasts for seconds, and must survive what happens meanwhile.
    pub(in crate::lab) const fn is_transfer(self) -> bool {
        matches!(self, Self::Download | Self::Upload)
    }
}

/// How it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(in crate::lab) enum Via {
    /// HTTP/1.1 on port 80.
    Http,
    /// HTTP/1.1 over TLS on port 443.
    Https,
    /// HTTP/2 over TLS on port 443.
    H2,
}

impl Via {
    pub(in crate::lab) const ALL: [Self; 3] = [Self::Http, Self::Https, Self::H2];
}

/// Something happened. Times are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "event")]
pub(in crate::lab) enum Event {
    /// A transfer is under way, on a connection that a host has already answered on.
    Began { id: u64, host: String, at: u64 },
    /// A request ended.
    Ended(Request),
}

/// A request from its beginning to its end.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::lab) struct Request {
    /// That of [`Event::Began`] for a transfer; unique.
    pub(in crate::lab) id: u64,
    pub(in crate::lab) kind: Kind,
    pub(in crate::lab) via: Via,
    /// Who answered, or answered before on this connection.
    pub(in crate::lab) host: Option<String>,
    /// It opened its connection.
    pub(in crate::lab) opened: bool,
    pub(in crate::lab) start: u64,
    pub(in crate::lab) end: u64,
    /// Why it failed.
    pub(in crate::lab) error: Option<String>,
}

impl Request {
    pub(in crate::lab) fn milliseconds(&self) -> u64 {
        self.end.saturating_sub(self.start) / 1000
    }
}

/// Now, in an event's terms. Lab and load run on one machine, so on one clock.
pub(in crate::lab) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_micros() as u64)
}
