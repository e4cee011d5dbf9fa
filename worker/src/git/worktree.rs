//! The worktree of one lease: the files of a commit, on a branch of the task's name, and what became of them. Owns how
//! a result is made of what a directory holds; whether it is a good one is nobody's business here.
//!
//! What counts is what the directory holds at the end, but for ignored files. Commits of the agent come along
//! as history where they go on from where it began; what it left uncommitted becomes one more commit.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{Bundle, GitError, Merged, Oid, State, Store, pool::Place, skeleton, store::BUNDLE_REF};
use crate::blobs::Blob;

/// What changed may be so large: beyond that it is no source any more, and would be carried from host to host.
const MOST_RESULT_BYTES: u64 = 512 * 1024 * 1024;
/// The mode of a submodule's entry.
const GITLINK: &str = "160000";

/// What a worktree starts as. All commits are in the store.
#[derive(Debug, Clone)]
pub struct Start {
    pub base: Oid,
    /// Results that the work is built on, in order.
    pub layers: Vec<State>,
    /// What the task has made so far.
    pub own: Option<State>,
    /// The branch that it is on.
    pub branch: String,
}

/// A worktree in use.
#[derive(Debug)]
pub struct Worktree {
    place: Place,
    /// What the result is the difference from.
    base: Oid,
    /// Files that hold marks of a conflict, to be resolved.
    marked: Vec<String>,
    /// Worth a line in the log.
    notes: Vec<String>,
}

/// What was made in a worktree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    pub commit: Oid,
    pub base: Oid,
    pub files: u32,
}

impl Store {
    /// A worktree from the pool.
    pub async fn worktree(self: &Arc<Self>, start: Start) -> Result<Worktree, GitError> {
        let mut notes = Vec::new();
        let mut base = start.base;
        for layer in &start.layers {
            base = self.put_on(&base, layer, &mut notes).await?;
        }
        let (head, marked_tree, marked) = match &start.own {
            None => (base.clone(), None, Vec::new()),
            Some(own) => self.go_on(&base, own, &mut notes).await?,
        };
        let place = self.place(&head).await?;
        place.prepare(&head, &start.branch).await?;
        if let Some(tree) = marked_tree {
            place.call(&["read-tree", "-m", "-u", head.as_str(), tree.as_str()]).run().await?;
        }
        for lost in self.unsupported(&head).await? {
            notes.push(lost);
        }
        Ok(Worktree { place, base, marked, notes })
    }

    /// The commit with the result on it. Where both changed the same lines, what is there stays: when they are
    /// put together for Thor the result itself goes back, and what was built on it with it.
    async fn put_on(&self, base: &Oid, layer: &State, notes: &mut Vec<String>) -> Result<Oid, GitError> {
        let from = layer.base.as_ref().unwrap_or(base);
        let tree = match self.merge(from, base, &layer.commit).await? {
            Merged::Clean { tree } => tree,
            Merged::Conflict { clashes, .. } => {
                let paths: Vec<_> = clashes.iter().map(|clash| clash.path.as_str()).collect();
                notes.push(format!("results that this work is built on conflict in {}", paths.join(", ")));
                self.merge_in_favour(from, base, &layer.commit).await?
            }
        };
        let date = self.date(&layer.commit).await?;
        self.commit(&tree, &[base], "Put together what the task is built on", &date).await
    }

    /// From the task's own last work: its commit where that is built on the same; else the work put on what is
    /// there now, conflicts marked in the files.
    async fn go_on(
        &self,
        base: &Oid,
        own: &State,
        notes: &mut Vec<String>,
    ) -> Result<(Oid, Option<Oid>, Vec<String>), GitError> {
        let Some(from) = own.base.as_ref().filter(|from| *from != base) else {
            return Ok((own.commit.clone(), None, Vec::new()));
        };
        match self.merge(from, base, &own.commit).await? {
            Merged::Clean { tree } => {
                let date = self.date(&own.commit).await?;
                let commit = self.commit(&tree, &[base], "The work so far", &date).await?;
                Ok((commit, None, Vec::new()))
            }
            Merged::Conflict { tree, clashes } => {
                let paths: Vec<_> = clashes.into_iter().map(|clash| clash.path).collect();
                notes.push(format!(
                    "the work so far conflicts with what is there now in {}",
                    paths.join(", ")
                ));
                Ok((base.clone(), Some(tree), paths))
            }
        }
    }

