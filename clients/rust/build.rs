//! Makes the stubs of the protos in build/protos.

use std::path::Path;

use anyhow::Context as _;

const PROTOS: &str = "../../build/protos";

fn main() -> anyhow::Result<()> {
    println!("cargo::rerun-if-changed={PROTOS}");
    let files = ["client_type.proto", "provider.proto"]
        .map(|name| Path::new(PROTOS).join("portal/oauth/v1").join(name));
    let descriptors = protox::compile(files, [PROTOS])
        .context("`make protos-export` in the project's root gathers the protos")?;
    tonic_prost_build::configure()
        .build_server(false)
        .compile_fds(descriptors)?;
    Ok(())
}
