//! A coordinator made of given answers, and a backend that embeds it: whole commands can be run
//! against them, and what was asked of them can be read.

mod answers;

use std::{
    collections::BTreeMap,
    future::Future,
    path::Path,
    sync::{Arc, Mutex},
};

use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use wavegate_proto::v1;

use super::{
    args::ReachArgs,
    backend::{
        Backend, Backup, CheckedFile, CheckedOut, DiffStyle, Difference, EmbeddedCoordinator,
        EmbeddedOptions, HostExamination, RepositoryBase, ServeOptions, UploadedState,
    },
    client::Connection,
    console::{
        Console,
        fake::{Paper, console},
    },
    desk::Desk,
    locale::Locale,
};

/// What the fake coordinator knows and was asked.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) plan: v1::Plan,
    pub(super) report: v1::GetReportResponse,
    /// Each stream of events is one entry; all but the last one break off.
    pub(super) streams: Vec<Vec<v1::Event>>,
    pub(super) workers: Vec<v1::Worker>,
    /// How often the workers are looked at before all that they hold has ended; None: forever.
    pub(super) looks: Option<usize>,
    pub(super) logs: Vec<v1::ReadLogsResponse>,
    /// The state that the plan is in when an event of a kind was sent.
    pub(super) after: BTreeMap<String, v1::PlanState>,
    /// Names of what changes something, with what matters of it.
    pub(super) asked: Vec<String>,
    /// What the requests carried.
    pub(super) authorization: Vec<String>,
}

impl World {
    pub(super) fn set_state(&mut self, state: v1::PlanState) {
        self.plan.summary.get_or_insert_default().set_state(state);
        self.report.plan.get_or_insert_default().set_state(state);
    }

    /// Whether the plan's events have come to an end.
    fn has_ended(&self) -> bool {
        let state = self.plan.summary.clone().unwrap_or_default().state();
        matches!(state, v1::PlanState::Done | v1::PlanState::Cancelled)
    }
}

pub(super) type Shared = Arc<Mutex<World>>;

/// A plan with an id and a state and nothing else.
pub(super) fn world(state: v1::PlanState) -> World {
    let mut world = World::default();
    let summary = v1::PlanSummary { id: 3, name: "greet".to_owned(), ..Default::default() };
    world.plan.summary = Some(summary.clone());
    world.report.plan = Some(summary);
    world.set_state(state);
    world
}

/// Serves a world on a port of its own; gives the address.
pub(super) async fn serve(world: &Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = answers::router(world).serve_with_incoming(TcpListenerStream::new(listener));
    tokio::spawn(server);
    url
}

/// A backend that embeds the world, and whose plan files hold the diagnostics that it is given.
pub(super) struct FakeBackend {
    pub(super) world: Shared,
    pub(super) checked: CheckedFile,
}

pub(super) struct FakeEmbedded {
    url: String,
    world: Shared,
}

#[tonic::async_trait]
impl Backend for FakeBackend {
    type Embedded = FakeEmbedded;

    async fn embed(&self, options: EmbeddedOptions) -> anyhow::Result<FakeEmbedded> {
        note(&self.world, format!("embed {}", options.workers));
        Ok(FakeEmbedded { url: serve(&self.world).await, world: Arc::clone(&self.world) })
    }

    async fn serve(
        &self,
        _options: ServeOptions,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        stop.await;
        Ok(())
    }

    async fn check_file(
        &self,
        _text: &str,
        _file_name: &str,
        _sets: &BTreeMap<String, String>,
        prices: Option<&Path>,
    ) -> anyhow::Result<CheckedFile> {
        if let Some(prices) = prices {
            note(&self.world, format!("check with {}", prices.display()));
        }
        Ok(self.checked.clone())
    }

    async fn back_up(&self, db: &Path, file: &Path) -> anyhow::Result<Backup> {
        note(&self.world, format!("back up {} to {}", db.display(), file.display()));
        Ok(Backup { bytes: 4096, artifacts: 1, logs: 2 })
    }

    async fn examine(&self, _config: Option<&Path>) -> anyhow::Result<HostExamination> {
        let (text, json) = ("shell: found\n".to_owned(), serde_json::json!({ "shell": true }));
        Ok(HostExamination { text, json, is_usable: true })
    }

    async fn upload_tree(&self, _connection: &Connection, dir: &Path) -> anyhow::Result<String> {
        note(&self.world, format!("upload {}", dir.display()));
        Ok("d1ge57".to_owned())
    }

