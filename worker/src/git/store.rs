//! One object store for each repository that this host works on, shared by all workers of the host that are
//! told the same root. Owns fetching (from the repository or from bundles), what is kept of it and how large it
//! may grow; worktrees are the pool's.
//!
//! ROOT/KEY/objects.git holds the objects, `fetch.lock` is held while references are written, `use.lock` is
//! shared by everybody who uses it, so that nothing in use is ever removed.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use super::{
    Bundle, Git, GitError, Location, Oid, State,
    skeleton::{self, Lock, Wish},
};
use crate::{
    blobs::{Blob, BlobError, BlobStore},
    digest::Digest,
};

/// All stores of a host may take so much before the ones used longest ago go.
const MOST_BYTES: u64 = 20 * 1024 * 1024 * 1024;
/// How often the size is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3600);
/// What was kept for a lease is of no use after this long: it is fetched again if it is.
const KEPT_FOR: Duration = Duration::from_secs(14 * 24 * 3600);
/// From so many packs on they are put together: each lookup asks all of them.
const MANY_PACKS: usize = 50;
/// The reference under which a bundle brings its commit.
pub(super) const BUNDLE_REF: &str = "refs/wavegate/state";

/// The stores of a host.
#[derive(Debug, Clone)]
pub struct Stores {
    root: PathBuf,
    git: Git,
    allowed: Option<Vec<String>>,
}

/// The object store of one repository, in use.
#[derive(Debug)]
pub struct Store {
    pub(super) git: Git,
    pub(super) folder: PathBuf,
    location: Location,
    _in_use: Lock,
}

/// What a plan's `base` names in the repository, as it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// It can move.
    Branch {
        /// Without `refs/heads/`.
        name: String,
        commit: Oid,
    },
    /// A tag or a commit.
    Fixed { commit: Oid },
}

impl Head {
    /// The commit.
    #[must_use]
    pub fn commit(&self) -> &Oid {
        match self {
            Self::Branch { commit, .. } | Self::Fixed { commit } => commit,
        }
    }

    /// Its name, where it is a branch.
    #[must_use]
    pub fn branch(&self) -> Option<&str> {
        match self {
            Self::Branch { name, .. } => Some(name),
            Self::Fixed { .. } => None,
        }
    }
}

impl Stores {
    /// Under this folder, which is made when it is needed.
    #[must_use]
    pub fn new(root: PathBuf, git: Git) -> Self {
        // Calls are made from other folders.
        let root = std::path::absolute(&root).unwrap_or(root);
        Self { root, git, allowed: None }
    }

    /// Only repositories whose location begins with one of these; None: all.
    #[must_use]
    pub fn allowing(self, allowed: Option<Vec<String>>) -> Self {
        Self { allowed, ..self }
    }

    /// Removes the places of leases that ended with their worker. Blocks; what is in use stays.
    pub fn clear_leftovers(&self) {
        for store in fs::read_dir(&self.root).into_iter().flatten().flatten() {
            super::pool::clear_leftovers(&store.path().join("pool"));
        }
    }

    /// The store of a repository, made if missing.
    pub async fn open(&self, location: &str) -> Result<Arc<Store>, GitError> {
        let location = Location::parse(location)?;
        self.expect_allowed(&location)?;
        self.git.expect_new_enough().await?;
        self.trim_now_and_then().await?;
        let (git, folder) = (self.git.clone(), self.root.join(location.key()));
        let store = blocking(move || {
            let at = |source| GitError::Io { path: folder.clone(), source };
            let in_use = skeleton::lock(&folder.join("use.lock"), Wish::Shared).map_err(at)?;
            let objects = folder.join("objects.git");
            if !objects.join("HEAD").exists() {
                let _alone = skeleton::lock(&folder.join("fetch.lock"), Wish::Exclusive).map_err(at)?;
                skeleton::write(&objects, "\tbare = true\n", "ref: refs/heads/main", &[]).map_err(at)?;
            }
            fs::write(folder.join("used"), location.to_string()).map_err(at)?;
            let in_use = in_use.ok_or(GitError::BrokenOff)?;
            Ok(Store { git, folder, location, _in_use: in_use })
        });
        Ok(Arc::new(store.await?))
    }

