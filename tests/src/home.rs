//! A directory of its own for one test: database, worker states, plans, outputs. Dumped when the
//! test fails.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
};

use rusqlite::Connection;
use serde_json::Value;
use tempfile::TempDir;

use crate::{Process, wait_until};

/// One test's files and programs.
#[derive(Debug)]
pub struct Home {
    dir: TempDir,
    db: PathBuf,
    wavegate: PathBuf,
    worker: PathBuf,
    /// What every `wavegate` command is started through.
    place: Vec<String>,
}

/// What a finished command left.
#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// Milliseconds instead of minutes, so that a test sees a heartbeat, a loss and a retry.
const QUICK_TIMINGS: [&str; 6] = [
    "--heartbeat-ms=100",
    "--unreachable-after-ms=500",
    "--lost-after-ms=3000",
    "--fence-margin-ms=1000",
    "--kill-grace-ms=300",
    "--retry-delays-ms=50,100,200",
];

impl Home {
    /// `wavegate` and `worker` are the paths of the binaries under test.
    pub fn new(wavegate: &str, worker: &str) -> anyhow::Result<Self> {
        Self::new_in(&std::env::temp_dir(), wavegate, worker)
    }

    /// A home in memory, where this machine has such a place: syncing costs nothing there.
    pub fn in_memory(wavegate: &str, worker: &str) -> anyhow::Result<Self> {
        let memory = Path::new("/dev/shm");
        if memory.is_dir() { Self::new_in(memory, wavegate, worker) } else { Self::new(wavegate, worker) }
    }

    fn new_in(folder: &Path, wavegate: &str, worker: &str) -> anyhow::Result<Self> {
        let dir = tempfile::Builder::new().prefix("wavegate-test-").tempdir_in(folder)?;
        let db = dir.path().join("wavegate.db");
        Ok(Self { dir, db, wavegate: wavegate.into(), worker: worker.into(), place: Vec::new() })
    }

    /// Every `wavegate` command is started through this program and its arguments, which replace themselves by it.
    #[must_use]
    pub fn at(mut self, place: Vec<String>) -> Self {
        self.place = place;
        self
    }

    /// The same home with its database at another place in it.
    #[must_use]
    pub fn with_db(mut self, name: &str) -> Self {
        self.db = self.path(name);
        self
    }

    /// A path within the home.
    #[must_use]
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The database.
    #[must_use]
    pub fn db(&self) -> PathBuf {
        self.db.clone()
    }

    /// What lies beside the database.
    #[must_use]
    pub fn beside_db(&self, name: &str) -> PathBuf {
        self.db.with_extension("db.d").join(name)
    }

    /// Writes a file; gives its path.
    pub fn write(&self, name: &str, text: &str) -> anyhow::Result<PathBuf> {
        let path = self.path(name);
        fs::write(&path, text)?;
        Ok(path)
    }

    /// What a file of the home holds; empty when there is none.
    #[must_use]
    pub fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// The `wavegate` command in a clean environment, on this home's database.
    #[must_use]
    pub fn command(&self) -> Command {
        self.clean(&self.wavegate, &self.place)
    }

    /// Runs `wavegate ARGS` to its end, without a terminal.
    pub fn run(&self, args: &[&str]) -> anyhow::Result<Ran> {
        Ok(self.command().args(args).stdin(Stdio::null()).output()?.into())
    }

    /// Runs `wavegate ARGS` with this on its standard input.
    pub fn run_with_input(&self, args: &[&str], input: &str) -> anyhow::Result<Ran> {
        let mut child = self
            .command()
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let Some(mut stdin) = child.stdin.take() {
            stdin.write_all(input.as_bytes())?;
        }
        Ok(child.wait_with_output()?.into())
    }

    /// Starts `wavegate ARGS`; the output goes to `NAME.log`.
    pub fn start(&self, name: &str, args: &[&str]) -> anyhow::Result<Process> {
        Process::start(self.command().args(args), &self.path(&format!("{name}.log")))
    }

    /// Starts a coordinator with quick timings on a port that is kept over restarts.
    pub fn serve(&self, listen: &str) -> anyhow::Result<Process> {
        self.serve_with(listen, &[])
    }

    /// As [`Self::serve`], with these further flags.
    pub fn serve_with(&self, listen: &str, flags: &[&str]) -> anyhow::Result<Process> {
        self.serve_by(&mut self.serve_command(listen, flags))
    }

    /// The command that [`Self::serve_with`] starts.
    #[must_use]
    pub fn serve_command(&self, listen: &str, flags: &[&str]) -> Command {
        let mut command = self.command();
        command.args(["serve", "--listen", listen]).args(QUICK_TIMINGS).args(flags);
        command
    }

    /// Starts a coordinator by this command, which may have been changed, and waits until it listens.
    pub fn serve_by(&self, command: &mut Command) -> anyhow::Result<Process> {
        let _ = fs::remove_file(self.beside_db("address"));
        let mut process = Process::start(command, &self.path("serve.log"))?;
        self.wait_for_address(&mut process);
        Ok(process)
    }

    #[track_caller]
    fn wait_for_address(&self, process: &mut Process) {
        let id = process.id();
        wait_until(
            "the coordinator to listen",
            || self.dump(),
            || {
                let address = fs::read_to_string(self.beside_db("address")).unwrap_or_default();
                assert!(Path::new(&format!("/proc/{id}")).exists(), "the coordinator ended\n{}", self.dump());
                (!address.is_empty()).then_some(())
            },
        );
    }

