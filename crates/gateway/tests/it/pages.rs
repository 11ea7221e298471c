//! The Control Center's pages about mail that waits, over the real program: what is shown is so, what is ordered is done.

use crate::accounts::{first, get, post};
use crate::gateway::{Gateway, peer};

/// Where an answer leads.
fn location(answer: &str) -> String {
    let found = answer.lines().find_map(|line| line.strip_prefix("location: "));
    found.unwrap_or_else(|| panic!("it leads nowhere: {answer}")).trim().to_owned()
}

fn holds(page: &str, parts: &[&str]) {
    for part in parts {
        assert!(page.contains(part), "{part} is missing in: {page}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_that_waits_is_shown_held_and_released_from_the_pages() {
    let next_hop = peer("rcpt 450 4.2.0 mailbox busy\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let ann = first(&gateway).await;
    for number in 0..2 {
        assert!(gateway.send("a@out.test", &format!("b{number}@corp.test"), "Subject: x\r\n\r\nx").await.is("250"));
    }
    let tried = |queue: &[serde_json::Value]| queue.len() == 2 && queue.iter().all(|entry| entry["attempts"] == 1);
    let queue = gateway.wait_queue("both were attempted", tried).await;
    let id = queue[0]["id"].as_str().unwrap().to_owned();

    holds(&get(&gateway, "/queue?by=domain", &ann).await, &["/queue?by=message&amp;domain=corp.test", ">2</a>"]);
    let rows = get(&gateway, "/queue?by=message&domain=corp.test&sort=attempts", &ann).await;
    holds(&rows, &[&id, "450 4.2.0", "b0@corp.test", "b1@corp.test"]);
    let none = get(&gateway, "/queue?by=message&domain=other.test", &ann).await;
    holds(&none, &["Nothing in the queue matches"]);

    let preview =
        location(&post(&gateway, "/queue/orders", &ann, "scope=all&domain=corp.test&order=hold&why=odd").await);
    holds(&get(&gateway, &preview, &ann).await, &["Hold 2 deliveries", "b0@corp.test"]);
    assert!(gateway.queue().iter().all(|entry| entry["state"] == "queued"), "a preview does nothing");
    let ended = location(&post(&gateway, &preview, &ann, "").await);
    holds(&get(&gateway, &ended, &ann).await, &["2 deliveries are held", "Undo"]);
    let held = gateway.wait_queue("both are held", |queue| queue.iter().all(|entry| entry["state"] == "held")).await;
    assert!(held[0]["status"].as_str().unwrap().contains("odd"), "{held:?}");
    let undone = location(&post(&gateway, &format!("{ended}/undo"), &ann, "").await);
    holds(&get(&gateway, &undone, &ann).await, &["2 deliveries are released"]);
    gateway.wait_queue("both are released", |queue| queue.iter().all(|entry| entry["state"] == "queued")).await;

    let one = format!("scope=ticked&key={id}%3A0&order=delete");
    let preview = location(&post(&gateway, "/queue/orders", &ann, &one).await);
    post(&gateway, &preview, &ann, "").await;
    gateway.wait_queue("one is left", |queue| queue.len() == 1).await;
    holds(&get(&gateway, "/api/v1/acts?q=delete", &ann).await, &["ann"]);

    let refused =
        post(&gateway, "/queue/orders", &ann, &format!("scope=all&order=reroute&to_hop={}", gateway.inbound)).await;
    assert!(refused.starts_with("HTTP/1.1 422"), "mail must not be led back here: {refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destination_is_shown_and_diagnosed_with_every_line_said() {
    let next_hop = peer("rcpt 450 4.2.0 mailbox busy\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let ann = first(&gateway).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    gateway.wait_queue("it was attempted", |queue| queue.len() == 1 && queue[0]["attempts"] == 1).await;

    let address = next_hop.address().to_string();
    holds(&get(&gateway, "/destinations", &ann).await, &["/destinations/corp.test", &address]);
    let page = get(&gateway, "/destinations/corp.test?wait=yes", &ann).await;
    holds(&page, &[&address, "domain corp.test (settings line 2)", "RCPT TO", "mailbox busy", "Probe it now"]);

    let diagnosis = location(&post(&gateway, "/diagnose", &ann, "q=b%40corp.test").await);
    let page = get(&gateway, &format!("{diagnosis}?wait=1"), &ann).await;
    holds(&page, &["connected to", "EHLO gw.corp.test", "450 4.2.0 mailbox busy", "The record"]);
    assert!(!page.contains(">DATA<"), "{page}");
    let events = get(&gateway, &format!("{diagnosis}/events"), &ann).await;
    holds(&events, &["event: steps", "event: result", "event: end"]);

    holds(&get(&gateway, "/explain?q=450+4.2.0+mailbox+busy", &ann).await, &["temporary", "4.2.0"]);
    let log = get(&gateway, "/logs?tag=ML-TRANSFAIL&text=mailbox", &ann).await;
    holds(&log, &["ML-TRANSFAIL", "mailbox busy", "/message/"]);
    holds(&get(&gateway, "/logs/download", &ann).await, &["ML-ACCEPT"]);
}
