//! A runner that an operator describes, with a shell script as its program: found, asked in a supervised
//! process, and gone on with.

use std::{sync::Arc, time::Duration};

use wavegate_proto::v1::{AgentWork, Outcome};
use wavegate_worker::{
    runner::{Registry, RunnersConfig, sections::Sections},
    work::{
        WorkContext,
        agent::{Asked, Place, ask},
    },
};

use crate::bench::Bench;

/// Writes down what it was told, and answers as JSON Lines.
const AGENT: &str = r#"
echo "tiny: $*: $(cat)" > "$PWD/told.txt"
echo '{"id":"talk-1"}'
echo '{"used":{"in":40,"out":2},"usd":0.01}'
echo '{"say":"all done"}'
"#;

const SECTION: &str = r#"
[tiny]
program = "/bin/sh"
args = ["SCRIPT", "--may={permissions}"]
resume-args = ["--go-on={session}"]
model-args = ["--model={model}"]
output = "jsonl"
result = "/say"
session = "/id"
tokens-in = "/used/in"
tokens-out = "/used/out"
cost-usd = "/usd"
version-args = []
models = ["small"]
"#;

async fn asked(bench: &Bench, context: &WorkContext, work: &AgentWork) -> Asked {
    let (cwd, aside) = (bench.path("cwd"), bench.path("aside"));
    std::fs::create_dir_all(&cwd).unwrap();
    let env = [("PATH".to_owned(), "/usr/local/bin:/usr/bin:/bin".to_owned())];
    let limit = Some(Duration::from_secs(20));
    ask(context, work, Place { cwd: &cwd, aside: &aside, env: &env, limit }).await.unwrap()
}

#[tokio::test]
async fn a_described_agent_is_found_asked_and_gone_on_with() {
    let bench = Bench::new();
    let script = bench.path("agent.sh");
    std::fs::write(&script, AGENT).unwrap();
    let section = SECTION.replace("SCRIPT", &script.display().to_string());
    let settings = toml::from_str::<Sections>(&section).unwrap().0;
    let allowed = Some(vec!["tiny".to_owned()]);
    let runners = Registry::discover(&RunnersConfig { allowed, settings, ..RunnersConfig::default() }).await;
    assert_eq!(runners.hello()[0].models, ["small"]);
    let context = WorkContext { runners: Arc::new(runners), ..bench.context() };
    let mut work = AgentWork {
        runner: "tiny".to_owned(),
        model: "m-1".to_owned(),
        prompt: "make it".to_owned(),
        resume_prompt: "mend it".to_owned(),
        ..AgentWork::default()
    };
    let first = asked(&bench, &context, &work).await.conclusion;
    assert_eq!((first.outcome, first.summary.as_str()), (Outcome::Succeeded, "all done"));
    assert_eq!((first.models[0].tokens_in, first.models[0].cost_micro_usd), (40, Some(10_000)));
    let told = || std::fs::read_to_string(bench.path("cwd/told.txt")).unwrap();
    assert_eq!(told(), "tiny: --may=edit --model=m-1: make it\n");
    work.resume_session = first.session.unwrap();
    let second = asked(&bench, &context, &work).await.conclusion;
    assert_eq!((second.outcome, second.session.as_deref()), (Outcome::Succeeded, Some("talk-1")));
    assert_eq!(told(), "tiny: --may=edit --model=m-1 --go-on=talk-1: mend it\n");
}
