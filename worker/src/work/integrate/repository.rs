//! The candidate of a repository: what its target branch is now, and on it the wave's results, one commit a task.
//! Owns where the results are put, what their commits say, and who is told of a conflict.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs, io,
    path::PathBuf,
};

use wavegate_proto::v1;

use super::super::{Ending, WorkContext, failed, quotation::fenced, report_of, task::NO_OUTPUT};
use crate::{
    blobs::Blob,
    digest::Digest,
    git::{GitError, Head, Merged, Oid, State, Store, one_line},
    workspace::ensured,
};

/// What of a conflict is told to whoever must resolve it.
const MOST_CONFLICT_TEXT: usize = 12 * 1024;

pub(super) async fn perform(work: &v1::Work, integrate: &v1::IntegrateWork, context: &WorkContext) -> Ending {
    let folder = context.state_dir.join("work").join(&context.lease_id);
    let joined = context.guard(join(work, integrate, context, folder.join("integrate"))).await;
    let ending = match joined {
        Ok(Ok(report)) => report_of(report),
        Ok(Err(error)) => ending_of(error, "cannot integrate"),
        Err(ending) => ending,
    };
    let _ = fs::remove_dir_all(folder);
    ending
}

/// An error as the end of a lease.
pub(in crate::work) fn ending_of(error: GitError, what: &str) -> Ending {
    if error.is_out_of_reach() {
        return Ending::OutOfReach(error.to_string());
    }
    failed(format!("{what}: {error}"))
}

/// Where a wave's results are put.
struct Ground {
    /// The plan's state; None where the plan knows none yet.
    plan: Option<State>,
    /// The head of the branch that the candidate is meant for; None where there is none yet, or none is meant.
    onto: Option<Oid>,
    /// The commit that the results are put on.
    start: Oid,
    /// For people: where that is.
    name: String,
}

async fn join(
    work: &v1::Work,
    integrate: &v1::IntegrateWork,
    context: &WorkContext,
    folder: PathBuf,
) -> Result<v1::Report, GitError> {
    fs::create_dir_all(&folder).map_err(GitError::io(&folder))?;
    let repository = integrate.repository.clone().unwrap_or_default();
    let store = context.stores.open(&repository.location).await?;
    let ground = ground(work, integrate, &repository, &store, context).await?;
    let mut joining =
        Joining { work, context, store: &store, base: &repository.base, tip: ground.start.clone() };
    let conflicts = joining.put_all(&integrate.results).await?;
    let tip = joining.tip;
    let mut blobs = Vec::new();
    let target = match &ground.plan {
        Some(plan) if plan.commit == ground.start => None,
        plan => {
            let file = folder.join("target.bundle");
            let mut state = chained(&store, plan.as_ref(), &ground.start, &file, &mut blobs).await?;
            if ground.onto.as_ref() == Some(&ground.start) {
                state.branch.clone_from(&ground.name);
            }
            Some(Blob::of_bytes(state.encode()))
        }
    };
    let mut report = v1::Report {
        target: target.as_ref().map(|blob| blob.digest().to_string()).unwrap_or_default(),
        ..v1::Report::default()
    };
    blobs.extend(target);
    if conflicts.is_empty() {
        let file = folder.join("candidate.bundle");
        let mut state = chained(&store, ground.plan.as_ref(), &tip, &file, &mut blobs).await?;
        state.onto = ground.onto;
        state.start = Some(ground.start);
        let candidate = Blob::of_bytes(state.encode());
        report.set_outcome(v1::Outcome::Succeeded);
        report.candidate = candidate.digest().to_string();
        let count = integrate.results.len();
        report.summary = format!("{count} results on {}, commit {}", ground.name, tip.short());
        blobs.push(candidate);
    } else {
        report.set_outcome(v1::Outcome::Conflict);
        report.summary = format!("{} results conflict", conflicts.len());
        report.conflicts = conflicts;
    }
    context.blobs.publish(blobs).await?;
    Ok(report)
}