    fn expect_allowed(&self, location: &Location) -> Result<(), GitError> {
        let text = location.to_string();
        let begins = |prefix: &String| {
            let rest = text.strip_prefix(prefix.trim_end_matches('/'));
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['/', ':', '.']))
        };
        match &self.allowed {
            Some(allowed) if !allowed.iter().any(begins) => Err(GitError::OutOfReach {
                location: text,
                why: format!("this worker's operator allows only {}", allowed.join(", ")),
            }),
            Some(_) | None => Ok(()),
        }
    }

    async fn trim_now_and_then(&self) -> Result<(), GitError> {
        let stamp = self.root.join("looked");
        let age = fs::metadata(&stamp).and_then(|meta| meta.modified()).map(|time| time.elapsed());
        if matches!(age, Ok(Ok(age)) if age < LOOK_EVERY) {
            return Ok(());
        }
        let root = self.root.clone();
        blocking(move || {
            fs::create_dir_all(&root).and_then(|()| fs::write(&stamp, "")).map_err(GitError::io(&stamp))?;
            trim(&root, MOST_BYTES);
            Ok(())
        })
        .await
    }
}

impl Store {
    /// The bare repository that holds the objects.
    #[must_use]
    pub fn objects(&self) -> PathBuf {
        self.folder.join("objects.git")
    }

    /// A folder that commands of this repository may keep things in from lease to lease.
    pub fn cache(&self) -> Result<PathBuf, GitError> {
        let folder = self.folder.join("cache");
        fs::create_dir_all(&folder).map_err(GitError::io(&folder))?;
        Ok(folder)
    }

    /// Where the repository is.
    #[must_use]
    pub fn location(&self) -> &Location {
        &self.location
    }

    /// A call on the store itself.
    pub(super) fn call(&self, arguments: &[&str]) -> super::command::Call {
        self.git.call(arguments).git_dir(&self.objects()).within(&self.folder)
    }

    /// What the repository has now under the name that a plan says; an empty one is its HEAD.
    pub async fn head(&self, base: &str) -> Result<Head, GitError> {
        let name = base.strip_prefix("refs/heads/").unwrap_or(base);
        if let Ok(commit) = name.parse() {
            return Ok(Head::Fixed { commit });
        }
        let (branch, tag) = (format!("refs/heads/{name}"), format!("refs/tags/{name}"));
        let peeled = format!("{tag}^{{}}");
        let names = if name.is_empty() { vec!["HEAD"] } else { vec![branch.as_str(), &tag, &peeled] };
        let refs = self.list(&names).await?;
        let found =
            |wanted: &str| refs.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
        let no_base = || GitError::NoBase { location: self.location.to_string(), base: base.to_owned() };
        if name.is_empty() {
            let commit = found("HEAD").ok_or_else(no_base)?.parse()?;
            let symbolic = found("ref: HEAD");
            let name = symbolic.as_deref().and_then(|name| name.strip_prefix("refs/heads/"));
            return Ok(match name {
                Some(name) => Head::Branch { name: name.to_owned(), commit },
                None => Head::Fixed { commit },
            });
        }
        if let Some(commit) = found(&branch) {
            return Ok(Head::Branch { name: name.to_owned(), commit: commit.parse()? });
        }
        let commit = found(&peeled).or_else(|| found(&tag)).ok_or_else(no_base)?;
        Ok(Head::Fixed { commit: commit.parse()? })
    }

    /// The head of a branch of the repository; None where there is none.
    pub async fn branch(&self, name: &str) -> Result<Option<Oid>, GitError> {
        let name = format!("refs/heads/{name}");
        let refs = self.list(&[&name]).await?;
        let found = refs.into_iter().find(|(found, _)| *found == name);
        Ok(found.map(|(_, commit)| commit.parse()).transpose()?)
    }

    /// References of the repository by name; "ref: NAME" for where a symbolic one points.
    async fn list(&self, names: &[&str]) -> Result<Vec<(String, String)>, GitError> {
        let location = self.location.to_string();
        let mut arguments = vec!["ls-remote", "--symref", "--", &location];
        arguments.extend(names);
        let printed = self.call(&arguments).text().await.map_err(|error| self.out_of_reach(error))?;
        let entry = |line: &str| {
            let (value, name) = line.split_once('\t')?;
            Some(match value.strip_prefix("ref: ") {
                Some(target) => (format!("ref: {name}"), target.to_owned()),
                None => (name.to_owned(), value.to_owned()),
            })
        };
        Ok(printed.lines().filter_map(entry).collect())
    }

    fn out_of_reach(&self, error: GitError) -> GitError {
        if let GitError::Failed { said, .. } = error {
            return GitError::OutOfReach { location: self.location.to_string(), why: said };
        }
        error
    }

