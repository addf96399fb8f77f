//! Which places may name which things ("What must not be" in `src/ARCHITECTURE.md`).

use crate::sources::{Source, named, places, repository};
use crate::{every, finds, hold};

/// The only places for FFI and `unsafe`.
const UNSAFE_ALLOWED: [&str; 4] =
    ["drivers/src/pcsc", "src/hsm/pkcs11", "src/hardening", "tests/hsm/softhsm2"];

/// Modules that do no I/O, read no clock and start nothing (rule 4).
const PURE: [&str; 8] = [
    "src/record/",
    "src/laws/",
    "src/scp/",
    "src/chip/",
    "src/tlv/",
    "src/crypto/",
    "src/ids/",
    "drivers/src/wire.rs",
];

/// Exceptions in `PURE`: they read the output file and write the spool.
const PURE_EXCEPT: [&str; 3] = ["src/record/accept", "src/record/sealed", "src/record/spool"];

/// Names that a pure module cannot use.
const IMPURE: [&str; 29] = [
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "fs::",
    "net::",
    "thread::",
    "Instant",
    "SystemTime",
    "UNIX_EPOCH",
    "UnixStream",
    "UnixListener",
    "TcpStream",
    "TcpListener",
    "OpenOptions",
    "File::open",
    "File::create",
    "stdin",
    "stdout",
    "stderr",
    "print!",
    "println!",
    "eprint!",
    "eprintln!",
    "tokio::",
    "crossbeam_channel",
    "nix::",
    "getrandom",
];

/// Concrete links and HSMs, and the modules that hold them (rule 5).
const CONCRETE: [&str; 14] = [
    "SimLink",
    "SimReader",
    "SerialLink",
    "PcscReader",
    "HostReader",
    "HostLink",
    "SoftHsm",
    "drivers::sim",
    "drivers::serial",
    "drivers::pcsc",
    "drivers::host",
    "hsm::soft",
    "hsm::host",
    "hsm::pkcs11",
];

/// The places that may name them: the composition root, and the HSM itself.
const CONCRETE_ALLOWED: [&str; 2] = ["src/bureau/line/", "src/hsm/"];

/// The client of an HSM host, whichever HSM it holds, and the places that connect with it.
const CLIENT: [&str; 1] = ["hsm::client"];
const CLIENT_ALLOWED: [&str; 3] = ["src/bureau/", "src/hsm/", "src/prep/"];

/// The code that parses words and prints answers names no HSM and no driver. Three exceptions: `keys` makes,
/// shows and changes the key store, and the two programs name only their own side of a store.
const WORDS_ALONE: [&str; 2] = ["src/cli/", "src/bin/"];
const WORDS_EXCEPT: [&str; 3] = ["src/cli/keys/", "src/bin/cardwright.rs", "src/bin/cardwright-prep.rs"];

fn drivers_alone(sources: &[Source]) -> Vec<String> {
    every(sources, |s| match s.path.strip_prefix("drivers/") {
        Some(_) => named(s, &s.code, &["cardwright", "hwsim"], "in `drivers`, which knows neither"),
        None => vec![],
    })
}

#[test]
fn drivers_know_nothing_of_the_controller() {
    finds(
        drivers_alone,
        &[
            ("drivers/src/a.rs", "use cardwright::record::Record;"),
            ("drivers/tests/a.rs", "fn a() { hwsim::b() }"),
        ],
        &[
            ("drivers/src/a.rs", "//! For hwsim and cardwright.\nuse crate::link;"),
            ("src/a.rs", "use cardwright::a;"),
        ],
    );
    hold(&drivers_alone(&repository()));
}

fn hwsim_alone(sources: &[Source]) -> Vec<String> {
    every(sources, |s| {
        if !s.path.starts_with("hwsim/") {
            return vec![];
        }
        let allowed = places(&s.code, "drivers::wire");
        let other = places(&s.code, "drivers").into_iter().filter(|at| !allowed.contains(at));
        let mut findings: Vec<String> =
            other.map(|at| s.finding(at, "`hwsim` takes only `drivers::wire`")).collect();
        findings.extend(named(s, &s.code, &["cardwright"], "in `hwsim`, which shares no code with it"));
        findings
    })
}

