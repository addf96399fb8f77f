//! The parts of a line profile that `hwsim` reads: the modules with their stations, and the `[sim]` table.
//!
//! The rest of the file (MICs, links, the fate of rejects) belongs to the controller and is skipped. The
//! `[sim]` table is for `hwsim` alone, so an unknown key in it is an error.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Deserializer};

use crate::card::BlankSpec;
use crate::{text_file, timing};

/// Line profiles that are built in, with their names.
const SHIPPED: &[(&str, &str)] = &[
    ("sim-8", include_str!("../../profiles/lines/sim-8.toml")),
    ("sim-64", include_str!("../../profiles/lines/sim-64.toml")),
    ("sim-chip-8", include_str!("../../profiles/lines/sim-chip-8.toml")),
    ("sim-line", include_str!("../../profiles/lines/sim-line.toml")),
    ("sim-stripe-first", include_str!("../../profiles/lines/sim-stripe-first.toml")),
];

/// Name of the one transport that belongs to no station.
pub const OUTPUT: &str = "output";

/// The station of [`SimLineProfile::of_card`].
pub const CARD_STATION: &str = "card-1";

/// Profile of a line that can be simulated.
#[derive(Debug, Clone)]
pub struct SimLineProfile {
    /// Its name.
    pub name: String,
    /// Cards that the output's buffer holds.
    pub reorder_buffer: u32,
    /// Modules in line order.
    pub modules: Vec<MachineModule>,
    /// Times and blanks.
    pub sim: SimTable,
}

/// Keys of the file.
#[derive(Deserialize)]
struct LineFile {
    name: String,
    reorder_buffer: u32,
    #[serde(rename = "module")]
    modules: Vec<MachineModule>,
    sim: Option<SimTable>,
}

/// A processing module.
#[derive(Debug, Clone, Deserialize)]
pub struct MachineModule {
    /// Its name; stations are `name-1`, `name-2` ...
    pub name: String,
    /// Its kind of machine.
    pub kind: MachineKind,
    /// Stripe modules: the encoder, an MSR605 unless this names `mse630`.
    #[serde(default)]
    pub driver: Option<String>,
    /// Count of its stations.
    #[serde(default = "one")]
    pub stations: u32,
    /// Stripe modules: coercivity of the plastic on this line.
    #[serde(default)]
    pub coercivity: Option<StripeCoercivity>,
}

fn one() -> u32 {
    1
}

/// Kinds of module.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum MachineKind {
    /// Chip reader.
    Chip,
    /// Magnetic stripe encoder.
    Stripe,
    /// Card printer.
    Printer,
    /// Embosser.
    Embosser,
    /// Data for reports; no station.
    Fulfilment,
}

/// Coercivity of a stripe, or of the encoder's write current.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum StripeCoercivity {
    /// ISO 7811-6, 2750 Oe.
    Hico,
    /// ISO 7811-2, 300 Oe.
    Loco,
}

/// The `[sim]` table. Seconds are the machine's time, before `--speed` divides it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SimTable {
    /// Feeding and transport overlap with the machines' work ([`crate::world`]).
    #[serde(default)]
    pub continuous: bool,
    /// Hopper to station.
    pub feed_s: f64,
    /// Station to station, to the output's hand or to the reject bin.
    pub transfer_s: f64,
    /// Buffer place to stacker.
    pub stack_s: f64,
    /// One pass of the stripe.
    pub stripe_s: f64,
    /// One card printed.
    pub printer_s: f64,
    /// One card embossed.
    pub embosser_s: f64,
    /// Least time of a card's chip work, from its reset to the power off, which waits for the rest.
    #[serde(default)]
    pub chip_s: f64,
    /// TA1 of ISO 7816-3: wire rate of the chip.
    #[serde(deserialize_with = "one_byte")]
    pub ta1: u8,
    /// EEPROM page write, ms.
    pub page_ms: f64,
    /// Opening of a secure channel, ms.
    pub crypto_ms: f64,
    /// Time of the card's operating system for each command, ms.
    pub command_ms: f64,
    /// Stations that are served on real devices too, by name; `output` stands for the output's transport.
    #[serde(default)]
    pub attach: BTreeMap<String, StationAttachment>,
    /// The pile of blanks.
    pub blanks: Vec<BlankSupply>,
}

/// Devices, besides the line's socket, on which a station is served ([`crate::attach`]).
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StationAttachment {
    /// Chip stations: `host:port` on which a vpcd waits for a card.
    pub vpcd: Option<String>,
    /// Machines: symbolic link to a pseudo-terminal.
    pub machine: Option<PathBuf>,
    /// The station's card transport: symbolic link to a pseudo-terminal.
    pub transport: Option<PathBuf>,
    /// Printers: `host:port` to listen on for pictures.
    pub stream: Option<String>,
}

