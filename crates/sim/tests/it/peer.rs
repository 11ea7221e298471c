//! Peers as their scripts say, talked to by the scripted client.

use std::{
    io::ErrorKind,
    net::SocketAddr,
    time::{Duration, Instant},
};

use sim::{
    client::{Client, Reply},
    peer::Peer,
    proxy::{Path, Proxy},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

const CONTENT: &[u8] = b"Subject: x\r\n\r\nhello\r\n.dot\r\n";

async fn peer_at(address: &str, script: &str) -> Peer {
    Peer::start(address.parse().unwrap(), script.parse().unwrap()).await.unwrap()
}

async fn peer(script: &str) -> Peer {
    peer_at("127.0.0.11:0", script).await
}

async fn connect(peer: &Peer) -> Client {
    Client::connect(Some("127.0.1.10".parse().unwrap()), peer.address()).await.unwrap()
}

/// Sends one message from a@x.test and gives all replies.
async fn send(peer: &Peer, to: &[&str]) -> Vec<String> {
    try_send(peer, to).await.unwrap().iter().map(Reply::to_string).collect()
}

async fn try_send(peer: &Peer, to: &[&str]) -> std::io::Result<Vec<Reply>> {
    let mut client = Client::connect(Some("127.0.1.10".parse().unwrap()), peer.address()).await?;
    client.send("client.test", "a@x.test", to, CONTENT).await
}

/// Everything that the peer says to these bytes until it ends the connection; the kind of error at the end, if any.
async fn raw(address: SocketAddr, bytes: &[u8]) -> (String, Option<ErrorKind>) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let mut said = Vec::new();
    let end = timeout(Duration::from_secs(5), async {
        loop {
            match stream.read_buf(&mut said).await {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => return Some(error.kind()),
            }
        }
    });
    let end = end.await.expect("the peer ends the connection");
    (String::from_utf8(said).unwrap(), end)
}

#[tokio::test]
async fn a_peer_without_script_accepts_and_records() {
    let peer = peer("").await;
    let mut client = connect(&peer).await;
    assert!(client.banner.is("220 peer-127-0-0-11.test"));
    client.expect("EHLO client.test", "250").await.unwrap();
    client.expect("MAIL FROM:<a@x.test> SIZE=100 RET=HDRS", "250").await.unwrap();
    client.expect("RCPT TO:<b@y.test> NOTIFY=NEVER", "250").await.unwrap();
    client.expect("RCPT TO:<c@y.test>", "250").await.unwrap();
    client.expect("DATA", "354").await.unwrap();
    client.write(b"Subject: x\r\n\r\n..dot\r\n.\r\n").await.unwrap();
    assert!(client.reply().await.unwrap().is("250"));
    client.quit().await.unwrap();

    let received = peer.received();
    assert_eq!(received.len(), 1);
    let message = &received[0];
    assert_eq!((message.helo.as_str(), message.sender.as_str()), ("client.test", "a@x.test"));
    assert_eq!(message.source.ip().to_string(), "127.0.1.10");
    assert_eq!(message.recipients, ["b@y.test", "c@y.test"]);
    assert_eq!(message.parameters, ["SIZE=100", "RET=HDRS"]);
    assert_eq!(message.recipient_parameters, [vec!["NOTIFY=NEVER".to_owned()], vec![]]);
    assert_eq!(message.content, b"Subject: x\r\n\r\n.dot\r\n");
    assert!(!message.tls);
    assert!(peer.transcript().contains(&"1 C: MAIL FROM:<a@x.test> SIZE=100 RET=HDRS".to_owned()));
}

#[tokio::test]
async fn the_client_sends_what_the_peer_gets() {
    let peer = peer("").await;
    let replies = send(&peer, &["b@y.test"]).await;
    assert_eq!(replies.len(), 5);
    assert_eq!(peer.received()[0].content, CONTENT);
}

#[tokio::test]
async fn the_order_of_commands_is_kept() {
    let peer = peer("").await;
    let mut client = connect(&peer).await;
    client.expect("RCPT TO:<b@y.test>", "503").await.unwrap();
    client.expect("DATA", "503").await.unwrap();
    client.expect("FROB", "500").await.unwrap();
    client.expect("MAIL FROM:<a@x.test>", "250").await.unwrap();
    client.expect("RSET", "250").await.unwrap();
    client.expect("RCPT TO:<b@y.test>", "503").await.unwrap();
}

