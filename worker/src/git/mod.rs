//! Git: one object store for each repository on this host (`store`), worktrees of leases from a pool
//! (`pool`, `worktree`), putting results together (`merge`) and moving a target (`publish`). The git program does the work,
//! run with nothing of a user's configuration (`command`). A repository of somebody is read and pushed to, by
//! path or URL, and never worked in. Knows nothing of plans, waves or verdicts.

mod command;
mod error;
mod location;
mod merge;
mod pool;
mod publish;
pub mod request;
mod skeleton;
mod state;
mod store;
#[cfg(test)]
mod tests;
mod worktree;

pub use command::Git;
pub use error::GitError;
pub use location::{Location, LocationError};
pub use merge::{Clash, Merged};
pub use pool::Place;
pub(crate) use publish::one_line;
pub use publish::{Pushed, Trailers};
pub use state::{Bundle, Oid, OidError, State, StateError};
pub use store::{Head, Store, Stores, read_state};
pub use worktree::{Made, Start, Worktree};
