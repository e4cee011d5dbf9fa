//! YAML text to nodes. Owns anchors, merge keys, tags and the limits that keep a hostile file from
//! growing; the grammar itself is the parser crate's.

use std::collections::BTreeMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

use super::{
    MAX_DEPTH,
    node::{Entries, Key, Node, Place, Value},
    report::Report,
};

/// What anchors and aliases together may copy, in bytes.
const MAX_COPIED: usize = 8 * 1024 * 1024;

/// The one document of the text; `None` after a syntax error, which is in the report.
pub(super) fn parse(source: &str, report: &mut Report) -> Option<Node> {
    let mut builder = Builder::default();
    let mut parser = Parser::new_from_str(source);
    while let Some(event) = parser.next_event() {
        let done = match event {
            Ok((event, span)) => builder.on_event(event, place(span.start), report),
            Err(error) => Err(syntax_error(source, &error)),
        };
        if let Err(Refusal { place, message }) = done {
            report.error(place, message);
            return None;
        }
    }
    let root = builder.root.filter(|node| !matches!(node.value, Value::Null));
    if root.is_none() {
        report.error(Place::START, "the file is empty; expected a plan: `name` and `waves`");
    }
    root
}

fn place(mark: Marker) -> Place {
    Place {
        line: u32::try_from(mark.line()).unwrap_or(u32::MAX).max(1),
        column: u32::try_from(mark.col()).unwrap_or(u32::MAX).saturating_add(1),
    }
}

/// What ends the reading of the whole file.
struct Refusal {
    place: Place,
    message: String,
}

fn refuse<T>(place: Place, message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { place, message: message.into() })
}

fn syntax_error(source: &str, error: &ScanError) -> Refusal {
    let place = within(source, place(*error.marker()));
    let info = error.info();
    // The parser often stops at the end of the line before the tab.
    let tab = source.lines().zip(1..).skip(place.line as usize - 1).take(2);
    let mut tab = tab.filter(|(line, _)| line.trim_start_matches(' ').starts_with('\t'));
    if let Some((_, line)) = tab.next() {
        return Refusal {
            place: Place { line, column: 1 },
            message: format!("not valid YAML: this line is indented with a tab, expected spaces ({info})"),
        };
    }
    let hint = if info.contains("quoted scalar") && !info.contains("escape") {
        "; is a closing quote missing?"
    } else if info.contains("unknown anchor") {
        "; expected text that begins with `*` to be in quotes"
    } else if info.contains("mapping values are not allowed") {
        "; expected text that holds `: ` to be in quotes"
    } else if info.contains("unknown escape character") {
        "; expected `\\\\` for a backslash in double quotes, or single quotes"
    } else {
        ""
    };
    Refusal { place, message: format!("not valid YAML: {info}{hint}") }
}

/// To the parser, what is behind a last line that does not end is a line of its own.
fn within(source: &str, place: Place) -> Place {
    let last = source.split('\n').zip(1..).last();
    match last {
        Some((text, line)) if place.line > line => {
            let column = u32::try_from(text.chars().count()).unwrap_or(u32::MAX).saturating_add(1);
            Place { line, column }
        }
        _ => place,
    }
}

#[derive(Default)]
struct Builder {
    stack: Vec<Frame>,
    anchors: BTreeMap<usize, Node>,
    copied: usize,
    root: Option<Node>,
}

/// A list or mapping that is still open.
struct Frame {
    place: Place,
    anchor: usize,
    content: Content,
}

enum Content {
    List(Vec<Node>),
    Map { entries: Entries, key: Option<Key> },
}

impl Builder {
    fn on_event(&mut self, event: Event<'_>, place: Place, report: &mut Report) -> Result<(), Refusal> {
        match event {
            Event::Nothing | Event::StreamStart | Event::StreamEnd | Event::DocumentEnd => Ok(()),
            Event::DocumentStart(_) if self.root.is_some() => {
                refuse(place, "a second document begins; expected one plan in a file")
            }
            Event::DocumentStart(_) => Ok(()),
            Event::SequenceStart(anchor, tag) => {
                note_tag(tag.as_deref(), place, report);
                self.open(place, anchor, Content::List(Vec::new()))
            }
            Event::MappingStart(anchor, tag) => {
                note_tag(tag.as_deref(), place, report);
                let entries = Entries::default();
                self.open(place, anchor, Content::Map { entries, key: None })
            }
            Event::SequenceEnd | Event::MappingEnd => self.close(report),
            Event::Scalar(text, style, anchor, tag) => {
                note_tag(tag.as_deref(), place, report);
                self.on_scalar(&text, style, anchor, tag.as_deref(), place, report)
            }
            Event::Alias(anchor) => {
                let node = self.copy(anchor, place)?;
                self.put(node, report)
            }
        }
    }

    fn open(&mut self, place: Place, anchor: usize, content: Content) -> Result<(), Refusal> {
        self.check_depth(1, place)?;
        if self.expects_key() {
            return refuse(place, "found a list or mapping as a name; expected text");
        }
        self.stack.push(Frame { place, anchor, content });
        Ok(())
    }

