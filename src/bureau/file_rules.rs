//! The bureau's rules for acceptance: checks a file record by record against the line and product profiles
//! and the key store, while it is copied into the spool.

use std::sync::Arc;

use crate::crypto::Suite;
use crate::exit::{Exit, Failure};
use crate::hsm::{Hsm, HsmInfo, TrailerRequest};
use crate::ids::KekId;
use crate::modules::sections::fulfilment;
use crate::modules::{LineProfile, crosscheck};
use crate::profile::ProductProfile;
use crate::record::chip::{ChipApplication, ChipSection};
use crate::record::{AcceptanceChecks, Header, Record, Trailer};

/// The rules of one line, and of the product as soon as the Header has named it.
pub struct Rules<'a> {
    line: &'a LineProfile,
    hsm: &'a mut dyn Hsm,
    info: HsmInfo,
    product: Option<(Header, Arc<ProductProfile>)>,
}

impl<'a> Rules<'a> {
    /// Asks the HSM once which keys it holds.
    pub fn new(line: &'a LineProfile, hsm: &'a mut dyn Hsm) -> Result<Self, Failure> {
        let info = hsm.info()?;
        Ok(Self { line, hsm, info, product: None })
    }

    /// The product of the file, after it was accepted.
    pub fn product(self) -> Option<Arc<ProductProfile>> {
        self.product.map(|(_, product)| product)
    }

    fn application(
        &self,
        header: &Header,
        product: &ProductProfile,
        application: &ChipApplication,
    ) -> Result<(), Failure> {
        let wrong = |exit, what: &str| refused(exit, format!("application {}: {what}", application.aid));
        let of_product = product
            .application(&application.aid)
            .ok_or_else(|| wrong(Exit::FileProfile, &format!("product {} does not have it", product.name)))?;
        self.key(header, application.kek, application.tk_type)?;
        let suite = Suite::from_tk_type(application.tk_type);
        if !suite.is_some_and(|suite| product.min_suite.admits(suite)) {
            let what = format!("TYPEtk {:02X} is weaker than the product's min_suite", application.tk_type);
            return Err(wrong(Exit::FileProfile, &what));
        }
        application
            .check_protection(&of_product.pass_through)
            .map_err(|e| wrong(Exit::FileFormat, &e.fault.to_string()))?;
        let chip = product
            .chip
            .as_ref()
            .ok_or_else(|| wrong(Exit::FileProfile, &format!("product {} has no chip", product.name)))?;
        crate::chip::check(application, of_product, &chip.channel)
            .map_err(|what| refused(Exit::FileProfile, what))
    }

    fn key(&self, header: &Header, kek: KekId, tk_type: u8) -> Result<(), Failure> {
        let known = self.info.keks.iter().find(|k| k.id == kek).ok_or_else(|| {
            Failure::new(
                Exit::KeyUnknown,
                format!(
                    "key: KEK {kek} is not in the key store; import it, or ask the issuer which KEK it is"
                ),
            )
        })?;
        if known.issuer_id != header.issuer_id {
            return Err(Failure::new(
                Exit::KeyMismatch,
                format!(
                    "key: KEK {kek} belongs to another issuer than the file names ({}); ask the issuer which KEK it \
                     is",
                    header.issuer_id
                ),
            ));
        }
        if known.tk_type != tk_type {
            return Err(Failure::new(
                Exit::KeyMismatch,
                format!(
                    "key: KEK {kek} is of TYPEtk {:02X}, the file says {tk_type:02X}; compare both with the issuer",
                    known.tk_type
                ),
            ));
        }
        Ok(())
    }
}

/// Refuses a file that breaks a rule. Acceptance adds the place and the next step.
fn refused(exit: Exit, what: impl std::fmt::Display) -> Failure {
    Failure::new(exit, format!("file: {what}"))
}

impl AcceptanceChecks for Rules<'_> {
    fn header(&mut self, header: &Header) -> Result<(), Failure> {
        let product = ProductProfile::named(&header.product)?;
        self.product = Some((header.clone(), Arc::new(product)));
        Ok(())
    }

    fn record(&mut self, record: &Record, chip: Option<&ChipSection>) -> Result<(), Failure> {
        for section in &record.sections {
            if self.line.module_of(&section.mic).is_none() && !self.line.ignore.contains(&section.mic) {
                let (mic, line) = (&section.mic, &self.line.name);
                let what = format!(
                    "MIC {mic} has no module on line {line} and is not ignored there; choose a line that serves it"
                );
                return Err(refused(Exit::FileProfile, what));
            }
            crate::modules::check_section(&section.mic, &section.data)
                .map_err(|what| refused(Exit::FileFormat, what))?;
        }
        let applications = chip.map_or(&[][..], |chip| &chip.applications);
        crosscheck::card_ref(record, applications)
            .map_err(|fault| refused(Exit::FileFormat, format!("card_ref {fault}")))?;
        let Some((header, product)) = &self.product else {
            return Err(Failure::new(Exit::Bug, "us: a record was checked before the Header"));
        };
        // The section was checked above.
        let fulfilment = record.section("FUL").and_then(|data| fulfilment(data).ok()).unwrap_or_default();
        if fulfilment.product.is_some_and(|of_card| of_card != header.product) {
            let what = "FUL names another product than the Header, and this version makes one product a file";
            return Err(refused(Exit::FileProfile, what));
        }
        for application in applications {
            self.application(header, product, application)?;
        }
        Ok(())
    }

    fn trailer(&mut self, header: &Header, trailer: &Trailer, body: &[u8]) -> Result<(), Failure> {
        self.key(header, trailer.kek, trailer.tk_type)?;
        let request = TrailerRequest {
            issuer_id: header.issuer_id.clone(),
            file_id: header.file_id.clone(),
            kek: trailer.kek,
            tk_type: trailer.tk_type,
            kcv: trailer.kcv,
            body: body.to_vec(),
            wrapped_mac_key: trailer.wrapped_mac_key.clone(),
            mac: trailer.mac.clone(),
        };
        Ok(self.hsm.verify_trailer(&request)?)
    }
}
