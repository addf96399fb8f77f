//! Joined inputs, and files that go through several passes, as a data preparer meets them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::prep_support::*;
use cardwright::exit::Exit;
use cardwright::ids::Dgi;
use cardwright::record::chip::{ChipSection, Pdi};
use cardwright::record::{Cwf1Reader, FileLimits, Record};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

const PERSON: &[&str] = &["card_ref", "pan", "psn", "name", "expiry", "effective", "service_code", "pin"];
const PURSE: &[&str] = &["card_ref", "purse_id", "balance", "max_balance", "currency", "currency_exponent"];
const LOYALTY: &[&str] =
    &["card_ref", "member", "points", "offer", "stock", "carrier", "ship_group", "priority", "group"];

/// A folder with a store, three inputs and the products of one and of two passes.
struct Bench {
    folder: TempDir,
}

impl Bench {
    fn new() -> Self {
        Self::of(&std::fs::read_to_string(data("cards-4.csv")).unwrap())
    }

    fn of(cards: &str) -> Self {
        let bench = Self { folder: tempfile::tempdir().unwrap() };
        // Expired cards are not taken.
        let cards = &cards.replace(",2212,2001,", ",2912,2001,");
        issuer_store(bench.folder.path());
        // The second and third have no row for a card without such data, and another order.
        bench.write("person.csv", &columns(cards, PERSON, false));
        bench.write("purse.csv", &columns(cards, PURSE, true));
        bench.write("loyalty.csv", &columns(cards, LOYALTY, true));
        std::fs::copy(data("multiapp.toml"), bench.path("multiapp.toml")).unwrap();
        bench.write("first.toml", &product(&["stripe", "emboss", "indent"], &[0, 1, 2]));
        bench.write("second.toml", &product(&["graphics"], &[3]));
        bench
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    fn command(&self, words: &str) -> assert_cmd::Command {
        let mut command = program();
        command.args(words.split(' ')).current_dir(self.folder.path());
        command
    }

    /// `cardwright-prep run` with the store.
    fn run(&self, words: &str) -> assert_cmd::Command {
        self.command(&format!("run --keys issuer.keys {words}"))
    }

    fn ok(&self, words: &str) -> String {
        let output = self.run(words).output().unwrap();
        assert!(output.status.success(), "{words}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn refused(&self, words: &str, exit: Exit) -> String {
        let before = self.names();
        let output = self.run(words).output().unwrap();
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit as i32), "{words}: {says}");
        let new = |name: &String| !before.contains(name) && !name.contains(".reject");
        assert_eq!(self.names().into_iter().find(new), None, "a file is left");
        says
    }

    fn names(&self) -> BTreeSet<String> {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// The first of two passes.
    fn first_pass(&self) {
        self.ok("--unfinished --input person.csv --join purse.csv --product first.toml --file-id F-1 --output job.cwfu");
    }

    /// A bureau's store.
    fn bureau(&self) -> PathBuf {
        let store = self.path("bureau.keys");
        if !store.exists() {
            cardwright("key init --test --from")
                .arg(data("keys-bureau.toml"))
                .arg("--store")
                .arg(&store)
                .assert()
                .success();
        }
        store
    }
}

const SECOND_PASS: &str =
    "--input job.cwfu --join person.csv --join loyalty.csv --product second.toml --output two.cwf1";

fn cardwright(words: &str) -> assert_cmd::Command {
    let mut command = assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("cardwright"));
    command.args(words.split(' '));
    command
}

/// Some columns of a table of cardholders.
fn columns(cards: &str, names: &[&str], shuffled: bool) -> String {
    let mut reader = csv::Reader::from_reader(cards.as_bytes());
    let header = reader.headers().unwrap().clone();
    let places: Vec<usize> = names.iter().map(|n| header.iter().position(|h| h == *n).unwrap()).collect();
    let mut rows: Vec<Vec<String>> = reader
        .records()
        .map(|record| record.unwrap())
        .map(|record| places.iter().map(|place| record[*place].to_owned()).collect())
        .collect();
    if shuffled {
        rows.retain(|row: &Vec<String>| row[1..].iter().any(|value| !value.is_empty()));
        rows.reverse();
    }
    let mut out = csv::Writer::from_writer(Vec::new());
    out.write_record(names).unwrap();
    rows.iter().for_each(|row| out.write_record(row).unwrap());
    String::from_utf8(out.into_inner().unwrap()).unwrap()
}

