//! A line profile of 16 readers on a real pcscd, and machines on PTYs: the links for the controller (`link`)
//! and the devices that `hwsim` plays (`sim.attach`).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::pcscd_support::scene::Scene;

/// Port of the printer's link for images.
const STREAM: u16 = 9100;

/// A line, described by its differences from the usual one.
pub struct Lined {
    /// Name of the line.
    pub name: &'static str,
    /// Number of chip stations; each has its own reader.
    pub stations: u32,
    /// Whether stripe, printer and embosser stand after the chip stations.
    pub machines: bool,
    /// Number of stripe encoders among them.
    pub encoders: u32,
    /// Limits of a command and a phase, in seconds.
    pub command_s: f64,
    /// `[sim]` lines, usually [`FAST`].
    pub sim: String,
    /// Chip stations in whose readers `hwsim` puts no card.
    pub without_card: Vec<u32>,
    /// Chip stations whose reader has a pcscd of its own.
    pub own_pcscd: BTreeMap<u32, OwnPcscd>,
}

/// A pcscd of one reader.
pub struct OwnPcscd {
    socket: PathBuf,
    reader: String,
    port: u16,
}

impl OwnPcscd {
    /// The pcscd of a scene, which has one reader.
    pub fn of(scene: &Scene) -> Self {
        Self { socket: scene.socket(), reader: scene.name(0), port: scene.port(0) }
    }
}

impl Default for Lined {
    fn default() -> Self {
        Self {
            name: "real-16",
            stations: 16,
            machines: true,
            encoders: 1,
            command_s: 30.0,
            sim: FAST.into(),
            without_card: vec![],
            own_pcscd: BTreeMap::new(),
        }
    }
}

/// Times of a fast machine, because these tests are about the links.
pub const FAST: &str = "feed_s = 0.02\ntransfer_s = 0.02\nstack_s = 0.01\nstripe_s = 0.02\nprinter_s = 0.05\n\
                   embosser_s = 0.05\nta1 = \"97\"\npage_ms = 0.1\ncrypto_ms = 1.0\ncommand_ms = 0.1\n";

impl Lined {
    /// The profile's text for the readers of a scene, with its PTYs in `folder`.
    pub fn text(&self, scene: &Scene, folder: &Path) -> String {
        let at = |name: &str| folder.join(name).display().to_string();
        let mut text = format!(
            "name = {:?}\ndescription = \"test\"\nreorder_buffer = 64\nrejects = \"bin\"\nkeys = \"test\"\nignore = {}\n\n\
             [limits]\ncommand = {}\nphase = {}\ncard = {}\nrecover = 60\n\n",
            self.name,
            if self.machines { "[]" } else { "[\"MAG\", \"GFX\", \"EMB\", \"IND\"]" },
            self.command_s,
            self.command_s * 2.0,
            self.command_s * 4.0,
        );
        module(&mut text, "chip", "mics = [\"CHP\"]", self.stations);
        let mut machines: Vec<String> = vec![];
        if self.machines {
            module(&mut text, "stripe", "mics = [\"MAG\"]\ncoercivity = \"hico\"", self.encoders);
            module(&mut text, "printer", "mics = [\"GFX\"]", 1);
            module(&mut text, "embosser", "mics = [\"EMB\", \"IND\"]", 1);
            machines = (1..=self.encoders).map(|n| format!("stripe-{n}")).collect();
            machines.extend(["printer-1", "embosser-1"].map(String::from));
        }
        module(&mut text, "fulfilment", "mics = [\"FUL\"]", 1);

        let (mut links, mut attach) = (String::new(), String::new());
        for n in 1..=self.stations {
            let reader = usize::try_from(n - 1).unwrap();
            let own = self.own_pcscd.get(&n);
            let (name, slot, port) = match own {
                Some(own) => (own.reader.clone(), 0, own.port),
                None => (scene.name(reader), reader % 2, scene.port(reader)),
            };
            let transport = at(&format!("chip-{n}.transport"));
            writeln!(links, "[link.chip-{n}]\nreader = {name:?}\nslot = {slot}\ntransport = {transport:?}")
                .unwrap();
            if let Some(OwnPcscd { socket, .. }) = own {
                writeln!(links, "pcscd = {:?}", socket.display().to_string()).unwrap();
            }
            writeln!(attach, "[sim.attach.chip-{n}]\ntransport = {transport:?}").unwrap();
            if !self.without_card.contains(&n) {
                writeln!(attach, "vpcd = \"127.0.0.1:{port}\"").unwrap();
            }
        }
        for machine in machines {
            let (serial, transport) = (at(&format!("{machine}.serial")), at(&format!("{machine}.transport")));
            writeln!(links, "[link.{machine}]\nserial = {serial:?}\ntransport = {transport:?}").unwrap();
            writeln!(attach, "[sim.attach.{machine}]\nmachine = {serial:?}\ntransport = {transport:?}")
                .unwrap();
            if machine == "printer-1" {
                writeln!(links, "stream = \"127.0.0.1:{STREAM}\"").unwrap();
                writeln!(attach, "stream = \"127.0.0.1:{STREAM}\"").unwrap();
            }
        }
        let transport = at("output.transport");
        writeln!(links, "[link.output]\ntransport = {transport:?}").unwrap();
        writeln!(attach, "[sim.attach.output]\ntransport = {transport:?}").unwrap();
        text + &links + "\n[sim]\n" + &self.sim + BLANKS + &attach
    }
}

fn module(text: &mut String, name: &str, more: &str, stations: u32) {
    write!(text, "[[module]]\nname = {name:?}\nkind = {name:?}\n{more}\nstations = {stations}\n\n").unwrap();
}

/// TEST blanks of two suppliers.
const BLANKS: &str = r#"
[[sim.blanks]]
product = "multiapp"
kmc_id = "FFFFFF476173"
version = 1
kmc = "404142434445464748494A4B4C4D4E4F"
scp02_i = "55"
atr = "3B751300005443415244"
weight = 2

[[sim.blanks]]
product = "multiapp"
kmc_id = "FFFFFF622800"
version = 1
kmc = "A8C4709E0B3DF2657C80164F9BB325D0"
scp02_i = "55"
atr = "3B751300005443415244"
weight = 1

"#;
