//! `cardwright inspect`: checks an output file and counts its contents, without a ledger or a line.
//!
//! Structure and digest are always checked; with an HSM also the Trailer's MAC and every application of every
//! record. The file is read once, with one record in memory. Not here: the rules of a line profile, which
//! `inspect --line` has acceptance check (`bureau::acceptance`), card data.

mod report;
mod tally;
mod verify;

#[cfg(test)]
#[allow(clippy::cast_possible_truncation, reason = "tests build files from small numbers")]
mod tests;

use std::path::Path;

use crate::exit::{Exit, Failure};
use crate::hsm::open_delivered;
use crate::ids::{Mic, NameError, ProductName};
use crate::modules::crosscheck;
use crate::modules::kind::section_kinds;
use crate::record::chip::{ApplicationView, ChipError, SectionScratch, check_crn, walk};
use crate::record::{Cwf1Reader, FileError, FileFault, FileKind, FileLimits, Frame, SectionRef, open_input};
pub use report::InspectionReport;
use tally::NameTally;
pub use verify::FileKeys;
use verify::Verifier;

/// Inspects a file. An unfinished file is taken without an HSM. Without an HSM the best exit is [`crate::exit::Exit::StructureOnly`]; wrong application data gives
/// [`crate::exit::Exit::RecordData`] and is listed; an error that refuses the whole file is a [`Failure`].
pub fn inspect(path: &Path, mut keys: Option<&mut dyn FileKeys>) -> Result<InspectionReport, Failure> {
    let file = open_delivered(open_input(path)?, keys.as_deref_mut())?;
    let mut reader = Cwf1Reader::open_any(file, FileLimits::default())?;
    let header = reader.header().clone();
    if header.kind == FileKind::Unfinished && keys.is_some() {
        let what = "file: it is unfinished: only the issuer's next pass (cardwright-prep run) checks its MACs; inspect it \
                    without --keys";
        return Err(Failure::new(Exit::Input, what));
    }
    let mut verifier = keys.map(|keys| Verifier::new(keys, &header));
    let mut counts = SectionCounts::new(&[]);
    while let Some(frame) = reader.next_frame()? {
        counts.record(&frame, header.product.as_str(), verifier.as_mut())?;
    }
    let end = reader.finish()?;
    let outcome = verifier.map(|verifier| verifier.finish(&end)).transpose()?;
    Ok(InspectionReport::new(path, &header, &end, &counts, outcome))
}

/// The counts of a file, taken record by record.
pub struct SectionCounts {
    /// Records with a section of each MIC that a kind of module is made for, or that the line has.
    mics: Vec<(String, u64)>,
    /// Records with each application.
    aids: NameTally,
    /// Applications under each key, named by KEKID and TYPEtk.
    keks: NameTally,
    /// Records of each product.
    products: NameTally,
    scratch: SectionScratch,
}

impl SectionCounts {
    /// No records so far. `own` are the MICs that a line has in addition to those of the modules.
    pub fn new(own: &[Mic]) -> Self {
        let mics = section_kinds().map(|section| section.mic).chain(own.iter().map(Mic::as_str));
        Self {
            mics: mics.map(|mic| (mic.to_owned(), 0)).collect(),
            aids: NameTally::default(),
            keks: NameTally::default(),
            products: NameTally::default(),
            scratch: SectionScratch::default(),
        }
    }

    /// Counts a record whose framing is right. `product` is the Header's, for a record whose FUL section names none.
    pub fn count(&mut self, frame: &Frame<'_>, product: &str) -> Result<(), Failure> {
        self.record(frame, product, None)
    }

    fn record(
        &mut self,
        frame: &Frame<'_>,
        product: &str,
        verifier: Option<&mut Verifier<'_>>,
    ) -> Result<(), Failure> {
        let refuse = |offset, fault| FileError { record: Some(frame.sequence), offset, fault };
        // Acceptance makes this check too. Without it the report could show an account number.
        crosscheck::card_ref_of(frame, |fault| {
            let fault = FileFault::Name { field: "card_ref", fault };
            FileError { record: Some(frame.sequence), offset: frame.offset, fault }
        })?;
        let (mut chip, mut named) = (None, None);
        for section in frame.sections() {
            let mut known = self.mics.iter_mut();
            let Some((_, count)) = known.find(|(mic, _)| mic.as_bytes() == section.mic) else {
                let mic = String::from_utf8_lossy(section.mic);
                let message = format!("no module is known for the MIC {mic}");
                return Err(refuse(section.offset, FileFault::Profile(message)).into());
            };
            *count += 1;
            match section.mic {
                b"CHP" => chip = Some(section),
                b"FUL" => {
                    let name = ful_product(section.data);
                    named = name.map_err(|fault| refuse(section.offset, fault))?;
                }
                _ => {}
            }
        }
        let product = named.unwrap_or(product);
        let mut applications = Vec::new();
        if let Some(chip) = chip {
            let keep = verifier.is_some();
            let read = self.chip(&chip, frame, |application| {
                if keep {
                    applications.push(application);
                }
            });
            read.map_err(|error| {
                let at = u64::try_from(error.at).unwrap_or_default();
                refuse(chip.offset + at, FileFault::Chip(error))
            })?;
        }
        if let Some(verifier) = verifier {
            verifier.record(frame, product, &applications)?;
        }
        self.products.add(product.as_bytes());
        Ok(())
    }

    fn chip<'a>(
        &mut self,
        section: &SectionRef<'a>,
        frame: &Frame<'_>,
        mut each: impl FnMut(ApplicationView<'a>),
    ) -> Result<(), ChipError> {
        let Self { aids, keks, scratch, .. } = self;
        let crn = walk(section.data, scratch, |application| {
            aids.add(application.aid);
            let [a, b, c, d, e] = application.kek.0;
            keks.add(&[a, b, c, d, e, application.suite.tk_type()]);
            each(application);
            Ok(())
        })?;
        check_crn(crn, frame.card_ref)
    }
}

/// The product in a FUL section: tag 01 of its TLVs (tag u8, length u32, value), if there is one.
fn ful_product(data: &[u8]) -> Result<Option<&str>, FileFault> {
    let mut rest = data;
    while let [tag, a, b, c, d, after @ ..] = rest {
        let length = usize::try_from(u32::from_be_bytes([*a, *b, *c, *d])).map_err(|_| FileFault::Field)?;
        let (value, after) = after.split_at_checked(length).ok_or(FileFault::Field)?;
        if *tag == 0x01 {
            let name = |fault| FileFault::Name { field: "the product in FUL", fault };
            ProductName::from_bytes(value).map_err(name)?;
            return std::str::from_utf8(value).map(Some).map_err(|_| name(NameError::Character));
        }
        rest = after;
    }
    if rest.is_empty() { Ok(None) } else { Err(FileFault::Field) }
}
