//! The HSM host over a real socket and in a real process: this test program starts itself as one.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use cardwright::bureau::line::hsm_host::run;
use cardwright::exit::Exit;
use cardwright::hsm::client::{HostProcess, HsmClient};
use cardwright::hsm::store::{KeyStore, StoreSide};
use cardwright::hsm::{
    Auditor, CHECK_LIMIT, CallerRole, CallerSecrets, Checker, HostedHsm, Hsm, HsmDoor, HsmError, HsmRefusal,
    Realm, host,
};
use cardwright::scp::SecLevel;

use super::make;
use super::personalize::{asks, draw, session, wrapped};
use crate::bound::BoundJob;
use crate::callers::LineCallers;
use crate::card::blank;
use crate::file::{self, KEYS, SCOPE, app, asked};

/// Set for the child process that is a host: its command line, one argument on each line.
const CHILD: &str = "CARDWRIGHT_TEST_HSM_HOST";

/// The body of the child process, not a test.
#[test]
fn child() {
    let Ok(words) = std::env::var(CHILD) else { return };
    let words: Vec<&str> = words.split_whitespace().collect();
    let ["hsm-host", "--keys", keys, "--socket", socket, ref checks @ ..] = words[..] else {
        panic!("{words:?}")
    };
    match run(keys.as_ref(), socket.as_ref(), checks == ["--checks"]) {
        Ok(exit) => std::process::exit(exit as i32),
        Err(failure) => {
            writeln!(std::io::stderr(), "{failure}").unwrap();
            std::process::exit(failure.exit as i32);
        }
    }
}

pub struct Place {
    pub folder: tempfile::TempDir,
    pub program: PathBuf,
    pub store: PathBuf,
    pub socket: PathBuf,
}

pub fn place() -> Place {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let (program, store, socket) = (at("program"), at("store"), at("socket"));
    std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o700)).unwrap();
    // The harness's own output must not stand on the line of `ready`.
    let script = format!(
        "#!/bin/sh\n{CHILD}=\"$*\" exec {:?} --exact {} -q --nocapture --test-threads=2\n",
        std::env::current_exe().unwrap(),
        concat!(module_path!(), "::child").split_once("::").unwrap().1
    );
    std::fs::write(&program, script).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    KeyStore::create_test(KEYS, &store, StoreSide::Bureau).unwrap();
    Place { folder, program, store, socket }
}

/// A host in threads of this process. Returns its door.
pub fn threads(place: &Place) -> HsmDoor {
    serving(place, make())
}

/// This HSM in threads of this process. Returns its door.
pub fn serving(place: &Place, hsm: impl HostedHsm + 'static) -> HsmDoor {
    let listener = host::listen(&place.socket).unwrap();
    let secrets = Arc::new(CallerSecrets::draw().unwrap());
    let door = HsmDoor::new(&place.socket, std::process::id(), Arc::clone(&secrets));
    std::thread::spawn(move || host::serve(&hsm, &listener, &secrets));
    door
}

/// A job of a ledger that the host of this door follows.
fn job_of(door: &HsmDoor) -> BoundJob {
    BoundJob::new(&|| Box::new(HsmClient::connect(door, CallerRole::Ledger).unwrap()) as Box<dyn Auditor>)
}

fn whole_session(client: &mut LineCallers, other: &mut LineCallers, job: &mut BoundJob) {
    let app = app(0x12, 3);
    let verified = client.verify_record(&asked(&file::kek_aes256(), &app)).unwrap();
    let card = blank();
    let step = (job.bind(SCOPE.sequence, &card), 1);
    // Another connection to the host may personalize, with a challenge of its own.
    let challenge = draw(other);
    let commands = session(&app, &verified.applications[0], 239);
    let request = asks(&card, challenge, step, verified.handle, SecLevel::MacEnc, commands);
    let apdus = wrapped(other, &request).unwrap();
    assert_eq!(card.personalize(challenge, &apdus).dgis.len(), 7);
    // A station whose connection has ended asks on the next one.
    assert_eq!(wrapped(client, &request).unwrap(), apdus);
    client.verify_trailer(&file::trailer(&file::kek_tdes(), "TESTBANK", "FILE-1")).unwrap();
    client.release(&[verified.handle]).unwrap();
}

