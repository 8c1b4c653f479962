//! The guest's file system: a cpio archive in the `newc` format, which the kernel unpacks into memory before it starts `/init`.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result};

use crate::process;

const DIRECTORY: u32 = 0o040_755;
const CHARACTER_DEVICE: u32 = 0o020_600;
const FILE: u32 = 0o100_000;
const LINK: u32 = 0o120_777;

/// An archive that grows.
#[derive(Debug, Default)]
pub(super) struct Archive {
    bytes: Vec<u8>,
    names: BTreeSet<String>,
}

impl Archive {
    /// One with the directories and devices that a first process needs.
    pub(super) fn new() -> Self {
        let mut archive = Self::default();
        for dir in ["dev", "proc", "sys", "tmp", "run", "etc", "mnt", "var"] {
            archive.entry(dir, DIRECTORY, &[], (0, 0));
        }
        // The kernel opens the console for it; Rust's runtime wants something to put in place of a closed descriptor.
        archive.entry("dev/console", CHARACTER_DEVICE, &[], (5, 1));
        archive.entry("dev/null", CHARACTER_DEVICE | 0o066, &[], (1, 3));
        archive
    }

    /// A file with this content.
    pub(super) fn file(&mut self, name: &str, permissions: u32, content: &[u8]) {
        self.once(name, FILE | permissions & 0o7777, content);
    }

    /// An empty directory.
    pub(super) fn directory(&mut self, name: &str) {
        self.once(name, DIRECTORY, &[]);
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, name: &str, to: &str) {
        self.once(name, LINK, to.as_bytes());
    }

    /// An entry after the directories on the way to it, unless there is one of this name.
    fn once(&mut self, name: &str, mode: u32, content: &[u8]) {
        let name = name.trim_start_matches('/');
        for (at, _) in name.match_indices('/') {
            if !self.names.contains(&name[..at]) {
                self.entry(&name[..at], DIRECTORY, &[], (0, 0));
            }
        }
        if !self.names.contains(name) {
            self.entry(name, mode, content, (0, 0));
        }
    }

    /// A copy of a program of this machine with the libraries it needs, without its debugging information.
    pub(super) fn program(&mut self, from: &Path, name: &str) -> Result<()> {
        let mode = fs::metadata(from).with_context(|| from.display().to_string())?.permissions().mode();
        self.file(name, mode, &stripped(from)?);
        // What `ldd` cannot read is linked statically.
        let list = process::quietly(Command::new("ldd").arg(from)).unwrap_or_default();
        for library in libraries(&list) {
            let content = fs::read(&library).with_context(|| library.display().to_string())?;
            self.file(&library.to_string_lossy(), 0o755, &content);
        }
        Ok(())
    }

    /// The whole.
    pub(super) fn finish(mut self) -> Vec<u8> {
        self.entry("TRAILER!!!", 0, &[], (0, 0));
        self.bytes
    }

    fn entry(&mut self, name: &str, mode: u32, content: &[u8], device: (u32, u32)) {
        self.names.insert(name.to_owned());
        let number = self.names.len() as u32;
        let length = content.len() as u32;
        let (major, minor) = device;
        // c_magic, then: ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check.
        self.bytes.extend_from_slice(b"070701");
        let fields = [number, mode, 0, 0, 1, 0, length, 0, 0, major, minor, name.len() as u32 + 1, 0];
        for field in fields {
            self.bytes.extend_from_slice(format!("{field:08X}").as_bytes());
        }
        self.bytes.extend_from_slice(name.as_bytes());
        self.bytes.push(0);
        self.pad();
        self.bytes.extend_from_slice(content);
        self.pad();
    }

    fn pad(&mut self) {
        self.bytes.resize(self.bytes.len().next_multiple_of(4), 0);
    }
}

/// Debugging information is nine tenths of a program, and memory of the guest. Without `strip` it stays.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let out = tempfile::NamedTempFile::new()?;
    let mut strip = Command::new("strip");
    strip.arg("--strip-debug").arg("-o").arg(out.path()).arg(program);
    let from = if process::quietly(&mut strip).is_ok() { out.path() } else { program };
    fs::read(from).with_context(|| from.display().to_string())
}

/// Paths from `ldd`: `libc.so.6 => /lib/…/libc.so.6 (0x…)` and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
fn libraries(list: &str) -> Vec<PathBuf> {
    let paths = list.lines().filter_map(|line| line.split_whitespace().find(|word| word.starts_with('/')));
    paths.map(PathBuf::from).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn libraries_are_found_in_what_ldd_says() {
        let list = "\tlinux-vdso.so.1 (0x1)\n\tlibc.so.6 => /lib/x/libc.so.6 (0x2)\n\t/lib64/ld.so (0x3)\n";
        assert_eq!(libraries(list), [PathBuf::from("/lib/x/libc.so.6"), PathBuf::from("/lib64/ld.so")]);
    }

    #[test]
    fn a_files_directories_come_before_it_and_every_part_is_aligned() {
        let mut archive = Archive::default();
        archive.file("/a/b/c", 0o644, b"hello");
        archive.file("a/b/d", 0o644, b"");
        let bytes = archive.finish();
        assert_eq!(bytes.len() % 4, 0);
        let text = String::from_utf8_lossy(&bytes);
        let places: Vec<usize> = text.match_indices("070701").map(|(at, _)| at).collect();
        assert_eq!(places.len(), 5, "two directories, two files, the end");
        assert!(places.iter().all(|at| at % 4 == 0));
        let name = |at: usize| text[at + 110..].split('\0').next().unwrap_or_default().to_owned();
        let names: Vec<String> = places.into_iter().map(name).collect();
        assert_eq!(names, ["a", "a/b", "a/b/c", "a/b/d", "TRAILER!!!"]);
    }
}
