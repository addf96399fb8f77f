//! Asks cards that were left in the line how far they came. A person decides about them. Nothing is written
//! to a card, and no card is moved.
//!
//! Not here: the questions to a chip (`modules::chip::ask`), words for people (`cli`).

use drivers::stripe::Tracks;
use serde::{Deserialize, Serialize};

use super::line::links::Links;
use super::line::stations::{self, Askable};
use super::opening::Bureau;
use super::refusal::{Refusal, Senseless};
use super::spool_folder::spool_of;
use crate::actor::Actor;
use crate::exit::Exit;
use crate::hsm::CallerRole;
use crate::ids::{JobId, KeyData};
use crate::laws::{AttemptState, Change, Context, JobState, RecordState};
use crate::ledger::{Holder, JobView, Reader};
use crate::modules::{
    ApplicationAnswer, ChipModule, ChipProgress, Fault, ModuleProfile, StationModule, StripeModule,
    chip_progress, is_blank,
};
use crate::profile::ProductProfile;
use crate::reason::ReasonWord;
use crate::record::Spool;
use crate::record::chip::ChipSection;
use crate::request::Records;
use crate::threads::each_at_once;

/// The result of a survey.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Survey {
    /// The job.
    pub job: JobView,
    /// The record whose card is asked; `None` for all.
    pub seq: Option<u32>,
    /// The stations, in line order.
    pub stations: Vec<StationSurvey>,
    /// Places that may hold a card but cannot ask it.
    pub not_asked: Vec<String>,
    /// Stations whose card answered through an unproved device: the card may lie at another station.
    #[serde(default)]
    pub unproved: Vec<String>,
}

/// The answer of one station.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StationSurvey {
    /// Its name.
    pub station: String,
    /// CSN of the chip that lies there.
    pub blank: Option<String>,
    /// The record and the attempt to which the card belongs.
    pub card: Option<Holder>,
    /// Whether the request was about this card.
    pub asked_for: bool,
    /// Answers of the chip's applications.
    pub applications: Vec<ApplicationAnswer>,
    /// A stable word: the verdict, or why there is none.
    pub verdict: String,
    /// A sentence for people.
    pub says: String,
    /// What a person may do next.
    pub advice: Option<Advice>,
}

/// What a person may do with a card that was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Advice {
    /// Resolve it as good, if its other parts are right too.
    Good,
    /// Have it destroyed.
    Destroy,
    /// Its attempt is in a state that needs no resolving.
    Nothing,
    /// Ask about the record that it belongs to.
    AskItsRecord,
}

/// A question to a station's device.
struct StationMeeting {
    reading: StationReading,
    /// Whether the device is proved to stand at the station.
    proved: bool,
}

/// The data that a station's device read, or the reason why it read none.
enum StationReading {
    Chip(Box<ChipModule>, KeyData),
    Stripe(StripeModule, Tracks),
    Nothing { word: String, why: String },
}

impl From<Fault> for StationReading {
    fn from(fault: Fault) -> Self {
        Self::Nothing { word: fault.reason.into(), why: fault.detail }
    }
}

impl Bureau {
    /// Asks the card of a record, or the cards of all records, how far they came: at one station, or at every
    /// station that can ask. The line must be at rest.
    pub fn survey(
        &self,
        job: JobId,
        records: &Records,
        station: Option<&str>,
        actor: &Actor,
    ) -> Result<Survey, Refusal> {
        let seq = match records {
            Records::One(seq) => Some(*seq),
            Records::All => None,
            Records::Ranges(_) => return Err(Refusal::Senseless(Senseless::SurveyOfSome)),
        };
        let reader = self.ledger.reader()?;
        let view = reader.job(job)?;
        self.is_ours(&view)?;
        if view.state == JobState::Closed {
            let what = format!("operator: job {job} is closed; nothing of it is open to question");
            return Err(Refusal::fault(Exit::Denied, what));
        }
        if let Some(seq) = seq
            && reader.card(job, seq)?.attempts.is_empty()
        {
            let what =
                format!("operator: no card was begun for record {seq} of {job}; there is none to be asked");
            return Err(Refusal::fault(Exit::Denied, what));
        }
        let (mut askable, not_asked) = stations::askable(&self.line);
        if let Some(wanted) = station {
            let names: Vec<_> = askable.iter().map(|(_, name)| name.clone()).collect();
            askable.retain(|(_, name)| name == wanted);
            if askable.is_empty() {
                let what = format!("operator: {wanted:?} cannot be asked; there are {}", names.join(", "));
                return Err(Refusal::fault(Exit::Usage, what));
            }
        }
        let spool = spool_of(&view, Box::new(self.connect(CallerRole::Source)?))?;
        let product = ProductProfile::named(&spool.header().product)?;
        let links = self.links()?;
        let met = self.meet(&askable, &*links, &product);
        let doubted = |(met, (_, name)): (&StationMeeting, &(_, String))| {
            let read = !matches!(met.reading, StationReading::Nothing { .. });
            (read && !met.proved).then(|| name.clone())
        };
        let unproved = met.iter().zip(&askable).filter_map(doubted).collect();
        let mut asker = Surveyor { bureau: self, reader, job, seq, actor, spool, product };
        let stations =
            askable.iter().zip(met).map(|((module, name), met)| asker.station(module, name, met.reading));
        let stations = stations.collect::<Result<_, _>>()?;
        Ok(Survey { job: view, seq, stations, not_asked, unproved })
    }

