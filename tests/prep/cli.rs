//! `cardwright-prep` as its operator meets it: exit codes, messages, files on the disk.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::prep_support::*;
use cardwright::exit::Exit;
use cardwright::record::{Cwf1Reader, FileLimits};
use sha2::{Digest, Sha256};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs the command; it must end with this code and leave no file at `output`. Returns stderr.
fn refused(command: &mut assert_cmd::Command, output: &Path, exit: Exit) -> String {
    let result = command.output().unwrap();
    assert_eq!(result.status.code(), Some(exit as i32), "{}", text(&result.stderr));
    assert!(!output.exists());
    let directory = output.parent().unwrap();
    let left = std::fs::read_dir(directory)
        .unwrap()
        .filter(|e| e.as_ref().unwrap().file_name().to_string_lossy().ends_with(".tmp"));
    assert_eq!(left.count(), 0, "an unfinished file was left");
    text(&result.stderr)
}

#[test]
fn a_file_for_its_owner_with_the_names_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.cwf"));
    let result = run(&data("cards-4.csv"), &store, &output)
        .args(["--file-id", "F-2026-1", "--created", "1234567890", "--json"])
        .output()
        .unwrap();
    assert!(result.status.success());
    assert!(result.stderr.is_empty(), "no bar without a terminal");
    assert_eq!(std::fs::metadata(&output).unwrap().permissions().mode() & 0o777, 0o600);

    let bytes = std::fs::read(&output).unwrap();
    let mut reader = Cwf1Reader::open(bytes.as_slice(), FileLimits::default()).unwrap();
    let header = reader.header().clone();
    assert_eq!(header.file_id.as_str(), "F-2026-1");
    assert_eq!(header.issuer_id.as_str(), "TESTBANK");
    assert_eq!(header.product.as_str(), "multiapp");
    assert_eq!((header.created, header.records), (1_234_567_890, 4));
    while reader.next_record().unwrap().is_some() {}
    let end = reader.finish().unwrap();

    let summary: serde_json::Value = serde_json::from_slice(&result.stdout).unwrap();
    assert_eq!(summary["file_id"], "F-2026-1");
    assert_eq!(summary["records"], 4);
    assert_eq!(summary["bytes"], u64::try_from(bytes.len()).unwrap());
    assert_eq!(summary["sha256"], hex::encode(end.digest));
    // The strongest of the issuer's KEKs is chosen.
    assert_eq!(summary["kek"]["id"], "476173FF:1");
    assert_eq!(summary["kek"]["type"], "AES256");
    assert_eq!(summary["kek"]["kcv"], end.trailer.kcv.to_string());
}

#[test]
fn an_earlier_output_is_replaced_only_by_a_whole_one() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.cwf"));
    run(&data("cards-4.csv"), &store, &output).assert().success();
    let old = std::fs::read(&output).unwrap();
    let bad = dir.path().join("bad.csv");
    std::fs::write(&bad, "card_ref\nC1\n").unwrap();
    run(&bad, &store, &output).assert().code(Exit::Input as i32);
    assert_eq!(std::fs::read(&output).unwrap(), old);
    run(&data("cards-4.csv"), &store, &output).assert().success();
    assert_ne!(std::fs::read(&output).unwrap(), old);
}

/// A purse identifier of a row is refused if the counter would give it to a later card; a smaller one stays.
#[test]
fn no_row_takes_a_number_that_the_counter_gives_later() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output, input) =
        (issuer_store(dir.path()), dir.path().join("out.cwf"), dir.path().join("in.csv"));
    let (counter, product) = (dir.path().join("counter"), dir.path().join("counted.toml"));
    let profile = std::fs::read_to_string(data("multiapp.toml")).unwrap();
    let counted = "[prep.counter]\ncolumn = \"purse_id\"\nprefix = \"476173\"\n\n[prep.stripe]\n";
    std::fs::write(&product, profile.replace("[prep.stripe]\n", counted)).unwrap();
    program().args(["counter", "new", "--next", "5", "--counter"]).arg(&counter).assert().success();
    let next = || std::fs::read_to_string(&counter).unwrap();
    let run = || {
        let mut command = program();
        command.args(["run", "--allow", "expired:published test vectors", "--product"]).arg(&product);
        command.arg("--input").arg(&input).arg("--keys").arg(&store).arg("--output").arg(&output);
        command.arg("--counter").arg(&counter);
        command
    };
    // The rows have the numbers 1, 2 and 4, and one row has none.
    let good = std::fs::read_to_string(data("cards-4.csv")).unwrap();
    for number in ["4761730005", "4761730006", "4761739999"] {
        assert!(good.contains(",4761730002,"));
        std::fs::write(&input, good.replace(",4761730002,", &format!(",{number},"))).unwrap();
        let message = refused(&mut run(), &output, Exit::Input);
        assert!(
            message.contains("line 3, column purse_id: is a number that the counter has not given"),
            "{message}"
        );
        assert!(!message.contains(number), "{message}");
        assert!(next().ends_with("0005\n"), "a refused input takes no number");
    }
    std::fs::write(&input, &good).unwrap();
    run().assert().success();
    assert!(next().ends_with("0006\n"));
    // Now that it is given, a row may have it: a card is made again.
    std::fs::write(&input, good.replace(",4761730002,", ",4761730005,")).unwrap();
    run().assert().success();
}

