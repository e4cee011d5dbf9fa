use serde_json::json;
use wavegate_proto::v1::{AgentWork, Outcome};

use super::*;
use crate::runner::replay::{FRESH, Played, ask_for, ended, fresh, play};

/// A tiny agent: says what it was told as JSON Lines, and does as its prompt says.
const AGENT: &str = r#"
prompt=$(cat)
case "$prompt" in
  *limit*) echo "Quota used up, try again in 2 hours" >&2; exit 7 ;;
  *login*) echo "Bad Key" >&2; exit 7 ;;
  *crash*) echo "no such thing" >&2; exit 3 ;;
  *wrong*) echo '{"error":"it broke"}'; exit 0 ;;
  *mute*) exit 0 ;;
  *talks*) echo '{"say":"I looked at the quota check"}'; exit 1 ;;
esac
echo "{\"args\":\"$*\",\"id\":\"talk-1\"}"
echo '{"use":{"in":10,"out":1,"cached":4,"usd":0.25}}'
echo '{"use":{"in":20,"out":2,"cached":4,"usd":0.50},"model":"m-2"}'
echo '{"say":"done: {\"summary\":\"made it\"}"}'
"#;

const SECTION: &str = r#"
program = "tiny"
args = ["--dir={workspace}", "--may={permissions}"]
model-args = ["--model", "{model}"]
resume_args = ["--go-on={session}"]
budget-args = ["--usd={budget_usd}"]
output = "jsonl"
result = "/say"
error = "/error"
tokens-in = "/use/in"
tokens-out = "/use/out"
tokens-cached = "/use/cached"
cost-usd = "/use/usd"
session = "/id"
model = "/model"
sum = true
usage-limit = ["QUOTA"]
bad-credentials = ["bad key"]
env = ["TINY_URL"]
account-env = "TINY_KEY"
"#;

fn settings(text: &str) -> Result<CommandSettings, String> {
    toml::from_str::<Checked>(text).map(|checked| checked.0).map_err(|error| error.to_string())
}

fn tiny(section: &str) -> Command {
    Command::new("tiny".to_owned(), "/bin/sh".into(), settings(section).unwrap())
}

/// Runs the tiny agent as the order says, and plays what it printed.
fn run(command: &Command, work: &AgentWork, talk: Talk<'_>) -> Played {
    let folder = tempfile::tempdir().unwrap();
    let order = command.order(&ask_for(work, folder.path(), talk)).unwrap();
    let mut agent = std::process::Command::new(&order.program);
    agent.args(["-c", AGENT, "tiny"]).args(&order.args).current_dir(&order.cwd);
    if let Some(stdin) = &order.stdin {
        agent.stdin(std::fs::File::open(stdin).unwrap());
    }
    let output = agent.output().unwrap();
    let (lines, stderr) =
        (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
    play(command, work, talk, &lines, ended(output.status.code().unwrap(), &stderr))
}

fn told(prompt: &str) -> AgentWork {
    AgentWork { prompt: prompt.to_owned(), resume_prompt: prompt.to_owned(), ..AgentWork::default() }
}

fn tell(prompt: &str) -> Played {
    run(&tiny(SECTION), &told(prompt), Talk::Fresh { id: FRESH })
}

#[test]
fn a_described_agent_succeeds_and_its_figures_are_added_up() {
    let played = tell("do it");
    assert_eq!(played.outcome(), Outcome::Succeeded, "{played:?}");
    assert_eq!(played.figures(), (30, 3, 8, Some(750_000)));
    assert_eq!(played.conclusion.model, "m-2");
    assert_eq!(played.conclusion.session.as_deref(), Some("talk-1"));
    assert!(played.conclusion.text.starts_with("done: "));
    let last = SECTION.replace("sum = true", "cached-in-input = true");
    let played = run(&tiny(&last), &told("do it"), Talk::Fresh { id: FRESH });
    assert_eq!(played.figures(), (16, 2, 4, Some(500_000)));
}

#[test]
fn its_ends_are_told_apart() {
    let limit = tell("limit");
    assert_eq!((limit.outcome(), limit.conclusion.retry_after_ms), (Outcome::UsageLimit, Some(7_200_000)));
    assert_eq!(tell("login").outcome(), Outcome::BadCredentials);
    let crash = tell("crash").conclusion;
    assert_eq!((crash.outcome, crash.summary.as_str()), (Outcome::Failed, "no such thing"));
    let wrong = tell("wrong").conclusion;
    assert_eq!((wrong.outcome, wrong.summary.as_str()), (Outcome::Failed, "it broke"));
    let mute = tell("mute").conclusion;
    assert_eq!(mute.outcome, Outcome::Nonsense);
    assert!(mute.summary.contains("no result at \"/say\""), "{}", mute.summary);
    assert_eq!(tell("talks").outcome(), Outcome::Nonsense, "its answer is no word of its program");
}

#[test]
fn a_session_with_which_nothing_could_be_done_is_not_kept() {
    let talk = || Talk::Resumed { id: "talk-9", counters: &[] };
    let session = |prompt: &str| run(&tiny(SECTION), &told(prompt), talk()).conclusion.session;
    assert_eq!(session("crash"), None);
    assert_eq!(session("do it").as_deref(), Some("talk-1"));
    assert_eq!(session("limit").as_deref(), Some("talk-9"), "that is the account's trouble");
}

#[test]
fn groups_of_arguments_are_there_where_they_have_a_value() {
    let folder = tempfile::tempdir().unwrap();
    let args = |work: &AgentWork, talk| {
        let order = tiny(SECTION).order(&ask_for(work, folder.path(), talk)).unwrap();
        order.args.join(" ").replace(&folder.path().display().to_string(), "DIR")
    };
    assert_eq!(args(&told("x"), Talk::Fresh { id: FRESH }), "--dir=DIR --may=edit");
    let work = AgentWork { model: "m".to_owned(), budget_micro_usd: Some(1_500_000), ..told("x") };
    let talk = Talk::Resumed { id: "talk-1", counters: &[] };
    assert_eq!(args(&work, talk), "--dir=DIR --may=edit --model m --go-on=talk-1 --usd=1.500000");
}

#[test]
fn a_prompt_is_an_argument_where_the_section_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let order = |section: &str| {
        tiny(section).order(&ask_for(&told("do it"), folder.path(), Talk::Fresh { id: FRESH })).unwrap()
    };
    let last = order("program = 'p'\nprompt = 'argument'\nargs = ['-x']");
    assert_eq!((last.args, last.stdin), (vec!["-x".to_owned(), "do it".to_owned()], None));
    let placed = order("program = 'p'\nprompt = 'argument'\nargs = ['--say={prompt}', '-x']");
    assert_eq!(placed.args, ["--say=do it", "-x"]);
    let file = order("program = 'p'\nprompt = 'argument'\nargs = ['@{prompt_file}']");
    assert_eq!(std::fs::read_to_string(file.args[0].trim_start_matches('@')).unwrap(), "do it");
}

