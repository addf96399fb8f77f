//! A PKCS#11 token in separate mount, network, IPC and process namespaces, with a /run of its own.
//!
//! ```text
//! holder   unshare: sets the token up, says `ready`, and lives as long as the scene; all else in it ends with it
//! program  nsenter: a program that sees the token
//! ```

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

/// The user's PIN of every token here.
pub const PIN: &str = "271828";
/// The label of every token here.
pub const LABEL: &str = "cardwright";

/// A token of Debian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// SoftHSM2: a library that keeps its tokens in a folder.
    SoftHsm,
    /// SoftHSM2 without CKM_DES3_ECB_ENCRYPT_DATA.
    SoftHsmWithoutDerivation,
    /// openCryptoki: a library and a daemon, with its software token.
    OpenCryptoki,
}

/// Makes a SoftHSM token. $1 is the scene's folder, $2 the PIN, $3 the label.
const SOFTHSM: &str = "mount -t tmpfs scene /run && mkdir \"$1/tokens\" && \
    softhsm2-util --init-token --free --label \"$3\" --pin \"$2\" --so-pin 31415926 >&2 && ";

/// Starts openCryptoki on empty folders and makes a token in slot 3. The first PINs are the library's own.
const OPENCRYPTOKI: &str = "for f in /run /var/lib/opencryptoki /etc/opencryptoki /dev/shm; do \
    mount -t tmpfs scene $f || exit; done; \
    mkdir -p /run/opencryptoki /run/lock/opencryptoki/swtok /var/lib/opencryptoki/swtok/TOK_OBJ && \
    chgrp -R pkcs11 /run/opencryptoki /run/lock/opencryptoki /var/lib/opencryptoki && \
    chmod -R 770 /run/opencryptoki /run/lock/opencryptoki /var/lib/opencryptoki && \
    printf 'version opencryptoki-3.1\\nslot 3\\n{\\nstdll = libpkcs11_sw.so\\n}\\n' > /etc/opencryptoki/opencryptoki.conf && \
    pkcsslotd >&2 && \
    printf '87654321\\n%s\\n' \"$3\" | pkcsconf -I -c 3 >&2 && \
    printf '87654321\\n31415926\\n31415926\\n' | pkcsconf -P -c 3 >&2 && \
    printf '31415926\\n12345678\\n12345678\\n' | pkcsconf -u -c 3 >&2 && \
    printf '12345678\\n%s\\n%s\\n' \"$2\" \"$2\" | pkcsconf -p -c 3 >&2 && ";

impl Kind {
    /// The token's library.
    pub fn module(self) -> &'static str {
        match self {
            Self::SoftHsm | Self::SoftHsmWithoutDerivation => "/usr/lib/softhsm/libsofthsm2.so",
            Self::OpenCryptoki => "/usr/lib/x86_64-linux-gnu/pkcs11/libopencryptoki.so",
        }
    }

    /// The Debian package that holds it.
    fn package(self) -> &'static str {
        match self {
            Self::SoftHsm | Self::SoftHsmWithoutDerivation => "softhsm2",
            Self::OpenCryptoki => "opencryptoki",
        }
    }
}

/// A token that is ready; dropping it ends all of it.
pub struct Scene {
    kind: Kind,
    folder: tempfile::TempDir,
    holder: Child,
    /// The first process of the namespaces, as the tests see it.
    inside: u32,
}

impl Scene {
    /// Makes a token, and waits until it is ready.
    pub fn start(kind: Kind) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the tests with tokens need root, for namespaces of their own"
        );
        assert!(Path::new(kind.module()).exists(), "install the Debian package {}", kind.package());
        let folder = tempfile::Builder::new().prefix("token-scene-").tempdir().unwrap();
        let tokens = folder.path().join("tokens");
        let mut settings =
            format!("directories.tokendir = {}\nobjectstore.backend = file\n", tokens.display());
        if kind == Kind::SoftHsmWithoutDerivation {
            // In SoftHSM 2.6 a list of one name has no effect.
            settings += "slots.mechanisms = -CKM_DES_CBC,CKM_DES3_ECB_ENCRYPT_DATA\n";
        }
        std::fs::write(folder.path().join("softhsm2.conf"), settings).unwrap();
        let make = if kind == Kind::OpenCryptoki { OPENCRYPTOKI } else { SOFTHSM };
        // When the tests die, its input closes, and the namespaces end with their first process.
        let mut holder = Command::new("unshare")
            .args(["--mount", "--net", "--ipc", "--pid", "--fork", "--mount-proc", "sh", "-c"])
            .arg(format!("{make} echo ready && read -r over"))
            .arg("sh")
            .args([folder.path().as_os_str(), PIN.as_ref(), LABEL.as_ref()])
            .env("SOFTHSM2_CONF", folder.path().join("softhsm2.conf"))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        if line != "ready\n" {
            let said = holder.wait_with_output().unwrap();
            panic!("no {kind:?}: {}", String::from_utf8_lossy(&said.stderr));
        }
        let children = format!("/proc/{0}/task/{0}/children", holder.id());
        let inside = std::fs::read_to_string(children).unwrap().trim().parse().unwrap();
        Self { kind, folder, holder, inside }
    }

    /// A program that sees the token.
    pub fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.args(["--mount", "--net", "--ipc", "--pid", "--wd=.", "--target", &self.inside.to_string()]);
        command.arg(program).env("SOFTHSM2_CONF", self.folder.path().join("softhsm2.conf"));
        command
    }

    /// Runs `cardwright hsm check` on the token's module, with these further words, and gives it this input.
    pub fn check(&self, words: &[&str], input: &str) -> Output {
        let mut command = self.command(env!("CARGO_BIN_EXE_cardwright"));
        command.args(["hsm", "check", "--module", self.kind.module()]).args(words);
        let mut child =
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // A program that has ended already reads nothing.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        child.wait_with_output().unwrap()
    }

    /// Every file that the token keeps: each object on it has one.
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = Vec::new();
        let mut folders = vec![match self.kind {
            Kind::OpenCryptoki => {
                PathBuf::from(format!("/proc/{}/root/var/lib/opencryptoki/swtok", self.inside))
            }
            Kind::SoftHsm | Kind::SoftHsmWithoutDerivation => self.folder.path().join("tokens"),
        }];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    files.push(path);
                }
            }
        }
        files.sort();
        files
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        // The first process of the namespaces reads the end of its input, and ends.
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}
