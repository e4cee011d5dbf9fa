//! The words of every message, as files.

use std::{fs, path::Path};

use super::{errors, files, read, rendered, sets};

#[test]
fn wrong_files_get_all_their_errors_with_places() {
    let files = files("wrong");
    assert!(files.len() >= 20);
    for (name, source) in files {
        let sets = match name.as_str() {
            "wrong_vars.yaml" => sets(&[("reop", "x"), ("WAVEGATE_RESULT", "y")]),
            _ => sets(&[]),
        };
        let reading = read(&source, &name, &sets);
        assert_eq!(reading.spec, None, "{name} was accepted");
        assert!(!errors(&reading).is_empty(), "{name} has no error");
        insta::assert_snapshot!(name.replace('.', "_"), rendered(&reading, &source));
    }
}

#[test]
fn good_files_are_read_whole() {
    for (name, source) in files("good") {
        let sets = match name.as_str() {
            "everything.yaml" => sets(&[("repo", "/src"), (super::super::PLAN_DIR, "/plans")]),
            _ => sets(&[]),
        };
        let reading = read(&source, &name, &sets);
        assert_eq!(errors(&reading), Vec::<&str>::new(), "{name}");
        let spec = reading.spec.as_ref().unwrap();
        let json = serde_json::to_string_pretty(spec).unwrap();
        let text = format!("{}{json}\n", rendered(&reading, &source));
        insta::assert_snapshot!(name.replace('.', "_"), text);
    }
}

#[test]
fn the_examples_are_read_without_a_word() {
    for (name, waves, tasks) in [("hello.yaml", 2, 4), ("tree-report.yaml", 3, 21), ("repository.yaml", 3, 6)]
    {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../examples").join(name);
        let source = fs::read_to_string(path).unwrap();
        let sets = sets(&[(super::super::PLAN_DIR, "/plans")]);
        let reading = read(&source, name, &sets);
        assert_eq!(reading.diagnostics, [], "{name}");
        let spec = reading.spec.unwrap();
        let found: usize = spec.waves.iter().map(|wave| wave.tasks.len()).sum();
        assert_eq!((spec.waves.len(), found), (waves, tasks), "{name}");
        let mut tasks = spec.waves.iter().flat_map(|wave| &wave.tasks);
        assert!(tasks.all(|task| !task.verify.is_empty()), "{name}");
    }
}
