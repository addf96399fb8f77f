//! The expected content of a card, computed twice from the CSV line that ordered it: by `prep` in this
//! process, every DGI and every line to the last byte; and here, straight from the CSV, for all data that
//! need no issuer key.
//!
//! A comparison gives its findings as text, so that a test can show that it finds something.

use std::collections::BTreeMap;

use cardwright::modules::sections::GraphicsSection;
use cardwright::modules::template;
use cardwright::prep::input::CardholderReader;
use des::TdesEde2;
use des::cipher::{Array, BlockCipherEncrypt, KeyInit};
use iso7816_tlv::ber::{Tag, Tlv, Value as TlvValue};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::clear_cards::{ClearCard, ClearCards};
use crate::support::World;

const PSE: &str = "315041592E5359532E4444463031";
const PAYMENT: &str = "A0000000031010";
const PURSE: &str = "F043575055525345";
const LOYALTY: &str = "F043574C4F59414C";

/// Photos that some cardholders have.
const PHOTOS: [(&str, &[u8]); 2] = [
    ("one.jpg", include_bytes!("../../src/picture/samples/baseline.jpg")),
    ("two.jpg", include_bytes!("../../src/picture/samples/progressive.jpg")),
];

/// One line of the CSV, by column.
pub type Row = BTreeMap<String, String>;

/// One card as ordered.
struct Ordered {
    row: Row,
    clear: ClearCard,
    photo: Option<Vec<u8>>,
}

/// Every card of a CSV, by card_ref.
pub struct Expected(BTreeMap<String, Ordered>);

impl Expected {
    /// Reads a CSV of the world and computes every card with the issuer's TEST keys.
    pub fn of(world: &World, csv: &str) -> Self {
        let text = std::fs::read_to_string(world.path(csv)).unwrap();
        let mut cards = ClearCards::new(&world.path("issuer.store"), &world.path(csv));
        let schema = cards.builder.plan().input.clone();
        let holders = CardholderReader::new(text.as_bytes(), &schema).unwrap();
        let cards = rows(&text).into_iter().zip(holders).map(|(row, holder)| {
            let clear = cards.card(&holder.unwrap());
            assert_eq!(row["card_ref"], clear.card_ref.as_str());
            let photo = Some(&row["photo"]).filter(|p| !p.is_empty());
            let photo = photo.map(|name| std::fs::read(world.path(name)).unwrap());
            (row["card_ref"].clone(), Ordered { row, clear, photo })
        });
        Self(cards.collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// The differences between the dumps of good cards and the orders for their card_refs. For every
    /// `drawn`th card both sides are also drawn again, which takes 40 ms; with 1, for every card.
    pub fn differences(&self, made: &[(String, Value)], drawn: usize) -> Vec<String> {
        let work: Vec<_> = made.iter().zip((0..drawn).cycle()).collect();
        std::thread::scope(|scope| {
            let start = |part: &'_ [(&(String, Value), usize)]| -> Vec<String> {
                part.iter().flat_map(|((name, dump), nth)| self.differs(name, dump, *nth == 0)).collect()
            };
            let workers: Vec<_> = work
                .chunks(work.len().div_ceil(2).max(1))
                .map(|part| scope.spawn(move || start(part)))
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        })
    }

    fn differs(&self, card_ref: &str, dump: &Value, draw: bool) -> Vec<String> {
        let Some(ordered) = self.0.get(card_ref) else {
            return vec![format!("{card_ref}: nobody ordered it")];
        };
        let mut found = Findings { card_ref, all: Vec::new() };
        found.same("simulated", &dump["simulated"], true);
        found.same("fate", &dump["fate"], "stacked");
        let (blank, keydata) = (text(&dump["blank"]), text(&dump["keydata"]));
        found.holds("keydata is KMC_ID and CSN", keydata.len() == 20 && keydata.get(12..) == Some(blank));
        as_prepared(&mut found, &ordered.clear, dump);
        as_in_the_csv(&mut found, &ordered.row, dump);
        if draw {
            let [front, back] = sides(&ordered.row, ordered.photo.as_deref());
            found.same("front", &dump["graphics"]["front"], front);
            found.same("back", &dump["graphics"]["back"], back);
        }
        for side in ["front", "back"] {
            found.holds(side, dump["graphics"][side].as_str().is_some_and(|hash| hash.len() == 64));
        }
        found.all
    }
}

/// Collects the differences.
struct Findings<'a> {
    card_ref: &'a str,
    all: Vec<String>,
}

impl Findings<'_> {
    fn holds(&mut self, what: &str, holds: bool) {
        if !holds {
            self.all.push(format!("{}: not so: {what}", self.card_ref));
        }
    }

    fn same(&mut self, what: &str, is: &Value, must: impl Into<Value>) {
        let must = must.into();
        if *is != must {
            self.all.push(format!("{}: {what} is {is}, must be {must}", self.card_ref));
        }
    }
}