    /// Reads all stations in parallel, because an empty reader takes its full waiting time.
    fn meet(
        &self,
        stations: &[(&ModuleProfile, String)],
        links: &dyn Links,
        product: &ProductProfile,
    ) -> Vec<StationMeeting> {
        let met = each_at_once(stations, |(module, name)| self.meet_at(module, name, links, product));
        let lost = || {
            let fault =
                Fault::new(crate::modules::Blame::Us, ReasonWord::Bug, "us: the question was not finished");
            StationMeeting { reading: fault.into(), proved: false }
        };
        met.into_iter().map(|met| met.unwrap_or_else(lost)).collect()
    }

    fn meet_at(
        &self,
        module: &ModuleProfile,
        name: &str,
        links: &dyn Links,
        product: &ProductProfile,
    ) -> StationMeeting {
        let mut asked = stations::open_to_ask(&self.line, module, name, links, || self.station_hsm());
        let sight = match &mut asked {
            Ok(Askable::Chip(chip)) => chip.sight(),
            Ok(Askable::Stripe(stripe)) => stripe.sight(),
            Err(_) => None,
        };
        let proved = sight.is_none_or(|sight| {
            sight.connection().is_ok_and(|connection| self.proofs.holds(name, &connection))
        });
        let reading = match asked {
            Err(failure) => StationReading::Nothing { word: "unreachable".into(), why: failure.message },
            Ok(Askable::Chip(mut chip)) => match chip.identify(product) {
                Ok(key_data) => StationReading::Chip(chip, key_data),
                Err(fault) if fault.is_no_card() => {
                    StationReading::Nothing { word: fault.reason.into(), why: "no card".into() }
                }
                Err(fault) => fault.into(),
            },
            Ok(Askable::Stripe(mut stripe)) => match stripe.read() {
                Ok(tracks) => StationReading::Stripe(stripe, tracks),
                // An encoder reports an empty station, and a stripe that was not written, in several ways.
                Err(Fault { reason, detail, .. }) => {
                    let why = format!("no card, or its stripe is not readable ({detail})");
                    StationReading::Nothing { word: reason.into(), why }
                }
            },
        };
        StationMeeting { reading, proved }
    }
}

/// A survey on its way from station to station.
struct Surveyor<'a> {
    bureau: &'a Bureau,
    reader: Reader,
    job: JobId,
    seq: Option<u32>,
    actor: &'a Actor,
    spool: Spool,
    product: ProductProfile,
}

