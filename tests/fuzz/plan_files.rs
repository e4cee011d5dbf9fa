//! Plan files of any bytes, and of any fields.

use std::{cell::RefCell, collections::BTreeMap};

use wavegate_coordinator::{
    driver::{Store as _, Submission},
    planfile::{self, Reading},
    prices::Prices,
    rpc::{diagnostics_of, outline_of},
    store::{self, SqliteStore, reader::Reader},
};
use wavegate_engine::Utc;

use crate::{draw::Draw, messages::folder, target};

target!(any_text_is_read_or_refused, 4_000, any_text);
target!(any_fields_are_read_or_refused, 4_000, any_fields);

fn any_text(bytes: &[u8]) {
    let source = String::from_utf8_lossy(bytes);
    for file in ["plan.yaml", "plan.json"] {
        check(&source, file);
    }
}

fn any_fields(bytes: &[u8]) {
    let mut draw = Draw::new(bytes);
    let source = fields::plan(&mut draw);
    check(&source, "plan.yaml");
}

fn check(source: &str, file: &str) {
    let reading = read(source, file);
    assert_eq!(reading, read(source, file), "the same text, another reading");
    let is_wrong = reading.diagnostics.iter().any(|it| it.severity == planfile::Severity::Error);
    assert_eq!(reading.spec.is_none(), is_wrong, "refused without an error, or accepted with one");
    check_places(source, &reading);
    let _ = diagnostics_of(&reading);
    if let Some(spec) = &reading.spec {
        let _ = outline_of(spec, &Prices::built_in());
        store(source, &reading);
    }
}

/// Values for variables that the file may have.
fn read(source: &str, file: &str) -> Reading {
    let plain = planfile::read(source, file, &BTreeMap::new());
    let sets = [("repo", "/srv/repository"), ("label", "a\nb"), ("greeting", "\u{0}${label}")];
    let sets = sets.into_iter().filter(|(name, _)| source.contains(name));
    let sets: BTreeMap<_, _> = sets.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    if sets.is_empty() {
        return plain;
    }
    let set = planfile::read(source, file, &sets);
    if set.spec.is_some() { set } else { plain }
}

/// A mistake is where the file is, or right behind it.
fn check_places(source: &str, reading: &Reading) {
    let lines: Vec<_> = source.split('\n').collect();
    for mistake in &reading.diagnostics {
        let line = lines.get(mistake.line.wrapping_sub(1) as usize);
        let line = line.unwrap_or_else(|| panic!("{mistake} is behind the file's {} lines", lines.len()));
        let most = line.chars().count() as u32 + 1;
        assert!((1..=most).contains(&mistake.column), "{mistake} is outside its line {line:?}");
        assert!(!mistake.message.contains('\n'), "one mistake is one line: {:?}", mistake.message);
        let _ = mistake.render(source);
    }
}

thread_local! {
    /// Opened anew for each thread: opening takes longer than reading a plan.
    static STORE: RefCell<Option<(SqliteStore, Reader, std::fs::File, tempfile::TempDir)>> = const { RefCell::new(None) };
}

/// What is accepted can be stored, and is read back as it was.
fn store(source: &str, reading: &Reading) {
    let Some(spec) = reading.spec.clone() else { return };
    STORE.with_borrow_mut(|kept| {
        let (store, reader, ..) = kept.get_or_insert_with(|| {
            let folder = folder();
            let patience = std::time::Duration::from_secs(20);
            let opened = store::open(&folder.path().join("wavegate.db"), patience, Utc(0)).unwrap();
            (opened.store, opened.reader, opened.lock, folder)
        });
        let submission = Submission {
            spec: spec.clone(),
            source: source.to_owned(),
            file_name: "plan.yaml".to_owned(),
            base: None,
            by: "ada".to_owned(),
        };
        let (plan, _) = store.stage(&submission, Utc(0)).unwrap();
        let mut from = Some(0);
        while let Some(at) = from {
            from = store.stage_tasks(plan, &spec, at, 500).unwrap();
        }
        assert_eq!(reader.spec(plan).unwrap(), Some(spec), "stored, and read back otherwise");
    });
}

/// Plans of the fields that there are, in any order and with any values.
mod fields {
    use crate::draw::Draw;

    const PLAN: [&str; 14] = [
        "name",
        "description",
        "project",
        "vars",
        "requirements",
        "constraints",
        "budget",
        "thor",
        "coordinator",
        "defaults",
        "plan",
        "workspace",
        "waves",
        "x",
    ];
    const WAVE: [&str; 8] =
        ["id", "tasks", "name", "depends_on", "verify", "merge_mode", "acceptance_invariants", "x"];
    const TASK: [&str; 28] = [
        "id",
        "run",
        "do",
        "summary",
        "title",
        "runner",
        "model",
        "effort",
        "priority",
        "type",
        "files",
        "verify",
        "criteria",
        "depends_on",
        "requires",
        "timeout",
        "max_failures",
        "on_lost",
        "lost_after",
        "setup",
        "permissions",
        "allowed_tools",
        "budget",
        "env",
        "skip_if",
        "executor_agent",
        "lines",
        "x",
    ];
    const VALUES: [&str; 40] = [
        "T1",
        "T2",
        "W1",
        "W2",
        "'true'",
        "[T1, T2]",
        "[]",
        "{}",
        "null",
        "~",
        "1",
        "0",
        "-1",
        "3",
        "1e400",
        ".nan",
        "-.inf",
        "99999999999999999999",
        "1h30m",
        "90s",
        "18446744073709551615h",
        "shell",
        "claude",
        "opus",
        "P0",
        "L",
        "hold",
        "edit",
        "git",
        "dir",
        "external",
        "{runner: claude, model: opus}",
        "{tokens: 5, usd: 0.1}",
        "[a/b, '**/*.rs', ../x]",
        "*a",
        "&a x",
        "!!str x",
        "'a b'",
        "{repo: /srv, workspace: git}",
        "\"\\u0000\"",
    ];

    pub(super) fn plan(draw: &mut Draw<'_>) -> String {
        let mut text = "name: plan\n".to_owned();
        for _ in 0..draw.below(4) {
            let key = draw.pick(&PLAN);
            text += &format!("{key}: {}\n", value(draw, 0));
        }
        text += "waves:\n";
        for wave in 0..=draw.below(4) {
            text += &format!("- id: W{wave}\n  tasks:\n");
            for task in 0..=draw.below(4) {
                text += &format!("  - id: T{wave}{task}\n");
                if !draw.one_in(8) {
                    text += "    run: 'true'\n";
                }
                entries(draw, &TASK, 4, &mut text);
            }
            entries(draw, &WAVE, 2, &mut text);
        }
        text
    }

    fn entries(draw: &mut Draw<'_>, keys: &[&str], indent: usize, text: &mut String) {
        for _ in 0..draw.below(4) {
            let key = draw.pick(keys);
            *text += &format!("{}{key}: {}\n", " ".repeat(indent), value(draw, 0));
        }
    }

    fn value(draw: &mut Draw<'_>, depth: usize) -> String {
        match draw.below(10) {
            0..=6 => draw.pick(&VALUES).to_owned(),
            7 => format!("{:?}", draw.text()),
            8 if depth < 80 => {
                let inner: Vec<_> = draw.many(3, |draw| value(draw, depth + 1));
                format!("[{}]", inner.join(", "))
            }
            9 if depth < 80 => format!("{{{}: {}}}", draw.pick(&TASK), value(draw, depth + 1)),
            _ => "x".to_owned(),
        }
    }
}