/// The shipped product with a part of its preparation: some tables, and applications by number.
fn product(tables: &[&str], applications: &[usize]) -> String {
    let path = data("multiapp.toml");
    let mut product: toml::Table = std::fs::read_to_string(path).unwrap().parse().unwrap();
    let prep = product["prep"].as_table_mut().unwrap();
    for table in ["stripe", "emboss", "indent", "graphics"] {
        if !tables.contains(&table) {
            prep.remove(table).unwrap();
        }
    }
    let all = prep["application"].as_array().unwrap().clone();
    assert_eq!(all.len(), 4);
    let kept = applications.iter().map(|number| all[*number].clone()).collect();
    prep.insert("application".into(), toml::Value::Array(kept));
    toml::to_string(&product).unwrap()
}

/// An application in the clear; a PIN block is cut after its digits.
#[derive(Debug, PartialEq, Eq)]
struct Opened {
    aid: String,
    pdi: Pdi,
    log: Vec<Dgi>,
    dgis: Vec<(Dgi, bool, Vec<u8>)>,
}

fn records(file: &Path) -> Vec<Record> {
    let bytes = std::fs::read(file).unwrap();
    let mut reader = Cwf1Reader::open_any(bytes.as_slice(), FileLimits::default()).unwrap();
    let mut records = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        records.push(record);
    }
    reader.finish().unwrap();
    records
}

fn scope<'a>(record: &'a Record, aid: &'a [u8]) -> Scope<'a> {
    Scope {
        issuer_id: "TESTBANK",
        file_id: "F-1",
        sequence: record.sequence,
        card_ref: record.card_ref.as_str(),
        aid,
    }
}

/// The chip of a record in the clear, in a file that begins with these bytes.
fn opened(record: &Record, magic: &[u8; 4], kek: &[u8]) -> Vec<Opened> {
    let chip = ChipSection::parse(record.section("CHP").unwrap()).unwrap();
    let applications = chip.applications.into_iter().map(|application| {
        let scope = scope(record, application.aid.as_bytes());
        let tk = scope.tk_of(magic, Family::Aes256, kek, b'D');
        let dgis = application.dgis.iter().map(|group| {
            let secret = application.protected.contains(&group.dgi);
            let mut value = group.value.to_vec();
            if secret {
                value = unpad(cbc_decrypt(Family::Aes256, &tk, &value));
            }
            if group.dgi == Dgi(0x8010) {
                let digits = usize::from(value[0] & 0x0F);
                let shown = hex::encode(&value)[..2 + digits].to_owned();
                value = shown.into_bytes();
            }
            (group.dgi, secret, value)
        });
        let dgis = dgis.collect();
        Opened { aid: application.aid.to_string(), pdi: application.pdi, log: application.log, dgis }
    });
    applications.collect()
}

