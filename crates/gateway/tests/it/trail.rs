//! The Control Center's view of mail: the audit log, a message's page, the dashboard, with the real program behind them.

use crate::accounts::{first, get};
use crate::gateway::{Gateway, peer};
use serde_json::Value;

async fn json(gateway: &Gateway, path: &str, session: &str) -> Value {
    let answer = get(gateway, path, session).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_found_told_and_counted() {
    let next_hop = peer("rcpt later@corp.test 451 4.7.1 come back later\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let session = first(&gateway).await;
    let content = "Subject: <script>alert(1)</script> quarter\r\nMessage-ID: <one@out.test>\r\nX-Secret: <img src=x>\r\n\r\nbody-of-it";
    assert!(gateway.send("ann@mail.out.test", "bob@corp.test", content).await.is("250"));
    assert!(gateway.send("ann@mail.out.test", "later@corp.test", content).await.is("250"));
    assert!(gateway.send("ann@mail.out.test", "x@elsewhere.test", content).await.is("550"));
    gateway.wait_queue("one waits", |queue| queue.len() == 1 && queue[0]["attempts"] == 1).await;

    // Pages do not wait for the trail; the command does.
    assert_eq!(gateway.run(&["audit", "search", "out.test"]).0, 0);
    // Every part of it finds it, and the refused recipient is there as well.
    for (question, found) in [
        ("q=out.test", 3),
        ("q=bob", 1),
        ("q=one%40out.test", 2),
        ("q=quarter", 2),
        ("outcome=deferred", 1),
        ("outcome=delivered&listener=inbound", 1),
        ("outcome=refused", 1),
        ("recipient=elsewhere.test", 1),
        ("q=corp.test&sender=nobody", 0),
        ("client=127.0.0.1&from=1h", 3),
    ] {
        let page = json(&gateway, &format!("/api/v1/audit?{question}"), &session).await;
        let rows = page["rows"].as_array().unwrap();
        let mail = rows.iter().filter(|row| !row["recipients"].as_array().unwrap().is_empty());
        assert_eq!(mail.count(), found, "{question}: {page}");
    }

    // Each number of the dashboard is that of the messages behind it.
    let overview = json(&gateway, "/api/v1/overview?span=hour", &session).await;
    for (outcome, count) in [("accepted", 2), ("delivered", 1), ("deferred", 1), ("refused", 1)] {
        let totals = overview["totals"].as_array().unwrap().iter();
        let total: u64 =
            totals.filter(|total| total["outcome"] == outcome).map(|total| total["count"].as_u64().unwrap()).sum();
        let page = json(&gateway, &format!("/api/v1/audit?outcome={outcome}&from=1h"), &session).await;
        assert_eq!(
            (total, page["rows"].as_array().unwrap().len()),
            (count, count as usize),
            "{outcome}: {overview} {page}"
        );
    }
    let dashboard = get(&gateway, "/", &session).await;
    assert!(dashboard.starts_with("HTTP/1.1 200") && dashboard.contains("/audit?outcome=deferred"), "{dashboard}");

    // The waiting one: its way, its header, its evidence; nothing of it is active.
    let page = json(&gateway, "/api/v1/audit?q=later", &session).await;
    let id = page["rows"][0]["id"].as_str().unwrap();
    let page = get(&gateway, &format!("/message/{id}"), &session).await;
    for text in [
        "451 4.7.1 come back later",
        "RCPT TO:&lt;later@corp.test&gt;",
        "X-Secret: &lt;img src=x&gt;",
        "In the queue",
        "id=\"evidence\"",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains("body-of-it"), "{page}");
    let csv = get(&gateway, "/audit/export?format=csv&q=quarter", &session).await;
    assert_eq!(csv.matches("<script>alert(1)</script> quarter").count(), 2, "{csv}");
}
