//! Real attempts, each in a process of its own that goes into the sandbox first.

use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Write};
use std::net::{TcpStream, UdpSocket};
use std::os::unix::fs::symlink;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::Command;

use super::*;

/// Set for a child process: the name of an attempt, and the folder of the test.
const CHILD: &str = "CARDWRIGHT_TEST_SANDBOX";

/// How an attempt ended.
#[derive(Debug, PartialEq)]
enum Ended {
    /// It was done.
    Done,
    /// It was denied, and the process lived on.
    Denied,
    /// The kernel ended the process.
    Killed,
}

/// Goes into the sandbox, and tries. Not a test.
#[test]
fn child() {
    let Ok(words) = std::env::var(CHILD) else { return };
    let (name, at) = words.split_once(' ').unwrap();
    let at = Path::new(at);
    let free = name.strip_prefix("free-");
    if free.is_none() {
        confine(&at.join("store"), &at.join("run/socket"), needs(name, at).as_ref()).unwrap();
    }
    let code = match attempt(free.unwrap_or(name), at) {
        Ok(()) => 40,
        Err(error) if error.kind() == ErrorKind::PermissionDenied => 41,
        Err(error) => {
            writeln!(std::io::stderr(), "{error}").unwrap();
            42
        }
    };
    std::process::exit(code);
}

/// What a token's module needs in the attempts whose names begin with "token-".
fn needs(name: &str, at: &Path) -> Option<SandboxNeeds> {
    let sockets = name == "token-unix";
    name.starts_with("token-")
        .then(|| SandboxNeeds { sockets, paths: vec![at.join("elsewhere"), at.join("run")] })
}

/// The folder of a test: a store with a file and a way out, a socket, and files beside them.
fn place() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir(at("store")).unwrap();
    std::fs::create_dir(at("elsewhere")).unwrap();
    std::fs::create_dir(at("run")).unwrap();
    for file in ["store/keys", "elsewhere/file", "beside"] {
        std::fs::write(at(file), "content").unwrap();
    }
    symlink(at("elsewhere/file"), at("store/link")).unwrap();
    folder
}

fn tried(name: &str) -> Ended {
    let folder = place();
    let _listener = UnixListener::bind(folder.path().join("run/socket")).unwrap();
    let mut child = Command::new(std::env::current_exe().unwrap());
    let test = concat!(module_path!(), "::child").split_once("::").unwrap().1;
    child.args(["--exact", test, "--nocapture"]);
    let ended = child.env(CHILD, format!("{name} {}", folder.path().display())).output().unwrap();
    match (ended.status.code(), ended.status.signal()) {
        (Some(40), _) => Ended::Done,
        (Some(41), _) => Ended::Denied,
        (_, Some(libc::SIGSYS)) => Ended::Killed,
        _ => panic!("{name}: {} {}", ended.status, String::from_utf8_lossy(&ended.stderr)),
    }
}

fn called(result: i64) -> Result<()> {
    if result < 0 { Err(Error::last_os_error()) } else { Ok(()) }
}

/// A call with small numbers for arguments.
#[allow(unsafe_code, reason = "system calls without a wrapper")]
fn call(number: i64, arguments: [u64; 5]) -> Result<()> {
    let [a, b, c, d, e] = arguments;
    // SAFETY: no argument is an address that the kernel writes to.
    called(unsafe { libc::syscall(number, a, b, c, d, e) })
}

const FILE_ATTEMPTS: &[&str] = &[
    "read-outside",
    "read-beside",
    "read-through-link",
    "read-up",
    "list-root",
    "list-up",
    "write-outside",
    "make-outside",
    "make-beside",
    "remove-outside",
    "take-out",
    "bring-in",
    "make-folder",
    "make-link",
    "own-memory",
    "device",
    "change-mode",
    "a-thread",
];
const NETWORK_ATTEMPTS: &[&str] = &["tcp", "udp", "unix", "pair", "listen", "netlink", "ring"];
const PROGRAM_ATTEMPTS: &[&str] =
    &["exec", "ptrace", "read-process", "kill", "bpf", "unshare", "mount", "userfault", "handle"];
