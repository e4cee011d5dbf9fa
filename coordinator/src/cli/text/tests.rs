//! What people see, made from given answers. Each listing must fit a hundred columns.

use wavegate_proto::v1;

use super::*;

/// Times of the day 2026-11-23, in UTC.
const NINE: i64 = 1_795_424_704_000;

fn usage(tokens: u64, micro_usd: Option<u64>) -> v1::Usage {
    v1::Usage { tokens_in: tokens, cost_micro_usd: micro_usd, ..Default::default() }
}

fn summary() -> v1::PlanSummary {
    v1::PlanSummary {
        id: 3,
        name: "report on the sources".to_owned(),
        state: v1::PlanState::Running.into(),
        mode: v1::Mode::Standard.into(),
        tier: v1::Tier::Sonnet.into(),
        waves: 2,
        waves_done: 0,
        tasks: 4,
        tasks_done: 0,
        tasks_running: 1,
        created_ms: NINE,
        approved_ms: NINE + 5_000,
        usage: Some(usage(12_345, Some(61_700))),
        ..Default::default()
    }
}

fn attempt(number: u32, exit_code: i32, summary: &str, tail: &str) -> v1::Attempt {
    v1::Attempt {
        attempt: number,
        lease_state: v1::LeaseState::Finished.into(),
        outcome: if exit_code == 0 { "succeeded" } else { "failed" }.to_owned(),
        summary: summary.to_owned(),
        exit_code: Some(exit_code),
        worker: "alpha".to_owned(),
        granted_ms: NINE + 6_000,
        run_ms: 2_310,
        output_tail: tail.to_owned(),
        ..Default::default()
    }
}

fn task(key: &str, title: &str, state: v1::TaskState) -> v1::Task {
    v1::Task {
        key: key.to_owned(),
        title: title.to_owned(),
        state: state.into(),
        runner: "shell".to_owned(),
        attempt: 1,
        ..Default::default()
    }
}

fn verdict() -> v1::RecordedVerdict {
    let evidence = |task: &str, command: &str, exit_code: i32, output_tail: &str| v1::Evidence {
        task: task.to_owned(),
        command: command.to_owned(),
        exit_code: Some(exit_code),
        output_tail: output_tail.to_owned(),
        run_ms: 40,
        ..Default::default()
    };
    v1::RecordedVerdict {
        round: 1,
        candidate: "c0ffee".to_owned(),
        verdict: Some(v1::Verdict {
            gates: Vec::new(),
            decision: v1::Decision::Rejected.into(),
            findings: vec![v1::Finding {
                task: "T1-01".to_owned(),
                text: "`test -s lines.txt` ended with exit code 1".to_owned(),
            }],
            evidence: vec![
                evidence("T1-01", "test -s lines.txt", 1, "wc: lines.txt:\u{1b}[31m missing\n"),
                evidence("T1-02", "true", 0, ""),
            ],
        }),
        by: "thor-1".to_owned(),
        at_ms: NINE + 9_000,
        ..Default::default()
    }
}

fn whole_plan() -> v1::Plan {
    let running = v1::Task {
        lease_state: v1::LeaseState::Running.into(),
        worker: "alpha".to_owned(),
        rejections: 1,
        failures: 1,
        attempt: 2,
        attempts: vec![attempt(1, 2, "exit code 2", "cc: error\n\nmake: *** stopped\n")],
        ..task("T1-01", "Count the lines of every file", v1::TaskState::Leased)
    };
    let waiting = v1::Task {
        reason: "three leases live".to_owned(),
        attempt: 0,
        ..task(
            "T1-07",
            "Measure how long each of the many files of this tree has been there and who wrote it",
            v1::TaskState::Pending,
        )
    };
    let first = v1::Wave {
        key: "W1".to_owned(),
        name: "Collect".to_owned(),
        state: v1::WaveState::Running.into(),
        round: 2,
        tasks: vec![running, waiting, task("T1-02", "List", v1::TaskState::Submitted)],
        verdicts: vec![verdict()],
        ..Default::default()
    };
    let second = v1::Wave {
        key: "W2".to_owned(),
        state: v1::WaveState::Waiting.into(),
        reason: "W1 is not done".to_owned(),
        depends_on: vec!["W1".to_owned()],
        tasks: vec![task("T2-01", "Write", v1::TaskState::Pending)],
        ..Default::default()
    };
    v1::Plan {
        summary: Some(summary()),
        waves: vec![first, second],
        workspace: v1::WorkspaceKind::Dir.into(),
        ..Default::default()
    }
}

