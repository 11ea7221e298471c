//! Administrators are told, and what they have can be taken away and brought back.

use crate::gateway::{Gateway, PATIENCE, peer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[tokio::test(flavor = "multi_thread")]
async fn an_incident_is_told_by_mail_and_by_webhook() {
    let (dead, admin) = (peer("refuse\n").await, peer("").await);
    let hook = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let settings = format!(
        "{}[[domain]]\nname = \"admin.test\"\nnext_hops = [\"{}\"]\n[alerts]\nmail_to = [\"ann@admin.test\"]\nwebhook = \"http://{}/hook?key=1\"\n",
        Gateway::settings(&dead),
        admin.address(),
        hook.local_addr().unwrap()
    );
    let gateway = Gateway::start(&settings).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    let (mut socket, _) = tokio::time::timeout(PATIENCE, hook.accept()).await.unwrap().unwrap();
    let mut request = String::new();
    while !request.contains("\"text\"") {
        let mut octets = [0; 4096];
        let length = socket.read(&mut octets).await.unwrap();
        assert!(length > 0, "{request}");
        request.push_str(&String::from_utf8_lossy(&octets[..length]));
    }
    assert!(request.starts_with("POST /hook?key=1 HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\"event\":\"begins\"") && request.contains("corp.test"), "{request}");
    socket.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.unwrap();
    assert!(admin.wait_received(1, PATIENCE).await);
    let message = admin.received()[0].text();
    assert!(
        message.contains("Auto-Submitted: auto-generated") && message.contains("Subject: [gw.corp.test]"),
        "{message}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backup_of_the_running_gateway_is_checked_and_restored() {
    let mut gateway = Gateway::start("hostname = \"gw.corp.test\"\n").await;
    let (code, text) = gateway.run(&["backup", "create", "b.tar"]);
    assert!(code == 0 && text.contains("settings.db, accounts.db"), "{text}");
    assert_eq!(gateway.run(&["backup", "create", "b.tar"]).0, 1, "no file is overwritten");
    let (code, text) = gateway.run(&["backup", "check", "b.tar"]);
    assert!(code == 0 && text.contains("is a good backup"), "{text}");
    let (code, text) = gateway.run(&["backup", "restore", "b.tar"]);
    assert!(code == 1 && text.contains("stop it first"), "{text}");
    gateway.terminate();
    assert!(gateway.ended().await);
    let (code, text) = gateway.run(&["backup", "restore", "b.tar"]);
    assert!(code == 0 && text.contains("is restored"), "{text}");
    gateway.launch().await;
    assert!(gateway.run(&["settings", "export"]).1.contains("gw.corp.test"));
}
