//! What a coordinator has promised until a moment, and whether its disk keeps it.

use std::{collections::BTreeSet, fs, path::Path};

use prost::Message as _;
use rusqlite::Connection;
use wavegate_proto::v1::{CoordinatorMessage, coordinator_message::Message};
use wavegate_tests::power_loss::{Event, Spoken};
use wavegate_worker::{
    digest::Digest,
    tree::{Changes, Tree},
};

/// Something that somebody was told.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Promise {
    /// Workers and operators were told this token.
    Token(String),
    /// Workers were told that they speak with this database.
    Database(String),
    /// `submit` has answered.
    Stored(String),
    /// `approve` has answered.
    Approved(String),
    /// A worker may have read that its result, or its return of the lease, is accepted.
    Accepted(String),
}

/// A promise, and the line of the trace from which on it binds.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Given {
    pub(crate) from: usize,
    pub(crate) promise: Promise,
}

impl Given {
    /// What an answer to somebody promises who read it at that time.
    pub(crate) fn at(time: f64, events: &[Event], promise: Promise) -> Self {
        let from = events.iter().find(|event| event.time >= time).map_or(usize::MAX, |event| event.begin);
        Self { from, promise }
    }

    /// The acceptances among the messages.
    pub(crate) fn acceptances(messages: &[Spoken]) -> Vec<Self> {
        let accepted = messages.iter().filter_map(|spoken| match message_of(spoken)? {
            Message::Accepted(accepted) => {
                Some(Self { from: spoken.begin + 1, promise: Promise::Accepted(accepted.lease_id) })
            }
            Message::Welcome(_)
            | Message::Grant(_)
            | Message::HeartbeatAck(_)
            | Message::Cancel(_)
            | Message::Refused(_)
            | Message::Drain(_)
            | Message::Goodbye(_) => None,
        });
        accepted.collect()
    }
}

/// What it says to a worker, if it is of a session: an answer to another call hardly reads as one that names a lease.
fn message_of(spoken: &Spoken) -> Option<Message> {
    let message = CoordinatorMessage::decode(spoken.message.as_slice()).ok()?.message?;
    let is_lease = |id: &str| id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    match &message {
        Message::Accepted(accepted) if !is_lease(&accepted.lease_id) => None,
        Message::Welcome(_)
        | Message::Grant(_)
        | Message::HeartbeatAck(_)
        | Message::Cancel(_)
        | Message::Accepted(_)
        | Message::Refused(_)
        | Message::Drain(_)
        | Message::Goodbye(_) => Some(message),
    }
}

/// The first promise that is broken, or what is damaged.
pub(crate) fn broken(db: &Path, promises: &[Promise]) -> Option<String> {
    check(db, promises).err().map(|error| format!("{error:#}"))
}

fn check(db: &Path, promises: &[Promise]) -> anyhow::Result<()> {
    if promises.is_empty() && !db.exists() {
        return Ok(());
    }
    let sql = Connection::open(db)?;
    let sound: String = sql.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    anyhow::ensure!(sound == "ok", "damaged: {sound}");
    for promise in promises {
        match promise {
            Promise::Token(token) => {
                let found = fs::read_to_string(db.with_extension("db.d").join("token")).unwrap_or_default();
                anyhow::ensure!(found.trim() == token, "the token is {found:?}");
            }
            Promise::Database(id) => {
                let found: String =
                    sql.query_row("SELECT value FROM wg_meta WHERE key = 'database_id'", [], |row| {
                        row.get(0)
                    })?;
                anyhow::ensure!(&found == id, "another database: {found}");
            }
            Promise::Stored(name) => {
                state_of_plan(&sql, name)?;
            }
            Promise::Approved(name) => {
                let state = state_of_plan(&sql, name)?;
                anyhow::ensure!(state != "awaiting_approval", "the approval of {name} is lost");
            }
            Promise::Accepted(lease) => {
                let state: String = sql
                    .query_row("SELECT state FROM wg_leases WHERE id = ?1", [lease], |row| row.get(0))
                    .map_err(|error| anyhow::anyhow!("accepted lease {lease}: {error}"))?;
                anyhow::ensure!(
                    ["finished", "released"].contains(&state.as_str()),
                    "lease {lease} was accepted and is {state}"
                );
            }
        }
    }
    check_artifacts(db, &sql)
}

fn state_of_plan(sql: &Connection, name: &str) -> anyhow::Result<String> {
    let query = "SELECT state FROM wg_plans WHERE name = ?1 AND switched_on = 1";
    sql.query_row(query, [name], |row| row.get(0)).map_err(|error| anyhow::anyhow!("plan {name}: {error}"))
}

/// What an accepted result, a wave or a plan names is there and whole, and so is what it names in turn.
fn check_artifacts(db: &Path, sql: &Connection) -> anyhow::Result<()> {
    if sql.query_row("SELECT count(*) FROM sqlite_schema WHERE name = 'wg_results'", [], |row| row.get(0))
        == Ok(0)
    {
        return Ok(());
    }
    let mut named: BTreeSet<String> = BTreeSet::new();
    // A candidate of a plan without files names nothing that is stored.
    for query in [
        "SELECT changes FROM wg_results WHERE accepted = 1 AND changes IS NOT NULL",
        "SELECT wg_results.candidate FROM wg_results JOIN wg_leases ON wg_leases.id = lease_id JOIN wg_plans ON plan_id = wg_plans.id
         WHERE accepted = 1 AND wg_results.candidate IS NOT NULL AND tree IS NOT NULL",
        "SELECT candidate FROM wg_waves JOIN wg_plans ON plan_id = id WHERE candidate IS NOT NULL AND tree IS NOT NULL",
        "SELECT tree FROM wg_plans WHERE tree IS NOT NULL",
    ] {
        let mut rows = sql.prepare(query)?;
        let found: Result<Vec<String>, _> = rows.query_map([], |row| row.get(0))?.collect();
        named.extend(found?);
    }
    for digest in named {
        let bytes = artifact(db, &digest)?;
        let inner: Vec<Digest> = match (Tree::decode(&bytes), Changes::decode(&bytes)) {
            (Ok(tree), _) if tree.digests().next().is_some() => tree.digests().collect(),
            (_, Ok(changes)) => changes.paths.values().flatten().filter_map(|node| node.digest()).collect(),
            (_, Err(error)) => anyhow::bail!("artifact {digest}: {error}"),
        };
        for digest in inner {
            artifact(db, &digest.to_string())?;
        }
    }
    Ok(())
}

fn artifact(db: &Path, digest: &str) -> anyhow::Result<Vec<u8>> {
    let path = db.with_extension("db.d").join("artifacts").join(&digest[..2]).join(&digest[2..]);
    let bytes = fs::read(&path).map_err(|error| anyhow::anyhow!("artifact {digest}: {error}"))?;
    anyhow::ensure!(Digest::of_bytes(&bytes).to_string() == digest, "artifact {digest} is not whole");
    Ok(bytes)
}
