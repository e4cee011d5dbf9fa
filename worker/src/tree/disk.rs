//! Trees on disk: reading a directory into a tree, writing a tree as a directory, and finding what a
//! task changed since.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::{self, File, Metadata},
    io,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink},
    path::{Path, PathBuf},
};

use super::{Changes, Node, Tree, wire::parents};
use crate::{
    blobs::{Blob, BlobCache},
    digest::Digest,
};

/// How long after a write the clock of a file system may still show the same time: files written
/// within this of the snapshot are read again, however they look.
const YOUNG_NS: i64 = 100_000_000;

/// Why a directory cannot be read or written as a tree.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: io::Error },
    #[error("{0}: not a file, a directory or a symbolic link; trees hold nothing else")]
    Special(PathBuf),
    #[error("{0}: the name is not UTF-8, which trees need")]
    NotUtf8(PathBuf),
    #[error("{0}: a symbolic link where a directory is needed; nothing is written through links")]
    ThroughLink(PathBuf),
    /// It is out of the cache now: fetching it again mends this.
    #[error("the cached artifact {0} is missing or damaged")]
    Blob(Digest),
}

/// A tree as it was written to disk, with what tells an untouched file.
#[derive(Debug, Default)]
pub struct Snapshot {
    pub tree: Tree,
    stamps: BTreeMap<String, Stamp>,
    /// When it was complete, by the file system's clock.
    complete_ns: i64,
}

#[derive(Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    mtime_ns: i64,
    ctime_ns: i64,
    mode: u32,
}

impl Stamp {
    fn of(meta: &Metadata) -> Self {
        let ns = |seconds: i64, nanos: i64| seconds.saturating_mul(1_000_000_000).saturating_add(nanos);
        Self {
            inode: meta.ino(),
            size: meta.len(),
            mtime_ns: ns(meta.mtime(), meta.mtime_nsec()),
            ctime_ns: ns(meta.ctime(), meta.ctime_nsec()),
            mode: meta.mode(),
        }
    }
}

/// Reads a directory, but for a `.git` at its top. The blobs name the files where they are.
pub fn snapshot(root: &Path) -> Result<(Tree, Vec<Blob>), DiskError> {
    let mut tree = Tree::default();
    let mut blobs = Vec::new();
    walk(root, &mut |path, full, meta| {
        let node = read_node(full, meta)?;
        if let Node::File { digest, size, .. } = node {
            blobs.push(Blob::File { digest, path: full.to_owned(), size });
        }
        tree.entries.insert(path, node);
        Ok(())
    })?;
    Ok((tree, blobs))
}

/// Writes the tree into an empty directory, from the cache. Copies: a task may write to its files.
pub fn materialise(tree: Tree, root: &Path, cache: &BlobCache) -> Result<Snapshot, DiskError> {
    write_over(&tree, root, cache)?;
    let mut stamps = BTreeMap::new();
    let mut complete_ns = 0;
    for path in tree.entries.keys() {
        let full = root.join(path);
        let meta = fs::symlink_metadata(&full).map_err(|source| DiskError::Io { path: full, source })?;
        let stamp = Stamp::of(&meta);
        complete_ns = complete_ns.max(stamp.ctime_ns);
        stamps.insert(path.clone(), stamp);
    }
    Ok(Snapshot { tree, stamps, complete_ns })
}

/// Writes the tree's files into a directory, replacing files of the same path and keeping others.
pub fn write_over(tree: &Tree, root: &Path, cache: &BlobCache) -> Result<(), DiskError> {
    let mut folders = BTreeSet::new();
    for (path, node) in &tree.entries {
        for folder in parents(path) {
            if folders.insert(folder) {
                make_folder(&root.join(folder))?;
            }
        }
        write_node(node, &root.join(path), cache)?;
    }
    Ok(())
}

fn make_folder(folder: &Path) -> Result<(), DiskError> {
    match fs::symlink_metadata(folder) {
        Ok(meta) if meta.is_symlink() => Err(DiskError::ThroughLink(folder.to_owned())),
        Ok(meta) if meta.is_dir() => Ok(()),
        Ok(_) | Err(_) => {
            fs::create_dir(folder).map_err(|source| DiskError::Io { path: folder.to_owned(), source })
        }
    }
}

