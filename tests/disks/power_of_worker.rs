//! The power of a worker's host goes: a real run is traced, its state directory is rebuilt at many moments in many ways,
//! and the real worker is started on it. A result that was told is in its spool until the coordinator has
//! answered, a refused one for longer, and the worker is who it was.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use prost::Message as _;
use wavegate_proto::v1::{WorkerMessage, worker_message::Message};
use wavegate_tests::{
    Home, Process, Proxy,
    power_loss::{Deed, Disk, Event, Fate, Spoken, Trace, spoken, traced},
    wait_until_within,
};
use wavegate_worker::digest::Digest;

use crate::{begin, free_address, home_in_memory, need_strace, wait_for};

/// Real workers are started on so many of the rebuilt disks.
const STARTS: usize = 16;

/// The worker's state directory, which it makes itself, in a folder that was there.
const HOST: &str = "host";
const STATE: &str = "one";

/// What one traced life of a worker left.
struct Life {
    home: Home,
    coordinator: Process,
    events: Vec<Event>,
    /// From which line on its results were told, by lease, and until when they had to be kept.
    owed: BTreeMap<String, (usize, usize)>,
    /// The files that each result was kept with, and until when.
    files: BTreeMap<String, (BTreeSet<String>, usize)>,
    /// From which line on its identity was known to others.
    known: (usize, String),
}

impl Life {
    /// Some tasks whose results are accepted, and one whose result comes too late and is refused.
    fn of_a_worker() -> Self {
        let (home, address) = (home_in_memory(), free_address());
        let coordinator = home.serve(&address).unwrap();
        let proxy = Proxy::start(&address).unwrap();
        let (url, log) = (proxy.url(), home.path("trace"));
        fs::create_dir(home.path(HOST)).unwrap();
        let state = home.path(HOST).join(STATE);
        let args = ["--slots", "3", "--role", "executor", "--coordinator", &url];
        let command = home.worker_command_in(&state, "one", &args);
        let thor = home.worker("thor", &["--role", "thor"]).unwrap();
        let mut worker = home.worker_by("one", &mut traced(&command, &log)).unwrap();
        worker.wait_for_output("connected");
        thor.wait_for_output("connected");
        begin(
            &home,
            "early",
            plan(&home, "early", 5, "echo it > made-by-$WAVEGATE_TASK").to_str().unwrap(),
            "standard",
        );
        home.wait_for_status("early", "done");
        // Its first agent does not end before the silence, and the second need not wait.
        let hold = home.hold().unwrap();
        let run = format!("while [ -e {} ]; do sleep 0.1; done", hold.display());
        begin(&home, "late", plan(&home, "late", 1, &run).to_str().unwrap(), "standard");
        wait_for(&home, "the agent of the late task", || worker.output().contains("of late, attempt 1"));
        proxy.set_silent(true);
        home.let_go().unwrap();
        wait_for(&home, "the lease to be lost", || {
            home.count("SELECT count(*) FROM wg_leases WHERE state = 'lost'").unwrap() == 1
        });
        let _near = home.worker("near", &["--slots", "1", "--role", "executor"]).unwrap();
        home.wait_for_status("late", "done");
        // What was connected in the silence stays silent.
        proxy.set_cut(true);
        proxy.set_silent(false);
        proxy.set_cut(false);
        worker.wait_for_output("refused: lease");
        worker.kill();
        Self::read(home, coordinator, &Trace::read(&log, worker.id()))
    }

    fn read(home: Home, coordinator: Process, trace: &Trace) -> Self {
        let mut events = Event::all(trace, &home.path(HOST));
        let messages = spoken(&events);
        events.retain(|event| is_of_state(&event.deed));
        let told = messages.iter().filter_map(|spoken| Some((spoken.begin + 1, lease_of(spoken)?)));
        let removed: BTreeMap<_, _> =
            events.iter().filter_map(|event| Some((removal_of(event)?, event.begin))).collect();
        let mut owed = BTreeMap::new();
        for (from, lease) in told {
            let until = removed.get(&lease).copied().unwrap_or(usize::MAX);
            owed.entry(lease).or_insert((from, until));
        }
        let files = files_of_results(&events);
        assert!(files.len() >= 5, "results with files: {files:?}");
        let known = messages.iter().find_map(|spoken| Some((spoken.begin + 1, worker_of(spoken)?))).unwrap();
        assert!(owed.len() >= 7, "{owed:?}");
        assert!(owed.values().any(|(_, until)| *until == usize::MAX), "none was refused: {owed:?}");
        Self { home, coordinator, events, owed, files, known }
    }

