//! Rules that are clearer as code than as files.

use wavegate_engine::{
    TaskIx, WaveIx,
    spec::{AgentChoice, OnLost, ThorKind, WorkspaceKind},
};

use super::{
    super::{Diagnostic, PLAN_DIR, Severity, read},
    errors, read_plain, sets,
};

fn one_task(fields: &str) -> String {
    format!("name: x\nwaves: [{{id: W1, tasks: [{{id: T1, {fields}}}]}}]\n")
}

#[test]
fn durations_are_read_in_every_form() {
    let forms = [
        ("90s", 90_000),
        ("10m", 600_000),
        ("10min", 600_000),
        ("1h30m", 5_400_000),
        ("1h 30m", 5_400_000),
        ("2d", 172_800_000),
        ("250ms", 250),
        ("45", 45_000),
        ("'45'", 45_000),
    ];
    for (form, ms) in forms {
        let reading = read_plain(&one_task(&format!("run: echo, timeout: {form}")));
        assert_eq!(errors(&reading), Vec::<&str>::new(), "{form}");
        assert_eq!(reading.spec.unwrap().waves[0].tasks[0].timeout_ms, ms, "{form}");
    }
}

#[test]
fn a_lost_task_is_tried_again_where_its_workspace_is_isolated() {
    for (workspace, on_lost) in [("dir", OnLost::Retry), ("none", OnLost::Hold)] {
        let source = one_task("run: echo") + &format!("project: {{workspace: {workspace}}}\n");
        let spec = read_plain(&source).spec.unwrap();
        assert_eq!(spec.waves[0].tasks[0].on_lost, on_lost);
    }
}

#[test]
fn an_agent_judges_what_agents_did_unless_the_plan_says_otherwise() {
    for (thor, work, kind) in [
        ("", "run: echo", ThorKind::Worker),
        ("", "do: hello", ThorKind::Agent),
        ("thor: worker", "do: hello", ThorKind::Worker),
        ("thor: Agent", "run: echo", ThorKind::Agent),
        ("thor: {model: sonnet}", "run: echo", ThorKind::Agent),
        ("thor: external", "do: hello", ThorKind::External),
    ] {
        let spec = read_plain(&format!("{thor}\n{}", one_task(work))).spec.unwrap();
        assert_eq!(spec.thor, kind, "{thor:?} {work}");
        assert_eq!(spec.thor_agent, AgentChoice::default());
    }
}

#[test]
fn the_model_of_thor_tells_its_runner() {
    for (thor, runner, model) in [
        ("{model: gpt-5.3-codex}", "codex", "gpt-5.3-codex"),
        ("{runner: codex}", "codex", ""),
        ("{runner: opencode, model: claude-sonnet-4.6}", "opencode", "claude-sonnet-4-6"),
        ("{runner: claude}", "claude", "sonnet"),
    ] {
        let spec = read_plain(&format!("thor: {thor}\n{}", one_task("run: echo"))).spec.unwrap();
        let expected = AgentChoice { runner: runner.to_owned(), model: model.to_owned() };
        assert_eq!(spec.thor_agent, expected, "{thor}");
    }
}

#[test]
fn a_model_tells_the_runner_where_none_is_written() {
    for (fields, defaults, runner) in [
        ("model: gpt-5.3-codex", "{}", "codex"),
        ("effort: 1", "{model: gemini-3-pro-preview}", "gemini"),
        ("model: mystery", "{}", "claude"),
        ("model: opus", "{runner: opencode}", "opencode"),
        ("model: gpt-5.3-codex", "{runner: claude}", "codex"),
        ("runner: claude, model: gpt-5.3-codex", "{}", "claude"),
    ] {
        let source = one_task(&format!("do: hello, {fields}")) + &format!("defaults: {defaults}\n");
        let spec = read_plain(&source).spec.unwrap();
        assert_eq!(spec.waves[0].tasks[0].runner, runner, "{fields} {defaults}");
    }
}

#[test]
fn a_task_of_another_runner_is_not_given_the_default_model() {
    for (fields, model) in [("runner: codex", None), ("runner: claude", Some("opus"))] {
        let source = one_task(&format!("do: hello, {fields}")) + "defaults: {model: opus}\n";
        let spec = read_plain(&source).spec.unwrap();
        assert_eq!(spec.waves[0].tasks[0].model.as_deref(), model, "{fields}");
    }
}

#[test]
fn a_slip_in_a_runners_name_and_tools_that_change_nothing_are_told() {
    let warnings = |fields: &str| -> Vec<String> {
        let reading = read_plain(&one_task(&format!("do: hello, {fields}")));
        reading.diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect()
    };
    assert_eq!(warnings("runner: tiny"), [""; 0], "a worker's config may describe it");
    let slip = warnings("runner: codx");
    assert!(slip[0].ends_with("can run this; did you mean `codex`?"), "{slip:?}");
    let tools = warnings("runner: codex, allowed_tools: [Bash]");
    assert!(tools[0].contains("`codex` knows no single tools"), "{tools:?}");
    assert_eq!(warnings("runner: claude, allowed_tools: [Bash]"), [""; 0]);
}