#[test]
fn hwsim_takes_only_the_wire_formats_of_drivers() {
    finds(
        hwsim_alone,
        &[
            ("hwsim/src/a.rs", "use drivers::framed::Framed;"),
            ("hwsim/src/a.rs", "use drivers::{wire, link};"),
            ("hwsim/src/a.rs", "use drivers as d;"),
            ("hwsim/tests/a.rs", "use cardwright::scp;"),
        ],
        &[
            ("hwsim/src/a.rs", "use drivers::wire::{ACK, STX};\n// drivers::link"),
            ("src/a.rs", "use drivers::link;"),
        ],
    );
    hold(&hwsim_alone(&repository()));
}

/// The crates of the workspace that a manifest must not depend on, and whether its tests may.
fn manifests(sources: &[Source]) -> Vec<String> {
    every(sources, |s| {
        if s.path != "Cargo.toml" && !s.path.ends_with("/Cargo.toml") {
            return vec![];
        }
        let mut findings = Vec::new();
        let mut section = "";
        let mut offset = 0;
        for line in s.text.split_inclusive('\n') {
            let code = line.split('#').next().unwrap_or_default().trim();
            if code.starts_with('[') {
                section = code.trim_matches(['[', ']']);
            }
            let for_tests =
                section.contains("dev-dependencies") || section.starts_with("workspace.dependencies");
            let normal = section.contains("dependencies") && !for_tests;
            if normal && places(code, "hwsim").len() + places(section, "hwsim").len() > 0 {
                findings.push(s.finding(offset, "a normal dependency on `hwsim`"));
            }
            let root = section.contains("dependencies") && !places(code, "cardwright").is_empty();
            if root && s.path != "Cargo.toml" {
                findings.push(s.finding(offset, "a dependency on `cardwright`"));
            }
            offset += line.len();
        }
        findings
    })
}

#[test]
fn no_crate_depends_on_the_simulator() {
    finds(
        manifests,
        &[
            ("Cargo.toml", "[dependencies]\nhwsim = { path = \"hwsim\" }"),
            ("Cargo.toml", "[dependencies.hwsim]\npath = \"hwsim\""),
            ("drivers/Cargo.toml", "[build-dependencies]\nsim = { package = \"hwsim\" }"),
            ("Cargo.toml", "[target.'cfg(unix)'.dependencies]\nhwsim.workspace = true"),
            ("hwsim/Cargo.toml", "[dev-dependencies]\ncardwright = { path = \"..\" }"),
        ],
        &[
            (
                "Cargo.toml",
                "[workspace]\nmembers = [\"hwsim\"]\n[dev-dependencies]\nhwsim = { path = \"hwsim\" }",
            ),
            ("hwsim/Cargo.toml", "[package]\nname = \"hwsim\"\n[dependencies]\nhex = \"0.4\" # hwsim"),
        ],
    );
    hold(&manifests(&repository()));
}

/// Shapes of SQL. SELECT and UPDATE alone are chip commands.
fn is_sql(text: &str) -> bool {
    let words: Vec<&str> =
        text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
    let pair = |a: &str, b: &[&str]| words.windows(2).any(|w| w[0] == a && b.contains(&w[1]));
    let select = words.iter().position(|w| *w == "SELECT");
    select.is_some_and(|at| words[at..].contains(&"FROM"))
        || pair("INSERT", &["INTO", "OR"])
        || pair("DELETE", &["FROM"])
        || pair("CREATE", &["TABLE", "INDEX", "UNIQUE", "VIEW", "TRIGGER"])
        || words.windows(3).any(|w| w[0] == "UPDATE" && w[2] == "SET")
        || words.first() == Some(&"PRAGMA")
}

