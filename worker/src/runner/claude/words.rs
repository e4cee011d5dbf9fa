//! How a talk reads in the log of a task: what the agent says and does, shortened. Decides nothing.

use serde_json::Value;

/// The most of a text of the agent.
const TEXT_CHARS: usize = 4_000;
/// The most of what a tool was told.
const TOLD_CHARS: usize = 300;
/// The most of what a tool gave back.
const RESULT_CHARS: usize = 600;
const RESULT_LINES: usize = 8;

/// What of a tool's input says most, in the order in which it is looked for.
const TELLING: [&str; 9] =
    ["command", "file_path", "notebook_path", "pattern", "url", "query", "description", "skill", "path"];

/// What the agent says.
pub(super) fn said(text: &str) -> String {
    block("[text] ", text, TEXT_CHARS, usize::MAX)
}

/// A tool and what it is told, in one line.
pub(super) fn tool(name: &str, input: &Value) -> String {
    let telling = TELLING.iter().find_map(|key| input[*key].as_str());
    let told = match (telling, input) {
        (Some(text), _) => text.to_owned(),
        (None, Value::Object(fields)) if fields.is_empty() => return name.to_owned(),
        (None, _) => input.to_string(),
    };
    format!("{name}: {}", one_line(&told, TOLD_CHARS))
}

/// What a tool gave back.
pub(super) fn given_back(text: &str, is_error: bool) -> String {
    let mark = if is_error { "  ! " } else { "  | " };
    block(mark, text.trim_end(), RESULT_CHARS, RESULT_LINES)
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

/// At most so many characters, on one line.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    shortened(&words.join(" "), most)
}

fn block(mark: &str, text: &str, most: usize, lines: usize) -> String {
    if text.trim().is_empty() {
        return String::new();
    }
    let short = shortened(text, most);
    let mut out = String::with_capacity(short.len() + 64);
    for line in short.lines().take(lines) {
        out.push_str(mark);
        out.extend(line.chars().filter(|c| !c.is_control() || *c == '\t'));
        out.push('\n');
    }
    let left = short.lines().count().saturating_sub(lines);
    if left > 0 {
        out.push_str(&format!("{mark}... {left} more lines\n"));
    }
    out
}

fn shortened(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
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

    #[test]
    fn long_results_are_shortened_and_their_control_characters_go() {
        let text: String = (1..=20).map(|n| format!("\u{1b}[1mline {n}\n")).collect();
        let shown = given_back(&text, false);
        assert!(
            shown.starts_with("  | [1mline 1\n") && shown.ends_with("  | ... 12 more lines\n"),
            "{shown}"
        );
        assert_eq!(given_back(" \n", true), "");
        assert!(said(&"è".repeat(5_000)).len() < 8_100);
    }
}
