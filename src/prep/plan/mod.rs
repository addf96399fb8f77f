//! The `[prep]` tables of a product, parsed and checked once for a run.
//!
//! A profile that would expose a secret is refused here: keys and PIN blocks may stand only in DGIs with ENC,
//! a PIN block only alone in its DGI and with ENC 22, and nothing secret may go on stripe or plastic or into
//! LOGDATA. So is a text that no card's stripe or plastic can take. Not here: building a card (`clear`).

mod column_use;
mod offline;

use std::collections::{BTreeMap, BTreeSet};

use super::columns::{self, Column};
use super::fields::{self, CardField};
use super::input::InputSchema;
use super::offline::{CardKeySize, OfflineMethod};
use super::own_field::OwnField;
use super::tables;
use super::template::{DataTemplate, FieldValue, FieldValues};
use crate::exit::{Exit, Failure};
use crate::hsm::store::KeyUsage;
use crate::ids::{Aid, Dgi};
use crate::modules::sections::{check_track, track_set};
use crate::profile::ProductProfile;
use crate::record::chip::EncType;
use crate::scp::SecLevel;
use crate::toml_text::{self, Quoting};

pub use crate::crypto::payment::CardKeyMethod;

/// The preparation of one product.
pub struct PrepPlan {
    /// How card keys are derived from the issuer's keys; without a meaning in a product that has none.
    pub card_keys: CardKeyMethod,
    /// What the product expects of its input.
    pub input: InputSchema,
    /// MAG: the number of each track and its template.
    pub stripe: Vec<(u8, DataTemplate)>,
    /// EMB: the lines to be embossed.
    pub emboss: Vec<PrintedLine>,
    /// IND: the lines of indent print.
    pub indent: Vec<PrintedLine>,
    /// GFX: template, texts and images.
    pub graphics: Option<GraphicsPlan>,
    /// CHP: the applications.
    pub applications: Vec<ApplicationPlan>,
    /// Every field that a card may need.
    pub used: BTreeSet<CardField>,
}

/// The contents of the GFX section.
pub struct GraphicsPlan {
    /// Name of the graphics template.
    pub template: String,
    /// The text fields by name.
    pub text: BTreeMap<String, DataTemplate>,
    /// The image slots, each with the column that names the file. A card without a value in that column has
    /// no image there.
    pub images: BTreeMap<String, Column>,
}

/// A line of embossing or indent print.
pub struct PrintedLine {
    /// Font number.
    pub font: u8,
    /// Distance from the left edge in mils (1/1000 inch).
    pub x: u16,
    /// Distance from the bottom edge in mils (1/1000 inch).
    pub y: u16,
    /// The text of the line.
    pub text: DataTemplate,
}

/// An application as the product defines it.
pub struct ApplicationPlan {
    /// AID of the application.
    pub aid: Aid,
    /// SECLEV: the security level of its channel.
    pub level: SecLevel,
    /// Field that a card must have to get the application.
    pub when: Option<CardField>,
    /// ORDER: groups of DGIs that are sent in this order.
    pub order: Vec<Vec<Dgi>>,
    /// VERCNTL: DGIs that the card may refuse with 6A88.
    pub version_control: Vec<Dgi>,
    /// GROUP: each group is sent in one STORE DATA.
    pub group: Vec<Vec<Dgi>>,
    /// LOGDATA: the DGIs that are logged.
    pub log: Vec<Dgi>,
    /// Offline data authentication.
    pub offline: Option<OfflinePlan>,
    /// The data in file order.
    pub dgis: Vec<DataGroupPlan>,
}

/// The offline data authentication of an application.
pub struct OfflinePlan {
    /// How a terminal authenticates the card.
    pub method: OfflineMethod,
    /// Application interchange profile without the bits of the method.
    pub aip: [u8; 2],
    /// Whether the AIP belongs to the static data.
    pub sign_aip: bool,
    /// Version of the issuer's key; `None`: the newest with a certificate.
    pub issuer_key: Option<u8>,
    /// Key pairs of the cards.
    pub card_key: Option<CardKeySize>,
    /// Data authentication code of signed static data.
    pub code: [u8; 2],
    /// Column whose number the card's certificate states.
    pub number: Column,
}

