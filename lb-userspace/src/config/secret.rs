//! The key of the flow hash: where a flow goes is known only to who knows it, so nobody can aim flows at one backend.

use std::{
    fmt,
    fs::{File, Permissions},
    io::{self, Write as _},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use rand::{TryRngCore, rngs::OsRng};

use super::regular_file;
use crate::model::Global;

/// Bytes of a key.
const BYTES: usize = 32;
/// Name of the generated key in `state_dir`.
const FILE_NAME: &str = "secret";
/// The file's owner may read and write it, nobody else anything.
const OWNER_ONLY: u32 = 0o600;
/// What nobody but the owner may do, except reading by the group.
const FORBIDDEN: u32 = 0o037;

/// The key of the flow hash. `Debug` does not show it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret([u8; BYTES]);

impl Secret {
    /// The bytes.
    pub const fn bytes(&self) -> &[u8; BYTES] {
        &self.0
    }

    /// A new one from the kernel's random numbers.
    pub fn generate() -> io::Result<Self> {
        let mut bytes = [0; BYTES];
        OsRng.try_fill_bytes(&mut bytes).map_err(io::Error::other)?;
        Ok(Self(bytes))
    }

    /// Reads 64 hex digits; white space around them is ignored.
    pub fn from_hex(text: &str) -> Option<Self> {
        let digits = text.trim().as_bytes();
        if digits.len() != 2 * BYTES {
            return None;
        }
        let mut bytes = [0; BYTES];
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
            let high = char::from(pair[0]).to_digit(16)?;
            let low = char::from(pair[1]).to_digit(16)?;
            *byte = (high << 4 | low) as u8;
        }
        Some(Self(bytes))
    }

    fn to_hex(&self) -> String {
        let digit = |n: u8| char::from(b"0123456789abcdef"[usize::from(n)]);
        self.0.iter().flat_map(|byte| [digit(byte >> 4), digit(byte & 15)]).collect()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// Why there is no key. The text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file cannot be read.
    #[error("cannot read the key {}: {error}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
    /// Others may read or change it.
    #[error(
        "the key {} can be read or changed by others (mode {mode:04o}); type `chmod 600 {}`, and make a new key if anybody may have read it",
        path.display(), path.display()
    )]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It is not 64 hex digits.
    #[error(
        "the key {} is not 64 hex digits; make one with `(umask 077; openssl rand -hex 32 > {})`",
        path.display(), path.display()
    )]
    Malformed {
        /// The file.
        path: PathBuf,
    },
    /// A new one cannot be kept.
    #[error("cannot keep a new key in {}: {error}; lbd must be able to write there", path.display())]
    Keep {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        error: io::Error,
    },
}

/// The key of this configuration: the one in `secret_file`, or the generated one in `state_dir`, made if it is not there yet.
pub fn of(global: &Global) -> Result<Secret, SecretError> {
    match &global.secret_file {
        Some(path) => read(path),
        None => read_or_make(&global.state_dir),
    }
}

/// Reads a key file.
pub fn read(path: &Path) -> Result<Secret, SecretError> {
    let (bytes, metadata) =
        regular_file::read(path, 1024).map_err(|error| SecretError::Read { path: path.to_owned(), error })?;
    let mode = metadata.permissions().mode() & 0o7777;
    if mode & FORBIDDEN != 0 {
        return Err(SecretError::Exposed { path: path.to_owned(), mode });
    }
    std::str::from_utf8(&bytes)
        .ok()
        .and_then(Secret::from_hex)
        .ok_or_else(|| SecretError::Malformed { path: path.to_owned() })
}

/// Reads the key kept in `state_dir`, or makes one there. The directory is made if it is missing.
pub fn read_or_make(state_dir: &Path) -> Result<Secret, SecretError> {
    let path = state_dir.join(FILE_NAME);
    match read(&path) {
        Err(SecretError::Read { error, .. }) if error.kind() == io::ErrorKind::NotFound => {}
        kept => return kept,
    }
    match make(state_dir, &path) {
        Ok(secret) => Ok(secret),
        // Somebody else was faster: that one is the key.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read(&path),
        Err(error) => Err(SecretError::Keep { path, error }),
    }
}

/// Writes a new key beside its place, and moves it there only when it is on the disk: after a crash there is all of it or nothing.
fn make(state_dir: &Path, path: &Path) -> io::Result<Secret> {
    std::fs::create_dir_all(state_dir)?;
    let secret = Secret::generate()?;
    let mut file = tempfile::Builder::new()
        .prefix(".secret.")
        .permissions(Permissions::from_mode(OWNER_ONLY))
        .tempfile_in(state_dir)?;
    writeln!(file, "{}", secret.to_hex())?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    File::open(state_dir)?.sync_all()?;
    Ok(secret)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key_file(content: &str, mode: u32) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("key");
        std::fs::write(&path, content).expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(mode)).expect("set");
        (dir, path)
    }

    #[test]
    fn sixty_four_hex_digits_are_a_key() {
        let digits = "00112233445566778899aabbccddeeff00112233445566778899AABBCCDDEEFF";
        let (_dir, path) = key_file(&format!("{digits}\n"), 0o600);
        let secret = read(&path).expect("a key");
        assert_eq!(&secret.bytes()[..3], &[0, 0x11, 0x22]);
        assert_eq!(secret.bytes()[31], 0xff);
        assert_eq!(secret.to_hex(), digits.to_lowercase());
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_with_the_command_that_helps() {
        for mode in [0o644, 0o604, 0o660] {
            let (_dir, path) = key_file(&"0".repeat(64), mode);
            let error = read(&path).expect_err("others can read or change it").to_string();
            assert!(error.contains(&format!("chmod 600 {}", path.display())), "{error}");
        }
        let (_dir, path) = key_file(&"0".repeat(64), 0o640);
        assert!(read(&path).is_ok(), "the group may read it");
    }

    #[test]
    fn anything_but_sixty_four_hex_digits_is_refused() {
        for content in ["", "zz", &"0".repeat(63), &"0".repeat(65), &"g".repeat(64), &"é".repeat(32)] {
            let (_dir, path) = key_file(content, 0o600);
            assert!(matches!(read(&path), Err(SecretError::Malformed { .. })), "{content}");
        }
    }

    #[test]
    fn a_made_key_stays_the_same_and_only_its_owner_can_read_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let state_dir = dir.path().join("lib/lbd");
        let first = read_or_make(&state_dir).expect("made");
        assert_eq!(read_or_make(&state_dir).expect("read"), first);
        let mode = std::fs::metadata(state_dir.join(FILE_NAME)).expect("there").permissions().mode();
        assert_eq!(mode & 0o7777, OWNER_ONLY);
        assert_eq!(std::fs::read_dir(&state_dir).expect("listed").count(), 1, "nothing is left beside it");
        let other = read_or_make(&dir.path().join("other")).expect("made");
        assert_ne!(first, other);
    }

    #[test]
    fn a_broken_kept_key_is_not_replaced() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join(FILE_NAME);
        std::fs::write(&path, "broken").expect("written");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("set");
        assert!(read_or_make(dir.path()).is_err());
        assert_eq!(std::fs::read_to_string(&path).expect("there"), "broken");
    }

    #[test]
    fn debug_shows_nothing_of_a_key() {
        let secret = Secret::generate().expect("random numbers");
        assert_eq!(format!("{secret:?}"), "Secret(..)");
    }
}
