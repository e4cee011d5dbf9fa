//! The simplest runner: `/bin/sh -c COMMAND`.

use std::{path::Path, time::Duration};

use crate::supervisor::Order;

/// The runner's name in plans.
pub const NAME: &str = "shell";

/// An order that runs the command in the directory with this whole environment.
#[must_use]
pub fn order(command: &str, cwd: &Path, env: &[(String, String)], timeout: Option<Duration>) -> Order {
    Order {
        program: "/bin/sh".into(),
        args: vec!["-c".to_owned(), command.to_owned()],
        cwd: cwd.to_owned(),
        env: env.to_vec(),
        stdin: None,
        stderr: None,
        timeout,
    }
}
