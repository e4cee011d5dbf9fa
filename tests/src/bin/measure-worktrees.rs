//! Measures what a lease's worktree costs, on a repository of 50,000 files: by hand (`git worktree add`), from the
//! pool for the first time and again, and as a full clone. Fifty leases one after the other from the pool, each of
//! which changes a hundred files and builds something that is ignored; each one's time and disk. All figures are of
//! one run on one machine: compare them with each other.
//!
//! `cargo run --release -p wavegate-tests --bin measure-worktrees [FILES [LEASES]]`

use std::{
    fs,
    io::Write as _,
    os::unix::fs::MetadataExt as _,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use anyhow::Context as _;
use wavegate_worker::git::{Git, Start, Stores};

const BY_HAND: usize = 5;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<usize>());
    let files = arguments.next().transpose()?.unwrap_or(50_000);
    let leases = arguments.next().transpose()?.unwrap_or(50);
    let folder = tempfile::tempdir()?;
    let repository = folder.path().join("repository");
    make(&repository, files)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "a repository of {files} files\n{:<34} {:>9} {:>10}", "each", "time", "disk")?;

    let mut by_hand = Vec::new();
    for at in 0..BY_HAND {
        let place = folder.path().join(format!("hand-{at}"));
        let begun = Instant::now();
        git(&repository, &["worktree", "add", "-q", "--detach", place.to_str().context("UTF-8")?])?;
        by_hand.push(Cost { time: begun.elapsed(), bytes: size(&place)? });
        git(&repository, &["worktree", "remove", "--force", place.to_str().context("UTF-8")?])?;
    }
    line(&mut out, "git worktree add, by hand", &by_hand)?;

    let clone = folder.path().join("clone");
    let begun = Instant::now();
    let from = format!("file://{}", repository.display());
    git(folder.path(), &["clone", "-q", &from, clone.to_str().context("UTF-8")?])?;
    line(&mut out, "git clone, in full", &[Cost { time: begun.elapsed(), bytes: size(&clone)? }])?;
    fs::remove_dir_all(&clone)?;

    let stores = Stores::new(folder.path().join("stores"), Git::new(None));
    let begun = Instant::now();
    let store = stores.open(repository.to_str().context("UTF-8")?).await?;
    let head = store.head("main").await?;
    store.fetch(&head).await?;
    let fetched = Cost { time: begun.elapsed(), bytes: size(&store.objects())? };
    line(&mut out, "the store, once for a repository", &[fetched])?;

    let (mut first, mut again, mut results) = (Vec::new(), Vec::new(), Vec::new());
    for lease in 0..leases {
        let start = Start {
            base: head.commit().clone(),
            layers: Vec::new(),
            own: None,
            branch: format!("wavegate/measure/T{lease}"),
        };
        let begun = Instant::now();
        let worktree = store.worktree(start).await?;
        let cost = Cost { time: begun.elapsed(), bytes: size(&worktree.files())? };
        if lease == 0 {
            first.push(cost)
        } else {
            again.push(cost)
        }
        work(&worktree.files(), files, lease)?;
        let begun = Instant::now();
        let made = worktree.result("changes").await?.context("a result")?;
        let bundle = folder.path().join("bundle");
        worktree.bundle(&made, head.commit(), &bundle).await?.context("a bundle")?;
        results.push(Cost { time: begun.elapsed(), bytes: fs::metadata(&bundle)?.len() });
        worktree.release().await;
    }
    line(&mut out, "a lease's worktree, the first", &first)?;
    line(&mut out, "a lease's worktree, from the pool", &again)?;
    line(&mut out, "a lease's result, as a bundle", &results)?;
    let ratio = median(&again).time.as_secs_f64() / median(&by_hand).time.as_secs_f64();
    writeln!(out, "from the pool / by hand: {ratio:.2}")?;
    Ok(())
}

#[derive(Debug, Clone, Copy)]
struct Cost {
    time: Duration,
    bytes: u64,
}

/// The median of the times, and of the sizes.
fn median(costs: &[Cost]) -> Cost {
    let middle = |mut values: Vec<u64>| {
        values.sort_unstable();
        values.get(values.len() / 2).copied().unwrap_or_default()
    };
    let nanos =
        middle(costs.iter().map(|cost| u64::try_from(cost.time.as_nanos()).unwrap_or(u64::MAX)).collect());
    Cost { time: Duration::from_nanos(nanos), bytes: middle(costs.iter().map(|cost| cost.bytes).collect()) }
}

fn line(out: &mut impl std::io::Write, what: &str, costs: &[Cost]) -> anyhow::Result<()> {
    let Cost { time, bytes } = median(costs);
    let what = if costs.len() > 1 { format!("{what} ({})", costs.len()) } else { what.to_owned() };
    writeln!(out, "{what:<38} {:>7.3} s {:>7.1} MB", time.as_secs_f64(), bytes as f64 / 1e6)?;
    Ok(())
}

/// A repository of so many small files, two hundred a folder.
fn make(repository: &Path, files: usize) -> anyhow::Result<()> {
    fs::create_dir_all(repository)?;
    for at in 0..files {
        let folder = repository.join(format!("part-{}", at / 200));
        if at % 200 == 0 {
            fs::create_dir_all(&folder)?;
        }
        fs::write(folder.join(format!("file-{at}.txt")), format!("{at}\n").repeat(50))?;
    }
    fs::write(repository.join(".gitignore"), "built/\n")?;
    git(repository, &["init", "-q", "-b", "main"])?;
    git(repository, &["add", "-A"])?;
    git(repository, &["commit", "-qm", "Begin"])?;
    git(repository, &["gc", "-q"])
}

/// What an agent leaves.
fn work(folder: &Path, files: usize, lease: usize) -> anyhow::Result<()> {
    for at in (0..files).step_by((files / 100).max(1)) {
        fs::write(folder.join(format!("part-{}/file-{at}.txt", at / 200)), format!("lease {lease}\n"))?;
    }
    fs::create_dir_all(folder.join("built"))?;
    for at in 0..100 {
        fs::write(folder.join(format!("built/{at}.o")), "x".repeat(1000))?;
    }
    Ok(())
}

fn git(folder: &Path, arguments: &[&str]) -> anyhow::Result<()> {
    let who = ["NAME", "EMAIL"].map(|it| [format!("GIT_AUTHOR_{it}"), format!("GIT_COMMITTER_{it}")]);
    let status = Command::new("git")
        // Nothing in the background beside what is measured.
        .args(["-c", "gc.auto=0", "-c", "maintenance.auto=false"])
        .args(arguments)
        .current_dir(folder)
        .env("GIT_CONFIG_GLOBAL", "/dev/null")
        .envs(who.into_iter().flatten().map(|name| (name, "measure@example.org")))
        .status()?;
    anyhow::ensure!(status.success(), "git {arguments:?}: {status}");
    Ok(())
}

/// What the folder takes on disk.
fn size(folder: &Path) -> anyhow::Result<u64> {
    let (mut folders, mut total) = (vec![folder.to_owned()], 0);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let entry = entry?;
            let meta = entry.metadata()?;
            total += meta.blocks() * 512;
            if meta.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(total)
}
