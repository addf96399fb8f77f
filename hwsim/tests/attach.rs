//! The line on serial ports and behind virtual readers, from outside: a client opens the ports and plays
//! vpcd.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    reason = "a test fails by panicking"
)]

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hwsim::faults::FaultPlan;
use hwsim::profile::SimLineProfile;
use hwsim::server::LineServer;
use hwsim::witness::LineWitness;
use hwsim::world::SimulatedLine;

/// GET DATA of KEYDATA with the right Le.
const READ_KEY_DATA: &[u8] = &[0x80, 0xCA, 0x00, 0xCF, 0x0C];
const ATR: &str = "3B751300005443415244";

/// The end of the connection that vpcd has.
struct Vpcd(TcpStream);

impl Vpcd {
    /// Accepts the next card that connects.
    fn card(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        Self(stream)
    }

    /// Sends length and body in two writes, as Debian's vpcd does.
    fn send(&mut self, body: &[u8]) {
        self.0.write_all(&u16::try_from(body.len()).unwrap().to_be_bytes()).unwrap();
        self.0.write_all(body).unwrap();
    }

    fn exchange(&mut self, body: &[u8]) -> Vec<u8> {
        self.send(body);
        let mut length = [0; 2];
        self.0.read_exact(&mut length).unwrap();
        let mut answer = vec![0; u16::from_be_bytes(length).into()];
        self.0.read_exact(&mut answer).unwrap();
        answer
    }

    fn is_closed(&mut self) -> bool {
        matches!(self.0.read(&mut [0]), Ok(0))
    }
}

/// Sends a framed command on a serial port; returns the status. No byte of these commands needs stuffing.
fn command(port: &mut File, body: &[u8]) -> char {
    let bcc = body.iter().fold(0x03, |bcc, byte| bcc ^ byte);
    port.write_all(&[&[0x02][..], body, &[0x03, bcc]].concat()).unwrap();
    let mut take = || {
        let mut byte = [0];
        port.read_exact(&mut byte).unwrap();
        byte[0]
    };
    assert_eq!([take(), take(), take()], [0x06, 0x02, body[0]]);
    let status = take();
    while take() != 0x03 {}
    take();
    port.write_all(&[0x06]).unwrap();
    status.into()
}

