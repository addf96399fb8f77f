//! The cryptography that no preparation can leave out, on all cores in this process: the keys of a card and their check
//! values, its verification values and PIN block, and for each application random numbers, the keys of the file, encryption
//! and MAC; the digests of the other sections and of the record.
//!
//! It reads and writes nothing, parses nothing, and makes no message to an HSM.

use std::hint::black_box;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use cardwright::crypto::payment::{CardKeyMethod, card_key, cvv, pin, pvv};
use cardwright::crypto::{CipherKey, Purpose, Suite, TdesKey, application_mac_input, wrap_mac_key};
use cardwright::record::chip::{ChipApplication, ChipSection};
use cardwright::record::{Record, others_digest};
use sha2::{Digest, Sha256};

use crate::support::{KEK, scope_of};

/// Rounds over the sample.
const ROUNDS: usize = 20;
/// A published TEST key: that of the vectors of pyemv and psec.
const MASTER: &str = "0123456789ABCDEFFEDCBA9876543210";
/// The account number of those vectors.
const PAN: &str = "4761739001010119";
/// Applications of a sample card that have keys: payment and purse.
const WITH_KEYS: usize = 2;

/// A record with what the floor needs of it.
pub struct Made {
    record: Record,
    applications: Vec<ChipApplication>,
}

impl Made {
    pub fn of(record: Record) -> Self {
        let applications = ChipSection::parse(record.section("CHP").unwrap()).unwrap().applications;
        let with_keys = applications.iter().filter(|application| !application.protected.is_empty());
        assert_eq!(with_keys.count(), WITH_KEYS);
        Self { record, applications }
    }
}

/// The keys from which cards' values are made.
struct Keys {
    master: CipherKey,
    codes: TdesKey,
    kek: CipherKey,
}

/// Cards per second.
pub fn rate(sample: &[Made], cores: usize) -> f64 {
    let master = hex::decode(MASTER).unwrap();
    let keys = Keys {
        master: CipherKey::tdes(&master).unwrap(),
        codes: TdesKey::new(master.try_into().unwrap()),
        kek: Suite::Aes256.key(&hex::decode(KEK).unwrap()).unwrap(),
    };
    let next = AtomicUsize::new(0);
    let begun = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                loop {
                    let place = next.fetch_add(1, Ordering::Relaxed);
                    if place >= sample.len() * ROUNDS {
                        break;
                    }
                    card(&keys, &sample[place % sample.len()]);
                }
            });
        }
    });
    (sample.len() * ROUNDS) as f64 / begun.elapsed().as_secs_f64()
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).unwrap();
    bytes
}

fn card(keys: &Keys, made: &Made) {
    // AC, SMI and SMC of the payment application; load and update of the purse.
    for _ in 0..5 {
        let key = card_key(&keys.master, CardKeyMethod::B, PAN, "01").unwrap();
        black_box(CipherKey::tdes(&key).unwrap().kcv());
    }
    for (expiry, service) in [("2912", "201"), ("2912", "999"), ("1229", "000")] {
        black_box(cvv(&keys.codes, PAN, expiry, service).unwrap());
    }
    black_box(pvv(&keys.codes, PAN, 1, "1234").unwrap());
    black_box(pin::format_1("1234", &random()).unwrap());
    let others = others_digest(&made.record);
    for application in &made.applications {
        protected(keys, made, application, &others);
    }
    let bytes = made.record.sections.iter().map(|section| section.data.as_slice());
    let mut digest = Sha256::new();
    bytes.for_each(|bytes| digest.update(bytes));
    black_box(digest.finalize());
}

fn protected(keys: &Keys, made: &Made, application: &ChipApplication, others: &[u8; 32]) {
    let scope = scope_of(&made.record, application);
    let derive = |purpose| scope.derive(&keys.kek, Suite::Aes256, purpose).unwrap();
    let mac_key = random::<16>();
    black_box(wrap_mac_key(&derive(Purpose::MacKey), Suite::Aes256, &mac_key).unwrap());
    if !application.protected.is_empty() {
        let tk = derive(Purpose::Data);
        for data in application.dgis.iter().filter(|d| application.protected.contains(&d.dgi)) {
            let mut value = data.value.clone();
            tk.cbc_encrypt(&mut value).unwrap();
            black_box(value);
        }
    }
    let key = scope.blinded(&keys.kek, Suite::Aes256, Purpose::Blind, &mac_key).unwrap();
    let maced = &application.raw[application.maced.clone()];
    black_box(key.mac(&application_mac_input(&scope, others, maced).unwrap()));
}
