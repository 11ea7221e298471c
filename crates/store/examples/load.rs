//! Load: how many messages a second the store takes in and lets go, and what that costs.
//!
//! `cargo run --release -p store --example load -- [FOLDER [CLIENTS [SECONDS [OCTETS]]]]`
//! Each client commits a message with one delivery and one event, then settles it as delivered with another event.
//! The folder should lie on the disk that is to be measured: on tmpfs a sync costs nothing.
//! `-- FOLDER fill COUNT` puts messages into the queue instead, and measures how long opening it takes.
//! `-- FOLDER count COUNT` takes so many one after the other, until the last is in the trail: for counting instructions.

use mail::{Address, AuditId, Body, Envelope, Origin, Recipient, ReversePath, Time};
use rustix::time::{ClockId, clock_gettime};
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use store::{Event, Limits, NewDelivery, Outcome, Settle, Store};

type Failure = Box<dyn std::error::Error + Send + Sync>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Failure> {
    let mut words = std::env::args().skip(1);
    let folder = words.next().unwrap_or_else(|| "load-data".to_owned());
    let folder = Path::new(&folder);
    let second = words.next().unwrap_or_else(|| "20".to_owned());
    if second == "fill" {
        return fill(folder, words.next().map_or(Ok(100_000), |count| count.parse())?).await;
    }
    if second == "count" {
        return one_by_one(folder, words.next().map_or(Ok(100), |count| count.parse())?).await;
    }
    let clients: u64 = second.parse()?;
    let seconds: u64 = words.next().map_or(Ok(5), |word| word.parse())?;
    let octets: usize = words.next().map_or(Ok(4096), |word| word.parse())?;
    std::fs::create_dir_all(folder)?;
    println!("one sync of 64 KiB: {:?}", sync_cost(folder)?);
    let store = Store::open(folder, limits())?;
    run(&store, clients, Duration::from_secs(seconds), octets).await
}

fn limits() -> Limits {
    Limits { disk_reserve: 0, ..Limits::default() }
}

async fn run(store: &Store, clients: u64, time: Duration, octets: usize) -> Result<(), Failure> {
    let before = store.usage().queued;
    let (began, cpu) = (Instant::now(), cpu());
    let count = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..clients)
        .map(|client| {
            let (store, count) = (store.clone(), count.clone());
            tokio::spawn(async move {
                let content = vec![b'x'; octets];
                let mut slowest = Duration::ZERO;
                while began.elapsed() < time {
                    let asked = Instant::now();
                    let id = id(count.fetch_add(1, Ordering::Relaxed));
                    deliver(&store, commit(&store, id, client, &content).await?)?;
                    slowest = slowest.max(asked.elapsed());
                }
                Ok::<_, Failure>(slowest)
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for task in tasks {
        slowest = slowest.max(task.await??);
    }
    while store.usage().queued > before {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let (count, took) = (count.load(Ordering::Relaxed), began.elapsed());
    let cpu = self::cpu() - cpu;
    println!(
        "{clients} clients, {octets} octets: {:.0} messages/s, {:.0} µs CPU each (clients and trail included), slowest {slowest:?}",
        count as f64 / took.as_secs_f64(),
        cpu.as_secs_f64() * 1e6 / count as f64
    );
    Ok(())
}

async fn fill(folder: &Path, count: u64) -> Result<(), Failure> {
    let store = Store::open(folder, limits())?;
    let first = store.last_audit_id().map_or(1_000_000, |id| id.ms() as u64 + 1);
    let next = Arc::new(AtomicU64::new(0));
    let tasks: Vec<_> = (0..200)
        .map(|client| {
            let (store, next) = (store.clone(), next.clone());
            tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if n >= count {
                        return Ok::<_, Failure>(());
                    }
                    drop(commit(&store, AuditId::new((first + n) as i64, 0, 0), client, &[b'x'; 4096]).await?);
                }
            })
        })
        .collect();
    for task in tasks {
        task.await??;
    }
    println!("{} queued, {} KiB resident", store.usage().queued, resident()?);
    drop(store);
    let began = Instant::now();
    let store = Store::open(folder, limits())?;
    println!("open: {:?}, {} queued", began.elapsed(), store.usage().queued);
    let began = Instant::now();
    let lanes = store.lanes()?;
    println!("lanes: {:?} for {}", began.elapsed(), lanes.len());
    let began = Instant::now();
    let due = store.due(&lanes[0].lane, Time(i64::MAX - 1), 100, &Default::default())?;
    println!("due: {:?} for {}, {} KiB resident", began.elapsed(), due.len(), resident()?);
    Ok(())
}

async fn one_by_one(folder: &Path, count: u64) -> Result<(), Failure> {
    std::fs::create_dir_all(folder)?;
    let store = Store::open(folder, limits())?;
    for n in 0..count {
        deliver(&store, commit(&store, id(n), 0, &[b'x'; 4096]).await?)?;
    }
    while store.usage().queued > 0 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Reading waits for the trail to have caught up.
    store.audit_show(id(count))?;
    Ok(())
}

async fn commit(store: &Store, id: AuditId, client: u64, content: &[u8]) -> Result<store::Delivery, Failure> {
    let mut draft = store.draft(id);
    draft.write(content)?;
    let sender: Address = "sender@corp.test".parse()?;
    let recipient = Recipient::plain(format!("user{client}@dest{}.test", client % 10).parse()?);
    let envelope = Envelope {
        sender: ReversePath::Address(sender),
        body: Body::SevenBit,
        smtputf8: false,
        ret: None,
        envid: None,
        origin: Origin::internal(),
    };
    let fields = serde_json::json!({"sender": "sender@corp.test", "recipients": [recipient.address.to_string()], "size": content.len(),
        "message_id": format!("<{id}@corp.test>"), "subject": "load", "client": "192.0.2.1"});
    let delivery = NewDelivery {
        lane: recipient.address.domain().to_string(),
        recipients: vec![recipient],
        ..NewDelivery::default()
    };
    let event = Event { id, at: Time(1), kind: "accept".to_owned(), fields };
    let committed = draft.commit(envelope, vec![delivery], Time(id.ms()), vec![event]).await?;
    committed.into_deliveries().pop().ok_or_else(|| "no delivery".into())
}

fn deliver(store: &Store, delivery: store::Delivery) -> Result<(), Failure> {
    let (message, n) = delivery.key();
    let fields = serde_json::json!({"status": "250 2.0.0 ok", "host": "192.0.2.9"});
    let events = vec![Event { id: message, at: Time(2), kind: "delivery".to_owned(), fields }];
    // Sent at the call; nobody waits for a removal.
    drop(store.settle(Settle { message, n, outcome: Outcome::Gone, events }));
    Ok(())
}

fn id(n: u64) -> AuditId {
    AuditId::new(1_800_000_000_000 + n as i64 / 4096, 0, (n % 4096) as u16)
}

fn sync_cost(folder: &Path) -> Result<Duration, Failure> {
    let path = folder.join("sync-probe");
    let file = File::create(&path)?;
    let began = Instant::now();
    for n in 0..50 {
        file.write_all_at(&[n as u8; 65_536], n * 65_536)?;
        file.sync_data()?;
    }
    std::fs::remove_file(path)?;
    Ok(began.elapsed() / 50)
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

fn resident() -> Result<u64, Failure> {
    let pages: u64 = std::fs::read_to_string("/proc/self/statm")?.split(' ').nth(1).ok_or("statm")?.parse()?;
    Ok(pages * 4)
}
