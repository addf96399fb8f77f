//! Line profiles: modules in the order in which a card visits them, their stations, links and timing.
//!
//! The `[sim]` table belongs to `hwsim`, which reads the same file; here it is carried, not interpreted.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::exit::{Exit, Failure};
use crate::ids::Mic;

/// Name of the place where cards leave the line.
pub const OUTPUT: &str = "output";

/// Rates that serial ports have, in bits per second.
const BAUDS: [u32; 10] = [1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800];

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
    /// Which keys may be used on the real links.
    #[serde(default)]
    pub keys: Keys,
    /// What takes two people, in the daemon.
    #[serde(default)]
    pub two_people: std::collections::BTreeSet<crate::request::ActionKind>,
    /// Whether a job closes by itself once nothing stands against it; by default it does in the foreground, and not in the
    /// daemon. Never where its stock is counted, or closing takes two people.
    #[serde(default)]
    pub auto_close: Option<bool>,
    /// Days after its closing for which a job's cardholder data are kept; 0: they are deleted when it is closed.
    #[serde(default = "month")]
    pub retention_days: u32,
    /// Time limits.
    #[serde(default)]
    pub limits: Limits,
    /// Failures in a row that stop a station or the job.
    #[serde(default)]
    pub breakers: Breakers,
    /// Of `hwsim`; a line without it cannot be simulated.
    #[serde(default)]
    pub sim: Option<toml::Table>,
    /// SHA-256 of the profile's text.
    #[serde(skip)]
    pub digest: [u8; 32],
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
    /// Name of the driver, where there are several for its kind.
    #[serde(default)]
    pub driver: Option<String>,
    /// Stripe only: coercivity of the plastic.
    #[serde(default)]
    pub coercivity: Option<Coercivity>,
    /// Stripe only: whether the stripe is looked at before and read back after writing.
    #[serde(default = "yes")]
    pub read_back: bool,
    /// Stripe only: clocking zeros of tracks 1 and 3, and of track 2; without it, the machine's own.
    #[serde(default)]
    pub leading_zeros: Option<[u8; 2]>,
    /// Stripe only: bits per inch of tracks 1, 2 and 3; without it, the machine's own.
    #[serde(default)]
    pub bpi: Option<[Bpi; 3]>,
}

/// Recording density of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub enum Bpi {
    /// 75 bits per inch.
    Bpi75,
    /// 210 bits per inch.
    Bpi210,
}

impl TryFrom<u16> for Bpi {
    type Error = &'static str;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        match number {
            75 => Ok(Self::Bpi75),
            210 => Ok(Self::Bpi210),
            _ => Err("bpi is 75 or 210"),
        }
    }
}

fn yes() -> bool {
    true
}

fn month() -> u32 {
    30
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
    /// Magnetic stripe: driver `msr605`, or `mse630` (with `read_back = false`: it reads by itself).
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

/// How a station is reached on a real line. A station has what its kind needs; the output has a transport alone.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// Chip: name of the PC/SC reader, without the two numbers that pcscd puts behind it.
    #[serde(default)]
    pub reader: Option<String>,
    /// Chip: which slot of a reader with several, from 0.
    #[serde(default)]
    pub slot: u8,
    /// Chip: USB path of the reader ("1-4.2"), instead of its name.
    #[serde(default)]
    pub usb: Option<String>,
    /// Chip: socket of the pcscd that has the reader; without it, the system's.
    #[serde(default)]
    pub pcscd: Option<String>,
    /// Serial device of the machine.
    #[serde(default)]
    pub serial: Option<String>,
    /// Its bits per second.
    #[serde(default)]
    pub baud: Option<u32>,
    /// Printer: address of its link for images, `host:port`.
    #[serde(default)]
    pub stream: Option<String>,
    /// Serial device of the station's card transport.
    #[serde(default)]
    pub transport: Option<String>,
}

/// Time limits, in seconds. They end a blocked device call from outside.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// One command to a chip.
    pub command: f64,
    /// One phase of a chip: looking at the blank, or one application.
    pub phase: f64,
    /// All of a chip's work on one card.
    pub card: f64,
    /// How long a module may be without any station in service before the line stops.
    pub recover: f64,
}

impl Limits {
    /// Longer than any of them may be: a day.
    const MAX: f64 = 86_400.0;

    fn check(&self) -> Result<(), String> {
        let Self { command, phase, card, recover } = *self;
        // Not a number is in no range.
        let sound = [command, phase, card].iter().all(|s| *s > 0.0 && *s <= Self::MAX)
            && (0.0..=Self::MAX).contains(&recover);
        if !sound {
            return Err("limits are seconds: more than 0 (recover: or 0) and at most a day".into());
        }
        if command > phase || phase > card {
            return Err("limits: a command ends within its phase, and a phase within its card".into());
        }
        Ok(())
    }
}

impl Default for Limits {
    /// A card asks for more time itself while it writes or checks an RSA key; a command takes ten times the worst known.
    fn default() -> Self {
        Self { command: 30.0, phase: 120.0, card: 300.0, recover: 60.0 }
    }
}

