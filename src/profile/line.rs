//! Line profiles: modules in the order in which a card visits them, their stations, links and timing.
//!
//! The requirements of a module's kind come from the table of kinds ([`KindTable`]); `modules::LineProfile` is the
//! line profile over that table. Not here: the `[sim]` table, which `hwsim` reads from this file and checks.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::kind::{DeviceLinks, KindTable};
use crate::exit::{Exit, Failure};
use crate::ids::Mic;
use crate::request::ActionKind;

/// Name of the place where cards leave the line.
pub const OUTPUT: &str = "output";

/// Rates that serial ports have, in bits per second.
const BAUDS: [u32; 10] = [1200, 2400, 4800, 9600, 19_200, 38_400, 57_600, 115_200, 230_400, 460_800];

pub(super) const LINE: super::ProfileFolder =
    super::ProfileFolder { noun: "line", folder: "lines", shipped: super::LINES };

/// A personalization line. Unknown keys are errors.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, bound = "K: KindTable")]
pub struct LineProfileOf<K> {
    /// Its name.
    pub name: String,
    /// A text for people.
    pub description: String,
    /// Number of cards that may be under way at once, at least the number of stations. It also limits how many cards
    /// one card can overtake.
    pub reorder_buffer: u32,
    /// Where rejected cards go.
    pub rejects: RejectDisposal,
    /// MICs that records may have although no module serves them.
    #[serde(default)]
    pub ignore: Vec<Mic>,
    /// Modules in line order.
    #[serde(rename = "module")]
    pub modules: Vec<ModuleProfileOf<K>>,
    /// The links of each station on real devices, by station name. A simulated run needs none.
    #[serde(default)]
    pub link: BTreeMap<String, StationLink>,
    /// The keys that real devices may work with.
    #[serde(default)]
    pub keys: PermittedKeys,
    /// The token in which keys of the store lie.
    #[serde(default)]
    pub hsm: Option<TokenTable>,
    /// The actions that need two people in the daemon.
    #[serde(default)]
    pub two_people: BTreeSet<ActionKind>,
    /// Whether a job closes by itself as soon as nothing prevents it. By default it does in the foreground, and not
    /// in the daemon. It never does if its stock is counted, or if closing needs two people.
    #[serde(default)]
    pub auto_close: Option<bool>,
    /// Days after its closing for which a job's cardholder data are kept; 0: they are deleted when it is closed.
    #[serde(default = "month")]
    pub retention_days: u32,
    /// Time limits.
    #[serde(default)]
    pub limits: TimeLimits,
    /// Failures in a row that stop a station or the job.
    #[serde(default)]
    pub breakers: BreakerLimits,
    /// The table of `hwsim`; a line without it cannot be simulated.
    #[serde(default)]
    pub sim: Option<toml::Table>,
    /// SHA-256 of the profile's text.
    #[serde(skip)]
    pub digest: [u8; 32],
}

/// Where the machine puts a rejected card.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RejectDisposal {
    /// Into a bin. A person destroys it and records that.
    Bin,
    /// Into a shredder, at once.
    Shredded,
}

/// A processing module with one or more stations.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, bound = "K: KindTable")]
pub struct ModuleProfileOf<K> {
    /// Its name; stations are `name-1`, `name-2` ...
    pub name: String,
    /// Its kind.
    pub kind: K,
    /// The MICs of the sections that it works on.
    pub mics: Vec<Mic>,
    /// Number of stations that work in parallel.
    #[serde(default = "one")]
    pub stations: u32,
    /// Name of the driver, if its kind has several.
    #[serde(default)]
    pub driver: Option<String>,
    /// Stripe only: coercivity of the plastic.
    #[serde(default)]
    pub coercivity: Option<PlasticCoercivity>,
    /// Stripe only: whether the module reads the stripe before and after it writes.
    #[serde(default = "yes")]
    pub read_back: bool,
    /// Stripe only: clocking zeros of tracks 1 and 3, and of track 2. By default the machine decides.
    #[serde(default)]
    pub leading_zeros: Option<[u8; 2]>,
    /// Stripe only: bits per inch of tracks 1, 2 and 3. By default the machine decides.
    #[serde(default)]
    pub bpi: Option<[BitsPerInch; 3]>,
}

/// Recording density of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub enum BitsPerInch {
    /// 75 bits per inch.
    Bpi75,
    /// 210 bits per inch.
    Bpi210,
}

impl TryFrom<u16> for BitsPerInch {
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

/// Coercivity of a stripe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PlasticCoercivity {
    /// ISO 7811-6.
    Hico,
    /// ISO 7811-2.
    Loco,
}