    /// Fetches what the repository has there, if it is not here.
    pub async fn fetch(&self, head: &Head) -> Result<(), GitError> {
        if self.has(head.commit()).await? {
            return self.keep(head.commit()).await;
        }
        let _alone = self.alone().await?;
        let refspec = match head {
            Head::Branch { name, commit } => format!("+refs/heads/{name}:refs/wavegate/keep/{commit}"),
            Head::Fixed { commit } => format!("+{commit}:refs/wavegate/keep/{commit}"),
        };
        self.fetch_from(&self.location.to_string(), &refspec)
            .await
            .map_err(|error| self.out_of_reach(error))?;
        self.pack_now_and_then().await
    }

    async fn fetch_from(&self, from: &str, refspec: &str) -> Result<(), GitError> {
        let options = ["fetch", "--quiet", "--no-tags", "--no-write-fetch-head", "--no-auto-maintenance"];
        let arguments: Vec<&str> = options.into_iter().chain(["--refmap=", "--", from, refspec]).collect();
        self.call(&arguments).run().await.map(drop)
    }

    /// Whether the commit is here.
    pub async fn has(&self, commit: &Oid) -> Result<bool, GitError> {
        let output = self.call(&["cat-file", "-e", &format!("{commit}^{{commit}}")]).output().await?;
        Ok(output.status.success())
    }

    /// Whether the first commit is the second or one of those before it.
    pub async fn is_ancestor(&self, first: &Oid, second: &Oid) -> Result<bool, GitError> {
        self.call(&["merge-base", "--is-ancestor", first.as_str(), second.as_str()]).holds().await
    }

    /// The newest commit that leads to both; None where there is none.
    pub async fn common(&self, one: &Oid, other: &Oid) -> Result<Option<Oid>, GitError> {
        let output = self.call(&["merge-base", one.as_str(), other.as_str()]).output().await?;
        Ok(String::from_utf8_lossy(&output.stdout).lines().next().and_then(|line| line.parse().ok()))
    }

    /// Keeps the commit for the time that a plan may need it.
    pub(super) async fn keep(&self, commit: &Oid) -> Result<(), GitError> {
        let name = format!("refs/wavegate/keep/{commit}");
        if self.objects().join(&name).exists() {
            return Ok(());
        }
        let _alone = self.alone().await?;
        self.call(&["update-ref", &name, commit.as_str()]).run().await.map(drop)
    }

    /// Makes sure that the state's commit is here: it is already, or its bundles bring it, or the repository
    /// has it (`base`: under which name).
    pub async fn ensure(&self, state: &State, base: &str, blobs: &dyn BlobStore) -> Result<(), GitError> {
        if self.has(&state.commit).await? {
            return self.keep(&state.commit).await;
        }
        let from_bundles = self.unbundle(&state.bundles, blobs).await;
        if from_bundles.is_ok() && self.has(&state.commit).await? {
            return self.keep(&state.commit).await;
        }
        self.fetch(&self.head(base).await?).await?;
        self.unbundle(&state.bundles, blobs).await?;
        if !self.has(&state.commit).await? {
            // Not on the branch any more, perhaps: a server may still give it.
            let fixed = Head::Fixed { commit: state.commit.clone() };
            let is_refused = |error: &GitError| matches!(error, GitError::OutOfReach { .. });
            let fetched = self.fetch(&fixed).await;
            fetched.map_err(|error| {
                if is_refused(&error) { GitError::NoCommit(state.commit.clone()) } else { error }
            })?;
        }
        self.keep(&state.commit).await
    }

    async fn unbundle(&self, bundles: &[Bundle], blobs: &dyn BlobStore) -> Result<(), GitError> {
        for bundle in bundles {
            if self.has(&bundle.tip).await? {
                continue;
            }
            // A bundle that is dropped from the cache between the two is fetched again, once.
            let path = blobs.cache().path(bundle.digest);
            blobs.fetch(&[bundle.digest]).await?;
            if !path.exists() {
                blobs.fetch(&[bundle.digest]).await?;
            }
            let _alone = self.alone().await?;
            let refspec = format!("+{BUNDLE_REF}:refs/wavegate/keep/{}", bundle.tip);
            self.fetch_from(&path.display().to_string(), &refspec).await?;
            self.pack_now_and_then().await?;
        }
        Ok(())
    }

    /// Writes a bundle of what leads to the commit and not to the other ones; None where that is nothing.
    pub async fn bundle(
        &self,
        tip: &Oid,
        without: &[&Oid],
        file: &Path,
    ) -> Result<Option<(Bundle, Blob)>, GitError> {
        self.keep(tip).await?;
        let _alone = self.alone().await?;
        self.call(&["update-ref", BUNDLE_REF, tip.as_str()]).run().await?;
        bundle(|arguments| self.call(arguments), tip, without, file).await
    }

