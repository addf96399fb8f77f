//! Stores that custodians open, with the stores that another program made, and copies of stores.

use super::*;

/// Gives the custodians' passphrases of the vector, which are right, to a LIVE store.
fn given(folder: &Path, names: &[&str]) -> Collecting {
    let mut collecting = LockedStore::to_read(folder).unwrap().collect();
    for name in names {
        let passphrase = format!("six words of {name} by dice");
        assert_eq!(collecting.give(name, passphrase.as_bytes()).unwrap(), Given::Right);
    }
    collecting
}

#[test]
fn a_live_store_made_by_another_program_opens_by_each_two_of_three() {
    let folder = put(&vector(["live", "keys"]), 3);
    std::fs::write(folder.path().join("spools"), vector(["companion", "file"])).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("spools"), private).unwrap();
    for names in [["anna", "ben"], ["carla", "anna"], ["ben", "carla"]] {
        let open = given(folder.path(), &names).open().unwrap();
        let store = open.keys();
        assert_eq!((store.realm(), store.side(), store.generation()), (Realm::Live, StoreSide::Bureau, 3));
        assert_eq!(open.custody().unwrap(), "2 of anna, ben, carla");
        assert_eq!(open.by(), names);
        let kmc = store.kmc(KmcRef::parse("FFFFFF476173:1").unwrap()).unwrap();
        assert_eq!(kmc.kcv().to_string(), "B82EC5");
        assert_eq!(**store.body.write().unwrap(), *vector(["live", "body"]), "written as it was read");
        let spools = CompanionFile::in_store(store.companions(), CompanionKind::Spools).read().unwrap();
        assert_eq!(spools.unwrap().as_str(), "cardwright spool keys 1\n");
        assert!(store.companion_text(CompanionKind::Spools).is_err(), "LIVE shows nothing");
    }
}

#[test]
fn one_custodian_or_the_same_twice_does_not_open_a_store() {
    let folder = put(&vector(["live", "keys"]), 3);
    let failure = |result: Result<OpenStore, Failure>| result.err().unwrap();
    assert_eq!(failure(given(folder.path(), &[]).open()).exit, Exit::Custody);
    assert_eq!(failure(given(folder.path(), &["anna"]).open()).exit, Exit::Custody);
    let mut one = given(folder.path(), &["anna"]);
    assert_eq!(one.next(), Some(2));
    let twice = one.give("anna", b"six words of anna by dice").err().unwrap();
    assert!(twice.message.contains("anna was asked already"), "{twice}");
    assert!(one.refuse_name("dora").unwrap().contains("anna, ben, carla"));
    assert_eq!(failure(one.open()).exit, Exit::Custody);
    assert_eq!(failure(LockedStore::to_read(folder.path()).unwrap().open_test()).exit, Exit::Custody);
}

#[test]
fn a_wrong_passphrase_names_its_custodian_and_waits_and_the_fifth_ends_it() {
    let folder = put(&vector(["live", "keys"]), 3);
    let mut collecting = LockedStore::to_read(folder.path()).unwrap().collect();
    let wrong = |seconds| Given::Wrong(std::time::Duration::from_secs(seconds));
    let ben = b"six words of ben by dice";
    for (name, seconds) in [("anna", 1), ("ben", 2), ("anna", 4), ("anna", 8)] {
        let mut other = ben.to_vec();
        other[0] ^= 1;
        assert_eq!(collecting.give(name, &other).unwrap(), wrong(seconds));
    }
    assert_eq!(collecting.give("ben", ben).unwrap(), Given::Right);
    let last = collecting.give("anna", ben).err().unwrap();
    assert_eq!(last.exit, Exit::Custody);
    assert!(last.message.contains("five wrong passphrases (anna 4, ben 1): nothing was changed"), "{last}");
}