fn estimates_of(agent_tasks: u32) -> v1::Estimates {
    let estimate = |mode: v1::Mode, tokens, cost_micro_usd, wall_ms| v1::Estimate {
        mode: mode.into(),
        tokens,
        cost_micro_usd,
        wall_ms,
    };
    v1::Estimates {
        standard: Some(estimate(v1::Mode::Standard, 270_000, Some(1_350_000), Some(720_000))),
        max: Some(estimate(v1::Mode::Max, 260_000, None, None)),
        agent_tasks,
        advice: "max has nothing to gain: no wave has two tasks that could run at once".to_owned(),
        prices_date: "2026-11-23".to_owned(),
    }
}

fn whole_report() -> v1::GetReportResponse {
    v1::GetReportResponse {
        plan: Some(v1::PlanSummary { state: v1::PlanState::Done.into(), ..summary() }),
        wall_ms: 8_120,
        work_ms: 24_000,
        critical_path_ms: 2_000,
        bound_ms: 8_000,
        thor_ms: 640,
        attempts: 13,
        failures: 1,
        rejections: 2,
        approved: 1,
        rejected: 1,
        estimates: Some(estimates_of(3)),
        usage: Some(usage(251_003, Some(1_213_400))),
        waves: whole_plan().waves,
        peak_leases: 3,
        width: 3,
        ..Default::default()
    }
}

fn fits(text: String) -> String {
    for line in text.lines() {
        assert!(line.chars().count() <= WIDTH, "too wide: {line}");
        assert!(!line.chars().any(char::is_control), "not plain: {line:?}");
    }
    text
}

