//! What the data plane was told last, kept for the next start: `serving.json` in the state directory.
//!
//! The kernel's tables go on forwarding when the daemon dies, but they know no names. This file tells the next daemon who served, so that
//! it does not take them out before their first check. It is only of use while those tables exist: after a reboot it says nothing. It
//! therefore has to survive a crash of the daemon, not one of the host, and is not synced to disk.

use std::{
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Arc,
};

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::adopted::{Adopted, AdoptedBackend};
use crate::{datapath::Desired, model::BackendId};

const FILE: &str = "serving.json";
const VERSION: u32 = 1;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Document {
    version: u32,
    backends: Vec<Record>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Record {
    #[serde(flatten)]
    id: BackendId,
    #[serde(flatten)]
    backend: AdoptedBackend,
}

fn document(desired: &Desired) -> Document {
    let backends = desired.pools.iter().flat_map(|(pool, state)| {
        let kept = state.backends.iter().filter(|(_, b)| b.disposition.keeps_old());
        kept.map(|(name, b)| Record {
            id: BackendId { pool: pool.clone(), backend: name.clone() },
            backend: AdoptedBackend {
                address: b.address,
                weight: b.weight,
                disposition: b.disposition,
                method: b.method,
                gue_port: b.gue_port,
                server_id: b.server_id,
            },
        })
    });
    Document { version: VERSION, backends: backends.collect() }
}

/// Who served or drained when the daemon before this one was last heard of; nobody, with a warning, when the file cannot be read. Only
/// to be asked when the kernel's tables of that daemon were found.
pub fn load(state_dir: &Path) -> Adopted {
    let path = state_dir.join(FILE);
    let read = std::fs::read(&path).and_then(|bytes| Ok(serde_json::from_slice::<Document>(&bytes)?));
    match read {
        Ok(document) if document.version == VERSION => {
            document.backends.into_iter().map(|record| (record.id, record.backend)).collect()
        }
        Ok(document) => {
            let version = document.version;
            tracing::warn!(
                "{}: version {version} is not known: each backend waits for its checks",
                path.display()
            );
            Adopted::new()
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Adopted::new(),
        Err(error) => {
            tracing::warn!("{}: {error}: each backend waits for its first check", path.display());
            Adopted::new()
        }
    }
}

fn save(state_dir: &Path, document: &Document) -> io::Result<()> {
    std::fs::create_dir_all(state_dir)?;
    let mut file = tempfile::Builder::new().prefix(".serving-").tempfile_in(state_dir)?;
    file.write_all(&serde_json::to_vec(document)?)?;
    file.persist(state_dir.join(FILE)).map_err(|error| error.error)?;
    Ok(())
}

/// Writes the file after each change until the sender is gone. A state superseded while one is being written is skipped.
pub(super) async fn keep(state_dir: PathBuf, mut desired: watch::Receiver<Arc<Desired>>) {
    let mut last = None;
    let mut failing = false;
    while desired.changed().await.is_ok() {
        let state = Arc::clone(&desired.borrow_and_update());
        let document = Arc::new(document(&state));
        if last.as_ref() == Some(&document) {
            continue;
        }
        let (dir, copy) = (state_dir.clone(), Arc::clone(&document));
        let written = tokio::task::spawn_blocking(move || save(&dir, &copy)).await;
        let problem = written.unwrap_or_else(|error| Err(io::Error::other(error))).err();
        if let Some(problem) = problem.as_ref().filter(|_| !failing) {
            let path = state_dir.join(FILE);
            tracing::error!(
                "{}: {problem}: after a restart backends would wait for their checks",
                path.display()
            );
        }
        failing = problem.is_some();
        last = (!failing).then_some(document);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_cannot_be_read_is_nobody() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).is_empty());
        for bad in [
            "",
            "{}",
            "[]",
            "{\"version\":9,\"backends\":[]}",
            "{\"version\":1,\"backends\":[{\"pool\":\"\"}]}",
        ] {
            std::fs::write(dir.path().join(FILE), bad).unwrap();
            assert!(load(dir.path()).is_empty(), "{bad}");
        }
    }
}
