//! What is committed is there, once, until it is settled or ordered away.

use crate::*;
use store::{Action, OpenError, Order, Selection, State};

#[tokio::test]
async fn committed_mail_is_there_after_reopening() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for (n, length) in (0..).zip(LENGTHS) {
        let committed = commit(&store, id(n), length, &["a.test", "b.test"]).await.unwrap();
        let delivery = &committed.deliveries()[1];
        assert_eq!((delivery.lane.as_str(), delivery.n), ("b.test", 1));
        assert_eq!(delivery.content.as_ref().unwrap().read().unwrap(), content(id(n), length));
        assert!(whole(&store, delivery));
    }
    drop(store);
    let store = open(folder.path());
    let found = due(&store, "b.test");
    assert_eq!(ids(&found), [id(0), id(1), id(2)]);
    for delivery in &found {
        assert!(whole(&store, delivery));
        assert_eq!(*delivery.message.envelope, envelope("ann@corp.test"));
        assert_eq!(delivery.recipients, [recipient("user@b.test")]);
        assert_eq!((delivery.message.received, delivery.next, delivery.attempts), (Time(1000), Time(1000), 0));
    }
    assert_eq!(store.usage().queued, 6);
    assert_eq!(store.usage().memory, 0);
}

#[tokio::test]
async fn due_keeps_to_time_limit_and_exceptions() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..5 {
        commit(&store, id(n), 10, &["a.test", "b.test"]).await.unwrap();
    }
    let nobody = HashSet::new();
    assert_eq!(store.due("a.test", Time(999), 9, &nobody).unwrap().len(), 0);
    assert_eq!(store.due("a.test", Time(1000), 9, &nobody).unwrap().len(), 5);
    assert_eq!(store.due("a.test", Time(1000), 2, &nobody).unwrap().len(), 2);
    assert_eq!(store.due("c.test", Time(1000), 9, &nobody).unwrap().len(), 0);
    let except = HashSet::from([(id(0), 0), (id(1), 0), (id(2), 1)]);
    assert_eq!(ids(&store.due("a.test", Time(1000), 2, &except).unwrap()), [id(2), id(3)]);
    assert_eq!(ids(&store.due("b.test", Time(1000), 9, &except).unwrap()), [id(0), id(1), id(3), id(4)]);
}

#[tokio::test]
async fn lanes_tell_first_due_time_and_count() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    commit(&store, id(1), 10, &["b.test", "a.test"]).await.unwrap();
    commit(&store, id(2), 10, &["b.test"]).await.unwrap();
    let later = |n| Settle { message: id(n), n: 0, outcome: later(5000 + i64::from(n)), events: Vec::new() };
    store.settle(later(1)).await.unwrap();
    let seen = |store: &Store| {
        store.lanes().unwrap().into_iter().map(|lane| (lane.lane, lane.due.ms(), lane.count)).collect::<Vec<_>>()
    };
    assert_eq!(seen(&store), [("a.test".to_owned(), 1000, 1), ("b.test".to_owned(), 1000, 2)]);
    store.settle(later(2)).await.unwrap();
    assert_eq!(seen(&store)[1], ("b.test".to_owned(), 5001, 2));
    drop(store);
    assert_eq!(seen(&open(folder.path()))[1], ("b.test".to_owned(), 5001, 2));
}

fn later(next: i64) -> Outcome {
    Outcome::Later {
        recipients: vec![recipient("left@b.test")],
        attempts: 3,
        next: Time(next),
        status: "451 4.7.1 later".into(),
        extra: serde_json::json!({"host": "mx"}),
        lane: None,
        cause: None,
    }
}

#[tokio::test]
async fn a_deferred_delivery_comes_back_with_what_is_left_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    commit(&store, id(1), 10, &["b.test"]).await.unwrap();
    store.settle(Settle { message: id(1), n: 0, outcome: later(1500), events: Vec::new() }).await.unwrap();
    drop(store);
    let store = open(folder.path());
    assert!(store.due("b.test", Time(1499), 9, &HashSet::new()).unwrap().is_empty());
    let delivery = &due(&store, "b.test")[0];
    assert_eq!(delivery.recipients, [recipient("left@b.test")]);
    assert_eq!((delivery.attempts, delivery.next, delivery.status.as_str()), (3, Time(1500), "451 4.7.1 later"));
    assert_eq!(delivery.extra["host"], "mx");
}