    fn check_depth(&self, more: usize, place: Place) -> Result<(), Refusal> {
        if self.stack.len() + more <= MAX_DEPTH {
            return Ok(());
        }
        let message = format!(
            "lists and mappings stand more than {MAX_DEPTH} deep in one another; \
             expected a flatter file"
        );
        refuse(place, message)
    }

    fn close(&mut self, report: &mut Report) -> Result<(), Refusal> {
        let Some(frame) = self.stack.pop() else {
            return Ok(());
        };
        let value = match frame.content {
            Content::List(items) => Value::List(items),
            Content::Map { entries, .. } => merged(entries, report),
        };
        let node = Node { place: frame.place, value };
        self.remember(frame.anchor, &node)?;
        self.put(node, report)
    }

    fn on_scalar(
        &mut self,
        text: &str,
        style: ScalarStyle,
        anchor: usize,
        tag: Option<&Tag>,
        place: Place,
        report: &mut Report,
    ) -> Result<(), Refusal> {
        let is_text = style != ScalarStyle::Plain
            || self.expects_key()
            || tag.is_some_and(|tag| tag.is_yaml_core_schema() && tag.suffix == "str");
        let value = if is_text { Value::Text(text.to_owned()) } else { plain(text) };
        let node = Node { place, value };
        self.remember(anchor, &node)?;
        self.put(node, report)
    }

    fn expects_key(&self) -> bool {
        matches!(self.stack.last(), Some(Frame { content: Content::Map { key: None, .. }, .. }))
    }

    fn remember(&mut self, anchor: usize, node: &Node) -> Result<(), Refusal> {
        // The parser numbers anchors from 1; 0 is none.
        if anchor > 0 {
            self.count_copy(node, node.place)?;
            self.anchors.insert(anchor, node.clone());
        }
        Ok(())
    }

    fn copy(&mut self, anchor: usize, place: Place) -> Result<Node, Refusal> {
        let Some(node) = self.anchors.get(&anchor).cloned() else {
            return refuse(place, "this alias stands inside what it refers to");
        };
        self.check_depth(node.depth(), place)?;
        self.count_copy(&node, place)?;
        Ok(Node { place, ..node })
    }

    fn count_copy(&mut self, node: &Node, place: Place) -> Result<(), Refusal> {
        self.copied = self.copied.saturating_add(node.weight());
        if self.copied > MAX_COPIED {
            return refuse(
                place,
                "the anchors and aliases up to here make more than 8 MiB of copies; expected fewer",
            );
        }
        Ok(())
    }

    fn put(&mut self, node: Node, report: &mut Report) -> Result<(), Refusal> {
        match self.stack.last_mut().map(|frame| &mut frame.content) {
            None => self.root = Some(node),
            Some(Content::List(items)) => items.push(node),
            Some(Content::Map { entries, key }) => match key.take() {
                Some(name) => entries.add(name, node, report),
                None => *key = Some(name_of(node)?),
            },
        }
        Ok(())
    }
}

fn name_of(node: Node) -> Result<Key, Refusal> {
    let place = node.place;
    let value = match node.value {
        Value::Text(text) | Value::Number(text) => text,
        Value::Bool(value) => value.to_string(),
        other @ (Value::Null | Value::List(_) | Value::Map(_)) => {
            let found = other.describe();
            return refuse(place, format!("found {found} as a name; expected text"));
        }
    };
    Ok(Key { place, value })
}

/// The merge key of YAML 1.1, which many files still use with their anchors.
fn merged(mut entries: Entries, report: &mut Report) -> Value {
    if let Some(from) = entries.remove("<<") {
        let list = from.value.as_list();
        for other in list.unwrap_or_else(|| std::slice::from_ref(&from)) {
            match other.value.as_map() {
                Some(other) => entries.merge(other),
                None => report.error(
                    other.place,
                    format!(
                        "`<<`: expected an alias of a mapping, or a list of them, found {}",
                        other.value.describe()
                    ),
                ),
            }
        }
    }
    entries.into_value()
}

fn note_tag(tag: Option<&Tag>, place: Place, report: &mut Report) {
    if let Some(tag) = tag.filter(|tag| !tag.is_yaml_core_schema()) {
        report.repeated_warning(place, format!("the tag `{tag}` has no meaning in a plan file"));
    }
}

/// What an unquoted word is in YAML 1.2.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Value::Null,
        "true" | "True" | "TRUE" => Value::Bool(true),
        "false" | "False" | "FALSE" => Value::Bool(false),
        _ if is_number(text) => Value::Number(text.to_owned()),
        _ => Value::Text(text.to_owned()),
    }
}

fn is_number(text: &str) -> bool {
    let digits = |prefix: &str, radix| {
        text.strip_prefix(prefix)
            .is_some_and(|rest| !rest.is_empty() && rest.chars().all(|c| c.is_digit(radix)))
    };
    digits("0x", 16)
        || digits("0o", 8)
        || (text.bytes().any(|b| b.is_ascii_digit()) && text.parse::<f64>().is_ok())
}
