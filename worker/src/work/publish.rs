//! Publishing: the branch that the plan is about, or one of the plan's own, is moved to the approved candidate if
//! it still is what the candidate was built on. Done again after a crash it finds its own work there.

use wavegate_proto::v1;

use super::{
    Ending, WorkContext,
    integrate::repository::{chained, ending_of, folder_of, target_of},
    report_of,
};
use crate::{
    blobs::Blob,
    digest::Digest,
    git::{GitError, Oid, Pushed, State, Store, Trailers, request},
    workspace::ensured,
};

pub(super) async fn perform(work: &v1::Work, publish: v1::PublishWork, context: &WorkContext) -> Ending {
    let published = context.guard(try_perform(work, &publish, context)).await;
    let _ = std::fs::remove_dir_all(context.state_dir.join("work").join(&context.lease_id));
    match published {
        Ok(Ok(report)) => report_of(report),
        Ok(Err(error)) => ending_of(error, "cannot publish"),
        Err(ending) => ending,
    }
}

async fn try_perform(
    work: &v1::Work,
    publish: &v1::PublishWork,
    context: &WorkContext,
) -> Result<v1::Report, GitError> {
    let repository = publish.repository.clone().unwrap_or_default();
    let (store, blobs) = (context.stores.open(&repository.location).await?, context.blobs.as_ref());
    let candidate = ensured(&store, publish.candidate.parse()?, &repository.base, blobs).await?;
    let plan = match Digest::optional(&publish.base)? {
        Some(digest) => Some(ensured(&store, digest, &repository.base, blobs).await?),
        None => None,
    };
    if let Some(plan) = &plan
        && !store.is_ancestor(&plan.commit, &candidate.commit).await?
    {
        return Ok(moved("another wave of the plan was published meanwhile"));
    }
    let start = candidate.start.clone().unwrap_or_else(|| candidate.commit.clone());
    let trailers = Trailers { verdict: publish.verdict.clone() };
    let (tip, made) = store.rewrite(&start, &candidate.commit, &trailers).await?;
    let branch = match publish.merge_mode() {
        v1::MergeMode::None => String::new(),
        v1::MergeMode::Batch | v1::MergeMode::Async => publish.branch.clone(),
        v1::MergeMode::Sync | v1::MergeMode::Unspecified => {
            target_of(&store.head(&repository.base).await?, &repository.base)?.to_owned()
        }
    };
    if !branch.is_empty() && push(&store, &branch, &candidate, &tip).await? == Pushed::Moved {
        return Ok(moved(&format!("{branch} has moved")));
    }
    let (request, note) = ask(publish, &store, &repository, &branch).await?;
    let state = keep(&store, plan.as_ref(), &tip, &branch, context).await?;
    let commits: Vec<_> = made.iter().map(|(commit, message)| commit_of(commit, message)).collect();
    let where_to = if branch.is_empty() { "kept with the plan".to_owned() } else { format!("on {branch}") };
    let count = commits.len();
    let commits_word = if count == 1 { "commit" } else { "commits" };
    tracing::debug!("{} {}: {count} {commits_word} {where_to}", work.plan_name, work.wave);
    Ok(v1::Report {
        outcome: v1::Outcome::Succeeded.into(),
        summary: format!("{count} {commits_word} up to {} {where_to}{note}", tip.short()),
        candidate: state,
        commits,
        branch,
        request,
        ..v1::Report::default()
    })
}

/// A candidate that changes nothing moves nothing.
async fn push(store: &Store, branch: &str, candidate: &State, tip: &Oid) -> Result<Pushed, GitError> {
    if candidate.onto.as_ref() == Some(tip) {
        return Ok(Pushed::There);
    }
    store.push(branch, candidate.onto.as_ref(), tip).await
}

/// Opens a request where the wave wants one; its address, or why there is none.
async fn ask(
    publish: &v1::PublishWork,
    store: &Store,
    repository: &v1::Repository,
    branch: &str,
) -> Result<(String, String), GitError> {
    if publish.merge_mode() != v1::MergeMode::Async {
        return Ok((String::new(), String::new()));
    }
    let home = store.head(&repository.base).await?;
    let Some(base) = home.branch() else {
        return Ok((String::new(), "; no request was opened: the plan's base is no branch".to_owned()));
    };
    let request = request::Request { branch, base, title: &publish.title, text: &publish.text };
    Ok(match request::open(store.location(), request).await {
        Ok(address) => (address, String::new()),
        Err(why) => (String::new(), format!("; no request was opened: {why}")),
    })
}

/// The plan's state from now on, stored with the coordinator; its digest.
async fn keep(
    store: &Store,
    plan: Option<&State>,
    tip: &Oid,
    branch: &str,
    context: &WorkContext,
) -> Result<String, GitError> {
    let folder = folder_of(context, "publish").map_err(GitError::io(&context.state_dir))?;
    let mut blobs = Vec::new();
    let mut state = chained(store, plan, tip, &folder.join("published.bundle"), &mut blobs).await?;
    branch.clone_into(&mut state.branch);
    let state = Blob::of_bytes(state.encode());
    let digest = state.digest().to_string();
    blobs.push(state);
    context.blobs.publish(blobs).await?;
    Ok(digest)
}

fn commit_of(commit: &Oid, message: &str) -> v1::Commit {
    let trailer = |name: &str| message.lines().rev().find_map(|line| line.strip_prefix(name)).map(str::trim);
    v1::Commit {
        task: trailer("Wavegate-Task:").unwrap_or_default().to_owned(),
        commit: commit.to_string(),
        subject: message.lines().next().unwrap_or_default().to_owned(),
    }
}

fn moved(why: &str) -> v1::Report {
    v1::Report { outcome: v1::Outcome::TargetMoved.into(), summary: why.to_owned(), ..v1::Report::default() }
}
