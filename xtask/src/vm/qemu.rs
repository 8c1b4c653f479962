//! The emulator: this machine's own if it is recent, otherwise Debian's, unpacked beside the kernels and never installed.

use std::{
    ffi::OsString,
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};

use super::{apt::Apt, guest::EXIT, kernel::Kernel};
use crate::process::{self, is_installed, show};

const PROGRAM: &str = "qemu-system-x86_64";
const PACKAGE: &str = "qemu-system-x86";
/// Older ones emulate `cmpxchg16b` wrongly, which newer kernels use in their allocator.
const OLDEST: u32 = 8;
/// Of `timeout` when it had to end the program.
const TIMED_OUT: i32 = 124;
/// Enough for two copies of the file system while it is unpacked.
const MEMORY_MIB: &str = "1536";

/// Without the instructions that fill and copy memory byte by byte, which are slow to emulate: the kernel takes others.
const QUICK_CPU: &str = "max,-erms,-fsrm";
/// Nothing that only protects or finds faults of the kernel. And the time of the emulated board: the processor's counter is this machine's,
/// and on a busy one that is a virtual machine itself guests were seen whose clock ran twenty times too fast by it.
const QUICK_KERNEL: &str = "init_on_alloc=0 mitigations=off tsc=unstable clocksource=acpi_pm";
/// Here the processor's counter counts instructions.
const COUNTED_KERNEL: &str = "tsc=reliable";

/// How to call it.
#[derive(Debug)]
pub(super) struct Qemu {
    program: PathBuf,
    /// Where it was unpacked.
    prefix: Option<PathBuf>,
}

/// What became of a guest.
#[derive(Debug)]
pub(super) struct Ended {
    /// What it printed.
    pub(super) lines: Vec<String>,
    /// The status it ended with; none if it never came to say so.
    pub(super) status: Option<i32>,
    pub(super) timed_out: bool,
    pub(super) took: Duration,
}

/// What a guest gets.
#[derive(Debug)]
pub(super) struct Boot<'a> {
    pub(super) kernel: &'a Kernel,
    /// File with the archive.
    pub(super) files: &'a Path,
    /// Arguments of the first process.
    pub(super) arguments: &'a [&'a str],
    pub(super) bound: Duration,
    /// Its clock counts instructions: one is a nanosecond.
    pub(super) counted: bool,
    /// Takes what the guest prints; the kernel's own messages go beside it.
    pub(super) log: &'a Path,
    /// Show what it prints as it comes, with this before each line.
    pub(super) aloud: Option<String>,
}

impl Qemu {
    /// Finds or fetches it.
    pub(super) fn get(cache: &Path, apt: &Apt) -> Result<Self> {
        if is_installed(PROGRAM) && version(Path::new(PROGRAM)).is_some_and(|v| v >= OLDEST) {
            return Ok(Self { program: PROGRAM.into(), prefix: None });
        }
        let prefix = cache.join("qemu");
        if !prefix.exists() {
            println!("vm: fetching {PACKAGE}, to be unpacked below {}", cache.display());
            apt.unpack(&apt.would_install(PACKAGE)?, &prefix)?;
        }
        let program = prefix.join("usr/bin").join(PROGRAM);
        if !program.is_file() {
            bail!("{} is not there. Remove {} and try again", program.display(), prefix.display());
        }
        Ok(Self { program, prefix: Some(prefix) })
    }

    /// Runs a guest to its end.
    pub(super) fn boot(&self, boot: &Boot<'_>) -> Result<Ended> {
        let begin = Instant::now();
        let mut command = self.command(boot);
        let mut log = File::create(boot.log).with_context(|| boot.log.display().to_string())?;
        let said = boot.log.with_extension("qemu");
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(File::create(&said).with_context(|| said.display().to_string())?)
            .spawn()
            .with_context(|| show(&command))?;
        let stdout = child.stdout.take().context("the guest's output is not piped")?;
        let (mut lines, mut status) = (Vec::new(), None);
        for line in BufReader::new(stdout).split(b'\n') {
            let line = String::from_utf8_lossy(&line?).trim_end_matches('\r').to_owned();
            writeln!(log, "{line}")?;
            if let Some(prefix) = &boot.aloud {
                println!("  {prefix}| {line}");
            }
            if let Some(code) = line.strip_prefix(EXIT) {
                status = code.trim().parse().ok();
            }
            lines.push(line);
        }
        let ended = child.wait()?;
        let timed_out = ended.code() == Some(TIMED_OUT);
        if !ended.success() && !timed_out {
            let said = fs::read_to_string(&said).unwrap_or_default();
            bail!("{ended}: {}\n{}", show(&command), said.trim_end());
        }
        Ok(Ended { lines, status, timed_out, took: begin.elapsed() })
    }

    fn command(&self, boot: &Boot<'_>) -> Command {
        // Ends the guest also when this process cannot any more.
        let mut command = Command::new("timeout");
        command
            .args(["--foreground", "--kill-after=2", &boot.bound.as_secs().to_string()])
            .arg(&self.program);
        if let Some(prefix) = &self.prefix {
            let libraries = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"].map(|l| prefix.join(l));
            let paths: Vec<OsString> = libraries.iter().map(|path| path.clone().into_os_string()).collect();
            command.env("LD_LIBRARY_PATH", paths.join(&OsString::from(":")));
            command.env("QEMU_MODULE_DIR", prefix.join("usr/lib/x86_64-linux-gnu/qemu"));
            for firmware in ["usr/share/qemu", "usr/share/seabios"] {
                command.arg("-L").arg(prefix.join(firmware));
            }
        }
        let console = boot.log.with_extension("console");
        command
            .args(["-M", "pc", "-accel", "tcg", "-cpu", if boot.counted { "max" } else { QUICK_CPU }])
            .args(["-smp", "1", "-m", MEMORY_MIB])
            .args(["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"])
            .args(if boot.counted { &["-icount", "shift=0,sleep=off"][..] } else { &[] })
            .arg("-kernel")
            .arg(&boot.kernel.image)
            .arg("-initrd")
            .arg(boot.files)
            // The first serial line is the kernel's, the second ours.
            .arg("-serial")
            .arg(format!("file:{}", console.display()))
            .args(["-serial", "stdio"])
            .arg("-append")
            .arg(format!(
                "console=ttyS0 panic=-1 quiet no_timer_check cryptomgr.notests {} -- {}",
                if boot.counted { COUNTED_KERNEL } else { QUICK_KERNEL },
                boot.arguments.join(" ")
            ));
        command
    }
}

/// The first number of `QEMU emulator version 10.0.2 …`.
fn version(program: &Path) -> Option<u32> {
    let text = process::quietly(Command::new(program).arg("--version")).ok()?;
    let (_, rest) = text.split_once("version ")?;
    rest.split('.').next()?.parse().ok()
}
