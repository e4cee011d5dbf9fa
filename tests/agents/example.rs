//! The example for agents, as a new user runs it: embedded, with what stands in the repository.

use std::{fs, process::Stdio};

use wavegate_tests::{
    ACCOUNT, AgentPrograms, Home,
    model_api::{ModelApi, Role},
};

#[test]
#[ignore = "needs the agents' programs: .ci/agents installs them"]
fn the_example_runs_to_done_in_one_command() {
    let home = Home::new(
        env!("CARGO_BIN_EXE_wavegate-under-test"),
        env!("CARGO_BIN_EXE_wavegate-worker-under-test"),
    )
    .unwrap();
    let scripts = toml::from_str(include_str!("example/scripts.toml")).unwrap();
    let (api, programs) = (ModelApi::with_scripts(scripts).unwrap(), AgentPrograms::find().unwrap());
    let plan = concat!(env!("CARGO_MANIFEST_DIR"), "/../examples/agents.yaml");
    let ran = home
        .command()
        .args(["run", plan, "--mode", "standard", "--out", "greet"])
        .envs(programs.environment(&home, &api, ACCOUNT).unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&ran.stdout), String::from_utf8_lossy(&ran.stderr));
    assert_eq!(ran.status.code(), Some(0), "{out}\n{err}\n{}", home.dump());
    assert!(fs::read_to_string(home.path("greet/greet.sh")).unwrap().contains("Hello"));
    // The trivial one on haiku, the others on sonnet, and Thor, too.
    let asked =
        |role| api.answered().into_iter().filter(move |call| call.role == role).map(|call| call.asked);
    assert!(asked(Role::Task).any(|model| model.contains("haiku")));
    assert!(asked(Role::Task).any(|model| model.contains("sonnet")));
    assert!(asked(Role::Thor).all(|model| model.contains("sonnet")));
}
