//! What an engine sees of the file system: of the system its programs and libraries, of all else its own alone. Folders for
//! temporary files are empty and its own: two engines can't meet there, and nothing in them outlives the engine.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{OpenOptionsExt as _, symlink};
use std::path::{Path, PathBuf};

use nix::libc::O_PATH;
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{Policy, TEMPORARY, landlock};

/// Folders of the system at the top that stay as they are: programs, libraries, settings and the kernel's own. Whether a
/// program keeps sockets there is looked up: [`has_sockets`].
const KEPT: [&str; 11] = [
    "bin", "etc", "lib", "lib32", "lib64", "libx32", "opt", "proc", "sbin", "sys", "usr",
];

/// Folders of programs and libraries beside which there is more, such as the socket of a daemon that builds what it is told.
const STORES: [&str; 2] = ["/nix/store", "/gnu/store"];

/// Every Unix socket of this network namespace, with its path if it has one (proc_net(5)).
const SOCKETS: &str = "/proc/self/net/unix";

/// What programs expect beside devices.
const LINKS: [(&str, &str); 4] = [
    ("/proc/self/fd", "/dev/fd"),
    ("/proc/self/fd/0", "/dev/stdin"),
    ("/proc/self/fd/1", "/dev/stdout"),
    ("/proc/self/fd/2", "/dev/stderr"),
];

const NOTHING: Option<&str> = None;

/// Hides what is not the engine's. If it fails, all is as it was.
pub(super) fn hide(policy: &Policy) -> io::Result<()> {
    // A place to write it down: the second stage can't make a file where nothing may be made.
    File::create(&policy.report)?;
    let temporary = TEMPORARY.iter().filter_map(|path| fs::canonicalize(path).ok());
    let plan = Plan::new(top()?, temporary.collect(), used(policy))?;
    mount(NOTHING, "/", NOTHING, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NOTHING)?;
    let mut mounted = Vec::new();
    let hidden = plan.carry_out(&mut mounted);
    if hidden.is_err() {
        for path in mounted.iter().rev() {
            // Nothing better can be done.
            let _ = umount2(path, MntFlags::MNT_DETACH);
        }
    }
    hidden?;
    // Out of what is hidden now.
    std::env::set_current_dir("/")
}

/// The folders at the top that are hidden.
fn top() -> io::Result<Vec<PathBuf>> {
    let entries = fs::read_dir("/")?.flatten();
    let folders = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let hidden = folders.filter(|entry| !KEPT.iter().any(|kept| entry.file_name() == *kept));
    Ok(hidden.map(|entry| entry.path()).collect())
}

/// Whether somebody listens on a Unix socket where the engine would see it all the same: ask before the network is left. Those
/// of other networks, of paths that begin nowhere, and those that come later, nobody tells of.
pub(super) fn has_sockets(policy: &Policy) -> bool {
    let kept = KEPT.map(|folder| Path::new("/").join(folder)).into_iter();
    let seen: Vec<PathBuf> = kept
        .chain(STORES.map(PathBuf::from))
        .chain(policy.readable.iter().cloned())
        .collect();
    // Where nothing can be said, nothing is claimed.
    fs::read(SOCKETS).map_or(true, |table| is_one_in(&String::from_utf8_lossy(&table), &seen))
}

/// Whether one of these sockets lies in one of these folders.
fn is_one_in(table: &str, folders: &[PathBuf]) -> bool {
    let folders: Vec<PathBuf> = folders
        .iter()
        .filter_map(|folder| fs::canonicalize(folder).ok())
        .collect();
    let paths = table
        .lines()
        .skip(1)
        .filter_map(|line| Some(&line[line.find(" /")? + 1..]));
    // A path that leads nowhere, or where this user can't go, leads the engine nowhere.
    let mut sockets = paths.filter_map(|path| fs::canonicalize(path).ok());
    sockets.any(|socket| folders.iter().any(|folder| socket.starts_with(folder)))
}