#[test]
fn warnings_of_models_are_the_words_of_the_routing_rule() {
    let reading = read_plain(&one_task("do: hello, model: claude-haiku-4.5, type: feature"));
    let warning = reading.spec.unwrap().waves[0].tasks[0].route().warning;
    let messages: Vec<_> = reading.diagnostics.into_iter().map(|diagnostic| diagnostic.message).collect();
    assert_eq!(messages, [warning.unwrap()]);
}

#[test]
fn a_project_without_a_workspace_works_in_a_directory() {
    for project in ["demo", "{repo: /src}"] {
        let source = one_task("run: echo") + &format!("project: {project}\n");
        let spec = read_plain(&source).spec.unwrap();
        assert_eq!(spec.project.workspace, WorkspaceKind::Dir);
    }
}

#[test]
fn a_wave_waits_for_the_wave_before_unless_it_says_otherwise() {
    let source = "name: x
waves:
  - {id: A, tasks: [{id: T1, run: echo}, {id: T2, run: echo}]}
  - {id: B, tasks: [{id: T3, run: echo}, {id: T4, run: echo, depends_on: [T3, T3]}]}
  - {id: C, depends_on: [], tasks: [{id: T5, run: echo}]}
  - {id: D, depends_on: [C, A], tasks: [{id: T6, run: echo}]}
";
    let spec = read_plain(source).spec.unwrap();
    let waits: Vec<_> = spec.waves.iter().map(|w| w.depends_on.clone()).collect();
    let expected = [vec![], vec![WaveIx(0)], vec![], vec![WaveIx(0), WaveIx(2)]];
    assert_eq!(waits, expected);
    assert_eq!(spec.waves[1].tasks[1].depends_on, [TaskIx(2)]);
}

#[test]
fn a_dependency_on_a_task_of_an_earlier_wave_is_only_a_warning() {
    let source = "name: x
waves:
  - {id: A, tasks: [{id: T1, run: echo}]}
  - {id: B, tasks: [{id: T2, run: echo, depends_on: T1}]}
";
    let reading = read_plain(source);
    assert_eq!(reading.diagnostics.len(), 1);
    assert_eq!(reading.diagnostics[0].severity, Severity::Warning);
    assert!(reading.spec.unwrap().waves[1].tasks[0].depends_on.is_empty());
}

#[test]
fn set_values_replace_defaults_and_text_is_never_substituted() {
    let source = "vars: {repo: null, depth: 3}\n".to_owned() + &one_task("run: 'ls ${repo}'");
    let sets = sets(&[("repo", "/a b"), (PLAN_DIR, "/plans")]);
    let spec = read(&source, "plan.yaml", &sets).spec.unwrap();
    let vars: Vec<(&str, &str)> =
        spec.vars.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    assert_eq!(vars, [(PLAN_DIR, "/plans"), ("depth", "3"), ("repo", "/a b")]);
    assert_eq!(spec.waves[0].tasks[0].title, "ls ${repo}");
}

#[test]
fn json_and_yaml_of_the_same_plan_are_the_same_plan() {
    let json = r#"{"name": "gr\u00fc\uD83D\uDE00\/", "waves": [
        {"id": "W1", "tasks": [{"id": "T1", "run": "a\tb"}]}]}"#;
    let yaml = "name: grü😀/\nwaves: [{id: W1, tasks: [{id: T1, run: \"a\\tb\"}]}]";
    let expected = read_plain(yaml).spec.unwrap();
    assert_eq!(read(json, "plan.json", &sets(&[])).spec.as_ref(), Some(&expected));
    assert_eq!(read(json, "-", &sets(&[])).spec, Some(expected));
}

#[test]
fn many_mistakes_of_one_kind_are_counted_not_repeated() {
    let tasks: String =
        (0..2000).map(|n| format!("{{id: T{n}, run: echo, ref: x, timeout: never}}, ")).collect();
    let reading = read_plain(&format!("name: x\nwaves: [{{id: W1, tasks: [{tasks}]}}]"));
    let messages: Vec<&str> =
        reading.diagnostics.iter().map(|diagnostic| diagnostic.message.as_str()).collect();
    assert!(messages.iter().any(|m| m.ends_with("(2000 times, here first)")));
    assert_eq!(messages.last(), Some(&"1500 more like these are not shown"));
    assert_eq!(messages.len(), 502);
}

#[test]
fn a_nul_character_is_refused_however_it_is_written() {
    let raw = read_plain("name: a\0b");
    assert_eq!(raw.diagnostics[0].column, 8);
    for text in ["\"a\\0b\"", "\"a\\x00b\""] {
        let reading = read_plain(&one_task(&format!("run: {text}")));
        assert!(errors(&reading)[0].contains("NUL"), "{text}");
    }
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_mistake() {
    let source = "\u{feff}".to_owned() + &one_task("run: echo").replace('\n', "\r\n");
    let reading = read_plain(&source);
    assert_eq!(reading.diagnostics, []);
    assert_eq!(reading.spec.unwrap().name, "x");
}

#[test]
fn a_diagnostic_is_one_line_with_its_place() {
    let diagnostic = Diagnostic {
        severity: Severity::Error,
        file: "plan.yaml".to_owned(),
        line: 4,
        column: 9,
        message: "expected one".to_owned(),
    };
    assert_eq!(diagnostic.to_string(), "plan.yaml:4:9: error: expected one");
}
