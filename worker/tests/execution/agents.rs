//! Asking an agent, with a shell script in the place of its program: each line of it that begins with a
//! word that the script's listener knows is understood, all are logged.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use wavegate_proto::v1::{self, ModelUsage, Outcome};
use wavegate_worker::{
    runner::{
        Ask, Conclusion, Exit, Heard, Installed, Listener, Registry, Runner, Talk, scrub::Scrubber,
        sessions::Sessions, shell,
    },
    supervisor::Order,
    work::{
        Ending, WorkContext,
        agent::{Asked, Place, ask},
    },
};

use crate::bench::{Bench, is_alive, task, until};

/// Runs the prompt as a script; `$TALK` says whether it is fresh or resumed, and where.
#[derive(Debug)]
struct Scripted;

struct Script {
    session: Option<String>,
    used: u64,
    says_unknown: bool,
    denials: Vec<v1::Finding>,
}

impl Runner for Scripted {
    fn name(&self) -> &str {
        "scripted"
    }

    fn variables(&self) -> Vec<String> {
        // Set by cargo for this very test.
        vec!["CARGO_PKG_NAME".to_owned()]
    }

    fn order(&self, ask: &Ask<'_>) -> std::io::Result<Order> {
        let talk = match ask.talk {
            Talk::Fresh { id } => format!("fresh {id}"),
            Talk::Resumed { id, counters } => format!("resumed {id} after {}", counters[0].tokens_out),
        };
        std::fs::create_dir_all(ask.aside)?;
        let mut env = ask.env.to_vec();
        env.push(("TALK".to_owned(), talk));
        let stderr = Some(ask.aside.join("stderr"));
        Ok(Order { env, stderr, ..shell::order(ask.prompt(), ask.cwd, &[], ask.timeout) })
    }

    fn listener(&self, _ask: &Ask<'_>) -> Box<dyn Listener> {
        Box::new(Script { session: None, used: 0, says_unknown: false, denials: Vec::new() })
    }
}

impl Listener for Script {
    fn hear(&mut self, line: &str) -> Heard {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        match word {
            "session" => self.session = Some(rest.to_owned()),
            "used" => self.used += rest.parse::<u64>().unwrap(),
            "unknown" => self.says_unknown = true,
            "denied" => self.denials.push(v1::Finding { task: String::new(), text: rest.to_owned() }),
            _ => {}
        }
        Heard { log: format!("{line}\n"), give_up: word == "hopeless" }
    }

    fn used(&self) -> Vec<ModelUsage> {
        let tokens_out = self.used;
        vec![ModelUsage { model: "m".to_owned(), tokens_out, ..ModelUsage::default() }]
    }

    fn session(&self) -> Option<String> {
        self.session.clone()
    }

    fn conclude(self: Box<Self>, exit: &Exit) -> Conclusion {
        let outcome = match (exit.code, exit.gave_up, exit.timed_out) {
            (Some(0), ..) => Outcome::Succeeded,
            (_, _, true) => Outcome::TimedOut,
            (_, true, _) => Outcome::UsageLimit,
            _ => Outcome::Failed,
        };
        Conclusion {
            outcome,
            summary: exit.stderr.trim().to_owned(),
            models: self.used(),
            counters: self.used(),
            session: self.session.clone(),
            is_unknown_session: self.says_unknown,
            denials: self.denials,
            ..Conclusion::default()
        }
    }
}

/// A bench with the scripted agent, and what was told of its progress.
struct Agents {
    bench: Bench,
    told: Arc<Mutex<Vec<v1::Usage>>>,
    context: WorkContext,
}

impl Agents {
    fn new() -> Self {
        let bench = Bench::new();
        let told: Arc<Mutex<Vec<v1::Usage>>> = Arc::default();
        let installed = Installed {
            runner: Box::new(Scripted),
            version: "1".to_owned(),
            account: "abc".to_owned(),
            models: Vec::new(),
        };
        let tell = Arc::clone(&told);
        let context = WorkContext {
            runners: Arc::new(Registry::of(vec![installed], false)),
            progress: Arc::new(move |models| {
                tell.lock().unwrap().push(wavegate_worker::runner::usage_of(&models))
            }),
            ..bench.context()
        };
        Self { bench, told, context }
    }

    async fn ask(&self, work: &v1::AgentWork, limit: Option<Duration>) -> Result<Asked, Ending> {
        let (cwd, aside) = (self.bench.path("cwd"), self.bench.path("aside"));
        std::fs::create_dir_all(&cwd).unwrap();
        let env = [("PATH".to_owned(), "/usr/bin:/bin".to_owned())];
        ask(&self.context, work, Place { cwd: &cwd, aside: &aside, env: &env, limit }).await
    }

