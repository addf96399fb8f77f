//! Acceptance and the spool, on real directories.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::super::chip::SectionScratch;
use super::super::testing::{ApplicationPieces, SectionPieces, file, record};
use super::super::{FileFault, PIECE, PIECE_TAG, Spool};
use super::*;
use crate::exit::Exit;
use crate::ids::SpoolKeyName;
use zeroize::Zeroizing;

/// Counts the calls, and refuses what a test sets.
#[derive(Default)]
struct AskedChecks {
    records: u32,
    chips: u32,
    trailer: Vec<u8>,
    refuse_header: bool,
    refuse_record: Option<u32>,
    refuse_trailer: bool,
    found: Option<FileError>,
}

impl AcceptanceChecks for AskedChecks {
    fn header(&mut self, _: &Header) -> Result<(), Failure> {
        if self.refuse_header { Err(Failure::new(Exit::FileSeen, "seen")) } else { Ok(()) }
    }

    fn record(&mut self, frame: &Frame<'_>) -> bool {
        self.records += 1;
        match frame.applications(&mut SectionScratch::default()) {
            Ok(applications) => self.chips += u32::from(!applications.is_empty()),
            Err(error) => self.found = Some(error),
        }
        if self.refuse_record == Some(frame.sequence) {
            let fault = FileFault::Refused(Failure::new(Exit::FileProfile, "no module for X"));
            self.found = Some(FileError { record: Some(frame.sequence), offset: frame.offset, fault });
        }
        self.found.is_none()
    }

    fn records(&mut self) -> Result<(), FileError> {
        self.found.take().map_or(Ok(()), Err)
    }

    fn trailer(&mut self, _: &Header, _: &Trailer, body: &[u8]) -> Result<(), Failure> {
        self.trailer = body.to_vec();
        if self.refuse_trailer { Err(Failure::new(Exit::FileMac, "mac")) } else { Ok(()) }
    }
}

struct SpoolPlace {
    _directory: TempDir,
    input: PathBuf,
    spool: PathBuf,
}

fn place(bytes: &[u8]) -> SpoolPlace {
    let directory = tempfile::tempdir().unwrap();
    let input = directory.path().join("in.cwf");
    fs::write(&input, bytes).unwrap();
    let spool = directory.path().join("spool/job-1.cwf");
    SpoolPlace { _directory: directory, input, spool }
}

fn good() -> Vec<u8> {
    let chip = SectionPieces::new(&[ApplicationPieces::default()]).bytes();
    file(&[record(1, "CARD-1", &[("EMB", b"e"), ("CHP", &chip)]), record(2, "CARD-2", &[("EMB", b"f")])])
}

/// Seals nothing, but its tags depend on piece, position and key, and a search for clear bytes finds none.
struct FakeSealer {
    name: u8,
    gone: bool,
}

impl FakeSealer {
    fn new(name: u8) -> Self {
        Self { name, gone: false }
    }

    fn there(&self) -> Result<(), Failure> {
        if self.gone { Err(Failure::new(Exit::KeyStore, "no key")) } else { Ok(()) }
    }

    fn tag(&self, number: u64, piece: &[u8]) -> Vec<u8> {
        Sha256::new_with_prefix([self.name]).chain_update(number.to_be_bytes()).chain_update(piece).finalize()
            [..PIECE_TAG]
            .to_vec()
    }
}

impl Sealer for FakeSealer {
    fn name(&self) -> SpoolKeyName {
        SpoolKeyName([self.name; 16])
    }

    fn seal(&mut self, first: u64, clear: &[u8]) -> Result<Vec<u8>, Failure> {
        self.there()?;
        let piece = |(piece, number): (&[u8], u64)| {
            let hidden: Vec<u8> = piece.iter().map(|byte| byte ^ 0xA5).collect();
            [hidden.clone(), self.tag(number, &hidden)].concat()
        };
        Ok(clear.chunks(PIECE).zip(first..).flat_map(piece).collect())
    }

