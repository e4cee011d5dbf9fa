//! Aligned columns, and the cutting and cleaning of text that others wrote.

use super::WIDTH;

/// Rows under a head, each column as wide as its widest cell; the last one is cut at the width.
#[derive(Debug)]
pub(super) struct Table {
    indent: usize,
    /// A line is cut here.
    most: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these column names.
    pub(super) fn new<const N: usize>(indent: usize, head: [&str; N]) -> Self {
        Self { indent, most: WIDTH, rows: vec![head.map(str::to_owned).to_vec()] }
    }

    /// The same, of which nothing is cut: it shows what is to be typed elsewhere.
    pub(super) fn uncut<const N: usize>(indent: usize, head: [&str; N]) -> Self {
        Self { most: usize::MAX, ..Self::new(indent, head) }
    }

    /// A table whose rows speak for themselves.
    pub(super) const fn headless(indent: usize) -> Self {
        Self { indent, most: WIDTH, rows: Vec::new() }
    }

    pub(super) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.map(|cell| clean(&cell)).to_vec());
    }

    pub(super) fn render(&self) -> String {
        let widths = self.widths();
        let mut text = String::new();
        for row in &self.rows {
            let mut line = " ".repeat(self.indent);
            for (cell, width) in row.iter().zip(&widths) {
                let padding = width.saturating_sub(cell.chars().count());
                line.push_str(cell);
                line.push_str(&" ".repeat(padding + 2));
            }
            text.push_str(&cut(line.trim_end(), self.most));
            text.push('\n');
        }
        text
    }

    fn widths(&self) -> Vec<usize> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |at: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(at));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        (0..columns).map(width).collect()
    }
}

/// Text of one line that can do nothing to a terminal: control characters become spaces.
pub(crate) fn clean(text: &str) -> String {
    let tame = |c: char| if c.is_control() { ' ' } else { c };
    text.trim_end().chars().map(tame).collect()
}

/// At most so many characters; what is cut is marked.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let mut short: String = text.chars().take(width.saturating_sub(1)).collect();
    short.push('…');
    short
}

/// Words in lines of at most `width` characters, each line behind `indent` spaces.
pub(super) fn wrapped(text: &str, indent: usize, width: usize) -> String {
    let mut lines = String::new();
    let mut line = String::new();
    for word in clean(text).split_whitespace() {
        let longer = indent + line.chars().count() + 1 + word.chars().count();
        if !line.is_empty() && longer > width {
            lines.push_str(&format!("{}{line}\n", " ".repeat(indent)));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&cut(word, width - indent));
    }
    if !line.is_empty() {
        lines.push_str(&format!("{}{line}\n", " ".repeat(indent)));
    }
    lines
}

/// `1 failure`, `2 failures`.
pub(crate) fn counted(number: u32, one: &str, many: &str) -> String {
    let noun = if number == 1 { one } else { many };
    format!("{number} {noun}")
}