impl StationAttachment {
    /// Whether a station of this kind, or the output (`None`), has all these devices.
    fn suits(&self, kind: Option<MachineKind>) -> bool {
        let machine =
            matches!(kind, Some(MachineKind::Stripe | MachineKind::Printer | MachineKind::Embosser));
        (self.vpcd.is_none() || kind == Some(MachineKind::Chip))
            && (self.machine.is_none() || machine)
            && (self.stream.is_none() || kind == Some(MachineKind::Printer))
    }
}

/// One kind of blank in the hopper. TEST keys.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlankSupply {
    /// The product that the chip was made for; for people.
    pub product: String,
    /// KMC_ID, 6 bytes.
    #[serde(deserialize_with = "byte_array")]
    pub kmc_id: [u8; 6],
    /// Key version number.
    pub version: u8,
    /// The KMC.
    #[serde(deserialize_with = "byte_array")]
    pub kmc: [u8; 16],
    /// Option "i" of SCP02.
    #[serde(deserialize_with = "one_byte")]
    pub scp02_i: u8,
    /// Answer to reset. The card speaks T=1 if it offers that, else T=0.
    #[serde(deserialize_with = "bytes")]
    pub atr: Vec<u8>,
    /// Its share of the pile.
    pub weight: u32,
}

impl BlankSupply {
    /// A blank of this supply.
    pub fn spec(&self, key_data: [u8; 10], seed: u64) -> BlankSpec {
        BlankSpec {
            key_data,
            version: self.version,
            kmc: self.kmc,
            scp02_i: self.scp02_i,
            atr: self.atr.clone(),
            seed,
        }
    }
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let text = String::deserialize(deserializer)?;
    hex::decode(&text).map_err(|_| serde::de::Error::custom("not hex: write two digits for each byte"))
}

fn byte_array<'de, D: Deserializer<'de>, const N: usize>(deserializer: D) -> Result<[u8; N], D::Error> {
    let bytes = bytes(deserializer)?;
    let found = bytes.len();
    bytes.try_into().map_err(|_| serde::de::Error::custom(format!("has {found} bytes, but must have {N}")))
}

fn one_byte<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u8, D::Error> {
    byte_array(deserializer).map(|[byte]: [u8; 1]| byte)
}

impl SimLineProfile {
    /// Loads a shipped line by its name, or a file whose name ends in `.toml`.
    pub fn load(name: &str) -> Result<Self> {
        if let Some((_, text)) = SHIPPED.iter().find(|(shipped, _)| *shipped == name) {
            return Self::from_toml(text).with_context(|| format!("shipped line {name}"));
        }
        let path = Path::new(name);
        if path.extension().is_none_or(|e| e != "toml") {
            let known: Vec<&str> = SHIPPED.iter().map(|(shipped, _)| *shipped).collect();
            bail!("no shipped line is called {name}; give one of {} or a .toml file", known.join(", "));
        }
        let text = text_file::read(path).with_context(|| format!("line profile {name}"))?;
        Self::from_toml(&text).with_context(|| format!("line profile {name}"))
    }

    /// Parses and checks.
    pub fn from_toml(text: &str) -> Result<Self> {
        let LineFile { name, reorder_buffer, modules, sim } = text_file::parse(text)?;
        let Some(sim) = sim else { bail!("line {name} has no [sim] table, so it cannot be simulated") };
        let line = Self { name, reorder_buffer, modules, sim };
        line.check()?;
        Ok(line)
    }

    /// Reduces the line to one card on a virtual reader: a chip station, and the first supply that is wanted.
    /// `of` names what is wanted of the supply.
    pub fn of_card(mut self, wanted: impl Fn(&BlankSupply) -> bool, of: &str, vpcd: &str) -> Result<Self> {
        self.sim.blanks.retain(|supply| supply.weight > 0 && wanted(supply));
        self.sim.blanks.truncate(1);
        ensure!(!self.sim.blanks.is_empty(), "line {} has no blanks of {of}", self.name);
        let chip = MachineModule {
            name: "card".into(),
            kind: MachineKind::Chip,
            driver: None,
            stations: 1,
            coercivity: None,
        };
        self.modules = vec![chip];
        self.sim.feed_s = 0.0;
        let attach = StationAttachment { vpcd: Some(vpcd.to_owned()), ..StationAttachment::default() };
        self.sim.attach = BTreeMap::from([(CARD_STATION.to_owned(), attach)]);
        Ok(self)
    }