fn cause(name: &str) -> store::Cause {
    store::Cause { cause: name.to_owned(), object: String::new(), detail: serde_json::Value::Null, at: Time(1000) }
}

#[tokio::test]
async fn what_is_held_waits_for_its_release_and_is_counted() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    commit(&store, id(1), 10, &["a.test"]).await.unwrap();
    let held = |id| Settle {
        message: id,
        n: 0,
        outcome: Outcome::Held {
            recipients: vec![recipient("left@a.test")],
            attempts: 1,
            status: "451 4.3.0 held".into(),
            extra: serde_json::json!({"why": "loop"}),
            cause: Some(Box::new(cause("loop.a"))),
        },
        events: Vec::new(),
    };
    store.settle(held(id(1))).await.unwrap();
    store.settle(held(id(1))).await.expect("twice does no harm");
    // One of two is held from the start.
    let draft = store.draft(id(2));
    let new = |lane: &str, held: Option<&str>| NewDelivery {
        lane: lane.to_owned(),
        recipients: vec![recipient(&format!("user@{lane}"))],
        held: held.map(str::to_owned),
        extra: serde_json::json!({"why": lane}),
        cause: held.map(|_| Box::new(cause("loop.b"))),
    };
    let deliveries = vec![new("a.test", Some("451 4.3.0 held at once")), new("b.test", None)];
    let committed = draft.commit(envelope("ann@corp.test"), deliveries, Time(1000), Vec::new()).await.unwrap();
    assert_eq!(committed.into_deliveries().iter().map(|delivery| delivery.n).collect::<Vec<_>>(), [1]);
    assert_eq!((store.usage().queued, store.usage().held), (3, 2));
    assert!(due(&store, "a.test").is_empty());
    assert_eq!(due(&store, "b.test")[0].extra["why"], "b.test");
    drop(store);
    let store = open(folder.path());
    assert_eq!((store.usage().queued, store.usage().held), (3, 2));
    let seen = store.list(&Selection { state: Some(State::Held), ..Selection::default() }, 9, None).unwrap();
    let told: Vec<(&str, &str)> =
        seen.iter().map(|entry| (entry.status.as_str(), entry.extra["why"].as_str().unwrap())).collect();
    assert_eq!(told, [("451 4.3.0 held", "loop"), ("451 4.3.0 held at once", "a.test")]);
    let causes: Vec<Option<&str>> = seen.iter().map(|entry| entry.cause.as_deref()).collect();
    assert_eq!(causes, [Some("loop.a"), Some("loop.b")]);
    let release = Order {
        action: Action::Release,
        selection: Selection::default(),
        by: "ann".to_owned(),
        at: Time(1000),
        dry_run: false,
    };
    assert_eq!(store.order(release, |_| ()).await.unwrap(), 2);
    assert_eq!((due(&store, "a.test").len(), store.usage().held), (2, 0));
    assert_eq!(due(&store, "a.test")[0].recipients, [recipient("left@a.test")]);
}

#[tokio::test]
async fn the_last_delivery_takes_message_and_segment_along() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for (n, length) in (0..).zip(LENGTHS) {
        commit(&store, id(n), length, &["a.test", "b.test"]).await.unwrap();
    }
    assert_eq!(segments(folder.path()), 2);
    for delivery in due(&store, "a.test") {
        store.settle(gone(&delivery)).await.unwrap();
        store.settle(gone(&delivery)).await.expect("twice does no harm");
    }
    let left = due(&store, "b.test");
    assert_eq!(left.len(), 3);
    for delivery in &left {
        assert!(whole(&store, delivery));
        store.settle(gone(delivery)).await.unwrap();
        assert!(store.message(delivery.message.id).unwrap().is_none());
    }
    assert_eq!(segments(folder.path()), 1, "only the segment that is being filled");
    assert_eq!(store.usage().queued, 0);
    drop(left);
    drop(store);
    let store = open(folder.path());
    assert_eq!(segments(folder.path()), 0);
    assert_eq!(store.last_audit_id(), Some(id(2)), "remembered when all mail is gone");
}

