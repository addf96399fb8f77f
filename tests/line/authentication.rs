//! Cards that were prepared and made here pay at a terminal, which authenticates them offline. The authority and the
//! terminal (`hwsim terminal`) are written from EMV Book 2 alone and share no code with the preparation.

use std::fmt::Write;
use std::path::Path;

use openssl::bn::{BigNum, BigNumContext};
use openssl::pkey::Private;
use openssl::rsa::{Padding, Rsa};
use serde_json::{Value, json};
use sha1::{Digest, Sha1};

use crate::support::{Ended, World};

const PAYMENT: &str = "A0000000031010";
const PURSE: &str = "F043575055525345";
/// RID and key index of the authority.
const RID: [u8; 5] = [0xA0, 0, 0, 0, 3];
const INDEX: u8 = 0x92;

/// A certification authority, by the tables of EMV Book 2.
struct TestAuthority(Rsa<Private>);

impl TestAuthority {
    fn new(bits: u32, exponent: u32) -> Self {
        Self(Rsa::generate_with_e(bits, &BigNum::from_u32(exponent).unwrap()).unwrap())
    }

    /// The file of a terminal.
    fn public(&self) -> Value {
        let hex = |number: &openssl::bn::BigNumRef| hex::encode_upper(number.to_vec());
        json!({ "rid": hex::encode_upper(RID), "index": format!("{INDEX:02X}"),
                "modulus": hex(self.0.n()), "exponent": hex(self.0.e()) })
    }

    /// The certificate of an issuer's key (Book 2, table 2): `6A 02 | issuer identifier 4 | MMYY | serial number 3 | 01 | 01 |
    /// length of the key | length of its exponent | leftmost bytes of the key, padded with BB | SHA-1 | BC`; and the rest of
    /// the key.
    fn certify(&self, issuer: &[u8], modulus: &[u8], exponent: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let length = self.0.size() as usize;
        let lengths = [modulus.len(), exponent.len()].map(|length| u8::try_from(length).unwrap());
        let mut content = [&[0x02], issuer, &[0x12, 0x49], &[0, 0, 7], &[0x01, 0x01], &lengths[..]].concat();
        let (inside, remainder) = modulus.split_at(modulus.len().min(length - 36));
        content.extend_from_slice(inside);
        content.resize(length - 22, 0xBB);
        let hash = Sha1::digest([&content, remainder, exponent].concat());
        let block = [&[0x6A], &content[..], &hash[..], &[0xBC]].concat();
        let mut certificate = vec![0; length];
        self.0.private_encrypt(&block, &mut certificate, Padding::NONE).unwrap();
        (certificate, remainder.to_vec())
    }
}

/// Bytes after their length of two bytes.
fn l2(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap().to_be_bytes()[..], bytes].concat()
}

/// Bytes after their length of one byte.
fn l1(bytes: &[u8]) -> Vec<u8> {
    [&[u8::try_from(bytes.len()).unwrap()][..], bytes].concat()
}

/// Runs `cardwright-prep`, which must succeed.
fn prepared(world: &World, words: &str) {
    let made = world.prep(&words.split(' ').collect::<Vec<_>>());
    assert_eq!(made.code, 0, "{words}: {}", made.stderr);
}

/// An issuer whose key an authority has certified, and a pool of key pairs of its cards.
struct CertifiedIssuer {
    world: World,
    authority: TestAuthority,
    modulus: BigNum,
    exponent: BigNum,
    bits: u32,
    card: (u32, u32),
}

/// Sizes of the three keys, and the exponent of issuer and card.
#[derive(Clone, Copy)]
struct ChainSizes {
    authority: u32,
    issuer: u32,
    card: u32,
    exponent: u32,
}

