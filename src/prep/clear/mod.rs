//! The contents of one card in clear, before they are protected.
//!
//! `protect` takes them, and tests compare a personalized card with them. They include keys and PINs: the
//! types have no `Debug`, are wiped when dropped, and are never written anywhere.

use std::path::{Path, PathBuf};

use zeroize::Zeroizing;

use super::fields::CardValues;
use super::input::{Cardholder, InputError};
use super::keys::IssuerKeys;
use super::plan::{self, PrepPlan};
use super::template::FieldValues;
use super::{pin, plastic};
use crate::crypto::pad_80;
use crate::exit::{Exit, Failure};
use crate::ids::{Aid, CardRef, Dgi, Mic};
use crate::profile::ProductProfile;
use crate::record::Section;
use crate::record::chip::{EncType, Pdi};

/// A card in clear.
pub struct ClearCard {
    /// Name of the card.
    pub card_ref: CardRef,
    /// Every section but CHP, in file order.
    pub sections: Vec<Section>,
    /// The applications in file order; none on a card without a chip.
    pub applications: Vec<ClearApplication>,
}

/// One application in clear.
pub struct ClearApplication {
    /// AID of the application.
    pub aid: Aid,
    /// Processing instructions. They name only DGIs that this card has.
    pub pdi: Pdi,
    /// LOGDATA: the DGIs that are logged.
    pub log: Vec<Dgi>,
    /// The data in file order.
    pub dgis: Vec<ClearDgi>,
}

/// One DGI in clear.
pub struct ClearDgi {
    /// The DGI.
    pub dgi: Dgi,
    /// The value before it is encrypted for the file: not padded, a PIN block in ISO 9564 format 1.
    pub value: Zeroizing<Vec<u8>>,
    /// For a secret value: how it is sent to the card.
    pub enc: Option<EncType>,
}

impl ClearDgi {
    /// The value as a card with a DEK of 8-byte blocks holds it: ENC 12 padded 80 00.., ENC 22 in format 2.
    pub fn on_card(&self) -> Zeroizing<Vec<u8>> {
        match self.enc {
            None | Some(EncType::AsIs) => self.value.clone(),
            Some(EncType::Pad) => {
                let mut padded = Zeroizing::new(Vec::with_capacity(self.value.len() + 8));
                padded.extend_from_slice(&self.value);
                pad_80(&mut padded, 8);
                padded
            }
            Some(EncType::PinBlock) => {
                Zeroizing::new(pin::format_1_to_2(&self.value).map_or_else(Vec::new, |block| block.to_vec()))
            }
        }
    }
}

/// Why a card cannot be built.
#[derive(Debug)]
pub enum BuildError {
    /// The line does not give what the product needs.
    Input(InputError),
    /// A key is missing, or the program failed.
    Other(Failure),
}

impl From<InputError> for BuildError {
    fn from(fault: InputError) -> Self {
        Self::Input(fault)
    }
}

impl From<Failure> for BuildError {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Input(fault) => Self::new(Exit::Input, fault.to_string()),
            BuildError::Other(failure) => failure,
        }
    }
}

/// Makes clear cards of one product with one issuer's keys.
pub struct ClearCardBuilder {
    plan: PrepPlan,
    keys: IssuerKeys,
    folder: PathBuf,
}

impl ClearCardBuilder {
    /// Reads the product's `[prep]` and checks that every key is there.
    pub fn new(product: &ProductProfile, keys: IssuerKeys) -> Result<Self, Failure> {
        let plan = PrepPlan::load(product)?;
        for master in plan.needs() {
            keys.get(master)?;
        }
        Ok(Self { plan, keys, folder: PathBuf::new() })
    }

    /// Looks for photos in the directory of the input instead of the working directory.
    #[must_use]
    pub fn with_photos_next_to(mut self, input: &Path) -> Self {
        self.folder = input.parent().map(Path::to_path_buf).unwrap_or_default();
        self
    }

    /// Returns the preparation of the product.
    pub fn plan(&self) -> &PrepPlan {
        &self.plan
    }

    /// Builds a card. A fault of the input names the line and the column, application or DGI, never a value.
    pub fn card(&self, holder: &Cardholder) -> Result<ClearCard, BuildError> {
        let line = holder.line;
        let fail = |what: String| BuildError::Input(InputError::Line { line, what });
        let values = CardValues::compute(&self.plan.used, holder, &self.keys, self.plan.card_keys)?;
        let mut sections = Vec::new();
        for (mic, data) in plastic::sections(&self.plan, holder, &values, &self.folder)? {
            let mic = Mic::new(mic).map_err(|e| Failure::new(Exit::Bug, format!("us: MIC {mic} {e}")))?;
            sections.push(Section { mic, data });
        }
        let mut applications = Vec::new();
        for wanted in self.plan.applications.iter().filter(|a| has(&values, a.when)) {
            let built = application(wanted, &values);
            applications.push(built.map_err(|what| fail(format!("application {}: {what}", wanted.aid)))?);
        }
        Ok(ClearCard { card_ref: holder.card_ref.clone(), sections, applications })
    }
}

fn has(values: &CardValues, when: Option<super::fields::CardField>) -> bool {
    when.is_none_or(|field| values.value(field).is_some())
}

fn application(plan: &plan::ApplicationPlan, values: &CardValues) -> Result<ClearApplication, String> {
    let mut dgis = Vec::new();
    for group in plan.dgis.iter().filter(|d| has(values, d.when)) {
        let dgi = group.dgi;
        let value = group.value.render(values).map_err(|field| {
            format!(
                "DGI {dgi} needs {}, for which the line has no value and the product no default",
                field.name()
            )
        })?;
        if group.enc == Some(EncType::AsIs) && !value.len().is_multiple_of(8) {
            return Err(format!("DGI {dgi} has ENC 11 but is not a multiple of 8 bytes"));
        }
        // A record is read with one short READ RECORD (EMV Book 3 5.3).
        if (0x01..=0x1E).contains(&(dgi.0 >> 8)) && value.len() > 254 {
            return Err(format!("record {dgi} is longer than 254 bytes"));
        }
        dgis.push(ClearDgi { dgi, value, enc: group.enc });
    }
    let present = |list: &[Dgi]| -> Vec<Dgi> {
        list.iter().copied().filter(|dgi| dgis.iter().any(|d| d.dgi == *dgi)).collect()
    };
    let nested = |lists: &[Vec<Dgi>]| -> Vec<Vec<Dgi>> {
        lists.iter().map(|list| present(list)).filter(|list| !list.is_empty()).collect()
    };
    let pdi = Pdi {
        order: nested(&plan.order),
        version_control: present(&plan.version_control),
        enc: dgis.iter().filter_map(|d| d.enc.map(|enc| (d.dgi, enc))).collect(),
        group: nested(&plan.group),
        level: plan.level,
        update_cplc: 0,
    };
    let log = present(&plan.log);
    Ok(ClearApplication { aid: plan.aid.clone(), pdi, log, dgis })
}

#[cfg(test)]
mod tests;
