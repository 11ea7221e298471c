//! What is accepted, what is refused, and that nothing else gets in.

use crate::gateway::{Gateway, PATIENCE, peer};
use sim::client::Client;

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_cannot_relay_whatever_the_address_looks_like() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let mut client = gateway.client().await;
    client.expect("EHLO out.test", "250").await.unwrap();
    client.expect("MAIL FROM:<a@corp.test>", "250").await.unwrap();
    for recipient in [
        "<user@elsewhere.test>",
        "<user%elsewhere.test@gw.corp.test>",
        "<@corp.test:user@elsewhere.test>",
        "<user@elsewhere.test@corp.test>",
        "<user@[192.0.2.1]>",
        "<user@corp.test.elsewhere.test>",
        "<user@notcorp.test>",
    ] {
        client.expect(&format!("RCPT TO:{recipient}"), "5").await.unwrap();
    }
    client.expect("RCPT TO:<user@sub.corp.test>", "250").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn no_end_of_data_variant_smuggles_a_second_message() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let smuggled = "MAIL FROM:<ceo@corp.test>\r\nRCPT TO:<b@corp.test>\r\nDATA\r\nSubject: smuggled\r\n\r\nx\r\n.\r\n";
    for end in ["\n.\n", "\n.\r\n", "\r.\r\n", "\r\n.\n", "\r\n.\r", "\r.\r", "\0\r\n.\n"] {
        let mut client = gateway.client().await;
        client.expect("EHLO out.test", "250").await.unwrap();
        client.expect("MAIL FROM:<a@out.test>", "250").await.unwrap();
        client.expect("RCPT TO:<a@corp.test>", "250").await.unwrap();
        client.expect("DATA", "354").await.unwrap();
        client.write(format!("Subject: x\r\n\r\nbody{end}{smuggled}").as_bytes()).await.unwrap();
        let reply = client.reply().await.unwrap();
        assert!(reply.is("550 5.6.0"), "{end:?} gave {reply}");
    }
    assert!(gateway.send("a@out.test", "a@corp.test", "Subject: good\r\n\r\nx").await.is("250"));
    assert!(next_hop.wait_received(1, PATIENCE).await);
    assert_eq!(next_hop.received().len(), 1, "only the good one may arrive");
    assert!(next_hop.received()[0].text().contains("Subject: good"));
}

#[tokio::test(flavor = "multi_thread")]
async fn starttls_forgets_what_was_said_in_the_clear() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let mut client = gateway.client().await;
    client.expect("EHLO out.test", "250").await.unwrap();
    let mut client = client.start_tls("gw.corp.test").await.unwrap();
    client.expect("MAIL FROM:<a@out.test>", "503").await.unwrap();
    let replies = client.send("out.test", "a@out.test", &["a@corp.test"], b"Subject: x\r\n\r\nx").await.unwrap();
    assert!(replies.last().unwrap().is("250"));
    assert!(next_hop.wait_received(1, PATIENCE).await);
    assert!(next_hop.received()[0].text().contains("with ESMTPS"));
}

