//! The output of one lease on this machine: appended to, bounded, read back in pieces.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use crate::config::Bytes;

/// A bounded log file. What does not fit is dropped, and the last line says so.
#[derive(Debug)]
pub(super) struct LogFile {
    file: File,
    written: u64,
    limit: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Open,
    /// The limit was reached; the line that says so is written.
    Cut,
    /// The disk took no more.
    Broken,
}

impl LogFile {
    /// Opens the file and goes on behind what it holds.
    pub(super) fn open(path: &Path, limit: Bytes) -> io::Result<Self> {
        let file = File::options().create(true).truncate(false).read(true).write(true).open(path)?;
        let written = file.metadata()?.len();
        Ok(Self { file, written, limit: limit.0, state: State::Open })
    }

    /// The bytes in the file.
    pub(super) fn written(&self) -> u64 {
        self.written
    }

    /// Appends as much as fits; an error is told once, then everything is dropped.
    pub(super) fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.state != State::Open {
            return Ok(());
        }
        let room = usize::try_from(self.limit.saturating_sub(self.written)).unwrap_or(usize::MAX);
        let fitting = &bytes[..bytes.len().min(room)];
        self.write(fitting)?;
        if fitting.len() < bytes.len() {
            self.state = State::Cut;
            let limit = Bytes(self.limit);
            self.write(format!("\n[wavegate: the output is cut here, at {limit}]\n").as_bytes())?;
        }
        Ok(())
    }

    /// At most `most` bytes from `offset` on.
    pub(super) fn read(&self, offset: u64, most: usize) -> io::Result<Vec<u8>> {
        let left = usize::try_from(self.written.saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = vec![0; left.min(most)];
        self.file.read_exact_at(&mut bytes, offset)?;
        Ok(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        // Written at a place: after a half write the rest of the file stays as it is named.
        if let Err(error) = self.file.write_all_at(bytes, self.written) {
            self.state = State::Broken;
            return Err(error);
        }
        self.written += bytes.len() as u64;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::LogFile;
    use crate::config::Bytes;

    #[test]
    fn what_does_not_fit_is_cut_and_one_line_says_so() {
        let dir = tempfile::tempdir().unwrap();
        let mut log = LogFile::open(&dir.path().join("a.log"), Bytes(10)).unwrap();
        for _ in 0..3 {
            log.append(b"1234567").unwrap();
        }
        let text = String::from_utf8(log.read(0, 1000).unwrap()).unwrap();
        assert_eq!(text, "1234567123\n[wavegate: the output is cut here, at 10 bytes]\n");
    }

    #[test]
    fn a_log_goes_on_where_it_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.log");
        LogFile::open(&path, Bytes(100)).unwrap().append(b"one ").unwrap();
        let mut log = LogFile::open(&path, Bytes(100)).unwrap();
        log.append(b"two").unwrap();
        assert_eq!(log.read(0, 100).unwrap(), b"one two");
        assert_eq!(log.read(4, 2).unwrap(), b"tw");
        assert_eq!(log.read(50, 2).unwrap(), b"");
    }
}
