//! Makes every program complain about a file that holds a secret or an account number, in all the places that
//! a message could quote.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use cardwright::record::{Cwf1Writer, TrailerKey, TrailerMac};

use super::needles::{OutputFile, listed};
use super::scene::Scene;
use crate::prep_support::{Family, mac};
use crate::support::{BUREAU_KEYS, ISSUER_KEYS};

/// The first KEK of both key lists, as the lists write it.
fn kek() -> (String, Vec<u8>) {
    let (_, value) = listed(BUREAU_KEYS).swap_remove(0);
    (hex::encode_upper(&value), value)
}

/// Complaints about key lists, cardholder data and output files, before a line uses them.
pub fn of_input(scene: &mut Scene) {
    key_lists(scene);
    inputs(scene);
    output_files(scene);
}

/// Complaints about one record of a good file, and from the HSM host.
pub fn of_the_line(scene: &mut Scene) {
    record_data(scene);
    key_store(scene);
}

/// Key lists with a fault next to a key, or with a key in the wrong field.
fn key_lists(scene: &mut Scene) {
    let (kek, _) = kek();
    let groups = |by: &str| {
        let groups: Vec<_> = kek.as_bytes().chunks(4).map(|g| std::str::from_utf8(g).unwrap()).collect();
        groups.join(by)
    };
    let line = format!("value = \"{kek}\"");
    let version = "version = 1\n";
    let faults = [
        (line.clone(), format!("value = \"{}\"", &kek[1..])),
        (line.clone(), format!("value = \"{}\"", &kek[..32])),
        (line.clone(), format!("value = \"{}\"", groups(" "))),
        (line.clone(), format!("value = {kek}")),
        (line.clone(), format!("value = \"{kek}")),
        (line.clone(), format!("value = \"{kek}\" \"{kek}\"")),
        (line.clone(), format!("value = [\"{kek}\"]")),
        (line.clone(), format!("valeu = \"{kek}\"")),
        (line.clone(), format!("{kek} = \"{kek}\"")),
        (line.clone(), format!("{line}\n{line}")),
        (line.clone(), format!("{line}\nkcv = \"{kek}\"")),
        (line.clone(), format!("{line}\nkcv = \"000000\"")),
        (line.clone(), format!("{line}\nwrap = \"{kek}\"")),
        (line.clone(), String::new()),
        (version.into(), format!("version = \"{kek}\"\n")),
        (version.into(), format!("version = \"{}\"\n", groups(" "))),
        (version.into(), format!("version = \"{}\"\n", groups("-"))),
        (version.into(), format!("version = {}\n", u64::from_str_radix(&kek[..15], 16).unwrap())),
        ("usage = \"KEK\"".into(), format!("usage = \"{kek}\"")),
        ("usage = \"KEK\"".into(), format!("usage = \"{}\"", groups(" "))),
        ("type = \"AES256\"".into(), format!("type = \"{kek}\"")),
        ("type = \"AES256\"".into(), format!("type = \"{}\"", groups(":"))),
        ("id = \"476173FF\"".into(), format!("id = \"{kek}\"")),
        ("min_seclev = \"01\"".into(), format!("min_seclev = \"{}\"", groups(" "))),
        ("allow = [\"FFFFFF476173:1\"".into(), format!("allow = [\"{}\"", groups(" "))),
        ("[[key]]".into(), format!("[[key]] {kek}")),
        ("[[key]]".into(), format!("[[{kek}]]")),
    ];
    for list in [ISSUER_KEYS, BUREAU_KEYS] {
        let good = std::fs::read_to_string(list).unwrap();
        for (from, to) in &faults {
            let bad = good.replacen(from.as_str(), to, 1);
            assert_ne!(bad, good, "{from}");
            std::fs::write(scene.world.path("bad.toml"), bad).unwrap();
            let init = "key init --test --from bad.toml --store bad.store";
            let ended = if list == ISSUER_KEYS { scene.prep(init) } else { scene.cardwright(init) };
            assert_ne!(ended.code, 0, "{from}\n{to}");
        }
    }
    for list in [ISSUER_KEYS, BUREAU_KEYS] {
        scene.cardwright(&format!("key init --test --from {list} --store bureau.store"));
        scene.prep(&format!("key init --test --from {list} --store issuer.store"));
    }
    // A store of the other side is refused.
    for (program, store, code) in
        [("prep", "issuer.store", 0), ("prep", "bureau.store", 22), ("line", "bureau.store", 0)]
    {
        for verb in ["list", "check"] {
            let args = format!("key {verb} --store {store}");
            let ended = if program == "prep" { scene.prep(&args) } else { scene.cardwright(&args) };
            assert_eq!(ended.code, code);
        }
    }
}