fn ledger_owns_sql(sources: &[Source]) -> Vec<String> {
    every(sources, |s| {
        if s.path.starts_with("src/ledger/") {
            return vec![];
        }
        let mut findings = named(s, &s.live, &["rusqlite"], "outside the ledger");
        let sql = s.live_strings().filter(|(_, text)| is_sql(text));
        findings.extend(sql.map(|(at, _)| s.finding(*at, "SQL outside the ledger")));
        if s.path.ends_with(".sql") {
            findings.push(s.finding(0, "SQL outside the ledger"));
        }
        findings
    })
}

#[test]
fn only_the_ledger_holds_sql() {
    finds(
        ledger_owns_sql,
        &[
            ("src/report/a.rs", "const A: &str = \"SELECT *\n FROM card\";"),
            ("src/report/a.rs", "const A: &str = r#\"INSERT INTO card VALUES (1)\"#;"),
            ("src/report/a.rs", "const A: &str = \"UPDATE card SET state = 1\";"),
            ("src/report/a.rs", "const A: &str = \"CREATE TABLE a (b)\";"),
            ("src/report/a.rs", "use rusqlite::Connection;"),
            ("src/report/a.sql", "x"),
        ],
        &[
            ("src/ledger/store.rs", "use rusqlite::Connection; const A: &str = \"DELETE FROM a\";"),
            (
                "src/chip/a.rs",
                "const A: &str = \"SELECT the application\"; const B: &str = \"INITIALIZE UPDATE\";",
            ),
            (
                "src/a.rs",
                "// SELECT a FROM b\n#[cfg(test)]\nmod tests { const A: &str = \"SELECT a FROM b\"; }",
            ),
            ("tests/a.rs", "use rusqlite::Connection;"),
        ],
    );
    hold(&ledger_owns_sql(&repository()));
}

fn ffi(sources: &[Source]) -> Vec<String> {
    every(sources, |s| match s.within(&UNSAFE_ALLOWED) {
        true => vec![],
        false => named(s, &s.code, &["unsafe", "unsafe_code"], "outside the places for FFI"),
    })
}

#[test]
fn unsafe_stands_only_where_ffi_is() {
    finds(
        ffi,
        &[("src/a.rs", "fn a() { unsafe { b() } }"), ("tests/a.rs", "#![allow(unsafe_code)]")],
        &[
            ("src/hardening/arena.rs", "fn a() { unsafe { b() } }"),
            ("src/a.rs", "// unsafe\nconst A: &str = \"unsafe\";"),
        ],
    );
    hold(&ffi(&repository()));
}

fn pure(sources: &[Source]) -> Vec<String> {
    every(sources, |s| match s.within(&PURE) && !s.within(&PURE_EXCEPT) {
        true => named(s, &s.live, &IMPURE, "in a module without I/O, clock and threads"),
        false => vec![],
    })
}

#[test]
fn protocol_code_does_no_io_and_reads_no_clock() {
    finds(
        pure,
        &[
            ("src/record/a.rs", "use std::fs::File;"),
            ("src/scp/a.rs", "use std::{fs, io};\nfn a() { fs::read(b) }"),
            ("src/chip/a.rs", "fn a() { println!(\"x\") }"),
            ("src/tlv/a.rs", "use std::time::Instant;"),
            ("src/crypto/mod.rs", "fn a() { std::thread::spawn(b); }"),
            ("src/ids/mod.rs", "fn a() { std::time::SystemTime::now(); }"),
        ],
        &[
            ("src/record/accept/mod.rs", "use std::fs::File;"),
            ("src/ledger/a.rs", "use std::fs::File;"),
            ("src/scp/a.rs", "use std::time::Duration; // std::fs\n#[cfg(test)]\nmod tests { use std::fs; }"),
            ("src/tlv/tests.rs", "use std::fs;"),
        ],
    );
    hold(&pure(&repository()));
}

