//! What people see of a preparation: its report, the preview of a card, rejected rows.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::prep_support::*;
use cardwright::exit::Exit;
use cardwright::record::{Cwf1Reader, FileLimits};
use resvg::tiny_skia::Pixmap;
use serde_json::Value;
use sha2::{Digest, Sha256};

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn report(output: &Path) -> PathBuf {
    output.with_file_name(format!("{}.prep-report.json", output.file_name().unwrap().to_str().unwrap()))
}

fn sha256(path: &Path) -> String {
    hex::encode(Sha256::digest(std::fs::read(path).unwrap()))
}

fn read(path: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[test]
fn a_report_lies_next_to_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.cwf"));
    let ended = run(&data("cards-4.csv"), &store, &output).output().unwrap();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let path = report(&output);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let found = read(&path);
    assert_eq!((&found["report"], &found["realm"]), (&Value::from("CWP1"), &Value::from("TEST")));
    assert_eq!(found["cards"], serde_json::json!({ "read": 4, "written": 4, "rejected": 0 }));
    assert_eq!(
        (found["sha256"].as_str(), found["bytes"].as_u64()),
        (Some(&*sha256(&output)), Some(std::fs::metadata(&output).unwrap().len()))
    );
    assert_eq!(found["inputs"][0]["sha256"], sha256(&data("cards-4.csv")));
    let profile = data("multiapp.toml");
    assert_eq!(found["profile"]["sha256"], sha256(&profile));
    // Three of the four cards have a purse, two are members; every card has the others.
    assert_eq!(
        found["applications"],
        serde_json::json!({
            "315041592E5359532E4444463031": 4, "A0000000031010": 4, "F043575055525345": 3, "F043574C4F59414C": 2
        })
    );
    assert_eq!((&found["sections"]["MAG"], &found["sections"]["CHP"]), (&Value::from(4), &Value::from(4)));
    let list = text(&program().args(["key", "list", "--store"]).arg(&store).output().unwrap().stdout);
    let keys = found["keys"].as_array().unwrap();
    let usages: Vec<_> = keys.iter().map(|key| key["usage"].as_str().unwrap()).collect();
    assert_eq!(usages, ["KML", "KMU", "IMK-AC", "IMK-SMI", "IMK-SMC", "CVK", "PVK"]);
    for key in keys.iter().chain([&found["kek"]]) {
        assert!(list.contains(key["kcv"].as_str().unwrap()), "{key}");
    }
    // No cardholder data, no key.
    let whole = std::fs::read_to_string(&path).unwrap() + &text(&ended.stdout);
    for value in ["4761739", "C000001", "SUHARTO", "987654"] {
        assert!(!whole.contains(value), "{value}");
    }
    assert!(text(&ended.stdout).contains("IMK-AC") && text(&ended.stdout).contains(path.to_str().unwrap()));

    // Nothing is written: the report of the file that is there stays.
    let before = std::fs::read(&path).unwrap();
    let bad = dir.path().join("bad.csv");
    std::fs::write(&bad, "card_ref\nC1\n").unwrap();
    run(&bad, &store, &output).assert().code(Exit::Input as i32);
    assert_eq!(std::fs::read(&path).unwrap(), before);
    let other = dir.path().join("other.cwf");
    run(&bad, &store, &other).assert().code(Exit::Input as i32);
    assert!(!report(&other).exists());
    // A file of another kind in its place stops the run before anything is written.
    std::fs::write(report(&other), "{\"a table\": 1}").unwrap();
    run(&data("cards-4.csv"), &store, &other).assert().code(Exit::Io as i32);
    assert!(!other.exists());
}

