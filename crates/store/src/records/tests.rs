//! The trail's lists, on a database of its own, events shipped one by one.

use super::*;
use serde_json::json;

struct Trail {
    _folder: tempfile::TempDir,
    db: Connection,
}

fn id(n: u16) -> AuditId {
    AuditId::new(1000, 0, n)
}

fn event_of(n: u16, at: i64, kind: &str, fields: Value) -> Event {
    Event { id: id(n), at: Time(at), kind: kind.to_owned(), fields }
}

/// A trail with these events, each in a shipment of its own, so that entries are completed later.
fn trail(events: &[Event]) -> Trail {
    let folder = tempfile::tempdir().unwrap();
    let (mut db, ..) = open(&folder.path().join("records.db")).unwrap();
    for event in events {
        let transaction = db.transaction().unwrap();
        add(&transaction, &[Told::of(event)], 1).unwrap();
        transaction.commit().unwrap();
    }
    Trail { _folder: folder, db }
}

impl Trail {
    fn check(&self, filter: &AuditFilter, found: &[u16]) {
        let expected: Vec<AuditId> = found.iter().map(|n| id(*n)).collect();
        let ids = |entries: Vec<AuditEntry>| entries.into_iter().map(|entry| entry.id).collect::<Vec<_>>();
        assert_eq!(ids(search(&self.db, filter, 10).unwrap()), expected, "{filter:?}");
        // The same one by one.
        let mut one_by_one = Vec::new();
        let mut after = None;
        loop {
            let page = page(&self.db, filter, 1, after).unwrap();
            one_by_one.extend(ids(page.entries));
            after = page.next.map(|next| next.to_string().parse().unwrap());
            if after.is_none() {
                break;
            }
        }
        assert_eq!(one_by_one, expected, "a page for each: {filter:?}");
    }

    fn term(&self, term: &str, found: &[u16]) {
        self.check(&AuditFilter { term: Some(term.to_owned()), ..AuditFilter::default() }, found);
    }
}

#[test]
fn mail_is_found_by_any_of_its_words() {
    let trail = trail(&[
        event_of(
            1,
            1,
            "accepted",
            json!({"sender": "Ann@mail.corp.test", "recipients": ["bob@example.test", "eve@example.test"], "message_id": "<x1.y@corp.test>", "client": "192.0.2.7", "helo": "mx.client.test", "connection": id(99)}),
        ),
        event_of(
            2,
            2,
            "accepted",
            json!({"sender": "zoe@corp.test", "recipient": "tim@other.test", "subject": "Grüße aus Köln"}),
        ),
        event_of(1, 3, "deferred", json!({"status": "451 4.7.1 [mx.example.test] greylisted"})),
        event_of(1, 4, "delivered", json!({"status": "250 2.0.0 queued as 4F3A"})),
    ]);
    for (term, found) in [
        ("ann@", &[1][..]),
        ("ann@mail.corp.test", &[1]),
        ("mail.corp.test", &[1]),
        ("EVE@example.test", &[1]),
        ("x1.y@", &[1]),
        ("<x1.y@corp.test>", &[1]),
        ("192.0.2.7", &[1]),
        ("192.0.2.", &[1]),
        ("client.test", &[1]),
        ("greylisted", &[1]),
        ("4f3a", &[1]),
        ("451", &[1]),
        ("greylisted bob", &[1]),
        ("greylisted zoe", &[]),
        ("GRÜSSE", &[]),
        ("grüße", &[2]),
        ("köl", &[2]),
        ("corp.test", &[2, 1]),
        ("corp", &[2, 1]),
        ("orp.test", &[]),
        ("", &[2, 1]),
        ("  ", &[2, 1]),
        ("\"", &[]),
        ("'; DROP TABLE mail; --", &[]),
        ("a OR b", &[]),
        ("NEAR(", &[]),
    ] {
        trail.term(term, found);
    }
    trail.term(&id(2).to_string(), &[2]);
    trail.term(&id(2).to_string().to_lowercase(), &[2]);
    // By the connection that it came by.
    trail.term(&id(99).to_string(), &[1]);
}