/// Cardholder data with the account, the PIN or the name in every column, and lines that are no data.
fn inputs(scene: &mut Scene) {
    let csv = std::fs::read_to_string(scene.world.path("job.csv")).unwrap();
    let mut lines = csv.lines();
    let (header, _, second) = (lines.next().unwrap(), lines.next().unwrap(), lines.next().unwrap());
    let columns: Vec<&str> = header.split(',').collect();
    let fields: Vec<&str> = second.split(',').collect();
    let of = |name: &str| columns.iter().position(|c| *c == name).unwrap();
    let mut bad = Vec::new();
    for value in ["pan", "pin", "name"].map(|name| fields[of(name)]) {
        for place in 0..fields.len() {
            let mut changed = fields.clone();
            changed[place] = value;
            bad.push(format!("{header}\n{second}\n{}\n", changed.join(",")));
        }
        bad.push(format!("{header},{value}\n{second},{value}\n"));
        bad.push(format!("{value}\n{second}\n"));
        bad.push(format!("{header}\n{second},{value}\n"));
        bad.push(format!("{header}\n{value}\n"));
        bad.push(format!("{header}\n\"{second}\n"));
        bad.push(format!("{header}\n{}\n", second.replace(value, &format!("{value}9"))));
        bad.push(format!("{header}\n{}\n", second.replace(value, &format!("\"{value}\"\""))));
        bad.push(format!("{header}\n{}\n", second.replace(value, &format!("{value}\u{e9}"))));
    }
    for text in bad {
        std::fs::write(scene.world.path("bad.csv"), text).unwrap();
        scene.prep("run --input bad.csv --product plain.toml --keys issuer.store --output bad.cwf1");
    }
    let latin = [header.as_bytes(), b"\n", second.replace('/', "\u{1}").as_bytes(), b"\xFF\n"].concat();
    std::fs::write(scene.world.path("bad.csv"), latin).unwrap();
    let ended = scene.prep("run --input bad.csv --product plain.toml --keys issuer.store --output bad.cwf1");
    assert_eq!(ended.code, 16, "{}", ended.stderr);
}

fn replaced(file: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let at = file.windows(from.len()).position(|w| w == from).unwrap();
    [&file[..at], to, &file[at + from.len()..]].concat()
}

/// Output files with a fault in the middle of a record, for `inspect` and for a line.
fn output_files(scene: &mut Scene) {
    let file = std::fs::read(scene.world.path("job.cwf1")).unwrap();
    let mut bad: Vec<Vec<u8>> = [
        ("~1%B", "~9%B"),
        ("~2;4", "~2:4"),
        ("~2;47", "~2;Z7"),
        ("^", "\u{1}"),
        ("~EM%2;401", "~EM%2;001"),
        ("~EM%2;401", "~EM%Z;401"),
        ("~EM%2;401;843;4", "~EM%2;401;843;<"),
        ("~EM%30;", "~EM%90;"),
        ("\u{8}multiapp\u{2}", "\u{8}multiOTH\u{2}"),
        ("\u{4}name", "\u{4}nome"),
        ("\u{6}number4", "\u{6}number\u{7F}"),
        ("MAG", "MOG"),
        ("CHP", "CHQ"),
        ("02.2", "02.3"),
    ]
    .map(|(from, to)| replaced(&file, from.as_bytes(), to.as_bytes()))
    .to_vec();
    // An account number as the name of a card: `L1 card_ref` follows the type, the length and the sequence.
    let pan = OutputFile::read(&file).records[2].section("MAG").unwrap()[4..20].to_vec();
    let at = file.windows(8).position(|w| w == b"\x07C000003").unwrap();
    let length = u32::from_be_bytes(file[at - 8..at - 4].try_into().unwrap()) + 16 - 7;
    bad.push(
        [&file[..at - 8], &length.to_be_bytes(), &file[at - 4..at], &[16], &pan, &file[at + 8..]].concat(),
    );
    for bytes in bad {
        std::fs::write(scene.world.path("bad.cwf1"), bytes).unwrap();
        scene.cardwright("inspect bad.cwf1");
        let ended = scene
            .cardwright("run bad.cwf1 --line sim-8 --keys bureau.store --simulate --speed 0 --ledger bad.db");
        assert!((10..=13).contains(&ended.code), "{} {}", ended.code, ended.stderr);
    }
    // Then a wrong byte at every 41st place of the first 1700 bytes.
    for at in (60..1700).step_by(41) {
        let mut bytes = file.clone();
        bytes[at] ^= 0x11;
        std::fs::write(scene.world.path("bad.cwf1"), bytes).unwrap();
        assert_ne!(scene.cardwright("inspect bad.cwf1 --json").code, 3, "{at}");
    }
}