#[tokio::test]
async fn memory_is_given_back_when_content_is_dropped() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let committed = commit(&store, id(1), 5_000, &["a.test"]).await.unwrap();
    assert!(store.usage().memory >= 5_000);
    drop(committed);
    assert_eq!(store.usage().memory, 0);
    let mut draft = store.draft(id(2));
    draft.write(&[0; 50_000]).unwrap();
    assert_eq!(store.usage().memory, 0, "long content lies in a file");
    assert_eq!(segments(folder.path()), 2);
    drop(draft);
    assert_eq!(segments(folder.path()), 1, "which goes with the draft");
}

#[tokio::test]
async fn a_data_folder_has_one_user() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let error = Store::open(folder.path(), limits()).unwrap_err();
    assert!(matches!(error, OpenError::Locked { .. }));
    assert!(error.to_string().contains(folder.path().to_str().unwrap()), "{error}");
    drop(store);
    open(folder.path());
}

async fn queue_of_three(folder: &Path) -> Store {
    let store = open(folder);
    for (n, lane) in [(1, "a.test"), (2, "b.test"), (3, "sub.b.test")] {
        commit(&store, id(n), 10, &[lane]).await.unwrap();
    }
    store
}

fn by(action: Action, selection: Selection) -> Order {
    Order { action, selection, by: "alice".into(), at: Time(1100), dry_run: false }
}

#[tokio::test]
async fn selections_mean_what_they_say() {
    let folder = tempfile::tempdir().unwrap();
    let store = queue_of_three(folder.path()).await;
    store
        .order(by(Action::Hold { why: "suspect".into() }, Selection { ids: vec![id(1)], ..Default::default() }), |_| {})
        .await
        .unwrap();
    let check = |selection: Selection, expected: &[u16]| {
        let found: Vec<AuditId> = store.list(&selection, 10, None).unwrap().iter().map(|entry| entry.id).collect();
        assert_eq!(found, expected.iter().map(|n| id(*n)).collect::<Vec<_>>(), "{selection:?}");
    };
    let word = |word: &str| Some(word.to_owned());
    check(Selection::default(), &[1, 2, 3]);
    check(Selection { domain: word("B.test"), ..Default::default() }, &[2]);
    check(Selection { recipient: word("b.TEST"), ..Default::default() }, &[2, 3]);
    check(Selection { recipient: word("address"), ..Default::default() }, &[]);
    check(Selection { sender: word("ANN@"), ..Default::default() }, &[1, 2, 3]);
    check(Selection { lane: word("sub.b.test"), ..Default::default() }, &[3]);
    check(Selection { text: word("suspect"), ..Default::default() }, &[1]);
    check(Selection { state: Some(State::Held), ..Default::default() }, &[1]);
    check(Selection { state: Some(State::Queued), ids: vec![id(1), id(3)], ..Default::default() }, &[3]);
    check(Selection { before: Some(Time(id(3).ms())), ..Default::default() }, &[1, 2]);
    assert_eq!(store.list(&Selection::default(), 1, Some((id(1), 0))).unwrap()[0].id, id(2));
}

#[tokio::test]
async fn a_dry_run_counts_and_changes_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let store = queue_of_three(folder.path()).await;
    let order = Order {
        dry_run: true,
        ..by(Action::Delete, Selection { recipient: Some("b.test".into()), ..Default::default() })
    };
    assert_eq!(store.order(order.clone(), |_| {}).await.unwrap(), 2);
    assert_eq!(store.usage().queued, 3);
    assert_eq!(store.order(Order { dry_run: false, ..order }, |_| {}).await.unwrap(), 2);
    assert_eq!(store.usage().queued, 1);
    let trail = store.audit_show(id(2)).unwrap();
    assert_eq!(trail[1].kind, "delete");
    assert_eq!(trail[1].fields["status"], "554 5.7.0 [internal] message deleted by administrator alice");
}

#[tokio::test]
async fn a_hold_outlives_the_attempt_that_was_under_way() {
    let folder = tempfile::tempdir().unwrap();
    let store = queue_of_three(folder.path()).await;
    let one = Selection { ids: vec![id(2)], ..Default::default() };
    assert_eq!(store.order(by(Action::Hold { why: String::new() }, one.clone()), |_| {}).await.unwrap(), 1);
    store.settle(Settle { message: id(2), n: 0, outcome: later(1500), events: Vec::new() }).await.unwrap();
    assert!(due(&store, "b.test").is_empty());
    assert_eq!(store.usage().held, 1);
    assert_eq!(store.order(by(Action::Retry, one.clone()), |_| {}).await.unwrap(), 0, "held mail is not retried");
    assert_eq!(store.order(by(Action::Release, one), |_| {}).await.unwrap(), 1);
    assert_eq!(due(&store, "b.test")[0].attempts, 3);
    assert_eq!(store.usage().held, 0);
}