/// The output file carries the product's name, and the bureau looks for a profile with that file name. A profile outside
/// the bureau's own folder may have any file name.
#[test]
fn an_own_product_has_the_name_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.cwf"));
    let folder = dir.path().join("own/products");
    std::fs::create_dir_all(&folder).unwrap();
    let profile = std::fs::read_to_string(data("multiapp.toml")).unwrap();
    let command = |words: &[&str]| {
        let mut command = program();
        command.args(words).current_dir(dir.path()).env("CARDWRIGHT_PROFILES", "own");
        command
    };
    let check = |path: &str| command(&["profile", "check", path]).output().unwrap();
    let run = || {
        let mut run = command(&["run", "--product", "house", "--allow", "expired:published test vectors"]);
        run.arg("--input").arg(data("cards-4.csv")).arg("--keys").arg(&store).arg("--output").arg(&output);
        run
    };
    std::fs::write(folder.join("house.toml"), &profile).unwrap();
    let what = "its name is \"multiapp\", and its file is found as house: give both one name";
    for path in ["own/products/house.toml", "./own/../own/products/house.toml"] {
        let checked = check(path);
        assert_eq!(checked.status.code(), Some(Exit::Profile as i32), "{path}");
        assert!(text(&checked.stderr).contains(what), "{}", text(&checked.stderr));
    }
    assert!(refused(&mut run(), &output, Exit::Profile).contains(what));

    std::fs::write(dir.path().join("trial.toml"), &profile).unwrap();
    let checked = check("trial.toml");
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    let renamed = profile.replace("name = \"multiapp\"", "name = \"house\"");
    std::fs::write(folder.join("house.toml"), renamed).unwrap();
    let checked = check("own/products/house.toml");
    assert!(checked.status.success(), "{}", text(&checked.stderr));
    run().assert().success();
}

/// Anybody can seal a file with `age`: one that no report names is not written over.
#[test]
fn a_sealed_file_is_replaced_only_if_its_report_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.age"));
    let bureau = dir.path().join("bureau.keys");
    let cardwright = || assert_cmd::Command::new(assert_cmd::cargo::cargo_bin!("cardwright"));
    let init = ["key", "init", "--test", "--from"];
    cardwright().args(init).arg(data("keys-bureau.toml")).arg("--store").arg(&bureau).assert().success();
    let recipient = cardwright().args(["key", "recipient", "--store"]).arg(&bureau).output().unwrap().stdout;
    let recipient = String::from_utf8(recipient).unwrap();
    let sealed = || {
        let mut command = run(&data("cards-4.csv"), &store, &output);
        command.args(["--recipient", recipient.trim()]);
        command
    };
    let report = dir.path().join("out.age.prep-report.json");
    let named = || -> serde_json::Value {
        let report: serde_json::Value = serde_json::from_slice(&std::fs::read(&report).unwrap()).unwrap();
        report["sealed_sha256"].clone()
    };
    sealed().assert().success();
    let old = std::fs::read(&output).unwrap();
    assert_eq!(named(), hex::encode(Sha256::digest(&old)));
    sealed().assert().success();
    let new = std::fs::read(&output).unwrap();
    assert_ne!(new, old);

    let not_replaced = |there: &[u8]| {
        std::fs::write(&output, there).unwrap();
        let refused = sealed().output().unwrap();
        let said = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert_eq!(refused.status.code(), Some(Exit::Io as i32), "{said}");
        assert!(said.contains("the sealed file there is not the one that"), "{said}");
        assert_eq!(std::fs::read(&output).unwrap(), there);
    };
    // Another file than the report's, one byte of it changed, none next to it, one of another kind.
    not_replaced(&old);
    let mut changed = new.clone();
    *changed.last_mut().unwrap() ^= 1;
    not_replaced(&changed);
    let text = std::fs::read_to_string(&report).unwrap();
    std::fs::write(&report, text.replace("CWP1", "CWP2")).unwrap();
    not_replaced(&new);
    std::fs::remove_file(&report).unwrap();
    not_replaced(&new);
    std::fs::write(&report, text).unwrap();
    sealed().assert().success();
    // A bare file has no such digest.
    std::fs::remove_file(&output).unwrap();
    run(&data("cards-4.csv"), &store, &output).assert().success();
    assert!(named().is_null());
}

