//! Where log lines go: the journal with their fields when systemd started us, else standard error.

use std::io::IsTerminal;

use tracing_subscriber::{EnvFilter, Layer, layer::SubscriberExt, util::SubscriberInitExt};

/// Sets up logging; `RUST_LOG` sets the levels, `info` is the default.
pub(super) fn init(json: bool) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let journal = std::env::var_os("JOURNAL_STREAM")
        .filter(|_| !json)
        .and_then(|_| tracing_journald::layer().ok())
        .map(|layer| layer.with_syslog_identifier("lbd".to_owned()).with_field_prefix(None));
    let text = match (journal.is_some(), json) {
        (true, _) => None,
        (false, true) => Some(
            tracing_subscriber::fmt::layer().json().flatten_event(true).with_writer(std::io::stderr).boxed(),
        ),
        (false, false) => Some(
            tracing_subscriber::fmt::layer()
                .compact()
                .with_target(false)
                .with_ansi(std::io::stderr().is_terminal())
                .with_writer(std::io::stderr)
                .boxed(),
        ),
    };
    tracing_subscriber::registry().with(filter).with(journal).with(text).init();
}
