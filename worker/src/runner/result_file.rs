//! What a shell task may say of itself: JSON in the file named by `$WAVEGATE_RESULT`, an object with
//! `summary` (text), `tokens` (a number, or an object of `in`, `out`, `cached`), `cost` (US dollars)
//! and anything else, which is kept.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::Path,
};

use serde::Deserialize;
use wavegate_proto::v1;

/// The most that is read of it: it travels with the result.
const MAX_BYTES: u64 = 256 * 1024;

/// What the file said.
#[derive(Debug, Default, PartialEq)]
pub struct Said {
    pub summary: Option<String>,
    pub usage: v1::Usage,
    /// The whole file, as JSON.
    pub json: String,
}

/// A file that is not what it should be.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("$WAVEGATE_RESULT: {0}")]
pub struct ResultFileError(String);

#[derive(Deserialize)]
struct Fields {
    summary: Option<String>,
    tokens: Option<Tokens>,
    cost: Option<f64>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Tokens {
    All(u64),
    Parts {
        #[serde(default, rename = "in")]
        input: u64,
        #[serde(default, rename = "out")]
        output: u64,
        #[serde(default)]
        cached: u64,
    },
}

/// Reads the file; nothing was said when there is none or it is empty.
pub fn read(path: &Path) -> Result<Said, ResultFileError> {
    let text = text_of(path)?;
    if text.trim().is_empty() { Ok(Said::default()) } else { parse(&text) }
}

fn text_of(path: &Path) -> Result<String, ResultFileError> {
    let unreadable = |error| ResultFileError(format!("cannot be read: {error}"));
    match fs::metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(String::new()),
        Err(error) => return Err(unreadable(error)),
        // Opening a pipe would wait for somebody who writes.
        Ok(meta) if !meta.is_file() => return Err(ResultFileError("is not a file".to_owned())),
        Ok(_) => {}
    }
    let mut text = String::new();
    File::open(path)
        .and_then(|file| file.take(MAX_BYTES + 1).read_to_string(&mut text))
        .map_err(unreadable)?;
    if text.len() as u64 > MAX_BYTES {
        return Err(ResultFileError(format!("is longer than {MAX_BYTES} bytes")));
    }
    Ok(text)
}

fn parse(text: &str) -> Result<Said, ResultFileError> {
    let wrong = |error: serde_json::Error| {
        ResultFileError(format!(
            "line {} column {}: {error}; expected an object with summary, tokens, cost, metrics",
            error.line(),
            error.column()
        ))
    };
    let whole: serde_json::Map<String, serde_json::Value> = serde_json::from_str(text).map_err(wrong)?;
    let fields: Fields = serde_json::from_value(whole.clone().into()).map_err(wrong)?;
    let (tokens_in, tokens_out, tokens_cached) = match fields.tokens {
        None => (0, 0, 0),
        Some(Tokens::All(all)) => (0, all, 0),
        Some(Tokens::Parts { input, output, cached }) => (input, output, cached),
    };
    let cost_micro_usd = fields.cost.map(micro_usd).transpose()?;
    let usage = v1::Usage { tokens_in, tokens_out, tokens_cached, cost_micro_usd };
    Ok(Said { summary: fields.summary, usage, json: serde_json::Value::from(whole).to_string() })
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "checked to be in range just before"
)]
fn micro_usd(usd: f64) -> Result<u64, ResultFileError> {
    if !(0.0..=1e9).contains(&usd) {
        return Err(ResultFileError(format!("cost is {usd}, expected US dollars from 0 to 1e9")));
    }
    Ok((usd * 1e6).round() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> Result<Said, ResultFileError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("result");
        std::fs::write(&path, text).unwrap();
        read(&path)
    }

    #[test]
    fn all_fields_are_read_and_the_whole_is_kept() {
        let said =
            said(r#"{"summary":"did it","tokens":{"in":3,"out":4},"cost":0.25,"metrics":{"lines":7}}"#)
                .unwrap();
        assert_eq!(said.summary.as_deref(), Some("did it"));
        assert_eq!((said.usage.tokens_in, said.usage.tokens_out), (3, 4));
        assert_eq!(said.usage.cost_micro_usd, Some(250_000));
        assert!(said.json.contains(r#""lines":7"#));
    }

    #[test]
    fn no_file_and_an_empty_one_say_nothing() {
        assert_eq!(read(Path::new("/nowhere/at/all")), Ok(Said::default()));
        assert_eq!(said(" \n"), Ok(Said::default()));
    }

    #[test]
    fn what_is_no_file_or_too_long_is_refused_without_waiting() {
        let dir = tempfile::tempdir().unwrap();
        let pipe = dir.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        assert_eq!(read(&pipe), Err(ResultFileError("is not a file".to_owned())));
        let long = format!("{{\"summary\":\"{}\"}}", "x".repeat(300_000));
        assert!(said(&long).unwrap_err().to_string().contains("longer than 262144 bytes"));
    }

    #[test]
    fn wrong_json_and_wrong_fields_are_named() {
        for text in ["[1]", "{", r#"{"summary":1}"#, r#"{"tokens":-1}"#, r#"{"cost":-2}"#] {
            let error = said(text).unwrap_err().to_string();
            assert!(error.starts_with("$WAVEGATE_RESULT"), "{error}");
        }
    }
}