#[test]
fn a_key_store_is_never_written_over() {
    let dir = tempfile::tempdir().unwrap();
    let store = issuer_store(dir.path());
    let keys = std::fs::read(store.join("keys")).unwrap();
    for output in [&store, &store.join("keys")] {
        run(&data("cards-4.csv"), &store, output).assert().code(Exit::Io as i32);
        assert_eq!(std::fs::read(store.join("keys")).unwrap(), keys);
    }
}

#[test]
fn faults_of_the_input_name_line_and_column_and_no_value() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.cwf"));
    let good = std::fs::read_to_string(data("cards-4.csv")).unwrap();
    for (from, to, place) in [
        ("4761739001010119,02", "4761739001010118,02", "line 3, column pan"),
        ("4761739001010119,02", "4761739001010119,01", "line 3, column pan"),
        ("C000002", "C000001", "line 3, column card_ref"),
        ("SUHARTO/", "SUHARTO?", "line 4, column name"),
        (",987654,", ",98765X,", "line 3, column pin"),
        ("20000,978", "20000,EURO", "line 3, column currency"),
        (",GOLD-02,,,,", ",GOLD-02,,,", "line 4"),
        ("max_balance", "maximum", "line 1"),
    ] {
        assert!(good.contains(from), "{from}");
        let input = dir.path().join("in.csv");
        std::fs::write(&input, good.replacen(from, to, 1)).unwrap();
        let message = refused(&mut run(&input, &store, &output), &output, Exit::Input);
        assert!(message.contains(&format!("input: {place}")), "{place}: {message}");
        for value in ["4761739001010", "9876", "98765X", "SUHARTO", "O'BRIEN", "EURO", "C000001"] {
            assert!(!message.contains(value), "{value} is quoted: {message}");
        }
    }
}

#[test]
fn faults_of_a_card_are_found_before_anything_is_renamed() {
    // A member without the points that the loyalty record needs, with a product that has no default for them.
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.cwf"));
    let profile = std::fs::read_to_string(data("multiapp.toml")).unwrap();
    let product = dir.path().join("other.toml");
    std::fs::write(&product, profile.replace("points = \"0\"\n", "")).unwrap();
    let input = dir.path().join("in.csv");
    std::fs::write(
        &input,
        std::fs::read_to_string(data("cards-4.csv")).unwrap().replace("M0002,0,", "M0002,,"),
    )
    .unwrap();
    let mut command = program();
    command.arg("run").arg("--input").arg(&input).arg("--product").arg(&product);
    command.arg("--keys").arg(&store).arg("--output").arg(&output);
    let message = refused(&mut command, &output, Exit::Input);
    assert!(message.contains("line 3: application F043574C4F59414C: DGI 0101 needs points"), "{message}");
}