#[test]
fn a_report_counts_certificates_and_key_pairs() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output, pool) =
        (issuer_store(dir.path()), dir.path().join("out.cwf"), dir.path().join("pool"));
    let done = |args: &[&str]| {
        program().args(args).env("CARDWRIGHT_KEYS", &store).assert().success();
    };
    done(&["issuer-cert", "new", "--issuer", "476173", "--bits", "1152"]);
    done(&["issuer-cert", "self", "--key", "476173:1", "--expiry", "12/2049"]);
    done(&["pool", "fill", "--pool", pool.to_str().unwrap(), "--bits", "1152", "--count", "5"]);
    let cards = dir.path().join("cards.csv");
    program().args(["sample", "--count", "3", "--output"]).arg(&cards).assert().success();
    let mut command = program();
    command.args(["run", "--product", "payment-cda", "--input"]).arg(&cards).arg("--keys").arg(&store);
    let ended = command.arg("--pool").arg(&pool).arg("--output").arg(&output).output().unwrap();
    assert!(ended.status.success(), "{}", text(&ended.stderr));
    let found = read(&report(&output));
    let pool = serde_json::json!([{
        "file": pool.to_str().unwrap(), "bits": 1152, "exponent": 3, "taken": 3, "left": 2
    }]);
    assert_eq!(found["pools"], pool);
    let certificate = &found["certificates"][0];
    assert_eq!(
        (&certificate["key"], &certificate["bits"], &certificate["authority"], &certificate["expiry"]),
        (&"476173:1".into(), &1152.into(), &"A000000003 F1".into(), &"12/2049".into())
    );
    assert_eq!(found["certificates"].as_array().unwrap().len(), 1);
}

fn preview(store: &Path, record: &str, more: &[&str]) -> Output {
    let mut command = program();
    command
        .args(["preview", record, "--product", data("multiapp.toml").to_str().unwrap(), "--input"])
        .arg(data("cards-4.csv"));
    command.arg("--keys").arg(store).args(more).output().unwrap()
}

