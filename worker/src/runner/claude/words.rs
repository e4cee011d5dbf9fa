//! How this program's own events read in the log of a task. Decides nothing; how texts are shortened is
//! the same for all programs.

use serde_json::Value;

use crate::runner::telling::{LINE_CHARS, one_line};

/// What of a tool's input says most, in the order in which it is looked for.
const TELLING: [&str; 9] =
    ["command", "file_path", "notebook_path", "pattern", "url", "query", "description", "skill", "path"];

/// A tool and what it is told, in one line.
pub(super) fn tool(name: &str, input: &Value) -> String {
    let telling = TELLING.iter().find_map(|key| input[*key].as_str());
    let told = match (telling, input) {
        (Some(text), _) => text.to_owned(),
        (None, Value::Object(fields)) if fields.is_empty() => return name.to_owned(),
        (None, _) => input.to_string(),
    };
    format!("{name}: {}", one_line(&told, LINE_CHARS))
}

/// Another try of the program's at its provider.
pub(super) fn retry(event: &Value) -> String {
    let number = |name: &str| event[name].as_u64().unwrap_or(0);
    let why = match event["error_status"].as_u64() {
        Some(status) => format!("HTTP {status}"),
        None => event["error"].as_str().unwrap_or("no answer").to_owned(),
    };
    let seconds = number("retry_delay_ms") as f64 / 1000.0;
    format!("[retry {} of {}] {why}; again in {seconds:.1} s\n", number("attempt"), number("max_retries"))
}

/// The end, as the program tells it.
pub(super) fn ended(result: &Value) -> String {
    let subtype = result["subtype"].as_str().unwrap_or("?");
    let error = if result["is_error"].as_bool() == Some(true) { " (error)" } else { "" };
    let turns = result["num_turns"].as_u64().unwrap_or(0);
    let cost = result["total_cost_usd"].as_f64().map(|usd| format!(", ${usd:.4} in this session"));
    format!("[result] {subtype}{error}, {turns} turns{}\n", cost.unwrap_or_default())
}

/// The text of a message's part: a text itself, or a list of parts.
pub(super) fn text_of(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(parts) => {
            let texts: Vec<_> = parts.iter().filter_map(|part| part["text"].as_str()).collect();
            texts.join("\n")
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_tool_is_told_by_what_says_most_of_it() {
        assert_eq!(
            tool("Bash", &json!({"description":"tests","command":"cargo  test\n-q"})),
            "Bash: cargo test -q"
        );
        assert_eq!(tool("Write", &json!({"file_path":"a.rs","content":"..."})), "Write: a.rs");
        assert_eq!(tool("Odd", &json!({"n":1})), r#"Odd: {"n":1}"#);
        assert_eq!(tool("None", &json!({})), "None");
    }
}