impl CertifiedIssuer {
    fn new(sizes: ChainSizes, pairs: u32) -> Self {
        let ChainSizes { authority, issuer: bits, card, exponent } = sizes;
        let world = World::new();
        let prep = |words: &str| prepared(&world, words);
        prep(&format!(
            "issuer-cert new --keys issuer.store --issuer 476173 --bits {bits} --exponent {exponent}"
        ));
        prep("issuer-cert request --keys issuer.store --key 476173:1 --output request");
        let request = std::fs::read(world.path("request")).unwrap();
        // `src/manual/issuer.md`, section 5.
        let (head, rest) = request.split_at(10);
        assert_eq!(head, b"CWCR\x00\x01\x47\x61\x73\xFF");
        let (modulus, rest) = rest[2..].split_at(bits as usize / 8);
        let public_exponent = &rest[1..][..usize::from(rest[0])];
        // The authority's keys have the other exponent.
        let authority = TestAuthority::new(authority, if exponent == 3 { 65537 } else { 3 });
        let (certificate, remainder) = authority.certify(&head[6..], modulus, public_exponent);
        let answer = [
            &b"CWCA\x00\x01"[..],
            &RID,
            &[INDEX],
            &l2(&authority.0.n().to_vec()),
            &l1(&authority.0.e().to_vec()),
            &l2(&certificate),
            &l1(&remainder),
        ];
        std::fs::write(world.path("answer"), answer.concat()).unwrap();
        prep("issuer-cert import --keys issuer.store --key 476173:1 answer");
        if pairs > 0 {
            prep(&format!(
                "pool fill --keys issuer.store --pool pool --bits {card} --exponent {exponent} --count {pairs}"
            ));
        }
        std::fs::write(world.path("ca.json"), authority.public().to_string()).unwrap();
        let [modulus, exponent] = [modulus, public_exponent].map(|bytes| BigNum::from_slice(bytes).unwrap());
        Self { world, authority, modulus, exponent, bits, card: (card, sizes.exponent) }
    }

    /// Prepares cards of a shipped product, with key pairs of this issuer's size, and makes them on a line. Returns the folder
    /// of their dumps.
    fn made(&self, product: &str, cards: u32) -> String {
        let (bits, exponent) = self.card;
        let text = cardwright::profile::PRODUCTS.iter().find(|(name, _)| *name == product).unwrap().1;
        let sized = format!("card_key = {{ bits = {bits}, exponent = {exponent} }}");
        let text = text.replace("card_key = { bits = 1152, exponent = 3 }", &sized);
        assert!(product == "payment-sda" || text.contains(&sized));
        self.world.write(&format!("{product}.toml"), &text);
        prepared(&self.world, &format!("sample --count {cards} --output {product}.csv"));
        prepared(
            &self.world,
            &format!(
                "run --input {product}.csv --product {product}.toml --keys issuer.store --kek 476173FF:1 --output {product}.cwf1{}",
                if product == "payment-sda" { "" } else { " --pool pool" }
            ),
        );
        let dumps = format!("{product}.dumps");
        let file = format!("{product}.cwf1");
        let line =
            ["--line", "sim-8", "--ledger", &format!("{product}.db"), "--dump", &dumps].map(str::to_owned);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        let simulated = ["run", &file, "--keys", "bureau.store", "--simulate", "--speed", "0"];
        let ended = self.world.cardwright(&[&simulated[..], &line].concat());
        assert_eq!(ended.code, 0, "{product}: {}{}", ended.stdout, ended.stderr);
        dumps
    }

    /// Has a terminal authenticate an application of all good cards of a dump.
    fn authenticate(&self, dumps: &str, authority: &str, aid: &str) -> Ended {
        let hwsim = Path::new(env!("CARGO_BIN_EXE_cardwright")).with_file_name("hwsim");
        let words = ["terminal", "--dump", dumps, "--authority", authority, "--aid", aid];
        self.world.program(&hwsim, &words)
    }

    fn passes(&self, dumps: &str, aid: &str, says: &str) {
        let ended = self.authenticate(dumps, "ca.json", aid);
        assert!(
            ended.code == 0 && ended.stdout.trim_end() == says,
            "{says} with an issuer's key of {} bits: {}{}",
            self.bits,
            ended.stdout,
            ended.stderr
        );
    }

    /// The objects of the stacked cards of a dump.
    fn stacked(&self, dumps: &str) -> Vec<Value> {
        let files = std::fs::read_dir(self.world.path(dumps)).unwrap().map(|entry| entry.unwrap().path());
        let objects = files.filter(|path| path.extension().is_some_and(|e| e == "json"));
        let objects = objects.map(|path| serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap());
        objects.filter(|object: &Value| object["fate"] == "stacked").collect()
    }
}

/// A chain of each size of the standard, with both exponents, and every method. The largest key of a card with CDA has 1840
/// bits, because its answer holds a signature as long as the key; this issuer's other cards have larger keys.
#[test]
fn cards_of_chains_of_all_sizes_authenticate_by_every_method() {
    let all = ["sda", "dda", "cda"];
    let chain = |authority, issuer, card, exponent| ChainSizes { authority, issuer, card, exponent };
    for (sizes, methods) in [
        (chain(1024, 1024, 1024, 65537), &all[..]),
        (chain(1152, 1152, 1152, 3), &all),
        (chain(1408, 1408, 1408, 65537), &all),
        (chain(1984, 1976, 1976, 3), &["sda", "dda"]),
        (chain(1976, 1976, 1840, 65537), &["cda"]),
    ] {
        let issuer = CertifiedIssuer::new(sizes, 2);
        for method in methods {
            let dumps = issuer.made(&format!("payment-{method}"), 1);
            issuer.passes(&dumps, PAYMENT, &format!("1 of 1 authenticate ({})", method.to_uppercase()));
        }
    }
}

