//! Disks that are full, fail or lose things: new mail gets an error, nothing else is lost.

use crate::*;
use std::io::ErrorKind;
use std::sync::Arc;
use store::{Action, Disk, Faults, Operation, Order, Selection, State};

fn faulty(folder: &Path) -> (Store, Arc<Faults>) {
    let faults = Arc::new(Faults::default());
    (Store::open_on(folder, limits(), Disk::Faulty(faults.clone())).unwrap(), faults)
}

/// Twelve messages at once while `operation` fails at one call; then one more.
async fn check(operation: Operation, good: u32, kind: ErrorKind) {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = faulty(folder.path());
    commit(&store, id(900), 5_000, &["a.test"]).await.unwrap();
    faults.plan(operation, good, 1, kind);
    let tasks: Vec<_> = (0..12)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { commit(&store, id(n), LENGTHS[n as usize % 3], &["a.test"]).await })
        })
        .collect();
    let mut acknowledged = vec![id(900)];
    let mut refused = 0;
    for task in tasks {
        match task.await.unwrap() {
            Ok(committed) => acknowledged.push(committed.id()),
            Err(Refused::Failed(error)) => {
                assert_eq!(error.kind(), kind);
                refused += 1;
            }
            Err(other) => panic!("{other}"),
        }
    }
    assert!(refused > 0, "{operation:?} {good} was not reached");
    acknowledged.push(commit(&store, id(901), 5_000, &["a.test"]).await.expect("the next one works").id());
    acknowledged.sort();
    assert_eq!(ids(&due(&store, "a.test")), acknowledged);
    drop(store);
    let store = open(folder.path());
    let found = due(&store, "a.test");
    assert_eq!(ids(&found), acknowledged, "{operation:?} {good}");
    assert!(found.iter().all(|delivery| whole(&store, delivery)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_refuses_its_batch_and_spoils_nothing_else() {
    for kind in [ErrorKind::StorageFull, ErrorKind::ReadOnlyFilesystem, ErrorKind::Other] {
        for good in 0..2 {
            for operation in [Operation::Create, Operation::Write, Operation::Sync, Operation::SyncFolder] {
                check(operation, good, kind).await;
            }
        }
        check(Operation::Begin, 0, kind).await;
        check(Operation::Commit, 0, kind).await;
    }
}

#[tokio::test]
async fn a_full_spool_refuses_and_recovers() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = faulty(folder.path());
    faults.pages_max(60);
    let mut count = 0;
    let error = loop {
        match commit(&store, id(count), 900, &["a.test"]).await {
            Ok(_) => count += 1,
            Err(refused) => break refused,
        }
        assert!(count < 10_000, "never full");
    };
    assert!(matches!(error, Refused::Failed(ref error) if error.kind() == ErrorKind::StorageFull), "{error}");
    assert_eq!(due(&store, "a.test").len(), count as usize);
    faults.pages_max(10_000);
    commit(&store, id(count), 900, &["a.test"]).await.unwrap();
    assert_eq!(due(&store, "a.test").len(), count as usize + 1);
    assert!(!store.alerts().is_empty());
}

#[tokio::test]
async fn what_became_of_mail_is_kept_until_the_disk_works_again() {
    let folder = tempfile::tempdir().unwrap();
    let (store, faults) = faulty(folder.path());
    let committed = commit(&store, id(1), 10, &["a.test"]).await.unwrap();
    faults.plan(Operation::Commit, 0, 1, ErrorKind::StorageFull);
    store.settle(gone(&committed.deliveries()[0])).await.unwrap();
    assert!(due(&store, "a.test").is_empty());
    assert!(faults.calls(Operation::Commit) >= 3, "accepted, failed, repeated");
}

#[tokio::test]
async fn below_the_reserve_new_mail_is_refused_and_old_mail_leaves() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let committed = commit(&store, id(1), 10, &["a.test"]).await.unwrap();
    let delivery = committed.into_deliveries().remove(0);
    drop(store);
    let store = Store::open(folder.path(), Limits { disk_reserve: u64::MAX, ..limits() }).unwrap();
    assert!(matches!(store.room(), Err(Refused::Full { .. })));
    let refused = commit(&store, id(2), 10, &["a.test"]).await.unwrap_err();
    assert!(matches!(refused, Refused::Full { free, reserve: u64::MAX } if free > 0));
    store.settle(gone(&delivery)).await.unwrap();
    assert_eq!(store.usage().queued, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_id_given_twice_is_refused_alone() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    commit(&store, id(5), 10, &["a.test"]).await.unwrap();
    let tasks: Vec<_> = (0..10)
        .map(|n| {
            let store = store.clone();
            tokio::spawn(async move { commit(&store, id(n), LENGTHS[1], &["a.test"]).await.is_ok() })
        })
        .collect();
    for (n, task) in (0..).zip(tasks) {
        assert_eq!(task.await.unwrap(), n != 5, "{n}");
    }
    assert_eq!(store.usage().queued, 10);
}

/// Damages message 1 of three with `damage`, then everything else must go on and message 1 be set aside.
async fn set_aside(length: usize, damage: impl Fn(&Path)) {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    commit(&store, id(0), 10, &["a.test"]).await.unwrap();
    commit(&store, id(1), length, &["a.test"]).await.unwrap();
    commit(&store, id(2), LENGTHS[2], &["a.test"]).await.unwrap();
    drop(store);
    damage(folder.path());
    let store = open(folder.path());
    for delivery in due(&store, "a.test") {
        if delivery.message.id != id(1) {
            assert!(whole(&store, &delivery));
        } else if let Ok(content) = store.content(&delivery.message) {
            let error = content.read().unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            store.set_aside(id(1), &error.to_string());
        }
    }
    commit(&store, id(3), 10, &["a.test"]).await.unwrap();
    assert_eq!(ids(&due(&store, "a.test")), [id(0), id(2), id(3)]);
    assert_eq!(store.alerts()[0].message, Some(id(1)));
    assert_eq!(store.usage().held, 1);
    drop(store);
    let store = open(folder.path());
    assert_eq!(store.alerts()[0].message, Some(id(1)), "remembered");
    let listed = store.list(&Selection { state: Some(State::SetAside), ..Default::default() }, 9, None).unwrap();
    assert_eq!(listed[0].id, id(1));
    assert!(listed[0].status.contains("set aside"), "{}", listed[0].status);
    let order = Order {
        action: Action::Delete,
        selection: Selection { ids: vec![id(1)], ..Default::default() },
        by: "alice".into(),
        at: Time(1),
        dry_run: false,
    };
    assert_eq!(store.order(order, |_| {}).await.unwrap(), 1);
    assert_eq!(store.usage().held, 0);
}

#[tokio::test]
async fn damaged_content_in_a_row_is_set_aside() {
    set_aside(LENGTHS[0], |folder| {
        tamper(folder, &format!("UPDATE message SET content = zeroblob(500) WHERE id = {}", id(1).to_i64()))
    })
    .await;
}

#[tokio::test]
async fn a_damaged_envelope_is_set_aside() {
    set_aside(LENGTHS[0], |folder| {
        tamper(folder, &format!("UPDATE message SET envelope = '{{' WHERE id = {}", id(1).to_i64()))
    })
    .await;
}

#[tokio::test]
async fn damaged_recipients_are_set_aside() {
    set_aside(LENGTHS[0], |folder| {
        tamper(folder, &format!("UPDATE delivery SET recipients = 'x' WHERE message = {}", id(1).to_i64()))
    })
    .await;
}

#[tokio::test]
async fn a_missing_message_row_is_set_aside() {
    set_aside(LENGTHS[0], |folder| tamper(folder, &format!("DELETE FROM message WHERE id = {}", id(1).to_i64()))).await;
}

#[tokio::test]
async fn a_missing_segment_is_set_aside() {
    set_aside(LENGTHS[1], |folder| std::fs::remove_file(folder.join("segments/00000001.seg")).unwrap()).await;
}

#[tokio::test]
async fn a_short_segment_is_set_aside() {
    set_aside(LENGTHS[1], |folder| {
        let file = std::fs::File::options().write(true).open(folder.join("segments/00000001.seg")).unwrap();
        file.set_len(3_000).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_changed_octet_in_a_segment_is_set_aside() {
    set_aside(LENGTHS[1], |folder| {
        let path = folder.join("segments/00000001.seg");
        let mut octets = std::fs::read(&path).unwrap();
        octets[2_000] ^= 1;
        std::fs::write(&path, octets).unwrap();
    })
    .await;
}

#[tokio::test]
async fn a_damaged_spool_is_told_with_path_and_remedy() {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("spool.db"), [b'x'; 8192]).unwrap();
    let error = Store::open(folder.path(), limits()).unwrap_err().to_string();
    assert!(error.contains("spool.db") && error.contains(".recover"), "{error}");
}

#[tokio::test]
async fn a_spool_of_a_newer_version_is_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open(folder.path()));
    tamper(folder.path(), "PRAGMA user_version = 99");
    let error = Store::open(folder.path(), limits()).unwrap_err().to_string();
    assert!(error.contains("newer gatepost"), "{error}");
}

#[tokio::test]
async fn a_missing_segment_is_told_before_anybody_asks_for_its_mail() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    commit(&store, id(1), LENGTHS[1], &["a.test"]).await.unwrap();
    drop(store);
    std::fs::remove_file(folder.path().join("segments/00000001.seg")).unwrap();
    let store = open(folder.path());
    assert_eq!(store.alerts()[0].message, Some(id(1)));
    assert!(store.alerts()[0].what.contains("00000001.seg is missing"), "{:?}", store.alerts());
}

#[test]
fn the_data_folder_is_nobody_elses_business() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    drop(open(&folder.path().join("data")));
    assert_eq!(std::fs::metadata(folder.path().join("data")).unwrap().permissions().mode() & 0o777, 0o700);
}
