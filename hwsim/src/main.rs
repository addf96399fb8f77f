//! `hwsim`: the simulated line as a program. The library's documentation describes it.

use std::io::{Read, Write};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use clap::{Args, Parser, Subcommand};
use hwsim::attach::AttachedDevices;
use hwsim::dump::DumpedChip;
use hwsim::faults::FaultPlan;
use hwsim::pace::LinkPace;
use hwsim::profile::{CARD_STATION, SimLineProfile};
use hwsim::server::LineServer;
use hwsim::terminal::TerminalData;
use hwsim::terminal::batch::DumpAuthentication;
use hwsim::text_file;
use hwsim::token_keys::{KeyLoader, ObjectFaults};
use hwsim::witness::LineWitness;
use hwsim::world::SimulatedLine;
use nix::sys::signal::{SigSet, Signal};

/// Simulated cards and machines for Cardwright; TEST keys only.
#[derive(Parser)]
#[command(version = concat!(env!("CARGO_PKG_VERSION"), " (", env!("CARDWRIGHT_BUILD"), ")"))]
struct HwsimCli {
    #[command(subcommand)]
    command: HwsimCommand,
}

#[derive(Subcommand)]
enum HwsimCommand {
    /// Serve a simulated line on a Unix socket
    Serve(ServeLineArgs),
    /// Be one card behind a vpcd virtual reader
    Card(VirtualCardArgs),
    /// Authenticate the good cards of a dump offline, as a payment terminal does
    Terminal(DumpTerminalArgs),
    /// Put the KMCs and KEKs of a TEST key list into a PKCS#11 token, and print the list that names them there
    TokenKeys(TokenKeysArgs),
}

#[derive(Args)]
struct TokenKeysArgs {
    /// The PKCS#11 module, a shared library
    #[arg(long, value_name = "PATH")]
    module: PathBuf,
    /// The token's label
    #[arg(long, value_name = "LABEL", required_unless_present = "slot")]
    token: Option<String>,
    /// The token's slot, if its label cannot be read
    #[arg(long, value_name = "NUMBER", conflicts_with = "token")]
    slot: Option<u64>,
    /// File with the token's PIN
    #[arg(long, value_name = "FILE")]
    pin_file: PathBuf,
    /// The key list (TOML)
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
    /// Make objects that may leave the token
    #[arg(long)]
    extractable: bool,
    /// Make two objects of each key
    #[arg(long)]
    twice: bool,
}

#[derive(Args)]
struct DumpTerminalArgs {
    /// Directory with the JSON objects of blanks
    #[arg(long, value_name = "DIR")]
    dump: PathBuf,
    /// JSON file with the certification authority's key, or a list of keys: "rid", "index", "modulus" and
    /// "exponent" in hex
    #[arg(long, value_name = "FILE")]
    authority: PathBuf,
    /// Application to authenticate; of the purse, F043575055525345, only the certificates are checked
    #[arg(long, value_name = "HEX", default_value = "A0000000031010", value_parser = aid)]
    aid: AidBytes,
    /// Date of the transactions, on which no certificate may have expired [default: today]
    #[arg(long, value_name = "YYMMDD", value_parser = date)]
    date: Option<DateDigits>,
}

/// An application identifier.
#[derive(Clone)]
struct AidBytes(Vec<u8>);

fn aid(text: &str) -> Result<AidBytes> {
    let bytes = hex::decode(text)?;
    ensure!((5..=16).contains(&bytes.len()), "an AID has 5 to 16 bytes");
    Ok(AidBytes(bytes))
}

/// A date: year, month, day, two decimal digits in each byte.
#[derive(Clone, Copy)]
struct DateDigits([u8; 3]);

fn date(text: &str) -> Result<DateDigits> {
    let bytes = hex::decode(text).ok().and_then(|bytes| bytes.try_into().ok());
    let digits = bytes.context("a date has 6 digits, YYMMDD")?;
    TerminalData::on(digits)?;
    Ok(DateDigits(digits))
}

