//! The list of workers and what they hold.

use wavegate_proto::v1;

use super::{
    clean, cut, lease_kind, lease_state,
    quantity::{clock, duration},
    role,
    table::Table,
    worker_state,
};

/// One line a worker, and under it one line for each lease that it holds. `now_ms` is when it is
/// read.
pub(crate) fn workers(workers: &[v1::Worker], now_ms: i64) -> String {
    if workers.is_empty() {
        return "no workers: start one with `wavegate-worker --coordinator URL`\n".to_owned();
    }
    let mut table = Table::new(0, ["NAME", "STATE", "SLOTS", "HELD", "SEEN", "HOST", "ROLES", "RUNNERS"]);
    for worker in workers {
        table.row([
            cut(&worker.name, 20),
            worker_state(worker.state()),
            worker.slots.map_or_else(|| "no limit".to_owned(), |slots| slots.to_string()),
            worker.leases.len().to_string(),
            since(worker, now_ms),
            cut(&worker.host, 16),
            worker.roles().map(role).collect::<Vec<_>>().join(","),
            runners(worker),
        ]);
    }
    let mut text = table.render();
    for worker in workers.iter().filter(|worker| !worker.leases.is_empty()) {
        text.push_str(&format!("\n{} holds\n", clean(&worker.name)));
        text.push_str(&leases(&worker.leases));
    }
    text
}

fn runners(worker: &v1::Worker) -> String {
    let one = |runner: &v1::Runner| {
        let version = runner.version.split_whitespace().next().unwrap_or_default();
        let about = [version, &runner.account].into_iter().filter(|part| !part.is_empty());
        match about.collect::<Vec<_>>().join(" ").as_str() {
            "" => runner.name.clone(),
            about => format!("{} ({about})", runner.name),
        }
    };
    worker.runners.iter().map(one).collect::<Vec<_>>().join(", ")
}

fn since(worker: &v1::Worker, now_ms: i64) -> String {
    let silent = u64::try_from(now_ms.saturating_sub(worker.last_seen_ms)).unwrap_or(0);
    format!("{} ago", duration(silent))
}

fn leases(leases: &[v1::WorkerLease]) -> String {
    let mut table = Table::headless(2);
    for lease in leases {
        let task = match lease.task.as_str() {
            "" => lease.wave.clone(),
            task => format!("{task} try {}", lease.attempt),
        };
        table.row([
            lease_kind(lease.kind()),
            task,
            lease_state(lease.state()),
            format!("since {}", clock(lease.granted_ms)),
            format!("plan {} {}", lease.plan_id, lease.plan_name),
        ]);
    }
    table.render()
}
