//! Measures what a coordinator's steps cost as plans and fleets grow, and prints each as a ratio to the smallest of
//! the same run: the ratios are what holds from machine to machine. Figures are of this process or of a coordinator
//! that it starts, on a database in the temporary directory.
//!
//! `cargo build --release -p wavegate-tests --bins && target/release/measure-bounds`
//! (`turns`, `waves`, `sessions`, `followers`, `storm` measure one of the five; a number after it is its largest size).

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use anyhow::Context as _;
use wavegate_engine::{Config, Role, SessionEvent, SessionId};
use wavegate_proto::v1;
use wavegate_tests::{
    Home,
    bounds::{Desk, Granted, Site, cpu_ms, finished, raise_open_files, resident_bytes, wide_plan},
};

/// Turns of one kind that are timed.
const TURNS: usize = 400;
const WORKERS: u32 = 20;
const SLOTS: u32 = 100;

fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let what = args.next().unwrap_or_else(|| "all".to_owned());
    let largest = args.next().map(|size| size.parse()).transpose()?;
    let wanted = |name: &str| what == name || what == "all";
    anyhow::ensure!(
        ["all", "turns", "waves", "sessions", "followers", "storm"].contains(&what.as_str()),
        "no such: {what}"
    );
    if wanted("turns") {
        turns(largest.unwrap_or(100_000))?;
    }
    if wanted("waves") {
        waves(largest.unwrap_or(10_000))?;
    }
    if wanted("sessions") {
        sessions(largest.unwrap_or(10_000))?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    if wanted("followers") {
        runtime.block_on(followers(largest.unwrap_or(100_000)))?;
    }
    if wanted("storm") {
        runtime.block_on(storm(largest.unwrap_or(10_000)))?;
    }
    Ok(())
}

/// What is timed, in microseconds.
struct Times(Vec<f64>);

impl Times {
    fn of(most: usize, mut step: impl FnMut(usize)) -> Self {
        let time = |at| {
            let begun = Instant::now();
            step(at);
            begun.elapsed().as_secs_f64() * 1e6
        };
        let mut times: Vec<_> = (0..TURNS.min(most.max(1))).map(time).collect();
        times.sort_by(f64::total_cmp);
        Self(times)
    }

    /// A median: what a busy machine does to a few of them does not count.
    fn median(&self) -> f64 {
        self.0[self.0.len() / 2]
    }
}

fn say(line: &str) -> anyhow::Result<()> {
    Ok(writeln!(io::stdout().lock(), "{line}")?)
}

/// A large plan in max beside what its workers say: heartbeats, results, questions.
fn turns(largest: usize) -> anyhow::Result<()> {
    say(
        "\nONE TURN OF THE DRIVER, by tasks in a plan in max (2,000 slots; waves of 1,000), database in memory",
    )?;
    say(
        "   tasks  open leases  heartbeat us    ratio  result us    ratio   stored in s   longest turn ms: storing   the rest   why all wait ms   bytes/task",
    )?;
    let mut first = None;
    for tasks in [100, 10_000, 100_000].into_iter().filter(|tasks| *tasks <= largest) {
        let mut desk = Desk::new(Config::default())?;
        let source = wide_plan("wide", tasks, 1000);
        let before = resident_bytes(std::process::id());
        let begun = Instant::now();
        let (plan, longest) = desk.submit_timed(&source)?;
        let stored = begun.elapsed();
        desk.approve(plan)?;
        let held = resident_bytes(std::process::id()).saturating_sub(before);
        let roles = [Role::Executor, Role::Thor];
        let sessions: Vec<_> = (0..WORKERS).map(|_| desk.connect(SLOTS, &roles)).collect();
        let mut leases = Vec::from_iter(desk.take_grants());
        let open = leases.len();
        let beat =
            Times::of(TURNS, |at| heartbeat(&mut desk, sessions[at % sessions.len()], &leases, at)).median();
        let result = Times::of(open / 2, |at| one_result(&mut desk, &mut leases, at)).median();
        let asked = Instant::now();
        desk.holds(plan)?;
        let asked = asked.elapsed();
        let rest = desk.work_to_the_end(leases, 100);
        let (beat_1, result_1) = *first.get_or_insert((beat, result));
        say(&format!(
            "{tasks:>8} {open:>12} {beat:>13.0} {:>8.1} {result:>10.0} {:>8.1} {:>13.1} {:>26.1} {:>10.1} {:>17.1} {:>12}",
            beat / beat_1,
            result / result_1,
            stored.as_secs_f64(),
            longest.as_secs_f64() * 1e3,
            rest.as_secs_f64() * 1e3,
            asked.as_secs_f64() * 1e3,
            held / tasks as u64
        ))?;
    }
    Ok(())
}