/// Two passes over three sources give the plaintext of one pass, byte for byte but for the fill of PIN blocks.
#[test]
fn two_passes_give_what_one_pass_gives() {
    let (kek, _) = listed("keys-bureau.toml", "kek-1");
    let with_pin = std::fs::read_to_string(data("cards-4.csv")).unwrap();
    let pins = [",1234,", ",987654,", ",123456789012,"];
    let without = pins.iter().fold(with_pin.clone(), |cards, pin| cards.replacen(pin, ",,", 1));
    for (cards, secrets) in [(with_pin, 10), (without, 7)] {
        let bench = Bench::of(&cards);
        bench.ok(
            "--input person.csv --join purse.csv --join loyalty.csv --product multiapp.toml --file-id F-1 --output one.cwf1",
        );
        bench.first_pass();
        bench.ok(SECOND_PASS);
        let (one, two) = (records(&bench.path("one.cwf1")), records(&bench.path("two.cwf1")));
        assert_eq!(one.len(), 4);
        assert_eq!(one.len(), two.len());
        let mut found = 0;
        for (one, two) in one.iter().zip(&two) {
            assert_eq!((one.sequence, &one.card_ref), (two.sequence, &two.card_ref));
            let mics = |record: &Record| -> Vec<String> {
                record.sections.iter().map(|section| section.mic.to_string()).collect()
            };
            assert_eq!(mics(one), mics(two));
            for (one, two) in
                one.sections.iter().zip(&two.sections).filter(|(one, _)| one.mic.as_str() != "CHP")
            {
                assert_eq!(*one.data, *two.data, "{}", one.mic);
            }
            let chips = [opened(one, b"CWF1", &kek), opened(two, b"CWF1", &kek)];
            assert_eq!(chips[0], chips[1]);
            found += chips[0].iter().flat_map(|a| &a.dgis).filter(|(_, secret, _)| *secret).count();
        }
        assert_eq!(found, secrets, "8000 on each card, 8020 on three, 8010 on those with a PIN");
        for file in ["one.cwf1", "two.cwf1"] {
            let store = bench.bureau();
            cardwright("inspect").arg(bench.path(file)).arg("--keys").arg(store).assert().success();
        }
    }
}

/// Three passes, of which the second adds nothing, and the first makes no chip.
#[test]
fn a_file_may_go_through_many_passes() {
    let (kek, _) = listed("keys-bureau.toml", "kek-1");
    let bench = Bench::new();
    bench.write("media.toml", &product(&["stripe", "emboss"], &[]));
    bench.write("nothing.toml", &product(&[], &[]));
    bench.write("chip.toml", &product(&[], &[1, 2]));
    bench.ok("--unfinished --input person.csv --product media.toml --file-id F-1 --output a.cwfu");
    assert!(records(&bench.path("a.cwfu")).iter().all(|record| record.section("CHP").is_none()));
    bench.ok("--unfinished --input a.cwfu --join person.csv --product nothing.toml --output b.cwfu");
    bench.ok(
        "--unfinished --input b.cwfu --join person.csv --join purse.csv --product chip.toml --file-id F-1 --output c.cwfu",
    );
    bench.ok("--input c.cwfu --join person.csv --product nothing.toml --output d.cwf1");
    let store = bench.bureau();
    cardwright("inspect").arg(bench.path("d.cwf1")).arg("--keys").arg(&store).assert().success();
    let (before, after) = (records(&bench.path("c.cwfu")), records(&bench.path("d.cwf1")));
    for (before, after) in before.iter().zip(&after) {
        assert_eq!(opened(before, b"CWFU", &kek), opened(after, b"CWF1", &kek));
        let chip = |record: &Record| ChipSection::parse(record.section("CHP").unwrap()).unwrap();
        let keys = [before, after].map(|record| chip(record).applications[0].wrapped_mac_key.clone());
        assert_ne!(keys[0], keys[1], "every MAC is a new one");
    }
}

#[test]
fn no_bureau_takes_an_unfinished_file() {
    let bench = Bench::new();
    bench.first_pass();
    let (file, store) = (bench.path("job.cwfu"), bench.bureau());
    let refused = |command: &mut assert_cmd::Command, exit: Exit, words: &str| {
        let output = command.output().unwrap();
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(exit as i32), "{says}");
        assert!(says.contains(words), "{says}");
    };
    let unfinished = "unfinished";
    refused(cardwright("inspect --line sim-line").arg(&file), Exit::Input, unfinished);
    refused(cardwright("inspect").arg(&file).arg("--keys").arg(&store), Exit::Input, unfinished);
    let mut run = cardwright("run --simulate --line sim-line --ledger");
    refused(run.arg(bench.path("ledger")).arg("--keys").arg(&store).arg(&file), Exit::Input, unfinished);
    // Without keys it is shown as what it is.
    let shown = cardwright("inspect").arg(&file).output().unwrap();
    assert_eq!(shown.status.code(), Some(Exit::StructureOnly as i32));
    assert!(String::from_utf8_lossy(&shown.stdout).contains("UNFINISHED"));

    // A Header that calls it finished changes the digest; with a new digest, the MACs are still of another kind.
    let mut patched = std::fs::read(&file).unwrap();
    assert_eq!(patched[5..9], *b"CWFU");
    patched[8] = b'1';
    let finished = bench.path("patched.cwf1");
    std::fs::write(&finished, &patched).unwrap();
    refused(cardwright("inspect").arg(&finished), Exit::FileDigest, "digest");
    let trailer = patched.len() - (5 + 4 + 32 + 5 + 1 + 3 + 1 + 32 + 1 + 16);
    assert_eq!(patched[trailer], b'T');
    let digest = Sha256::digest(&patched[..trailer]);
    patched[trailer + 9..trailer + 41].copy_from_slice(&digest);
    std::fs::write(&finished, &patched).unwrap();
    cardwright("inspect").arg(&finished).assert().code(Exit::StructureOnly as i32);
    refused(cardwright("inspect").arg(&finished).arg("--keys").arg(&store), Exit::FileMac, "MAC");
}