    /// The leases whose answers must be on the disk at the cut.
    fn owed_at(&self, cut: usize) -> Vec<&str> {
        let owed = self.owed.iter().filter(|(_, (from, until))| *from <= cut && cut <= *until);
        owed.map(|(lease, _)| lease.as_str()).collect()
    }

    fn cuts(&self) -> Vec<usize> {
        let mut cuts: BTreeSet<usize> = self.owed.values().map(|(from, _)| *from).collect();
        cuts.insert(self.known.0);
        cuts.extend(self.events.iter().flat_map(|event| [event.begin, event.end + 1]));
        cuts.into_iter().collect()
    }

    /// Why the folder does not keep what was promised until the cut, if so.
    fn broken(&self, cut: usize, state: &Path) -> Option<String> {
        let id = fs::read_to_string(state.join("id")).unwrap_or_default();
        if self.known.0 <= cut && id.trim() != self.known.1 {
            return Some(format!("the identity is {id:?}"));
        }
        // An answer in the spool names nothing that is neither beside it nor with the coordinator.
        let spool = state.join("spool");
        for (lease, (names, until)) in &self.files {
            if cut > *until || !is_whole(&spool.join(format!("{lease}.report"))) {
                continue;
            }
            let folder = spool.join(format!("{lease}.files"));
            let is_there = |name: &&String| {
                let bytes = fs::read(folder.join(name)).unwrap_or_default();
                Digest::of_bytes(&bytes).to_string() == **name
            };
            if let Some(name) = names.iter().find(|name| !is_there(name)) {
                return Some(format!("the file {name} of lease {lease} is not there"));
            }
        }
        let lost = self.owed_at(cut).into_iter().find(|lease| {
            let name = format!("{lease}.report");
            !is_whole(&state.join("spool").join(&name)) && !is_whole(&state.join("spool/refused").join(&name))
        });
        lost.map(|lease| format!("the result of lease {lease} is not there"))
    }
}

/// Tasks of one cheap command each: every process of theirs is traced, too.
fn plan(home: &Home, name: &str, tasks: usize, run: &str) -> PathBuf {
    let line = |at| format!("      - {{ id: T{at}, run: \"{run}\", verify: [\"true\"], on_lost: retry }}\n");
    let lines: String = (1..=tasks).map(line).collect();
    let head = format!("name: {name}\nproject: {{ workspace: dir }}\nwaves:\n  - id: W1\n    tasks:\n");
    home.write(&format!("{name}.yaml"), &(head + &lines)).unwrap()
}

/// By lease, and until when nobody else had to have them.
fn files_of_results(events: &[Event]) -> BTreeMap<String, (BTreeSet<String>, usize)> {
    let mut files: BTreeMap<String, (BTreeSet<String>, usize)> = BTreeMap::new();
    for event in events {
        match &event.deed {
            Deed::Create(path) | Deed::Link { to: path, .. } => {
                let Some((lease, name)) = file_of_result(path) else { continue };
                files.entry(lease).or_insert((BTreeSet::new(), usize::MAX)).0.insert(name);
            }
            Deed::Remove(path) => {
                let Some((lease, _)) = file_of_result(path) else { continue };
                let until = &mut files.entry(lease).or_default().1;
                *until = event.begin.min(*until);
            }
            Deed::MakeFolder(_)
            | Deed::Write { .. }
            | Deed::Truncate { .. }
            | Deed::Sync { .. }
            | Deed::Rename { .. }
            | Deed::Said { .. } => {}
        }
    }
    files
}

/// `STATE/spool/LEASE.files/DIGEST`.
fn file_of_result(path: &Path) -> Option<(String, String)> {
    let rest = path.strip_prefix(format!("{STATE}/spool")).ok()?;
    let lease = rest.parent()?.to_str()?.strip_suffix(".files")?;
    Some((lease.to_owned(), rest.file_name()?.to_str()?.to_owned()))
}

