//! Passes the connections of a Unix socket on to a port of loopback, for engines that can't listen on a socket: the port is
//! in the network of the sandbox, where nobody else is.

use std::io;
use std::net::{Ipv4Addr, Shutdown, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Connections at once; more are closed.
const MOST: usize = 1024;

/// Listens from now on.
pub(super) fn start(socket: &Path, port: u16) -> io::Result<()> {
    let listener = UnixListener::bind(socket)?;
    thread::Builder::new().spawn(move || {
        static OPEN: AtomicUsize = AtomicUsize::new(0);
        for near in listener.incoming().flatten() {
            if OPEN.fetch_add(1, Ordering::Relaxed) >= MOST {
                OPEN.fetch_sub(1, Ordering::Relaxed);
                continue;
            }
            let served = thread::Builder::new().spawn(move || {
                // An end of one side is an end of the other, and nothing else comes of a failure.
                let _ = serve(&near, port);
                OPEN.fetch_sub(1, Ordering::Relaxed);
            });
            if served.is_err() {
                OPEN.fetch_sub(1, Ordering::Relaxed);
            }
        }
    })?;
    Ok(())
}

/// Carries bytes both ways until both ends are done.
fn serve(near: &UnixStream, port: u16) -> io::Result<()> {
    let far = TcpStream::connect((Ipv4Addr::LOCALHOST, port))?;
    far.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            let asked = io::copy(&mut &*near, &mut &far);
            // A client that is gone may cancel what it asked for.
            let _ = far.shutdown(if asked.is_ok() { Shutdown::Write } else { Shutdown::Both });
        });
        let answered = io::copy(&mut &far, &mut &*near);
        let _ = near.shutdown(Shutdown::Both);
        let _ = far.shutdown(Shutdown::Both);
        answered.map(|_| ())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    #[test]
    fn bytes_go_both_ways_and_an_end_is_passed_on() {
        let engine = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = engine.local_addr().unwrap().port();
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("e.sock");
        start(&socket, port).unwrap();
        let mut client = UnixStream::connect(&socket).unwrap();
        client.write_all(b"question").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let (mut connection, _) = engine.accept().unwrap();
        let mut asked = String::new();
        connection.read_to_string(&mut asked).unwrap();
        connection.write_all(b"answer").unwrap();
        drop(connection);
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert_eq!((asked.as_str(), answer.as_str()), ("question", "answer"));
    }
}
