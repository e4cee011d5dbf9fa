//! For tests: plays what a program once printed to a runner's listener.

use std::path::Path;

use wavegate_proto::v1;

use super::{Ask, Conclusion, Exit, Runner, Talk};
use crate::supervisor::Order;

/// The session of every fresh talk in tests.
pub(super) const FRESH: &str = "11111111-2222-4333-8444-555555555555";

/// What a play gave.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) log: String,
    pub(super) gave_up: bool,
    pub(super) conclusion: Conclusion,
}

impl Played {
    pub(super) fn outcome(&self) -> v1::Outcome {
        self.conclusion.outcome
    }

    /// In, out, read from the cache, cost.
    pub(super) fn figures(&self) -> (u64, u64, u64, Option<u64>) {
        let usage = super::usage_of(&self.conclusion.models);
        (usage.tokens_in, usage.tokens_out, usage.tokens_cached, usage.cost_micro_usd)
    }
}

pub(super) fn ask_for<'a>(work: &'a v1::AgentWork, folder: &'a Path, talk: Talk<'a>) -> Ask<'a> {
    Ask { work, cwd: folder, aside: folder, env: &[], talk, timeout: None }
}

/// Plays the lines to the end, or until the listener gives up.
pub(super) fn play(
    runner: &dyn Runner,
    work: &v1::AgentWork,
    talk: Talk<'_>,
    lines: &str,
    exit: Exit,
) -> Played {
    let mut listener = runner.listener(&ask_for(work, Path::new("/"), talk));
    let (mut log, mut gave_up) = (String::new(), false);
    for line in lines.lines() {
        let heard = listener.hear(line);
        log.push_str(&heard.log);
        gave_up = heard.give_up;
        if gave_up {
            break;
        }
    }
    let exit = if gave_up { Exit { gave_up, stderr: exit.stderr, ..Exit::default() } } else { exit };
    Played { log, gave_up, conclusion: listener.conclude(&exit) }
}

/// A fresh talk.
pub(super) fn fresh(runner: &dyn Runner, work: &v1::AgentWork, lines: &str, code: i32) -> Played {
    play(runner, work, Talk::Fresh { id: FRESH }, lines, ended(code, ""))
}

pub(super) fn ended(code: i32, stderr: &str) -> Exit {
    Exit { code: Some(code), stderr: stderr.to_owned(), ..Exit::default() }
}

/// The order for this work in a folder of its own, and what its standard input holds.
pub(super) fn order(runner: &dyn Runner, work: &v1::AgentWork, talk: Talk<'_>) -> (Order, String) {
    let folder = tempfile::tempdir().unwrap();
    let order = runner.order(&ask_for(work, folder.path(), talk)).unwrap();
    let stdin = order.stdin.as_ref().map(|path| std::fs::read_to_string(path).unwrap());
    (order, stdin.unwrap_or_default())
}
