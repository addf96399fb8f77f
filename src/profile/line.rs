//! Line profiles: modules in the order in which a card visits them, their stations, links and timing.
//!
//! The `[sim]` table belongs to `hwsim`, which reads the same file; here it is carried, not interpreted.

use serde::Deserialize;

use crate::exit::{Exit, Failure};
use crate::ids::Mic;

const LINE: super::Kind = super::Kind { noun: "line", folder: "lines", shipped: super::LINES };

/// A personalization line. Unknown keys are errors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Line {
    /// Its name.
    pub name: String,
    /// For people.
    pub description: String,
    /// Cards that may be under way at once: also how far a card may overtake. At least the number of stations.
    pub reorder_buffer: u32,
    /// What becomes of a rejected card.
    pub rejects: Rejects,
    /// MICs that no module serves and that are no error.
    #[serde(default)]
    pub ignore: Vec<Mic>,
    /// Modules in line order.
    #[serde(rename = "module")]
    pub modules: Vec<Module>,
    /// Stations on real links, by station name; not needed for a simulated run.
    #[serde(default)]
    pub link: std::collections::BTreeMap<String, Link>,
    /// Of `hwsim`; a line without it cannot be simulated.
    #[serde(default)]
    pub sim: Option<toml::Table>,
}

/// What the machine does with a rejected card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Rejects {
    /// Into a bin: a person destroys it and says so.
    Bin,
    /// The machine shreds it at once.
    Shredded,
}

/// A processing module with one or more stations.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Module {
    /// Its name; stations are `name-1`, `name-2` ...
    pub name: String,
    /// What it does.
    pub kind: Kind,
    /// The MICs that feed it.
    pub mics: Vec<Mic>,
    /// How many stations work in parallel.
    #[serde(default = "one")]
    pub stations: u32,
    /// Stripe only: coercivity of the plastic.
    #[serde(default)]
    pub coercivity: Option<Coercivity>,
}

fn one() -> u32 {
    1
}

/// Kinds of module: one processing module each (`modules`), with its driver.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Contact chip: driver `reader`.
    Chip,
    /// Magnetic stripe: driver `msr605`.
    Stripe,
    /// Card printer: driver `card-printer`.
    Printer,
    /// Embosser with indent wheel: driver `embosser`.
    Embosser,
    /// Fulfilment data: no station; carried to reports.
    Fulfilment,
}

/// Coercivity of a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Coercivity {
    /// ISO 7811-6.
    Hico,
    /// ISO 7811-2.
    Loco,
}

/// How a station is reached.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Serial device, for the machine.
    #[serde(default)]
    pub serial: Option<String>,
    /// Bits per second.
    #[serde(default)]
    pub baud: Option<u32>,
    /// Serial device of the station's card transport.
    #[serde(default)]
    pub transport: Option<String>,
}

impl Line {
    /// Loads and checks the line that an operator names: by name, or by the path of a `.toml` file.
    pub fn load(name: &str) -> Result<Self, Failure> {
        let (text, origin) = Self::source(name)?;
        Self::from_toml(&text, &origin)
    }

    /// Text and origin of that line, for `hwsim`.
    pub fn source(name: &str) -> Result<(String, String), Failure> {
        super::chosen(LINE, name)
    }

    /// Parses and checks.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, Failure> {
        let line: Self = super::parse(text, origin)?;
        line.check().map_err(|what| Failure::new(Exit::Profile, format!("profile {origin}: {what}")))?;
        Ok(line)
    }

    fn check(&self) -> Result<(), String> {
        let mut names = std::collections::BTreeSet::new();
        let mut mics = std::collections::BTreeSet::new();
        for module in &self.modules {
            if !names.insert(&module.name) {
                return Err(format!("module {} stands twice", module.name));
            }
            if module.mics.is_empty() {
                return Err(format!("module {} serves no MIC", module.name));
            }
            for mic in &module.mics {
                if !mics.insert(mic) || self.ignore.contains(mic) {
                    return Err(format!("MIC {mic} is named twice"));
                }
            }
            let stations_fit = match module.kind {
                Kind::Fulfilment => module.stations == 1,
                _ => (1..=256).contains(&module.stations),
            };
            if !stations_fit {
                return Err(format!("module {} cannot have {} stations", module.name, module.stations));
            }
            let chip = module.mics.iter().any(|mic| mic.as_str() == "CHP");
            if (module.kind == Kind::Chip) != chip {
                return Err(format!(
                    "module {}: MIC CHP belongs to chip modules, and they need it",
                    module.name
                ));
            }
            if module.mics.len() > 1 && matches!(module.kind, Kind::Chip | Kind::Stripe | Kind::Printer) {
                return Err(format!("module {}: its device takes one MIC", module.name));
            }
            if (module.kind == Kind::Stripe) != module.coercivity.is_some() {
                return Err(format!(
                    "module {}: coercivity belongs to stripe modules, and they need it",
                    module.name
                ));
            }
        }
        let stations: u32 = self.working().map(|m| m.stations).sum();
        if stations == 0 {
            return Err("no module with a station".into());
        }
        if self.reorder_buffer < stations || self.reorder_buffer > 4096 {
            return Err(format!("reorder_buffer must be from {stations} (its stations) to 4096"));
        }
        Ok(())
    }

    /// Modules that have stations, in line order.
    pub fn working(&self) -> impl Iterator<Item = &Module> {
        self.modules.iter().filter(|m| m.kind != Kind::Fulfilment)
    }

    /// Which module serves a MIC.
    pub fn module_of(&self, mic: &Mic) -> Option<&Module> {
        self.modules.iter().find(|m| m.mics.contains(mic))
    }
}

impl Module {
    /// Names of the stations.
    pub fn station_names(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.stations).map(|n| format!("{}-{n}", self.name))
    }
}