#[tokio::test]
async fn retry_makes_due_and_reroute_moves() {
    let folder = tempfile::tempdir().unwrap();
    let store = queue_of_three(folder.path()).await;
    store.settle(Settle { message: id(2), n: 0, outcome: later(9000), events: Vec::new() }).await.unwrap();
    assert!(due(&store, "b.test").is_empty());
    assert_eq!(
        store
            .order(by(Action::Retry, Selection { lane: Some("b.test".into()), ..Default::default() }), |_| {})
            .await
            .unwrap(),
        1
    );
    assert_eq!(due(&store, "b.test")[0].attempts, 3, "the timetable stays");
    let lane = Action::Reroute { lane: "relay.test".into() };
    assert_eq!(store.order(by(lane, Selection::default()), |_| {}).await.unwrap(), 3);
    assert_eq!(due(&store, "relay.test").len(), 3);
    assert_eq!(store.lanes().unwrap().len(), 1);
    assert_eq!(store.lanes().unwrap()[0].count, 3);
}

#[tokio::test]
async fn a_long_order_works_in_chunks_and_tells_its_progress() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let lanes: Vec<String> = (0..400).map(|n| format!("d{n}.test")).collect();
    let lanes: Vec<&str> = lanes.iter().map(String::as_str).collect();
    for n in 0..3 {
        commit(&store, id(n), 10, &lanes).await.unwrap();
    }
    let (tell, told) = std::sync::mpsc::channel();
    let order = by(Action::Delete, Selection::default());
    assert_eq!(store.order(order, move |done| tell.send(done).unwrap()).await.unwrap(), 1200);
    assert_eq!(told.iter().collect::<Vec<_>>(), [500, 1000, 1200]);
    assert_eq!(store.usage().queued, 0);
}

#[tokio::test]
async fn settings_survive() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    assert_eq!(store.settings_current().unwrap(), None);
    store.settings_put("hostname = \"gw.test\"", "alice", "first", Time(1)).unwrap();
    drop(store);
    assert_eq!(open(folder.path()).settings_current().unwrap().unwrap().number, 1);
}

#[tokio::test]
async fn without_deliveries_only_the_events_stay() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for (n, length) in (0..).zip(LENGTHS) {
        commit(&store, id(n), length, &[]).await.unwrap();
        assert!(store.message(id(n)).unwrap().is_none());
        assert_eq!(store.audit_show(id(n)).unwrap().len(), 1);
    }
    assert_eq!(segments(folder.path()), 0);
}