/// All that the engine and its sandbox need: as it is named, and where it is.
fn used(policy: &Policy) -> Vec<PathBuf> {
    let named = policy.readable.iter().chain(&policy.writable);
    let named = named.chain([&policy.program, &policy.report, &policy.folder]);
    let socket = policy.pass_on.iter().filter_map(|(socket, _)| socket.parent());
    let named = named.cloned().chain(socket.map(Path::to_owned));
    let named = named.chain(landlock::devices()).chain(STORES.map(PathBuf::from));
    named
        .filter_map(|path| Some([fs::canonicalize(&path).ok()?, path]))
        .flatten()
        .filter(|path| path.is_absolute())
        .collect()
}

/// What is mounted where.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// Empty but for what is bound, and read-only.
    hidden: Vec<PathBuf>,
    /// Empty but for what is bound, and writable.
    own: Vec<PathBuf>,
    /// What is seen all the same, first those outside of `own`.
    bound: Vec<PathBuf>,
}

impl Plan {
    fn new(top: Vec<PathBuf>, temporary: Vec<PathBuf>, used: Vec<PathBuf>) -> io::Result<Self> {
        if used.iter().any(|path| path.parent().is_none()) {
            return Err(io::Error::other("all of the file system is used"));
        }
        let mut own: Vec<PathBuf> = Vec::new();
        for path in temporary {
            if !own.iter().any(|other| path.starts_with(other)) {
                own.push(path);
            }
        }
        let is_whole = |path: &PathBuf| used.contains(path) || own.contains(path);
        let hidden: Vec<_> = top.into_iter().filter(|path| !is_whole(path)).collect();
        let place = |path: &Path| own.iter().position(|folder| path.starts_with(folder));
        let mut bound: Vec<PathBuf> = Vec::new();
        let mut used: Vec<_> = used.iter().filter(|path| !own.contains(path)).cloned().collect();
        // What holds others comes before them.
        used.sort();
        for path in used {
            let is_hidden = place(&path).is_some() || hidden.iter().any(|folder| path.starts_with(folder));
            let covers = |other: &PathBuf| path.starts_with(other) && place(other) == place(&path);
            if is_hidden && !bound.iter().any(covers) {
                bound.push(path);
            }
        }
        bound.sort_by_key(|path| place(path).is_some());
        Ok(Self { hidden, own, bound })
    }

    /// Mounts everything, and says what it has mounted.
    fn carry_out(&self, mounted: &mut Vec<PathBuf>) -> io::Result<()> {
        // Held open, since they are out of sight soon.
        let bound: Vec<(&PathBuf, File, bool)> = self
            .bound
            .iter()
            .map(|path| {
                let is_folder = fs::metadata(path)?.is_dir();
                let file = OpenOptions::new().read(true).custom_flags(O_PATH).open(path)?;
                Ok((path, file, is_folder))
            })
            .collect::<io::Result<_>>()?;
        let is_own = |path: &Path| self.own.iter().any(|folder| path.starts_with(folder));
        for path in &self.hidden {
            empty(path, "mode=755,size=256k")?;
            mounted.push(path.clone());
        }
        let (inside, outside): (Vec<_>, Vec<_>) = bound.into_iter().partition(|(path, ..)| is_own(path));
        for (path, file, is_folder) in &outside {
            bind(path, file, *is_folder)?;
            mounted.push((*path).clone());
        }
        for path in &self.own {
            fs::create_dir_all(path)?;
            empty(path, "mode=1777")?;
            mounted.push(path.clone());
        }
        for (path, file, is_folder) in &inside {
            bind(path, file, *is_folder)?;
            mounted.push((*path).clone());
        }
        if self.hidden.iter().any(|path| path == Path::new("/dev")) {
            for (to, from) in LINKS {
                symlink(to, from)?;
            }
        }
        for path in &self.hidden {
            let flags = flags() | MsFlags::MS_RDONLY | MsFlags::MS_NOEXEC;
            mount(
                NOTHING,
                path,
                NOTHING,
                flags | MsFlags::MS_REMOUNT | MsFlags::MS_BIND,
                NOTHING,
            )?;
        }
        Ok(())
    }
}