    fn unseal(&mut self, first: u64, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>, Failure> {
        self.there()?;
        let mut clear = Zeroizing::new(Vec::new());
        for (piece, number) in sealed.chunks(PIECE + PIECE_TAG).zip(first..) {
            let (hidden, tag) = piece.split_last_chunk::<PIECE_TAG>().unwrap();
            if self.tag(number, hidden) != tag {
                return Err(Failure::new(Exit::FileDigest, "damaged"));
            }
            clear.extend(hidden.iter().map(|byte| byte ^ 0xA5));
        }
        Ok(clear)
    }
}

fn open(place: &SpoolPlace, digest: &[u8; 32]) -> Result<Spool, FileError> {
    Spool::open(&place.spool, digest, Some(Box::new(FakeSealer::new(1))))
}

fn files(place: &SpoolPlace) -> Vec<String> {
    let directory = place.spool.parent().unwrap();
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

fn refused(place: &SpoolPlace, ask: &mut AskedChecks) -> FileError {
    let accepted = open_input(&place.input)
        .and_then(|input| accept(input, &place.spool, FileLimits::default(), ask, &mut FakeSealer::new(1)));
    let error = accepted.err().unwrap();
    assert_eq!(files(place), Vec::<String>::new(), "something of the spool remains");
    error
}

#[test]
fn an_accepted_file_lies_in_the_spool_closed_to_others() {
    let (bytes, mut ask) = (good(), AskedChecks::default());
    let place = place(&bytes);
    let accepted = accept(
        open_input(&place.input).unwrap(),
        &place.spool,
        FileLimits::default(),
        &mut ask,
        &mut FakeSealer::new(1),
    )
    .unwrap();
    let at_rest = fs::read(&place.spool).unwrap();
    for clear in bytes.windows(6) {
        assert!(!at_rest.windows(6).any(|window| window == clear), "something lies there in the clear");
    }
    assert_eq!(files(&place), ["job-1.cwf"]);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&place.spool), 0o600);
    assert_eq!(mode(place.spool.parent().unwrap()), 0o700);
    assert_eq!(accepted.digest[..], Sha256::digest(&bytes)[..]);
    assert_eq!(accepted.length, bytes.len() as u64);
    assert_eq!(accepted.cards.iter().collect::<Vec<_>>(), ["CARD-1", "CARD-2"]);
    assert_eq!((ask.records, ask.chips), (2, 1));
    assert!(bytes.windows(ask.trailer.len()).any(|window| window == ask.trailer));
}

#[test]
fn a_file_refused_at_any_point_leaves_nothing_behind() {
    let bytes = good();
    let fault = |ask: &mut AskedChecks| refused(&place(&bytes), ask);
    let error = fault(&mut AskedChecks { refuse_header: true, ..AskedChecks::default() });
    assert_eq!((error.exit(), Failure::from(error).message.as_str()), (Exit::FileSeen, "seen"));
    let error = fault(&mut AskedChecks { refuse_record: Some(2), ..AskedChecks::default() });
    assert_eq!((error.exit(), error.record), (Exit::FileProfile, Some(2)));
    let start = format!("no module for X (record 2, byte {}); ", error.offset);
    assert!(Failure::from(error).message.starts_with(&start));
    let error = fault(&mut AskedChecks { refuse_trailer: true, ..AskedChecks::default() });
    assert_eq!(error.exit(), Exit::FileMac);
    for length in [0, 20, bytes.len() / 2, bytes.len() - 1] {
        let error = refused(&place(&bytes[..length]), &mut AskedChecks::default());
        assert!(matches!(error.fault, FileFault::Truncated));
    }
}

#[test]
fn the_trailer_is_not_asked_about_before_the_digest_is_right() {
    let mut bytes = good();
    let at = bytes.len() - 130;
    bytes[at] ^= 1;
    let mut ask = AskedChecks::default();
    let error = refused(&place(&bytes), &mut ask);
    assert_eq!(error.exit(), Exit::FileDigest);
    assert!(ask.trailer.is_empty());
}

#[test]
fn a_malformed_chip_section_is_refused_with_its_place_in_the_file() {
    let chip = SectionPieces { vnl: b"02.1".to_vec(), ..SectionPieces::new(&[ApplicationPieces::default()]) }
        .bytes();
    let bytes = file(&[record(1, "CARD-1", &[("EMB", b"e"), ("CHP", &chip)])]);
    let error = refused(&place(&bytes), &mut AskedChecks::default());
    let at = bytes.windows(4).position(|window| window == b"02.1").unwrap();
    assert_eq!((error.record, error.offset, error.exit()), (Some(1), at as u64, Exit::FileFormat));
}

#[test]
fn a_crn_other_than_the_card_ref_is_refused() {
    for (crn, right) in [("CARD-1", true), ("CARD-2", false)] {
        let chip =
            SectionPieces { crn: crn.into(), ..SectionPieces::new(&[ApplicationPieces::default()]) }.bytes();
        let place = place(&file(&[record(1, "CARD-1", &[("CHP", &chip)])]));
        let accepted = accept(
            open_input(&place.input).unwrap(),
            &place.spool,
            FileLimits::default(),
            &mut AskedChecks::default(),
            &mut FakeSealer::new(1),
        );
        assert_eq!(accepted.is_ok(), right, "{crn}");
    }
}

