//! Workspace dir: results carry over, conflicts go back, the tree is published wave by wave.

use wavegate_tests::wait_until;

use crate::{home, served};

#[test]
fn results_of_a_wave_are_there_in_the_next_and_in_the_out_folder() {
    let home = home();
    let text = r#"
name: carry
waves:
  - id: W1
    tasks:
      - { id: T1-01, run: "mkdir -p a && echo one > a/one", verify: ["test $(cat a/one) = one"] }
      - { id: T1-02, run: "echo two > two", verify: ["grep -q two two"] }
      - { id: T1-03, run: "cat a/one > three", depends_on: [T1-01], verify: ["test -s three"] }
  - id: W2
    tasks:
      - { id: T2-01, run: "cat a/one two three > all && rm two", verify: ["test $(wc -l < all) -eq 3", "test ! -e two"] }
"#;
    let plan = home.write("plan.yaml", text).unwrap();
    let out = home.path("out");
    let ran =
        home.run(&["run", plan.to_str().unwrap(), "--mode", "max", "--out", out.to_str().unwrap()]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", home.dump());
    assert_eq!(home.read("out/all"), "one\ntwo\none\n");
    assert!(home.path("out/a/one").exists() && !home.path("out/two").exists());
}

#[test]
fn a_conflict_sends_the_later_task_back_with_what_it_met() {
    let home = home();
    let text = r#"
name: clash
waves:
  - id: W1
    tasks:
      - { id: T1-01, run: "echo mine > same", verify: ["test -e same"] }
      - id: T1-02
        run: 'if [ -n "$WAVEGATE_FINDINGS" ]; then echo yours > other; else echo yours > same; fi'
        verify: ["test -e same"]
"#;
    let plan = home.write("plan.yaml", text).unwrap();
    let out = home.path("out");
    let ran =
        home.run(&["run", plan.to_str().unwrap(), "--mode", "max", "--out", out.to_str().unwrap()]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", home.dump());
    assert_eq!(home.read("out/same"), "mine\n");
    assert_eq!(home.read("out/other"), "yours\n");
    let rejections = "SELECT rejections + attempt FROM wg_tasks WHERE key='T1-02'";
    assert_eq!(home.count(rejections).unwrap(), 2, "rejected once and approved since: two attempts");
}

#[test]
fn independent_waves_that_touch_the_same_tree_both_arrive() {
    let home = home();
    let text = r#"
name: two-waves
waves:
  - id: W1
    tasks:
      - { id: T1-01, run: "echo one > one", verify: ["test -e one"] }
  - id: W2
    depends_on: []
    tasks:
      - { id: T2-01, run: "echo two > two", verify: ["test -e two"] }
"#;
    let plan = home.write("plan.yaml", text).unwrap();
    let out = home.path("out");
    let ran =
        home.run(&["run", plan.to_str().unwrap(), "--mode", "max", "--out", out.to_str().unwrap()]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", home.dump());
    assert!(home.path("out/one").exists() && home.path("out/two").exists());
}

#[test]
fn a_plan_starts_from_a_snapshot_of_its_folder_and_leaves_it_alone() {
    let home = home();
    std::fs::create_dir(home.path("source")).unwrap();
    home.write("source/in.txt", "before\n").unwrap();
    let text = format!(
        "name: from-folder\nproject: {{ repo: {:?}, workspace: dir }}\nwaves:\n  - id: W1\n    tasks:\n      \
         - {{ id: T1-01, run: \"tr a-z A-Z < in.txt > out.txt && rm in.txt\", verify: [\"grep -q BEFORE out.txt\"] }}\n",
        home.path("source").display().to_string()
    );
    let plan = home.write("plan.yaml", &text).unwrap();
    let out = home.path("out");
    let ran =
        home.run(&["run", plan.to_str().unwrap(), "--mode", "max", "--out", out.to_str().unwrap()]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", home.dump());
    assert_eq!(home.read("out/out.txt"), "BEFORE\n");
    assert!(!home.path("out/in.txt").exists());
    assert_eq!(home.read("source/in.txt"), "before\n");
    assert!(!home.path("source/out.txt").exists());
}

#[test]
fn a_second_worker_takes_over_what_the_first_one_built() {
    let home = home();
    let (_coordinator, mut first) = served(&home, "2");
    let text = "name: over\nwaves:\n  - id: W1\n    tasks:\n      \
                - { id: T1-01, run: 'echo kept > kept', verify: ['test -e kept'] }\n  - id: W2\n    tasks:\n      \
                - { id: T2-01, run: 'cat kept > copy', requires: [late], verify: ['grep -q kept copy'] }\n";
    let plan = home.write("plan.yaml", text).unwrap();
    home.run(&["submit", plan.to_str().unwrap()]).unwrap();
    home.run(&["approve", "over", "--mode", "standard"]).unwrap();
    wait_until(
        "the second wave",
        || home.dump(),
        || (home.count("SELECT count(*) FROM wg_waves WHERE state='done'").unwrap() == 1).then_some(()),
    );
    first.kill();
    let _second = home.worker("two", &["--label", "late"]).unwrap();
    home.wait_for_status("over", "done");
}
