//! Who asks, for the record that every decision keeps.

use rustix::system::uname;

/// The person at this machine as `user@host`; "operator" where neither is known.
pub(crate) fn by() -> String {
    let user = ["USER", "LOGNAME"].into_iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    let system = uname();
    describe(user.trim(), &system.nodename().to_string_lossy())
}

fn describe(user: &str, host: &str) -> String {
    match (user.is_empty(), host.is_empty()) {
        (false, false) => format!("{user}@{host}"),
        (false, true) => user.to_owned(),
        (true, _) => "operator".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_person_without_a_name_is_the_operator() {
        assert_eq!(describe("anna", "host"), "anna@host");
        assert_eq!(describe("anna", ""), "anna");
        assert_eq!(describe("", "host"), "operator");
    }
}
