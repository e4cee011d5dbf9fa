//! Claude Code as a runner: headless, its events line by line. `order` knows its flags, `listener` its
//! events, `ledger` its tokens, `conclusion` what an end means, `limits` when an account is of use again,
//! `words` how its own events read in a log, `account` whose it is. Prices and retries are not known here.

mod account;
mod conclusion;
mod ledger;
mod limits;
mod listener;
mod order;
#[cfg(test)]
mod tests;
mod words;

use std::{io, path::PathBuf};

use super::{Ask, Listener, Runner};
use crate::supervisor::Order;

pub use account::fingerprint as account;

/// The runner's name in plans.
pub const NAME: &str = "claude";

/// What the program reads of the worker's environment: credentials, addresses, and the operator's
/// switches.
const VARIABLES: [&str; 34] = [
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_BASE_URL",
    "ANTHROPIC_CUSTOM_HEADERS",
    "CLAUDE_CONFIG_DIR",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_MAX_OUTPUT_TOKENS",
    "CLAUDE_CODE_MAX_RETRIES",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_VERTEX",
    "CLAUDE_CODE_USE_FOUNDRY",
    "ANTHROPIC_BEDROCK_BASE_URL",
    "ANTHROPIC_VERTEX_BASE_URL",
    "ANTHROPIC_VERTEX_PROJECT_ID",
    "CLOUD_ML_REGION",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "AWS_BEARER_TOKEN_BEDROCK",
    "AWS_PROFILE",
    "AWS_REGION",
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "NODE_EXTRA_CA_CERTS",
    "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC",
    "DISABLE_TELEMETRY",
    "DISABLE_ERROR_REPORTING",
    "DISABLE_BUG_COMMAND",
    "DISABLE_COST_WARNINGS",
];

/// The program at one path.
#[derive(Debug, Clone)]
pub struct Claude {
    program: PathBuf,
    /// The operator's, after all others.
    args: Vec<String>,
}

impl Claude {
    /// The program at this absolute path, with these arguments after its own.
    #[must_use]
    pub fn new(program: PathBuf, args: Vec<String>) -> Self {
        Self { program, args }
    }
}

impl Runner for Claude {
    fn name(&self) -> &str {
        NAME
    }

    fn variables(&self) -> Vec<String> {
        VARIABLES.iter().map(|&name| name.to_owned()).collect()
    }

    fn order(&self, ask: &Ask<'_>) -> io::Result<Order> {
        order::make(self, ask)
    }

    fn listener(&self, ask: &Ask<'_>) -> Box<dyn Listener> {
        Box::new(listener::Talk::new(ask))
    }
}
