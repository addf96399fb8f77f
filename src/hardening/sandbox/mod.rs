//! A sandbox for a process that has opened all that it needs: it reaches one folder and the connections that it has, starts no
//! program, and looks into no other process. It cannot get out again, nor can a thread that it starts.
//!
//! ```text
//! Landlock        files of the store's folder; the socket can be removed; nothing else is opened
//! filter          a list of calls passes; any other fails with EPERM
//! filter          calls that only an intruder makes end the process
//! ```
//!
//! Why two answers: a call that is not in the list may be a library's after an update, which then goes on without it, or fails
//! in one request. But a host of keys that opens a socket, starts a program or looks into another process is no longer ours:
//! ended at once, it cannot try anything else. Landlock(7), seccomp(2).
//!
//! The module of a PKCS#11 token needs more ([`SandboxNeeds`]): its own files, and perhaps a service or a network. It is loaded
//! before the process goes in. A thread that the module has started by then stays outside.
//!
//! Not here: what was open before, memory (`arena`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope, make_bitflags,
};
use nix::libc;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch, apply_filter,
};

use crate::exit::{Exit, Failure};

/// The newest Landlock whose rights are asked for. An older kernel keeps those that it knows.
const LANDLOCK: ABI = ABI::V7;
/// The mask of an argument of 32 bits.
const WHOLE: u64 = u32::MAX as u64;

/// What the module of a token needs beyond the store.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SandboxNeeds {
    /// Files, and folders with all in them, that it reads and writes.
    pub paths: Vec<PathBuf>,
    /// It connects to a service or to a network.
    pub sockets: bool,
}

/// Encloses this thread, and every thread that it starts from then on, in a sandbox: of files it reaches those in `folder` and
/// those that the module of a token needs, and it may remove `socket`.
pub fn confine(folder: &Path, socket: &Path, module: Option<&SandboxNeeds>) -> Result<(), Failure> {
    let sockets = module.is_some_and(|needs| needs.sockets);
    enclose(folder, socket, module).map_err(failed)?;
    // The list comes last: it has no call that sets a filter.
    for filter in [deadly(module.is_some()), unseen(), allowed(sockets)] {
        apply_filter(&filter.map_err(failed)?).map_err(failed)?;
    }
    Ok(())
}

fn failed(error: impl std::fmt::Display) -> Failure {
    let what = "us: the system does not enclose this process (Landlock, seccomp)";
    Failure::new(Exit::Io, format!("{what}: {error}; use a kernel of version 5.13 or later that has both"))
}

/// Leaves one folder of the files.
fn enclose(
    folder: &Path,
    socket: &Path,
    module: Option<&SandboxNeeds>,
) -> Result<(), Box<dyn std::error::Error>> {
    let in_folder: BitFlags<AccessFs> =
        make_bitflags!(AccessFs::{ReadFile | ReadDir | WriteFile | Truncate | MakeReg | RemoveFile});
    let beside = match socket.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    let mut rules = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(LANDLOCK))?;
    if !module.is_some_and(|needs| needs.sockets) {
        rules = rules.handle_access(AccessNet::from_all(LANDLOCK))?.scope(Scope::from_all(LANDLOCK))?;
    }
    let mut rules = rules
        .create()?
        .add_rule(PathBeneath::new(PathFd::new(folder)?, in_folder))?
        .add_rule(PathBeneath::new(PathFd::new(beside)?, AccessFs::RemoveFile))?;
    for path in module.iter().flat_map(|needs| &needs.paths) {
        let file = make_bitflags!(AccessFs::{ReadFile | WriteFile | Truncate});
        let access = if path.is_dir() { in_folder | AccessFs::MakeDir | AccessFs::RemoveDir } else { file };
        let opened = PathFd::new(path).map_err(|error| format!("{}: {error}", path.display()))?;
        rules = rules.add_rule(PathBeneath::new(opened, access))?;
    }
    match rules.restrict_self()?.ruleset {
        RulesetStatus::NotEnforced => Err("it has no Landlock".into()),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(()),
    }
}