#[test]
fn a_preview_shows_every_medium_and_no_secret() {
    let dir = tempfile::tempdir().unwrap();
    let store = issuer_store(dir.path());
    let by_number = preview(&store, "2", &[]);
    assert!(by_number.status.success(), "{}", text(&by_number.stderr));
    let shown = text(&by_number.stdout);
    assert_eq!(shown, text(&preview(&store, "C000002", &[]).stdout), "one card by two names");
    for part in [
        "line 3, card_ref C000002, product multiapp",
        "  1  B476173******0119^O'BRIEN/ANNE-MARIE J.^2912201********",
        "  2  476173******0119=2912201********",
        "  2;401;843     4761 73** **** 0119",
        "ANNE-MARIE J. O'BRIEN",
        "Application F043575055525345",
        // Tag 57 of the chip; the PIN block and keys by length alone.
        "    57     16  476173******0119D2912201********\n",
        "  8010     8 bytes  secret, ENC 22",
        "  8000    48 bytes  secret, ENC 11",
        // The panel shows the last digits of the number and CVV2.
        "  30;2400;1050  0119 ***\n",
        // Discretionary data of track 1.
        "    9F1F    8  ****************\n",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
    for secret in ["4761739", "4761 7390", "987654"] {
        assert!(!shown.contains(secret), "{secret}\n{shown}");
    }
    assert_eq!(preview(&store, "9", &[]).status.code(), Some(Exit::NotFound as i32));
    assert_eq!(preview(&store, "0", &[]).status.code(), Some(Exit::NotFound as i32));
    let left: Vec<_> = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
    assert_eq!(left, [store], "it writes nothing");
}

#[test]
fn a_preview_lists_the_faults_of_its_line_alone() {
    let dir = tempfile::tempdir().unwrap();
    let (store, input) = (issuer_store(dir.path()), dir.path().join("in.csv"));
    let good = std::fs::read_to_string(data("cards-4.csv")).unwrap();
    std::fs::write(&input, good.replace(",987654,", ",98765X,")).unwrap();
    let look = |record: &str| {
        let mut command = program();
        command
            .args(["preview", record, "--product", data("multiapp.toml").to_str().unwrap(), "--input"])
            .arg(&input)
            .arg("--keys")
            .arg(&store);
        command.output().unwrap()
    };
    assert!(look("3").status.success());
    for record in ["2", "C000002"] {
        let refused = look(record);
        assert_eq!(refused.status.code(), Some(Exit::Input as i32));
        assert!(text(&refused.stderr).contains("line 3, column pin"), "{}", text(&refused.stderr));
    }
}

#[test]
fn a_preview_draws_front_and_back() {
    let dir = tempfile::tempdir().unwrap();
    let (store, folder) = (issuer_store(dir.path()), dir.path().join("pictures"));
    let more = ["--picture", folder.to_str().unwrap()];
    let drawn = preview(&store, "2", &more);
    assert!(drawn.status.success(), "{}", text(&drawn.stderr));
    for name in ["front.png", "back.png"] {
        let path = folder.join(name);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        let picture = std::fs::read(&path).unwrap();
        // PNG (RFC 2083 4.1.1): IHDR begins with width and height.
        assert_eq!(
            (&picture[..8], &picture[16..24]),
            (&b"\x89PNG\r\n\x1A\n"[..], &[0, 0, 3, 0xF3, 0, 0, 2, 0x7E][..])
        );
    }
    let front = std::fs::read(folder.join("front.png")).unwrap();
    // Another name is embossed: another picture. What lies there is not replaced.
    let other = dir.path().join("other");
    preview(&store, "3", &["--picture", other.to_str().unwrap()]);
    assert_ne!(std::fs::read(other.join("front.png")).unwrap(), front);
    assert_eq!(preview(&store, "3", &more).status.code(), Some(Exit::Io as i32));
    assert_eq!(std::fs::read(folder.join("front.png")).unwrap(), front);
}

/// The front of a card of product multiapp without its embossed or its printed lines.
fn front(dir: &Path, store: &Path, embossed: bool, printed: bool) -> Pixmap {
    let mut product = std::fs::read_to_string(data("multiapp.toml")).unwrap();
    let mut blank = |line: &str, what: &str| {
        assert!(product.contains(line), "{line}");
        product = product.replace(line, &line.replace(what, "\"' '\""));
    };
    for text in ["\"pan_number_line\"", "\"expiry_printed\"", "\"name_printed\""] {
        if !embossed {
            blank(&format!("\ntext = {text}\n"), text);
        }
    }
    for (field, text) in
        [("name", "\"name_printed\""), ("number", "\"pan_grouped\""), ("expiry", "\"expiry_printed\"")]
    {
        if !printed {
            blank(&format!("{field} = {text}"), text);
        }
    }
    let (file, folder) = (dir.join("p.toml"), dir.join(format!("{embossed}-{printed}")));
    std::fs::write(&file, product).unwrap();
    let mut command = program();
    command.args(["preview", "2", "--input"]).arg(data("cards-4.csv")).arg("--product").arg(&file);
    let drawn = command.arg("--keys").arg(store).arg("--picture").arg(&folder).output().unwrap();
    assert!(drawn.status.success(), "{}", text(&drawn.stderr));
    Pixmap::decode_png(&std::fs::read(folder.join("front.png")).unwrap()).unwrap()
}

#[test]
fn embossed_and_printed_text_do_not_overlap() {
    let dir = tempfile::tempdir().unwrap();
    let store = issuer_store(dir.path());
    let plain = front(dir.path(), &store, false, false);
    let [embossed, printed] = [(true, false), (false, true)]
        .map(|(embossed, printed)| front(dir.path(), &store, embossed, printed));
    let differs = |picture: &Pixmap| -> Vec<bool> {
        picture.pixels().iter().zip(plain.pixels()).map(|(one, other)| one != other).collect()
    };
    let (embossed, printed) = (differs(&embossed), differs(&printed));
    let count = |marks: &[bool]| marks.iter().filter(|mark| **mark).count();
    assert!(count(&embossed) > 1000 && count(&printed) > 1000);
    let both = embossed.iter().zip(&printed).filter(|(one, other)| **one && **other).count();
    assert_eq!(both, 0, "pixels are embossed and printed");
}

/// The card_refs of a file in order.
fn names(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let mut reader = Cwf1Reader::open(bytes.as_slice(), FileLimits::default()).unwrap();
    let mut names = Vec::new();
    while let Some(record) = reader.next_record().unwrap() {
        names.push(record.card_ref.to_string());
    }
    reader.finish().unwrap();
    names
}

/// A CSV file of made-up cardholders as lines, the header first.
fn sample(dir: &Path, count: usize) -> Vec<String> {
    let path = dir.join("sample.csv");
    program().args(["sample", "--count", &count.to_string(), "--output"]).arg(&path).assert().success();
    let lines = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    lines.lines().map(str::to_owned).collect()
}

/// The value of a column in a line without quotes.
fn value<'a>(lines: &'a [String], line: usize, column: &str) -> &'a str {
    let place = lines[0].split(',').position(|name| name == column).unwrap();
    lines[line].split(',').nth(place).unwrap()
}

