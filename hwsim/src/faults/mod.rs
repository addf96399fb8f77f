//! The faults file: the blanks that get faults, and the faults. TOML, strict keys:
//!
//! ```toml
//! [[fault]]
//! kind = "status"        # see [`FaultKind`]
//! every = 20             # the blanks, by feed ordinal from 1: one of
//! offset = 3             #   every (with offset: n mod every = offset), blanks = [4, 17], probability = 0.01
//! limit = 5              # optional: at most this many blanks
//! sw = "6A84"            # status only: the answer of the card
//! store_data = 3         # status only: to which STORE DATA, from 1; default 3
//! # after = 7            # card-pulled, hang, late: APDUs that the card still answers; default 7
//! # ms = 1000            # late, late-stripe: how much later; silent-, close-*: until it is back; ribbon-out,
//! #                      #   foil-out, hopper-empty, bin-full, stacker-full, cover-open: until a person has helped;
//! #                      #   default 1000. Real time: --speed does not divide it
//! # seconds = 600        # in place of ms, for those that wait for a person: machine time, which --speed divides
//! # bytes = 16           # answer-pieces only: most bytes of a piece; default 16
//! # device = "printer"   # frame-corrupt, cover-open: printer, embosser or transport (cover-open: the one that
//! #                      #   is to take the card)
//! # times = 1            # frame-corrupt only: how many answers; default 1
//! ```
//!
//! One kind belongs to the whole line and to no blank: `kill-controller` kills (SIGKILL) the controller that
//! is connected to the line's socket. That happens when the line's chips together have answered `after` APDUs
//! and receive one more, which is not answered.
//!
//! Exchanged devices and readers that see badly have their own entries ([`crate::wiring`]).
//!
//! A fault takes effect when the line comes to the step that it affects, or never; the witness records the
//! effect. Probabilities depend on the seed and the feed ordinal alone.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::profile::SimLineProfile;
use crate::rng::SplitMix64;
use crate::text_file;
use crate::wiring::{DeviceExchange, LineWiring, ReaderSight};

/// The STORE DATA that fails unless the rule names another.
const STORE_DATA_DEFAULT: u32 = 3;
/// APDUs that a card answers before it is pulled, unless the rule sets another count.
const AFTER_DEFAULT: u32 = 7;
/// Bytes of a piece of an answer, unless the rule sets another count.
const BYTES_DEFAULT: u8 = 16;
/// Delay, or time until a machine works again, unless the rule sets another.
const MS_DEFAULT: u32 = 1000;

/// Kinds of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FaultKind {
    /// The chip gives no ATR.
    Mute,
    /// The chip gives the ATR of another kind of card.
    WrongAtr,
    /// The blank comes from a supplier whose KMC no store has.
    UnknownKmc,
    /// The card cryptogram is wrong.
    WrongCryptogram,
    /// Each application of the chip has a sequence counter of its own.
    CounterPerApplication,
    /// One STORE DATA is refused.
    Status,
    /// The card leaves the contacts in the middle of the work.
    CardPulled,
    /// Reading the stripe gives one wrong character; an MSE-630T, which reads by itself, refuses.
    StripeMisread,
    /// The blank arrives with data on track 2.
    StripeDirty,
    /// The card jams in the stripe encoder.
    JamStripe,
    /// The card jams in the printer.
    JamPrinter,
    /// The card jams in the embosser.
    JamEmbosser,
    /// The card jams when it is first taken from a station.
    JamTransfer,
    /// The blank jams between hopper and station.
    FeedJam,
    /// After some APDUs the chip gives no more answers in that station; the link stays open.
    Hang,
    /// One answer of the chip comes later.
    Late,
    /// The ATR is damaged: it ends before the bytes that it announces.
    GarbledAtr,
    /// The ATR offers T=1 alone where the product has T=0, and vice versa.
    WrongProtocol,
    /// Over T=0, answers of the chip come in pieces: after 61xx, and for READ RECORD after 6Cxx.
    AnswerPieces,
    /// Over T=0, the chip answers 6100 in place of 61xx, and 6Cxx to the GET RESPONSE.
    AnswerLength,
    /// From the card's job on, the stripe encoder does and sends nothing for a while.
    SilentStripe,
    /// The stripe encoder answers the card's job later.
    LateStripe,
    /// One byte of an answer frame is damaged while the card lies there.
    FrameCorrupt,
    /// The ribbon ends before the card is printed, and is refilled after a while.
    RibbonOut,
    /// The foil ends before the card is embossed, and is refilled after a while.
    FoilOut,
    /// The hopper is empty when the blank is to be fed, which is in the next load, after a while.
    HopperEmpty,
    /// The reject bin is full when the card is to be thrown out, and is emptied after a while.
    BinFull,
    /// The stacker is full when the card is to be stacked, and is emptied after a while.
    StackerFull,
    /// A cover is open when the machine is to begin with the card, and is closed after a while.
    CoverOpen,
    /// The printer closes its link when the card's job arrives; a serial port comes back after a while.
    ClosePrinter,
    /// The embosser closes its link when the card's job arrives; a serial port comes back after a while.
    CloseEmbosser,
    /// The first record of each application has one wrong bit once it is personalized.
    ChipCorrupt,
    /// The stripe encoder closes its link when the card's job arrives; a serial port comes back after a
    /// while.
    CloseStripe,
    /// The controller dies in the middle of an APDU.
    KillController,
}

