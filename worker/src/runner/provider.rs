//! What errors mean that a program hands on from its provider, by HTTP status or by words, and what it
//! means when a program ends without a result. Never looks at what an agent itself says.

use wavegate_proto::v1::Outcome;

use super::{Exit, telling};

/// The most of an error that a summary holds.
const SUMMARY_CHARS: usize = 300;

/// Words of errors, in lower case. What a person must mend comes before what time mends.
const WORDS: [(Outcome, &[&str]); 4] = [
    (
        Outcome::BadCredentials,
        &[
            "api key not valid",
            "api_key_invalid",
            "invalid api key",
            "incorrect api key",
            "api key is missing",
            "invalid_api_key",
            "not logged in",
            "missing environment variable",
            "authentication_error",
            "unauthorized",
            "auth method",
            "refresh token",
        ],
    ),
    (
        Outcome::UsageLimit,
        &["usage limit", "rate limit", "rate_limit", "quota", "too many requests", "credit balance"],
    ),
    (
        Outcome::Overloaded,
        &["overloaded", "high demand", "at capacity", "service unavailable", "model_capacity"],
    ),
    (
        Outcome::Unreachable,
        &[
            "fetch failed",
            "cannot connect",
            "connection refused",
            "econnrefused",
            "econnreset",
            "enotfound",
            "etimedout",
            "error sending request",
            "stream disconnected",
            "socket connection",
            "dns error",
        ],
    ),
];

/// What is written before a status.
const BEFORE_STATUS: [&str; 5] = ["status: ", "status ", "\"code\":", "http ", "statuscode\":"];

/// An outcome and why, in one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Judged {
    pub(super) outcome: Outcome,
    pub(super) summary: String,
}

impl Judged {
    pub(super) fn new(outcome: Outcome, summary: &str) -> Self {
        Self { outcome, summary: telling::one_line(summary, SUMMARY_CHARS) }
    }
}

/// What an error of the provider means by its HTTP status.
pub(super) fn of_status(status: u16) -> Outcome {
    match status {
        401 | 403 => Outcome::BadCredentials,
        // A balance that is used up is refilled by a person, as a limit is by time.
        402 | 429 => Outcome::UsageLimit,
        500 | 502 | 503 | 504 | 529 => Outcome::Overloaded,
        _ => Outcome::Failed,
    }
}

/// What an error means by its words: those that are known, else the status that they name.
pub(super) fn of_words(text: &str) -> Outcome {
    let text = text.to_lowercase();
    let known = WORDS.iter().find(|(_, words)| words.iter().any(|word| text.contains(word)));
    match (known, status_in(&text)) {
        (Some((outcome, _)), _) => *outcome,
        (None, Some(status)) => of_status(status),
        (None, None) => Outcome::Failed,
    }
}

fn status_in(text: &str) -> Option<u16> {
    BEFORE_STATUS.iter().find_map(|before| {
        let (_, after) = text.split_once(before)?;
        let digits: String = after.trim_start().chars().take_while(char::is_ascii_digit).collect();
        digits.parse().ok().filter(|status| (400..600).contains(status))
    })
}

/// The end of a program that gave no result; `said` is what it said instead.
pub(super) fn silence(exit: &Exit, said: &str) -> Judged {
    let with_words = |text: &str| if said.is_empty() { text.to_owned() } else { format!("{text}: {said}") };
    match (exit.timed_out, exit.signal, exit.code) {
        (true, ..) => Judged::new(Outcome::TimedOut, "its time was up"),
        (_, Some(signal), _) => Judged::new(Outcome::Killed, &format!("ended by signal {signal}")),
        // Programs that catch signals exit as a shell would.
        (_, None, Some(code @ (130 | 137 | 143))) => {
            Judged::new(Outcome::Killed, &format!("ended by signal {}", code - 128))
        }
        (_, None, Some(0)) => Judged::new(Outcome::Nonsense, &with_words("it ended without a result")),
        (_, None, Some(_)) if !said.is_empty() => Judged::new(of_words(said), said),
        (_, None, Some(code)) => {
            Judged::new(Outcome::Nonsense, &format!("exit code {code} without a result or a word"))
        }
        (_, None, None) => Judged::new(Outcome::Killed, "it ended without a status"),
    }
}

