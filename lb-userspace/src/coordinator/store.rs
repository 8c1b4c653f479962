//! The overrides on disk: `overrides.json` in the state directory.
//!
//! Written beside its place, synced, renamed: a crash leaves the old or the new one, never half of one. The one before is kept as
//! `overrides.json.prev`. One that cannot be read is set aside under another name and the daemon starts without overrides.

use std::{
    fs::{self, File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::{SystemTime, UNIX_EPOCH},
};

use super::overrides::{Document, Overrides, VERSION};

/// Where the overrides are kept.
#[derive(Clone, Debug)]
pub struct Store {
    dir: PathBuf,
}

impl Store {
    /// In this directory; it is made when something is saved.
    pub fn new(state_dir: impl Into<PathBuf>) -> Self {
        Self { dir: state_dir.into() }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// The file.
    pub fn path(&self) -> PathBuf {
        self.dir.join("overrides.json")
    }

    /// What was saved; nothing, with an error in the log, when it cannot be read.
    pub fn load(&self, now: SystemTime) -> Overrides {
        let path = self.path();
        let problem = match fs::read(&path) {
            Ok(bytes) => match read(&bytes) {
                Ok(document) => return document.into(),
                Err(problem) => problem,
            },
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Overrides::default(),
            Err(error) => {
                tracing::error!("{}: {error}: lbd starts without overrides", path.display());
                return Overrides::default();
            }
        };
        let stamp = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let aside = self.dir.join(format!("overrides.json.bad-{stamp}"));
        match fs::rename(&path, &aside) {
            Ok(()) => tracing::error!(
                "{}: {problem}: set aside as {}; lbd starts without overrides. Look at it, and at {}.prev, for what \
                 to set again with lbctl",
                path.display(),
                aside.display(),
                path.display(),
            ),
            Err(error) => tracing::error!(
                "{}: {problem}: lbd starts without overrides, and could not set the file aside: {error}",
                path.display()
            ),
        }
        Overrides::default()
    }

    /// Writes the document; on return it is on disk.
    pub fn save(&self, document: &Document) -> io::Result<()> {
        let path = self.path();
        let within = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        self.write(&path, document).map_err(within)
    }

    fn write(&self, path: &Path, document: &Document) -> io::Result<()> {
        fs::create_dir_all(&self.dir)?;
        let mut text = serde_json::to_vec_pretty(document)?;
        text.push(b'\n');
        let mut new = tempfile::Builder::new().prefix(".overrides-").tempfile_in(&self.dir)?;
        new.as_file().set_permissions(Permissions::from_mode(0o640))?;
        new.write_all(&text)?;
        new.as_file().sync_all()?;
        self.keep_previous(path)?;
        new.persist(path).map_err(|error| error.error)?;
        File::open(&self.dir)?.sync_all()
    }

    /// A second name for the file as it is, so that there is no moment without one.
    fn keep_previous(&self, path: &Path) -> io::Result<()> {
        let previous = self.dir.join("overrides.json.prev");
        for result in [fs::remove_file(&previous), fs::hard_link(path, &previous)] {
            match result {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

fn read(bytes: &[u8]) -> Result<Document, String> {
    #[derive(serde::Deserialize)]
    struct Version {
        version: u32,
    }
    let broken = |error: serde_json::Error| format!("not a list of overrides: {error}");
    let Version { version } = serde_json::from_slice(bytes).map_err(broken)?;
    if version != VERSION {
        return Err(format!(
            "written by another version of lbd (version {version}, this one reads {VERSION})"
        ));
    }
    serde_json::from_slice(bytes).map_err(broken)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        coordinator::overrides::{Entry, Setting},
        model::{BackendId, Pooled, Weight},
    };

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn sample() -> Overrides {
        let mut overrides = Overrides::default();
        let id =
            |backend: &str| BackendId { pool: "text".parse().unwrap(), backend: backend.parse().unwrap() };
        let pooled = Setting {
            value: Pooled::No,
            by: "alice".into(),
            reason: Some("kernel upgrade".into()),
            since: at(1000),
            until: Some(at(2000)),
        };
        let weight = Setting {
            value: Weight::try_from(3).unwrap(),
            by: "bob".into(),
            reason: None,
            since: at(1500),
            until: None,
        };
        overrides
            .put(&id("a"), Entry { pooled: Some(pooled), weight: Some(weight.clone()), absent_since: None });
        overrides.put(&id("b"), Entry { weight: Some(weight), absent_since: Some(at(1600)), pooled: None });
        overrides
    }

    fn names(dir: &Path) -> Vec<String> {
        let mut names: Vec<_> =
            fs::read_dir(dir).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[test]
    fn what_was_saved_is_loaded() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path().join("state"));
        assert!(store.load(at(1)).is_empty());
        store.save(&sample().document(at(1700))).unwrap();
        assert_eq!(store.load(at(1)), sample());
        let mode = fs::metadata(store.path()).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o640);
    }

    #[test]
    fn the_file_before_is_kept_and_nothing_else_is_left() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::new(dir.path());
        store.save(&sample().document(at(1700))).unwrap();
        store.save(&Overrides::default().document(at(1800))).unwrap();
        assert!(store.load(at(1)).is_empty());
        let previous = read(&fs::read(dir.path().join("overrides.json.prev")).unwrap()).unwrap();
        assert_eq!(Overrides::from(previous), sample());
        store.save(&sample().document(at(1900))).unwrap();
        assert_eq!(names(dir.path()), ["overrides.json", "overrides.json.prev"]);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_set_aside_and_the_daemon_starts() {
        for bad in
            ["", "{", "null", "[]", "{\"version\": 2, \"overrides\": {}}", "{\"version\": 1}", "\u{fffd}\0"]
        {
            let dir = tempfile::tempdir().unwrap();
            let store = Store::new(dir.path());
            fs::write(store.path(), bad).unwrap();
            assert!(store.load(at(1234)).is_empty(), "{bad}");
            assert_eq!(names(dir.path()), ["overrides.json.bad-1234"], "{bad}");
            store.save(&sample().document(at(1))).unwrap();
            assert_eq!(store.load(at(1)), sample(), "{bad}");
        }
    }

    #[test]
    fn a_value_out_of_range_is_an_error_and_not_a_panic() {
        let text = r#"{"version":1,"saved_at":18446744073709551615,"overrides":[]}"#;
        assert!(read(text.as_bytes()).unwrap_err().contains("is not a time"));
        let text = r#"{"version":1,"saved_at":1,"overrides":[{"pool":"a b","backend":"c"}]}"#;
        assert!(read(text.as_bytes()).unwrap_err().contains("not ` `"));
    }

    #[test]
    fn a_disk_that_cannot_be_written_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "").unwrap();
        let error = Store::new(file.join("state")).save(&sample().document(at(1))).unwrap_err();
        assert!(error.to_string().contains("overrides.json"), "{error}");
    }
}
