//! The `[prep]` tables of a product profile as they stand in the TOML file. Not here: parsing of their values
//! (`plan`).
//!
//! ```toml
//! [prep]
//! card_keys = "B"                   # EMV Book 2 A1.4: A or B; for products with card keys
//! transliterate = true              # spell names in ASCII where chip and stripe take no more
//! required = ["stock"]              # columns that every card must have beside those that the product uses
//! [prep.input]                      # how files of cardholders are written
//! format = "csv"                    # or jsonl; files that end with .jsonl are JSON Lines in any case
//! delimiter = ";"
//! encoding = "iso-8859-1"           # utf-8, utf-16 (with byte order mark), utf-16le, utf-16be
//! [prep.columns]                    # names of columns in the files, where they differ
//! card_ref = "CustomerNo"
//! [prep.counter]                    # numbers of the tool for cards whose row has none
//! column = "purse_id"               # or an own field of form digits or bcd
//! prefix = "476173"                 # digits before the number
//! [prep.fields.shelf]               # a field of the product's own: column and field of templates
//! form = "text"                     # text, digits, bcd, hex
//! max = 20                          # and min, required, default
//! [prep.defaults]                   # values for columns that the input leaves empty
//! currency = "978"
//! [prep.stripe]                     # lines of MAG, each a template; sentinels included
//! track1 = "track1"
//! [[prep.emboss]]                   # lines of EMB; [[prep.indent]] lines of IND
//! font = 2
//! x = 401                           # mils from the left edge
//! y = 843                           # mils from the bottom edge
//! text = "pan_number_line"
//! [prep.graphics]                   # GFX
//! template = "multiapp"
//! text = { name = "name_printed" }  # text fields of the template, each a template of ours
//! images = { photo = "photo" }      # image slots of the template, each a column that names a file
//! [[prep.application]]
//! aid = "A0000000031010"
//! seclev = "03"
//! when = "purse_id"                 # only on cards that have this field
//! order = [["8000", "9000"]]        # ORDER, VERCNTL, GROUP, LOGDATA; DGIs that a card lacks fall out
//! [prep.application.offline]        # offline data authentication by certificates
//! method = "cda"                    # sda, dda, cda or certificates
//! aip = "1C00"                      # without the bits of the method, which field aip adds
//! sign_aip = true                   # the AIP belongs to the static data; 9F4A{82} stands in a record
//! card_key = { bits = 1152, exponent = 3 }     # for all but sda, from the pool of key pairs
//! code = "DAC0"                     # for sda: data authentication code
//! number = "pan"                    # or purse_id: what the card's certificate states
//! [[prep.application.dgi]]          # in file order
//! dgi = "0101"
//! value = "70{57{track2_chip}}"
//! static = true                     # a record of the signed static data
//! enc = "11"                        # secret: under the TK in the file, under the DEK to the card; 11, 12 or 22
//! when = "pin_block"
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;
use toml::Spanned;

use super::input::{SourceKind, TextEncoding};
use super::offline::{CardKeySize, OfflineMethod};
use super::own_field::OwnForm;
use crate::crypto::payment::CardKeyMethod;
use crate::ids::{Aid, Dgi};
use crate::scp::SecLevel;

/// The part of a product profile that the preparation reads. The bureau reads the other tables.
#[derive(Deserialize)]
pub struct PrepFile {
    /// The table.
    pub prep: PrepTables,
}

/// `[prep]`. Unknown keys are errors here and below.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepTables {
    /// How card keys are derived from the issuer's keys; a product without card keys has none.
    pub card_keys: Option<CardKeyMethod>,
    /// Whether text is spelled in ASCII where a medium takes no more.
    #[serde(default)]
    pub transliterate: bool,
    /// Columns that every card must have, beside those that the product uses.
    #[serde(default)]
    pub required: Vec<String>,
    /// How files of cardholders are written.
    #[serde(default)]
    pub input: InputTable,
    /// Names of columns in the files, by the name of the column.
    #[serde(default)]
    pub columns: BTreeMap<String, String>,
    /// The column that the tool's counter fills.
    pub counter: Option<CounterTable>,
    /// The product's own fields by name.
    #[serde(default)]
    pub fields: BTreeMap<String, OwnFieldTable>,
    /// Values for columns that the input leaves empty, by column name.
    #[serde(default)]
    pub defaults: BTreeMap<String, String>,
    /// MAG: the tracks.
    #[serde(default)]
    pub stripe: StripeTable,
    /// EMB: the lines to be embossed.
    #[serde(default)]
    pub emboss: Vec<LineTable>,
    /// IND: the lines of indent print.
    #[serde(default)]
    pub indent: Vec<LineTable>,
    /// GFX: template, texts and images.
    pub graphics: Option<GraphicsTable>,
    /// CHP: the applications.
    #[serde(default, rename = "application")]
    pub applications: Vec<ApplicationTable>,
}