fn heartbeat(desk: &mut Desk, session: SessionId, leases: &[Granted], at: usize) {
    let held = leases.iter().filter(|(of, ..)| *of == session).map(|(_, lease, _)| *lease).collect();
    desk.say(session, SessionEvent::Heartbeat { number: at as u64 + 1, held, last_grant: u64::MAX });
}

/// The oldest lease ends, and another one is granted in its place.
fn one_result(desk: &mut Desk, leases: &mut Vec<Granted>, at: usize) {
    if leases.is_empty() {
        return;
    }
    let (session, lease, kind) = leases.swap_remove(at % leases.len());
    desk.say(session, finished(lease, kind));
    leases.extend(desk.take_grants());
}

/// The turns that are about a whole wave: its tasks go to a judge, and are done by its verdict.
fn waves(largest: usize) -> anyhow::Result<()> {
    say("\nA WHOLE WAVE IN ONE TURN, by its tasks, database in memory")?;
    say("   tasks   the last result, and the grant to a judge ms    ratio   the verdict ms    ratio")?;
    let mut first = None;
    for tasks in [100, 1_000, 10_000].into_iter().filter(|tasks| *tasks <= largest) {
        let mut desk = Desk::new(Config::default())?;
        desk.run(&wide_plan("wave", tasks, tasks))?;
        for _ in 0..WORKERS {
            desk.connect(SLOTS, &[Role::Executor]);
        }
        let (mut done, mut last) = (0, Duration::ZERO);
        while done < tasks {
            for (session, lease, kind) in desk.take_grants() {
                done += 1;
                if done == tasks {
                    desk.connect(1, &[Role::Thor]);
                }
                let begun = Instant::now();
                desk.say(session, finished(lease, kind));
                last = begun.elapsed();
            }
        }
        let judged = desk.take_grants();
        anyhow::ensure!(judged.len() == 1, "expected a judge, found {}", judged.len());
        let verdict = desk.work_to_the_end(judged, 1);
        let ms = |time: Duration| time.as_secs_f64() * 1e3;
        let (last_1, verdict_1) = *first.get_or_insert((ms(last), ms(verdict)));
        say(&format!(
            "{tasks:>8} {:>46.1} {:>8.1} {:>16.1} {:>8.1}",
            ms(last),
            ms(last) / last_1,
            ms(verdict),
            ms(verdict) / verdict_1
        ))?;
    }
    Ok(())
}

/// Workers that are there, and one that does something.
fn sessions(largest: usize) -> anyhow::Result<()> {
    say(
        "\nONE TURN OF THE DRIVER, by connected workers (a plan in max that waits for more slots), database in memory",
    )?;
    say(" workers    hello us    ratio  heartbeat us    ratio  result us    ratio   bytes/session")?;
    let mut first = None;
    for workers in [500, 2_000, 10_000].into_iter().filter(|workers| *workers <= largest) {
        let mut desk = Desk::new(Config::default())?;
        desk.run(&wide_plan("wide", 20_000, 1000))?;
        let before = resident_bytes(std::process::id());
        let mut all: Vec<_> =
            (TURNS..workers.max(TURNS)).map(|_| desk.connect(1, &[Role::Executor])).collect();
        let hello = Times::of(TURNS, |_| all.push(desk.connect(1, &[Role::Executor]))).median();
        let held = resident_bytes(std::process::id()).saturating_sub(before);
        let mut leases = Vec::from_iter(desk.take_grants());
        let beat = Times::of(TURNS, |at| {
            let (session, lease, _) = leases[at % leases.len()];
            let number = at as u64 + 1;
            desk.say(session, SessionEvent::Heartbeat { number, held: vec![lease], last_grant: u64::MAX });
        });
        let result = Times::of(TURNS, |at| one_result(&mut desk, &mut leases, at)).median();
        let (hello_1, beat_1, result_1) = *first.get_or_insert((hello, beat.median(), result));
        say(&format!(
            "{:>8} {hello:>11.0} {:>8.1} {:>13.0} {:>8.1} {result:>10.0} {:>8.1} {:>15}",
            all.len(),
            hello / hello_1,
            beat.median(),
            beat.median() / beat_1,
            result / result_1,
            held / all.len() as u64
        ))?;
    }
    Ok(())
}