fn changed(lines: &[String], line: usize, column: &str, to: &str) -> String {
    let place = lines[0].split(',').position(|name| name == column).unwrap();
    let mut values: Vec<&str> = lines[line].split(',').collect();
    values[place] = to;
    values.join(",")
}

/// The rest of an input is written, and the rejected rows, once mended, give the cards that were missing.
#[test]
fn rejected_rows_are_mended_and_fed_again() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output, input) =
        (issuer_store(dir.path()), dir.path().join("out.cwf"), dir.path().join("in.csv"));
    let good = sample(dir.path(), 9);
    let all: Vec<&str> = (1..=9).map(|line| value(&good, line, "card_ref")).collect();
    let mut lines = good.clone();
    lines[2] = changed(&good, 2, "pin", "12");
    lines[4] = format!("{},", good[4]);
    // Twice the same card_ref, and twice the same account: both rows are rejected.
    lines[6] = changed(&good, 6, "card_ref", all[0]);
    let twice = changed(&good, 8, "pan", value(&good, 7, "pan"));
    lines[8] = changed(&[good[0].clone(), twice], 1, "psn", value(&good, 7, "psn"));
    let text = lines.join("\r\n") + "\r\n";
    std::fs::write(&input, &text).unwrap();

    let rows = dir.path().join("out.cwf.rejected-rows.csv");
    let stopped = run(&input, &store, &output).output().unwrap();
    assert_eq!(stopped.status.code(), Some(Exit::Input as i32));
    assert!(!output.exists() && !report(&output).exists() && !rows.exists());

    let ended = run(&input, &store, &output).arg("--keep-going").output().unwrap();
    let said = text_of(&ended);
    assert_eq!(ended.status.code(), Some(Exit::RowsRejected as i32), "{said}");
    assert_eq!(names(&output), [all[2], all[4], all[8]]);
    let found = read(&report(&output));
    assert_eq!(found["cards"], serde_json::json!({ "read": 9, "written": 3, "rejected": 6 }));
    assert!(
        said.contains("REJECTED   6 of 9 rows") && said.contains("the other cards were written"),
        "{said}"
    );
    assert!(said.contains("line 2, column card_ref: stands in a later line too"), "{said}");
    assert!(said.contains("line 8, column pan: stands with the same psn in a later line too"), "{said}");
    let listed = std::fs::read_to_string(dir.path().join("out.cwf.rejects.csv")).unwrap();
    assert_eq!(listed.lines().count(), 7, "{listed}");
    // The rows as they stood, in a file for their owner.
    assert_eq!(std::fs::metadata(&rows).unwrap().permissions().mode() & 0o777, 0o600);
    let kept = [0, 1, 2, 4, 6, 7, 8].map(|line| lines[line].as_str()).join("\r\n") + "\r\n";
    assert_eq!(std::fs::read_to_string(&rows).unwrap(), kept);

    let mended = [0, 1, 2, 4, 6, 7, 8].map(|line| good[line].as_str()).join("\r\n") + "\r\n";
    std::fs::write(&rows, mended).unwrap();
    let second = dir.path().join("second.cwf");
    run(&rows, &store, &second).arg("--keep-going").assert().success();
    assert_eq!(names(&second), [all[0], all[1], all[3], all[5], all[6], all[7]]);
    assert!(!dir.path().join("second.cwf.rejects.csv").exists());
}

fn text_of(ended: &Output) -> String {
    text(&ended.stdout) + &text(&ended.stderr)
}

