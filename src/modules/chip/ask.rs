//! Asks the chip in a reader how far its personalization came, after a stop lost track of the card. A person decides
//! by the answers; nothing is written.
//!
//! ```text
//! identify  power on (cold; warm if it is mute) → ATR → KEYDATA: by GET DATA if the product says so, else by the
//!           only INITIALIZE UPDATE of the conversation
//! ask       for each application: SELECT, whose answer shows the life cycle → READ RECORD ..., compared with the file
//! ```
//!
//! The answers say which records are equal, and never contain a value. Between the first STORE DATA and the last, an
//! application looks as if it had never been touched: a card that is not personalized may still hold data.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use drivers::link::Reset;

use super::{CardDeadline, ChipModule, apdu, plain, to_read_back};
use crate::chip::status::CommandPhase;
use crate::ids::{Dgi, KeyData};
use crate::modules::{Blame, Fault};
use crate::profile::ProductProfile;
use crate::profile::product::ChipIdentification;
use crate::reason::ReasonWord;
use crate::record::chip::ChipApplication;
use crate::tlv::{self, Tag};

/// File control information (ISO 7816-4, 7.4.3), and the proprietary template in it.
const FCI: Tag = Tag(0x6F);
const PROPRIETARY: Tag = Tag(0xA5);

/// The answers of one application.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApplicationAnswer {
    /// AID, hex.
    pub aid: String,
    /// Its name in the product.
    pub name: String,
    /// Its life cycle.
    pub life: ApplicationLife,
    /// The records that the product wants read back.
    pub records: Vec<RecordAnswer>,
}

/// The life cycle that the answer to SELECT shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ApplicationLife {
    /// It answers as a personalized application of this record.
    Personalized,
    /// It answers differently.
    NotPersonalized,
    /// It can be selected, but the product names no DGI that shows its life cycle.
    Untold,
    /// It cannot be selected.
    Declined,
}

/// A record of the chip, compared with the output file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecordAnswer {
    /// Its DGI.
    pub dgi: String,
    /// The result of reading it.
    pub reads: RecordReading,
    /// Status word, if it is not readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sw: Option<String>,
}

/// The result of reading a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RecordReading {
    /// It holds the ordered value.
    Equal,
    /// It holds another value.
    Differs,
    /// The chip refuses to return it.
    NotReadable,
}

/// How far the personalization of a chip came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChipProgress {
    /// Every application that shows its state is personalized as ordered.
    AsOrdered,
    /// Some of these applications are.
    Partly,
    /// No application that shows its state is personalized.
    NotPersonalized,
    /// A record differs from the order.
    Differs,
    /// No application shows its state.
    Untold,
}

/// How far a card came, by the answers of its applications.
pub fn chip_progress(told: &[ApplicationAnswer]) -> ChipProgress {
    let of: Vec<ChipProgress> = told.iter().map(of_application).collect();
    let is = |chip_progress| of.contains(&chip_progress);
    match (is(ChipProgress::AsOrdered), is(ChipProgress::NotPersonalized)) {
        _ if is(ChipProgress::Differs) => ChipProgress::Differs,
        _ if is(ChipProgress::Partly) => ChipProgress::Partly,
        (true, true) => ChipProgress::Partly,
        (true, false) => ChipProgress::AsOrdered,
        (false, true) => ChipProgress::NotPersonalized,
        (false, false) => ChipProgress::Untold,
    }
}

/// How far one application came; [`ChipProgress::Partly`] if its life cycle and its records contradict each other.
fn of_application(told: &ApplicationAnswer) -> ChipProgress {
    let reads = |how| told.records.iter().any(|record| record.reads == how);
    match (told.life, reads(RecordReading::Equal), reads(RecordReading::NotReadable)) {
        _ if reads(RecordReading::Differs) => ChipProgress::Differs,
        // Records and life cycle contradict each other.
        (_, true, true)
        | (ApplicationLife::NotPersonalized, true, false)
        | (ApplicationLife::Personalized, false, true) => ChipProgress::Partly,
        // Every record that is to be read is equal, or there is none.
        (_, true, false) | (ApplicationLife::Personalized, false, false) => ChipProgress::AsOrdered,
        (ApplicationLife::Untold, false, false) => ChipProgress::Untold,
        _ => ChipProgress::NotPersonalized,
    }
}

