use std::path::{Path, PathBuf};

use clap::Parser as _;

use crate::runner::RunnerSettings;

use super::file::{ConfigError, Settings};
use super::{Address, Bytes, FULL_LABEL, Flags, Role, Slots, TokenSource, WorkerConfig};

fn read(text: &str) -> Result<Settings, ConfigError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("worker.toml");
    std::fs::write(&path, text).unwrap();
    Settings::read(&path)
}

fn resolve(arguments: &[&str], file: &str) -> WorkerConfig {
    let flags = Flags::try_parse_from([&["wavegate-worker"], arguments].concat()).unwrap();
    flags.over(read(file).unwrap()).complete(Some(Path::new("/home/me/.local/share"))).unwrap()
}

#[test]
fn a_flag_beats_the_file_and_the_file_beats_the_default() {
    let file = "name = 'from-file'\nslots = 7\nrole = ['thor']\nlog-limit = '1MiB'";
    let config = resolve(&["--name", "from-flag"], file);
    assert_eq!(config.name, "from-flag");
    assert_eq!(config.slots.limit(), Some(7));
    assert_eq!(config.roles, [Role::Thor]);
    assert_eq!(config.log_limit, Bytes(1 << 20));
    assert_eq!(config.runners, None);
    assert_eq!(resolve(&["--allow-runner", "shell"], "").runners, Some(vec!["shell".to_owned()]));
    assert_eq!(config.state_dir, PathBuf::from("/home/me/.local/share/wavegate/worker"));
}

#[test]
fn a_database_gives_address_and_token() {
    let config = resolve(&["--db", "/data/x.db"], "");
    assert_eq!(config.coordinator, Address::File("/data/x.db.d/address".into()));
    assert_eq!(config.token, TokenSource::Local("/data/x.db.d/token".into()));
}

#[test]
fn a_named_coordinator_beats_the_one_beside_the_database() {
    let config = resolve(&["--db", "/data/x.db", "--coordinator", "far:1", "--token-file", "/t"], "");
    assert_eq!(config.coordinator, Address::Url("http://far:1".into()));
    assert_eq!(config.token, TokenSource::File("/t".into()));
}

#[test]
fn an_unknown_name_in_the_file_is_an_error_with_its_line() {
    let error = read("name = 'x'\nslotz = 3\n").unwrap_err().to_string();
    assert!(error.contains("worker.toml") && error.contains("line 2"), "{error}");
    assert!(error.contains("slotz") && error.contains("`slots`"), "{error}");
}

#[test]
fn a_wrong_amount_in_the_file_is_an_error_with_its_line() {
    let error = read("\nslots = 0\n").unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("unlimited"), "{error}");
    let error = read("log-limit = '5 potatoes'").unwrap_err().to_string();
    assert!(error.contains("line 1") && error.contains("MiB"), "{error}");
}

#[test]
fn amounts_are_read_as_people_write_them() {
    assert_eq!("unlimited".parse(), Ok(Slots::Unlimited));
    assert_eq!("3".parse::<Slots>().unwrap().limit(), Some(3));
    assert!("0".parse::<Slots>().is_err());
    assert_eq!("64MiB".parse(), Ok(Bytes(64 << 20)));
    assert_eq!("2 KiB".parse(), Ok(Bytes(2048)));
    assert!("18446744073709551615GiB".parse::<Bytes>().is_err());
    assert_eq!(Bytes(64 << 20).to_string(), "64 MiB");
}

#[test]
fn every_flag_has_an_environment_variable() {
    use clap::CommandFactory as _;
    let command = Flags::command();
    for flag in command.get_arguments().filter(|flag| !matches!(flag.get_id().as_str(), "help" | "version")) {
        let variable = flag.get_env().and_then(|name| name.to_str()).unwrap_or_default();
        assert!(variable.starts_with("WAVEGATE_"), "{} has {variable:?}", flag.get_id());
    }
}

#[test]
fn another_kind_of_address_is_refused() {
    let flags = Flags::try_parse_from(["wavegate-worker", "--coordinator", "https://x"]).unwrap();
    let error = flags.over(Settings::default()).complete(Some(Path::new("/"))).unwrap_err();
    assert!(matches!(error, ConfigError::NotHttp { .. }), "{error}");
}

#[test]
fn runners_and_their_programs_are_said_in_the_file() {
    let file =
        "allow-runner = ['shell', 'claude']\n[runner.claude]\nprogram = '/opt/claude'\nmodels = ['haiku']\n";
    let config = resolve(&["--allow-full"], file);
    assert!(config.allow_full);
    let RunnerSettings::Program(claude) = &config.runner_settings["claude"] else { panic!("{config:?}") };
    assert_eq!(claude.program, Some(PathBuf::from("/opt/claude")));
    assert_eq!(claude.models, Some(vec!["haiku".to_owned()]));
    assert!(!resolve(&[], "").allow_full);
    let error = read("[runner.claude]\nprogramme = 'x'").unwrap_err().to_string();
    assert!(error.contains("line 2") && error.contains("programme"), "{error}");
}

#[test]
fn full_permissions_are_a_label_that_nobody_gives_by_hand() {
    let label = FULL_LABEL.to_owned();
    assert!(resolve(&[], "allow-full = true").labels.contains(&label));
    assert!(resolve(&["--allow-full", "--label", FULL_LABEL], "").labels.contains(&label));
    assert!(!resolve(&["--label", "gpu"], "").labels.contains(&label));
    for given in [FULL_LABEL, "permissions=more"] {
        let flags = Flags::try_parse_from(["wavegate-worker", "--label", given]).unwrap();
        let error = flags.over(Settings::default()).complete(Some(Path::new("/"))).unwrap_err().to_string();
        assert!(error.contains(given) && error.contains("--allow-full"), "{error}");
    }
}

#[test]
fn a_worker_has_every_role_where_nothing_else_is_said() {
    assert_eq!(resolve(&[], "").roles, [Role::Executor, Role::Thor, Role::Coordinator]);
    assert_eq!(resolve(&["--role", "coordinator"], "").roles, [Role::Coordinator]);
}
