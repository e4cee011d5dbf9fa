//! Who this worker is: a UUID in a locked state directory.
//!
//! Owns the lock and the id file. Does not know what else lies in the directory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

use crate::durable;

/// A state directory that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    /// Another worker that is alive uses it.
    #[error(
        "the state directory {} is in use by another worker{}; stop that worker, or give this one \
         a directory of its own with --state-dir",
        path.display(),
        holder.as_ref().map(|pid| format!(" (process {pid})")).unwrap_or_default()
    )]
    InUse {
        /// The state directory.
        path: PathBuf,
        /// The process id that the other worker left in its lock file.
        holder: Option<String>,
    },
    /// The id file holds something else than a UUID.
    #[error("{} does not hold a worker's UUID but {found:?}; delete it and this worker gets a new identity", path.display())]
    NotAnId {
        /// The id file.
        path: PathBuf,
        /// What it holds, shortened.
        found: String,
    },
    /// The directory or a file in it cannot be read or written.
    #[error("cannot use the state directory: {}", path.display())]
    Io {
        /// What was touched.
        path: PathBuf,
        /// Why it failed.
        source: io::Error,
    },
    /// The system gave no random numbers.
    #[error("no random numbers from the system: {0}")]
    NoRandomness(String),
}

/// A worker's identity, held as long as this value lives.
#[derive(Debug)]
pub(crate) struct Identity {
    worker_id: String,
    instance: String,
    // Closing it frees the directory; the kernel does so for a killed worker.
    _lock: File,
}

impl Identity {
    /// Locks `state_dir`, making it where there is none, and reads or makes the id.
    pub(crate) fn take(state_dir: &Path) -> Result<Self, IdentityError> {
        durable::create_dir_all(state_dir).map_err(|source| io_at(state_dir, source))?;
        let lock = lock(state_dir)?;
        let worker_id = read_or_make_id(&state_dir.join("id"))?;
        Ok(Self { worker_id, instance: random_uuid()?, _lock: lock })
    }

    /// The UUID that stays the same over restarts.
    pub(crate) fn worker_id(&self) -> &str {
        &self.worker_id
    }

    /// The UUID of this start.
    pub(crate) fn instance(&self) -> &str {
        &self.instance
    }
}

fn lock(state_dir: &Path) -> Result<File, IdentityError> {
    let path = state_dir.join("lock");
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .open(&path)
        .map_err(|source| io_at(&path, source))?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let holder = fs::read_to_string(&path).ok().map(|text| text.trim().to_owned());
            let holder = holder.filter(|text| !text.is_empty());
            return Err(IdentityError::InUse { path: state_dir.to_owned(), holder });
        }
        Err(errno) => return Err(io_at(&path, errno.into())),
    }
    // Only for the message of the one who comes second, so a full disk does not matter here.
    let _ = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    Ok(file)
}

fn read_or_make_id(path: &Path) -> Result<String, IdentityError> {
    match fs::read_to_string(path) {
        Ok(text) if is_uuid(text.trim()) => {
            // Whoever made it may have been killed before its name was on disk.
            durable::sync(durable::parent_of(path)).map_err(|source| io_at(path, source))?;
            Ok(text.trim().to_owned())
        }
        Ok(text) if !text.trim().is_empty() => {
            let found = text.chars().take(60).collect();
            Err(IdentityError::NotAnId { path: path.to_owned(), found })
        }
        // Empty: the machine stopped between making and writing it, so nobody knows this id yet.
        Ok(_) => make_id(path),
        Err(error) if error.kind() == io::ErrorKind::NotFound => make_id(path),
        Err(source) => Err(io_at(path, source)),
    }
}

fn make_id(path: &Path) -> Result<String, IdentityError> {
    let id = random_uuid()?;
    let temporary = path.with_extension("new");
    let write = || -> io::Result<()> {
        let mut file = File::create(&temporary)?;
        writeln!(file, "{id}")?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        durable::sync(durable::parent_of(path))
    };
    write().map_err(|source| io_at(path, source))?;
    Ok(id)
}

/// A random UUID (version 4).
pub(crate) fn random_uuid() -> Result<String, IdentityError> {
    let mut bytes = [0_u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| IdentityError::NoRandomness(error.to_string()))?;
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok([&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]].join("-"))
}

/// A random number to seed waits with.
pub(crate) fn random_seed() -> u64 {
    let mut bytes = [0_u8; 8];
    // Without randomness the jitter is weaker, nothing else.
    let _ = getrandom::fill(&mut bytes);
    u64::from_le_bytes(bytes) ^ u64::from(std::process::id())
}

fn is_uuid(text: &str) -> bool {
    text.len() == 36
        && text.bytes().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        })
}

fn io_at(path: &Path, source: io::Error) -> IdentityError {
    IdentityError::Io { path: path.to_owned(), source }
}

#[cfg(test)]
mod tests {
    use super::{Identity, IdentityError, is_uuid, random_uuid};

    #[test]
    fn the_id_stays_and_the_instance_changes_over_restarts() {
        let dir = tempfile::tempdir().unwrap();
        let first = Identity::take(dir.path()).unwrap();
        let (id, instance) = (first.worker_id().to_owned(), first.instance().to_owned());
        drop(first);
        let second = Identity::take(dir.path()).unwrap();
        assert_eq!(second.worker_id(), id);
        assert_ne!(second.instance(), instance);
    }

    #[test]
    fn a_second_worker_is_told_which_directory_and_what_to_do() {
        let dir = tempfile::tempdir().unwrap();
        let _first = Identity::take(dir.path()).unwrap();
        let error = Identity::take(dir.path()).unwrap_err();
        assert!(matches!(error, IdentityError::InUse { .. }));
        let text = error.to_string();
        assert!(text.contains(&dir.path().display().to_string()), "{text}");
        assert!(text.contains("--state-dir"), "{text}");
        assert!(text.contains(&std::process::id().to_string()), "{text}");
    }

    #[test]
    fn an_id_file_with_something_else_is_named_and_an_empty_one_is_filled() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("id"), "hello").unwrap();
        let error = Identity::take(dir.path()).unwrap_err();
        assert!(matches!(error, IdentityError::NotAnId { .. }), "{error}");
        std::fs::write(dir.path().join("id"), "").unwrap();
        assert!(is_uuid(Identity::take(dir.path()).unwrap().worker_id()));
    }

    #[test]
    fn a_random_uuid_is_version_4() {
        let id = random_uuid().unwrap();
        assert!(is_uuid(&id) && id.as_bytes()[14] == b'4', "{id}");
    }
}
