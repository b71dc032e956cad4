//! Which pipeline has this hash: the hashes of the node's own pipelines, computed as they are needed, the short ones first.

use std::collections::HashMap;
use std::sync::Arc;

use resultity_core::B256;
use resultity_core::infernet::subscription::containers_hash;
use tokio::sync::Mutex;
use tokio::task::{JoinError, spawn_blocking};

/// How many pipelines are tried: all of 8 containers (109 600). A table of so many takes two megabytes, and less than a second
/// to make.
const MAX_PIPELINES: u32 = 110_000;

/// Finds pipelines by their hash.
#[derive(Debug)]
pub(super) struct Lookup(Arc<Mutex<Table>>);

impl Lookup {
    pub(super) fn new(containers: impl IntoIterator<Item = String>) -> Self {
        Self(Arc::new(Mutex::new(Table::new(containers, MAX_PIPELINES))))
    }

    /// The pipeline with this hash, if it is one of those tried. Each is hashed once, whatever is asked: after that, an unknown
    /// hash costs no more than a known one.
    ///
    /// # Errors
    ///
    /// The search was cut off.
    pub(super) async fn pipeline(&self, hash: B256) -> Result<Option<Vec<String>>, JoinError> {
        let mut table = Arc::clone(&self.0).lock_owned().await;
        if let Some(found) = table.get(hash) {
            return Ok(Some(found));
        }
        if table.is_complete() {
            return Ok(None);
        }
        // One search at a time: others wait for the lock, not on threads.
        spawn_blocking(move || table.search(hash)).await
    }
}

/// Pipelines are numbered: those of one container in the order of the configuration, then those of two, and so on. None has a
/// container twice.
#[derive(Debug)]
struct Table {
    containers: Vec<String>,
    /// The first 8 bytes of a pipeline's hash, to its number.
    numbers: HashMap<u64, u32>,
    /// The first number that was not tried.
    next: u32,
    end: u32,
}

impl Table {
    fn new(containers: impl IntoIterator<Item = String>, most: u32) -> Self {
        let containers: Vec<String> = containers.into_iter().collect();
        let counts = (1..=containers.len()).map(|length| arrangements(containers.len(), length));
        let all = counts.fold(0, u64::saturating_add);
        Self {
            containers,
            numbers: HashMap::new(),
            next: 0,
            end: u32::try_from(all).unwrap_or(most).min(most),
        }
    }

    const fn is_complete(&self) -> bool {
        self.next == self.end
    }

    /// The pipeline with this hash, among those tried.
    fn get(&self, hash: B256) -> Option<Vec<String>> {
        let number = *self.numbers.get(&head(hash))?;
        let pipeline = self.numbered(number);
        (containers_hash(&pipeline) == hash).then(|| pipeline.into_iter().map(str::to_owned).collect())
    }

    /// Tries pipelines until one has this hash.
    fn search(&mut self, hash: B256) -> Option<Vec<String>> {
        // Whoever had the lock before may have found it.
        let mut found = self.get(hash);
        while found.is_none() && !self.is_complete() {
            let pipeline = self.numbered(self.next);
            let its_hash = containers_hash(&pipeline);
            if its_hash == hash {
                found = Some(pipeline.into_iter().map(str::to_owned).collect());
            }
            self.numbers.entry(head(its_hash)).or_insert(self.next);
            self.next += 1;
        }
        found
    }

    /// The pipeline with this number.
    fn numbered(&self, number: u32) -> Vec<&str> {
        let all = self.containers.len();
        let (mut rank, mut length) = (u64::from(number), 1);
        while length < all && rank >= arrangements(all, length) {
            rank -= arrangements(all, length);
            length += 1;
        }
        // Which of the containers that are left stands at each place, and which one that is of all.
        let mut taken: Vec<usize> = Vec::with_capacity(length);
        let mut pipeline = Vec::with_capacity(length);
        for place in 0..length {
            let below = arrangements(all - place - 1, length - place - 1);
            let mut index = usize::try_from(rank / below).unwrap_or(usize::MAX);
            rank %= below;
            let before = taken.iter().position(|&other| {
                let is_before = other <= index;
                index += usize::from(is_before);
                !is_before
            });
            taken.insert(before.unwrap_or(taken.len()), index);
            pipeline.extend(self.containers.get(index).map(String::as_str));
        }
        pipeline
    }
}

