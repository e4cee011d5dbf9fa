//! How what an agent says and does reads in the log of a task: shortened, without control characters.
//! Decides nothing.

/// The most of a text of the agent.
const TEXT_CHARS: usize = 4_000;
/// The most of what a tool was told, or of another single line.
pub(super) const LINE_CHARS: usize = 300;
/// The most of what a tool gave back.
const RESULT_CHARS: usize = 600;
const RESULT_LINES: usize = 8;

/// What the agent says.
pub(super) fn said(text: &str) -> String {
    block("[text] ", text, TEXT_CHARS, usize::MAX)
}

/// A tool and what it is told.
pub(super) fn tool(name: &str, told: &str) -> String {
    let told = one_line(told, LINE_CHARS);
    if told.is_empty() { format!("[tool] {name}\n") } else { format!("[tool] {name}: {told}\n") }
}

/// What a tool gave back.
pub(super) fn given_back(text: &str, is_error: bool) -> String {
    block(if is_error { "  ! " } else { "  | " }, text.trim_end(), RESULT_CHARS, RESULT_LINES)
}

/// Anything else worth a line; empty where there is nothing.
pub(super) fn noted(mark: &str, text: &str) -> String {
    let text = one_line(text, LINE_CHARS);
    if text.is_empty() { String::new() } else { format!("[{mark}] {text}\n") }
}

/// At most so many characters, on one line.
pub(super) fn one_line(text: &str, most: usize) -> String {
    let words: Vec<_> = text.split_whitespace().collect();
    let line = words.join(" ");
    shortened(&line, most).chars().filter(|c| !c.is_control()).collect()
}

/// The first line that says something.
pub(super) fn first_line(text: &str) -> String {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    one_line(line.unwrap_or("no words"), LINE_CHARS)
}

/// The last line that says something; empty where none does.
pub(super) fn last_line(text: &str) -> &str {
    text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default()
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
    use super::*;

    #[test]
    fn what_is_long_is_shortened_and_what_is_empty_is_not_told() {
        let text: String = (1..=20).map(|n| format!("\u{1b}[1mline {n}\n")).collect();
        let shown = given_back(&text, true);
        assert!(
            shown.starts_with("  ! [1mline 1\n") && shown.ends_with("  ! ... 12 more lines\n"),
            "{shown}"
        );
        assert_eq!(said(" \n"), "");
        assert_eq!(noted("error", "\n"), "");
        assert_eq!(tool("shell", "a\n b"), "[tool] shell: a b\n");
        assert!(said(&"è".repeat(5_000)).len() < 8_100);
        assert_eq!(first_line("\n  hi \nthere"), "hi");
        assert_eq!(last_line("a\nb\n\n"), "b");
    }
}
