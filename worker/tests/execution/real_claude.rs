//! The real Claude Code against a small provider of the test's own. Ignored unless asked for:
//! `WAVEGATE_TEST_CLAUDE=/path/to/claude cargo test -p wavegate-worker --test execution real_claude -- --ignored`.

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};
use wavegate_proto::v1::{self, Outcome};
use wavegate_worker::{
    runner::{Registry, RunnerSettings, RunnersConfig, registry::ProgramConfig},
    work::{
        Ending, WorkContext,
        agent::{Asked, Place, ask},
    },
};

use crate::bench::{Bench, is_alive, until};

/// What the provider saw: the number of answered calls.
type Calls = Arc<Mutex<u64>>;

/// Answers by a word in the prompt: `WRITE path`, `RUN program`, `STATUS code`, or with words.
async fn provider() -> (u16, Calls) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (port, calls) = (listener.local_addr().unwrap().port(), Calls::default());
    let counting = Arc::clone(&calls);
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, Arc::clone(&counting)));
        }
    });
    (port, calls)
}

async fn serve(mut stream: TcpStream, calls: Calls) -> Option<()> {
    let (mut bytes, mut buffer) = (Vec::new(), vec![0; 64 * 1024]);
    let (head, length) = loop {
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
        if let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&bytes[..end]).to_lowercase();
            let length =
                head.lines().find_map(|line| line.strip_prefix("content-length:")?.trim().parse().ok());
            bytes.drain(..end + 4);
            break (head, length.unwrap_or(0_usize));
        }
    };
    while bytes.len() < length {
        let read = stream.read(&mut buffer).await.ok().filter(|read| *read > 0)?;
        bytes.extend_from_slice(&buffer[..read]);
    }
    let body: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    let answer = if head.starts_with("post /v1/messages") { answer(&body, &calls) } else { error(404) };
    stream.write_all(answer.as_bytes()).await.ok()
}

fn answer(body: &Value, calls: &Calls) -> String {
    let text = body["messages"].to_string();
    let word = |name: &str| text.rsplit_once(&format!("{name} "))?.1.split(['"', ' ', '\\']).next();
    if let Some(code) = word("STATUS") {
        return error(code.parse().unwrap());
    }
    *calls.lock().unwrap() += 1;
    let has_run = text.contains("tool_result");
    let tool = |name: &str, input: Value| {
        let block = json!({ "type": "tool_use", "id": "toolu_1", "name": name, "input": {} });
        let delta = json!({ "type": "input_json_delta", "partial_json": input.to_string() });
        stream_of(body, &block, &delta, "tool_use")
    };
    match (word("WRITE"), word("RUN")) {
        (Some(path), _) if !has_run => tool("Write", json!({ "file_path": path, "content": "made" })),
        (_, Some(command)) if !has_run => tool("Bash", json!({ "command": command, "description": "run" })),
        _ => {
            let block = json!({ "type": "text", "text": "" });
            stream_of(body, &block, &json!({ "type": "text_delta", "text": "all done" }), "end_turn")
        }
    }
}

fn stream_of(body: &Value, block: &Value, delta: &Value, stop: &str) -> String {
    let usage = json!({ "input_tokens": 100, "output_tokens": 20,
        "cache_creation_input_tokens": 7, "cache_read_input_tokens": 3 });
    let id = format!("msg_{}", body.to_string().len());
    let message = json!({ "id": id, "type": "message", "role": "assistant", "model": body["model"],
        "content": [], "stop_reason": null, "stop_sequence": null, "usage": usage });
    let events = [
        json!({ "type": "message_start", "message": message }),
        json!({ "type": "content_block_start", "index": 0, "content_block": block }),
        json!({ "type": "content_block_delta", "index": 0, "delta": delta }),
        json!({ "type": "content_block_stop", "index": 0 }),
        json!({ "type": "message_delta", "delta": { "stop_reason": stop, "stop_sequence": null }, "usage": usage }),
        json!({ "type": "message_stop" }),
    ];
    let mut text =
        "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n".to_owned();
    for event in events {
        text += &format!("event: {}\ndata: {event}\n\n", event["type"].as_str().unwrap());
    }
    text
}

fn error(code: u16) -> String {
    let body = json!({ "type": "error", "error": { "type": "api_error", "message": "no" } }).to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 {code} No\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}

struct Claude {
    bench: Bench,
    context: WorkContext,
    port: u16,
    calls: Calls,
}

impl Claude {
    async fn new() -> Self {
        let program = PathBuf::from(std::env::var_os("WAVEGATE_TEST_CLAUDE").unwrap());
        let claude = ProgramConfig { program: Some(program), ..ProgramConfig::default() };
        let config = RunnersConfig {
            allowed: Some(vec!["claude".to_owned()]),
            allow_full: true,
            settings: BTreeMap::from([("claude".to_owned(), RunnerSettings::Program(claude))]),
        };
        let (bench, (port, calls)) = (Bench::new(), provider().await);
        let runners = Arc::new(Registry::discover(&config).await);
        assert_eq!(runners.names(), ["claude"], "{:?}", runners.missing());
        let context = WorkContext { runners, ..bench.context() };
        Self { bench, context, port, calls }
    }