/// An act has the names of those who did it, and what they typed wrong; shares stay as they are but for a change of custodians.
#[test]
fn old_passphrases_do_not_open_after_a_change_and_an_old_copy_does() {
    let folder = put(&vector(["live", "keys"]), 3);
    let copy = std::fs::File::open(folder.path().join("keys")).unwrap();
    let mut first = given(folder.path(), &["anna"]);
    first.give("ben", b"wrong").unwrap();
    first.give("ben", b"six words of ben by dice").unwrap();
    let mut open = first.open().unwrap();
    let mut new = NewCustodians::new(&["dora".into(), "emil".into()], 2).unwrap();
    for words in ["the new passphrase of dora", "the new passphrase of emil"] {
        new.choose(words.as_bytes()).unwrap();
    }
    open.set_custodians(&new).unwrap();
    drop(open);
    let zeros = std::io::read_to_string(copy).unwrap();
    assert!(!zeros.is_empty() && zeros.bytes().all(|byte| byte == 0), "the old file is wiped");
    let mut old = LockedStore::to_read(folder.path()).unwrap().collect();
    assert!(old.refuse_name("anna").unwrap().contains("dora, emil"));
    old.give("dora", b"the new passphrase of dora").unwrap();
    old.give("emil", b"the new passphrase of emil").unwrap();
    let open = old.open().unwrap();
    let act = open.keys().acts().last().unwrap();
    assert_eq!((act.kind, act.by.join(" ").as_str()), (ActKind::Custodians, "anna ben"));
    assert_eq!(act.note, "2 of dora, emil; wrong passphrases before: ben 1");
    assert_eq!(open.keys().generation(), 4);
    assert_eq!(open.keys().entries().len(), 1, "the keys are the same");
    drop(open);
    let before = put(&vector(["live", "keys"]), 3);
    given(before.path(), &["anna", "carla"]).open().unwrap();
}

#[test]
fn a_key_that_was_destroyed_stays_as_a_mark() {
    let folder = put(&vector(["live", "keys"]), 3);
    let mut open = given(folder.path(), &["anna", "ben"]).open().unwrap();
    assert_eq!(open.destroy("kmc-2").err().unwrap().exit, Exit::KeyUnknown);
    let gone = open.destroy("kmc-1").unwrap();
    assert_eq!((gone.usage, gone.kcv.1.to_string().as_str()), (KeyUsage::Kmc, "B82EC5"));
    drop(open);
    let open = given(folder.path(), &["anna", "ben"]).open().unwrap();
    assert_eq!((open.keys().entries().len(), open.keys().gone().len()), (0, 2));
    let act = open.keys().acts().last().unwrap();
    assert_eq!((act.kind, act.label.as_str(), act.by.len()), (ActKind::Destroyed, "kmc-1", 2));
    // Its value, the same key with another parity bit, and another key.
    assert!(open.keys().body.is_gone(&hex::decode("F4CD4AE93E02D9C80D7C7F7391FE49AB").unwrap()));
    assert!(open.keys().body.is_gone(&hex::decode("F4CD4AE93E02D9C90D7C7F7391FE49AB").unwrap()));
    assert!(!open.keys().body.is_gone(&hex::decode("F4CD4AE93E02D9CB0D7C7F7391FE49AB").unwrap()));
}

#[test]
fn a_value_that_another_key_has_is_destroyed_under_one_name_alone() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let list = include_str!("../../../../tests/data/keys-issuer.toml");
    drop(KeyStore::create_test(list, &path, StoreSide::Issuer).unwrap());
    LockedStore::to_change(&path).unwrap().open_test().unwrap().destroy("imk-ac").unwrap();
    let store = KeyStore::open(&path).unwrap();
    let labels: Vec<_> = store.entries().iter().map(SecretEntry::label).collect();
    assert!(labels.contains(&"cvk") && labels.contains(&"pvk") && !labels.contains(&"imk-ac"), "{labels:?}");
}

#[test]
fn a_hard_linked_backup_survives_a_destruction() {
    let folder = put(&vector(["live", "keys"]), 3);
    let kept = tempfile::tempdir().unwrap();
    std::fs::hard_link(folder.path().join("keys"), kept.path().join("keys")).unwrap();
    given(folder.path(), &["anna", "ben"]).open().unwrap().destroy("kmc-1").unwrap();
    assert_eq!(std::fs::read(kept.path().join("keys")).unwrap(), vector(["live", "keys"]));
}

