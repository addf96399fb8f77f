//! One piece of plastic: chip, stripe, printed and embossed faces, the faults that it was given, and the
//! witness's object of it (the keys stand at [`SimulatedBlank::witness`]).
//!
//! Not here: where it lies ([`crate::world`]) and who changes it ([`crate::device`]).

use std::time::Instant;

use serde_json::{Value, json};

use crate::card::{BlankSpec, ForcedFault, SimulatedCard, offers_t1};
use crate::faults::{DamagedMachine, FaultKind, InjectedFault};
use crate::profile::StripeCoercivity;
use crate::stripe::MagneticStripe;

/// ATR of a blank with [`FaultKind::WrongAtr`]: T=0 and nothing else.
const WRONG_ATR: [u8; 4] = [0x3B, 0x60, 0x00, 0x00];
/// ATR that offers T=1 alone (TD1 = 81, TD2 = 31).
const T1_ATR: [u8; 9] = [0x3B, 0xE0, 0x00, 0x00, 0x81, 0x31, 0x20, 0x45, 0x35];
/// T0 that announces every interface byte and 15 historical ones: the ATR ends too early.
const GARBLED_T0: u8 = 0xFF;

/// A line of embossing or indent print, as the machine made it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmbossedLine {
    /// Font, 1 to 11, plus 20 for the other side.
    pub font: u8,
    /// Centre of the first character from the left edge, mils.
    pub x: u16,
    /// Middle of the line from the bottom edge, mils.
    pub y: u16,
    /// Text: ISO 8859-1 in the job, UTF-8 here.
    pub text: String,
}

/// A fault given to a blank, and whether it has taken effect.
#[derive(Debug)]
struct GivenFault {
    fault: InjectedFault,
    done: bool,
}

/// A blank, from the hopper on.
pub struct SimulatedBlank {
    /// Feed ordinal, from 1.
    pub n: u64,
    /// KEYDATA: KMC_ID and CSN.
    pub keydata: [u8; 10],
    /// The chip.
    pub chip: SimulatedCard,
    /// Whether the chip was reset and has power.
    pub powered: bool,
    /// Whether the chip has left the contacts, never to come back.
    pub pulled: bool,
    /// The stripe.
    pub stripe: MagneticStripe,
    /// Embossed and indent-printed lines, in order.
    pub emboss: Vec<EmbossedLine>,
    /// SHA-256 of the front's raster.
    pub front: Option<[u8; 32]>,
    /// SHA-256 of the back's raster.
    pub back: Option<[u8; 32]>,
    /// Count of the device jobs that changed it.
    pub jobs: u64,
    /// Whether it is stuck where it lies: only the reject bin takes it.
    pub jammed: bool,
    /// When the last work on it was done: its feed, or a device's job.
    pub worked: Instant,
    /// Count of the commands that its chip was given.
    pub commands: u32,
    /// Name of the station in which its chip hangs.
    pub hangs_in: Option<String>,
    /// Count of the answer frames that were damaged.
    damaged: u32,
    faults: Vec<GivenFault>,
}

impl SimulatedBlank {
    /// Makes a blank as it comes out of the hopper.
    pub fn new(
        n: u64,
        mut spec: BlankSpec,
        coercivity: StripeCoercivity,
        faults: Vec<InjectedFault>,
    ) -> Self {
        let has = |kind| faults.iter().any(|f| f.kind == kind);
        if has(FaultKind::WrongAtr) {
            spec.atr = WRONG_ATR.to_vec();
        }
        if has(FaultKind::WrongProtocol) {
            spec.atr = if offers_t1(&spec.atr) { WRONG_ATR.to_vec() } else { T1_ATR.to_vec() };
        }
        if has(FaultKind::GarbledAtr)
            && let Some(t0) = spec.atr.get_mut(1)
        {
            *t0 = GARBLED_T0;
        }
        let stripe = MagneticStripe::new(coercivity, has(FaultKind::StripeDirty));
        let keydata = spec.key_data;
        let mut chip = SimulatedCard::new(spec);
        for fault in &faults {
            match fault.kind {
                FaultKind::Mute => chip.force(ForcedFault::Deaf),
                FaultKind::WrongCryptogram => chip.force(ForcedFault::WrongCryptogram),
                FaultKind::CounterPerApplication => chip.force(ForcedFault::CounterPerApplication),
                FaultKind::ChipCorrupt => chip.force(ForcedFault::Corrupt),
                FaultKind::Status => {
                    chip.force(ForcedFault::Status { store_data: fault.store_data, sw: fault.sw });
                }
                FaultKind::CardPulled => chip.force(ForcedFault::RemoveAfter(fault.after)),
                FaultKind::AnswerPieces => chip.force(ForcedFault::Pieces(fault.bytes.into())),
                FaultKind::AnswerLength => chip.force(ForcedFault::HiddenLengths),
                _ => {}
            }
        }
        let faults = faults.into_iter().map(|fault| GivenFault { fault, done: false }).collect();
        Self {
            n,
            keydata,
            chip,
            powered: false,
            pulled: false,
            stripe,
            emboss: Vec::new(),
            front: None,
            back: None,
            jobs: 0,
            jammed: false,
            worked: Instant::now(),
            commands: 0,
            hangs_in: None,
            damaged: 0,
            faults,
        }
    }

