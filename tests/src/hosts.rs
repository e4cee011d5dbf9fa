//! Hosts of one test, as far as their network goes: a network namespace for the coordinator and one for each
//! worker, joined by a cable each. Needs root; all of it goes when it is dropped.
//!
//! The coordinator listens on the loopback of its own namespace. Its kernel turns connections that come in by a
//! cable over to it, so that one TCP connection leads from worker to coordinator and meets every fault itself.

use std::{
    process::{Command, Output},
    sync::atomic::{AtomicU32, Ordering},
};

/// Where the coordinator listens, in its own namespace.
const LISTEN: &str = "127.0.0.1:7433";

/// Namespaces of this process so far: their names are told apart by it.
static MADE: AtomicU32 = AtomicU32::new(0);

/// The namespaces of one test. The coordinator's is the first.
#[derive(Debug)]
pub struct Hosts {
    names: Vec<String>,
}

impl Hosts {
    /// A coordinator's host and so many others.
    ///
    /// # Errors
    /// What is missing here: root, `ip`, `iptables`, or a kernel with them.
    pub fn new(workers: usize) -> anyhow::Result<Self> {
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = |host: usize| format!("wavegate-{}-{number}-{host}", std::process::id());
        let mut hosts = Self { names: Vec::new() };
        for host in 0..=workers {
            run("ip", &["netns", "add", &name(host)])?;
            // From here on it is removed, whatever fails next.
            hosts.names.push(name(host));
            hosts.on(host, &["ip", "link", "set", "lo", "up"])?;
        }
        for host in 1..=workers {
            hosts.join(host)?;
        }
        Ok(hosts)
    }

    /// Where the coordinator is to listen.
    #[must_use]
    pub const fn listen(&self) -> &'static str {
        LISTEN
    }

    /// Where the host's worker reaches the coordinator.
    #[must_use]
    pub fn url(&self, host: usize) -> String {
        format!("http://{}", address(host, 1))
    }

    /// What a program is started through to run on the host.
    #[must_use]
    pub fn place(&self, host: usize) -> Vec<String> {
        vec!["nsenter".to_owned(), format!("--net=/run/netns/{}", self.names[host])]
    }

    /// Runs a command on the host to its end.
    ///
    /// # Errors
    /// It cannot be started, or fails.
    pub fn on(&self, host: usize, command: &[&str]) -> anyhow::Result<Output> {
        let place = self.place(host);
        let args: Vec<&str> = place[1..].iter().map(String::as_str).chain(command.iter().copied()).collect();
        run(&place[0], &args)
    }

    fn join(&self, host: usize) -> anyhow::Result<()> {
        let near = format!("worker{host}");
        let peer = &self.names[host];
        self.on(
            0,
            &["ip", "link", "add", &near, "type", "veth", "peer", "name", "coordinator", "netns", peer],
        )?;
        for (at, cable, end) in [(0, near.as_str(), 1), (host, "coordinator", 2)] {
            let address = format!("10.77.{host}.{end}/30");
            self.on(at, &["ip", "address", "add", &address, "dev", cable])?;
            self.on(at, &["ip", "link", "set", cable, "up"])?;
        }
        self.on(0, &["sysctl", "-qw", &format!("net.ipv4.conf.{near}.route_localnet=1")])?;
        let turn_over = ["-A", "PREROUTING", "-i", &near, "-p", "tcp", "--dport", "7433", "-j", "DNAT"];
        let to = ["--to-destination", LISTEN];
        self.on(0, &[&["iptables", "-t", "nat"], &turn_over[..], &to].concat())?;
        Ok(())
    }
}

impl Drop for Hosts {
    fn drop(&mut self) {
        for name in &self.names {
            // A cable goes with either of its ends.
            let _ = run("ip", &["netns", "delete", name]);
        }
    }
}

fn address(host: usize, end: usize) -> String {
    format!("10.77.{host}.{end}:7433")
}

fn run(program: &str, args: &[&str]) -> anyhow::Result<Output> {
    let command = || format!("{program} {}", args.join(" "));
    let output = Command::new(program)
        .args(args)
        .output()
        .map_err(|error| anyhow::anyhow!("{}: {error}", command()))?;
    let said = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    anyhow::ensure!(output.status.success(), "{}: {}: {said}", command(), output.status);
    Ok(output)
}