/// All faults are in the list, those that show only when a card is built among them; the terminal has the
/// first 20. The list holds no value of a line but its card_ref.
#[test]
fn every_fault_of_a_file_is_in_the_list_of_rejected_lines() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.cwf"));
    let list = dir.path().join("out.cwf.rejects.csv");
    let good = std::fs::read_to_string(data("cards-4.csv")).unwrap();
    let header = good.lines().next().unwrap();
    let first = good.lines().nth(1).unwrap();
    let card = |n: u32, change: (&str, &str)| {
        let card = first.replace("C000001", &format!("R{n:04}")).replacen(change.0, change.1, 1);
        format!("{card}{}\r\n", if change.0 == "photo" { ",secret-photo.jpg" } else { "," })
    };
    let account = |n: u32| {
        let body = format!("476173{n:09}");
        let sum: u32 = body
            .chars()
            .rev()
            .enumerate()
            .map(|(place, c)| {
                let double = c.to_digit(10).unwrap() * if place % 2 == 0 { 2 } else { 1 };
                double / 10 + double % 10
            })
            .sum();
        format!("{body}{}", (10 - sum % 10) % 10)
    };
    let input = dir.path().join("in.csv");
    let mut text = format!("{header},photo\r\n");
    for n in 0..60 {
        let change = match n {
            0 => ("photo", ""),
            59 => ("", ""),
            _ => (",1234,", ",12345678901234,"),
        };
        text += &card(n, change).replace("4761739001010119", &account(n));
    }
    text += &card(60, ("R0060", "4761-7390-0101-0119"));
    std::fs::write(&input, text).unwrap();
    let message = refused(&mut run(&input, &store, &output), &output, Exit::Input);
    let lines: Vec<&str> = message.trim_end().lines().collect();
    assert_eq!(lines.len(), 23, "{message}");
    assert_eq!(
        lines[0],
        "cardwright-prep: input: line 2, column photo: the file cannot be read: there is no such file or folder: check the path"
    );
    assert_eq!(lines[19], "input: line 21, column pin: is not 4 to 12 digits");
    assert_eq!(lines[20], "and 40 more");
    assert_eq!(lines[21], format!("all faults are listed in {}", list.display()));
    assert_eq!(lines[22], "nothing else was written; correct the input and start again");

    assert_eq!(std::fs::metadata(&list).unwrap().permissions().mode() & 0o777, 0o600);
    let listed = std::fs::read_to_string(&list).unwrap();
    let rows: Vec<&str> = listed.lines().collect();
    assert_eq!(rows.len(), 61);
    assert_eq!(rows[0], "file,line,column,card_ref,fault");
    assert_eq!(
        rows[1],
        format!(
            "{},2,photo,R0000,the file cannot be read: there is no such file or folder: check the path",
            input.display()
        )
    );
    assert!(rows[59].ends_with("in.csv,60,pin,R0058,is not 4 to 12 digits"));
    assert!(rows[60].ends_with("in.csv,62,card_ref,,holds the account number"));
    for value in ["12345678901234", "4761739", "4761-7390", "TEST", "secret-photo", "4761730001"] {
        assert!(!listed.contains(value) && !message.contains(value), "{value}: {message}");
    }

    // The next run that is good leaves no list of the one before.
    run(&data("cards-4.csv"), &store, &output).assert().success();
    assert!(!list.exists() && output.exists());
    std::fs::remove_file(&output).unwrap();
    // A file of another kind is not written over, and the faults are shown all the same.
    std::fs::write(&list, "somebody's table\n").unwrap();
    let message = refused(&mut run(&input, &store, &output), &output, Exit::Input);
    assert!(message.contains("line 21, column pin") && message.contains("not listed"), "{message}");
    assert_eq!(std::fs::read_to_string(&list).unwrap(), "somebody's table\n");
}

#[test]
fn keys_that_are_not_there() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.cwf"));
    let csv = data("cards-4.csv");
    refused(run(&csv, &store, &output).args(["--kek", "476173FF:9"]), &output, Exit::KeyUnknown);
    refused(&mut run(&csv, &dir.path().join("none"), &output), &output, Exit::Io);

    let list = std::fs::read_to_string(data("keys-issuer.toml")).unwrap();
    let of_kmu = |kind: &str, id: &str| format!("usage = \"KMU\"\ntype = \"{kind}\"\nid = \"{id}\"");
    let of_pvk =
        |version: u8| format!("usage = \"PVK\"\ntype = \"TDES2\"\nid = \"476173FF\"\nversion = {version}");
    for (from, to, exit) in [
        // A KMU of another issuer; the purse cannot be made without this issuer's.
        (of_kmu("TDES2", "476173FF"), of_kmu("TDES2", "476174FF"), Exit::KeyUnknown),
        // A PVKI is a number from 1 to 6.
        (of_pvk(1), of_pvk(7), Exit::KeyStore),
        ("issuer_id = \"TESTBANK\"".into(), "issuer_id = \"OTHERBANK\"".into(), Exit::KeyUnknown),
    ] {
        let (from, to) = (from.as_str(), to.as_str());
        assert!(list.contains(from), "{from}");
        let (other, store) = (dir.path().join("other.toml"), dir.path().join("other.keys"));
        std::fs::write(&other, list.replacen(from, to, 1)).unwrap();
        let _ = std::fs::remove_dir_all(&store);
        program()
            .args(["key", "init", "--test", "--from"])
            .arg(&other)
            .arg("--store")
            .arg(&store)
            .assert()
            .success();
        let message = refused(&mut run(&csv, &store, &output), &output, exit);
        assert!(message.starts_with("cardwright-prep: key: "), "{message}");
    }
}

