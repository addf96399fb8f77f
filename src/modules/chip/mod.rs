//! The chip module: a card in a reader gets its applications.
//!
//! ```text
//! prepare      plan every application; nothing is kept
//! inspect      power on → ATR → SELECT first → INITIALIZE UPDATE → its KMC is allowed      nothing written
//! personalize  for each application: (SELECT → INITIALIZE UPDATE, same KEYDATA) → HSM: open and wrap, one call
//!                                    → EXTERNAL AUTHENTICATE → STORE DATA ...
//!              a card that others wait for: `authenticate` goes to EXTERNAL AUTHENTICATE of the first application, and
//!              `personalize` goes on from there
//!              where the product says so: SELECT → READ RECORD ..., compared with what was sent → power off
//! ```
//!
//! Inspection is one phase, each application another. A call that exceeds its limit (line profile) is a fault
//! `timeout` that names the limit, the command and the reader. A reader that did not answer is not asked to take the
//! power off: its link is made anew before the next card.
//!
//! After a wrong card cryptogram the card gets no second INITIALIZE UPDATE: wrong keys must not eat cards. Not here:
//! which commands there are (`chip`), keys and wrapping (`hsm`). Standard: EMV CPS 4.

mod ask;
mod deadline;
mod sight;

use std::time::Duration;

use subtle::ConstantTimeEq;
use zeroize::Zeroizing;

use drivers::link::{CardError, CardLink, CommandStep, LinkError, Protocols, Reset};

pub use self::ask::{ApplicationAnswer, ApplicationLife, ChipProgress, RecordReading, chip_progress};
use self::deadline::CardDeadline;
use super::kind::{KindDevice, ModuleKind, SectionKind};
use super::sight::CardSight;
use super::{
    ApplicationWork, Blame, BlankInspection, CardWork, Fault, LoggedDgi, ModuleOutcome, StationModule,
};
use crate::chip::apdu;
use crate::chip::status::{CommandPhase, StatusVerdict, judge};
use crate::chip::{ChipPlan, plan};
use crate::hsm::{CardAttempt, CardSessionRequest, Hsm, WipedBytes, timed};
use crate::ids::{Aid, Dgi, KeyData, KmcRef};
use crate::laws::HsmUse;
use crate::profile::kind::{DeviceLinks, KindRules};
use crate::profile::{ProductProfile, line, product};
use crate::reason::ReasonWord;
use crate::record::chip::ChipApplication;
use crate::scp::{HostChallenge, InitializeUpdateAnswer, SecureChannel};

/// Time for the reader to take the power off. The card need not answer.
const POWER_OFF_TIME: Duration = Duration::from_secs(2);
/// Time to connect to a reader again, and time for its answer.
const PROBE_TIME: Duration = Duration::from_secs(2);

/// The kind `chip` of a line profile.
pub static KIND: ModuleKind = ModuleKind {
    rules: KindRules {
        word: "chip",
        links: Some(DeviceLinks::Reader),
        own_mic: Some("CHP"),
        several_mics: false,
        keys: &[],
        needed_keys: &[],
    },
    // Acceptance parses the chip section itself, because the HSM verifies each application in it.
    sections: &[SectionKind { mic: "CHP", check: |_| Ok(()) }],
    device: KindDevice::Reader,
    can_be_asked: |_| true,
};

/// A chip station: one reader and a connection to the HSM.
pub struct ChipModule {
    /// Name of the reader, for messages.
    reader: String,
    link: Box<dyn CardLink>,
    hsm: Box<dyn Hsm>,
    /// The KMCs that the HSM had when this station last asked.
    kmcs: Vec<KmcRef>,
    /// The first application, between `inspect` and `personalize`.
    challenged: Option<ChallengedApplication>,
    /// The attempt as which the card is bound.
    card: Option<CardAttempt>,
    /// The first application, between `authenticate` and `personalize`: KEYDATA of the chip, and the open session.
    opened: Option<(KeyData, ApplicationSession)>,
    /// The challenge from the last session's answer, until it is sent to a card.
    next_challenge: Option<HostChallenge>,
    /// Calls to the HSM for this card so far.
    hsm_use: HsmUse,
    /// Number of APDUs sent to this card so far.
    commands: u32,
    /// The reader reports its empty place as a mute card.
    without_switch: bool,
    limits: line::TimeLimits,
    /// The time left for this card.
    deadline: CardDeadline,
}

