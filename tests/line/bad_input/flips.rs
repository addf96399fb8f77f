//! One flipped bit anywhere in a file. Acceptance runs in this process, with an HSM host.

use std::path::Path;
use std::sync::OnceLock;

use cardwright::bureau::acceptance::would_accept;
use cardwright::bureau::key_host::socket_directory;
use cardwright::hsm::CallerRole;
use cardwright::hsm::client::{HostProcess, HsmClient};
use cardwright::modules::LineProfile;
use cardwright::report::ProgressDisplay;
use tempfile::TempDir;

use super::file::{File, elements};
use super::prepare;
use crate::support::World;

/// A file of one card.
fn one_card() -> &'static [u8] {
    static ONE: OnceLock<Vec<u8>> = OnceLock::new();
    ONE.get_or_init(|| prepare(1, 7).bytes)
}

struct Acceptance {
    world: World,
    line: LineProfile,
    host: HostProcess,
    _folder: TempDir,
}

impl Acceptance {
    fn new() -> Self {
        let world = World::new();
        let folder = socket_directory().unwrap();
        let socket = folder.path().join("hsm.sock");
        let program = Path::new(env!("CARGO_BIN_EXE_cardwright"));
        let host = HostProcess::start(program, &world.path("bureau.store"), &socket).unwrap();
        Self { world, line: LineProfile::load("sim-8").unwrap(), host, _folder: folder }
    }

    /// Whether acceptance takes these bytes, with every check that the HSM makes.
    fn takes(&self, bytes: &[u8]) -> bool {
        let input = self.world.path("bit.cwf1");
        std::fs::write(&input, bytes).unwrap();
        let connect = || Ok(HsmClient::connect(self.host.door(), CallerRole::Check)?);
        let report = would_accept(&input, &self.line, Some(&connect), ProgressDisplay::Nothing);
        // A card that lacks an application is not the card that the issuer ordered.
        report.is_ok_and(|report| report.text().contains("all 4 verified"))
    }
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    damaged[bit / 8] ^= 0x80 >> (bit % 8);
    damaged
}

#[test]
fn flipped_bit_anywhere() {
    let good = one_card();
    let acceptance = Acceptance::new();
    assert!(acceptance.takes(good));
    let places = elements(good);
    let [header, record, trailer] = &places[..] else { panic!("three elements") };
    let all = |bytes: &std::ops::Range<usize>| bytes.start * 8..bytes.end * 8;
    for bit in all(header).chain(all(record).step_by(97)).chain(all(trailer)) {
        assert!(!acceptance.takes(&flipped(good, bit)), "bit {bit} of {} bytes", good.len());
    }
}

/// With digest and Trailer MAC made right again, a flipped bit is still found: every bit of a record is under
/// the MAC of its applications, or in a field that can have only one value.
#[test]
fn flipped_bit_anywhere_in_a_record_of_a_file_sealed_anew() {
    let good = one_card();
    let pieces = File::split(good);
    let acceptance = Acceptance::new();
    let places = elements(good);
    let [_, record, trailer] = &places[..] else { panic!("three elements") };
    assert!(acceptance.takes(&pieces.closed(&good[..trailer.start])));
    for bit in (record.start * 8..record.end * 8).step_by(13) {
        let damaged = pieces.closed(&flipped(good, bit)[..trailer.start]);
        assert!(!acceptance.takes(&damaged), "bit {bit} of {} bytes", good.len());
    }
}
