//! One lab at a time, and nothing left of it: at its end, however it ends, and at the next one's start.

use std::{
    fs::{self, File},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    process::Command,
    thread::sleep,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail};
use nix::{
    errno::Errno,
    fcntl::{Flock, FlockArg},
    mount::{MntFlags, MsFlags},
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use super::site::PREFIX;
use crate::{netns, process};

const DIR: &str = "/run/lbd-lab";
const LOCK: &str = "/run/lbd-lab.lock";
/// For processes to be gone after SIGKILL.
const PATIENCE: Duration = Duration::from_secs(5);

/// The place of the one lab of this machine. Dropping it removes everything the lab made: processes in its namespaces, the
/// namespaces, its bpf file system, its directory.
#[derive(Debug)]
pub(super) struct Ground {
    dir: PathBuf,
    _lock: Flock<File>,
}

impl Ground {
    /// Takes the place, removing what an earlier lab that was killed left there.
    pub(super) fn take() -> Result<Self> {
        let mut file =
            File::options().read(true).write(true).create(true).truncate(false).open(LOCK).context(LOCK)?;
        let mut holder = String::new();
        file.read_to_string(&mut holder).context(LOCK)?;
        let mut lock = match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
            Ok(lock) => lock,
            Err((_, Errno::EWOULDBLOCK)) => {
                bail!("another lab runs here (process {}). End it with Ctrl-C, or: kill {0}", holder.trim())
            }
            Err((_, error)) => return Err(error).context(LOCK),
        };
        lock.set_len(0)?;
        lock.rewind()?;
        write!(*lock, "{}", std::process::id())?;
        let ground = Self { dir: DIR.into(), _lock: lock };
        sweep().context("removing what an earlier lab left")?;
        fs::create_dir_all(ground.dir()).context(DIR)?;
        let bpf = ground.bpf();
        fs::create_dir_all(&bpf).with_context(|| bpf.display().to_string())?;
        // Its own: `ip netns exec` hides /sys/fs/bpf, and pins of the lab must not mix with the host's.
        nix::mount::mount(Some("bpf"), &bpf, Some("bpf"), MsFlags::empty(), None::<&str>)
            .with_context(|| format!("mounting a bpf file system on {}", bpf.display()))?;
        Ok(ground)
    }

    /// For configurations, logs, sockets.
    pub(super) fn dir(&self) -> &Path {
        &self.dir
    }

    /// A bpf file system.
    pub(super) fn bpf(&self) -> PathBuf {
        self.dir().join("bpf")
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if let Err(error) = sweep() {
            eprintln!("the lab could not be removed: {error:#}. The next `cargo xtask lab` tries again");
        }
    }
}

fn sweep() -> Result<()> {
    let namespaces = namespaces()?;
    for namespace in &namespaces {
        end_processes(namespace)?;
        netns::remove(namespace)?;
    }
    let bpf = Path::new(DIR).join("bpf");
    match nix::mount::umount2(&bpf, MntFlags::MNT_DETACH) {
        // Not there, or not mounted.
        Ok(()) | Err(Errno::ENOENT | Errno::EINVAL) => {}
        Err(error) => return Err(error).with_context(|| format!("unmounting {}", bpf.display())),
    }
    match fs::remove_dir_all(DIR) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context(DIR),
        _ => Ok(()),
    }
}

/// The lab's namespaces.
fn namespaces() -> Result<Vec<String>> {
    let list = process::quietly(Command::new("ip").args(["netns", "list"]))?;
    Ok(ours(&list))
}

fn ours(list: &str) -> Vec<String> {
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with(PREFIX))
        .map(str::to_owned)
        .collect()
}

/// Whatever runs in a namespace that the lab made is the lab's.
fn end_processes(namespace: &str) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let list = process::quietly(Command::new("ip").args(["netns", "pids", namespace]))?;
        let pids: Vec<i32> = list.lines().filter_map(|line| line.trim().parse().ok()).collect();
        if pids.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("{namespace}: processes {pids:?} do not end");
        }
        for pid in pids {
            // One that has ended meanwhile is what is wanted.
            _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        sleep(Duration::from_millis(20));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_labs_namespaces_are_removed() {
        let list = "lbd-lab-b1 (id: 3)\nprod\nlbd-lab-sw\nmy-lbd-lab-x\n";
        assert_eq!(ours(list), ["lbd-lab-b1", "lbd-lab-sw"]);
    }
}
