//! Asking an agent: its program is run and heard, its words go to the log, what it uses is told while it
//! runs. Which runner it is makes no difference here, and what the answer means for a task is the
//! caller's.

mod hearing;

use std::{
    convert::Infallible,
    fs::File,
    io::{Read as _, Seek as _, SeekFrom},
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use tokio::sync::watch;
use wavegate_proto::v1;

use self::hearing::Hearing;
use super::{Ending, WorkContext, failed};
use crate::{
    identity::random_uuid,
    runner::{Ask, Conclusion, Exit, Installed, Talk, environment, sessions::Sessions},
    supervisor::{self, Ended, Order, Right, SpawnError},
};

/// The last part of a standard error that is looked at.
const STDERR_BYTES: u64 = 4 * 1024;

/// Where an agent works.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    pub cwd: &'a Path,
    /// A directory beside it, for files between us and the program.
    pub aside: &'a Path,
    /// The environment of every command of the lease; what the runner needs is added.
    pub env: &'a [(String, String)],
    pub limit: Option<Duration>,
}

/// What came of asking.
#[derive(Debug, Clone, PartialEq)]
pub struct Asked {
    pub conclusion: Conclusion,
    /// None: a signal or the time limit ended the program.
    pub exit_code: Option<i32>,
    /// The last part of the log.
    pub tail: String,
    pub time: Duration,
    /// The fingerprint of the account that was spent from.
    pub account: String,
}

/// Asks the agent, in the session of the last time where this worker still has it. An error is the end of
/// the lease's work; what was used until then has been told as progress.
pub async fn ask(context: &WorkContext, work: &v1::AgentWork, place: Place<'_>) -> Result<Asked, Ending> {
    let installed = installed(context, work)?;
    let asking = Asking { context, work, installed, env: environment_of(installed, place.env) };
    let (name, sessions) = (installed.runner.name(), Sessions::new(&context.state_dir));
    let mut spent = Duration::ZERO;
    let known = Some(work.resume_session.as_str()).filter(|id| !id.is_empty());
    if let Some((id, counters)) = known.and_then(|id| Some((id, sessions.counters(name, id)?))) {
        let asked = asking.once(place, Talk::Resumed { id, counters: &counters }).await?;
        // What it used was done in that session, whatever else it said.
        let has_worked = crate::runner::usage_of(&asked.conclusion.models) != v1::Usage::default();
        if !asked.conclusion.is_unknown_session || has_worked {
            return Ok(remembered(&sessions, name, asked));
        }
        sessions.forget(name, id);
        spent = asked.time;
        context
            .log
            .append(b"[session] its program does not know that session any more; a fresh one begins\n");
    }
    let id = random_uuid().map_err(failed)?;
    let limit = place.limit.map(|limit| limit.saturating_sub(spent));
    let mut asked = asking.once(Place { limit, ..place }, Talk::Fresh { id: &id }).await?;
    asked.time += spent;
    Ok(remembered(&sessions, name, asked))
}

fn installed<'a>(context: &'a WorkContext, work: &v1::AgentWork) -> Result<&'a Installed, Ending> {
    let runners = &context.runners;
    if !runners.allows_full() {
        let no = "this worker's operator does not allow agents full permissions (--allow-full)";
        if work.permissions() == v1::Permissions::Full {
            return Err(Ending::Unable(no.to_owned()));
        }
        if let Some(tool) = work.allowed_tools.iter().find(|tool| runs_anything(tool)) {
            return Err(Ending::Unable(format!("{no}, and the tool {tool:?} runs any command")));
        }
    }
    runners.get(&work.runner).ok_or_else(|| {
        let names = runners.names().join(", ");
        Ending::Unable(format!("this worker has no agent {:?}; it has {names}", work.runner))
    })
}

/// Tools that are a shell, in the words of several programs.
const SHELL_TOOLS: [&str; 4] = ["bash", "shell", "run_shell_command", "shelltool"];
/// Programs that run any other one.
const INTERPRETERS: [&str; 16] = [
    "sh", "bash", "zsh", "dash", "env", "eval", "exec", "xargs", "sudo", "python", "python3", "perl", "ruby",
    "node", "npx", "find",
];

/// Whether a tool, in the words of an agent's program, lets it run any command: the same as all permissions.
/// The coordinator knows that too; here the operator of this host has the last word.
fn runs_anything(tool: &str) -> bool {
    let (name, what) = match tool.trim().split_once('(') {
        Some((name, rest)) => (name, Some(rest.trim_end_matches(')').trim())),
        None => (tool.trim(), None),
    };
    // A program that splits its list at commas or blanks would find other tools in such a name.
    let is_one_name = name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.'));
    if !is_one_name {
        return true;
    }
    let is_shell = SHELL_TOOLS.contains(&name.to_ascii_lowercase().as_str());
    let program = what.unwrap_or_default().split([' ', ':', '\t']).next().unwrap_or_default();
    let program = program.rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
    is_shell && (program.is_empty() || program.contains('*') || INTERPRETERS.contains(&program.as_str()))
}

