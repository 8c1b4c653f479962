//! Where program, settings and counters of an interface are pinned: `DIR/INTERFACE/{native,generic,tcx,clsact,CONFIG,COUNT}`.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use aya::maps::{Array, Map, MapData};
use lb_common::decap::{self, Config};
use nix::sys::statfs::{BPF_FS_MAGIC, statfs};
use zerocopy::FromBytes as _;

use super::hook::Hook;

/// The value of the configuration's map.
pub(super) type ConfigBytes = [u8; size_of::<Config>()];

/// The pins of one interface.
#[derive(Clone, Debug)]
pub(super) struct Pins {
    /// The interface's name.
    pub(super) interface: String,
    /// Directory of all interfaces.
    parent: PathBuf,
    dir: PathBuf,
}

impl Pins {
    /// Below `parent`.
    pub(super) fn of(parent: &Path, interface: &str) -> Self {
        let parent = parent.to_owned();
        Self { interface: interface.to_owned(), dir: parent.join(escape(interface)), parent }
    }

    /// Every interface below `parent` that has pins, by name.
    pub(super) fn all(parent: &Path) -> Result<Vec<Self>> {
        let entries = match fs::read_dir(parent) {
            Ok(entries) => entries,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(e).with_context(|| format!("reading {}", parent.display())),
        };
        let mut names: Vec<String> =
            entries.flatten().map(|e| unescape(&e.file_name().to_string_lossy())).collect();
        names.sort();
        Ok(names.iter().map(|name| Self::of(parent, name)).collect())
    }

    /// Makes the directory. Its lock is held as long as the value lives: one command at a time.
    pub(super) fn prepare(&self) -> Result<File> {
        const HINT: &str = "is a BPF file system mounted? `mount -t bpf bpf /sys/fs/bpf`";
        fs::create_dir_all(&self.dir).with_context(|| format!("making {} ({HINT})", self.dir.display()))?;
        let kind = statfs(&self.dir).with_context(|| format!("looking at {}", self.dir.display()))?;
        if kind.filesystem_type() != BPF_FS_MAGIC {
            // Only what was just made, and only if it is empty.
            let _ = fs::remove_dir(&self.dir);
            bail!("{} is not on a BPF file system: nothing can be pinned there ({HINT})", self.dir.display());
        }
        self.lock()
    }

    /// Waits until no other command works on these pins.
    pub(super) fn lock(&self) -> Result<File> {
        let what = || format!("locking {}", self.dir.display());
        let dir = File::open(&self.dir).with_context(what)?;
        dir.lock().with_context(what)?;
        Ok(dir)
    }

    /// Something is pinned.
    pub(super) fn exists(&self) -> bool {
        self.dir.exists()
    }

    /// The attachment at `hook`: a link, for [`Hook::Clsact`] the program.
    pub(super) fn hook(&self, hook: Hook) -> PathBuf {
        self.dir.join(hook.as_str())
    }

    /// Where it is attached.
    pub(super) fn attached(&self) -> Option<Hook> {
        Hook::ALL.into_iter().find(|hook| self.hook(*hook).exists())
    }

    /// The counters.
    pub(super) fn count(&self) -> PathBuf {
        self.dir.join(decap::COUNT)
    }

    /// The settings that are in force, if they can be read.
    pub(super) fn config(&self) -> Result<Config> {
        let path = self.dir.join(decap::CONFIG);
        let what = || format!("reading {}", path.display());
        let map = Map::from_map_data(MapData::from_pin(&path).with_context(what)?).with_context(what)?;
        let config =
            Array::<_, ConfigBytes>::try_from(map).with_context(what)?.get(&0, 0).with_context(what)?;
        Config::read_from_bytes(&config).map_err(|_| anyhow::anyhow!("{}: of another size", path.display()))
    }

    /// Remembers the settings, in place of the former ones.
    pub(super) fn keep_config(&self, map: &Map) -> Result<()> {
        let (new, path) = (self.dir.join("CONFIG_new"), self.dir.join(decap::CONFIG));
        let what = || format!("pinning {}", path.display());
        remove(&new)?;
        map.pin(&new).with_context(what)?;
        fs::rename(&new, &path).with_context(what)
    }

    /// Removes settings, counters and the directory. Attachments are gone already.
    pub(super) fn remove(&self) -> Result<()> {
        for name in [decap::CONFIG, "CONFIG_new", decap::COUNT] {
            remove(&self.dir.join(name))?;
        }
        fs::remove_dir(&self.dir).with_context(|| format!("removing {}", self.dir.display()))?;
        // Shared by all interfaces: the last one takes it along.
        let _ = fs::remove_dir(&self.parent);
        Ok(())
    }
}

/// Removes a file that may not be there.
pub(super) fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            Err(e).with_context(|| format!("removing {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// A BPF file system forbids dots in names, interfaces may have them.
fn escape(interface: &str) -> String {
    interface.replace('%', "%25").replace('.', "%2e").replace('/', "%2f")
}

fn unescape(name: &str) -> String {
    name.replace("%2f", "/").replace("%2e", ".").replace("%25", "%")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_has_a_directory_of_its_own() {
        for name in ["eth0", "eth0.100", "a%2eb", "..", "a/b"] {
            let escaped = escape(name);
            assert!(!escaped.contains(['.', '/']), "{escaped}");
            assert_eq!(unescape(&escaped), name);
        }
    }
}
