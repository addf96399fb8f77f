//! `cardwright hsm-host`: the process that holds the keys.

use std::io::{Read, Write};
use std::path::PathBuf;

use crate::exit::{Exit, Failure};
use crate::hsm::client::READY;
use crate::hsm::host;
use crate::hsm::soft::SoftHsm;
use crate::hsm::store::KeyStore;
use crate::threads;

/// Hold the keys of a store behind a Unix socket, until standard input closes.
#[derive(Debug, clap::Args)]
pub struct HsmHostArgs {
    /// Key store.
    #[arg(long, value_name = "STORE")]
    pub keys: PathBuf,
    /// Socket to make; its folder must be yours alone (0700).
    #[arg(long, value_name = "PATH")]
    pub socket: PathBuf,
}

/// Opens the store, listens, prints `ready`, and serves until standard input closes: the parent has gone.
pub fn run(args: &HsmHostArgs) -> Result<Exit, Failure> {
    host::harden()?;
    let hsm = SoftHsm::new(KeyStore::open(&args.keys)?)?;
    let listener = host::listen(&args.socket)?;
    let lost = |e: std::io::Error| Failure::new(Exit::Io, format!("us: the HSM host lost its parent: {e}"));
    threads::start("hsm-accept", move || host::serve(&hsm, &listener))?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{READY}").and_then(|()| out.flush()).map_err(lost)?;
    drop(out);

    let mut ignored = [0u8; 64];
    let mut input = std::io::stdin().lock();
    // An error says the same as the end: nobody is there any more.
    while input.read(&mut ignored).is_ok_and(|n| n > 0) {}
    // The process ends and takes its connections along; what stays is the name of the socket.
    let _ = std::fs::remove_file(&args.socket);
    Ok(Exit::Ok)
}
