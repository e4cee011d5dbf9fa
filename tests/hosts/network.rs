//! A network that fails between hosts: cables that are out, packets that are dropped one way or both, connections
//! that are reset, a line that is slow. Three hosts, each in a network namespace of its own.

use wavegate_tests::{BEATS_A_SECOND, Home, Hosts, Process};

use crate::{begin, events, home, wait_for, wait_for_agents};

/// The host of the worker whose network fails, and the one beside it.
const FAR: usize = 1;
const NEAR: usize = 2;

/// A worker that is not heard may go on for 6 s, and its leases are lost after 8 s: far more than the system's
/// own tries to connect (after 1 s, 2 s more, 4 s more) take, and than a busy machine.
const TIMINGS: [&str; 6] = [
    "--heartbeat-ms=300",
    "--unreachable-after-ms=1000",
    "--lost-after-ms=8000",
    "--fence-margin-ms=2000",
    "--kill-grace-ms=300",
    "--retry-delays-ms=50",
];

struct Net {
    home: Home,
    _coordinator: Process,
    far: Process,
    hosts: Hosts,
}

impl Net {
    fn start() -> Self {
        Self::start_with(&TIMINGS)
    }

    fn start_with(timings: &[&str]) -> Self {
        let hosts = match Hosts::new(2) {
            Ok(hosts) => hosts,
            Err(error) => panic!("this test needs root, network namespaces, ip and iptables: {error}"),
        };
        let home = home().at(hosts.place(0));
        let mut command = home.command();
        command.args(["serve", "--listen", hosts.listen()]).args(timings);
        let coordinator = home.serve_by(&mut command).unwrap();
        let far = worker(&home, &hosts, FAR, "far");
        far.wait_for_output("connected");
        Self { home, _coordinator: coordinator, far, hosts }
    }

    /// Runs a shell command on the far worker's host.
    fn there(&self, command: &str) {
        self.hosts.on(FAR, &["sh", "-c", command]).unwrap();
    }

    fn begin(&self, tasks: usize, seconds: u32) {
        let plan = self.home.witness_plan("cut", tasks, &[seconds * BEATS_A_SECOND]).unwrap();
        begin(&self.home, "cut", &plan);
        wait_for_agents(&self.home, tasks);
    }

    /// The plan ends, no task had two agents at once, and what was accepted is there.
    fn check(&self, tasks: usize, is_undisturbed: bool, workers: &[&str]) {
        self.home.wait_for_status("cut", "done");
        self.home.assert_done("cut", tasks, is_undisturbed);
        self.home.assert_no_overlap(0.0);
        self.home.assert_accepted_is_kept(workers);
    }
}

fn worker(home: &Home, hosts: &Hosts, host: usize, name: &str) -> Process {
    let token = home.path("wavegate.db.d/token").display().to_string();
    let args = ["--slots", "4", "--coordinator", &hosts.url(host), "--token-file", &token];
    home.worker_at(&hosts.place(host), name, &args, &[]).unwrap()
}

/// A cut that ends after the coordinator has noticed it and before any lease is lost.
fn short(cut: &str, mend: &str) {
    let net = Net::start();
    net.begin(2, 5);
    net.there(cut);
    wait_for(&net.home, "the cut to be seen", || events(&net.home, "lease_unreachable") == 2);
    net.there(mend);
    net.check(2, true, &["far"]);
    assert_eq!(events(&net.home, "lease_lost"), 0, "{}", net.home.dump());
}

/// A cut that lasts until another worker has done the work.
fn long(cut: &str, mend: &str) {
    let net = Net::start();
    net.begin(2, 10);
    let near = worker(&net.home, &net.hosts, NEAR, "near");
    near.wait_for_output("connected");
    net.there(cut);
    wait_for(&net.home, "both leases to be lost", || events(&net.home, "lease_lost") == 2);
    wait_for(&net.home, "the next attempts to be at work for a while", || {
        let intervals = net.home.intervals();
        intervals.iter().filter(|one| one.attempt == 2 && one.last - one.first > 1.0).count() == 2
    });
    net.there(mend);
    wait_for(&net.home, "the far worker to be back", || net.far.output().matches("connected: ").count() >= 2);
    net.check(2, false, &["near"]);
    let ended = net.far.output().matches("ending lease").count();
    assert_eq!(ended, 2, "it ended its own agents\n{}", net.home.dump());
}

