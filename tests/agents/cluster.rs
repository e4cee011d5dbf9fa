//! A coordinator, workers with agents, and the stand-in that they all see.

use serde_json::Value;
use wavegate_tests::{AgentPrograms, Home, LOGIN, Process, model_api::ModelApi, wait_until};

/// Everything of one test.
pub(crate) struct Cluster {
    pub(crate) api: ModelApi,
    pub(crate) home: Home,
    programs: AgentPrograms,
    processes: Vec<Process>,
}

impl Cluster {
    pub(crate) fn start(flags: &[&str]) -> Self {
        let home = Home::new(
            env!("CARGO_BIN_EXE_wavegate-under-test"),
            env!("CARGO_BIN_EXE_wavegate-worker-under-test"),
        );
        let home = home.unwrap();
        let (api, programs) = (ModelApi::start().unwrap(), AgentPrograms::find().unwrap());
        let serve = home.serve_with("127.0.0.1:0", flags).unwrap();
        Self { api, home, programs, processes: vec![serve] }
    }

    /// A worker whose agents spend from an account of the same name, which is also its label.
    pub(crate) fn worker(&mut self, name: &str, roles: &str, slots: &str) {
        let account = account(name);
        let env = self.programs.environment(&self.home, &self.api, &account).unwrap();
        let label = format!("at={name}");
        let args = [
            "--role",
            roles,
            "--slots",
            slots,
            "--label",
            &label,
            "--allow-runner",
            "shell,claude,codex",
            "--allow-full",
        ];
        self.processes.push(self.home.worker_with(name, &args, &env).unwrap());
    }

    /// A worker that may do everything, with these flags.
    pub(crate) fn worker_with(&mut self, name: &str, flags: &[&str]) {
        let env = self.programs.environment(&self.home, &self.api, &account(name)).unwrap();
        self.processes.push(self.home.worker_with(name, flags, &env).unwrap());
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub(crate) fn wavegate(&self, args: &[&str]) -> String {
        let ran = self.home.run(args).unwrap();
        assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}\n{}", self.home.dump());
        ran.stdout
    }

    #[track_caller]
    pub(crate) fn submit(&self, plan: &str, mode: &str) {
        let file = self.home.write("plan.yaml", plan).unwrap();
        self.wavegate(&["submit", file.to_str().unwrap()]);
        self.wavegate(&["approve", "1", "--mode", mode]);
    }

    /// Waits until the plan as it is shown fits.
    #[track_caller]
    pub(crate) fn wait_for(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        wait_until(what, || self.dump(), || self.home.show("1").ok().filter(&fits))
    }

    #[track_caller]
    pub(crate) fn wait_for_status(&self, status: &str) {
        self.wait_for(&format!("the plan to be {status}"), |plan| plan["status"] == status);
    }

    pub(crate) fn report(&self) -> Value {
        serde_json::from_str(&self.wavegate(&["report", "1", "--json"])).unwrap()
    }

    pub(crate) fn dump(&self) -> String {
        let calls: Vec<_> = self
            .api
            .calls()
            .iter()
            .map(|call| {
                format!(
                    "{} {} {:?} {} {} {}",
                    call.status, call.account, call.role, call.asked, call.session, call.began_ms
                )
            })
            .collect();
        format!("{}\n== calls\n{}", self.home.dump(), calls.join("\n"))
    }
}

/// The key of a worker's account; of worker b it is a login.
pub(crate) fn account(name: &str) -> String {
    if name == "b" { format!("{LOGIN}dummy-{name}") } else { format!("sk-ant-dummy-account-{name}") }
}

/// A task of the plan as it is shown.
pub(crate) fn task<'a>(plan: &'a Value, key: &str) -> &'a Value {
    let waves = plan["waves"].as_array().into_iter().flatten();
    let mut tasks = waves.flat_map(|wave| wave["tasks"].as_array().into_iter().flatten());
    tasks.find(|task| task["id"] == key).unwrap()
}
