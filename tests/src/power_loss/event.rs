//! What a call did: to a file below a root, to a folder, or to a socket. Owns strace's notation of arguments.

use std::{
    collections::BTreeMap,
    fmt,
    path::{Path, PathBuf},
};

use super::trace::{Call, Trace};

/// One deed of the traced process, between two lines of its trace.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub begin: usize,
    pub end: usize,
    /// Seconds since 1970.
    pub time: f64,
    pub deed: Deed,
}

/// What was done. Paths are relative to the root.
#[derive(Debug, Clone, PartialEq)]
pub enum Deed {
    /// A file is there from now on, if it was not.
    Create(PathBuf),
    MakeFolder(PathBuf),
    Write {
        path: PathBuf,
        place: Place,
        bytes: Vec<u8>,
    },
    Truncate {
        path: PathBuf,
        length: u64,
    },
    /// An fsync or fdatasync of a file or a folder returned: whether it succeeded.
    Sync {
        path: PathBuf,
        is_done: bool,
    },
    Rename {
        from: PathBuf,
        to: PathBuf,
    },
    /// The file has another name as well.
    Link {
        from: PathBuf,
        to: PathBuf,
    },
    Remove(PathBuf),
    /// Bytes given to a socket.
    Said {
        socket: String,
        bytes: Vec<u8>,
    },
}

/// Where a write begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    At(u64),
    /// At the file's end.
    End,
}

impl fmt::Display for Event {
    fn fmt(&self, to: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(to, "{}..{} ", self.begin, self.end)?;
        match &self.deed {
            Deed::Create(path) => write!(to, "create {}", path.display()),
            Deed::MakeFolder(path) => write!(to, "make {}", path.display()),
            Deed::Write { path, place, bytes } => {
                write!(to, "write {} bytes to {} {place:?}", bytes.len(), path.display())
            }
            Deed::Truncate { path, length } => write!(to, "truncate {} to {length}", path.display()),
            Deed::Sync { path, is_done } => {
                write!(to, "sync {}{}", path.display(), if *is_done { "" } else { ": failed" })
            }
            Deed::Rename { from, to: new } => write!(to, "rename {} to {}", from.display(), new.display()),
            Deed::Link { from, to: new } => write!(to, "link {} as {}", from.display(), new.display()),
            Deed::Remove(path) => write!(to, "remove {}", path.display()),
            Deed::Said { socket, bytes } => write!(to, "say {} bytes to {socket}", bytes.len()),
        }
    }
}

impl Event {
    /// What happened about a line of the trace, for a test that fails.
    #[must_use]
    pub fn about(events: &[Self], line: usize) -> String {
        let near = events.iter().filter(|event| event.end + 40 > line && event.begin < line + 10);
        near.map(|event| format!("  {event}\n")).collect()
    }

    /// Whether it is about files, not about a peer.
    #[must_use]
    pub fn is_of_files(&self) -> bool {
        !matches!(self.deed, Deed::Said { .. })
    }

    /// The deeds below `root` and those to sockets, in the order in which they began.
    ///
    /// # Panics
    /// On a call that this reader does not know how to account for.
    #[must_use]
    pub fn all(trace: &Trace, root: &Path) -> Vec<Self> {
        let mut reader = Reader { root, places: BTreeMap::new() };
        let mut events = Vec::new();
        for call in &trace.calls {
            let deeds = reader.deeds(call);
            events.extend(deeds.into_iter().map(|deed| Self {
                begin: call.begin,
                end: call.end,
                time: call.time,
                deed,
            }));
        }
        events
    }
}

struct Reader<'a> {
    root: &'a Path,
    /// Where the next write of a descriptor goes, by descriptor and the path that it was opened by.
    places: BTreeMap<String, Place>,
}