/// Compares chip, stripe and embossing with the result of `prep`.
fn as_prepared(found: &mut Findings<'_>, clear: &ClearCard, dump: &Value) {
    let mut chip =
        BTreeMap::from([PSE, PAYMENT, PURSE, LOYALTY].map(|aid| (aid.to_owned(), ("SELECTABLE", json!({})))));
    for application in &clear.applications {
        let dgis =
            application.dgis.iter().map(|d| (d.dgi.to_string(), hex::encode_upper(&*d.on_card()).into()));
        let dgis = Value::Object(dgis.collect());
        let known = chip.insert(application.aid.to_string(), ("PERSONALIZED", dgis)).is_some();
        found.holds("prep orders applications that the chip has", known);
    }
    found.same(
        "number of applications",
        &json!(dump["chip"]["applications"].as_array().map(Vec::len)),
        chip.len(),
    );
    for (aid, (state, dgis)) in chip {
        let application = application(dump, &aid);
        found.same(&format!("{aid}: state"), &application["state"], state);
        found.same(&format!("{aid}: DGIs"), &application["dgis"], dgis);
    }
    let section = |mic: &str| {
        let data = clear.sections.iter().find(|s| s.mic.as_str() == mic).map(|s| s.data.to_vec());
        String::from_utf8(data.unwrap_or_default()).unwrap()
    };
    let stripe = section("MAG");
    for track in ["1", "2", "3"] {
        let mut lines =
            stripe.split_terminator("\r\n").filter_map(|l| l.strip_prefix('~')?.strip_prefix(track));
        found.same(&format!("track {track}"), &dump["stripe"][track], lines.next());
    }
    let lines = [section("EMB"), section("IND")].concat();
    let lines = lines.split_terminator("\r\n").map(|line| {
        let fields: Vec<&str> = line.strip_prefix("~EM%").unwrap().splitn(4, ';').collect();
        let number = |at: usize| fields[at].parse::<u16>().unwrap();
        json!({ "font": number(0), "x": number(1), "y": number(2), "text": fields[3] })
    });
    found.same("emboss", &dump["emboss"], lines.collect::<Vec<_>>());
}

