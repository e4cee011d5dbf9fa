//! The state that a plan on a repository starts from, as an artifact: the commit, and where workers may be on
//! other hosts a bundle of all that leads to it.

use wavegate_worker::{
    blobs::Blob,
    git::{Head, State},
};

use super::room::Room;
use crate::{
    cli::{Connection, RepositoryBase, UploadedState},
    coordinator::trees,
};

/// A larger history is not carried through the coordinator.
const MOST_BUNDLE_BYTES: u64 = 512 * 1024 * 1024;

/// Uploads the state that the plan starts from; `for_others`: with all of its history. Nothing is uploaded of a
/// repository elsewhere, which workers reach by themselves.
pub(in super::super) async fn upload(
    connection: &Connection,
    base: &RepositoryBase,
    room: &Room,
    for_others: bool,
) -> anyhow::Result<UploadedState> {
    let Some(commit) = &base.commit else {
        return Ok(UploadedState::default());
    };
    let mut state = State::of(commit.parse()?);
    if base.base != *commit {
        state.branch.clone_from(&base.base);
    }
    let mut warning = None;
    let mut blobs = Vec::new();
    if for_others {
        let store = room.stores().open(&base.location).await?;
        store.fetch(&Head::Fixed { commit: state.commit.clone() }).await?;
        let file = room.folder().join("base.bundle");
        if let Some((bundle, blob)) = store.bundle(&state.commit, &[], &file).await? {
            match blob {
                Blob::File { size, .. } if size > MOST_BUNDLE_BYTES => warning = Some(too_large(base, size)),
                blob @ (Blob::File { .. } | Blob::Bytes { .. }) => {
                    state.bundles.push(bundle);
                    blobs.push(blob);
                }
            }
        }
    }
    let encoded = Blob::of_bytes(state.encode());
    let digest = encoded.digest().to_string();
    blobs.push(encoded);
    trees::send_missing(connection, blobs).await?;
    Ok(UploadedState { digest, warning })
}

fn too_large(base: &RepositoryBase, size: u64) -> String {
    let mib = |bytes: u64| bytes / (1024 * 1024);
    format!(
        "the history of {} takes {} MiB, and at most {} MiB are carried through the coordinator: only workers that can \
         reach that path can work on the plan",
        base.location,
        mib(size),
        mib(MOST_BUNDLE_BYTES)
    )
}
