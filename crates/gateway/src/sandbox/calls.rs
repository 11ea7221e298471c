//! System calls that this process gives up: they fail as forbidden (EPERM). A list of what is denied, not of what is allowed: the C
//! library may use other calls tomorrow, and mail must not stop for it. The unit for systemd has the list of what is allowed.

use libc::c_long;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
    TargetArch, apply_filter,
};
use std::collections::BTreeMap;

/// Denied whatever their arguments.
const NEVER: &[c_long] = &[
    // Other programs. The gateway runs none.
    libc::SYS_execve,
    libc::SYS_execveat,
    // Other processes: their memory, their descriptors.
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_pidfd_getfd,
    libc::SYS_kcmp,
    // Name spaces and mounts.
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    libc::SYS_mount_setattr,
    libc::SYS_open_by_handle_at,
    libc::SYS_mknodat,
    // The kernel itself.
    libc::SYS_kexec_load,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_userfaultfd,
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_syslog,
    libc::SYS_acct,
    libc::SYS_quotactl,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_reboot,
    libc::SYS_vhangup,
    libc::SYS_personality,
    // Keys that belong to the session.
    libc::SYS_add_key,
    libc::SYS_keyctl,
    libc::SYS_request_key,
    // Another user.
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    // Clock and names of the machine.
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_fork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_vfork,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_mknod,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_kexec_file_load,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_iopl,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_ioperm,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_modify_ldt,
];

/// Families of sockets: Internet, the command socket and systemd's, and netlink, by which the C library learns addresses.
const FAMILIES: [i32; 4] = [libc::AF_INET, libc::AF_INET6, libc::AF_UNIX, libc::AF_NETLINK];

/// Installs the filters for this thread and all that it starts. The error says why there are none.
pub(super) fn restrict() -> Result<(), String> {
    let failed = |error: &dyn std::fmt::Display| format!("no seccomp here ({error})");
    let arch: TargetArch =
        std::env::consts::ARCH.try_into().map_err(|error: seccompiler::BackendError| failed(&error))?;
    let program = |rules, errno: i32| -> Result<BpfProgram, seccompiler::BackendError> {
        SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno.unsigned_abs()), arch)?.try_into()
    };
    let denied = denied().and_then(|rules| program(rules, libc::EPERM)).map_err(|error| failed(&error))?;
    // Its flags lie in memory, where no filter sees them. As if the kernel did not know it: the C library then takes clone.
    let clone3 =
        program(BTreeMap::from([(libc::SYS_clone3, Vec::new())]), libc::ENOSYS).map_err(|error| failed(&error))?;
    apply_filter(&denied).and_then(|()| apply_filter(&clone3)).map_err(|error| failed(&error))
}

fn denied() -> Result<BTreeMap<c_long, Vec<SeccompRule>>, seccompiler::BackendError> {
    use SeccompCmpOp::{Eq, MaskedEq, Ne};
    let when = |index, op, value: i32| {
        SeccompCondition::new(index, SeccompCmpArgLen::Dword, op, u64::from(value.cast_unsigned()))
    };
    let mut rules: BTreeMap<c_long, Vec<SeccompRule>> = NEVER.iter().map(|call| (*call, Vec::new())).collect();
    // Threads only: a clone without CLONE_THREAD is another process.
    let thread = u64::from(libc::CLONE_THREAD.cast_unsigned());
    let process = SeccompCondition::new(0, SeccompCmpArgLen::Qword, MaskedEq(thread), 0)?;
    rules.insert(libc::SYS_clone, vec![SeccompRule::new(vec![process])?]);
    let strange = FAMILIES.iter().map(|family| when(0, Ne, *family)).collect::<Result<_, _>>()?;
    rules.insert(libc::SYS_socket, vec![SeccompRule::new(strange)?]);
    // Memory becomes executable only as a file's (libraries of the C library), never what was written.
    let exec = u64::from(libc::PROT_EXEC.cast_unsigned());
    let both = u64::from((libc::PROT_EXEC | libc::PROT_WRITE).cast_unsigned());
    rules.insert(
        libc::SYS_mmap,
        vec![SeccompRule::new(vec![when(2, MaskedEq(both), libc::PROT_EXEC | libc::PROT_WRITE)?])?],
    );
    rules.insert(libc::SYS_mprotect, vec![SeccompRule::new(vec![when(2, MaskedEq(exec), libc::PROT_EXEC)?])?]);
    // What is typed by ioctl into a terminal is run by the shell that waits there.
    rules.insert(
        libc::SYS_ioctl,
        vec![SeccompRule::new(vec![SeccompCondition::new(1, SeccompCmpArgLen::Dword, Eq, libc::TIOCSTI)?])?],
    );
    Ok(rules)
}
