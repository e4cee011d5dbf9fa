//! What the command line stands on: this program's own coordinator, plan-file reader and trees.

use std::{
    collections::BTreeMap,
    future::Future,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    time::Duration,
};

use tracing_subscriber::EnvFilter;
use wavegate_engine::{
    Config, Scope, Tier, Timings,
    spec::{PlanSpec, WorkspaceKind},
};
use wavegate_proto::v1;
use wavegate_worker::{WorkerConfig, doctor};

use super::{
    Options,
    embedded::{Embedded, Local},
    repository::{self, Room},
    start, trees,
};
use crate::{
    cli::{
        self, Backend, Backup, CheckedFile, CheckedOut, Connection, DiffStyle, Difference, EmbeddedOptions,
        HostExamination, MaxTier, PlanBase, RepositoryBase, ServeOptions, UploadedState,
    },
    driver::{Clock as _, SystemClock},
    planfile,
    prices::Prices,
    rpc,
    store::backup::back_up,
};

/// How long a short command may hold the database when a coordinator starts.
const PATIENCE: Duration = Duration::from_secs(5);
/// An embedded run whose plan its own workers cannot do says so after this.
const EMBEDDED_NO_WORKER_MS: u64 = 300;

/// The `wavegate` program.
#[derive(Debug, Clone, Copy, Default)]
pub struct Program;

#[tonic::async_trait]
impl Backend for Program {
    type Embedded = Embedded;

    async fn embed(&self, options: EmbeddedOptions) -> anyhow::Result<Embedded> {
        begin_log("warn");
        let mut timings = engine_timings(&options.timings);
        if options.workers > 0 {
            timings.no_worker_pause_ms = timings.no_worker_pause_ms.min(EMBEDDED_NO_WORKER_MS);
        }
        let prices = read_prices(options.prices.as_deref())?;
        let config = Config {
            max_agents: options.max_agents,
            max_tier: Tier::Opus,
            scope: Scope::Asked,
            timings,
            prices: prices.blended(),
        };
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let leaves_address = options.workers > 0;
        let options_of_start =
            Options { db: options.db, listen, config, prices, patience: PATIENCE, leaves_address };
        let local = Local {
            executors: options.workers,
            config: options.worker_config,
            allow_full: options.allow_full,
            has_agents: options.has_agents,
        };
        Embedded::start(start(options_of_start).await?, local).await
    }

