//! TLS to peers: what is delivered, what waits, and what the record says of a handshake.

use crate::gateway::{Gateway, PATIENCE, peer};
use sim::peer::Peer;

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

fn pem(der: &[u8]) -> String {
    use base64::Engine;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{text}\n-----END CERTIFICATE-----\n")
}
