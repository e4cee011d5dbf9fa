//! A whole worker, its work apart, against a coordinator on a real socket.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use prost::Message as _;
use tempfile::TempDir;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use wavegate_proto::v1::{self, coordinator_message};

use super::Perform;
use super::fake::{Fake, World, work};
use crate::blobs::Blob;
use crate::config::{Address, TokenSource};
use crate::start::run_within;
use crate::work::{Ending, WorkContext, boottime_ms};
use crate::{Outside, Shutdown, WorkerConfig, WorkerError};

/// Work that ends when the test says so: the command says how.
struct Script {
    performed: Mutex<Vec<String>>,
    /// The work that waits goes on up to this step.
    step: watch::Sender<u32>,
}

#[tonic::async_trait]
impl Perform for Script {
    async fn perform(&self, work: v1::Work, mut context: WorkContext) -> Ending {
        self.performed.lock().unwrap().push(context.lease_id.clone());
        std::mem::replace(&mut context.started, Box::new(|| ()))();
        let Some(v1::work::Body::Task(task)) = work.body else {
            return Ending::Unable("expected a task".into());
        };
        let mut report = v1::Report { summary: task.run.clone(), ..v1::Report::default() };
        match task.run.as_str() {
            "shout" => context.log.append(&LONG_OUTPUT.repeat(100_000)),
            "spend" => {
                (context.progress)(spent());
                let _ = self.wait(1, &context).await;
                return Ending::Cancelled;
            }
            "large" => report.output_json = "x".repeat(300_000),
            "wait" => {
                if let Err(ending) = self.wait(1, &context).await {
                    return ending;
                }
            }
            "talk" => {
                for (step, line) in (1..).zip(["one\n", "two\n", "three\n"]) {
                    context.log.append(line.as_bytes());
                    if let Err(ending) = self.wait(step, &context).await {
                        return ending;
                    }
                }
            }
            _ => {}
        }
        Ending::Report(Box::new(report))
    }
}

impl Script {
    /// Waits for the step, or for the end of the right to work.
    async fn wait(&self, step: u32, context: &WorkContext) -> Result<(), Ending> {
        let (mut steps, mut cancel) = (self.step.subscribe(), context.cancel.clone());
        let deadline = context.deadline.clone();
        let fenced = async {
            while *deadline.borrow() > boottime_ms() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::select! {
            _ = steps.wait_for(|now| *now >= step) => Ok(()),
            _ = cancel.wait_for(|cancel| *cancel) => Err(Ending::Cancelled),
            () = fenced => Err(Ending::Fenced),
        }
    }
}

/// Ten bytes, so that a place in the output shows what belongs there.
const LONG_OUTPUT: &[u8] = b"012345678\n";

/// A world, a state directory, and workers in it.
struct Bench {
    dir: TempDir,
    world: World,
    script: Arc<Script>,
}

/// A running worker; aborting its task is its kill.
struct Running {
    shutdown: Shutdown,
    task: JoinHandle<Result<(), WorkerError>>,
}

impl Bench {
    fn new() -> Self {
        let script = Script { performed: Mutex::default(), step: watch::Sender::new(0) };
        Self { dir: tempfile::tempdir().unwrap(), world: World::new(), script: Arc::new(script) }
    }

    /// With a coordinator and a worker that is connected to it.
    async fn connected() -> (Self, Fake, Running) {
        let bench = Self::new();
        let fake = Fake::start(&bench.world, 0).await;
        let running = bench.worker(fake.port);
        until("a hello", || !bench.world.hellos().is_empty()).await;
        (bench, fake, running)
    }

