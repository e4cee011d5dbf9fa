//! Whatever the text, reading ends in a plan or in errors, and never in a panic.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::{super::read, errors, files};

fn check(source: &str) -> Result<(), TestCaseError> {
    for name in ["plan.yaml", "plan.json"] {
        let reading = read(source, name, &BTreeMap::new());
        prop_assert_eq!(reading.spec.is_none(), !errors(&reading).is_empty());
        let lines = source.lines().count().max(1) as u32;
        for diagnostic in &reading.diagnostics {
            prop_assert!(diagnostic.line >= 1 && diagnostic.line <= lines + 1);
            prop_assert!(diagnostic.column >= 1);
            prop_assert!(!diagnostic.message.contains('\n'), "{}", diagnostic.message);
            let _ = diagnostic.render(source);
        }
    }
    Ok(())
}

/// Pieces that plan files and hostile files are made of.
const PIECES: [&str; 44] = [
    "name",
    "waves",
    "tasks",
    "id",
    "run",
    "do",
    "verify",
    "depends_on",
    "defaults",
    "vars",
    "plan",
    "T1",
    "W1",
    ": ",
    ":",
    "- ",
    "? ",
    "\n",
    "\n  ",
    "\n    ",
    "\n      - ",
    "{",
    "}",
    "[",
    "]",
    ", ",
    "&a ",
    "*a",
    "!!str ",
    "!x ",
    "<<: ",
    "|\n",
    ">-\n",
    "\"",
    "'",
    "\\uD83D",
    "\\",
    "\t",
    "#",
    "---\n",
    "...\n",
    "%YAML 1.2\n",
    "é",
    "\u{feff}",
];

#[derive(Debug, Clone)]
enum Change {
    Drop(usize, usize),
    Insert(usize, &'static str),
    Double(usize, usize),
    Swap(usize, usize),
}

fn change() -> impl Strategy<Value = Change> {
    let at = || any::<prop::sample::Index>().prop_map(|index| index.index(1 << 20));
    prop_oneof![
        (at(), 0_usize..40).prop_map(|(at, length)| Change::Drop(at, length)),
        (at(), prop::sample::select(&PIECES[..])).prop_map(|(at, piece)| Change::Insert(at, piece)),
        (at(), 0_usize..80).prop_map(|(at, length)| Change::Double(at, length)),
        (at(), at()).prop_map(|(left, right)| Change::Swap(left, right)),
    ]
}

fn apply(text: &mut Vec<char>, change: &Change) {
    let length = text.len().max(1);
    match *change {
        Change::Drop(at, many) => {
            let at = at % length;
            let end = (at + many).min(text.len());
            text.drain(at.min(end)..end);
        }
        Change::Insert(at, piece) => {
            let at = (at % length).min(text.len());
            text.splice(at..at, piece.chars());
        }
        Change::Double(at, many) => {
            let at = (at % length).min(text.len());
            let again: Vec<char> = text[at..].iter().take(many).copied().collect();
            text.splice(at..at, again);
        }
        Change::Swap(left, right) if !text.is_empty() => text.swap(left % length, right % length),
        Change::Swap(..) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn any_text_is_read_or_refused(source in ".{0,400}") {
        check(&source)?;
    }

    #[test]
    fn any_text_of_yaml_pieces_is_read_or_refused(
        pieces in prop::collection::vec(prop::sample::select(&PIECES[..]), 0..60)
    ) {
        check(&pieces.concat())?;
    }

    #[test]
    fn any_change_of_a_good_file_is_read_or_refused(
        file in any::<prop::sample::Index>(),
        changes in prop::collection::vec(change(), 1..6),
    ) {
        let files = files("good");
        let mut text: Vec<char> = file.get(&files).1.chars().collect();
        for change in &changes {
            apply(&mut text, change);
        }
        check(&text.into_iter().collect::<String>())?;
    }
}

#[test]
fn hostile_files_are_refused_in_bounded_time() {
    let many = 400_000;
    let sources = [
        "[".repeat(many),
        "{".repeat(many),
        "- ".repeat(many),
        "? ".repeat(many),
        "{a: ".repeat(many),
        "!".repeat(many),
        "&a ".repeat(many),
        "a: ".repeat(many),
        "\"".repeat(many),
        "#\n".repeat(many),
        format!("name: x\nwaves: [{}]", "{}, ".repeat(900)),
        format!("name: x\nwaves: [{}]", "1, ".repeat(many)),
        format!("name: x\nvars: {{{}}}", "a: b, ".repeat(many)),
        format!("{{\"name\": {}", "[".repeat(many)),
        "x".repeat(super::super::MAX_BYTES + 1),
        format!(
            "name: x\nwaves: [{{id: W, tasks: [{}]}}]",
            (0..20_000).map(wrong_dependency).collect::<String>()
        ),
    ];
    for source in sources {
        let reading = read(&source, "plan.yaml", &BTreeMap::new());
        assert_eq!(reading.spec, None);
        assert!(!errors(&reading).is_empty());
        assert!(reading.diagnostics.len() < 600);
    }
}

fn wrong_dependency(number: u32) -> String {
    format!("{{id: T{number}, run: x, depends_on: [X{number}, T{}]}}, ", (number + 1) % 20_000)
}