fn three() -> Trail {
    trail(&[
        event_of(
            1,
            60_000,
            "accepted",
            json!({"sender": "ann@a.test", "recipients": ["bob@b.test"], "client": "192.0.2.1", "listener": "outbound", "size": 100}),
        ),
        event_of(
            2,
            70_000,
            "accepted",
            json!({"sender": "bob@b.test", "recipients": ["ann@a.test"], "client": "192.0.2.2", "listener": "inbound", "size": 7}),
        ),
        event_of(
            3,
            80_000,
            "refused",
            json!({"sender": "", "recipient": "nobody@a.test", "client": "192.0.2.2", "listener": "inbound", "status": "550 5.1.1 no such user"}),
        ),
        event_of(
            1,
            90_000,
            "deferred",
            json!({"status": "451 4.7.1 [x] later", "finding": {"cause": "peer.greylisted", "sentence": "x greylists"}}),
        ),
        event_of(
            1,
            150_000,
            "deferred",
            json!({"status": "451 4.7.1 [x] later", "finding": {"cause": "peer.greylisted", "sentence": "x greylists"}}),
        ),
        event_of(2, 160_000, "delivered", json!({"status": "250 ok"})),
        event_of(1, 210_000, "delivered", json!({"status": "250 ok"})),
        event_of(
            4,
            220_000,
            "accepted",
            json!({"sender": "<>", "recipients": ["ann@a.test"], "listener": "internal", "about": id(1)}),
        ),
    ])
}

#[test]
fn filters_hold_all_at_once() {
    let trail = three();
    let none = AuditFilter::default;
    let some = |text: &str| Some(text.to_owned());
    trail.check(&AuditFilter { sender: some("a.test"), ..none() }, &[1]);
    trail.check(&AuditFilter { recipient: some("a.test"), ..none() }, &[4, 3, 2]);
    trail.check(&AuditFilter { sender: some("<>"), ..none() }, &[4, 3]);
    trail.check(&AuditFilter { sender: some("!"), ..none() }, &[]);
    trail.check(&AuditFilter { client: some("192.0.2.2"), ..none() }, &[3, 2]);
    trail.check(&AuditFilter { listener: some("inbound"), ..none() }, &[3, 2]);
    trail.check(&AuditFilter { listener: some("inbound"), class: Some(Class::Refused), ..none() }, &[3]);
    trail.check(&AuditFilter { listener: some("outbound"), class: Some(Class::Refused), ..none() }, &[]);
    trail.check(&AuditFilter { term: some("bob"), listener: some("inbound"), ..none() }, &[2]);
    trail.check(&AuditFilter { cause: some("peer.greylisted"), ..none() }, &[1]);
    trail.check(&AuditFilter { cause: some("peer.never"), ..none() }, &[]);
    trail.check(&AuditFilter { cause: some("peer.greylisted"), term: some("ann"), ..none() }, &[1]);
    trail.check(&AuditFilter { cause: some("peer.greylisted"), class: Some(Class::Bounced), ..none() }, &[]);
    trail.check(&AuditFilter { class: Some(Class::Deferred), ..none() }, &[1]);
    trail.check(&AuditFilter { class: Some(Class::Delivered), ..none() }, &[1, 2]);
    trail.check(&AuditFilter { class: Some(Class::Delivered), term: some("test"), ..none() }, &[2, 1]);
    trail.term(&id(1).to_string(), &[1, 4]);
    trail.term("later", &[1]);
    trail.check(&AuditFilter { term: some("later"), addresses_only: true, ..none() }, &[]);
    trail.check(&AuditFilter { term: some("bob"), addresses_only: true, ..none() }, &[2, 1]);
}