#[tokio::test]
async fn deliveries_are_counted_by_what_they_wait_for() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 0..5 {
        commit(&store, id(n), 10, &["a.test", "b.test"]).await.unwrap();
    }
    let settle = |n: u16, delivery: u32, why: Option<(&str, &str)>| {
        let mut outcome = later(5000);
        if let Outcome::Later { cause, .. } = &mut outcome {
            *cause = why.map(|(cause, object)| {
                Box::new(store::Cause {
                    cause: cause.to_owned(),
                    object: object.to_owned(),
                    detail: serde_json::json!({"n": n}),
                    at: Time(20_000 * i64::from(n)),
                })
            });
        }
        store.settle(Settle { message: id(n), n: delivery, outcome, events: Vec::new() })
    };
    let seen = || -> Vec<String> {
        let found = store.incidents(9, None).unwrap();
        let one = |found: &store::Incident| {
            let lanes: Vec<String> = found.lanes.iter().map(|(lane, count)| format!("{lane} {count}")).collect();
            let oldest = (0..9).find(|n| id(*n) == found.oldest).unwrap();
            format!(
                "{} {}: {} since {oldest}, {} {}",
                found.cause,
                found.object,
                found.count,
                lanes.join(" "),
                found.detail
            )
        };
        found.iter().map(one).collect()
    };
    for n in 1..4 {
        settle(n, 0, Some(("peer.greylist", "mx"))).await.unwrap();
    }
    settle(2, 1, Some(("dns.servfail", ""))).await.unwrap();
    assert_eq!(
        seen(),
        ["peer.greylist mx: 3 since 1, a.test 3 {\"n\":3}", "dns.servfail : 1 since 2, b.test 1 {\"n\":2}"]
    );
    // The same again changes nothing; another cause, none, and being gone take away.
    settle(3, 0, Some(("peer.greylist", "mx"))).await.unwrap();
    settle(1, 0, Some(("dns.servfail", ""))).await.unwrap();
    settle(2, 0, None).await.unwrap();
    assert_eq!(seen()[0], "dns.servfail : 2 since 1, b.test 1 a.test 1 {\"n\":2}");
    assert_eq!(seen()[1], "peer.greylist mx: 1 since 3, a.test 1 {\"n\":3}");
    assert_eq!(store.causes().unwrap(), [("dns.servfail".to_owned(), 2, 1), ("peer.greylist".to_owned(), 1, 1)]);
    let listed = |cause: &str, after| {
        let selection = Selection { cause: Some(cause.to_owned()), ..Default::default() };
        store.list(&selection, 1, after).unwrap().into_iter().map(|entry| (entry.id, entry.n)).next()
    };
    assert_eq!(listed("dns.servfail", None), Some((id(1), 0)));
    assert_eq!(listed("dns.servfail", Some((id(1), 0))), Some((id(2), 1)));
    assert_eq!(listed("dns.servfail", Some((id(2), 1))), None);
    let reroute = Action::Reroute { lane: "c.test".into() };
    let which = Selection { cause: Some("peer.greylist".into()), ..Default::default() };
    assert_eq!(store.order(by(reroute, which), |_| {}).await.unwrap(), 1);
    assert_eq!(seen()[1], "peer.greylist mx: 1 since 3, c.test 1 {\"n\":3}");
    let all = Selection { lane: Some("c.test".into()), ..Default::default() };
    assert_eq!(store.order(by(Action::Delete, all), |_| {}).await.unwrap(), 1);
    assert_eq!(seen().len(), 1);
    drop(store.clone());
    for (n, delivery) in [(1, 0), (2, 1)] {
        let gone = Settle { message: id(n), n: delivery, outcome: Outcome::Gone, events: Vec::new() };
        store.settle(gone).await.unwrap();
    }
    assert_eq!(seen().len(), 0);
}

/// Pages of two until the end, as audit numbers.
fn pages(store: &Store, selection: &Selection, sort: store::Sort) -> Vec<(AuditId, u32)> {
    let mut of = store::PageOf { sort, limit: 2, after: None, time: std::time::Duration::from_secs(60) };
    let mut all = Vec::new();
    loop {
        let page = store.page(selection, &of).unwrap();
        assert!(page.entries.len() <= 2);
        all.extend(page.entries.iter().map(|entry| (entry.id, entry.n)));
        if page.next.is_none() {
            return all;
        }
        of.after = page.next;
    }
}

