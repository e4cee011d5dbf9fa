//! Repositories as the operator's commands meet them: what is looked at before a plan is stored (`examine`), the
//! state that a plan starts from (`begin`), and looking at what came of it (`look`). Runs git as the workers do and
//! never writes into somebody's repository. What is done to it for a plan is the workers'.

mod artifacts;
mod begin;
mod examine;
mod look;
mod room;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use wavegate_engine::spec::PlanSpec;

pub(super) use begin::upload;
pub(super) use examine::examine;
pub(super) use look::{checkout, diff};
pub(super) use room::Room;

/// Where a plan's file is: what a relative `repo` is seen from.
fn folder_of(file_name: &str) -> PathBuf {
    let folder = Path::new(file_name).parent().unwrap_or(Path::new(""));
    if folder.as_os_str().is_empty() { PathBuf::from(".") } else { folder.to_owned() }
}

/// Whether some wave moves the plan's base itself.
fn moves_the_base(spec: &PlanSpec) -> bool {
    use wavegate_engine::spec::MergeMode;
    spec.waves.iter().any(|wave| wave.merge_mode == MergeMode::Sync)
}