    async fn ask(&self, work: v1::AgentWork) -> Result<Asked, Ending> {
        let (cwd, aside) = (self.bench.path("files"), self.bench.path("aside"));
        std::fs::create_dir_all(&cwd).unwrap();
        let text = |path: PathBuf| path.display().to_string();
        let env = [
            ("PATH", "/usr/local/bin:/usr/bin:/bin".to_owned()),
            ("HOME", text(self.bench.path("home"))),
            ("CLAUDE_CONFIG_DIR", text(self.bench.path("home/.claude"))),
            ("ANTHROPIC_API_KEY", "sk-ant-key-of-the-test".to_owned()),
            ("ANTHROPIC_BASE_URL", format!("http://127.0.0.1:{}", self.port)),
            ("CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC", "1".to_owned()),
        ];
        let env = env.map(|(name, value)| (name.to_owned(), value));
        let limit = Some(Duration::from_secs(60));
        ask(&self.context, &work, Place { cwd: &cwd, aside: &aside, env: &env, limit }).await
    }

    async fn asked(&self, prompt: String, permissions: v1::Permissions) -> Asked {
        let mut work = v1::AgentWork { prompt, ..agent() };
        work.set_permissions(permissions);
        self.ask(work).await.unwrap_or_else(|ending| panic!("{ending:?}\n{}", self.bench.output()))
    }
}

fn agent() -> v1::AgentWork {
    v1::AgentWork {
        runner: "claude".to_owned(),
        model: "claude-sonnet-5-5".to_owned(),
        effort: 1,
        ..v1::AgentWork::default()
    }
}

#[tokio::test]
#[ignore = "needs the program that WAVEGATE_TEST_CLAUDE names"]
async fn it_edits_inside_the_workspace_and_is_denied_outside_and_while_looking() {
    let claude = Claude::new().await;
    let (inside, outside) = (claude.bench.path("files/made"), claude.bench.path("made"));
    let asked = claude.asked(format!("WRITE {}", inside.display()), v1::Permissions::Edit).await;
    assert_eq!(asked.conclusion.outcome, Outcome::Succeeded, "{}", claude.bench.output());
    assert!(inside.exists() && asked.conclusion.denials.is_empty());
    let asked = claude.asked(format!("WRITE {}", outside.display()), v1::Permissions::Edit).await;
    assert!(!outside.exists() && asked.conclusion.denials.len() == 1, "{}", claude.bench.output());
    std::fs::remove_file(&inside).unwrap();
    let asked = claude.asked(format!("WRITE {}", inside.display()), v1::Permissions::Read).await;
    assert!(!inside.exists() && asked.conclusion.denials.len() == 1, "{}", claude.bench.output());
    let asked = claude.asked(format!("WRITE {}", outside.display()), v1::Permissions::Full).await;
    assert!(outside.exists() && asked.conclusion.denials.is_empty(), "{}", claude.bench.output());
}

#[tokio::test]
#[ignore = "needs the program that WAVEGATE_TEST_CLAUDE names"]
async fn its_tokens_are_the_providers_count_also_over_a_resumed_session() {
    let claude = Claude::new().await;
    let first = claude.asked("x".repeat(200_000), v1::Permissions::Edit).await;
    assert_eq!(first.conclusion.text, "all done", "{}", claude.bench.output());
    let session = first.conclusion.session.clone().unwrap();
    let resume = v1::AgentWork { resume_session: session, resume_prompt: "go on".to_owned(), ..agent() };
    let second = claude.ask(resume).await.unwrap();
    assert_eq!(second.conclusion.outcome, Outcome::Succeeded, "{}", claude.bench.output());
    let models = [&first.conclusion.models[..], &second.conclusion.models[..]].concat();
    let sum = |of: fn(&v1::ModelUsage) -> u64| models.iter().map(of).sum::<u64>();
    let calls = *claude.calls.lock().unwrap();
    assert_eq!(calls, 2);
    assert_eq!(sum(|model| model.tokens_in), 100 * calls);
    assert_eq!(sum(|model| model.tokens_out), 20 * calls);
    assert_eq!((sum(|model| model.cache_write), sum(|model| model.cache_read)), (7 * calls, 3 * calls));
    assert_eq!(sum(|model| u64::from(model.calls)), calls);
    assert_eq!(second.conclusion.counters[0].tokens_in, 200);
}

#[tokio::test]
#[ignore = "needs the program that WAVEGATE_TEST_CLAUDE names"]
async fn bad_credentials_and_a_limit_end_it_within_seconds() {
    let claude = Claude::new().await;
    for (status, outcome) in [(401, Outcome::BadCredentials), (429, Outcome::UsageLimit)] {
        let asked = claude.asked(format!("STATUS {status}"), v1::Permissions::Edit).await;
        assert_eq!(asked.conclusion.outcome, outcome, "{}", claude.bench.output());
        assert!(asked.time < Duration::from_secs(20), "{:?}", asked.time);
    }
}

