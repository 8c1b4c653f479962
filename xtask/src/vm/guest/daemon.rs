//! The real `lbd` in the balancer's namespace, and `lbctl` to talk to it.

use std::{
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::mount::MsFlags;
use serde_json::Value;

use super::{
    BIN,
    net::{BALANCER, VIPS},
};
use crate::process;

/// Verifying the program takes seconds here, and a host is up after its first check.
const PATIENCE: Duration = Duration::from_mins(5);
const LOOK: Duration = Duration::from_millis(200);

const DIR: &str = "/run/lbd";
/// Not below /sys, which `ip netns exec` mounts anew.
const BPF: &str = "/run/bpf";

/// A running daemon. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Daemon(Child);

/// A backend: its name, and what its table in the configuration says.
pub(super) type Backend<'a> = (&'a str, String);

impl Daemon {
    /// Starts it with these interfaces and backends, and waits until all of them serve. Tables and attachments are new ones.
    pub(super) fn start(interfaces: &[&str], backends: &[Backend<'_>]) -> Result<Self> {
        Self::start_with(interfaces, backends, &[])
    }

    /// The same with further backends that it must refuse to use, each for a reason that contains these words.
    pub(super) fn start_with(
        interfaces: &[&str],
        serving: &[Backend<'_>],
        refused: &[(&str, String, &str)],
    ) -> Result<Self> {
        let mut backends = serving.to_vec();
        backends.extend(refused.iter().map(|(name, table, _)| (*name, table.clone())));
        let none: Option<&str> = None;
        fs::create_dir_all(DIR)?;
        fs::create_dir_all(BPF)?;
        nix::mount::mount(Some("bpf"), BPF, Some("bpf"), MsFlags::empty(), none).context(BPF)?;
        let config = Path::new(DIR).join("lbd.toml");
        fs::write(&config, configuration(interfaces, &backends)).context("lbd.toml")?;
        let log = fs::File::create(Path::new(DIR).join("lbd.log"))?;
        let child = Command::new("ip")
            .args(["netns", "exec", BALANCER])
            .arg(Path::new(BIN).join("lbd"))
            .arg("--config")
            .arg(config)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("starting lbd")?;
        let mut daemon = Self(child);
        let refused: Vec<(&str, &str)> = refused.iter().map(|(name, _, why)| (*name, *why)).collect();
        daemon.until_settled(serving.len(), &refused)?;
        Ok(daemon)
    }

    /// Waits until so many serve and the others do not, for the reasons given.
    fn until_settled(&mut self, serving: usize, refused: &[(&str, &str)]) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        let settled = |states: &Vec<String>| {
            let serve = states.iter().filter(|state| state.starts_with("serving")).count();
            let not = |(name, why): &(&str, &str)| {
                let mut of = states.iter().filter(|state| !state.starts_with("serving"));
                of.any(|state| state.contains(&format!(": {name} ")) && state.contains(why))
            };
            states.len() == serving + refused.len() && serve == serving && refused.iter().all(not)
        };
        loop {
            let states = states();
            if states.as_ref().is_ok_and(settled) {
                return Ok(());
            }
            if let Some(status) = self.0.try_wait()? {
                bail!("lbd has ended: {status}");
            }
            if Instant::now() > deadline {
                bail!(
                    "after {} s the backends are not as they should be: {states:?}\n{}",
                    PATIENCE.as_secs(),
                    last_words()
                );
            }
            sleep(LOOK);
        }
    }

    /// Packets that were not forwarded for this reason.
    #[expect(clippy::unused_self, reason = "only a running one can be asked")]
    pub(super) fn dropped(&self, reason: &str) -> Result<u64> {
        let drops: Value = serde_json::from_str(&ctl(&["drops", "-o", "json"])?)?;
        let reasons = drops["reasons"].as_array().context("lbctl drops shows no reasons")?;
        let of = reasons.iter().find(|of| of["reason"] == reason);
        of.and_then(|of| of["packets"].as_u64()).with_context(|| format!("lbctl drops knows no {reason}"))
    }

    /// Kills it and takes its tables and attachments away.
    pub(super) fn end(mut self) -> Result<()> {
        ctl(&["shutdown", "--detach"])?;
        self.0.wait()?;
        nix::mount::umount(BPF).context(BPF)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        // One that has ended already is as dead.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

/// Runs `lbctl`; what it prints.
pub(super) fn ctl(words: &[&str]) -> Result<String> {
    process::quietly(
        Command::new(Path::new(BIN).join("lbctl")).args(["--socket", "/run/lbd/lbd.sock"]).args(words),
    )
}

/// `serving`, `down: why` … of each backend.
fn states() -> Result<Vec<String>> {
    let list: Value = serde_json::from_str(&ctl(&["list", "-o", "json"])?)?;
    let members = list["pools"][0]["members"].as_array().context("lbctl list shows no members")?;
    let text = |member: &Value, key: &str| member[key].as_str().unwrap_or_default().to_owned();
    Ok(members
        .iter()
        .map(|m| format!("{}: {} {}", text(m, "state"), text(m, "name"), text(m, "why")))
        .collect())
}

/// What it said if it could not run on this kernel.
pub(super) fn refusal() -> Option<String> {
    let log = fs::read_to_string(Path::new(DIR).join("lbd.log")).ok()?;
    let line = log.lines().find(|line| line.contains("cannot run lbd: it lacks"))?;
    Some(line[line.find("this kernel").unwrap_or_default()..].to_owned())
}

/// What it logged last.
pub(super) fn last_words() -> String {
    let log = fs::read_to_string(Path::new(DIR).join("lbd.log")).unwrap_or_default();
    let lines: Vec<&str> = log.lines().collect();
    format!("lbd said last:\n  {}", lines[lines.len().saturating_sub(20)..].join("\n  "))
}

fn configuration(interfaces: &[&str], backends: &[Backend<'_>]) -> String {
    let interfaces = interfaces.iter().map(|name| format!("\"{name}\"")).collect::<Vec<_>>().join(", ");
    let vips = VIPS.map(|vip| format!("\"{vip}\"")).join(", ");
    let backends: Vec<String> =
        backends.iter().map(|(name, table)| format!("{name} = {{ {table} }}")).collect();
    let backends = backends.join("\n");
    format!(
        "[lbd]\ninterfaces = [{interfaces}]\nsocket = \"{DIR}/lbd.sock\"\nstate_dir = \"{DIR}/state\"\n\
         bpf_dir = \"{BPF}/lbd\"\nhttp = []\n\
         limits = {{ services = 64, backends = 64, pools = 16, slots = 4096, pins = 4096 }}\n\n\
         [services.web]\nvips = [{vips}]\nport = 80\npool = \"web\"\n\n\
         [pools.web]\nslots = 251\n\n\
         [[pools.web.checks]]\nkind = \"http\"\nport = 80\nurl = \"http://guest/\"\n\
         interval = \"2s\"\ntimeout = \"2s\"\nfall = 3\nrise = 1\n\n\
         [pools.web.backends]\n{backends}\n"
    )
}
