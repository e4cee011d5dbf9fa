//! The engine by its public face: one binary, so that the whole run stays quick.

#[path = "../environment/mod.rs"]
mod environment;

mod agents;
mod books;
mod counters;
mod estimates;
mod grants;
mod model;
mod modes;
mod properties;
mod repositories;
mod resolutions;
mod results;
mod script;
mod sessions;
mod simulation;
mod steering;
mod transitions;
mod verdicts;