impl ChipModule {
    /// The KEYDATA of the chip in the reader. Without a fault the card has power until [`ChipModule::release`].
    pub fn identify(&mut self, product: &ProductProfile) -> Result<KeyData, Fault> {
        self.deadline = CardDeadline::new(self.limits);
        let who = self.identity(product);
        if let Err(fault) = &who {
            self.end(Some(fault));
        }
        who
    }

    fn identity(&mut self, product: &ProductProfile) -> Result<KeyData, Fault> {
        match self.reset(Reset::Cold, product) {
            Err(fault) if fault.reason == ReasonWord::Mute => self.reset(Reset::Warm, product)?,
            reset => reset?,
        }
        match super::chip_of(product)?.identify {
            ChipIdentification::GetData => {
                let command = apdu::GET_KEY_DATA;
                let (answer, _) = self.send(&[(&command, CommandPhase::GetData)])?.pop().unwrap_or_default();
                apdu::key_data(&answer).ok_or_else(|| {
                    Fault::card(ReasonWord::MalformedResponse, "the answer to GET DATA holds no KEYDATA")
                        .at(apdu::header(&command), Some(0x9000))
                })
            }
            ChipIdentification::InitializeUpdate => {
                let first = product.applications.first();
                let first = first.ok_or_else(|| Fault::data("the product has no application"))?;
                let channel = super::chip_of(product)?.channel;
                Ok(self.challenge(&first.aid, channel)?.answer.key_data)
            }
        }
    }

    /// Asks each application that the file has for the card.
    pub fn ask_applications(
        &mut self,
        product: &ProductProfile,
        applications: &[ChipApplication],
    ) -> Result<Vec<ApplicationAnswer>, Fault> {
        applications.iter().map(|application| self.of_application(product, application)).collect()
    }

    fn of_application(
        &mut self,
        product: &ProductProfile,
        application: &ChipApplication,
    ) -> Result<ApplicationAnswer, Fault> {
        self.deadline.next_phase();
        let of_product = product.application(&application.aid);
        let mut told = ApplicationAnswer {
            aid: application.aid.to_string(),
            name: of_product.map_or_else(|| application.aid.to_string(), |p| p.name.clone()),
            life: ApplicationLife::Declined,
            records: Vec::new(),
        };
        let Ok(answer) = self.asked(&apdu::select(&application.aid), CommandPhase::Select)? else {
            return Ok(told);
        };
        told.life = life(&answer, application, of_product.and_then(|p| p.fci));
        for (dgi, place, value) in to_read_back(product, application) {
            let (reads, sw) = match self.asked(&apdu::read_record(place), CommandPhase::ReadRecord)? {
                Ok(found) if bool::from(found.as_slice().ct_eq(value)) => (RecordReading::Equal, None),
                Ok(_) => (RecordReading::Differs, None),
                Err(sw) => (RecordReading::NotReadable, Some(format!("{sw:04X}"))),
            };
            told.records.push(RecordAnswer { dgi: dgi.to_string(), reads, sw });
        }
        Ok(told)
    }

    /// The card's answer to one command, or the status word with which it declines.
    fn asked(
        &mut self,
        command: &[u8],
        phase: CommandPhase,
    ) -> Result<Result<Zeroizing<Vec<u8>>, u16>, Fault> {
        match self.send(&[(command, phase)]) {
            Ok(mut answers) => Ok(Ok(Zeroizing::new(answers.pop().unwrap_or_default().0))),
            // A card that declines gives an answer here, and is no reason to stop.
            Err(Fault { blame: Blame::Card, sw: Some(sw), .. }) => Ok(Err(sw)),
            Err(fault) => Err(fault),
        }
    }

    /// Takes the power off.
    pub fn release(&mut self) {
        self.end(None);
    }
}

/// The life cycle that an answer to SELECT shows.
fn life(answer: &[u8], application: &ChipApplication, fci: Option<Dgi>) -> ApplicationLife {
    let ordered = fci.filter(|dgi| plain(application, *dgi)).and_then(|dgi| application.value(dgi));
    let Some(ordered) = ordered.and_then(|value| tlv::find(value, PROPRIETARY).ok()?) else {
        return ApplicationLife::Untold;
    };
    let template = tlv::find(answer, FCI).ok().flatten();
    let found = template.and_then(|template| tlv::find(template, PROPRIETARY).ok()?);
    if found == Some(ordered) { ApplicationLife::Personalized } else { ApplicationLife::NotPersonalized }
}
