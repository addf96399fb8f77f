//! The contents of one card as they are ordered from the issuer's HSM: known data, and the places of secrets.
//!
//! They include account numbers and PINs: the types have no `Debug`, are wiped when dropped, and are never written
//! anywhere. Not here: the secrets, and their protection (`hsm`).

mod application;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use self::application::{ApplicationPart, PartError};
use super::ClearBytes;
use super::agreement::CardStatements;
use super::columns::Column;
use super::fields::{CardField, CardValues};
use super::input::{Cardholder, InputError};
use super::keys::IssuerKeys;
use super::offline::{CardKeySize, OfflineKey};
use super::plan::PrepPlan;
use super::plastic;
use super::template::FieldValues;
use crate::emv::MonthYear;
use crate::exit::{Exit, Failure};
use crate::hsm::store::KeyUsage;
use crate::hsm::{
    ApplicationToProtect, CardCodes, CardForCodes, IssuerInfo, IssuerKeyInfo, SealedCardKey, WipedBytes,
};
use crate::ids::{Aid, CardRef, Mic};
use crate::profile::ProductProfile;
use crate::record::Section;

/// A card as it is ordered.
pub struct OrderedCard {
    /// Name of the card.
    pub card_ref: CardRef,
    /// Every section but CHP, in file order.
    pub sections: Vec<Section>,
    /// PIN, ASCII digits.
    pub pin: Option<WipedBytes>,
    /// The applications in file order; none on a card without a chip.
    pub applications: Vec<ApplicationToProtect>,
    /// The data of stripe, embossing and chip, to be compared with those of earlier passes.
    pub(super) statements: CardStatements,
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

/// Makes the orders of one product's cards with one issuer's keys.
pub struct CardBuilder {
    plan: PrepPlan,
    /// The product's applications, in the order in which they stand on the card.
    applications: Vec<Aid>,
    keys: IssuerKeys,
    /// The issuer's RSA key for each application of the plan; `None` for one without offline data authentication.
    offline: Vec<Option<OfflineKey>>,
    folder: PathBuf,
}

/// What a card needs beside its line of the input.
pub struct CardInputs<'a> {
    /// Its verification values, if the product needs them.
    pub codes: Option<&'a CardCodes>,
    /// Gives the next key pair of a size; each is used for one card.
    pub card_key: &'a mut dyn FnMut(CardKeySize) -> Result<SealedCardKey, Failure>,
}

impl CardBuilder {
    /// Reads the product's `[prep]` and checks that every key of the issuer is there, with a certificate that is valid
    /// `today`.
    pub fn new(
        product: &ProductProfile,
        info: &IssuerInfo,
        issuer: [u8; 4],
        today: MonthYear,
    ) -> Result<Self, Failure> {
        let plan = PrepPlan::load(product)?;
        let keys = IssuerKeys::of(info, &hex::encode_upper(issuer))?;
        for usage in plan.needs() {
            keys.get(usage)?;
        }
        let offline = plan.applications.iter().map(|application| {
            application.offline.as_ref().map(|plan| OfflineKey::of(info, issuer, plan, today)).transpose()
        });
        let offline = offline.collect::<Result<_, _>>()?;
        let applications = product.applications.iter().map(|application| application.aid.clone()).collect();
        Ok(Self { plan, applications, keys, offline, folder: PathBuf::new() })
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

    /// The product's applications, in the order in which they stand on the card.
    pub fn applications(&self) -> &[Aid] {
        &self.applications
    }

    /// The issuer's keys.
    pub fn keys(&self) -> &IssuerKeys {
        &self.keys
    }

    /// The issuer's RSA keys that sign for cards.
    pub fn issuer_keys(&self) -> impl Iterator<Item = &IssuerKeyInfo> {
        self.offline.iter().flatten().map(OfflineKey::info)
    }

    /// Whether cards need verification values.
    pub fn needs_codes(&self) -> bool {
        self.plan.needs().contains(&KeyUsage::Cvk)
    }

    /// The data from which the HSM computes a card's verification values.
    pub fn for_codes(holder: &Cardholder) -> CardForCodes {
        let digits = |column| WipedBytes::from(holder.required(column).as_bytes());
        CardForCodes {
            pan: digits(Column::Pan),
            expiry: digits(Column::Expiry),
            service: digits(Column::ServiceCode),
            pin: pin(holder),
        }
    }

    /// The sizes of the key pairs that cards need.
    pub fn key_sizes(&self) -> BTreeSet<CardKeySize> {
        let offline = self.plan.applications.iter().filter_map(|a| a.offline.as_ref());
        offline.filter_map(|offline| offline.card_key).collect()
    }

    /// Most key pairs of this size that a card takes.
    pub fn keys_per_card(&self, size: CardKeySize) -> u64 {
        let offline = self.plan.applications.iter().filter_map(|a| a.offline.as_ref());
        offline.filter(|offline| offline.card_key == Some(size)).map(|_| 1).sum()
    }

    /// Builds a card. A fault of the input names the line and the column, application or DGI, never a value.
    pub fn card(&self, holder: &Cardholder, mut inputs: CardInputs<'_>) -> Result<OrderedCard, BuildError> {
        let fail = |what: String| BuildError::Input(InputError::Line { place: holder.place.clone(), what });
        let values =
            CardValues::compute(&self.plan.used, holder, inputs.codes, &self.keys, self.plan.card_keys)?;
        let rendered = plastic::sections(&self.plan, holder, &values, &self.folder)?;
        let statements = self.statements(&rendered, &values).map_err(fail)?;
        let mut sections = Vec::new();
        for (mic, data) in rendered {
            let mic = Mic::new(mic).map_err(|e| Failure::new(Exit::Bug, format!("us: MIC {mic} {e}")))?;
            sections.push(Section { mic, data });
        }
        in_order(&mut sections);
        let mut applications = Vec::new();
        let plans = self.plan.applications.iter().zip(&self.offline);
        for (plan, key) in plans.filter(|(plan, _)| has(&values, plan.when)) {
            let offline = plan.offline.as_ref().zip(key.as_ref());
            let part = ApplicationPart { plan, offline, holder, values: &values };
            let built = part.order(&mut inputs).map_err(|error| match error {
                PartError::Line(what) => fail(format!("application {}: {what}", plan.aid)),
                PartError::Other(failure) => BuildError::Other(failure),
            });
            applications.push(built?);
        }
        let (card_ref, pin) = (holder.card_ref.clone(), pin(holder));
        Ok(OrderedCard { card_ref, sections, pin, applications, statements })
    }

    /// Collects the data of a card's parts and checks that they agree.
    fn statements(
        &self,
        sections: &[(&'static str, ClearBytes)],
        values: &CardValues,
    ) -> Result<CardStatements, String> {
        let mut statements = CardStatements::default();
        for (mic, data) in sections {
            statements.add_section(mic, data)?;
        }
        for plan in self.plan.applications.iter().filter(|plan| has(values, plan.when)) {
            let groups = plan.dgis.iter().filter(|group| has(values, group.when));
            statements.add_planned(plan, groups, values)?;
        }
        statements.check()?;
        Ok(statements)
    }
}

/// Puts sections in order by MIC, so that a card is the same however many passes have made it.
pub(super) fn in_order(sections: &mut [Section]) {
    sections.sort_by(|a, b| a.mic.as_str().cmp(b.mic.as_str()));
}

fn pin(holder: &Cardholder) -> Option<WipedBytes> {
    holder.get(Column::Pin).map(|digits| digits.as_bytes().into())
}

fn has(values: &CardValues, when: Option<CardField>) -> bool {
    when.is_none_or(|field| values.value(field).is_some())
}