#[test]
fn a_changed_unfinished_file_is_refused() {
    let bench = Bench::new();
    bench.first_pass();
    let good = std::fs::read(bench.path("job.cwfu")).unwrap();
    let step = good.len() / 23;
    for place in (9..good.len()).step_by(step).chain([good.len() - 1]) {
        let mut changed = good.clone();
        changed[place] ^= 1;
        std::fs::write(bench.path("job.cwfu"), changed).unwrap();
        let before = bench.names();
        let output = bench.run(SECOND_PASS).output().unwrap();
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        let exits = [Exit::FileFormat, Exit::FileDigest, Exit::FileMac, Exit::KeyUnknown, Exit::KeyMismatch];
        let exits = exits.map(|exit| Some(exit as i32));
        assert!(exits.contains(&output.status.code()), "byte {place}: {:?} {says}", output.status);
        assert_eq!(bench.names(), before, "byte {place}");
    }
    // A new digest does not help: the MAC covers it.
    let mut changed = good.clone();
    let trailer = good.len() - (5 + 4 + 32 + 5 + 1 + 3 + 1 + 32 + 1 + 16);
    let track = good.windows(3).position(|window| window == b"~1%").unwrap();
    changed[track + 4] ^= 1;
    let digest = Sha256::digest(&changed[..trailer]);
    changed[trailer + 9..trailer + 41].copy_from_slice(&digest);
    std::fs::write(bench.path("job.cwfu"), changed).unwrap();
    assert!(bench.refused(SECOND_PASS, Exit::FileMac).contains("the MAC of the Trailer is wrong"));
    std::fs::write(bench.path("job.cwfu"), &good[..good.len() - 1]).unwrap();
    assert!(bench.refused(SECOND_PASS, Exit::FileFormat).contains("cut short"));
    std::fs::write(bench.path("job.cwfu"), good).unwrap();
    bench.ok(SECOND_PASS);
}

