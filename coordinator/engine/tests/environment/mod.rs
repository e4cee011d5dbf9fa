//! A world around the engine: a clock, random bits, sessions, and a naive store that checks every
//! change against what it holds. Decides nothing; every invariant of a single write is checked in
//! `store`, those of a whole step in `world`.

mod persons;
mod plan;
mod store;
mod views;
mod words;
mod workers;
mod world;

pub(crate) use plan::{PlanBuilder, chain, one_wave, plan};
pub(crate) use store::{Store, Stored};
pub(crate) use words::*;
pub(crate) use world::{P1, WorkerBuilder, World};
