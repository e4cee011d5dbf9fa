//! A disk that forgets what was not synced: what is on it for sure, what may be, and a folder rebuilt from that.

use std::{
    collections::BTreeMap,
    fs, io,
    path::{Component, Path},
};

use super::event::{Deed, Event, Place};

/// What a disk writes whole or not at all.
const SECTOR: u64 = 512;

/// What becomes of all that is uncertain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// None of it reached the disk.
    Nothing,
    /// All of it did.
    Everything,
    /// Some of it, as the seed says.
    Seed(u64),
}

/// A file system as its disk has it.
#[derive(Debug, Clone)]
pub struct Disk {
    /// The root first.
    nodes: Vec<Node>,
}

#[derive(Debug, Clone)]
enum Node {
    File(File),
    Folder(Folder),
}

#[derive(Debug, Clone, Default)]
struct File {
    sure: Vec<u8>,
    /// As programs see it.
    length: u64,
    pending: Vec<Pending<Change>>,
}

#[derive(Debug, Clone, Default)]
struct Folder {
    sure: BTreeMap<String, usize>,
    /// As programs see it.
    seen: BTreeMap<String, usize>,
    pending: Vec<Pending<Naming>>,
}

/// What may be on the disk.
#[derive(Debug, Clone)]
struct Pending<T> {
    what: T,
    /// When it was done: a sync that began later covers it.
    end: usize,
    /// A sync of it failed: no later one covers it.
    is_forsaken: bool,
}

#[derive(Debug, Clone)]
enum Change {
    /// Within one sector.
    Piece {
        at: u64,
        bytes: Vec<u8>,
    },
    Length(u64),
}

/// Names of one folder that come and go together, and with those of another folder that one call changed.
#[derive(Debug, Clone)]
struct Naming {
    names: Vec<(String, Option<usize>)>,
    call: usize,
}

impl Default for Disk {
    fn default() -> Self {
        Self { nodes: vec![Node::Folder(Folder::default())] }
    }
}

impl Disk {
    /// The disk at each of the cuts (lines of the trace, ascending): handed to `look` one after the other.
    pub fn at_each(events: &[Event], cuts: &[usize], mut look: impl FnMut(usize, &Self)) {
        // A sync counts when it has returned, everything else may count once it has begun.
        let mut steps: Vec<(usize, &Event)> = events
            .iter()
            .filter(|event| event.is_of_files())
            .map(|event| {
                (if matches!(event.deed, Deed::Sync { .. }) { event.end } else { event.begin }, event)
            })
            .collect();
        steps.sort_by_key(|(at, _)| *at);
        let mut steps = steps.into_iter().peekable();
        let mut disk = Self::default();
        for cut in cuts {
            while let Some((_, event)) = steps.next_if(|(at, _)| at < cut) {
                disk.apply(event);
            }
            look(*cut, &disk);
        }
    }

    /// Lets one deed happen.
    ///
    /// # Panics
    /// When it is about a file that is not there: its creation was not seen.
    pub fn apply(&mut self, event: &Event) {
        let end = event.end;
        match &event.deed {
            // SQLite's memory map, rebuilt from the log.
            Deed::Create(path)
            | Deed::Truncate { path, .. }
            | Deed::Write { path, .. }
            | Deed::Remove(path)
                if path.to_string_lossy().ends_with("-shm") => {}
            Deed::Create(path) => self.make(path, Node::File(File::default()), event),
            Deed::MakeFolder(path) => self.make(path, Node::Folder(Folder::default()), event),
            Deed::Write { path, place, bytes } => {
                let file = self.file(path);
                let at = match place {
                    Place::At(at) => *at,
                    Place::End => file.length,
                };
                file.write(at, bytes, end);
            }
            Deed::Truncate { path, length } => {
                let file = self.file(path);
                file.length = *length;
                file.pending.push(Pending { what: Change::Length(*length), end, is_forsaken: false });
            }
            Deed::Sync { path, is_done } => {
                let node = self.find(path);
                match &mut self.nodes[node] {
                    Node::File(file) => file.sync(event.begin, *is_done),
                    Node::Folder(folder) => folder.sync(event.begin, *is_done),
                }
            }
            Deed::Rename { from, to } => self.rename(from, to, event),
            Deed::Remove(path) => {
                let (folder, name) = self.folder_of(path);
                self.folder(folder).name(vec![(name, None)], event);
            }
            Deed::Link { from, to } => {
                let node = self.find(from);
                let (folder, name) = self.folder_of(to);
                self.folder(folder).name(vec![(name, Some(node))], event);
            }
            Deed::Said { .. } => {}
        }
    }