#[test]
fn a_live_store_is_made_without_keys_and_opens_by_its_custodians() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let mut new = NewCustodians::new(&["anna".into(), "ben".into()], 2).unwrap();
    assert!(new.choose(b"too short").is_err());
    for name in ["anna", "ben"] {
        assert_eq!(new.next(), Some(name));
        new.choose(format!("six words of {name} by dice").as_bytes()).unwrap();
    }
    drop(KeyStore::create_live(&path, StoreSide::Bureau, &new).unwrap());
    let mut open = given(&path, &["anna", "ben"]).open().unwrap();
    let [act] = open.keys().acts() else { panic!() };
    assert_eq!(
        (act.kind, act.by.join(" ").as_str(), act.note.as_str()),
        (ActKind::Made, "anna ben", "2 of anna, ben")
    );
    open.keys().check_companions().unwrap();
    let recipient = open.recipient().unwrap();
    assert_eq!(open.recipient().unwrap(), recipient);
    drop(open);
    assert!(KeyStore::open(&path).err().unwrap().message.contains("it is LIVE"));
    assert!(LockedStore::to_change(&path).unwrap().custodians() == ["anna", "ben"]);
    assert!(
        KeyStore::create_live(&path, StoreSide::Bureau, &new).err().unwrap().message.contains("not replaced")
    );
}

