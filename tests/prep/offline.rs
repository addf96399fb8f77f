//! The issuer's RSA keys, their certificates and the pool of cards' key pairs, as a data preparer meets them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::prep_support::*;
use crate::v1_store;
use cardwright::crypto::rsa::{
    KeyPairGenerator, PublicExponent, RsaError, RsaKeyPair, RsaPublicKey, RsaSigner,
};
use cardwright::emv::request::{AuthorityAnswer, answer, read_request, request_block};
use cardwright::emv::{CertificateKind, KeyCertificate, MonthYear};
use cardwright::exit::Exit;
use cardwright::hsm::store::{CompanionKind, KeyStore};
use cardwright::ids::Dgi;
use cardwright::record::chip::ChipSection;
use cardwright::record::{Cwf1Reader, FileLimits};
use tempfile::TempDir;

/// A folder with an issuer's store.
struct Desk {
    folder: TempDir,
    store: PathBuf,
}

impl Desk {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let store = issuer_store(folder.path());
        Self { folder, store }
    }

    /// With an RSA key that the store's test authority has certified.
    fn certified(expiry: &str) -> Self {
        let desk = Self::new();
        desk.ok("issuer-cert new --issuer 476173");
        desk.ok(&format!("issuer-cert self --key 476173:1 --expiry {expiry}"));
        desk
    }

    /// Takes the store over from a store of version 1 with these RSA keys, changed.
    fn upgraded(&self, change: impl Fn(&str) -> String) {
        let store = KeyStore::open(&self.store).unwrap();
        let text = change(&store.companion_text(CompanionKind::Rsa).unwrap().unwrap());
        drop(store);
        let list = std::fs::read_to_string(data("keys-issuer.toml")).unwrap();
        v1_store::write(&self.path("v1"), "issuer", &list, &[("rsa", &text)]);
        std::fs::remove_dir_all(&self.store).unwrap();
        self.ok(&format!("key upgrade v1 --store {}", self.store.display()));
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn command(&self, words: &str) -> assert_cmd::Command {
        let mut command = program();
        command.args(words.split(' ')).current_dir(self.folder.path()).env("CARDWRIGHT_KEYS", &self.store);
        command
    }

    fn ok(&self, words: &str) -> String {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn refused(&self, words: &str, exit: Exit) -> String {
        let output = self.command(words).output().unwrap();
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit as i32), "{words}: {says}");
        says
    }

    fn fill(&self, count: u32) {
        self.ok(&format!("pool fill --pool pool --bits 1152 --count {count}"));
    }

    fn run(product: &str, input: &str, more: &str) -> String {
        format!("run --product {product} --input {input} --keys issuer.keys --output {input}.cwf{more}")
    }
}

/// The certificates of all cards of a file.
fn certificates(file: &Path) -> Vec<Vec<u8>> {
    let bytes = std::fs::read(file).unwrap();
    let mut reader = Cwf1Reader::open(bytes.as_slice(), FileLimits::default()).unwrap();
    let mut found = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        let chip = ChipSection::parse(record.section("CHP").unwrap()).unwrap();
        let payment = chip.applications.iter().find(|a| a.aid.to_string() == "A0000000031010").unwrap();
        found.push(payment.value(Dgi(0x0202)).unwrap().to_vec());
    }
    reader.finish().unwrap();
    found
}

