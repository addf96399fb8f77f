//! One flipped bit anywhere in a file. The tests run in this process with the bureau's own rules and the
//! software HSM.

use std::path::Path;
use std::sync::OnceLock;

use cardwright::audit::LedgerId;
use cardwright::bureau::file_rules::Rules;
use cardwright::hsm::soft::SoftHsm;
use cardwright::hsm::store::KeyStore;
use cardwright::hsm::{HostedHsm, Hsm, HsmShortcuts, SpoolKey, VerifyRequest};
use cardwright::modules::LineProfile;
use cardwright::record::chip::ChipSection;
use cardwright::record::{FileLimits, Spool, accept, open_input, others_digest};

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
    hsm: SoftHsm,
}

impl Acceptance {
    fn new() -> Self {
        let world = World::new();
        let hsm = SoftHsm::new(KeyStore::open(&world.path("bureau.store")).unwrap()).unwrap();
        Self { world, line: LineProfile::load("sim-8").unwrap(), hsm }
    }

    /// Whether acceptance takes these bytes and the HSM then verifies every application in them.
    fn would_be_made(&mut self, bytes: &[u8]) -> bool {
        let (input, spool) = (self.world.path("bit.cwf1"), self.world.path("spool/bit.cwf1"));
        std::fs::write(&input, bytes).unwrap();
        let vault = Box::new(self.hsm.connect());
        let mut rules = Rules::new(&self.line, &mut self.hsm).unwrap();
        let mut key = SpoolKey::new(vault, LedgerId([1; 16])).unwrap();
        let Ok(accepted) =
            accept(open_input(&input).unwrap(), &spool, FileLimits::default(), &mut rules, &mut key)
        else {
            assert!(!spool.exists());
            return false;
        };
        let product = rules.product().unwrap();
        let record = Spool::open(&spool, &accepted.digest, Some(Box::new(key))).unwrap().read(1).unwrap();
        remove(&spool);
        let chip = ChipSection::parse(record.section("CHP").unwrap()).unwrap();
        // A card that lacks an application is not the card that the issuer ordered.
        chip.applications.len() == 4
            && chip.applications.iter().all(|application| {
                let request = VerifyRequest {
                    issuer_id: accepted.header.issuer_id.clone(),
                    file_id: accepted.header.file_id.clone(),
                    sequence: record.sequence,
                    card_ref: record.card_ref.clone(),
                    others: others_digest(&record),
                    application: application.raw.as_slice().into(),
                    card_block: 8,
                    pass_through: product.application(&application.aid).unwrap().pass_through.clone(),
                    allow_ecb: product.allow_ecb,
                };
                let verified = self.hsm.verify(&request);
                verified.is_ok_and(|verified| self.hsm.release(&[verified.handle]).is_ok())
            })
    }
}

fn remove(spool: &Path) {
    std::fs::remove_file(spool).unwrap();
}

fn flipped(bytes: &[u8], bit: usize) -> Vec<u8> {
    let mut damaged = bytes.to_vec();
    damaged[bit / 8] ^= 0x80 >> (bit % 8);
    damaged
}

#[test]
fn flipped_bit_anywhere() {
    let good = one_card();
    let mut acceptance = Acceptance::new();
    assert!(acceptance.would_be_made(good));
    let places = elements(good);
    let [header, record, trailer] = &places[..] else { panic!("three elements") };
    let all = |bytes: &std::ops::Range<usize>| bytes.start * 8..bytes.end * 8;
    for bit in all(header).chain(all(record).step_by(97)).chain(all(trailer)) {
        assert!(!acceptance.would_be_made(&flipped(good, bit)), "bit {bit} of {} bytes", good.len());
    }
}

/// With digest and Trailer MAC made right again, a flipped bit is still found: every bit of a record is under
/// the MAC of its applications, or in a field that can have only one value.
#[test]
fn flipped_bit_anywhere_in_a_record_of_a_file_sealed_anew() {
    let good = one_card();
    let pieces = File::split(good);
    let mut acceptance = Acceptance::new();
    let places = elements(good);
    let [_, record, trailer] = &places[..] else { panic!("three elements") };
    assert!(acceptance.would_be_made(&pieces.closed(&good[..trailer.start])));
    for bit in (record.start * 8..record.end * 8).step_by(13) {
        let damaged = pieces.closed(&flipped(good, bit)[..trailer.start]);
        assert!(!acceptance.would_be_made(&damaged), "bit {bit} of {} bytes", good.len());
    }
}