/// A good file in which one application has a wrong MAC: it is refused as a whole.
fn record_data(scene: &mut Scene) {
    let file = std::fs::read(scene.world.path("job.cwf1")).unwrap();
    let mut good = OutputFile::read(&file);
    let chip = good.records[4].sections.iter_mut().find(|s| s.mic.as_str() == "CHP").unwrap();
    *chip.data = replaced(&chip.data, b"LOYALTY", b"LOYALTZ");
    let trailer = &good.trailer;
    let family = Family::of(trailer.tk_type);
    let key = good.scope().mac_key(family, &kek().1, &trailer.wrapped_mac_key, *b"TU");
    let mut writer = Cwf1Writer::new(Vec::new(), &good.header).unwrap();
    good.records.iter().for_each(|record| writer.record(record).unwrap());
    let wrapped_mac_key = trailer.wrapped_mac_key.clone();
    let named = TrailerKey { kek: trailer.kek, tk_type: trailer.tk_type, kcv: trailer.kcv };
    let macs = |head: Vec<u8>| -> Result<_, cardwright::record::FileError> {
        let length = [u8::try_from(wrapped_mac_key.len()).unwrap()];
        let mac = mac(family, &key, &[b"CWF1T", head.as_slice(), &length, &wrapped_mac_key].concat());
        Ok(TrailerMac { wrapped_mac_key, mac })
    };
    let bytes = writer.finish(named, macs).unwrap().out;
    std::fs::write(scene.world.path("data.cwf1"), bytes).unwrap();
    scene.ends(15, "inspect data.cwf1 --keys bureau.store --json");
    // The bureau's first store knows the file's name from another ledger.
    scene.world.new_store("data.store");
    let line = "--line sim-8 --keys data.store --simulate --speed 0 --ledger data.db --events data.jsonl";
    scene.ends(15, &format!("run data.cwf1 {line}"));
    scene.ends(15, "inspect data.cwf1 --line sim-8 --keys data.store");
}

/// A key store that is refused: the HSM host says so, and the line passes its message on, once.
fn key_store(scene: &mut Scene) {
    let store = scene.world.path("open.store");
    let copied = Command::new("cp").arg("-a").arg(scene.world.path("bureau.store")).arg(&store).status();
    assert!(copied.unwrap().success());
    std::fs::set_permissions(&store, Permissions::from_mode(0o755)).unwrap();
    let line = "run job.cwf1 --line sim-8 --simulate --ledger bad.db --keys open.store";
    let ended = scene.ends(22, line);
    assert_eq!(ended.stderr.matches("open to group or others").count(), 1, "{}", ended.stderr);
    std::fs::set_permissions(&store, Permissions::from_mode(0o700)).unwrap();
    let mut keys = std::fs::read(store.join("keys")).unwrap();
    keys[200] ^= 1;
    std::fs::write(store.join("keys"), keys).unwrap();
    scene.ends(22, line);
    scene.prep("run --input job.csv --product plain.toml --keys open.store --output bad.cwf1");
}