const CABLE: (&str, &str) = ("ip link set coordinator down", "ip link set coordinator up");
const UP: (&str, &str) = ("iptables -A OUTPUT -o coordinator -j DROP", "iptables -F OUTPUT");
const BOTH: (&str, &str) = (
    "iptables -A OUTPUT -o coordinator -j DROP && iptables -A INPUT -i coordinator -j DROP",
    "iptables -F OUTPUT && iptables -F INPUT",
);
const DOWN: (&str, &str) = ("iptables -A INPUT -i coordinator -j DROP", "iptables -F INPUT");

#[test]
#[ignore = "needs root: network namespaces"]
fn a_cable_that_is_out_for_a_moment_costs_nothing() {
    short(CABLE.0, CABLE.1);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_cable_that_is_out_for_longer_than_a_lease_makes_no_two_agents_of_a_task() {
    long(CABLE.0, CABLE.1);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_worker_that_is_not_heard_for_a_moment_costs_nothing() {
    short(UP.0, UP.1);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn a_worker_that_is_not_heard_for_longer_than_a_lease_makes_no_two_agents_of_a_task() {
    long(UP.0, UP.1);
}

/// Nothing answers its packets either, so that its own connection stalls: to the coordinator both are the same.
#[test]
#[ignore = "needs root: network namespaces"]
fn a_worker_that_hears_nothing_for_longer_than_a_lease_makes_no_two_agents_of_a_task() {
    long(DOWN.0, DOWN.1);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn packets_that_are_dropped_both_ways_for_a_moment_cost_nothing() {
    short(BOTH.0, BOTH.1);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn packets_that_are_dropped_both_ways_for_longer_than_a_lease_make_no_two_agents_of_a_task() {
    long(BOTH.0, BOTH.1);
}

#[test]
#[ignore = "needs root: network namespaces"]
fn connections_that_are_reset_again_and_again_cost_nothing() {
    let net = Net::start();
    net.begin(2, 5);
    for resets in 1..=4 {
        net.there("ss -K dst 10.77.1.1");
        wait_for(&net.home, "the worker to be back", || {
            net.far.output().matches("connected: ").count() > resets
        });
    }
    net.check(2, true, &["far"]);
    assert_eq!(events(&net.home, "lease_lost"), 0, "{}", net.home.dump());
}

/// Eight megabytes that cannot be compressed or be there already, and beside them an agent that goes on meanwhile.
const UPLOAD: &str = "name: upload\nproject: { workspace: dir }\nwaves:\n  - id: W1\n    tasks:\n      - { id: T1, run: \
                      \"head -c 8000000 /dev/urandom > big && sha256sum big > sum\", verify: [\"sha256sum -c sum\"] }\n      \
                      - { id: T2, run: \"sleep 26; echo done > other\", verify: [\"test -s other\"] }\n";

/// Leases that last 20 s: a heartbeat that is dropped where the line is full has time to be sent again.
const PATIENT: [&str; 4] =
    ["--heartbeat-ms=1000", "--unreachable-after-ms=6000", "--lost-after-ms=20000", "--fence-margin-ms=3000"];

/// At 3 Mbit/s the upload alone takes longer than a lease.
#[test]
#[ignore = "needs root: network namespaces"]
fn heartbeats_go_on_while_a_slow_line_is_full_of_an_artifact() {
    let net = Net::start_with(&PATIENT);
    net.there("tc qdisc add dev coordinator root tbf rate 3mbit burst 16kb latency 200ms");
    let plan = net.home.write("upload.yaml", UPLOAD).unwrap();
    begin(&net.home, "upload", &plan);
    net.home.wait_for_status("upload", "done");
    let silences = ["lease_lost", "lease_released", "lease_unreachable"].map(|kind| events(&net.home, kind));
    assert_eq!(silences, [0, 0, 0], "{}", net.home.dump());
    let attempts = net.home.count("SELECT max(attempt) FROM wg_tasks").unwrap();
    assert_eq!(attempts, 1, "each ran once\n{}", net.home.dump());
}
