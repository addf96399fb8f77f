//! A pcscd in separate mount and network namespaces.
//!
//! ```text
//! holder    unshare: /run is empty but for the scene's folder at /run/pcscd, lo is up; lives as long as the scene
//! pcscd     nsenter: its socket is the scene's folder/run/pcscd.comm, from outside too
//! cards     threads or processes in the network namespace, which connect to 127.0.0.1:port(n)
//! ```
//!
//! vpcd gives two slots to an instance and keeps its sockets in a table for each library file, so every pair
//! of readers has its own copy of the library. Readers are numbered from 0: number n is slot n % 2 of
//! "Cardwright Test <n / 2>".

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use drivers::pcsc::{ReaderSelector, ReaderSpec};
use nix::sched::{CloneFlags, setns};

const PCSCD: &str = "/usr/sbin/pcscd";
const VPCD: &str = "/usr/lib/pcsc/drivers/serial/libifdvpcd.so";
/// The programs of a scene, and the Debian packages that hold them.
const EQUIPMENT: [(&str, &str); 5] = [
    (PCSCD, "pcscd"),
    (VPCD, "vsmartcard-vpcd"),
    ("/usr/sbin/ip", "iproute2"),
    ("/usr/bin/unshare", "util-linux"),
    ("/usr/bin/nsenter", "util-linux"),
];
/// First port of the readers; each scene has its own network.
const PORT: u16 = 36_000;
/// pcsc-lite's PCSCLITE_MAX_READERS_CONTEXTS.
pub const READERS_MAX: usize = 16;
/// Longest time that a pcscd needs to open its readers on a loaded machine.
const START_TIME: Duration = Duration::from_secs(20);

/// A running scene; dropping it ends and reaps all of it.
pub struct Scene {
    folder: tempfile::TempDir,
    holder: Child,
    pcscd: Option<Child>,
    /// Name of each pair of readers.
    names: Vec<String>,
    /// Port of the first reader.
    first_port: u16,
}

impl Scene {
    /// Starts a pcscd with this many readers, at most [`READERS_MAX`], and waits until it answers.
    pub fn start(readers: usize) -> Self {
        Self::started(readers, None, PORT)
    }

    /// Starts another pcscd with one reader in the network of this scene; `n` counts them, from 0.
    pub fn another(&self, n: usize) -> Self {
        let port = self.port(READERS_MAX + 2 * n);
        Self::started(1, Some(self.holder.id()), port)
    }

    /// Exchanges the cables of the first readers of two scenes in one network: each pcscd finds the other's device
    /// when it is started again.
    pub fn exchange(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.first_port, &mut other.first_port);
        self.plug(&[0]);
        other.plug(&[0]);
    }

    fn started(readers: usize, network: Option<u32>, first_port: u16) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the tests with pcscd need root, for namespaces of their own"
        );
        for (file, package) in EQUIPMENT {
            assert!(Path::new(file).exists(), "{file} is missing: install the Debian package {package}");
        }
        let folder = tempfile::Builder::new().prefix("pcscd-scene-").tempdir().unwrap();
        let run = folder.path().join("run");
        fs::create_dir(&run).unwrap();
        fs::create_dir(folder.path().join("conf")).unwrap();
        // When the tests die, its input closes, and it ends together with the pcscd.
        let script = "ip link set lo up && mount -t tmpfs scene /run && mkdir /run/pcscd && \
                      mount --bind \"$1\" /run/pcscd && echo ready && \
                      { read -r over; kill -KILL $(cat /run/pcscd/pcscd.pid); }";
        let mut unshare = match network {
            None => Command::new("unshare"),
            Some(process) => {
                let mut command = Command::new("nsenter");
                command.args(["--net", "--target", &process.to_string(), "unshare"]);
                command
            }
        };
        unshare.args(if network.is_some() { &["--mount"][..] } else { &["--mount", "--net"] });
        let mut holder = unshare
            .args(["sh", "-c", script, "sh"])
            .arg(&run)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "no namespaces for a pcscd: is this container allowed to make them?");
        let order: Vec<usize> = (0..readers.div_ceil(2)).collect();
        let names = order.iter().map(|pair| format!("Cardwright Test {pair}")).collect();
        let mut scene = Self { folder, holder, pcscd: None, names, first_port };
        scene.plug(&order);
        scene.start_pcscd();
        scene
    }

    /// Writes the configuration of these pairs of readers; pcscd numbers them in this order.
    pub fn plug(&mut self, pairs: &[usize]) {
        assert!(pairs.len() <= READERS_MAX / 2);
        let mut text = String::new();
        for pair in pairs {
            let library = self.folder.path().join(format!("libifdvpcd-{pair}.so"));
            if !library.exists() {
                fs::copy(VPCD, &library).unwrap();
            }
            let port = self.port(2 * pair);
            text += &format!(
                "FRIENDLYNAME \"{}\"\nDEVICENAME /dev/null:{port:#X}\nLIBPATH {}\nCHANNELID {port:#X}\n\n",
                self.name(2 * pair),
                library.display()
            );
        }
        fs::write(self.folder.path().join("conf/readers"), text).unwrap();
    }

    /// Name of reader `n` without the numbers that pcscd adds.
    pub fn name(&self, n: usize) -> String {
        self.names[n / 2].clone()
    }

    /// Gives a pair of readers another name, from the next [`Scene::plug`] on.
    pub fn rename(&mut self, pair: usize, name: &str) {
        self.names[pair] = name.into();
    }

    /// The selection of reader `n` for a station, with the time that a power-on waits for a card.
    pub fn reader(&self, n: usize, wait: Duration) -> ReaderSpec {
        ReaderSpec {
            by: ReaderSelector::Name(self.name(n)),
            slot: u8::try_from(n % 2).unwrap(),
            wait_ms: u16::try_from(wait.as_millis()).unwrap(),
        }
    }

    /// The port at 127.0.0.1 of the scene's network to which a virtual card for reader `n` connects.
    pub fn port(&self, n: usize) -> u16 {
        self.first_port + u16::try_from(n).unwrap()
    }

    /// The path of the pcscd's socket outside of the scene, for PCSCLITE_CSOCK_NAME.
    pub fn socket(&self) -> PathBuf {
        self.folder.path().join("run/pcscd.comm")
    }

    /// A program that is ready to be started in the scene, where the scene's pcscd is the system's. It keeps
    /// its process id.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--net", "--wd=.", "--target", &self.holder.id().to_string()]).arg(program);
        command
    }

    /// Starts a thread in the scene's network.
    pub fn thread<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
        let network = File::open(format!("/proc/{}/ns/net", self.holder.id())).unwrap();
        thread::spawn(move || {
            setns(network, CloneFlags::CLONE_NEWNET).unwrap();
            work()
        })
    }

    /// Starts the pcscd and waits until it answers.
    pub fn start_pcscd(&mut self) {
        let conf = self.folder.path().join("conf");
        let mut command = self.command(PCSCD);
        command.args(["--foreground", "--config"]).arg(&conf).stdout(Stdio::null()).stderr(Stdio::null());
        self.pcscd = Some(command.spawn().unwrap());
        let until = Instant::now() + START_TIME;
        while UnixStream::connect(self.socket()).is_err() {
            assert!(Instant::now() < until, "pcscd does not listen");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Kills the pcscd, as a crash would.
    pub fn kill_pcscd(&mut self) {
        if let Some(mut pcscd) = self.pcscd.take() {
            pcscd.kill().unwrap();
            pcscd.wait().unwrap();
        }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        for child in self.pcscd.iter_mut().chain([&mut self.holder]) {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
