//! What the command line accepts and refuses.

use clap::{CommandFactory as _, error::ErrorKind};

use super::{run::parse_micro_usd, *};
use crate::cli::{
    backend::{MaxTier, Timings},
    failure::Failure,
};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

fn serve(line: &str) -> (ServeArgs, ReachArgs) {
    let cli = parse(line).unwrap();
    let Command::Serve(args) = cli.command else {
        panic!("expected serve, found {:?}", cli.command);
    };
    (args, cli.reach)
}

#[test]
fn the_commands_fit_together() {
    Cli::command().debug_assert();
}

#[test]
fn every_flag_but_mode_has_an_environment_variable() {
    let mut root = Cli::command();
    root.build();
    for command in root.get_subcommands() {
        let flags = command.get_arguments().filter(|arg| !arg.is_positional());
        for flag in flags.filter(|arg| !matches!(arg.get_id().as_str(), "help" | "version")) {
            let variable = flag.get_env().map(|name| name.to_string_lossy().into_owned());
            let place = format!("{} {}", command.get_name(), flag.get_id());
            match flag.get_id().as_str() {
                "mode" => assert_eq!(variable, None, "{place}"),
                _ => assert!(variable.unwrap().starts_with("WAVEGATE_"), "{place}"),
            }
        }
    }
}

/// What a task, or the command of `--notify`, finds in its environment: a `wavegate` that it calls must not
/// take that for flags.
const TOLD: [&str; 12] = [
    "ATTEMPT",
    "RESULT",
    "FINDINGS",
    "PLAN",
    "PLAN_ID",
    "WAVE",
    "ROUND",
    "TASK",
    "LEASE_ID",
    "WORKER_ID",
    "STATUS",
    "REASON",
];

#[test]
fn no_flag_takes_its_value_from_what_a_task_is_told() {
    let mut root = Cli::command();
    root.build();
    for command in root.get_subcommands() {
        for flag in command.get_arguments() {
            let variable = flag.get_env().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
            let name = variable.strip_prefix("WAVEGATE_").unwrap_or_default();
            assert!(!TOLD.contains(&name), "{} {}: {variable}", command.get_name(), flag.get_id());
        }
    }
}

#[test]
fn a_resumed_plan_takes_no_budget_that_would_be_ignored() {
    for budget in ["--budget-usd 5", "--budget-tokens 5"] {
        let error = parse(&format!("wavegate run --resume 3 {budget}")).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ArgumentConflict, "{budget}");
    }
}

#[test]
fn run_takes_a_file_or_a_plan_to_resume_but_not_both() {
    assert!(parse("wavegate run plan.yaml --mode max --set a=b=c --set d=").is_ok());
    assert!(parse("wavegate run --resume 3").is_ok());
    let missing = parse("wavegate run").unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::MissingRequiredArgument);
    let both = parse("wavegate run plan.yaml --resume 3").unwrap_err();
    assert_eq!(both.kind(), ErrorKind::ArgumentConflict);
}

#[test]
fn a_resolution_needs_a_note() {
    let line = "wavegate resolve 3 rework --task T1-01 --task T1-02";
    let missing = parse(line).unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::MissingRequiredArgument);
    assert!(missing.to_string().contains("--note"));
    assert!(parse(&format!("{line} --note because")).is_ok());
}

#[test]
fn a_set_without_a_value_says_what_was_expected() {
    let error = parse("wavegate run plan.yaml --set repo").unwrap_err();
    assert!(error.to_string().contains("expected KEY=VALUE"), "{error}");
}

#[test]
fn global_flags_stand_before_or_after_the_command() {
    for line in ["wavegate --db x.db --json plans", "wavegate plans --json --db x.db"] {
        let cli = parse(line).unwrap();
        assert!(cli.reach.json, "{line}");
        assert_eq!(cli.reach.database(), PathBuf::from("x.db"), "{line}");
    }
}

#[test]
fn address_and_token_lie_beside_the_database() {
    let reach = parse("wavegate --db /data/x.db plans").unwrap().reach;
    assert_eq!(reach.address_file(), PathBuf::from("/data/x.db.d/address"));
    assert_eq!(reach.default_token_file(), PathBuf::from("/data/x.db.d/token"));
}

#[test]
fn dollars_are_read_to_the_millionth() {
    assert_eq!(parse_micro_usd("2.50"), Ok(2_500_000));
    assert_eq!(parse_micro_usd("3"), Ok(3_000_000));
    assert_eq!(parse_micro_usd("0.000001"), Ok(1));
    for much in ["1000000000.01", "9223372036854", "99999999999999999"] {
        assert_eq!(parse_micro_usd(much), Err("expected at most 1000000000 dollars".to_owned()));
    }
    for wrong in ["", ".", "-1", "1.0000001", "1,5"] {
        assert!(parse_micro_usd(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn a_flag_wins_over_the_config_file_and_the_file_over_the_default() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wavegate.toml");
    std::fs::write(
        &file,
        "listen = \"127.0.0.1:9000\"\ndb = \"from-file.db\"\nmax-agents = 4\nmax-tier = \"sonnet\"\n",
    )
    .unwrap();
    let line = format!("wavegate serve --max-agents 9 --config {}", file.display());
    let (args, reach) = serve(&line);
    let options = args.into_options(&reach).unwrap();
    assert_eq!(options.max_agents, Some(9));
    assert_eq!(options.listen.port(), 9000);
    assert_eq!(options.db, PathBuf::from("from-file.db"));
    assert_eq!(options.max_tier, MaxTier::Sonnet);
    assert_eq!(options.timings, Timings::default());
}

#[test]
fn an_unknown_name_in_the_config_file_is_told_with_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("wavegate.toml");
    std::fs::write(&file, "max-agents = 4\nlissten = \"x\"\n").unwrap();
    let (args, reach) = serve(&format!("wavegate serve --config {}", file.display()));
    let failure = args.into_options(&reach).unwrap_err();
    let text = failure.to_string();
    assert!(matches!(failure, Failure::Usage(_)), "{text}");
    assert!(text.contains("line 2") && text.contains("lissten"), "{text}");
}

#[test]
fn a_shorter_lease_shortens_the_margins_that_depend_on_it() {
    let (args, reach) = serve("wavegate serve --heartbeat-ms 100 --lost-after-ms 2000");
    let timings = args.into_options(&reach).unwrap().timings;
    assert_eq!(timings.fence_margin_ms, 1_000);
    assert_eq!(timings.kill_grace_ms, 800);
}

#[test]
fn a_fence_that_cannot_hold_is_refused() {
    let (args, reach) = serve("wavegate serve --heartbeat-ms 10000 --fence-margin-ms 15000");
    let failure = args.into_options(&reach).unwrap_err();
    assert!(failure.to_string().contains("--fence-margin-ms is 15000"), "{failure}");
}