    /// A whole task of the agent, in a directory of its own.
    async fn report(&self, agent: v1::AgentWork) -> v1::Report {
        let agent = Some(agent);
        let task = v1::TaskWork { runner: "scripted".to_owned(), agent, ..task("", v1::WorkspaceKind::Dir) };
        let body = Some(v1::work::Body::Task(task));
        let work =
            v1::Work { wave: "W1".to_owned(), plan_name: "plan".to_owned(), body, ..v1::Work::default() };
        let context = WorkContext {
            runners: Arc::clone(&self.context.runners),
            progress: Arc::clone(&self.context.progress),
            ..self.bench.context()
        };
        match wavegate_worker::work::perform(work, context).await {
            Ending::Report(report) => *report,
            other @ (Ending::Cancelled | Ending::Fenced | Ending::Unable(_) | Ending::OutOfReach(_)) => {
                panic!("{other:?}")
            }
        }
    }

    fn used(&self) -> Vec<u64> {
        self.told.lock().unwrap().iter().map(|usage| usage.tokens_out).collect()
    }
}

fn work(script: &str) -> v1::AgentWork {
    let runner = "scripted".to_owned();
    v1::AgentWork { runner, prompt: script.to_owned(), ..v1::AgentWork::default() }
}

#[tokio::test]
async fn an_agent_is_heard_logged_and_its_session_remembered() {
    let agents = Agents::new();
    let script = "echo session s-1; echo used 5; echo $TALK; echo hint >&2; echo $CARGO_PKG_NAME; printf end";
    let asked = agents.ask(&work(script), None).await.unwrap();
    assert_eq!((asked.conclusion.outcome, asked.exit_code), (Outcome::Succeeded, Some(0)));
    assert_eq!((asked.conclusion.summary.as_str(), asked.account.as_str()), ("hint", "abc"));
    assert!(
        asked.tail.contains("fresh ") && asked.tail.contains("\nwavegate-worker\nend\n"),
        "{}",
        asked.tail
    );
    assert!(asked.tail.ends_with("[stderr] hint\n") && agents.bench.output().ends_with(&asked.tail));
    assert_eq!(agents.used(), [5]);
    assert!(!agents.bench.path("aside").join("stderr").exists());
    let sessions = Sessions::new(&agents.context.state_dir);
    assert_eq!(sessions.counters("scripted", "s-1").unwrap()[0].tokens_out, 5);
}

#[tokio::test]
async fn a_session_goes_on_only_where_it_is_known() {
    let agents = Agents::new();
    let mut again = work("echo $TALK; echo session s-1");
    again.resume_prompt = "echo again; echo $TALK".to_owned();
    again.resume_session = "s-1".to_owned();
    assert!(agents.ask(&again, None).await.unwrap().tail.starts_with("fresh "));
    let asked = agents.ask(&again, None).await.unwrap();
    assert_eq!(asked.tail, "again\nresumed s-1 after 0\n");
}

#[tokio::test]
async fn a_session_that_the_program_has_forgotten_begins_afresh_once() {
    let agents = Agents::new();
    Sessions::new(&agents.context.state_dir).remember("scripted", "s-1", &[ModelUsage::default()]).unwrap();
    let mut again = work("echo $TALK; echo unknown");
    again.resume_prompt = "echo unknown; exit 1".to_owned();
    again.resume_session = "s-1".to_owned();
    let asked = agents.ask(&again, None).await.unwrap();
    assert!(asked.tail.starts_with("fresh ") && asked.exit_code == Some(0), "{}", asked.tail);
    assert!(agents.bench.output().contains("does not know that session any more"));
    assert_eq!(Sessions::new(&agents.context.state_dir).counters("scripted", "s-1"), None);
}

#[tokio::test]
async fn a_run_that_worked_counts_whatever_it_says_of_its_session() {
    let agents = Agents::new();
    Sessions::new(&agents.context.state_dir).remember("scripted", "s-1", &[ModelUsage::default()]).unwrap();
    let mut again = work("echo fresh talk");
    again.resume_prompt = "echo unknown; echo used 5".to_owned();
    again.resume_session = "s-1".to_owned();
    let asked = agents.ask(&again, None).await.unwrap();
    assert!(!asked.tail.contains("fresh talk"), "{}", asked.tail);
    assert_eq!(asked.conclusion.models[0].tokens_out, 5);
}

#[tokio::test]
async fn only_one_that_could_have_changed_something_fails_when_it_was_denied_and_changed_nothing() {
    let agents = Agents::new();
    let with = |permissions: v1::Permissions, script: &str| v1::AgentWork {
        permissions: permissions.into(),
        ..work(script)
    };
    let denied = agents.report(with(v1::Permissions::Edit, "echo denied Bash")).await;
    assert_eq!(
        (denied.outcome(), denied.summary.as_str()),
        (Outcome::Denied, "it changed nothing, and was denied: Bash")
    );
    let worked = agents.report(with(v1::Permissions::Edit, "echo denied Bash; echo x > made")).await;
    assert_eq!((worked.outcome(), worked.changed_files), (Outcome::Succeeded, 1));
    let looked = agents.report(with(v1::Permissions::Read, "echo denied Bash")).await;
    assert_eq!((looked.outcome(), looked.findings.len()), (Outcome::Succeeded, 1));
}

