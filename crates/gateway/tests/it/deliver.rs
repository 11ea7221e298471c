//! Delivery: each recipient's fate, the reports about it, and destinations that do not hold each other up.

use crate::gateway::{Gateway, PATIENCE, peer, peer_at};
use sim::peer::Peer;

#[tokio::test(flavor = "multi_thread")]
async fn each_recipient_has_a_fate_of_its_own() {
    let next_hop =
        peer("rcpt bad@corp.test 550 5.1.1 no such user\nrcpt later@corp.test 450 4.2.1 mailbox busy\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let mut client = gateway.client().await;
    let to = ["good@corp.test", "bad@corp.test", "later@corp.test"];
    let replies = client.send("out.test", "from@corp.test", &to, b"Subject: three\r\n\r\nx").await.unwrap();
    assert!(replies.last().unwrap().is("250"));
    // The message itself, and the bounce about bad@.
    assert!(next_hop.wait_received(2, PATIENCE).await);
    let received = next_hop.received();
    let message = received.iter().find(|message| message.is_to("good@corp.test")).unwrap();
    assert_eq!(message.recipients, ["good@corp.test"]);
    let bounce = received.iter().find(|message| message.is_to("from@corp.test")).unwrap();
    assert_eq!(bounce.sender, "");
    assert!(
        bounce.text().contains("Final-Recipient: rfc822; bad@corp.test\r\nAction: failed\r\nStatus: 5.1.1\r\n"),
        "{}",
        bounce.text()
    );
    let queue = gateway.wait_queue("later@ stays", |queue| queue.len() == 1 && queue[0]["attempts"] == 1).await;
    assert_eq!(queue[0]["recipients"], serde_json::json!(["later@corp.test"]));
    assert_eq!(queue[0]["status"], "450 4.2.1 [127.0.0.1] mailbox busy");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bounce_is_never_bounced() {
    let next_hop = peer("rcpt 550 5.1.1 no such user\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    assert!(gateway.send("", "nobody@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    gateway.wait_queue("nothing is left", |queue| queue.is_empty()).await;
    let (_, trail) = gateway.run(&["audit", "search", "nobody@corp.test", "--json"]);
    let found: Vec<serde_json::Value> = serde_json::from_str(&trail).unwrap();
    assert_eq!(found.len(), 1, "{trail}");
    assert_eq!(next_hop.received().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flush_neither_burns_an_attempt_nor_moves_the_timetable() {
    let next_hop = peer("rcpt 450 4.2.0 not now\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    let before = gateway.wait_queue("it was attempted", |queue| queue.len() == 1 && queue[0]["attempts"] == 1).await;
    let seen = next_hop.connections();
    assert_eq!(gateway.run(&["queue", "retry", "--all"]).0, 0);
    let planned = before[0]["next_attempt_ms"].as_i64().unwrap();
    let after = gateway
        .wait_queue("the flush is over", |queue| {
            queue.len() == 1 && queue[0]["next_attempt_ms"].as_i64() == Some(planned)
        })
        .await;
    assert_eq!(after[0]["attempts"], 1);
    let rcpts = next_hop.transcript().iter().filter(|line| line.contains("C: RCPT")).count();
    assert!(rcpts == 2 && next_hop.connections() >= seen, "{:?}", next_hop.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_final_reply_is_told_as_a_possible_duplicate() {
    let next_hop = peer("dot lost\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    let queue = gateway.wait_queue("it was attempted", |queue| queue.len() == 1 && queue[0]["attempts"] == 1).await;
    let status = queue[0]["status"].as_str().unwrap();
    assert!(status.contains("may be delivered twice"), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_destination_does_not_delay_another() {
    let quick = peer("").await;
    let mut settings = format!("{}[delivery]\nconnections = 10\n", Gateway::settings(&quick));
    let mut silent = Vec::new();
    for number in 0..12 {
        silent.push(peer_at(&format!("127.0.1.{}:0", number + 1), "banner silence\n").await);
        let hop = silent[number].address();
        settings += &format!("[[domain]]\nname = \"slow{number}.test\"\nnext_hops = [\"{hop}\"]\n");
    }
    let gateway = Gateway::start(&settings).await;
    for number in 0..96 {
        let to = format!("u{number}@slow{}.test", number % 12);
        assert!(gateway.send("a@out.test", &to, "Subject: x\r\n\r\nx").await.is("250"));
    }
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(quick.wait_received(1, PATIENCE).await);
    gateway.wait_queue("the silent ones' mail waits", |queue| queue.len() == 96).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_is_used_where_offered_and_broken_tls_does_not_stop_mail() {
    let good = peer("starttls\n").await;
    let broken = peer("starttls garbage\n").await;
    let settings = format!(
        "{}[[domain]]\nname = \"broken.test\"\nnext_hops = [\"{}\"]\n",
        Gateway::settings(&good),
        broken.address()
    );
    let gateway = Gateway::start(&settings).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(gateway.send("a@out.test", "b@broken.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(good.wait_received(1, PATIENCE).await);
    assert!(good.received()[0].tls);
    assert!(broken.wait_received(1, PATIENCE).await);
    assert!(!broken.received()[0].tls);
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_bit_content_is_not_bent_for_a_peer_that_cannot_take_it() {
    let old = peer("ehlo caps SIZE\n").await;
    let quick = peer("").await;
    let settings =
        format!("{}[[domain]]\nname = \"old.test\"\nnext_hops = [\"{}\"]\n", Gateway::settings(&quick), old.address());
    let gateway = Gateway::start(&settings).await;
    assert!(gateway.send("from@corp.test", "b@old.test", "Subject: x\r\n\r\nGrüße").await.is("250"));
    assert!(quick.wait_received(1, PATIENCE).await, "the bounce");
    assert!(quick.received()[0].text().contains("Status: 5.6.3"), "{}", quick.received()[0].text());
    assert!(old.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_message_arrives_byte_for_byte() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let body: String = (0..90_000)
        .map(|line| format!("line {line} of a message that does not fit into a row of the spool\r\n"))
        .collect();
    let content = format!("Subject: large\r\n\r\n{body}");
    assert!(gateway.send("a@out.test", "b@corp.test", &content).await.is("250"));
    assert!(next_hop.wait_received(1, PATIENCE).await);
    assert!(next_hop.received()[0].text().ends_with(&content));
}

/// Settings with a relay host for all other mail that knows the user `gateway` by `secret`. The folder holds the password.
fn relayed(local: &Peer, relay: &Peer, folder: &tempfile::TempDir) -> String {
    let password = folder.path().join("password");
    std::fs::write(&password, "secret\n").unwrap();
    let (hop, password) = (relay.address(), password.display());
    format!(
        "{}[route.other]\nnext_hops = [\"{hop}\"]\nuser = \"gateway\"\npassword_file = \"{password}\"\n",
        Gateway::settings(local)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_host_gets_all_other_mail_with_user_and_password() {
    let local = peer("").await;
    let relay = peer_at("127.0.0.3:0", "starttls\nuser gateway secret\n").await;
    let folder = tempfile::tempdir().unwrap();
    let settings = format!("{}tls = \"require\"\n", relayed(&local, &relay, &folder));
    let gateway = Gateway::start(&settings).await;
    let (code, text) = gateway.run(&["send", "--from", "a@corp.test", "--to", "b@elsewhere.test"]);
    assert_eq!(code, 0, "{text}");
    assert!(relay.wait_received(1, PATIENCE).await, "{:?}", relay.transcript());
    assert_eq!(relay.received()[0].user.as_deref(), Some("gateway"));
    assert!(relay.received()[0].tls);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_leaves_from_its_source_address_under_the_name_that_belongs_to_it() {
    let next_hop = peer_at("127.0.0.3:0", "").await;
    let settings = format!(
        "{}[[delivery.source]]\naddress = \"127.0.0.9\"\nehlo = \"out.corp.test\"\n",
        Gateway::settings(&next_hop)
    );
    let gateway = Gateway::start(&settings).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(next_hop.wait_received(1, PATIENCE).await);
    let received = &next_hop.received()[0];
    assert_eq!((received.source.ip().to_string().as_str(), received.helo.as_str()), ("127.0.0.9", "out.corp.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn late_mail_is_announced_and_expired_mail_returns_with_its_last_failure() {
    let next_hop = peer("rcpt late@corp.test 450 4.2.0 mailbox busy\n").await;
    let retry = "[retry]\nfirst = \"1s\"\nlongest = \"1s\"\nexpire = \"6s\"\ndelay_notices = [\"2s\"]\n";
    let gateway = Gateway::start(&format!("{}{retry}", Gateway::settings(&next_hop))).await;
    assert!(gateway.send("from@corp.test", "late@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(next_hop.wait_received(2, PATIENCE).await, "a notice, then the bounce");
    let received = next_hop.received();
    assert!(received[0].text().contains("Action: delayed\r\n"), "{}", received[0].text());
    assert!(received[0].text().contains("Will-Retry-Until: "), "{}", received[0].text());
    let bounce = received[1].text();
    assert!(bounce.contains("Status: 5.4.7\r\n"), "{bounce}");
    assert!(bounce.contains("450 4.2.0 [127.0.0.1] mailbox busy"), "{bounce}");
    gateway.wait_queue("nothing is left", |queue| queue.is_empty()).await;
    assert_eq!(next_hop.received().len(), 2, "one notice, one bounce");
}

#[tokio::test(flavor = "multi_thread")]
async fn dsn_parameters_are_honoured() {
    let plain = peer("ehlo caps PIPELINING\n").await;
    let gateway = Gateway::start(&Gateway::settings(&plain)).await;
    let mut client = gateway.client().await;
    client.expect("EHLO out.test", "250").await.unwrap();
    client.expect("MAIL FROM:<from@corp.test> RET=HDRS ENVID=abc+3D1", "250").await.unwrap();
    client.expect("RCPT TO:<b@corp.test> NOTIFY=SUCCESS ORCPT=rfc822;orig@corp.test", "250").await.unwrap();
    client.expect("DATA", "354").await.unwrap();
    client.expect("Subject: x\r\n\r\nx\r\n.", "250").await.unwrap();
    assert!(plain.wait_received(2, PATIENCE).await, "the message, and a report that it was relayed");
    let received = plain.received();
    let report = received.iter().find(|message| message.is_to("from@corp.test")).unwrap().text();
    for wanted in
        ["Original-Envelope-Id: abc=1\r\n", "Original-Recipient: rfc822; orig@corp.test\r\n", "Action: relayed\r\n"]
    {
        assert!(report.contains(wanted), "{wanted} is missing in {report}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_relay_password_never_crosses_the_network_in_the_clear() {
    let local = peer("").await;
    let relay = peer_at("127.0.0.3:0", "starttls garbage\nuser gateway secret\n").await;
    let folder = tempfile::tempdir().unwrap();
    let settings = relayed(&local, &relay, &folder);
    let gateway = Gateway::start(&settings).await;
    let (code, text) = gateway.run(&["send", "--from", "a@corp.test", "--to", "b@elsewhere.test"]);
    assert_eq!(code, 0, "{text}");
    let queue = gateway.wait_queue("it was attempted", |queue| queue.len() == 1 && queue[0]["attempts"] == 1).await;
    assert!(queue[0]["status"].as_str().unwrap().contains("4.7.5"), "{queue:?}");
    assert!(!relay.transcript().iter().any(|line| line.contains("C: AUTH")), "{:?}", relay.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_by_next_hop_leaves_other_destinations_alone() {
    let one = peer_at("127.0.0.3:0", "rcpt 450 4.2.0 not now\n").await;
    let two = peer_at("127.0.0.4:0", "rcpt 450 4.2.0 not now\n").await;
    let settings =
        format!("{}[[domain]]\nname = \"two.test\"\nnext_hops = [\"{}\"]\n", Gateway::settings(&one), two.address());
    let gateway = Gateway::start(&settings).await;
    let mut client = gateway.client().await;
    let to = ["a@corp.test", "b@two.test"];
    let replies = client.send("out.test", "x@out.test", &to, b"Subject: x\r\n\r\nx").await.unwrap();
    assert!(replies.last().unwrap().is("250"));
    let attempted = |queue: &[serde_json::Value]| queue.len() == 2 && queue.iter().all(|entry| entry["attempts"] == 1);
    gateway.wait_queue("both were attempted", attempted).await;
    let (code, text) = gateway.run(&["queue", "delete", "--next-hop", &two.address().to_string()]);
    assert_eq!(code, 0, "{text}");
    let queue = gateway.wait_queue("one is deleted", |queue| queue.len() == 1).await;
    assert_eq!(queue[0]["domain"], "corp.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn rerouting_mail_that_is_just_being_sent_does_not_send_it_twice() {
    let slow = peer_at("127.0.0.3:0", "dot delay 3s 250 ok\n").await;
    let other = peer_at("127.0.0.4:0", "").await;
    let gateway = Gateway::start(&Gateway::settings(&slow)).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    let started = std::time::Instant::now();
    while !slow.transcript().iter().any(|line| line.contains("S: 354")) {
        assert!(started.elapsed() < PATIENCE, "{:?}", slow.transcript());
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let (code, text) = gateway.run(&["queue", "reroute", "--to", &other.address().to_string(), "--all"]);
    assert_eq!(code, 0, "{text}");
    gateway.wait_queue("it is gone", |queue| queue.is_empty()).await;
    assert_eq!((slow.received().len(), other.received().len()), (1, 0));
}
