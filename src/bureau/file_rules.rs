//! The bureau's rules for the records of a file: checks each against the line and product profiles and against the keys
//! that the HSM says it has. Needs no key itself.
//!
//! Not here: what the HSM checks, and the order of the work (`file_check`).

use std::collections::HashSet;
use std::sync::Arc;

use super::card_kmcs;
use crate::crypto::Suite;
use crate::exit::{Exit, Failure};
use crate::hsm::{CheckRequest, HsmInfo};
use crate::ids::{Dgi, KekId};
use crate::modules::sections::fulfilment;
use crate::modules::{LineProfile, SectionCheck, crosscheck};
use crate::profile::ProductProfile;
use crate::record::chip::{ApplicationView, ChipApplication, Cmode, SectionScratch};
use crate::record::{FileError, FileFault, Frame, Header, SectionRef};

/// Most shapes of applications that are remembered as right. Files have few.
const SHAPES: usize = 1024;

/// The rules for the records of one file on one line.
pub struct FileRules {
    line: String,
    sections: Vec<SectionCheck>,
    /// The MICs that a module with stations serves.
    worked: Vec<Vec<u8>>,
    /// The keys that the HSM has; `None` if no HSM was asked.
    keys: Option<HsmInfo>,
    header: Header,
    product: Arc<ProductProfile>,
}

/// Working space of one thread, which is reused from record to record.
#[derive(Default)]
pub struct RuleScratch {
    section: SectionScratch,
    /// The numbers of the shapes of applications that follow the rules.
    shapes: HashSet<u64>,
    /// The KEKs of the record, and those of records for whose cards there is a KMC, each in order.
    keks: Vec<KekId>,
    served: HashSet<Vec<KekId>>,
}

/// A record that follows the rules, as far as they need no key.
pub struct RuledRecord {
    /// Number of the record.
    pub sequence: u32,
    /// Where each of its applications begins in the file.
    pub places: Vec<u64>,
    /// Parts of the record that show different account numbers. A wrong MAC is the graver fault, so the HSM comes first.
    pub numbers: Result<(), FileError>,
}

impl FileRules {
    /// The rules for the file with this Header; `info` is what the HSM has, if one is asked.
    pub fn new(line: &LineProfile, info: Option<&HsmInfo>, header: &Header) -> Result<Self, Failure> {
        let product = Arc::new(ProductProfile::named(&header.product)?);
        Ok(Self::of_product(line, info, header, product))
    }

    /// The same for a product that need not be the one of this name.
    pub fn of_product(
        line: &LineProfile,
        info: Option<&HsmInfo>,
        header: &Header,
        product: Arc<ProductProfile>,
    ) -> Self {
        let mics = line.working().flat_map(|module| &module.mics);
        Self {
            line: line.name.clone(),
            sections: SectionCheck::of_line(line),
            worked: mics.map(|mic| mic.as_str().as_bytes().to_vec()).collect(),
            keys: info.cloned(),
            header: header.clone(),
            product,
        }
    }

    /// The Header of the file.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// An empty request to the HSM for applications of the file.
    pub fn request(&self) -> CheckRequest {
        // Records of a product without a chip have no application.
        let card_block = self.product.chip.as_ref().map_or(0, |chip| chip.channel.block());
        let (issuer_id, file_id) = (self.header.issuer_id.clone(), self.header.file_id.clone());
        CheckRequest::new(issuer_id, file_id, card_block, self.product.allow_ecb)
    }

    /// The product of the file.
    pub fn product(&self) -> &Arc<ProductProfile> {
        &self.product
    }

