//! Integration: the candidate of a wave, built from scratch.

use wavegate_proto::v1;

use super::{Ending, WorkContext, failed};
use crate::{
    blobs::{Blob, BlobStore},
    tree::{Conflict, Part, integrate},
    workspace::{WorkspaceError, fetch_changes, fetch_tree},
};

pub(super) async fn perform(work: v1::IntegrateWork, context: &WorkContext) -> Ending {
    match context.guard(join(&work, context.blobs.as_ref())).await {
        Ok(Ok(report)) => Ending::Report(Box::new(report)),
        Ok(Err(error)) => failed(format!("cannot integrate: {error}")),
        Err(ending) => ending,
    }
}

async fn join(work: &v1::IntegrateWork, blobs: &dyn BlobStore) -> Result<v1::Report, WorkspaceError> {
    let target = fetch_tree(&work.base, blobs).await?;
    let mut parts = Vec::with_capacity(work.results.len());
    for result in &work.results {
        let base =
            if result.base == work.base { target.clone() } else { fetch_tree(&result.base, blobs).await? };
        parts.push(Part {
            key: result.key.clone(),
            base,
            changes: fetch_changes(&result.changes, blobs).await?,
            built_on: result.built_on.iter().cloned().collect(),
        });
    }
    match integrate(&target, &parts) {
        Ok(tree) => {
            let encoded = Blob::of_bytes(tree.encode());
            let candidate = encoded.digest().to_string();
            blobs.publish(vec![encoded]).await?;
            Ok(v1::Report {
                outcome: v1::Outcome::Succeeded.into(),
                summary: format!("{} results, {} files", parts.len(), tree.entries.len()),
                candidate,
                ..v1::Report::default()
            })
        }
        Err(conflicts) => Ok(v1::Report {
            outcome: v1::Outcome::Conflict.into(),
            summary: format!("{} results conflict", conflicts.len()),
            conflicts: conflicts.into_iter().map(finding).collect(),
            ..v1::Report::default()
        }),
    }
}

fn finding(conflict: Conflict) -> v1::Finding {
    let Conflict { key, path, other } = conflict;
    let text = match other {
        Some(other) => format!("changes {path}, which {other} of the same wave changes differently"),
        None => format!("changes {path}, which another wave has changed since this task began"),
    };
    v1::Finding { task: key, text }
}
