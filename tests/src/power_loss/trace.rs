//! strace's log as calls: who, when, what, and between which lines of the log it happened.

use std::{collections::BTreeMap, fs, path::Path, process::Command};

use crate::wait_until;

/// All that changes files, makes them durable, or tells a peer something.
const CALLS: &str = "open,openat,openat2,creat,mkdir,mkdirat,rmdir,rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,\
                     symlinkat,write,writev,pwrite64,pwritev,pwritev2,truncate,ftruncate,fallocate,fsync,fdatasync,sync_file_range,\
                     msync,copy_file_range,sendfile,sendto,sendmsg,lseek";

/// More than any call of ours writes at once.
const LONGEST_TEXT: &str = "4000000";

/// The command under strace, whose log goes to a file. The command's process is the one that is started: it can be
/// killed and waited for as without a tracer.
#[must_use]
pub fn traced(command: &Command, log: &Path) -> Command {
    traced_with(command, log, None)
}

/// As [`traced`], with calls that fail, in strace's words: `inject=fsync:error=EIO:when=40+`.
#[must_use]
pub fn traced_with(command: &Command, log: &Path, fault: Option<&str>) -> Command {
    let mut traced = Command::new("strace");
    traced.args(["-D", "-f", "--seccomp-bpf", "-q", "-y", "-xx", "-ttt", "-s", LONGEST_TEXT]);
    traced.args(["-e", &format!("trace={CALLS}"), "-e", "signal=KILL"]).arg("-o").arg(log);
    if let Some(fault) = fault {
        traced.args(["-e", fault]);
    }
    traced.arg(command.get_program()).args(command.get_args());
    // What `command` was given beside the cleared environment is all that it gets.
    traced.env_clear();
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            traced.env(key, value);
        }
    }
    if let Some(folder) = command.get_current_dir() {
        traced.current_dir(folder);
    }
    traced
}

/// One call that has returned.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// The lines of the log, from zero, between which it happened.
    pub begin: usize,
    pub end: usize,
    /// Seconds since 1970, when it began.
    pub time: f64,
    pub name: String,
    /// What is between its parentheses.
    pub arguments: String,
    /// What it returned, with the path of a descriptor.
    pub result: String,
}

impl Call {
    /// What it returned as a number; -1 is a failure.
    #[must_use]
    pub fn returned(&self) -> i64 {
        let digits = self.result.split(|byte: char| !byte.is_ascii_digit() && byte != '-').next();
        digits.and_then(|digits| digits.parse().ok()).unwrap_or(-1)
    }
}

/// A whole log.
#[derive(Debug, Clone)]
pub struct Trace {
    pub calls: Vec<Call>,
    /// Lines of the log.
    pub length: usize,
}

impl Trace {
    /// Reads a log to its end, which comes soon after that of the traced process.
    #[track_caller]
    #[must_use]
    pub fn read(log: &Path, process: u32) -> Self {
        let ending = format!("{process} ");
        let text = wait_until(
            "the trace to end",
            || format!("{}: no end of process {process}", log.display()),
            || {
                let text = fs::read_to_string(log).ok()?;
                let last = text
                    .lines()
                    .rev()
                    .take(50)
                    .any(|line| line.starts_with(&ending) && line.contains(" +++ "));
                (last && text.ends_with('\n')).then_some(text)
            },
        );
        Self::parse(&text)
    }

    /// Reads the text of a log.
    #[track_caller]
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut calls = Vec::new();
        let mut open: BTreeMap<&str, (usize, f64, &str)> = BTreeMap::new();
        let mut length = 0;
        for (at, line) in text.lines().enumerate() {
            length = at + 1;
            let Some((process, time, rest)) = split_head(line) else { continue };
            if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
                open.insert(process, (at, time, begun));
            } else if let Some(resumed) = rest.strip_prefix("<... ") {
                let Some((begin, time, begun)) = open.remove(process) else { continue };
                let end = resumed.split_once(" resumed>").map_or("", |(_, end)| end);
                calls.extend(read_call(begin, at, time, &format!("{begun}{end}")));
            } else {
                calls.extend(read_call(at, at, time, rest));
            }
        }
        assert!(calls.iter().all(|call| !call.arguments.contains("\"...")), "a text of the trace was cut");
        calls.sort_by_key(|call| call.begin);
        Self { calls, length }
    }

    /// One life after another on the same disk.
    #[must_use]
    pub fn then(mut self, next: Self) -> Self {
        let before = self.length;
        self.calls.extend(next.calls.into_iter().map(|mut call| {
            call.begin += before;
            call.end += before;
            call
        }));
        self.length += next.length;
        self
    }
}

/// `PID TIME REST`.
fn split_head(line: &str) -> Option<(&str, f64, &str)> {
    let (process, rest) = line.split_once(' ')?;
    let (time, rest) = rest.trim_start().split_once(' ')?;
    Some((process, time.parse().ok()?, rest))
}

/// `NAME(ARGUMENTS) = RESULT`; None for what is no call (the end of a process) or never returned.
fn read_call(begin: usize, end: usize, time: f64, text: &str) -> Option<Call> {
    let (text, result) = text.rsplit_once(" = ")?;
    let (name, arguments) = text.split_once('(')?;
    let arguments = arguments.trim_end().strip_suffix(')')?;
    if result.starts_with('?') {
        return None;
    }
    let (name, arguments, result) = (name.to_owned(), arguments.to_owned(), result.to_owned());
    Some(Call { begin, end, time, name, arguments, result })
}