fn application<'a>(card: &'a mut Value, aid: &str) -> &'a mut Value {
    let applications = card["chip"]["applications"].as_array_mut().unwrap();
    applications.iter_mut().find(|application| application["aid"] == aid).unwrap()
}

/// The DGIs of an application of a card that a change must not survive.
fn guarded(card: &mut Value, aid: &str, beside: &[&str]) -> Vec<(String, usize)> {
    let dgis = application(card, aid)["dgis"].as_object().unwrap();
    let guarded = dgis.iter().filter(|(dgi, _)| {
        let is_record = ("0101"..="1EFF").contains(&dgi.as_str());
        is_record || beside.contains(&dgi.as_str())
    });
    guarded.map(|(dgi, value)| (dgi.clone(), value.as_str().unwrap().len() / 2)).collect()
}

/// The card with another byte at a place of a DGI.
fn changed(card: &Value, aid: &str, dgi: &str, place: usize) -> Value {
    let mut card = card.clone();
    let value = &mut application(&mut card, aid)["dgis"][dgi];
    let mut bytes = hex::decode(value.as_str().unwrap()).unwrap();
    // Each change of a byte comes up somewhere.
    bytes[place] ^= u8::try_from(place % 255 + 1).unwrap();
    *value = hex::encode_upper(bytes).into();
    card
}

/// Changes each byte of some DGIs of a card, one at a time: none of these cards authenticates.
fn no_change_passes(issuer: &CertifiedIssuer, card: &Value, aid: &str, beside: &[&str]) {
    let folder = format!("changed-{aid}-{}", beside.len());
    std::fs::create_dir(issuer.world.path(&folder)).unwrap();
    let mut count = 0;
    for (dgi, length) in guarded(&mut card.clone(), aid, beside) {
        for place in 0..length {
            let text = changed(card, aid, &dgi, place).to_string();
            std::fs::write(issuer.world.path(&format!("{folder}/{dgi}-{place}.json")), text).unwrap();
            count += 1;
        }
    }
    assert!(count > 400, "{count}");
    let ended = issuer.authenticate(&folder, "ca.json", aid);
    let mut passed = String::new();
    for file in std::fs::read_dir(issuer.world.path(&folder)).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap();
        if !ended.stdout.lines().any(|line| line.starts_with(&format!("{name}: "))) {
            write!(passed, " {name}").unwrap();
        }
    }
    assert_eq!(passed, "", "changes that no terminal notices");
    assert!(ended.stdout.ends_with(&format!("0 of {count} authenticate\n")), "{}", ended.stderr);
}

/// DGIs of a payment card besides its records: AIP and AFL, and the card's key.
const BESIDE: [&str; 6] = ["9104", "8201", "8202", "8203", "8204", "8205"];

#[test]
fn one_changed_byte_fails_a_card() {
    let sizes = ChainSizes { authority: 1152, issuer: 1152, card: 1024, exponent: 3 };
    let issuer = CertifiedIssuer::new(sizes, 4);
    for (method, beside) in [("sda", &BESIDE[..1]), ("dda", &BESIDE), ("cda", &BESIDE)] {
        let dumps = issuer.made(&format!("payment-{method}"), 1);
        let card = issuer.stacked(&dumps).remove(0);
        no_change_passes(&issuer, &card, PAYMENT, beside);
        std::fs::remove_dir_all(issuer.world.path(&format!("changed-{PAYMENT}-{}", beside.len()))).unwrap();
        // Another authority's key, and this one's with a changed byte.
        let other = TestAuthority::new(1152, 3).public();
        let mut near = issuer.authority.public();
        let modulus = near["modulus"].as_str().unwrap().to_owned();
        let digit = if modulus.as_bytes()[100] == b'0' { "1" } else { "0" };
        near["modulus"] = format!("{}{digit}{}", &modulus[..100], &modulus[101..]).into();
        let mut exponent = issuer.authority.public();
        exponent["exponent"] = "03".into();
        for wrong in [other, near, exponent] {
            issuer.world.write("wrong.json", &wrong.to_string());
            let ended = issuer.authenticate(&dumps, "wrong.json", PAYMENT);
            assert!(ended.stdout.contains("issuer certificate: "), "{}{}", ended.stdout, ended.stderr);
            assert!(ended.stdout.ends_with("0 of 1 authenticate\n"), "{}", ended.stdout);
        }
    }
}

