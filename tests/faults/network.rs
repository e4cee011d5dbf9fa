//! A network that goes silent, goes deaf, is cut or slow, by a proxy between worker and coordinator.

use std::{fs, time::Duration};

use wavegate_tests::{BEATS_A_SECOND, Home, Interval, Process, Proxy, wait_until};

use crate::{begin, free_address, home, wait_for_agents};

/// A coordinator, a worker behind a proxy, and one beside it when asked.
struct Net {
    home: Home,
    proxy: Proxy,
    far: Process,
    _coordinator: Process,
}

impl Net {
    fn start(flags: &[&str]) -> Self {
        let home = home();
        let address = free_address();
        let coordinator = home.serve(&address).unwrap();
        let proxy = Proxy::start(&address).unwrap();
        let url = proxy.url();
        let mut args = vec!["--slots", "4", "--coordinator", &url];
        args.extend(flags);
        let far = home.worker("far", &args).unwrap();
        far.wait_for_output("connected");
        Self { home, proxy, far, _coordinator: coordinator }
    }

    fn count(&self, state: &str) -> i64 {
        self.home.count(&format!("SELECT count(*) FROM wg_leases WHERE {state}")).unwrap()
    }

    #[track_caller]
    fn wait_for(&self, what: &str, is_so: impl Fn() -> bool) {
        wait_until(what, || self.home.dump(), || is_so().then_some(()));
    }
}

#[test]
fn a_silent_network_for_longer_than_lost_after_makes_no_two_agents_of_a_task() {
    let net = Net::start(&[]);
    begin(&net.home, "silent", 2, 60 * BEATS_A_SECOND, "standard");
    wait_for_agents(&net.home, 2);
    net.proxy.set_silent(true);
    let _near = net.home.worker("near", &["--slots", "4"]).unwrap();
    net.wait_for("the next attempts", || {
        let intervals = net.home.intervals();
        intervals.iter().filter(|one| one.attempt == 2 && one.last - one.first > 1.0).count() == 2
    });
    net.proxy.set_silent(false);
    net.wait_for("the far worker to be back", || net.far.output().matches("connected: ").count() >= 2);
    net.home.assert_no_overlap(0.0);
    assert_eq!(net.count("state='lost'"), 2, "{}", net.home.dump());
}

#[test]
fn a_short_silence_costs_nothing() {
    let net = Net::start(&[]);
    begin(&net.home, "short", 3, 2 * BEATS_A_SECOND, "standard");
    wait_for_agents(&net.home, 3);
    net.proxy.set_silent(true);
    net.wait_for("the silence to be seen", || net.count("state='unreachable'") > 0);
    net.proxy.set_silent(false);
    net.home.wait_for_status("short", "done");
    net.home.assert_done("short", 3, true);
    assert_eq!(net.count("state='lost'"), 0, "{}", net.home.dump());
}

#[test]
fn a_worker_that_is_heard_but_hears_nothing_stops_its_own_agents() {
    let net = Net::start(&[]);
    begin(&net.home, "deaf", 1, 60 * BEATS_A_SECOND, "standard");
    wait_for_agents(&net.home, 1);
    net.proxy.set_deaf(true);
    net.wait_for("the agent to be ended", || net.far.output().contains("ending lease"));
    net.proxy.set_deaf(false);
    net.wait_for("the next attempt", || net.home.intervals().iter().any(|one| one.attempt == 2));
    net.home.assert_no_overlap(0.0);
}

#[test]
fn a_cut_between_finished_and_accepted_accepts_each_result_once() {
    let net = Net::start(&[]);
    begin(&net.home, "cut", 12, BEATS_A_SECOND / 2, "standard");
    // What is said arrives, its answer does not: the result is sent again on another connection.
    let finished = || net.far.output().matches("finished: lease").count();
    let dropped = || net.far.output().matches("connection dropped").count();
    let mut unanswered = 0;
    for _ in 0..4 {
        net.wait_for("an agent at work", || {
            net.home
                .intervals()
                .iter()
                .any(|one| !one.is_whole && !net.far.output().contains(&finish_of(one)))
        });
        let before = (finished(), dropped());
        net.proxy.set_deaf(true);
        net.wait_for("a result without an answer", || finished() > before.0 || dropped() > before.1);
        unanswered += finished() - before.0;
        net.proxy.set_cut(true);
        net.proxy.set_deaf(false);
        net.proxy.set_cut(false);
    }
    assert!(unanswered > 0, "no result met the cut\n{}", net.home.dump());
    net.home.wait_for_status("cut", "done");
    net.home.assert_done("cut", 12, true);
    net.home.assert_no_overlap(0.0);
    net.home.assert_accepted_is_kept(&["far"]);
    let results = net.count("kind='task' AND state='finished'");
    // Four of the twelve fail at their first attempt.
    assert_eq!(results, 16, "{}", net.home.dump());
}

#[test]
fn a_slow_network_is_no_reason_to_lose_a_worker() {
    let net = Net::start(&[]);
    net.proxy.set_delay(Duration::from_millis(150));
    begin(&net.home, "slow", 3, 4, "standard");
    net.home.wait_for_status("slow", "done");
    net.home.assert_done("slow", 3, true);
    assert_eq!(net.count("state='lost'"), 0, "{}", net.home.dump());
}

/// What the worker logs when the agent's lease has ended.
fn finish_of(interval: &Interval) -> String {
    format!("finished: lease {}", interval.lease)
}

/// Eight megabytes that cannot be compressed or be there already.
const UPLOAD: &str = "name: upload\nproject: { workspace: dir }\nwaves:\n  - id: W1\n    tasks:\n      - { id: T1, run: \
                      \"head -c 8000000 /dev/urandom > big && sha256sum big > sum\", verify: [\"sha256sum -c sum\"] }\n";

#[test]
fn an_upload_that_is_cut_is_never_an_artifact_and_the_result_comes_whole() {
    let net = Net::start(&[]);
    let plan = net.home.write("plan.yaml", UPLOAD).unwrap();
    assert_eq!(net.home.run(&["submit", plan.to_str().unwrap()]).unwrap().code, Some(0));
    net.proxy.cut_after(3_000_000);
    assert_eq!(net.home.run(&["approve", "upload", "--mode", "standard"]).unwrap().code, Some(0));
    net.wait_for("the cut in the middle", || net.proxy.is_cut());
    net.wait_for("what had arrived to be removed", || incoming(&net.home) == 0);
    assert!(artifacts(&net.home).iter().all(|size| *size < 1_000_000), "{:?}", artifacts(&net.home));
    assert_eq!(net.count("kind='task' AND state='finished'"), 0, "{}", net.home.dump());
    net.proxy.set_cut(false);
    net.home.wait_for_status("upload", "done");
    assert_eq!(net.count("kind='task'"), 1, "it ran once\n{}", net.home.dump());
    assert!(artifacts(&net.home).contains(&8_000_000), "{:?}", artifacts(&net.home));
}

fn incoming(home: &Home) -> usize {
    let entries = fs::read_dir(home.path("wavegate.db.d/artifacts")).unwrap().flatten();
    entries.filter(|entry| entry.file_name().to_string_lossy().starts_with("incoming-")).count()
}

/// The sizes of all artifacts.
fn artifacts(home: &Home) -> Vec<u64> {
    let folders = fs::read_dir(home.path("wavegate.db.d/artifacts")).unwrap().flatten();
    folders
        .filter(|entry| entry.path().is_dir())
        .flat_map(|folder| fs::read_dir(folder.path()).unwrap().flatten())
        .map(|entry| entry.metadata().unwrap().len())
        .collect()
}
