//! Which files and ports an engine can open, by Landlock: rules that a process gives itself and can't take back.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible as _, LandlockStatus, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetError, RulesetStatus, Scope, path_beneath_rules,
};

use super::{Network, Policy, Protections, TEMPORARY};

/// What programs of any kind read: their libraries, and what the machine is.
const SYSTEM: [&str; 23] = [
    "/usr",
    "/lib",
    "/lib32",
    "/lib64",
    "/bin",
    "/opt",
    "/nix/store",
    "/gnu/store",
    "/etc/ld.so.cache",
    "/etc/ld.so.conf",
    "/etc/ld.so.conf.d",
    "/etc/localtime",
    "/etc/passwd",
    "/etc/group",
    "/etc/nsswitch.conf",
    "/etc/alternatives",
    "/etc/vulkan",
    "/etc/OpenCL",
    "/proc/self",
    "/proc/sys",
    "/proc/driver",
    "/sys/devices",
    "/sys/class",
];

/// Single files of the system.
const FILES: [&str; 7] = [
    "/proc/cpuinfo",
    "/proc/meminfo",
    "/proc/stat",
    "/proc/version",
    "/proc/filesystems",
    "/sys/fs/cgroup",
    "/sys/bus",
];

/// Devices that anything may use, and GPUs.
const DEVICES: [&str; 10] = [
    "/dev/null",
    "/dev/zero",
    "/dev/full",
    "/dev/random",
    "/dev/urandom",
    "/dev/dri",
    "/dev/kfd",
    "/dev/nvidiactl",
    "/dev/nvidia-uvm",
    "/dev/nvidia-uvm-tools",
];

/// How many GPUs of NVIDIA are looked for.
const MAX_GPUS: u32 = 32;

/// The newest rules that were tried here; an older kernel has fewer.
const FILE_RULES: ABI = ABI::V5;

/// The devices that an engine may use.
pub(super) fn devices() -> impl Iterator<Item = PathBuf> {
    let nvidia = (0..MAX_GPUS).map(|index| PathBuf::from(format!("/dev/nvidia{index}")));
    DEVICES.iter().map(PathBuf::from).chain(nvidia)
}

/// Shuts this process in and notes what holds. Files are the least that counts: without rules for them nothing does.
pub(super) fn restrict(policy: &Policy, held: &mut Protections) -> Result<(), String> {
    files(policy, held).map_err(|error| format!("the engine's files can't be limited: {error}"))?;
    // Each of these needs a newer kernel than files do, so that each is tried alone.
    if !policy.uses_loopback && held.network == Network::Open && no_tcp().is_ok_and(|holds| holds) {
        held.network = Network::NoTcp;
    }
    held.sockets |= no_sockets_of_others(policy).unwrap_or(false);
    held.processes |= no_signals().unwrap_or(false);
    Ok(())
}

fn files(policy: &Policy, held: &mut Protections) -> Result<(), RulesetError> {
    let read = AccessFs::from_read(FILE_RULES);
    // Sockets and folders may be made; devices may not.
    let write = AccessFs::from_all(FILE_RULES) & !(AccessFs::MakeBlock | AccessFs::MakeChar | AccessFs::Execute);
    let device = AccessFs::ReadFile | AccessFs::WriteFile | AccessFs::ReadDir | AccessFs::IoctlDev;
    let system = SYSTEM.iter().chain(&FILES).map(Path::new);
    let status = Ruleset::default()
        .handle_access(AccessFs::from_all(FILE_RULES))?
        .create()?
        .add_rules(path_beneath_rules(system, read))?
        .add_rules(path_beneath_rules(&policy.readable, read))?
        .add_rules(path_beneath_rules(&policy.writable, write))?
        .add_rules(path_beneath_rules(devices(), device))?
        .restrict_self()?;
    // What later versions than the third add are devices' own calls; before it a file could be truncated unseen.
    let is_whole = status.ruleset != RulesetStatus::NotEnforced
        && matches!(status.landlock, LandlockStatus::Available { effective_abi, .. } if effective_abi >= ABI::V3);
    // Where others write too, what it writes is not its own.
    let shares = !held.temporary
        && policy
            .writable
            .iter()
            .any(|path| TEMPORARY.iter().any(|shared| path == Path::new(shared)));
    held.files = is_whole && !shares;
    held.temporary |= held.files;
    held.privileges |= status.no_new_privs;
    Ok(())
}

/// No TCP, where the kernel knows the rule.
fn no_tcp() -> Result<bool, RulesetError> {
    let status = Ruleset::default()
        .handle_access(AccessNet::from_all(ABI::V4))?
        .create()?
        .restrict_self()?;
    Ok(status.ruleset == RulesetStatus::FullyEnforced)
}

/// No Unix sockets but those in its own folders.
fn no_sockets_of_others(policy: &Policy) -> Result<bool, RulesetError> {
    let status = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .scope(Scope::AbstractUnixSocket)?
        .handle_access(AccessFs::ResolveUnix)?
        .create()?
        .add_rules(path_beneath_rules(&policy.writable, AccessFs::ResolveUnix))?
        .restrict_self()?;
    Ok(status.ruleset == RulesetStatus::FullyEnforced)
}

/// No signals to processes outside.
fn no_signals() -> Result<bool, RulesetError> {
    let status = Ruleset::default().scope(Scope::Signal)?.create()?.restrict_self()?;
    Ok(status.ruleset == RulesetStatus::FullyEnforced)
}
