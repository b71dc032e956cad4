//! What the single parts cost on this machine: a signature, a verification, a durable commit, an `fdatasync`.

use std::fs::File;
use std::hint::black_box;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use resultity_core::canonical::sha256;
use resultity_core::clock::SystemEntropy;
use resultity_core::signing::Keypair;
use rusqlite::Connection;
use serde::Serialize;

use crate::error::LoadError;
use crate::scenario::median;

/// Medians in microseconds.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Probe {
    /// One secp256k1 signature over a digest.
    pub sign_us: f64,
    /// One verification with the public key at hand.
    pub verify_us: f64,
    /// One row in a transaction of its own: SQLite with a write-ahead log, `synchronous=FULL`.
    pub commit_us: f64,
    /// 4 KiB appended to a file, then `fdatasync`.
    pub fdatasync_us: f64,
}

/// Measures for about `budget`, in `folder`.
pub fn measure(folder: &Path, budget: Duration) -> Result<Probe, LoadError> {
    let each = budget / 4;
    let key = Keypair::generate(&SystemEntropy);
    let digest = sha256("what a node signs");
    let (signature, public) = (key.sign(digest), key.public_key());
    let sign_us = timed(each, || {
        black_box(key.sign(black_box(digest)));
        Ok(())
    })?;
    let verify_us = timed(each, || {
        public
            .verify(black_box(digest), &signature)
            .map_err(|error| LoadError::Wrong(error.to_string()))
    })?;

    let database = Connection::open(folder.join("probe.sqlite"))?;
    database.execute_batch(
        "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; CREATE TABLE probe (id INTEGER PRIMARY KEY, body TEXT);",
    )?;
    let mut insert = database.prepare("INSERT INTO probe (body) VALUES (?1)")?;
    let body = "x".repeat(200);
    let commit_us = timed(each, || Ok(insert.execute([&body]).map(drop)?))?;

    let mut file = File::create(folder.join("probe.bin")).map_err(LoadError::io("creating a file for the probe"))?;
    let page = [7; 4096];
    let fdatasync_us = timed(each, || {
        file.write_all(&page)
            .and_then(|()| file.sync_data())
            .map_err(LoadError::io("writing to the disk"))
    })?;
    Ok(Probe {
        sign_us,
        verify_us,
        commit_us,
        fdatasync_us,
    })
}

/// The median time of one run, in microseconds.
fn timed(budget: Duration, mut run: impl FnMut() -> Result<(), LoadError>) -> Result<f64, LoadError> {
    let mut times = Vec::new();
    let began = Instant::now();
    while times.len() < 20 || began.elapsed() < budget {
        let start = Instant::now();
        run()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    Ok(median(times))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_part_takes_time() {
        let folder = tempfile::tempdir().unwrap();
        let probe = measure(folder.path(), Duration::ZERO).unwrap();
        assert!(
            [probe.sign_us, probe.verify_us, probe.commit_us, probe.fdatasync_us]
                .iter()
                .all(|us| *us > 0.0)
        );
    }
}
