//! Twelve tasks in three waves on the project's own repository: two in real conflict, one that merges cleanly and
//! breaks the build.

use wavegate_tests::{Home, Repository};

use crate::{head, home, tasks_of};

const SOURCE: &str = "coordinator/engine/src/files.rs";

/// The compiler itself: what stands for it on PATH may need a home of its own.
fn compiler() -> String {
    let asked = std::process::Command::new("rustc").args(["--print", "sysroot"]).output().unwrap();
    format!("{}/bin/rustc", String::from_utf8(asked.stdout).unwrap().trim())
}

/// Each task leaves a mark of its own, once.
fn plan(repository: &Repository) -> String {
    let build = format!(
        "{} --edition 2024 --crate-type lib --emit=metadata -o $PWD/built.rmeta {SOURCE}",
        compiler()
    );
    let task = |key: &str, run: &str, verify: &str| {
        format!("      - {{ id: {key}, do_title: x, run: {run:?}, verify: [{verify:?}] }}\n")
            .replace(" do_title: x,", "")
    };
    let top = |file: &str, key: &str| {
        task(key, &format!("sed -i '1i mark-{key}' {file}"), &format!("grep -q mark-{key} {file}"))
    };
    let end = |file: &str, key: &str| {
        task(key, &format!("echo mark-{key} >> {file}"), &format!("grep -q mark-{key} {file}"))
    };
    let own = |key: &str| {
        task(
            key,
            &format!("mkdir -p marks && echo mark-{key} > marks/{key}"),
            &format!("test -s marks/{key}"),
        )
    };
    let strict = "sed -i 's/fn parts(path: &str)/fn parts(path: \\&str, _strict: bool)/; s/\\bparts(\\([a-z]*\\))/parts(\\1, false)/g' FILE; \
                  sed -i '1i // mark-T2-01' FILE";
    let strict = strict.replace("FILE", SOURCE);
    // Written against the old form; once it is told that this does not build, against the new one.
    let depth = format!(
        "if [ -n \"$WAVEGATE_FINDINGS\" ]; then extra=', false'; fi; printf '\\n// mark-T2-02\\n#[must_use]\\npub fn depth(path: \
         &str) -> usize {{\\n    parts(path%s).len()\\n}}\\n' \"$extra\" >> {SOURCE}"
    );
    [
        head("together", repository),
        "  - id: W1\n    tasks:\n".to_owned(),
        // Both want the first line of the README, the third its last one.
        top("README.md", "T1-01"),
        top("README.md", "T1-02"),
        end("README.md", "T1-03"),
        own("T1-04"),
        "  - id: W2\n    tasks:\n".to_owned(),
        task("T2-01", &strict, "grep -q _strict coordinator/engine/src/files.rs"),
        task("T2-02", &depth, &build),
        top("CHANGELOG.md", "T2-03"),
        end("CHANGELOG.md", "T2-04"),
        "  - id: W3\n    tasks:\n".to_owned(),
        own("T3-01"),
        own("T3-02"),
        top("README.md", "T3-03"),
        task(
            "T3-04",
            "sed -i 's/mark-T1-04/mark-T1-04 mark-T3-04/' marks/T1-04",
            "grep -q mark-T3-04 marks/T1-04",
        ),
    ]
    .concat()
}

