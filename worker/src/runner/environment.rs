//! What a command finds in its environment: a short list of the worker's own variables, the plan's
//! vars, the names that the task asks for, and what Wavegate tells it. Nothing else is inherited, so
//! that secrets of the worker reach a command only by name.

use std::{collections::BTreeMap, env};

/// What is inherited from the worker where it is set.
const INHERITED: [&str; 12] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "TMPDIR",
    "TERM",
    "XDG_RUNTIME_DIR",
];

/// What any program that speaks with a provider may need to reach it.
pub(crate) const PROXIES: [&str; 8] = [
    "HTTPS_PROXY",
    "HTTP_PROXY",
    "NO_PROXY",
    "https_proxy",
    "http_proxy",
    "no_proxy",
    "NODE_EXTRA_CA_CERTS",
    "SSL_CERT_FILE",
];

/// A task asks for a variable that this worker does not have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the variable {0} that the task asks for (env) is not set on this worker")]
pub struct MissingVariable(pub String);

/// The environment of a command; later sources win, and what Wavegate tells wins over all.
pub fn of_command<'a>(
    vars: impl IntoIterator<Item = (&'a String, &'a String)>,
    names: &[String],
    told: impl IntoIterator<Item = (&'static str, String)>,
) -> Result<Vec<(String, String)>, MissingVariable> {
    let mut all: BTreeMap<String, String> =
        INHERITED.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?))).collect();
    all.extend(vars.into_iter().map(|(key, value)| (key.clone(), value.clone())));
    for name in names {
        let value = env::var(name).map_err(|_| MissingVariable(name.clone()))?;
        all.insert(name.clone(), value);
    }
    all.extend(told.into_iter().map(|(key, value)| (key.to_owned(), value)));
    Ok(all.into_iter().collect())
}

/// Those of the names that the worker itself has.
pub(crate) fn of_worker(names: &[String]) -> impl Iterator<Item = (String, String)> {
    names.iter().filter_map(|name| Some((name.clone(), env::var(name).ok()?)))
}

/// Whether every command gets the worker's value of it: then it is no secret.
pub(crate) fn is_inherited(name: &str) -> bool {
    INHERITED.contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn vars_are_there_and_what_the_worker_holds_is_not() {
        let vars = BTreeMap::from([("repo".to_owned(), "/r".to_owned())]);
        let env = of_command(&vars, &[], [("WAVEGATE_TASK", "T1".to_owned())]).unwrap();
        assert!(env.contains(&("repo".to_owned(), "/r".to_owned())));
        assert!(env.contains(&("WAVEGATE_TASK".to_owned(), "T1".to_owned())));
        // Set by cargo for this very test.
        assert!(!env.iter().any(|(key, _)| key == "CARGO_PKG_NAME"));
    }

    #[test]
    fn a_name_is_resolved_here_or_named() {
        let asked = ["CARGO_PKG_NAME".to_owned()];
        let env = of_command(&BTreeMap::new(), &asked, []).unwrap();
        assert!(env.contains(&("CARGO_PKG_NAME".to_owned(), "wavegate-worker".to_owned())));
        let missing = ["WAVEGATE_SURELY_NOT_SET".to_owned()];
        assert_eq!(of_command(&BTreeMap::new(), &missing, []), Err(MissingVariable(missing[0].clone())));
    }
}