fn home() -> anyhow::Result<Home> {
    let program = std::env::current_exe()?.with_file_name("wavegate-under-test");
    anyhow::ensure!(program.exists(), "build the package's programs first: {} is missing", program.display());
    Home::new(program.to_str().context("a path in UTF-8")?, "")
}

/// Clients that follow a plan: the coordinator's processor time for each event that each of them gets.
async fn followers(largest: usize) -> anyhow::Result<()> {
    const FOLLOWERS: usize = 50;
    say(
        "\nFOLLOWERS of a plan (50 that watch it and its logs; results one by one); processor ms of the coordinator",
    )?;
    say("   tasks    events   without    with 50   a follower and event us    ratio")?;
    let mut first = None;
    for tasks in [100, 10_000, 100_000].into_iter().filter(|tasks| *tasks <= largest) {
        let mut spent = Vec::new();
        let mut events = 0;
        for followers in [0, FOLLOWERS] {
            let home = home()?;
            let serve = home.start("serve", &["serve", "--listen", "127.0.0.1:0"])?;
            let site = site(&home).await?;
            let channel = site.connect().await?;
            let plan = site.run(&channel, wide_plan("wide", tasks.max(400), 1000), v1::Mode::Max).await?;
            let mut following = tokio::task::JoinSet::new();
            for _ in 0..followers {
                following.spawn(follow(site.clone(), plan));
            }
            let mut worker = site.worker(&channel, "w", 1, &[]).await?;
            let before = cpu_ms(serve.id());
            wavegate_tests::bounds::one_by_one(&mut worker, 300).await?;
            spent.push(cpu_ms(serve.id()).saturating_sub(before));
            events = 300 * 3;
        }
        let each = (spent[1].saturating_sub(spent[0])) as f64 * 1e3 / (FOLLOWERS * events) as f64;
        let each_1 = *first.get_or_insert(each.max(0.1));
        say(&format!(
            "{tasks:>8} {events:>9} {:>9} {:>10} {each:>25.1} {:>8.1}",
            spent[0],
            spent[1],
            each / each_1
        ))?;
    }
    Ok(())
}

async fn site(home: &Home) -> anyhow::Result<Site> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        match Site::of(home) {
            Ok(site) => return Ok(site),
            Err(error) if Instant::now() > end => return Err(error.context(home.dump())),
            Err(_) => tokio::time::sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn follow(site: Site, plan: i64) -> anyhow::Result<()> {
    let channel = site.connect().await?;
    let watch = v1::WatchPlanRequest { plan: plan.to_string(), ..Default::default() };
    let logs = v1::ReadLogsRequest { plan: plan.to_string(), follow: true, ..Default::default() };
    let mut events = site.plans(&channel).watch_plan(watch).await?.into_inner();
    let mut logs = site.plans(&channel).read_logs(logs).await?.into_inner();
    loop {
        tokio::select! {
            event = events.message() => { event?; }
            piece = logs.message() => { piece?; }
        }
    }
}

/// Workers that all come at once, each on a connection of its own.
async fn storm(largest: usize) -> anyhow::Result<()> {
    let files = raise_open_files();
    anyhow::ensure!(files > largest as u64 + 200, "{files} open files are allowed: raise `ulimit -n`");
    say("\nHELLOS AT ONCE, each on a connection of its own, of workers that come for the first time")?;
    say(" workers   all welcomed in s   of these a second   memory of the coordinator MB   bytes/session")?;
    for workers in [100, 1_000, 10_000].into_iter().filter(|workers| *workers <= largest) {
        let home = home()?;
        let serve = home.start("serve", &["serve", "--listen", "127.0.0.1:0"])?;
        let site = site(&home).await?;
        let before = resident_bytes(serve.id());
        let begun = Instant::now();
        let mut coming = tokio::task::JoinSet::new();
        for number in 0..workers {
            let site = site.clone();
            coming.spawn(async move { site.come(&format!("worker-{number}"), 1, &[]).await });
        }
        let mut there = Vec::new();
        while let Some(come) = coming.join_next().await {
            there.push(come?);
        }
        let seconds = begun.elapsed().as_secs_f64();
        let held = resident_bytes(serve.id());
        say(&format!(
            "{:>8} {seconds:>19.1} {:>19.0} {:>30} {:>15}",
            there.len(),
            there.len() as f64 / seconds,
            held / 1_000_000,
            held.saturating_sub(before) / workers as u64
        ))?;
    }
    Ok(())
}