fn ends_well(mode: &str) {
    let home = home();
    let repository = Repository::of_this_project(home.path("repository")).unwrap();
    let before = repository.git(&["rev-parse", "main"]).unwrap();
    let file = home.write("plan.yaml", &plan(&repository)).unwrap();
    let ran = home.run(&["run", file.to_str().unwrap(), "--mode", mode, "--json"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", home.dump());
    let mut keys = tasks_of(&repository, &format!("{before}..main"));
    keys.sort();
    let expected: Vec<_> =
        (1..=3).flat_map(|wave| (1..=4).map(move |task| format!("T{wave}-{task:02}"))).collect();
    assert_eq!(keys, expected, "one commit a task");
    repository.git(&["checkout", "-q", "main"]).unwrap();
    for key in &expected {
        let found =
            repository.git(&["grep", "-c", "-w", &format!("mark-{key}"), "main", "--", ":!tests"]).unwrap();
        assert_eq!(found.lines().count(), 1, "{key} in one file:\n{found}");
        assert!(found.ends_with(":1"), "{key} on one line:\n{found}");
    }
    let built = std::process::Command::new(compiler())
        .args(["--edition", "2024", "--crate-type", "lib", "--emit=metadata", "-o"])
        .arg(home.path("built.rmeta"))
        .arg(repository.path().join(SOURCE))
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    rejected(&home);
}

/// The later of the two that conflicted, and the one that broke the build; nobody else.
fn rejected(home: &Home) {
    let sql = home.sql().unwrap();
    let mut rows = sql.prepare("SELECT key FROM wg_tasks WHERE attempt > 1 ORDER BY key").unwrap();
    let again: Vec<String> = rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
    assert_eq!(again, ["T1-02", "T2-02"], "{}", home.dump());
    let told = "SELECT count(*) FROM wg_findings WHERE task_key = 'T1-02' AND text LIKE '%T1-01%mark-T1-01%=======%'";
    assert_eq!(home.count(told).unwrap(), 1, "the conflicting lines and whose they are");
}

#[test]
fn in_standard_every_tasks_work_is_there_once_and_builds() {
    ends_well("standard");
}

#[test]
fn in_max_every_tasks_work_is_there_once_and_builds() {
    ends_well("max");
}

#[test]
fn declared_files_that_overlap_are_warned_of_and_take_turns_in_standard() {
    let home = home();
    let repository = crate::repository(&home);
    let tasks = "  - id: W1\n    tasks:\n      - { id: T1, files: [a], run: \"sed -i '1i one' a\", verify: [\"true\"] }\n      - { id: T2, files: \
                 [\"*\"], run: \"sed -i '1i two' a\", verify: [\"true\"] }\n";
    let file = home.write("plan.yaml", &(head("turns", &repository) + tasks)).unwrap();
    let file = file.to_str().unwrap();
    let checked = home.run(&["check", file]).unwrap();
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains("T1 and T2 may touch the same files"), "{said}");
    let ran = home.run(&["run", file, "--mode", "standard"]).unwrap();
    assert_eq!(ran.code, Some(0), "{ran:?}\n{}", home.dump());
    assert_eq!(
        home.count("SELECT count(*) FROM wg_events WHERE kind = 'wave_conflict'").unwrap(),
        1,
        "turns do not merge"
    );
    assert_eq!(repository.show("main", "a").unwrap(), "two\none\n1\n2\n3\n4\n5\n6\n7\n8");
}

/// Waves that wait for nobody, published as each mode says: no work of one is lost under another's.
#[test]
fn independent_waves_at_the_same_time_lose_nothing_of_each_other() {
    for (mode, tip) in [("sync", "main"), ("batch", "wavegate/free/batch"), ("none", "")] {
        let home = home();
        let repository = crate::repository(&home);
        let wave = |at: usize| {
            format!(
                "  - id: W{at}\n    depends_on: []\n    merge_mode: {mode}\n    tasks:\n      - {{ id: T{at}, run: \"echo {at} > file-{at}\", verify: \
                 [\"test -s file-{at}\"] }}\n"
            )
        };
        let waves: String = (1..=4).map(wave).collect();
        let file = home.write("plan.yaml", &(head("free", &repository) + &waves)).unwrap();
        let ran = home.run(&["run", file.to_str().unwrap(), "--mode", "max", "--workers", "2"]).unwrap();
        assert_eq!(ran.code, Some(0), "{mode}: {ran:?}\n{}", home.dump());
        assert_eq!(home.count("SELECT sum(rejections) FROM wg_tasks").unwrap(), 0, "{mode}");
        let changed = home.run(&["diff", "free", "--name-only"]).unwrap();
        assert_eq!(changed.stdout, "file-1\nfile-2\nfile-3\nfile-4\n", "{mode}: {changed:?}");
        if !tip.is_empty() {
            let mut tasks = tasks_of(&repository, &format!("HEAD..{tip}"));
            tasks.sort();
            assert_eq!(tasks, ["T1", "T2", "T3", "T4"], "{mode}");
        }
    }
}