fn flags() -> MsFlags {
    MsFlags::MS_NOSUID | MsFlags::MS_NODEV
}

/// Mounts an empty folder.
fn empty(path: &Path, options: &str) -> io::Result<()> {
    Ok(mount(Some("none"), path, Some("tmpfs"), flags(), Some(options))?)
}

/// Mounts what this file is at a path in an empty folder.
fn bind(path: &Path, file: &File, is_folder: bool) -> io::Result<()> {
    if is_folder {
        fs::create_dir_all(path)?;
    } else {
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder)?;
        }
        File::create_new(path)?;
    }
    let from = format!("/proc/self/fd/{}", file.as_raw_fd());
    let flags = MsFlags::MS_BIND | MsFlags::MS_REC;
    Ok(mount(Some(from.as_str()), path, NOTHING, flags, NOTHING)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(list: &[&str]) -> Vec<PathBuf> {
        list.iter().map(PathBuf::from).collect()
    }

    fn plan(temporary: &[&str], used: &[&str]) -> Result<[Vec<PathBuf>; 3], String> {
        let top = paths(&["/dev", "/srv", "/tmp", "/var"]);
        let plan = Plan::new(top, paths(temporary), paths(used)).map_err(|error| error.to_string())?;
        Ok([plan.hidden, plan.own, plan.bound])
    }

    #[test]
    fn what_is_used_stays_and_all_else_is_hidden() {
        let temporary = ["/tmp", "/var/tmp", "/dev/shm"];
        let used = [
            "/usr/bin/x",
            "/srv/engine/work",
            "/srv/engine",
            "/var/tmp/model",
            "/dev/null",
            "/dev/shm",
            "/var/tmp/model/part",
        ];
        assert_eq!(
            plan(&temporary, &used).unwrap(),
            [
                paths(&["/dev", "/srv", "/var"]),
                paths(&temporary),
                paths(&["/dev/null", "/srv/engine", "/var/tmp/model"]),
            ]
        );
    }

    #[test]
    fn a_folder_that_is_used_as_a_whole_is_seen_but_not_its_temporary_files() {
        assert_eq!(
            plan(&["/tmp", "/var/tmp"], &["/var", "/var/tmp/model"]).unwrap(),
            [
                paths(&["/dev", "/srv"]),
                paths(&["/tmp", "/var/tmp"]),
                paths(&["/var/tmp/model"]),
            ]
        );
        assert!(plan(&[], &["/"]).is_err());
    }

    #[test]
    fn a_socket_where_the_engine_looks_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        let [one, other] = ["one", "other"].map(|name| {
            let folder = dir.path().join(name);
            fs::create_dir(&folder).unwrap();
            folder
        });
        let is_seen = |folder: &PathBuf| {
            let table = String::from_utf8_lossy(&fs::read(SOCKETS).unwrap()).into_owned();
            is_one_in(&table, std::slice::from_ref(folder))
        };
        assert!(!is_seen(&one));
        let listener = std::os::unix::net::UnixListener::bind(one.join("a socket")).unwrap();
        assert!(is_seen(&one) && !is_seen(&other));
        drop(listener);
        assert!(!is_seen(&one), "nobody listens any more");
    }

    #[test]
    fn of_stores_no_more_than_what_is_in_them_is_seen() {
        assert!(
            !KEPT
                .iter()
                .any(|kept| STORES.iter().any(|store| store.starts_with(&format!("/{kept}"))))
        );
        let plan = Plan::new(paths(&["/nix"]), Vec::new(), paths(&["/nix/store"])).unwrap();
        assert_eq!((plan.hidden, plan.bound), (paths(&["/nix"]), paths(&["/nix/store"])));
    }

    #[test]
    fn one_temporary_folder_in_another_is_that_one() {
        let [_, own, _] = plan(&["/tmp", "/tmp"], &[]).unwrap();
        assert_eq!(own, paths(&["/tmp"]));
    }
}