#[test]
fn what_a_pass_must_not_do() {
    let bench = Bench::new();
    bench.first_pass();
    let pass = |product: &str, more: &str| {
        format!("--input job.cwfu --join person.csv --product {product} --output two.cwf1{more}")
    };
    bench.write("again.toml", &product(&["graphics"], &[1]));
    let says = bench.refused(&pass("again.toml", ""), Exit::Input);
    assert!(
        says.contains("line 1: application A0000000031010 stands in the unfinished file already"),
        "{says}"
    );
    bench.write("stripe.toml", &product(&["stripe"], &[]));
    let says = bench.refused(&pass("stripe.toml", ""), Exit::Input);
    assert!(says.contains("section MAG stands in the unfinished file already"), "{says}");
    bench.write("other.toml", &product(&["graphics"], &[]).replace("F043575055525345", "F043575055525346"));
    let says = bench.refused(&pass("other.toml", ""), Exit::Input);
    assert!(says.contains("application F043575055525345 of the unfinished file is not one of"), "{says}");
    let says = bench.refused(&pass("second.toml", " --kek 476173FF:2"), Exit::KeyMismatch);
    assert!(says.contains("KEK 476173FF:1, which every pass keeps"), "{says}");
    let says = bench.refused(&pass("second.toml", " --file-id F-2"), Exit::Usage);
    assert!(says.contains("F-1, which every pass keeps"), "{says}");
    let says =
        bench.refused("--input job.cwfu --product second.toml --unfinished --output job.cwfu", Exit::Io);
    assert!(says.contains("an input of this run"), "{says}");
    // A finished file goes into no other pass, and an unfinished one is written over by its like only.
    bench.ok(SECOND_PASS);
    let says = bench.refused("--input two.cwf1 --product second.toml --output three.cwf1", Exit::Input);
    assert!(says.contains("this file is finished"), "{says}");
    let over = "--input person.csv --join purse.csv --product first.toml --output job.cwfu";
    assert!(bench.refused(over, Exit::Io).contains("no CWF1 file"));
    // Media and chip of one card by two passes: the account number of another card is not taken.
    let person = std::fs::read_to_string(bench.path("person.csv")).unwrap();
    bench.write("media.toml", &product(&["stripe"], &[]));
    bench.write("chip.toml", &product(&[], &[1]));
    bench.ok("--unfinished --input person.csv --product media.toml --output media.cwfu");
    let (one, two) = ("C000001,4761739001010119,01", "C000003,4761730000000011,00");
    let swapped = person.replacen(one, "C000001,4761730000000011,00", 1).replacen(
        two,
        "C000003,4761739001010119,01",
        1,
    );
    assert_ne!(swapped, person);
    bench.write("swapped.csv", &swapped);
    let says = bench
        .refused("--input media.cwfu --join swapped.csv --product chip.toml --output bad.cwf1", Exit::Input);
    assert!(says.contains("the account number of track 1 is that of no application in the chip"), "{says}");
    assert!(!says.contains("47617"), "{says}");
}

/// One pass makes the media, another the chip, of rows that differ in one value: whichever comes first, it is found.
#[test]
fn media_of_several_passes_agree_in_everything() {
    let bench = Bench::new();
    let person = std::fs::read_to_string(bench.path("person.csv")).unwrap();
    bench.write("stripe.toml", &product(&["stripe"], &[]));
    bench.write("emboss.toml", &product(&["emboss"], &[]));
    bench.write("chip.toml", &product(&[], &[1]));
    let pass = |product: &str, from: &str, rows: &str, to: &str| {
        format!("--input {from} --join {rows} --product {product} --output {to}")
    };
    let changes = [
        ("C000003,4761730000000011,00", "C000003,4761739001010119,03", "line 3: the account number of"),
        ("TEST/CARD", "OTHER/CARD", "line 1: the name of track 1"),
        (",2912,2001,201,", ",2911,2001,201,", "line 1: the date of expiry of track 1"),
        (",2912,2001,201,", ",2912,2001,601,", "line 1: the service code of track 1"),
    ];
    // Of what is compared, embossing shows the account number alone.
    for (media, changes) in [("stripe.toml", &changes[..]), ("emboss.toml", &changes[..1])] {
        for (one, two) in [(media, "chip.toml"), ("chip.toml", media)] {
            let first = format!("{one}-{two}.cwfu");
            bench.ok(&format!("--unfinished --input person.csv --product {one} --output {first}"));
            bench.ok(&pass(two, &first, "person.csv", "good.cwf1"));
            for (from, to, what) in changes {
                assert!(person.contains(from), "{from}");
                bench.write("other.csv", &person.replacen(from, to, 1));
                let says = bench.refused(&pass(two, &first, "other.csv", "bad.cwf1"), Exit::Input);
                assert!(
                    says.contains(what) && says.contains("is that of no application in the chip"),
                    "{says}"
                );
                assert!(
                    ["OTHER", "TEST/", "2911", "47617"].iter().all(|data| !says.contains(data)),
                    "{says}"
                );
            }
        }
    }
}

