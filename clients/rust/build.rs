//! Generates the stubs from the protos in build/protos.

use std::path::Path;

use anyhow::Context as _;

const PROTOS: &str = "../../build/protos";

fn main() -> anyhow::Result<()> {
    println!("cargo::rerun-if-changed={PROTOS}");
    let files = ["client_type.proto", "errors.proto", "provider.proto"]
        .map(|name| Path::new(PROTOS).join("portal/oauth/v1").join(name));
    let descriptors = protox::compile(files, [PROTOS])
        .context("run `make protos-export` in the root of the project first")?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(descriptors)?;
    Ok(())
}