/// The modulus that a card's certificate states, and that of the card's own key.
fn certified_modulus(issuer: &CertifiedIssuer, card: &mut Value, aid: &str) -> [Vec<u8>; 2] {
    let dgis = &application(card, aid)["dgis"];
    let value = |dgi: &str| hex::decode(dgis[dgi].as_str().unwrap()).unwrap();
    let find = |dgi: &str, tag: [u8; 2]| {
        let record = value(dgi);
        let at = record.windows(2).position(|found| found == tag).unwrap() + 2;
        match &record[at..] {
            [0x81, length, rest @ ..] => rest[..usize::from(*length)].to_vec(),
            [length, rest @ ..] => rest[..usize::from(*length)].to_vec(),
            [] => panic!("no length"),
        }
    };
    let mut context = BigNumContext::new().unwrap();
    // Table 14 of Book 2: 21 bytes stand before the key, SHA-1 and BC behind it.
    let certificate = BigNum::from_slice(&find("0202", [0x9F, 0x46])).unwrap();
    let mut opened = BigNum::new().unwrap();
    opened.mod_exp(&certificate, &issuer.exponent, &issuer.modulus, &mut context).unwrap();
    let opened = opened.to_vec();
    let certified = [&opened[21..opened.len() - 21], &find("0203", [0x9F, 0x48])[..]].concat();
    // A secret part is padded 80 00.. on the card.
    let part = |dgi: &str| {
        let bytes = value(dgi);
        let end = bytes.iter().rposition(|byte| *byte == 0x80).unwrap();
        BigNum::from_slice(&bytes[..end]).unwrap()
    };
    let mut modulus = BigNum::new().unwrap();
    modulus.checked_mul(&part("8204"), &part("8205"), &mut context).unwrap();
    [certified, modulus.to_vec()]
}

/// The shipped product with everything: two key pairs on each card, all different. A load host checks the certificates of the
/// purse; its key is the one that is certified.
#[test]
fn cards_and_purses_of_multiapp_authenticate() {
    let sizes = ChainSizes { authority: 1984, issuer: 1152, card: 1152, exponent: 3 };
    let issuer = CertifiedIssuer::new(sizes, 6);
    let dumps = issuer.made("multiapp", 3);
    issuer.passes(&dumps, PAYMENT, "3 of 3 authenticate (CDA)");
    issuer.passes(&dumps, PURSE, "3 of 3 authenticate (certificates)");
    let mut keys = std::collections::BTreeSet::new();
    let mut cards = issuer.stacked(&dumps);
    for card in &mut cards {
        for aid in [PAYMENT, PURSE] {
            let [certified, own] = certified_modulus(&issuer, card, aid);
            assert_eq!(certified, own, "{aid}");
            assert!(keys.insert(own));
        }
    }
    has_every_field_of_the_patents_list(&mut cards[0]);
    no_change_passes(&issuer, &cards[0], PURSE, &[]);
}

/// The fields that WO 99/19846 lists for a card with stored value, by the tags of the purse.
fn has_every_field_of_the_patents_list(card: &mut Value) {
    let dgis = &application(card, PURSE)["dgis"];
    let text = |dgi: &str| dgis[dgi].as_str().unwrap_or_default();
    // Authentication mode, application profile, balance, maximum balance, card supplier, currency exponent, currency,
    // activation, deactivation, expiration, identifier, type of EF, version, key version, index of the authority's key.
    let fields = "DF01 DF02 DF03 DF04 DF05 DF06 DF07 DF08 DF09 DF0A DF0C DF0D DF0E DF0F DF10";
    for field in fields.split(' ') {
        assert!(text("0101").contains(field), "{field}");
    }
    assert!(
        text("0101").ends_with(&format!("DF1001{INDEX:02X}")),
        "the index is that of the authority's key"
    );
    // Purse provider's certificate, load key and update key, the card's key as CRT constants of 72 bytes, padded.
    assert!(text("0201").starts_with("7081FB9081F8"));
    assert_eq!(text("8020").len(), 2 * 32);
    for part in &BESIDE[1..] {
        assert_eq!(text(part).len(), 2 * 80, "{part}");
    }
}