/// In how many orders `length` of `all` things can stand. Saturating.
fn arrangements(all: usize, length: usize) -> u64 {
    let factors = (all + 1 - length..=all).map(|factor| factor as u64);
    factors.fold(1, u64::saturating_mul)
}

fn head(hash: B256) -> u64 {
    let mut bytes = [0; 8];
    bytes.copy_from_slice(&hash[..8]);
    u64::from_be_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn table(containers: usize, most: u32) -> Table {
        Table::new((0..containers).map(|id| format!("container-{id}")), most)
    }

    #[test]
    fn short_pipelines_come_first_and_each_comes_once() {
        let table = table(5, u32::MAX);
        assert_eq!(table.end, 5 + 20 + 60 + 120 + 120);
        let mut seen = HashSet::new();
        let mut longest = 1;
        for number in 0..table.end {
            let pipeline = table.numbered(number);
            assert!(pipeline.len() >= longest, "{number}");
            longest = pipeline.len();
            assert_eq!(pipeline.iter().collect::<HashSet<_>>().len(), longest, "{pipeline:?}");
            assert!(seen.insert(pipeline.join(",")), "{pipeline:?}");
        }
        assert_eq!(longest, 5);
        assert_eq!(table.numbered(0), ["container-0"]);
        assert_eq!(table.numbered(5), ["container-0", "container-1"]);
        assert_eq!(table.numbered(9), ["container-1", "container-0"]);
    }

    #[test]
    fn a_search_goes_no_further_than_it_has_to() {
        let mut table = table(5, u32::MAX);
        let hash = containers_hash(&["container-4"]);
        assert_eq!(table.get(hash), None);
        assert_eq!(table.search(hash).unwrap(), ["container-4"]);
        assert_eq!(table.next, 5);
        assert_eq!(table.get(hash).unwrap(), ["container-4"]);
        let long = [
            "container-4",
            "container-3",
            "container-2",
            "container-1",
            "container-0",
        ];
        assert_eq!(table.search(containers_hash(&long)).unwrap(), long);
        assert!(table.is_complete());
        assert_eq!(table.search(B256::ZERO), None);
    }

    #[test]
    fn it_is_bounded_whatever_the_containers() {
        for containers in [0, 1, 2, 8, 9, 40, 300, 5000] {
            let mut table = table(containers, 500);
            assert_eq!(table.search(B256::ZERO), None);
            assert!(table.is_complete());
            assert!(table.numbers.len() <= 500, "{containers}");
        }
        assert_eq!(table(8, MAX_PIPELINES).end, 109_600);
        assert_eq!(table(9, MAX_PIPELINES).end, MAX_PIPELINES);
    }

    #[tokio::test]
    async fn every_pipeline_of_eight_containers_is_found() {
        let ids: Vec<_> = (0..8).map(|id| format!("container-{id}")).collect();
        let lookup = Lookup::new(ids.clone());
        let last: Vec<_> = ids.into_iter().rev().collect();
        assert_eq!(lookup.pipeline(containers_hash(&last)).await.unwrap(), Some(last));
        assert_eq!(lookup.pipeline(B256::ZERO).await.unwrap(), None);
    }

    #[tokio::test]
    async fn many_look_at_once() {
        let lookup = Lookup::new((0..6).map(|id| format!("c{id}")));
        let asked: Vec<_> = (0..6)
            .map(|id| [format!("c{id}"), format!("c{}", (id + 1) % 6)])
            .collect();
        let answers = futures::future::join_all(asked.iter().map(|ids| lookup.pipeline(containers_hash(ids)))).await;
        for (ids, answer) in asked.iter().zip(answers) {
            assert_eq!(answer.unwrap().unwrap(), ids);
        }
        assert_eq!(lookup.pipeline(containers_hash(&["c1", "c1"])).await.unwrap(), None);
    }
}
