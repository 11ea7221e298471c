//! The promise: what got 250 is there after any end of the process.

use crate::gateway::{Gateway, PATIENCE, peer};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use tokio::sync::Mutex;

#[tokio::test(flavor = "multi_thread")]
async fn what_got_250_arrives_after_sigkill() {
    let next_hop = peer("").await;
    let mut gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let acknowledged: Arc<Mutex<Vec<String>>> = Arc::default();
    for round in 0..5 {
        let stop = Arc::new(AtomicBool::new(false));
        let senders: Vec<_> = (0..8)
            .map(|sender| {
                let (inbound, acknowledged, stop) = (gateway.inbound, acknowledged.clone(), stop.clone());
                tokio::spawn(async move {
                    for number in 0.. {
                        if stop.load(Ordering::Relaxed) {
                            return;
                        }
                        let name = format!("m-{round}-{sender}-{number}");
                        let Ok(mut client) = sim::client::Client::connect(None, inbound).await else { return };
                        let content = format!(
                            "Subject: {name}\r\n\r\n{}",
                            "x".repeat(if number % 3 == 0 { 40_000 } else { 100 })
                                .as_bytes()
                                .chunks(70)
                                .map(|line| String::from_utf8_lossy(line).into_owned() + "\r\n")
                                .collect::<String>()
                        );
                        let Ok(replies) =
                            client.send("out.test", "a@out.test", &["b@corp.test"], content.as_bytes()).await
                        else {
                            return;
                        };
                        if replies.len() == 5 && replies[4].is("250") {
                            acknowledged.lock().await.push(name);
                        }
                    }
                })
            })
            .collect();
        let before = acknowledged.lock().await.len();
        while acknowledged.lock().await.len() < before + 30 + 17 * round {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        gateway.kill();
        stop.store(true, Ordering::Relaxed);
        for sender in senders {
            sender.await.unwrap();
        }
        gateway.launch().await;
    }
    gateway.wait_queue("the queue drains", |queue| queue.is_empty()).await;
    let mut copies: HashMap<String, usize> = HashMap::new();
    for message in next_hop.received() {
        let text = message.text();
        let subject = text.lines().find_map(|line| line.strip_prefix("Subject: ")).unwrap().to_owned();
        *copies.entry(subject).or_default() += 1;
    }
    let acknowledged = acknowledged.lock().await;
    assert!(acknowledged.len() >= 250);
    let lost: Vec<_> = acknowledged.iter().filter(|name| !copies.contains_key(*name)).collect();
    assert!(lost.is_empty(), "lost: {lost:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn sigterm_in_the_middle_of_a_message_does_not_cut_it() {
    let next_hop = peer("").await;
    let mut gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let mut client = gateway.client().await;
    client.expect("EHLO out.test", "250").await.unwrap();
    client.expect("MAIL FROM:<a@out.test>", "250").await.unwrap();
    client.expect("RCPT TO:<b@corp.test>", "250").await.unwrap();
    client.expect("DATA", "354").await.unwrap();
    client.write(b"Subject: half\r\n\r\nfirst half\r\n").await.unwrap();
    let mut idle = gateway.client().await;
    gateway.terminate();
    let farewell = idle.reply().await.unwrap();
    assert!(farewell.is("421"), "{farewell}");
    client.write(b"second half\r\n.\r\n").await.unwrap();
    assert!(client.reply().await.unwrap().is("250"));
    assert!(gateway.ended().await, "it ends once the message is in");
    gateway.launch().await;
    assert!(next_hop.wait_received(1, PATIENCE).await);
    assert!(next_hop.received()[0].text().ends_with("first half\r\nsecond half\r\n"));
}
