//! kill -9 of a worker, of its supervisor, of both at once and of an embedded run, under an agent whose children
//! do all to get away: none outlives its right to work, and none works beside the next attempt.

use rustix::process::Signal;
use wavegate_tests::{Home, Process, descendants, living_with, signal_all, wait_until};

use crate::{begin, events, free_address, home, wait_for};

/// Testifies as long as it lives, whatever it is told: `child.sh FILE TASK LEASE ATTEMPT NAME`.
const CHILD: &str = r#"trap '' TERM HUP INT
while :; do read -r up rest < /proc/uptime; echo "child $2 $3 $4 $up" >> "$1"; sleep 0.02; done
"#;

/// Starts four children: beside it, in a session of its own, without environment, and as a daemon that has
/// neither parent, session nor environment of its lease. Its first attempt never ends by itself.
const AGENT: &str = r#"say() { read -r up rest < /proc/uptime; echo "$1 $WAVEGATE_TASK $WAVEGATE_LEASE_ID $WAVEGATE_ATTEMPT $up" >> "$file"; }
say begin
set -- "$child" "$file" "$WAVEGATE_TASK" "$WAVEGATE_LEASE_ID" "$WAVEGATE_ATTEMPT"
sh "$@" near &
setsid sh "$@" session &
env -i /bin/sh "$@" bare &
( setsid env -i /bin/sh -c '/bin/sh "$@" daemon & exit' launcher "$@" & ) &
say beat
while [ "$WAVEGATE_ATTEMPT" -lt 2 ]; do sleep 0.02; say beat; done
sleep 0.2
say end
"#;

/// The names of the agent's children.
const CHILDREN: [&str; 4] = ["near", "session", "bare", "daemon"];

struct Fugitives(Home);

impl Fugitives {
    fn new() -> Self {
        Self(home())
    }

    /// One task whose agent does all that.
    fn plan(&self) -> std::path::PathBuf {
        let file = self.0.path("witness").display().to_string();
        let child = self.0.write("child.sh", CHILD).unwrap().display().to_string();
        let agent = self.0.write("agent.sh", &format!("file={file}\nchild={child}\n{AGENT}")).unwrap();
        let run = format!("sh {}", agent.display());
        let task = format!("{{ id: T1-01, run: {run:?}, verify: [\"true\"], on_lost: retry }}");
        let head = "name: fugitives\nproject: { workspace: none }\nwaves:\n  - id: W1\n    tasks:\n";
        self.0.write("fugitives.yaml", &format!("{head}      - {task}\n")).unwrap()
    }

    fn begin(&self) {
        begin(&self.0, "fugitives", &self.plan());
        self.wait_for_all();
    }

    /// The agent and all of its children are at work.
    #[track_caller]
    fn wait_for_all(&self) {
        wait_for(&self.0, "the agent and its children", || self.children() == CHILDREN);
    }

    /// Which children of the first attempt live.
    fn children(&self) -> Vec<&'static str> {
        let Some(first) = self.0.intervals().into_iter().find(|one| one.attempt == 1) else {
            return Vec::new();
        };
        let file = self.0.path("child.sh").display().to_string();
        // A child that is just starting its `sleep` is there twice.
        let lives = |name: &&&str| !living_with(&[&file, &first.lease, &format!("\0{name}\0")]).is_empty();
        CHILDREN.iter().filter(lives).copied().collect()
    }

    /// Nothing of the first attempt lives, the plan ends, and no two attempts were at work at once.
    #[track_caller]
    fn check_end(&self) {
        let home = &self.0;
        wait_for(home, "the first attempt's children to be gone", || self.children().is_empty());
        home.wait_for_status("fugitives", "done");
        self.check();
    }

    #[track_caller]
    fn check(&self) {
        let home = &self.0;
        home.assert_no_overlap(0.0);
        let attempts: Vec<_> = home.intervals().iter().map(|one| (one.attempt, one.is_whole)).collect();
        assert!(attempts.len() == 2 && attempts.contains(&(2, true)), "{attempts:?}\n{}", home.dump());
        let file = home.path("child.sh").display().to_string();
        wait_for(home, "every process to be gone", || living_with(&[&file]).is_empty());
    }
}