/// A wrapped command, its phase, and the DGIs that end with it, each with its length.
type SessionStep = (WipedBytes, CommandPhase, Vec<(Dgi, u16)>);

/// The wrapped commands of one application.
struct ApplicationSession {
    /// EXTERNAL AUTHENTICATE, until it was sent.
    authenticate: Option<WipedBytes>,
    /// The commands after it.
    steps: Vec<SessionStep>,
}

/// How far the first application of a card is.
enum FirstApplication {
    /// It answered INITIALIZE UPDATE.
    Challenged(ChallengedApplication),
    /// Its channel is open, on the chip with this KEYDATA.
    Opened(KeyData, ApplicationSession),
}

/// An application that answered INITIALIZE UPDATE.
struct ChallengedApplication {
    host_challenge: HostChallenge,
    /// The answer as it came, for the HSM.
    response: Vec<u8>,
    answer: InitializeUpdateAnswer,
}

impl ChipModule {
    /// A station on these links; `reader` is named in faults.
    pub fn new(reader: String, link: Box<dyn CardLink>, hsm: Box<dyn Hsm>, limits: line::TimeLimits) -> Self {
        let deadline = CardDeadline::new(limits);
        Self {
            reader,
            link,
            hsm,
            kmcs: Vec::new(),
            challenged: None,
            card: None,
            opened: None,
            next_challenge: None,
            hsm_use: HsmUse::default(),
            commands: 0,
            without_switch: false,
            limits,
            deadline,
        }
    }

    fn look(&mut self, work: &CardWork, first: &ApplicationWork) -> Result<InitializeUpdateAnswer, Fault> {
        self.reset(Reset::Cold, &work.product)?;
        let challenged = self.challenge(&first.application.aid, chip_of(&work.product)?.channel)?;
        let answer = challenged.answer.clone();
        let kmc = answer.kmc();
        if let Some(foreign) = work.applications.iter().find(|c| !c.verified.allow.contains(&kmc)) {
            return Err(Fault::card(
                ReasonWord::UnknownKmc,
                format!("application {} must not go to cards of KMC {kmc}", foreign.application.aid),
            )
            .of(answer.key_data));
        }
        if !self.knows(kmc)? {
            return Err(Fault::card(
                ReasonWord::UnknownKmc,
                format!("KMC {kmc} is not in the key store; import it, or take these blanks out"),
            )
            .of(answer.key_data));
        }
        self.challenged = Some(challenged);
        Ok(answer)
    }

    /// Resets the card and checks its ATR.
    fn reset(&mut self, reset: Reset, product: &ProductProfile) -> Result<(), Fault> {
        let time = self.deadline.power_on().ok_or_else(|| self.too_long("power on"))?;
        let atr = self.link.power_on(reset, Protocols::ANY, time);
        let atr = atr.map_err(|error| match error {
            CardError::Absent => Fault::no_card(format!("no card in reader {}", self.reader)),
            error => self.failed(error, "power on"),
        })?;
        let expected = &chip_of(product)?.atr;
        if !expected.iter().any(|e| hex::decode(e).is_ok_and(|e| e == atr)) {
            return Err(Fault::card(
                ReasonWord::WrongAtr,
                format!(
                    "ATR {} does not belong to product {}; take these blanks out",
                    hex::encode_upper(&atr),
                    product.name
                ),
            ));
        }
        Ok(())
    }

    /// Whether the HSM has this KMC. Asks the HSM again before it returns false, because keys are imported while a
    /// line runs.
    fn knows(&mut self, kmc: KmcRef) -> Result<bool, Fault> {
        if !self.kmcs.contains(&kmc) {
            self.kmcs = self.hsm.info()?.kmcs.iter().map(|k| k.kmc).collect();
        }
        Ok(self.kmcs.contains(&kmc))
    }

