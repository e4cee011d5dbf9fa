//! What this worker remembers of the databases that gave it work: enough to prove, when it comes back, that a
//! database was replaced by an older copy of itself.
//!
//! Owns `STATE/known.json`. Judges nothing: the coordinator compares it with what its database holds. A file that
//! cannot be read or written costs the proof, never the work.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use wavegate_proto::v1;

use crate::lease::LeaseId;

/// More databases than a worker meets; the one that was met longest ago is forgotten.
const MOST_KNOWN: usize = 16;

/// One database, the one that was met last at the end.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    database_id: String,
    epoch_nonce: String,
    /// The newest lease that it granted in that epoch.
    #[serde(default)]
    last_granted: String,
    /// The newest lease of that epoch whose answer it said to have.
    #[serde(default)]
    last_accepted: String,
}

/// Everything remembered.
#[derive(Debug)]
pub(crate) struct Memory {
    path: PathBuf,
    known: Vec<Known>,
}

impl Memory {
    /// Reads what is remembered in this state directory.
    pub(crate) fn open(state_dir: &Path) -> Self {
        let path = state_dir.join("known.json");
        let known = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).unwrap_or_else(|error| {
                tracing::warn!("{} cannot be read and begins anew: {error}", path.display());
                Vec::new()
            }),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => {
                tracing::warn!("cannot read {}: {error}", path.display());
                Vec::new()
            }
        };
        Self { path, known }
    }

    /// What is said in a hello.
    pub(crate) fn told(&self) -> Vec<v1::KnownDatabase> {
        let told = |known: &Known| v1::KnownDatabase {
            database_id: known.database_id.clone(),
            epoch_nonce: known.epoch_nonce.clone(),
            last_granted: known.last_granted.clone(),
            last_accepted: known.last_accepted.clone(),
        };
        self.known.iter().map(told).collect()
    }

    /// The database took this worker in: what was known of its earlier epochs has been looked at.
    pub(crate) fn welcomed(&mut self, database_id: &str, epoch_nonce: &str) {
        let mut known = match self.known.iter().position(|known| known.database_id == database_id) {
            Some(at) => self.known.remove(at),
            None => Known { database_id: database_id.to_owned(), ..Known::default() },
        };
        if known.epoch_nonce != epoch_nonce {
            let database_id = known.database_id;
            known = Known { database_id, epoch_nonce: epoch_nonce.to_owned(), ..Known::default() };
        }
        self.known.push(known);
        if self.known.len() > MOST_KNOWN {
            self.known.remove(0);
        }
        self.write();
    }

    /// The database that was met last granted a lease.
    pub(crate) fn granted(&mut self, lease_id: &LeaseId) {
        if let Some(known) = self.known.last_mut() {
            known.last_granted = lease_id.to_string();
            self.write();
        }
    }

    /// It has the answer on a lease.
    pub(crate) fn accepted(&mut self, lease_id: &LeaseId) {
        if let Some(known) = self.known.last_mut() {
            known.last_accepted = lease_id.to_string();
            self.write();
        }
    }

    /// Whole or as it was; not synced, since what a power loss takes is a proof and no result.
    fn write(&self) {
        let temporary = self.path.with_extension("new");
        let write = || -> io::Result<()> {
            File::create(&temporary)?.write_all(&serde_json::to_vec(&self.known)?)?;
            fs::rename(&temporary, &self.path)
        };
        if let Err(error) = write() {
            let _ = fs::remove_file(&temporary);
            tracing::debug!("cannot write {}: {error}", self.path.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{MOST_KNOWN, Memory};
    use crate::lease::LeaseId;

    #[test]
    fn what_a_database_granted_and_accepted_is_known_after_a_restart_and_until_its_next_epoch() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path());
        memory.welcomed("db", "one");
        memory.granted(&LeaseId::parse("a1").unwrap());
        memory.accepted(&LeaseId::parse("a2").unwrap());
        memory.welcomed("db", "one");
        let told = Memory::open(dir.path()).told();
        assert_eq!(told, memory.told());
        assert_eq!(
            (&*told[0].epoch_nonce, &*told[0].last_granted, &*told[0].last_accepted),
            ("one", "a1", "a2")
        );
        memory.welcomed("db", "two");
        let told = memory.told();
        assert_eq!((&*told[0].epoch_nonce, &*told[0].last_granted, told.len()), ("two", "", 1));
    }

    #[test]
    fn only_so_many_databases_are_known_and_a_damaged_file_is_no_obstacle() {
        let dir = tempfile::tempdir().unwrap();
        let mut memory = Memory::open(dir.path());
        for at in 0..=MOST_KNOWN {
            memory.welcomed(&format!("db{at}"), "one");
        }
        assert_eq!(memory.told().len(), MOST_KNOWN);
        assert_eq!(memory.told()[0].database_id, "db1");
        std::fs::write(dir.path().join("known.json"), "{").unwrap();
        assert!(Memory::open(dir.path()).told().is_empty());
    }
}