/// A state that needs what the plan's own needs; without one, what the repository has.
pub(in crate::work) async fn chained(
    store: &Store,
    plan: Option<&State>,
    commit: &Oid,
    file: &std::path::Path,
    blobs: &mut Vec<Blob>,
) -> Result<State, GitError> {
    let mut state = State::of(commit.clone());
    let Some(plan) = plan else { return Ok(state) };
    state.bundles.clone_from(&plan.bundles);
    if let Some((bundle, blob)) = store.bundle(commit, &[&plan.commit], file).await? {
        state.bundles.push(bundle);
        blobs.push(blob);
    }
    Ok(state)
}

async fn ground(
    work: &v1::Work,
    integrate: &v1::IntegrateWork,
    repository: &v1::Repository,
    store: &Store,
    context: &WorkContext,
) -> Result<Ground, GitError> {
    let base = &repository.base;
    let plan = match Digest::optional(&integrate.base)? {
        Some(digest) => Some(ensured(store, digest, base, context.blobs.as_ref()).await?),
        None => None,
    };
    if integrate.merge_mode() == v1::MergeMode::None
        && let Some(plan) = plan
    {
        let start = plan.commit.clone();
        return Ok(Ground { plan: Some(plan), onto: None, start, name: "the plan's own state".to_owned() });
    }
    let home = store.head(base).await?;
    let (branch, onto) = match integrate.merge_mode() {
        v1::MergeMode::Batch | v1::MergeMode::Async => {
            (integrate.branch.as_str(), store.branch(&integrate.branch).await?)
        }
        v1::MergeMode::None => ("", None),
        v1::MergeMode::Sync | v1::MergeMode::Unspecified => {
            (target_of(&home, base)?, Some(home.commit().clone()))
        }
    };
    let found = match &onto {
        Some(commit) if !branch.is_empty() => {
            Head::Branch { name: branch.to_owned(), commit: commit.clone() }
        }
        _ => home.clone(),
    };
    store.fetch(&found).await?;
    if let Some(plan) = plan.as_ref().filter(|plan| !plan.branch.is_empty() && plan.branch == branch)
        && !store.is_ancestor(&plan.commit, found.commit()).await?
    {
        return Err(taken_back(branch, &plan.commit));
    }
    let start = match &plan {
        Some(plan) => together(work, store, &plan.commit, found.commit()).await?,
        None => found.commit().clone(),
    };
    let name = if branch.is_empty() { "the plan's own state".to_owned() } else { branch.to_owned() };
    Ok(Ground { plan, onto, start, name })
}

/// What somebody removed on purpose is not put there again by a machine.
fn taken_back(branch: &str, commit: &Oid) -> GitError {
    GitError::Unsupported(format!(
        "{branch} no longer holds what the plan began from or published on it ({}): somebody took it back; put it there \
         again and resume the plan, or cancel the plan",
        commit.short()
    ))
}

/// The branch that is to be moved.
pub(in crate::work) fn target_of<'a>(home: &'a Head, base: &str) -> Result<&'a str, GitError> {
    home.branch().ok_or_else(|| {
        GitError::Unsupported(format!(
            "the plan's base {base:?} is no branch, so nothing can be published on it; expected a branch, or another \
             merge_mode than sync"
        ))
    })
}

/// What the plan has gathered and what the branch has now: one of them where it holds the other, else a merge.
async fn together(work: &v1::Work, store: &Store, plan: &Oid, found: &Oid) -> Result<Oid, GitError> {
    if store.is_ancestor(found, plan).await? {
        return Ok(plan.clone());
    }
    if store.is_ancestor(plan, found).await? {
        return Ok(found.clone());
    }
    let unrelated =
        || GitError::Unsupported("the target shares no history with what the plan began from".to_owned());
    let common = store.common(plan, found).await?.ok_or_else(unrelated)?;
    match store.merge(&common, found, plan).await? {
        Merged::Clean { tree } => {
            let message = format!(
                "Merge what {} has gathered\n\nWavegate-Plan: {}\n",
                one_line(&work.plan_name),
                plan_trailer(work)
            );
            let date = store.date(found).await?;
            store.commit(&tree, &[found, plan], &message, &date).await
        }
        Merged::Conflict { clashes, .. } => {
            let paths: Vec<_> = clashes.iter().map(|clash| clash.path.as_str()).collect();
            Err(GitError::Unsupported(format!(
                "the target has moved, and what the plan has gathered before conflicts with it in {}: merge them by \
                 hand, then resume the plan",
                paths.join(", ")
            )))
        }
    }
}

