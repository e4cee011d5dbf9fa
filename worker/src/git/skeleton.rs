//! A git directory from nothing, without a process: what git asks of one is a handful of small files. Owns their
//! form, and locks of files between processes.

use std::{
    fs::{self, File},
    io,
    path::Path,
};

use rustix::fs::{FlockOperation, flock};

/// Makes the directory, or makes it whole again: what objects and index it holds stay. `alternates` are
/// directories of objects that it reads from.
pub(super) fn write(folder: &Path, config: &str, head: &str, alternates: &[&Path]) -> io::Result<()> {
    for name in ["objects/info", "objects/pack", "refs/heads", "info"] {
        fs::create_dir_all(folder.join(name))?;
    }
    if !alternates.is_empty() {
        let lines: Vec<_> = alternates.iter().map(|path| format!("{}\n", path.display())).collect();
        fs::write(folder.join("objects/info/alternates"), lines.concat())?;
    }
    fs::write(folder.join("info/exclude"), "")?;
    fs::write(folder.join("config"), format!("[core]\n\trepositoryformatversion = 0\n{config}"))?;
    // The last: without it git takes the folder for none of its own.
    fs::write(folder.join("HEAD"), format!("{head}\n"))
}

/// Removes the locks that a git that was killed left. Only for whoever holds the lock on the directory.
pub(super) fn remove_stale_locks(folder: &Path) -> io::Result<()> {
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)?.flatten() {
            let (path, name) = (entry.path(), entry.file_name());
            let kind = entry.file_type()?;
            if kind.is_dir() && name != "objects" {
                folders.push(path);
            } else if kind.is_file() && path.extension().is_some_and(|it| it == "lock") {
                fs::remove_file(path)?;
            }
        }
    }
    Ok(())
}

/// A lock that ends with the value, or with its process.
#[derive(Debug)]
pub(super) struct Lock {
    _file: File,
}

/// How a lock is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Waits until it is had.
    Exclusive,
    /// None when somebody has it.
    TryExclusive,
    /// Beside others that share it; waits while somebody has it alone.
    Shared,
}

/// Takes the lock on this file, which is made if missing. Blocks.
pub(super) fn lock(path: &Path, wish: Wish) -> io::Result<Option<Lock>> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let file = File::options().create(true).append(true).open(path)?;
    let operation = match wish {
        Wish::Exclusive => FlockOperation::LockExclusive,
        Wish::TryExclusive => FlockOperation::NonBlockingLockExclusive,
        Wish::Shared => FlockOperation::LockShared,
    };
    loop {
        match flock(&file, operation) {
            Ok(()) => return Ok(Some(Lock { _file: file })),
            Err(rustix::io::Errno::INTR) => {}
            Err(rustix::io::Errno::WOULDBLOCK) if wish == Wish::TryExclusive => return Ok(None),
            Err(errno) => return Err(errno.into()),
        }
    }
}