#[test]
fn a_schema_is_given_as_a_file_or_asked_for_in_words() {
    let work = AgentWork { schema: "{\"type\":\"object\"}".to_owned(), ..told("do it") };
    let folder = tempfile::tempdir().unwrap();
    let ask = ask_for(&work, folder.path(), Talk::Fresh { id: FRESH });
    let prompt = || std::fs::read_to_string(folder.path().join("prompt.txt")).unwrap();
    tiny(SECTION).order(&ask).unwrap();
    assert!(prompt().contains("JSON Schema"));
    let order = tiny(&format!("{SECTION}\nschema-args = ['--schema={{schema_file}}']")).order(&ask).unwrap();
    let file = order.args.last().unwrap().trim_start_matches("--schema=").to_owned();
    assert_eq!((prompt().as_str(), std::fs::read_to_string(file).unwrap()), ("do it", work.schema.clone()));
    let played = run(&tiny(SECTION), &work, Talk::Fresh { id: FRESH });
    assert_eq!((played.outcome(), played.conclusion.summary.as_str()), (Outcome::Succeeded, "made it"));
    assert_eq!(played.conclusion.output_json, r#"{"summary":"made it"}"#);
}

#[test]
fn text_and_one_json_value_are_understood_too() {
    let text = fresh(&tiny("program = 'p'"), &told(""), "hello\nthere\n", 0);
    assert_eq!((text.outcome(), text.conclusion.text.as_str()), (Outcome::Succeeded, "hello\nthere"));
    assert_eq!((text.log.as_str(), text.conclusion.models.len()), ("hello\nthere\n", 0));
    let one = tiny("program = 'p'\noutput = 'json'\nresult = '/a~1b/0'\ntokens-in = '/n'\nstructured = '/s'");
    let value = json!({"a/b": ["hi"], "n": 5, "s": {"x": 1}});
    let work = AgentWork { schema: "{}".to_owned(), ..told("") };
    let played = fresh(&one, &work, &serde_json::to_string_pretty(&value).unwrap(), 0);
    assert_eq!((played.outcome(), played.figures()), (Outcome::Succeeded, (5, 0, 0, None)));
    assert_eq!(
        (played.conclusion.text.as_str(), played.conclusion.output_json.as_str()),
        ("hi", r#"{"x":1}"#)
    );
    assert_eq!(fresh(&one, &told(""), "no JSON", 0).outcome(), Outcome::Nonsense);
}

#[test]
fn a_talk_that_cannot_be_gone_on_with_has_no_session() {
    let section = SECTION.replace("resume_args = [\"--go-on={session}\"]", "");
    assert_eq!(run(&tiny(&section), &told("x"), Talk::Fresh { id: FRESH }).conclusion.session, None);
    let given = "program = 'p'\nargs = ['--id={session}']\nresume-args = ['--go-on']";
    assert_eq!(fresh(&tiny(given), &told("x"), "hi", 0).conclusion.session.as_deref(), Some(FRESH));
}

#[test]
fn a_wrong_section_says_where_and_what() {
    let error = |text: &str| settings(text).unwrap_err();
    let unknown = error("program = 'p'\nargs = ['--x={modle}']");
    assert!(unknown.contains("line 2") && unknown.contains("{modle}"), "{unknown}");
    let pointer = error("program = 'p'\noutput = 'json'\nresult = 'say'");
    assert!(pointer.contains("line 3") && pointer.contains("\"say\" is no JSON Pointer"), "{pointer}");
    assert!(error("program = 'p'\nresult = '/x'").contains("has no place for `result`"));
    assert!(error("program = 'p'\noutput = 'jsonl'").contains("needs `result`"));
    assert!(error("program = 'p'\nresume-args = ['-c']").contains("need `session`"));
    assert!(error("program = 'p'\nsum = true").contains("`sum`"));
    assert!(error("args = []").contains("missing field `program`"));
    assert!(error("program = 'p'\ntokens_inn = '/x'").contains("tokens_inn"));
}

#[test]
fn its_variables_are_its_own_and_those_of_proxies() {
    let variables = tiny(SECTION).variables();
    assert!(
        ["TINY_URL", "TINY_KEY", "HTTPS_PROXY"].iter().all(|name| variables.iter().any(|one| one == name))
    );
    assert_eq!(account(&settings("program = 'p'\naccount-env = 'CARGO_PKG_NAME'").unwrap()).len(), 12);
    assert_eq!(account(&settings("program = 'p'").unwrap()), "");
}
