//! The door of the HSM host: who gets in, for how long, and what ends with a connection.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use cardwright::exit::Exit;
use cardwright::hsm::client::{HostProcess, HsmClient};
use cardwright::hsm::store::KeyStore;
use cardwright::hsm::{
    Auditor, CallerRole, CallerSecrets, CardAttempt, Checker, FileReceiver, HostedHsm, Hsm, HsmDoor,
    HsmError, HsmInfo, HsmRefusal, Issuer, Realm, RecordToVerify, Vault, VerifiedRecord, WipedBytes, host,
};
use cardwright::record::envelope::WrappedFileKey;
use cardwright::scp::SecLevel;

use super::host::{Place, place};
use super::make;
use super::personalize::{asks, draw, session};
use crate::bound::BoundJob;
use crate::card::{Card, blank};
use crate::file::{self, app, asked, kek_tdes};
use crate::raw_caller::{CALL, RawCaller, frame, refusal, rest, stranger};

/// The host's limit for a frame, and for a secret to be shown.
const LIMIT: Duration = Duration::from_secs(10);
/// A host that is not blocked answers within this time on a loaded machine.
const SOON: Duration = Duration::from_secs(5);
/// Applications that wait in one connection.
const WAITING: usize = 4096;

/// A host in threads of this process, and ways to its door.
pub struct Host {
    pub place: Place,
    pub caller: RawCaller,
    door: HsmDoor,
}

impl Host {
    pub fn new() -> Self {
        Self::of(make())
    }

    fn of(hsm: impl HostedHsm + 'static) -> Self {
        let place = place();
        let listener = host::listen(&place.socket).unwrap();
        let secrets = Arc::new(CallerSecrets::draw().unwrap());
        let caller = RawCaller::new(&place.socket, &secrets);
        let door = HsmDoor::new(&place.socket, std::process::id(), Arc::clone(&secrets));
        std::thread::spawn(move || host::serve(&hsm, &listener, &secrets));
        Self { place, caller, door }
    }

    pub fn client(&self, role: CallerRole) -> HsmClient {
        HsmClient::connect(&self.door, role).unwrap()
    }
}

