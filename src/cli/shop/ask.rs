//! Cards that lie in the line when nobody knows any more how far they came are asked what they say: a person decides, here
//! nothing is. Nothing is written to a card, and none is moved.
//!
//! Not here: the questions to a chip (`modules::chip::ask`), words for people (`cli::ask`).

use serde::Serialize;

use drivers::stripe::Tracks;

use super::{Shop, spool_of};
use crate::cli::links::Links;
use crate::cli::stations::{self, Askable};
use crate::exit::{Exit, Failure};
use crate::ids::KeyData;
use crate::ledger::{AttemptState, Change, Context, Holder, JobId, JobState, JobView, Reader, RecordState};
use crate::modules::{ChipModule, Fault, HowFar, StripeModule, Told, how_far, is_blank};
use crate::profile::{Product, line};
use crate::reason::ReasonWord;
use crate::record::Spool;
use crate::record::chip::ChipSection;

/// What was found in the line.
#[derive(Serialize)]
pub(in crate::cli) struct Found {
    /// The job; not in its JSON, where the number is enough.
    #[serde(skip)]
    pub(in crate::cli) view: JobView,
    job: String,
    /// The record that was asked about; none: any.
    pub(in crate::cli) seq: Option<u32>,
    simulated: bool,
    /// In line order.
    pub(in crate::cli) stations: Vec<Station>,
    /// Where a card may lie that nobody can ask there.
    pub(in crate::cli) not_asked: Vec<String>,
}

/// What one station says.
#[derive(Serialize)]
pub(in crate::cli) struct Station {
    /// Its name.
    pub(in crate::cli) station: String,
    /// CSN of the chip there.
    pub(in crate::cli) blank: Option<String>,
    /// Whose card it is.
    pub(in crate::cli) card: Option<Holder>,
    /// It is one of those that were asked about.
    pub(in crate::cli) asked_for: bool,
    /// What its chip says.
    pub(in crate::cli) applications: Vec<Told>,
    /// Stable word: a verdict, else why there is none.
    pub(in crate::cli) verdict: String,
    /// For people.
    pub(in crate::cli) says: String,
}

/// What is known of a station once it was looked at.
enum Met {
    Chip(Box<ChipModule>, KeyData),
    Stripe(StripeModule, Tracks),
    Nothing { word: String, why: String },
}

impl From<Fault> for Met {
    fn from(fault: Fault) -> Self {
        Self::Nothing { word: fault.reason.into(), why: fault.detail }
    }
}

impl Shop {
    /// Has the card of a record, or those of all, say how far they came: at one station, or wherever a card can be asked.
    /// The line must be at rest.
    pub(in crate::cli) fn ask(
        &self,
        job: JobId,
        seq: Option<u32>,
        station: Option<&str>,
        actor: &str,
    ) -> Result<Found, Failure> {
        let reader = self.ledger.reader()?;
        let view = reader.job(job)?;
        self.is_ours(&view)?;
        if view.state == JobState::Closed {
            let what = format!("operator: job {job} is closed; nothing of it is open to question");
            return Err(Failure::new(Exit::Denied, what));
        }
        if let Some(seq) = seq
            && reader.card(job, seq)?.attempts.is_empty()
        {
            let what =
                format!("operator: no card was begun for record {seq} of {job}; there is none to be asked");
            return Err(Failure::new(Exit::Denied, what));
        }
        let (mut askable, not_asked) = stations::askable(&self.line);
        if let Some(wanted) = station {
            let names: Vec<_> = askable.iter().map(|(_, name)| name.clone()).collect();
            askable.retain(|(_, name)| name == wanted);
            if askable.is_empty() {
                let what = format!("operator: {wanted:?} cannot be asked; there are {}", names.join(", "));
                return Err(Failure::new(Exit::Usage, what));
            }
        }
        let spool = spool_of(&view, Box::new(self.connect()?))?;
        let product = Product::named(&spool.header().product)?;
        let links = self.links()?;
        let met = self.meet(&askable, &*links, &product);
        let mut asker = Asker { shop: self, reader, job, seq, actor, spool, product };
        let stations = askable.iter().zip(met).map(|((module, name), met)| asker.station(module, name, met));
        let stations = stations.collect::<Result<_, _>>()?;
        Ok(Found { job: job.to_string(), simulated: view.simulated, view, seq, stations, not_asked })
    }

    /// Looks at all stations at the same time: an empty reader is waited for.
    fn meet(&self, stations: &[(&line::Module, String)], links: &dyn Links, product: &Product) -> Vec<Met> {
        std::thread::scope(|scope| {
            let begun: Vec<_> = stations
                .iter()
                .map(|(module, name)| scope.spawn(move || self.meet_at(module, name, links, product)))
                .collect();
            let lost = || {
                Fault::new(crate::modules::Blame::Us, ReasonWord::Bug, "us: the question was not finished")
                    .into()
            };
            begun.into_iter().map(|thread| thread.join().unwrap_or_else(|_| lost())).collect()
        })
    }