#[test]
fn a_client_over_the_socket_does_the_work_of_the_hsm() {
    let place = place();
    let door = threads(&place);
    assert_eq!(HsmClient::connect(&door, CallerRole::Check).unwrap().realm(), Realm::Test);
    let mut client = LineCallers::connect(&door);
    assert_eq!(client.info().unwrap().keks.len(), 3);
    whole_session(&mut client, &mut LineCallers::connect(&door), &mut job_of(&door));
    // An error is an answer: the connection goes on.
    assert!(matches!(
        client.verify_record(&asked(&file::kek_tdes(), &app(0x11, 1))),
        Err(HsmError::Data { .. })
    ));
    client.info().unwrap();
}

#[test]
fn the_answers_of_the_longest_check_fit_one_message() {
    let place = place();
    let mut client = HsmClient::connect(&threads(&place), CallerRole::Check).unwrap();
    let wrong = file::request(vec![0xFF; 40], &SCOPE);
    let answers = client.check(&file::check_request(&vec![wrong; CHECK_LIMIT])).unwrap();
    assert!(answers.len() == CHECK_LIMIT && answers.iter().all(Result::is_err));
    client.info().unwrap();
}

#[test]
fn the_socket_is_0600_in_a_private_folder() {
    let place = place();
    let listener = host::listen(&place.socket).unwrap();
    assert_eq!(place.socket.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(host::listen(&place.socket).unwrap_err().exit, Exit::Io, "exists");
    drop(listener);
    let open = place.folder.path().join("open");
    std::fs::create_dir(&open).unwrap();
    for mode in [0o755, 0o750, 0o701, 0o770] {
        std::fs::set_permissions(&open, std::fs::Permissions::from_mode(mode)).unwrap();
        assert_eq!(host::listen(&open.join("socket")).unwrap_err().exit, Exit::Io, "{mode:o}");
    }
}

#[test]
fn a_socket_of_another_program_is_refused() {
    let place = place();
    let door = |host| HsmDoor::new(&place.socket, host, Arc::new(CallerSecrets::draw().unwrap()));
    let connect = |host| HsmClient::connect(&door(host), CallerRole::Check).err();
    assert!(matches!(connect(std::process::id()), Some(HsmError::HostEnded)), "nobody there");
    let listener = std::os::unix::net::UnixListener::bind(&place.socket).unwrap();
    std::thread::spawn(move || {
        for greeting in [&b"SSH-2.0-x"[..], b"CWHSM\0\x63T", b"CWHSM"] {
            listener.accept().unwrap().0.write_all(greeting).unwrap();
        }
    });
    for _ in 0..3 {
        assert!(matches!(connect(std::process::id()), Some(HsmError::Host(_))));
    }
}

/// Waits until a process is gone.
fn gone(id: u32) -> bool {
    let path = PathBuf::from(format!("/proc/{id}"));
    let start = Instant::now();
    while path.exists() && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    !path.exists()
}

#[test]
fn a_host_process_serves_keeps_its_memory_to_itself_and_ends_with_its_owner() {
    let place = place();
    let host = HostProcess::start(&place.program, &place.store, &place.socket).unwrap();
    let id = host.id();
    let mut client = LineCallers::connect(host.door());
    whole_session(&mut client, &mut LineCallers::connect(host.door()), &mut job_of(host.door()));
    let limits = std::fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
    let core = limits.lines().find(|l| l.starts_with("Max core file size")).unwrap();
    assert_eq!(core.split_whitespace().nth(4), Some("0"), "no core dump");
    drop(host);
    assert!(gone(id));
    assert!(matches!(client.info(), Err(HsmError::Host(_))), "the host was killed");
    assert!(matches!(client.info(), Err(HsmError::Host(_))), "and stays dead");
}

#[test]
fn a_host_that_hangs_is_killed_with_its_owner() {
    let place = place();
    std::fs::write(&place.program, "#!/bin/sh\necho ready\nexec sleep 1000\n").unwrap();
    let host = HostProcess::start(&place.program, &place.store, &place.socket).unwrap();
    let (id, start) = (host.id(), Instant::now());
    drop(host);
    assert!(gone(id) && start.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_host_ends_when_its_standard_input_closes() {
    let place = place();
    let mut child = std::process::Command::new(&place.program)
        .args([
            "hsm-host",
            "--keys",
            place.store.to_str().unwrap(),
            "--socket",
            place.socket.to_str().unwrap(),
        ])
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    CallerSecrets::draw().unwrap().give(&mut input).unwrap();
    let start = Instant::now();
    while !place.socket.exists() && start.elapsed() < Duration::from_secs(10) {
        std::thread::sleep(Duration::from_millis(10));
    }
    let ended = child.try_wait().unwrap();
    assert!(ended.is_none() && place.socket.exists(), "it serves: {ended:?}");
    drop(input);
    assert!(child.wait().unwrap().success());
    assert!(!place.socket.exists(), "it leaves no socket behind");
}

#[test]
fn a_host_that_cannot_start_reports_the_cause_and_an_exit_code() {
    let place = place();
    let start =
        |store: &Path| HostProcess::start(&place.program, store, &place.socket).err().expect("started");
    assert_eq!(start(&place.folder.path().join("nothing")).exit, Exit::Io);
    std::fs::set_permissions(&place.store, std::fs::Permissions::from_mode(0o755)).unwrap();
    let failure = start(&place.store);
    assert_eq!(failure.exit, Exit::KeyStore);
    assert!(failure.message.contains("0700"), "{failure}");
    let failure = HostProcess::start(Path::new("/nonexistent"), &place.store, &place.socket).err().unwrap();
    assert_eq!(failure.exit, Exit::Hsm);
    let failure = HostProcess::start(Path::new("/bin/true"), &place.store, &place.socket).err().unwrap();
    assert_eq!(failure.exit, Exit::Hsm);
}

#[test]
fn a_session_in_one_call_opens_and_wraps() {
    let place = place();
    let door = threads(&place);
    let (mut client, mut soft) = (LineCallers::connect(&door), make());
    let jobs = [job_of(&door), super::personalize::job_of(&soft)];
    let (app, card) = (app(0x12, 3), blank());
    let both: [&mut dyn Hsm; 2] = [&mut client, &mut soft];
    for (hsm, mut job) in both.into_iter().zip(jobs) {
        let record = asked(&file::kek_aes256(), &app);
        let verified = hsm.verify_record(&record).unwrap();
        let step = (job.bind(SCOPE.sequence, &card), 1);
        let wanted = |challenge, verified: &cardwright::hsm::VerifiedRecord| {
            let commands = session(&app, &verified.applications[0], 239);
            asks(&card, challenge, step, verified.handle, SecLevel::MacEnc, commands)
        };
        // A wrong card cryptogram uses up the challenge but not the handle.
        let challenge = draw(hsm);
        let mut wrong = wanted(challenge, &verified);
        wrong.card_answer[27] ^= 1;
        assert!(matches!(hsm.session(&wrong), Err(HsmError::CardCryptogram(_))));
        let challenge = draw(hsm);
        let apdus = wrapped(hsm, &wanted(challenge, &verified)).unwrap();
        assert_eq!(card.personalize(challenge, &apdus).dgis.len(), 7);
        let challenge = draw(hsm);
        let again = hsm.session(&wanted(challenge, &verified));
        assert!(matches!(again, Err(HsmError::Refused(HsmRefusal::HandleUsed))));
    }
}
