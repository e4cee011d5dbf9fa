//! The words of every message, as files.

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
