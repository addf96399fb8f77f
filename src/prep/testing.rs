//! An issuer's HSM in this process, for tests.

use crate::emv::MonthYear;
use crate::exit::Failure;
use crate::hsm::soft::issuer::{ClearDgi, SoftIssuer};
use crate::hsm::store::KeyUsage;
use crate::hsm::store::{KeyStore, StoreSide};
use crate::hsm::{CardToProtect, CodesRequest, Issuer};
use crate::ids::CardRef;
use crate::prep::columns::Column;
use crate::prep::input::{Cardholder, ColumnUse, InputSchema};
use crate::prep::keys::IssuerKeys;
use crate::prep::order::{BuildError, CardBuilder, CardInputs, OrderedCard};
use crate::prep::tables::PrepTables;
use crate::profile::ProductProfile;

/// Issuer identifier of the keys.
pub const ISSUER: &str = "476173FF";
const ISSUER_BYTES: [u8; 4] = [0x47, 0x61, 0x73, 0xFF];

/// The master key of the published vectors of pyemv and psec.
pub const MASTER: &str = "0123456789ABCDEFFEDCBA9876543210";

/// Every known column, with those required that a payment card needs, and no defaults.
pub fn schema() -> InputSchema {
    let mut schema = InputSchema::new(&PrepTables::default(), &[]).unwrap();
    let required = [Column::Pan, Column::Name, Column::Expiry, Column::Effective, Column::ServiceCode];
    schema.used(ColumnUse { required: required.into(), ..ColumnUse::default() });
    schema
}

/// An HSM with these master keys: purpose, version, value in hex.
pub fn hsm(keys: &[(KeyUsage, u8, &str)]) -> SoftIssuer {
    let list: String = keys
        .iter()
        .map(|(usage, version, value)| {
            format!(
                "[[key]]\nlabel = \"{usage}-{version}\"\nusage = \"{usage}\"\ntype = \"TDES2\"\nid = \"{ISSUER}\"\n\
                 version = {version}\nvalue = \"{value}\"\n"
            )
        })
        .collect();
    let folder = tempfile::tempdir().unwrap();
    let store = KeyStore::create_test(&list, &folder.path().join("store"), StoreSide::Issuer);
    SoftIssuer::new(store.map_err(|f| f.message).unwrap()).map_err(|f| f.message).unwrap()
}

/// An HSM in which every master key is the one of the vectors; the PVK has index 1.
pub fn vectors() -> SoftIssuer {
    hsm(&KeyUsage::MASTERS.map(|usage| (usage, 1, MASTER)))
}

/// The keys of an HSM by reference.
pub fn keys(hsm: &mut SoftIssuer) -> IssuerKeys {
    IssuerKeys::of(&hsm.issuer_keys().unwrap(), ISSUER).map_err(|f| f.message).unwrap()
}

/// A builder with the keys of an HSM.
pub fn builder(product: &ProductProfile, hsm: &mut SoftIssuer) -> Result<CardBuilder, Failure> {
    let today = MonthYear::from_bcd([0x01, 0x26]).unwrap();
    CardBuilder::new(product, &hsm.issuer_keys().unwrap(), ISSUER_BYTES, today)
}

/// Orders a card, as a run does.
pub fn order(
    builder: &CardBuilder,
    holder: &Cardholder,
    hsm: &mut SoftIssuer,
) -> Result<OrderedCard, BuildError> {
    let codes = builder.needs_codes().then(|| {
        let keys = builder.keys();
        let request = CodesRequest {
            issuer: ISSUER.into(),
            cvk: keys.get(KeyUsage::Cvk).unwrap().name,
            pvk: keys.find(KeyUsage::Pvk).map(|pvk| pvk.name),
            cards: vec![CardBuilder::for_codes(holder)],
        };
        hsm.card_codes(&request).unwrap().remove(0)
    });
    let mut card_key = |_| panic!("the product has no RSA");
    builder.card(holder, CardInputs { codes: codes.as_ref(), card_key: &mut card_key })
}

/// The clear values of an ordered card, by application.
pub fn clear(card: &OrderedCard, hsm: &SoftIssuer) -> Vec<Vec<ClearDgi>> {
    let card = CardToProtect {
        sequence: 1,
        card_ref: CardRef::new("C1").unwrap(),
        others: [0; 32],
        pin: card.pin.clone(),
        applications: card.applications.clone(),
    };
    hsm.clear(ISSUER, &card).unwrap()
}
