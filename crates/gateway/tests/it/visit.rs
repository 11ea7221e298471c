//! What stays of a client's visit, and what it comes to.

use crate::gateway::{Gateway, PATIENCE, peer, record_of};
use sim::client::Client;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_session_is_kept_with_its_transcript_and_a_good_one_is_not() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    let mut client = gateway.client().await;
    client.expect("EHLO out.test", "250").await.unwrap();
    client.expect("MAIL FROM:<a@out.test>", "250").await.unwrap();
    let reply = client.expect("RCPT TO:<b@elsewhere.test>", "550 5.7.1").await.unwrap().to_string();
    client.quit().await.unwrap();
    let event = record_of(&gateway, &reply).await;
    let visit = &event["visit"];
    assert_eq!(visit["helo"], "out.test");
    assert_eq!(visit["end"], "quit");
    assert_eq!(visit["refusals"][0]["why"], "relaying-denied");
    assert_eq!(visit["refusals"][0]["recipient"], "b@elsewhere.test");
    let said: Vec<&str> =
        visit["transcript"].as_array().unwrap().iter().map(|said| said["text"].as_str().unwrap()).collect();
    assert!(said[0].starts_with("220 ") && said.contains(&"RCPT TO:<b@elsewhere.test>"), "{said:?}");
    assert_eq!(event["finding"]["cause"], "own.relaying_denied");
    let log = gateway.wait_log(|log| log.contains("own.relaying_denied")).await;
    assert_eq!(log.lines().filter(|line| line.contains("own.relaying_denied")).count(), 1, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn passwords_stand_nowhere() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    // "\0alice\0secret"; then user and password as if AUTH had gone on, and as initial responses of all sorts.
    const SECRETS: [&str; 4] = ["AGFsaWNlAHNlY3JldA==", "YWxpY2U=", "c2VjcmV0", "c2VjcmV0LXR3bw=="];
    let mut client = Client::connect(None, gateway.submission).await.unwrap();
    client.expect("EHLO pc.test", "250").await.unwrap();
    client.expect(&format!("AUTH PLAIN {}", SECRETS[0]), "535").await.unwrap();
    client.expect("AUTH LOGIN", "334").await.unwrap();
    client.expect(SECRETS[1], "334").await.unwrap();
    client.expect(SECRETS[2], "535").await.unwrap();
    client.expect(&format!("AUTH {}", SECRETS[3]), "504").await.unwrap();
    client.expect(SECRETS[3], "500").await.unwrap();
    let reply = client.expect("MAIL FROM:<alice@corp.test>", "530").await.unwrap();
    client.quit().await.unwrap();
    let log = gateway.wait_log(|log| log.contains("INFO")).await;
    // The log is written before the trail.
    let started = std::time::Instant::now();
    let entries = loop {
        let (_, trail) = gateway.run(&["audit", "search", "127.0.0.1", "--json"]);
        let entries: Vec<serde_json::Value> = serde_json::from_str(&trail).unwrap_or_default();
        if !entries.is_empty() {
            break entries;
        }
        assert!(started.elapsed() < PATIENCE, "{trail}");
    };
    let id = entries[0]["id"].as_str().unwrap();
    let (_, shown) = gateway.run(&["audit", "show", id, "--json"]);
    assert!(shown.contains("AUTH PLAIN") && shown.contains("not shown"), "{reply}: {shown}");
    let json = std::fs::read_to_string(gateway.path("data/maillog.json")).unwrap_or_default();
    for secret in SECRETS {
        assert!(!shown.contains(secret) && !log.contains(secret) && !json.contains(secret), "{secret}: {shown}\n{log}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_forgets_to_double_dots_is_told() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let mut client = gateway.client().await;
    client.expect("EHLO out.test", "250").await.unwrap();
    client.expect("MAIL FROM:<a@out.test>", "250").await.unwrap();
    client.expect("RCPT TO:<b@corp.test>", "250").await.unwrap();
    client.expect("DATA", "354").await.unwrap();
    client.write(b"Subject: x\r\n\r\nhello\r\n.\r\nworld\r\n.\r\nQUIT\r\n").await.unwrap();
    let _ = client.closed(PATIENCE).await;
    gateway.wait_log(|log| log.contains("finding: smtp.dot_stuffing")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_proxy_header_on_the_wrong_side_is_named() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let mut socket = tokio::net::TcpStream::connect(gateway.inbound).await.unwrap();
    let mut answer = vec![0; 1024];
    let _ = socket.read(&mut answer).await.unwrap();
    socket.write_all(b"PROXY TCP4 192.0.2.7 127.0.0.1 4000 25\r\nQUIT\r\n").await.unwrap();
    let _ = socket.read_to_end(&mut answer).await;
    gateway.wait_log(|log| log.contains("finding: net.proxy_protocol_mismatch")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_balancer_without_a_header_is_named_at_once() {
    let next_hop = peer("").await;
    let settings =
        format!("{}[listener.inbound]\nproxy_protocol_from = [\"127.0.0.0/8\"]\n", Gateway::settings(&next_hop));
    let gateway = Gateway::start_unprobed(&settings).await;
    let mut socket = tokio::net::TcpStream::connect(gateway.inbound).await.unwrap();
    socket.write_all(b"EHLO out.test\r\n").await.unwrap();
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer).await;
    assert!(answer.starts_with("421 4.3.5") || answer.is_empty(), "{answer}");
    gateway.wait_log(|log| log.contains("finding: net.proxy_protocol_mismatch")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_named_with_limit_and_folder() {
    let next_hop = peer("").await;
    let settings = format!("{}[queue]\ndisk_reserve = \"1000TB\"\n", Gateway::settings(&next_hop));
    let gateway = Gateway::start(&settings).await;
    let reply = gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await;
    assert!(reply.is("421 4.3.1"), "{reply}");
    let event = record_of(&gateway, &reply.to_string()).await;
    assert_eq!(event["finding"]["cause"], "own.storage_low");
    let sentence = event["finding"]["sentence"].as_str().unwrap();
    assert!(sentence.contains("1000.0 TiB") && sentence.contains("data"), "{sentence}");
}