const QUIET_ATTEMPTS: &[&str] = &["fork", "run-data", "dumpable", "limit", "terminal", "acct"];
const ALLOWED: &[&str] = &["work-in-store", "remove-socket", "threads", "random"];

fn attempt(name: &str, at: &Path) -> Result<()> {
    match name {
        _ if FILE_ATTEMPTS.contains(&name) => file_attempt(name, at),
        _ if NETWORK_ATTEMPTS.contains(&name) => network_attempt(name, at),
        "work-in-store" => work_in_store(&at.join("store")),
        "remove-socket" => std::fs::remove_file(at.join("run/socket")),
        "threads" => {
            let started = crate::threads::start("sandbox", || std::fs::read_dir("/").map(drop));
            let ended = started.map_err(Error::other)?.join().map_err(|_| Error::other("panicked"))?;
            // It is in the sandbox too.
            ended.err().map(drop).ok_or_else(|| Error::other("it lists the root"))
        }
        "token-files" => std::fs::write(at.join("elsewhere/new"), "content"),
        "token-beside" => File::open(at.join("beside")).map(drop),
        "token-unix" | "token-log" => UnixStream::connect(at.join("run/socket")).map(drop),
        "random" => getrandom::fill(&mut [0; 8]).map_err(Error::other),
        _ => other_attempt(name),
    }
}

fn file_attempt(name: &str, at: &Path) -> Result<()> {
    let (store, elsewhere) = (at.join("store"), at.join("elsewhere"));
    match name {
        "read-outside" => File::open(elsewhere.join("file")).map(drop),
        "read-beside" => File::open(at.join("beside")).map(drop),
        "read-through-link" => File::open(store.join("link")).map(drop),
        "read-up" => File::open(store.join("../beside")).map(drop),
        "list-root" => std::fs::read_dir("/").map(drop),
        "list-up" => std::fs::read_dir(at).map(drop),
        "write-outside" => OpenOptions::new().append(true).open(elsewhere.join("file")).map(drop),
        "make-outside" => File::create(elsewhere.join("new")).map(drop),
        "make-beside" => File::create(at.join("new")).map(drop),
        "remove-outside" => std::fs::remove_file(elsewhere.join("file")),
        "take-out" => crossed(std::fs::rename(store.join("keys"), elsewhere.join("keys"))),
        "bring-in" => crossed(std::fs::rename(elsewhere.join("file"), store.join("file"))),
        "make-folder" => std::fs::create_dir(store.join("folder")),
        "make-link" => symlink("/etc/passwd", store.join("other")),
        "own-memory" => File::open("/proc/self/mem").map(drop),
        "device" => File::open("/dev/zero").map(drop),
        "change-mode" => std::fs::set_permissions(
            elsewhere.join("file"),
            std::os::unix::fs::PermissionsExt::from_mode(0o777),
        ),
        _ => crate::threads::start("file", || File::open("/dev/zero").map(drop))
            .map_err(Error::other)?
            .join()
            .map_err(|_| Error::other("panicked"))?,
    }
}

/// Landlock calls a move out of its folder a move to another device.
fn crossed(result: Result<()>) -> Result<()> {
    result.map_err(|error| match error.kind() {
        ErrorKind::CrossesDevices => ErrorKind::PermissionDenied.into(),
        _ => error,
    })
}

fn network_attempt(name: &str, at: &Path) -> Result<()> {
    match name {
        "tcp" => TcpStream::connect("127.0.0.1:9").map(drop),
        "udp" => UdpSocket::bind("127.0.0.1:0").map(drop),
        "unix" => UnixStream::connect(at.join("run/socket")).map(drop),
        "pair" => UnixStream::pair().map(drop),
        "listen" => UnixListener::bind(at.join("store/socket")).map(drop),
        "netlink" => call(libc::SYS_socket, [16, 3, 0, 0, 0]),
        _ => call(libc::SYS_io_uring_setup, [1, 0, 0, 0, 0]),
    }
}