#[test]
fn an_accepted_file_is_never_overwritten() {
    let place = place(&good());
    accept(
        open_input(&place.input).unwrap(),
        &place.spool,
        FileLimits::default(),
        &mut AskedChecks::default(),
        &mut FakeSealer::new(1),
    )
    .unwrap();
    let other = file(&[record(1, "OTHER", &[("EMB", b"e")])]);
    fs::write(&place.input, other).unwrap();
    let error = accept(
        open_input(&place.input).unwrap(),
        &place.spool,
        FileLimits::default(),
        &mut AskedChecks::default(),
        &mut FakeSealer::new(1),
    )
    .err()
    .unwrap();
    assert_eq!(error.exit(), Exit::Io);
    assert_eq!(files(&place), ["job-1.cwf"]);
    let digest: [u8; 32] = Sha256::digest(good()).into();
    assert!(open(&place, &digest).is_ok());
}

#[test]
fn a_spool_directory_open_to_others_is_refused() {
    let place = place(&good());
    let directory = place.spool.parent().unwrap();
    fs::create_dir(directory).unwrap();
    fs::set_permissions(directory, fs::Permissions::from_mode(0o750)).unwrap();
    let error = refused(&place, &mut AskedChecks::default());
    assert!(error.to_string().contains("0700"), "{error}");
}

#[test]
fn what_is_no_file_or_not_there_is_io() {
    let mut place = place(&good());
    place.input = place.input.with_extension("missing");
    assert_eq!(refused(&place, &mut AskedChecks::default()).exit(), Exit::Io);
    let directory = place.input.parent().unwrap().to_owned();
    let pipe = directory.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    // Neither open waits for a writer of the pipe.
    for (input, what) in [(directory, "it is a directory"), (pipe, "no regular file but a pipe")] {
        place.input = input;
        let error = refused(&place, &mut AskedChecks::default());
        assert!(error.exit() == Exit::Io && error.to_string().contains(what), "{error}");
    }
}

fn accepted() -> (SpoolPlace, AcceptedFile) {
    let place = place(&good());
    let accepted = accept(
        open_input(&place.input).unwrap(),
        &place.spool,
        FileLimits::default(),
        &mut AskedChecks::default(),
        &mut FakeSealer::new(1),
    )
    .unwrap();
    (place, accepted)
}

#[test]
fn the_spool_gives_every_record_in_any_order() {
    let (place, accepted) = accepted();
    let mut spool = open(&place, &accepted.digest).unwrap();
    assert_eq!((spool.header(), spool.trailer()), (&accepted.header, &accepted.trailer));
    for sequence in [2, 1, 2] {
        let record = spool.read(sequence).unwrap();
        assert_eq!(record.sequence, sequence);
        assert_eq!(record.card_ref.as_str(), format!("CARD-{sequence}"));
    }
    for sequence in [0, 3] {
        assert!(matches!(spool.read(sequence).err().unwrap().fault, FileFault::NoSuchRecord));
    }
}

#[test]
fn a_spool_with_another_digest_does_not_open() {
    let (place, accepted) = accepted();
    let mut digest = accepted.digest;
    digest[31] ^= 1;
    assert!(matches!(open(&place, &digest).err().unwrap().fault, FileFault::Spool));
    // Another right file in its place, in the clear and sealed with another key.
    let other = file(&[record(1, "OTHER", &[("EMB", b"e")])]);
    fs::write(&place.spool, &other).unwrap();
    assert!(matches!(open(&place, &accepted.digest).err().unwrap().fault, FileFault::Spool));
    fs::remove_file(&place.spool).unwrap();
    accept(
        open_input(&place.input).unwrap(),
        &place.spool,
        FileLimits::default(),
        &mut AskedChecks::default(),
        &mut FakeSealer::new(2),
    )
    .unwrap();
    assert!(matches!(open(&place, &accepted.digest).err().unwrap().fault, FileFault::Spool));
}

#[test]
fn a_spool_damaged_anywhere_does_not_open() {
    let (place, accepted) = accepted();
    let good = fs::read(&place.spool).unwrap();
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&place.spool, &bad).unwrap();
        let error = open(&place, &accepted.digest).err().unwrap();
        assert!(matches!(error.fault, FileFault::Spool), "{at}: {error}");
        fs::write(&place.spool, &good[..at]).unwrap();
        let error = open(&place, &accepted.digest).err().unwrap();
        assert!(matches!(error.fault, FileFault::Spool), "cut at {at}: {error}");
    }
    fs::write(&place.spool, [&good[..], &[0; 20]].concat()).unwrap();
    assert!(matches!(open(&place, &accepted.digest).err().unwrap().fault, FileFault::Spool));
}

