//! Loops: the gateway meets itself, and messages that come back.

use crate::gateway::{Gateway, PATIENCE, free, peer};
use sim::client::Client;
use std::net::SocketAddr;
use tokio::net::{TcpListener, TcpStream};

/// NAT in small: whatever comes to `at` goes to `to`.
async fn forward(at: SocketAddr, to: SocketAddr) {
    let listener = TcpListener::bind(at).await.unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                if let Ok(mut far) = TcpStream::connect(to).await {
                    let _ = tokio::io::copy_bidirectional(&mut near, &mut far).await;
                }
            });
        }
    });
}

/// Settings whose domain corp.test lies at these hops.
fn settings(hops: &str) -> String {
    format!("hostname = \"gw.corp.test\"\n[[domain]]\nname = \"corp.test\"\nnext_hops = [{hops}]\n")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_through_nat_back_here_is_known_by_the_greeting() {
    let nat = free("127.0.0.1");
    let gateway = Gateway::start(&settings(&format!("\"{nat}\""))).await;
    forward(nat, gateway.inbound).await;
    assert!(gateway.send("", "u@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    gateway.wait_queue("nothing is retried", |queue| queue.is_empty()).await;
    let log = gateway.wait_log(|log| log.contains("ML-LOOP")).await;
    assert!(log.contains("554 5.4.6 [internal] mail loop"), "{log}");
    assert!(log.contains("loop.self.nat_address"), "{log}");
    assert!(log.contains(&format!("corp.test → {nat} (domain corp.test")), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn behind_nat_the_mail_waits_for_the_better_host() {
    let (primary, nat) = (free("127.0.0.1"), free("127.0.0.1"));
    let hops = format!("\"{primary}\", {{ host = \"{}\", port = {}, preference = 20 }}", nat.ip(), nat.port());
    let gateway = Gateway::start(&settings(&hops)).await;
    forward(nat, gateway.inbound).await;
    assert!(gateway.send("", "u@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    let queue = gateway.wait_queue("it waits", |queue| queue.len() == 1 && queue[0]["attempts"] == 1).await;
    assert!(queue[0]["status"].as_str().unwrap().contains("connection refused"), "{queue:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_backend_returns_is_refused_at_the_first_return() {
    let mut backend = peer("").await;
    let gateway = Gateway::start(&settings(&format!("\"{}\"", backend.address()))).await;
    backend.replace(format!("relay {}", gateway.inbound).parse().unwrap()).await.unwrap();
    assert!(gateway.send("s@out.test", "u@corp.test", "Subject: round\r\n\r\nx").await.is("250"));
    let log = gateway.wait_log(|log| log.contains("ML-LOOP")).await;
    assert!(log.contains("554 5.4.6"), "{log}");
    assert!(log.contains("u@corp.test → 127.0.0.1 → this gateway → u@corp.test"), "{log}");
    gateway.wait_queue("nothing is retried", |queue| queue.is_empty()).await;
    assert_eq!(backend.received().len(), 1);
    gateway.wait_log(|log| log.contains("loop.peer.backend_returns")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_with_our_trace_for_another_recipient_is_no_loop() {
    let backend = peer("").await;
    let gateway = Gateway::start(&settings(&format!("\"{}\"", backend.address()))).await;
    assert!(gateway.send("s@out.test", "list@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(backend.wait_received(1, PATIENCE).await);
    let content = backend.received()[0].text().to_string();
    assert!(content.contains("Gatepost-Trace: 1 "), "{content}");
    assert!(gateway.send("s@out.test", "member@corp.test", &content).await.is("250"));
    assert!(gateway.send("s@out.test", "list@corp.test", &content).await.is("554"));
    let without: String = content.split_inclusive("\r\n").filter(|line| !line.starts_with("Gatepost-Trace")).collect();
    assert!(gateway.send("s@out.test", "list@corp.test", &without).await.is("554"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_from_an_own_address_is_refused_with_the_token() {
    let backend = peer("").await;
    let settings = format!("{}[[delivery.source]]\naddress = \"127.0.0.2\"\n", Gateway::settings(&backend));
    let gateway = Gateway::start(&settings).await;
    let from = |address: &str| Client::connect(Some(address.parse().unwrap()), gateway.inbound);
    let refused = from("127.0.0.2").await.unwrap().banner;
    assert!(refused.is("554"), "{refused}");
    assert!(refused.to_string().contains("IP mail loop detected"), "{refused}");
    assert!(from("127.0.0.7").await.unwrap().banner.is("220"));
    // Strangers learn nothing: no two greetings are alike.
    let (one, other) = (gateway.client().await.banner.to_string(), gateway.client().await.banner.to_string());
    assert_ne!(one, other);
}