#[test]
fn a_level_below_the_minimum_of_the_kek() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (dir.path().join("strict.keys"), dir.path().join("out.cwf"));
    let list = std::fs::read_to_string(data("keys-issuer.toml")).unwrap();
    let strict = dir.path().join("strict.toml");
    std::fs::write(&strict, list.replace("min_seclev = \"01\"", "min_seclev = \"03\"")).unwrap();
    program()
        .args(["key", "init", "--test", "--from"])
        .arg(&strict)
        .arg("--store")
        .arg(&store)
        .assert()
        .success();
    // PSE and loyalty use level 01 and have no secrets.
    run(&data("cards-4.csv"), &store, &output).assert().success();
    std::fs::remove_file(&output).unwrap();

    let profile = data("multiapp.toml");
    let product = dir.path().join("low.toml");
    let low = std::fs::read_to_string(profile).unwrap().replace("seclev = \"03\"", "seclev = \"01\"");
    std::fs::write(&product, low).unwrap();
    let mut command = program();
    command.arg("run").arg("--product").arg(&product).arg("--input").arg(data("cards-4.csv"));
    command.arg("--keys").arg(&store).arg("--output").arg(&output);
    let message = refused(&mut command, &output, Exit::Profile);
    assert!(message.contains("A0000000031010 is below min_seclev"), "{message}");
}

#[test]
fn a_bureaus_store_is_refused() {
    use cardwright::hsm::store::{KeyStore, StoreSide};
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (dir.path().join("bureau.keys"), dir.path().join("out.cwf"));
    let list = std::fs::read_to_string(data("keys-bureau.toml")).unwrap();
    KeyStore::create_test(&list, &store, StoreSide::Bureau).unwrap();
    let message = refused(&mut run(&data("cards-4.csv"), &store, &output), &output, Exit::KeyStore);
    assert!(message.contains("bureau's key store"), "{message}");
}

#[test]
fn both_key_lists_hold_the_same_keks() {
    for label in ["kek-1", "kek-2", "kek-3"] {
        assert_eq!(listed("keys-issuer.toml", label), listed("keys-bureau.toml", label));
    }
}

#[test]
fn unusable_profiles_and_names() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.cwf"));
    let csv = data("cards-4.csv");
    let mut unknown = program();
    unknown.args(["run", "--product", "nothing", "--input"]).arg(&csv).arg("--keys").arg(&store);
    refused(unknown.arg("--output").arg(&output), &output, Exit::Profile);
    refused(run(&csv, &store, &output).args(["--file-id", "täglich"]), &output, Exit::Usage);
    refused(run(&csv, &store, &output).args(["--file-id", ""]), &output, Exit::Usage);
    refused(run(&csv, &store, &output).args(["--colour", "red"]), &output, Exit::Usage);
    refused(&mut run(&dir.path().join("none.csv"), &store, &output), &output, Exit::Io);

    let profile = data("multiapp.toml");
    let profile = std::fs::read_to_string(profile).unwrap();
    for (from, to, exit) in [
        ("min_suite = \"tdes\"", "min_suite = \"aes256\"", Exit::KeyMismatch),
        ("enc = \"11\"", "", Exit::Profile),
        ("udk_ac udk_smi", "udk_ac udk_xyz", Exit::Profile),
    ] {
        assert!(profile.contains(from), "{from}");
        let product = dir.path().join("other.toml");
        std::fs::write(&product, profile.replacen(from, to, 1)).unwrap();
        let mut command = program();
        command.arg("run").arg("--product").arg(&product).arg("--input").arg(&csv).arg("--keys").arg(&store);
        let command = command.arg("--output").arg(&output).args(["--kek", "476173FF:2"]);
        refused(command, &output, exit);
    }
}

#[test]
fn samples_are_prepared() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.cwf"));
    let csv = dir.path().join("sample.csv");
    program().args(["sample", "--count", "120", "--seed", "9", "--output"]).arg(&csv).assert().success();
    run(&csv, &store, &output).assert().success();
    let bytes = std::fs::read(&output).unwrap();
    let mut reader = Cwf1Reader::open(bytes.as_slice(), FileLimits::default()).unwrap();
    let mut count = 0;
    while let Some(record) = reader.next_record().unwrap() {
        count += 1;
        assert_eq!(record.card_ref.as_str(), format!("C{count:06}"));
        let mics: Vec<_> = record.sections.iter().map(|s| s.mic.as_str()).collect();
        assert_eq!(mics, ["EMB", "FUL", "GFX", "IND", "MAG", "CHP"]);
    }
    assert_eq!(count, 120);
    program().args(["sample", "--count", "0", "--output"]).arg(&csv).assert().code(Exit::Usage as i32);
}

#[test]
fn help_lists_every_column() {
    let result = program().args(["run", "--help"]).output().unwrap();
    let help = text(&result.stdout);
    for column in cardwright::prep::columns::COLUMNS {
        assert!(help.contains(column.name), "{}", column.name);
    }
}