    fn check(&self) -> Result<()> {
        let sim = &self.sim;
        let times = [
            ("feed_s", sim.feed_s),
            ("transfer_s", sim.transfer_s),
            ("stack_s", sim.stack_s),
            ("stripe_s", sim.stripe_s),
            ("printer_s", sim.printer_s),
            ("embosser_s", sim.embosser_s),
            ("chip_s", sim.chip_s),
            ("page_ms", sim.page_ms),
            ("crypto_ms", sim.crypto_ms),
            ("command_ms", sim.command_ms),
        ];
        for (name, value) in times {
            ensure!((0.0..=3600.0).contains(&value), "sim.{name} must be from 0 to 3600, not {value}");
        }
        ensure!(timing::baud(sim.ta1).is_some(), "sim.ta1 = {:02X} is reserved in ISO 7816-3", sim.ta1);
        ensure!(sim.blanks.iter().any(|b| b.weight > 0), "sim.blanks: the hopper is empty");
        let mut names = std::collections::BTreeSet::new();
        for module in &self.modules {
            ensure!(names.insert(&module.name), "module {} stands twice", module.name);
            let MachineModule { name, stations, .. } = module;
            ensure!((1..=256).contains(stations), "module {name}: 1 to 256 stations, not {stations}");
        }
        for (name, attach) in &sim.attach {
            let kind = self.stations().find(|(station, _)| station == name).map(|(_, module)| module.kind);
            ensure!(
                kind.is_some() || name == OUTPUT,
                "sim.attach: no station {name} in this line; there are {}, {OUTPUT}",
                self.station_list()
            );
            ensure!(attach.suits(kind), "sim.attach.{name}: the station has no such device");
        }
        Ok(())
    }

    /// Names of all stations with their modules, in line order.
    pub fn stations(&self) -> impl Iterator<Item = (String, &MachineModule)> + '_ {
        self.modules
            .iter()
            .filter(|m| m.kind != MachineKind::Fulfilment)
            .flat_map(|m| (1..=m.stations).map(move |n| (format!("{}-{n}", m.name), m)))
    }

    /// Names of all stations, for messages.
    pub fn station_list(&self) -> String {
        self.stations().map(|(name, _)| name).collect::<Vec<_>>().join(", ")
    }

    /// Coercivity of the plastic, from the stripe module; HiCo on a line without one.
    pub fn coercivity(&self) -> StripeCoercivity {
        self.modules.iter().find_map(|m| m.coercivity).unwrap_or(StripeCoercivity::Hico)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_shipped_line_loads() {
        for (name, _) in SHIPPED {
            let line = SimLineProfile::load(name).unwrap();
            assert_eq!(&line.name, name);
            assert!(line.stations().count() >= 8);
        }
        let names: Vec<String> =
            SimLineProfile::load("sim-8").unwrap().stations().map(|(name, _)| name).collect();
        assert_eq!(names.len(), 11);
        assert!(names.contains(&"chip-8".to_owned()) && names.contains(&"embosser-1".to_owned()));
    }

    /// Every shipped profile that has a `[sim]` table is built in under its name.
    #[test]
    fn no_shipped_line_is_forgotten() {
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../profiles/lines")).unwrap() {
            let path = entry.unwrap().path();
            let simulated = std::fs::read_to_string(&path).unwrap().contains("\n[sim]");
            let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
            assert!(!simulated || SHIPPED.iter().any(|(shipped, _)| *shipped == name), "{name}");
        }
    }

    #[test]
    fn bad_lines_are_refused() {
        let good = SHIPPED[0].1;
        assert!(SimLineProfile::from_toml(good).is_ok());
        let cases = [
            ("ta1 = \"13\"", "ta1 = \"70\"", "reserved"),
            ("feed_s = 0.30", "feed_s = -1.0", "feed_s"),
            ("feed_s = 0.30", "feed_s = nan", "feed_s"),
            ("page_ms = 3.0", "pages_ms = 3.0", "pages_ms"),
            ("kmc_id = \"FFFFFF476173\"", "kmc_id = \"FFFFFF4761\"", "must have 6"),
            ("kmc_id = \"FFFFFF476173\"", "kmc_id = \"FFFFFF47617X\"", "hex"),
            ("weight = ", "weight = -", "invalid value"),
            ("stations = 8", "stations = 0", "stations"),
            ("name = \"stripe\"", "name = \"chip\"", "twice"),
            ("kind = \"stripe\"", "kind = \"laser\"", "laser"),
            ("[sim]", "[sim.attach.chip-9]\nvpcd = \"localhost:1\"\n[sim]", "no station chip-9"),
            ("[sim]", "[sim.attach.chip-1]\nmachine = \"x\"\n[sim]", "no such device"),
            ("[sim]", "[sim.attach.stripe-1]\nvpcd = \"localhost:1\"\n[sim]", "no such device"),
            ("[sim]", "[sim.attach.embosser-1]\nstream = \"localhost:1\"\n[sim]", "no such device"),
            ("[sim]", "[sim.attach.output]\nmachine = \"x\"\n[sim]", "no such device"),
        ];
        for (from, to, said) in cases {
            let bad = good.replace(from, to);
            assert_ne!(bad, good, "{from}");
            let error = format!("{:#}", SimLineProfile::from_toml(&bad).unwrap_err());
            assert!(error.contains(said), "{to}: {error}");
        }
        let without = good.split("[sim]").next().unwrap();
        assert!(SimLineProfile::from_toml(without).unwrap_err().to_string().contains("no [sim] table"));
        assert!(SimLineProfile::load("no-such-line").unwrap_err().to_string().contains("sim-chip-8"));
    }
}