    async fn serve(
        &self,
        options: ServeOptions,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> anyhow::Result<()> {
        begin_log("info");
        let max_tier = match options.max_tier {
            MaxTier::Sonnet => Tier::Sonnet,
            MaxTier::Opus => Tier::Opus,
        };
        let timings = engine_timings(&options.timings);
        let prices = read_prices(options.prices.as_deref())?;
        let config = Config {
            max_agents: options.max_agents,
            max_tier,
            scope: Scope::All,
            timings,
            prices: prices.blended(),
        };
        let db = options.db.display().to_string();
        let options = Options {
            db: options.db,
            listen: options.listen,
            config,
            prices,
            patience: PATIENCE,
            leaves_address: true,
        };
        let running = start(options).await?;
        tracing::info!("listening on {} with {db}", running.url());
        stop.await;
        tracing::info!("stopping");
        Ok(running.stop().await?)
    }

    async fn check_file(
        &self,
        text: &str,
        file_name: &str,
        sets: &BTreeMap<String, String>,
        prices: Option<&Path>,
    ) -> anyhow::Result<CheckedFile> {
        let prices = read_prices(prices)?;
        let reading = planfile::read(text, file_name, sets);
        let mut outline = reading.spec.as_ref().map(|spec| rpc::outline_of(spec, &prices));
        let mut diagnostics = rpc::diagnostics_of(&reading);
        let base = match &reading.spec {
            Some(spec) if spec.project.workspace == WorkspaceKind::Git => {
                let found = repository::examine(spec, file_name, reading.project).await;
                outline = outline.filter(|_| found.base.is_some());
                diagnostics.extend(found.diagnostics);
                diagnostics.sort_by_key(|one| (one.line, one.column));
                found.base.map(PlanBase::Repository)
            }
            spec => spec.as_ref().and_then(|spec| base_of(spec, file_name)).map(PlanBase::Folder),
        };
        let base = base.unwrap_or_default();
        Ok(CheckedFile { answer: v1::CheckPlanResponse { diagnostics, outline }, base })
    }

    async fn back_up(&self, db: &Path, file: &Path) -> anyhow::Result<Backup> {
        let (db, file) = (db.to_owned(), file.to_owned());
        let made = tokio::task::spawn_blocking(move || back_up(&db, &file, SystemClock.utc())).await??;
        Ok(Backup { bytes: made.bytes, artifacts: made.artifacts, logs: made.logs })
    }

    async fn examine(&self, config: Option<&Path>) -> anyhow::Result<HostExamination> {
        let examination = doctor::examine(&WorkerConfig::of_this_host(config)?).await;
        Ok(HostExamination {
            text: doctor::render(&examination),
            json: serde_json::to_value(&examination)?,
            is_usable: examination.is_usable(),
        })
    }

    async fn upload_tree(&self, connection: &Connection, dir: &Path) -> anyhow::Result<String> {
        trees::upload(connection, dir).await
    }

    async fn upload_state(
        &self,
        connection: &Connection,
        base: &RepositoryBase,
        for_others: bool,
        stores: Option<&Path>,
    ) -> anyhow::Result<UploadedState> {
        repository::upload(connection, base, &Room::open(stores)?, for_others).await
    }

    async fn diff(
        &self,
        connection: &Connection,
        repository: &v1::Repository,
        difference: &Difference,
        style: DiffStyle,
        stores: Option<&Path>,
    ) -> anyhow::Result<Vec<u8>> {
        repository::diff(connection, repository, difference, style, &Room::open(stores)?).await
    }

    async fn checkout(
        &self,
        connection: &Connection,
        plan: &v1::Plan,
        name: &str,
        state: &str,
        dir: Option<&Path>,
        stores: Option<&Path>,
    ) -> anyhow::Result<CheckedOut> {
        let plan_name = plan.summary.as_ref().map(|summary| summary.name.as_str()).unwrap_or_default();
        let slug = rpc::slug(plan_name);
        let dir = dir.map_or_else(|| PathBuf::from(format!("{slug}-{name}")), Path::to_owned);
        let branch = format!("wavegate/{slug}/{name}");
        let at = plan.repository.clone().unwrap_or_default();
        repository::checkout(connection, &at, state, &branch, &dir, &Room::open(stores)?).await
    }

    async fn write_tree(&self, connection: &Connection, tree: &str, dir: &Path) -> anyhow::Result<()> {
        trees::write(connection, tree, dir).await
    }
}

/// The directory that the plan starts from, seen from where its file is.
fn base_of(spec: &PlanSpec, file_name: &str) -> Option<PathBuf> {
    if spec.project.workspace != WorkspaceKind::Dir {
        return None;
    }
    let repo = spec.project.repo.as_ref()?;
    let folder = Path::new(file_name).parent().unwrap_or(Path::new(""));
    Some(folder.join(repo))
}

/// The built-in prices, under those of the file.
fn read_prices(file: Option<&Path>) -> anyhow::Result<Prices> {
    Ok(file.map_or_else(|| Ok(Prices::built_in()), Prices::read)?)
}

fn engine_timings(timings: &cli::Timings) -> Timings {
    let delays = &timings.retry_delays_ms;
    let last = delays.last().copied().unwrap_or_default();
    let delay = |at: usize| delays.get(at).copied().unwrap_or(last);
    Timings {
        heartbeat_ms: timings.heartbeat_ms,
        unreachable_after_ms: timings.unreachable_after_ms,
        lost_after_ms: timings.lost_after_ms,
        fence_margin_ms: timings.fence_margin_ms,
        kill_grace_ms: timings.kill_grace_ms,
        retry_delays_ms: [delay(0), delay(1), delay(2)],
        no_worker_pause_ms: timings.no_worker_after_ms,
        account_probe_ms: timings.account_probe_ms,
        // Well below any lost_after: else a stop of this process that is no gap yet would lose leases.
        clock_gap_ms: Timings::default()
            .clock_gap_ms
            .min(timings.unreachable_after_ms)
            .min(timings.fence_margin_ms),
        ..Timings::default()
    }
}

/// Logs go to standard error; `WAVEGATE_LOG` says how much.
fn begin_log(default: &str) {
    let filter = EnvFilter::try_from_env("WAVEGATE_LOG").unwrap_or_else(|_| EnvFilter::new(default));
    let log =
        tracing_subscriber::fmt().with_env_filter(filter).with_target(false).with_writer(std::io::stderr);
    // A second coordinator in one process logs to where the first one does.
    let _ = log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).try_init();
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAN: &str = "name: one\nwaves: [{ id: W1, tasks: [{ id: T1, runner: claude, do: \"x\" }] }]\n";

    async fn standard_cost(prices: Option<&Path>) -> anyhow::Result<Option<u64>> {
        let checked = Program.check_file(PLAN, "one.yaml", &BTreeMap::new(), prices).await?;
        let estimates = checked.answer.outline.and_then(|outline| outline.estimates).unwrap_or_default();
        Ok(estimates.standard.unwrap_or_default().cost_micro_usd)
    }

    #[tokio::test]
    async fn a_file_is_estimated_by_the_prices_that_are_given() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("mine.toml");
        let wrong = standard_cost(Some(&folder.path().join("none.toml"))).await.unwrap_err();
        assert!(wrong.to_string().contains("none.toml"), "{wrong}");
        let known = standard_cost(None).await.unwrap().unwrap();
        std::fs::write(
            &path,
            "date = \"2026-12-01\"\n[models.claude-sonnet-5-5]\ninput = 1000\noutput = 1000\n",
        )
        .unwrap();
        let dear = standard_cost(Some(&path)).await.unwrap().unwrap();
        assert!(known < 1_000_000 && dear == 90_000_000, "{known} {dear}");
    }
}