impl Reader<'_> {
    fn deeds(&mut self, call: &Call) -> Vec<Deed> {
        let name = call.name.as_str();
        if name == "fsync" || name == "fdatasync" {
            let is_done = call.returned() == 0;
            return self
                .of_descriptor(&call.arguments)
                .map(|path| Deed::Sync { path, is_done })
                .into_iter()
                .collect();
        }
        if call.returned() < 0 {
            return Vec::new();
        }
        match name {
            "open" | "openat" | "creat" => self.opened(call),
            "write" | "writev" | "pwrite64" | "pwritev" | "pwritev2" => {
                self.wrote(call).into_iter().collect()
            }
            "sendto" | "sendmsg" => said(call).into_iter().collect(),
            "lseek" => {
                self.seeked(call);
                Vec::new()
            }
            "ftruncate" => {
                let length = number_after_comma(&call.arguments);
                self.of_descriptor(&call.arguments)
                    .map(|path| Deed::Truncate { path, length })
                    .into_iter()
                    .collect()
            }
            "mkdir" | "mkdirat" => self.paths(call).into_iter().flatten().map(Deed::MakeFolder).collect(),
            "unlink" | "unlinkat" | "rmdir" => {
                self.paths(call).into_iter().flatten().map(Deed::Remove).collect()
            }
            "rename" | "renameat" | "renameat2" => match self.paths(call).as_slice() {
                [Some(from), Some(to)] => vec![Deed::Rename { from: from.clone(), to: to.clone() }],
                [None, None] => Vec::new(),
                other => panic!("a rename across the root: {other:?} in {call:?}"),
            },
            "link" | "linkat" => match self.paths(call).as_slice() {
                [Some(from), Some(to)] => vec![Deed::Link { from: from.clone(), to: to.clone() }],
                [None, None] => Vec::new(),
                other => panic!("a link across the root: {other:?} in {call:?}"),
            },
            // On files of ours these would need an account of their own.
            _ => {
                let ours =
                    self.of_descriptor(&call.arguments).or(self.paths(call).into_iter().flatten().next());
                assert!(ours.is_none(), "no account of {call:?}");
                Vec::new()
            }
        }
    }

    fn opened(&mut self, call: &Call) -> Vec<Deed> {
        let place = if call.arguments.contains("O_APPEND") { Place::End } else { Place::At(0) };
        self.places.insert(key_of(&call.result), place);
        let Some(path) = self.of_descriptor(&call.result) else { return Vec::new() };
        let mut deeds = Vec::new();
        if call.arguments.contains("O_CREAT") || call.name == "creat" {
            deeds.push(Deed::Create(path.clone()));
        }
        if call.arguments.contains("O_TRUNC") || call.name == "creat" {
            deeds.push(Deed::Truncate { path, length: 0 });
        }
        deeds
    }

    fn wrote(&mut self, call: &Call) -> Option<Deed> {
        let mut bytes: Vec<u8> = texts(&call.arguments).concat();
        bytes.truncate(usize::try_from(call.returned()).unwrap_or(0));
        if let Some(socket) = socket_of(&call.arguments) {
            return Some(Deed::Said { socket, bytes });
        }
        let path = self.of_descriptor(&call.arguments)?;
        let place = if call.name.starts_with('p') {
            Place::At(last_number(&call.arguments, call.name == "pwritev2"))
        } else {
            // One that came by `dup` or has another name now: shells write their files so, and from the start.
            let place = self.places.entry(key_of(&call.arguments)).or_insert(Place::End);
            let now = *place;
            if let Place::At(at) = place {
                *at += bytes.len() as u64;
            }
            now
        };
        Some(Deed::Write { path, place, bytes })
    }

    fn seeked(&mut self, call: &Call) {
        if let Some(place @ Place::At(_)) = self.places.get_mut(&key_of(&call.arguments)) {
            *place = Place::At(u64::try_from(call.returned()).unwrap_or(0));
        }
    }

    /// The path of the descriptor that the text begins with, if it lies below the root and is still there.
    fn of_descriptor(&self, text: &str) -> Option<PathBuf> {
        let (_, rest) = text.split_once('<')?;
        let (path, rest) = rest.split_once('>')?;
        if rest.starts_with("(deleted)") {
            return None;
        }
        self.below_root(&unhex_path(path))
    }

    /// The paths among the arguments: each text, after the folder of a descriptor where one is before it.
    fn paths(&self, call: &Call) -> Vec<Option<PathBuf>> {
        let mut paths = Vec::new();
        let mut folder = PathBuf::new();
        for part in call.arguments.split(", ") {
            if let Some(text) = part.strip_prefix('"') {
                let path = folder.join(unhex_path(text.trim_end_matches('"')));
                assert!(path.is_absolute(), "a path without its folder: {call:?}");
                paths.push(self.below_root(&path));
            } else if let Some((_, path)) = part.split_once('<') {
                folder = unhex_path(path.trim_end_matches('>'));
            }
        }
        paths
    }

    fn below_root(&self, path: &Path) -> Option<PathBuf> {
        path.strip_prefix(self.root).ok().map(Path::to_owned)
    }
}

fn said(call: &Call) -> Option<Deed> {
    let socket = socket_of(&call.arguments)?;
    let mut bytes: Vec<u8> = texts(&call.arguments).concat();
    bytes.truncate(usize::try_from(call.returned()).unwrap_or(0));
    Some(Deed::Said { socket, bytes })
}

/// `socket:[17]`, if the descriptor that the text begins with is one.
fn socket_of(text: &str) -> Option<String> {
    let (_, rest) = text.split_once('<')?;
    let (path, _) = rest.split_once('>')?;
    let path = unhex_path(path);
    path.to_str().filter(|path| path.starts_with("socket:")).map(str::to_owned)
}

/// `7<path>`, of the descriptor that the text begins with.
fn key_of(text: &str) -> String {
    text.split_once('>').map_or(text, |(key, _)| key).to_owned()
}

/// The quoted texts, decoded.
fn texts(arguments: &str) -> Vec<Vec<u8>> {
    arguments.split('"').skip(1).step_by(2).map(unhex).collect()
}

fn unhex_path(text: &str) -> PathBuf {
    String::from_utf8_lossy(&unhex(text)).into_owned().into()
}

/// `\x2f\x74` as bytes.
fn unhex(text: &str) -> Vec<u8> {
    let bytes = text.split("\\x").skip(1).map(|pair| u8::from_str_radix(pair.get(..2).unwrap_or(""), 16));
    bytes.collect::<Result<_, _>>().unwrap_or_else(|error| panic!("no hex text: {text}: {error}"))
}

fn number_after_comma(arguments: &str) -> u64 {
    arguments.rsplit_once(", ").and_then(|(_, number)| number.parse().ok()).unwrap_or_else(|| {
        panic!("no number at the end of {arguments}");
    })
}

/// The offset: the last argument, or the one before the flags.
fn last_number(arguments: &str, has_flags: bool) -> u64 {
    let arguments =
        if has_flags { arguments.rsplit_once(", ").map_or(arguments, |(rest, _)| rest) } else { arguments };
    number_after_comma(arguments)
}
