//! Debian's kernels: chosen by series, fetched once, kept unpacked.

use std::{
    cmp::Reverse,
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use super::apt::Apt;

/// The series that must be served, and the newest there is.
pub(super) const DEFAULT: [&str; 5] = ["5.10", "6.1", "6.12", "6.18", NEWEST];
pub(super) const NEWEST: &str = "newest";

/// The small flavour: every device the stories need as a module, and a third of the size.
const FLAVOUR: &str = "-cloud-amd64";
const IMAGE: &str = "linux-image-";

/// The lists may name packages that the mirror has dropped; so many are tried.
const ATTEMPTS: usize = 4;

/// An unpacked kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Kernel {
    /// `6.1`, as asked for.
    pub(super) series: String,
    /// `6.1.0-56-cloud-amd64`.
    pub(super) release: String,
    /// The compressed kernel.
    pub(super) image: PathBuf,
    /// Its directory of modules.
    pub(super) modules: PathBuf,
}

impl Kernel {
    /// The latest of a series: the one that is here already, unless `update`.
    pub(super) fn get(series: &str, cache: &Path, apt: &Apt, update: bool) -> Result<Self> {
        let valid = series == NEWEST || series.split('.').all(|part| part.parse::<u32>().is_ok());
        if !valid {
            bail!("`{series}` is no kernel series; try `6.1`, or `{NEWEST}`");
        }
        let dir = cache.join("kernels").join(series);
        let here = packages_in(&dir);
        if !update && let Some(package) = here.first() {
            return Self::at(series, &dir.join(package));
        }
        let all = newest_first(apt.search(&pattern(series))?);
        let mut refusal = None;
        for package in all.iter().take(ATTEMPTS) {
            let to = dir.join(package);
            if to.exists() {
                return Self::at(series, &to);
            }
            println!("vm: fetching {package}");
            let mut wanted = vec![package.clone()];
            // Newer ones come in parts.
            let parts = ["linux-base-", "linux-binary-", "linux-modules-"];
            let depends = apt.dependencies(package)?;
            wanted.extend(depends.into_iter().filter(|name| parts.iter().any(|part| name.starts_with(part))));
            match apt.unpack(&wanted, &to) {
                Ok(()) => return Self::at(series, &to),
                Err(error) => refusal = Some(error),
            }
        }
        match refusal {
            Some(error) => Err(error.context(format!("no kernel {series} could be fetched"))),
            None => bail!("Debian's archive has no kernel {series} (packages {IMAGE}{series}…{FLAVOUR})"),
        }
    }

    fn at(series: &str, dir: &Path) -> Result<Self> {
        let modules = ["lib/modules", "usr/lib/modules"]
            .iter()
            .find_map(|place| only_entry(&dir.join(place)))
            .with_context(|| format!("{} holds no modules", dir.display()))?;
        let release = modules.file_name().context("a directory of modules has a name")?;
        let release = release.to_string_lossy().into_owned();
        let image = [dir.join(format!("boot/vmlinuz-{release}")), modules.join("vmlinuz")]
            .into_iter()
            .find(|path| path.is_file())
            .with_context(|| format!("{} holds no kernel", dir.display()))?;
        Ok(Self { series: series.to_owned(), release, image, modules })
    }
}

fn pattern(series: &str) -> String {
    let number =
        if series == NEWEST { "[0-9]".to_owned() } else { format!("{}[.]", series.replace('.', "[.]")) };
    format!("^{IMAGE}{number}[^ ]*{FLAVOUR}$")
}

fn packages_in(dir: &Path) -> Vec<String> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let names = entries.map(|entry| entry.file_name().to_string_lossy().into_owned());
    newest_first(names.filter(|name| name.starts_with(IMAGE)).collect())
}

fn only_entry(dir: &Path) -> Option<PathBuf> {
    fs::read_dir(dir).ok()?.flatten().map(|entry| entry.path()).find(|path| path.is_dir())
}

/// By the numbers in their names. Names without a full version (`linux-image-6.1-cloud-amd64`) only point to others.
fn newest_first(mut packages: Vec<String>) -> Vec<String> {
    packages.retain(|name| numbers(name).len() > 2);
    packages.sort_by_key(|name| Reverse(numbers(name)));
    packages
}

fn numbers(package: &str) -> Vec<u64> {
    let version = package.strip_prefix(IMAGE).and_then(|rest| rest.strip_suffix(FLAVOUR)).unwrap_or(package);
    version.split(|c: char| !c.is_ascii_digit()).filter_map(|digits| digits.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_by_number() {
        let names = [
            "linux-image-6.12.95+deb12-cloud-amd64",
            "linux-image-6.12-cloud-amd64",
            "linux-image-6.12.117+deb12-cloud-amd64",
            "linux-image-6.12.107+deb13-cloud-amd64",
        ];
        let sorted = newest_first(names.map(str::to_owned).to_vec());
        assert_eq!(sorted, [names[2], names[3], names[0]]);
    }

    #[test]
    fn a_backport_to_an_older_release_comes_after_the_releases_own() {
        let names = ["linux-image-6.1.0-0.deb11.52-cloud-amd64", "linux-image-6.1.0-56-cloud-amd64"];
        assert_eq!(newest_first(names.map(str::to_owned).to_vec())[0], names[1]);
    }

    #[test]
    fn a_series_is_not_taken_for_a_longer_one() {
        assert_eq!(pattern("6.1"), "^linux-image-6[.]1[.][^ ]*-cloud-amd64$");
    }
}