/// A task's own words win over the worker's.
fn environment_of(installed: &Installed, env: &[(String, String)]) -> Vec<(String, String)> {
    let is_new = |name: &String| !env.iter().any(|(known, _)| known == name);
    let names: Vec<_> = installed.runner.variables().into_iter().filter(is_new).collect();
    env.iter().cloned().chain(environment::of_worker(&names)).collect()
}

fn remembered(sessions: &Sessions, name: &str, asked: Asked) -> Asked {
    if let Some(id) = &asked.conclusion.session
        && let Err(error) = sessions.remember(name, id, &asked.conclusion.counters)
    {
        // The next attempt begins afresh; nothing else is lost.
        tracing::warn!("the session {id} of {name} cannot be remembered: {error}");
    }
    asked
}

struct Asking<'a> {
    context: &'a WorkContext,
    work: &'a v1::AgentWork,
    installed: &'a Installed,
    env: Vec<(String, String)>,
}

impl Asking<'_> {
    async fn once(&self, place: Place<'_>, talk: Talk<'_>) -> Result<Asked, Ending> {
        let ask = Ask {
            work: self.work,
            cwd: place.cwd,
            aside: place.aside,
            env: &self.env,
            talk,
            timeout: place.limit,
        };
        let order =
            self.installed.runner.order(&ask).map_err(|error| failed(format!("the agent: {error}")))?;
        let hearing = Mutex::new(Hearing::new(self.context, self.installed.runner.listener(&ask)));
        let begun = Instant::now();
        let ended = self.run(&order, &hearing).await;
        let time = begun.elapsed();
        let stderr = order.stderr.as_deref().map(last_part).unwrap_or_default();
        remove_files(&order);
        let mut hearing = hearing.into_inner().unwrap_or_else(PoisonError::into_inner);
        hearing.finish(&stderr);
        let exit = self.exit(ended, hearing.gave_up(), stderr)?;
        let (mut conclusion, tail) = hearing.conclude(&exit);
        self.scrub(&mut conclusion);
        Ok(Asked { conclusion, exit_code: exit.code, tail, time, account: self.installed.account.clone() })
    }

    async fn run(&self, order: &Order, hearing: &Mutex<Hearing<'_>>) -> Result<Ended, SpawnError> {
        // Ended by whoever asks for it first: the lease, or the listener.
        let stop = watch::Sender::new(*self.context.cancel.borrow());
        let right = Right { cancel: stop.subscribe(), ..self.context.right() };
        let output = |bytes: &[u8]| {
            let mut hearing = hearing.lock().unwrap_or_else(PoisonError::into_inner);
            hearing.hear(bytes);
            if hearing.gave_up() {
                stop.send_replace(true);
            }
        };
        tokio::select! {
            ended = supervisor::run(order, &right, || (), &output) => ended,
            never = pass_on(self.context.cancel.clone(), &stop) => match never {},
        }
    }

    fn exit(&self, ended: Result<Ended, SpawnError>, gave_up: bool, stderr: String) -> Result<Exit, Ending> {
        let exit = Exit { gave_up, stderr, ..Exit::default() };
        match ended {
            Ok(Ended::Exited { code, signal }) => Ok(Exit { code, signal, ..exit }),
            Ok(Ended::TimedOut) => Ok(Exit { timed_out: true, ..exit }),
            Ok(Ended::Cancelled) if gave_up && !*self.context.cancel.borrow() => Ok(exit),
            Ok(Ended::Cancelled) => Err(Ending::Cancelled),
            Ok(Ended::Fenced) => Err(Ending::Fenced),
            Err(error) => Err(failed(error)),
        }
    }

    fn scrub(&self, conclusion: &mut Conclusion) {
        let scrubber = &self.context.scrubber;
        let findings = conclusion.denials.iter_mut().map(|finding| &mut finding.text);
        let texts = [&mut conclusion.summary, &mut conclusion.output_json, &mut conclusion.text];
        findings.chain(texts).for_each(|text| scrubber.clean(text));
    }
}

/// Passes the wish to end on, and waits for ever.
async fn pass_on(mut cancel: watch::Receiver<bool>, stop: &watch::Sender<bool>) -> Infallible {
    if cancel.wait_for(|cancel| *cancel).await.is_ok() {
        stop.send_replace(true);
    }
    std::future::pending().await
}

fn last_part(path: &Path) -> String {
    let read = || {
        let mut file = File::open(path)?;
        let length = file.metadata()?.len();
        file.seek(SeekFrom::Start(length.saturating_sub(STDERR_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(STDERR_BYTES).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>(String::from_utf8_lossy(&bytes).into_owned())
    };
    // It is there when the program was started; else there is nothing to tell.
    read().unwrap_or_default()
}

/// What is left goes with the workspace.
fn remove_files(order: &Order) {
    for path in [&order.stdin, &order.stderr].into_iter().flatten() {
        let _ = std::fs::remove_file(path);
    }
}
