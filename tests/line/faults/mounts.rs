//! A small file system for one world, at `small/`, in a mount namespace that only the world's programs enter.
//! Needs root, and loop devices for a disk that fails.

use std::fs::File;
use std::io::{BufRead, BufReader, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use nix::sys::statvfs::statvfs;

use crate::support::World;

/// The kind of disk.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A tmpfs of 32 MiB.
    Small,
    /// ext4 on a loop device whose blocks lie on a tmpfs. When the tmpfs is full, writes to new blocks fail,
    /// and the writer gets the error when it syncs. There is no journal, so the file system goes on after a
    /// failure as if nothing had happened. Requests are limited to one page, because the device reports a
    /// partly done write as done.
    Failing,
}

/// A mounted disk; dropping it unmounts.
pub struct Disk {
    holder: Child,
    /// The folder as seen from outside the mount namespace.
    folder: PathBuf,
    kind: Kind,
}

impl Disk {
    /// Mounts the disk; from now on the world's programs see it at `small/`.
    pub fn mount(world: &mut World, kind: Kind) -> Self {
        assert!(
            nix::unistd::geteuid().is_root(),
            "the tests with full disks need root, for mounts of their own"
        );
        std::fs::create_dir(world.path("small")).unwrap();
        std::fs::create_dir(world.path("blocks")).unwrap();
        let mount = match kind {
            Kind::Small => "mount -t tmpfs -o size=32m,mode=755 small small",
            Kind::Failing => {
                "mount -t tmpfs -o size=32m,mode=755 blocks blocks && truncate -s 64M blocks/disk && \
                 mkfs.ext4 -q -F -b 4096 -O ^has_journal blocks/disk && loop=$(losetup --find --show blocks/disk) && \
                 echo 4 >/sys/block/${loop#/dev/}/queue/max_sectors_kb && mount $loop small && losetup -d $loop"
            }
        };
        // The shell ends when its input closes; its mounts, which exist only in its namespace, end with it.
        let script = format!("{mount} && echo ready && read -r over");
        let mut holder = Command::new("unshare")
            .args(["--mount", "sh", "-c", &script])
            .current_dir(world.path(""))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(
            line, "ready\n",
            "no mounts: is this container allowed to make them, and are there loop devices?"
        );
        world.enter(holder.id());
        let root = PathBuf::from(format!("/proc/{}/root", holder.id()));
        let folder = root.join(world.path("").strip_prefix("/").unwrap());
        Self { holder, folder, kind }
    }

    /// The path of a file as the world's programs see it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Fills the disk (or the tmpfs under it) until this many KiB are left.
    pub fn leave(&self, kib: u64) {
        self.free();
        let filler = self.filler();
        let room = statvfs(filler.parent().unwrap()).unwrap();
        let room = room.blocks_available() * room.fragment_size();
        let bytes = usize::try_from(room.checked_sub(kib * 1024).expect("so much is not left")).unwrap();
        let filled = File::create(filler).and_then(|mut file| file.write_all(&vec![1; bytes]));
        // A running line may take some of the room in the meantime.
        if let Err(error) = filled {
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        }
    }

    /// Fills the disk under a program that replaces its files: each replacement makes room once more.
    pub fn fill(&self) {
        self.leave(0);
        for _ in 0..20 {
            let mut filler = File::options().append(true).open(self.filler()).unwrap();
            while filler.write_all(&[1; 4096]).is_ok() {}
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    /// Makes room again.
    pub fn free(&self) {
        let _ = std::fs::remove_file(self.filler());
    }

    fn filler(&self) -> PathBuf {
        self.path(if self.kind == Kind::Small { "small/filler" } else { "blocks/filler" })
    }

    /// Mounts it `ro` or `rw`.
    pub fn remount(&self, world: &World, how: &str) {
        let how = format!("remount,{how}");
        let done = world.command(Path::new("mount")).args(["-o", &how, "small"]).status().unwrap();
        assert!(done.success());
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}