    /// Writes what is left to an empty folder.
    pub fn rebuild(&self, fate: Fate, target: &Path) -> io::Result<()> {
        self.rebuild_node(0, fate, target)
    }

    fn rebuild_node(&self, node: usize, fate: Fate, target: &Path) -> io::Result<()> {
        let lot = Lot { fate, node: node as u64 };
        match &self.nodes[node] {
            Node::File(file) => fs::write(target, file.after(&lot)),
            Node::Folder(folder) => {
                fs::create_dir_all(target)?;
                folder
                    .after(&lot)
                    .iter()
                    .try_for_each(|(name, node)| self.rebuild_node(*node, fate, &target.join(name)))
            }
        }
    }

    fn make(&mut self, path: &Path, node: Node, event: &Event) {
        let (folder, name) = self.folder_of(path);
        if self.folder(folder).seen.contains_key(&name) {
            return;
        }
        self.nodes.push(node);
        let made = self.nodes.len() - 1;
        self.folder(folder).name(vec![(name, Some(made))], event);
    }

    fn rename(&mut self, from: &Path, to: &Path, event: &Event) {
        let node = self.find(from);
        let ((old_folder, old), (new_folder, new)) = (self.folder_of(from), self.folder_of(to));
        if old_folder == new_folder {
            return self.folder(old_folder).name(vec![(new, Some(node)), (old, None)], event);
        }
        self.folder(new_folder).name(vec![(new, Some(node))], event);
        self.folder(old_folder).name(vec![(old, None)], event);
    }

    fn find(&self, path: &Path) -> usize {
        path.components().filter(|part| *part != Component::CurDir).fold(0, |node, part| {
            let name = part.as_os_str().to_string_lossy();
            let found = match &self.nodes[node] {
                Node::Folder(folder) => folder.seen.get(name.as_ref()).copied(),
                Node::File(_) => None,
            };
            found.unwrap_or_else(|| panic!("{} is not there: its creation was not seen", path.display()))
        })
    }

    fn folder_of(&self, path: &Path) -> (usize, String) {
        let folder = self.find(path.parent().unwrap_or(Path::new("")));
        (folder, path.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }

    fn file(&mut self, path: &Path) -> &mut File {
        let node = self.find(path);
        match &mut self.nodes[node] {
            Node::File(file) => file,
            Node::Folder(_) => panic!("{} is a folder", path.display()),
        }
    }

    fn folder(&mut self, node: usize) -> &mut Folder {
        match &mut self.nodes[node] {
            Node::Folder(folder) => folder,
            Node::File(_) => panic!("a file where a folder is expected"),
        }
    }
}

impl File {
    fn write(&mut self, at: u64, bytes: &[u8], end: usize) {
        self.length = self.length.max(at + bytes.len() as u64);
        let (mut at, mut rest) = (at, bytes);
        while !rest.is_empty() {
            let room = usize::try_from(SECTOR - at % SECTOR).unwrap_or(rest.len()).min(rest.len());
            let (piece, after) = rest.split_at(room);
            let what = Change::Piece { at, bytes: piece.to_vec() };
            self.pending.push(Pending { what, end, is_forsaken: false });
            (at, rest) = (at + room as u64, after);
        }
    }

    /// What was done before `begin` is sure now, or forsaken.
    fn sync(&mut self, begin: usize, is_done: bool) {
        let mut left: Vec<Pending<Change>> = Vec::new();
        for mut pending in std::mem::take(&mut self.pending) {
            let is_covered = pending.end < begin && !pending.is_forsaken;
            if is_covered && is_done {
                pending.what.apply(&mut self.sure);
                left = left.into_iter().flat_map(|older| older.without(&pending.what)).collect();
            } else {
                pending.is_forsaken |= is_covered;
                left.push(pending);
            }
        }
        self.pending = left;
    }

