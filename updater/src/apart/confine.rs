//! What a process gives up for ever: resources, capabilities, and by Landlock and seccomp everything outside itself.

use super::Sandbox;
use crate::{Error, Result, limits};
use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, LandlockStatus, RestrictionStatus, Ruleset,
    RulesetAttr, RulesetError, RulesetStatus, Scope,
};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};
use std::fmt;

/// Address space beyond a job's memory: the program itself, its stack, the windows of zstd, what the allocator loses.
const OVERHEAD: u64 = 96 << 20;
/// Open files: standard ones, the socket, the two files of a job.
const FILES: u64 = 6;

/// What was given up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Confined {
    /// Version of the Landlock interface that is in force.
    pub landlock: Option<u32>,
    /// Whether system calls are filtered.
    pub seccomp: bool,
}

impl fmt::Display for Confined {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self.landlock {
            Some(abi) => write!(f, "Landlock {abi}")?,
            None => write!(f, "no Landlock")?,
        }
        let seccomp = if self.seccomp { "seccomp" } else { "no seccomp" };
        write!(f, ", {seccomp}, resource limits")
    }
}

/// Confines the calling process, which has one thread, as far as `sandbox` says and the kernel can.
///
/// Afterwards it has at most `memory` and what the program needs, no new files, none longer than scratch space may
/// be, no core, no children; with Landlock it opens nothing and reaches no other process, with seccomp it makes no
/// system call but those of reading, writing, memory and leaving. It dies with the thread that started it. Fails
/// where a limit cannot be set, which every kernel can.
pub fn confine(sandbox: Sandbox, memory: u64) -> Result<Confined> {
    let fail = |e: rustix::io::Errno| Error::io("confine the process", e);
    if sandbox == Sandbox::None {
        return Ok(Confined::default());
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(fail)?;
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(fail)?;
    rustix::thread::set_no_new_privs(true).map_err(fail)?;
    let limits = [
        (Resource::As, memory.saturating_add(OVERHEAD)),
        (Resource::Nofile, FILES),
        (Resource::Fsize, limits::SCRATCH),
        (Resource::Core, 0),
        (Resource::Nproc, 0),
    ];
    for (resource, limit) in limits {
        let limit = Some(limit);
        let limit = Rlimit {
            current: limit,
            maximum: limit,
        };
        setrlimit(resource, limit).map_err(fail)?;
    }
    let nothing = CapabilitySet::empty();
    let sets = CapabilitySets {
        effective: nothing,
        permitted: nothing,
        inheritable: nothing,
    };
    set_capabilities(None, sets).map_err(fail)?;
    let mut confined = Confined::default();
    if matches!(sandbox, Sandbox::Full | Sandbox::Landlock) {
        confined.landlock = landlock().ok().and_then(abi);
    }
    // Last: it denies what the others need.
    if matches!(sandbox, Sandbox::Full | Sandbox::Seccomp) {
        confined.seccomp = seccomp::filter();
    }
    Ok(confined)
}

/// Denies everything that Landlock knows, by a set of no rules.
fn landlock() -> std::result::Result<RestrictionStatus, RulesetError> {
    let known = ABI::V6;
    Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(known))?
        .handle_access(AccessNet::from_all(known))?
        .scope(Scope::from_all(known))?
        .create()?
        .restrict_self()
}

fn abi(status: RestrictionStatus) -> Option<u32> {
    match status.landlock {
        LandlockStatus::Available { effective_abi, .. } if status.ruleset != RulesetStatus::NotEnforced => {
            Some((effective_abi as u32).min(ABI::V6 as u32))
        }
        _ => None,
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod seccomp {
    //! The calls that a decoder makes; all others fail with EPERM, so that a C library's harmless ones do no harm.

    use seccompiler::{
        BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
        SeccompRule,
    };

    const ALLOWED: [libc::c_long; 21] = [
        libc::SYS_read,
        libc::SYS_write,
        libc::SYS_pread64,
        libc::SYS_recvmsg,
        libc::SYS_close,
        libc::SYS_brk,
        libc::SYS_munmap,
        libc::SYS_mremap,
        libc::SYS_madvise,
        libc::SYS_futex,
        libc::SYS_sched_yield,
        libc::SYS_getrandom,
        libc::SYS_clock_gettime,
        libc::SYS_getpid,
        libc::SYS_gettid,
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    /// Allowed where the third argument does not ask for memory that can be executed.
    const MEMORY: [libc::c_long; 2] = [libc::SYS_mmap, libc::SYS_mprotect];

    /// Whether a filter is in force now.
    pub(super) fn filter() -> bool {
        program().is_ok_and(|p| seccompiler::apply_filter(&p).is_ok())
    }

    fn program() -> Result<BpfProgram, seccompiler::BackendError> {
        let execute = SeccompCmpOp::MaskedEq(libc::PROT_EXEC as u64);
        let plain = SeccompCondition::new(2, SeccompCmpArgLen::Dword, execute, 0)?;
        let plain = SeccompRule::new(vec![plain])?;
        let free = ALLOWED.map(|call| (call, Vec::new()));
        let memory = MEMORY.map(|call| (call, vec![plain.clone()]));
        let filter = SeccompFilter::new(
            free.into_iter().chain(memory).collect(),
            SeccompAction::Errno(libc::EPERM as u32),
            SeccompAction::Allow,
            std::env::consts::ARCH.try_into()?,
        )?;
        filter.try_into()
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
mod seccomp {
    //! No filter on machines that seccompiler does not know.

    pub(super) fn filter() -> bool {
        false
    }
}
