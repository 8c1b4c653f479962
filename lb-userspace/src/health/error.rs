//! Why a check failed, in words short enough for a status line and stable enough to grep for.

use std::{fmt, io, path::PathBuf, sync::Arc, time::Duration};

use hyper::StatusCode;

/// Where a check was when something happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// TCP handshake.
    Connecting,
    /// TLS handshake, reading the CA file included.
    Tls,
    /// Request sent, status line and headers awaited.
    Answer,
    /// Body being searched.
    Body,
    /// `idle` only: nothing is expected.
    Idle,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connecting => "connecting",
            Self::Tls => "negotiating TLS",
            Self::Answer => "waiting for the answer",
            Self::Body => "reading the body",
            Self::Idle => "idle",
        })
    }
}

/// Why a check failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProbeError {
    /// Nothing listens on the port.
    #[error("connection refused")]
    Refused,
    /// The check's time was over.
    #[error("timed out after {after:?} while {stage}")]
    Timeout {
        /// Where.
        stage: Stage,
        /// The check's timeout.
        after: Duration,
    },
    /// The kernel gave up: retransmissions or keep-alive probes were not answered.
    #[error("no answer from the host while {0}")]
    Silent(Stage),
    /// The data plane dropped its packets on the way of clients' packets; why.
    #[error("not sent to the VIP: {0}")]
    Path(&'static str),
    /// A router or our own routing table said so.
    #[error("{0} unreachable")]
    Unreachable(&'static str),
    /// RST.
    #[error("connection reset while {0}")]
    Reset(Stage),
    /// FIN where more was due.
    #[error("connection closed while {0}")]
    Closed(Stage),
    /// TLS handshake or certificate.
    #[error("TLS: {0}")]
    Tls(Arc<str>),
    /// The file of trusted authorities cannot be used.
    #[error("CA file {path}: {why}", path = path.display())]
    CaFile {
        /// Which.
        path: PathBuf,
        /// Why.
        why: Arc<str>,
    },
    /// The status code is not one that is wanted.
    #[error("{got}, wanted {wanted}", got = Reason(*got))]
    Status {
        /// What came.
        got: StatusCode,
        /// As configured: `200-299`, `200, 204`.
        wanted: Arc<str>,
    },
    /// The body lacks the text.
    #[error("`{wanted}` not found in {searched} bytes of body")]
    Body {
        /// The text.
        wanted: Arc<str>,
        /// How much of the body was searched.
        searched: usize,
    },
    /// What came was no HTTP answer.
    #[error("not HTTP: {0}")]
    NotHttp(Arc<str>),
    /// Host, path or headers of the check cannot be sent.
    #[error("request cannot be sent: {0}")]
    Request(Arc<str>),
    /// Anything else the network said.
    #[error("{why} while {stage}")]
    Io {
        /// Where.
        stage: Stage,
        /// The system's words.
        why: Arc<str>,
    },
    /// This host could not check (out of file descriptors, ports, memory; forbidden by a local packet filter). Says nothing about
    /// the backend, so it moves no verdict: a balancer in trouble must not depool the healthy.
    #[error("cannot check from here: {0}")]
    Local(Arc<str>),
    /// The target was removed before a result was there.
    #[error("the check was removed")]
    Removed,
}

impl ProbeError {
    /// From an error of the socket.
    pub(super) fn from_io(stage: Stage, error: &io::Error) -> Self {
        use io::ErrorKind as Kind;
        if let Some(
            libc::EMFILE
            | libc::ENFILE
            | libc::ENOBUFS
            | libc::ENOMEM
            | libc::EADDRNOTAVAIL
            | libc::EADDRINUSE
            | libc::EPERM
            | libc::EACCES
            | libc::EAFNOSUPPORT,
        ) = error.raw_os_error()
        {
            return Self::Local(error.to_string().into());
        }
        match error.kind() {
            Kind::ConnectionRefused => Self::Refused,
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe => Self::Reset(stage),
            Kind::UnexpectedEof => Self::Closed(stage),
            Kind::TimedOut => Self::Silent(stage),
            Kind::HostUnreachable => Self::Unreachable("host"),
            Kind::NetworkUnreachable | Kind::NetworkDown => Self::Unreachable("network"),
            _ => Self::Io { stage, why: error.to_string().into() },
        }
    }

    /// Whether it says something about the backend, so that it counts.
    pub const fn counts(&self) -> bool {
        !matches!(self, Self::Local(_) | Self::Removed)
    }

    /// One word, for metric labels.
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Timeout { .. } | Self::Silent(_) => "timeout",
            Self::Unreachable(_) | Self::Path(_) => "unreachable",
            Self::Reset(_) => "reset",
            Self::Closed(_) => "closed",
            Self::Tls(_) | Self::CaFile { .. } => "tls",
            Self::Status { .. } => "status",
            Self::Body { .. } => "body",
            Self::NotHttp(_) => "protocol",
            Self::Request(_) => "request",
            Self::Io { .. } => "io",
            Self::Local(_) => "local",
            Self::Removed => "removed",
        }
    }
}

/// A status code with its usual phrase, if it has one.
pub(super) struct Reason(pub(super) StatusCode);

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.canonical_reason() {
            Some(phrase) => write!(f, "{} {phrase}", self.0.as_u16()),
            None => write!(f, "{}", self.0.as_u16()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_operators_grep_for_them() {
        let seconds = Duration::from_secs(5);
        let unavailable =
            ProbeError::Status { got: StatusCode::SERVICE_UNAVAILABLE, wanted: "200-299".into() };
        for (error, text) in [
            (ProbeError::Refused, "connection refused"),
            (
                ProbeError::Timeout { stage: Stage::Connecting, after: seconds },
                "timed out after 5s while connecting",
            ),
            (unavailable, "503 Service Unavailable, wanted 200-299"),
            (ProbeError::Reset(Stage::Idle), "connection reset while idle"),
            (ProbeError::Unreachable("host"), "host unreachable"),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn trouble_of_this_host_does_not_count() {
        let out_of_files = io::Error::from_raw_os_error(libc::EMFILE);
        let error = ProbeError::from_io(Stage::Connecting, &out_of_files);
        assert!(!error.counts());
        assert!(error.to_string().starts_with("cannot check from here: "), "{error}");
        assert!(
            ProbeError::from_io(Stage::Connecting, &io::Error::from_raw_os_error(libc::ECONNREFUSED))
                .counts()
        );
    }
}
