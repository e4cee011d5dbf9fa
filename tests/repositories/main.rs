//! Plans on git repositories, through real processes: what many tasks do at once comes together, what people push
//! stays, and a kill at any step leaves nothing undone or done twice.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod kills;
mod people;
mod reach;
mod together;

use wavegate_tests::{Home, Repository};

fn home() -> Home {
    Home::new(env!("CARGO_BIN_EXE_wavegate-under-test"), env!("CARGO_BIN_EXE_wavegate-worker-under-test"))
        .unwrap()
}

/// A small repository in the home.
fn repository(home: &Home) -> Repository {
    Repository::new(home.path("repository"), &[("a", "1\n2\n3\n4\n5\n6\n7\n8\n"), (".gitignore", "built/\n")])
        .unwrap()
}

/// The beginning of a plan on the repository.
fn head(name: &str, repository: &Repository) -> String {
    let path = repository.path().display();
    format!("name: {name}\nproject: {{ repo: {path}, base: main, workspace: git }}\nwaves:\n")
}

/// The keys of the tasks that commits of the range say they are of, oldest first; each must name its verdict.
fn tasks_of(repository: &Repository, range: &str) -> Vec<String> {
    let format = "--format=%(trailers:key=Wavegate-Task,valueonly,separator=%x2C) \
                  %(trailers:key=Wavegate-Verdict,valueonly,separator=%x2C)";
    let log = repository.git(&["log", "--reverse", "--no-merges", format, range]).unwrap();
    log.lines()
        .map(|line| {
            let (task, verdict) = line.split_once(' ').unwrap();
            assert!(verdict.starts_with("approved in round "), "{line}");
            task.to_owned()
        })
        .collect()
}

/// An address that is free now and kept over restarts.
fn reachable_address() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}
