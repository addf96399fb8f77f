//! The HSM calls of one card, made ready: what the source and a chip station ask, with a card that answers.

use cardwright::chip::{self, Step, apdu};
use cardwright::hsm::{Derivation, Hsm, OpenRequest, PlainCommand, SessionRequest, Verified, VerifyRequest};
use cardwright::ids::{FileId, IssuerId};
use cardwright::profile::Product;
use cardwright::record::chip::{ChipApplication, ChipSection};
use cardwright::record::{Record, others_digest};

use crate::card;
use crate::support::key_data;

const HOST_CHALLENGE: [u8; 8] = [1, 2, 3, 4, 5, 6, 7, 8];

/// One card: its applications and what is asked of the HSM for each.
pub struct Session {
    pub applications: Vec<ChipApplication>,
    pub verify: Vec<VerifyRequest>,
    open: Vec<OpenRequest>,
}

impl Session {
    /// Of a record; its card is a blank of KMC FFFFFF476173:1 with the record's number.
    pub fn new(record: &Record, issuer: &IssuerId, file: &FileId) -> Self {
        let applications = ChipSection::parse(record.section("CHP").unwrap()).unwrap().applications;
        let others = others_digest(record);
        let verify = applications.iter().map(|application| VerifyRequest {
            issuer_id: issuer.clone(),
            file_id: file.clone(),
            sequence: record.sequence,
            card_ref: record.card_ref.clone(),
            others,
            application: application.raw.to_vec(),
            card_block: 8,
            pass_through: Vec::new(),
            allow_ecb: false,
        });
        let verify = verify.collect();
        let open = (1..=applications.len()).map(|sequence| {
            let mut card = card::blank();
            card.key_data = key_data(record.sequence).0;
            card.sequence = [0, sequence as u8];
            OpenRequest {
                derivation: Derivation::EmvCps,
                scp02_i: 0x55,
                host_challenge: HOST_CHALLENGE,
                response: card.initialize_update(HOST_CHALLENGE),
            }
        });
        let open = open.collect();
        Self { applications, verify, open }
    }

    /// What the chip program makes of an application.
    pub fn steps(&self, application: usize, verified: &Verified, product: &Product) -> Vec<Step> {
        let application = &self.applications[application];
        chip::plan(application, verified, product.application(&application.aid).unwrap()).unwrap().steps
    }

    /// Every call for this card, in the order of a run; gives the messages to its reader, each some commands.
    pub fn run(&self, hsm: &mut dyn Hsm, product: &Product) -> Vec<Vec<Vec<u8>>> {
        let verified = hsm.verify_all(&self.verify).unwrap();
        let mut messages = Vec::new();
        for (number, (verified, open)) in verified.iter().zip(&self.open).enumerate() {
            let application = &self.applications[number];
            messages.push(vec![apdu::select(&application.aid), apdu::initialize_update(&HOST_CHALLENGE)]);
            let steps = self.steps(number, verified, product);
            let plain: Vec<PlainCommand> = steps.into_iter().map(|step| step.command).collect();
            let level = application.pdi.level;
            let request = SessionRequest { handle: verified.handle, level, commands: plain };
            messages.push(hsm.session(open, request).unwrap().apdus);
        }
        messages
    }

    /// Calls that [`Self::run`] makes.
    pub fn calls(&self) -> usize {
        1 + self.applications.len()
    }
}