    async fn upload_state(
        &self,
        _connection: &Connection,
        base: &RepositoryBase,
        for_others: bool,
        _stores: Option<&Path>,
    ) -> anyhow::Result<UploadedState> {
        let whom = if for_others { " for others" } else { "" };
        note(&self.world, format!("upload {}{whom}", base.location));
        let warning = for_others.then(|| "the history is large".to_owned());
        Ok(UploadedState { digest: "57a7e".to_owned(), warning })
    }

    async fn diff(
        &self,
        _connection: &Connection,
        _repository: &v1::Repository,
        difference: &Difference,
        style: DiffStyle,
        _stores: Option<&Path>,
    ) -> anyhow::Result<Vec<u8>> {
        let style = if style.stat { " stat" } else { "" };
        note(&self.world, format!("diff {difference:?}{style}"));
        Ok(b"+one\n".to_vec())
    }

    async fn checkout(
        &self,
        _connection: &Connection,
        _plan: &v1::Plan,
        name: &str,
        state: &str,
        dir: Option<&Path>,
        _stores: Option<&Path>,
    ) -> anyhow::Result<CheckedOut> {
        let dir = dir.unwrap_or(Path::new("here")).to_owned();
        note(&self.world, format!("check out {state} to {}", dir.display()));
        let (branch, commit) = (format!("wavegate/greet/{name}"), "c".repeat(40));
        Ok(CheckedOut { dir, branch, commit, base: Some("b".repeat(40)) })
    }

    async fn write_tree(&self, _connection: &Connection, tree: &str, dir: &Path) -> anyhow::Result<()> {
        note(&self.world, format!("write {tree} to {}", dir.display()));
        Ok(())
    }
}

#[tonic::async_trait]
impl EmbeddedCoordinator for FakeEmbedded {
    fn url(&self) -> &str {
        &self.url
    }

    fn token(&self) -> Option<&str> {
        Some("secret")
    }

    async fn serve_plan(&self, plan_id: i64) -> anyhow::Result<()> {
        note(&self.world, format!("serve plan {plan_id}"));
        Ok(())
    }

    async fn stop(self) -> anyhow::Result<()> {
        note(&self.world, "stop".to_owned());
        Ok(())
    }
}

fn note(world: &Shared, what: String) {
    world.lock().unwrap().asked.push(what);
}

/// A desk at a folder of its own, and its papers.
pub(super) struct Office {
    pub(super) desk: Desk<FakeBackend>,
    pub(super) world: Shared,
    pub(super) out: Paper,
    pub(super) err: Paper,
    pub(super) dir: tempfile::TempDir,
}

/// A desk before a world; with an input a person sits at it.
pub(super) fn office(world: World, input: Option<&str>) -> Office {
    let (console, out, err) = console(input, Locale::English);
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("greet.yaml"), "name: greet\n").unwrap();
    let world = Arc::new(Mutex::new(world));
    Office { desk: desk(console, &world, dir.path()), world, out, err, dir }
}

fn desk(console: Console, world: &Shared, dir: &Path) -> Desk<FakeBackend> {
    let reach = ReachArgs { db: Some(dir.join("x.db")), ..ReachArgs::default() };
    let backend = FakeBackend { world: Arc::clone(world), checked: CheckedFile::default() };
    Desk { console, reach, backend }
}

impl Office {
    /// What was asked of the coordinator and the backend so far.
    pub(super) fn asked(&self) -> Vec<String> {
        self.world.lock().unwrap().asked.clone()
    }

    /// Types a command, whose `DIR` stands for the folder; gives the exit code.
    pub(super) async fn type_in(&mut self, line: &str) -> u8 {
        let dir = self.dir.path().display().to_string();
        let line = line.replace("DIR", &dir);
        let words = std::iter::once("wavegate").chain(line.split_whitespace());
        let cli = <super::args::Cli as clap::Parser>::try_parse_from(words).unwrap();
        let db = self.desk.reach.db.take();
        self.desk.reach = ReachArgs { db: cli.reach.db.clone().or(db), ..cli.reach };
        super::execute(&self.desk, cli.command).await
    }

    /// What went to stderr, with the folder's name taken out.
    pub(super) fn told(&self) -> String {
        let dir = self.dir.path().display().to_string();
        self.err.text().replace(&dir, "DIR")
    }
}
