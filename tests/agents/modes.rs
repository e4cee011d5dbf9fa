//! What the mode means when real agents work: how many at once, and who coordinates.

use wavegate_tests::model_api::Role;

use crate::cluster::Cluster;

/// Six agents, of which so many meet before any goes on.
fn plan(name: &str, together: usize, counsel: &str) -> String {
    let task = |at: usize| {
        format!(
            "      - {{ id: T1-0{at}, do: \"[[model: gather {together} ;; write f{at}.txt|x]]{counsel}\", \
             permissions: edit, allowed_tools: [Bash] }}\n"
        )
    };
    let tasks: String = (1..=6).map(task).collect();
    format!("name: {name}\nwaves:\n  - id: W1\n    tasks:\n{tasks}")
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn in_standard_three_agents_work_at_once_and_no_more() {
    let mut cluster = Cluster::start(&[]);
    cluster.worker("a", "executor,thor,coordinator", "unlimited");
    cluster.submit(&plan("standard", 3, ""), "standard");
    cluster.wait_for_status("done");
    let most = cluster.api.most_sessions_at_once(|call| call.role == Role::Task);
    assert_eq!(most, 3, "{}", cluster.dump());
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn in_max_all_agents_work_at_once_and_opus_coordinates() {
    let mut cluster = Cluster::start(&[]);
    cluster.worker("a", "executor,thor,coordinator", "unlimited");
    cluster.submit(&plan("max", 6, ""), "max");
    cluster.wait_for_status("done");
    let most = cluster.api.most_sessions_at_once(|call| call.role == Role::Task);
    assert_eq!(most, 6, "{}", cluster.dump());
    let calls = cluster.api.answered();
    let of = |role| calls.iter().filter(move |call| call.role == role);
    assert!(of(Role::Coordinator).count() > 0);
    assert!(of(Role::Coordinator).all(|call| call.asked.contains("opus")), "{}", cluster.dump());
    assert!(of(Role::Task).chain(of(Role::Thor)).all(|call| call.asked.contains("sonnet")));
    let report = cluster.report();
    let coordinator = report["report"]["coordinator_usage"]["tokens_out"].as_u64().unwrap();
    assert_eq!(coordinator, of(Role::Coordinator).map(|call| call.usage.output).sum::<u64>());
    assert_eq!(report["report"]["coordinator_estimate_tokens"], 50_000);
    let printed = cluster.wavegate(&["report", "1"]);
    assert!(
        printed.contains("coordinate W1") && printed.contains("tokens of its own, estimated 50,000"),
        "{printed}"
    );
}

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn another_model_that_answers_for_the_coordinator_pauses_the_plan() {
    let mut cluster = Cluster::start(&[]);
    cluster.worker("a", "executor,thor,coordinator", "unlimited");
    cluster.submit(&plan("impostor", 1, " [[counsel: answer-as claude-sonnet-5-5]]"), "max");
    cluster.wait_for_status("paused");
    let said = "SELECT count(*) FROM wg_events WHERE kind = 'plan_paused'
        AND text = 'the coordinator''s tier is opus, but claude-sonnet-5-5 answered'";
    assert_eq!(cluster.home.count(said).unwrap(), 1, "{}", cluster.dump());
    let shown = cluster.wavegate(&["show", "1"]);
    assert!(shown.contains("the coordinator's tier is opus, but claude-sonnet-5-5 answered"), "{shown}");
    assert!(!cluster.api.calls().iter().any(|call| call.role == Role::Task), "nothing began");
}
