//! Keeps the values of secrets out of what leaves a worker: each becomes `***NAME***`. A value that is
//! written in another way (reversed, encoded, in parts) is not known again.

use std::{borrow::Cow, cmp::Reverse, collections::BTreeMap, env};

use wavegate_proto::v1;

/// A shorter value is found everywhere by chance.
const LEAST_BYTES: usize = 6;

/// What a name holds whose value is a secret.
const SECRET_WORDS: [&str; 8] =
    ["KEY", "TOKEN", "SECRET", "PASSWORD", "PASSWD", "CREDENTIAL", "AUTH", "HEADERS"];
/// The same, where they are a word of their own.
const SECRET_PARTS: [&str; 2] = ["PASS", "PAT"];

/// The secrets of one lease.
#[derive(Clone, Default)]
pub struct Scrubber {
    /// The longest value first, so that one within another does not leave a part of it.
    secrets: Vec<Secret>,
    /// By its value's first byte: whether a secret may begin here.
    begins: Vec<bool>,
}

#[derive(Clone)]
struct Secret {
    value: Vec<u8>,
    mask: Vec<u8>,
}

/// Names alone: a value is what nobody is to see.
impl std::fmt::Debug for Scrubber {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.secrets.iter().map(|one| String::from_utf8_lossy(&one.mask))).finish()
    }
}

/// Whether a variable of this name holds a secret, by its name.
#[must_use]
pub fn is_secret(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    SECRET_WORDS.iter().any(|word| name.contains(word))
        || name.split('_').any(|part| SECRET_PARTS.contains(&part))
}

impl Scrubber {
    /// Of names and values; values of less than six bytes are left out.
    pub fn of<N: Into<String>, V: Into<String>>(variables: impl IntoIterator<Item = (N, V)>) -> Self {
        let mut secrets = BTreeMap::new();
        for (name, value) in variables {
            let (name, value) = (name.into(), value.into());
            // As it is, as a command prints it with the ends cut off, and as it is written inside JSON.
            let escaped = serde_json::Value::from(value.clone()).to_string();
            let ways = [value.as_str(), value.trim(), &escaped[1..escaped.len() - 1]];
            for way in ways.iter().filter(|way| way.len() >= LEAST_BYTES) {
                secrets.insert(way.as_bytes().to_vec(), format!("***{name}***").into_bytes());
            }
        }
        let mut secrets: Vec<_> = secrets.into_iter().map(|(value, mask)| Secret { value, mask }).collect();
        secrets.sort_by_key(|secret| Reverse(secret.value.len()));
        let mut begins = vec![false; 256];
        for secret in &secrets {
            begins[usize::from(secret.value[0])] = true;
        }
        Self { secrets, begins }
    }

    /// Of these names in the worker's own environment.
    pub fn of_names<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::of(names.into_iter().filter_map(|name| Some((name, env::var(name).ok()?))))
    }

    /// The text without the secrets.
    #[must_use]
    pub fn text<'a>(&self, text: &'a str) -> Cow<'a, str> {
        if self.secrets.iter().all(|secret| !holds(text.as_bytes(), &secret.value)) {
            return Cow::Borrowed(text);
        }
        let mut clean = Vec::with_capacity(text.len());
        self.copy(text.as_bytes(), text.len(), &mut clean);
        // Whole characters were replaced by whole characters.
        Cow::Owned(String::from_utf8_lossy(&clean).into_owned())
    }

    /// For an output that comes in pieces.
    #[must_use]
    pub fn stream(&self) -> ScrubStream<'_> {
        ScrubStream { scrubber: self, held: Vec::new() }
    }

    /// Everything in the report that a program or an agent wrote.
    pub fn report(&self, report: &mut v1::Report) {
        if self.secrets.is_empty() {
            return;
        }
        let (mut findings, mut texts) = (Vec::new(), Vec::new());
        if let Some(verdict) = &mut report.verdict {
            findings.extend(&mut verdict.findings);
            texts.extend(verdict.gates.iter_mut().map(|gate| &mut gate.notes));
            texts.extend(verdict.evidence.iter_mut().map(|evidence| &mut evidence.output_tail));
        }
        texts.extend(report.conflicts.iter_mut().map(|conflict| &mut conflict.text));
        findings.extend(&mut report.findings);
        texts.extend(findings.into_iter().map(|finding| &mut finding.text));
        if let Some(counsel) = &mut report.counsel {
            texts.push(&mut counsel.note);
            texts.extend(counsel.tasks.iter_mut().map(|task| &mut task.guidance));
        }
        texts.extend([&mut report.summary, &mut report.output_tail, &mut report.output_json]);
        for text in texts {
            self.clean(text);
        }
    }

    /// Replaces in place.
    pub fn clean(&self, text: &mut String) {
        if let Cow::Owned(clean) = self.text(text) {
            *text = clean;
        }
    }

    /// Copies what begins before `end`; gives how much of `bytes` that took.
    fn copy(&self, bytes: &[u8], end: usize, into: &mut Vec<u8>) -> usize {
        let (mut at, mut copied) = (0, 0);
        while at < end {
            match self.secret_at(&bytes[at..]) {
                Some(secret) => {
                    into.extend_from_slice(&bytes[copied..at]);
                    into.extend_from_slice(&secret.mask);
                    at += secret.value.len();
                    copied = at;
                }
                None => at += 1,
            }
        }
        into.extend_from_slice(&bytes[copied..at]);
        at
    }

    fn secret_at(&self, bytes: &[u8]) -> Option<&Secret> {
        if !self.begins[usize::from(*bytes.first()?)] {
            return None;
        }
        self.secrets.iter().find(|secret| bytes.starts_with(&secret.value))
    }

    /// Where the part begins that may be the beginning of a secret whose rest is not there yet.
    fn open_end(&self, bytes: &[u8]) -> usize {
        let longest = self.secrets.first().map_or(0, |secret| secret.value.len());
        let first = bytes.len().saturating_sub(longest.saturating_sub(1));
        let is_open = |at: &usize| {
            let rest = &bytes[*at..];
            self.secrets.iter().any(|one| one.value.len() > rest.len() && one.value.starts_with(rest))
        };
        (first..bytes.len()).find(is_open).unwrap_or(bytes.len())
    }
}

