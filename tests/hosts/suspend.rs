//! The suspend of a whole machine: coordinator, workers, supervisors and agents stand still together for longer
//! than a lease, and come back in every order. To the coordinator that is a gap in its own clock, and no loss: what
//! outlived its own fence is ended and done again, what has right left goes on, nothing runs twice.
//!
//! SIGSTOP moves every clock on; a real suspend moves CLOCK_BOOTTIME alone. That rights run by that one is shown in
//! a time namespace, where the two are far apart.

use std::{
    cell::RefCell,
    fs::File,
    io::Write as _,
    process::{Child, Command, Stdio},
};

use rustix::process::Signal;
use wavegate_tests::{BEATS_A_SECOND, Home, Process, descendants, living_with, signal_all, uptime};

use crate::{begin, events, free_address, home, wait_for, wait_for_agents};

/// The machine's parts wake one after the other.
#[derive(Debug, Clone, Copy)]
enum First {
    Agents,
    Coordinator,
    Worker,
}

/// Beyond lost_after (3 s) and what a worker allows itself of it (2 s).
const ASLEEP_S: f64 = 3.5;

/// Two tasks that a worker may leave alone for 3 s only, and one whose lease bears a minute.
fn plan(home: &Home) -> std::path::PathBuf {
    // For the witnesses' script.
    home.witness_plan("unused", 1, &[1]).unwrap();
    let script = home.path("witness.sh").display().to_string();
    let task = |id: &str, beats: u32, more: &str| {
        format!(
            "      - {{ id: {id}, run: \"sh {script} {beats}\", verify: [\"true\"], on_lost: retry{more} }}\n"
        )
    };
    let head = "name: suspended\nproject: { workspace: none }\nwaves:\n  - id: W1\n    tasks:\n".to_owned();
    // Long enough to be at work still when a busy machine is put to sleep.
    let beats = 3 * BEATS_A_SECOND;
    let lines =
        [task("T1-01", beats, ""), task("T1-02", beats, ""), task("T1-04", beats, ", lost_after: 60s")];
    home.write("suspended.yaml", &(head + &lines.concat())).unwrap()
}

/// Stops the machine, and lets it go on when it has slept for long enough.
fn suspend(home: &Home, coordinator: &Process, worker: Option<&Process>, first: First) {
    let tree = descendants(worker.unwrap_or(coordinator).id());
    let supervisors: Vec<_> =
        living_with(&["__supervise"]).into_iter().filter(|pid| tree.contains(pid)).collect();
    let programs = [coordinator.id(), worker.unwrap_or(coordinator).id()];
    let agents: Vec<_> =
        tree.iter().filter(|pid| !supervisors.contains(pid) && !programs.contains(pid)).copied().collect();
    assert!(supervisors.len() == 3 && agents.len() >= 6, "{supervisors:?} {agents:?}\n{}", home.dump());
    let groups: [&[u32]; 4] = match first {
        First::Agents => [&agents, &supervisors, &programs[1..], &programs[..1]],
        First::Coordinator => [&programs[..1], &programs[1..], &supervisors, &agents],
        First::Worker => [&programs[1..], &programs[..1], &agents, &supervisors],
    };
    for group in groups {
        signal_all(group, Signal::STOP);
    }
    let until = uptime() + ASLEEP_S;
    wait_for(home, "the machine to have slept", || uptime() > until);
    for group in groups {
        signal_all(group, Signal::CONT);
    }
}

/// Nothing was lost; the task that had right left ran once, the others ended by themselves and ran again.
#[track_caller]
fn check(home: &Home) {
    home.assert_done("suspended", 3, false);
    home.assert_no_overlap(0.0);
    assert_eq!(events(home, "lease_lost"), 0, "{}", home.dump());
    let intervals = home.intervals();
    let attempts = |task: &str| intervals.iter().filter(|one| one.task == task).count();
    assert_eq!((attempts("T1-01"), attempts("T1-02"), attempts("T1-04")), (2, 2, 1), "{}", home.dump());
    let fenced = "SELECT count(*) FROM wg_leases WHERE state = 'released' AND reason = 'self_fenced'";
    assert_eq!(home.count(fenced).unwrap(), 2, "{}", home.dump());
    let counted = "SELECT sum(losses + failures) FROM wg_tasks";
    assert_eq!(home.count(counted).unwrap(), 0, "a suspend is nobody's fault\n{}", home.dump());
}