/// The calls that a host makes, and others of the same kind that do no more.
const FILES: &[i64] = &[
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_pwrite64,
    libc::SYS_lseek,
    libc::SYS_close,
    libc::SYS_dup,
    libc::SYS_fcntl,
    libc::SYS_flock,
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_ftruncate,
    libc::SYS_fadvise64,
    libc::SYS_openat,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_readlinkat,
    libc::SYS_getdents64,
    libc::SYS_getcwd,
    libc::SYS_unlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_umask,
];
const CONNECTIONS: &[i64] = &[
    libc::SYS_accept,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_shutdown,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_ppoll,
];
const MEMORY: &[i64] = &[
    libc::SYS_brk,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_mlock,
    libc::SYS_munlock,
];
const THREADS: &[i64] = &[
    libc::SYS_clone3,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_futex,
    libc::SYS_set_robust_list,
    libc::SYS_get_robust_list,
    libc::SYS_rseq,
    libc::SYS_set_tid_address,
    libc::SYS_membarrier,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_tgkill,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_getpriority,
    libc::SYS_setpriority,
    libc::SYS_sched_yield,
    libc::SYS_sched_getaffinity,
    libc::SYS_getcpu,
    libc::SYS_getrusage,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_getrandom,
    libc::SYS_clock_gettime,
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_gettimeofday,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
];
/// Older forms of calls above, which the C library of this architecture still makes.
#[cfg(target_arch = "x86_64")]
const OLDER: &[i64] = &[
    libc::SYS_open,
    libc::SYS_stat,
    libc::SYS_lstat,
    libc::SYS_access,
    libc::SYS_readlink,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_poll,
    libc::SYS_time,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[i64] = &[];

/// The calls that only an intruder makes.
const DEADLY: &[i64] = &[
    // Other programs, and their memory.
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    libc::SYS_kill,
    // Ways around a filter, or into the kernel.
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    // Another view of the file system, or another user.
    libc::SYS_open_by_handle_at,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_setuid,
    libc::SYS_setresuid,
    libc::SYS_capset,
];

/// The network, and other sockets: deadly too, unless there is a module. Where the line profile allows it no sockets, these calls
/// fail and do not end the process: libraries try to write to the system's log, for example when their token is gone.
const SOCKETS: &[i64] =
    &[libc::SYS_socket, libc::SYS_socketpair, libc::SYS_connect, libc::SYS_bind, libc::SYS_listen];
/// What a module does to reach its service.
const CONNECTING: &[i64] = &[libc::SYS_socket, libc::SYS_connect];

/// The calls of the list pass. Every other call fails.
fn allowed(sockets: bool) -> Result<BpfProgram, BackendError> {
    let more = if sockets { CONNECTING } else { &[] };
    let calls = [FILES, CONNECTIONS, MEMORY, THREADS, OLDER, more].concat();
    let mut rules: BTreeMap<i64, Vec<SeccompRule>> =
        calls.into_iter().map(|call| (call, Vec::new())).collect();
    // A thread sets its name. All else that this call does would open the process again.
    rules.insert(libc::SYS_prctl, vec![with(&[(0, number(libc::PR_SET_NAME), WHOLE)])?]);
    // The limits of this process are read, and no other is set.
    rules.insert(libc::SYS_prlimit64, vec![with(&[(0, 0, WHOLE), (2, 0, u64::MAX)])?]);
    // A thread, no process.
    let thread = number(libc::CLONE_THREAD);
    rules.insert(libc::SYS_clone, vec![with(&[(0, thread, thread)])?]);
    // Nothing that is written can be run.
    for call in [libc::SYS_mmap, libc::SYS_mprotect] {
        rules.insert(call, vec![with(&[(2, 0, number(libc::PROT_EXEC))])?]);
    }
    // A stream is made to wait or not; a program asks whether it writes to a terminal.
    let asked = [libc::FIONBIO, libc::TCGETS].map(|what| with(&[(1, what, WHOLE)]));
    rules.insert(libc::SYS_ioctl, asked.into_iter().collect::<Result<_, _>>()?);
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    SeccompFilter::new(rules, denied, SeccompAction::Allow, architecture()?)?.try_into()
}

/// A call whose argument of this number is this value under this mask.
fn with(arguments: &[(u8, u64, u64)]) -> Result<SeccompRule, BackendError> {
    let conditions = arguments.iter().map(|(argument, value, mask)| {
        let length = if *mask > WHOLE { SeccompCmpArgLen::Qword } else { SeccompCmpArgLen::Dword };
        SeccompCondition::new(*argument, length, SeccompCmpOp::MaskedEq(*mask), *value)
    });
    SeccompRule::new(conditions.collect::<Result<_, _>>()?)
}

fn number(flag: i32) -> u64 {
    flag.unsigned_abs().into()
}

/// The C library starts threads by a call whose flags no filter sees. It uses the older one where this one is not known.
fn unseen() -> Result<BpfProgram, BackendError> {
    let rules = [(libc::SYS_clone3, Vec::new())].into();
    let unknown = SeccompAction::Errno(libc::ENOSYS.unsigned_abs());
    SeccompFilter::new(rules, SeccompAction::Allow, unknown, architecture()?)?.try_into()
}

/// The calls of an intruder end the process.
fn deadly(module: bool) -> Result<BpfProgram, BackendError> {
    let more = if module { &[] } else { SOCKETS };
    let rules = DEADLY.iter().chain(more).map(|call| (*call, Vec::new())).collect();
    SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::KillProcess, architecture()?)?.try_into()
}

fn architecture() -> Result<TargetArch, BackendError> {
    std::env::consts::ARCH.try_into()
}

#[cfg(test)]
mod tests;