#[test]
fn times_are_those_of_what_happened() {
    let trail = three();
    let between = |class, from, until, term: &str| AuditFilter {
        class: Some(class),
        from: Some(Time(from)),
        until: Some(Time(until)),
        term: Some(term.to_owned()),
        ..AuditFilter::default()
    };
    // With words, and without.
    for term in ["", "ann"] {
        trail.check(&between(Class::Deferred, 60_000, 120_000, term), &[1]);
        trail.check(&between(Class::Deferred, 120_000, 180_000, term), &[1]);
        trail.check(&between(Class::Deferred, 100_000, 140_000, term), &[]);
        trail.check(&between(Class::Delivered, 0, 200_000, term), &[2]);
    }
    let by_cause = |from| AuditFilter {
        cause: Some("peer.greylisted".to_owned()),
        from: Some(Time(from)),
        ..AuditFilter::default()
    };
    trail.check(&by_cause(140_000), &[1]);
    trail.check(&by_cause(160_000), &[]);
}

#[test]
fn every_number_is_that_of_the_mail_behind_it() {
    let trail = three();
    let stats = stats(&trail.db, Time(0), Time(300_000), Step::Minutes(1)).unwrap();
    let said: Vec<String> = stats
        .iter()
        .map(|stat| format!("{} {} {} {} {}", stat.at.ms() / 60_000, stat.class, stat.door, stat.count, stat.octets))
        .collect();
    assert_eq!(
        said,
        [
            "1 accepted inbound 1 7",
            "1 accepted outbound 1 100",
            "1 refused inbound 1 0",
            "1 deferred outbound 1 0",
            "2 delivered inbound 1 7",
            "2 deferred outbound 1 0",
            "3 accepted internal 1 0",
            "3 delivered outbound 1 100",
        ]
    );
    for stat in &stats {
        let filter = AuditFilter {
            class: Some(stat.class),
            listener: Some(stat.door.to_owned()),
            from: Some(stat.at),
            until: Some(Time(stat.at.ms() + 60_000)),
            ..AuditFilter::default()
        };
        assert_eq!(search(&trail.db, &filter, 10).unwrap().len() as u64, stat.count, "{stat:?}");
    }
    let hour = super::stats(&trail.db, Time(250_000), Time(300_000), Step::Hours(1)).unwrap();
    assert_eq!(hour.iter().map(|stat| stat.count).sum::<u64>(), 8);
    let causes = causes(&trail.db, Time(0), Time(300_000), Step::Minutes(1), 5).unwrap();
    assert_eq!(causes, [CauseCount { cause: "peer.greylisted".to_owned(), class: Class::Deferred, count: 2 }]);
}

#[test]
fn an_entry_says_the_last_and_remembers_the_trouble() {
    let trail = three();
    let entry = search::find(&trail.db, id(1)).unwrap();
    assert_eq!((entry.status.as_str(), entry.trouble.as_str()), ("250 ok", "451 4.7.1 [x] later"));
    assert_eq!((entry.cause.as_str(), entry.finding.as_str()), ("peer.greylisted", "x greylists"));
    assert_eq!(entry.classes, [Class::Accepted, Class::Delivered, Class::Deferred]);
    assert_eq!((entry.at, entry.last, entry.size), (Time(60_000), Time(210_000), 100));
}

#[test]
fn what_is_no_mail_says_what_it_was() {
    let trail = trail(&[
        event_of(1, 60_000, "order", json!({"order": "Hold { why: \"x\" }", "by": "ann", "count": 1})),
        event_of(2, 70_000, "settings", json!({"version": 7, "by": "olga", "comment": "quicker"})),
        event_of(3, 80_000, "alert", json!({"what": "the disk is full"})),
    ]);
    let said = |n| search::find(&trail.db, id(n)).unwrap().status;
    assert_eq!([1, 2, 3].map(said), ["Hold, 1 delivery by ann", "settings version 7 by olga", "the disk is full"]);
}

