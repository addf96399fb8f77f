//! Product profiles: the facts about a card product that its output files do not state.
//!
//! A card's oddity is a field here, never an `if name` in the code. The `[prep]` table belongs to the issuer's
//! preparation (`prep`), which reads it from the same file; the bureau does not look at it.

use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::crypto::Suite;
use crate::exit::{Exit, Failure};
use crate::ids::{Aid, Dgi, ProductName, hex_bytes};
use crate::scp::{KeyDerivation, SecureChannel};

pub(super) const PRODUCT: super::ProfileFolder =
    super::ProfileFolder { noun: "product", folder: "products", shipped: super::PRODUCTS };

/// A card product. Unknown keys are errors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProductProfile {
    /// Its name, as the Header of an output file states it.
    pub name: ProductName,
    /// A text for people.
    pub description: String,
    /// Weakest protection that an output file of this product may use.
    pub min_suite: MinSuite,
    /// Whether values under the TK may be ECB (CMODE 11, 13).
    #[serde(default)]
    pub allow_ecb: bool,
    /// The chip, if the product has one.
    #[serde(default)]
    pub chip: Option<ChipProfile>,
    /// Applications in any order. The output file says which of them a card gets.
    #[serde(default, rename = "application")]
    pub applications: Vec<ApplicationProfile>,
    /// The table of the issuer's preparation. The bureau does not read it.
    #[serde(default)]
    pub prep: Option<toml::Table>,
    /// The profile's text, and its name in messages.
    #[serde(skip)]
    pub source: (String, String),
    /// SHA-256 of the profile's text.
    #[serde(skip)]
    pub digest: [u8; 32],
    /// Digest of the tables `chip` and `application`; `None` without a chip.
    #[serde(skip)]
    pub chip_program: Option<[u8; 32]>,
}

/// `min_suite`, from weak to strong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MinSuite {
    /// TYPEtk 40 and above.
    Tdes,
    /// TYPEtk 41 and above.
    Aes128,
    /// TYPEtk 42.
    Aes256,
}

impl MinSuite {
    /// Whether a suite is strong enough.
    pub fn admits(self, suite: Suite) -> bool {
        let have = match suite {
            Suite::Tdes => Self::Tdes,
            Suite::Aes128 => Self::Aes128,
            Suite::Aes256 => Self::Aes256,
        };
        have >= self
    }
}

/// The chip and its channel.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ChipProfile {
    /// ATRs that blanks of this product may show, hex.
    pub atr: Vec<String>,
    /// How card keys come from the KMC.
    pub derivation: KeyDerivation,
    /// The secure channel: `{ scp = "02", i = "55" }`, and `key_version` where it is not the card's default.
    pub channel: SecureChannel,
    /// How `card ask` finds out which card a chip belongs to.
    #[serde(default)]
    pub identify: ChipIdentification,
}

/// How `card ask` gets the KEYDATA of a chip.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChipIdentification {
    /// One INITIALIZE UPDATE, which some cards count.
    #[default]
    InitializeUpdate,
    /// GET DATA 00CF of the card manager, which costs nothing.
    GetData,
}

/// An application on the card.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApplicationProfile {
    /// AID to SELECT.
    pub aid: Aid,
    /// Its name in reports and messages.
    pub name: String,
    /// Whether several DGIs may share one STORE DATA without a GROUP saying so.
    #[serde(default)]
    pub pack: bool,
    /// The command that ends personalization.
    pub finalize: Finalize,
    /// DGIs that are secret already under a key known to the card: passed through, sent with P1 "encrypted".
    #[serde(default)]
    pub pass_through: Vec<Dgi>,
    /// Records that are read again after personalization and compared with what was sent: 0101 to 1EFF.
    #[serde(default)]
    pub read_back: Vec<Dgi>,
    /// The DGI of the template A5 that the answer to SELECT has once the application is personalized, and not before.
    /// It shows the life cycle to `card ask`.
    #[serde(default)]
    pub fci: Option<Dgi>,
}

/// The command that ends the personalization of an application (EMV CPS 2.0, 4.3.5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finalize {
    /// P1 b8 of the last STORE DATA.
    LastStoreData,
    /// SET STATUS of the application to 07 afterwards.
    SetStatus,
}