fn open(path: &Path) -> File {
    let deadline = Instant::now() + Duration::from_secs(5);
    loop {
        match OpenOptions::new().read(true).write(true).open(path) {
            Ok(port) => return port,
            Err(error) => assert!(Instant::now() < deadline, "{}: {error}", path.display()),
        }
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn line(dir: &Path, vpcd: u16, faults: &str) -> LineServer {
    let at = dir.display();
    let attach = format!(
        "[sim.attach.chip-1]\nvpcd = \"127.0.0.1:{vpcd}\"\ntransport = \"{at}/chip\"\n\
         [sim.attach.stripe-1]\nmachine = \"{at}/stripe\"\ntransport = \"{at}/stripe-t\"\n\
         [sim.attach.output]\ntransport = \"{at}/output\"\n\n[sim]"
    );
    let shipped = concat!(env!("CARGO_MANIFEST_DIR"), "/../profiles/lines/sim-8.toml");
    let text = std::fs::read_to_string(shipped).unwrap().replace("[sim]", &attach);
    let line = SimLineProfile::from_toml(&text).unwrap();
    let faults = FaultPlan::from_toml(faults, 3).unwrap();
    let world = SimulatedLine::new(line, 3, faults, 0.0, LineWitness::open(Some(&dir.join("dump"))).unwrap())
        .unwrap();
    LineServer::start(world, &dir.join("s")).unwrap()
}

#[test]
fn a_card_goes_through_real_links() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let faults = "[[fault]]\nkind = \"card-pulled\"\nblanks = [2]\nafter = 1\n\
                  [[fault]]\nkind = \"close-stripe\"\nblanks = [1]\nms = 100";
    let server = line(dir.path(), listener.local_addr().unwrap().port(), faults);
    let path = |name| dir.path().join(name);
    let mut feeder = open(&path("chip"));
    assert_eq!(command(&mut feeder, b"F"), '0');
    let mut reader = Vpcd::card(&listener);
    assert_eq!(hex::encode_upper(reader.exchange(&[4])), ATR);
    reader.send(&[1]);
    let start = Instant::now();
    for _ in 0..50 {
        assert_eq!(reader.exchange(READ_KEY_DATA).len(), 14);
    }
    assert!(
        start.elapsed() < Duration::from_millis(500),
        "no delayed acknowledgements: {:?}",
        start.elapsed()
    );

    let mut at_stripe = open(&path("stripe-t"));
    assert_eq!(command(&mut at_stripe, b"Tchip-1"), '0');
    assert!(reader.is_closed(), "the card has left");
    assert_eq!(command(&mut at_stripe, b"A"), '0');
    // The encoder closes its port at the first job, and the port comes back under the same name.
    let write = b"\x1bw\x1bs\x1b\x01\x1b\x0212=34\x1b\x03\x3f\x1c";
    let mut stripe = open(&path("stripe"));
    stripe.write_all(write).unwrap();
    assert!(!matches!(stripe.read(&mut [0; 2]), Ok(1..)));
    std::thread::sleep(Duration::from_millis(50));
    let mut stripe = open(&path("stripe"));
    stripe.write_all(write).unwrap();
    let mut status = [0; 2];
    stripe.read_exact(&mut status).unwrap();
    assert_eq!(&status, b"\x1b0");
    let mut output = open(&path("output"));
    assert_eq!(command(&mut output, b"Tstripe-1"), '0');
    assert_eq!(command(&mut output, b"B\0\0"), '0');

    // The card is pulled after one APDU: the reader is empty.
    assert_eq!(command(&mut feeder, b"F"), '0');
    let mut reader = Vpcd::card(&listener);
    reader.send(&[1]);
    assert_eq!(reader.exchange(READ_KEY_DATA).len(), 14);
    reader.send(READ_KEY_DATA);
    assert!(reader.is_closed());
    assert_eq!(command(&mut feeder, b"R"), '0');
    // vpcd ends and starts again: the same card is there.
    assert_eq!(command(&mut feeder, b"F"), '0');
    drop(Vpcd::card(&listener));
    assert_eq!(hex::encode_upper(Vpcd::card(&listener).exchange(&[4])), ATR);
    assert!(server.stop());
    assert!(std::fs::symlink_metadata(path("stripe")).is_err(), "links are removed");
}

/// A program that is ended even if the test fails.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_mute_card_lies_in_the_reader_and_gives_no_atr() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let faults = "[[fault]]\nkind = \"mute\"\nblanks = [1]";
    let server = line(dir.path(), listener.local_addr().unwrap().port(), faults);
    let mut feeder = open(&dir.path().join("chip"));
    assert_eq!(command(&mut feeder, b"F"), '0');
    let mut reader = Vpcd::card(&listener);
    // vpcd asks for the ATR, powers the card up, and asks again. An empty answer would hang it.
    assert_eq!(reader.exchange(&[4]), [0x00]);
    reader.send(&[1]);
    assert_eq!(reader.exchange(&[4]), [0x00]);
    assert_eq!(command(&mut feeder, b"R"), '0');
    assert!(reader.is_closed());
    assert_eq!(command(&mut feeder, b"F"), '0');
    assert_eq!(hex::encode_upper(Vpcd::card(&listener).exchange(&[4])), ATR);
    assert!(server.stop());
    let noted = std::fs::read_to_string(dir.path().join("dump/faults.jsonl")).unwrap();
    assert_eq!(noted.matches("mute").count(), 1, "{noted}");
}

