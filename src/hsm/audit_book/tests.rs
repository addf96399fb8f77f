//! The audit book of a host and in the store; books of earlier versions. All ledgers are made up.

use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::audit::Checkpoint;
use crate::files;
use crate::hsm::companion::tests::seal;
use crate::hsm::memory::tests::event;

const A: LedgerId = LedgerId([0xA; 16]);
const B: LedgerId = LedgerId([0xB; 16]);

/// The book of a new store in this folder.
fn made(folder: &tempfile::TempDir) -> AuditBook {
    let seal = seal(folder.path(), 1);
    StoredAuditBook::of(&seal).make().unwrap();
    AuditBook::of_host(&seal).unwrap()
}

fn place(ledger: LedgerId, n: u64, hash: u8) -> ChainPlace {
    ChainPlace { ledger, n, hash: [hash; 32] }
}

/// A ledger that is shown to the book, an event at a time.
struct ToldLedger<'a> {
    book: &'a AuditBook,
    place: ChainPlace,
    connection: ConnectionNumber,
}

impl<'a> ToldLedger<'a> {
    fn follow(book: &'a AuditBook, ledger: LedgerId, connection: ConnectionNumber) -> Self {
        let place = book
            .follow(Following { ledger, laws: LAWS, signed: None, last: None }, connection)
            .unwrap()
            .place;
        Self { book, place, connection }
    }

    fn tell(&mut self) -> Result<Checkpoint, HsmError> {
        let shown = ShownEvents { after: self.place, events: vec![event(self.place.n + 1)], sign: true };
        let now = self.book.show(shown, self.connection, |_, _| Vec::new())?;
        self.place = now.0.place;
        Ok(now.0.signed.unwrap())
    }
}

#[test]
fn a_ledger_only_goes_forward() {
    let directory = tempfile::tempdir().unwrap();
    let book = made(&directory);
    let before = book.info(A).unwrap();
    assert_eq!((before.head, before.generation), (None, 0));
    let mut told = ToldLedger::follow(&book, A, 1);
    for generation in 1..=3 {
        let signed = told.tell().unwrap();
        assert!(signed.is_genuine() && signed.key == before.key && signed.generation == generation);
    }
    let last = told.place;
    for other in
        [ChainPlace { n: 2, ..last }, ChainPlace { hash: [2; 32], ..last }, place(A, 0, 0), place(A, 9, 1)]
    {
        let refused = ToldLedger { place: other, ..told }.tell();
        assert!(matches!(refused, Err(HsmError::NotFollowed(FollowRefusal::OtherPlace { .. }))), "{other:?}");
    }
    assert_eq!(
        ToldLedger::follow(&book, B, 2).tell().unwrap().generation,
        4,
        "another ledger begins at its own"
    );
    let reader = AuditBook::to_read(&seal(directory.path(), 1)).unwrap();
    assert_eq!(reader.info(A).unwrap().head, Some(last), "beside its host");
    assert!(reader.follow(Following { ledger: A, laws: LAWS, signed: None, last: None }, 3).is_err());
    drop(book);
    let again = AuditBook::of_host(&seal(directory.path(), 1)).unwrap().info(A).unwrap();
    assert_eq!((again.head, again.signed, again.generation), (Some(last), Some(last), 4));
    assert_eq!(again.key, before.key);
    for file in ["audit", "memory-0", "journal-0", "chips"] {
        let mode = std::fs::metadata(directory.path().join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
}

#[test]
fn it_is_made_with_the_store_and_never_anew() {
    let directory = tempfile::tempdir().unwrap();
    let missing = AuditBook::of_host(&seal(directory.path(), 1)).err();
    assert!(missing.is_some_and(|failure| failure.message.contains("missing")));
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 0);
    drop(made(&directory));
    for file in ["audit", "memory-0", "journal-0", "chips"] {
        let path = directory.path().join(file);
        let kept = std::fs::read(&path).unwrap();
        std::fs::remove_file(&path).unwrap();
        let stored = StoredAuditBook::of(&seal(directory.path(), 1));
        assert!(matches!(stored.check(), Err(HsmError::Book(why)) if why.contains("missing")), "{file}");
        let refused = AuditBook::of_host(&seal(directory.path(), 1)).err();
        assert!(refused.is_some_and(|failure| failure.message.contains("missing")), "{file}");
        assert!(!path.exists());
        files::write_private(&path, &kept).unwrap();
        stored.check().unwrap();
    }
}

#[test]
fn a_file_goes_into_one_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let book = made(&directory);
    book.note([[1; 32], [2; 32]], 5, A).unwrap();
    let length = || std::fs::metadata(directory.path().join("journal-0")).unwrap().len();
    let before = length();
    book.note([[1; 32], [2; 32]], 5, A).unwrap();
    assert_eq!(length(), before);
    for names in [[[1; 32], [9; 32]], [[9; 32], [2; 32]]] {
        assert!(matches!(book.note(names, 5, B), Err(HsmError::FileElsewhere(A))));
    }
    book.note([[9; 32], [8; 32]], 5, B).unwrap();
    drop(book);
    let again = AuditBook::of_host(&seal(directory.path(), 1)).unwrap();
    assert!(matches!(again.note([[9; 32], [7; 32]], 5, A), Err(HsmError::FileElsewhere(B))));
}