/// A file larger than one batch, with records across several pieces and several records in one piece.
#[test]
fn a_large_spool_gives_what_was_accepted() {
    let sizes = [1, 100, 4096, 300_000, 5, 9000, 70_000, 4050, 1, 2];
    let data: Vec<Vec<u8>> =
        sizes.iter().map(|n| (0u32..*n).map(|i| i.wrapping_mul(*n).to_le_bytes()[1]).collect()).collect();
    let records: Vec<_> = data
        .iter()
        .zip(1u32..)
        .map(|(data, n)| record(n, &format!("CARD-{n}"), &[("EMB", data.as_slice())]))
        .collect();
    let bytes = file(&records);
    let place = place(&bytes);
    let accepted = accept(
        open_input(&place.input).unwrap(),
        &place.spool,
        FileLimits::default(),
        &mut AskedChecks::default(),
        &mut FakeSealer::new(1),
    )
    .unwrap();
    let mut spool = open(&place, &accepted.digest).unwrap();
    for sequence in [10, 1, 4, 4, 7, 2, 3, 10, 8, 5, 6, 9] {
        let read = spool.read(sequence).unwrap();
        assert!(read.section("EMB").unwrap() == data[sequence as usize - 1], "record {sequence}");
    }
    // Whole pieces that changed places.
    let good = fs::read(&place.spool).unwrap();
    let piece = |n: usize| 21 + n * 4112..21 + (n + 1) * 4112;
    let swapped = [&good[..21], &good[piece(1)], &good[piece(0)], &good[piece(1).end..]].concat();
    fs::write(&place.spool, swapped).unwrap();
    assert!(matches!(open(&place, &accepted.digest).err().unwrap().fault, FileFault::Spool));
}

#[test]
fn a_spool_from_before_they_were_sealed_is_read() {
    let (bytes, place) = (good(), place(&good()));
    let digest: [u8; 32] = Sha256::digest(&bytes).into();
    let mut spool = Spool::open(&place.input, &digest, None).unwrap();
    assert_eq!(spool.read(2).unwrap().card_ref.as_str(), "CARD-2");
    // It is not mistaken for a sealed one.
    let sealed = Spool::open(&place.input, &digest, Some(Box::new(FakeSealer::new(1))));
    assert!(matches!(sealed.err().unwrap().fault, FileFault::Spool));
}

#[test]
fn a_key_that_is_not_there_is_told_in_its_own_words() {
    let (place, accepted) = accepted();
    let without = FakeSealer { gone: true, ..FakeSealer::new(1) };
    let error = Spool::open(&place.spool, &accepted.digest, Some(Box::new(without))).err().unwrap();
    assert_eq!((error.exit(), error.to_string().as_str()), (Exit::KeyStore, "no key"));
    fs::remove_file(&place.spool).unwrap();
    let mut without = FakeSealer { gone: true, ..FakeSealer::new(1) };
    let error = accept(
        open_input(&place.input).unwrap(),
        &place.spool,
        FileLimits::default(),
        &mut AskedChecks::default(),
        &mut without,
    );
    let error = error.err().unwrap();
    assert_eq!((error.exit(), error.to_string().as_str()), (Exit::KeyStore, "no key"));
    assert_eq!(files(&place), Vec::<String>::new());
}

/// Two files that differ in one byte of the first record; the piece that is read last does not hold that record.
#[test]
fn a_record_changed_in_the_open_spool_is_not_used() {
    let large = vec![0x20; 300_000];
    let with = |last: &str| {
        let records = [record(1, last, &[("EMB", b"e")]), record(2, "CARD-2", &[("EMB", &large)])];
        place(&file(&records))
    };
    let accepted = |place: &SpoolPlace| {
        accept(
            open_input(&place.input).unwrap(),
            &place.spool,
            FileLimits::default(),
            &mut AskedChecks::default(),
            &mut FakeSealer::new(1),
        )
        .unwrap()
    };
    let (right, wrong) = (with("CARD-1"), with("CARD-3"));
    let digest = accepted(&right).digest;
    accepted(&wrong);
    let good = fs::read(&right.spool).unwrap();
    let mut damaged = good.clone();
    damaged[100] ^= 1;
    // Also where the right key sealed the wrong bytes.
    for bytes in [damaged, fs::read(&wrong.spool).unwrap()] {
        fs::write(&right.spool, &good).unwrap();
        let mut spool = open(&right, &digest).unwrap();
        fs::write(&right.spool, &bytes).unwrap();
        let error = spool.read(1).err().unwrap();
        assert!(matches!(error.fault, FileFault::Spool), "{error}");
        assert_eq!((error.record, error.exit()), (Some(1), Exit::FileDigest));
    }
}

#[test]
fn a_spool_moves_between_threads() {
    fn is_send<T: Send>() {}
    is_send::<Spool>();
}
