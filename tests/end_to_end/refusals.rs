//! What is wrong is said clearly, changes nothing and never panics.

use std::fs;

use wavegate_tests::Ran;

use crate::{home, same_tasks};

/// A clear end: not 0, not a panic, and the message has these words.
#[track_caller]
fn refused(ran: &Ran, words: &[&str]) {
    assert!(ran.code.is_some_and(|code| code != 0 && code != 101), "{ran:?}");
    assert!(!ran.stderr.contains("panicked"), "{ran:?}");
    for word in words {
        // `check` has nothing but diagnostics to tell: they are its result.
        assert!(ran.stderr.contains(word) || ran.stdout.contains(word), "{word:?} is missing in {ran:?}");
    }
}

#[test]
fn wrong_plan_files_are_refused_with_places_and_leave_nothing() {
    let home = home();
    let coordinator = home.serve("127.0.0.1:0").unwrap();
    let plan = home
        .write("bad.yaml", "name: bad\nwaves:\n  - id: W1\n    tasks:\n      - { id: T, ran: x }\n")
        .unwrap();
    for command in ["check", "submit"] {
        let ran = home.run(&[command, plan.to_str().unwrap()]).unwrap();
        refused(&ran, &["bad.yaml:5:"]);
    }
    let ran = home.run(&["run", plan.to_str().unwrap(), "--mode", "max"]).unwrap();
    refused(&ran, &["bad.yaml:5:"]);
    refused(&home.run(&["submit", "missing.yaml"]).unwrap(), &["missing.yaml"]);
    drop(coordinator);
    assert_eq!(home.count("SELECT count(*) FROM wg_plans").unwrap(), 0);
    assert_eq!(home.count("SELECT count(*) FROM wg_tasks").unwrap(), 0);
    assert_eq!(home.count("SELECT count(*) FROM plans").unwrap(), 0);
}

#[test]
fn a_second_coordinator_on_the_file_is_refused() {
    let home = home();
    let _first = home.serve("127.0.0.1:0").unwrap();
    let second = home.run(&["serve", "--listen", "127.0.0.1:0"]).unwrap();
    refused(&second, &["wavegate.db"]);
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let home = home();
    drop(home.serve("127.0.0.1:0").unwrap());
    home.sql().unwrap().execute("UPDATE wg_meta SET value='999' WHERE key='schema_version'", []).unwrap();
    refused(&home.run(&["serve", "--listen", "127.0.0.1:0"]).unwrap(), &["999", "newer"]);
    assert_eq!(
        home.count("SELECT value FROM wg_meta WHERE key='schema_version'").map_or(999, |found| found),
        999
    );
}

#[test]
fn a_garbage_database_is_refused_and_left_alone() {
    let home = home();
    let garbage = "this is no database, it is a text of some length".repeat(100);
    home.write("wavegate.db", &garbage).unwrap();
    refused(&home.run(&["serve", "--listen", "127.0.0.1:0"]).unwrap(), &["wavegate.db"]);
    assert_eq!(home.read("wavegate.db"), garbage);
}

#[test]
fn a_folder_that_cannot_be_written_is_named() {
    let home = home();
    home.write("file", "").unwrap();
    let db = home.path("file/wavegate.db");
    let mut command = home.command();
    let output = command.args(["serve", "--listen", "127.0.0.1:0"]).env("WAVEGATE_DB", &db).output().unwrap();
    refused(&output.into(), &["file"]);
}

#[test]
fn without_a_coordinator_a_command_says_how_to_start_one() {
    let home = home();
    let ran = home.run(&["plans", "--coordinator", "http://127.0.0.1:1"]).unwrap();
    refused(&ran, &["127.0.0.1:1", "wavegate serve"]);
}

#[test]
fn without_the_token_nothing_is_changed() {
    let home = home();
    let _coordinator = home.serve("127.0.0.1:0").unwrap();
    let token = home.path("wavegate.db.d/token");
    use std::os::unix::fs::PermissionsExt as _;
    assert_eq!(fs::metadata(&token).unwrap().permissions().mode() & 0o777, 0o600);
    let wrong = home.write("wrong-token", "0000").unwrap();
    let plan = home.write("plan.yaml", &same_tasks("one", 1, "true")).unwrap();
    let ran = home.run(&["submit", plan.to_str().unwrap(), "--token-file", wrong.to_str().unwrap()]).unwrap();
    refused(&ran, &["token"]);
    let ran = home.run(&["plans", "--token-file", wrong.to_str().unwrap()]).unwrap();
    assert_eq!(ran.code, Some(0), "reading is open on loopback: {ran:?}");
    assert_eq!(home.count("SELECT count(*) FROM wg_plans").unwrap(), 0);
}

#[test]
fn an_unknown_plan_is_named() {
    let home = home();
    let _coordinator = home.serve("127.0.0.1:0").unwrap();
    for args in [&["show", "nothing"][..], &["approve", "nothing", "--mode", "max"], &["cancel", "nothing"]] {
        refused(&home.run(args).unwrap(), &["nothing"]);
    }
}