/// A parameter of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FaultParameter {
    Sw,
    StoreData,
    After,
    Ms,
    Device,
    Times,
    Bytes,
    Seconds,
}

use FaultParameter::{After, Bytes, Device as OfDevice, Ms, Seconds, StoreData, Sw, Times};

/// Every kind with its name in the file and the parameters that it may have.
const KINDS: &[(FaultKind, &str, &[FaultParameter])] = &[
    (FaultKind::Mute, "mute", &[]),
    (FaultKind::WrongAtr, "wrong-atr", &[]),
    (FaultKind::UnknownKmc, "unknown-kmc", &[]),
    (FaultKind::WrongCryptogram, "wrong-cryptogram", &[]),
    (FaultKind::CounterPerApplication, "counter-per-application", &[]),
    (FaultKind::Status, "status", &[Sw, StoreData]),
    (FaultKind::CardPulled, "card-pulled", &[After]),
    (FaultKind::StripeMisread, "stripe-misread", &[]),
    (FaultKind::StripeDirty, "stripe-dirty", &[]),
    (FaultKind::JamStripe, "jam-stripe", &[]),
    (FaultKind::JamPrinter, "jam-printer", &[]),
    (FaultKind::JamEmbosser, "jam-embosser", &[]),
    (FaultKind::JamTransfer, "jam-transfer", &[]),
    (FaultKind::FeedJam, "feed-jam", &[]),
    (FaultKind::Hang, "hang", &[After]),
    (FaultKind::Late, "late", &[After, Ms]),
    (FaultKind::GarbledAtr, "garbled-atr", &[]),
    (FaultKind::WrongProtocol, "wrong-protocol", &[]),
    (FaultKind::AnswerPieces, "answer-pieces", &[Bytes]),
    (FaultKind::AnswerLength, "answer-length", &[]),
    (FaultKind::SilentStripe, "silent-stripe", &[Ms]),
    (FaultKind::LateStripe, "late-stripe", &[Ms]),
    (FaultKind::FrameCorrupt, "frame-corrupt", &[OfDevice, Times]),
    (FaultKind::RibbonOut, "ribbon-out", &[Ms, Seconds]),
    (FaultKind::FoilOut, "foil-out", &[Ms, Seconds]),
    (FaultKind::HopperEmpty, "hopper-empty", &[Ms, Seconds]),
    (FaultKind::BinFull, "bin-full", &[Ms, Seconds]),
    (FaultKind::StackerFull, "stacker-full", &[Ms, Seconds]),
    (FaultKind::CoverOpen, "cover-open", &[Ms, Seconds, OfDevice]),
    (FaultKind::ClosePrinter, "close-printer", &[Ms]),
    (FaultKind::CloseEmbosser, "close-embosser", &[Ms]),
    (FaultKind::ChipCorrupt, "chip-corrupt", &[]),
    (FaultKind::CloseStripe, "close-stripe", &[Ms]),
    (FaultKind::KillController, "kill-controller", &[After]),
];

impl FaultKind {
    fn row(self) -> (&'static str, &'static [FaultParameter]) {
        KINDS.iter().find(|(kind, ..)| *kind == self).map_or(("", &[]), |(_, name, may)| (name, may))
    }

    /// Its name in the file.
    pub fn name(self) -> &'static str {
        self.row().0
    }
}

