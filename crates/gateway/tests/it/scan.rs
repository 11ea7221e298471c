//! Content scanning: what is found is refused, what cannot be scanned is deferred, and who does not wait gets no second copy.

use crate::gateway::{Gateway, PATIENCE, peer, record_of};
use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// A clamd that reads a stream and gives this answer; `None`: it never answers.
async fn scanner(answer: Option<&'static str>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut command = [0; 10];
                socket.read_exact(&mut command).await.unwrap();
                assert_eq!(&command, b"zINSTREAM\0");
                let mut content = Vec::new();
                while let Ok(length @ 1..) = socket.read_u32().await {
                    let mut chunk = vec![0; length as usize];
                    socket.read_exact(&mut chunk).await.unwrap();
                    content.extend(chunk);
                }
                match answer {
                    _ if content.ends_with(b"EICAR\r\n") => {
                        socket.write_all(b"stream: Test.Virus FOUND\0").await.unwrap();
                    }
                    Some(answer) => socket.write_all(answer.as_bytes()).await.unwrap(),
                    None => std::future::pending().await,
                }
            });
        }
    });
    address
}

async fn gateway(scanner: SocketAddr, next_hop: &sim::peer::Peer) -> Gateway {
    Gateway::start(&format!("{}[scanner]\naddress = \"{scanner}\"\n", Gateway::settings(next_hop))).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_found_is_refused_and_the_rest_delivered() {
    let next_hop = peer("").await;
    let gateway = gateway(scanner(Some("stream: OK\0")).await, &next_hop).await;
    let large = format!("Subject: x\r\n\r\n{}", "0123456789\r\n".repeat(20_000));
    for content in ["Subject: x\r\n\r\nEICAR", &format!("{large}EICAR")] {
        let reply = gateway.send("a@out.test", "b@corp.test", content).await;
        assert!(reply.is("554 5.7.1 content refused: Test.Virus"), "{reply}");
    }
    assert!(gateway.send("a@out.test", "b@corp.test", &large).await.is("250"));
    assert!(next_hop.wait_received(1, PATIENCE).await);
    assert_eq!(next_hop.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_scanned_is_deferred_and_the_scanner_named() {
    let next_hop = peer("").await;
    // Nobody listens there any more.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let gateway = gateway(address, &next_hop).await;
    let reply = gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.to_string();
    assert!(reply.starts_with("451 4.3.0 content could not be scanned"), "{reply}");
    let event = record_of(&gateway, &reply).await;
    assert_eq!(event["finding"]["cause"], "own.filter_unavailable");
    assert!(event["finding"]["sentence"].as_str().unwrap().contains("refuses connections since"));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_does_not_wait_for_the_scanner_gets_no_second_copy() {
    let next_hop = peer("").await;
    let gateway = gateway(scanner(None).await, &next_hop).await;
    let mut client = gateway.client().await;
    client.expect("EHLO out.test", "250").await.unwrap();
    client.expect("MAIL FROM:<a@out.test>", "250").await.unwrap();
    client.expect("RCPT TO:<b@corp.test>", "250").await.unwrap();
    client.expect("DATA", "354").await.unwrap();
    client.write(b"Message-ID: <m1@out.test>\r\n\r\nhello\r\n.\r\n").await.unwrap();
    drop(client);
    let log = gateway.wait_log(|log| log.contains("finding: own.filter_slow_duplicates")).await;
    assert!(!log.contains("ML-ACCEPT"), "{log}");
    assert!(gateway.queue().is_empty());
}
