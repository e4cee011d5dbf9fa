//! What peers and plans may cost: clients that never read, workers that are deaf, connections that say nothing,
//! floods of output, sessions that all come back at once, very large plans. Memory stays within what is stated here,
//! whoever costs too much is sent away in words or waits, and others go on meanwhile. No test looks at a clock.
//!
//! The largest sizes have a command of their own:
//! `cargo test --release -p wavegate-tests --test bounds -- --ignored --test-threads 1`

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod floods;
mod plans;
mod readers;
mod silence;
mod storm;

use std::{future::Future, time::Duration};

use tonic::transport::Channel;
use wavegate_proto::v1;
use wavegate_tests::{
    Home, LONG, Process,
    bounds::{Site, peak_bytes, wide_plan},
    wait_until,
};

const MIB: u64 = 1024 * 1024;

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_wavegate-under-test"), env!("CARGO_BIN_EXE_wavegate-worker-under-test"))
        .unwrap()
}

/// A coordinator with the timings that it has by default, but for these flags.
fn serve(home: &Home, listen: &str, flags: &[&str]) -> Process {
    let mut args = vec!["serve", "--listen", listen];
    args.extend(flags);
    let _ = std::fs::remove_file(home.path("wavegate.db.d/address"));
    let serve = home.start("serve", &args).unwrap();
    wait_until("the coordinator to listen", || home.dump(), || Site::of(home).ok());
    serve
}

/// Ends the test when something takes too long.
async fn within<T>(limit: Duration, what: &str, home: &Home, work: impl Future<Output = T>) -> T {
    match tokio::time::timeout(limit, work).await {
        Ok(done) => done,
        Err(_) => panic!("waited {limit:?} for {what}\n{}", tail(&home.dump())),
    }
}

/// A dump of these homes may have a hundred thousand lines.
fn tail(text: &str) -> &str {
    &text[text.floor_char_boundary(text.len().saturating_sub(8 * 1024))..]
}

/// Waits until the plan has the state.
async fn until_state(
    site: &Site,
    channel: &Channel,
    home: &Home,
    plan: i64,
    state: v1::PlanState,
    limit: Duration,
) {
    let look = async {
        while site.summary(channel, plan).await.unwrap().state() != state {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    within(limit, &format!("plan {plan} to be {state:?}"), home, look).await;
}

/// A small plan in standard comes to its end, whatever else happens.
async fn another_plan_ends(site: &Site, home: &Home, name: &str) {
    let channel = site.connect().await.unwrap();
    // At the same priority the older plan would go first.
    let source = wide_plan(name, 20, 20).replace("waves:", "defaults: { priority: P0 }\nwaves:");
    let plan = site.run(&channel, source, v1::Mode::Standard).await.unwrap();
    until_state(site, &channel, home, plan, v1::PlanState::Done, LONG).await;
}

/// The coordinator never held more than so many MiB at once, so far.
#[track_caller]
fn expect_peak(what: &str, pid: u32, most_mib: u64) {
    let held = peak_bytes(pid) / MIB;
    assert!(
        held > 0 && held <= most_mib,
        "{what}: {held} MiB in memory at once, expected at most {most_mib}"
    );
}