/// Waits until the host has done something, which it does in a thread of its own.
fn soon(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < SOON, "{what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

fn is_full(door: &HsmDoor, role: CallerRole) -> bool {
    match HsmClient::connect(door, role) {
        Ok(_) => false,
        Err(HsmError::Host(why)) => why.contains("no place"),
        Err(error) => panic!("{error}"),
    }
}

/// Half frames on every connection that a role may have.
fn half_frames(host: &Host, role: CallerRole, most: usize) -> Vec<UnixStream> {
    let half = |_| {
        let mut stream = host.caller.admitted(role);
        stream.write_all(&[0, 1, 0, 0, 7, 7, 7]).unwrap();
        stream
    };
    (0..most).map(half).collect()
}

#[test]
fn half_frames_of_everybody_block_nobody() {
    let host = Host::new();
    let strange: Vec<_> = (0..200).map(|n| stranger(&host.place.socket, &[b'C'; CALL][..n % CALL])).collect();
    let begun = Instant::now();
    // Every place of three roles, and all but one of the fourth.
    let mut half = Vec::new();
    for (role, most) in [(CallerRole::Station, 128), (CallerRole::Check, 128), (CallerRole::Ledger, 64)] {
        half.extend(half_frames(&host, role, most));
        soon("full", || is_full(&host.door, role));
    }
    half.extend(half_frames(&host, CallerRole::Source, 31));
    let asked_at = Instant::now();
    host.client(CallerRole::Source).verify_record(&asked(&kek_tdes(), &app(0x12, 1))).unwrap();
    assert!(asked_at.elapsed() < SOON);
    assert!(begun.elapsed() < LIMIT, "the machine is too slow for this test");

    // Each is answered once and closed, and its place is free again.
    for mut stream in half {
        let why = refusal(&rest(&mut stream));
        let late =
            matches!(&why, Some(HsmError::Refused(HsmRefusal::Frame(why))) if why.contains("within 10 s"));
        assert!(late, "{why:?}");
    }
    soon("free", || CallerRole::ALL.into_iter().all(|role| !is_full(&host.door, role)));
    for mut stream in strange {
        // One that showed nothing hears nothing.
        assert!(matches!(rest(&mut stream).as_slice(), [] | [.., b'S']));
    }
    // Bytes that come slowly are not better.
    let (mut slow, begun) = (host.caller.admitted(CallerRole::Station), Instant::now());
    while begun.elapsed() < 3 * LIMIT && slow.write_all(&[0]).is_ok() {
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(begun.elapsed() < 2 * LIMIT, "a frame that never ends");
}

#[test]
fn an_idle_connection_has_no_limit() {
    let host = Host::new();
    let mut client = host.client(CallerRole::Check);
    client.info().unwrap();
    // A frame in pieces within the limit is a frame, and the next may come when it likes.
    let mut stream = host.caller.admitted(CallerRole::Check);
    for piece in [&[0, 0][..], &[0, 1], &[0]] {
        std::thread::sleep(Duration::from_millis(300));
        stream.write_all(piece).unwrap();
    }
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(answer[0], 0, "Ok");
    std::thread::sleep(LIMIT + Duration::from_secs(1));
    client.info().unwrap();
    stream.write_all(&frame(&[0])).unwrap();
    stream.read_exact(&mut length).unwrap();
}

/// A job of a ledger that a host follows.
fn job_of(host: &Host) -> BoundJob {
    BoundJob::new(&|| Box::new(host.client(CallerRole::Ledger)) as Box<dyn Auditor>)
}

/// Asks a station's connection for a session of this record, which is bound to this chip.
fn session_of(
    station: &mut HsmClient,
    (attempt, card): (CardAttempt, &Card),
    verified: &VerifiedRecord,
) -> Result<cardwright::hsm::CardSession, HsmError> {
    let challenge = draw(station);
    let commands = session(&app(0x12, 1), &verified.applications[0], 200);
    station.session(&asks(card, challenge, (attempt, 1), verified.handle, SecLevel::Mac, commands))
}

/// The question about a record with this sequence, and a blank that is bound to it.
fn bound(job: &mut BoundJob, sequence: u32) -> (RecordToVerify, CardAttempt, Card) {
    let mut card = blank();
    card.key_data[8] = sequence as u8;
    let attempt = job.bind(sequence, &card);
    let scope = file::scope_of(sequence);
    (file::record(&kek_tdes(), &[app(0x12, 1)], &scope), attempt, card)
}

#[test]
fn verifications_end_with_their_connection() {
    let host = Host::new();
    let mut job = job_of(&host);
    let (mut first, mut second) = (host.client(CallerRole::Source), host.client(CallerRole::Source));
    let mut station = host.client(CallerRole::Station);
    let [one, two, three] = [1, 2, 3].map(|sequence| bound(&mut job, sequence));
    let used = first.verify_record(&one.0).unwrap();
    let left = first.verify_record(&two.0).unwrap();
    let of_second = second.verify_record(&three.0).unwrap();
    // Nobody takes back what another has verified.
    second.release(&[used.handle, left.handle]).unwrap();
    session_of(&mut station, (one.1, &one.2), &used).unwrap();
    drop(first);
    let unknown = HsmError::Unknown("handle".into());
    soon("its handle ends", || {
        let station = &mut host.client(CallerRole::Station);
        session_of(station, (two.1, &two.2), &left).err().as_ref() == Some(&unknown)
    });
    session_of(&mut station, (three.1, &three.2), &of_second).unwrap();

    // One that fills its table takes no place from another.
    let mut full = host.client(CallerRole::Source);
    let request = |sequence| {
        let scope = file::scope_of(sequence);
        file::record(&kek_tdes(), &vec![app(0x12, 1); 64], &scope)
    };
    for sequence in 0..WAITING / 64 {
        full.verify_record(&request(100 + sequence as u32)).unwrap();
    }
    let too_many = HsmError::Refused(HsmRefusal::TooMany(WAITING));
    assert_eq!(full.verify_record(&request(99)).err(), Some(too_many));
    second.verify_record(&request(98)).unwrap();
}

/// A host process whose callers know its secrets; and the same as another process would see it.
#[test]
fn a_second_process_of_the_same_user_is_refused() {
    let place = place();
    let host = HostProcess::start(&place.program, &place.store, &place.socket).unwrap();
    HsmClient::connect(host.door(), CallerRole::Check).unwrap().info().unwrap();
    let own = RawCaller::new(&place.socket, &CallerSecrets::draw().unwrap());
    for role in CallerRole::ALL {
        for (what, call) in [("another's secret", own.call(role)), ("no secret", vec![0; CALL])] {
            let answer = in_another_process(&place.socket, &call, None);
            assert!(answer.len() == 8 && answer[7] == b'S', "{what}: {answer:?}");
        }
    }
    // A client of this version says what happened.
    let strange = HsmDoor::new(&place.socket, host.id(), Arc::new(CallerSecrets::draw().unwrap()));
    let refused = HsmClient::connect(&strange, CallerRole::Check).err();
    assert!(matches!(&refused, Some(HsmError::Host(why)) if why.contains("callers")), "{refused:?}");
    HsmClient::connect(host.door(), CallerRole::Check).unwrap().info().unwrap();
}

/// Environment of the process that calls: socket, what it shows in hex, user id.
const CALLER: &str = "CARDWRIGHT_TEST_CALLER";

/// The body of the process that calls, not a test: prints what it hears in hex.
#[test]
fn caller() {
    let Ok(words) = std::env::var(CALLER) else { return };
    let words: Vec<&str> = words.split_whitespace().collect();
    let [socket, call, user] = words[..] else { panic!("{words:?}") };
    if let Ok(user) = user.parse() {
        // The folder of the socket lets only its owner in, so this process opens files as its owner still.
        nix::unistd::seteuid(nix::unistd::Uid::from_raw(user)).unwrap();
        nix::unistd::setfsuid(nix::unistd::Uid::from_raw(0));
    }
    let mut heard = Vec::new();
    let stream = stranger(Path::new(socket), &hex::decode(call).unwrap());
    stream.take(8).read_to_end(&mut heard).unwrap();
    writeln!(std::io::stdout(), "\nheard={}", hex::encode(heard)).unwrap();
    std::process::exit(0);
}

/// What a process hears that shows `call`, as another user if one is given.
fn in_another_process(socket: &Path, call: &[u8], user: Option<u32>) -> Vec<u8> {
    let user = user.map_or("own".to_owned(), |user| user.to_string());
    let name = concat!(module_path!(), "::caller").split_once("::").unwrap().1;
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "-q", "--nocapture", "--test-threads=1"])
        .env(CALLER, format!("{} {} {user}", socket.display(), hex::encode(call)))
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let heard = text.lines().find_map(|line| line.strip_prefix("heard="));
    hex::decode(heard.unwrap_or_else(|| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))).unwrap()
}