    /// The HSM's challenge for one card. Each card gets its own: a challenge that was sent to a card that then left
    /// is not used again, so that an answer recorded from that card proves nothing later.
    fn take_challenge(&mut self, channel: &SecureChannel) -> Result<HostChallenge, Fault> {
        match self.next_challenge.take() {
            Some(challenge) if challenge.as_bytes().len() == channel.challenge_length() => Ok(challenge),
            _ => {
                let Self { hsm, hsm_use, .. } = self;
                Ok(timed(hsm_use, || hsm.draw_challenge(channel.spec()))?)
            }
        }
    }

    /// SELECT and INITIALIZE UPDATE with a fresh challenge.
    fn challenge(&mut self, aid: &Aid, channel: SecureChannel) -> Result<ChallengedApplication, Fault> {
        let host_challenge = self.take_challenge(&channel)?;
        let (select, command) = (apdu::select(aid), channel.initialize_update(&host_challenge));
        let both =
            [(select.as_slice(), CommandPhase::Select), (command.as_slice(), CommandPhase::InitializeUpdate)];
        let (response, _) = self.send(&both)?.pop().unwrap_or_default();
        let answer = channel.read_answer(&response).map_err(|what| {
            Fault::card(ReasonWord::MalformedResponse, format!("INITIALIZE UPDATE answered {what}"))
                .at(apdu::header(&command), Some(0x9000))
        })?;
        Ok(ChallengedApplication { host_challenge, response, answer })
    }

    fn write(&mut self, work: &CardWork, first: FirstApplication) -> Result<ModuleOutcome, Fault> {
        let mut done = ModuleOutcome::default();
        let channel = chip_of(&work.product)?.channel;
        let (key_data, mut challenged, mut opened) = match first {
            FirstApplication::Challenged(first) => (first.answer.key_data, Some(first), None),
            FirstApplication::Opened(key_data, session) => (key_data, None, Some(session)),
        };
        for (step, checked) in (1..=u8::MAX).zip(&work.applications) {
            if let Some(session) = opened.take() {
                self.load(checked, session, &mut done)?;
                continue;
            }
            self.deadline.next_phase();
            let challenged = match challenged.take() {
                Some(challenged) => challenged,
                None => self.challenge(&checked.application.aid, channel)?,
            };
            if challenged.answer.key_data != key_data {
                let aid = &checked.application.aid;
                return Err(Fault::card(
                    ReasonWord::KeydataChanged,
                    format!("application {aid} shows another KEYDATA than the first one"),
                ));
            }
            let session = self.open(work, (step, checked), challenged)?;
            self.load(checked, session, &mut done)?;
        }
        if self.read_back(work)? {
            done.compared.push("chip read-back");
        }
        Ok(done)
    }

    /// Has the HSM open the channel of an application, the one of this number, and wrap all its commands. Sends nothing.
    fn open(
        &mut self,
        work: &CardWork,
        (step, checked): (u8, &ApplicationWork),
        challenged: ChallengedApplication,
    ) -> Result<ApplicationSession, Fault> {
        let plan = plan_of(work, checked)?;
        let (commands, steps): (Vec<_>, Vec<_>) =
            plan.steps.into_iter().map(|s| (s.command, (s.phase, s.ends))).unzip();
        let chip = chip_of(&work.product)?;
        let request = CardSessionRequest {
            card: self.card.ok_or_else(|| Fault::us("a card was to be personalized before it was bound"))?,
            step,
            handle: work.handle.ok_or_else(|| Fault::us("a record was not verified"))?,
            channel: chip.channel.spec(),
            derivation: chip.derivation,
            host_challenge: challenged.host_challenge,
            card_answer: challenged.response,
            level: checked.application.pdi.level,
            commands,
        };
        let Self { hsm, hsm_use, .. } = self;
        let wrapped = timed(hsm_use, || hsm.session(&request))?;
        // Kept before the card gets its commands: it stays alive even if they fail.
        self.next_challenge = Some(wrapped.next_challenge);
        let mut apdus = wrapped.apdus.into_iter();
        match apdus.next().filter(|_| apdus.len() == steps.len()) {
            Some(authenticate) => Ok(ApplicationSession {
                authenticate: Some(authenticate),
                steps: apdus.zip(steps).map(|(apdu, (phase, ends))| (apdu, phase, ends)).collect(),
            }),
            None => Err(Fault::new(
                Blame::Hsm,
                ReasonWord::Hsm,
                "device: the HSM returned a wrong number of commands",
            )),
        }
    }