    pub(super) async fn alone(&self) -> Result<Lock, GitError> {
        let (path, objects) = (self.folder.join("fetch.lock"), self.objects());
        blocking(move || {
            let lock = skeleton::lock(&path, Wish::Exclusive).map_err(GitError::io(&path))?;
            skeleton::remove_stale_locks(&objects).map_err(GitError::io(&objects))?;
            lock.ok_or(GitError::BrokenOff)
        })
        .await
    }

    /// Only under the lock. What others read stays readable: packs are replaced by larger ones.
    async fn pack_now_and_then(&self) -> Result<(), GitError> {
        let packs = fs::read_dir(self.objects().join("objects/pack")).into_iter().flatten().flatten();
        let is_pack = |name: std::ffi::OsString| Path::new(&name).extension().is_some_and(|it| it == "pack");
        if packs.filter(|entry| is_pack(entry.file_name())).count() >= MANY_PACKS {
            self.call(&["repack", "-q", "-d", "--geometric=2"]).run().await?;
        }
        Ok(())
    }
}

/// Writes a bundle of [`BUNDLE_REF`], which names `tip` where the calls are made.
pub(super) async fn bundle(
    call: impl Fn(&[&str]) -> super::command::Call,
    tip: &Oid,
    without: &[&Oid],
    file: &Path,
) -> Result<Option<(Bundle, Blob)>, GitError> {
    let mut arguments = vec!["rev-list", "--count", tip.as_str(), "--not"];
    arguments.extend(without.iter().map(|oid| oid.as_str()));
    if call(&arguments).text().await? == "0" {
        return Ok(None);
    }
    let path = file.display().to_string();
    let mut arguments = vec!["bundle", "create", "--quiet", &path, BUNDLE_REF, "--not"];
    arguments.extend(without.iter().map(|oid| oid.as_str()));
    call(&arguments).run().await?;
    let (path, tip) = (file.to_owned(), tip.clone());
    blocking(move || {
        let mut opened = fs::File::open(&path).map_err(GitError::io(&path))?;
        let (digest, size) = Digest::of_reader(&mut opened).map_err(GitError::io(&path))?;
        Ok(Some((Bundle { digest, tip }, Blob::File { digest, path, size })))
    })
    .await
}

/// Runs what reads and writes files where blocking is allowed.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, GitError> + Send + 'static,
) -> Result<T, GitError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| GitError::BrokenOff)?
}

/// Removes what was used longest ago while all together is too much, and what nobody will ask for any more.
/// What is in use stays; what cannot be removed stays, too: it is looked at again.
fn trim(root: &Path, most_bytes: u64) {
    let mut stores: Vec<_> = fs::read_dir(root).into_iter().flatten().flatten().map(|it| it.path()).collect();
    let used = |path: &PathBuf| {
        let used = fs::metadata(path.join("used")).and_then(|meta| meta.modified());
        used.unwrap_or(SystemTime::UNIX_EPOCH)
    };
    stores.retain(|path| path.join("use.lock").exists());
    stores.sort_by_key(used);
    let sizes: Vec<u64> = stores.iter().map(|path| size_of(path)).collect();
    let mut total: u64 = sizes.iter().sum();
    for (path, size) in stores.iter().zip(sizes) {
        let Ok(Some(_alone)) = skeleton::lock(&path.join("use.lock"), Wish::TryExclusive) else { continue };
        if total > most_bytes {
            if let Err(error) = fs::remove_dir_all(path) {
                tracing::warn!("cannot remove {}: {error}", path.display());
            }
            total = total.saturating_sub(size);
        } else {
            forget_old(&path.join("objects.git/refs/wavegate/keep"));
        }
    }
}

/// Lets go of commits that were kept long ago; their objects go when the store does.
fn forget_old(folder: &Path) {
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let age = entry.metadata().and_then(|meta| meta.modified()).map(|time| time.elapsed());
        if matches!(age, Ok(Ok(age)) if age > KEPT_FOR) {
            let _ = fs::remove_file(entry.path());
        }
    }
}

fn size_of(folder: &Path) -> u64 {
    let (mut folders, mut total) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(meta) if meta.is_dir() => folders.push(entry.path()),
                Ok(meta) => total += meta.len(),
                Err(_) => {}
            }
        }
    }
    total
}

/// What an artifact of a state says.
pub async fn read_state(digest: Digest, blobs: &dyn BlobStore) -> Result<State, GitError> {
    blobs.fetch(&[digest]).await?;
    let bytes = blobs
        .cache()
        .read(digest)
        .map_err(|source| BlobError::File { path: blobs.cache().path(digest), source })?;
    Ok(State::decode(&bytes)?)
}