/// `[prep.input]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputTable {
    /// csv (the default) or jsonl.
    pub format: Option<SourceKind>,
    /// The character between values of CSV [default: a comma].
    pub delimiter: Option<char>,
    /// How characters are written; without it UTF-8, or what a byte order mark says.
    pub encoding: Option<TextEncoding>,
}

/// `[prep.counter]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CounterTable {
    /// purse_id, or an own field of form digits or bcd.
    pub column: String,
    /// Digits before the number.
    #[serde(default)]
    pub prefix: String,
}

/// `[prep.fields.NAME]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnFieldTable {
    /// text, digits, bcd or hex.
    pub form: OwnForm,
    /// Fewest characters, digits or bytes.
    #[serde(default = "one")]
    pub min: u8,
    /// Most characters, digits or bytes.
    pub max: u8,
    /// Whether every card must have it.
    #[serde(default)]
    pub required: bool,
    /// Value for cards that have none.
    pub default: Option<String>,
}

const fn one() -> u8 {
    1
}

/// `[prep.stripe]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StripeTable {
    /// Template of track 1.
    pub track1: Option<String>,
    /// Template of track 2.
    pub track2: Option<String>,
    /// Template of track 3.
    pub track3: Option<String>,
}

/// `[[prep.emboss]]`, `[[prep.indent]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineTable {
    /// Font number: 1-11 on the front, 21-31 for these fonts on the back.
    pub font: u8,
    /// Mils from the left edge to the centre of the first character.
    pub x: u16,
    /// Mils from the bottom edge to the middle of the line.
    pub y: u16,
    /// Template of the line.
    pub text: String,
}

/// `[prep.graphics]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphicsTable {
    /// Name of the graphics template.
    pub template: String,
    /// Template of each text field of the graphics template.
    pub text: BTreeMap<String, String>,
    /// Column that names the file of each image slot of the graphics template.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
}

/// `[[prep.application]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationTable {
    /// AID of one of the product's applications.
    pub aid: Aid,
    /// SECLEV: the security level of its channel.
    pub seclev: SecLevel,
    /// Field without which a card does not get the application.
    pub when: Option<String>,
    /// ORDER: groups of DGIs that are sent in this order.
    #[serde(default)]
    pub order: Vec<Vec<Dgi>>,
    /// VERCNTL: DGIs that the card may refuse with 6A88.
    #[serde(default)]
    pub version_control: Vec<Dgi>,
    /// GROUP: each group is sent in one STORE DATA.
    #[serde(default)]
    pub group: Vec<Vec<Dgi>>,
    /// LOGDATA: the DGIs that are logged.
    #[serde(default)]
    pub log: Vec<Dgi>,
    /// How a terminal authenticates the card offline.
    pub offline: Option<OfflineTable>,
    /// The data in file order.
    #[serde(rename = "dgi")]
    pub dgis: Vec<DataGroupTable>,
}

/// `[prep.application.offline]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OfflineTable {
    /// sda, dda, cda or certificates.
    pub method: OfflineMethod,
    /// Application interchange profile (hex, 2 bytes) without the bits of the method; not for certificates.
    pub aip: Option<String>,
    /// Whether the AIP belongs to the static data (tag 9F4A is 82).
    #[serde(default)]
    pub sign_aip: bool,
    /// Version of the issuer's RSA key; without it the newest with a certificate.
    pub issuer_key: Option<u8>,
    /// Key pairs of the cards: for all methods but sda.
    pub card_key: Option<Spanned<CardKeySize>>,
    /// Data authentication code of signed static data (hex, 2 bytes).
    pub code: Option<String>,
    /// Column whose number the card's certificate states: pan (the default) or purse_id.
    pub number: Option<String>,
}

/// `[[prep.application.dgi]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataGroupTable {
    /// The DGI.
    pub dgi: Dgi,
    /// Template of the value.
    pub value: String,
    /// ENC type as two hex digits. A DGI that has one is secret.
    pub enc: Option<String>,
    /// Whether the record belongs to the static data that the issuer signs.
    #[serde(default, rename = "static")]
    pub is_static: bool,
    /// Field without which a card does not get the DGI.
    pub when: Option<String>,
}