#[derive(Args)]
struct VirtualCardArgs {
    /// Product that the chip was made for
    #[arg(long, required_unless_present = "from_dump")]
    product: Option<String>,
    /// JSON object of a card that left a line: its chip answers again, with the keys and the ATR of the first
    /// supply of its KMC_ID
    #[arg(long, value_name = "FILE", conflicts_with_all = ["product", "dump"])]
    from_dump: Option<PathBuf>,
    /// HOST:PORT on which vpcd waits for a card
    #[arg(long)]
    vpcd: String,
    /// Line profile whose first supply of the product the card is from
    #[arg(long, default_value = "sim-8")]
    line: String,
    /// Answer to reset in place of the supply's; the card speaks T=1 if it offers that, else T=0
    #[arg(long, value_parser = atr)]
    atr: Option<AtrBytes>,
    /// Divides all times; 0 = no waiting
    #[arg(long, default_value = "1")]
    speed: f64,
    /// Directory for the card's JSON object, and journals of cards and faults
    #[arg(long)]
    dump: Option<PathBuf>,
    /// What is wrong with the card, which is blank 1 (TOML)
    #[arg(long)]
    faults: Option<PathBuf>,
    /// Repeats a card [default: a random one]
    #[arg(long)]
    seed: Option<u64>,
}

/// Bytes of an answer to reset.
#[derive(Clone)]
struct AtrBytes(Vec<u8>);

fn atr(text: &str) -> Result<AtrBytes> {
    let bytes = hex::decode(text)?;
    ensure!((2..=33).contains(&bytes.len()), "an ATR has 2 to 33 bytes");
    Ok(AtrBytes(bytes))
}

#[derive(Args)]
struct ServeLineArgs {
    /// Shipped line profile, or a .toml file with a [sim] table
    #[arg(long)]
    line: String,
    /// Socket to listen on [default: a new one in the directory for temporary files]
    #[arg(long)]
    socket: Option<PathBuf>,
    /// Divides all times; 0 = no waiting
    #[arg(long, default_value = "1")]
    speed: f64,
    /// Directory for one JSON object per blank, and journals of cards and faults
    #[arg(long)]
    dump: Option<PathBuf>,
    /// Which blanks get which faults (TOML)
    #[arg(long)]
    faults: Option<PathBuf>,
    /// Repeats a pile of blanks and its faults [default: a random one]
    #[arg(long)]
    seed: Option<u64>,
    /// Only check the line and the faults, and end
    #[arg(long)]
    check: bool,
    /// Stop when standard input ends, so as not to outlive the program that started this one
    #[arg(long)]
    until_stdin_closes: bool,
}

#[allow(clippy::print_stderr, reason = "the one place where the program says why it failed")]
fn main() -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let ended = match HwsimCli::parse().command {
        HwsimCommand::Serve(args) => serve(&args),
        HwsimCommand::Card(args) => card(args),
        HwsimCommand::Terminal(args) => terminal(args),
        HwsimCommand::TokenKeys(args) => token_keys(&args),
    };
    // An operator reads this: the fault and its place, without the calls that led there.
    ended.map_or_else(
        |error| {
            eprintln!("hwsim: {error:#}");
            ExitCode::FAILURE
        },
        |()| ExitCode::SUCCESS,
    )
}

fn serve(args: &ServeLineArgs) -> Result<()> {
    ensure!(args.speed >= 0.0 && args.speed.is_finite(), "--speed must be 0 or more");
    let line = SimLineProfile::load(&args.line)?;
    let seed = seed(args.seed)?;
    let faults = faults(args.faults.as_deref(), seed)?;
    faults.check(&line).context("the faults")?;
    if args.check {
        return Ok(());
    }
    let witness = LineWitness::open(args.dump.as_deref())?;
    let world = SimulatedLine::new(line, seed, faults, args.speed, witness)?;
    let signals = block_signals()?;

    let directory = match &args.socket {
        Some(_) => None,
        None => Some(SocketDirectory::new()?),
    };
    let path = match (&args.socket, &directory) {
        (Some(path), _) => path.clone(),
        (None, directory) => directory.iter().map(|d| d.0.join("line.sock")).collect(),
    };
    let server = start(world, &path)?;
    tracing::info!(seed, "ready");
    let mut out = std::io::stdout().lock();
    writeln!(out, "hwsim SIMULATED listening on {}", path.display())?;
    out.flush()?;
    wait(&signals, args.until_stdin_closes)?;
    ensure!(server.stop(), "the dump is not complete; see the messages above");
    Ok(())
}