/// A DGI as the product defines it.
pub struct DataGroupPlan {
    /// The DGI.
    pub dgi: Dgi,
    /// Template of its value.
    pub value: DataTemplate,
    /// For a secret value: how it is sent to the card.
    pub enc: Option<EncType>,
    /// Whether it is a record of the signed static data.
    pub is_static: bool,
    /// Field that a card must have to get the DGI.
    pub when: Option<CardField>,
}

impl PrepPlan {
    /// Parses and checks the `[prep]` of a product.
    pub fn load(product: &ProductProfile) -> Result<Self, Failure> {
        let (text, origin) = &product.source;
        let fail = |what: String| Failure::new(Exit::Profile, format!("profile {origin}: {what}"));
        if product.prep.is_none() {
            return Err(fail("[prep] is missing, so the product cannot be prepared".into()));
        }
        // From the text, because the table has no line numbers.
        let file: tables::PrepFile =
            toml_text::parse(text, Quoting::Values).map_err(|fault| fail(fault.to_string()))?;
        Self::from_tables(file.prep, product).map_err(|what| fail(format!("[prep]: {what}")))
    }

    fn from_tables(mut tables: tables::PrepTables, product: &ProductProfile) -> Result<Self, String> {
        let own = own_fields(&tables)?;
        let input = InputSchema::new(&tables, &own)?;
        let lines = |table: &str, lines: Vec<tables::LineTable>| {
            lines.into_iter().map(|entry| line(table, entry, &own)).collect::<Result<Vec<_>, _>>()
        };
        let card_keys = tables.card_keys;
        let applications = std::mem::take(&mut tables.applications);
        let mut plan = Self {
            card_keys: card_keys.unwrap_or(CardKeyMethod::A),
            input,
            stripe: stripe(tables.stripe, &own)?,
            emboss: lines("emboss", tables.emboss)?,
            indent: lines("indent", tables.indent)?,
            graphics: tables.graphics.map(|table| graphics(table, &own)).transpose()?,
            applications: self::applications(applications, product, &own)?,
            used: BTreeSet::new(),
        };
        plan.used = plan.named().collect();
        let of_master = [KeyUsage::ImkAc, KeyUsage::ImkSmi, KeyUsage::ImkSmc];
        if card_keys.is_none() && plan.needs().iter().any(|usage| of_master.contains(usage)) {
            return Err("card_keys is missing: A or B, how card keys come from the issuer's".into());
        }
        let used = column_use::of(&plan);
        plan.input.used(used);
        Ok(plan)
    }

    /// Iterates over every field that a template or a `when` names.
    fn named(&self) -> impl Iterator<Item = CardField> {
        let lines = self.emboss.iter().chain(&self.indent).map(|l| &l.text);
        let graphics = self.graphics.iter().flat_map(|g| g.text.values());
        let dgis = || self.applications.iter().flat_map(|a| &a.dgis);
        let templates =
            self.stripe.iter().map(|(_, t)| t).chain(lines).chain(graphics).chain(dgis().map(|d| &d.value));
        let when = self.applications.iter().filter_map(|a| a.when).chain(dgis().filter_map(|d| d.when));
        templates.flat_map(DataTemplate::fields).chain(when)
    }

    /// Returns the issuer keys without which no card can be prepared. The PVK is not among them: without it a
    /// card has no PVV.
    pub fn needs(&self) -> BTreeSet<KeyUsage> {
        self.used.iter().flat_map(|f| f.needs()).copied().collect()
    }
}

/// The product's own fields.
fn own_fields(tables: &tables::PrepTables) -> Result<Vec<OwnField>, String> {
    let own = tables.fields.iter().map(|(name, table)| {
        let taken = fields::by_name(name, &[]).is_some() || columns::by_name(name).is_some();
        match OwnField::new(name, table) {
            Ok(_) if taken => Err(format!("fields.{name}: there is a field or column of this name already")),
            made => made.map_err(|what| format!("fields.{name}: {what}")),
        }
    });
    own.collect()
}

fn stripe(table: tables::StripeTable, own: &[OwnField]) -> Result<Vec<(u8, DataTemplate)>, String> {
    let tracks = [(1, table.track1), (2, table.track2), (3, table.track3)];
    let tracks = tracks.into_iter().filter_map(|(number, text)| Some((number, text?)));
    let tracks = tracks.map(|(number, text)| match track(number, &text, own) {
        Ok(template) => Ok((number, template)),
        Err(what) => Err(format!("stripe.track{number}: {what}")),
    });
    tracks.collect()
}

