//! What is attached, and the counters.

use std::{fmt::Write as _, path::Path, process::ExitCode};

use anyhow::{Context as _, Result};
use aya::maps::{Map, MapData};
use lb_common::decap::{Fate, Outcome};
use nix::net::if_::if_nametoindex;
use serde_json::{Map as Object, Value, json};

use super::{hook::Hook, object, pins::Pins, settings::Settings};

/// Nothing is attached: not found, as `lbctl` says it.
const EXIT_NOT_FOUND: u8 = 4;

/// What is known of one interface.
struct Seen {
    interface: String,
    /// `None`: the interface it was attached to is gone.
    hook: Option<Hook>,
    settings: Settings,
    /// By number of [`Outcome`].
    counts: Vec<u64>,
}

/// Prints the state of an interface, or of all.
pub(super) fn print(dir: &Path, interface: Option<&str>, as_json: bool) -> Result<ExitCode> {
    let mut seen = Vec::new();
    for pins in Pins::all(dir)? {
        if interface.is_none_or(|name| name == pins.interface) {
            seen.push(look(&pins).with_context(|| pins.interface.clone())?);
        }
    }
    if as_json {
        println!("{:#}", Value::Array(seen.iter().map(to_json).collect()));
    } else if let (true, Some(name)) = (seen.is_empty(), interface) {
        eprintln!("lbdecap: {name}: nothing is attached; `lbdecap attach {name} --address ADDRESS`");
    } else if seen.is_empty() {
        println!("nothing is attached");
    } else {
        print!("{}", seen.iter().map(to_text).collect::<Vec<_>>().join("\n"));
    }
    let missing = interface.is_some() && seen.is_empty();
    Ok(if missing { ExitCode::from(EXIT_NOT_FOUND) } else { ExitCode::SUCCESS })
}

fn look(pins: &Pins) -> Result<Seen> {
    let _lock = pins.lock()?;
    let config = pins.config()?;
    let path = pins.count();
    let what = || format!("reading {}", path.display());
    let map = Map::from_map_data(MapData::from_pin(&path).with_context(what)?).with_context(what)?;
    let alive = if_nametoindex(pins.interface.as_str()) == Ok(u32::from_le_bytes(config.ifindex));
    Ok(Seen {
        interface: pins.interface.clone(),
        hook: pins.attached().filter(|_| alive),
        settings: Settings::from_config(&config)?,
        counts: object::counts(&map)?,
    })
}

fn counted(seen: &Seen) -> impl Iterator<Item = (Outcome, u64)> {
    Outcome::ALL.iter().copied().zip(seen.counts.iter().copied())
}

fn to_text(seen: &Seen) -> String {
    let mut text = match seen.hook {
        Some(hook) => format!("{} ({hook}): {}\n", seen.interface, seen.settings),
        None => format!(
            "{}: NOT ATTACHED, the interface was removed or made anew; `lbdecap attach` it again: {}\n",
            seen.interface, seen.settings
        ),
    };
    for (outcome, packets) in counted(seen).filter(|(_, packets)| *packets > 0) {
        let fate = match outcome.fate() {
            Fate::Stripped => "taken out",
            Fate::Pass => "passed on",
            Fate::Drop => "dropped",
        };
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "  {packets:>12}  {:<15}  {fate:<9} {}",
            outcome.as_str(),
            outcome.describe().trim()
        );
    }
    text
}

fn to_json(seen: &Seen) -> Value {
    let counts: Object<String, Value> =
        counted(seen).map(|(outcome, packets)| (outcome.as_str().to_owned(), packets.into())).collect();
    json!({
        "interface": seen.interface,
        "hook": seen.hook.map(Hook::as_str),
        "addresses": seen.settings.addresses,
        "sources": seen.settings.sources.iter().map(ToString::to_string).collect::<Vec<_>>(),
        "gue_port": seen.settings.gue_port,
        "packets": counts,
    })
}