/// How long to wait by an error's own words ("try again in 2 hours 5 minutes", "reset after 3h2m"), in
/// milliseconds.
pub(super) fn wait_in(text: &str) -> Option<u64> {
    let text = text.to_lowercase();
    ["try again in ", "retry in ", "retry after ", "reset after ", "resets in "]
        .iter()
        .find_map(|before| text.split_once(before))
        .and_then(|(_, after)| duration_ms(after))
}

/// Numbers with units, until something else comes.
fn duration_ms(mut text: &str) -> Option<u64> {
    let mut all: Option<u64> = None;
    loop {
        let after = text.trim_start_matches([' ', ',']);
        let (number, rest) = split_where(after, |c| !c.is_ascii_digit() && c != '.');
        let (unit, rest) = split_where(rest.trim_start(), |c| !c.is_ascii_alphabetic());
        let (Ok(number), Some(unit)) = (number.trim_end_matches('.').parse::<f64>(), unit_ms(unit)) else {
            return all;
        };
        let part = std::time::Duration::try_from_secs_f64(number * unit / 1000.0).ok()?;
        all = Some(all.unwrap_or(0).saturating_add(u64::try_from(part.as_millis()).ok()?));
        text = rest;
    }
}

fn split_where(text: &str, is_end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(is_end).unwrap_or(text.len()))
}

fn unit_ms(unit: &str) -> Option<f64> {
    Some(match unit {
        "d" | "day" | "days" => 86_400_000.0,
        "h" | "hr" | "hour" | "hours" => 3_600_000.0,
        "m" | "min" | "minute" | "minutes" => 60_000.0,
        "s" | "sec" | "second" | "seconds" => 1000.0,
        "ms" => 1.0,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_told_apart_by_their_words_and_statuses() {
        let cases = [
            ("unexpected status 401 Unauthorized: no", Outcome::BadCredentials),
            ("exceeded retry limit, last status: 429 Too Many Requests", Outcome::UsageLimit),
            ("We’re currently experiencing high demand", Outcome::Overloaded),
            ("unexpected status 503: no", Outcome::Overloaded),
            (r#"[API Error: {"error":{"code":403}}]"#, Outcome::BadCredentials),
            (r#"{"error":{"code":400,"message":"API key not valid."}}"#, Outcome::BadCredentials),
            ("exception TypeError: fetch failed sending request", Outcome::Unreachable),
            ("unexpected status 404 Not Found", Outcome::Failed),
            ("something odd, status 99999", Outcome::Failed),
        ];
        for (text, outcome) in cases {
            assert_eq!(of_words(text), outcome, "{text}");
        }
    }

    #[test]
    fn the_time_to_wait_is_read_as_programs_write_it() {
        let hour = 3_600_000;
        assert_eq!(
            wait_in("You've hit your usage limit. Try again in 2 hours 5 minutes."),
            Some(2 * hour + 300_000)
        );
        assert_eq!(wait_in("Your quota will reset after 3h2m1s."), Some(3 * hour + 121_000));
        assert_eq!(wait_in("Please retry in 34.5s."), Some(34_500));
        assert_eq!(wait_in("try again in a while"), None);
        assert_eq!(wait_in("hello"), None);
    }

    #[test]
    fn a_silent_end_says_how_it_came() {
        let of = |code, signal, said| silence(&Exit { code, signal, ..Exit::default() }, said).outcome;
        assert_eq!(of(Some(0), None, ""), Outcome::Nonsense);
        assert_eq!(of(Some(1), None, ""), Outcome::Nonsense);
        assert_eq!(of(Some(1), None, "not logged in"), Outcome::BadCredentials);
        assert_eq!(of(Some(2), None, "unknown flag"), Outcome::Failed);
        assert_eq!(of(Some(143), None, ""), Outcome::Killed);
        assert_eq!(of(None, Some(9), ""), Outcome::Killed);
        assert_eq!(silence(&Exit { timed_out: true, ..Exit::default() }, "").outcome, Outcome::TimedOut);
    }
}