#[test]
fn a_folder_above_that_others_may_write_is_refused_for_live() {
    let above = tempfile::tempdir().unwrap();
    let inner = above.path().join("inner");
    std::fs::create_dir(&inner).unwrap();
    let mut new = NewCustodians::new(&["anna".into(), "ben".into()], 2).unwrap();
    new.choose(b"six words of anna by dice").unwrap();
    new.choose(b"six words of ben by dice").unwrap();
    let mode = |mode| {
        std::fs::set_permissions(above.path(), std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap()
    };
    let make = |name: &str| KeyStore::create_live(&inner.join(name), StoreSide::Issuer, &new).map(drop);
    make("good").unwrap();
    mode(0o777);
    let said = make("bad").err().unwrap().message;
    assert!(said.contains("others may write the folder"), "{said}");
    let said = LockedStore::to_read(&inner.join("good")).err().unwrap().message;
    assert!(said.contains("others may write the folder"), "{said}");
    KeyStore::create_test(GOOD, &inner.join("test"), StoreSide::Issuer).unwrap();
    mode(0o1777);
    make("sticky").unwrap();
    mode(0o700);
    // The folder to which a link leads, and each folder with a link on the way there, is above the store too.
    let others = tempfile::tempdir().unwrap();
    let link = |name: &str, to: &Path| std::os::unix::fs::symlink(to, above.path().join(name)).unwrap();
    std::os::unix::fs::symlink(&inner, others.path().join("turn")).unwrap();
    link("straight", &inner);
    link("detour", &others.path().join("turn"));
    link("circle", &above.path().join("circle"));
    let make = |way: &str| KeyStore::create_live(&above.path().join(way), StoreSide::Issuer, &new).map(drop);
    make("straight/one").unwrap();
    make("detour/two").unwrap();
    std::fs::set_permissions(others.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let said = make("detour/three").err().unwrap().message;
    assert!(said.contains("others may write the folder"), "{said}");
    make("straight/four").unwrap();
    assert!(make("circle/five").is_err());
}

#[test]
fn a_backup_restores_and_is_never_changed() {
    let folder = put(&vector(["live", "keys"]), 3);
    std::fs::write(folder.path().join("spools"), vector(["companion", "file"])).unwrap();
    let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(folder.path().join("spools"), private).unwrap();
    let opened = given(folder.path(), &["anna", "ben"]).open().unwrap();
    audit_book(StoreSide::Bureau, opened.keys().companions()).unwrap();
    drop(opened);
    let place = tempfile::tempdir().unwrap();
    let (backup, store) = (place.path().join("backup"), place.path().join("store"));
    // A backup needs no lock.
    let busy = LockedStore::to_change(folder.path()).unwrap();
    let made = back_up(folder.path(), &backup).unwrap();
    drop(busy);
    let digest = hex::encode_upper(<sha2::Sha256 as sha2::Digest>::digest(vector(["live", "keys"])));
    assert_eq!((made.generation, made.realm, made.digest), (3, Realm::Live, digest));
    assert!(back_up(folder.path(), &backup).err().unwrap().message.contains("not replaced"));
    let inside = back_up(folder.path(), &folder.path().join("backup")).err().unwrap().message;
    assert!(inside.contains("it would lie in the store itself"), "{inside}");
    std::fs::create_dir(place.path().join("late-next")).unwrap();
    let left = back_up(folder.path(), &place.path().join("late")).err().unwrap().message;
    assert!(left.contains("late-next is in the way: remove it"), "{left}");
    let mut names: Vec<_> =
        std::fs::read_dir(&backup).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["audit", "chips", "journal-0", "keys", "memory-0", "spools"]);
    let open = |names: &[&str]| {
        let mut collecting = LockedStore::of_backup(&backup).unwrap().collect();
        for name in names {
            collecting.give(name, format!("six words of {name} by dice").as_bytes()).unwrap();
        }
        collecting.open()
    };
    assert!(open(&["anna"]).is_err());
    let changed = open(&["anna", "ben"]).unwrap().destroy("kmc-1").err().unwrap();
    assert!(changed.message.contains("it is a backup"), "{changed}");
    let restored = open(&["anna", "ben"]).unwrap().restored(&store).unwrap();
    assert_eq!(restored.keys().generation(), 4);
    drop(restored);
    let store = given(&store, &["ben", "carla"]).open().unwrap();
    let act = store.keys().acts().last().unwrap();
    assert_eq!((act.kind, act.note.as_str(), act.by.len()), (ActKind::Restored, "of generation 3", 2));
    let spools = CompanionFile::in_store(store.keys().companions(), CompanionKind::Spools).read().unwrap();
    assert!(spools.is_some());
    assert_eq!(std::fs::read(backup.join("keys")).unwrap(), vector(["live", "keys"]));
    // A companion that is lost or of another store is missed now, not when it is needed.
    let other = place.path().join("other");
    for lost in ["audit", "memory-0", "chips"] {
        let kept = std::fs::read(backup.join(lost)).unwrap();
        std::fs::remove_file(backup.join(lost)).unwrap();
        let said = open(&["anna", "ben"]).unwrap().restored(&other).err().unwrap().message;
        assert!(said.contains("missing") && !other.exists(), "{lost}: {said}");
        std::fs::write(backup.join(lost), kept).unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(backup.join(lost), mode).unwrap();
    }
    let mut foreign = vector(["companion", "file"]);
    foreign[6] ^= 1;
    std::fs::write(backup.join("spools"), foreign).unwrap();
    let said = open(&["anna", "ben"]).unwrap().restored(&other).err().unwrap().message;
    assert!(said.contains("damaged") && !other.exists(), "{said}");
}

#[test]
fn a_backup_beside_writers_is_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("store");
    let list = format!(
        "{GOOD}{}",
        (1..20).map(|n| GOOD.replacen("kek-1", &format!("kek-{n}0"), 1)).fold(String::new(), |all, list| {
            let kek = list.split("[[key]]").nth(1).unwrap();
            let number = all.matches("[[key]]").count() + 2;
            let kek = kek.replacen("version = 1", &format!("version = {number}"), 1);
            let kek = kek.replacen(
                "00112233445566778899AABBCCDDEEFF",
                &format!("{:032X}", 0x0123_4567_89AB_CDEF_u128 * 0x1234_5678 * number as u128),
                1,
            );
            all + "[[key]]" + &kek
        })
    );
    drop(KeyStore::create_test(&list, &path, StoreSide::Bureau).unwrap());
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 1..20 {
                let mut collecting = LockedStore::to_change(&path).unwrap().collect();
                for name in ["anna", "ben"] {
                    collecting.give(name, b"").unwrap();
                }
                collecting.open().unwrap().destroy(&format!("kek-{n}0")).unwrap();
            }
        });
        for n in 0.. {
            let to = folder.path().join(format!("backup-{n}"));
            match back_up(&path, &to) {
                Ok(made) => {
                    let backup = LockedStore::of_backup(&to).unwrap().open_test().unwrap();
                    assert_eq!(backup.keys().generation(), made.generation);
                    assert_eq!(backup.keys().gone().len() as u64, made.generation - 1);
                }
                Err(failure) => assert!(failure.message.contains("again and again"), "{failure}"),
            }
            if writer.is_finished() {
                break;
            }
        }
        writer.join().unwrap();
    });
}
