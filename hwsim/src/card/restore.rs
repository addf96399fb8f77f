//! Reads the `chip` object of a dump back (`SimulatedCard::chip_dump` writes it): applications and DGIs as they
//! stood.
//!
//! The dump holds no counters, so those of an application begin as they did when personalization ended. Values
//! are not checked against their forms: a card that was dumped with a wrong bit comes back with it.

use std::collections::BTreeMap;

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

use super::application::CardApplication;
use super::rules::StoredDgis;

/// The `chip` object.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChipDump {
    applications: Vec<ApplicationDump>,
}

/// An application in it; hex, as the dump shows it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ApplicationDump {
    aid: String,
    state: String,
    dgis: BTreeMap<String, String>,
}

/// Makes the applications of a card, as the dump shows them.
pub(super) fn applications(chip: &Value) -> Result<Vec<CardApplication>> {
    let dump = ChipDump::deserialize(chip).context("the chip object of the dump")?;
    let mut applications = CardApplication::all();
    let mut restored = Vec::new();
    for dumped in dump.applications {
        let aid = dumped.aid;
        let application = applications.iter_mut().find(|a| hex::encode_upper(a.rom.aid) == aid);
        let Some(application) = application else {
            bail!("the dump has application {aid}, which no simulated card has");
        };
        ensure!(!restored.contains(&aid), "the dump has application {aid} twice");
        fill(application, &dumped.state, &dumped.dgis).with_context(|| format!("application {aid}"))?;
        restored.push(aid);
    }
    Ok(applications)
}

/// Puts DGIs and state into a fresh application.
fn fill(application: &mut CardApplication, state: &str, dgis: &BTreeMap<String, String>) -> Result<()> {
    let mut stored = StoredDgis::new();
    for (name, value) in dgis {
        let number = u16::from_str_radix(name, 16).ok().filter(|number| format!("{number:04X}") == *name);
        let number = number.filter(|number| application.accepts(*number));
        let number = number.with_context(|| format!("it takes no DGI {name}"))?;
        let value = hex::decode(value).with_context(|| format!("the value of DGI {name} is not hex"))?;
        stored.insert(number, value);
    }
    application.dgis = stored;
    match state {
        "SELECTABLE" => Ok(()),
        "PERSONALIZED" => {
            application.personalize().map_err(|_| anyhow!("it is PERSONALIZED without a DGI that it needs"))
        }
        other => bail!("{other} is no state of an application"),
    }
}
