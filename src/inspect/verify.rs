//! The checks of `inspect` that need keys: the MAC of every application, then the MAC of the Trailer.

use std::collections::HashMap;

use serde::Serialize;

use crate::exit::{Exit, Failure};
use crate::hsm::{ApplicationHandle, Hsm, HsmError, HsmShortcuts, TrailerRequest, VerifyRequest};
use crate::ids::{Aid, CardRef, Dgi, ProductName};
use crate::profile::ProductProfile;
use crate::record::chip::ApplicationView;
use crate::record::{FileEnd, Frame, Header};

/// Most handles that the HSM holds before they are released.
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

/// Has an HSM check the applications and the Trailer of one file.
pub(super) struct Verifier<'h> {
    hsm: &'h mut dyn Hsm,
    header: Header,
    products: HashMap<String, ProductProfile>,
    handles: Vec<ApplicationHandle>,
    outcome: MacFindings,
}

impl<'h> Verifier<'h> {
    pub fn new(hsm: &'h mut dyn Hsm, header: &Header) -> Self {
        let (products, handles) = (HashMap::new(), Vec::new());
        Self { hsm, header: header.clone(), products, handles, outcome: MacFindings::default() }
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
        let others = frame.others_digest();
        let card_ref = frame.to_card_ref()?;
        for application in applications {
            let rules = self.rules(frame.sequence, product, application.aid)?;
            let request = VerifyRequest {
                issuer_id: self.header.issuer_id.clone(),
                file_id: self.header.file_id.clone(),
                sequence: frame.sequence,
                card_ref: card_ref.clone(),
                others,
                application: application.raw.into(),
                card_block: rules.card_block,
                pass_through: rules.pass_through,
                allow_ecb: rules.allow_ecb,
            };
            match self.hsm.verify(&request) {
                Ok(verified) => {
                    self.outcome.verified += 1;
                    self.handles.push(verified.handle);
                }
                Err(HsmError::Data { fault, .. }) => {
                    self.outcome.failed += 1;
                    if self.outcome.faults.len() < LISTED {
                        self.outcome.faults.push(RecordFault {
                            record: frame.sequence,
                            card_ref: card_ref.clone(),
                            aid: hex::encode_upper(application.aid),
                            fault: fault.to_string(),
                        });
                    }
                }
                Err(error) => return Err(failure(error, Some(frame.sequence))),
            }
            // No card is made here, so the HSM must not fill up with handles.
            if self.handles.len() >= BATCH {
                self.release()?;
            }
        }
        Ok(())
    }

    /// Releases all handles and checks the Trailer.
    pub fn finish(mut self, end: &FileEnd) -> Result<MacFindings, Failure> {
        self.release()?;
        let trailer = &end.trailer;
        let request = TrailerRequest {
            issuer_id: self.header.issuer_id.clone(),
            file_id: self.header.file_id.clone(),
            kek: trailer.kek,
            tk_type: trailer.tk_type,
            kcv: trailer.kcv,
            body: end.body.clone(),
            wrapped_mac_key: trailer.wrapped_mac_key.clone(),
            mac: trailer.mac.clone(),
        };
        self.hsm.verify_trailer(&request).map_err(|error| failure(error, None))?;
        Ok(self.outcome)
    }

    fn release(&mut self) -> Result<(), Failure> {
        if self.handles.is_empty() {
            return Ok(());
        }
        self.hsm.release(&self.handles).map_err(|error| failure(error, None))?;
        self.handles.clear();
        Ok(())
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
        HsmError::UnknownKek(_) => Exit::KeyUnknown,
        HsmError::KekMismatch(_) | HsmError::KekIssuer(_) => Exit::KeyMismatch,
        HsmError::Host(_) | HsmError::Unsupported(_) => Exit::Hsm,
        _ => Exit::Bug,
    };
    match record {
        Some(record) => Failure::new(exit, format!("{error} (record {record})")),
        None => Failure::new(exit, error.to_string()),
    }
}