/// Compares with the CSV alone, by ISO/IEC 7813 (stripe), the number and name lines of ISO/IEC 7811-3
/// (embossing) and EMV (chip). It uses no code of `src`.
fn as_in_the_csv(found: &mut Findings<'_>, row: &Row, dump: &Value) {
    let get = |column: &str| row[column].as_str();
    let (pan, name, expiry, pin) = (get("pan"), get("name"), get("expiry"), get("pin"));

    // Both tracks end in PVKI, PVV and CVV, together 8 digits; without a PIN there is no PVV.
    let (one, two) = (text(&dump["stripe"]["1"]), text(&dump["stripe"]["2"]));
    let service = get("service_code");
    let tail = two.strip_prefix(&format!(";{pan}={expiry}{service}")).and_then(|t| t.strip_suffix('?'));
    let tail = tail.unwrap_or_default();
    found.holds("track 2 ends in 8 digits", tail.len() == 8 && tail.bytes().all(|b| b.is_ascii_digit()));
    found.holds("PVKI and PVV", tail.starts_with(if pin.is_empty() { "00000" } else { "1" }));
    found.holds("track 1", one == format!("%B{pan}^{name}^{expiry}{service}{tail}?"));

    let (surname, first) = name.split_once('/').unwrap();
    let (month, year) = (&expiry[2..], &expiry[..2]);
    let last4 = &pan[pan.len() - 4..];
    let lines = [
        (2, 401, 843, embossed(pan)),
        (1, 307, 480, format!("{month}/{year}")),
        (1, 307, 328, format!("{first} {surname}")),
    ];
    for (at, (font, x, y, text)) in lines.into_iter().enumerate() {
        found.same(
            "embossed line",
            &dump["emboss"][at],
            json!({ "font": font, "x": x, "y": y, "text": text }),
        );
    }
    let panel = text(&dump["emboss"][3]["text"]);
    let cvv2 = panel.strip_prefix(last4).and_then(|t| t.strip_prefix(' ')).unwrap_or_default();
    found.holds("signature panel", cvv2.len() == 3 && cvv2.bytes().all(|b| b.is_ascii_digit()));

    let payment = &application(dump, PAYMENT)["dgis"];
    let visa = payment["0101"].as_str().and_then(record).unwrap_or_default();
    let track2 = value(&visa, "57");
    let expected = format!("{pan}D{expiry}{service}");
    // Track 2 of the chip equals that of the stripe, except for the iCVV in the place of the CVV.
    let chip = track2.trim_end_matches('F').strip_prefix(&expected).unwrap_or_default();
    found.holds("tag 57", chip.len() == 8 && chip[..5] == tail[..5.min(tail.len())]);
    found.holds("tag 9F1F", value(&visa, "9F1F") == hex::encode_upper(chip));
    found.holds("tag 5F20", value(&visa, "5F20") == hex::encode_upper(name));
    let account = payment["0201"].as_str().and_then(record).unwrap_or_default();
    let even = if pan.len().is_multiple_of(2) { pan.to_owned() } else { format!("{pan}F") };
    found.holds("tag 5A", value(&account, "5A") == even);
    found.holds("tag 5F34", value(&account, "5F34") == get("psn"));
    found
        .holds("tag 5F24", value(&account, "5F24").starts_with(expiry) && value(&account, "5F24").len() == 6);
    found.holds("tag 5F25", value(&account, "5F25") == format!("{}01", get("effective")));
    // ISO 9564-1 format 2.
    let block = format!("2{:X}{pin:F<14}", pin.len());
    found.same("PIN block", &payment["8010"], (!pin.is_empty()).then_some(block));
    check_values(found, payment, "8000", "9000");

    let purse = &application(dump, PURSE)["dgis"];
    if get("purse_id").is_empty() {
        found.same("purse", purse, json!({}));
    } else {
        let fields = purse["0101"].as_str().and_then(record).unwrap_or_default();
        found.holds("balance", value(&fields, "DF03") == format!("{:0>12}", get("balance")));
        found.holds("maximum balance", value(&fields, "DF04") == format!("{:0>12}", get("max_balance")));
        found.holds("currency", value(&fields, "DF07") == format!("0{}", get("currency")));
        found.holds("purse identifier", value(&fields, "DF0C") == get("purse_id"));
        check_values(found, purse, "8020", "9020");
    }

    let loyalty = &application(dump, LOYALTY)["dgis"];
    if get("member").is_empty() {
        found.same("loyalty", loyalty, json!({}));
    } else {
        let fields = loyalty["0101"].as_str().and_then(record).unwrap_or_default();
        found.holds("member", value(&fields, "DF20") == hex::encode_upper(get("member")));
        found.holds(
            "points",
            value(&fields, "DF22") == format!("{:08X}", get("points").parse::<u32>().unwrap()),
        );
        if !get("offer").is_empty() {
            found.same("offer", &loyalty["A001"], hex::encode_upper(get("offer")));
        }
    }
}

/// Each key in the one DGI has odd parity, and its KCV (three bytes of E(0)) stands in the other.
fn check_values(found: &mut Findings<'_>, dgis: &Value, keys: &str, kcvs: &str) {
    let keys = hex::decode(text(&dgis[keys])).unwrap();
    found.holds("keys are two-key TDES", !keys.is_empty() && keys.len().is_multiple_of(16));
    found.holds("keys have odd parity", keys.iter().all(|b| b.count_ones() % 2 == 1));
    let kcv = |key: &[u8]| {
        let mut block = Array::from([0; 8]);
        TdesEde2::new_from_slice(key).unwrap().encrypt_block(&mut block);
        hex::encode_upper(&block[..3])
    };
    found.same("check values", &dgis[kcvs], keys.chunks_exact(16).map(kcv).collect::<String>());
}

/// SHA-256 of the rasters of front and back with this line's texts and photo, drawn from the template here.
fn sides(row: &Row, photo: Option<&[u8]>) -> [String; 2] {
    let (surname, first) = row["name"].split_once('/').unwrap();
    let (name, number) = (format!("{first} {surname}"), grouped(&row["pan"]));
    let expiry = format!("{}/{}", &row["expiry"][2..], &row["expiry"][..2]);
    let fields = vec![("name", name.as_str()), ("number", &number), ("expiry", &expiry)];
    let images = photo.map(|photo| ("photo", photo)).into_iter().collect();
    let wanted = GraphicsSection { template: "multiapp", fields, images };
    let pictures = template::named("multiapp").unwrap().render(&wanted).unwrap();
    [&pictures.front, pictures.back.as_ref().unwrap()].map(|png| {
        let raster = resvg::tiny_skia::Pixmap::decode_png(png).unwrap();
        // All pixels are opaque, so premultiplied colours equal plain ones.
        assert!(raster.pixels().iter().all(|p| p.alpha() == 255));
        hex::encode_upper(Sha256::digest(raster.data()))
    })
}