#[test]
fn rejected_rows_keep_their_encoding_and_form() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.cwf"));
    let good = sample(dir.path(), 3);
    let utf16 = |text: &str| -> Vec<u8> {
        [&b"\xFF\xFE"[..], &text.encode_utf16().flat_map(u16::to_le_bytes).collect::<Vec<_>>()].concat()
    };
    let bad = changed(&good, 2, "pin", "12");
    let input = dir.path().join("in.csv");
    std::fs::write(&input, utf16(&[&*good[0], &good[1], &bad, &good[3], ""].join("\n"))).unwrap();
    run(&input, &store, &output).arg("--keep-going").assert().code(Exit::RowsRejected as i32);
    assert_eq!(names(&output).len(), 2);
    let rows = dir.path().join("out.cwf.rejected-rows.csv");
    assert_eq!(std::fs::read(&rows).unwrap(), utf16(&[&*good[0], &bad, ""].join("\n")));

    // JSON Lines have no header line.
    let json = |lines: &[String], line: usize| {
        let values = lines[0].split(',').zip(lines[line].split(','));
        let values = values
            .filter(|(_, value)| !value.is_empty())
            .map(|(name, value)| (name.to_owned(), value.into()));
        Value::Object(values.collect()).to_string()
    };
    let bad = json(&[good[0].clone(), bad], 1);
    let (input, output) = (dir.path().join("in.jsonl"), dir.path().join("json.cwf"));
    std::fs::write(&input, [json(&good, 1), bad.clone(), json(&good, 3)].join("\n")).unwrap();
    run(&input, &store, &output).arg("--keep-going").assert().code(Exit::RowsRejected as i32);
    assert_eq!(names(&output).len(), 2);
    assert_eq!(std::fs::read_to_string(dir.path().join("json.cwf.rejected-rows.jsonl")).unwrap(), bad + "\n");
}

#[test]
fn a_run_that_keeps_going_takes_key_pairs_for_written_cards_alone_and_writes_over_no_input() {
    let dir = tempfile::tempdir().unwrap();
    let (store, output) = (issuer_store(dir.path()), dir.path().join("out.cwf"));
    let good = sample(dir.path(), 2);
    // The input has the name of the rejected rows.
    let input = dir.path().join("out.cwf.rejected-rows.csv");
    let bad =
        [good[0].clone(), changed(&good, 1, "pin", "1"), changed(&good, 2, "pin", "x")].join("\n") + "\n";
    std::fs::write(&input, &bad).unwrap();
    let ended = run(&input, &store, &output).arg("--keep-going").output().unwrap();
    assert_eq!(ended.status.code(), Some(Exit::Io as i32));
    let said = text_of(&ended);
    assert!(said.contains("it holds rejected rows of an earlier run"), "{said}");
    assert!(!output.exists() && !report(&output).exists());
    assert_eq!(std::fs::read_to_string(&input).unwrap(), bad, "the mended rows are an input");
    // Mended they would replace the cards of that run; into another output they go.
    std::fs::write(&input, good.join("\n")).unwrap();
    run(&input, &store, &output).assert().code(Exit::Io as i32);
    assert!(!output.exists());
    let other = dir.path().join("mended.cwf");
    run(&input, &store, &other).assert().success();
    assert_eq!(names(&other).len(), 2);
}

/// Rows were rejected, though the report of the others cannot be written: its name is too long where that of the output is
/// not (255 bytes, which `write_whole` uses with 18 more).
#[test]
fn a_missing_report_does_not_hide_that_rows_were_rejected() {
    let dir = tempfile::tempdir().unwrap();
    let (store, input) = (issuer_store(dir.path()), dir.path().join("in.csv"));
    let output = dir.path().join("o".repeat(223));
    let good = sample(dir.path(), 3);
    std::fs::write(&input, [&*good[0], &good[1], &changed(&good, 2, "pin", "12"), &good[3], ""].join("\n"))
        .unwrap();
    let ended = run(&input, &store, &output).arg("--keep-going").output().unwrap();
    let said = text_of(&ended);
    assert_eq!(ended.status.code(), Some(Exit::RowsRejected as i32), "{said}");
    assert!(output.exists() && !report(&output).exists());
    for part in ["line 3, column pin", "the other cards were written", "the report is missing: output "] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Without rejected rows, the report alone is the failure.
    std::fs::write(&input, good.join("\n")).unwrap();
    let ended = run(&input, &store, &output).arg("--keep-going").output().unwrap();
    assert_eq!(ended.status.code(), Some(Exit::Io as i32), "{}", text_of(&ended));
}
