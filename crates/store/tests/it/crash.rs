//! Power cuts: the folder is copied while mail comes in, content cut to what had been synced, and opened again.

use crate::*;
use std::fs;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use store::{Disk, Faults};

/// A copy of the data folder as a power cut would leave it: the WAL with a torn end, content only as far as synced.
/// The database file itself does not change before the first checkpoint, which this little mail does not reach.
fn cut(folder: &Path, faults: &Faults) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    fs::create_dir(copy.path().join("segments")).unwrap();
    for name in ["spool.db", "spool.db-wal"] {
        fs::copy(folder.join(name), copy.path().join(name)).unwrap();
    }
    let mut wal = fs::File::options().append(true).open(copy.path().join("spool.db-wal")).unwrap();
    wal.write_all(&[0xA5; 5_000]).unwrap();
    let files: Vec<PathBuf> =
        fs::read_dir(folder.join("segments")).unwrap().map(|entry| entry.unwrap().path()).collect();
    for path in files {
        let to = copy.path().join("segments").join(path.file_name().unwrap());
        // Removed between listing and copying: its mail is gone.
        if fs::copy(&path, &to).is_ok() {
            let length = faults.synced(&path).min(fs::metadata(&to).unwrap().len());
            fs::File::options().write(true).open(&to).unwrap().set_len(length).unwrap();
        }
    }
    copy
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_moment_the_power_fails_acknowledged_mail_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let faults = Arc::new(Faults::default());
    let store = Store::open_on(folder.path(), limits(), Disk::Faulty(faults.clone())).unwrap();
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let next = Arc::new(AtomicU16::new(0));
    let senders: Vec<_> = (0..8)
        .map(|_| {
            let (store, acknowledged, next) = (store.clone(), acknowledged.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= 400 {
                        return;
                    }
                    let committed = commit(&store, id(n), LENGTHS[n as usize % 3], &["a.test"]).await.unwrap();
                    if n.is_multiple_of(4) {
                        // Delivered: it may come back, but need not.
                        store.settle(gone(&committed.deliveries()[0])).await.unwrap();
                    } else {
                        acknowledged.lock().unwrap().push(id(n));
                    }
                }
            })
        })
        .collect();
    let mut copies = Vec::new();
    while !senders.iter().all(|sender| sender.is_finished()) {
        let promised = acknowledged.lock().unwrap().clone();
        copies.push((promised, cut(folder.path(), &faults)));
    }
    for sender in senders {
        sender.await.unwrap();
    }
    assert!(copies.len() > 1);
    for (promised, copy) in copies.into_iter().rev().take(20) {
        let store = open(copy.path());
        // The copy takes a moment, in which a delivered message's file may go: of the others nothing may be missing.
        let missing: Vec<_> =
            store.alerts().into_iter().filter(|alert| alert.message.is_none_or(|id| promised.contains(&id))).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let found = due(&store, "a.test");
        let there: HashSet<AuditId> = ids(&found).into_iter().collect();
        let lost: Vec<_> = promised.iter().filter(|id| !there.contains(id)).collect();
        assert!(lost.is_empty(), "lost {lost:?}");
        assert!(
            found
                .iter()
                .filter(|delivery| promised.contains(&delivery.message.id))
                .all(|delivery| whole(&store, delivery))
        );
    }
}

#[tokio::test]
async fn leftovers_of_a_crash_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    commit(&store, id(1), 5_000, &["a.test"]).await.unwrap();
    drop(store);
    let segment = folder.path().join("segments/00000001.seg");
    let length = fs::metadata(&segment).unwrap().len();
    fs::File::options().append(true).open(&segment).unwrap().write_all(b"never committed").unwrap();
    fs::write(folder.path().join("segments/00000077.seg"), b"a draft").unwrap();
    let store = open(folder.path());
    assert_eq!(fs::metadata(&segment).unwrap().len(), length);
    assert_eq!(segments(folder.path()), 1);
    commit(&store, id(2), 5_000, &["a.test"]).await.unwrap();
    assert!(due(&store, "a.test").iter().all(|delivery| whole(&store, delivery)));
    assert!(store.alerts().is_empty());
}