fn holds(text: &[u8], part: &[u8]) -> bool {
    text.len() >= part.len() && text.windows(part.len()).any(|window| window == part)
}

/// Scrubs an output that comes in pieces: a value that lies across two of them is found.
#[derive(Debug)]
pub struct ScrubStream<'a> {
    scrubber: &'a Scrubber,
    /// May be the beginning of a secret.
    held: Vec<u8>,
}

impl ScrubStream<'_> {
    /// What can be told by now.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        if self.scrubber.secrets.is_empty() {
            return Cow::Borrowed(bytes);
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(bytes);
        let mut clean = Vec::with_capacity(all.len());
        let taken = self.scrubber.copy(&all, self.scrubber.open_end(&all), &mut clean);
        self.held = all.split_off(taken);
        Cow::Owned(clean)
    }

    /// What was held back; it was no secret.
    pub fn finish(&mut self) -> Vec<u8> {
        let rest = std::mem::take(&mut self.held);
        let mut clean = Vec::with_capacity(rest.len());
        if !self.scrubber.secrets.is_empty() {
            self.scrubber.copy(&rest, rest.len(), &mut clean);
        }
        clean
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn scrubber() -> Scrubber {
        Scrubber::of([("API_KEY", "abcabcabd"), ("TOKEN", "bcabd-long"), ("SHORT", "12345")])
    }

    #[test]
    fn values_become_their_names_and_short_ones_stay() {
        let clean = scrubber().text("x abcabcabcabd, 12345, bcabd-long").into_owned();
        assert_eq!(clean, "x abc***API_KEY***, 12345, ***TOKEN***");
    }

    #[test]
    fn a_secret_within_json_and_one_with_a_line_end_are_found() {
        let scrubber = Scrubber::of([("A_KEY", "say \"please\""), ("B_KEY", "hidden-value\n")]);
        assert_eq!(scrubber.text(r#"{"a":"say \"please\""}"#), r#"{"a":"***A_KEY***"}"#);
        assert_eq!(scrubber.text("hidden-value."), "***B_KEY***.");
    }

    #[test]
    fn the_rest_that_is_held_back_comes_at_the_end() {
        let scrubber = scrubber();
        let mut stream = scrubber.stream();
        assert_eq!(stream.push(b"so abcab").as_ref(), b"so ");
        assert_eq!(stream.finish(), b"abcab");
        assert_eq!(stream.finish(), b"");
    }

    #[test]
    fn a_report_is_scrubbed_everywhere() {
        let text = || "is abcabcabd".to_owned();
        let finding = v1::Finding { task: "T1".to_owned(), text: text() };
        let evidence = v1::Evidence { output_tail: text(), ..v1::Evidence::default() };
        let findings = vec![finding.clone()];
        let gates = vec![v1::Gate { notes: text(), ..v1::Gate::default() }];
        let verdict = v1::Verdict { findings, gates, evidence: vec![evidence], ..v1::Verdict::default() };
        let tasks = vec![v1::TaskCounsel { key: "T1".to_owned(), guidance: text() }];
        let mut report = v1::Report {
            summary: text(),
            output_tail: text(),
            output_json: text(),
            findings: vec![finding],
            conflicts: vec![v1::Conflict { text: text(), ..v1::Conflict::default() }],
            verdict: Some(verdict),
            counsel: Some(v1::Counsel { note: text(), tasks }),
            ..v1::Report::default()
        };
        scrubber().report(&mut report);
        let shown = format!("{report:?}");
        assert!(!shown.contains("abcabcabd"), "{shown}");
        assert_eq!(shown.matches("***API_KEY***").count(), 10, "{shown}");
    }

    #[test]
    fn names_that_hold_secrets_are_known() {
        assert!(is_secret("ANTHROPIC_API_KEY") && is_secret("my_password"));
        assert!(is_secret("ANTHROPIC_CUSTOM_HEADERS") && is_secret("MY_PAT") && is_secret("TINY_AUTH"));
        assert!(!is_secret("HTTPS_PROXY") && !is_secret("PATH") && !is_secret("CODEX_HOME"));
    }

    proptest! {
        #[test]
        fn pieces_give_the_same_as_the_whole(text in "[abcd-]{0,60}", cuts in prop::collection::vec(0_usize..60, 0..6)) {
            let scrubber = scrubber();
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(text.len())).chain([0, text.len()]).collect();
            cuts.sort_unstable();
            let mut stream = scrubber.stream();
            let mut out = Vec::new();
            for ends in cuts.windows(2) {
                out.extend_from_slice(&stream.push(&text.as_bytes()[ends[0]..ends[1]]));
            }
            out.extend(stream.finish());
            prop_assert_eq!(String::from_utf8(out).unwrap(), scrubber.text(&text).into_owned());
        }
    }
}
