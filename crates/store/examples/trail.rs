//! Trail: a month's audit trail of a busy gateway, and how long its questions take.
//!
//! `cargo run --release -p store --example trail -- fill FOLDER [MESSAGES [full]]` makes it (5,000,000 messages in thirty
//! days up to now; `full`: each attempt with its transcript, as the gateway writes it) and says what it costs.
//! `-- ask FOLDER` measures searches, pages, charts and an export.
//! `-- trigrams FOLDER [MESSAGES]` puts what was searched into an index of trigrams instead: what that would cost.

use mail::{AuditId, Time};
use rusqlite::Connection;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::path::Path;
use std::time::{Duration, Instant, SystemTime};
use store::{AuditFilter, Class, Event, Limits, Step, Store};

type Failure = Box<dyn std::error::Error>;

const DAY_MS: i64 = 86_400_000;
const DAYS: i64 = 30;

fn main() -> Result<(), Failure> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let word = |at: usize| words.get(at).map(String::as_str);
    let folder = Path::new(word(1).unwrap_or("trail-data"));
    let count = word(2).map_or(Ok(5_000_000), str::parse)?;
    match word(0) {
        Some("fill") => fill(folder, count, word(3) == Some("full")),
        Some("ask") => ask(folder),
        Some("trigrams") => trigrams(folder, count),
        _ => Err("fill FOLDER [MESSAGES [full]] | ask FOLDER | trigrams FOLDER [MESSAGES]".into()),
    }
}

/// Numbers that only look random: the same trail each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % below
    }

    /// Small numbers far more often than large ones, as with domains and words in real mail.
    fn few(&mut self, below: u64) -> u64 {
        let a = self.roll(below) * self.roll(below) / below;
        a * self.roll(below) / below
    }
}

const SUBJECT: &[&str] = &[
    "invoice",
    "offer",
    "meeting",
    "minutes",
    "report",
    "weekly",
    "order",
    "delivery",
    "status",
    "question",
    "about",
    "the",
    "project",
    "your",
    "account",
    "reminder",
    "payment",
    "contract",
    "draft",
    "final",
    "version",
    "holiday",
    "schedule",
    "password",
    "reset",
    "ticket",
    "support",
    "server",
    "alert",
    "backup",
    "failed",
    "newsletter",
    "november",
    "sale",
    "news",
    "application",
    "documents",
    "signed",
    "urgent",
    "quarter",
    "figures",
    "budget",
    "travel",
    "hotel",
    "booking",
    "welcome",
];

/// Messages in the order of their time, each with what becomes of it later.
struct Month {
    dice: Dice,
    left: u64,
    now: i64,
    pause: i64,
    sequence: u16,
    full: bool,
    later: BinaryHeap<Reverse<(i64, u64)>>,
    waiting: std::collections::HashMap<u64, Event>,
    number: u64,
}

