//! JSON text to nodes. Owns the JSON grammar, because YAML parsers refuse what JSON writers make
//! (`\uD83D\uDE00`) and JSON parsers tell no places.

use super::{
    MAX_DEPTH,
    node::{Entries, Key, Node, Place, Value},
    report::Report,
};

/// The value that the text holds; `None` after a syntax error, which is in the report.
pub(super) fn parse(source: &str, report: &mut Report) -> Option<Node> {
    let mut reader = Reader { rest: source, place: Place::START, depth: 0, report };
    let read = reader.document();
    match read {
        Ok(node) => Some(node),
        Err((place, message)) => {
            report.error(place, format!("not valid JSON: {message}"));
            None
        }
    }
}

type Outcome<T> = Result<T, (Place, String)>;

struct Reader<'s, 'r> {
    rest: &'s str,
    place: Place,
    depth: usize,
    report: &'r mut Report,
}

impl Reader<'_, '_> {
    fn document(&mut self) -> Outcome<Node> {
        let node = self.value()?;
        self.skip_blanks();
        match self.peek() {
            None => Ok(node),
            Some(_) => self.fail("the end of the file"),
        }
    }

    fn value(&mut self) -> Outcome<Node> {
        self.skip_blanks();
        let place = self.place;
        let value = match self.peek() {
            Some('{') => self.nested(Self::object)?,
            Some('[') => self.nested(Self::array)?,
            Some('"') => Value::Text(self.string()?),
            Some('-' | '0'..='9') => self.number()?,
            Some('a'..='z') => self.word()?,
            _ => return self.fail("a value"),
        };
        Ok(Node { place, value })
    }

    fn nested(&mut self, read: fn(&mut Self) -> Outcome<Value>) -> Outcome<Value> {
        if self.depth >= MAX_DEPTH {
            let message = format!(
                "lists and objects stand more than {MAX_DEPTH} deep in one another; \
                 expected a flatter file"
            );
            return Err((self.place, message));
        }
        self.depth += 1;
        self.step();
        let value = read(self);
        self.depth -= 1;
        value
    }

    fn object(&mut self) -> Outcome<Value> {
        let mut entries = Entries::default();
        self.skip_blanks();
        if self.take('}') {
            return Ok(entries.into_value());
        }
        loop {
            let key = self.key()?;
            let node = self.value()?;
            entries.add(key, node, self.report);
            if !self.more('}')? {
                return Ok(entries.into_value());
            }
        }
    }

    fn key(&mut self) -> Outcome<Key> {
        self.skip_blanks();
        let place = self.place;
        if self.peek() != Some('"') {
            return self.fail("a name in double quotes");
        }
        let value = self.string()?;
        self.skip_blanks();
        if !self.take(':') {
            return self.fail("`:`");
        }
        Ok(Key { place, value })
    }

    fn array(&mut self) -> Outcome<Value> {
        let mut items = Vec::new();
        self.skip_blanks();
        if self.take(']') {
            return Ok(Value::List(items));
        }
        loop {
            items.push(self.value()?);
            if !self.more(']')? {
                return Ok(Value::List(items));
            }
        }
    }

    /// Whether a comma follows rather than the end.
    fn more(&mut self, end: char) -> Outcome<bool> {
        self.skip_blanks();
        if self.take(',') {
            return Ok(true);
        }
        if self.take(end) {
            return Ok(false);
        }
        self.fail(&format!("`,` or `{end}`"))
    }

    fn string(&mut self) -> Outcome<String> {
        let start = self.place;
        self.step();
        let mut text = String::new();
        loop {
            match self.peek() {
                None | Some('\n') => {
                    let message = "this text has no closing quote on its line; expected `\"`";
                    return Err((start, message.to_owned()));
                }
                Some('"') => {
                    self.step();
                    return Ok(text);
                }
                Some('\\') => text.push(self.escape()?),
                Some(other) => {
                    text.push(other);
                    self.step();
                }
            }
        }
    }

    fn escape(&mut self) -> Outcome<char> {
        let start = self.place;
        self.step();
        let escaped = match self.peek() {
            Some(plain @ ('"' | '\\' | '/')) => plain,
            Some('b') => '\u{8}',
            Some('f') => '\u{c}',
            Some('n') => '\n',
            Some('r') => '\r',
            Some('t') => '\t',
            Some('u') => return self.unicode(start),
            _ => return self.fail("one of \" \\ / b f n r t u after a backslash"),
        };
        self.step();
        Ok(escaped)
    }

    /// `\uXXXX`, or two of them that make one character.
    fn unicode(&mut self, start: Place) -> Outcome<char> {
        let first = self.four_digits()?;
        let code = match first {
            0xD800..=0xDBFF => {
                if !(self.take('\\') && self.peek() == Some('u')) {
                    return half(start);
                }
                let second = self.four_digits()?;
                if !(0xDC00..=0xDFFF).contains(&second) {
                    return half(start);
                }
                0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00)
            }
            whole => whole,
        };
        char::from_u32(code).map_or_else(|| half(start), Ok)
    }

    fn four_digits(&mut self) -> Outcome<u32> {
        self.step();
        let mut code = 0;
        for _ in 0..4 {
            let Some(digit) = self.peek().and_then(|c| c.to_digit(16)) else {
                return self.fail("four hexadecimal digits after `\\u`");
            };
            code = code * 16 + digit;
            self.step();
        }
        Ok(code)
    }

    fn number(&mut self) -> Outcome<Value> {
        let place = self.place;
        let raw = self.run(|c| matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E'));
        if serde_json::from_str::<serde_json::Number>(&raw).is_ok() {
            return Ok(Value::Number(raw));
        }
        Err((place, format!("`{raw}` is no number of JSON")))
    }

    fn word(&mut self) -> Outcome<Value> {
        let place = self.place;
        let word = self.run(|c| c.is_ascii_alphanumeric());
        match word.as_str() {
            "null" => Ok(Value::Null),
            "true" => Ok(Value::Bool(true)),
            "false" => Ok(Value::Bool(false)),
            _ => Err((place, format!("found `{word}`; expected a value: text stands in double quotes"))),
        }
    }

    fn run(&mut self, belongs: fn(char) -> bool) -> String {
        let mut run = String::new();
        while let Some(next) = self.peek().filter(|c| belongs(*c)) {
            run.push(next);
            self.step();
        }
        run
    }

    fn skip_blanks(&mut self) {
        while matches!(self.peek(), Some(' ' | '\t' | '\n' | '\r')) {
            self.step();
        }
    }

    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.step();
        }
        found
    }

    fn step(&mut self) {
        let mut characters = self.rest.chars();
        match characters.next() {
            Some('\n') => {
                self.place.line += 1;
                self.place.column = 1;
            }
            Some(_) => self.place.column += 1,
            None => {}
        }
        self.rest = characters.as_str();
    }

    fn fail<T>(&self, expected: &str) -> Outcome<T> {
        let found = match self.peek() {
            None => "the end of the file".to_owned(),
            Some('\n' | '\r') => "the end of the line".to_owned(),
            Some(other) => format!("`{other}`"),
        };
        Err((self.place, format!("found {found}; expected {expected}")))
    }
}

fn half<T>(place: Place) -> Outcome<T> {
    let message = "this `\\u` escape is half a character; expected its other half beside it";
    Err((place, message.to_owned()))
}
