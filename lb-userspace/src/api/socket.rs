//! The control socket. It is made in a directory nobody else can enter, gets its group and mode there and is then renamed to its place, so
//! that it never has a wrong permission; the process's umask, which all threads share, is left alone.

use std::{
    fs, io,
    os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown},
    path::{Path, PathBuf},
};

use anyhow::{Context, bail, ensure};
use nix::unistd::Gid;
use tokio::net::UnixListener;

/// `sun_path` of Linux, without the final zero.
const MAX_PATH: usize = 107;

/// A bound control socket. Dropping it takes the file away, unless another process has replaced it by its own.
#[derive(Debug)]
pub struct ControlSocket {
    /// Where connections come from.
    pub(super) listener: UnixListener,
    path: PathBuf,
    identity: (u64, u64),
}

/// Binds the socket with mode 0660 and, if given, the group; without it, 0600.
pub fn bind(path: &Path, group: Option<Gid>) -> anyhow::Result<ControlSocket> {
    let place = || format!("control socket {}", path.display());
    let dir = path
        .parent()
        .filter(|dir| !dir.as_os_str().is_empty())
        .with_context(|| format!("{}: `socket` needs a directory, as in /run/lbd/lbd.sock", place()))?;
    fs::create_dir_all(dir).with_context(|| format!("{}: its directory cannot be made", place()))?;
    make_room(path).with_context(place)?;

    let private = tempfile::Builder::new()
        .prefix(".")
        .permissions(fs::Permissions::from_mode(0o700))
        .tempdir_in(dir)
        .with_context(|| format!("{}: no temporary directory beside it", place()))?;
    let unborn = private.path().join("s");
    ensure!(
        unborn.as_os_str().len() <= MAX_PATH && path.as_os_str().len() <= MAX_PATH,
        "{}: the path is too long, Linux takes {MAX_PATH} bytes with the temporary name beside it",
        place()
    );
    let listener = UnixListener::bind(&unborn).with_context(place)?;
    if let Some(group) = group {
        chown(&unborn, None, Some(group.as_raw()))
            .with_context(|| format!("{}: it cannot be given to group {group}", place()))?;
    }
    let mode = if group.is_some() { 0o660 } else { 0o600 };
    fs::set_permissions(&unborn, fs::Permissions::from_mode(mode)).with_context(place)?;
    let metadata = fs::symlink_metadata(&unborn).with_context(place)?;
    fs::rename(&unborn, path).with_context(place)?;
    Ok(ControlSocket { listener, path: path.to_owned(), identity: (metadata.dev(), metadata.ino()) })
}

/// Makes sure that nobody listens there. A dead socket is left: the rename replaces it.
fn make_room(path: &Path) -> anyhow::Result<()> {
    let metadata = match fs::symlink_metadata(path) {
        Ok(metadata) => metadata,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
    };
    if !metadata.file_type().is_socket() {
        bail!("there is something else at this path; remove it or set another `socket` in lbd.toml");
    }
    match std::os::unix::net::UnixStream::connect(path) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(()),
        Ok(_) => bail!("another lbd listens there; `systemctl status lbd` shows it"),
        Err(error) => Err(error).context("it is not known whether another lbd listens there"),
    }
}

impl Drop for ControlSocket {
    fn drop(&mut self) {
        let ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|metadata| (metadata.dev(), metadata.ino()) == self.identity);
        if ours && let Err(error) = fs::remove_file(&self.path) {
            tracing::debug!(%error, path = %self.path.display(), "the control socket was left behind");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[tokio::test]
    async fn the_socket_is_for_the_group_or_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("run/lbd.sock");
        let own = nix::unistd::getegid();
        let socket = bind(&path, Some(own)).unwrap();
        assert_eq!(mode(&path), 0o660);
        assert_eq!(fs::metadata(&path).unwrap().gid(), own.as_raw());
        drop(socket);
        assert!(!path.exists());
        let _socket = bind(&path, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        let left: Vec<_> = fs::read_dir(path.parent().unwrap()).unwrap().collect();
        assert_eq!(left.len(), 1, "the temporary directory is gone: {left:?}");
    }

    #[tokio::test]
    async fn a_dead_socket_is_replaced_and_a_live_one_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lbd.sock");
        drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
        let socket = bind(&path, None).unwrap();
        let error = format!("{:#}", bind(&path, None).unwrap_err());
        assert!(error.contains("another lbd listens there"), "{error}");
        drop(socket);
    }

    #[tokio::test]
    async fn something_else_at_the_path_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lbd.sock");
        fs::write(&path, "precious").unwrap();
        assert!(bind(&path, None).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
    }

    #[tokio::test]
    async fn a_successors_socket_survives_the_predecessors_end() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lbd.sock");
        let old = bind(&path, None).unwrap();
        fs::remove_file(&path).unwrap();
        let _new = bind(&path, None).unwrap();
        drop(old);
        assert!(path.exists());
    }
}