/// The links to a station on a real line. Its kind decides which it needs; the output has only a transport.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StationLink {
    /// Chip: name of the PC/SC reader, without the two numbers that pcscd adds to it.
    #[serde(default)]
    pub reader: Option<String>,
    /// Chip: the slot of a reader that has several, from 0.
    #[serde(default)]
    pub slot: u8,
    /// Chip: USB path of the reader ("1-4.2"), instead of its name.
    #[serde(default)]
    pub usb: Option<String>,
    /// Chip: socket of the pcscd that has the reader. By default the system's.
    #[serde(default)]
    pub pcscd: Option<String>,
    /// Serial device of the machine.
    #[serde(default)]
    pub serial: Option<String>,
    /// Bits per second of the serial device.
    #[serde(default)]
    pub baud: Option<u32>,
    /// Printer: address of the link for images, `host:port`.
    #[serde(default)]
    pub stream: Option<String>,
    /// Serial number of the machine, if it gives one: any other machine is refused.
    #[serde(default)]
    pub number: Option<String>,
    /// Serial device of the station's card transport.
    #[serde(default)]
    pub transport: Option<String>,
}

/// Longest serial number of a machine.
const NUMBER_MAX: usize = 64;

fn is_number(text: &str) -> bool {
    (1..=NUMBER_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

impl StationLink {
    /// The keys that are given, except the transport, which every station has.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("reader", self.reader.is_some()),
            ("usb", self.usb.is_some()),
            ("pcscd", self.pcscd.is_some()),
            ("serial", self.serial.is_some()),
            ("baud", self.baud.is_some()),
            ("stream", self.stream.is_some()),
            ("number", self.number.is_some()),
        ];
        keys.into_iter().filter(|(_, given)| *given).map(|(key, _)| key)
    }
}

/// Time limits, in seconds. They end a blocked device call from outside.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeLimits {
    /// One command to a chip.
    pub command: f64,
    /// One phase of a chip: looking at the blank, or one application.
    pub phase: f64,
    /// All of a chip's work on one card.
    pub card: f64,
    /// Time for which a module may have no station in service before the line stops.
    pub recover: f64,
    /// Time for which cards under way are waited for after the line was told to end; then they are UNKNOWN.
    pub stop: f64,
}

impl TimeLimits {
    /// The longest limit that makes sense: a day.
    const MAX: f64 = 86_400.0;

    fn check(&self) -> Result<(), String> {
        let Self { command, phase, card, recover, stop } = *self;
        // NaN is in no range, so it is refused too.
        for (key, seconds, zero) in [
            ("command", command, false),
            ("phase", phase, false),
            ("card", card, false),
            ("recover", recover, true),
            ("stop", stop, true),
        ] {
            if !(0.0..=Self::MAX).contains(&seconds) || seconds == 0.0 && !zero {
                let least = if zero { "from 0" } else { "more than 0" };
                let most = Self::MAX;
                return Err(format!("limits.{key} = {seconds}: must be seconds, {least} and at most {most}"));
            }
        }
        if command > phase || phase > card {
            return Err(format!(
                "limits: command ({command} s) must not be longer than phase ({phase} s), and phase not longer than \
                 card ({card} s)"
            ));
        }
        Ok(())
    }
}

impl Default for TimeLimits {
    /// Ten times the slowest known command. A card that writes or checks an RSA key asks for more time itself.
    fn default() -> Self {
        Self { command: 30.0, phase: 120.0, card: 300.0, recover: 60.0, stop: 30.0 }
    }
}

/// Failures in a row, without a finished card between them, that trip a circuit breaker (`pipeline::breaker`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct BreakerLimits {
    /// Equal failures at one station. It is then out of service until a person comes.
    pub station: u32,
    /// Rejects at one module, at any of its stations and for any reason. The job then stops.
    pub job: u32,
}

impl BreakerLimits {
    fn check(self) -> Result<(), String> {
        if self.station == 0 || self.job == 0 {
            let Self { station, job } = self;
            return Err(format!(
                "breakers.station = {station}, breakers.job = {job}: both must be at least 1"
            ));
        }
        Ok(())
    }
}

impl Default for BreakerLimits {
    fn default() -> Self {
        Self { station: 5, job: 10 }
    }
}

/// The keys that a line on real devices works with.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PermittedKeys {
    /// LIVE keys; a TEST store is refused.
    #[default]
    Live,
    /// TEST keys. Papers of its jobs are marked TEST.
    Test,
}