#[tokio::test]
async fn pages_come_in_the_order_asked_for_each_delivery_once() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for (n, size, lanes) in [
        (1, 10, &["a.test"][..]),
        (2, 40_000, &["b.test", "a.test"]),
        (3, 90_000, &["b.test", "c.test", "d.test"]),
        (4, 20_000, &["a.test"]),
    ] {
        commit(&store, id(n), size, lanes).await.unwrap();
    }
    let reroute = Action::Reroute { lane: "a.test>192.0.2.1".into() };
    store.order(by(reroute, Selection { ids: vec![id(4)], ..Default::default() }), |_| {}).await.unwrap();
    for (n, delivery, attempts, next) in [(1, 0, 3, 9000), (2, 1, 7, 8000), (3, 0, 3, 7000)] {
        let message = id(n);
        let recipients = store.delivery(message, delivery).unwrap().unwrap().recipients;
        let outcome = store::Outcome::Later {
            recipients,
            attempts,
            next: Time(id(9).ms() + next),
            status: "451 4.3.2 later".into(),
            extra: serde_json::Value::Null,
            cause: None,
            lane: None,
        };
        store.settle(store::Settle { message, n: delivery, outcome, events: vec![] }).await.unwrap();
    }
    let all = Selection::default();
    let keys = |keys: &[(u16, u32)]| keys.iter().map(|(number, n)| (id(*number), *n)).collect::<Vec<_>>();
    let oldest = keys(&[(1, 0), (2, 0), (2, 1), (3, 0), (3, 1), (3, 2), (4, 0)]);
    assert_eq!(pages(&store, &all, store::Sort::Oldest), oldest);
    assert_eq!(pages(&store, &all, store::Sort::Newest), oldest.iter().rev().copied().collect::<Vec<_>>());
    let next = pages(&store, &all, store::Sort::Next);
    assert_eq!(next.len(), 7);
    assert_eq!(next[4..], keys(&[(3, 0), (2, 1), (1, 0)])[..]);
    assert_eq!(pages(&store, &all, store::Sort::Attempts), keys(&[(2, 1), (1, 0), (3, 0)]));
    assert_eq!(pages(&store, &all, store::Sort::Largest), keys(&[(3, 0), (3, 1), (3, 2), (2, 0), (2, 1), (4, 0)]));
    let of_domain = Selection { domain: Some("A.test".into()), ..Default::default() };
    assert_eq!(pages(&store, &of_domain, store::Sort::Oldest), keys(&[(1, 0), (2, 1), (4, 0)]));
    assert_eq!(pages(&store, &of_domain, store::Sort::Next), keys(&[(4, 0), (2, 1), (1, 0)]));
    let nowhere = Selection { domain: Some("z.test".into()), ..Default::default() };
    assert_eq!(pages(&store, &nowhere, store::Sort::Newest), []);
    let one = Selection { keys: vec![(id(3), 1)], ..Default::default() };
    assert_eq!(pages(&store, &one, store::Sort::Largest), keys(&[(3, 1)]));
    store.order(by(Action::Hold { why: String::new() }, one), |_| {}).await.unwrap();
    let of_cause = Selection { cause: Some("x".into()), ..Default::default() };
    assert_eq!(pages(&store, &of_cause, store::Sort::Newest), []);
    assert_eq!(pages(&store, &Selection { object: Some("y".into()), ..of_cause }, store::Sort::Oldest), []);
    let held = Selection { state: Some(State::Held), ..Default::default() };
    assert_eq!(pages(&store, &held, store::Sort::Newest), keys(&[(3, 1)]));
}

#[tokio::test]
async fn a_page_whose_time_is_up_says_where_to_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    for n in 1..=200 {
        commit(&store, id(n), 10, &[if n == 190 { "rare.test" } else { "a.test" }]).await.unwrap();
    }
    let rare = Selection { text: Some("rare".into()), ..Default::default() };
    let mut of = store::PageOf { sort: store::Sort::Oldest, limit: 5, after: None, time: std::time::Duration::ZERO };
    let mut looks = 0;
    loop {
        let page = store.page(&rare, &of).unwrap();
        looks += 1;
        if let Some(entry) = page.entries.first() {
            assert_eq!(entry.id, id(190));
            break;
        }
        assert_eq!(page.looked, 64);
        of.after = page.next;
    }
    assert_eq!(looks, 3);
}

#[tokio::test]
async fn what_is_remembered_lasts_until_its_time_and_within_its_bounds() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let row = |key: &str, expires: i64| store::Remembered {
        key: key.to_owned(),
        expires: Time(expires),
        value: format!("{key} {expires}"),
    };
    store.remember(vec![row("a", 100), row("b", 200), row("c", 300)]);
    store.remember(vec![row("a", 400)]);
    // Rides on the next commit.
    commit(&store, id(1), 10, &["a.test"]).await.unwrap();
    drop(store);
    let store = open(folder.path());
    let keys = |at: i64, limit: usize| -> Vec<String> {
        store.remembered(Time(at), limit).unwrap().into_iter().map(|row| row.value).collect()
    };
    assert_eq!(keys(0, 9), ["a 400", "c 300", "b 200"]);
    assert_eq!(keys(250, 9), ["a 400", "c 300"]);
    assert_eq!(keys(0, 1), ["a 400"]);
    store.forget_remembered(Time(250), 9);
    commit(&store, id(2), 10, &["a.test"]).await.unwrap();
    assert_eq!(keys(0, 9), ["a 400", "c 300"]);
    store.forget_remembered(Time(250), 1);
    commit(&store, id(3), 10, &["a.test"]).await.unwrap();
    assert_eq!(keys(0, 9), ["a 400"]);
}