impl Surveyor<'_> {
    fn station(
        &mut self,
        module: &ModuleProfile,
        name: &str,
        met: StationReading,
    ) -> Result<StationSurvey, Refusal> {
        let nothing = |word: String, says| StationSurvey {
            station: name.to_owned(),
            blank: None,
            card: None,
            asked_for: false,
            applications: Vec::new(),
            verdict: word,
            says,
            advice: None,
        };
        let said = match met {
            StationReading::Nothing { word, why } => nothing(word, why),
            StationReading::Chip(mut chip, key_data) => {
                let said = self.chip(&mut chip, key_data, nothing("another-card".into(), String::new()));
                chip.release();
                said?
            }
            StationReading::Stripe(stripe, tracks) => {
                let (word, card, says) = self.stripe(&stripe, &tracks)?;
                StationSurvey { asked_for: card.is_some(), card, ..nothing(word.into(), says) }
            }
        };
        if let Some(card) = said.card.filter(|_| said.asked_for) {
            let blank = said.blank.as_ref().map(|blank| format!("blank {blank}, ")).unwrap_or_default();
            let context = Context {
                station: Some(name.to_owned()),
                module: Some(module.name.clone()),
                reason: Some(said.verdict.as_str().into()),
                detail: Some(format!("{blank}attempt {}: {}", card.attempt, said.says)),
                ..Context::by(self.actor)
            };
            self.bureau.ledger.record(self.job, Change::Asked { seq: card.seq }, context).wait()?;
        }
        Ok(said)
    }

    fn chip(
        &mut self,
        chip: &mut ChipModule,
        key_data: KeyData,
        said: StationSurvey,
    ) -> Result<StationSurvey, Refusal> {
        let said = StationSurvey { blank: Some(key_data.csn().to_string()), ..said };
        let Some(card) = self.reader.holder(&key_data)? else {
            let says = "a chip that no record of this ledger was bound to: a blank, or a card from elsewhere";
            return Ok(StationSurvey { verdict: "unknown-card".into(), says: says.into(), ..said });
        };
        let said = StationSurvey { card: Some(card), ..said };
        if card.job != self.job || self.seq.is_some_and(|seq| seq != card.seq) {
            let Holder { job, seq, attempt, state } = card;
            let says =
                format!("another card: it belongs to record {seq} of {job}, attempt {attempt}, {state}");
            return Ok(StationSurvey { says, advice: Some(Advice::AskItsRecord), ..said });
        }
        let record = self.spool.read(card.seq)?;
        let section = record.section("CHP").map(ChipSection::parse).transpose();
        let applications = match section {
            Ok(section) => section.map(|s| s.applications).unwrap_or_default(),
            Err(error) => {
                return Err(Refusal::fault(Exit::FileFormat, format!("record {}: {error}", card.seq)));
            }
        };
        Ok(match chip.ask_applications(&self.product, &applications) {
            Ok(told) => {
                let came = chip_progress(&told);
                let advice = Some(advice(came == ChipProgress::AsOrdered, &card));
                let (says, verdict) = (sentence(came).into(), word(came).into());
                StationSurvey { asked_for: true, verdict, says, applications: told, advice, ..said }
            }
            Err(fault) => {
                let says = format!("it stopped answering ({})", fault.detail);
                let advice = Some(advice(false, &card));
                StationSurvey { asked_for: true, verdict: fault.reason.into(), says, advice, ..said }
            }
        })
    }

    /// Compares a stripe with the records that are UNKNOWN, to find the one for which it was encoded.
    fn stripe(
        &mut self,
        stripe: &StripeModule,
        found: &Tracks,
    ) -> Result<(&'static str, Option<Holder>, String), Refusal> {
        if is_blank(found) {
            let says = "a stripe with nothing on it; for more, put the card into a chip reader and ask there";
            return Ok(("stripe-blank", None, says.into()));
        }
        let unknown = self.reader.in_state(self.job, RecordState::Unknown)?;
        for seq in unknown.into_iter().filter(|seq| self.seq.is_none_or(|asked| asked == *seq)) {
            let record = self.spool.read(seq)?;
            if stripe.is_of(found, &record).unwrap_or(false)
                && let Some(attempt) = self.reader.card(self.job, seq)?.attempts.last()
            {
                let card = Holder { job: self.job, seq, attempt: attempt.attempt, state: attempt.state };
                let says = format!(
                    "the stripe is as ordered for record {seq}; put the card into a chip reader and ask there whether \
                     its chip is"
                );
                return Ok(("stripe-as-ordered", Some(card), says));
            }
        }
        let whose =
            self.seq.map_or_else(|| "any record that is UNKNOWN".into(), |seq| format!("record {seq}"));
        let says = format!("the stripe is not as ordered for {whose}: another card's, or written in part");
        Ok(("stripe-otherwise", None, says))
    }
}

fn word(came: ChipProgress) -> &'static str {
    match came {
        ChipProgress::AsOrdered => "as-ordered",
        ChipProgress::Partly => "partly",
        ChipProgress::NotPersonalized => "not-personalized",
        ChipProgress::Differs => "differs",
        ChipProgress::Untold => "untold",
    }
}

fn sentence(came: ChipProgress) -> &'static str {
    match came {
        ChipProgress::AsOrdered => "personalized completely as ordered, as far as its chip can be asked",
        ChipProgress::Partly => "personalized in part",
        ChipProgress::NotPersonalized => {
            "not personalized: no application is finished, though data of the record may be in it"
        }
        ChipProgress::Differs => "it holds other data than was ordered",
        ChipProgress::Untold => "its chip tells nothing: the product names neither `fci` nor `read_back`",
    }
}

fn advice(as_ordered: bool, card: &Holder) -> Advice {
    match (card.state, as_ordered) {
        (AttemptState::Unknown, true) => Advice::Good,
        (AttemptState::Unknown, false) => Advice::Destroy,
        _ => Advice::Nothing,
    }
}