impl Month {
    fn new(count: u64, full: bool) -> Month {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_millis() as i64);
        Month {
            dice: Dice(0x9E37_79B9_7F4A_7C15),
            left: count,
            now: now - DAYS * DAY_MS,
            pause: DAYS * DAY_MS / count.max(1) as i64,
            sequence: 0,
            full,
            later: BinaryHeap::new(),
            waiting: std::collections::HashMap::new(),
            number: 0,
        }
    }

    fn put(&mut self, event: Event) {
        self.number += 1;
        self.later.push(Reverse((event.at.ms(), self.number)));
        self.waiting.insert(self.number, event);
    }

    fn message(&mut self) {
        self.left -= 1;
        self.now += self.dice.roll(2 * self.pause.max(1) as u64) as i64;
        self.sequence = (self.sequence + 1) % 8000;
        let id = AuditId::new(self.now, 1, self.sequence);
        let dice = &mut self.dice;
        let (domain, user) = (dice.few(20_000), dice.few(5000));
        let theirs = format!("user{}@mail{}.domain{domain}.example", dice.few(3000), dice.roll(3));
        let ours = format!("person{user}@{}corp.test", if dice.roll(4) == 0 { "sales." } else { "" });
        let host = format!("mx{}.domain{domain}.example", dice.roll(3));
        let client = format!("198.{}.{}.{}", 18 + domain % 2, domain / 2 % 256, domain % 251);
        let subject: Vec<&str> =
            (0..3 + dice.roll(5)).map(|_| SUBJECT[dice.few(SUBJECT.len() as u64) as usize]).collect();
        let subject = format!("{} {}", subject.join(" "), dice.roll(100_000));
        let message_id = format!(
            "<{:016x}.{:08x}@mail{}.domain{domain}.example>",
            dice.roll(u64::MAX),
            dice.roll(1 << 32),
            domain % 3
        );
        let kind = dice.roll(100);
        let (listener, sender, recipient) =
            if kind < 70 { ("inbound", theirs, ours) } else { ("outbound", ours, theirs) };
        if kind < 15 {
            let status = match dice.roll(3) {
                0 => "550 5.1.1 no such user",
                1 => "550 5.7.1 relaying denied",
                _ => "554 5.7.1 blocked: 198.18.0.1 is listed at bl.example",
            };
            let fields = json!({"client": client, "listener": listener, "stage": "RCPT", "status": status, "helo": host, "sender": sender, "recipient": recipient});
            self.put(Event { id, at: Time(self.now), kind: "refused".to_owned(), fields });
            let finding = json!({"cause": if dice_of(id, 3) == 0 { "content.listed" } else { "policy.relaying_denied" }, "sentence": format!("{host} [{client}] wants to send to {recipient}, which is not here"), "evidence": []});
            let fields = json!({"client": client, "listener": listener, "helo": host, "finding": finding, "visit": self.transcript(&host)});
            return self.put(Event { id, at: Time(self.now + 900), kind: "visit".to_owned(), fields });
        }
        let size = 2000 + dice.few(2_000_000);
        let accepted = json!({"sender": sender, "recipients": [recipient], "client": client, "helo": host, "listener": listener, "size": size, "subject": subject, "message_id": message_id, "connection": AuditId::new(self.now - 40, 1, self.sequence), "status": "accepted", "tls": "TLSv1.3 TLS13_AES_256_GCM_SHA384", "user": null});
        self.put(Event { id, at: Time(self.now), kind: "accepted".to_owned(), fields: accepted });
        let queued = format!("250 2.0.0 Ok: queued as {:010X}", self.dice.roll(1 << 40));
        let (mut at, fate) = (self.now + 200 + self.dice.roll(2000) as i64, self.dice.roll(1000));
        let deferrals = if fate < 50 { 1 + self.dice.roll(3) } else { 0 };
        for number in 0..deferrals {
            let finding = json!({"cause": if fate < 30 { "peer.greylisted" } else { "net.connect_timeout" }, "sentence": format!("{host} does not take mail from strangers at once"), "evidence": []});
            let status = format!("451 4.7.1 [{host}] Greylisting in action, please come back later");
            let fields = json!({"sender": sender, "recipients": [recipient], "host": host, "status": status, "attempt_number": number, "finding": finding, "attempt": self.transcript(&host)});
            self.put(Event { id, at: Time(at), kind: "deferred".to_owned(), fields });
            at += 900_000 << number;
        }
        let (kind, status) = match fate {
            0..7 => ("bounced", format!("550 5.1.1 [{host}] <{recipient}>: Recipient address rejected: User unknown")),
            7..9 => (
                "bounced",
                format!("554 5.4.7 [internal] exceeded max time without delivery: last failure: 451 [{host}]"),
            ),
            _ => ("delivered", queued),
        };
        let fields = json!({"sender": sender, "recipients": [recipient], "host": host, "address": client, "status": status, "attempt_number": deferrals, "attempt": self.transcript(&host)});
        self.put(Event { id, at: Time(at), kind: kind.to_owned(), fields });
    }

    /// As long as a real one.
    fn transcript(&self, host: &str) -> Value {
        if !self.full {
            return Value::Null;
        }
        let said: Vec<Value> = (0..16)
            .map(|line| json!({"at": self.now + line, "speaker": if line % 2 == 0 { "server" } else { "client" }, "text": format!("250-{host} at your service, line {line}")}))
            .collect();
        json!({"number": 1, "started": self.now, "ended": self.now + 900, "rule": "MX", "dns": [said[0], said[1], said[2]], "tries": [{"host": host, "port": 25, "transcript": said, "capabilities": ["PIPELINING", "SIZE 52428800", "STARTTLS", "8BITMIME", "SMTPUTF8", "CHUNKING"]}]})
    }
}

fn dice_of(id: AuditId, below: i64) -> i64 {
    id.to_i64() % below
}

impl Iterator for Month {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        while self.left > 0 && self.later.peek().is_none_or(|Reverse((at, _))| *at >= self.now) {
            self.message();
        }
        let Reverse((_, number)) = self.later.pop()?;
        self.waiting.remove(&number)
    }
}

/// Events in one transaction of the shipper, about, when it is busy.
const CHUNK: usize = 1000;

fn fill(folder: &Path, count: u64, full: bool) -> Result<(), Failure> {
    let began = Instant::now();
    let mut said = 0;
    let month = Month::new(count, full).inspect(|_| {
        said += 1;
        if said % 1_000_000 == 0 {
            println!("{said} events after {:.0} s", began.elapsed().as_secs_f64());
        }
    });
    let events = Store::audit_import(folder, month, CHUNK)?;
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "{count} messages, {events} events in {seconds:.0} s: {:.0} events/s, {:.0} messages/s",
        events as f64 / seconds,
        count as f64 / seconds
    );
    sizes(folder, count)
}