/// The PKCS#11 token of a line.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenTable {
    /// The module, a shared library.
    pub module: PathBuf,
    /// The token's label; not needed if the module has one token.
    #[serde(default)]
    pub token: Option<String>,
    /// The token's slot, if its label does not name it.
    #[serde(default)]
    pub slot: Option<u64>,
    /// Whether steps that the token cannot do are done in the memory of the host.
    #[serde(default)]
    pub host_crypto: HostCrypto,
    /// Files and folders that the module reads and writes once it is started.
    #[serde(default)]
    pub needs: Vec<PathBuf>,
    /// Whether it connects to a service or to a network.
    #[serde(default)]
    pub sockets: bool,
}

/// Whether the host may do what a token cannot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum HostCrypto {
    /// No derived key and no clear secret may come into its memory.
    #[default]
    Refused,
    /// They may.
    Allowed,
}

impl TokenTable {
    fn check(&self) -> Result<(), String> {
        let paths = std::iter::once(&self.module).chain(&self.needs);
        if let Some(path) = paths.into_iter().find(|path| !path.is_absolute()) {
            return Err(format!("hsm: {} must be an absolute path", path.display()));
        }
        if self.token.is_some() && self.slot.is_some() {
            return Err("hsm: state token or slot, not both".into());
        }
        Ok(())
    }
}

impl<K: KindTable> LineProfileOf<K> {
    /// Loads and checks the line that an operator names: by name, or by the path of a `.toml` file.
    pub fn load(name: &str) -> Result<Self, Failure> {
        let (text, origin) = Self::source(name)?;
        Self::from_toml(&text, &origin)
    }

    /// Text and origin of that line profile, which `hwsim` reads as well.
    pub fn source(name: &str) -> Result<(String, String), Failure> {
        super::chosen(LINE, name)
    }

    /// Parses and checks the text of a profile; `origin` names it in messages.
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, Failure> {
        let line: Self = super::parse(text, origin)?;
        let line = Self { digest: Sha256::digest(text).into(), ..line };
        line.check().map_err(|what| Failure::new(Exit::Profile, format!("profile {origin}: {what}")))?;
        Ok(line)
    }

    fn check(&self) -> Result<(), String> {
        if let Some(ask) = self.two_people.iter().find(|ask| !ask.is_for_two()) {
            let what = serde_json::to_string(ask).unwrap_or_default();
            let all = serde_json::to_string(&ActionKind::FOR_TWO).unwrap_or_default();
            return Err(format!(
                "two_people: {what} is not an action for two people; those are {all} (\"release\" stands for \
                 resume too, \"cancel\" for card cancel)"
            ));
        }
        // Names go into the ledger, to terminals and into commands.
        if let Some(name) =
            self.modules.iter().map(|module| &module.name).chain([&self.name]).find(|n| !super::is_plain(n))
        {
            return Err(format!("name: {name:?} is no name: letters A to Z, digits, - and _"));
        }
        let (mut names, mut mics) = (BTreeSet::new(), BTreeSet::new());
        for module in &self.modules {
            // Marks on test blanks are in capitals.
            if !names.insert(module.name.to_ascii_lowercase()) {
                return Err(format!("module {} stands twice; capitals make no difference", module.name));
            }
            for mic in &module.mics {
                if !mics.insert(mic) || self.ignore.contains(mic) {
                    return Err(format!("MIC {mic} is named twice"));
                }
            }
            module.check().map_err(|what| format!("module {}{what}", module.name))?;
        }
        self.hsm.as_ref().map_or(Ok(()), TokenTable::check)?;
        self.limits.check()?;
        self.breakers.check()?;
        self.check_links()?;
        let stations: u32 = self.working().map(|m| m.stations).sum();
        if stations == 0 {
            return Err("no module with a station".into());
        }
        if self.reorder_buffer < stations || self.reorder_buffer > 4096 {
            let found = self.reorder_buffer;
            return Err(format!(
                "reorder_buffer must be from {stations} (its stations) to 4096, not {found}"
            ));
        }
        Ok(())
    }