fn applications(
    tables: Vec<tables::ApplicationTable>,
    product: &ProductProfile,
    own: &[OwnField],
) -> Result<Vec<ApplicationPlan>, String> {
    let mut applications: Vec<ApplicationPlan> = Vec::new();
    for table in tables {
        let aid = table.aid.clone();
        if product.application(&aid).is_none() {
            let aids: Vec<_> = product.applications.iter().map(|a| a.aid.to_string()).collect();
            let aids = aids.join(", ");
            return Err(format!(
                "application {aid} is not one of the product's applications, which are {aids}"
            ));
        }
        if applications.iter().any(|a| a.aid == aid) {
            return Err(format!("application {aid} stands twice"));
        }
        let checked = application(table, own, &product.source.0);
        applications.push(checked.map_err(|what| format!("application {aid}: {what}"))?);
    }
    Ok(applications)
}

/// Parses a template for stripe or plastic: a text of these characters, without a secret field.
fn public(text: &str, own: &[OwnField], allowed: impl Fn(u8) -> bool) -> Result<DataTemplate, String> {
    let template = DataTemplate::parse(text, own).map_err(|e| e.to_string())?;
    if let Some(secret) = template.fields().into_iter().find(|f| f.secret()) {
        return Err(format!("{} is secret", secret.name()));
    }
    template.check_text(allowed).map_err(|e| e.to_string())?;
    Ok(template)
}

/// Parses the template of a track, and tries it on a made-up card with the check of the bureau's acceptance.
fn track(number: u8, text: &str, own: &[OwnField]) -> Result<DataTemplate, String> {
    let set = track_set(number).ok_or("a stripe has the tracks 1 to 3")?;
    let template = public(text, own, |b| set.contains(&b))?;
    let tried = template.render_known(&Examples).map_err(|field| format!("{} is no text", field.name()))?;
    check_track(number, &tried)?;
    Ok(template)
}

/// The texts of a made-up card.
struct Examples;

impl FieldValues for Examples {
    fn value(&self, field: CardField) -> Option<FieldValue<'_>> {
        field.example().map(|text| FieldValue::Bytes(text.as_bytes()))
    }
}

/// Printable ASCII.
fn printed(b: u8) -> bool {
    (0x20..=0x7E).contains(&b)
}

/// Checks a line of `~EM%` against the limits of its format (`src/manual/cwf1.md` section 4).
fn line(table: &str, entry: tables::LineTable, own: &[OwnField]) -> Result<PrintedLine, String> {
    let tables::LineTable { font, x, y, text } = entry;
    let place = format!("{table} {font};{x};{y}");
    if !matches!(font, 1..=11 | 21..=31) || !(100..=3275).contains(&x) || !(135..=1460).contains(&y) {
        return Err(format!("{place} (font;x;y): font is 1-11 or 21-31, x 100-3275 mils, y 135-1460 mils"));
    }
    let allowed = |b| printed(b) && !b"<>".contains(&b);
    let text = public(&text, own, allowed).map_err(|what| format!("{place}: {what}"))?;
    Ok(PrintedLine { font, x, y, text })
}

fn graphics(table: tables::GraphicsTable, own: &[OwnField]) -> Result<GraphicsPlan, String> {
    let mut text = BTreeMap::new();
    for (name, template) in table.text {
        name_fits(&name)?;
        let template =
            public(&template, own, printed).map_err(|what| format!("graphics field {name}: {what}"))?;
        text.insert(name, template);
    }
    let mut images = BTreeMap::new();
    for (name, column) in table.images {
        name_fits(&name)?;
        if column != Column::Photo.name() {
            return Err(format!("graphics image {name}: only column photo names a file, not {column:?}"));
        }
        images.insert(name, Column::Photo);
    }
    Ok(GraphicsPlan { template: table.template, text, images })
}

/// Checks that a name fits into an L1 field.
fn name_fits(name: &str) -> Result<(), String> {
    let fits = (1..=255).contains(&name.len());
    if fits { Ok(()) } else { Err("graphics: a field or image name has 1 to 255 bytes".into()) }
}

