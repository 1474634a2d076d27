//! Compiles the contracts in Rust: no `protoc` is needed.

use std::{env, error::Error, fs, path::Path};

const AREAS: &[&str] = &["provisioning", "status", "fleet", "bus", "ledger", "setup"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new("../../proto");
    println!("cargo:rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    for area in AREAS {
        for entry in fs::read_dir(root.join(format!("calgrant/{area}/v1")))? {
            files.push(entry?.path());
        }
    }
    files.sort();
    let descriptors = protox::compile(&files, [root])?;
    let out = env::var("OUT_DIR")?;
    fs::write(
        Path::new(&out).join("descriptors.bin"),
        prost::Message::encode_to_vec(&descriptors),
    )?;
    tonic_prost_build::configure().compile_fds(descriptors)?;
    Ok(())
}
