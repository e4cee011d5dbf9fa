//! The engine by its public face: one binary, so that the whole run stays quick.

#[path = "../environment/mod.rs"]
mod environment;

mod counters;
mod properties;
mod simulation;
mod model;
mod modes;