    /// Starts a worker with a state directory of its own name.
    pub fn worker(&self, name: &str, args: &[&str]) -> anyhow::Result<Process> {
        self.worker_with(name, args, &[])
    }

    /// As [`Self::worker`], with these variables in its environment.
    pub fn worker_with(
        &self,
        name: &str,
        args: &[&str],
        env: &[(String, String)],
    ) -> anyhow::Result<Process> {
        let mut command = self.worker_command(name, args);
        command.envs(env.iter().cloned());
        self.worker_by(name, &mut command)
    }

    /// As [`Self::worker_with`], started through this program and its arguments.
    pub fn worker_at(
        &self,
        place: &[String],
        name: &str,
        args: &[&str],
        env: &[(String, String)],
    ) -> anyhow::Result<Process> {
        let mut command = self.worker_command_at(place, &self.path(&format!("worker-{name}")), name, args);
        command.envs(env.iter().cloned());
        self.worker_by(name, &mut command)
    }

    /// The command that [`Self::worker`] starts.
    #[must_use]
    pub fn worker_command(&self, name: &str, args: &[&str]) -> Command {
        self.worker_command_in(&self.path(&format!("worker-{name}")), name, args)
    }

    /// As [`Self::worker_command`], with this state directory.
    #[must_use]
    pub fn worker_command_in(&self, state: &Path, name: &str, args: &[&str]) -> Command {
        self.worker_command_at(&[], state, name, args)
    }

    fn worker_command_at(&self, place: &[String], state: &Path, name: &str, args: &[&str]) -> Command {
        let mut command = self.clean(&self.worker, place);
        command.args(["--name", name]).arg("--state-dir").arg(state).args(args);
        command
    }

    /// Starts a worker with this state directory.
    pub fn worker_in(&self, state: &Path, name: &str, args: &[&str]) -> anyhow::Result<Process> {
        self.worker_by(name, &mut self.worker_command_in(state, name, args))
    }

    /// Starts a worker by this command, which may have been changed.
    pub fn worker_by(&self, name: &str, command: &mut Command) -> anyhow::Result<Process> {
        Process::start(command, &self.path(&format!("worker-{name}.log")))
    }

    /// `wavegate show PLAN --json`.
    pub fn show(&self, plan: &str) -> anyhow::Result<Value> {
        let ran = self.run(&["show", plan, "--json"])?;
        anyhow::ensure!(ran.code == Some(0), "show {plan}: {ran:?}");
        Ok(serde_json::from_str(&ran.stdout)?)
    }

    /// The plan's status, or an empty text while there is no answer.
    #[must_use]
    pub fn status(&self, plan: &str) -> String {
        let shown = self.show(plan).ok();
        shown.and_then(|plan| plan["status"].as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// The plan's state by the file alone, with no coordinator running.
    #[must_use]
    pub fn status_in_file(&self, name: &str) -> String {
        let read = || {
            Connection::open(self.db())?.query_row(
                "SELECT state FROM wg_plans WHERE name=?1",
                [name],
                |row| row.get(0),
            )
        };
        read().unwrap_or_default()
    }

    /// Waits until the plan has the status.
    #[track_caller]
    pub fn wait_for_status(&self, plan: &str, status: &str) {
        wait_until(
            &format!("plan {plan} to be {status}"),
            || self.dump(),
            || (self.status(plan) == status).then_some(()),
        );
    }

    /// A connection to the database, as any SQLite client has it.
    pub fn sql(&self) -> anyhow::Result<Connection> {
        Ok(Connection::open(self.db())?)
    }

    /// One number out of the database.
    pub fn count(&self, query: &str) -> anyhow::Result<i64> {
        Ok(self.sql()?.query_row(query, [], |row| row.get(0))?)
    }

    /// Logs and events, for a failing test.
    #[must_use]
    pub fn dump(&self) -> String {
        let mut dump = String::new();
        let logs = fs::read_dir(self.dir.path()).into_iter().flatten().flatten().map(|entry| entry.path());
        for log in logs.filter(|path| path.extension().is_some_and(|extension| extension == "log")) {
            dump += &format!("== {}\n{}\n", log.display(), fs::read_to_string(&log).unwrap_or_default());
        }
        dump + &self.events()
    }

    fn events(&self) -> String {
        let read = || -> anyhow::Result<String> {
            let sql = self.sql()?;
            let mut rows =
                sql.prepare("SELECT kind || ' ' || reason || ' ' || text FROM wg_events ORDER BY number")?;
            let lines: Result<Vec<String>, _> = rows.query_map([], |row| row.get(0))?.collect();
            Ok(lines?.join("\n"))
        };
        read().unwrap_or_else(|error| format!("no events: {error}"))
    }

    fn clean(&self, program: &Path, place: &[String]) -> Command {
        let mut command = match place {
            [through, rest @ ..] => {
                let mut command = Command::new(through);
                command.args(rest).arg(program);
                command
            }
            [] => Command::new(program),
        };
        command.env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("HOME", self.dir.path()).env("LANG", "C.UTF-8").env("WAVEGATE_DB", self.db());
        command.current_dir(self.dir.path());
        command
    }
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}
