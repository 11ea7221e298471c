//! Fills a spool with a million deliveries and says how long the pages of the queue take.
//!
//! `cargo run --release -p store --example pages [DELIVERIES] [FOLDER]`

#![expect(clippy::unwrap_used, reason = "a measuring program ends at the first error")]

use mail::{AuditId, Time};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use store::{Cursor, Limits, PageOf, Selection, Sort, State, Store};

fn main() {
    let count: i64 = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::args().nth(2).map_or(temporary.path().to_owned(), PathBuf::from);
    drop(Store::open(&folder, Limits::default()).unwrap());
    fill(&folder.join("spool.db"), count);
    let begin: i64 = std::fs::read_to_string(folder.join("first")).unwrap().parse().unwrap();
    let opened = Instant::now();
    let store = Store::open(&folder, Limits::default()).unwrap();
    println!("{} queued; opened in {:.0} ms", store.usage().queued, opened.elapsed().as_secs_f64() * 1000.0);
    let all = Selection::default();
    let big = Selection { domain: Some("d0.test".to_owned()), ..all.clone() };
    let small = Selection { domain: Some("d77.test".to_owned()), ..all.clone() };
    let held = Selection { state: Some(State::Held), ..all.clone() };
    let cause = Selection { cause: Some("peer.greylist".to_owned()), ..all.clone() };
    let rare = Selection { text: Some("no such words".to_owned()), ..all.clone() };
    for (name, selection) in [
        ("all", &all),
        ("half of all", &big),
        ("a small domain", &small),
        ("held", &held),
        ("a cause", &cause),
        ("words that nothing holds", &rare),
    ] {
        for sort in [Sort::Oldest, Sort::Newest, Sort::Next, EXPIRY, Sort::Attempts, Sort::Largest] {
            let first = page(&store, selection, sort, None);
            let second = first.2.map(|after| page(&store, selection, sort, Some(after)));
            let value = middle(sort, begin + count / 2);
            let middle = Cursor { value, id: AuditId::new(begin + count / 2, 0, 0), n: 0 };
            let middle = page(&store, selection, sort, Some(middle));
            let next = second.map_or_else(|| "-".to_owned(), |second| format!("{:.1}", second.0));
            println!(
                "{name}, {sort:?}: {} rows in {:.1} ms, next {next} ms, from the middle {:.1} ms",
                first.1, first.0, middle.0
            );
        }
    }
}

const EXPIRY: Sort = Sort::Expiry { mail: Duration::from_secs(5 * 86_400), bounces: Duration::from_secs(86_400) };

fn middle(sort: Sort, ms: i64) -> i64 {
    match sort {
        Sort::Oldest | Sort::Newest => 0,
        Sort::Next => ms,
        Sort::Expiry { mail, .. } => ms + mail.as_millis() as i64,
        Sort::Attempts => 3,
        Sort::Largest => 100_000,
    }
}

/// Milliseconds, rows, cursor.
fn page(store: &Store, selection: &Selection, sort: Sort, after: Option<Cursor>) -> (f64, usize, Option<Cursor>) {
    let of = PageOf { sort, limit: 50, after, time: Duration::from_millis(60) };
    let began = Instant::now();
    let page = store.page(selection, &of).unwrap();
    (began.elapsed().as_secs_f64() * 1000.0, page.entries.len(), page.next)
}

/// One message a millisecond until now: half of them to one domain, the rest to 5,000; every hundredth is held, every fiftieth
/// a bounce, every tenth larger than the spool keeps in its rows. The first's time is kept in a file.
fn fill(path: &Path, count: i64) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch("PRAGMA synchronous = OFF").unwrap();
    let filled: i64 = db.query_row("SELECT count(*) FROM delivery", [], |row| row.get(0)).unwrap();
    if filled > 0 {
        return;
    }
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    let first = i64::try_from(now).unwrap() - count;
    std::fs::write(path.with_file_name("first"), first.to_string()).unwrap();
    let said = serde_json::json!({ "at": now as u64, "speaker": "server", "text": "250 2.1.5 as long as replies are" });
    let finding = mail::Finding::new("peer.greylist", mail::Actor::Nobody, "mx.test asks us to come back later");
    let extra = serde_json::json!({ "finding": finding, "attempt": { "transcript": vec![said; 35] } }).to_string();
    let recipients = |domain: &str| {
        let address = format!("user@{domain}").parse().unwrap();
        serde_json::to_string(&[mail::Recipient::plain(address)]).unwrap()
    };
    for from in (0..count).step_by(20_000) {
        db.execute_batch("BEGIN").unwrap();
        let mut message = db.prepare_cached("INSERT INTO message (id, received_ms, envelope, size, crc, segment, offset, content) VALUES (?1,?2,'{}',?3,0,?4,?5,?6)").unwrap();
        let mut delivery = db.prepare_cached("INSERT INTO delivery (message, n, lane, next_ms, state, attempts, sender, recipients, status, extra) VALUES (?1,0,?2,?3,?4,?5,?8,?6,'451 4.4.1 x',?7)").unwrap();
        let mut update =
            db.prepare_cached("UPDATE delivery SET cause = ?2, object = ?3 WHERE message = ?1 AND n = 0").unwrap();
        for n in from..(from + 20_000).min(count) {
            let id = AuditId::new(first + n, 0, 0).to_i64();
            let large = n % 10 == 0;
            let (segment, offset, content) =
                if large { (Some(1), Some(0), None) } else { (None, None, Some(vec![b'x'; 2000])) };
            let size = if large { 20_000 + n % 400_000 } else { 2000 };
            message.execute(rusqlite::params![id, first + n, size, segment, offset, content]).unwrap();
            let domain = if n % 2 == 0 { "d0.test".to_owned() } else { format!("d{}.test", n % 5000) };
            let is_held = n % 100 == 7;
            let next = if is_held { Time::NEVER.ms() } else { first + (n * 7919) % count };
            let sender = if n % 50 == 0 { "<>" } else { "ann@corp.test" };
            let values =
                rusqlite::params![id, domain, next, i64::from(is_held), n % 7, recipients(&domain), extra, sender];
            delivery.execute(values).unwrap();
            if n % 7 > 0 {
                let cause = if n % 3 == 0 { "peer.greylist" } else { "net.timeout" };
                update.execute(rusqlite::params![id, cause, format!("mx.{domain}")]).unwrap();
            }
        }
        db.execute_batch("COMMIT").unwrap();
    }
    db.execute(
        "UPDATE incident SET detail = json_set('{\"changed\": []}', '$.finding', json_set(?1, '$.cause', cause))",
        [serde_json::to_string(&finding).unwrap()],
    )
    .unwrap();
}
