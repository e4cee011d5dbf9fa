//! Putting two sides together without a directory, by the objects alone. Owns what a conflict is, and how it is
//! shown to whoever must resolve it.

use super::{Git, GitError, Oid, Store, command, worktree::records};

/// Of one file so much of its conflicts is shown.
const MOST_HUNKS: usize = 4 * 1024;
/// Lines around a conflict that are shown.
const AROUND: usize = 3;
/// Who commits where no operator says otherwise.
const NOBODY: (&str, &str) = ("Wavegate", "wavegate@localhost");

/// What came of a merge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Merged {
    Clean {
        tree: Oid,
    },
    Conflict {
        /// Marks stand where the sides conflict.
        tree: Oid,
        clashes: Vec<Clash>,
    },
}

/// A file in which both sides changed the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clash {
    pub path: String,
    /// The places, marked as git marks them, or git's words where no text conflicts.
    pub hunks: String,
}

impl Store {
    /// Both sides together, seen from what they have in common.
    pub async fn merge(&self, common: &Oid, ours: &Oid, theirs: &Oid) -> Result<Merged, GitError> {
        let common = format!("--merge-base={common}");
        let arguments = ["merge-tree", "--write-tree", "-z", "--name-only", "--messages", &common];
        let arguments: Vec<&str> = arguments.into_iter().chain([ours.as_str(), theirs.as_str()]).collect();
        let output = self.call(&arguments).output().await?;
        let tree = |printed: &[u8]| -> Result<Oid, GitError> {
            Ok(String::from_utf8_lossy(printed.split(|byte| *byte == 0).next().unwrap_or_default())
                .parse()?)
        };
        match output.status.code() {
            Some(0) => Ok(Merged::Clean { tree: tree(&output.stdout)? }),
            Some(1) => {
                let tree = tree(&output.stdout)?;
                let clashes = self.clashes(&tree, &output.stdout, [ours, theirs]).await?;
                Ok(Merged::Conflict { tree, clashes })
            }
            _ => Err(command::failure("merge-tree".to_owned(), &output)),
        }
    }

    /// The same, where our side wins what conflicts.
    pub(super) async fn merge_in_favour(
        &self,
        common: &Oid,
        ours: &Oid,
        theirs: &Oid,
    ) -> Result<Oid, GitError> {
        let common = format!("--merge-base={common}");
        let arguments =
            ["merge-tree", "--write-tree", "-z", "--no-messages", "--strategy-option=ours", &common];
        let arguments: Vec<&str> = arguments.into_iter().chain([ours.as_str(), theirs.as_str()]).collect();
        let output = self.call(&arguments).output().await?;
        if output.status.success() {
            let first = output.stdout.split(|byte| *byte == 0).next().unwrap_or_default();
            return Ok(String::from_utf8_lossy(first).trim().parse()?);
        }
        // One deleted what the other changed: there is no middle; ours stays whole.
        self.tree(ours).await
    }

    /// Reads TREE NUL (PATH NUL)* NUL (COUNT NUL (PATH NUL)* KIND NUL MESSAGE NUL)*.
    async fn clashes(&self, tree: &Oid, printed: &[u8], sides: [&Oid; 2]) -> Result<Vec<Clash>, GitError> {
        let mut fields = printed.split(|byte| *byte == 0).map(|it| String::from_utf8_lossy(it).into_owned());
        fields.next();
        let paths: Vec<String> = fields.by_ref().take_while(|path| !path.is_empty()).collect();
        let mut messages = Vec::new();
        while let Some(count) = fields.next().and_then(|count| count.parse::<usize>().ok()) {
            let about: Vec<String> = fields.by_ref().take(count).collect();
            let (_, message) = (fields.next(), fields.next().unwrap_or_default());
            messages.push((about, message));
        }
        let mut clashes = Vec::with_capacity(paths.len());
        for path in paths {
            let blob = self.call(&["cat-file", "blob", &format!("{tree}:{path}")]).output().await?;
            let mut hunks = hunks(&String::from_utf8_lossy(&blob.stdout));
            if !blob.status.success() || hunks.is_empty() {
                let about = messages.iter().filter(|(about, _)| about.contains(&path));
                let words: Vec<_> = about.map(|(_, message)| named(message.trim(), sides)).collect();
                hunks = words.join("\n");
            }
            clashes.push(Clash { hunks: named(&hunks, sides), path });
        }
        Ok(clashes)
    }

    /// The paths that differ between two commits.
    pub async fn changed_paths(&self, from: &Oid, to: &Oid) -> Result<Vec<String>, GitError> {
        let arguments = ["diff-tree", "-r", "-z", "--name-only", "--no-renames", from.as_str(), to.as_str()];
        Ok(records(&self.call(&arguments).run().await?).collect())
    }