/// Of its own files and of what agents make for it.
fn is_of_state(deed: &Deed) -> bool {
    let is_ours = |path: &Path| path == Path::new("") || path.starts_with(STATE);
    match deed {
        Deed::Create(path) | Deed::MakeFolder(path) | Deed::Remove(path) => is_ours(path),
        Deed::Write { path, .. } | Deed::Truncate { path, .. } | Deed::Sync { path, .. } => is_ours(path),
        Deed::Rename { from, .. } | Deed::Link { from, .. } => is_ours(from),
        Deed::Said { .. } => false,
    }
}

fn removal_of(event: &Event) -> Option<String> {
    let Deed::Remove(path) = &event.deed else { return None };
    let name = path.strip_prefix(format!("{STATE}/spool")).ok()?.to_str()?;
    name.strip_suffix(".report").map(str::to_owned)
}

fn message_of(spoken: &Spoken) -> Option<Message> {
    WorkerMessage::decode(spoken.message.as_slice()).ok()?.message
}

/// The lease that the message ends.
fn lease_of(spoken: &Spoken) -> Option<String> {
    let lease = match message_of(spoken)? {
        Message::Finished(finished) => finished.lease_id,
        Message::Released(released) => released.lease_id,
        Message::Hello(_)
        | Message::Heartbeat(_)
        | Message::Started(_)
        | Message::Progress(_)
        | Message::Draining(_) => {
            return None;
        }
    };
    (lease.len() == 32).then_some(lease)
}

fn worker_of(spoken: &Spoken) -> Option<String> {
    let Message::Hello(hello) = message_of(spoken)? else { return None };
    (hello.worker_id.len() == 36).then_some(hello.worker_id)
}

/// One line with a checksum, then what it is of.
fn is_whole(file: &Path) -> bool {
    let bytes = fs::read(file).unwrap_or_default();
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else { return false };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    head.ends_with(&Digest::of_bytes(&bytes[end + 1..]).to_string())
}

#[test]
#[ignore = "needs strace: cargo test -p wavegate-tests --test disks -- --ignored"]
fn power_loss_of_a_workers_host_loses_no_result_that_was_told_and_no_identity() {
    need_strace();
    let life = Life::of_a_worker();
    let cuts = life.cuts();
    let every = (cuts.len() * 3).div_ceil(STARTS);
    let (mut at, mut failures, mut kept) = (0, Vec::new(), Vec::new());
    Disk::at_each(&life.events, &cuts, |cut, disk| {
        for fate in [Fate::Nothing, Fate::Seed(2 * cut as u64), Fate::Seed(2 * cut as u64 + 1)] {
            let folder = tempfile::tempdir_in(life.home.path("")).unwrap();
            disk.rebuild(fate, folder.path()).unwrap();
            at += 1;
            if let Some(broken) = life.broken(cut, &folder.path().join(STATE)) {
                let near = if failures.is_empty() { Event::about(&life.events, cut) } else { String::new() };
                failures.push(format!("cut {cut}, {fate:?}: {broken}\n{near}"));
            } else if at % every == 0 {
                kept.push((cut, fate, folder));
            }
        }
    });
    assert!(failures.is_empty(), "{} of {at}:\n{}", failures.len(), failures.join("\n"));
    assert!(at >= 300 && kept.len() >= STARTS / 2, "{at} disks, a worker started on {}", kept.len());
    for (cut, fate, folder) in &kept {
        starts(&life, *cut, *fate, &folder.path().join(STATE));
    }
    drop(life.coordinator);
}

/// The real worker finds all of it, and the coordinator answers it: again, where it had before.
fn starts(life: &Life, cut: usize, fate: Fate, state: &Path) {
    let name = format!("cut-{cut}");
    let mut worker = life.home.worker_in(state, &name, &["--slots", "1"]).unwrap();
    let log = || fs::read_to_string(life.home.path(&format!("worker-{name}.log"))).unwrap_or_default();
    let has_answer = |lease: &&str| {
        let kept = state.join("spool/refused").join(format!("{lease}.report"));
        log().contains(&format!("accepted: lease {lease}")) || kept.exists()
    };
    wait_until_within(
        Duration::from_secs(60),
        &format!("cut {cut}, {fate:?}: every result to be answered"),
        log,
        || (log().contains("connected:") && life.owed_at(cut).iter().all(has_answer)).then_some(()),
    );
    assert!(!log().contains("a spooled result cannot be read"), "cut {cut}, {fate:?}: {}", log());
    worker.kill();
}