#[tokio::test]
async fn replies_are_scripted_by_verb_address_and_number() {
    let peer = peer("rcpt #1 450 4.2.0 Greylisted\nrcpt bad@y.test 550 5.1.1 no such user\ndot 451 4.3.0 later").await;
    assert_eq!(send(&peer, &["b@y.test"]).await.last().unwrap(), "450 4.2.0 Greylisted");
    let replies = send(&peer, &["bad@y.test", "b@y.test"]).await;
    assert_eq!(replies[2..4], ["550 5.1.1 no such user", "250 2.1.5 recipient ok"]);
    assert_eq!(replies.last().unwrap(), "451 4.3.0 later");
    assert!(peer.received().is_empty(), "what was refused is not recorded");
}

#[tokio::test]
async fn conditions_choose_the_line() {
    let peer = peer("mail helo=client.* 504 5.5.2 your name\nrcpt sender=<> 550 5.7.1 no bounces").await;
    assert!(send(&peer, &["b@y.test"]).await.last().unwrap().starts_with("504 5.5.2"));
    let mut client = connect(&peer).await;
    client.expect("EHLO other.test", "250").await.unwrap();
    client.expect("MAIL FROM:<>", "250").await.unwrap();
    client.expect("RCPT TO:<b@y.test>", "550 5.7.1").await.unwrap();
}

#[tokio::test]
async fn capabilities_are_as_scripted() {
    let peer = peer("ehlo caps PIPELINING SIZE=1000").await;
    let reply = connect(&peer).await.say("EHLO x.test").await.unwrap();
    assert_eq!(reply.lines[1..], ["PIPELINING", "SIZE 1000"]);
    let peer = peer_at("127.0.0.12:0", "ehlo 502 5.5.1 no").await;
    let mut client = connect(&peer).await;
    client.expect("EHLO x.test", "502").await.unwrap();
    client.expect("HELO x.test", "250").await.unwrap();
}

