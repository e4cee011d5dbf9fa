//! What a plan has published on a repository: each task's commit, where it is and by whose word.

use wavegate_proto::v1;

use super::{
    WIDTH, counted, cut,
    table::{Table, wrapped},
};

/// As people read a commit's id.
pub(crate) fn short_commit(commit: &str) -> String {
    commit.chars().take(10).collect()
}

/// The commits of all waves by task; empty where there are none.
pub(crate) fn commits(waves: &[v1::Wave]) -> String {
    let all: Vec<_> = waves.iter().flat_map(|wave| &wave.commits).collect();
    if all.is_empty() {
        return String::new();
    }
    let mut table = Table::new(2, ["COMMIT", "TASK", "BRANCH", "SUBJECT"]);
    for commit in &all {
        let branch = if commit.branch.is_empty() { "-" } else { &commit.branch };
        table.row([
            short_commit(&commit.commit),
            cut(&commit.task, 20),
            cut(branch, 32),
            commit.subject.clone(),
        ]);
    }
    let number = u32::try_from(all.len()).unwrap_or(u32::MAX);
    let mut text = format!("{}\n{}", counted(number, "commit", "commits"), table.render());
    for wave in waves {
        text.push_str(&words_on(wave));
    }
    text
}

/// By whose word the wave's commits are there, and the request that holds them.
fn words_on(wave: &v1::Wave) -> String {
    let Some(commit) = wave.commits.first() else {
        return String::new();
    };
    let mut text = String::new();
    if !commit.verdict.is_empty() {
        text.push_str(&wrapped(&format!("{}: {}", wave.key, commit.verdict), 2, WIDTH));
    }
    let requests = wave.commits.iter().map(|commit| commit.request.as_str()).filter(|it| !it.is_empty());
    let mut requests: Vec<_> = requests.collect();
    requests.dedup();
    for request in requests {
        // An address is not cut.
        text.push_str(&format!("  {}: request {}\n", super::clean(&wave.key), super::clean(request)));
    }
    text
}
