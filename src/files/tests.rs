//! Files of others, links, pipes, loose permissions: what is opened, read and replaced, and what is refused.

use std::os::unix::fs::symlink;

use super::*;

#[test]
fn the_systems_bare_words_get_a_next_step() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::write(at("bytes"), [0xFF]).unwrap();
    for (path, step) in [
        (at("missing"), "no such file or folder: check the path"),
        (at("bytes/file"), "check the path"),
        (at("bytes"), "no text in UTF-8"),
        (at(""), "it is no regular file"),
    ] {
        let said = trouble(&read_text(&path, 5).unwrap_err());
        assert!(said.contains(step) && !said.contains("os error"), "{}: {said}", path.display());
    }
    assert!(trouble(&File::create(folder.path()).unwrap_err()).contains("it is a folder"));
}

#[test]
fn a_private_file_is_new_and_never_another_users() {
    let folder = tempfile::tempdir().unwrap();
    let (path, target) = (folder.path().join("store-next"), folder.path().join("target"));
    std::fs::write(&target, "before").unwrap();
    symlink(&target, &path).unwrap();
    let file = make_private(&path).unwrap();
    assert_eq!(file.metadata().unwrap().mode() & 0o777, 0o600);
    assert_eq!(std::fs::read_to_string(&target).unwrap(), "before", "a link was followed");

    // Left by a killed process, and opened by another user before: that user keeps the old file.
    std::fs::write(&path, "left").unwrap();
    let left = File::open(&path).unwrap();
    let file = make_private(&path).unwrap();
    assert_ne!(left.metadata().unwrap().ino(), file.metadata().unwrap().ino());

    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    assert!(make_private(&path).is_err());
}

#[test]
fn a_private_file_is_replaced_whole_and_read_by_its_owner_alone() {
    let folder = tempfile::tempdir().unwrap();
    let (path, next) = (folder.path().join("keys"), folder.path().join("keys.next"));
    assert!(read_private(&path, 9).unwrap().is_none());
    std::fs::write(&next, "left by a killed process").unwrap();
    for bytes in ["one", "two"] {
        replace_private(&path, &next, bytes.as_bytes()).unwrap();
        assert_eq!(**read_private(&path, 3).unwrap().unwrap(), *bytes.as_bytes());
        assert!(!next.exists());
    }
    assert!(read_private(&path, 2).is_err(), "too long");
    for mode in [0o640, 0o604, 0o610] {
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        assert!(read_private(&path, 3).unwrap_err().to_string().contains("0600"), "{mode:o}");
    }
    // A folder has the name: nothing is left of the attempt.
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    assert!(replace_private(&folder.path().join("folder"), &next, b"three").is_err());
    assert!(!next.exists());
    symlink(&path, &next).unwrap();
    assert!(read_private(&next, 3).unwrap_err().to_string().contains("link"));
}

#[test]
fn an_existing_private_file_is_this_users_and_no_link() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("lock");
    drop(open_private(&path).unwrap());
    assert!(open_private(&path).is_ok());
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o620)).unwrap();
    assert!(open_private(&path).unwrap_err().to_string().contains("nobody else may write"));
    let link = folder.path().join("link");
    symlink(&path, &link).unwrap();
    assert!(open_private(&link).unwrap_err().to_string().contains("link"));
    nix::unistd::mkfifo(&folder.path().join("pipe"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    assert!(open_private(&folder.path().join("pipe")).is_err());
}

#[test]
fn a_folder_that_others_may_write_is_refused_unless_it_is_sticky() {
    let folder = tempfile::tempdir().unwrap();
    for (mode, good) in [(0o700, true), (0o755, true), (0o775, false), (0o777, false), (0o1777, true)] {
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(mode)).unwrap();
        assert_eq!(check_folder_of(&folder.path().join("file")).is_ok(), good, "{mode:o}");
    }
}

#[test]
fn a_missing_companion_is_made_and_one_that_is_there_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("wal");
    make_or_check(&path, 0o640).unwrap();
    assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
    make_or_check(&path, 0o600).unwrap();
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o660)).unwrap();
    assert!(make_or_check(&path, 0o600).unwrap_err().to_string().contains("nobody else may write"));
    std::fs::remove_file(&path).unwrap();
    symlink(folder.path().join("target"), &path).unwrap();
    assert!(make_or_check(&path, 0o600).unwrap_err().to_string().contains("no regular file"));
    assert!(!folder.path().join("target").exists());
}

#[test]
fn only_regular_files_of_bounded_size_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let (path, pipe) = (folder.path().join("text"), folder.path().join("pipe"));
    std::fs::write(&path, "12345").unwrap();
    assert_eq!(**read_text(&path, 5).unwrap(), *"12345");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    for (path, most, what) in [
        (path.as_path(), 4, "longer than 4 bytes"),
        (&pipe, 5, "no regular file"),
        (Path::new("/dev/zero"), 5, "no regular file"),
        (folder.path(), 5, "no regular file"),
    ] {
        let error = read_text(path, most).unwrap_err().to_string();
        assert!(error.contains(what), "{}: {error}", path.display());
    }
    assert!(append(&pipe).unwrap_err().to_string().contains("nobody reads"));
    let reader = OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(&pipe).unwrap();
    let writer = append(&pipe).unwrap();
    let flags = nix::fcntl::fcntl(&writer, nix::fcntl::FcntlArg::F_GETFL).unwrap();
    assert!(!OFlag::from_bits_retain(flags).contains(OFlag::O_NONBLOCK));
    drop(reader);
}
