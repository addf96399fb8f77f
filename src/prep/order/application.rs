//! The order of one application of a card: its templates rendered, its static data put together.
//!
//! Not here: the sections for stripe and plastic (`plastic`), the rules of the plan (`plan`).

use std::collections::BTreeMap;

use super::{CardInputs, has};
use crate::exit::Failure;
use crate::hsm::{ApplicationToProtect, DgiToProtect, OfflineToSign, SealedCardKey, ValuePart};
use crate::ids::Dgi;
use crate::prep::columns::Column;
use crate::prep::fields::{CardField, CardValues, FieldContent};
use crate::prep::input::Cardholder;
use crate::prep::offline::{CertifiedNumber, OfflineKey};
use crate::prep::plan::{ApplicationPlan, DataGroupPlan, OfflinePlan};
use crate::prep::template::{FieldValue, FieldValues};
use crate::prep::today::year_month;
use crate::record::chip::{EncType, Pdi};

/// An application of a card before it is ordered.
pub(super) struct ApplicationPart<'a> {
    pub plan: &'a ApplicationPlan,
    pub offline: Option<(&'a OfflinePlan, &'a OfflineKey)>,
    pub holder: &'a Cardholder,
    pub values: &'a CardValues,
}

/// Why an application cannot be ordered.
pub(super) enum PartError {
    /// The line does not give what the application needs.
    Line(String),
    /// There is no key pair, or the program failed.
    Other(Failure),
}

impl From<String> for PartError {
    fn from(what: String) -> Self {
        Self::Line(what)
    }
}

/// The values of the card and those of the application.
struct PartValues<'a> {
    card: &'a CardValues,
    offline: BTreeMap<CardField, FieldContent>,
}

impl FieldValues for PartValues<'_> {
    fn value(&self, field: CardField) -> Option<FieldValue<'_>> {
        self.offline.get(&field).map(FieldContent::as_field).or_else(|| self.card.value(field))
    }
}

impl ApplicationPart<'_> {
    /// Orders the application.
    pub fn order(&self, inputs: &mut CardInputs<'_>) -> Result<ApplicationToProtect, PartError> {
        let groups: Vec<&DataGroupPlan> =
            self.plan.dgis.iter().filter(|d| has(self.values, d.when)).collect();
        let key = self.offline.and_then(|(plan, _)| plan.card_key).map(|size| (inputs.card_key)(size));
        let key = key.transpose().map_err(PartError::Other)?;
        let offline = self.offline.map(|(plan, issuer)| {
            let records = groups.iter().filter(|group| is_record(group.dgi));
            let records: Vec<_> = records.map(|group| (group.dgi, group.is_static)).collect();
            issuer.values(plan, &records, key.as_ref())
        });
        let values = PartValues { card: self.values, offline: offline.transpose()?.unwrap_or_default() };
        let dgis = groups.iter().map(|group| rendered(group, &values)).collect::<Result<Vec<_>, _>>()?;
        let offline = self.offline.map(|offline| self.to_sign(offline, &groups, &dgis, key));
        Ok(ApplicationToProtect {
            aid: self.plan.aid.clone(),
            pdi: pdi(self.plan, &groups),
            log: present(&self.plan.log, &groups),
            dgis,
            offline: offline.transpose()?,
            earlier: None,
        })
    }

    /// The order to sign.
    fn to_sign(
        &self,
        (plan, issuer): (&OfflinePlan, &OfflineKey),
        groups: &[&DataGroupPlan],
        dgis: &[DgiToProtect],
        key: Option<SealedCardKey>,
    ) -> Result<OfflineToSign, String> {
        let statics = groups.iter().zip(dgis).filter(|(group, _)| group.is_static);
        let statics = statics.map(|(group, value)| match value.parts.as_slice() {
            [ValuePart::Clear(bytes)] => Ok((group.dgi, bytes.as_slice())),
            _ => Err(format!("record {} is static and holds a value that only the HSM knows", group.dgi)),
        });
        // A terminal reads the records in the order of the locator: by SFI and number.
        let mut records = statics.collect::<Result<Vec<_>, _>>()?;
        records.sort_unstable_by_key(|(dgi, _)| *dgi);
        let number = self.holder.get(plan.number).ok_or_else(|| {
            format!("the card's certificate needs {}, for which the line has no value", plan.number.name())
        })?;
        let expiry =
            year_month(self.holder.required(Column::Expiry)).ok_or("the card has no date of expiry")?;
        issuer.to_sign(plan, records, &CertifiedNumber { number, expiry }, key)
    }
}

fn is_record(dgi: Dgi) -> bool {
    (0x01..=0x1E).contains(&(dgi.0 >> 8))
}

fn rendered(group: &DataGroupPlan, values: &PartValues<'_>) -> Result<DgiToProtect, String> {
    let dgi = group.dgi;
    let value = group.value.render(values).map_err(|field| {
        format!(
            "DGI {dgi} needs {}, for which the line has no value and the product no default",
            field.name()
        )
    })?;
    if group.enc == Some(EncType::AsIs) && !value.length.is_multiple_of(8) {
        return Err(format!("DGI {dgi} has ENC 11 but is not a multiple of 8 bytes"));
    }
    // A record is read with one short READ RECORD (EMV Book 3 5.3).
    if is_record(dgi) && value.length > 254 {
        return Err(format!("record {dgi} is longer than 254 bytes"));
    }
    Ok(DgiToProtect { dgi, parts: value.parts })
}

/// The DGIs of a list that the card has.
fn present(list: &[Dgi], groups: &[&DataGroupPlan]) -> Vec<Dgi> {
    list.iter().copied().filter(|dgi| groups.iter().any(|group| group.dgi == *dgi)).collect()
}

fn pdi(plan: &ApplicationPlan, groups: &[&DataGroupPlan]) -> Pdi {
    let nested = |lists: &[Vec<Dgi>]| -> Vec<Vec<Dgi>> {
        lists.iter().map(|list| present(list, groups)).filter(|list| !list.is_empty()).collect()
    };
    Pdi {
        order: nested(&plan.order),
        version_control: present(&plan.version_control, groups),
        enc: groups.iter().filter_map(|group| group.enc.map(|enc| (group.dgi, enc))).collect(),
        group: nested(&plan.group),
        level: plan.level,
        update_cplc: 0,
    }
}