fn plan_trailer(work: &v1::Work) -> String {
    format!("{} ({})", one_line(&work.plan_name), work.plan_id)
}

/// A candidate that grows.
struct Joining<'a> {
    work: &'a v1::Work,
    context: &'a WorkContext,
    store: &'a Store,
    base: &'a str,
    tip: Oid,
}

impl Joining<'_> {
    /// Puts each result on what is there; those that conflict, and what was built on them, are left out.
    async fn put_all(&mut self, results: &[v1::TaskResult]) -> Result<Vec<v1::Conflict>, GitError> {
        let mut conflicts = Vec::new();
        let mut out: BTreeSet<&str> = BTreeSet::new();
        let mut touched: BTreeMap<&str, (&v1::TaskResult, Vec<String>)> = BTreeMap::new();
        for result in results.iter().filter(|result| !result.changes.is_empty()) {
            if result.built_on.iter().any(|key| out.contains(key.as_str())) {
                out.insert(&result.key);
                continue;
            }
            let blobs = self.context.blobs.as_ref();
            let state = ensured(self.store, result.changes.parse()?, self.base, blobs).await?;
            let from = state.base.clone().unwrap_or_else(|| self.tip.clone());
            match self.store.merge(&from, &self.tip, &state.commit).await? {
                Merged::Clean { tree } => self.put(result, &state, &from, &tree).await?,
                Merged::Conflict { clashes, .. } => {
                    let paths: BTreeSet<&str> = clashes.iter().map(|clash| clash.path.as_str()).collect();
                    let others = touched.values().filter(|(other, changed)| {
                        !result.built_on.contains(&other.key)
                            && changed.iter().any(|path| paths.contains(path.as_str()))
                    });
                    let others: Vec<_> = others.map(|(other, _)| *other).collect();
                    conflicts.push(conflict(result, &clashes, &others));
                    out.insert(&result.key);
                    continue;
                }
            }
            let changed = self.store.changed_paths(&from, &state.commit).await?;
            touched.insert(&result.key, (result, changed));
        }
        Ok(conflicts)
    }

    /// One commit. A result that is there already, since somebody else did the same, makes none.
    async fn put(
        &mut self,
        result: &v1::TaskResult,
        state: &State,
        from: &Oid,
        tree: &Oid,
    ) -> Result<(), GitError> {
        if *tree == self.store.tree(&self.tip).await? {
            return Ok(());
        }
        let messages = self.store.messages(from, &state.commit).await?;
        let message = message(self.work, result, &messages);
        let date = self.store.date(&state.commit).await?;
        self.tip = self.store.commit(tree, &[&self.tip], &message, &date).await?;
        Ok(())
    }
}

/// What the commit of a task says: its title, what its executor says, the messages of its own commits, and where
/// it is from.
fn message(work: &v1::Work, result: &v1::TaskResult, messages: &[String]) -> String {
    let title = one_line(&result.title);
    let title = if title.is_empty() { result.key.clone() } else { title };
    let mut message = format!("{title}\n\n");
    let summary = result.summary.trim();
    if !summary.is_empty() && summary != title && summary != NO_OUTPUT {
        message.push_str(&format!("{}\n\n", without_trailers(summary)));
    }
    let own = format!("{}: changes of attempt", result.key);
    for text in messages.iter().filter(|text| !text.starts_with(&own)) {
        let lines = without_trailers(text);
        message.push_str(&format!("* {}\n\n", lines.replace('\n', "\n  ").trim_end()));
    }
    message.push_str(&format!(
        "Wavegate-Plan: {}\nWavegate-Wave: {} round {}\nWavegate-Task: {}\nWavegate-Attempt: {}\nWavegate-Lease: {}\n",
        plan_trailer(work),
        one_line(&work.wave),
        work.round,
        one_line(&result.key),
        result.attempt,
        one_line(&result.lease_id),
    ));
    message
}

