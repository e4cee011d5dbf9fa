//! The wire protocol: what `proto/wavegate/v1/*.proto` generates, and nothing else.
//!
//! Owns the messages, clients and servers of every service and the descriptors that reflection
//! serves. Generated types stop at the coordinator's `rpc` room and the worker's `session`;
//! everything further in has types of its own.

#[expect(clippy::all, reason = "generated code")]
mod generated {
    tonic::include_proto!("wavegate.v1");
}

/// Version 1 of the protocol, package `wavegate.v1`.
pub mod v1 {
    pub use super::generated::*;
}

/// The encoded `FileDescriptorSet` of all services, for gRPC server reflection.
pub const DESCRIPTORS: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/wavegate.bin"));

/// The newest protocol version that this build speaks; a hello carries a range.
pub const PROTOCOL_VERSION: u32 = 1;

/// The largest session message in bytes, checked by the sender: a larger one would end the stream
/// at the receiver.
pub const MAX_SESSION_MESSAGE_BYTES: usize = 256 * 1024;

/// Work and results above this many bytes go by digest, as an artifact.
pub const MAX_INLINE_BYTES: usize = 64 * 1024;

/// The largest piece of an artifact or a log in one bulk message, in bytes.
pub const BULK_CHUNK_BYTES: usize = 128 * 1024;