#[tokio::test]
async fn the_banner_is_late_or_other_or_none() {
    let started = Instant::now();
    assert!(connect(&peer("banner delay 300ms").await).await.banner.is("220"));
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert!(connect(&peer("banner 554 5.3.2 go away").await).await.banner.is("554 5.3.2"));
    assert_eq!(raw(peer("banner close").await.address(), b"").await, (String::new(), None));
    assert_eq!(raw(peer("banner reset").await.address(), b"").await, (String::new(), Some(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn a_silent_peer_says_nothing_and_stays() {
    let peer = peer("ehlo silence").await;
    let mut client = connect(&peer).await;
    client.write(b"EHLO x.test\r\nNOOP\r\n").await.unwrap();
    assert!(timeout(Duration::from_millis(400), client.reply()).await.is_err());
}

#[tokio::test]
async fn a_verb_ends_the_connection_in_its_own_way() {
    let (said, end) =
        raw(peer("mail 421 4.3.2 busy then close").await.address(), b"EHLO x\r\nMAIL FROM:<a@x>\r\n").await;
    assert!(said.ends_with("\r\n421 4.3.2 busy\r\n") && end.is_none(), "{said} {end:?}");
    let (_, end) = raw(peer("ehlo reset").await.address(), b"EHLO x\r\n").await;
    assert_eq!(end, Some(ErrorKind::ConnectionReset));
}

#[tokio::test]
async fn a_half_closed_peer_still_listens() {
    let peer = peer("ehlo halfclose").await;
    let mut stream = TcpStream::connect(peer.address()).await.unwrap();
    stream.write_all(b"EHLO x\r\n").await.unwrap();
    let mut said = String::new();
    stream.read_to_string(&mut said).await.unwrap();
    assert!(said.starts_with("220 "));
    for _ in 0..3 {
        // Were the peer gone, its RST would make one of these fail.
        stream.write_all(b"NOOP\r\n").await.unwrap();
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn bytes_go_out_as_written() {
    let peer = peer(r"banner raw 220-x\r\n220 y\n\x00\xff then close").await;
    let mut stream = TcpStream::connect(peer.address()).await.unwrap();
    let mut said = Vec::new();
    stream.read_to_end(&mut said).await.unwrap();
    assert_eq!(said, b"220-x\r\n220 y\n\x00\xff");
}

#[tokio::test]
async fn a_lost_reply_keeps_the_message_and_a_close_does_not() {
    let lost = peer("dot lost").await;
    assert_eq!(try_send(&lost, &["b@y.test"]).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(lost.wait_received(1, Duration::from_secs(2)).await);
    let closed = peer("dot close").await;
    assert_eq!(try_send(&closed, &["b@y.test"]).await.unwrap_err().kind(), ErrorKind::UnexpectedEof);
    assert!(!closed.wait_received(1, Duration::from_millis(200)).await);
}

#[tokio::test]
async fn a_late_reply_to_the_dot_comes_with_the_message() {
    let peer = peer("dot delay 300ms 250 ok").await;
    let started = Instant::now();
    assert_eq!(send(&peer, &["b@y.test"]).await.last().unwrap(), "250 ok");
    assert!(started.elapsed() >= Duration::from_millis(300));
    assert_eq!(peer.received().len(), 1);
}

#[tokio::test]
async fn the_body_can_be_cut() {
    let peer = peer("body reset").await;
    assert!(try_send(&peer, &["b@y.test"]).await.is_err());
    assert!(peer.received().is_empty());
}

#[tokio::test]
async fn chunks_make_a_message() {
    let peer = peer("ehlo caps +CHUNKING").await;
    let mut client = connect(&peer).await;
    for (line, code) in [("EHLO x.test", "250"), ("MAIL FROM:<>", "250"), ("RCPT TO:<b@y.test>", "250")] {
        client.expect(line, code).await.unwrap();
    }
    client.write(b"BDAT 4\r\na\r\n.BDAT 2 LAST\r\n\r\n").await.unwrap();
    assert!(client.reply().await.unwrap().is("250"));
    assert!(client.reply().await.unwrap().is("250"));
    assert_eq!(peer.received()[0].content, b"a\r\n.\r\n");
}

#[tokio::test]
async fn a_connection_too_many_is_refused() {
    let peer = peer("connections 2").await;
    let (first, second) = (connect(&peer).await, connect(&peer).await);
    assert!(first.banner.is("220") && second.banner.is("220"));
    assert!(connect(&peer).await.banner.is("421 4.3.2"));
    first.quit().await.unwrap();
    assert_eq!(peer.connections(), 3);
}

#[tokio::test]
async fn starttls_makes_the_connection_secure() {
    let peer = peer("hostname mx.y.test\nstarttls\nmail tls=no 530 5.7.0 STARTTLS first").await;
    let mut client = connect(&peer).await;
    let reply = client.say("EHLO x.test").await.unwrap();
    assert!(reply.lines.contains(&"STARTTLS".to_owned()));
    client.expect("MAIL FROM:<a@x.test>", "530").await.unwrap();
    let mut client = client.start_tls("mx.y.test").await.unwrap();
    let replies = client.send("x.test", "a@x.test", &["b@y.test"], CONTENT).await.unwrap();
    assert!(!replies[0].lines.contains(&"STARTTLS".to_owned()), "not offered twice");
    assert!(replies.last().unwrap().is("250"));
    assert!(peer.received()[0].tls);
    assert!(peer.certificate().is_some());
}

#[tokio::test]
async fn starttls_can_go_wrong() {
    let garbage = peer("starttls garbage").await;
    let mut client = connect(&garbage).await;
    client.expect("EHLO x.test", "250").await.unwrap();
    assert!(client.start_tls("mx.y.test").await.is_err());
    let later = peer_at("127.0.0.12:0", "starttls 454 4.7.0 not now").await;
    let mut client = connect(&later).await;
    assert!(client.say("EHLO x.test").await.unwrap().lines.contains(&"STARTTLS".to_owned()));
    client.expect("STARTTLS", "454").await.unwrap();
    let none = peer("").await;
    connect(&none).await.expect("STARTTLS", "502").await.unwrap();
}

#[tokio::test]
async fn a_user_must_give_the_right_password() {
    let peer = peer("user gw secret").await;
    let mut client = connect(&peer).await;
    assert!(client.say("EHLO x.test").await.unwrap().lines.contains(&"AUTH PLAIN LOGIN".to_owned()));
    client.expect("AUTH PLAIN AGd3AHdyb25n", "535").await.unwrap();
    client.expect("AUTH PLAIN AGd3AHNlY3JldA==", "235").await.unwrap();
    client.expect("AUTH LOGIN", "334").await.unwrap();
    client.expect("Z3c=", "334").await.unwrap();
    client.expect("c2VjcmV0", "235").await.unwrap();
    client.transaction("a@x.test", &["b@y.test"], CONTENT).await.unwrap();
    assert_eq!(peer.received()[0].user.as_deref(), Some("gw"));
}

#[tokio::test]
async fn nobody_listens_at_a_refusing_peer() {
    let peer = peer("refuse").await;
    let error = Client::connect(None, peer.address()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_black_hole_gives_no_answer() {
    let peer = peer("blackhole").await;
    let attempt = timeout(Duration::from_millis(700), TcpStream::connect(peer.address())).await;
    assert!(attempt.is_err(), "{attempt:?}");
}

#[tokio::test]
async fn another_script_takes_the_place_and_keeps_the_mail() {
    let mut peer = peer("").await;
    send(&peer, &["b@y.test"]).await;
    peer.replace("refuse".parse().unwrap()).await.unwrap();
    assert!(try_send(&peer, &["b@y.test"]).await.is_err());
    peer.replace("rcpt #1 450 later".parse().unwrap()).await.unwrap();
    assert_eq!(send(&peer, &["b@y.test"]).await.last().unwrap(), "450 later");
    send(&peer, &["c@y.test"]).await;
    assert_eq!(peer.received().len(), 2);
    peer.replace("blackhole".parse().unwrap()).await.unwrap();
    peer.replace("".parse().unwrap()).await.unwrap();
    send(&peer, &["d@y.test"]).await;
    assert_eq!(peer.received().len(), 3);
}

#[tokio::test]
async fn a_relaying_peer_sends_on_with_a_trace_from_its_own_address() {
    let target = peer("").await;
    let relay = peer_at("127.0.0.20:0", &format!("relay *@second.test {}", target.address())).await;
    send(&relay, &["u@corp.test", "u@second.test"]).await;
    assert!(target.wait_received(1, Duration::from_secs(5)).await);
    let received = target.received();
    assert_eq!(received[0].recipients, ["u@second.test"]);
    assert_eq!(received[0].source.ip().to_string(), "127.0.0.20");
    let text = received[0].text();
    assert!(text.starts_with("Received: from client.test ([127.0.1.10])\r\n\tby peer-127-0-0-20.test"), "{text}");
    assert!(text.ends_with("hello\r\n.dot\r\n"));
}

#[tokio::test]
async fn a_loop_of_peers_ends() {
    let port = std::net::TcpListener::bind("127.0.0.21:0").unwrap().local_addr().unwrap();
    let peer = Peer::start(port, format!("relay {port}").parse().unwrap()).await.unwrap();
    send(&peer, &["u@corp.test"]).await;
    assert!(peer.wait_received(61, Duration::from_secs(20)).await);
    assert!(!peer.wait_received(62, Duration::from_millis(300)).await);
}

#[tokio::test]
async fn a_played_handshake_ends_with_its_alert() {
    let peer = peer("starttls alert 70").await;
    let mut client = connect(&peer).await;
    assert!(client.say("EHLO x").await.unwrap().lines.contains(&"STARTTLS".to_owned()));
    let error = client.start_tls("mx.test").await.unwrap_err();
    assert!(error.to_string().contains("ProtocolVersion"), "{error}");
}

#[tokio::test]
async fn old_and_weak_handshakes_are_refused_by_a_client_of_today() {
    for script in ["starttls hello 0x0301", "starttls dhe 1024", "starttls sigalg 0x0201"] {
        let peer = peer(script).await;
        let mut client = connect(&peer).await;
        client.say("EHLO x").await.unwrap();
        assert!(client.start_tls("mx.test").await.is_err(), "{script}");
    }
}

#[tokio::test]
async fn one_server_name_is_served_and_no_other() {
    let peer = peer("hostname mx.test\nstarttls sni").await;
    connect(&peer).await.start_tls("mx.test").await.unwrap();
    let error = connect(&peer).await.start_tls("other.test").await.unwrap_err();
    assert!(error.to_string().contains("UnrecognisedName"), "{error}");
}

#[tokio::test]
async fn a_callout_decides_between_the_usual_and_the_reply() {
    let home = peer_at("127.0.0.20:0", "rcpt gone@x.test 550 5.1.1 unknown").await;
    let there = peer(&format!("rcpt callout {} wait 2s 550 5.7.1 sender verify failed", home.address())).await;
    assert!(send(&there, &["b@y.test"]).await.last().unwrap().starts_with("250"));
    let mut client = connect(&there).await;
    let replies = client.send("c.test", "gone@x.test", &["b@y.test"], CONTENT).await.unwrap();
    assert!(replies.last().unwrap().is("550 5.7.1"), "{replies:?}");
    let deaf = peer_at("127.0.0.21:0", "banner silence").await;
    let there = peer(&format!("rcpt callout {} wait 100ms 451 4.3.0 no answer", deaf.address())).await;
    assert!(send(&there, &["b@y.test"]).await.last().unwrap().starts_with("451 4.3.0"));
}

#[tokio::test]
async fn recipients_beyond_the_limit_are_refused_for_each_message() {
    let peer = peer("recipients 1").await;
    let replies = send(&peer, &["a@y.test", "b@y.test"]).await;
    assert!(replies[2].starts_with("250") && replies[3].starts_with("452 4.5.3"), "{replies:?}");
    assert_eq!(peer.received()[0].recipients, ["a@y.test"]);
    assert!(send(&peer, &["c@y.test"]).await.last().unwrap().starts_with("250"));
}

#[tokio::test]
async fn a_silent_client_is_sent_away() {
    let peer = peer("idle 50ms 421 4.4.2 bye then close").await;
    let mut client = connect(&peer).await;
    assert!(client.reply().await.unwrap().is("421 4.4.2"));
    assert!(client.closed(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_forward_changes_the_envelope_and_says_where_it_was() {
    let end = peer_at("127.0.0.20:0", "").await;
    let script = format!("relay y@b.test {} recipient=x@a.test sender=<> delivered-to", end.address());
    let forwarder = peer(&script).await;
    send(&forwarder, &["y@b.test"]).await;
    assert!(end.wait_received(1, Duration::from_secs(5)).await);
    let message = &end.received()[0];
    assert_eq!((message.sender.as_str(), message.recipients[0].as_str()), ("", "x@a.test"));
    assert!(message.text().starts_with("Delivered-To: y@b.test\r\nReceived: "));
}

#[tokio::test]
async fn a_responder_answers_the_sender_with_a_new_message() {
    let end = peer_at("127.0.0.20:0", "").await;
    let responder = peer(&format!("autoreply {}", end.address())).await;
    send(&responder, &["away@b.test"]).await;
    assert!(end.wait_received(1, Duration::from_secs(5)).await);
    let message = &end.received()[0];
    assert_eq!((message.sender.as_str(), message.recipients[0].as_str()), ("away@b.test", "a@x.test"));
    assert!(message.text().contains("Subject: Re: x") && !message.text().contains("Auto-Submitted"));
}

#[tokio::test]
async fn content_can_be_refused_for_what_it_has() {
    let peer = peer("dot has=Subject:*x*hello 554 5.7.1 no hello").await;
    assert!(send(&peer, &["b@y.test"]).await.last().unwrap().starts_with("554 5.7.1"));
}

#[tokio::test]
async fn a_proxy_shows_its_own_address_and_swallows_large_bursts() {
    let peer = peer("").await;
    let path = Path { source: Some("127.0.0.254".parse().unwrap()), swallow_over: 1000, ..Path::default() };
    let proxy = Proxy::start("127.0.0.12:0".parse().unwrap(), peer.address(), path).await.unwrap();
    let mut client = Client::connect(None, proxy.address()).await.unwrap();
    client.send("c.test", "a@x.test", &["b@y.test"], CONTENT).await.unwrap();
    assert_eq!(peer.received()[0].source.ip().to_string(), "127.0.0.254");
    client.write(&vec![b'x'; 2000]).await.unwrap();
    client.write(b"\r\nNOOP\r\n").await.unwrap();
    assert!(timeout(Duration::from_millis(300), client.reply()).await.is_err(), "nothing gets through");
    assert_eq!(proxy.connections(), 1);
}
