//! What the chip in a reader says of itself when nobody knows any more how far it came. For a person, who decides; nothing
//! is written.
//!
//! ```text
//! who      power on (cold; warm if it is mute) → ATR → KEYDATA: by GET DATA where the product says so, else by the one
//!          INITIALIZE UPDATE of all this
//! told     for each application: SELECT, whose answer shows the life cycle → READ RECORD ..., compared with the file
//! ```
//!
//! What was compared is told, never a value. Between the first STORE DATA and the last an application looks as one that
//! was never touched: that a card is not personalized does not say that nothing is in it.

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use drivers::link::Reset;

use super::{ChipModule, Deadline, apdu, plain, to_read_back};
use crate::chip::status::CommandPhase;
use crate::ids::{Dgi, KeyData};
use crate::modules::{Blame, Fault};
use crate::profile::Product;
use crate::profile::product::Identify;
use crate::reason::ReasonWord;
use crate::record::chip::ChipApplication;
use crate::tlv::{self, Tag};

/// File control information (ISO 7816-4, 7.4.3), and the proprietary template in it.
const FCI: Tag = Tag(0x6F);
const PROPRIETARY: Tag = Tag(0xA5);

/// What one application says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// AID, hex.
    pub aid: String,
    /// Its name in the product.
    pub name: String,
    /// Its life cycle.
    pub life: Life,
    /// The records that the product wants read back.
    pub records: Vec<Record>,
}

/// How SELECT is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Life {
    /// As a personalized application of this record answers.
    Personalized,
    /// Not so.
    NotPersonalized,
    /// It can be selected; the product does not say how to tell more.
    Untold,
    /// It cannot be selected.
    Declined,
}

/// What a record is, held against the file's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its DGI.
    pub dgi: String,
    /// How it reads.
    pub reads: Read,
    /// Status word, where it is not readable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sw: Option<String>,
}

/// How a record reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Read {
    /// As ordered.
    Equal,
    /// Otherwise.
    Differs,
    /// Not.
    NotReadable,
}

/// What all of it comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HowFar {
    /// Every application that tells anything is personalized as ordered.
    AsOrdered,
    /// Some are.
    Partly,
    /// None is, as far as any tells.
    NotPersonalized,
    /// Something reads otherwise than it was ordered.
    Differs,
    /// Nothing tells anything.
    Untold,
}

/// What the applications of a card come to.
pub fn how_far(told: &[Told]) -> HowFar {
    let of: Vec<HowFar> = told.iter().map(of_application).collect();
    let is = |how_far| of.contains(&how_far);
    match (is(HowFar::AsOrdered), is(HowFar::NotPersonalized)) {
        _ if is(HowFar::Differs) => HowFar::Differs,
        _ if is(HowFar::Partly) => HowFar::Partly,
        (true, true) => HowFar::Partly,
        (true, false) => HowFar::AsOrdered,
        (false, true) => HowFar::NotPersonalized,
        (false, false) => HowFar::Untold,
    }
}

/// The same of one application; [`HowFar::Partly`] where its life cycle and its records contradict each other.
fn of_application(told: &Told) -> HowFar {
    let reads = |how| told.records.iter().any(|record| record.reads == how);
    match (told.life, reads(Read::Equal), reads(Read::NotReadable)) {
        _ if reads(Read::Differs) => HowFar::Differs,
        (_, true, true) | (Life::NotPersonalized, true, false) | (Life::Personalized, false, true) => {
            HowFar::Partly
        }
        (_, true, false) | (Life::Personalized, false, false) => HowFar::AsOrdered,
        (Life::Untold, false, false) => HowFar::Untold,
        _ => HowFar::NotPersonalized,
    }
}

impl ChipModule {
    /// Whose chip lies in the reader. Without a fault the card has power until [`ChipModule::let_go`].
    pub fn who(&mut self, product: &Product) -> Result<KeyData, Fault> {
        self.deadline = Deadline::new(self.limits);
        let who = self.identity(product);
        if let Err(fault) = &who {
            self.end(Some(fault));
        }
        who
    }

    fn identity(&mut self, product: &Product) -> Result<KeyData, Fault> {
        match self.reset(Reset::Cold, product) {
            Err(fault) if fault.reason == ReasonWord::Mute => self.reset(Reset::Warm, product)?,
            reset => reset?,
        }
        match super::chip_of(product)?.identify {
            Identify::GetData => {
                let command = apdu::GET_KEY_DATA;
                let (answer, _) = self.send(&[(&command, CommandPhase::GetData)])?.pop().unwrap_or_default();
                apdu::key_data(&answer).ok_or_else(|| {
                    Fault::card(ReasonWord::MalformedResponse, "the answer to GET DATA holds no KEYDATA")
                        .at(apdu::header(&command), Some(0x9000))
                })
            }
            Identify::InitializeUpdate => {
                let first = product.applications.first();
                let first = first.ok_or_else(|| Fault::data("the product has no application"))?;
                let channel = super::chip_of(product)?.channel;
                Ok(self.challenge(&first.aid, channel)?.answer.key_data)
            }
        }
    }

    /// What the applications that the file gives the card say of themselves.
    pub fn told(&mut self, product: &Product, applications: &[ChipApplication]) -> Result<Vec<Told>, Fault> {
        applications.iter().map(|application| self.of_application(product, application)).collect()
    }

    fn of_application(&mut self, product: &Product, application: &ChipApplication) -> Result<Told, Fault> {
        self.deadline.next_phase();
        let of_product = product.application(&application.aid);
        let mut told = Told {
            aid: application.aid.to_string(),
            name: of_product.map_or_else(|| application.aid.to_string(), |p| p.name.clone()),
            life: Life::Declined,
            records: Vec::new(),
        };
        let Ok(answer) = self.asked(&apdu::select(&application.aid), CommandPhase::Select)? else {
            return Ok(told);
        };
        told.life = life(&answer, application, of_product.and_then(|p| p.fci));
        for (dgi, place, value) in to_read_back(product, application) {
            let (reads, sw) = match self.asked(&apdu::read_record(place), CommandPhase::ReadRecord)? {
                Ok(found) if bool::from(found.as_slice().ct_eq(value)) => (Read::Equal, None),
                Ok(_) => (Read::Differs, None),
                Err(sw) => (Read::NotReadable, Some(format!("{sw:04X}"))),
            };
            told.records.push(Record { dgi: dgi.to_string(), reads, sw });
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
            Err(Fault { blame: Blame::Card, sw: Some(sw), .. }) => Ok(Err(sw)),
            Err(fault) => Err(fault),
        }
    }

    /// The card is done with.
    pub fn let_go(&mut self) {
        self.end(None);
    }
}

/// The life cycle that an answer to SELECT shows.
fn life(answer: &[u8], application: &ChipApplication, fci: Option<Dgi>) -> Life {
    let ordered = fci.filter(|dgi| plain(application, *dgi)).and_then(|dgi| application.value(dgi));
    let Some(ordered) = ordered.and_then(|value| tlv::find(value, PROPRIETARY).ok()?) else {
        return Life::Untold;
    };
    let template = tlv::find(answer, FCI).ok().flatten();
    let found = template.and_then(|template| tlv::find(template, PROPRIETARY).ok()?);
    if found == Some(ordered) { Life::Personalized } else { Life::NotPersonalized }
}