fn composition(sources: &[Source]) -> Vec<String> {
    every(sources, |s| {
        let mut findings = Vec::new();
        if s.path.starts_with("src/") && !s.within(&CONCRETE_ALLOWED) {
            findings.extend(named(s, &s.live, &CONCRETE, "outside the composition root"));
        }
        if s.path.starts_with("src/") && !s.within(&CLIENT_ALLOWED) {
            findings.extend(named(s, &s.live, &CLIENT, "outside the bureau"));
        }
        if s.within(&WORDS_ALONE) && !s.within(&WORDS_EXCEPT) {
            findings.extend(named(s, &s.live, &["hsm::", "drivers"], "where words are parsed and printed"));
        }
        findings
    })
}

#[test]
fn only_the_composition_root_names_concrete_links_and_hsms() {
    finds(
        composition,
        &[
            ("src/pipeline/a.rs", "use drivers::sim::SimLink;"),
            ("src/modules/a.rs", "fn a() { SerialLink::open(b) }"),
            ("src/modules/a.rs", "use crate::hsm::client::HsmClient;"),
            ("src/prep/a.rs", "use crate::hsm::soft::SoftHsm;"),
            ("src/cli/run.rs", "use drivers::sim::SimLink;"),
            ("src/cli/run.rs", "use crate::hsm::Hsm;"),
            ("src/bureau/a.rs", "use crate::hsm::soft::SoftHsm;"),
            ("src/daemon/a.rs", "use crate::hsm::client::HsmClient;"),
        ],
        &[
            ("src/bureau/line/a.rs", "use drivers::sim::SimLink; use crate::hsm::soft::SoftHsm;"),
            ("src/bureau/a.rs", "use crate::hsm::client::HsmClient;"),
            ("src/cli/keys/mod.rs", "use crate::hsm::store::KeyStore;"),
            ("src/hsm/soft/a.rs", "use crate::hsm::soft::SoftHsm;"),
            ("src/modules/a.rs", "use drivers::link::Link;\n#[cfg(test)]\nuse crate::hsm::soft::SoftHsm;"),
        ],
    );
    hold(&composition(&repository()));
}

/// A type that is wiped is secret, and a secret type derives no `Debug`, `Display` or `Serialize`.
fn secrets_show(sources: &[Source]) -> Vec<String> {
    every(sources, |s| {
        let derives = places(&s.live, "#[derive(").into_iter().filter_map(|at| {
            let list = s.live[at..].split(']').next()?;
            let wiped = places(list, "Zeroize").len() + places(list, "ZeroizeOnDrop").len() > 0;
            let shows =
                ["Debug", "Display", "Serialize"].iter().find(|show| !places(list, show).is_empty())?;
            wiped.then(|| s.finding(at, &format!("a type that is wiped derives {shows}")))
        });
        derives.collect()
    })
}

#[test]
fn types_that_are_wiped_do_not_show_themselves() {
    finds(
        secrets_show,
        &[
            ("src/a.rs", "#[derive(Debug, Zeroize)]\nstruct A;"),
            ("src/a.rs", "#[derive(ZeroizeOnDrop, Serialize)]\nstruct A;"),
        ],
        &[("src/a.rs", "#[derive(Clone, Zeroize)]\nstruct A;\n#[derive(Debug)]\nstruct B;")],
    );
    hold(&secrets_show(&repository()));
}

/// The only place that names a secure channel protocol.
const CHANNELS: &str = "src/scp/";

fn channels_behind_their_seam(sources: &[Source]) -> Vec<String> {
    every(sources, |s| {
        if !s.path.starts_with("src/") || s.path.starts_with(CHANNELS) || !s.is_rust() {
            return vec![];
        }
        // Comments count too: nothing outside `src/scp` is written with one protocol in mind. A test may name
        // one.
        let is_test_file = s.live.trim().is_empty();
        let text = if is_test_file { String::new() } else { s.text.to_ascii_lowercase() };
        text.match_indices("scp02").map(|(at, _)| s.finding(at, "`scp02` outside `src/scp`")).collect()
    })
}

