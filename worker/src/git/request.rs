//! Asking the people of a repository to take a branch: a pull request, opened by `gh` where this host has it.
//! Owns nothing but the call; that no request could be opened stops nobody.

use std::{process::Stdio, time::Duration};

use tokio::process::Command;

use super::{Location, one_line};

/// What `gh` finds its login by.
const INHERITED: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "TMPDIR",
    "XDG_CONFIG_HOME",
    "GH_CONFIG_DIR",
    "GH_HOST",
    "GH_TOKEN",
    "GH_ENTERPRISE_TOKEN",
    "GITHUB_TOKEN",
    "GITHUB_ENTERPRISE_TOKEN",
    "HTTPS_PROXY",
];

/// A request is one call to a server.
const PATIENCE: Duration = Duration::from_secs(120);

/// A branch that is to be taken.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    pub branch: &'a str,
    /// The branch that it is for.
    pub base: &'a str,
    pub title: &'a str,
    pub text: &'a str,
}

/// Opens the request, or finds the one that is open; its address. An error says in one line why there is none.
pub async fn open(location: &Location, request: Request<'_>) -> Result<String, String> {
    let Location::Url(url) = location else {
        return Err("the repository is a path, which has no requests".to_owned());
    };
    let mut command = Command::new("gh");
    command.args(["pr", "create", "--repo", url, "--head", request.branch, "--base", request.base]);
    command.args(["--title", &one_line(request.title), "--body", request.text]).env_clear();
    for name in INHERITED {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    command.env("GH_PROMPT_DISABLED", "1").env("NO_COLOR", "1").kill_on_drop(true).stdin(Stdio::null());
    let output = match tokio::time::timeout(PATIENCE, command.output()).await {
        Ok(Ok(output)) => output,
        Ok(Err(error)) => return Err(format!("gh cannot be run: {error}")),
        Err(_) => return Err(format!("gh said nothing for {} s", PATIENCE.as_secs())),
    };
    let (said, wrong) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let address =
        |text: &str| text.split_whitespace().find(|word| word.starts_with("https://")).map(str::to_owned);
    if output.status.success() {
        return address(&said).ok_or_else(|| format!("gh said no address: {}", one_line(&said)));
    }
    // One that an earlier try opened is as good.
    let there = wrong.contains("already exists").then(|| address(&wrong)).flatten();
    there.ok_or_else(|| format!("gh: {}", one_line(&wrong)))
}
