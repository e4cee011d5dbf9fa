//! Moving a branch of somebody's repository. Owns the compare-and-swap, and the last form of commits: their
//! content was judged, so only their messages and parents change. The same input gives the same commits: one who
//! tries again after a crash finds its own work there.

use super::{GitError, Oid, Store};

/// What stands at the end of each commit's message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trailers {
    /// By whose word it is published, one line.
    pub verdict: String,
}

/// What came of a push.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pushed {
    /// The branch is there now, or was already: by us, in an earlier try.
    There,
    /// Somebody else moved it.
    Moved,
}

impl Store {
    /// The commits from `start` to `tip` again, with the trailers; gives the new tip and each new commit with its
    /// message, oldest first.
    pub async fn rewrite(
        &self,
        start: &Oid,
        tip: &Oid,
        trailers: &Trailers,
    ) -> Result<(Oid, Vec<(Oid, String)>), GitError> {
        let range = format!("{start}..{tip}");
        let listed = self.call(&["rev-list", "--reverse", "--first-parent", &range]).text().await?;
        let (mut parent, mut made) = (start.clone(), Vec::new());
        for commit in listed.lines() {
            let raw = self.call(&["cat-file", "commit", commit]).run().await?;
            let raw = String::from_utf8_lossy(&raw);
            let (head, message) = raw.split_once("\n\n").unwrap_or((&raw, ""));
            let message =
                format!("{}\nWavegate-Verdict: {}\n", message.trim_end(), one_line(&trailers.verdict));
            let head: Vec<String> = head
                .lines()
                .map(|line| match line.starts_with("parent ") {
                    true => format!("parent {parent}"),
                    false => line.to_owned(),
                })
                .collect();
            let raw = format!("{}\n\n{message}", head.join("\n"));
            let written =
                self.call(&["hash-object", "-t", "commit", "-w", "--stdin"]).input(raw.into_bytes());
            parent = written.text().await?.parse()?;
            made.push((parent.clone(), message));
        }
        Ok((parent, made))
    }

    /// Moves the branch to `tip`, if it still is where it was seen (`onto`; None: there is none yet).
    pub async fn push(&self, branch: &str, onto: Option<&Oid>, tip: &Oid) -> Result<Pushed, GitError> {
        match self.standing(branch, onto, tip).await? {
            Some(pushed) => return Ok(pushed),
            None if onto == Some(tip) => return Ok(Pushed::There),
            None => {}
        }
        let expected = onto.map(Oid::to_string).unwrap_or_default();
        let lease = format!("--force-with-lease=refs/heads/{branch}:{expected}");
        let (location, refspec) = (self.location().to_string(), format!("{tip}:refs/heads/{branch}"));
        let pushed =
            self.call(&["push", "--porcelain", "--quiet", &lease, "--", &location, &refspec]).run().await;
        let Err(error) = pushed else { return Ok(Pushed::There) };
        // It may have moved between the look and the push, and an answer may have been lost.
        match self.standing(branch, onto, tip).await {
            Ok(Some(pushed)) => Ok(pushed),
            Ok(None) | Err(_) => Err(error),
        }
    }

    /// What the branch says before a push; None: it is where it was seen.
    async fn standing(
        &self,
        branch: &str,
        onto: Option<&Oid>,
        tip: &Oid,
    ) -> Result<Option<Pushed>, GitError> {
        let Some(found) = self.branch(branch).await? else {
            return Ok(onto.is_some().then_some(Pushed::Moved));
        };
        if Some(&found) == onto {
            return Ok(None);
        }
        let head = super::Head::Branch { name: branch.to_owned(), commit: found.clone() };
        self.fetch(&head).await?;
        let holds_ours = found == *tip || self.is_ancestor(tip, &found).await?;
        Ok(Some(if holds_ours { Pushed::There } else { Pushed::Moved }))
    }
}

/// A trailer is one line, whatever it was made of.
pub(crate) fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