    fn after(&self, lot: &Lot) -> Vec<u8> {
        let mut bytes = self.sure.clone();
        for (at, pending) in self.pending.iter().enumerate() {
            if lot.falls(at, self.pending.len()) {
                pending.what.apply(&mut bytes);
            }
        }
        bytes
    }
}

impl Folder {
    fn name(&mut self, names: Vec<(String, Option<usize>)>, event: &Event) {
        let naming = Naming { names, call: event.begin };
        naming.apply(&mut self.seen);
        self.pending.push(Pending { what: naming, end: event.end, is_forsaken: false });
    }

    fn sync(&mut self, begin: usize, is_done: bool) {
        let mut left: Vec<Pending<Naming>> = Vec::new();
        for mut pending in std::mem::take(&mut self.pending) {
            let is_covered = pending.end < begin && !pending.is_forsaken;
            if is_covered && is_done {
                pending.what.apply(&mut self.sure);
                for older in &mut left {
                    older
                        .what
                        .names
                        .retain(|(name, _)| pending.what.names.iter().all(|(newer, _)| newer != name));
                }
            } else {
                pending.is_forsaken |= is_covered;
                left.push(pending);
            }
        }
        self.pending = left;
    }

    fn after(&self, lot: &Lot) -> BTreeMap<String, usize> {
        let mut names = self.sure.clone();
        for pending in &self.pending {
            if lot.names(pending.what.call) {
                pending.what.apply(&mut names);
            }
        }
        names
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Self::Piece { at, bytes: piece } => {
                let at = usize::try_from(*at).unwrap_or(usize::MAX);
                if bytes.len() < at + piece.len() {
                    bytes.resize(at + piece.len(), 0);
                }
                bytes[at..at + piece.len()].copy_from_slice(piece);
            }
            Self::Length(length) => bytes.resize(usize::try_from(*length).unwrap_or(usize::MAX), 0),
        }
    }
}

impl Naming {
    fn apply(&self, names: &mut BTreeMap<String, usize>) {
        for (name, node) in &self.names {
            match node {
                Some(node) => names.insert(name.clone(), *node),
                None => names.remove(name),
            };
        }
    }
}

impl Pending<Change> {
    /// What can still come of it once something newer is sure.
    fn without(self, newer: &Change) -> Vec<Self> {
        let Change::Piece { at, bytes } = &self.what else {
            return if matches!(newer, Change::Length(_)) { Vec::new() } else { vec![self] };
        };
        let (from, to) = match newer {
            Change::Piece { at, bytes } => (*at, *at + bytes.len() as u64),
            Change::Length(length) => (*length, u64::MAX),
        };
        let end = at + bytes.len() as u64;
        let part = |from: u64, to: u64| {
            let (low, high) = (from.max(*at), to.min(end));
            let range = usize::try_from(low - at).ok()?..usize::try_from(high.checked_sub(*at)?).ok()?;
            let bytes = bytes.get(range)?.to_vec();
            let what = Change::Piece { at: low, bytes };
            (low < high).then_some(Self { what, end: self.end, is_forsaken: self.is_forsaken })
        };
        [part(0, from), part(to, u64::MAX)].into_iter().flatten().collect()
    }
}

/// What a fate has in store for one file or folder.
struct Lot {
    fate: Fate,
    node: u64,
}

impl Lot {
    /// Whether the names that the call changed are as it made them.
    fn names(&self, call: usize) -> bool {
        match self.fate {
            Fate::Nothing => false,
            Fate::Everything => true,
            Fate::Seed(seed) => mix(mix(seed) ^ call as u64).is_multiple_of(2),
        }
    }

    /// Whether number `at` of `all` uncertain things is there.
    fn falls(&self, at: usize, all: usize) -> bool {
        let seed = match self.fate {
            Fate::Nothing => return false,
            Fate::Everything => return true,
            Fate::Seed(seed) => mix(mix(seed) ^ self.node),
        };
        let per_mille = match seed % 4 {
            // The disk kept the order and was cut somewhere.
            0 => return (at as u64) < mix(seed) % (all as u64 + 1),
            1 => 100,
            2 => 500,
            _ => 900,
        };
        mix(seed ^ mix(at as u64)) % 1000 < per_mille
    }
}

/// splitmix64.
fn mix(seed: u64) -> u64 {
    let mut bits = seed.wrapping_add(0x9E37_79B9_7F4A_7C15);
    bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    bits ^ (bits >> 31)
}