#[tokio::test(flavor = "multi_thread")]
async fn submission_takes_mail_only_from_authenticated_users() {
    let next_hop = peer("").await;
    let hash = {
        let gateway = Gateway::start("").await;
        let command = format!("echo secret | {} password", env!("CARGO_BIN_EXE_gatepost"));
        let output = std::process::Command::new("sh")
            .args(["-c", &command])
            .current_dir(gateway.folder.path())
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let settings = format!(
        "{}[route.other]\nnext_hops = [\"{}\"]\n[[user]]\nname = \"alice\"\npassword = \"{hash}\"\n",
        Gateway::settings(&next_hop),
        next_hop.address()
    );
    let gateway = Gateway::start(&settings).await;
    let client = Client::connect(None, gateway.submission).await.unwrap();
    let mut client = {
        let mut client = client;
        client.expect("EHLO pc.test", "250").await.unwrap();
        client.start_tls("gw.corp.test").await.unwrap()
    };
    client.expect("EHLO pc.test", "250").await.unwrap();
    client.expect("MAIL FROM:<alice@corp.test>", "530").await.unwrap();
    // "\0alice\0wrong" and "\0alice\0secret"
    client.expect("AUTH PLAIN AGFsaWNlAHdyb25n", "535").await.unwrap();
    client.expect("AUTH PLAIN AGFsaWNlAHNlY3JldA==", "235").await.unwrap();
    let replies =
        client.transaction("alice@corp.test", &["friend@elsewhere.test"], b"Subject: x\r\n\r\nx").await.unwrap();
    assert!(replies.last().unwrap().is("250"), "{replies:?}");
    assert!(next_hop.wait_received(1, PATIENCE).await);
    assert!(next_hop.received()[0].text().contains("with ESMTPSA"));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_proxy_protocol_gives_the_true_client() {
    let next_hop = peer("").await;
    let settings =
        format!("{}[listener.inbound]\nproxy_protocol_from = [\"127.0.0.0/8\"]\n", Gateway::settings(&next_hop));
    // The harness' own probe speaks no PROXY, so the first connection is closed; the socket answers all the same.
    let gateway = Gateway::start_unprobed(&settings).await;
    let mut socket = tokio::net::TcpStream::connect(gateway.inbound).await.unwrap();
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut answer = vec![0; 4096];
    socket.write_all(b"PROXY TCP4 192.0.2.77 192.0.2.1 4711 25\r\n").await.unwrap();
    let length = socket.read(&mut answer).await.unwrap();
    let banner = String::from_utf8_lossy(&answer[..length]).into_owned();
    assert!(banner.starts_with("220 gw.corp.test"), "{banner}");
    for line in [
        "HELO out.test\r\n",
        "MAIL FROM:<a@out.test>\r\n",
        "RCPT TO:<a@corp.test>\r\n",
        "DATA\r\n",
        "Subject: x\r\n\r\nx\r\n.\r\n",
    ] {
        socket.write_all(line.as_bytes()).await.unwrap();
        let length = socket.read(&mut answer).await.unwrap();
        assert!(matches!(answer[0], b'2' | b'3'), "{line} gave {}", String::from_utf8_lossy(&answer[..length]));
    }
    assert!(next_hop.wait_received(1, PATIENCE).await);
    assert!(next_hop.received()[0].text().contains("([192.0.2.77])"), "{}", next_hop.received()[0].text());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_has_passed_too_many_hops_is_a_loop() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let hops = "Received: from a by b\r\n".repeat(31);
    let reply = gateway.send("a@out.test", "a@corp.test", &format!("{hops}Subject: x\r\n\r\nx")).await;
    assert!(reply.is("554 5.4.6"), "{reply}");
    let reply = gateway.send("a@out.test", "a@corp.test", "Subject: x\r\n\r\nx").await;
    assert!(reply.is("250"), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn aliases_and_recipient_lists_decide_who_gets_mail() {
    let next_hop = peer("").await;
    let settings = format!(
        "{}recipients = [\"a@corp.test\", \"b@corp.test\"]\n[[alias]]\nfrom = \"sales@corp.test\"\nto = [\"a@corp.test\", \"b@corp.test\"]\n",
        Gateway::settings(&next_hop)
    );
    let gateway = Gateway::start(&settings).await;
    assert!(gateway.send("x@out.test", "nobody@corp.test", "Subject: x\r\n\r\nx").await.is("550 5.1.1"));
    let reply = gateway.send("x@out.test", "sales@corp.test", "Subject: x\r\n\r\nx").await;
    assert!(reply.is("250"), "{reply}");
    assert!(next_hop.wait_received(1, PATIENCE).await);
    assert_eq!(next_hop.received()[0].recipients, ["a@corp.test", "b@corp.test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn postmaster_without_a_domain_is_whom_the_settings_name() {
    let next_hop = peer("").await;
    let settings = format!("postmaster = \"admin@corp.test\"\n{}", Gateway::settings(&next_hop));
    let gateway = Gateway::start(&settings).await;
    assert!(gateway.send("x@out.test", "Postmaster", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(next_hop.wait_received(1, PATIENCE).await);
    assert_eq!(next_hop.received()[0].recipients, ["admin@corp.test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_accepted_without_being_listed_is_delivered_to() {
    let next_hop = peer("").await;
    let lists = "recipients = [\"a@corp.test\"]\ninvalid_recipients = \"drop\"\n[[alias]]\nfrom = \"old@corp.test\"\nto = [\"unlisted@corp.test\"]\n";
    let gateway = Gateway::start(&format!("{}{lists}", Gateway::settings(&next_hop))).await;
    assert!(gateway.send("x@out.test", "postmaster@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(gateway.send("x@out.test", "old@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(gateway.send("x@out.test", "nobody@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(next_hop.wait_received(2, PATIENCE).await);
    gateway.wait_queue("nothing is left", |queue| queue.is_empty()).await;
    let mut recipients: Vec<_> = next_hop.received().iter().map(|message| message.recipients.join(" ")).collect();
    recipients.sort();
    assert_eq!(recipients, ["postmaster@corp.test", "unlisted@corp.test"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_early_talker_is_turned_away() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let next_hop = peer("").await;
    // The greeting waits longer than any machine is busy: what the client says comes before it.
    let settings = format!("{}[listener.inbound]\ngreeting_delay = \"1m\"\n", Gateway::settings(&next_hop));
    let gateway = Gateway::start_unprobed(&settings).await;
    let mut socket = tokio::net::TcpStream::connect(gateway.inbound).await.unwrap();
    socket.write_all(b"EHLO bot\r\nMAIL FROM:<a@out.test>\r\nRCPT TO:<b@corp.test>\r\nDATA\r\n").await.unwrap();
    let mut answer = String::new();
    tokio::time::timeout(PATIENCE, socket.read_to_string(&mut answer)).await.unwrap().unwrap();
    assert!(answer.starts_with("554 5.5.1") && answer.lines().count() == 1, "{answer}");
    let log = gateway.wait_log(|log| log.contains("EarlyTalker")).await;
    assert!(log.contains("ML-REJECT"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn refusals_carry_the_audit_id_that_finds_them() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let reply = gateway.send("a@out.test", "b@elsewhere.test", "Subject: x\r\n\r\nx").await.to_string();
    let id = reply.rsplit_once('(').unwrap().1.trim_end_matches(')').to_owned();
    // Events that belong to no change of the spool reach the disk within some 50 ms.
    let started = std::time::Instant::now();
    loop {
        let (code, text) = gateway.run(&["audit", "show", &id]);
        if code == 0 && text.contains("relaying denied") && text.contains("b@elsewhere.test") {
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{reply}: {text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_comes_and_goes_over_ipv6() {
    let next_hop = crate::gateway::peer_at("[::1]:0", "").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let mut client = Client::connect(None, gateway.inbound_v6).await.unwrap();
    let replies = client.send("out.test", "a@out.test", &["b@corp.test"], b"Subject: x\r\n\r\nx").await.unwrap();
    assert!(replies.last().unwrap().is("250"), "{replies:?}");
    assert!(next_hop.wait_received(1, PATIENCE).await);
    assert!(next_hop.received()[0].text().contains("([IPv6:::1])"), "{}", next_hop.received()[0].text());
}
