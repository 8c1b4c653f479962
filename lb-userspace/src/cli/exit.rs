//! Exit codes and last words. Scripts depend on the numbers: 0 done, 1 refused, 2 usage, 3 daemon unreachable, 4 not found.

use std::{
    io::{self, Write},
    process::ExitCode,
};

use crate::api::client::ClientError;

/// Why `lbctl` did not do what it was asked.
#[derive(Debug)]
pub enum Failure {
    /// A policy, a problem in a file, a failing check, or a wait that ended too early.
    Refused {
        /// What.
        error: String,
        /// What to do; may be empty.
        help: String,
    },
    /// Arguments that cannot be meant.
    Usage(String),
    /// No daemon.
    Unreachable {
        /// What.
        error: String,
        /// What to do.
        help: String,
    },
    /// No such backend, pool or service.
    NotFound {
        /// What.
        error: String,
        /// What to do.
        help: String,
    },
    /// Something that should not happen.
    Odd(String),
    /// The reader of our output went away: nothing to say, nobody to say it to.
    BrokenPipe,
}

impl Failure {
    /// The exit code.
    pub const fn code(&self) -> u8 {
        match self {
            Self::BrokenPipe => 0,
            Self::Refused { .. } | Self::Odd(_) => 1,
            Self::Usage(_) => 2,
            Self::Unreachable { .. } => 3,
            Self::NotFound { .. } => 4,
        }
    }

    /// A refusal with help.
    pub fn refused(error: impl Into<String>, help: impl Into<String>) -> Self {
        Self::Refused { error: error.into(), help: help.into() }
    }

    /// Says it on stderr.
    pub fn report(&self) -> ExitCode {
        let (error, help) = match self {
            Self::BrokenPipe => return ExitCode::SUCCESS,
            Self::Refused { error, help }
            | Self::Unreachable { error, help }
            | Self::NotFound { error, help } => (error.as_str(), help.as_str()),
            Self::Usage(error) => (error.as_str(), "see `lbctl help`"),
            Self::Odd(error) => (error.as_str(), ""),
        };
        let mut err = anstream::stderr().lock();
        let bad = super::output::BAD;
        // Whoever cannot read stderr still has the exit code.
        let _ = writeln!(err, "{bad}lbctl:{bad:#} {}", super::output::plain_lines(error));
        if !help.is_empty() {
            let _ = writeln!(err, "  {}", super::output::plain_lines(help));
        }
        ExitCode::from(self.code())
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            Self::BrokenPipe
        } else {
            Self::Odd(format!("writing the output failed: {error}"))
        }
    }
}

impl From<ClientError> for Failure {
    fn from(error: ClientError) -> Self {
        let text = error.to_string();
        match error {
            ClientError::Unreachable { help, .. } => Self::Unreachable { error: text, help: help.into() },
            ClientError::Odd(_) => Self::Unreachable {
                error: text,
                help: "are lbctl and lbd of the same version? `lbctl --version`, `lbd --version`".into(),
            },
            ClientError::Answer { status, body } => match status {
                400 => Self::Usage(text),
                404 => Self::NotFound { error: text, help: body.help },
                503 => Self::Unreachable { error: text, help: body.help },
                _ => Self::refused(text, body.help),
            },
        }
    }
}
