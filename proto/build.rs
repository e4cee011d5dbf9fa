//! Compiles the .proto files with protox, so that no protoc is needed on the machine.

use std::{env, error::Error, fs, path::PathBuf};

use prost::Message as _;

const FILES: [&str; 5] = [
    "wavegate/v1/plans.proto",
    "wavegate/v1/worker.proto",
    "wavegate/v1/thor.proto",
    "wavegate/v1/fleet.proto",
    "wavegate/v1/bulk.proto",
];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=wavegate");
    let descriptors = protox::compile(FILES, ["."])?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    // Served by reflection, comments included.
    fs::write(out.join("wavegate.bin"), descriptors.encode_to_vec())?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
