//! Compiles the wire contract into Rust types.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let proto = "../../proto/telemetry.proto";
    println!("cargo:rerun-if-changed={proto}");
    prost_build::compile_fds(protox::compile([proto], ["../../proto"])?)?;
    Ok(())
}