#[test]
fn another_user_is_refused() {
    if !nix::unistd::geteuid().is_root() {
        return;
    }
    let host = Host::new();
    let call = host.caller.call(CallerRole::Check);
    let heard = |user| in_another_process(&host.place.socket, &call, user);
    // It knows the secret, and is refused for its user id alone.
    assert_eq!(heard(Some(65_534)).last(), Some(&b'S'));
    assert_eq!(heard(None).last(), Some(&b'T'));
}

#[test]
fn a_secret_is_shown_to_the_host_alone() {
    let place = place();
    // A program of this user that put its socket in the place of the host's.
    let listener = UnixListener::bind(&place.socket).unwrap();
    let other = std::thread::spawn(move || {
        let mut heard = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut heard).unwrap();
        heard
    });
    let door = HsmDoor::new(&place.socket, 1, Arc::new(CallerSecrets::draw().unwrap()));
    let refused = HsmClient::connect(&door, CallerRole::Ledger).err();
    assert!(matches!(&refused, Some(HsmError::Host(why)) if why.contains("another program")), "{refused:?}");
    assert_eq!(other.join().unwrap(), [0u8; 0]);
}

#[test]
fn a_second_host_of_one_store_is_refused() {
    let place = place();
    let host = HostProcess::start(&place.program, &place.store, &place.socket).unwrap();
    let other = place.folder.path().join("other");
    let start = || HostProcess::start(&place.program, &place.store, &other);
    let refused = start().err().unwrap();
    assert_eq!(refused.exit, Exit::KeyStore);
    // Its program is this one.
    let names_it = refused.message.contains(&format!("(pid {})", std::process::id()));
    assert!(names_it && refused.message.contains("--socket"), "{refused}");
    // Who only reads the keys needs no host.
    KeyStore::open(&place.store).unwrap();
    HsmClient::connect(host.door(), CallerRole::Check).unwrap().info().unwrap();
    drop(host);
    start().unwrap();
}