fn whole_machine(first: First) {
    let home = home();
    let coordinator = home.serve(&free_address()).unwrap();
    let worker = home.worker("one", &["--slots", "3"]).unwrap();
    worker.wait_for_output("connected");
    begin(&home, "suspended", &plan(&home));
    wait_for_agents(&home, 3);
    suspend(&home, &coordinator, Some(&worker), first);
    home.wait_for_status("suspended", "done");
    check(&home);
    home.assert_accepted_is_kept(&["one"]);
}

#[test]
fn a_machine_that_slept_loses_no_lease_when_its_agents_wake_first() {
    whole_machine(First::Agents);
}

#[test]
fn a_machine_that_slept_loses_no_lease_when_its_coordinator_wakes_first() {
    whole_machine(First::Coordinator);
}

#[test]
fn a_machine_that_slept_loses_no_lease_when_its_worker_wakes_first() {
    whole_machine(First::Worker);
}

#[test]
fn a_laptop_that_slept_under_an_embedded_run_loses_no_lease() {
    let home = home();
    let plan = plan(&home).display().to_string();
    let quick = [
        "--heartbeat-ms=100",
        "--unreachable-after-ms=500",
        "--lost-after-ms=3000",
        "--fence-margin-ms=1000",
        "--kill-grace-ms=300",
        "--retry-delays-ms=50",
    ];
    let mut run = home.start("run", &[&["run", &plan, "--mode", "standard"], &quick[..]].concat()).unwrap();
    wait_for_agents(&home, 3);
    suspend(&home, &run, None, First::Coordinator);
    assert_eq!(run.wait().code(), Some(0), "{}", home.dump());
    let _coordinator = home.serve(&free_address()).unwrap();
    check(&home);
}

/// How far CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC, as after so many seconds of suspend.
const SLEPT_S: u64 = 100_000;

/// A supervisor on such a host, with all that is below it; nothing is left of it when it is dropped.
struct Supervisor(Child);

impl Drop for Supervisor {
    fn drop(&mut self) {
        signal_all(&descendants(self.0.id()), Signal::KILL);
        let _ = self.0.wait();
    }
}

/// What it says of a command that never ends, with this deadline there.
fn supervised(home: &Home, deadline_boottime_ms: u64) -> String {
    let said = home.path("supervisor.log");
    let ahead = SLEPT_S.to_string();
    let supervisor = Command::new("unshare")
        .args(["--time", "--boottime", &ahead, "--fork", "--"])
        .args([env!("CARGO_BIN_EXE_wavegate-worker-under-test"), "__supervise"])
        .stdin(Stdio::piped())
        .stdout(File::create(&said).unwrap())
        .stderr(Stdio::null())
        .spawn();
    let mut supervisor = Supervisor(supervisor.unwrap());
    let spec = format!(
        "{{\"program\":\"/bin/sleep\",\"args\":[\"1000\"],\"cwd\":\"/\",\"env\":[],\
         \"deadline_boottime_ms\":{deadline_boottime_ms},\"kill_grace_ms\":100}}\n"
    );
    // Kept open: its end is another reason to end the command.
    let mut control = supervisor.0.stdin.take().unwrap();
    let written = control.write_all(spec.as_bytes());
    let supervisor = RefCell::new(supervisor);
    wait_for(home, "the supervisor to end", || supervisor.borrow_mut().0.try_wait().unwrap().is_some());
    let said = home.read("supervisor.log");
    assert!(written.is_ok() && said.contains("ready"), "this test needs root and `unshare --time`: {said:?}");
    said
}

#[test]
#[ignore = "needs root: a time namespace"]
fn a_right_to_run_is_measured_by_the_clock_that_goes_on_in_suspend() {
    let home = home();
    let here_ms = (uptime() * 1000.0) as u64;
    let there_ms = here_ms + SLEPT_S * 1000;
    let ended = supervised(&home, there_ms + 1_500);
    assert!(ended.contains("started") && ended.contains("\"killed_because\":\"deadline\""), "{ended}");
    // Over by the one clock, far off by the other.
    let never = supervised(&home, there_ms - SLEPT_S * 500);
    assert!(!never.contains("started") && never.contains("\"killed_because\":\"deadline\""), "{never}");
}