    /// Sends an application's commands, to the last status word.
    fn load(
        &mut self,
        checked: &ApplicationWork,
        session: ApplicationSession,
        done: &mut ModuleOutcome,
    ) -> Result<(), Fault> {
        let authenticate = session.authenticate.as_ref();
        let authenticate = authenticate.map(|apdu| (apdu.as_slice(), CommandPhase::ExternalAuthenticate));
        let steps = session.steps.iter().map(|(apdu, phase, _)| (apdu.as_slice(), *phase));
        let commands: Vec<_> = authenticate.into_iter().chain(steps).collect();
        let answers = self.send(&commands)?;
        // No step asked for the answer to EXTERNAL AUTHENTICATE.
        let answers = answers.into_iter().skip(usize::from(authenticate.is_some()));
        for ((_, sw), (.., ends)) in answers.zip(&session.steps) {
            let logged = ends.iter().filter(|(dgi, _)| checked.application.log.contains(dgi));
            done.log.extend(logged.map(|(dgi, length)| LoggedDgi {
                aid: checked.application.aid.clone(),
                dgi: *dgi,
                length: *length,
                sw,
            }));
        }
        Ok(())
    }

    /// Opens the channel of the first application, and sends EXTERNAL AUTHENTICATE alone.
    fn authenticate_first(
        &mut self,
        work: &CardWork,
        checked: &ApplicationWork,
        challenged: ChallengedApplication,
    ) -> Result<ApplicationSession, Fault> {
        self.deadline.next_phase();
        let mut session = self.open(work, (1, checked), challenged)?;
        if let Some(authenticate) = session.authenticate.take() {
            self.send(&[(authenticate.as_slice(), CommandPhase::ExternalAuthenticate)])?;
        }
        Ok(session)
    }

    /// Reads records as a terminal does and compares them with the file's. Returns whether there were any.
    fn read_back(&mut self, work: &CardWork) -> Result<bool, Fault> {
        let mut compared = false;
        for checked in &work.applications {
            let application = &checked.application;
            let wanted = to_read_back(&work.product, application);
            if wanted.is_empty() {
                continue;
            }
            self.deadline.next_phase();
            let select = apdu::select(&application.aid);
            let reads: Vec<_> = wanted.iter().map(|(_, place, _)| apdu::read_record(*place)).collect();
            let mut commands = vec![(select.as_slice(), CommandPhase::Select)];
            commands.extend(reads.iter().map(|read| (read.as_slice(), CommandPhase::ReadRecord)));
            let answers = self.send(&commands)?;
            let found = answers.into_iter().skip(1).map(|(data, _)| Zeroizing::new(data));
            for ((found, (dgi, _, value)), read) in found.zip(&wanted).zip(&reads) {
                if !bool::from(found.as_slice().ct_eq(value)) {
                    let aid = &application.aid;
                    let detail = format!(
                        "DGI {dgi} of application {aid} does not read as it was sent; if it happens with a second card, ask \
                         the supplier of the blanks"
                    );
                    return Err(
                        Fault::card(ReasonWord::ChipReadBack, detail).at(apdu::header(read), Some(0x9000))
                    );
                }
            }
            compared = true;
        }
        Ok(compared)
    }