/// Serves one card that stays in its reader, until a signal comes.
fn card(args: VirtualCardArgs) -> Result<()> {
    ensure!(args.speed >= 0.0 && args.speed.is_finite(), "--speed must be 0 or more");
    let dumped = args.from_dump.as_deref().map(DumpedChip::read).transpose()?;
    let mut line = line_of_card(&args, dumped.as_ref())?;
    for supply in &mut line.sim.blanks {
        if let Some(AtrBytes(atr)) = &args.atr {
            supply.atr.clone_from(atr);
        }
    }
    let seed = seed(args.seed)?;
    let faults = faults(args.faults.as_deref(), seed)?;
    let world = Arc::new(SimulatedLine::new(
        line,
        seed,
        faults,
        args.speed,
        LineWitness::open(args.dump.as_deref())?,
    )?);
    if let Some(dumped) = &dumped {
        world.put_dumped(dumped)?;
    }
    let signals = block_signals()?;
    let station = world.station(CARD_STATION).context("the line of a card has its station")?;
    ensure!(world.feed(station, &mut LinkPace::new(args.speed)).is_ok(), "the card jams in the feed");
    let attached = AttachedDevices::start(&world)?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "hwsim SIMULATED card for {}", args.vpcd)?;
    out.flush()?;
    wait(&signals, false)?;
    drop(attached);
    world.switch_off();
    ensure!(!world.witness_has_failed(), "the dump is not complete; see the messages above");
    Ok(())
}

/// Makes the objects of a key list, and prints the list that names them.
fn token_keys(args: &TokenKeysArgs) -> Result<()> {
    let pin = text_file::read(&args.pin_file).context("the PIN file")?;
    let list = text_file::read(&args.from).context("the key list")?;
    let loader = KeyLoader::open(&args.module, (args.token.as_deref(), args.slot), pin.trim_end())?;
    let list = loader.load(&list, ObjectFaults { extractable: args.extractable, twice: args.twice })?;
    std::io::stdout().lock().write_all(list.as_bytes())?;
    Ok(())
}

/// Authenticates the cards of a dump.
fn terminal(args: DumpTerminalArgs) -> Result<()> {
    let DumpTerminalArgs { dump, authority, aid: AidBytes(aid), date } = args;
    let job = DumpAuthentication { dump, authority, aid, date: date.map(|DateDigits(date)| date) };
    job.run(&mut std::io::stdout().lock())
}

/// The line of the one card, with the supply that it is from.
fn line_of_card(args: &VirtualCardArgs, dumped: Option<&DumpedChip>) -> Result<SimLineProfile> {
    let line = SimLineProfile::load(&args.line)?;
    match dumped {
        Some(dumped) => line.of_card(|supply| dumped.is_from(supply), "the dumped card's KMC_ID", &args.vpcd),
        None => {
            let product = args.product.as_deref().unwrap_or_default();
            line.of_card(|supply| supply.product == product, &format!("product {product}"), &args.vpcd)
        }
    }
}

fn seed(given: Option<u64>) -> Result<u64> {
    Ok(match given {
        Some(seed) => seed,
        None => getrandom::u64()?,
    })
}

fn faults(path: Option<&Path>, seed: u64) -> Result<FaultPlan> {
    let Some(path) = path else { return Ok(FaultPlan::default()) };
    text_file::read(path)
        .and_then(|text| FaultPlan::from_toml(&text, seed))
        .with_context(|| format!("faults file {}", path.display()))
}

/// Called before the first thread starts, which would otherwise take the signal and die of it.
fn block_signals() -> Result<SigSet> {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block()?;
    Ok(signals)
}

fn start(world: SimulatedLine, path: &Path) -> Result<LineServer> {
    ensure!(
        std::fs::symlink_metadata(path).is_err(),
        "socket {} exists; remove it if no other hwsim serves there, or give another",
        path.display()
    );
    LineServer::start(world, path)
}

/// Waits for a signal, or for the end of standard input.
fn wait(signals: &SigSet, until_stdin_closes: bool) -> Result<()> {
    let (stop, stopped) = crossbeam_channel::bounded(2);
    if until_stdin_closes {
        let stop = stop.clone();
        std::thread::Builder::new().name("stdin".into()).spawn(move || {
            let mut sink = [0; 256];
            let mut stdin = std::io::stdin().lock();
            while matches!(stdin.read(&mut sink), Ok(n) if n > 0) {}
            let _ = stop.send(()); // fails only if the other reason came first
        })?;
    }
    let signals = *signals;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        if let Err(error) = signals.wait() {
            tracing::error!(%error, "waiting for signals");
        }
        let _ = stop.send(());
    })?;
    stopped.recv().context("both waiting threads died")
}

/// A directory for the socket alone, removed at the end.
struct SocketDirectory(PathBuf);

impl SocketDirectory {
    fn new() -> Result<Self> {
        let name = format!("hwsim-{}-{:08x}", std::process::id(), getrandom::u32()?);
        let path = std::env::temp_dir().join(name);
        std::fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| path.display().to_string())?;
        Ok(Self(path))
    }
}

impl Drop for SocketDirectory {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir(&self.0); // best effort: it lies among the temporary files
    }
}