#[test]
fn only_the_seam_names_a_secure_channel_protocol() {
    finds(
        channels_behind_their_seam,
        &[
            ("src/hsm/a.rs", "use crate::scp::scp02;"),
            ("src/hsm/a.rs", "// Block of SCP02.\nfn a() {}"),
            ("src/profile/a.rs", "struct A { scp02_i: u8 }"),
            ("src/chip/a.rs", "const A: &str = \"SCP02\";"),
        ],
        &[
            ("src/scp/a.rs", "mod scp02;"),
            ("src/hsm/a.rs", "use crate::scp::SecureChannel;"),
            ("src/chip/tests.rs", "fn a() { \"SCP02\" }"),
            ("hwsim/src/a.rs", "//! SCP02"),
        ],
    );
    hold(&channels_behind_their_seam(&repository()));
}

/// The type that holds cardholder data in messages has no `Debug` or `Display`, so no message type can print
/// it.
fn wiped_bytes_show(sources: &[Source]) -> Vec<String> {
    every(sources, |s| match s.path.as_str() {
        "src/wiped.rs" => named(s, &s.live, &["Debug", "Display"], "shows cardholder data"),
        _ => vec![],
    })
}

#[test]
fn bytes_of_cardholder_data_do_not_show_themselves() {
    finds(
        wiped_bytes_show,
        &[("src/wiped.rs", "#[derive(Debug)]\nstruct WipedBytes(Vec<u8>);")],
        &[("src/wiped.rs", "#[derive(Clone)]\nstruct WipedBytes(Vec<u8>);")],
    );
    let sources = repository();
    assert!(sources.iter().any(|s| s.path == "src/wiped.rs"));
    hold(&wiped_bytes_show(&sources));
}

/// Inside `hsm`, only its own folder and `hsm/mod.rs` name the software HSM: host, wire and client serve any HSM.
fn host_serves_any(sources: &[Source]) -> Vec<String> {
    every(sources, |s| {
        let own = ["src/hsm/soft/", "src/hsm/mod.rs"];
        match s.path.starts_with("src/hsm/") && !s.within(&own) {
            true => named(s, &s.live, &["SoftHsm", "hsm::soft", "super::soft"], "outside its own folder"),
            false => vec![],
        }
    })
}

#[test]
fn the_host_names_no_hsm() {
    finds(
        host_serves_any,
        &[("src/hsm/host.rs", "use super::soft::SoftHsm;"), ("src/hsm/wire.rs", "fn a(h: &SoftHsm) {}")],
        &[("src/hsm/soft/a.rs", "use super::SoftHsm;"), ("src/cli/a.rs", "use crate::hsm::soft::SoftHsm;")],
    );
    hold(&host_serves_any(&repository()));
}

/// Strings that begin with the program's name but are the first lines of files, not commands.
const FIRST_LINES: [&str; 6] = [
    "cardwright spool keys ",
    "cardwright audit book ",
    "cardwright key store ",
    "cardwright store seen ",
    "cardwright RSA keys ",
    "cardwright X25519 recipient ",
];

/// Commands are spelled only where words are parsed; elsewhere a refusal or an outcome is a value.
fn commands_spelled(sources: &[Source]) -> Vec<String> {
    every(sources, |s| {
        if !s.path.starts_with("src/") || s.within(&["src/cli/", "src/bin/", "src/prep/"]) {
            return vec![];
        }
        let command =
            |text: &str| text.contains("cardwright ") && !FIRST_LINES.iter().any(|f| text.starts_with(f));
        s.live_strings()
            .filter(|(_, text)| command(text))
            .map(|(at, _)| s.finding(*at, "spells a command"))
            .collect()
    })
}

#[test]
fn only_the_command_line_spells_commands() {
    finds(
        commands_spelled,
        &[("src/ledger/a.rs", "const A: &str = \"next: cardwright job show J1\";")],
        &[
            ("src/cli/a.rs", "const A: &str = \"next: cardwright job show J1\";"),
            ("src/ledger/a.rs", "// cardwright job show\nconst A: &str = \"cardwright audit book 1\";"),
        ],
    );
    hold(&commands_spelled(&repository()));
}