    fn meet_at(&self, module: &line::Module, name: &str, links: &dyn Links, product: &Product) -> Met {
        match stations::open_to_ask(&self.line, module, name, links, || self.hsm()) {
            Err(failure) => Met::Nothing { word: "unreachable".into(), why: failure.message },
            Ok(Askable::Chip(mut chip)) => match chip.who(product) {
                Ok(key_data) => Met::Chip(chip, key_data),
                Err(fault) if fault.is_no_card() => {
                    Met::Nothing { word: fault.reason.into(), why: "no card".into() }
                }
                Err(fault) => fault.into(),
            },
            Ok(Askable::Stripe(mut stripe)) => match stripe.read() {
                Ok(tracks) => Met::Stripe(stripe, tracks),
                Err(fault) => fault.into(),
            },
        }
    }
}

/// Who asks about what.
struct Asker<'a> {
    shop: &'a Shop,
    reader: Reader,
    job: JobId,
    seq: Option<u32>,
    actor: &'a str,
    spool: Spool,
    product: Product,
}

impl Asker<'_> {
    fn station(&mut self, module: &line::Module, name: &str, met: Met) -> Result<Station, Failure> {
        let nothing = |word: String, says| Station {
            station: name.to_owned(),
            blank: None,
            card: None,
            asked_for: false,
            applications: Vec::new(),
            verdict: word,
            says,
        };
        let said = match met {
            Met::Nothing { word, why } => nothing(word, why),
            Met::Chip(mut chip, key_data) => {
                let said = self.chip(&mut chip, key_data, nothing("another-card".into(), String::new()));
                chip.let_go();
                said?
            }
            Met::Stripe(stripe, tracks) => {
                let (word, card, says) = self.stripe(&stripe, &tracks)?;
                Station { asked_for: card.is_some(), card, ..nothing(word.into(), says) }
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
            self.shop.ledger.record(self.job, Change::Asked { seq: card.seq }, context).wait()?;
        }
        Ok(said)
    }

    fn chip(&mut self, chip: &mut ChipModule, key_data: KeyData, said: Station) -> Result<Station, Failure> {
        let said = Station { blank: Some(key_data.csn().to_string()), ..said };
        let Some(card) = self.reader.holder(&key_data)? else {
            let says = "a chip that no record of this ledger was bound to: a blank, or a card from elsewhere";
            return Ok(Station { verdict: "unknown-card".into(), says: says.into(), ..said });
        };
        let said = Station { card: Some(card), ..said };
        if card.job != self.job || self.seq.is_some_and(|seq| seq != card.seq) {
            let Holder { job, seq, attempt, state } = card;
            let says = format!(
                "another card: it belongs to record {seq} of {job}, attempt {attempt}, {state}; ask of it with \
                 `cardwright card ask {job} {seq}`"
            );
            return Ok(Station { says, ..said });
        }
        let record = self.spool.read(card.seq)?;
        let section = record.section("CHP").map(ChipSection::parse).transpose();
        let applications = match section {
            Ok(section) => section.map(|s| s.applications).unwrap_or_default(),
            Err(error) => {
                return Err(Failure::new(Exit::FileFormat, format!("record {}: {error}", card.seq)));
            }
        };
        Ok(match chip.told(&self.product, &applications) {
            Ok(told) => {
                let came = how_far(&told);
                let says = format!("{}; {}", sentence(came), next(came == HowFar::AsOrdered, &card));
                Station { asked_for: true, verdict: word(came).into(), says, applications: told, ..said }
            }
            Err(fault) => {
                let says = format!("it stopped answering ({}); {}", fault.detail, next(false, &card));
                Station { asked_for: true, verdict: fault.reason.into(), says, ..said }
            }
        })
    }

    /// Whose stripe it is, of the records that are open to question.
    fn stripe(
        &mut self,
        stripe: &StripeModule,
        found: &Tracks,
    ) -> Result<(&'static str, Option<Holder>, String), Failure> {
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

fn word(came: HowFar) -> &'static str {
    match came {
        HowFar::AsOrdered => "as-ordered",
        HowFar::Partly => "partly",
        HowFar::NotPersonalized => "not-personalized",
        HowFar::Differs => "differs",
        HowFar::Untold => "untold",
    }
}

fn sentence(came: HowFar) -> &'static str {
    match came {
        HowFar::AsOrdered => "personalized completely as ordered, as far as its chip can be asked",
        HowFar::Partly => "personalized in part",
        HowFar::NotPersonalized => {
            "not personalized: no application is finished, though data of the record may be in it"
        }
        HowFar::Differs => "it holds other data than was ordered",
        HowFar::Untold => "its chip tells nothing: the product names neither `fci` nor `read_back`",
    }
}

/// What a person may do now.
fn next(as_ordered: bool, card: &Holder) -> String {
    let Holder { job, seq, attempt, state } = card;
    match (state, as_ordered) {
        (AttemptState::Unknown, true) => format!(
            "`cardwright card resolve {job} {seq} --good` if its other parts (stripe, embossing, picture) are right, too"
        ),
        (AttemptState::Unknown, false) => {
            format!("see it destroyed, then `cardwright card resolve {job} {seq} --destroyed`")
        }
        _ => format!("attempt {attempt} is {state}: there is nothing to resolve"),
    }
}