    fn worker(&self, port: u16) -> Running {
        let address = Address::Url(format!("http://127.0.0.1:{port}"));
        let token = TokenSource::Local(self.path("token"));
        let mut config = WorkerConfig::new(address, token, self.path("state"));
        // What this host has is no matter here.
        config.runners = Some(vec!["shell".to_owned()]);
        let (shutdown, perform) = (Shutdown::new(), self.script.clone());
        let outside = Outside { perform, ..Outside::real() };
        let task = tokio::spawn(run_within(config, shutdown.clone(), outside));
        Running { shutdown, task }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn spooled(&self) -> Vec<PathBuf> {
        files(&self.path("state/spool"))
    }

    fn performed(&self) -> Vec<String> {
        self.script.performed.lock().unwrap().clone()
    }

    fn go_on(&self, step: u32) {
        self.script.step.send_replace(step);
    }
}

impl Running {
    /// As kill -9 does it: nothing is said, nothing is cleaned up.
    async fn kill(self) {
        self.task.abort();
        let _ = self.task.await;
    }

    async fn end(self) -> Result<(), WorkerError> {
        tokio::time::timeout(LONG, self.task).await.expect("the worker ends in time").unwrap()
    }
}

const LONG: Duration = Duration::from_secs(20);

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !holds() {
        assert!(Instant::now() < end, "waited too long for {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

#[tokio::test]
async fn a_result_is_sent_again_when_the_coordinator_is_back_and_the_work_is_not_done_again() {
    let (bench, fake, running) = Bench::connected().await;
    bench.world.notes().answers_results = false;
    bench.world.grant("a", "quick", 60_000);
    until("the result", || bench.world.finished("a").len() == 1).await;
    let port = fake.kill().await;
    assert_eq!(bench.spooled().len(), 1);
    bench.world.notes().answers_results = true;
    let _fake = Fake::start(&bench.world, port).await;
    until("the result again", || bench.world.finished("a").len() == 2).await;
    assert_eq!(bench.world.hellos().last().unwrap().held, ["a"]);
    until("an empty spool", || bench.spooled().is_empty()).await;
    assert_eq!(bench.performed(), ["a"]);
    running.shutdown.drain();
    running.end().await.unwrap();
}

#[tokio::test]
async fn work_goes_on_while_the_coordinator_is_away_and_its_result_comes_later() {
    let (bench, fake, _running) = Bench::connected().await;
    bench.world.grant("a", "wait", 60_000);
    until("the start", || bench.world.has_started("a")).await;
    let port = fake.kill().await;
    bench.go_on(1);
    until("the spooled result", || bench.spooled().len() == 1).await;
    let _fake = Fake::start(&bench.world, port).await;
    until("the result", || !bench.world.finished("a").is_empty()).await;
    until("an empty spool", || bench.spooled().is_empty()).await;
}

#[tokio::test]
async fn a_killed_workers_result_is_sent_by_its_next_start() {
    let (bench, fake, running) = Bench::connected().await;
    bench.world.notes().answers_results = false;
    bench.world.grant("a", "quick", 60_000);
    until("the result", || bench.world.finished("a").len() == 1).await;
    running.kill().await;
    bench.world.notes().answers_results = true;
    let _running = bench.worker(fake.port);
    until("the result again", || bench.world.finished("a").len() == 2).await;
    let hellos = bench.world.hellos();
    let (first, last) = (&hellos[0], hellos.last().unwrap());
    assert_eq!((&first.worker_id, last.held.as_slice()), (&last.worker_id, &["a".to_owned()][..]));
    assert_ne!(first.instance, last.instance);
    until("an empty spool", || bench.spooled().is_empty()).await;
}

#[tokio::test]
async fn silence_leads_to_a_reconnect_and_then_to_the_end_of_the_work() {
    let (bench, _fake, _running) = Bench::connected().await;
    bench.world.grant("a", "wait", 2_200);
    until("the start", || bench.world.has_started("a")).await;
    bench.world.notes().answers_heartbeats = false;
    until("a second hello", || bench.world.hellos().len() == 2).await;
    assert_eq!(bench.world.hellos()[1].held, ["a"]);
    assert!(bench.world.released("a").is_empty(), "it was given back before its time");
    until("the return", || !bench.world.released("a").is_empty()).await;
    assert_eq!(bench.world.released("a")[0].reason(), v1::ReleaseReason::SelfFenced);
    until("an empty spool", || bench.spooled().is_empty()).await;
}

#[tokio::test]
async fn a_worker_alone_ends_its_work_at_the_deadline_and_says_so_later() {
    let (bench, fake, _running) = Bench::connected().await;
    bench.world.grant("a", "wait", 700);
    until("the start", || bench.world.has_started("a")).await;
    let port = fake.kill().await;
    until("the spooled return", || bench.spooled().len() == 1).await;
    let _fake = Fake::start(&bench.world, port).await;
    until("the return", || !bench.world.released("a").is_empty()).await;
    assert_eq!(bench.world.released("a")[0].reason(), v1::ReleaseReason::SelfFenced);
}

#[tokio::test]
async fn answered_heartbeats_keep_the_work_alive_beyond_lost_after() {
    let (bench, _fake, _running) = Bench::connected().await;
    let begun = Instant::now();
    bench.world.grant("a", "wait", 600);
    until("three times lost_after", || begun.elapsed() > Duration::from_millis(1_800)).await;
    bench.go_on(1);
    until("the result", || !bench.world.finished("a").is_empty()).await;
    assert!(bench.world.released("a").is_empty());
}

#[tokio::test]
async fn a_log_goes_on_from_its_offset_after_the_coordinator_was_away() {
    let (bench, fake, _running) = Bench::connected().await;
    bench.world.grant("a", "talk", 60_000);
    until("the first line", || bench.world.log("a") == "one\n").await;
    let port = fake.kill().await;
    bench.world.notes().chunks.clear();
    bench.go_on(1);
    let _fake = Fake::start(&bench.world, port).await;
    until("the second line", || bench.world.log("a") == "one\ntwo\n").await;
    assert_eq!(bench.world.notes().chunks, [(4, 4)]);
    bench.go_on(3);
    until("the result", || !bench.world.finished("a").is_empty()).await;
    assert_eq!(bench.world.log("a"), "one\ntwo\nthree\n", "the log's end comes before the result");
    until("no log file", || files(&bench.path("state/logs")).is_empty()).await;
}

#[tokio::test]
async fn a_long_log_arrives_whole_and_before_the_result() {
    let (bench, _fake, _running) = Bench::connected().await;
    bench.world.grant("a", "shout", 60_000);
    until("the result", || !bench.world.finished("a").is_empty()).await;
    assert_eq!(bench.world.notes().logs_at_result.get("a"), Some(&1_000_000));
    assert!(
        bench.world.log("a").as_bytes() == LONG_OUTPUT.repeat(100_000),
        "the log is not what was written"
    );
}

#[tokio::test]
async fn a_coordinator_that_lost_a_part_of_a_log_gets_it_again() {
    let (bench, _fake, _running) = Bench::connected().await;
    bench.world.grant("a", "talk", 60_000);
    until("the first line", || bench.world.log("a") == "one\n").await;
    bench.world.notes().logs.clear();
    bench.go_on(1);
    until("both lines", || bench.world.log("a") == "one\ntwo\n").await;
}

#[tokio::test]
async fn the_log_of_a_killed_worker_is_shipped_by_its_next_start() {
    let (bench, fake, running) = Bench::connected().await;
    bench.world.grant("a", "talk", 60_000);
    until("the first line", || bench.world.log("a") == "one\n").await;
    let port = fake.kill().await;
    bench.go_on(1);
    let log = bench.path("state/logs/a.log");
    until("the second line", || std::fs::read(&log).is_ok_and(|text| text == b"one\ntwo\n")).await;
    running.kill().await;
    let _fake = Fake::start(&bench.world, port).await;
    let _running = bench.worker(port);
    until("the whole log", || bench.world.log("a") == "one\ntwo\n").await;
    until("no log file", || files(&bench.path("state/logs")).is_empty()).await;
}

#[tokio::test]
async fn a_large_report_goes_by_digest_and_is_stored_first() {
    let (bench, _fake, _running) = Bench::connected().await;
    bench.world.grant("a", "large", 60_000);
    until("the result", || !bench.world.finished("a").is_empty()).await;
    let Some(v1::finished::Body::ReportDigest(digest)) = bench.world.finished("a")[0].body.clone() else {
        panic!("the report came inline");
    };
    let stored = bench.world.notes().blobs.get(&digest).cloned().unwrap();
    assert_eq!(v1::Report::decode(stored.as_slice()).unwrap().output_json.len(), 300_000);
}

#[tokio::test]
async fn work_that_goes_by_digest_is_fetched_and_done() {
    let (bench, _fake, _running) = Bench::connected().await;
    let blob = Blob::of_bytes(work("quick").encode_to_vec());
    let digest = blob.digest().to_string();
    bench.world.notes().blobs.insert(digest.clone(), work("quick").encode_to_vec());
    bench.world.grant_body("a", v1::grant::Body::WorkDigest(digest), 60_000);
    until("the result", || !bench.world.finished("a").is_empty()).await;
}

#[tokio::test]
async fn work_whose_bytes_are_not_those_of_its_digest_is_given_back() {
    let (bench, _fake, _running) = Bench::connected().await;
    let digest = Blob::of_bytes(b"what was promised".to_vec()).digest().to_string();
    bench.world.notes().blobs.insert(digest.clone(), b"something else".to_vec());
    bench.world.grant_body("a", v1::grant::Body::WorkDigest(digest), 60_000);
    until("the return", || !bench.world.released("a").is_empty()).await;
    assert_eq!(bench.world.released("a")[0].reason(), v1::ReleaseReason::Unable);
    assert!(bench.performed().is_empty());
}

#[tokio::test]
async fn a_runner_that_the_operator_does_not_allow_is_given_back() {
    let (bench, _fake, _running) = Bench::connected().await;
    let task = v1::TaskWork { runner: "claude".into(), ..v1::TaskWork::default() };
    let work = v1::Work { body: Some(v1::work::Body::Task(task)), ..v1::Work::default() };
    bench.world.grant_body("a", v1::grant::Body::Work(work), 60_000);
    until("the return", || !bench.world.released("a").is_empty()).await;
    assert!(bench.world.released("a")[0].note.contains("claude"));
    assert!(bench.performed().is_empty());
}

#[tokio::test]
async fn a_cancelled_lease_is_ended_and_given_back() {
    let (bench, _fake, _running) = Bench::connected().await;
    bench.world.grant("a", "wait", 60_000);
    until("the start", || bench.world.has_started("a")).await;
    let cancel = v1::Cancel { lease_id: "a".into(), reason: "by me".into() };
    bench.world.say(coordinator_message::Message::Cancel(cancel));
    until("the return", || !bench.world.released("a").is_empty()).await;
    assert_eq!(bench.world.released("a")[0].reason(), v1::ReleaseReason::Cancelled);
}

#[tokio::test]
async fn a_refused_result_is_kept() {
    let (bench, _fake, _running) = Bench::connected().await;
    bench.world.notes().refuses_results = true;
    bench.world.grant("a", "quick", 60_000);
    let kept = bench.path("state/spool/refused/a.report");
    until("the kept result", || kept.exists()).await;
    assert!(bench.spooled().is_empty());
}

#[tokio::test]
async fn a_drained_worker_finishes_what_it_holds_and_ends() {
    let (bench, _fake, running) = Bench::connected().await;
    bench.world.grant("a", "wait", 60_000);
    until("the start", || bench.world.has_started("a")).await;
    running.shutdown.drain();
    let draining = v1::worker_message::Message::Draining(v1::Draining {});
    until("its word", || bench.world.notes().heard.contains(&draining)).await;
    assert!(!running.task.is_finished());
    bench.go_on(1);
    running.end().await.unwrap();
    assert_eq!(bench.world.finished("a").len(), 1);
    assert!(bench.spooled().is_empty());
}

#[tokio::test]
async fn a_stopped_worker_gives_back_what_it_holds_and_ends() {
    let (bench, _fake, running) = Bench::connected().await;
    bench.world.grant("a", "wait", 60_000);
    until("the start", || bench.world.has_started("a")).await;
    running.shutdown.stop();
    running.end().await.unwrap();
    assert_eq!(bench.world.released("a")[0].reason(), v1::ReleaseReason::Drain);
}

#[tokio::test]
async fn a_goodbye_for_good_ends_the_worker_with_the_reason() {
    let (bench, _fake, running) = Bench::connected().await;
    let goodbye = v1::Goodbye { reason: "too old".into(), permanent: true };
    bench.world.say(coordinator_message::Message::Goodbye(goodbye));
    let error = running.end().await.unwrap_err().to_string();
    assert!(error.contains("too old"), "{error}");
}

#[tokio::test]
async fn a_worker_without_the_token_ends_and_names_the_file() {
    let bench = Bench::new();
    bench.world.notes().token = Some("secret".into());
    let fake = Fake::start(&bench.world, 0).await;
    let error = bench.worker(fake.port).end().await.unwrap_err().to_string();
    let path = bench.path("token").display().to_string();
    assert!(error.contains(&path) && error.contains("--token-file"), "{error}");
    std::fs::write(bench.path("token"), "secret\n").unwrap();
    let _running = bench.worker(fake.port);
    until("a hello", || !bench.world.hellos().is_empty()).await;
}

#[tokio::test]
async fn a_second_worker_in_the_same_directory_is_refused() {
    let (bench, fake, _running) = Bench::connected().await;
    let error = bench.worker(fake.port).end().await.unwrap_err();
    assert!(matches!(error, WorkerError::Identity(_)), "{error}");
}

#[tokio::test]
async fn a_result_is_sent_even_when_the_disk_takes_nothing() {
    let (bench, _fake, _running) = Bench::connected().await;
    bench.world.grant("a", "wait", 60_000);
    until("the start", || bench.world.has_started("a")).await;
    std::fs::remove_dir_all(bench.path("state/spool")).unwrap();
    std::fs::write(bench.path("state/spool"), "in the way").unwrap();
    bench.go_on(1);
    until("the result", || !bench.world.finished("a").is_empty()).await;
}

fn spent() -> Vec<v1::ModelUsage> {
    vec![v1::ModelUsage { tokens_out: 7, ..v1::ModelUsage::default() }]
}

#[tokio::test]
async fn what_a_lease_used_is_told_before_its_end() {
    let (bench, _fake, running) = Bench::connected().await;
    bench.world.grant("spend-1", "spend", 60_000);
    let (usage, models) = (Some(crate::runner::usage_of(&spent())), spent());
    let progress = v1::Progress { lease_id: "spend-1".into(), usage, models, ..v1::Progress::default() };
    let message = wavegate_proto::v1::worker_message::Message::Progress(progress);
    until("the progress", || bench.world.notes().heard.contains(&message)).await;
    bench.go_on(1);
    until("the end", || !bench.world.released("spend-1").is_empty()).await;
    running.kill().await;
}

#[tokio::test]
async fn work_for_an_agent_that_is_not_here_is_given_back_with_the_reason() {
    let (bench, _fake, running) = Bench::connected().await;
    let agent = v1::AgentWork { runner: "claude".into(), ..v1::AgentWork::default() };
    let validate = v1::ValidateWork { agent: Some(agent), ..v1::ValidateWork::default() };
    let body = Some(v1::work::Body::Validate(validate));
    let work = v1::Work { body, ..v1::Work::default() };
    bench.world.grant_body("judge-1", v1::grant::Body::Work(work), 60_000);
    until("the answer", || !bench.world.released("judge-1").is_empty()).await;
    let note = bench.world.released("judge-1")[0].note.clone();
    assert!(note.contains("does not allow the runner \"claude\", only shell"), "{note}");
    running.kill().await;
}