/// What the tables take, by their pages.
fn sizes(folder: &Path, count: u64) -> Result<(), Failure> {
    let path = folder.join("records.db");
    let octets = std::fs::metadata(&path)?.len();
    println!("{} MB, {} octets a message", octets / 1_000_000, octets / count.max(1));
    let db = Connection::open(&path)?;
    let sql = "SELECT CASE WHEN name LIKE 'word_%' THEN 'word_*' ELSE name END, sum(pgsize) FROM dbstat GROUP BY 1 ORDER BY 2 DESC LIMIT 12";
    // Only if SQLite was built with it.
    let Ok(mut statement) = db.prepare(sql) else { return Ok(()) };
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let (name, octets): (String, i64) = (row.get(0)?, row.get(1)?);
        println!("  {name:<20} {:>8.1} MB {:>6} octets a message", octets as f64 / 1e6, octets / count.max(1) as i64);
    }
    Ok(())
}

fn ask(folder: &Path) -> Result<(), Failure> {
    let store = Store::open(folder, Limits { disk_reserve: 0, ..Limits::default() })?;
    let newest = store.audit_search(&AuditFilter::default(), 1)?;
    let newest = newest.first().ok_or("fill the folder first")?;
    let end = newest.at.ms();
    // A message of the oldest day: found last.
    let old =
        AuditFilter { class: Some(Class::Delivered), until: Some(Time(end - 29 * DAY_MS)), ..AuditFilter::default() };
    let old = store.audit_search(&old, 1)?.pop().ok_or("there is no old message")?;
    let term = |text: &str| AuditFilter { term: Some(text.to_owned()), ..AuditFilter::default() };
    let text = |text: &str| Some(text.to_owned());
    let day = |class| AuditFilter {
        class: Some(class),
        from: Some(Time(end - DAY_MS)),
        until: Some(Time(end)),
        ..AuditFilter::default()
    };
    let queue_id = old.status.rsplit(' ').next().unwrap_or_default().to_owned();
    let questions: Vec<(String, AuditFilter)> = vec![
        ("nothing".into(), AuditFilter::default()),
        ("an Audit ID".into(), term(&old.id.to_string())),
        ("a Message-ID of the oldest day".into(), term(&old.message_id)),
        ("an address of theirs".into(), term(&old.sender)),
        ("a recipient".into(), term(&old.recipients[0])),
        ("the domain of half the mail".into(), term("corp.test")),
        ("a beginning that all mail has".into(), term("dom")),
        ("a rare domain".into(), term("domain19321.example")),
        ("an IP address".into(), term(&old.client)),
        ("the beginning of an IP address".into(), term("198.18.7.")),
        ("two subject words".into(), term("quarter budget")),
        ("words of a remote answer".into(), term("greylisting action")),
        ("a remote queue ID".into(), term(&queue_id)),
        ("what nobody wrote".into(), term("zyxwv")),
        ("two frequent words never together".into(), term("blocked queued")),
        ("a frequent beginning and a rare word".into(), term(&format!("dom {queue_id}"))),
        ("a frequent beginning, never with the other".into(), term("dom zyxwv")),
        ("refused, of a domain".into(), AuditFilter { class: Some(Class::Refused), ..term("domain77.example") }),
        (
            "bounced to a recipient's domain".into(),
            AuditFilter { class: Some(Class::Bounced), recipient: text("corp.test"), ..AuditFilter::default() },
        ),
        (
            "a sender's domain that only receives".into(),
            AuditFilter { sender: text("nobody.corp.test"), ..AuditFilter::default() },
        ),
        (
            "inbound of one client".into(),
            AuditFilter { listener: text("inbound"), client: text(&old.client), ..AuditFilter::default() },
        ),
        ("a cause".into(), AuditFilter { cause: text("net.connect_timeout"), ..AuditFilter::default() }),
        ("a cause and a word".into(), AuditFilter { cause: text("net.connect_timeout"), ..term("person17") }),
        ("delivered in the last day".into(), day(Class::Delivered)),
        ("deferred in the last day".into(), day(Class::Deferred)),
        ("expired in thirty days".into(), AuditFilter { class: Some(Class::Expired), ..AuditFilter::default() }),
        (
            "deferred on one day long ago, with a word".into(),
            AuditFilter {
                class: Some(Class::Deferred),
                from: Some(Time(end - 20 * DAY_MS)),
                until: Some(Time(end - 19 * DAY_MS)),
                ..term("person")
            },
        ),
    ];
    println!("{:<46} {:>5} {:>9} {:>9} {:>9}", "a page of 50", "found", "first", "median", "page 2");
    for (name, filter) in &questions {
        let ask = |after| -> Result<_, Failure> {
            let began = Instant::now();
            let page = store.audit_page(filter, 50, after)?;
            Ok((page, began.elapsed()))
        };
        let (page, first) = ask(None)?;
        let mut times: Vec<Duration> = (0..5).map(|_| ask(None).map(|(_, time)| time)).collect::<Result<_, _>>()?;
        times.sort_unstable();
        let second = page.next.map(|next| ask(Some(next))).transpose()?.map(|(_, time)| time);
        let stopped = page.stopped_at.map(|at| format!("  stopped at {}", at.rfc3339())).unwrap_or_default();
        println!(
            "{name:<46} {:>5} {:>6.1} ms {:>6.1} ms {}{stopped}",
            page.entries.len(),
            ms(first),
            ms(times[2]),
            second.map(|time| format!("{:>6.1} ms", ms(time))).unwrap_or_default()
        );
    }
    for (name, back, step) in [
        ("chart of an hour, by minutes", DAY_MS / 24, Step::Minutes(1)),
        ("chart of a day, by 15 minutes", DAY_MS, Step::Minutes(15)),
        ("chart of 30 days, by 6 hours", 30 * DAY_MS, Step::Hours(6)),
        ("chart of 30 days, by days", 30 * DAY_MS, Step::Days(1)),
    ] {
        let began = Instant::now();
        let points = store.stats(Time(end - back), Time(end), step)?;
        println!("{name:<46} {:>5} {:>6.1} ms", points.len(), ms(began.elapsed()));
        let began = Instant::now();
        let causes = store.cause_counts(Time(end - back), Time(end), step, 20)?;
        println!("{:<46} {:>5} {:>6.1} ms", "  its causes", causes.len(), ms(began.elapsed()));
    }
    let began = Instant::now();
    let mut count = 0u64;
    store.audit_export(&term("corp.test"), |_| {
        count += 1;
        count < 200_000
    })?;
    println!(
        "export: {count} rows in {:.1} s, {:.0} rows/s",
        began.elapsed().as_secs_f64(),
        count as f64 / began.elapsed().as_secs_f64()
    );
    Ok(())
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// The same text in an index of trigrams, in one table: size and time of filling it, and two questions.
fn trigrams(folder: &Path, count: u64) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let mut db = Connection::open(folder.join("trigrams.db"))?;
    db.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; CREATE VIRTUAL TABLE t USING fts5 (words, content = '', contentless_delete = 1, detail = none, tokenize = 'trigram')")?;
    let began = Instant::now();
    let mut month = Month::new(count, false);
    let mut rows = 0u64;
    loop {
        let some: Vec<Event> = month.by_ref().take(CHUNK).collect();
        if some.is_empty() {
            break;
        }
        let transaction = db.transaction()?;
        let mut insert = transaction.prepare_cached("INSERT OR REPLACE INTO t (rowid, words) VALUES (?, ?)")?;
        // What comes later is left out: this costs less than the whole would.
        for event in some.iter().filter(|event| matches!(event.kind.as_str(), "accepted" | "refused")) {
            let word = |name: &str| event.fields.get(name).map(Value::to_string).unwrap_or_default();
            let words = ["sender", "recipient", "recipients", "subject", "message_id", "client", "helo", "status"]
                .map(word)
                .join(" ");
            insert.execute(rusqlite::params![event.id.to_i64(), words.to_lowercase()])?;
            rows += 1;
        }
        drop(insert);
        transaction.commit()?;
    }
    let seconds = began.elapsed().as_secs_f64();
    println!("{rows} rows in {seconds:.0} s: {:.0} rows/s", rows as f64 / seconds);
    db.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")?;
    println!("{} octets a message", std::fs::metadata(folder.join("trigrams.db"))?.len() / rows.max(1));
    for word in ["corp.test", "zyxwv", "domain19321.example"] {
        let began = Instant::now();
        let question = format!("\"{word}\"");
        // Without positions a phrase is no question; all its trigrams are.
        let letters: Vec<char> = word.chars().collect();
        let all: Vec<String> =
            letters.windows(3).map(|three| format!("\"{}\"", three.iter().collect::<String>())).collect();
        let found = db
            .prepare("SELECT rowid FROM t WHERE t MATCH ? ORDER BY rowid DESC LIMIT 50")?
            .query_map([all.join(" AND ")], |row| row.get::<_, i64>(0))?
            .count();
        println!("{question:<24} {found:>3} candidates in {:.1} ms", ms(began.elapsed()));
    }
    Ok(())
}
