//! Files that can be opened, and files that can't.

use std::fs;

use super::*;

#[cfg(unix)]
#[tokio::test]
async fn the_files_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let mut place = Place::new();
    place.settings.path = place.directory.path().join("new/and/deep/results.sqlite");
    let store = place.open();
    store.accept(vec![job("a", owner(1))]).await.unwrap();
    let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(place.directory.path().join("new")), 0o700);
    assert_eq!(mode(place.directory.path().join("new/and/deep")), 0o700);
    for end in ["", "-wal", "-shm", ".lock"] {
        assert_eq!(mode(place.beside(end)), 0o600, "{end}");
    }
}

#[tokio::test]
async fn a_file_is_opened_once_at_a_time() {
    let place = Place::new();
    let store = place.open();
    let error = place.try_open().unwrap_err();
    assert_eq!(error, StoreError::InUse(place.settings.path.clone()));
    // The one that has it goes on, and others get it afterwards.
    store.accept(vec![job("a", owner(1))]).await.unwrap();
    store.close().await;
    assert_eq!(listed(&place.open(), owner(1), Some(false)).await, "a");
    assert_eq!(store.accept(vec![job("b", owner(1))]).await, Err(StoreError::Closed));
    assert_eq!(
        store.results(owner(1), &["a".into()], false).await.unwrap_err(),
        StoreError::Closed
    );
    assert_eq!(store.ids(owner(1), None).await, Err(StoreError::Closed));
    // Twice does no harm.
    store.close().await;
}

/// The error of opening a file with this in it, which has to name the file and leave it alone.
fn refused(content: &[u8]) -> StoreError {
    let place = Place::new();
    fs::write(&place.settings.path, content).unwrap();
    let error = place.try_open().unwrap_err();
    assert!(error.to_string().contains("results.sqlite"), "{error}");
    assert_eq!(fs::read(&place.settings.path).unwrap(), content);
    error
}

/// A database that this made.
fn database(sql: &str) -> Vec<u8> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("made");
    let connection = rusqlite::Connection::open(&path).unwrap();
    connection.execute_batch(sql).unwrap();
    drop(connection);
    fs::read(path).unwrap()
}

#[test]
fn what_is_no_database_of_results_is_left_alone() {
    assert!(matches!(
        refused(&b"not a database, but a text. ".repeat(200)),
        StoreError::Unusable { .. }
    ));
    assert!(matches!(
        refused(&database("CREATE TABLE other (x)")),
        StoreError::Foreign(_)
    ));
    assert!(matches!(
        refused(&database("PRAGMA user_version = 9; CREATE TABLE x (y)")),
        StoreError::Foreign(_)
    ));
    let newer = database("PRAGMA application_id = 0x52736c74; PRAGMA user_version = 99; CREATE TABLE x (y)");
    assert!(matches!(
        refused(&newer),
        StoreError::TooNew {
            found: 99,
            known: 1,
            ..
        }
    ));
    // Half of one.
    let ours = "PRAGMA application_id = 0x52736c74; CREATE TABLE x (y); CREATE TABLE z (y)";
    let half = database(ours)[..6_000].to_vec();
    assert!(matches!(refused(&half), StoreError::Unusable { .. }));
}

#[test]
fn a_place_where_no_file_can_be_is_named() {
    let mut place = Place::new();
    fs::write(place.directory.path().join("file"), "").unwrap();
    place.settings.path = place.directory.path().join("file/results.sqlite");
    let error = place.try_open().unwrap_err();
    assert!(matches!(&error, StoreError::Unusable { .. }), "{error}");
    assert!(error.to_string().contains("file/results.sqlite"), "{error}");
}