    /// Checks a record whose framing is right, and adds its applications to a request to the HSM.
    pub fn record(
        &self,
        frame: &Frame<'_>,
        scratch: &mut RuleScratch,
        request: &mut CheckRequest,
    ) -> Result<RuledRecord, FileError> {
        let refuse = |offset, failure| refused_at(frame, offset, failure);
        for section in frame.sections() {
            self.section(&section).map_err(|failure| refuse(section.offset, failure))?;
        }
        if !frame.sections().any(|section| self.worked.iter().any(|mic| mic == section.mic)) {
            let what = format!("the record has no section for any station of line {}", self.line);
            return Err(refuse(frame.offset, refused(Exit::FileProfile, what)));
        }
        let chip = frame.sections().find(|section| section.mic == b"CHP").map(|section| section.offset);
        let chip = chip.unwrap_or(frame.offset);
        let applications = frame.applications(&mut scratch.section)?;
        crosscheck::card_ref_of(frame, |fault| {
            refuse(frame.offset, refused(Exit::FileFormat, format!("card_ref {fault}")))
        })?;
        let place = |application: &ApplicationView<'_>| {
            chip.saturating_add(u64::try_from(application.at).unwrap_or_default())
        };
        for application in &applications {
            let checked = self.application(application, scratch);
            checked.map_err(|failure| refuse(place(application), failure))?;
        }
        self.kmc(&applications, scratch).map_err(|failure| refuse(chip, failure))?;
        let numbers = crosscheck::check(frame, &applications)
            .map_err(|fault| refuse(frame.offset, Failure::new(Exit::RecordData, fault.detail)));
        let places = applications.iter().map(place).collect();
        let sequence = frame.sequence;
        if !applications.is_empty() {
            let to_check = applications.iter().map(|a| (a.raw, self.pass_through(a.aid)));
            request.add((sequence, frame.to_card_ref()?, frame.others_digest()), to_check);
        }
        Ok(RuledRecord { sequence, places, numbers })
    }

    /// The DGIs of an application that the product passes through.
    fn pass_through(&self, aid: &[u8]) -> Vec<Dgi> {
        let mut known = self.product.applications.iter();
        let known = known.find(|of_product| of_product.aid.as_bytes() == aid);
        known.map(|of_product| of_product.pass_through.clone()).unwrap_or_default()
    }

    fn section(&self, section: &SectionRef<'_>) -> Result<(), Failure> {
        let Some(check) = self.sections.iter().find(|check| check.is_of(section.mic)) else {
            let (mic, line) = (String::from_utf8_lossy(section.mic), &self.line);
            let what = format!(
                "MIC {mic} has no module on line {line} and is not ignored there; choose a line that serves it"
            );
            return Err(refused(Exit::FileProfile, what));
        };
        check.check(section.data).map_err(|what| refused(Exit::FileFormat, what))?;
        if section.mic == b"FUL"
            && let Some(product) = fulfilment(section.data).ok().and_then(|fulfilment| fulfilment.product)
            && product != self.header.product
        {
            let what = "FUL names another product than the Header, and this version makes one product a file";
            return Err(refused(Exit::FileProfile, what));
        }
        Ok(())
    }

    /// Checks an application against the product and the keys. One of a shape that was right before is right.
    fn application(
        &self,
        application: &ApplicationView<'_>,
        scratch: &mut RuleScratch,
    ) -> Result<(), Failure> {
        if !scratch.shapes.contains(&application.shape) {
            let bug = |_| Failure::new(Exit::Bug, "us: an application was read once and not again");
            self.shape(&application.to_application().map_err(bug)?)?;
            if scratch.shapes.len() >= SHAPES {
                scratch.shapes.clear();
            }
            scratch.shapes.insert(application.shape);
        }
        Ok(())
    }

    /// Checks everything of an application that does not depend on its values.
    fn shape(&self, application: &ChipApplication) -> Result<(), Failure> {
        let product = &self.product;
        let wrong = |exit, what: &str| refused(exit, format!("application {}: {what}", application.aid));
        let of_product = product
            .application(&application.aid)
            .ok_or_else(|| wrong(Exit::FileProfile, &format!("product {} does not have it", product.name)))?;
        self.key(application.kek, application.tk_type)?;
        let suite = Suite::from_tk_type(application.tk_type);
        if !suite.is_some_and(|suite| product.min_suite.admits(suite)) {
            let what = format!("TYPEtk {:02X} is weaker than the product's min_suite", application.tk_type);
            return Err(wrong(Exit::FileProfile, &what));
        }
        let ecb = matches!(application.cmode, Cmode::Ecb | Cmode::EcbPadded);
        if ecb && !application.protected.is_empty() && !product.allow_ecb {
            let (cmode, name) = (application.cmode.byte(), &product.name);
            let what = format!("CMODE {cmode:02X} is ECB, which product {name} does not allow (allow_ecb)");
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

    /// Checks that the key store has a KMC for the card of these applications. Files have few sets of KEKs, so most
    /// records need no comparison.
    fn kmc(&self, applications: &[ApplicationView<'_>], scratch: &mut RuleScratch) -> Result<(), Failure> {
        let (Some(keys), Some(chip)) = (&self.keys, &self.product.chip) else { return Ok(()) };
        scratch.keks.clear();
        scratch.keks.extend(applications.iter().map(|application| application.kek));
        scratch.keks.sort_unstable();
        scratch.keks.dedup();
        if scratch.keks.is_empty() || scratch.served.contains(&scratch.keks) {
            return Ok(());
        }
        card_kmcs::check(keys, &scratch.keks, &self.product, chip)?;
        if scratch.served.len() >= SHAPES {
            scratch.served.clear();
        }
        scratch.served.insert(scratch.keks.clone());
        Ok(())
    }

    /// Checks a KEK that the file names.
    pub fn key(&self, kek: KekId, tk_type: u8) -> Result<(), Failure> {
        let Some(keys) = &self.keys else { return Ok(()) };
        let known = keys.keks.iter().find(|k| k.id == kek).ok_or_else(|| {
            Failure::new(
                Exit::KeyUnknown,
                format!(
                    "key: KEK {kek} is not in the key store; import it, or ask the issuer which KEK it is"
                ),
            )
        })?;
        if known.issuer_id != self.header.issuer_id {
            return Err(Failure::new(
                Exit::KeyMismatch,
                format!(
                    "key: KEK {kek} belongs to another issuer than the file names ({}); ask the issuer which KEK it \
                     is",
                    self.header.issuer_id
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

/// The error about a place in a record.
pub(super) fn refused_at(frame: &Frame<'_>, offset: u64, failure: Failure) -> FileError {
    FileError { record: Some(frame.sequence), offset, fault: FileFault::Refused(failure) }
}