#[test]
fn a_host_for_checks_stands_beside_another_and_serves_nobody_else() {
    let place = place();
    let _line = HostProcess::start(&place.program, &place.store, &place.socket).unwrap();
    let socket = place.folder.path().join("other");
    let checks = HostProcess::start_for_checks(&place.program, &place.store, &socket).unwrap();
    HsmClient::connect(checks.door(), CallerRole::Check).unwrap().info().unwrap();
    for role in CallerRole::ALL.into_iter().filter(|role| *role != CallerRole::Check) {
        assert!(HsmClient::connect(checks.door(), role).is_err(), "{role:?}");
    }
}

#[test]
fn a_host_waits_for_the_end_of_one_whose_program_was_killed() {
    let place = place();
    let ending = HostProcess::start(&place.program, &place.store, &place.socket).unwrap();
    let other = place.folder.path().join("other");
    let ends = std::thread::spawn(move || {
        std::thread::sleep(Duration::from_secs(1));
        drop(ending);
    });
    HostProcess::start(&place.program, &place.store, &other).unwrap();
    ends.join().unwrap();
}

/// A device that fails at one request.
struct Failing;

impl Hsm for Failing {
    fn info(&mut self) -> Result<HsmInfo, HsmError> {
        panic!("a bug")
    }
}

impl Auditor for Failing {}
impl Vault for Failing {}
impl Checker for Failing {}
impl Issuer for Failing {}

impl FileReceiver for Failing {
    fn unwrap_file_key(&mut self, _: &[WrappedFileKey]) -> Result<WipedBytes, HsmError> {
        Ok(vec![0].into())
    }
}

impl HostedHsm for Failing {
    type Connection = Self;

    fn realm(&self) -> Realm {
        Realm::Test
    }

    fn connect(&self) -> Self {
        Self
    }
}

#[test]
fn a_panic_ends_its_connection_only() {
    let host = Host::of(Failing);
    let mut other = host.client(CallerRole::Check);
    let mut client = host.client(CallerRole::Check);
    assert!(matches!(client.info(), Err(HsmError::Host(why)) if why.contains("bug")));
    assert!(
        matches!(client.unwrap_file_key(&[]), Err(HsmError::Host(why)) if !why.contains("bug")),
        "closed"
    );
    other.unwrap_file_key(&[]).unwrap();
}

#[test]
fn rubbish_wipes_its_connection_only() {
    let host = Host::new();
    let mut job = job_of(&host);
    let (kept_record, attempt, card) = bound(&mut job, 1);
    let (request, gone_attempt, gone_card) = bound(&mut job, 2);
    let mut other = host.client(CallerRole::Source);
    let kept = other.verify_record(&kept_record).unwrap();
    let no_such = frame(&[77]);
    let long = [0xFF; 64];
    for rubbish in [&b"GET / HTTP/1.1\r\n\r\n"[..], &no_such, &long, &frame(&[]), &frame(&[0, 0])] {
        // What the connection had verified is gone with it, before its fault is answered.
        let mut stream = host.caller.admitted(CallerRole::Source);
        let (_, verify) =
            crate::raw_caller::heard(CallerRole::Source, |client| drop(client.verify_record(&request)));
        stream.write_all(&frame(&verify)).unwrap();
        let verified = answered(&mut stream);
        stream.write_all(rubbish).unwrap();
        let why = refusal(&rest(&mut stream));
        assert!(matches!(why, Some(HsmError::Refused(HsmRefusal::Frame(_)))), "{why:?}");
        let mut station = host.client(CallerRole::Station);
        let gone = session_of(&mut station, (gone_attempt, &gone_card), &verified).err();
        assert_eq!(gone, Some(HsmError::Unknown("handle".into())));
    }
    session_of(&mut host.client(CallerRole::Station), (attempt, &card), &kept).unwrap();
}

/// The answer to a verification.
fn answered(stream: &mut UnixStream) -> VerifiedRecord {
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut answer = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut answer).unwrap();
    // Ok, the number of the request.
    assert_eq!(answer[0], 0);
    postcard::from_bytes(&answer[2..]).unwrap()
}
