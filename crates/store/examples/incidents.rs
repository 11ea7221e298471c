//! Fills a spool with a million deliveries that wait for a few thousand causes, and says how long questions about them take.
//!
//! `cargo run --release -p store --example incidents [DELIVERIES] [FOLDER]`

#![expect(clippy::unwrap_used, reason = "a measuring program ends at the first error")]

use mail::AuditId;
use std::path::PathBuf;
use std::time::Instant;
use store::{Limits, Selection, Store};

fn main() {
    let count: i64 = std::env::args().nth(1).map_or(1_000_000, |text| text.parse().unwrap());
    let temporary = tempfile::tempdir().unwrap();
    let folder = std::env::args().nth(2).map_or(temporary.path().to_owned(), PathBuf::from);
    drop(Store::open(&folder, Limits::default()).unwrap());
    let started = Instant::now();
    fill(&folder.join("spool.db"), count);
    println!("{count} deliveries were given their cause in {:.1} s", started.elapsed().as_secs_f64());
    let opened = Instant::now();
    let store = Store::open(&folder, Limits::default()).unwrap();
    println!("opened in {:.0} ms", opened.elapsed().as_secs_f64() * 1000.0);
    let tell = |what: &str, ask: &dyn Fn() -> usize| {
        for turn in ["first", "again"] {
            let started = Instant::now();
            let found = ask();
            println!("{what}: {found} in {:.1} ms ({turn})", started.elapsed().as_secs_f64() * 1000.0);
        }
    };
    tell("incidents", &|| store.incidents(200, None).unwrap().len());
    tell("causes", &|| store.causes().unwrap().len());
    for cause in ["net.port25_blocked", "peer.greylist", "dns.servfail"] {
        let selection = Selection { cause: Some(cause.to_owned()), ..Selection::default() };
        tell(&format!("page of {cause}"), &|| store.list(&selection, 50, None).unwrap().len());
        let middle = (AuditId::new(count / 2, 0, 0), 0);
        tell(&format!("page in the middle of {cause}"), &|| store.list(&selection, 50, Some(middle)).unwrap().len());
    }
}

/// Half of all for one cause of ours, the rest for causes at 2,000 hosts; 3 KB are remembered of each last attempt.
fn fill(path: &std::path::Path, count: i64) {
    let db = rusqlite::Connection::open(path).unwrap();
    db.execute_batch("PRAGMA synchronous = OFF").unwrap();
    let extra = format!("{{\"attempt\": \"{}\"}}", "x".repeat(3000));
    let mut at = 0;
    while at < count {
        db.execute_batch("BEGIN").unwrap();
        let mut insert = db
            .prepare_cached("INSERT INTO delivery (message, n, lane, next_ms, state, attempts, sender, recipients, status, extra) VALUES (?1,0,?2,?3,0,1,?4,'[]','451 4.4.1 x',?5)")
            .unwrap();
        let mut update =
            db.prepare_cached("UPDATE delivery SET cause = ?2, object = ?3 WHERE message = ?1 AND n = 0").unwrap();
        for n in at..(at + 20_000).min(count) {
            let id = AuditId::new(n, 0, 0).to_i64();
            let sender = if n % 50 == 0 { "<>" } else { "ann@corp.test" };
            insert.execute(rusqlite::params![id, format!("d{}.test", n % 5000), n, sender, extra]).unwrap();
            let (cause, object) = match n % 4 {
                0 | 1 => ("net.port25_blocked", String::new()),
                2 => ("peer.greylist", format!("mx{}.test", n % 2000)),
                _ => ("dns.servfail", format!("d{}.test", n % 5000)),
            };
            update.execute(rusqlite::params![id, cause, object]).unwrap();
        }
        drop((insert, update));
        db.execute_batch("COMMIT").unwrap();
        at += 20_000;
    }
}