    /// The difference as people read it, at most so many bytes of it.
    pub async fn diff(&self, from: &Oid, to: &Oid, most: usize) -> Result<String, GitError> {
        let arguments =
            ["diff", "--no-color", "--no-ext-diff", "--no-textconv", "-M", from.as_str(), to.as_str()];
        let printed = self.call(&arguments).run().await?;
        let text = String::from_utf8_lossy(&printed);
        if text.len() <= most {
            return Ok(text.into_owned());
        }
        let shown = &text[..text.floor_char_boundary(most)];
        Ok(format!("{shown}\n[... {} bytes more]\n", text.len() - shown.len()))
    }

    /// Makes a commit that nothing names yet; the date as git writes it ("@SECONDS ZONE").
    pub async fn commit(
        &self,
        tree: &Oid,
        parents: &[&Oid],
        message: &str,
        date: &str,
    ) -> Result<Oid, GitError> {
        let mut arguments = vec!["commit-tree", tree.as_str(), "-F", "-"];
        for parent in parents {
            arguments.extend(["-p", parent.as_str()]);
        }
        let call = self.call(&arguments).input(message.as_bytes());
        Ok(self.git.signed(call, Some(date)).await.text().await?.parse()?)
    }

    /// The files of a commit, by their name.
    pub async fn tree(&self, commit: &Oid) -> Result<Oid, GitError> {
        let tree = self.call(&["rev-parse", "--verify", &format!("{commit}^{{tree}}")]).text().await?;
        Ok(tree.parse()?)
    }

    /// When a commit was made, as [`Self::commit`] takes it.
    pub async fn date(&self, commit: &Oid) -> Result<String, GitError> {
        self.call(&["show", "--no-patch", "--format=@%ct +0000", commit.as_str()]).text().await
    }

    /// The messages of the commits between, oldest first.
    pub async fn messages(&self, from: &Oid, to: &Oid) -> Result<Vec<String>, GitError> {
        let range = format!("{from}..{to}");
        let printed = self.call(&["log", "-z", "--reverse", "--format=%B", &range]).run().await?;
        Ok(records(&printed).map(|message| message.trim().to_owned()).collect())
    }
}

impl Git {
    /// Name and address for commits: the operator's configuration says them, or nobody's.
    pub(super) async fn identity(&self) -> (String, String) {
        self.identity.get_or_init(|| self.read_identity()).await.clone()
    }

    async fn read_identity(&self) -> (String, String) {
        let read = async |key: &str, otherwise: &str| {
            let found = self.call(["config", "--global", "--get", key]).text().await;
            found.ok().filter(|text| !text.is_empty()).unwrap_or_else(|| otherwise.to_owned())
        };
        (read("user.name", NOBODY.0).await, read("user.email", NOBODY.1).await)
    }

    /// The call with who commits, and when.
    pub(super) async fn signed(&self, call: command::Call, date: Option<&str>) -> command::Call {
        let (name, address) = self.identity().await;
        let call = call.env("GIT_AUTHOR_NAME", &name).env("GIT_AUTHOR_EMAIL", &address);
        let call = call.env("GIT_COMMITTER_NAME", &name).env("GIT_COMMITTER_EMAIL", &address);
        match date {
            Some(date) => call.env("GIT_AUTHOR_DATE", date).env("GIT_COMMITTER_DATE", date),
            None => call,
        }
    }
}

/// Git names the sides by their commits: people know them otherwise.
fn named(text: &str, [ours, theirs]: [&Oid; 2]) -> String {
    text.replace(ours.as_str(), "what is there").replace(theirs.as_str(), "this task")
}

/// The marked places of a text with some lines around them.
fn hunks(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    let mut shown = vec![false; lines.len()];
    let mut begin = None;
    for (at, line) in lines.iter().enumerate() {
        if line.starts_with("<<<<<<< ") {
            begin = Some(at);
        } else if line.starts_with(">>>>>>> ")
            && let Some(begin) = begin.take()
        {
            let last = (at + AROUND).min(lines.len() - 1);
            shown[begin.saturating_sub(AROUND)..=last].fill(true);
        }
    }
    let mut hunks = String::new();
    for (at, line) in lines.iter().enumerate().filter(|(at, _)| shown[*at]) {
        if at > 0 && !shown[at - 1] && !hunks.is_empty() {
            hunks.push_str("...\n");
        }
        if hunks.len() + line.len() > MOST_HUNKS {
            hunks.push_str("[...]\n");
            break;
        }
        hunks.push_str(line);
        hunks.push('\n');
    }
    hunks
}