#[test]
fn a_product_with_certificates_says_what_it_lacks() {
    let desk = Desk::new();
    desk.ok("sample --count 3 --output cards.csv");
    let run = Desk::run("payment-cda", "cards.csv", "");
    assert!(
        desk.refused(&run, Exit::KeyUnknown).contains("needs an RSA key of the issuer with a certificate")
    );
    desk.ok("issuer-cert new --issuer 476173");
    assert!(
        desk.refused(&run, Exit::KeyUnknown).contains("needs an RSA key of the issuer with a certificate")
    );
    desk.ok("issuer-cert self --key 476173:1 --expiry 01/2020");
    assert!(desk.refused(&run, Exit::KeyMismatch).contains("expired with 01/2020"));
    desk.ok("issuer-cert self --key 476173:1 --expiry 12/2049");
    assert!(desk.refused(&run, Exit::KeyUnknown).contains("needs key pairs of 1152 bits with exponent 3"));
    desk.fill(2);
    let run = Desk::run("payment-cda", "cards.csv", " --pool pool");
    assert!(desk.refused(&run, Exit::KeyUnknown).contains("2 key pairs left, and 3 are needed"));
    assert!(desk.ok("pool show --pool pool").contains("2 left, 0 taken of 2"));
    desk.fill(3);
    desk.ok(&run);
    assert!(desk.ok("pool show --pool pool").contains("0 left, 3 taken of 3"));
}

#[test]
fn a_card_that_outlives_the_issuers_certificate_is_rejected_with_its_line() {
    let desk = Desk::certified("12/2026");
    desk.ok("sample --count 2 --output cards.csv");
    let text = std::fs::read_to_string(desk.path("cards.csv")).unwrap();
    assert!(text.lines().count() == 3);
    let says = desk.refused(&Desk::run("payment-sda", "cards.csv", ""), Exit::Input);
    assert!(says.contains("line 2") && says.contains("which expires with 12/2026"), "{says}");
    assert!(!desk.path("cards.csv.cwf").exists());
}

/// The pool's key pairs and the certificate go over with the store.
#[test]
fn a_store_of_version_one_is_taken_over_with_its_pool() {
    let desk = Desk::certified("12/2049");
    desk.fill(2);
    desk.ok("sample --count 2 --output cards.csv");
    desk.upgraded(str::to_owned);
    desk.ok(&Desk::run("payment-dda", "cards.csv", " --pool pool"));
}

/// A key of another authority, or of another store, is no use.
#[test]
fn a_pool_of_another_store_is_refused() {
    let (desk, other) = (Desk::certified("12/2049"), Desk::certified("12/2049"));
    other.fill(4);
    std::fs::copy(other.path("pool"), desk.path("pool")).unwrap();
    desk.ok("sample --count 2 --output cards.csv");
    let run = Desk::run("payment-dda", "cards.csv", " --pool pool");
    assert!(desk.refused(&run, Exit::KeyStore).contains("sealed by another key store"));
    assert!(!desk.path("cards.csv.cwf").exists());
    assert!(desk.ok("pool show --pool pool").contains("4 left, 0 taken of 4"), "no pair is lost");
    let fill = "pool fill --pool pool --bits 1152 --count 5";
    assert!(desk.refused(fill, Exit::KeyStore).contains("sealed by another key store"));
}

/// A program that is killed leaves no output, and the pairs that it took are never used again.
#[test]
fn no_key_pair_is_used_twice_not_even_after_a_kill() {
    let desk = Desk::certified("12/2049");
    desk.fill(700);
    desk.ok("sample --count 400 --output killed.csv");
    desk.ok("sample --count 100 --seed 2 --output next.csv");
    desk.ok("sample --count 100 --seed 3 --output last.csv");
    let taken = || {
        let pool = std::fs::read(desk.path("pool")).unwrap();
        u64::from_be_bytes(pool[18..26].try_into().unwrap())
    };
    let run = Desk::run("payment-dda", "killed.csv", " --pool pool");
    let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("cardwright-prep"))
        .args(run.split(' '))
        .current_dir(desk.folder.path())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while taken() == 0 && child.try_wait().unwrap().is_none() {
        std::thread::sleep(Duration::from_millis(1));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let burnt = taken();
    assert!(burnt > 0 && !desk.path("killed.csv.cwf").exists());

    let mut seen = BTreeSet::new();
    for name in ["next.csv", "last.csv"] {
        desk.ok(&Desk::run("payment-dda", name, " --pool pool"));
        for certificate in certificates(&desk.path(&format!("{name}.cwf"))) {
            assert!(seen.insert(certificate));
        }
    }
    assert_eq!((seen.len(), taken()), (200, burnt + 200));
    // What was taken is wiped: no sealed pair is left of it.
    let pool = std::fs::read(desk.path("pool")).unwrap();
    let slot = u32::from_be_bytes(pool[14..18].try_into().unwrap()) as usize;
    let place = |count: u64| 26 + usize::try_from(count).unwrap() * slot;
    assert!(pool[place(burnt)..place(taken())].iter().all(|byte| *byte == 0));
}

