//! What each medium of one card will show, before a file is prepared: tracks, embossing, print, the chip's DGIs.
//!
//! ```text
//! input ─► one Cardholder ─ order ─► OrderedCard ─┬─ media ─► tracks, lines, texts ─ modules::template ─► pictures
//!                                                 └─ chip ──► DGIs with their lengths
//!                                    mask: the account number and codes are hidden in everything
//! ```
//!
//! The card is ordered as a run orders it, but nothing is protected and no key pair is taken: secrets are never here. Not
//! here: words and files (`cli`).

mod chip;
mod mask;
mod media;
mod text;

use std::path::Path;

use self::chip::applications;
pub use self::chip::{ApplicationPreview, DgiPreview, ValuePreview};
use self::mask::CardMask;
pub use self::mask::MaskedText;
use self::media::media;
pub use self::media::{GraphicsPreview, MediaPreview};
use super::columns::Column;
use super::hashed::HashedInput;
use super::input::{Cardholder, CardholderReader, RejectedLine, RowReader};
use super::keys::{choose_kek, issuer_of};
use super::maker::{self, CardToMake};
use super::offline::CardKeySize;
use super::order::{CardBuilder, CardInputs};
use super::today::this_month;
use crate::exit::{Exit, Failure};
use crate::hsm::key_host::{CallerRole, KeyHost};
use crate::hsm::{CardCodes, Issuer};
use crate::ids::{CardRef, ProductName};
use crate::modules::sections::GraphicsSection;
use crate::modules::template::{self, SidePictures};
use crate::profile::ProductProfile;

/// The card of which a preview is wanted.
pub struct PreviewOrder<'a> {
    /// Its number in the input, from 1, or its card_ref.
    pub record: &'a str,
    /// The input of the run.
    pub input: &'a Path,
    /// The product.
    pub product: &'a str,
    /// The issuer's key store.
    pub keys: &'a Path,
    /// The KEK of the run.
    pub kek: Option<&'a str>,
}

/// What one card will show. It may hold a name: no `Debug`, wiped when dropped.
pub struct CardPreview {
    /// Line of the input in which it begins.
    pub place: String,
    /// Its name.
    pub card_ref: CardRef,
    /// The product.
    pub product: ProductName,
    /// Stripe, embossing and print.
    pub media: MediaPreview,
    /// The applications of its chip.
    pub applications: Vec<ApplicationPreview>,
}

/// Orders one card and shows it.
pub fn preview(order: &PreviewOrder<'_>) -> Result<CardPreview, Failure> {
    let product = ProductProfile::load(order.product)?;
    let mut keys = KeyHost::open(order.keys, CallerRole::Issuer)?;
    let info = keys.hsm.issuer_keys()?;
    let kek = choose_kek(&info, order.kek)?;
    let builder = CardBuilder::new(&product, &info, issuer_of(kek.id), this_month())?;
    let builder = builder.with_photos_next_to(order.input);
    let holder = find(order, &builder)?;
    let card = CardToMake { holder, earlier: None };
    let codes = maker::codes(&builder, std::slice::from_ref(&card), &mut keys.hsm)?;
    let holder = card.holder;
    let inputs = CardInputs { codes: codes.first(), card_key: &mut CardKeySize::stand_in };
    let card = builder.card(&holder, inputs)?;
    let mask = mask(&holder, codes.first());
    Ok(CardPreview {
        place: holder.place.to_string(),
        card_ref: card.card_ref,
        media: media(&card.sections, &mask)
            .map_err(|what| Failure::new(Exit::Profile, format!("profile {}: {what}", product.name)))?,
        applications: applications(&card.applications, &builder, &info, &mask),
        product: product.name,
    })
}

/// Reads the input up to the wanted card. A fault of another line does not matter, nor do the rules that a run may be told to
/// leave aside. A counter begins with 1.
fn find(order: &PreviewOrder<'_>, builder: &CardBuilder) -> Result<Cardholder, Failure> {
    let mut source = HashedInput::open(order.input)?;
    let schema = &builder.plan().input;
    let rows = RowReader::new(&mut source, schema.format.of_file(order.input), None, schema);
    let cards = CardholderReader::of(rows.map_err(|line| faults(&line))?, schema).counting_from(1);
    let number: Option<u64> = order.record.parse().ok();
    for (place, card) in (1..).zip(cards) {
        let name = match &card {
            Ok(card) => Some(card.card_ref.as_str()),
            Err(line) => line.card_ref.as_ref().map(CardRef::as_str),
        };
        let wanted = number.map_or(name == Some(order.record), |number| number == place);
        if wanted {
            return card.map_err(|line| faults(&line));
        }
    }
    let what = format!(
        "operator: {} has no such card: name it by its number, from 1, or by its card_ref",
        order.input.display()
    );
    Err(Failure::new(Exit::NotFound, what))
}

/// The faults of a line, each in a line of the message.
fn faults(line: &RejectedLine) -> Failure {
    let faults: Vec<String> = line.faults.iter().map(ToString::to_string).collect();
    Failure::new(Exit::Input, faults.join("\n"))
}

/// What must not be shown of the card.
fn mask(holder: &Cardholder, codes: Option<&CardCodes>) -> CardMask {
    let pin = holder.get(Column::Pin).map(str::as_bytes);
    let made = codes.into_iter().flat_map(|codes| {
        let pvv = codes.pvv.as_ref().map(|pvv| pvv.as_slice());
        [codes.cvv.as_slice(), codes.icvv.as_slice(), codes.cvv2.as_slice()].into_iter().chain(pvv)
    });
    CardMask::new(holder.get(Column::Pan), pin.into_iter().chain(made))
}

impl CardPreview {
    /// Front and back as a picture, with what is embossed or indented.
    pub fn pictures(&self) -> Result<SidePictures, Failure> {
        let lines = || self.media.relief.iter().flat_map(|(_, lines)| lines);
        let drawn = match &self.media.graphics {
            None => template::bare(lines()),
            Some(GraphicsPreview { template: name, texts, images }) => {
                let texts = texts.iter().map(|(name, text)| (name.as_str(), text.as_str()));
                let images = images.iter().map(|(name, image)| (name.as_str(), image.as_slice()));
                let section =
                    GraphicsSection { template: name, fields: texts.collect(), images: images.collect() };
                template::named(name).and_then(|template| template.render_with(&section, lines()))
            }
        };
        drawn.map_err(|what| Failure::new(Exit::Input, format!("input: {}: graphics: {what}", self.place)))
    }
}