    /// Card serial number in upper case hex: the name of the blank.
    pub fn csn(&self) -> String {
        let (_, csn) = self.keydata.split_at(6);
        hex::encode_upper(csn)
    }

    /// Returns the fault of this kind that it was given, whether it has taken effect or not.
    pub fn fault(&self, kind: FaultKind) -> Option<InjectedFault> {
        self.faults.iter().map(|g| g.fault).find(|f| f.kind == kind)
    }

    /// Lets a fault of this kind take effect; true the first time, and only if the blank was given it.
    pub fn strike(&mut self, kind: FaultKind) -> bool {
        match self.faults.iter_mut().find(|g| g.fault.kind == kind && !g.done) {
            Some(given) => {
                given.done = true;
                true
            }
            None => false,
        }
    }

    /// Whether an answer of this machine is to be damaged once more.
    pub fn damages(&mut self, device: DamagedMachine) -> bool {
        let fault = self.fault(FaultKind::FrameCorrupt);
        let again = fault.is_some_and(|f| f.device == Some(device) && self.damaged < f.times);
        self.damaged += u32::from(again);
        again
    }

    /// Records that a device has changed it.
    pub fn worked_on(&mut self) {
        self.jobs += 1;
        self.worked = Instant::now();
    }

    /// Takes the power off the chip, as when the card leaves the contacts.
    pub fn power_off(&mut self) {
        if std::mem::take(&mut self.powered) {
            self.chip.power_off();
        }
    }

    /// The witness's object: fate and stack position; `stripe` with sentinels; `emboss`, EMB then IND lines;
    /// `graphics`, the SHA-256 of each raster; `chip`, see [`SimulatedCard::chip_dump`]; `writes`, the count
    /// of commands and device jobs that changed the blank. Hex is in upper case.
    pub fn witness(&self, fate: &BlankFate) -> Value {
        let [one, two, three] = &self.stripe.tracks;
        let emboss: Vec<Value> = self
            .emboss
            .iter()
            .map(|l| json!({ "font": l.font, "x": l.x, "y": l.y, "text": l.text }))
            .collect();
        let mut object = json!({
            "simulated": true,
            "n": self.n,
            "blank": self.csn(),
            "keydata": hex::encode_upper(self.keydata),
            "fate": fate.name(),
            "position": fate.position(),
            "stripe": { "1": one.witness(), "2": two.witness(), "3": three.witness() },
            "emboss": emboss,
            "graphics": { "front": self.front.map(hex::encode_upper), "back": self.back.map(hex::encode_upper) },
            "chip": self.chip.chip_dump(),
            "writes": self.chip.writes() + self.jobs,
        });
        if let (Some(stacker), Some(map)) = (fate.stacker(), object.as_object_mut()) {
            map.insert("stacker".into(), stacker.into());
        }
        object
    }
}

/// How a blank left the line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlankFate {
    /// Into a stacker, at this position.
    Stacked {
        /// Position that the controller gave.
        position: u32,
        /// Whether it is the remakes' stacker instead of the good cards'.
        remake: bool,
    },
    /// Into the reject bin.
    Rejected,
    /// The line was switched off with the card in it.
    Left,
}

impl BlankFate {
    /// Name in the witness's object.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Stacked { .. } => "stacked",
            Self::Rejected => "rejected",
            Self::Left => "left",
        }
    }

    /// Position in the stacker.
    pub fn position(&self) -> Option<u32> {
        match self {
            Self::Stacked { position, .. } => Some(*position),
            _ => None,
        }
    }

    /// Name of the stacker: `good` or `remake`.
    pub fn stacker(&self) -> Option<&'static str> {
        match self {
            Self::Stacked { remake: false, .. } => Some("good"),
            Self::Stacked { remake: true, .. } => Some("remake"),
            _ => None,
        }
    }
}
