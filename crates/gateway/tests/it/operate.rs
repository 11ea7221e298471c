//! What administrators do: settings live, orders, the modes, questions about routes.

use crate::gateway::{Gateway, PATIENCE, peer};

#[tokio::test(flavor = "multi_thread")]
async fn bad_settings_are_refused_whole_and_the_running_version_stays() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    std::fs::write(
        gateway.path("bad.toml"),
        "hostnam = \"x\"\n[retry]\nfirst = \"soon\"\n[listener.inbound]\nconnections = -5\n",
    )
    .unwrap();
    let (code, text) = gateway.run(&["settings", "check", "bad.toml"]);
    assert_eq!(code, 3, "{text}");
    for wanted in ["hostnam", "hostname", "retry.first", "soon", "listener.inbound.connections", "-5"] {
        assert!(text.contains(wanted), "{wanted} is missing in: {text}");
    }
    assert_eq!(gateway.run(&["settings", "apply", "bad.toml"]).0, 1);
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_take_effect_without_a_restart_and_roll_back() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let mut open = gateway.client().await;
    let other = format!(
        "{}[[domain]]\nname = \"new.test\"\nnext_hops = [\"{}\"]\n",
        Gateway::settings(&next_hop),
        next_hop.address()
    );
    std::fs::write(gateway.path("other.toml"), other).unwrap();
    assert!(gateway.send("a@out.test", "b@new.test", "Subject: x\r\n\r\nx").await.is("550 5.7.1"));
    let (code, text) = gateway.run(&["settings", "apply", "other.toml", "--comment", "new domain"]);
    assert_eq!(code, 0, "{text}");
    assert!(gateway.send("a@out.test", "b@new.test", "Subject: x\r\n\r\nx").await.is("250"));
    open.expect("EHLO out.test", "250").await.expect("a connection from before goes on");
    assert!(gateway.run(&["settings", "history"]).1.contains("new domain"));
    assert_eq!(gateway.run(&["settings", "rollback", "1"]).0, 0);
    assert!(gateway.send("a@out.test", "b@new.test", "Subject: x\r\n\r\nx").await.is("550 5.7.1"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_back_to_this_gateway_is_refused_when_it_is_saved() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let looping = format!(
        "hostname = \"gw.corp.test\"\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"{}\"]\n",
        gateway.inbound
    );
    std::fs::write(gateway.path("loop.toml"), looping).unwrap();
    let (code, text) = gateway.run(&["settings", "apply", "loop.toml"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains("corp.test") && text.contains(&gateway.inbound.to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn held_mail_waits_and_released_mail_goes() {
    let next_hop = peer("rcpt #1 450 4.2.0 not now\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    gateway.wait_queue("it was attempted", |queue| queue.len() == 1 && queue[0]["attempts"] == 1).await;
    assert_eq!(gateway.run(&["queue", "hold", "--domain", "corp.test", "--why", "an audit"]).0, 0);
    let held = gateway.wait_queue("it is held", |queue| queue.len() == 1 && queue[0]["state"] == "held").await;
    assert!(held[0]["status"].as_str().unwrap().contains("an audit"));
    let dry = gateway.run(&["queue", "release", "--all", "--dry-run"]).1;
    assert!(dry.contains("1 delivery would be"), "{dry}");
    assert_eq!(gateway.queue()[0]["state"], "held");
    assert_eq!(gateway.run(&["queue", "release", "--all"]).0, 0);
    assert!(next_hop.wait_received(1, PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_can_be_rerouted_and_deleted() {
    let dead = peer("refuse\n").await;
    let alive = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&dead)).await;
    for number in 0..3 {
        assert!(gateway.send("a@out.test", &format!("u{number}@corp.test"), "Subject: x\r\n\r\nx").await.is("250"));
    }
    let (code, text) = gateway.run(&["queue", "delete", "--recipient", "u2@corp.test"]);
    assert_eq!(code, 0, "{text}");
    let (code, text) =
        gateway.run(&["queue", "reroute", "--to", &alive.address().to_string(), "--domain", "corp.test"]);
    assert_eq!(code, 0, "{text}");
    assert!(alive.wait_received(2, PATIENCE).await);
    gateway.wait_queue("nothing is left", |queue| queue.is_empty()).await;
    assert_eq!(alive.received().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_without_a_condition_must_say_all() {
    let gateway = Gateway::start("").await;
    let (code, text) = gateway.run(&["queue", "delete"]);
    assert_eq!(code, 1);
    assert!(text.contains("--all"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_delivery_accepts_and_keeps() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&format!("mode = \"pause-delivery\"\n{}", Gateway::settings(&next_hop))).await;
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert_eq!(gateway.queue().len(), 1);
    assert_eq!(next_hop.connections(), 0);
    std::fs::write(gateway.path("go.toml"), Gateway::settings(&next_hop)).unwrap();
    assert_eq!(gateway.run(&["settings", "apply", "go.toml"]).0, 0);
    assert!(next_hop.wait_received(1, PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_gateway_accepts_nothing() {
    let next_hop = peer("").await;
    let gateway = Gateway::start_unprobed(&format!("mode = \"drain\"\n{}", Gateway::settings(&next_hop))).await;
    let client = sim::client::Client::connect(None, gateway.inbound).await.unwrap();
    assert!(client.banner.is("421 4.3.2"), "{}", client.banner);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_route_is_told_with_its_rule() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let (code, text) = gateway.run(&["route", "user@sub.corp.test"]);
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("domain corp.test") && text.contains(&next_hop.address().to_string()), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_test_message_takes_the_real_path() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let (code, text) = gateway.run(&["send", "--to", "b@corp.test", "--from", "a@corp.test", "--subject", "hello"]);
    assert_eq!(code, 0, "{text}");
    assert!(next_hop.wait_received(1, PATIENCE).await);
    assert!(next_hop.received()[0].text().contains("Subject: hello\r\n"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_destination_keeps_its_mail_and_no_other() {
    let next_hop = peer("").await;
    let settings = format!(
        "{}[[domain]]\nname = \"other.test\"\nnext_hops = [\"{}\"]\n",
        Gateway::settings(&next_hop),
        next_hop.address()
    );
    let gateway = Gateway::start(&format!("{settings}[queue]\npaused = [\"corp.test\"]\n")).await;
    assert!(gateway.send("a@out.test", "kept@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(gateway.send("a@out.test", "goes@other.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(next_hop.wait_received(1, PATIENCE).await);
    let queue = gateway.wait_queue("one is kept", |queue| queue.len() == 1).await;
    assert!(queue[0]["status"].as_str().unwrap().contains("paused"), "{queue:?}");
    std::fs::write(gateway.path("go.toml"), settings).unwrap();
    assert_eq!(gateway.run(&["settings", "apply", "go.toml"]).0, 0);
    assert!(next_hop.wait_received(2, PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_disk_below_its_reserve_defers_new_mail_until_the_settings_say_otherwise() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&format!("{}[queue]\ndisk_reserve = \"900TB\"\n", Gateway::settings(&next_hop))).await;
    let reply = gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await;
    assert!(reply.is("421 4.3.1"), "{reply}");
    std::fs::write(gateway.path("go.toml"), Gateway::settings(&next_hop)).unwrap();
    assert_eq!(gateway.run(&["settings", "apply", "go.toml"]).0, 0);
    assert!(gateway.send("a@out.test", "b@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
}

#[tokio::test(flavor = "multi_thread")]
async fn log_and_metrics_tell_of_each_message() {
    let next_hop = peer("rcpt bad@corp.test 550 5.1.1 no such user\n").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    assert!(gateway.send("", "good@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(gateway.send("", "bad@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(gateway.send("", "x@elsewhere.test", "Subject: x\r\n\r\nx").await.is("550"));
    gateway.wait_queue("nothing is left", |queue| queue.is_empty()).await;
    let metrics = gateway.http("/metrics").await;
    for wanted in [
        "gatepost_messages_accepted_total{listener=\"inbound\"} 2",
        "gatepost_recipients_delivered_total 1",
        "gatepost_recipients_bounced_total 1",
        "gatepost_refusals_total{listener=\"inbound\",code=\"550\"} 1",
    ] {
        assert!(metrics.contains(wanted), "{wanted} is missing in {metrics}");
    }
    assert!(gateway.http("/healthz").await.starts_with("HTTP/1.1 200"));
    drop(next_hop);
    let log = gateway.wait_log(|log| log.contains("ML-PERMFAIL")).await;
    for wanted in
        ["ML-ACCEPT: Audit ID ", "ML-DELIVERY: Audit ID ", "ML-REJECT: Audit ID ", "550 5.1.1 [127.0.0.1] no such user"]
    {
        assert!(log.contains(wanted), "{wanted} is missing in {log}");
    }
    for line in std::fs::read_to_string(gateway.path("data/events.json")).unwrap().lines() {
        let event: serde_json::Value = serde_json::from_str(line).unwrap();
        assert!(event["audit_id"].is_string() && event["event"].is_string(), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_allocator_is_told_to_give_memory_back_and_the_process_stays_the_same() {
    let gateway = Gateway::start("").await;
    let (environment, status) = (gateway.proc("environ"), gateway.proc("status"));
    assert!(environment.split('\0').any(|set| set == "MIMALLOC_PURGE_DELAY=100"), "{environment}");
    assert!(status.contains("Umask:\t0077") && !status.contains("THP_enabled:\t1"), "{status}");
    // As it was called.
    assert!(gateway.proc("cmdline").contains("gatepost\0run"), "{}", gateway.proc("cmdline"));
}
