//! TLS to peers: what is delivered, what waits, and what the record says of a handshake.

use crate::gateway::{Gateway, PATIENCE, peer};
use sim::peer::Peer;
use std::net::SocketAddr;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;

/// The domain's policy is to verify; the peer's own certificate is the authority if there is a file.
fn verifying(peer: &Peer, ca_file: Option<&std::path::Path>) -> String {
    let ca_file = ca_file.map_or(String::new(), |file| format!("[delivery]\nca_file = \"{}\"\n", file.display()));
    format!("{}[[tls_policy]]\ndomain = \"corp.test\"\ntls = \"verify\"\n{ca_file}", Gateway::settings(peer))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_defers_where_verification_is_the_policy() {
    let hoster = peer("starttls name mx.hoster.test\n").await;
    let gateway = Gateway::start(&verifying(&hoster, None)).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    let queue = gateway.wait_queue("it was attempted", |queue| queue.len() == 1 && queue[0]["attempts"] == 1).await;
    let status = queue[0]["status"].as_str().unwrap();
    assert!(status.starts_with("451 4.7.5 [internal]"), "{status}");
    assert!(status.contains("it is for mx.hoster.test, not for 127.0.0.1"), "{status}");
    assert!(hoster.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_ended_certificate_is_no_matter_where_nothing_asks_for_a_good_one() {
    let old = peer("starttls expired\n").await;
    let gateway = Gateway::start(&Gateway::settings(&old)).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(old.wait_received(1, PATIENCE).await);
    assert!(old.received()[0].tls);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_of_our_own_is_believed() {
    let inner = peer("starttls name 127.0.0.1\n").await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, pem(&inner.certificate().unwrap())).unwrap();
    let gateway = Gateway::start(&verifying(&inner, Some(&file))).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(inner.wait_received(1, PATIENCE).await);
    assert!(inner.received()[0].tls);
}

/// A peer that answers STARTTLS with 220 and the ClientHello with these octets; without TLS it takes any mail.
async fn replaying(octets: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let octets = octets.clone();
            tokio::spawn(async move {
                let mut socket = BufReader::new(socket);
                socket.write_all(b"220 mx.old.test\r\n").await.unwrap();
                let mut line = String::new();
                while socket.read_line(&mut line).await.unwrap_or(0) > 0 {
                    let answer = match line.split_whitespace().next().unwrap_or_default() {
                        "EHLO" => "250-mx.old.test\r\n250 STARTTLS\r\n",
                        "DATA" => "354 go\r\n",
                        "STARTTLS" => "220 go\r\n",
                        "MAIL" | "RCPT" | "RSET" | "." => "250 ok\r\n",
                        "QUIT" => "221 bye\r\n",
                        _ => "",
                    };
                    socket.write_all(answer.as_bytes()).await.unwrap();
                    if line.starts_with("STARTTLS") {
                        let mut hello = [0; 4096];
                        assert!(socket.read(&mut hello).await.unwrap() > 5);
                        socket.write_all(&octets).await.unwrap();
                        // The farewell of the other side, if there is one.
                        let _ = socket.read(&mut hello).await;
                        return;
                    }
                    line.clear();
                }
            });
        }
    });
    address
}

/// A TLS record of handshake messages.
fn record(messages: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut payload = Vec::new();
    for (kind, body) in messages {
        payload.push(*kind);
        payload.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
        payload.extend(body);
    }
    let mut record = vec![22, 3, 3];
    record.extend(u16::try_from(payload.len()).unwrap().to_be_bytes());
    record.extend(payload);
    record
}

fn server_hello(version: u16, suite: u16) -> (u8, Vec<u8>) {
    let mut body = version.to_be_bytes().to_vec();
    body.extend([7; 32]);
    body.push(0);
    body.extend(suite.to_be_bytes());
    body.push(0);
    (2, body)
}

/// DHE parameters with a prime of so many octets, signed by a scheme.
fn key_exchange(prime: u16, scheme: u16) -> (u8, Vec<u8>) {
    let mut body = Vec::new();
    for (length, octet) in [(prime, 0xFF), (1, 2), (prime, 3)] {
        body.extend(length.to_be_bytes());
        body.extend(vec![octet; usize::from(length)]);
    }
    body.extend(scheme.to_be_bytes());
    body.extend([0, 4, 1, 2, 3, 4]);
    (12, body)
}

/// Sends to a peer that replays these octets, under a policy that demands TLS; the finding in the queue.
async fn finding(octets: Vec<u8>) -> serde_json::Value {
    let hop = replaying(octets).await;
    let gateway = Gateway::start(&format!(
        "hostname = \"gw.corp.test\"\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"{hop}\"]\n[delivery]\ntls = \"require\"\n"
    ))
    .await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    let queue = gateway.wait_queue("it was attempted", |queue| queue.len() == 1 && queue[0]["attempts"] == 1).await;
    queue[0]["finding"].clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_handshake_said_is_in_the_finding() {
    let old = finding(record(&[server_hello(0x0301, 0x002F)])).await;
    assert_eq!(old["cause"], "tls.version_too_old", "{old}");
    assert!(old["sentence"].as_str().unwrap().contains("TLS 1.0 (ServerHello 0x0301)"), "{old}");
    let alert = finding(vec![21, 3, 1, 0, 2, 2, 70]).await;
    assert_eq!(alert["cause"], "tls.version_too_old", "{alert}");
    // The prime comes in a record of its own, behind the one that the handshake fails with.
    let mut octets = record(&[server_hello(0x0303, 0x0033)]);
    octets.extend(record(&[(11, vec![0, 0, 0]), key_exchange(128, 0x0401), (14, Vec::new())]));
    let small = finding(octets).await;
    assert_eq!(small["cause"], "tls.dh_too_small", "{small}");
    assert!(small["sentence"].as_str().unwrap().contains("1024-bit"), "{small}");
    let name = finding(vec![21, 3, 3, 0, 2, 2, 40]).await;
    assert_eq!(name["cause"], "tls.handshake_failure", "{name}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_certificate_leaves_the_listener_without_starttls() {
    let hop = peer("").await;
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str| {
        let made = rcgen::generate_simple_self_signed(["gw.corp.test".to_owned()]).unwrap();
        let (cert, key) = (folder.path().join(format!("{name}.pem")), folder.path().join(format!("{name}.key")));
        std::fs::write(&cert, made.cert.pem()).unwrap();
        std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
        (cert, key)
    };
    let ((cert, _), (_, key)) = (made("one"), made("other"));
    let settings = format!(
        "{}[listener.inbound]\ncertificate = \"{}\"\nkey = \"{}\"\n",
        Gateway::settings(&hop),
        cert.display(),
        key.display()
    );
    let gateway = Gateway::start(&settings).await;
    let mut client = gateway.client().await;
    let ehlo = client.say("EHLO out.test").await.unwrap();
    assert!(!ehlo.to_string().contains("STARTTLS"), "{ehlo}");
    let (_, incidents) = gateway.run(&["incidents"]);
    assert!(incidents.contains("tls.server_not_ready"), "{incidents}");
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(hop.wait_received(1, PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_asks_for_another_name_gets_the_certificate_that_there_is() {
    let hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&hop)).await;
    let mut client = gateway.client().await;
    client.expect("EHLO out.test", "250").await.unwrap();
    let mut client = client.start_tls("other.test").await.unwrap();
    client.expect("EHLO out.test", "250").await.unwrap();
}

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
