//! How deliveries adapt to what a peer says, so that one limit, one recipient or one lost connection is no deferral.

use crate::gateway::{Gateway, PATIENCE, peer, peer_at};
use sim::peer::Peer;

/// Domains beside corp.test, each with its next hops, which are tried in this order. Other preferences make other
/// destinations, with connections of their own, though the address is the same.
fn domains(first: &Peer, others: &[(&str, &[&Peer])]) -> String {
    let mut settings = Gateway::settings(first);
    for (number, (name, peers)) in others.iter().enumerate() {
        let hop = |(at, peer): (usize, &&Peer)| {
            let (host, port, preference) = (peer.address().ip(), peer.address().port(), 10 * (number + 1) + at);
            format!("{{ host = \"{host}\", port = {port}, preference = {preference} }}")
        };
        let hops: Vec<String> = peers.iter().enumerate().map(hop).collect();
        settings += &format!("[[domain]]\nname = \"{name}\"\nnext_hops = [{}]\n", hops.join(", "));
    }
    settings
}

/// How often each recipient got the message, over all that the peer took.
fn copies(peer: &Peer, recipient: &str) -> usize {
    peer.received().iter().filter(|message| message.is_to(recipient)).count()
}

async fn send_to(gateway: &Gateway, to: &[String]) {
    let mut client = gateway.client().await;
    let to: Vec<&str> = to.iter().map(String::as_str).collect();
    let replies = client.send("out.test", "from@corp.test", &to, b"Subject: x\r\n\r\nx\r\n").await.unwrap();
    assert!(replies.last().unwrap().is("250"), "{replies:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn recipients_beyond_the_peers_limit_follow_at_once() {
    for script in ["recipients 5\n", "recipients 5 552 5.5.3 no more\n", "recipients 1\n", "recipients 4 452 enough\n"]
    {
        let next_hop = peer(script).await;
        let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
        let to: Vec<String> = (0..12).map(|number| format!("u{number}@corp.test")).collect();
        send_to(&gateway, &to).await;
        gateway.wait_queue("all are delivered", |queue| queue.is_empty()).await;
        for recipient in &to {
            assert_eq!(copies(&next_hop, recipient), 1, "{script}: {recipient}");
        }
        assert!(next_hop.received().iter().all(|message| !message.is_to("from@corp.test")), "{script}: no bounce");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_announced_limit_of_recipients_is_kept() {
    let next_hop = peer("ehlo caps PIPELINING LIMITS=RCPTMAX=5\nrecipients 5\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let to: Vec<String> = (0..12).map(|number| format!("u{number}@corp.test")).collect();
    send_to(&gateway, &to).await;
    gateway.wait_queue("all are delivered", |queue| queue.is_empty()).await;
    let transcript = next_hop.transcript();
    assert!(transcript.iter().any(|line| line.contains("LIMITS RCPTMAX=5")), "{transcript:?}");
    assert!(!transcript.iter().any(|line| line.contains("S: 452")), "{transcript:?}");
    assert!(to.iter().all(|recipient| copies(&next_hop, recipient) == 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_hangs_up_after_each_transaction_gets_the_rest_on_new_connections() {
    let next_hop = peer("recipients 2\ndot 250 2.0.0 taken then close\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let to: Vec<String> = (0..5).map(|number| format!("u{number}@corp.test")).collect();
    send_to(&gateway, &to).await;
    gateway.wait_queue("all are delivered", |queue| queue.is_empty()).await;
    assert!(to.iter().all(|recipient| copies(&next_hop, recipient) == 1), "{:?}", next_hop.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn one_refused_recipient_stops_no_other() {
    let next_hop = peer("rcpt bad@corp.test #1 550 5.1.1 no such user\nrcpt from@corp.test 250 2.1.5 ok\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let to = ["bad@corp.test", "one@corp.test", "two@corp.test"].map(str::to_owned);
    send_to(&gateway, &to).await;
    gateway.wait_queue("nothing waits", |queue| queue.is_empty()).await;
    let fates = [1, 2].map(|at| copies(&next_hop, &to[at]));
    assert_eq!((fates, copies(&next_hop, "bad@corp.test"), copies(&next_hop, "from@corp.test")), ([1, 1], 0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_the_recipient_that_needs_smtputf8_fails_without_it() {
    let old = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&old)).await;
    let mut client = gateway.client().await;
    client.expect("EHLO out.test", "250").await.unwrap();
    client.expect("MAIL FROM:<from@corp.test> SMTPUTF8", "250").await.unwrap();
    client.expect("RCPT TO:<plain@corp.test>", "250").await.unwrap();
    client.expect("RCPT TO:<jürgen@corp.test>", "250").await.unwrap();
    client.expect("DATA", "354").await.unwrap();
    client.expect("Subject: x\r\n\r\nx\r\n.", "250").await.unwrap();
    gateway.wait_queue("nothing waits", |queue| queue.is_empty()).await;
    assert_eq!(copies(&old, "plain@corp.test"), 1, "{:?}", old.transcript());
    assert!(!old.transcript().iter().any(|line| line.contains("C: MAIL") && line.contains("SMTPUTF8")));
    let bounce = gateway.run(&["audit", "search", "jürgen@corp.test", "--json"]).1;
    assert!(bounce.contains("5.6.7") && bounce.contains("jürgen@corp.test needs it"), "{bounce}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flag_that_nothing_needs_stops_no_mail() {
    let old = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&old)).await;
    for (subject, is_taken) in [("plain", true), ("Grüße", false)] {
        let mut client = gateway.client().await;
        client.expect("EHLO out.test", "250").await.unwrap();
        client.expect("MAIL FROM:<> SMTPUTF8 BODY=8BITMIME", "250").await.unwrap();
        client.expect("RCPT TO:<b@corp.test>", "250").await.unwrap();
        client.expect("DATA", "354").await.unwrap();
        client.expect(&format!("Subject: {subject}\r\n\r\nx\r\n."), "250").await.unwrap();
        gateway.wait_queue("nothing waits", |queue| queue.is_empty()).await;
        let taken = old.received().iter().any(|message| message.text().contains(subject));
        assert_eq!(taken, is_taken, "{subject}: {:?}", old.transcript());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_takes_two_connections_gets_all_mail_of_its_domains() {
    let next_hop = peer("connections 2\ndot delay 20ms\n").await;
    let others: [(&str, &[&Peer]); 2] = [("two.test", &[&next_hop]), ("three.test", &[&next_hop])];
    let gateway = Gateway::start(&domains(&next_hop, &others)).await;
    let mut all = Vec::new();
    for number in 0..30 {
        let to = format!("u{number}@{}", ["corp.test", "two.test", "three.test"][number % 3]);
        assert!(gateway.send("a@out.test", &to, "Subject: x\r\n\r\nx").await.is("250"));
        all.push(to);
    }
    gateway.wait_queue("all are delivered", |queue| queue.is_empty()).await;
    assert!(all.iter().all(|to| copies(&next_hop, to) == 1), "{:?}", next_hop.transcript());
    assert_eq!(next_hop.received().len(), 30, "no bounce, nothing twice");
    let deferred = std::fs::read_to_string(gateway.path("data/maillog")).unwrap();
    assert!(!deferred.contains("deferred"), "{deferred}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_died_while_idle_is_no_deferral() {
    for script in
        ["idle 1s\n", "idle 1s close\n", "starttls\nidle 1s\n", "starttls\nehlo caps +CHUNKING\nidle 1s close\n"]
    {
        let next_hop = peer(script).await;
        let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
        assert!(gateway.send("a@out.test", "one@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
        assert!(next_hop.wait_received(1, PATIENCE).await, "{script}");
        // The courier keeps its connection for two seconds; the peer for less.
        let started = std::time::Instant::now();
        while !next_hop.transcript().iter().any(|line| line.contains("-- Close")) {
            assert!(started.elapsed() < PATIENCE, "{:?}", next_hop.transcript());
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
        assert!(gateway.send("a@out.test", "two@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
        assert!(next_hop.wait_received(2, PATIENCE).await, "{script}: {:?}", next_hop.transcript());
        gateway.wait_queue("nothing waits", |queue| queue.is_empty()).await;
        assert_eq!(next_hop.received().len(), 2, "{script}: once each");
        let log = std::fs::read_to_string(gateway.path("data/maillog")).unwrap();
        assert!(!log.contains("deferred"), "{script}: {log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ipv6_address_without_a_name_is_not_the_last_word() {
    let nameless = peer_at("[::1]:0", "rcpt 550 5.7.25 the IPv6 address of your host has no PTR record\n").await;
    let named = peer_at("127.0.0.3:0", "").await;
    let gateway = Gateway::start(&domains(&named, &[("both.test", &[&nameless, &named])])).await;
    assert!(gateway.send("a@corp.test", "b@both.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(named.wait_received(1, PATIENCE).await);
    assert!(named.received()[0].is_to("b@both.test"), "{}", named.received()[0].text());
    // Another reason is about the mail, and an answer for all hosts.
    let strict = peer_at("[::1]:0", "rcpt 550 5.1.1 no such user\n").await;
    let gateway = Gateway::start(&domains(&named, &[("both.test", &[&strict, &named])])).await;
    assert!(gateway.send("a@corp.test", "c@both.test", "Subject: x\r\n\r\nx").await.is("250"));
    gateway.wait_queue("it bounced", |queue| queue.is_empty()).await;
    assert_eq!(copies(&named, "c@both.test"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_that_is_not_available_is_done_without_in_the_same_session() {
    let next_hop = peer("starttls 454 4.7.0 TLS not available\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let before = next_hop.connections();
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(next_hop.wait_received(1, PATIENCE).await);
    assert_eq!(next_hop.connections() - before, 1, "{:?}", next_hop.transcript());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_handshake_stays_in_the_record_when_the_clear_is_refused() {
    let next_hop = peer("starttls garbage\nmail tls=no 530 5.7.0 Must issue a STARTTLS command first\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    assert!(gateway.send("", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    gateway.wait_queue("nothing waits", |queue| queue.is_empty()).await;
    let trail = gateway.run(&["audit", "search", "b@corp.test", "--json"]).1;
    let found: serde_json::Value = serde_json::from_str(&trail).unwrap();
    let id = found[0]["id"].as_str().unwrap().to_owned();
    let shown = gateway.run(&["audit", "show", &id, "--json"]).1;
    assert!(shown.contains("4.7.5") && shown.contains("Must issue a STARTTLS"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_knows_no_ehlo_gets_helo() {
    let next_hop = peer("ehlo 500 5.5.1 what\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(next_hop.wait_received(1, PATIENCE).await, "{:?}", next_hop.transcript());
}