/// Circuit breakers (`pipeline::breaker`): failures in a row, without a card finished between them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Breakers {
    /// Equal failures at one station, which then is out of service until a person comes.
    pub station: u32,
    /// Rejects at one module, whatever the station and the reason; then the job stops.
    pub job: u32,
}

impl Breakers {
    fn check(self) -> Result<(), String> {
        if self.station == 0 || self.job == 0 {
            return Err("breakers: station and job are at least 1".into());
        }
        Ok(())
    }
}

impl Default for Breakers {
    fn default() -> Self {
        Self { station: 5, job: 10 }
    }
}

/// Which keys a line on real devices works with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Keys {
    /// LIVE keys; a TEST store is refused.
    #[default]
    Live,
    /// TEST keys; what it makes is marked TEST.
    Test,
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
        let line = Self { digest: Sha256::digest(text).into(), ..line };
        line.check().map_err(|what| Failure::new(Exit::Profile, format!("profile {origin}: {what}")))?;
        Ok(line)
    }

    fn check(&self) -> Result<(), String> {
        if let Some(ask) = self.two_people.iter().find(|ask| !ask.is_for_two()) {
            let what = serde_json::to_string(ask).unwrap_or_default();
            return Err(format!(
                "two_people: {what} is not for two (\"release\" stands for resume too, \"cancel\" for card cancel)"
            ));
        }
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
            let stripes_own = module.leading_zeros.is_some() || module.bpi.is_some() || !module.read_back;
            if stripes_own && module.kind != Kind::Stripe {
                return Err(format!(
                    "module {}: read_back, leading_zeros and bpi belong to stripe modules",
                    module.name
                ));
            }
            if (module.kind == Kind::Stripe) != module.coercivity.is_some() {
                return Err(format!(
                    "module {}: coercivity belongs to stripe modules, and they need it",
                    module.name
                ));
            }
        }
        self.limits.check()?;
        self.breakers.check()?;
        self.check_links()?;
        let stations: u32 = self.working().map(|m| m.stations).sum();
        if stations == 0 {
            return Err("no module with a station".into());
        }
        if self.reorder_buffer < stations || self.reorder_buffer > 4096 {
            return Err(format!("reorder_buffer must be from {stations} (its stations) to 4096"));
        }
        Ok(())
    }

    /// What is given for the links is meant for a station that exists and can use it.
    fn check_links(&self) -> Result<(), String> {
        for (station, link) in &self.link {
            let kind = self.kind_of(station).ok_or_else(|| {
                format!("link.{station}: no such station; there are {}", self.link_names().join(", "))
            })?;
            let given = [
                ("reader", link.reader.is_some(), kind == Some(Kind::Chip)),
                ("usb", link.usb.is_some(), kind == Some(Kind::Chip)),
                ("pcscd", link.pcscd.is_some(), kind == Some(Kind::Chip)),
                ("serial", link.serial.is_some(), kind.is_some_and(|k| k != Kind::Chip)),
                ("baud", link.baud.is_some(), kind.is_some_and(|k| k != Kind::Chip)),
                ("stream", link.stream.is_some(), kind == Some(Kind::Printer)),
            ];
            if let Some((what, ..)) = given.into_iter().find(|(_, given, wanted)| *given && !*wanted) {
                return Err(format!("link.{station}: it has no use for {what}"));
            }
            if link.baud.is_some_and(|baud| !BAUDS.contains(&baud)) {
                return Err(format!("link.{station}: baud is one of {BAUDS:?}"));
            }
            if link.reader.is_some() && link.usb.is_some() {
                return Err(format!("link.{station}: either reader or usb"));
            }
        }
        Ok(())
    }

    /// What a run on real devices lacks: one sentence for each link that is not given.
    pub fn missing_links(&self) -> Vec<String> {
        let none = Link::default();
        let mut missing = Vec::new();
        for station in self.link_names() {
            let link = self.link.get(&station).unwrap_or(&none);
            let mut needs = |given: bool, what: &str| {
                if !given {
                    missing.push(format!("link.{station} has no {what}"));
                }
            };
            needs(link.transport.is_some(), "transport");
            match self.kind_of(&station).flatten() {
                Some(Kind::Chip) => needs(link.reader.is_some() || link.usb.is_some(), "reader (or usb)"),
                Some(Kind::Printer) => {
                    needs(link.serial.is_some(), "serial");
                    needs(link.stream.is_some(), "stream");
                }
                Some(_) => needs(link.serial.is_some(), "serial"),
                None => {}
            }
        }
        missing
    }

    /// The stations' names, and `output`.
    fn link_names(&self) -> Vec<String> {
        let stations = self.working().flat_map(Module::station_names);
        stations.chain(std::iter::once(OUTPUT.to_owned())).collect()
    }

    /// The kind of a station by its name, none for the output; `None` if there is no such place.
    fn kind_of(&self, station: &str) -> Option<Option<Kind>> {
        if station == OUTPUT {
            return Some(None);
        }
        self.working().find(|m| m.station_names().any(|name| name == station)).map(|m| Some(m.kind))
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