    /// What of the commit a worktree does not hold as people may expect.
    async fn unsupported(&self, commit: &Oid) -> Result<Vec<String>, GitError> {
        let mut notes = Vec::new();
        if !self.gitlinks(commit).await?.is_empty() {
            notes.push("submodules are not checked out: their folders are empty".to_owned());
        }
        let attributes = format!("{commit}:.gitattributes");
        let read = self.call(&["cat-file", "blob", &attributes]).output().await?;
        if read.status.success() && String::from_utf8_lossy(&read.stdout).contains("filter=lfs") {
            notes.push("files under Git LFS are pointers here, not their contents".to_owned());
        }
        Ok(notes)
    }

    /// The folders of submodules. Without `.gitmodules` there are none worth a walk through all files.
    async fn gitlinks(&self, commit: &Oid) -> Result<Vec<String>, GitError> {
        let modules = self.call(&["cat-file", "-e", &format!("{commit}:.gitmodules")]).output().await?;
        if !modules.status.success() {
            return Ok(Vec::new());
        }
        let printed = self.call(&["ls-tree", "-r", "-z", "--full-tree", commit.as_str()]).run().await?;
        Ok(records(&printed)
            .filter(|record| record.starts_with(GITLINK))
            .filter_map(|record| Some(record.split_once('\t')?.1.to_owned()))
            .collect())
    }
}

impl Place {
    /// The agent's own git directory, on a branch of its own.
    async fn prepare(&self, head: &Oid, branch: &str) -> Result<(), GitError> {
        let name = format!("refs/heads/{branch}");
        self.store().git.call(["check-ref-format", &name]).run().await?;
        let (git_dir, ours, head) = (self.files().join(".git"), self.ours(), head.clone());
        let (objects, (person, address)) =
            (self.store().objects().join("objects"), self.store().git.identity().await);
        self.blocking(move || {
            let at = |source| GitError::Io { path: git_dir.clone(), source };
            let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
            let config = format!(
                "\tbare = false\n\tlogAllRefUpdates = true\n[user]\n\tname = \"{}\"\n\temail = \"{}\"\n\
                 [commit]\n\tgpgSign = false\n[gc]\n\tauto = 0\n",
                quoted(&person),
                quoted(&address)
            );
            skeleton::write(&git_dir, &config, &format!("ref: {name}"), &[&objects]).map_err(at)?;
            let reference = git_dir.join(&name);
            fs::create_dir_all(reference.parent().unwrap_or(&git_dir)).map_err(at)?;
            fs::write(&reference, format!("{head}\n")).map_err(at)?;
            copy_index(&ours.join("index"), &git_dir.join("index")).map_err(at)
        })
        .await
    }
}

/// With its time, by which git tells which files may have changed since without a look into them.
fn copy_index(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::copy(from, to)?;
    fs::File::options().append(true).open(to)?.set_modified(fs::metadata(from)?.modified()?)
}

impl Worktree {
    /// Where commands work.
    #[must_use]
    pub fn files(&self) -> PathBuf {
        self.place.files()
    }

    /// What people should know of how it began.
    #[must_use]
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The store that it is of.
    #[must_use]
    pub fn store(&self) -> &Arc<Store> {
        self.place.store()
    }

    /// Makes a commit of what the directory holds; None where nothing has changed.
    pub async fn result(&self, message: &str) -> Result<Option<Made>, GitError> {
        self.place.expect_own()?;
        self.expect_small().await?;
        self.place.call(&["add", "--all"]).run().await?;
        let agents = self.agents_commit().await?;
        if let Some(agents) = &agents {
            self.add_forced(agents).await?;
        }
        let files = self.expect_plain_files().await?;
        self.expect_resolved()?;
        let tree: Oid = self.place.call(&["write-tree"]).text().await?.parse()?;
        if tree == self.tree_of(&self.base).await? {
            return Ok(None);
        }
        let parent = agents.unwrap_or_else(|| self.base.clone());
        let commit = if tree == self.tree_of(&parent).await? {
            parent
        } else {
            let call = self.place.call(&["commit-tree", tree.as_str(), "-p", parent.as_str(), "-m", message]);
            self.place.store().git.signed(call, None).await.text().await?.parse()?
        };
        Ok(Some(Made { commit, base: self.base.clone(), files }))
    }

    /// A bundle of what leads from the plan's state to the result.
    pub async fn bundle(
        &self,
        made: &Made,
        plan: &Oid,
        file: &Path,
    ) -> Result<Option<(Bundle, Blob)>, GitError> {
        self.place.call(&["update-ref", BUNDLE_REF, made.commit.as_str()]).run().await?;
        let bundled =
            super::store::bundle(|arguments| self.place.call(arguments), &made.commit, &[plan], file).await?;
        if let Some((_, Blob::File { size, .. })) = &bundled {
            expect_at_most("its bundle", *size)?;
        }
        Ok(bundled)
    }

