//! Agents on a git repository: what they leave becomes commits, Thor sees the diffs, and an agent whose work conflicts
//! with another's finds both in its worktree.

use wavegate_tests::{Repository, model_api::Role};

use crate::cluster::{Cluster, task};

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn agents_that_conflict_resolve_it_and_each_ones_work_reaches_the_branch() {
    let mut cluster = Cluster::start(&[]);
    let repository = Repository::new(cluster.home.path("repository"), &[("shared.txt", "begin\n")]).unwrap();
    cluster.worker("a", "executor,thor,coordinator", "unlimited");
    let plan = format!(
        "name: agents\nproject: {{ repo: {}, base: main, workspace: git }}\nwaves:\n  - id: W1\n    tasks:\n      - {{ id: T1-01, do: \"[[model: write \
         shared.txt|one]]\" }}\n      - {{ id: T1-02, do: \"[[model: write shared.txt|two]] [[rework: bash \
         cat shared.txt > seen.txt ;; write shared.txt|one and two ;; bash git add -A && git commit -qm 'Keep both']]\", allowed_tools: [Bash], permissions: full }}\n",
        repository.path().display()
    );
    cluster.submit(&plan, "standard");
    cluster.wait_for_status("done");
    assert_eq!(repository.show("main", "shared.txt").unwrap(), "one and two");
    let seen = repository.show("main", "seen.txt").unwrap();
    for word in ["<<<<<<<", "one", "=======", "two", ">>>>>>>"] {
        assert!(seen.contains(word), "what the second attempt found: {seen}");
    }
    let shown = cluster.home.show("1").unwrap();
    let attempts = ["T1-01", "T1-02"].map(|key| task(&shown, key)["attempt"].as_i64().unwrap());
    assert_eq!(attempts, [1, 2], "{}", cluster.dump());
    let log = repository
        .git(&["log", "--format=%(trailers:key=Wavegate-Task,valueonly) %b", "HEAD..main"])
        .unwrap();
    assert!(log.contains("T1-01") && log.contains("T1-02") && log.contains("* Keep both"), "{log}");
    let calls = cluster.api.calls();
    let judged: Vec<_> =
        calls.iter().filter(|call| call.role == Role::Thor).map(|call| call.prompt.as_str()).collect();
    assert!(
        judged.iter().any(|prompt| prompt.contains("+one and two") && prompt.contains("-begin")),
        "{judged:?}"
    );
    let reworked =
        calls.iter().any(|call| call.role == Role::Task && call.prompt.contains("conflicts with T1-01"));
    assert!(reworked, "{}", cluster.dump());
}
