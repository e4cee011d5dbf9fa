//! How an answer lies in its file: one line with a name, a version and a checksum, then the encoded
//! message. A disk that lost power may give back half of what was written.

use prost::Message as _;
use wavegate_proto::v1;

use super::answer::{Answer, NotAnAnswer};
use crate::digest::Digest;

const NAME: &str = "wavegate-answer 1 ";

/// A file that is not a whole answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum FrameError {
    #[error("it does not begin with {NAME:?} and a checksum")]
    NoHeader,
    #[error("its {found} bytes do not match their checksum: it is torn or damaged")]
    Torn { found: usize },
    #[error("it is no message of a worker: {0}")]
    NoMessage(#[from] prost::DecodeError),
    #[error(transparent)]
    NoAnswer(#[from] NotAnAnswer),
}

pub(super) fn encode(answer: &Answer) -> Vec<u8> {
    let body = answer.to_message().encode_to_vec();
    let mut bytes = format!("{NAME}{}\n", Digest::of_bytes(&body)).into_bytes();
    bytes.extend(body);
    bytes
}

pub(super) fn decode(bytes: &[u8]) -> Result<Answer, FrameError> {
    let rest = bytes.strip_prefix(NAME.as_bytes()).ok_or(FrameError::NoHeader)?;
    let end = rest.iter().position(|byte| *byte == b'\n').ok_or(FrameError::NoHeader)?;
    let (checksum, body) = (&rest[..end], &rest[end + 1..]);
    if checksum != Digest::of_bytes(body).to_string().as_bytes() {
        return Err(FrameError::Torn { found: body.len() });
    }
    Ok(Answer::from_message(v1::WorkerMessage::decode(body)?)?)
}
