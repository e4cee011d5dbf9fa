//! Running one shell command of a lease: its output goes to the log, its last part is kept.

use std::{
    collections::VecDeque,
    path::Path,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{Ending, WorkContext};
use crate::{
    runner::shell,
    supervisor::{self, Ended},
};

/// The last part of an output that travels with a report.
const TAIL_BYTES: usize = 4 * 1024;

/// How one command ended, by itself or by its time limit.
#[derive(Debug)]
pub(super) struct Ran {
    /// None: a signal or the time limit ended it.
    pub(super) code: Option<i32>,
    pub(super) signal: Option<i32>,
    pub(super) timed_out: bool,
    pub(super) tail: String,
    pub(super) time: Duration,
}

impl Ran {
    pub(super) fn succeeded(&self) -> bool {
        self.code == Some(0)
    }

    /// The run time in milliseconds.
    pub(super) fn ms(&self) -> u64 {
        u64::try_from(self.time.as_millis()).unwrap_or(u64::MAX)
    }

    /// How it ended, in words.
    pub(super) fn words(&self) -> String {
        match (self.timed_out, self.code, self.signal) {
            (true, ..) => format!("timed out after {:.1} s", self.time.as_secs_f64()),
            (false, Some(code), _) => format!("exit code {code}"),
            (false, None, Some(signal)) => format!("ended by signal {signal}"),
            (false, None, None) => "ended without a status".to_owned(),
        }
    }
}

/// Runs the command to its end. An error is the end of the lease's work.
pub(super) async fn run(
    context: &WorkContext,
    command: &str,
    cwd: &Path,
    env: &[(String, String)],
    limit: Option<Duration>,
) -> Result<Ran, Ending> {
    let heard = Mutex::new((context.scrubber.stream(), VecDeque::with_capacity(TAIL_BYTES)));
    let output = |bytes: &[u8]| {
        let (scrub, tail) = &mut *heard.lock().unwrap_or_else(PoisonError::into_inner);
        let clean = scrub.push(bytes);
        context.log.append(&clean);
        keep_tail(tail, &clean);
    };
    let begun = Instant::now();
    let order = shell::order(command, cwd, env, limit);
    let ended = supervisor::run(&order, &context.right(), || (), &output).await;
    let time = begun.elapsed();
    let (mut scrub, mut tail) = heard.into_inner().unwrap_or_else(PoisonError::into_inner);
    let rest = scrub.finish();
    if !rest.is_empty() {
        context.log.append(&rest);
        keep_tail(&mut tail, &rest);
    }
    let kept: Vec<u8> = tail.into();
    let ran = |code, signal, timed_out| Ran { code, signal, timed_out, tail: text_of(&kept), time };
    match ended {
        Ok(Ended::Exited { code, signal }) => Ok(ran(code, signal, false)),
        Ok(Ended::TimedOut) => Ok(ran(None, None, true)),
        Ok(Ended::Cancelled) => Err(Ending::Cancelled),
        Ok(Ended::Fenced) => Err(Ending::Fenced),
        Err(error) => Err(super::failed(error)),
    }
}

pub(super) fn keep_tail(tail: &mut VecDeque<u8>, bytes: &[u8]) {
    let bytes = &bytes[bytes.len().saturating_sub(TAIL_BYTES)..];
    let too_many = (tail.len() + bytes.len()).saturating_sub(TAIL_BYTES);
    tail.drain(..too_many);
    tail.extend(bytes);
}

/// As text of at most as many bytes; a character that the cut went through is left out. What is no
/// text takes more room as one: then its beginning goes.
pub(super) fn text_of(bytes: &[u8]) -> String {
    let start = bytes.iter().take(3).take_while(|byte| (**byte & 0xC0) == 0x80).count();
    let mut text = String::from_utf8_lossy(&bytes[start..]).into_owned();
    let too_many = text.len().saturating_sub(TAIL_BYTES);
    text.drain(..text.ceil_char_boundary(too_many));
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tail_is_the_last_part_on_a_character_boundary() {
        let mut tail = VecDeque::new();
        for _ in 0..3000 {
            keep_tail(&mut tail, "àè".as_bytes());
        }
        keep_tail(&mut tail, b"x");
        let kept: Vec<u8> = tail.into();
        assert_eq!(kept.len(), TAIL_BYTES);
        let text = text_of(&kept);
        assert!(text.ends_with("àèx") && !text.contains('\u{fffd}'));
    }
    #[test]
    fn the_tail_of_what_is_no_text_is_not_longer() {
        let text = text_of(&[0xff; TAIL_BYTES]);
        assert!(text.len() <= TAIL_BYTES && text.len() > TAIL_BYTES - 4, "{}", text.len());
    }
}