    /// The agent's last commit, where it goes on from where it began.
    async fn agents_commit(&self) -> Result<Option<Oid>, GitError> {
        let git_dir = self.files().join(".git");
        let call = self.place.store().git.call(["rev-parse", "--verify", "--quiet", "HEAD^{commit}"]);
        let output = call.git_dir(&git_dir).within(&self.files()).output().await?;
        let Ok(head) = String::from_utf8_lossy(&output.stdout).trim().parse::<Oid>() else {
            return Ok(None);
        };
        if !output.status.success() || head == self.base {
            return Ok(None);
        }
        let call = self.place.call(&["merge-base", "--is-ancestor", self.base.as_str(), head.as_str()]);
        Ok(call.output().await?.status.success().then_some(head))
    }

    /// What the agent committed although it is ignored: it meant that.
    async fn add_forced(&self, agents: &Oid) -> Result<(), GitError> {
        let tree = self.place.call(&["write-tree"]).text().await?;
        let arguments = ["diff-tree", "-r", "-z", "--name-only", "--diff-filter=A", &tree, agents.as_str()];
        let printed = self.place.call(&arguments).run().await?;
        let there: Vec<String> =
            records(&printed).filter(|path| self.files().join(path).symlink_metadata().is_ok()).collect();
        if there.is_empty() {
            return Ok(());
        }
        let arguments = ["add", "--force", "--pathspec-from-file=-", "--pathspec-file-nul"];
        let call = self.place.call(&arguments).env("GIT_LITERAL_PATHSPECS", "1");
        call.input(there.join("\0").into_bytes()).run().await.map(drop)
    }

    /// Before anything is read into objects.
    async fn expect_small(&self) -> Result<(), GitError> {
        let call = self.place.call(&["ls-files", "-z", "--others", "--modified", "--exclude-standard"]);
        let paths: BTreeSet<String> = records(&call.run().await?).collect();
        let size = |path: &String| self.files().join(path).symlink_metadata().map_or(0, |meta| meta.len());
        expect_at_most("changed files", paths.iter().map(size).sum())
    }

    /// How many files changed. A repository within the directory would be carried as its bare name.
    async fn expect_plain_files(&self) -> Result<u32, GitError> {
        let call =
            self.place.call(&["diff-index", "--cached", "--raw", "-z", "--no-renames", self.base.as_str()]);
        let printed = call.run().await?;
        let fields: Vec<String> = records(&printed).collect();
        for pair in fields.chunks(2) {
            let [modes, path] = pair else { continue };
            let mut modes = modes.trim_start_matches(':').split(' ');
            if let (Some(was), Some(GITLINK)) = (modes.next(), modes.next())
                && was != GITLINK
            {
                return Err(GitError::Unsupported(format!(
                    "{path} is a git repository of its own, which a result cannot hold: remove its .git, or \
                     ignore the folder"
                )));
            }
        }
        for path in self.place.store().gitlinks(&self.base).await? {
            if fs::read_dir(self.files().join(&path)).is_ok_and(|mut entries| entries.next().is_some()) {
                return Err(GitError::Unsupported(format!(
                    "{path} is a submodule, and what is written into one cannot be kept"
                )));
            }
        }
        Ok(u32::try_from(fields.len() / 2).unwrap_or(u32::MAX))
    }

    fn expect_resolved(&self) -> Result<(), GitError> {
        for path in &self.marked {
            let text = fs::read(self.files().join(path)).unwrap_or_default();
            if text.split(|byte| *byte == b'\n').any(|line| line.starts_with(b"<<<<<<< ")) {
                return Err(GitError::Unsupported(format!("{path} still holds the marks of a conflict")));
            }
        }
        Ok(())
    }

    async fn tree_of(&self, commit: &Oid) -> Result<Oid, GitError> {
        let tree = self.place.call(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")]).text().await?;
        Ok(tree.parse()?)
    }

    /// Leaves nothing of the lease behind.
    pub async fn release(self) {
        self.place.release().await;
    }
}

fn expect_at_most(what: &str, found: u64) -> Result<(), GitError> {
    if found <= MOST_RESULT_BYTES {
        return Ok(());
    }
    Err(GitError::TooLarge { what: what.to_owned(), found, most: MOST_RESULT_BYTES })
}

/// What git prints with `-z`.
pub(super) fn records(printed: &[u8]) -> impl Iterator<Item = String> + '_ {
    let records = printed.split(|byte| *byte == 0).filter(|record| !record.is_empty());
    records.map(|record| String::from_utf8_lossy(record).into_owned())
}