#[tokio::test]
#[ignore = "needs the program that WAVEGATE_TEST_CLAUDE names"]
async fn a_session_that_it_forgot_begins_afresh() {
    let claude = Claude::new().await;
    let first = claude.asked("hello".to_owned(), v1::Permissions::Edit).await;
    let session = first.conclusion.session.clone().unwrap();
    std::fs::remove_dir_all(claude.bench.path("home/.claude")).unwrap();
    let again = v1::AgentWork {
        prompt: "hello".to_owned(),
        resume_session: session.clone(),
        resume_prompt: "go on".to_owned(),
        ..agent()
    };
    let asked = claude.ask(again).await.unwrap();
    assert_eq!(asked.conclusion.outcome, Outcome::Succeeded, "{}", claude.bench.output());
    assert!(asked.conclusion.session.is_some_and(|id| id != session));
}

#[tokio::test]
#[ignore = "needs the program that WAVEGATE_TEST_CLAUDE names"]
async fn a_cancel_amid_a_tool_leaves_no_process_and_what_was_used_is_told() {
    let mut claude = Claude::new().await;
    let told: Arc<Mutex<Vec<v1::ModelUsage>>> = Arc::default();
    let tell = Arc::clone(&told);
    claude.context.progress = Arc::new(move |models| *tell.lock().unwrap() = models);
    let (tool, script) = (claude.bench.path("tool"), claude.bench.path("files/run.sh"));
    std::fs::create_dir_all(script.parent().unwrap()).unwrap();
    let text = format!("echo $$ > {0}.tmp; mv {0}.tmp {0}; while :; do sleep 1; done", tool.display());
    std::fs::write(&script, text).unwrap();
    let mut work = v1::AgentWork { prompt: "RUN sh<run.sh".to_owned(), ..agent() };
    work.set_permissions(v1::Permissions::Full);
    let (ended, ()) = tokio::join!(claude.ask(work), async {
        until("the tool", || tool.exists()).await;
        claude.bench.cancel.send_replace(true);
    });
    assert_eq!(ended.unwrap_err(), Ending::Cancelled, "{}", claude.bench.output());
    assert!(!is_alive(&tool));
    let used = told.lock().unwrap()[0].clone();
    assert_eq!((used.tokens_in, used.tokens_out, used.cache_write, used.cache_read), (100, 20, 7, 3));
}

#[tokio::test]
#[ignore = "needs the program that WAVEGATE_TEST_CLAUDE names"]
async fn what_a_workspace_says_of_itself_gives_an_agent_no_rights() {
    let claude = Claude::new().await;
    let (hooked, ran) = (claude.bench.path("hooked"), claude.bench.path("ran"));
    std::fs::create_dir_all(claude.bench.path("files/.claude")).unwrap();
    let hook =
        json!([{ "hooks": [{ "type": "command", "command": format!("touch {}", hooked.display()) }] }]);
    let settings = json!({ "permissions": { "allow": ["Bash"], "defaultMode": "bypassPermissions" },
        "hooks": { "SessionStart": hook, "UserPromptSubmit": hook } });
    for name in ["settings.json", "settings.local.json"] {
        std::fs::write(claude.bench.path("files/.claude").join(name), settings.to_string()).unwrap();
    }
    let server = json!({ "mcpServers": { "own": { "command": "touch", "args": [hooked] } } });
    std::fs::write(claude.bench.path("files/.mcp.json"), server.to_string()).unwrap();
    std::fs::write(claude.bench.path("files/run.sh"), format!("touch {}", ran.display())).unwrap();
    for permissions in [v1::Permissions::Edit, v1::Permissions::Read] {
        let asked = claude.asked("RUN sh<run.sh".to_owned(), permissions).await;
        assert!(!hooked.exists() && !ran.exists(), "{permissions:?}: {}", claude.bench.output());
        assert_eq!(asked.conclusion.denials.len(), 1, "{}", claude.bench.output());
    }
}

#[tokio::test]
#[ignore = "needs the program that WAVEGATE_TEST_CLAUDE names"]
async fn the_instructions_of_a_workspace_are_heard_by_an_agent_that_edits() {
    let claude = Claude::new().await;
    let told = claude.bench.path("files/told");
    std::fs::create_dir_all(claude.bench.path("files")).unwrap();
    std::fs::write(claude.bench.path("files/CLAUDE.md"), format!("WRITE {} now", told.display())).unwrap();
    let asked = claude.asked("hello".to_owned(), v1::Permissions::Edit).await;
    assert_eq!(asked.conclusion.outcome, Outcome::Succeeded, "{}", claude.bench.output());
    assert!(told.exists(), "{}", claude.bench.output());
}
