//! How the Control Center is reached: TLS off loopback, bounds for who is slow.

use crate::gateway::{Gateway, PATIENCE, free};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a plain HTTP request to the control address brings, at most 200 octets.
async fn plainly(address: std::net::SocketAddr) -> Vec<u8> {
    let mut socket = TcpStream::connect(address).await.unwrap();
    socket.write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").await.unwrap();
    let mut answer = vec![0; 200];
    let length = tokio::time::timeout(PATIENCE, socket.read(&mut answer)).await.unwrap().unwrap_or(0);
    answer.truncate(length);
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn off_loopback_plain_http_is_spoken_only_if_the_file_says_so() {
    for (more, is_plain) in [("", false), ("plain_http = true\n", true)] {
        let mut gateway = Gateway::start("").await;
        gateway.kill();
        let port = free("127.0.0.1").port();
        let file = gateway.path("gatepost.toml");
        let text = std::fs::read_to_string(&file).unwrap();
        let (before, _) = text.split_once("[control]").unwrap();
        std::fs::write(&file, format!("{before}[control]\nlisten = \"0.0.0.0:{port}\"\n{more}")).unwrap();
        gateway.launch().await;
        let answer = plainly(([127, 0, 0, 1], port).into()).await;
        assert_eq!(answer.starts_with(b"HTTP/1.1 200"), is_plain, "{:?}", String::from_utf8_lossy(&answer));
        if !is_plain {
            // An alert record: TLS is what is spoken here (RFC 8446 5.1).
            assert_eq!(answer.first(), Some(&21), "{answer:?}");
            assert!(gateway.run(&["admin", "first-start"]).1.starts_with("https://"));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_beyond_its_bound_is_refused() {
    let gateway = Gateway::start("").await;
    let long = format!("name=a&password={}", "x".repeat(17 << 10));
    let answer = gateway.request("POST /sign-in", "Sec-Fetch-Site: same-origin\r\n", &long).await;
    assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
}