    /// Checks that every link belongs to a station that exists and can use it.
    fn check_links(&self) -> Result<(), String> {
        for (station, link) in &self.link {
            if !self.link_names().contains(station) {
                let there = self.link_names().join(", ");
                return Err(format!("link.{station}: no such station; there are {there}"));
            }
            let useful = self.links_of(station).map_or(&[][..], DeviceLinks::keys);
            if let Some(key) = link.given().find(|key| !useful.contains(key)) {
                let keys = useful.iter().chain(&["transport"]).copied().collect::<Vec<_>>().join(", ");
                return Err(format!("link.{station}: the station has no use for {key}; its keys are {keys}"));
            }
            if let Some(baud) = link.baud.filter(|baud| !BAUDS.contains(baud)) {
                return Err(format!("link.{station}: baud is one of {BAUDS:?}, not {baud}"));
            }
            if link.number.as_deref().is_some_and(|number| !is_number(number)) {
                return Err(format!(
                    "link.{station}.number: a serial number has 1 to {NUMBER_MAX} printable characters and no blank"
                ));
            }
            if let Some((other, _)) = self.link.iter().find(|(other, given)| {
                *other != station && given.number.is_some() && given.number == link.number
            }) {
                return Err(format!(
                    "link.{station}.number: {other} has this number too, but each machine has its own"
                ));
            }
            if link.reader.is_some() && link.usb.is_some() {
                return Err(format!("link.{station}: either reader or usb"));
            }
        }
        Ok(())
    }

    /// The links that a run on real devices lacks: one sentence for each.
    pub fn missing_links(&self) -> Vec<String> {
        let none = StationLink::default();
        let mut missing = Vec::new();
        for station in self.link_names() {
            let link = self.link.get(&station).unwrap_or(&none);
            if link.transport.is_none() {
                missing.push(format!("link.{station} has no transport"));
            }
            let given: Vec<_> = link.given().collect();
            for (key, other) in self.links_of(&station).map_or(&[][..], DeviceLinks::needed_keys) {
                if !given.contains(key) && other.is_none_or(|other| !given.contains(&other)) {
                    let or = other.map(|other| format!(" (or {other})")).unwrap_or_default();
                    missing.push(format!("link.{station} has no {key}{or}"));
                }
            }
        }
        missing
    }

    /// The stations' names, and `output`.
    fn link_names(&self) -> Vec<String> {
        let stations = self.working().flat_map(ModuleProfileOf::station_names);
        stations.chain(std::iter::once(OUTPUT.to_owned())).collect()
    }

    /// The links that lead to the device of a station; `None` for the output, which has no device.
    fn links_of(&self, station: &str) -> Option<DeviceLinks> {
        let module = self.working().find(|m| m.station_names().any(|name| name == station))?;
        module.kind.rules().links
    }

    /// Modules that have stations, in line order.
    pub fn working(&self) -> impl Iterator<Item = &ModuleProfileOf<K>> {
        self.modules.iter().filter(|m| m.kind.rules().links.is_some())
    }

    /// The module that serves a MIC.
    pub fn module_of(&self, mic: &Mic) -> Option<&ModuleProfileOf<K>> {
        self.modules.iter().find(|m| m.mics.contains(mic))
    }
}

impl<K: KindTable> ModuleProfileOf<K> {
    /// Checks the module against the rules of its kind. The error continues a message that begins with "module NAME".
    fn check(&self) -> Result<(), String> {
        let rules = self.kind.rules();
        if self.mics.is_empty() {
            return Err(" serves no MIC".into());
        }
        let most = if rules.links.is_some() { 256 } else { 1 };
        if !(1..=most).contains(&self.stations) {
            return Err(format!(" cannot have {} stations; it may have 1 to {most}", self.stations));
        }
        // A kind's own MIC is served by every module of that kind, and by no other module.
        for other in K::every() {
            if let Some(own) = other.own_mic
                && self.mics.iter().any(|mic| mic.as_str() == own) != (other.word == rules.word)
            {
                return Err(format!(": MIC {own} belongs to {} modules, and they need it", other.word));
            }
        }
        if self.mics.len() > 1 && !rules.several_mics {
            return Err(": its device takes one MIC".into());
        }
        let given: Vec<_> = self.given().collect();
        if let Some(key) = given.iter().find(|key| !rules.keys.contains(key)) {
            let owners: Vec<_> = K::every().filter(|kind| kind.keys.contains(key)).map(|k| k.word).collect();
            return Err(format!(": {key} belongs to {} modules", owners.join(" and ")));
        }
        match rules.needed_keys.iter().find(|key| !given.contains(key)) {
            Some(key) => Err(format!(": {key} is missing, and {} modules need it", rules.word)),
            None => Ok(()),
        }
    }

    /// The kind-specific keys that the profile gives.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let keys = [
            ("coercivity", self.coercivity.is_some()),
            ("read_back", !self.read_back),
            ("leading_zeros", self.leading_zeros.is_some()),
            ("bpi", self.bpi.is_some()),
        ];
        keys.into_iter().filter(|(_, given)| *given).map(|(key, _)| key)
    }

    /// Names of the stations.
    pub fn station_names(&self) -> impl Iterator<Item = String> + '_ {
        (1..=self.stations).map(|n| format!("{}-{n}", self.name))
    }
}
