//! The worker's own memory of its agents' sessions: only one that is here can be gone on with, since the
//! talk itself lies on this host. A file each under STATE/sessions/RUNNER. Holds no word of a talk.

use std::{
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde::{Deserialize, Serialize};
use wavegate_proto::v1;

/// Nobody comes back to a talk after this long, and the agents' programs forget theirs too.
const KEPT_FOR: Duration = Duration::from_secs(30 * 24 * 3600);

/// The sessions of all runners.
#[derive(Debug, Clone)]
pub struct Sessions {
    folder: PathBuf,
}

/// What a file holds.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Entry {
    /// Seconds since 1970.
    last_used: u64,
    counters: Vec<Counter>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Counter {
    model: String,
    tokens_in: u64,
    tokens_out: u64,
    cache_read: u64,
    cache_write: u64,
    cost_micro_usd: Option<u64>,
    calls: u32,
}

impl Sessions {
    /// Under a worker's state directory; nothing is written yet.
    #[must_use]
    pub fn new(state_dir: &Path) -> Self {
        Self { folder: state_dir.join("sessions") }
    }

    /// The program's cumulative figures when the session last ended; None where it is not known here.
    #[must_use]
    pub fn counters(&self, runner: &str, id: &str) -> Option<Vec<v1::ModelUsage>> {
        let text = fs::read(self.path(runner, id)?).ok()?;
        // Half a file cannot be (see `remember`); a damaged one is a session that is not known.
        let entry: Entry = serde_json::from_slice(&text).ok()?;
        Some(entry.counters.into_iter().map(Counter::into_proto).collect())
    }

    /// Keeps the session, and lets go of what was not used for 30 days. An id that is no plain word is
    /// not kept.
    pub fn remember(&self, runner: &str, id: &str, counters: &[v1::ModelUsage]) -> io::Result<()> {
        self.remember_at(runner, id, counters, SystemTime::now())
    }

    fn remember_at(
        &self,
        runner: &str,
        id: &str,
        counters: &[v1::ModelUsage],
        now: SystemTime,
    ) -> io::Result<()> {
        let Some(path) = self.path(runner, id) else { return Ok(()) };
        let folder = self.folder.join(runner);
        fs::create_dir_all(&folder)?;
        let last_used = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
        let counters = counters.iter().map(Counter::from_proto).collect();
        let text = serde_json::to_vec(&Entry { last_used, counters })?;
        // One session is never in two leases at once.
        let temporary = path.with_extension("tmp");
        fs::write(&temporary, text)?;
        fs::rename(&temporary, &path)?;
        prune(&folder, now);
        Ok(())
    }

    /// Lets go of a session that its program does not know any more.
    pub fn forget(&self, runner: &str, id: &str) {
        if let Some(path) = self.path(runner, id) {
            let _ = fs::remove_file(path);
        }
    }

    fn path(&self, runner: &str, id: &str) -> Option<PathBuf> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        let is_word = |text: &str| (1..=128).contains(&text.len()) && text.bytes().all(is_plain);
        (is_word(runner) && is_word(id)).then(|| self.folder.join(runner).join(format!("{id}.json")))
    }
}

/// What cannot be read or removed stays: it does no harm.
fn prune(folder: &Path, now: SystemTime) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let written = entry.metadata().and_then(|meta| meta.modified());
        let age = written.ok().and_then(|written| now.duration_since(written).ok());
        if age.is_some_and(|age| age > KEPT_FOR) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

impl Counter {
    fn from_proto(usage: &v1::ModelUsage) -> Self {
        Self {
            model: usage.model.clone(),
            tokens_in: usage.tokens_in,
            tokens_out: usage.tokens_out,
            cache_read: usage.cache_read,
            cache_write: usage.cache_write,
            cost_micro_usd: usage.cost_micro_usd,
            calls: usage.calls,
        }
    }

    fn into_proto(self) -> v1::ModelUsage {
        v1::ModelUsage {
            model: self.model,
            tokens_in: self.tokens_in,
            tokens_out: self.tokens_out,
            cache_read: self.cache_read,
            cache_write: self.cache_write,
            cost_micro_usd: self.cost_micro_usd,
            calls: self.calls,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters() -> Vec<v1::ModelUsage> {
        let cost_micro_usd = Some(800);
        vec![v1::ModelUsage {
            model: "sonnet".into(),
            tokens_in: 200,
            cost_micro_usd,
            ..v1::ModelUsage::default()
        }]
    }

    #[test]
    fn a_session_is_known_with_its_counters_after_it_was_remembered() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::new(dir.path());
        assert_eq!(sessions.counters("claude", "s-1"), None);
        sessions.remember("claude", "s-1", &counters()).unwrap();
        assert_eq!(sessions.counters("claude", "s-1"), Some(counters()));
        assert_eq!(sessions.counters("codex", "s-1"), None);
        sessions.forget("claude", "s-1");
        assert_eq!(sessions.counters("claude", "s-1"), None);
    }

    #[test]
    fn what_was_not_used_for_thirty_days_goes_and_the_rest_stays() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::new(dir.path());
        sessions.remember("claude", "old", &[]).unwrap();
        let later = SystemTime::now() + KEPT_FOR + Duration::from_secs(60);
        sessions.remember("claude", "young", &[]).unwrap();
        let young = fs::File::options().append(true).open(sessions.path("claude", "young").unwrap()).unwrap();
        young.set_modified(later).unwrap();
        sessions.remember_at("claude", "new", &[], later).unwrap();
        assert_eq!(sessions.counters("claude", "old"), None);
        assert_eq!(sessions.counters("claude", "young"), Some(Vec::new()));
    }

    #[test]
    fn an_id_that_would_lead_elsewhere_is_never_a_file() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::new(dir.path());
        for id in ["", "..", "../x", "a/b", "a.b"] {
            sessions.remember("claude", id, &[]).unwrap();
            assert_eq!(sessions.counters("claude", id), None);
        }
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_damaged_file_is_a_session_that_is_not_known() {
        let dir = tempfile::tempdir().unwrap();
        let sessions = Sessions::new(dir.path());
        sessions.remember("claude", "s", &[]).unwrap();
        fs::write(sessions.path("claude", "s").unwrap(), "{").unwrap();
        assert_eq!(sessions.counters("claude", "s"), None);
    }
}
