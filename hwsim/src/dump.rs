//! The object of a blank that left the line ([`crate::witness`]), read back: its chip can answer again.
//!
//! Only the chip comes back: a blank made of the dump has a new stripe and no print. The dump shows neither
//! keys nor ATR, which are those of the first supply of its KMC_ID.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::Value;

use crate::card::{BlankSpec, SimulatedCard};
use crate::profile::BlankSupply;
use crate::text_file;

/// A chip out of a dump.
pub struct DumpedChip {
    /// KEYDATA: KMC_ID and CSN.
    pub key_data: [u8; 10],
    chip: Value,
}

/// The parts of the object that the chip needs.
#[derive(Deserialize)]
struct DumpedObject {
    simulated: bool,
    keydata: String,
    chip: Value,
}

impl DumpedChip {
    /// Reads a dump's file.
    pub fn read(path: &Path) -> Result<Self> {
        text_file::read(path)
            .and_then(|text| Self::parse(&text))
            .with_context(|| format!("dump {}", path.display()))
    }

    /// Parses the object, all but its chip.
    pub fn parse(text: &str) -> Result<Self> {
        let object: DumpedObject = serde_json::from_str(text)?;
        ensure!(object.simulated, "it is not of a simulated card");
        let key_data = hex::decode(&object.keydata).ok().and_then(|bytes| bytes.try_into().ok());
        let key_data = key_data.context("keydata is not 10 bytes in hex")?;
        Ok(Self { key_data, chip: object.chip })
    }

    /// Whether the card is from this supply, by its KMC_ID.
    pub fn is_from(&self, supply: &BlankSupply) -> bool {
        self.key_data.starts_with(&supply.kmc_id)
    }

    /// The blank that a supply would have made it of.
    pub fn spec(&self, supply: &BlankSupply, seed: u64) -> BlankSpec {
        supply.spec(self.key_data, seed)
    }

    /// Puts the applications back into a blank's chip. An error says which of them no simulated card can have.
    pub fn fill(&self, chip: &mut SimulatedCard) -> Result<()> {
        chip.restore(&self.chip)
    }

    /// The card by itself, without power.
    pub fn card(&self, supply: &BlankSupply, seed: u64) -> Result<SimulatedCard> {
        let mut card = SimulatedCard::new(self.spec(supply, seed));
        self.fill(&mut card)?;
        Ok(card)
    }
}
