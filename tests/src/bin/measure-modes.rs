//! Measures both modes on the same plan: twelve tasks that sleep for two seconds. Prints, for each
//! mode, the wall time, the speed-up and how near it comes to the bound that no schedule can beat.
//!
//! `cargo build --workspace && cargo run -p wavegate-tests --bin measure-modes`

use std::{fmt::Write as _, io::Write as _};

use anyhow::Context as _;
use wavegate_tests::Home;

const TASKS: usize = 12;
const SECONDS: u32 = 2;

fn main() -> anyhow::Result<()> {
    let program = std::env::current_exe()?.with_file_name("wavegate-under-test");
    anyhow::ensure!(program.exists(), "build the workspace first: {} is missing", program.display());
    let home = Home::new(program.to_str().context("a path in UTF-8")?, "")?;
    let mut plan =
        "name: sleepers\nproject: { workspace: none }\nwaves:\n  - id: W1\n    tasks:\n".to_owned();
    for at in 1..=TASKS {
        writeln!(plan, "      - {{ id: T1-{at:02}, run: \"sleep {SECONDS}\", verify: [\"true\"] }}")?;
    }
    let plan = home.write("plan.yaml", &plan)?;
    let plan = plan.to_str().context("a path in UTF-8")?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{TASKS} tasks of `sleep {SECONDS}`\nmode      wall  speed-up  bound  bound/wall")?;
    for mode in ["standard", "max"] {
        let ran = home.run(&["run", plan, "--mode", mode, "--json"])?;
        anyhow::ensure!(ran.code == Some(0), "{ran:?}");
        let report = &serde_json::from_str::<serde_json::Value>(&ran.stdout)?["report"];
        let ms = |name: &str| report[name].as_f64().with_context(|| format!("no {name} in {report}"));
        let (wall, work, bound) = (ms("wall_ms")?, ms("work_ms")?, ms("bound_ms")?);
        writeln!(
            out,
            "{mode:<9} {:>4.1} s  {:>7.2}  {:>4.1} s  {:>9.2}",
            wall / 1e3,
            work / wall,
            bound / 1e3,
            bound / wall
        )?;
    }
    Ok(())
}
