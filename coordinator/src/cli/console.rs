//! The three streams of the program and what is known of them. Results go to `out`, progress and
//! messages to `err`. Owns the locale and whether a person sits there; formats nothing.

use std::{
    io::{self, BufRead, IsTerminal, Write},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use super::{failure::Failure, locale::Locale};

type Output = Arc<Mutex<Box<dyn Write + Send>>>;
type Input = Arc<Mutex<Box<dyn BufRead + Send>>>;

/// The program's streams; cheap to clone.
#[derive(Clone)]
pub(crate) struct Console {
    out: Output,
    err: Output,
    input: Input,
    /// A person can be asked.
    pub(crate) asks: bool,
    /// Progress may redraw its lines.
    pub(crate) redraws: bool,
    /// Results go to a terminal, a screen at a time and in colour.
    pub(crate) pages: bool,
    pub(crate) locale: Locale,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console")
            .field("asks", &self.asks)
            .field("redraws", &self.redraws)
            .field("locale", &self.locale)
            .finish_non_exhaustive()
    }
}

impl Console {
    /// The process's own streams.
    pub(crate) fn of_process() -> Self {
        Self {
            out: Arc::new(Mutex::new(Box::new(io::stdout()))),
            err: Arc::new(Mutex::new(Box::new(io::stderr()))),
            input: Arc::new(Mutex::new(Box::new(io::BufReader::new(io::stdin())))),
            asks: io::stdin().is_terminal(),
            redraws: io::stderr().is_terminal(),
            pages: io::stdout().is_terminal(),
            locale: Locale::of_process(),
        }
    }

    /// Writes a result.
    pub(crate) fn print(&self, text: &str) -> Result<(), Failure> {
        self.print_bytes(text.as_bytes())
    }

    /// Writes a result that need not be text. Flushed at once: somebody may follow.
    pub(crate) fn print_bytes(&self, bytes: &[u8]) -> Result<(), Failure> {
        let mut out = lock(&self.out);
        out.write_all(bytes)?;
        out.flush()?;
        Ok(())
    }

    /// Writes a value as readable JSON.
    pub(crate) fn print_json(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::from)?;
        self.print(&format!("{text}\n"))
    }

    /// Writes a value as one line of JSON.
    pub(crate) fn print_json_line(&self, value: &impl serde::Serialize) -> Result<(), Failure> {
        let text = serde_json::to_string(value).map_err(io::Error::from)?;
        self.print(&format!("{text}\n"))
    }

    /// Writes a line for the person. A message that cannot be written is nobody's failure.
    pub(crate) fn tell(&self, line: &str) {
        let _ = writeln!(lock(&self.err), "{line}");
    }

    /// Asks until `answer` reads one; None at the end of the input. Blocks: call it where that is
    /// allowed.
    pub(crate) fn ask<T>(
        &self,
        question: &str,
        again: &str,
        answer: impl Fn(&str) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let mut text = question;
        loop {
            {
                let mut err = lock(&self.err);
                write!(err, "{text} ")?;
                err.flush()?;
            }
            let mut line = String::new();
            if lock(&self.input).read_line(&mut line)? == 0 {
                self.tell("");
                return Ok(None);
            }
            match answer(line.trim()) {
                Some(answer) => return Ok(Some(answer)),
                None => text = again,
            }
        }
    }
}

/// A writer that panicked elsewhere left at worst a torn line behind.
fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
pub(crate) mod fake {
    //! A console whose input is given and whose output can be read.

    use super::*;

    #[derive(Clone, Default)]
    pub(crate) struct Paper(Arc<Mutex<Vec<u8>>>);

    impl Paper {
        pub(crate) fn text(&self) -> String {
            String::from_utf8_lossy(&lock(&self.0)).into_owned()
        }
    }

    impl Write for Paper {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            lock(&self.0).extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The console, what goes to `out`, and what goes to `err`. With an input a person is there.
    pub(crate) fn console(input: Option<&str>, locale: Locale) -> (Console, Paper, Paper) {
        let (out, err) = (Paper::default(), Paper::default());
        let typed = io::Cursor::new(input.unwrap_or_default().to_owned());
        let console = Console {
            out: Arc::new(Mutex::new(Box::new(out.clone()))),
            err: Arc::new(Mutex::new(Box::new(err.clone()))),
            input: Arc::new(Mutex::new(Box::new(typed))),
            asks: input.is_some(),
            redraws: false,
            pages: false,
            locale,
        };
        (console, out, err)
    }
}
