//! The HSM calls of one card, prepared: the requests of the source and of a chip station, and an answering
//! card.

use cardwright::chip::{self, PlanStep, apdu};
use cardwright::hsm::{
    ApplicationToVerify, CardAttempt, CardSessionRequest, Hsm, RecordToVerify, VerifiedApplication,
};
use cardwright::ids::{FileId, IssuerId};
use cardwright::profile::ProductProfile;
use cardwright::record::chip::{ChipApplication, ChipSection};
use cardwright::record::{Record, others_digest};
use cardwright::scp::{HostChallenge, KeyDerivation, SecureChannel, SecureChannelSpec};

use crate::card;
use crate::support::key_data;

/// The channel of product `multiapp`.
pub const CHANNEL: SecureChannelSpec = SecureChannelSpec { protocol: 0x02, parameter: 0x55, key_version: 0 };

/// One card: its applications, and the requests to the HSM for each.
pub struct Session {
    pub applications: Vec<ChipApplication>,
    pub record: RecordToVerify,
    /// The blank as each application finds it.
    blanks: Vec<card::Card>,
}

impl Session {
    /// Makes the requests of a record; its card is a blank of KMC FFFFFF476173:1 with the record's number.
    pub fn new(record: &Record, issuer: &IssuerId, file: &FileId) -> Self {
        let applications = ChipSection::parse(record.section("CHP").unwrap()).unwrap().applications;
        let others = others_digest(record);
        let to_verify = applications.iter().map(|application| ApplicationToVerify {
            bytes: application.raw.as_slice().into(),
            pass_through: Vec::new(),
        });
        let to_verify = RecordToVerify {
            issuer_id: issuer.clone(),
            file_id: file.clone(),
            sequence: record.sequence,
            card_ref: record.card_ref.clone(),
            others,
            card_block: 8,
            allow_ecb: false,
            applications: to_verify.collect(),
        };
        let blanks = (1..=applications.len()).map(|sequence| {
            let mut card = card::blank();
            card.key_data = key_data(record.sequence).0;
            card.sequence = [0, sequence as u8];
            card
        });
        let blanks = blanks.collect();
        Self { applications, record: to_verify, blanks }
    }

    /// The commands that the chip program makes for an application.
    pub fn steps(
        &self,
        application: usize,
        verified: &VerifiedApplication,
        product: &ProductProfile,
    ) -> Vec<PlanStep> {
        let application = &self.applications[application];
        let channel = SecureChannel::new(CHANNEL).unwrap();
        chip::plan(application, verified, product.application(&application.aid).unwrap(), &channel)
            .unwrap()
            .steps
    }

    /// Makes every call for this card, in the order of a run, and passes the messages to its reader, each
    /// with some commands. The HSM knows the attempt. `next` is the challenge that the previous card's last answer brought.
    pub fn run(
        &self,
        hsm: &mut dyn Hsm,
        card: CardAttempt,
        product: &ProductProfile,
        next: &mut Option<HostChallenge>,
    ) -> Vec<Vec<Vec<u8>>> {
        let channel = SecureChannel::new(CHANNEL).unwrap();
        let record = hsm.verify_record(&self.record).unwrap();
        let mut messages = Vec::new();
        for (number, (verified, blank)) in record.applications.iter().zip(&self.blanks).enumerate() {
            let application = &self.applications[number];
            let challenge = next.take().unwrap_or_else(|| hsm.draw_challenge(CHANNEL).unwrap());
            messages.push(vec![apdu::select(&application.aid), channel.initialize_update(&challenge)]);
            let steps = self.steps(number, verified, product);
            let card_answer = blank.initialize_update(challenge.as_bytes().try_into().unwrap());
            let request = CardSessionRequest {
                card,
                step: number as u8 + 1,
                handle: record.handle,
                channel: CHANNEL,
                derivation: KeyDerivation::EmvCps,
                host_challenge: challenge,
                card_answer,
                level: application.pdi.level,
                commands: steps.into_iter().map(|step| step.command).collect(),
            };
            let session = hsm.session(&request).unwrap();
            messages.push(session.apdus.iter().map(|apdu| apdu.to_vec()).collect());
            *next = Some(session.next_challenge);
        }
        messages
    }

    /// The work in [`Self::run`] that the card does, not the HSM: its answers to INITIALIZE UPDATE.
    pub fn card_answers(&self) {
        self.blanks.iter().for_each(|blank| drop(std::hint::black_box(blank.initialize_update([7; 8]))));
    }

    /// Number of calls that [`Self::run`] makes.
    pub fn calls(&self) -> usize {
        1 + self.applications.len()
    }
}