/// Machines on framed links, whose answers can be damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DamagedMachine {
    /// Card printer.
    Printer,
    /// Embosser.
    Embosser,
    /// Transport of a station.
    Transport,
}

/// A fault that was assigned to a blank.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InjectedFault {
    /// Its kind.
    pub kind: FaultKind,
    /// [`FaultKind::Status`]: the status word that the card answers.
    pub sw: u16,
    /// [`FaultKind::Status`]: the STORE DATA that is refused, counted from 1.
    pub store_data: u32,
    /// [`FaultKind::CardPulled`], [`FaultKind::Hang`], [`FaultKind::Late`], [`FaultKind::KillController`]:
    /// APDUs that are still answered.
    pub after: u32,
    /// Delay or duration in ms.
    pub ms: u32,
    /// Duration in seconds of the machine, in place of `ms`.
    pub seconds: Option<u32>,
    /// [`FaultKind::FrameCorrupt`]: the machine whose answers are damaged. [`FaultKind::CoverOpen`]: the machine.
    pub device: Option<DamagedMachine>,
    /// [`FaultKind::FrameCorrupt`]: count of damaged answers.
    pub times: u32,
    /// [`FaultKind::AnswerPieces`]: most bytes of a piece.
    pub bytes: u8,
}

impl InjectedFault {
    /// How long the machine waits for a person on a line of this speed.
    pub fn lasts(&self, speed: f64) -> Duration {
        match self.seconds {
            Some(_) if speed == 0.0 => Duration::ZERO,
            Some(seconds) => Duration::from_secs(seconds.into()).div_f64(speed),
            None => self.pause(),
        }
    }

    /// Its delay or duration.
    pub fn pause(&self) -> Duration {
        Duration::from_millis(self.ms.into())
    }
}

/// Keys of the file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultsFile {
    #[serde(default)]
    fault: Vec<FaultEntry>,
    #[serde(default)]
    exchange: Vec<DeviceExchange>,
    #[serde(default)]
    sight: Vec<ReaderSight>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultEntry {
    kind: FaultKind,
    every: Option<u64>,
    offset: Option<u64>,
    blanks: Option<BTreeSet<u64>>,
    probability: Option<f64>,
    limit: Option<u64>,
    sw: Option<String>,
    store_data: Option<u32>,
    after: Option<u32>,
    ms: Option<u32>,
    device: Option<DamagedMachine>,
    times: Option<u32>,
    bytes: Option<u8>,
    seconds: Option<u32>,
}

#[derive(Debug)]
enum BlankChoice {
    Line,
    Every { every: u64, offset: u64 },
    Blanks(BTreeSet<u64>),
    Probability(f64),
}

#[derive(Debug)]
struct FaultRule {
    fault: InjectedFault,
    which: BlankChoice,
    /// Count of blanks that may still be given it.
    left: u64,
}

/// All rules of a run.
#[derive(Debug, Default)]
pub struct FaultPlan {
    rules: Vec<FaultRule>,
    seed: u64,
    wiring: LineWiring,
}

impl FaultPlan {
    /// Parses and checks the file; `seed` decides the probabilities.
    pub fn from_toml(text: &str, seed: u64) -> Result<Self> {
        let file: FaultsFile = text_file::parse(text)?;
        let rules = file
            .fault
            .into_iter()
            .enumerate()
            .map(|(at, entry)| {
                let kind = entry.kind;
                rule(entry).with_context(|| format!("fault {} ({})", at + 1, kind.name()))
            })
            .collect::<Result<_>>()?;
        let wiring = LineWiring::new(file.exchange, file.sight)?;
        Ok(Self { rules, seed, wiring })
    }

    /// Checks that the line has every station that the plan names.
    pub fn check(&self, line: &SimLineProfile) -> Result<()> {
        for name in self.wiring.stations() {
            ensure!(
                line.stations().any(|(station, _)| station == name),
                "there is no station {name}; there are {}",
                line.station_list()
            );
        }
        Ok(())
    }

    /// Takes the wiring out of the plan.
    pub fn take_wiring(&mut self) -> LineWiring {
        std::mem::take(&mut self.wiring)
    }

