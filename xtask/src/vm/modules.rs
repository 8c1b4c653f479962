//! Kernel modules with what they depend on, in the order in which they can be loaded.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// All modules of a kernel.
#[derive(Debug)]
pub(super) struct Modules {
    files: BTreeMap<String, PathBuf>,
    built_in: BTreeSet<String>,
}

/// A module's name and content.
pub(super) type Module = (String, Vec<u8>);

impl Modules {
    /// What lies below `dir`.
    pub(super) fn of(dir: &Path) -> Result<Self> {
        let mut files = BTreeMap::new();
        let mut open = vec![dir.to_owned()];
        while let Some(dir) = open.pop() {
            for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
                let path = entry?.path();
                if path.is_dir() && !path.is_symlink() {
                    open.push(path);
                } else if let Some(name) = name_of(&path) {
                    files.insert(name, path);
                }
            }
        }
        let list = dir.join("modules.builtin");
        let list = fs::read_to_string(&list).with_context(|| list.display().to_string())?;
        let built_in = list.lines().filter_map(|line| name_of(Path::new(line))).collect();
        Ok(Self { files, built_in })
    }

    /// The modules named and what they depend on; a module after those it needs.
    pub(super) fn with_dependencies(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut done = BTreeSet::new();
        let mut all = Vec::new();
        for name in names {
            self.add(&normal(name), &mut done, &mut all)?;
        }
        Ok(all)
    }

    fn add(&self, name: &str, done: &mut BTreeSet<String>, all: &mut Vec<Module>) -> Result<()> {
        if self.built_in.contains(name) || !done.insert(name.to_owned()) {
            return Ok(());
        }
        let path = self.files.get(name).with_context(|| format!("the kernel has no module `{name}`"))?;
        let content = read(path)?;
        for needed in depends(&content) {
            self.add(&needed, done, all)?;
        }
        all.push((name.to_owned(), content));
        Ok(())
    }
}

/// `veth` of `…/veth.ko.xz`.
fn name_of(path: &Path) -> Option<String> {
    let file = path.file_name()?.to_str()?;
    let (name, _) = file.split_once(".ko").filter(|(_, rest)| ["", ".xz", ".zst", ".gz"].contains(rest))?;
    Some(normal(name))
}

/// Module names take `-` for `_`.
fn normal(name: &str) -> String {
    name.replace('-', "_")
}

fn read(path: &Path) -> Result<Vec<u8>> {
    let tool = match path.extension().and_then(|e| e.to_str()) {
        Some("xz") => "xz",
        Some("zst") => "zstd",
        Some("gz") => "gzip",
        _ => return fs::read(path).with_context(|| path.display().to_string()),
    };
    let output = Command::new(tool).arg("-dc").arg(path).output().with_context(|| tool.to_owned())?;
    if !output.status.success() {
        bail!(
            "{tool} cannot read {}: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr).trim_end()
        );
    }
    Ok(output.stdout)
}

/// The names in `depends=` of the module's `.modinfo`: strings that end with a zero byte.
fn depends(module: &[u8]) -> Vec<String> {
    let key = b"\0depends=";
    let Some(at) = module.windows(key.len()).position(|window| window == key) else {
        return Vec::new();
    };
    let value = module[at + key.len()..].split(|byte| *byte == 0).next().unwrap_or_default();
    let value = String::from_utf8_lossy(value);
    value.split(',').filter(|name| !name.is_empty()).map(normal).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_modules_name_is_what_stands_before_ko() {
        assert_eq!(name_of(Path::new("kernel/net/ip6-tunnel.ko.xz")), Some("ip6_tunnel".to_owned()));
        assert_eq!(name_of(Path::new("modules.builtin")), None);
    }

    #[test]
    fn dependencies_are_read_from_modinfo() {
        let module = b"\x7fELF\0license=GPL\0depends=tunnel4,ip-tunnel\0name=ipip\0";
        assert_eq!(depends(module), ["tunnel4", "ip_tunnel"]);
        assert!(depends(b"\0depends=\0name=veth\0").is_empty());
    }

    #[test]
    fn what_is_needed_comes_first_and_once() {
        let dir = tempfile::tempdir().expect("a directory");
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).expect("written");
        write("a.ko", "\0depends=b,c\0");
        write("b.ko", "\0depends=c,d\0");
        write("c.ko", "\0depends=\0");
        write("modules.builtin", "kernel/d.ko\n");
        let modules = Modules::of(dir.path()).expect("readable");
        let names: Vec<String> =
            modules.with_dependencies(&["a", "c"]).expect("complete").into_iter().map(|(n, _)| n).collect();
        assert_eq!(names, ["c", "b", "a"]);
        assert!(modules.with_dependencies(&["e"]).is_err());
    }
}