impl ProductProfile {
    /// Loads and checks the product that a person names: by name, or by the path of a `.toml` file.
    pub fn load(name: &str) -> Result<Self, Failure> {
        let (text, origin) = super::chosen(PRODUCT, name)?;
        let product = Self::from_toml(&text, &origin)?;
        match name.ends_with(".toml") {
            true => product.check_place(Path::new(name))?,
            false => product.check_name(name, &origin)?,
        }
        Ok(product)
    }

    /// Refuses a file in the bureau's own products folder if its file name differs from the product's name. The bureau looks
    /// products up by file name: it would not find this one, or would take it for another.
    pub fn check_place(&self, path: &Path) -> Result<(), Failure> {
        match super::own_name(PRODUCT, path) {
            Some(name) => self.check_name(&name, &path.display().to_string()),
            None => Ok(()),
        }
    }

    /// Checks that a product has the name by which it was found, and that it can be found by that.
    fn check_name(&self, name: &str, origin: &str) -> Result<(), Failure> {
        if self.name.as_str() == name && super::is_plain(name) {
            return Ok(());
        }
        let what = format!(
            "profile {origin}: its name is {:?}, and its file is found as {name}: give both one name, of letters A to Z, digits, - and _",
            self.name.as_str()
        );
        Err(Failure::new(Exit::Profile, what))
    }

    /// Loads and checks the product that a file's Header names: by name alone. If there is no such profile, the file
    /// is at fault ([`Exit::FileProfile`]); if the profile is wrong, the profile is ([`Exit::Profile`]).
    pub fn named(name: &ProductName) -> Result<Self, Failure> {
        let unknown = || format!("file: {}", super::unknown(PRODUCT, name.as_str()));
        let (text, origin) = super::named(PRODUCT, name.as_str())?
            .ok_or_else(|| Failure::new(Exit::FileProfile, unknown()))?;
        let product = Self::from_toml(&text, &origin)?;
        product.check_name(name.as_str(), &origin)?;
        Ok(product)
    }

    /// Parses and checks the text of a profile; `origin` names it in messages.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, Failure> {
        let product: Self = super::parse(text, origin)?;
        let chip_program = product.chip.as_ref().and_then(|_| chip_program(text));
        let source = (text.to_owned(), origin.to_owned());
        let product = Self { source, digest: Sha256::digest(text).into(), chip_program, ..product };
        product.check().map_err(|what| Failure::new(Exit::Profile, format!("profile {origin}: {what}")))?;
        Ok(product)
    }

    fn check(&self) -> Result<(), String> {
        let mut aids = std::collections::BTreeSet::new();
        for application in &self.applications {
            if !aids.insert(&application.aid) {
                return Err(format!("application {} stands twice", application.aid));
            }
            if let Some(dgi) = application.read_back.iter().find(|dgi| dgi.record().is_none()) {
                let aid = &application.aid;
                return Err(format!(
                    "application {aid}: read_back names records, 0101 to 1EFF; {dgi} is not one"
                ));
            }
        }
        if self.chip.is_some() == self.applications.is_empty() {
            return Err("a chip needs applications, and applications need a [chip]".into());
        }
        if self.chip.as_ref().is_some_and(|chip| chip.atr.is_empty()) {
            return Err(
                "chip.atr names no ATR, so every blank would be rejected: name those of the blanks".into()
            );
        }
        for atr in self.chip.iter().flat_map(|c| &c.atr) {
            hex_bytes(atr, "an ATR", 2, 33).map_err(|fault| format!("chip.atr {atr:?}: {fault}"))?;
        }
        Ok(())
    }

    /// The application with this AID.
    pub fn application(&self, aid: &Aid) -> Option<&ApplicationProfile> {
        self.applications.iter().find(|a| a.aid == *aid)
    }
}
/// SHA-256("CWCP1" | the tables `chip` and `application` of a product profile, as TOML in the order of their keys).
/// Together with the file, these tables decide which commands a card gets.
fn chip_program(text: &str) -> Option<[u8; 32]> {
    let mut table: toml::Table = text.parse().ok()?;
    table.retain(|key, _| key == "chip" || key == "application");
    let program = toml::to_string(&table).ok()?;
    Some(Sha256::new().chain_update("CWCP1").chain_update(program).finalize().into())
}
