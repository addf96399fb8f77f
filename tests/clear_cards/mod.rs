//! Cards of the issuer's preparation with every value in the clear, computed by an issuer's HSM in this process with TEST
//! keys, so that a test can compare a personalized card with its order.

use std::path::Path;

use cardwright::hsm::soft::issuer::{ClearDgi, SoftIssuer};
use cardwright::hsm::store::{KeyStore, KeyUsage};
use cardwright::hsm::{CardToProtect, CodesRequest, Issuer};
use cardwright::ids::{Aid, CardRef};
use cardwright::prep::input::Cardholder;
use cardwright::prep::keys::IssuerKeys;
use cardwright::prep::order::{CardBuilder, CardInputs};
use cardwright::prep::today::this_month;
use cardwright::profile::ProductProfile;
use cardwright::record::Section;

/// A card in the clear.
#[allow(dead_code, reason = "each program uses its part")]
pub struct ClearCard {
    pub card_ref: CardRef,
    pub sections: Vec<Section>,
    pub applications: Vec<ClearApplication>,
}

/// An application in the clear.
pub struct ClearApplication {
    pub aid: Aid,
    pub dgis: Vec<ClearDgi>,
}

/// Makes clear cards of `multiapp` without RSA.
pub struct ClearCards {
    hsm: SoftIssuer,
    pub builder: CardBuilder,
    codes: CodesRequest,
}

impl ClearCards {
    /// With the issuer's store, and photos next to an input.
    pub fn new(store: &Path, input: &Path) -> Self {
        let mut hsm = SoftIssuer::new(KeyStore::open(store).unwrap()).unwrap();
        let info = hsm.issuer_keys().unwrap();
        let keys = IssuerKeys::of(&info, "476173FF").unwrap();
        let codes = CodesRequest {
            issuer: keys.issuer().to_owned(),
            cvk: keys.get(KeyUsage::Cvk).unwrap().name,
            pvk: keys.find(KeyUsage::Pvk).map(|pvk| pvk.name),
            cards: Vec::new(),
        };
        let product = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/multiapp.toml");
        let product = ProductProfile::load(product).unwrap();
        let builder = CardBuilder::new(&product, &info, [0x47, 0x61, 0x73, 0xFF], this_month()).unwrap();
        Self { hsm, builder: builder.with_photos_next_to(input), codes }
    }

    /// Computes a card.
    pub fn card(&mut self, holder: &Cardholder) -> ClearCard {
        let request = CodesRequest { cards: vec![CardBuilder::for_codes(holder)], ..self.codes.clone() };
        let codes = self.hsm.card_codes(&request).unwrap().remove(0);
        let mut card_key = |_| panic!("the product has no RSA");
        let inputs = CardInputs { codes: Some(&codes), card_key: &mut card_key };
        let order = self.builder.card(holder, inputs).unwrap();
        let card = CardToProtect {
            sequence: 1,
            card_ref: order.card_ref.clone(),
            others: [0; 32],
            pin: order.pin,
            applications: order.applications,
        };
        let values = self.hsm.clear(&self.codes.issuer, &card).unwrap();
        let applications = card.applications.iter().zip(values);
        let applications =
            applications.map(|(ordered, dgis)| ClearApplication { aid: ordered.aid.clone(), dgis });
        ClearCard { card_ref: order.card_ref, sections: order.sections, applications: applications.collect() }
    }
}