/// The serial numbers of the certificates of all cards of a file.
fn serials(desk: &Desk, file: &str) -> Vec<[u8; 3]> {
    let name = format!("{file}.request");
    desk.ok(&format!("issuer-cert request --key 476173:1 --output {name}"));
    let request = std::fs::read(desk.path(&name)).unwrap();
    let key = RsaPublicKey::new(read_request(&request).unwrap().modulus, PublicExponent::Three).unwrap();
    let serial = |record: Vec<u8>| {
        // The certificate is the whole record. EMV Book 2, table 14: 6A 04 | account number 10 | expiry 2 | serial number 3.
        let block = key.recover(&record[record.len() - key.length()..]).unwrap();
        assert_eq!(block[..2], [0x6A, 0x04]);
        block[14..17].try_into().unwrap()
    };
    certificates(&desk.path(file)).into_iter().map(serial).collect()
}

/// Several files, programs and threads never give two certificates one serial number, and no number comes after the last.
#[test]
fn a_serial_number_is_used_once() {
    let desk = Desk::certified("12/2049");
    desk.fill(150);
    let mut seen = BTreeSet::new();
    for (seed, count) in [(1, 140), (2, 3), (3, 4)] {
        desk.ok(&format!("sample --count {count} --seed {seed} --output {seed}.csv"));
        desk.ok(&Desk::run("payment-dda", &format!("{seed}.csv"), " --pool pool"));
        let serials = serials(&desk, &format!("{seed}.csv.cwf"));
        assert_eq!(serials.len(), count);
        assert!(serials.into_iter().all(|serial| serial != [0; 3] && seen.insert(serial)), "{seed}");
    }
    // As if the key had certified all the cards that it can but two.
    desk.upgraded(|text| {
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with("serials ")).collect();
        format!("{}\nserials 476173FF 1 16777213\n", lines.join("\n"))
    });
    desk.refused(&Desk::run("payment-dda", "2.csv", " --pool pool"), Exit::KeyStore);
    let says = desk.refused(&Desk::run("payment-dda", "2.csv", " --pool pool"), Exit::KeyUnknown);
    assert!(says.contains("key pairs left"), "{says}");
    desk.fill(4);
    let says = desk.refused(&Desk::run("payment-dda", "2.csv", " --pool pool"), Exit::KeyStore);
    assert!(
        says.contains("RSA key 1 of issuer 476173FF has used all of its 16777215 serial numbers"),
        "{says}"
    );
}

/// A purse whose identifier is not the issuer's, and a card key that is too long for combined authentication.
#[test]
fn what_no_terminal_would_take_is_refused_before_the_output() {
    let desk = Desk::certified("12/2049");
    desk.fill(4);
    desk.ok("sample --count 2 --output cards.csv");
    let text = std::fs::read_to_string(desk.path("cards.csv")).unwrap();
    let other = text.replacen("4761730000000002,", "0000000002,", 1);
    assert_ne!(text, other);
    std::fs::write(desk.path("other.csv"), other).unwrap();
    let says = desk.refused(&Desk::run("multiapp", "other.csv", " --pool pool"), Exit::Input);
    let line = "line 3: application F043575055525345: purse_id does not begin with 476173";
    assert!(says.contains(line) && !says.contains("0000000002"), "{says}");
    assert!(!desk.path("other.csv.cwf").exists());

    let product = Path::new(env!("CARGO_MANIFEST_DIR")).join("profiles/products/payment-cda.toml");
    let product = std::fs::read_to_string(product).unwrap();
    std::fs::write(desk.path("long.toml"), product.replace("bits = 1152", "bits = 1976")).unwrap();
    let says = desk.refused(&Desk::run("long.toml", "cards.csv", " --pool pool"), Exit::Profile);
    assert!(says.contains("card_key.bits is at most 1840 for method cda, not 1976"), "{says}");
}

