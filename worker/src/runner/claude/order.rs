//! How the program is started. Every value follows its flag after a `=`, so that none of a plan's words
//! can become a flag.

use std::{fs, io, io::Write as _, os::unix::fs::OpenOptionsExt as _, path::Path};

use wavegate_proto::v1::Permissions;

use super::Claude;
use crate::{
    runner::{Ask, Talk},
    supervisor::Order,
};

/// A program takes no longer argument (MAX_ARG_STRLEN).
const LONGEST_ARGUMENT: usize = 128 * 1024 - 1;

/// What an agent that only looks may use.
const LOOKING: [&str; 3] = ["Read", "Grep", "Glob"];

/// Makes the program read the instructions (`CLAUDE.md`) of directories that are added by a flag.
const HEARS_ADDED: &str = "CLAUDE_CODE_ADDITIONAL_DIRECTORIES_CLAUDE_MD";

const ALWAYS: [&str; 5] = [
    "--print",
    "--output-format=stream-json",
    "--verbose",
    "--include-partial-messages",
    "--input-format=text",
];

pub(super) fn make(claude: &Claude, ask: &Ask<'_>) -> io::Result<Order> {
    let mut args: Vec<String> = ALWAYS.iter().map(|&flag| flag.to_owned()).collect();
    args.extend(asked(ask));
    args.extend(permitted(ask));
    args.extend(claude.args.iter().cloned());
    if let Some(long) = args.iter().find(|arg| arg.len() > LONGEST_ARGUMENT) {
        let flag = long.split('=').next().unwrap_or_default();
        let text = format!("{flag} is {} bytes long, at most {LONGEST_ARGUMENT} can be given", long.len());
        return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
    }
    // A prompt may be longer than any argument, and is nobody's business on this host.
    fs::create_dir_all(ask.aside)?;
    let stdin = ask.aside.join("prompt.txt");
    write_private(&stdin, ask.prompt())?;
    Ok(Order {
        program: claude.program.clone(),
        args,
        cwd: ask.cwd.to_owned(),
        env: env(ask),
        stdin: Some(stdin),
        stderr: Some(ask.aside.join("stderr.txt")),
        timeout: ask.timeout,
    })
}

fn asked(ask: &Ask<'_>) -> Vec<String> {
    let work = ask.work;
    let mut args = vec![match ask.talk {
        Talk::Fresh { id } => format!("--session-id={id}"),
        Talk::Resumed { id, .. } => format!("--resume={id}"),
    }];
    if !work.model.is_empty() {
        args.push(format!("--model={}", work.model));
    }
    match work.effort {
        0 => {}
        1 => args.push("--effort=low".to_owned()),
        2 => args.push("--effort=medium".to_owned()),
        _ => args.push("--effort=high".to_owned()),
    }
    if !work.schema.is_empty() {
        args.push(format!("--json-schema={}", work.schema));
    }
    if let Some(budget) = work.budget_micro_usd {
        args.push(format!("--max-budget-usd={}.{:06}", budget / 1_000_000, budget % 1_000_000));
    }
    args
}

fn permitted(ask: &Ask<'_>) -> Vec<String> {
    let allowed = &ask.work.allowed_tools;
    let mut args = match ask.work.permissions() {
        Permissions::Read => looking(allowed),
        Permissions::Edit | Permissions::Unspecified => editing(ask.cwd),
        Permissions::Full => vec!["--permission-mode=bypassPermissions".to_owned()],
    };
    args.extend(allowed.iter().map(|tool| format!("--allowedTools={tool}")));
    args
}

/// Writes outside of the directory and every command that is not read-only are denied, since there is
/// nobody to ask. Nor may the workspace allow them: its settings could give rights, its hooks and servers
/// are commands, and an agent may have written them. Its instructions are heard all the same.
fn editing(workspace: &Path) -> Vec<String> {
    vec![
        "--permission-mode=acceptEdits".to_owned(),
        "--setting-sources=user".to_owned(),
        format!("--add-dir={}", workspace.display()),
    ]
}

/// Tools that are not named are not there at all: a mode alone would let read-only commands run. What the
/// workspace says of itself (settings, hooks, servers, instructions) is not heard: it may be what is to be
/// judged.
fn looking(allowed: &[String]) -> Vec<String> {
    let besides = allowed.iter().map(|tool| tool.split('(').next().unwrap_or_default().trim());
    let tools: Vec<_> = LOOKING.into_iter().chain(besides).collect();
    let mut args = vec![
        "--permission-mode=dontAsk".to_owned(),
        format!("--tools={}", tools.join(",")),
        "--setting-sources=user".to_owned(),
        "--strict-mcp-config".to_owned(),
    ];
    args.extend(LOOKING.iter().map(|tool| format!("--allowedTools={tool}")));
    args
}

fn env(ask: &Ask<'_>) -> Vec<(String, String)> {
    let ours = ["DISABLE_AUTOUPDATER", "IS_SANDBOX", HEARS_ADDED];
    let mut env: Vec<_> =
        ask.env.iter().filter(|(name, _)| !ours.contains(&name.as_str())).cloned().collect();
    env.push(("DISABLE_AUTOUPDATER".to_owned(), "1".to_owned()));
    if matches!(ask.work.permissions(), Permissions::Edit | Permissions::Unspecified) {
        env.push((HEARS_ADDED.to_owned(), "1".to_owned()));
    }
    // Without it the program refuses to give root all permissions; the operator has given them.
    if ask.work.permissions() == Permissions::Full && rustix::process::geteuid().is_root() {
        env.push(("IS_SANDBOX".to_owned(), "1".to_owned()));
    }
    env
}

fn write_private(path: &Path, text: &str) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())
}
