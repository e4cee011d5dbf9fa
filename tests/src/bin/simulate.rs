//! Runs the simulation over many seeds.
//!
//! `cargo run --release -p wavegate-tests --bin simulate -- --seeds 1000 [--from 0] [--trace] [--every-row]
//! [--plans N]`
//!
//! With `--every-row` a run that leaves a row of the tables of transitions untaken fails; 10,000 seeds are enough.
//! With `--plans N` one whose seeds gave fewer plans fails.
//! With `--explore DEPTH` every order of events of small worlds to that depth, in the place of seeds.

use std::{io::Write as _, process::ExitCode};

use anyhow::Context as _;
use wavegate_tests::simulation::{
    Figures, LEAST_DONE, Scenario, Small, Start, explore, run, run_traced, shrink,
};

struct Wish {
    from: u64,
    seeds: u64,
    trace: bool,
    every_row: bool,
    plans: u64,
    explore: Option<usize>,
}

fn wish() -> anyhow::Result<Wish> {
    let mut wish = Wish { from: 0, seeds: 100, trace: false, every_row: false, plans: 0, explore: None };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut number = || {
            let text = arguments.next().with_context(|| format!("{argument} needs a number"))?;
            text.parse::<u64>().with_context(|| format!("{argument}: {text:?} is no number"))
        };
        match argument.as_str() {
            "--from" => wish.from = number()?,
            "--seeds" => wish.seeds = number()?,
            "--explore" => wish.explore = usize::try_from(number()?).ok(),
            "--plans" => wish.plans = number()?,
            "--trace" => wish.trace = true,
            "--every-row" => wish.every_row = true,
            other => anyhow::bail!(
                "unknown argument {other:?}: expected --seeds N, --from SEED, --plans N, --trace, --every-row, \
                 --explore DEPTH"
            ),
        }
    }
    Ok(wish)
}

fn main() -> anyhow::Result<ExitCode> {
    let wish = wish()?;
    let mut out = std::io::stdout().lock();
    if let Some(depth) = wish.explore {
        for (tasks, max_agents) in [(2, None), (2, Some(1)), (5, None)] {
            for from in Start::ALL {
                let walked = explore(Small { from, tasks, max_agents, depth });
                writeln!(
                    out,
                    "{tasks} tasks, max_agents {max_agents:?}, from {from:?}, depth {depth}: {walked:?}"
                )?;
                if walked.is_err() {
                    return Ok(ExitCode::FAILURE);
                }
            }
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut figures = Figures::default();
    for seed in wish.from..wish.from + wish.seeds {
        let scenario = Scenario::of(seed);
        if wish.trace {
            let (held, trace) = run_traced(&scenario, None);
            trace.iter().try_for_each(|line| writeln!(out, "{line}"))?;
            writeln!(out, "seed {seed}: {:?}", held.as_ref().map(|held| held.fingerprint))?;
        }
        match run(&scenario, None) {
            Ok(held) => figures.add(&held.figures),
            Err(failure) => {
                writeln!(out, "seed {seed} fails: {}\nshrinking", failure.message)?;
                let (least, failure) = shrink(&scenario, None, &failure);
                let (_, trace) = run_traced(&least, None);
                trace.iter().try_for_each(|line| writeln!(out, "{line}"))?;
                writeln!(out, "{least:#?}\nseed {seed} fails: {}", failure.message)?;
                return Ok(ExitCode::FAILURE);
            }
        }
        if (seed - wish.from) % 1000 == 999 {
            writeln!(out, "{} seeds", seed - wish.from + 1)?;
        }
    }
    write!(out, "{figures}")?;
    if figures.plans < wish.plans {
        let Figures { runs, plans, .. } = figures;
        writeln!(
            out,
            "{runs} seeds gave {plans} plans: expected {} or more; ask for more seeds",
            wish.plans
        )?;
        return Ok(ExitCode::FAILURE);
    }
    // Of a few plans chance may block more.
    if figures.plans >= 200 && figures.done_per_cent() < LEAST_DONE {
        writeln!(
            out,
            "only {} % of the plans are done: expected {LEAST_DONE} % or more",
            figures.done_per_cent()
        )?;
        return Ok(ExitCode::FAILURE);
    }
    let is_whole = !wish.every_row || figures.rows_not_taken().is_empty();
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
