//! Pages of the queue against a plain sort of all of it, and while the queue changes between two pages.

use super::*;
use std::pin::Pin;
use std::time::Duration;
use store::{Action, Order, PageOf, QueueEntry, Selection, Sort, State};

const MAIL: Duration = Duration::from_millis(90);
const BOUNCES: Duration = Duration::from_millis(40);

/// The same numbers at each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % below
    }
}

/// What became of an attempt, on its way to the disk.
type Settling = Pin<Box<dyn Future<Output = std::io::Result<()>>>>;

/// A message from a person or, each fourth, a bounce; to one lane or two, in any state that mail can wait in.
async fn put(store: &Store, n: u16, dice: &mut Dice) -> Vec<Settling> {
    let mut draft = store.draft(id(n));
    draft.write(&vec![b'x'; [10, 3000, 3000, 5000, 20_000][dice.roll(5) as usize]]).unwrap();
    let mut envelope = envelope("ann@corp.test");
    if dice.roll(4) == 0 {
        envelope.sender = ReversePath::Null;
    }
    let lanes = 1 + dice.roll(2);
    let delivery = |_| {
        let lane = format!("{}.test", ["a", "b", "c", "d"][dice.roll(4) as usize]);
        let held = (dice.roll(8) == 0).then(|| "451 4.3.0 held".to_owned());
        NewDelivery { recipients: vec![recipient(&format!("user@{lane}"))], lane, held, ..NewDelivery::default() }
    };
    let deliveries = (0..lanes).map(delivery).collect();
    let at = Time(id(n).ms() + dice.roll(3) as i64);
    let committed = draft.commit(envelope, deliveries, at, vec![event(id(n), "accept")]).await.unwrap();
    let mut told: Vec<Settling> = Vec::new();
    for delivery in committed.into_deliveries() {
        if dice.roll(2) == 0 {
            continue;
        }
        let outcome = Outcome::Later {
            recipients: delivery.recipients.clone(),
            attempts: 1 + dice.roll(3) as u32,
            next: Time(id(0).ms() + dice.roll(20) as i64),
            status: "451 4.7.1 later".to_owned(),
            extra: serde_json::Value::Null,
            cause: (dice.roll(3) > 0).then(|| {
                Box::new(store::Cause {
                    cause: "peer.greylist".to_owned(),
                    object: "mx".to_owned(),
                    detail: serde_json::Value::Null,
                    at: Time(1),
                })
            }),
            lane: None,
        };
        told.push(Box::pin(store.settle(Settle { message: id(n), n: delivery.n, outcome, events: Vec::new() })));
    }
    told
}

/// Messages of these numbers, with what became of their first attempts.
async fn fill(store: &Store, numbers: std::ops::Range<u16>, dice: &mut Dice) {
    let mut told = Vec::new();
    for n in numbers {
        told.extend(put(store, n, dice).await);
    }
    for told in told {
        told.await.unwrap();
    }
}

fn all(store: &Store, selection: &Selection) -> Vec<QueueEntry> {
    store.list(selection, 10_000, None).unwrap()
}

/// What a page's order is, row by row.
fn place(sort: Sort, entry: &QueueEntry) -> (i64, i64, i64) {
    let (id, n) = (entry.id.to_i64(), i64::from(entry.n));
    match sort {
        Sort::Oldest => (0, id, n),
        Sort::Newest => (0, -id, -n),
        Sort::Next => (entry.next.ms(), id, n),
        Sort::Expiry { mail, bounces } => {
            ((Time(entry.id.ms()) + if entry.sender == "<>" { bounces } else { mail }).ms(), id, n)
        }
        Sort::Attempts => (-i64::from(entry.attempts), id, n),
        Sort::Largest => (-(entry.size as i64), id, n),
    }
}

fn expected(store: &Store, selection: &Selection, sort: Sort) -> Vec<(AuditId, u32)> {
    let mut rows = all(store, selection);
    match sort {
        Sort::Attempts => rows.retain(|entry| entry.attempts > 0),
        // What lies in its row has no place in the order of sizes.
        Sort::Largest => rows.retain(|entry| entry.size > 1000),
        _ => {}
    }
    rows.sort_by_key(|entry| place(sort, entry));
    rows.iter().map(|entry| (entry.id, entry.n)).collect()
}

const SORTS: [Sort; 6] = [
    Sort::Oldest,
    Sort::Newest,
    Sort::Next,
    Sort::Expiry { mail: MAIL, bounces: BOUNCES },
    Sort::Attempts,
    Sort::Largest,
];

fn selections() -> Vec<Selection> {
    let all = Selection::default();
    let text = |text: &str| Some(text.to_owned());
    vec![
        all.clone(),
        Selection { domain: text("a.test"), ..all.clone() },
        Selection { lane: text("c.test"), ..all.clone() },
        Selection { lanes: vec!["b.test".to_owned(), "d.test".to_owned()], ..all.clone() },
        Selection { state: Some(State::Held), ..all.clone() },
        Selection { state: Some(State::Queued), ..all.clone() },
        Selection { cause: text("peer.greylist"), ..all.clone() },
        Selection { cause: text("peer.greylist"), object: text("mx"), ..all.clone() },
        Selection { cause: text(store::NO_CAUSE), ..all.clone() },
        Selection { sender: text("<>"), ..all.clone() },
        Selection { sender: text("ANN"), state: Some(State::Queued), ..all.clone() },
        Selection { text: text("4.7.1"), ..all.clone() },
        Selection { before: Some(Time(id(60).ms())), ..all.clone() },
        Selection { ids: vec![id(3), id(50)], ..all },
    ]
}

