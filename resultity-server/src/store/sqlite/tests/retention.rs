//! What was deleted is not in the file any more.

use std::path::Path;
use std::time::Duration;

use resultity_core::job::JobState;

use super::open;
use crate::store::contract::world::{World, micros};
use crate::store::{DetachedStore, NewJob, NewPayload};

fn is_in_a_file_of(folder: &Path, text: &str) -> bool {
    let mut files = std::fs::read_dir(folder).unwrap();
    files.any(|file| {
        let content = std::fs::read(file.unwrap().path()).unwrap();
        content.windows(text.len()).any(|part| part == text.as_bytes())
    })
}

#[tokio::test]
async fn what_is_kept_no_longer_is_overwritten() {
    const SECRET: &str = "Quokkasupplicant";
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let world = World::new(store.clone()).await;
    for length in [1, 10_000] {
        let job = world.new_job(micros(1));
        let id = job.id;
        let payload = NewPayload {
            request: SECRET.repeat(length),
            work: SECRET.repeat(length),
            expires_at: job.now.after(Duration::from_secs(1)),
            most_bytes: None,
            detached: false,
            events: None,
            idempotency: None,
        };
        let job = NewJob {
            payload: Some(payload),
            ..job
        };
        world.store.reserve_and_enqueue(job, None).await.unwrap();
        world
            .store
            .release(world.release_of(id, JobState::Failed))
            .await
            .unwrap();
    }
    assert!(is_in_a_file_of(folder.path(), SECRET));
    let later = world.now().after(Duration::from_secs(5));
    assert_eq!(store.purge(later).await.unwrap(), 2);
    drop(world);
    // Its log goes with the last connection.
    store.close().await;
    drop(store);
    assert!(!is_in_a_file_of(folder.path(), SECRET));
}