#[test]
fn show_tells_what_waits_and_why_and_what_failed() {
    insta::assert_snapshot!(fits(plan(&whole_plan())), @"
    plan 3  report on the sources
    status     running, standard mode, sonnet tier
    waves      0 of 2 done
    tasks      0 of 4 done, 1 running
    workspace  dir
    times      submitted 2026-11-23T09:05:04Z, approved 2026-11-23T09:05:09Z
    used       $0.06, 12,345 tokens

    W1 Collect: running, round 2
      TASK   STATE            TRIES  COUNTS               RUNNER  WORKER  TITLE
      T1-01  leased, running  2      1 failed 1 rejected  shell   alpha   Count the lines of every file
      T1-07  pending          0      -                    shell   -       Measure how long each of the …
      T1-02  submitted        1      -                    shell   -       List
      T1-07 waits: three leases live
      T1-01 attempt 1: failed, exit 2, ran 2.3 s, on alpha, granted 09:05:10: exit code 2
          | cc: error
          | make: *** stopped
      verdict of round 1: rejected by thor-1 at 09:05:13, 1 of 2 checks passed
        T1-01 `test -s lines.txt`: exit 1 after 40 ms
          | wc: lines.txt: [31m missing
        finding on T1-01: `test -s lines.txt` ended with exit code 1

    W2: waiting, after W1
      W2 waits: W1 is not done
      TASK   STATE    TRIES  COUNTS  RUNNER  WORKER  TITLE
      T2-01  pending  1      -       shell   -       Write
    ");
}

#[test]
fn where_a_runner_is_missing_doctor_is_named_once() {
    let mut waiting = whole_plan();
    assert!(!plan(&waiting).contains("wavegate doctor"));
    for task in &mut waiting.waves[0].tasks {
        task.reason = "no connected worker has the runner claude".to_owned();
    }
    assert_eq!(fits(plan(&waiting)).matches("wavegate doctor").count(), 1);
}

#[test]
fn plans_are_one_line_each() {
    let awaiting = v1::PlanSummary {
        id: 12,
        state: v1::PlanState::AwaitingApproval.into(),
        mode: v1::Mode::Unspecified.into(),
        ..summary()
    };
    insta::assert_snapshot!(fits(plans(&[summary(), awaiting])), @"
    ID  STATUS             MODE      WAVES  TASKS  RUNNING  CREATED (UTC)     NAME
    3   running            standard  0/2    0/4    1        2026-11-23 09:05  report on the sources
    12  awaiting_approval  -         0/2    0/4    1        2026-11-23 09:05  report on the sources
    ");
    assert_eq!(plans(&[]), "no plans\n");
}

#[test]
fn estimates_lead_with_dollars_and_say_when_the_price_is_unknown() {
    insta::assert_snapshot!(fits(estimates(&estimates_of(7))), @"
    MODE      COST           TOKENS   TIME
    standard  $1.35          270,000  12 min
    max       price unknown  260,000  unknown
    by the prices of 2026-11-23
    max has nothing to gain: no wave has two tasks that could run at once
    ");
}

#[test]
fn the_estimate_of_a_shell_plan_says_that_it_uses_no_tokens() {
    insta::assert_snapshot!(fits(estimates(&v1::Estimates { prices_date: String::new(), ..estimates_of(0) })), @"
    MODE      COST   TOKENS  TIME
    standard  $0.00  0       12 min
    max       $0.00  0       unknown
    Shell tasks only: this plan uses no tokens.
    max has nothing to gain: no wave has two tasks that could run at once
    ");
}

#[test]
fn the_report_sets_estimates_beside_what_it_took() {
    let tree = Results::Tree {
        digest: "0123456789abcdef".to_owned(),
        command: "wavegate report 3 --out DIR".to_owned(),
    };
    insta::assert_snapshot!(fits(report(&whole_report(), &tree)), @"
    plan 3 report on the sources: done in standard mode
      wall time   8.1 s    first grant to last submitted; Thor apart; estimated 12 min
      work time   24.0 s   sum of the accepted attempts
      speed-up    2.96x    work / wall
      bound       8.0 s    critical path 2.0 s, at most 3 at once
      efficiency  0.99     bound / wall
      Thor        640 ms   integrating and validating
      attempts    13       1 failure, 0 losses, 2 rejections; at most 3 at once
      verdicts    2        1 approved, 1 rejected
      cost        $1.21    estimated $1.35
      tokens      251,003  estimated 270,000
      results     the plan's tree 0123456789ab; `wavegate report 3 --out DIR` writes it out

      WAVE  STATE    ROUNDS  TASKS  ATTEMPTS  NAME
      W1    running  2       3      3         Collect
      W2    waiting  0       1      1
    ");
}

fn ledger_line(kind: v1::LeaseKind, wave: &str, model: &str, cost_micro_usd: Option<u64>) -> v1::LedgerLine {
    let task = if kind == v1::LeaseKind::Task { format!("{wave}-01") } else { String::new() };
    let is_shell = model.is_empty();
    v1::LedgerLine {
        kind: kind.into(),
        wave: wave.to_owned(),
        task,
        attempt: 1,
        runner: if is_shell { String::new() } else { "claude".to_owned() },
        account: if is_shell { String::new() } else { "at-00000000-0000-4000-8000-000000000000".to_owned() },
        usage: Some(v1::ModelUsage {
            model: model.to_owned(),
            tokens_in: 1_000,
            tokens_out: 50,
            cost_micro_usd,
            calls: 2,
            ..Default::default()
        }),
        cost_source: v1::CostSource::Prices.into(),
        ..Default::default()
    }
}

#[test]
fn the_ledger_is_summed_by_wave_and_an_unknown_cost_is_told_everywhere() {
    let mut told = whole_report();
    told.plan.as_mut().unwrap().has_unknown_cost = true;
    told.prices_date = "2026-11-23".to_owned();
    told.coordinator_usage = Some(usage(1_050, Some(6_400)));
    told.ledger = vec![
        ledger_line(v1::LeaseKind::Task, "W2", "mystery", None),
        ledger_line(v1::LeaseKind::Task, "W1", "sonnet", Some(30_000)),
        ledger_line(v1::LeaseKind::Validate, "W1", "sonnet", Some(20_000)),
        ledger_line(v1::LeaseKind::Coordinate, "W1", "sonnet", Some(6_400)),
        ledger_line(v1::LeaseKind::Task, "W1", "", Some(10_000)),
    ];
    let text = fits(report(&told, &Results::Nothing));
    let part = |from: &str| text[text.find(from).unwrap()..].to_owned();
    insta::assert_snapshot!(part("  cost"), @"
      cost         $1.21 and unknown  estimated $1.35
      tokens       251,003            estimated 270,000
      coordinator  $0.0064            1,050 tokens of its own
      results     the plan's tree is empty

      WAVE  STATE    ROUNDS  TASKS  ATTEMPTS  NAME
      W1    running  2       3      3         Collect
      W2    waiting  0       1      1

      WORK           TRY  MODEL    IN     OUT  CACHED  CALLS  COST
      W2-01          1    mystery  1,000  50   0       2      unknown
      W1-01          1    sonnet   1,000  50   0       2      $0.03*
      validate W1    -    sonnet   1,000  50   0       2      $0.02*
      coordinate W1  -    sonnet   1,000  50   0       2      $0.0064*
      W1-01          1    -        1,000  50   0       2      $0.01*

      WAVE            IN     OUT  CACHED  CALLS  COST
      W1 tasks        2,000  100  0       4      $0.04
      W1 Thor         1,000  50   0       2      $0.02
      W1 coordinator  1,000  50   0       2      $0.0064
      W2 tasks        1,000  50   0       2      unknown

      MODEL    IN     OUT  CACHED  CALLS  COST
      -        1,000  50   0       2      $0.01
      mystery  1,000  50   0       2      unknown
      sonnet   3,000  150  0       6      $0.06

      ACCOUNT                                         IN     OUT  CACHED  CALLS  COST
      -                                               1,000  50   0       2      $0.01
      claude at-00000000-0000-4000-8000-000000000000  4,000  200  0       8      $0.06 and unknown
      costs with * are tokens by the prices of 2026-11-23
      unknown: no price is known for that model, and its agent told none
    ");
    assert!(fits(plan(&v1::Plan { summary: told.plan, ..whole_plan() })).contains("$0.06 and unknown"));
}

#[test]
fn lines_of_the_ledger_that_are_not_shown_are_counted() {
    let line = || ledger_line(v1::LeaseKind::Task, "W1", "sonnet", Some(1));
    let of = |lines: usize| {
        let told = v1::GetReportResponse { ledger: vec![line(); lines], ..whole_report() };
        fits(report(&told, &Results::Nothing))
    };
    assert!(!of(60).contains("more"), "{}", of(60));
    assert!(of(63).contains("  and 3 more: --json lists every line"), "{}", of(63));
}

#[test]
fn nothing_used_by_no_agent_costs_nothing() {
    let cost = |waves| {
        let told = v1::GetReportResponse {
            usage: Some(usage(0, None)),
            waves,
            ledger: Vec::new(),
            ..whole_report()
        };
        let text = report(&told, &Results::Nothing);
        let row = text.lines().find(|line| line.trim_start().starts_with("cost ")).unwrap().to_owned();
        row.split_whitespace().nth(1).unwrap().to_owned()
    };
    assert_eq!(cost(whole_plan().waves), "$0.00");
    let mut waves = whole_plan().waves;
    "claude".clone_into(&mut waves[0].tasks[0].runner);
    assert_eq!(cost(waves), "unknown");
}

#[test]
fn a_report_of_nothing_divides_by_nothing() {
    let empty = v1::GetReportResponse::default();
    let text = fits(report(&empty, &Results::Elsewhere));
    assert!(text.contains("speed-up"), "{text}");
    assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
}

#[test]
fn an_event_is_one_line_that_says_who_and_why() {
    let granted = v1::Event {
        at_ms: NINE,
        kind: "lease_granted".to_owned(),
        wave: "W1".to_owned(),
        task: "T1-01".to_owned(),
        worker: "alpha".to_owned(),
        actor: "coordinator".to_owned(),
        text: "attempt 2".to_owned(),
        ..Default::default()
    };
    let resolved = v1::Event {
        at_ms: NINE + 61_000,
        kind: "wave_resolved".to_owned(),
        wave: "W1".to_owned(),
        actor: "anna@host".to_owned(),
        reason: "rework".to_owned(),
        text: "the count was wrong:\n\u{7}try again".to_owned(),
        ..Default::default()
    };
    let text = format!("{}\n{}\n", event(&granted), event(&resolved));
    insta::assert_snapshot!(text, @"
    09:05:04 lease_granted W1 T1-01 alpha: attempt 2
    09:06:05 wave_resolved W1: the count was wrong:  try again (rework) [by anna@host]
    ");
}

#[test]
fn workers_are_listed_with_what_they_hold() {
    let lease = v1::WorkerLease {
        kind: v1::LeaseKind::Task.into(),
        state: v1::LeaseState::Running.into(),
        plan_id: 3,
        plan_name: "greet".to_owned(),
        wave: "W1".to_owned(),
        task: "T1-01".to_owned(),
        attempt: 2,
        granted_ms: NINE,
        ..Default::default()
    };
    let every = [v1::Role::Executor, v1::Role::Thor, v1::Role::Coordinator];
    let alpha = v1::Worker {
        name: "alpha".to_owned(),
        host: "build-host-with-a-long-name.example".to_owned(),
        state: v1::WorkerState::Connected.into(),
        roles: every.map(Into::into).to_vec(),
        runners: vec![v1::Runner { name: "shell".to_owned(), ..Default::default() }],
        leases: vec![lease],
        last_seen_ms: NINE,
        ..Default::default()
    };
    let beta = v1::Worker {
        name: "beta".to_owned(),
        state: v1::WorkerState::Gone.into(),
        slots: Some(4),
        leases: Vec::new(),
        ..alpha.clone()
    };
    insta::assert_snapshot!(fits(workers(&[alpha, beta], NINE + 1_500)), @"
    NAME   STATE      SLOTS     HELD  SEEN       HOST              ROLES                      RUNNERS
    alpha  connected  no limit  1     1.5 s ago  build-host-with…  executor,thor,coordinator  shell
    beta   gone       4         0     1.5 s ago  build-host-with…  executor,thor,coordinator  shell

    alpha holds
      task  T1-01 try 2  running  since 09:05:04  plan 3 greet
    ");
}

#[test]
fn an_account_is_never_cut_since_it_is_typed_again() {
    let account = v1::Account {
        runner: "claude".to_owned(),
        account: "f".repeat(64),
        state: v1::AccountState::Waiting.into(),
        reason: "usage_limit".to_owned(),
        note: "5-hour limit reached".to_owned(),
        until_ms: NINE + 60_000,
        workers: vec!["alpha".to_owned(), "beta".to_owned()],
    };
    insta::assert_snapshot!(accounts(&[account], NINE), @"
    RUNNER  ACCOUNT                                                           STATE                                  WORKERS
    claude  ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff  waiting, usage_limit, 1 min 00 s left  alpha,beta
      claude ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff: 5-hour limit reached
    ");
}

#[test]
fn a_diagnostic_without_a_place_names_the_file_alone() {
    let warning = v1::Diagnostic {
        severity: v1::Severity::Warning.into(),
        file: "plan.yaml".to_owned(),
        message: "unknown field `colour`\nit is kept".to_owned(),
        ..Default::default()
    };
    insta::assert_snapshot!(diagnostics(&[warning]), @"
    plan.yaml: warning: unknown field `colour`
        it is kept
    ");
}

fn published() -> Vec<v1::Wave> {
    let commit = |task: &str, subject: &str, branch: &str, request: &str| v1::PublishedCommit {
        task: task.to_owned(),
        commit: format!("{task:0<40}").to_lowercase().replace(['t', '-'], "a"),
        subject: subject.to_owned(),
        branch: branch.to_owned(),
        request: request.to_owned(),
        verdict: "approved in round 2 by thor-1".to_owned(),
        at_ms: NINE,
    };
    let branch = "wavegate/report-on-the-sources/a-wave-of-a-long-name";
    let request = "https://example.org/project/pulls/4";
    vec![
        v1::Wave {
            key: "W1".to_owned(),
            state: v1::WaveState::Done.into(),
            round: 2,
            commits: vec![
                commit("T1-01", "Count the lines of every file", "main", ""),
                commit("T1-02", "List", "main", ""),
            ],
            ..Default::default()
        },
        v1::Wave {
            key: "W2".to_owned(),
            state: v1::WaveState::Publishing.into(),
            reason: "no connected worker can reach the repository".to_owned(),
            round: 1,
            commits: vec![commit(
                "T2-01",
                "Write\u{1b}[31m it all down, with everything that was found on the way",
                branch,
                request,
            )],
            ..Default::default()
        },
    ]
}

#[test]
fn commits_are_listed_by_task_with_their_branch_word_and_request() {
    let told = v1::GetReportResponse { waves: published(), ..whole_report() };
    let results = Results::Repository {
        location: "/srv/project".to_owned(),
        commits: 3,
        command: "wavegate diff 3".to_owned(),
    };
    let text = fits(report(&told, &results));
    insta::assert_snapshot!(text[text.find("  results").unwrap()..], @"
      results     in /srv/project; `wavegate diff 3` shows them

      WAVE  STATE       ROUNDS  TASKS  ATTEMPTS  NAME
      W1    done        2       0      0
      W2    publishing  1       0      0

    3 commits
      COMMIT      TASK   BRANCH                            SUBJECT
      a1a0100000  T1-01  main                              Count the lines of every file
      a1a0200000  T1-02  main                              List
      a2a0100000  T2-01  wavegate/report-on-the-sources/…  Write [31m it all down, with everything that…
      W1: approved in round 2 by thor-1
      W2: approved in round 2 by thor-1
      W2: request https://example.org/project/pulls/4
    ");
}

#[test]
fn show_says_where_a_plan_works_and_what_it_has_published() {
    let repository = v1::Repository { location: "/srv/project".to_owned(), base: "main".to_owned() };
    let mut told = v1::Plan { waves: published(), repository: Some(repository), ..whole_plan() };
    told.set_workspace(v1::WorkspaceKind::Git);
    insta::assert_snapshot!(fits(plan(&told)), @"
    plan 3  report on the sources
    status     running, standard mode, sonnet tier
    waves      0 of 2 done
    tasks      0 of 4 done, 1 running
    workspace  git, main of /srv/project
    times      submitted 2026-11-23T09:05:04Z, approved 2026-11-23T09:05:09Z
    used       $0.06, 12,345 tokens

    W1: done, round 2
      TASK  STATE  TRIES  COUNTS  RUNNER  WORKER  TITLE

    W2: publishing, round 1
      W2 waits: no connected worker can reach the repository
      TASK  STATE  TRIES  COUNTS  RUNNER  WORKER  TITLE

    3 commits
      COMMIT      TASK   BRANCH                            SUBJECT
      a1a0100000  T1-01  main                              Count the lines of every file
      a1a0200000  T1-02  main                              List
      a2a0100000  T2-01  wavegate/report-on-the-sources/…  Write [31m it all down, with everything that…
      W1: approved in round 2 by thor-1
      W2: approved in round 2 by thor-1
      W2: request https://example.org/project/pulls/4
    ");
}