    /// Sends commands in order. Any verdict but "go on" is a fault, and the commands after it are not sent. Returns data
    /// and status word of each command.
    fn send(&mut self, commands: &[(&[u8], CommandPhase)]) -> Result<Vec<(Vec<u8>, u16)>, Fault> {
        let mut answers = Vec::with_capacity(commands.len());
        while let Some(rest) = commands.get(answers.len()..).filter(|rest| !rest.is_empty()) {
            let steps: Vec<CommandStep<'_>> = rest
                .iter()
                .map(|(command, phase)| CommandStep { command, go_on: phase.tolerated() })
                .collect();
            let mut responses = Vec::with_capacity(rest.len());
            let outcome = match self.deadline.session() {
                Some(limits) => self.link.transmit_all(&steps, limits, &mut responses),
                None => Err(CardError::Reader(LinkError::Timeout(Duration::ZERO))),
            };
            self.commands += u32::try_from(responses.len()).unwrap_or(u32::MAX);
            let mut rest = rest.iter();
            for (response, (command, phase)) in responses.iter().zip(rest.by_ref()) {
                answers.push(Self::judged(command, *phase, response)?);
            }
            if let (Err(error), Some((command, phase))) = (outcome, rest.next()) {
                self.commands += 1;
                return Err(self.failed(error, phase.command()).at(apdu::header(command), None));
            }
            if responses.is_empty() {
                return Err(Fault::us("a reader gave neither an answer nor an error"));
            }
        }
        Ok(answers)
    }

    /// Data and status word of a response, if the session may go on after it.
    fn judged(command: &[u8], phase: CommandPhase, response: &[u8]) -> Result<(Vec<u8>, u16), Fault> {
        let at = |fault: Fault, sw| fault.at(apdu::header(command), sw);
        let Some((data, sw)) = apdu::split(response) else {
            let detail = format!("device: the answer to {} is no response APDU", phase.command());
            return Err(at(Fault::new(Blame::Device, ReasonWord::Reader, detail), None));
        };
        match judge(phase, sw) {
            StatusVerdict::Done | StatusVerdict::Tolerated => Ok((data.to_vec(), sw)),
            StatusVerdict::Reject { reason, detail } => {
                Err(at(Fault::new(Blame::Card, reason, detail), Some(sw)))
            }
        }
    }

    /// Adds the work that was spent on the card, so that the figures of a run have it.
    fn counted(&mut self, fault: Fault) -> Fault {
        Fault { commands: self.commands, hsm: std::mem::take(&mut self.hsm_use), ..fault }
    }

    /// The fault of a reader that did not answer a command.
    fn failed(&self, error: CardError, doing: &str) -> Fault {
        match error {
            CardError::Reader(LinkError::Timeout(_)) => self.too_long(doing),
            error => {
                let fault = Fault::from(error);
                Fault { detail: format!("{}; reader {}, {doing}", fault.detail, self.reader), ..fault }
            }
        }
    }

    fn too_long(&self, doing: &str) -> Fault {
        let (reader, limit) = (&self.reader, self.deadline.exceeded());
        let detail =
            format!("device: {doing} at reader {reader} did not end within {limit}; check card and reader");
        Fault::new(Blame::Device, ReasonWord::Timeout, detail)
    }

    /// Takes the power off. A reader that fails to do so will show that at the next card. A reader that did not
    /// answer before is not asked, so that the card can leave at once.
    fn end(&mut self, fault: Option<&Fault>) {
        if fault.is_some_and(Fault::wants_probe) {
            return;
        }
        if let Err(error) = self.link.power_off(POWER_OFF_TIME) {
            tracing::warn!(reader = %self.reader, %error, "power off failed");
        }
    }
}

impl StationModule for ChipModule {
    fn prepare(&mut self, work: &CardWork) -> Result<(), Fault> {
        // A card that waits is inspected again, so its count begins here.
        self.hsm_use = HsmUse::default();
        if self.wants(work) {
            chip_of(&work.product)?;
        }
        work.applications.iter().try_for_each(|checked| plan_of(work, checked).map(drop))
    }