    /// The faults of blank `n`, each kind at most once. Must be asked once for every n, in order.
    pub fn of(&mut self, n: u64) -> Vec<InjectedFault> {
        let mut given: Vec<InjectedFault> = Vec::new();
        for (at, rule) in (0u64..).zip(&mut self.rules) {
            let hit = match &rule.which {
                BlankChoice::Line => false,
                BlankChoice::Every { every, offset } => n % every == *offset,
                BlankChoice::Blanks(blanks) => blanks.contains(&n),
                BlankChoice::Probability(p) => {
                    SplitMix64::of(self.seed, n, FAULT_PURPOSE.wrapping_add(at)).next_unit() < *p
                }
            };
            if hit && rule.left > 0 && given.iter().all(|f| f.kind != rule.fault.kind) {
                rule.left -= 1;
                given.push(rule.fault);
            }
        }
        given
    }

    /// Count of APDUs that the line's chips answer before the controller is killed.
    pub fn controller_dies_after(&self) -> Option<u64> {
        let mut kills = self.rules.iter().filter(|r| r.fault.kind == FaultKind::KillController);
        kills.next().map(|rule| rule.fault.after.into())
    }
}

/// Keeps the random numbers of faults apart from those of blanks.
const FAULT_PURPOSE: u64 = 1 << 32;

/// The blanks that a rule names.
fn choice(entry: &FaultEntry) -> Result<BlankChoice> {
    Ok(match (entry.every, &entry.blanks, entry.probability) {
        (None, None, None) if entry.kind == FaultKind::KillController => BlankChoice::Line,
        _ if entry.kind == FaultKind::KillController => anyhow::bail!("is the line's, and given to no blank"),
        (Some(every), None, None) => {
            let offset = entry.offset.unwrap_or(0);
            ensure!(every > offset, "every ({every}) must be at least 1 and greater than offset ({offset})");
            BlankChoice::Every { every, offset }
        }
        (None, Some(blanks), None) => {
            ensure!(!blanks.contains(&0), "blanks are counted from 1");
            BlankChoice::Blanks(blanks.clone())
        }
        (None, None, Some(p)) => {
            ensure!((0.0..=1.0).contains(&p), "probability must be from 0 to 1, not {p}");
            BlankChoice::Probability(p)
        }
        _ => anyhow::bail!("needs exactly one of every, blanks and probability"),
    })
}

fn rule(entry: FaultEntry) -> Result<FaultRule> {
    let (_, may) = entry.kind.row();
    let given = [
        (Sw, entry.sw.is_some(), "sw"),
        (StoreData, entry.store_data.is_some(), "store_data"),
        (After, entry.after.is_some(), "after"),
        (Ms, entry.ms.is_some(), "ms"),
        (OfDevice, entry.device.is_some(), "device"),
        (Times, entry.times.is_some(), "times"),
        (Bytes, entry.bytes.is_some(), "bytes"),
        (Seconds, entry.seconds.is_some(), "seconds"),
    ];
    for (parameter, is_given, name) in given {
        ensure!(!is_given || may.contains(&parameter), "{name} belongs to other kinds");
        let needed = matches!(parameter, Sw | OfDevice) && may.contains(&parameter);
        ensure!(is_given || !needed, "{name} is missing, which this kind needs");
    }
    ensure!(entry.ms.is_none() || entry.seconds.is_none(), "either ms or seconds");
    ensure!(entry.offset.is_none() || entry.every.is_some(), "offset belongs to every");
    let which = choice(&entry)?;
    let sw = match &entry.sw {
        None => 0,
        Some(text) => {
            let bytes: Option<[u8; 2]> = hex::decode(text).ok().and_then(|b| b.try_into().ok());
            u16::from_be_bytes(bytes.with_context(|| format!("sw must be 4 hex digits, not {text:?}"))?)
        }
    };
    let store_data = entry.store_data.unwrap_or(STORE_DATA_DEFAULT);
    ensure!(store_data > 0, "store_data is counted from 1");
    let bytes = entry.bytes.unwrap_or(BYTES_DEFAULT);
    ensure!(bytes > 0, "a piece has at least 1 of bytes");
    let fault = InjectedFault {
        kind: entry.kind,
        sw,
        store_data,
        after: entry.after.unwrap_or(AFTER_DEFAULT),
        ms: entry.ms.unwrap_or(MS_DEFAULT),
        seconds: entry.seconds,
        device: entry.device,
        times: entry.times.unwrap_or(1),
        bytes,
    };
    Ok(FaultRule { fault, which, left: entry.limit.unwrap_or(u64::MAX) })
}

#[cfg(test)]
mod tests;