#[test]
fn faults_of_joined_inputs_name_file_line_and_column() {
    let bench = Bench::new();
    let run =
        "--input person.csv --join purse.csv --join loyalty.csv --product multiapp.toml --output one.cwf1";
    let purse = std::fs::read_to_string(bench.path("purse.csv")).unwrap();
    let with = |text: String| {
        bench.write("purse.csv", &text);
        bench.refused(run, Exit::Input)
    };
    let first = purse.lines().nth(1).unwrap();
    let says = with(format!("{purse}{}\n", first.replace("C000004", "C000009")));
    assert!(
        says.contains("purse.csv, line 5, column card_ref: belongs to no card of the first input"),
        "{says}"
    );
    let says = with(format!("{purse}{first}\n"));
    assert!(says.contains("purse.csv, line 5, column card_ref: stands in an earlier line too"), "{says}");
    let says = with(purse.replace("C000004,", ","));
    assert!(says.contains("purse.csv, line 2, column card_ref: is empty"), "{says}");
    let says = with(purse.replace("4761730001", "47617300"));
    assert!(says.contains("purse.csv, line 4, column purse_id"), "{says}");
    assert!(!says.contains("47617300"), "{says}");
    let says = with(purse.replace("card_ref,purse_id", "card_ref,pan"));
    assert!(says.contains("column `pan` stands in person.csv too"), "{says}");
    let says = with(purse.replace("card_ref,purse_id", "card_ref,purse"));
    assert!(says.contains("purse.csv, line 1"), "{says}");
    bench.write("purse.csv", &purse);
    let person = std::fs::read_to_string(bench.path("person.csv")).unwrap();
    bench.write("person.csv", &columns(&person, &PERSON[..7], false).replace("service_code", "stock"));
    let says = bench.refused(run, Exit::Input);
    assert!(says.contains("column `stock` stands in person.csv too"), "{says}");
    bench.write("person.csv", &person);
    bench.ok(run);
}

#[test]
fn a_joined_input_may_hold_what_every_card_needs() {
    let bench = Bench::new();
    let cards = std::fs::read_to_string(bench.path("person.csv")).unwrap();
    let rest: Vec<&str> = std::iter::once("card_ref").chain(PERSON[3..].iter().copied()).collect();
    bench.write("account.csv", &columns(&cards, &PERSON[..3], false));
    bench.write("rest.csv", &columns(&cards, &rest, true));
    let others = "--join purse.csv --join loyalty.csv --product multiapp.toml";
    bench.ok(&format!("--input person.csv {others} --output one.cwf1"));
    bench.ok(&format!("--input account.csv --join rest.csv {others} --output two.cwf1"));
    let clear = |file: &str| -> Vec<_> {
        let records = records(&bench.path(file)).into_iter();
        let clear = records.map(|record| {
            let sections = record.sections.into_iter().filter(|section| section.mic.as_str() != "CHP");
            (record.card_ref, sections.map(|section| section.data.to_vec()).collect::<Vec<_>>())
        });
        clear.collect()
    };
    assert_eq!(clear("one.cwf1"), clear("two.cwf1"));
    assert_eq!(clear("two.cwf1").len(), 4);
}

/// A run that is killed leaves nothing but what was there.
#[test]
fn a_killed_pass_leaves_nothing() {
    let bench = Bench::new();
    bench.command("sample --count 1500 --output all.csv").assert().success();
    let all = std::fs::read_to_string(bench.path("all.csv")).unwrap();
    bench.write("person.csv", &columns(&all, PERSON, false));
    bench.write("loyalty.csv", &columns(&all, LOYALTY, true));
    bench.write("purse.csv", &columns(&all, PURSE, true));
    bench.first_pass();
    let (before, cwfu) = (bench.names(), std::fs::read(bench.path("job.cwfu")).unwrap());
    let mut killed = 0;
    for wait in [5, 20, 50, 100, 200, 400, 800] {
        let mut child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("cardwright-prep"))
            .args(format!("run --keys issuer.keys {SECOND_PASS}").split(' '))
            .current_dir(bench.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        std::thread::sleep(Duration::from_millis(wait));
        if child.try_wait().unwrap().is_some() {
            break;
        }
        child.kill().unwrap();
        child.wait().unwrap();
        killed += 1;
        // A file that is there is whole, though its report may be missing.
        if bench.path("two.cwf1").exists() {
            cardwright("inspect").arg(bench.path("two.cwf1")).assert().code(Exit::StructureOnly as i32);
            break;
        }
        assert_eq!(bench.names(), before, "after {wait} ms");
        assert_eq!(std::fs::read(bench.path("job.cwfu")).unwrap(), cwfu);
    }
    assert!(killed > 1);
    bench.ok(SECOND_PASS);
}

