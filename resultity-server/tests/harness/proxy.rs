//! A proxy on TCP that does to connections what networks do: delays, throttles, cuts in the middle of a frame, swallows
//! everything for a while. What it draws it draws from a seed. The soak in `benches` uses this same file.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// The largest piece that is passed on at once: small enough that frames are cut in their middle.
const PIECE: usize = 1024;

/// Luck with a seed (SplitMix64).
#[derive(Debug, Clone)]
pub struct Luck(u64);

impl Luck {
    /// The luck of this seed.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Another one, named by a number: it does not matter in which order the numbers are asked for.
    pub const fn of(seed: u64, number: u64) -> Self {
        Self(Self(seed ^ number.wrapping_mul(0xd6e8_feb8_6659_fd93)).mixed())
    }

    const fn mixed(&self) -> u64 {
        let number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        number ^ (number >> 31)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.mixed()
    }

    /// A number from 0 to `most`, both possible.
    pub const fn up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(count) => self.next() % count,
            None => self.next(),
        }
    }

    /// Whether something happens that does so `times` times in 10 000.
    pub const fn happens(&mut self, times: u32) -> bool {
        self.up_to(9_999) < times as u64
    }
}

/// What is done to all connections from now on.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Weather {
    /// The longest pause before a piece is passed on.
    pub delay: Duration,
    /// Bytes a second of one connection and direction; 0: as fast as it goes.
    pub rate: u64,
    /// How many of 10 000 pieces are cut: half of the piece is passed on, then the connection ends.
    pub cuts: u32,
    /// Whether nothing is passed on, though connections stay open.
    pub swallows: bool,
}

#[derive(Debug)]
struct Shared {
    upstream: Mutex<SocketAddr>,
    weather: watch::Sender<Weather>,
    /// Its changes end every connection.
    cut: watch::Sender<u64>,
    cuts: AtomicU64,
    /// Connections that begin so are ended at once.
    refused: Mutex<Option<&'static str>>,
    luck: Mutex<Luck>,
}

impl Shared {
    fn refused(&self) -> Option<&'static str> {
        *self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut Luck) -> T) -> T {
        draw(&mut self.luck.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// A proxy on a port of its own. All its connections end when it is dropped.
#[derive(Debug)]
pub struct FaultProxy {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

impl FaultProxy {
    /// Listens on a free port of this machine and passes on to `upstream`, in fair weather.
    pub async fn start(upstream: SocketAddr, seed: u64) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            upstream: Mutex::new(upstream),
            weather: watch::Sender::default(),
            cut: watch::Sender::default(),
            cuts: AtomicU64::new(0),
            refused: Mutex::default(),
            luck: Mutex::new(Luck::new(seed)),
        });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self {
            address,
            shared,
            accepting,
        })
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Passes new connections on to another address, that of a process that was started anew.
    pub fn lead_to(&self, upstream: SocketAddr) {
        *self.shared.upstream.lock().unwrap_or_else(PoisonError::into_inner) = upstream;
    }

    /// Changes the weather, for connections that are there too.
    pub fn set(&self, weather: Weather) {
        self.shared.weather.send_replace(weather);
    }

    /// From now on ends every new connection that begins with this, or passes all of them on again.
    pub fn refuse(&self, start: Option<&'static str>) {
        *self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner) = start;
    }

    /// Ends all connections, wherever they are.
    pub fn cut_all(&self) {
        self.shared.cut.send_modify(|cuts| *cuts += 1);
    }

    /// How many connections were cut so far.
    pub fn cuts(&self) -> u64 {
        self.shared.cuts.load(Ordering::Relaxed)
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut_all();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        // Out of descriptors, say: a moment later there may be some.
        let Ok((client, _)) = listener.accept().await else {
            tokio::task::yield_now().await;
            continue;
        };
        tokio::spawn(connection(client, Arc::clone(&shared)));
    }
}

async fn connection(client: TcpStream, shared: Arc<Shared>) {
    let mut cut = shared.cut.subscribe();
    if let Some(start) = shared.refused() {
        let mut first = vec![0; start.len()];
        loop {
            match client.peek(&mut first).await {
                Ok(length) if length >= start.len() => break,
                // More is on the way.
                Ok(length) if length > 0 => tokio::task::yield_now().await,
                _ => return,
            }
        }
        if first == start.as_bytes() {
            return;
        }
    }
    let upstream = *shared.upstream.lock().unwrap_or_else(PoisonError::into_inner);
    // Nobody there: the client sees its connection end, as behind many a load balancer.
    let Ok(server) = TcpStream::connect(upstream).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    let both = async {
        tokio::try_join!(
            pass_on(from_client, to_server, &shared),
            pass_on(from_server, to_client, &shared)
        )
    };
    tokio::select! {
        _ = both => {}
        _ = cut.changed() => {
            shared.cuts.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One direction, until its end; an error ends the other one too.
async fn pass_on(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, shared: &Shared) -> io::Result<()> {
    let mut weather = shared.weather.subscribe();
    let mut piece = [0; PIECE];
    loop {
        let length = from.read(&mut piece).await?;
        let piece = &piece[..length];
        let now = *weather
            .wait_for(|weather| !weather.swallows)
            .await
            .map_err(io::Error::other)?;
        if piece.is_empty() {
            return to.shutdown().await;
        }
        if !now.delay.is_zero() {
            let most = now.delay.as_micros() as u64;
            tokio::time::sleep(Duration::from_micros(shared.draw(|luck| luck.up_to(most)))).await;
        }
        if now.cuts > 0 && shared.draw(|luck| luck.happens(now.cuts)) {
            to.write_all(&piece[..length / 2]).await?;
            shared.cuts.fetch_add(1, Ordering::Relaxed);
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        to.write_all(piece).await?;
        if let Some(micros) = (length as u64 * 1_000_000).checked_div(now.rate) {
            tokio::time::sleep(Duration::from_micros(micros)).await;
        }
    }
}
