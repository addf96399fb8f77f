//! Return files written by hand from `src/manual/return-file.md`, signed by a test key, and each way to be wrong.

use std::path::PathBuf;

use sha2::{Digest, Sha256};

use super::*;
use crate::audit::{AuditKey, ChainPlace, CountedJob, LedgerId, SealedDocument, SpoolKeyState};
use crate::ids::JobId;
use crate::record::testing::{file, record};
use crate::report::seal::{StoredSeal, sealed};

const LEDGER: LedgerId = LedgerId([7; 16]);

/// A file that was sent, and a return file about it.
struct World {
    folder: tempfile::TempDir,
    digest: String,
}

impl World {
    fn new(names: &[&str]) -> Self {
        let bodies: Vec<_> =
            (1..).zip(names).map(|(seq, name)| record(seq, name, &[("EMB", b"x")])).collect();
        let sent = file(&bodies);
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("sent.cwf1"), &sent).unwrap();
        Self { folder, digest: hex::encode_upper(Sha256::digest(&sent)) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn header(&self) -> String {
        format!(
            "{{\"return\":\"CWR1\",\"simulated\":true,\"test_keys\":true,\"deleted\":false,\"fulfilment_data\":\"as accepted\",\
             \"issuer_id\":\"TESTBANK\",\"file_id\":\"F-0001\",\"product\":\"multiapp\",\"sha256\":\"{}\",\"ledger\":\"{LEDGER}\",\
             \"job\":\"J1\",\"closed\":\"2026-11-24T08:15:00.123Z\"}}\n",
            self.digest
        )
    }

    /// Signs a return file, as a bureau with this key does, and checks it.
    fn check(
        &self,
        text: &str,
        kind: DocumentKind,
        key: Option<PublicKey>,
    ) -> Result<ReturnVerdict, Failure> {
        let paper = self.path("return.jsonl");
        std::fs::write(&paper, text).unwrap();
        let seal = bureau().seal(self.document(text, kind, self.counted(text)));
        std::fs::write(sealed(&paper), serde_json::to_string(&StoredSeal::from(&seal)).unwrap()).unwrap();
        check(&paper, &self.path("sent.cwf1"), None, key)
    }

    /// What an HSM has counted whose bureau says the truth in this text; `None` for a job that no HSM can have counted: an earlier
    /// version accepted it.
    fn counted(&self, text: &str) -> Option<CountedJob> {
        let lines = text.lines().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        let (lines, others): (Vec<_>, Vec<_>) = lines.partition(|line| line["seq"].is_u64());
        let said = |name: &str| others.first()?[name].as_str().map(str::to_owned);
        if !lines.iter().all(|line| line["outcome"] == "GOOD" || line["outcome"] == "CANCELLED") {
            return None;
        }
        let (issuer, file_id) = (said("issuer_id")?, said("file_id")?);
        let (mut name, lengths) = (b"CWF1".to_vec(), [issuer.len(), file_id.len()].map(u8::try_from));
        for (text, length) in [issuer, file_id].iter().zip(lengths) {
            name.push(length.unwrap());
            name.extend(text.as_bytes());
        }
        let (mut outcomes, mut cards) = (Sha256::new(), Sha256::new());
        for line in &lines {
            let number =
                |name: &str| u32::try_from(line[name].as_u64().unwrap_or(0)).unwrap_or(0).to_be_bytes();
            outcomes.update(number("seq"));
            outcomes.update([if line["outcome"] == "GOOD" { 0x13 } else { 0x16 }]);
            outcomes.update(number("attempts"));
            outcomes.update(number("position"));
            let name = line["card_ref"].as_str().unwrap_or_default();
            cards.update([u8::try_from(name.len()).unwrap()]);
            cards.update(name);
        }
        let good = lines.iter().filter(|line| line["outcome"] == "GOOD").count() as u64;
        Some(CountedJob {
            file: hex::decode(said("sha256")?).ok()?.try_into().ok()?,
            name: Sha256::digest(name).into(),
            simulated: true,
            test_keys: true,
            records: lines.len() as u64,
            good,
            cancelled: lines.len() as u64 - good,
            blanks_fed: good,
            blanks_good: good,
            blanks_rejected: 0,
            blanks_returned: 0,
            blanks_sample: 0,
            outcomes: outcomes.finalize().into(),
            cards: cards.finalize().into(),
            unproved: None,
        })
    }

    /// What an HSM seals that has counted this.
    fn document(&self, text: &str, kind: DocumentKind, counted: Option<CountedJob>) -> SealedDocument {
        let head = ChainPlace { ledger: LEDGER, n: 9, hash: [3; 32] };
        let (job, spool_key, text) = (JobId(1), SpoolKeyState::There, Sha256::digest(text).into());
        SealedDocument { kind, head, epoch: 1, job, time: 5, spool_key, counted, text }
    }

    fn verdict(&self, text: &str) -> ReturnVerdict {
        self.check(text, DocumentKind::ReturnFile, Some(bureau().public())).map_err(|f| f.message).unwrap()
    }
}

fn bureau() -> AuditKey {
    AuditKey::from_seed(&[9; 32])
}

fn line(seq: u32, card_ref: &str, outcome: &str, attempts: u32) -> String {
    let blank = if outcome == "GOOD" { "\"00000001\"" } else { "null" };
    format!(
        "{{\"seq\":{seq},\"card_ref\":\"{card_ref}\",\"outcome\":\"{outcome}\",\"attempts\":{attempts},\"blank\":{blank},\
         \"time\":null,\"position\":null,\"fulfilment\":null}}\n"
    )
}

fn end(records: u32, good: u32, cancelled: u32) -> String {
    format!("{{\"end\":\"CWR1\",\"records\":{records},\"good\":{good},\"cancelled\":{cancelled}}}\n")
}

#[test]
fn every_record_with_one_final_state_is_accounted_for() {
    let world = World::new(&["C1", "C2", "C3"]);
    let good = [line(1, "C1", "GOOD", 1), line(2, "C2", "GOOD", 3), line(3, "C3", "GOOD", 1)].concat();
    let text = [world.header(), good, end(3, 3, 0)].concat();
    let verdict = world.verdict(&text);
    assert_eq!((verdict.good, verdict.remade, verdict.exit()), (3, 1, Exit::Ok));
    assert!(verdict.not_good.is_empty() && verdict.text().contains("Every record is accounted for"));
    assert!(verdict.text().contains("SIMULATED"), "{}", verdict.text());

    // The signature may be anybody's as long as no key was named.
    let unnamed = world.check(&text, DocumentKind::ReturnFile, None).unwrap();
    assert_eq!((unnamed.exit(), unnamed.audit_key), (Exit::StructureOnly, bureau().public().to_string()));

    let text = text
        .replace(&line(3, "C3", "GOOD", 1), &line(3, "C3", "CANCELLED", 2))
        .replace("\"good\":3,\"cancelled\":0", "\"good\":2,\"cancelled\":1");
    let verdict = world.verdict(&text);
    assert_eq!((verdict.good, verdict.cancelled, verdict.exit()), (2, 1, Exit::NotAllGood));
    assert_eq!((verdict.not_good[0].seq, verdict.not_good[0].state), (3, ReturnState::Cancelled));
    assert!(verdict.text().contains("       3  C3                                        CANCELLED"));
}

#[test]
fn records_that_do_not_agree_are_listed_by_what_is_wrong() {
    use ReturnState::{Cancelled, Missing, NotFinal, Repeated, Unknown};
    let world = World::new(&["C1", "C2"]);
    let good = |seq, name| line(seq, name, "GOOD", 1);
    for (lines, states, counted) in [
        (vec![good(1, "C1")], vec![(2, Missing)], (1, 1, 0)),
        (vec![], vec![(1, Missing), (2, Missing)], (0, 0, 0)),
        (vec![good(1, "C1"), good(2, "C2"), good(3, "C3")], vec![(3, Unknown)], (3, 3, 0)),
        (vec![good(1, "C1"), good(2, "C2"), good(0, "C1")], vec![(0, Unknown)], (3, 3, 0)),
        (vec![good(1, "C1"), good(2, "C1")], vec![(2, Unknown), (2, Missing)], (2, 2, 0)),
        (vec![good(1, "C1"), good(1, "C1"), good(2, "C2")], vec![(1, Repeated)], (3, 3, 0)),
        (vec![good(1, "C1"), line(1, "C1", "CANCELLED", 1), good(2, "C2")], vec![(1, Repeated)], (3, 2, 1)),
        (vec![good(1, "C1"), line(2, "C2", "REMAKE", 1)], vec![(2, NotFinal)], (2, 1, 0)),
        (vec![good(1, "C1"), line(2, "C2", "good", 1)], vec![(2, NotFinal)], (2, 1, 0)),
        // A good card needs a blank.
        (vec![good(1, "C1"), line(2, "C2", "GOOD", 0)], vec![(2, NotFinal)], (2, 2, 0)),
        (vec![good(1, "C1"), good(2, "C2").replace("\"00000001\"", "null")], vec![(2, NotFinal)], (2, 2, 0)),
        (
            vec![line(1, "C1", "CANCELLED", 0), good(9, "C9")],
            vec![(1, Cancelled), (9, Unknown), (2, Missing)],
            (2, 1, 1),
        ),
    ] {
        let (records, good, cancelled) = counted;
        let verdict =
            world.verdict(&[world.header(), lines.concat(), end(records, good, cancelled)].concat());
        let found: Vec<_> = verdict.not_good.iter().map(|record| (record.seq, record.state)).collect();
        assert_eq!(found, states);
        assert_eq!(verdict.exit(), Exit::NotReconciled, "{states:?}");
        assert!(verdict.faults.is_empty() && verdict.text().contains("NOT every record"));
    }
}

#[test]
fn a_return_file_of_another_file_is_named() {
    let world = World::new(&["C1"]);
    let text = [world.header(), line(1, "C1", "GOOD", 1), end(1, 1, 0)].concat();
    for (from, to, fault) in [
        ("F-0001", "F-0002", "its file_id"),
        ("TESTBANK", "OTHER", "its issuer_id"),
        ("multiapp", "other", "its product"),
        (world.digest.as_str(), &"0".repeat(64), "its sha256"),
        (world.digest.as_str(), "x", "its sha256"),
        (LEDGER.to_string().as_str(), "00", "its ledger"),
        ("\"records\":1", "\"records\":2", "its end line counts"),
        ("\"good\":1", "\"good\":0", "its end line counts"),
        ("\"cancelled\":0", "\"cancelled\":1", "its end line counts"),
    ] {
        let verdict = world.verdict(&text.replace(from, to));
        assert_eq!((verdict.exit(), verdict.faults.len()), (Exit::NotReconciled, 1), "{from}");
        assert!(verdict.faults[0].starts_with(fault), "{}", verdict.faults[0]);
    }
    // The case of hex digits does not matter.
    assert_eq!(world.verdict(&text.replace(&world.digest, &world.digest.to_lowercase())).exit(), Exit::Ok);
    let cut = text.replace(&end(1, 1, 0), "");
    assert!(world.verdict(&cut).faults[0].contains("cut short"));
    assert!(world.verdict(&[&text, line(1, "C1", "GOOD", 1).as_str()].concat()).faults[0].contains("after"));
}

#[test]
fn what_is_no_signed_return_file_is_refused() {
    let world = World::new(&["C1"]);
    let text = [world.header(), line(1, "C1", "GOOD", 1), end(1, 1, 0)].concat();
    let refused = |result: Result<ReturnVerdict, Failure>, exit: Exit| {
        let failure = result.err().unwrap();
        assert_eq!(failure.exit, exit, "{}", failure.message);
        assert!(!failure.message.contains("SECRET"), "{}", failure.message);
    };
    let key = Some(bureau().public());
    refused(world.check(&text, DocumentKind::Report, key), Exit::AuditFailed);
    let other = AuditKey::from_seed(&[1; 32]).public();
    refused(world.check(&text, DocumentKind::ReturnFile, Some(other)), Exit::AuditFailed);
    // Changed after it was signed.
    world.check(&text, DocumentKind::ReturnFile, key).unwrap();
    std::fs::write(world.path("return.jsonl"), text.replace("\"attempts\":1", "\"attempts\":2")).unwrap();
    refused(check(&world.path("return.jsonl"), &world.path("sent.cwf1"), None, key), Exit::AuditFailed);
    // Its seal is gone.
    std::fs::remove_file(world.path("return.jsonl.sig")).unwrap();
    refused(check(&world.path("return.jsonl"), &world.path("sent.cwf1"), None, key), Exit::Io);

    for wrong in [
        String::new(),
        "SECRET\n".into(),
        text.replace("\"CWR1\",\"simulated\"", "\"CWR2\",\"simulated\""),
        text.replace("\"simulated\":true,", ""),
        text.replace("{\"end\":\"CWR1\"", "{\"end\":\"SECRET\""),
        text.replace("\"seq\":1", "\"seq\":\"SECRET\""),
        text.replace("\"seq\":1", "\"seq\":-1"),
        text.replace("\"seq\":1", "\"seq\":4294967296"),
        text.replace("\"card_ref\":\"C1\",", ""),
        text.replace("GOOD", "\u{1}"),
        text.trim_end().into(),
        text.replace("\"time\":null", &format!("\"time\":\"{}\"", "SECRET".repeat(20_000))),
        text.replace("\"time\":null", &format!("\"time\":{}", "[".repeat(9_000))),
    ] {
        refused(world.check(&wrong, DocumentKind::ReturnFile, key), Exit::NotReconciled);
    }
    // The file that was sent is checked too.
    let sent = std::fs::read(world.path("sent.cwf1")).unwrap();
    std::fs::write(world.path("sent.cwf1"), &sent[..sent.len() - 1]).unwrap();
    refused(world.check(&text, DocumentKind::ReturnFile, key), Exit::FileFormat);
}

/// The bureau's HSM has counted other outcomes, or other names in other places, than the lines say.
#[test]
fn a_return_file_that_says_something_else_than_the_hsm_has_counted_is_named() {
    let world = World::new(&["C1", "C2"]);
    let lines = |first: (&str, u32), second: (&str, u32)| {
        let (one, other) = (line(1, "C1", first.0, first.1), line(2, "C2", second.0, second.1));
        let good = [first, second].iter().map(|line| u32::from(line.0 == "GOOD")).sum::<u32>();
        [world.header(), one, other, end(2, good, 2 - good)].concat()
    };
    // { sequence u32 | state | attempts u32 | position u32 }*, and { length | card_ref }*.
    let outcomes = [[0, 0, 0, 1, 0x13, 0, 0, 0, 1, 0, 0, 0, 0], [0, 0, 0, 2, 0x13, 0, 0, 0, 2, 0, 0, 0, 0]];
    let counted = CountedJob {
        outcomes: Sha256::digest(outcomes.concat()).into(),
        cards: Sha256::digest(b"\x02C1\x02C2").into(),
        ..world.counted(&lines(("GOOD", 1), ("GOOD", 2))).unwrap()
    };
    let judged = |text: &str, counted: CountedJob| {
        let paper = world.path("return.jsonl");
        std::fs::write(&paper, text).unwrap();
        let seal = bureau().seal(world.document(text, DocumentKind::ReturnFile, Some(counted)));
        std::fs::write(sealed(&paper), serde_json::to_string(&StoredSeal::from(&seal)).unwrap()).unwrap();
        let key = Some(bureau().public());
        let verdict = check(&paper, &world.path("sent.cwf1"), None, key).map_err(|f| f.message).unwrap();
        // The bureau's auditor finds it too.
        let found = seal::check(&paper, key).map(drop).map_err(|failure| failure.exit);
        assert_eq!(found, if verdict.faults.is_empty() { Ok(()) } else { Err(Exit::AuditFailed) });
        verdict
    };
    let text = lines(("GOOD", 1), ("GOOD", 2));
    let verdict = judged(&text, counted);
    assert_eq!((verdict.exit(), verdict.counted), (Exit::Ok, true), "{}", verdict.text());
    let wrong = [
        (lines(("GOOD", 1), ("CANCELLED", 2)), counted, "number of records"),
        (lines(("GOOD", 1), ("GOOD", 1)), counted, "outcome"),
        (text.replacen("\"position\":null", "\"position\":7", 1), counted, "outcome"),
        (text.clone(), CountedJob { records: 3, ..counted }, "number of records"),
        (text.clone(), CountedJob { cards: Sha256::digest(b"\x02C2\x02C1").into(), ..counted }, "card_ref"),
        (text.replace("\"J1\"", "\"J2\""), counted, "job"),
        (text.clone(), CountedJob { file: [1; 32], ..counted }, "its file"),
        (text.clone(), CountedJob { name: [1; 32], ..counted }, "its file"),
        (text.clone(), CountedJob { simulated: false, ..counted }, "SIMULATED"),
        (text.clone(), CountedJob { test_keys: false, ..counted }, "TEST"),
    ];
    for (text, counted, says) in wrong {
        let verdict = judged(&text, counted);
        assert_eq!(verdict.exit(), Exit::NotReconciled);
        assert!(verdict.faults.iter().any(|fault| fault.contains(says)), "{says}: {:?}", verdict.faults);
    }
}

/// A paper of an earlier version is what it was: its text was signed, and nothing was counted.
#[test]
fn a_seal_of_the_first_form_is_read() {
    use ed25519_dalek::{Signer, SigningKey};
    let world = World::new(&["C1"]);
    let text = [world.header(), line(1, "C1", "GOOD", 1), end(1, 1, 0)].concat();
    let digest: [u8; 32] = Sha256::digest(&text).into();
    let signer = SigningKey::from_bytes(&[9; 32]);
    let signature = signer.sign(&[&b"CWAD1\x02"[..], &LEDGER.0, &digest].concat());
    let seal = serde_json::json!({
        "document": "ReturnFile", "ledger": LEDGER.to_string(), "sha256": hex::encode_upper(digest),
        "audit_key": bureau().public().to_string(), "signature": hex::encode_upper(signature.to_bytes()),
    });
    let paper = world.path("return.jsonl");
    std::fs::write(&paper, &text).unwrap();
    std::fs::write(sealed(&paper), seal.to_string()).unwrap();
    let key = Some(bureau().public());
    let verdict = check(&paper, &world.path("sent.cwf1"), None, key).map_err(|f| f.message).unwrap();
    assert_eq!((verdict.exit(), verdict.counted), (Exit::StructureOnly, false));
    assert!(seal::check(&paper, key).unwrap().sealed.is_none());
}

/// What stands in the place of a card_ref could be an account number.
#[test]
fn a_card_ref_that_is_none_is_not_shown() {
    let world = World::new(&["C1"]);
    let number = ["476173", "9001010119"].concat();
    let lines = [line(1, "C1", "GOOD", 1), line(2, &number, "GOOD", 1)].concat();
    let verdict = world.verdict(&[world.header(), lines, end(2, 2, 0)].concat());
    assert_eq!(verdict.not_good[0].card_ref, None);
    assert!(!verdict.text().contains(&number) && verdict.text().contains("(not shown)"));
    assert!(!serde_json::to_string(&verdict).unwrap().contains(&number));
}

/// What is reconciled is what was signed, whatever takes the file's name meanwhile.
#[test]
fn a_file_that_takes_the_name_later_is_not_read() {
    let world = World::new(&["C1", "C2"]);
    let good = [world.header(), line(1, "C1", "GOOD", 1), line(2, "C2", "GOOD", 1), end(2, 2, 0)].concat();
    assert_eq!(world.verdict(&good).exit(), Exit::Ok);
    let (paper, sent, key) = (world.path("return.jsonl"), world.path("sent.cwf1"), Some(bureau().public()));
    let open = HashedInput::open(&paper).map_err(|f| f.message).unwrap();
    let other = good.replace("\"GOOD\"", "\"CANCELLED\"");
    std::fs::write(world.path("other"), &other).unwrap();
    std::fs::rename(world.path("other"), &paper).unwrap();
    let verdict = check_open(&paper, open, (&sent, None), key).map_err(|f| f.message).unwrap();
    assert_eq!((verdict.exit(), verdict.good), (Exit::Ok, 2));
    // The other file was not signed, and what it says is not looked at.
    for text in [other.as_str(), "nonsense", "", &good[..good.len() - 1]] {
        std::fs::write(&paper, text).unwrap();
        assert_eq!(check(&paper, &sent, None, key).err().unwrap().exit, Exit::AuditFailed);
    }
}
