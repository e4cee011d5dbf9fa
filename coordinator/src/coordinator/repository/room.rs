//! Where a command keeps what it fetches: object stores beside the coordinator's database where that is on this host,
//! so that the next command finds them, and the rest in a folder that goes with the command.

use std::{
    io,
    path::{Path, PathBuf},
};

use wavegate_worker::git::{Git, Stores};

/// A command's folders.
#[derive(Debug)]
pub(in super::super) struct Room {
    scratch: tempfile::TempDir,
    stores: Option<PathBuf>,
}

impl Room {
    /// With object stores in this folder; None: for the time of the command.
    pub(in super::super) fn open(stores: Option<&Path>) -> io::Result<Self> {
        let scratch = tempfile::Builder::new().prefix("wavegate-").tempdir()?;
        Ok(Self { scratch, stores: stores.map(ToOwned::to_owned) })
    }

    pub(super) fn folder(&self) -> &Path {
        self.scratch.path()
    }

    pub(super) fn artifacts(&self) -> PathBuf {
        self.folder().join("artifacts")
    }

    pub(super) fn stores(&self) -> Stores {
        let root = self.stores.clone().unwrap_or_else(|| self.folder().join("git"));
        Stores::new(root, Git::new(None))
    }
}