fn random(bytes: &mut [u8]) -> Result<(), RsaError> {
    getrandom::fill(bytes).map_err(|_| RsaError::Random)
}

fn pair(bits: usize) -> RsaKeyPair {
    KeyPairGenerator::new(bits, PublicExponent::Three).unwrap().generate(&mut random).unwrap()
}

/// A certification authority of this test.
struct Authority(RsaSigner);

impl Authority {
    fn answer(&self, issuer: [u8; 4], key: &RsaPublicKey, expiry: [u8; 2]) -> Vec<u8> {
        let certificate = KeyCertificate {
            kind: CertificateKind::Issuer,
            subject: issuer.to_vec(),
            expiry: MonthYear::from_bcd(expiry).unwrap(),
            serial: [1, 2, 3],
            modulus: key.modulus().to_vec(),
            exponent: key.exponent().bytes().to_vec(),
        };
        let public = self.0.public();
        let made = certificate.block(public.length(), &[]).unwrap();
        let parts = AuthorityAnswer {
            rid: [0xA0, 0, 0, 0, 3],
            index: 0x99,
            modulus: public.modulus(),
            exponent: public.exponent().bytes(),
            certificate: &self.0.sign(&made.block).unwrap(),
            remainder: &made.remainder,
        };
        answer(&parts).unwrap()
    }
}

#[test]
fn a_certificate_is_asked_for_and_imported() {
    let desk = Desk::new();
    desk.ok("issuer-cert new --issuer 476173 --bits 1976");
    desk.ok("issuer-cert request --key 476173:1 --output request");
    let request = std::fs::read(desk.path("request")).unwrap();
    let read = read_request(&request).unwrap();
    let key = RsaPublicKey::new(read.modulus, PublicExponent::Three).unwrap();
    assert_eq!((read.issuer, read.exponent, key.bits()), ([0x47, 0x61, 0x73, 0xFF], &[3][..], 1976));
    // The request is signed by the key that it is about.
    assert_eq!(key.recover(read.signature).unwrap(), request_block(read.body, key.length()).unwrap());

    let authority = Authority(RsaSigner::new(&pair(1984)).unwrap());
    let issuer = read.issuer;
    let import = |bytes: &[u8]| {
        std::fs::write(desk.path("answer"), bytes).unwrap();
        "issuer-cert import --key 476173:1 answer"
    };
    let other = pair(1976);
    let wrong = [
        (authority.answer(issuer, other.public(), [0x12, 0x49]), "it is of another key"),
        (
            authority.answer([0x47, 0x61, 0x74, 0xFF], &key, [0x12, 0x49]),
            "it is of another issuer identifier",
        ),
        (authority.answer(issuer, &key, [0x12, 0x20]), "it expired with 12/2020"),
    ];
    for (bytes, what) in wrong {
        assert!(desk.refused(import(&bytes), Exit::KeyMismatch).contains(what), "{what}");
    }
    let good = authority.answer(issuer, &key, [0x12, 0x49]);
    // The certificate follows the authority's key; one changed byte of it is found.
    let mut changed = good.clone();
    changed[12 + 2 + 248 + 2 + 2 + 100] ^= 1;
    desk.refused(import(&changed), Exit::KeyMismatch);
    desk.refused(import(&good[..good.len() - 1]), Exit::Io);
    assert!(desk.ok(import(&good)).contains("checksum"));
    assert!(
        desk.ok("issuer-cert list").contains("certificate 010203 of A000000003 key 99, valid to 12/2049")
    );
}