fn other_attempt(name: &str) -> Result<()> {
    let own = u64::from(std::process::id());
    match name {
        "exec" => Err(Command::new("/bin/true").exec()),
        "ptrace" => call(libc::SYS_ptrace, [0, 0, 0, 0, 0]),
        "read-process" => call(libc::SYS_process_vm_readv, [own, 0, 0, 0, 0]),
        "kill" => call(libc::SYS_kill, [own, 0, 0, 0, 0]),
        "bpf" => call(libc::SYS_bpf, [0, 0, 0, 0, 0]),
        "unshare" => call(libc::SYS_unshare, [0, 0, 0, 0, 0]),
        "mount" => call(libc::SYS_mount, [0, 0, 0, 0, 0]),
        "userfault" => call(libc::SYS_userfaultfd, [0, 0, 0, 0, 0]),
        "handle" => call(libc::SYS_open_by_handle_at, [0, 0, 0, 0, 0]),
        "fork" => call(libc::SYS_clone, [17, 0, 0, 0, 0]),
        "run-data" => call(libc::SYS_mprotect, [0, 0, 5, 0, 0]),
        "dumpable" => nix::sys::prctl::set_dumpable(true).map_err(Error::from),
        "limit" => nix::sys::resource::setrlimit(nix::sys::resource::Resource::RLIMIT_NOFILE, 9, 9)
            .map_err(Error::from),
        "terminal" => call(libc::SYS_ioctl, [0, libc::TIOCSTI, 0, 0, 0]),
        "acct" => call(libc::SYS_acct, [0, 0, 0, 0, 0]),
        _ => panic!("{name}"),
    }
}

/// What a host does with the files of its store.
fn work_in_store(store: &Path) -> Result<()> {
    crate::files::replace_private(&store.join("audit"), &store.join("audit-next"), b"text")?;
    let old = crate::files::OldFile::open(&store.join("audit"));
    crate::files::replace_private(&store.join("audit"), &store.join("audit-next"), b"longer text")?;
    old.wipe();
    crate::files::open_private(&store.join("lock"))?.lock()?;
    let names = std::fs::read_dir(store)?.count();
    let text = std::fs::read_to_string(store.join("audit"))?;
    std::fs::remove_file(store.join("keys"))?;
    if (names, text.as_str()) == (4, "longer text") { Ok(()) } else { Err(Error::other(text)) }
}

/// Every attempt ends so in the sandbox, and not so without it: then the sandbox is what forbids it.
fn all_end(attempts: &[&str], ended: Ended) {
    for name in attempts {
        assert_eq!(tried(name), ended, "{name}");
    }
}

#[test]
fn nothing_outside_the_store_can_be_opened() {
    all_end(FILE_ATTEMPTS, Ended::Denied);
    for name in
        ["read-outside", "read-through-link", "write-outside", "take-out", "own-memory", "change-mode"]
    {
        assert_eq!(tried(&format!("free-{name}")), Ended::Done, "{name} without the sandbox");
    }
}

#[test]
fn a_token_s_module_gets_what_it_needs_and_no_more() {
    all_end(&["token-files", "token-unix"], Ended::Done);
    all_end(&["token-beside", "token-log"], Ended::Denied);
}

#[test]
fn no_network() {
    all_end(NETWORK_ATTEMPTS, Ended::Killed);
    for name in ["udp", "unix", "pair", "listen"] {
        assert_eq!(tried(&format!("free-{name}")), Ended::Done, "{name} without the sandbox");
    }
}

#[test]
fn no_program_is_started() {
    all_end(PROGRAM_ATTEMPTS, Ended::Killed);
    all_end(QUIET_ATTEMPTS, Ended::Denied);
    for name in ["unshare", "kill", "dumpable", "limit"] {
        assert_eq!(tried(&format!("free-{name}")), Ended::Done, "{name} without the sandbox");
    }
}

#[test]
fn a_host_can_do_its_work() {
    all_end(ALLOWED, Ended::Done);
}
