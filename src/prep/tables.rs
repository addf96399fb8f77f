//! The `[prep]` tables of a product profile as they stand in the TOML: names and shapes, nothing parsed further.
//!
//! ```toml
//! [prep]
//! card_keys = "B"                   # EMV Book 2 A1.4: A or B
//! [prep.defaults]                   # values for columns that the input leaves empty
//! currency = "978"
//! [prep.stripe]                     # lines of MAG, each a template; sentinels included
//! track1 = "track1"
//! [[prep.emboss]]                   # lines of EMB; [[prep.indent]] the same for IND
//! font = 2
//! x = 401                           # mils from the left edge
//! y = 843                           # mils from the bottom edge
//! text = "pan_grouped"
//! [prep.graphics]                   # GFX
//! template = "multiapp"
//! text = { name = "name_printed" }  # text fields of the template, each a template of ours
//! images = { photo = "photo" }      # image slots of the template, each a column that names a file
//! [[prep.application]]
//! aid = "A0000000031010"
//! seclev = "03"
//! when = "purse_id"                 # only on cards that have this field
//! order = [["8000", "9000"]]        # ORDER, VERCNTL, GROUP, LOGDATA; DGIs that a card lacks fall out
//! [[prep.application.dgi]]          # in file order
//! dgi = "0101"
//! value = "70{57{track2_chip}}"
//! enc = "11"                        # secret: under the TK in the file, under the DEK to the card; 11, 12 or 22
//! when = "pin_block"
//! ```

use std::collections::BTreeMap;

use serde::Deserialize;

use super::emv::Option14;
use crate::ids::{Aid, Dgi, SecLevel};

/// `[prep]`. Unknown keys are errors here and below.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PrepTables {
    /// How card keys come from the issuer's.
    pub card_keys: Option14,
    /// By column name.
    #[serde(default)]
    pub defaults: BTreeMap<String, String>,
    /// MAG.
    #[serde(default)]
    pub stripe: StripeTable,
    /// EMB.
    #[serde(default)]
    pub emboss: Vec<LineTable>,
    /// IND.
    #[serde(default)]
    pub indent: Vec<LineTable>,
    /// GFX.
    pub graphics: Option<GraphicsTable>,
    /// CHP.
    #[serde(default, rename = "application")]
    pub applications: Vec<ApplicationTable>,
}

/// `[prep.stripe]`.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StripeTable {
    /// Track 1.
    pub track1: Option<String>,
    /// Track 2.
    pub track2: Option<String>,
    /// Track 3.
    pub track3: Option<String>,
}

/// `[[prep.emboss]]`, `[[prep.indent]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineTable {
    /// 1-11; 21-31 the same on the other side.
    pub font: u8,
    /// Mils from the left edge to the centre of the first character.
    pub x: u16,
    /// Mils from the bottom edge to the middle of the line.
    pub y: u16,
    /// Template.
    pub text: String,
}

/// `[prep.graphics]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GraphicsTable {
    /// Name of the graphics template.
    pub template: String,
    /// Text field of the graphics template, and our template for it.
    pub text: BTreeMap<String, String>,
    /// Image slot of the graphics template, and the column that names its file.
    #[serde(default)]
    pub images: BTreeMap<String, String>,
}

/// `[[prep.application]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationTable {
    /// Its AID; the product has it.
    pub aid: Aid,
    /// SECLEV.
    pub seclev: SecLevel,
    /// Field without which a card does not get the application.
    pub when: Option<String>,
    /// ORDER.
    #[serde(default)]
    pub order: Vec<Vec<Dgi>>,
    /// VERCNTL.
    #[serde(default)]
    pub version_control: Vec<Dgi>,
    /// GROUP.
    #[serde(default)]
    pub group: Vec<Vec<Dgi>>,
    /// LOGDATA.
    #[serde(default)]
    pub log: Vec<Dgi>,
    /// Data, in file order.
    #[serde(rename = "dgi")]
    pub dgis: Vec<DataGroupTable>,
}

/// `[[prep.application.dgi]]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataGroupTable {
    /// Which.
    pub dgi: Dgi,
    /// Template.
    pub value: String,
    /// ENC type, two hex digits; present = secret.
    pub enc: Option<String>,
    /// Field without which a card does not get the DGI.
    pub when: Option<String>,
}
