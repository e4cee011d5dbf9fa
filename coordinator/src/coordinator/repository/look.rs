//! Looking at what a plan has made: as a diff, and as a repository of its own. Owns getting the commits or trees
//! that are compared, from the repository or from the coordinator's artifacts; what is compared is the caller's.

use std::{fs, io, path::Path};

use anyhow::{Context as _, anyhow, ensure};
use wavegate_proto::v1;
use wavegate_worker::{
    blobs::BlobStore,
    digest::Digest,
    git::{Git, GitError, State, Store, read_state},
    tree::{self, Changes, Tree},
};

use super::{artifacts::Artifacts, room::Room};
use crate::cli::{CheckedOut, Connection, DiffStyle, Difference};

/// The difference, as git writes it.
pub(in super::super) async fn diff(
    connection: &Connection,
    repository: &v1::Repository,
    difference: &Difference,
    style: DiffStyle,
    room: &Room,
) -> anyhow::Result<Vec<u8>> {
    let artifacts = Artifacts::new(connection, &room.artifacts())?;
    match difference {
        Difference::Commits { state, first } => {
            let store = room.stores().open(&repository.location).await?;
            let state = reach(&store, state, repository, &artifacts).await?;
            let from = match first {
                Some(first) => format!("{first}^"),
                None => state.base.as_ref().unwrap_or(&state.commit).to_string(),
            };
            let arguments = [style.arguments(), vec![&from, state.commit.as_str(), "--"]].concat();
            Ok(Git::new(None).call(arguments).git_dir(&store.objects()).run().await?)
        }
        Difference::Trees { from, to } => {
            let (from, to) = (tree_of(from, &artifacts).await?, tree_of(to, &artifacts).await?);
            diff_trees(&from, &to, style, &artifacts, room).await
        }
        Difference::Changes { from, changes } => {
            let from = tree_of(from, &artifacts).await?;
            let changes = Changes::decode(&read(changes, &artifacts).await?)?;
            let mut to = from.clone();
            to.try_apply(&changes)?;
            diff_trees(&from, &to, style, &artifacts, room).await
        }
    }
}

/// Puts the commit into a repository of its own in this directory, on a branch of the task's name.
pub(in super::super) async fn checkout(
    connection: &Connection,
    repository: &v1::Repository,
    state: &str,
    branch: &str,
    dir: &Path,
    room: &Room,
) -> anyhow::Result<CheckedOut> {
    ensure!(is_free(dir)?, "{} is not empty: name another directory", dir.display());
    let artifacts = Artifacts::new(connection, &room.artifacts())?;
    let store = room.stores().open(&repository.location).await?;
    let state = reach(&store, state, repository, &artifacts).await?;
    let was_there = dir.exists();
    fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
    if let Err(error) = fill(dir, &store, &state, branch).await {
        // What is half there is of no use; a directory that was there stays, as empty as it was.
        let _ = fs::remove_dir_all(dir);
        if was_there {
            let _ = fs::create_dir(dir);
        }
        return Err(error);
    }
    let dir = fs::canonicalize(dir).unwrap_or_else(|_| dir.to_owned());
    let base = state.base.as_ref().map(ToString::to_string);
    Ok(CheckedOut { dir, branch: branch.to_owned(), commit: state.commit.to_string(), base })
}

async fn fill(dir: &Path, store: &Store, state: &State, branch: &str) -> anyhow::Result<()> {
    let git = Git::new(None);
    let branch_option = format!("--initial-branch={branch}");
    git.call(["init", "--quiet", "--template=", &branch_option]).within(dir).run().await?;
    let from = store.objects().display().to_string();
    let refspec = format!("+refs/wavegate/keep/{}:refs/heads/{branch}", state.commit);
    let fetch =
        ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--update-head-ok", "--", &from, &refspec];
    git.call(fetch).within(dir).run().await?;
    git.call(["reset", "--quiet", "--hard"]).within(dir).run().await?;
    Ok(())
}

fn is_free(dir: &Path) -> anyhow::Result<bool> {
    match fs::read_dir(dir) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(anyhow!("{}: {error}", dir.display())),
    }
}

/// The state with its commit in the store.
async fn reach(
    store: &Store,
    digest: &str,
    repository: &v1::Repository,
    artifacts: &Artifacts,
) -> anyhow::Result<State> {
    let state = read_state(digest.parse()?, artifacts).await?;
    store.ensure(&state, &repository.base, artifacts).await?;
    Ok(state)
}

async fn read(digest: &str, artifacts: &Artifacts) -> anyhow::Result<Vec<u8>> {
    let digest: Digest = digest.parse()?;
    artifacts.fetch(&[digest]).await?;
    Ok(artifacts.cache().read(digest)?)
}

async fn tree_of(digest: &str, artifacts: &Artifacts) -> anyhow::Result<Tree> {
    if digest.is_empty() {
        return Ok(Tree::default());
    }
    Ok(Tree::decode(&read(digest, artifacts).await?)?)
}

/// Lets git compare what differs, in a repository for the time of it.
async fn diff_trees(
    from: &Tree,
    to: &Tree,
    style: DiffStyle,
    artifacts: &Artifacts,
    room: &Room,
) -> anyhow::Result<Vec<u8>> {
    let changes = from.changes_to(to);
    let within = |tree: &Tree| Tree {
        entries: tree
            .entries
            .iter()
            .filter(|(path, _)| changes.paths.contains_key(*path))
            .map(clone_entry)
            .collect(),
    };
    let (git, folder) = (Git::new(None), room.folder().join("trees"));
    fs::create_dir_all(&folder)?;
    match git.call(["init", "--quiet", "--bare", "--template=", "objects"]).within(&folder).run().await {
        Err(GitError::NoGit(_)) => return Ok(named(from, &changes)),
        other => other?,
    };
    let objects = folder.join("objects");
    let mut ids = Vec::new();
    for (name, tree) in [("before", within(from)), ("after", within(to))] {
        let digests: Vec<Digest> = tree.digests().collect();
        artifacts.fetch(&digests).await?;
        let side = folder.join(name);
        fs::create_dir(&side)?;
        tree::write_over(&tree, &side, artifacts.cache())?;
        let on = |arguments: &[&str]| git.call(arguments).git_dir(&objects).work_tree(&side);
        on(&["add", "--all", "--force", "."]).run().await?;
        ids.push(on(&["write-tree"]).text().await?);
    }
    let ids = ids.iter().map(String::as_str);
    let arguments: Vec<&str> = style.arguments().into_iter().chain(ids).chain(["--"]).collect();
    Ok(git.call(arguments).git_dir(&objects).run().await?)
}

/// What can be said where there is no git.
fn named(from: &Tree, changes: &Changes) -> Vec<u8> {
    let line = |(path, node): (&String, &Option<tree::Node>)| {
        let what = match node {
            None => 'D',
            Some(_) if from.entries.contains_key(path) => 'M',
            Some(_) => 'A',
        };
        format!("{what}\t{path}\n")
    };
    changes.paths.iter().map(line).collect::<String>().into_bytes()
}

fn clone_entry((path, node): (&String, &tree::Node)) -> (String, tree::Node) {
    (path.clone(), node.clone())
}

impl DiffStyle {
    fn arguments(self) -> Vec<&'static str> {
        let colour = if self.colour { "--color=always" } else { "--color=never" };
        let mut arguments = vec!["diff", "--no-ext-diff", "--no-textconv", colour];
        if self.stat {
            arguments.push("--stat=100");
        }
        if self.name_only {
            arguments.push("--name-only");
        }
        arguments
    }
}
