//! Hearing one run of an agent's program: its output in lines, the log, the tail, and the progress.
//! Understands no line itself.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use wavegate_proto::v1;

use crate::{
    runner::{Conclusion, Exit, Listener, usage_of},
    work::{WorkContext, command},
};

/// A tool's result may be long, a line without an end is none.
const LONGEST_LINE: usize = 8 * 1024 * 1024;
/// Often enough for a person who looks on.
const BETWEEN_PROGRESS: Duration = Duration::from_secs(2);

/// What is heard of one run.
pub(super) struct Hearing<'a> {
    context: &'a WorkContext,
    listener: Box<dyn Listener>,
    lines: Lines,
    tail: VecDeque<u8>,
    gave_up: bool,
    told: Option<(Instant, Vec<v1::ModelUsage>)>,
}

impl<'a> Hearing<'a> {
    pub(super) fn new(context: &'a WorkContext, listener: Box<dyn Listener>) -> Self {
        let (lines, tail) = (Lines::new(LONGEST_LINE), VecDeque::new());
        Self { context, listener, lines, tail, gave_up: false, told: None }
    }

    /// The listener said that the run cannot come to anything.
    pub(super) fn gave_up(&self) -> bool {
        self.gave_up
    }

    /// A piece of the program's output.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        let mut lines = std::mem::replace(&mut self.lines, Lines::new(LONGEST_LINE));
        lines.push(bytes, &mut |line| self.line(line));
        self.lines = lines;
        if self.told.as_ref().is_none_or(|(at, _)| at.elapsed() >= BETWEEN_PROGRESS) {
            self.tell_progress();
        }
    }

    /// The output is over.
    pub(super) fn finish(&mut self, stderr: &str) {
        let rest = self.lines.take_rest();
        if !rest.is_empty() {
            self.line(Line::Whole(&rest));
        }
        for line in stderr.lines().filter(|line| !line.trim().is_empty()) {
            self.log(&format!("[stderr] {line}\n"));
        }
        self.tell_progress();
    }

    /// What came of it, and the last part of its log.
    pub(super) fn conclude(self, exit: &Exit) -> (Conclusion, String) {
        let tail: Vec<u8> = self.tail.into();
        (self.listener.conclude(exit), command::text_of(&tail))
    }

    fn line(&mut self, line: Line<'_>) {
        match line {
            Line::Whole(bytes) => {
                // Before anything is cut out of it: a part of a secret would not be known again.
                let line = String::from_utf8_lossy(bytes);
                let line = self.context.scrubber.text(line.trim_end_matches('\r'));
                let heard = self.listener.hear(&line);
                self.gave_up |= heard.give_up;
                self.log(&heard.log);
            }
            Line::TooLong => {
                self.log(&format!("[output] a line of more than {LONGEST_LINE} bytes is dropped\n"))
            }
        }
    }

    fn log(&mut self, text: &str) {
        if !text.is_empty() {
            let clean = self.context.scrubber.text(text);
            self.context.log.append(clean.as_bytes());
            command::keep_tail(&mut self.tail, clean.as_bytes());
        }
    }

    fn tell_progress(&mut self) {
        let used = self.listener.used();
        let before = self.told.as_ref().map_or(&[][..], |(_, used)| used);
        // A model that has only been named is no news.
        if used != before && usage_of(&used) != v1::Usage::default() {
            self.told = Some((Instant::now(), used.clone()));
            (self.context.progress)(used);
        }
    }
}

/// One line, without its end.
#[derive(Debug, PartialEq, Eq)]
enum Line<'a> {
    Whole(&'a [u8]),
    TooLong,
}

/// Lines out of an output that comes in pieces.
#[derive(Debug)]
struct Lines {
    longest: usize,
    buffer: Vec<u8>,
    is_dropping: bool,
}

impl Lines {
    fn new(longest: usize) -> Self {
        Self { longest, buffer: Vec::new(), is_dropping: false }
    }

    fn push(&mut self, bytes: &[u8], each: &mut dyn FnMut(Line<'_>)) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, is_end) = piece.strip_suffix(b"\n").map_or((piece, false), |text| (text, true));
            if self.is_dropping || self.buffer.len() + text.len() > self.longest {
                self.is_dropping = true;
                self.buffer = Vec::new();
            } else {
                self.buffer.extend_from_slice(text);
            }
            if is_end {
                each(if self.is_dropping { Line::TooLong } else { Line::Whole(&self.buffer) });
                self.buffer.clear();
                self.is_dropping = false;
            }
        }
    }

    fn take_rest(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(pieces: &[&str]) -> (Vec<String>, Vec<u8>) {
        let (mut lines, mut heard) = (Lines::new(5), Vec::new());
        for piece in pieces {
            lines.push(piece.as_bytes(), &mut |line| {
                heard.push(match line {
                    Line::Whole(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
                    Line::TooLong => "too long".to_owned(),
                });
            });
        }
        (heard, lines.take_rest())
    }

    #[test]
    fn lines_are_put_together_from_pieces() {
        let (heard, rest) = lines(&["a", "b\nc\n", "\nrest"]);
        assert_eq!((heard, rest), (vec!["ab".to_owned(), "c".into(), String::new()], b"rest".to_vec()));
    }

    #[test]
    fn a_line_that_is_too_long_is_dropped_and_the_next_is_heard() {
        let (heard, rest) = lines(&["1234", "56", "7\n12345\n", "123456"]);
        assert_eq!((heard, rest), (vec!["too long".to_owned(), "12345".into()], Vec::new()));
    }
}
