//! Other people's texts inside a prompt. Owns how they are set apart, so that no text of a plan or of an
//! executor can pass for a heading or the end of a quotation, and how much of a long one is shown.

/// So much of one executor's text is shown; a full answer may have 64 KiB.
const MAX_QUOTED: usize = 8 * 1024;
/// So much of it in any case.
const LEAST_QUOTED: usize = 1024;
/// So much of all that is quoted together, so that a prompt of many tasks is one that a model can read.
const ALL_QUOTED: usize = 256 * 1024;

/// How much of each is shown where so many texts are quoted.
pub(super) fn share(texts: usize) -> usize {
    (ALL_QUOTED / texts.max(1)).clamp(LEAST_QUOTED, MAX_QUOTED)
}

/// What somebody else said, each line marked.
pub(super) fn quote(text: &str) -> String {
    quote_within(text, MAX_QUOTED)
}

/// The same, of at most so many bytes.
pub(super) fn quote_within(text: &str, most: usize) -> String {
    let text = cut(text.trim(), most);
    let lines: Vec<String> = text.lines().map(|line| format!("> {line}").trim_end().to_owned()).collect();
    lines.join("\n")
}

/// One point of a list; its further lines stand below its first.
pub(super) fn point(text: &str) -> String {
    let mut lines = text.trim().lines();
    let first = format!("- {}", lines.next().unwrap_or_default());
    lines.fold(first, |point, line| format!("{point}\n{}", format!("  {line}").trim_end()))
}

/// Points of a list; nothing where there are none.
pub(super) fn points<T: AsRef<str>>(texts: impl IntoIterator<Item = T>) -> String {
    let points: Vec<String> = texts.into_iter().map(|text| point(text.as_ref())).collect();
    points.join("\n")
}

/// A name or command on one line.
pub(super) fn code(text: &str) -> String {
    let fence = fence(text, 1);
    let space = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{space}{text}{space}{fence}")
}

/// A command or a document as it is.
pub(super) fn block(language: &str, text: &str) -> String {
    let fence = fence(text, 3);
    format!("{fence}{language}\n{}\n{fence}", text.trim_end())
}

/// More backticks than the text has in a row.
fn fence(text: &str, least: usize) -> String {
    let longest = text.split(|c| c != '`').map(str::len).max().unwrap_or(0);
    "`".repeat(least.max(longest + 1))
}

fn cut(text: &str, most: usize) -> String {
    if text.len() <= most {
        return text.to_owned();
    }
    let end = text.floor_char_boundary(most);
    format!("{}\n[cut here: {} of {} bytes are shown]", &text[..end], end, text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fence_is_longer_than_any_inside() {
        assert_eq!(code("a `b`"), "`` a `b` ``");
        assert_eq!(block("sh", "x\n```\ny\n"), "````sh\nx\n```\ny\n````");
    }

    #[test]
    fn a_quotation_cannot_end_itself() {
        assert_eq!(quote("a\n\n## b\n"), "> a\n>\n> ## b");
    }

    #[test]
    fn many_texts_share_what_a_prompt_may_quote() {
        assert_eq!([1, 32, 64, 10_000].map(share), [8 * 1024, 8 * 1024, 4 * 1024, 1024]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = quote(&"ü".repeat(MAX_QUOTED));
        assert!(text.ends_with(&format!("[cut here: {MAX_QUOTED} of {} bytes are shown]", 2 * MAX_QUOTED)));
        let odd = quote(&format!("x{}", "ü".repeat(MAX_QUOTED)));
        assert!(odd.contains(&format!("{} of", MAX_QUOTED - 1)));
    }
}
