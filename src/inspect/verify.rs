//! The checks of `inspect` that need keys: the MAC, padding and PIN format of every application, then the MAC of the
//! Trailer. The HSM keeps nothing of them.

use std::collections::HashMap;

use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::hsm::{CheckRequest, Checker, FileReceiver, Hsm, HsmError, TrailerRequest};
use crate::ids::{Aid, CardRef, Dgi, ProductName};
use crate::profile::ProductProfile;
use crate::record::chip::ApplicationView;
use crate::record::{FileEnd, Frame, Header};

/// Applications after which they are sent to the HSM.
const BATCH: usize = 256;
/// Most faults that are listed; all are counted.
const LISTED: usize = 100;

/// The results of the checks.
#[derive(Default)]
pub(super) struct MacFindings {
    /// Number of applications that are right.
    pub verified: u64,
    /// Number of applications that are wrong.
    pub failed: u64,
    /// The first faults.
    pub faults: Vec<RecordFault>,
}

/// An application whose data is wrong.
#[derive(Serialize)]
pub(super) struct RecordFault {
    pub record: u32,
    pub card_ref: CardRef,
    pub aid: String,
    pub fault: String,
}

/// The rules of a product for the protection of an application.
struct ProtectionRules {
    card_block: u8,
    pass_through: Vec<Dgi>,
    allow_ecb: bool,
}

/// An HSM that checks files.
pub trait FileKeys: Hsm + Checker + FileReceiver {}

impl<T: Hsm + Checker + FileReceiver> FileKeys for T {}

/// Has an HSM check the applications and the Trailer of one file.
pub(super) struct Verifier<'h> {
    keys: &'h mut dyn FileKeys,
    header: Header,
    products: HashMap<String, ProductProfile>,
    pending: PendingChecks,
    outcome: MacFindings,
}

/// Applications that are not sent to the HSM yet; all of one product.
struct PendingChecks {
    request: CheckRequest,
    aids: Vec<Vec<u8>>,
}

impl<'h> Verifier<'h> {
    pub fn new(keys: &'h mut dyn FileKeys, header: &Header) -> Self {
        // The first application sets the product's rules.
        let request = CheckRequest::new(header.issuer_id.clone(), header.file_id.clone(), 0, false);
        Self {
            keys,
            header: header.clone(),
            products: HashMap::new(),
            pending: PendingChecks { request, aids: Vec::new() },
            outcome: MacFindings::default(),
        }
    }

    pub fn record(
        &mut self,
        frame: &Frame<'_>,
        product: &str,
        applications: &[ApplicationView<'_>],
    ) -> Result<(), Failure> {
        if applications.is_empty() {
            return Ok(());
        }
        let mut to_check = Vec::with_capacity(applications.len());
        for application in applications {
            let rules = self.rules(frame.sequence, product, application.aid)?;
            let request = &mut self.pending.request;
            if (request.card_block, request.allow_ecb) != (rules.card_block, rules.allow_ecb) {
                self.send()?;
                let request = &mut self.pending.request;
                (request.card_block, request.allow_ecb) = (rules.card_block, rules.allow_ecb);
            }
            to_check.push((application.raw, rules.pass_through));
        }
        self.pending.aids.extend(applications.iter().map(|application| application.aid.to_vec()));
        let record = (frame.sequence, frame.to_card_ref()?, frame.others_digest());
        self.pending.request.add(record, to_check.into_iter());
        if self.pending.request.is_full() || self.pending.aids.len() >= BATCH {
            self.send()?;
        }
        Ok(())
    }

    /// Has the HSM check what is pending, and counts its answers.
    fn send(&mut self) -> Result<(), Failure> {
        let PendingChecks { request, aids } = &mut self.pending;
        if aids.is_empty() {
            return Ok(());
        }
        let answers = self.keys.check(request).map_err(|error| failure(error, None))?;
        let owners = request.applications().map(|application| application.record);
        for ((answer, record), aid) in answers.into_iter().zip(owners).zip(aids.iter()) {
            match answer {
                Ok(()) => self.outcome.verified += 1,
                Err(HsmError::Data { fault, .. }) => {
                    self.outcome.failed += 1;
                    if self.outcome.faults.len() < LISTED {
                        self.outcome.faults.push(RecordFault {
                            record: record.sequence,
                            card_ref: record.card_ref.clone(),
                            aid: hex::encode_upper(aid),
                            fault: fault.to_string(),
                        });
                    }
                }
                Err(error) => return Err(failure(error, Some(record.sequence))),
            }
        }
        request.clear();
        aids.clear();
        Ok(())
    }

    /// Has the rest and the Trailer checked.
    pub fn finish(mut self, end: &FileEnd) -> Result<MacFindings, Failure> {
        self.send()?;
        let request = TrailerRequest::of(&self.header, &end.trailer, &end.body);
        self.keys.verify_trailer(&request).map_err(|error| failure(error, None))?;
        Ok(self.outcome)
    }

    /// Looks up a product's rules for an application.
    fn rules(&mut self, sequence: u32, product: &str, aid: &[u8]) -> Result<ProtectionRules, Failure> {
        let refuse = |what: String| {
            Failure::new(
                Exit::FileProfile,
                format!(
                    "file: record {sequence}: {what}, so its MACs cannot be checked; ask the issuer for a correct file"
                ),
            )
        };
        if !self.products.contains_key(product) {
            let name = ProductName::new(product)
                .map_err(|fault| Failure::new(Exit::Bug, format!("us: the product's name {fault}")))?;
            let profile = ProductProfile::named(&name).map_err(|failure| match failure.exit {
                Exit::FileProfile => {
                    let next = "add the profile, or ask the issuer for a correct file";
                    Failure::new(failure.exit, format!("{failure} (record {sequence}); {next}"))
                }
                _ => failure,
            })?;
            self.products.insert(product.to_owned(), profile);
        }
        let profile = self.products.get(product);
        let application = profile.and_then(|p| {
            let application = p.applications.iter().find(|a| a.aid.as_bytes() == aid)?;
            Some((p, p.chip.as_ref()?, application))
        });
        match application {
            Some((profile, chip, application)) => Ok(ProtectionRules {
                card_block: chip.channel.block(),
                pass_through: application.pass_through.clone(),
                allow_ecb: profile.allow_ecb,
            }),
            None => {
                let aid = Aid::new(aid).map(|aid| aid.to_string()).unwrap_or_default();
                Err(refuse(format!("product {product} has no application {aid}")))
            }
        }
    }
}

/// Returns the failure with which the program ends on an error of the HSM.
fn failure(error: HsmError, record: Option<u32>) -> Failure {
    let exit = match &error {
        HsmError::Data { .. } => Exit::RecordData,
        HsmError::TrailerMac => Exit::FileMac,
        HsmError::UnknownKek(_) | HsmError::KeyInToken(_) => Exit::KeyUnknown,
        HsmError::KekMismatch(_) | HsmError::KekIssuer(_) => Exit::KeyMismatch,
        HsmError::Host(_) | HsmError::HostEnded | HsmError::Token(_) | HsmError::Unsupported(_) => Exit::Hsm,
        _ => Exit::Bug,
    };
    match record {
        Some(record) => Failure::new(exit, format!("{error} (record {record})")),
        None => Failure::new(exit, error.to_string()),
    }
}
