//! The gRPC messages that a process gave to its sockets, with the moment at which each could have arrived.

use std::collections::BTreeMap;

use super::event::{Deed, Event};

/// What every client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FRAME_HEAD: usize = 9;
const DATA: u8 = 0;
const PADDED: u8 = 8;
/// Before each message: whether it is compressed, and its length.
const MESSAGE_HEAD: usize = 5;

/// One message.
#[derive(Debug, Clone, PartialEq)]
pub struct Spoken {
    /// The line of the trace from which on its peer may have it.
    pub begin: usize,
    /// Seconds since 1970.
    pub time: f64,
    pub message: Vec<u8>,
}

/// Every message in the order in which they were said.
#[must_use]
pub fn spoken(events: &[Event]) -> Vec<Spoken> {
    let mut sockets: BTreeMap<&str, Socket> = BTreeMap::new();
    let mut messages = Vec::new();
    for event in events {
        let Deed::Said { socket, bytes } = &event.deed else { continue };
        let said = sockets.entry(socket).or_default().take(bytes);
        messages.extend(said.into_iter().map(|message| Spoken {
            begin: event.begin,
            time: event.time,
            message,
        }));
    }
    messages
}

#[derive(Default)]
struct Socket {
    bytes: Vec<u8>,
    is_begun: bool,
    streams: BTreeMap<u32, Vec<u8>>,
}

impl Socket {
    fn take(&mut self, bytes: &[u8]) -> Vec<Vec<u8>> {
        self.bytes.extend(bytes);
        if !self.is_begun && self.bytes.starts_with(&PREFACE[..3]) {
            if self.bytes.len() < PREFACE.len() {
                return Vec::new();
            }
            self.bytes.drain(..PREFACE.len());
        }
        self.is_begun = true;
        let mut messages = Vec::new();
        while let Some((kind, flags, stream, payload)) = self.next_frame() {
            if kind == DATA {
                let payload = without_padding(flags, &payload);
                let stream = self.streams.entry(stream).or_default();
                stream.extend(payload);
                messages.extend(whole_messages(stream));
            }
        }
        messages
    }

    fn next_frame(&mut self) -> Option<(u8, u8, u32, Vec<u8>)> {
        let head = self.bytes.get(..FRAME_HEAD)?;
        let length = u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize;
        let (kind, flags) = (head[3], head[4]);
        let stream = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        let payload = self.bytes.get(FRAME_HEAD..FRAME_HEAD + length)?.to_vec();
        self.bytes.drain(..FRAME_HEAD + length);
        Some((kind, flags, stream, payload))
    }
}

fn without_padding(flags: u8, payload: &[u8]) -> &[u8] {
    match payload.split_first() {
        Some((padding, rest)) if flags & PADDED != 0 => {
            &rest[..rest.len().saturating_sub(usize::from(*padding))]
        }
        Some(_) | None => payload,
    }
}

fn whole_messages(stream: &mut Vec<u8>) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    while let Some(head) = stream.get(..MESSAGE_HEAD) {
        let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]) as usize;
        if stream.len() < MESSAGE_HEAD + length {
            break;
        }
        messages.push(stream[MESSAGE_HEAD..MESSAGE_HEAD + length].to_vec());
        stream.drain(..MESSAGE_HEAD + length);
    }
    messages
}