/// Many connections at once: each gets the answer to its own question, and all of them are remembered.
#[test]
fn what_all_connections_asked_is_remembered() {
    let directory = tempfile::tempdir().unwrap();
    let book = made(&directory);
    std::thread::scope(|scope| {
        for ledger in 1..=8 {
            let book = &book;
            scope.spawn(move || {
                let mut told = ToldLedger::follow(book, LedgerId([ledger; 16]), ledger.into());
                for n in 1..=50 {
                    let signed = told.tell().unwrap();
                    assert!(signed.is_genuine() && signed.place == told.place && signed.place.n == n);
                }
            });
        }
    });
    drop(book);
    let again = AuditBook::of_host(&seal(directory.path(), 1)).unwrap();
    for ledger in 1..=8 {
        let ledger = LedgerId([ledger; 16]);
        assert_eq!(again.info(ledger).unwrap().head.unwrap().n, 50);
    }
    assert_eq!(again.info(A).unwrap().generation, 400);
}

#[test]
fn a_damaged_book_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let book = made(&directory);
    ToldLedger::follow(&book, A, 1).tell().unwrap();
    book.note([[1; 32], [2; 32]], 5, A).unwrap();
    drop(book);
    let stored = StoredAuditBook::of(&seal(directory.path(), 1));
    for file in ["audit", "memory-0", "chips", "journal-0"] {
        let path = directory.path().join(file);
        let good = std::fs::read(&path).unwrap();
        for at in (0..good.len()).step_by(7) {
            let mut bad = good.clone();
            bad[at] ^= 1;
            std::fs::write(&path, &bad).unwrap();
            assert!(matches!(stored.check(), Err(HsmError::Book(_))), "{file} {at}");
        }
        std::fs::write(&path, &good).unwrap();
        stored.check().unwrap();
    }
    let path = directory.path().join("audit");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(matches!(stored.check(), Err(HsmError::Book(_))));
}

/// The text of an earlier version, with two ledgers and a file.
fn earlier() -> String {
    format!(
        "{FIRST}\ngeneration 41\nseed {}\nhead {A} 7 {}\nhead {B} 9 {}\nfile {} {A}\nfile {} {A}\n",
        "07".repeat(32),
        "01".repeat(32),
        "02".repeat(32),
        "03".repeat(32),
        "04".repeat(32)
    )
}

#[test]
fn a_book_of_an_earlier_version_is_taken_over() {
    let directory = tempfile::tempdir().unwrap();
    let seal = seal(directory.path(), 1);
    let file = CompanionFile::in_store(&seal, CompanionKind::Audit);
    file.write(Zeroizing::new(earlier())).unwrap();
    let stored = StoredAuditBook::of(&seal);
    // Who only reads changes nothing.
    stored.check().unwrap();
    assert_eq!(stored.places().unwrap(), [place(A, 7, 1), place(B, 9, 2)]);
    assert_eq!(stored.text().unwrap().as_str(), earlier());
    assert_eq!(AuditBook::to_read(&seal).unwrap().info(A).unwrap().head, Some(place(A, 7, 1)));
    assert!(!directory.path().join("memory-0").exists());
    let whole = std::fs::read(directory.path().join("audit")).unwrap();
    // Killed after each file that is made: the next host begins where nothing is lost.
    for killed in 0..4 {
        for name in ["memory-0", "journal-0", "chips"] {
            let _ = std::fs::remove_file(directory.path().join(name));
        }
        std::fs::write(directory.path().join("audit"), &whole).unwrap();
        stored.take_over().unwrap();
        let left = ["chips", "journal-0", "memory-0"].into_iter().skip(killed);
        left.for_each(|name| std::fs::remove_file(directory.path().join(name)).unwrap());
        std::fs::write(directory.path().join("audit"), &whole).unwrap();
        let book = AuditBook::of_host(&seal).unwrap();
        assert!(file.read().unwrap().unwrap().starts_with(SECOND));
        let info = book.info(B).unwrap();
        assert_eq!((info.head, info.generation), (Some(place(B, 9, 2)), 41), "{killed}");
        assert_eq!(info.key, AuditKey::from_seed(&[7; 32]).public());
        assert!(matches!(book.note([[5; 32], [4; 32]], 5, B), Err(HsmError::FileElsewhere(A))));
        let new = LedgerId([0xC; 16]);
        assert_eq!(ToldLedger::follow(&book, new, 1).tell().unwrap().generation, 42);
        drop(book);
        // The first form, put back, counts no more.
        std::fs::write(directory.path().join("audit"), &whole).unwrap();
        let book = AuditBook::of_host(&seal).unwrap();
        assert_eq!(book.info(new).unwrap().head.unwrap().n, 1);
        assert_eq!(book.info(A).unwrap().head, Some(place(A, 7, 1)));
    }
}