#[tokio::test]
async fn every_order_of_every_selection_is_that_of_a_plain_sort() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut dice = Dice(7);
    fill(&store, 0..120, &mut dice).await;
    for selection in selections() {
        for sort in SORTS {
            let expected = expected(&store, &selection, sort);
            for limit in [1, 7, 500] {
                let mut of = PageOf { sort, limit, after: None, time: Duration::from_secs(60) };
                let mut found = Vec::new();
                loop {
                    let page = store.page(&selection, &of).unwrap();
                    assert!(page.entries.len() <= limit);
                    found.extend(page.entries.iter().map(|entry| (entry.id, entry.n)));
                    of.after = page.next;
                    if of.after.is_none() {
                        break;
                    }
                }
                assert_eq!(found, expected, "{sort:?} of {selection:?}, {limit} a page");
            }
        }
    }
}

#[tokio::test]
async fn what_stays_in_the_queue_is_met_once_whatever_comes_and_goes_between_pages() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let mut dice = Dice(11);
    fill(&store, 100..160, &mut dice).await;
    let all = Selection::default();
    let of = |sort| PageOf { sort, limit: 8, after: None, time: Duration::from_secs(60) };
    // Each order: its next page, what stays, what was met.
    let mut walks = SORTS.map(|sort| (Some(of(sort)), expected(&store, &all, sort), Vec::new()));
    for round in 0.. {
        let mut going = Vec::new();
        for (next, staying, found) in &mut walks {
            let Some(mut of) = next.take() else { continue };
            let page = store.page(&all, &of).unwrap();
            found.extend(page.entries.iter().map(|entry| (entry.id, entry.n)));
            let unseen = staying.iter().rev().find(|key| !found.contains(key)).copied();
            going.push([found.first().copied(), unseen, page.next.map(|after| (after.id, after.n))]);
            of.after = page.next;
            *next = of.after.is_some().then_some(of);
        }
        if going.is_empty() {
            break;
        }
        // Older than all and newer than all; and of one order what it met first, what it will meet last, and its cursor's own.
        fill(&store, round..round + 1, &mut dice).await;
        fill(&store, 200 + round..201 + round, &mut dice).await;
        let keys: Vec<_> = going[usize::from(round) % going.len()].into_iter().flatten().collect();
        walks.iter_mut().for_each(|(_, staying, _)| staying.retain(|key| !keys.contains(key)));
        let selection = Selection { keys, ..Selection::default() };
        let order = Order { action: Action::Delete, selection, by: "x".into(), at: Time(1), dry_run: false };
        store.order(order, |_| {}).await.unwrap();
    }
    for (sort, (_, staying, found)) in SORTS.iter().zip(walks) {
        assert!(staying.len() > 20);
        let met: Vec<_> = found.iter().filter(|key| staying.contains(key)).copied().collect();
        assert_eq!(met, staying, "{sort:?}");
        assert_eq!(found.len(), found.iter().collect::<HashSet<_>>().len(), "{sort:?}: one came twice");
    }
}

#[tokio::test]
async fn incidents_come_page_by_page_the_largest_first() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..21 {
        commit(&store, id(n), 10, &["a.test"]).await.unwrap();
        // 1 of h0, 2 of h1, …, 6 of h5.
        let object = (0..6).find(|object| n < (object + 1) * (object + 2) / 2).unwrap();
        let cause = Some(Box::new(store::Cause {
            cause: "peer.greylist".to_owned(),
            object: format!("h{object}"),
            detail: serde_json::json!({"finding": {"sentence": format!("of h{object}")}}),
            at: Time(20_000),
        }));
        let outcome = Outcome::Later {
            recipients: vec![recipient("user@a.test")],
            attempts: 1,
            next: Time(5000),
            status: String::new(),
            extra: serde_json::Value::Null,
            cause,
            lane: None,
        };
        store.settle(Settle { message: id(n), n: 0, outcome, events: Vec::new() }).await.unwrap();
    }
    let (mut after, mut found) = (None, Vec::new());
    loop {
        let page = store.incidents(4, after.as_ref()).unwrap();
        let Some(last) = page.last() else { break };
        let (count, cause, object) = (last.count, last.cause.clone(), last.object.clone());
        after = Some(store::IncidentCursor { count, cause, object });
        found.extend(page.into_iter().map(|incident| (incident.count, incident.object)));
    }
    let all: Vec<_> = (0..6u64).rev().map(|object| (object + 1, format!("h{object}"))).collect();
    assert_eq!(found, all);
    let heads = store.incident_heads(2).unwrap();
    let heads: Vec<_> = heads.iter().map(|head| (head.object.as_str(), head.count)).collect();
    assert_eq!(heads, [("h5", 6), ("h4", 5)]);
    assert!(store.incident_says("peer.greylist", "of h3").unwrap());
    assert!(!store.incident_says("peer.greylist", "of h9").unwrap());
    assert!(!store.incident_says("dns.servfail", "of h3").unwrap());
}