/// The number in groups: 15 digits 4-6-5, 14 digits 4-6-4, others groups of four.
fn grouped(pan: &str) -> String {
    let ends = match pan.len() {
        15 => vec![4, 10, 15],
        14 => vec![4, 10, 14],
        length => (4..length).step_by(4).chain([length]).collect(),
    };
    let starts = [0].into_iter().chain(ends.clone());
    starts.zip(ends).map(|(from, to)| &pan[from..to]).collect::<Vec<_>>().join(" ")
}

/// The number in groups, if the 19 places of the number line are enough for that.
fn embossed(pan: &str) -> String {
    let spaced = grouped(pan);
    if spaced.len() <= 19 { spaced } else { pan.to_owned() }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn application<'a>(dump: &'a Value, aid: &str) -> &'a Value {
    let all = dump["chip"]["applications"].as_array();
    all.and_then(|all| all.iter().find(|a| a["aid"] == aid)).unwrap_or(&Value::Null)
}

/// The elements of a record's template 70, decoded by a codec that is not ours.
fn record(record: &str) -> Option<Vec<Tlv>> {
    match Tlv::from_bytes(&hex::decode(record).ok()?).ok()?.value() {
        TlvValue::Constructed(inside) => Some(inside.clone()),
        TlvValue::Primitive(_) => None,
    }
}

fn value(tlvs: &[Tlv], tag: &str) -> String {
    let tag = Tag::try_from(tag).unwrap();
    match tlvs.iter().find(|t| *t.tag() == tag).map(Tlv::value) {
        Some(TlvValue::Primitive(value)) => hex::encode_upper(value),
        _ => String::new(),
    }
}

/// The rows of a CSV that has no quotes.
fn rows(csv: &str) -> Vec<Row> {
    let mut lines = csv.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>());
    let header = lines.next().unwrap();
    lines.map(|line| header.iter().cloned().zip(line).collect()).collect()
}

/// Like [`World::prepared`], but with varied cardholders: some without PIN, purse or loyalty, with long
/// numbers and names, or with photos.
pub fn prepared(world: &World, name: &str, count: u32, seed: u64) -> Expected {
    let (csv, count, seed) = (format!("{name}.csv"), count.to_string(), seed.to_string());
    let made = world.prep(&["sample", "--count", &count, "--output", "sample.csv", "--seed", &seed]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let sample = std::fs::read_to_string(world.path("sample.csv")).unwrap();
    let header: Vec<&str> = sample.lines().next().unwrap().split(',').collect();
    let mut text = format!("{}\n", header.join(","));
    for (mut row, n) in rows(&sample).into_iter().zip(1..) {
        vary(&mut row, n);
        text += &header.iter().map(|column| row[*column].as_str()).collect::<Vec<_>>().join(",");
        text.push('\n');
    }
    std::fs::write(world.path(&csv), &text).unwrap();
    for (name, photo) in PHOTOS {
        std::fs::write(world.path(name), photo).unwrap();
    }
    let file = format!("{name}.cwf1");
    let files = ["--input", &csv, "--output", &file];
    let keys = ["--product", "plain.toml", "--keys", "issuer.store", "--kek", "476173FF:1"];
    let made = world.prep(&[&["run"][..], &files, &keys].concat());
    assert_eq!(made.code, 0, "{}", made.stderr);
    Expected::of(world, &csv)
}

fn vary(row: &mut Row, n: usize) {
    let mut set = |column: &str, value: &str| drop(row.insert(column.to_owned(), value.to_owned()));
    let changes: [(usize, &[(&str, &str)]); 10] = [
        (2, &[("photo", "one.jpg")]),
        (10, &[("photo", "two.jpg")]),
        (5, &[("service_code", "221"), ("offer", "TWO COFFEES FOR ONE")]),
        (6, &[("currency", "840")]),
        (7, &[("pin", "")]),
        (8, &[("pin", "123456789012")]),
        (11, &[("purse_id", ""), ("balance", "")]),
        (13, &[("member", "")]),
        (17, &[("psn", "00"), ("expiry", "2802")]),
        (23, &[("name", "ABCDEFGHIJKLMNOPQRSTUVWX/Y")]),
    ];
    for (_, changes) in changes.iter().filter(|(every, _)| n.is_multiple_of(*every)) {
        changes.iter().for_each(|(column, value)| set(column, value));
    }
    if n.is_multiple_of(9) {
        let body = format!("476173{n:012}");
        set("pan", &format!("{body}{}", luhn(&body)));
    }
}

/// The check digit of ISO/IEC 7812-1 annex B.
fn luhn(body: &str) -> u32 {
    let digits = body.chars().rev().filter_map(|c| c.to_digit(10));
    let sum: u32 = digits.zip([2, 1].into_iter().cycle()).map(|(d, by)| d * by / 10 + d * by % 10).sum();
    (10 - sum % 10) % 10
}
