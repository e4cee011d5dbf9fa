//! Databases that are copies, and what tells them from the original.

use std::fs;

use wavegate_engine::Change;

use super::world::{NOW, World, approve, db_in, greet, open_in, try_write};
use crate::{
    driver::Store as _,
    store::{
        Opened,
        backup::{BackupError, back_up},
        restored::Memory,
    },
};

fn why(opened: &Opened) -> Option<&str> {
    opened.restored.as_ref().map(|evidence| evidence.why.as_str())
}

/// What the coordinator does with it at its start.
fn note(opened: &mut Opened) {
    let evidence = opened.restored.as_ref().unwrap().name.clone();
    try_write(&mut opened.store, &[Change::Restored { evidence }]).unwrap();
}

#[test]
fn a_database_that_came_without_its_folder_is_a_copy_until_that_is_noted() {
    let mut world = World::new();
    world.submit(&greet());
    assert_eq!(why(&world.opened), None);
    world.opened.files.name_start(&world.opened.epoch).unwrap();
    let world = world.crash();
    assert_eq!(why(&world.opened), None);

    let elsewhere = tempfile::tempdir().unwrap();
    for name in ["wavegate.db", "wavegate.db-wal"] {
        fs::copy(world.db().with_file_name(name), elsewhere.path().join(name)).unwrap();
    }
    // A start that is killed before it has paused the plans leaves it to the next.
    for _ in 0..2 {
        let opened = open_in(elsewhere.path()).unwrap();
        assert!(why(&opened).unwrap().contains("came here without the folder"), "{:?}", opened.restored);
    }
    note(&mut open_in(elsewhere.path()).unwrap());
    assert_eq!(why(&open_in(elsewhere.path()).unwrap()), None);
}

#[test]
fn a_backup_is_whole_beside_a_writer_and_known_as_one_until_that_is_noted() {
    let mut world = World::new();
    let plan = world.submit(&greet());
    let digest = world.opened.artifacts.put(b"an artifact").unwrap();
    // What is written and not committed is no part of it.
    world.store().begin().unwrap();
    world.store().write(&approve(plan), NOW).unwrap();
    let copy = tempfile::tempdir().unwrap();
    let made = back_up(&world.db(), &db_in(copy.path()), NOW).unwrap();
    assert_eq!(made.artifacts, 1);
    world.store().commit().unwrap();

    let mut opened = open_in(copy.path()).unwrap();
    assert!(why(&opened).unwrap().contains("is a backup"), "{:?}", opened.restored);
    assert_eq!(opened.artifacts.missing(&[digest]), []);
    let plans = opened.store.load().unwrap().plans;
    assert_eq!((plans.len(), plans[0].row.mode), (1, None));
    note(&mut opened);
    drop(opened);
    // A database, and no backup any more: the next backup does not take its place.
    assert_eq!(why(&open_in(copy.path()).unwrap()), None);
    let refused = back_up(&world.db(), &db_in(copy.path()), NOW);
    assert!(matches!(refused, Err(BackupError::Occupied(_))), "{refused:?}");
}

#[test]
fn a_worker_that_knows_nothing_newer_proves_nothing() {
    let (world, _, lease) = World::with_lease();
    let memory = |nonce: &str, granted: &str, accepted: &str| Memory {
        epoch_nonce: nonce.to_owned(),
        last_granted: granted.to_owned(),
        last_accepted: accepted.to_owned(),
    };
    let (own, lease) = (world.opened.epoch.nonce.as_str(), lease.id.to_string());
    let looked = |memory| world.opened.reader.restored_by(&memory).unwrap();
    assert_eq!(looked(memory("", "", "")), None);
    assert_eq!(looked(memory(own, "", "")), None);
    assert_eq!(looked(memory(own, &lease, "")), None);
    assert!(looked(memory("another", "", "")).is_some_and(|why| why.contains("older copy")));
    assert!(looked(memory(own, "1234", "")).is_some_and(|why| why.contains("lease 1234")));
    // It is granted, and no result is there: the worker was told otherwise.
    assert!(looked(memory(own, &lease, &lease)).is_some_and(|why| why.contains("accepted")));
}
