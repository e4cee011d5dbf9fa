//! The store against real files: what is written is read back, what must be refused is refused.

mod artifacts;
mod changes;
mod full_disk;
mod guards;
mod logs;
mod migrations;
mod opening;
mod reading;
mod requests;
mod restored;
mod staging;
mod work;
mod world;
