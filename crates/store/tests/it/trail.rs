//! The audit trail: what is acknowledged has its events, each once, whatever happens between spool and records.

use crate::*;
use std::fs;
use store::AuditFilter;

fn kinds(store: &Store, id: AuditId) -> Vec<String> {
    store.audit_show(id).unwrap().into_iter().map(|event| event.kind).collect()
}

#[tokio::test]
async fn events_are_found_with_their_change() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let committed = commit(&store, id(1), 10, &["a.test"]).await.unwrap();
    store.settle(gone(&committed.deliveries()[0])).await.unwrap();
    assert_eq!(kinds(&store, id(1)), ["accept", "delivery"]);
    let filter = AuditFilter { term: Some("ANN@corp".into()), ..Default::default() };
    assert_eq!(store.audit_search(&filter, 5).unwrap()[0].id, id(1));
    let filter = AuditFilter { until: Some(Time(id(1).ms())), ..filter };
    assert!(store.audit_search(&filter, 5).unwrap().is_empty());
}

/// The spool as it was before anything was shipped, beside records that have everything: the crash fell between the
/// two commits.
#[tokio::test]
async fn events_shipped_before_a_crash_are_not_shipped_again() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut old = Vec::new();
    for n in 0..20 {
        commit(&store, id(n), 10, &["a.test"]).await.unwrap();
    }
    for name in ["spool.db", "spool.db-wal"] {
        old.push((folder.path().join(name), fs::read(folder.path().join(name)).unwrap()));
    }
    assert_eq!(kinds(&store, id(19)), ["accept"]);
    drop(store);
    for (path, octets) in old {
        fs::write(path, octets).unwrap();
    }
    let store = open(folder.path());
    commit(&store, id(20), 10, &["a.test"]).await.unwrap();
    for n in 0..=20 {
        assert_eq!(kinds(&store, id(n)), ["accept"], "{n}");
    }
}

/// The records as they were before: the crash fell before anything was shipped.
#[tokio::test]
async fn events_not_shipped_before_a_crash_are_shipped_afterwards() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..20 {
        commit(&store, id(n), 10, &["a.test"]).await.unwrap();
    }
    drop(store);
    let store = open(folder.path());
    for n in 0..20 {
        assert_eq!(kinds(&store, id(n)), ["accept"], "{n}");
    }
    assert_eq!(store.last_audit_id(), Some(id(19)));
}

#[tokio::test]
async fn a_damaged_trail_does_not_stop_mail() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    commit(&store, id(1), 10, &["a.test"]).await.unwrap();
    drop(store);
    fs::write(folder.path().join("records.db"), [b'x'; 8192]).unwrap();
    let store = open(folder.path());
    assert_eq!(due(&store, "a.test").len(), 1);
    assert!(store.alerts()[0].what.contains("records.db.damaged-"), "{:?}", store.alerts());
    commit(&store, id(2), 10, &["a.test"]).await.unwrap();
    assert_eq!(kinds(&store, id(2)), ["accept"]);
}

#[tokio::test]
async fn old_events_can_be_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    commit(&store, id(1), 10, &["a.test"]).await.unwrap();
    store.audit_show(id(1)).unwrap();
    assert_eq!(store.audit_forget(Time(7), 10).unwrap(), 0);
    assert_eq!(store.audit_forget(Time(id(2).ms()), 10).unwrap(), 1);
    assert!(kinds(&store, id(1)).is_empty());
}