/// ISO/IEC 7816-3, 12.2, over vpcd: a card whose ATR offers T=0 alone wants command TPDUs, one whose ATR
/// offers T=1 wants APDUs.
#[test]
fn one_card_as_a_program() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let faults = dir.path().join("faults.toml");
    std::fs::write(&faults, "[[fault]]\nkind = \"hang\"\nevery = 1\nafter = 6").unwrap();
    let select = [&[0x00, 0xA4, 0x04, 0x00, 0x07], &b"\xA0\0\0\0\x03\x10\x10"[..]].concat();
    let with_le = [&select[..], &[0x00]].concat();
    let fetch = |le| [0x00, 0xC0, 0x00, 0x00, le];
    let start = |atr: &str| {
        let program = Command::new(env!("CARGO_BIN_EXE_hwsim"))
            .args(["card", "--product", "multiapp", "--speed", "0", "--atr", atr])
            .args(["--vpcd", &listener.local_addr().unwrap().to_string(), "--faults"])
            .arg(&faults)
            .stdout(Stdio::null())
            .spawn();
        let program = Program(program.unwrap());
        let mut reader = Vpcd::card(&listener);
        reader.send(&[1]);
        (program, reader)
    };
    let (program, mut reader) = start("3B600000");
    assert_eq!(reader.exchange(&with_le), [0x67, 0x00]);
    let more = reader.exchange(&select);
    assert_eq!((more.len(), more[0]), (2, 0x61));
    assert_eq!(reader.exchange(&[4]), [0x3B, 0x60, 0x00, 0x00], "asked for in between");
    assert_eq!(reader.exchange(&fetch(0)), [0x6C, more[1]]);
    let fci = reader.exchange(&fetch(more[1]));
    assert!(fci.starts_with(&[0x6F]) && fci.ends_with(&[0x90, 0x00]));
    assert_eq!(reader.exchange(&[0x00, 0xA4, 0x04, 0x00])[0], 0x61, "case 1 with an answer");
    assert_eq!(reader.exchange(&[0x80, 0xCA, 0x00, 0xCF, 0x00]), [0x6C, 0x0C]);
    assert_eq!(reader.exchange(READ_KEY_DATA).len(), 14);
    // The longest command that vpcd can carry: no command TPDU is so long.
    let mut long = vec![0x80, 0xE2, 0x80, 0x00, 0x00, 0xFF, 0xF8];
    long.resize(65_535, 0);
    assert_eq!(reader.exchange(&long), [0x67, 0x00]);
    assert_eq!(reader.exchange(&select)[0], 0x61);
    // The card has answered its last APDU: it hangs, and the connection stays.
    reader.send(&select);
    reader.0.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    assert!(reader.0.read(&mut [0]).is_err());
    drop((program, reader));

    let (_program, mut reader) = start("3BE000008131204535");
    let fci = reader.exchange(&with_le);
    assert!(fci.starts_with(&[0x6F]) && fci.ends_with(&[0x90, 0x00]));
    assert_eq!(reader.exchange(&long).len(), 2);
}

/// A payment application with a record, as a dump shows it.
const DUMP: &str = r#"{ "simulated": true, "blank": "01020304", "keydata": "FFFFFF47617301020304", "chip":
    { "applications": [ { "aid": "A0000000031010", "state": "PERSONALIZED", "dgis": {
        "0101": "70055A034761FF", "9104": "82021C00940408010100",
        "8000": "0123456789ABCDEFFEDCBA9876543210", "9000": "08D7B4" } } ] } }"#;

#[test]
fn a_card_from_a_dump_as_a_program() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let dump = dir.path().join("01020304.json");
    let card = |text: &str, more: &[&str]| {
        std::fs::write(&dump, text).unwrap();
        let mut program = Command::new(env!("CARGO_BIN_EXE_hwsim"));
        program.args(["card", "--speed", "0", "--vpcd", &listener.local_addr().unwrap().to_string()]);
        program.arg("--from-dump").arg(&dump).args(more);
        program
    };
    for (text, more, said) in [
        (DUMP, &["--product", "multiapp"][..], "--product"),
        (DUMP, &["--dump", "x"], "--dump"),
        (&DUMP.replace("FFFFFF476173", "FFFFFF476174"), &[], "KMC_ID"),
        (&DUMP.replace("A0000000031010", "A0000000041010"), &[], "A0000000041010"),
        (&DUMP.replace("true", "1"), &[], "01020304.json"),
    ] {
        let ended = card(text, more).output().unwrap();
        let error = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert!(!ended.status.success() && error.contains(said), "{error}");
    }
    let program = card(DUMP, &["--atr", "3BE000008131204535"]).stdout(Stdio::null()).spawn();
    let _program = Program(program.unwrap());
    let mut reader = Vpcd::card(&listener);
    reader.send(&[1]);
    let mut exchange = |apdu: &str| hex::encode_upper(reader.exchange(&hex::decode(apdu).unwrap()));
    assert_eq!(exchange("80CA00CF00"), "CF0AFFFFFF476173010203049000");
    assert_eq!(exchange("00A4040007A000000003101000"), "6F0B8407A0000000031010A5009000");
    assert_eq!(exchange("80A8000002830000"), "770A82021C009404080101009000");
    assert_eq!(exchange("00B2010C00"), "70055A034761FF9000");
}