#[tokio::test]
async fn a_hopeless_run_is_ended_with_its_whole_tree() {
    let agents = Agents::new();
    let child = agents.bench.path("child");
    let script = format!("setsid sleep 1000 & echo $! > {}; echo hopeless; sleep 1000", child.display());
    let asked = agents.ask(&work(&script), Some(Duration::from_secs(20))).await.unwrap();
    assert_eq!((asked.conclusion.outcome, asked.exit_code), (Outcome::UsageLimit, None));
    assert!(!is_alive(&child));
}

#[tokio::test]
async fn a_time_limit_ends_it_and_what_it_used_is_known() {
    let agents = Agents::new();
    let asked = agents.ask(&work("echo used 3; sleep 1000"), Some(Duration::from_millis(300))).await.unwrap();
    assert_eq!(asked.conclusion.outcome, Outcome::TimedOut);
    assert_eq!(asked.conclusion.models[0].tokens_out, 3);
}

#[tokio::test]
async fn what_a_cancelled_run_used_is_told_before_its_end() {
    let agents = Agents::new();
    let go_on = agents.bench.path("go-on");
    // The second figure comes within the time between two reports of progress.
    let wait = format!("while [ ! -e {} ]; do sleep 0.01; done", go_on.display());
    let script = format!("echo used 3; {wait}; echo used 4; sleep 1000");
    let script = work(&script);
    let (ended, ()) = tokio::join!(agents.ask(&script, None), async {
        until("the first figure", || agents.used() == [3]).await;
        std::fs::write(&go_on, "").unwrap();
        until("the second figure", || agents.bench.output().contains("used 4")).await;
        agents.bench.cancel.send_replace(true);
    });
    assert_eq!(ended.unwrap_err(), Ending::Cancelled);
    assert_eq!(agents.used().last(), Some(&7));
}

#[tokio::test]
async fn what_an_agent_may_not_and_who_is_not_here_is_said() {
    let agents = Agents::new();
    let stranger = v1::AgentWork { runner: "stranger".to_owned(), ..work("true") };
    let ending = agents.ask(&stranger, None).await.unwrap_err();
    let text = "this worker has no agent \"stranger\"; it has shell, scripted";
    assert_eq!(ending, Ending::Unable(text.to_owned()));
    let mut full = work("true");
    full.set_permissions(v1::Permissions::Full);
    let ending = agents.ask(&full, None).await.unwrap_err();
    assert!(matches!(&ending, Ending::Unable(text) if text.contains("--allow-full")), "{ending:?}");
    let any = v1::AgentWork { allowed_tools: vec!["Bash(*)".to_owned()], ..work("true") };
    let ending = agents.ask(&any, None).await.unwrap_err();
    let told =
        matches!(&ending, Ending::Unable(text) if text.ends_with("the tool \"Bash(*)\" runs any command"));
    assert!(told, "{ending:?}");
    let some = v1::AgentWork { allowed_tools: vec!["Bash(cargo test:*)".to_owned()], ..work("true") };
    assert!(agents.ask(&some, None).await.is_ok());
}

#[tokio::test]
async fn a_secret_reaches_neither_the_log_nor_the_answer() {
    let mut agents = Agents::new();
    agents.context.scrubber = Scrubber::of([("API_KEY", "s3cret-value")]);
    let asked = agents.ask(&work("echo s3cret-value; echo s3cret-value >&2"), None).await.unwrap();
    let shown = format!("{asked:?}{}", agents.bench.output());
    assert!(!shown.contains("s3cret-value"), "{shown}");
    assert_eq!(shown.matches("***API_KEY***").count(), 5, "{shown}");
}

#[tokio::test]
async fn a_variable_that_a_command_asks_for_is_shown_by_its_name_alone() {
    let bench = Bench::new();
    let name = "CARGO_PKG_DESCRIPTION";
    let value = env!("CARGO_PKG_DESCRIPTION");
    let script =
        format!("printf %.9s \"${name}\"; sleep 0.2; printf %s \"${name}\" | cut -c10-; echo \"${name}\"");
    let asking = v1::TaskWork { env: vec![name.to_owned()], ..task(&script, v1::WorkspaceKind::None) };
    let report = bench.report(asking).await;
    assert_eq!(bench.output(), format!("***{name}***\n***{name}***\n"));
    assert_eq!(report.summary, format!("***{name}***"));
    assert!(!report.output_tail.contains(value));
}
