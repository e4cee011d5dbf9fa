//! Where a database is, and the folder beside it, `<db>.d/`: the lock, the token, the instance.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    os::unix::fs::OpenOptionsExt as _,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use rustix::{
    fs::{FlockOperation, flock},
    io::Errno,
};

use super::{Epoch, OpenError, random_hex};
use crate::store::{durable, restored::name_start};

/// How often a lock that another holds is tried again.
const TRY_AGAIN: Duration = Duration::from_millis(50);

/// The folder beside the database, `<db>.d/`, and what is in it.
#[derive(Debug, Clone)]
pub struct Files {
    folder: PathBuf,
}

impl Files {
    /// The folder of this database; of the file that a link leads to.
    #[must_use]
    pub fn of(db: &Path) -> Self {
        let mut folder = fs::canonicalize(db).unwrap_or_else(|_| db.to_owned()).into_os_string();
        folder.push(".d");
        Self { folder: folder.into() }
    }

    /// The folder itself.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Where the live coordinator's address is.
    #[must_use]
    pub fn address(&self) -> PathBuf {
        self.folder.join("address")
    }

    /// Where the token is, readable by its owner alone.
    #[must_use]
    pub fn token(&self) -> PathBuf {
        self.folder.join("token")
    }

    /// Where the last start on the database is named.
    pub(super) fn last_epoch(&self) -> PathBuf {
        self.folder.join("epoch")
    }

    /// Names this start beside the database, so that an older copy in its place is seen at once.
    pub fn name_start(&self, epoch: &Epoch) -> Result<(), OpenError> {
        let path = self.last_epoch();
        name_start(&path, &epoch.nonce).map_err(at(&path))
    }

    pub(super) fn create(&self) -> Result<(), OpenError> {
        // Its name again at each start: one that was killed may have left it in memory alone.
        durable::create_dir_all(&self.folder)
            .and_then(|()| durable::sync(durable::parent_of(&self.folder)))
            .map_err(at(&self.folder))
    }

    /// Takes the lock, or says who has it. It dies with the process.
    pub(super) fn lock(&self, db: &Path, patience: Duration) -> Result<File, OpenError> {
        let path = self.folder.join("lock");
        let file = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let mut file = file.map_err(at(&path))?;
        let end = Instant::now() + patience;
        loop {
            match flock(&file, FlockOperation::NonBlockingLockExclusive) {
                Ok(()) => break,
                Err(Errno::WOULDBLOCK | Errno::INTR) if Instant::now() < end => {
                    std::thread::sleep(TRY_AGAIN);
                }
                Err(Errno::WOULDBLOCK | Errno::INTR) => {
                    return Err(OpenError::InUse { db: db.to_owned(), who: self.holder(&mut file) });
                }
                Err(error) => return Err(OpenError::Lock { path, source: error.into() }),
            }
        }
        // For the message of the next one; without it that message says less.
        let _ = file.set_len(0).and_then(|()| write!(file, "{}", std::process::id()));
        Ok(file)
    }

    fn holder(&self, lock: &mut File) -> String {
        let mut process = String::new();
        // Both are told if they can be read.
        let _ = lock.read_to_string(&mut process);
        let address = fs::read_to_string(self.address()).unwrap_or_default();
        match (process.trim(), address.trim()) {
            ("", "") => String::new(),
            ("", address) => format!(" at {address}"),
            (process, "") => format!(" (process {process})"),
            (process, address) => format!(" (process {process}) at {address}"),
        }
    }

    /// 256 random bits, made once.
    pub(super) fn read_or_make_token(&self) -> Result<String, OpenError> {
        let path = self.token();
        read_or_make(&path, 32).map_err(at(&path))
    }

    /// Known to the database as well: a copy of the database alone has none, or another.
    pub(super) fn instance(&self) -> Result<String, OpenError> {
        let path = self.folder.join("instance");
        read_or_make(&path, 16).map_err(at(&path))
    }
}

fn at(path: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Folder { path: path.to_owned(), source }
}

/// The file that the path leads to, in a folder that is there. What is no database is refused before
/// a folder is made beside it.
pub(super) fn locate(db: &Path) -> Result<PathBuf, OpenError> {
    let Some(name) = db.file_name() else { return Err(OpenError::Directory(db.to_owned())) };
    let parent = durable::parent_of(db);
    durable::create_dir_all(parent).map_err(at(parent))?;
    match fs::metadata(db) {
        Ok(found) if found.is_dir() => Err(OpenError::Directory(db.to_owned())),
        Ok(found) if !found.is_file() => Err(OpenError::NotAFile(db.to_owned())),
        Ok(_) => {
            check_header(db)?;
            fs::canonicalize(db).map_err(at(db))
        }
        // A link that leads nowhere is there itself.
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(db).is_err() => {
            Ok(fs::canonicalize(parent).map_err(at(parent))?.join(name))
        }
        Err(source) => Err(at(db)(source)),
    }
}

fn check_header(db: &Path) -> Result<(), OpenError> {
    let mut header = Vec::new();
    let file = File::open(db).map_err(at(db))?;
    file.take(16).read_to_end(&mut header).map_err(at(db))?;
    if header.is_empty() || header == b"SQLite format 3\0" {
        return Ok(());
    }
    Err(OpenError::NotADatabase(db.to_owned()))
}

/// A secret that its owner alone can read, whole or not there; on disk before anybody is told.
fn read_or_make(path: &Path, bytes: usize) -> io::Result<String> {
    match fs::read_to_string(path) {
        Ok(found) if !found.trim().is_empty() => {
            // Whoever made it may have been killed before its name was on disk.
            durable::sync(durable::parent_of(path))?;
            return Ok(found.trim().to_owned());
        }
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let made = random_hex(bytes)?;
    let fresh = path.with_extension("new");
    // What a crash left may be readable by others.
    match fs::remove_file(&fresh) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let mut file = File::options().write(true).create_new(true).mode(0o600).open(&fresh)?;
    file.write_all(made.as_bytes())?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    durable::sync(durable::parent_of(path))?;
    Ok(made)
}