/// The first version's tables with its events, then today's.
#[test]
fn a_trail_of_the_first_version_is_looked_at_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let mut db = open_writer(&path, 4096).unwrap();
    migrate(&mut db, &STEPS[..1]).unwrap();
    let old = [
        event_of(1, 60_000, "accepted", json!({"sender": "ann@a.test", "subject": "old"})),
        event_of(1, 70_000, "deferred", json!({"status": "451 old trouble"})),
        event_of(2, 80_000, "refused", json!({"status": "550 no"})),
    ];
    for event in &old {
        db.execute(
            "INSERT INTO event (id, at_ms, kind, fields) VALUES (?,?,?,?)",
            params![event.id.to_i64(), event.at.ms(), event.kind, event.fields.to_string()],
        )
        .unwrap();
    }
    drop(db);
    let (mut db, _, high) = open(&path).unwrap();
    assert_eq!(high, id(2).to_i64());
    // News of the old mail comes first.
    let transaction = db.transaction().unwrap();
    add(&transaction, &[Told::of(&event_of(1, 90_000, "delivered", json!({"status": "250 ok"})))], 1).unwrap();
    transaction.commit().unwrap();
    let mut rounds = 0;
    loop {
        let transaction = db.transaction().unwrap();
        let more = refill(&transaction, 2).unwrap();
        transaction.commit().unwrap();
        if !more {
            break;
        }
        rounds += 1;
    }
    assert_eq!(rounds, 2);
    let trail = Trail { _folder: folder, db };
    trail.term("ann", &[1]);
    trail.term("550", &[2]);
    trail.term("", &[2, 1]);
    assert_eq!(search::find(&trail.db, id(1)).unwrap().status, "250 ok");
    assert_eq!(stats(&trail.db, Time(0), Time(120_000), Step::Minutes(1)).unwrap().len(), 4);
}

#[test]
fn a_search_without_luck_looks_through_all_days() {
    let at = |day: i64| AuditId::new(day * DAY_MS + 5, 0, 0);
    let event = |day| Event {
        id: at(day),
        at: Time(day * DAY_MS + 5),
        kind: "accepted".to_owned(),
        fields: json!({"sender": format!("user{day}@a.test")}),
    };
    let trail = trail(&[event(3), event(1), event(40)]);
    let found = |term: &str| {
        let filter = AuditFilter { term: Some(term.to_owned()), ..AuditFilter::default() };
        search(&trail.db, &filter, 10).unwrap().into_iter().map(|entry| entry.id).collect::<Vec<_>>()
    };
    assert_eq!(found("user1@a.test"), [at(1)]);
    assert_eq!(found("a.test"), [at(40), at(3), at(1)]);
    assert_eq!(found("user2"), []);
}

#[test]
fn what_is_old_is_forgotten_in_every_table() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("records.db");
    let (mut db, ..) = open(&path).unwrap();
    let event = |day: i64| Event {
        id: AuditId::new(day * DAY_MS, 0, 0),
        at: Time(day * DAY_MS),
        kind: "accepted".to_owned(),
        fields: json!({"sender": "ann@a.test"}),
    };
    let transaction = db.transaction().unwrap();
    add(&transaction, &[event(1), event(2), event(9)].iter().map(Told::of).collect::<Vec<_>>(), 1).unwrap();
    transaction.commit().unwrap();
    assert_eq!(forget(&path, Time(DAY_MS), 100).unwrap(), 0);
    assert_eq!(forget(&path, Time(3 * DAY_MS), 100).unwrap(), 2);
    let count = |sql: &str| db.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    for table in ["event", "mail", "fact", "day"] {
        assert_eq!(count(&format!("SELECT count(*) FROM {table}")), 1, "{table}");
    }
    assert_eq!(
        count("SELECT count(*) FROM sqlite_schema WHERE name LIKE 'word_%' AND name NOT LIKE '%\\_9%' ESCAPE '\\'"),
        0
    );
    assert_eq!(count("SELECT count(*) FROM stat WHERE span = 0"), 1);
    assert_eq!(count("SELECT count(*) FROM stat WHERE span = 2"), 3);
}