fn write_node(node: &Node, full: &Path, cache: &BlobCache) -> Result<(), DiskError> {
    let io = |source| DiskError::Io { path: full.to_owned(), source };
    if fs::symlink_metadata(full).is_ok() {
        fs::remove_file(full).map_err(io)?;
    }
    match node {
        Node::Symlink { target } => symlink(target, full).map_err(io),
        Node::File { digest, size, executable } => {
            // Shares the bytes where the file system can.
            let copied = fs::copy(cache.path(*digest), full);
            if copied.as_ref().is_ok_and(|copied| copied != size) || !cache.path(*digest).exists() {
                cache.discard(*digest).map_err(io)?;
                return Err(DiskError::Blob(*digest));
            }
            copied.map_err(io)?;
            let mode = if *executable { 0o755 } else { 0o644 };
            fs::set_permissions(full, fs::Permissions::from_mode(mode)).map_err(io)
        }
    }
}

/// What was changed in the directory since the snapshot, and the blobs of what is new.
pub fn diff(before: &Snapshot, root: &Path) -> Result<(Changes, Vec<Blob>), DiskError> {
    let mut now = Tree::default();
    let mut fresh = BTreeMap::new();
    walk(root, &mut |path, full, meta| {
        let node = match before.untouched(&path, meta) {
            Some(node) => node,
            None => read_node(full, meta)?,
        };
        if let Node::File { digest, size, .. } = node {
            fresh.insert(path.clone(), Blob::File { digest, path: full.to_owned(), size });
        }
        now.entries.insert(path, node);
        Ok(())
    })?;
    let changes = before.tree.changes_to(&now);
    let blobs = changes.paths.keys().filter_map(|path| fresh.remove(path)).collect();
    Ok((changes, blobs))
}

impl Snapshot {
    /// What the path holds, if it certainly was not written to.
    fn untouched(&self, path: &str, meta: &Metadata) -> Option<Node> {
        let stamp = self.stamps.get(path)?;
        let is_young = stamp.ctime_ns >= self.complete_ns - YOUNG_NS;
        if is_young || *stamp != Stamp::of(meta) {
            return None;
        }
        self.tree.entries.get(path).cloned()
    }
}

fn read_node(full: &Path, meta: &Metadata) -> Result<Node, DiskError> {
    let io = |source| DiskError::Io { path: full.to_owned(), source };
    if meta.is_symlink() {
        let target = fs::read_link(full).map_err(io)?;
        let target = target.into_os_string().into_string();
        return Ok(Node::Symlink { target: target.map_err(|_| DiskError::NotUtf8(full.to_owned()))? });
    }
    let (digest, size) = File::open(full).and_then(|mut file| Digest::of_reader(&mut file)).map_err(io)?;
    Ok(Node::File { digest, size, executable: meta.mode() & 0o100 != 0 })
}

type Visit<'a> = dyn FnMut(String, &Path, &Metadata) -> Result<(), DiskError> + 'a;

/// Visits every file and symbolic link below the root, but for a `.git` at its top.
fn walk(root: &Path, visit: &mut Visit<'_>) -> Result<(), DiskError> {
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        let full = root.join(&folder);
        let io = |source| DiskError::Io { path: full.clone(), source };
        for entry in fs::read_dir(&full).map_err(io)? {
            let entry = entry.map_err(io)?;
            let name = entry.file_name().into_string().map_err(|_| DiskError::NotUtf8(entry.path()))?;
            if folder.is_empty() && name == ".git" {
                continue;
            }
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let meta = entry.metadata().map_err(|source| DiskError::Io { path: entry.path(), source })?;
            if meta.is_dir() {
                folders.push(path);
            } else if meta.is_file() || meta.is_symlink() {
                visit(path, &entry.path(), &meta)?;
            } else {
                return Err(DiskError::Special(entry.path()));
            }
        }
    }
    Ok(())
}