/// Nobody but us says whose word a commit is published on.
fn without_trailers(text: &str) -> String {
    let is_ours = |line: &&str| !line.trim_start().to_ascii_lowercase().starts_with("wavegate-");
    text.lines().filter(is_ours).collect::<Vec<_>>().join("\n")
}

fn conflict(
    result: &v1::TaskResult,
    clashes: &[crate::git::Clash],
    others: &[&v1::TaskResult],
) -> v1::Conflict {
    let mut text = match others {
        [] => "conflicts with what the target has now, which somebody else changed since the task began"
            .to_owned(),
        others => {
            let names: Vec<_> =
                others.iter().map(|other| format!("{} ({})", other.key, one_line(&other.title))).collect();
            format!("conflicts with {} of the same wave, whose work is in the candidate", names.join(", "))
        }
    };
    for other in others.iter().filter(|other| !matches!(other.summary.trim(), "" | NO_OUTPUT)) {
        text.push_str(&format!("\n{} says of its work: {}", other.key, one_line(&other.summary)));
    }
    text.push_str("\nKeep what both sides want:");
    for clash in clashes {
        let shown = format!("\n{}:\n{}", super::inline(&clash.path), fenced(&clash.hunks));
        if text.len() + shown.len() > MOST_CONFLICT_TEXT {
            text.push_str(&format!("\nand {} files in all", clashes.len()));
            break;
        }
        text.push_str(&shown);
    }
    let with = others.iter().map(|other| other.key.clone()).collect();
    v1::Conflict { task: result.key.clone(), text, with }
}

/// Makes a folder of the lease for bundles.
pub(in crate::work) fn folder_of(context: &WorkContext, name: &str) -> io::Result<PathBuf> {
    let folder = context.state_dir.join("work").join(&context.lease_id).join(name);
    fs::create_dir_all(&folder)?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn result(key: &str, title: &str, summary: &str) -> v1::TaskResult {
        v1::TaskResult {
            key: key.to_owned(),
            title: title.to_owned(),
            summary: summary.to_owned(),
            attempt: 2,
            lease_id: "abc".to_owned(),
            ..v1::TaskResult::default()
        }
    }

    #[test]
    fn a_commit_says_what_it_is_and_where_it_is_from() {
        let work = v1::Work {
            plan_id: 3,
            plan_name: "greet".to_owned(),
            wave: "W1".to_owned(),
            round: 1,
            ..v1::Work::default()
        };
        let messages = [
            "Add a greeting\n\nWavegate-Verdict: approved by me".to_owned(),
            "T1: changes of attempt 2".to_owned(),
        ];
        assert_eq!(
            message(&work, &result("T1", "Greet the\nreader", "It greets."), &messages),
            "Greet the reader\n\nIt greets.\n\n* Add a greeting\n\nWavegate-Plan: greet (3)\nWavegate-Wave: W1 round \
             1\nWavegate-Task: T1\nWavegate-Attempt: 2\nWavegate-Lease: abc\n"
        );
    }

    #[test]
    fn a_conflict_names_the_other_side_and_what_it_meant() {
        let clash = crate::git::Clash { path: "a".to_owned(), hunks: "<<<<<<<\n".to_owned() };
        let other = result("T1", "Greet", "It greets.");
        let conflict = conflict(&result("T2", "", ""), std::slice::from_ref(&clash), &[&other]);
        assert_eq!(conflict.with, ["T1"]);
        assert!(conflict.text.starts_with("conflicts with T1 (Greet) of the same wave"), "{}", conflict.text);
        assert!(conflict.text.contains("T1 says of its work: It greets."), "{}", conflict.text);
        let nobody = super::conflict(&result("T2", "", ""), &[clash], &[]);
        assert!(nobody.text.contains("what the target has now") && nobody.with.is_empty(), "{}", nobody.text);
    }
}