/// A disk that is full, for which a limit on the length of files stands, leaves no output.
#[test]
fn a_full_disk_leaves_nothing() {
    let bench = Bench::new();
    bench.first_pass();
    bench.command("sample --count 300 --output all.csv").assert().success();
    let before = bench.names();
    for words in [
        "--input all.csv --product multiapp.toml --output one.cwf1",
        "--unfinished --input all.csv --product multiapp.toml --output one.cwfu",
    ] {
        // The system ends a program that ignores the limit, unless it ignores the signal.
        let output = std::process::Command::new("sh")
            .args(["-c", "trap '' XFSZ; ulimit -f 64; exec \"$0\" \"$@\""])
            .arg(assert_cmd::cargo::cargo_bin!("cardwright-prep"))
            .args(format!("run --keys issuer.keys {words}").split(' '))
            .current_dir(bench.folder.path())
            .output()
            .unwrap();
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(Exit::Io as i32), "{says}");
        assert_eq!(bench.names(), before, "{says}");
    }
}

/// A first input that is exchanged while another one is joined to it would leave cards without their joined rows.
#[test]
fn a_first_input_that_is_exchanged_while_others_are_joined_is_refused() {
    let bench = Bench::new();
    let loyalty = std::fs::read_to_string(bench.path("loyalty.csv")).unwrap();
    // Blank lines keep the join busy.
    bench.write("loyalty.csv", &format!("{loyalty}{}", "\n".repeat(20 << 20)));
    let person = std::fs::read_to_string(bench.path("person.csv")).unwrap();
    let shorter: Vec<&str> = person.lines().take(1).chain(person.lines().skip(2)).collect();
    bench.write("person-2.csv", &(shorter.join("\n") + "\n"));
    for more in ["", " --keep-going"] {
        bench.write("person.csv", &person);
        let words = "run --keys issuer.keys --input person.csv --join purse.csv --join loyalty.csv --product \
                     multiapp.toml --output one.cwf1";
        let child = std::process::Command::new(assert_cmd::cargo::cargo_bin!("cardwright-prep"))
            .args(format!("{words}{more}").split_whitespace())
            .current_dir(bench.folder.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        // The names of the first input are read before the last joined input.
        while !has_read(child.id(), &bench.path("loyalty.csv"), 1 << 20) {
            std::thread::sleep(Duration::from_millis(1));
        }
        std::fs::copy(bench.path("person-2.csv"), bench.path("next.csv")).unwrap();
        std::fs::rename(bench.path("next.csv"), bench.path("person.csv")).unwrap();
        let output = child.wait_with_output().unwrap();
        let says = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(Exit::Input as i32), "{says}");
        assert!(says.contains("changed while it was read"), "{says}");
        assert!(!bench.path("one.cwf1").exists());
    }
}

/// Whether a process has read so many bytes of a file.
fn has_read(process: u32, file: &Path, bytes: u64) -> bool {
    let open = std::fs::read_dir(format!("/proc/{process}/fd")).expect("the process ended before");
    open.filter_map(Result::ok).any(|open| {
        let number = open.file_name().into_string().unwrap();
        let is_it = std::fs::read_link(open.path()).is_ok_and(|path| path == file);
        let info = std::fs::read_to_string(format!("/proc/{process}/fdinfo/{number}")).unwrap_or_default();
        let place = info.lines().find_map(|line| line.strip_prefix("pos:")?.trim().parse::<u64>().ok());
        is_it && place.is_some_and(|place| place >= bytes)
    })
}
