//! Namespaces of Linux: a network with nothing in it but loopback, processes and mounts of its own.

use std::fs;
use std::io;
use std::os::fd::AsRawFd as _;

use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::socket::{AddressFamily, MsgFlags, NetlinkAddr, SockFlag, SockProtocol, SockType, recv, sendto, socket};
use nix::unistd::{getegid, geteuid};

use super::{Network, Policy, Protections, mounts};

/// Who it is in its own namespace where it is root outside: without rights there.
const NOBODY: u32 = 65534;

/// Enters as many as the system allows, and says what holds by that.
pub(super) fn enter(policy: &Policy) -> Protections {
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    let has_sockets = mounts::has_sockets(policy);
    let all = CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWIPC;
    let is_mapped = match unshare(CloneFlags::CLONE_NEWUSER | all) {
        Ok(()) => map_ids(user, group).is_ok(),
        // User namespaces may be off while this process may have the others.
        Err(_) => match unshare(all) {
            Ok(()) => true,
            Err(_) => return Protections::default(),
        },
    };
    let is_hidden = is_mapped
        && mounts::hide(policy)
            .inspect_err(|error| eprintln!("engine-sandbox: other programs' files can't be hidden: {error}"))
            .is_ok();
    // Engines that talk to themselves need it; for the others it does no harm.
    let _ = loopback_up();
    Protections {
        network: Network::Itself,
        // Those without a path are in the network that it left; those with one are out of sight, as far as is known.
        sockets: is_hidden && !has_sockets,
        temporary: is_hidden,
        ..Protections::default()
    }
}

/// From now on this thread's children are in a namespace of their own; all of them end with the first.
pub(super) fn own_processes() -> bool {
    unshare(CloneFlags::CLONE_NEWPID).is_ok()
}

/// The one user and group that there are: this process's own.
fn map_ids(user: u32, group: u32) -> io::Result<()> {
    let inside = |id: u32| if id == 0 { NOBODY } else { id };
    // Without this an ordinary user may not map groups.
    fs::write("/proc/self/setgroups", "deny")?;
    fs::write("/proc/self/uid_map", format!("{} {user} 1", inside(user)))?;
    fs::write("/proc/self/gid_map", format!("{} {group} 1", inside(group)))
}

/// Switches loopback on: `RTM_NEWLINK` for the first interface, with `IFF_UP` (rtnetlink(7)).
fn loopback_up() -> Result<(), Errno> {
    const RTM_NEWLINK: u16 = 16;
    const REQUEST_WITH_ANSWER: u16 = 0x1 | 0x4;
    const IFF_UP: u32 = 1;
    const LOOPBACK: i32 = 1;
    let mut message = Vec::with_capacity(32);
    // nlmsghdr: length, type, flags, sequence, port.
    message.extend(32_u32.to_ne_bytes());
    message.extend(RTM_NEWLINK.to_ne_bytes());
    message.extend(REQUEST_WITH_ANSWER.to_ne_bytes());
    message.extend(1_u32.to_ne_bytes());
    message.extend(0_u32.to_ne_bytes());
    // ifinfomsg: family and padding, type, index, flags, which of them to change.
    message.extend([0; 4]);
    message.extend(LOOPBACK.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    message.extend(IFF_UP.to_ne_bytes());
    let link = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkRoute,
    )?;
    sendto(link.as_raw_fd(), &message, &NetlinkAddr::new(0, 0), MsgFlags::empty())?;
    // The kernel has done it when it answers.
    let mut answer = [0; 256];
    recv(link.as_raw_fd(), &mut answer, MsgFlags::empty()).map(|_| ())
}