/// A test that fails leaves nothing.
impl Drop for Fugitives {
    fn drop(&mut self) {
        signal_all(&living_with(&[&self.0.path("").display().to_string()]), Signal::KILL);
    }
}

/// The supervisors among what the process started.
fn supervisors(of: &Process) -> Vec<u32> {
    let below = descendants(of.id());
    living_with(&["__supervise"]).into_iter().filter(|pid| below.contains(pid)).collect()
}

#[test]
fn a_killed_workers_agents_and_all_their_children_are_gone_before_another_worker_begins() {
    let fugitives = Fugitives::new();
    let home = &fugitives.0;
    let _coordinator = home.serve(&free_address()).unwrap();
    let mut one = home.worker("one", &["--slots", "1"]).unwrap();
    one.wait_for_output("connected");
    fugitives.begin();
    let two = home.worker("two", &["--slots", "1"]).unwrap();
    two.wait_for_output("connected");
    // Whoever kills the worker by its name does not meet the supervisor, which ends the tree.
    for supervisor in supervisors(&one) {
        for file in ["comm", "cmdline"] {
            let name = std::fs::read(format!("/proc/{supervisor}/{file}")).unwrap();
            assert!(!String::from_utf8_lossy(&name).contains("wavegate"), "{name:?}");
        }
    }
    one.kill();
    fugitives.check_end();
    assert_eq!(events(home, "lease_lost"), 1, "{}", home.dump());
    home.assert_accepted_is_kept(&["two"]);
}

#[test]
fn a_killed_supervisor_leaves_nothing_and_its_task_is_tried_again() {
    let fugitives = Fugitives::new();
    let home = &fugitives.0;
    let _coordinator = home.serve(&free_address()).unwrap();
    let one = home.worker("one", &["--slots", "1"]).unwrap();
    one.wait_for_output("connected");
    fugitives.begin();
    let supervisors = supervisors(&one);
    assert_eq!(supervisors.len(), 1, "{}", home.dump());
    signal_all(&supervisors, Signal::KILL);
    fugitives.check_end();
    // The worker saw it: a failure of the attempt, and no loss.
    assert_eq!((events(home, "task_failed"), events(home, "lease_lost")), (1, 0), "{}", home.dump());
}

/// With both gone nobody is left who could end the agent: that is what the worker's next start begins with.
#[test]
fn what_outlived_a_worker_and_its_supervisor_is_ended_before_the_next_start_takes_work() {
    let fugitives = Fugitives::new();
    let home = &fugitives.0;
    let _coordinator = home.serve(&free_address()).unwrap();
    let mut one = home.worker("one", &["--slots", "1"]).unwrap();
    one.wait_for_output("connected");
    fugitives.begin();
    let both = [supervisors(&one), vec![one.id()]].concat();
    assert_eq!(both.len(), 2, "{}", home.dump());
    // Stopped first, so that neither acts on the other's end.
    signal_all(&both, Signal::STOP);
    signal_all(&both, Signal::KILL);
    one.kill();
    assert_eq!(fugitives.children(), CHILDREN, "the fault does not do what the test is about");
    let one = home.worker("one", &["--slots", "1"]).unwrap();
    wait_until(
        "the worker to be there again",
        || home.dump(),
        || {
            let is_back = one.output().matches("connected: ").count() >= 2;
            is_back.then(|| assert!(fugitives.children().is_empty(), "{}", home.dump()))
        },
    );
    fugitives.check_end();
}

#[test]
fn a_killed_embedded_run_leaves_nothing_and_goes_on_when_it_is_resumed() {
    let fugitives = Fugitives::new();
    let home = &fugitives.0;
    let plan = fugitives.plan().display().to_string();
    let quick = ["--heartbeat-ms=100", "--lost-after-ms=3000", "--retry-delays-ms=50"];
    let start = |of: &[&str]| home.start("run", &[&["run"], of, &quick].concat()).unwrap();
    let mut run = start(&[&plan, "--mode", "standard"]);
    fugitives.wait_for_all();
    run.kill();
    wait_for(home, "the first attempt's children to be gone", || fugitives.children().is_empty());
    let mut run = start(&["--resume", "1"]);
    assert_eq!(run.wait().code(), Some(0), "{}", home.dump());
    fugitives.check();
}
