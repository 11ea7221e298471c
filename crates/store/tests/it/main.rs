//! The store's promises, tried on a disk that breaks, a power that fails and a queue that is tampered with.

// clippy.toml allows these in #[test] functions only, not in what they share.
#![allow(clippy::unwrap_used, clippy::panic)]

mod crash;
mod disk;
mod pages;
mod queue;
mod trail;

use mail::{Address, AuditId, Body, Envelope, Origin, Recipient, ReversePath, Time};
use std::collections::HashSet;
use std::path::Path;
use store::{Committed, Delivery, Event, Limits, NewDelivery, Outcome, Refused, Settle, Store};

/// Row up to 1 KiB, segments of 40 KiB, own files beyond 10 KiB: each kind of place with little mail.
fn limits() -> Limits {
    Limits { memory: 1 << 20, memory_draft: 10_000, row: 1_000, segment: 40_000, disk_reserve: 0 }
}

/// Content lengths for each place: row, shared segment, own segment.
const LENGTHS: [usize; 3] = [500, 5_000, 20_000];

fn open(folder: &Path) -> Store {
    Store::open(folder, limits()).unwrap()
}

fn id(n: u16) -> AuditId {
    AuditId::new(1_000_000 + i64::from(n), 0, 0)
}

fn recipient(address: &str) -> Recipient {
    Recipient::plain(address.parse().unwrap())
}

fn envelope(sender: &str) -> Envelope {
    let sender: Address = sender.parse().unwrap();
    Envelope {
        sender: ReversePath::Address(sender),
        body: Body::SevenBit,
        smtputf8: false,
        ret: None,
        envid: None,
        origin: Origin::internal(),
    }
}

fn event(id: AuditId, kind: &str) -> Event {
    Event { id, at: Time(7), kind: kind.to_owned(), fields: serde_json::json!({"sender": "ann@corp.test"}) }
}

/// Content that tells which message it is of.
fn content(id: AuditId, length: usize) -> Vec<u8> {
    id.to_string().bytes().cycle().take(length).collect()
}

/// Commits a message with one delivery for each lane (to `user@LANE`), due at 1000.
async fn commit(store: &Store, id: AuditId, length: usize, lanes: &[&str]) -> Result<Committed, Refused> {
    let mut draft = store.draft(id);
    for piece in content(id, length).chunks(777) {
        draft.write(piece)?;
    }
    let deliveries = lanes.iter().map(|lane| NewDelivery {
        lane: (*lane).to_owned(),
        recipients: vec![recipient(&format!("user@{lane}"))],
        ..NewDelivery::default()
    });
    draft.commit(envelope("ann@corp.test"), deliveries.collect(), Time(1000), vec![event(id, "accept")]).await
}

fn due(store: &Store, lane: &str) -> Vec<Delivery> {
    store.due(lane, Time(2000), 1000, &HashSet::new()).unwrap()
}

fn ids(deliveries: &[Delivery]) -> Vec<AuditId> {
    let mut ids: Vec<AuditId> = deliveries.iter().map(|delivery| delivery.message.id).collect();
    ids.sort();
    ids
}

fn gone(delivery: &Delivery) -> Settle {
    let (message, n) = delivery.key();
    Settle { message, n, outcome: Outcome::Gone, events: vec![event(message, "delivery")] }
}

/// The delivery's content is whole and its own.
fn whole(store: &Store, delivery: &Delivery) -> bool {
    let message = &delivery.message;
    store.content(message).and_then(|found| found.read()).unwrap() == content(message.id, message.size as usize)
}

fn segments(folder: &Path) -> usize {
    std::fs::read_dir(folder.join("segments")).unwrap().count()
}

/// Changes the closed spool behind the store's back.
fn tamper(folder: &Path, sql: &str) {
    rusqlite::Connection::open(folder.join("spool.db")).unwrap().execute_batch(sql).unwrap();
}
