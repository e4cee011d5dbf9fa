//! Power loss as a disk sees it: what a traced process has asked of its files is read back, and a folder is rebuilt as
//! it would lie on the disk had the power gone at a chosen moment.
//!
//! `trace` runs a program under strace and reads the calls, `event` says what a call did to files and sockets, `disk`
//! holds what is on the disk for sure and what may be, `spoken` gives the messages that a socket was given. What is
//! promised then is for the tests to say.
//!
//! The disk is harsher than those that people own. Sure is what an fsync or fdatasync that returned had covered. Of the
//! rest each sector of a write, each truncation and each change of names may be there or not, in any combination; a name
//! also where its file was synced, until its folder is. A sync that failed leaves what it should have written uncertain for
//! ever, since the kernel takes it for written (Linux does so). Memory maps are not seen: only SQLite's -shm
//! is one, which is rebuilt from its log.

mod disk;
mod event;
mod spoken;
#[cfg(test)]
mod tests;
mod trace;

pub use disk::{Disk, Fate};
pub use event::{Deed, Event};
pub use spoken::{Spoken, spoken};
pub use trace::{Call, Trace, traced, traced_with};