    fn inspect(&mut self, work: &CardWork) -> Result<BlankInspection, Fault> {
        self.challenged = None;
        self.card = None;
        self.opened = None;
        self.commands = 0;
        self.deadline = CardDeadline::new(self.limits);
        let Some(first) = work.applications.first() else { return Ok(BlankInspection::default()) };
        match self.look(work, first) {
            Ok(answer) => Ok(BlankInspection { key_data: Some(answer.key_data), kmc: Some(answer.kmc()) }),
            Err(fault) => {
                self.end(Some(&fault));
                Err(self.counted(fault))
            }
        }
    }

    fn bound(&mut self, card: CardAttempt) {
        self.card = Some(card);
    }

    fn authenticate(&mut self, work: &CardWork) -> Result<(), Fault> {
        let Some(checked) = work.applications.first() else { return Ok(()) };
        let challenged = self.challenged.take().ok_or_else(not_inspected)?;
        let key_data = challenged.answer.key_data;
        match self.authenticate_first(work, checked, challenged) {
            Ok(session) => self.opened = Some((key_data, session)),
            Err(fault) => {
                self.end(Some(&fault));
                return Err(self.counted(fault));
            }
        }
        Ok(())
    }

    fn personalize(&mut self, work: &CardWork) -> Result<ModuleOutcome, Fault> {
        if !self.wants(work) {
            return Ok(ModuleOutcome::default());
        }
        let first = match (self.opened.take(), self.challenged.take()) {
            (Some((key_data, session)), _) => FirstApplication::Opened(key_data, session),
            (None, challenged) => FirstApplication::Challenged(challenged.ok_or_else(not_inspected)?),
        };
        let outcome = self.write(work, first);
        self.end(outcome.as_ref().err());
        match outcome {
            Ok(done) => {
                let (commands, hsm) = (self.commands, std::mem::take(&mut self.hsm_use));
                Ok(ModuleOutcome { commands, hsm, ..done })
            }
            Err(fault) => Err(self.counted(fault)),
        }
    }

    fn wants(&self, work: &CardWork) -> bool {
        !work.applications.is_empty()
    }

    fn sight(&mut self) -> Option<&mut dyn CardSight> {
        Some(self)
    }

    fn probe(&mut self) -> Result<(), Fault> {
        self.link.reopen(PROBE_TIME)?;
        Ok(self.link.probe(PROBE_TIME)?)
    }
}

fn not_inspected() -> Fault {
    Fault::us("a card was to be personalized before inspection")
}

fn chip_of(product: &ProductProfile) -> Result<&product::ChipProfile, Fault> {
    product.chip.as_ref().ok_or_else(|| Fault::data(format!("product {} has no chip", product.name)))
}

/// The records to read back: those that the product names, that stand in clear in the file, and that the card may not
/// refuse. Each is a DGI, SFI with record number, and value.
fn to_read_back<'a>(
    product: &ProductProfile,
    application: &'a ChipApplication,
) -> Vec<(Dgi, (u8, u8), &'a [u8])> {
    let Some(product) = product.application(&application.aid) else { return Vec::new() };
    let named = product.read_back.iter().copied().filter(|dgi| plain(application, *dgi));
    named.filter_map(|dgi| Some((dgi, dgi.record()?, application.value(dgi)?))).collect()
}

/// Whether the file has a DGI in clear, and the card may not refuse it.
fn plain(application: &ChipApplication, dgi: Dgi) -> bool {
    let ChipApplication { protected, pdi, .. } = application;
    !protected.contains(&dgi)
        && !pdi.version_control.contains(&dgi)
        && pdi.enc.iter().all(|(secret, _)| *secret != dgi)
}

fn plan_of(work: &CardWork, checked: &ApplicationWork) -> Result<ChipPlan, Fault> {
    let aid = &checked.application.aid;
    let product = work
        .product
        .application(aid)
        .ok_or_else(|| Fault::data(format!("application {aid} is not in product {}", work.product.name)))?;
    let channel = chip_of(&work.product)?.channel;
    plan(&checked.application, &checked.verified, product, &channel)
        .map_err(|e| Fault::data(format!("application {aid}: {e}")))
}

#[cfg(test)]
mod tests;