/// Checks an application; `text` is the profile's.
fn application(
    table: tables::ApplicationTable,
    own: &[OwnField],
    text: &str,
) -> Result<ApplicationPlan, String> {
    let mut dgis: Vec<DataGroupPlan> = Vec::new();
    for group in table.dgis {
        let dgi = group.dgi;
        if dgis.iter().any(|d| d.dgi == dgi) {
            return Err(format!("DGI {dgi} stands twice"));
        }
        dgis.push(data_group(group, own).map_err(|what| format!("DGI {dgi}: {what}"))?);
    }
    if dgis.is_empty() {
        return Err("has no DGI".into());
    }
    let card_key = table.offline.as_ref().and_then(|offline| offline.card_key.as_ref());
    let card_key_line = card_key.map(|key| toml_text::line_at(text, key.span().start));
    let application = ApplicationPlan {
        aid: table.aid,
        level: table.seclev,
        when: table.when.map(|name| field(&name, own)).transpose()?,
        order: table.order,
        version_control: table.version_control,
        group: table.group,
        log: table.log,
        offline: table.offline.map(offline::plan).transpose()?,
        dgis,
    };
    lists(&application)?;
    offline::check(&application)?;
    offline::check_answer(&application).map_err(|what| match card_key_line {
        Some(line) => format!("line {line}: {what}"),
        None => what,
    })?;
    Ok(application)
}

/// Checks that every DGI of a list is in the data, and stands once in the list (`src/manual/cwf1.md` section
/// 5).
fn lists(application: &ApplicationPlan) -> Result<(), String> {
    let secret = |dgi: Dgi| application.dgis.iter().find(|d| d.dgi == dgi).map(|d| d.enc.is_some());
    for (name, list) in [
        ("order", application.order.concat()),
        ("version_control", application.version_control.clone()),
        ("group", application.group.concat()),
        ("log", application.log.clone()),
    ] {
        let mut seen = BTreeSet::new();
        for dgi in list {
            match secret(dgi) {
                None => return Err(format!("{name}: DGI {dgi} is not in the data")),
                Some(true) if name == "log" => return Err(format!("log: DGI {dgi} is secret")),
                Some(_) if !seen.insert(dgi) => return Err(format!("{name}: DGI {dgi} stands twice")),
                Some(_) => {}
            }
        }
    }
    for group in application.order.iter().chain(&application.group) {
        if !(1..=255).contains(&group.len()) {
            return Err("a list of order or group has 1 to 255 DGIs".into());
        }
    }
    let mixed = |group: &&Vec<Dgi>| {
        !group.iter().map(|d| secret(*d)).all(|s| s == group.first().and_then(|d| secret(*d)))
    };
    match application.group.iter().find(mixed) {
        Some(_) => Err("group: DGIs of one group are all clear or all secret".into()),
        None => Ok(()),
    }
}

fn data_group(table: tables::DataGroupTable, own: &[OwnField]) -> Result<DataGroupPlan, String> {
    let value = DataTemplate::parse(&table.value, own).map_err(|e| e.to_string())?;
    let enc = match table.enc.as_deref() {
        None => None,
        Some("11") => Some(EncType::AsIs),
        Some("12") => Some(EncType::Pad),
        Some("22") => Some(EncType::PinBlock),
        Some(other) => return Err(format!("enc is 11, 12 or 22, not {other:?}")),
    };
    let names = value.fields();
    if let (None, Some(secret)) = (enc, names.iter().find(|f| f.secret())) {
        return Err(format!("{} is secret, so the DGI needs enc", secret.name()));
    }
    if (enc == Some(EncType::PinBlock)) != names.contains(&CardField::PinBlock)
        || (enc == Some(EncType::PinBlock)) != value.is_field(CardField::PinBlock)
    {
        return Err("pin_block stands alone in its DGI, with enc 22, and no other field has enc 22".into());
    }
    // Records of SFI 1-10 are complete 70 templates (EMV CPS 3.2).
    if (0x01..=0x0A).contains(&(table.dgi.0 >> 8)) && !value.is_one(&[0x70]) {
        return Err("a record of SFI 1-10 is one 70{...}".into());
    }
    let when = table.when.map(|name| field(&name, own)).transpose()?;
    Ok(DataGroupPlan { dgi: table.dgi, value, enc, is_static: table.is_static, when })
}

fn field(name: &str, own: &[OwnField]) -> Result<CardField, String> {
    fields::by_name(name, own).ok_or_else(|| format!("when: {}", fields::unknown(name, own)))
}

#[cfg(test)]
mod tests;
