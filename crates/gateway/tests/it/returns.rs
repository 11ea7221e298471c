//! Loops: messages that come back, and those that only look as if they did.

use crate::gateway::{Gateway, PATIENCE, free, peer, peer_at};
use sim::client::Client;
use sim::dns::Server;
use sim::peer::Peer;

/// A gateway whose domain corp.test lies at the peer, with more settings below.
async fn gateway(backend: &Peer, more: &str) -> Gateway {
    Gateway::start(&format!("{}{more}", Gateway::settings(backend))).await
}

/// A peer whose script will be replaced: it listens anew then, so its port must not be one that the system gives away.
async fn player(ip: &str) -> Peer {
    peer_at(&free(ip).to_string(), "").await
}

/// What the peer does from now on; `GW` and `OUT` stand for the gateway's listeners. A program that another test starts at this
/// moment holds the old listener open until it is itself: then it is tried again.
pub(crate) async fn play(peer: &mut Peer, gateway: &Gateway, script: &str) {
    let script = script.replace("GW", &gateway.inbound.to_string()).replace("OUT", &gateway.outbound.to_string());
    let started = std::time::Instant::now();
    loop {
        let script = script.parse().unwrap_or_else(|error| panic!("the script: {error:?}"));
        match peer.replace(script).await {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && started.elapsed() < PATIENCE => {
                tokio::time::sleep(std::time::Duration::from_millis(20)).await;
            }
            done => return done.unwrap(),
        }
    }
}

/// One message for several recipients by the inbound listener: the last reply.
async fn send(gateway: &Gateway, from: &str, to: &[&str], content: &str) -> String {
    let mut client = gateway.client().await;
    client.send("out.test", from, to, content.as_bytes()).await.unwrap().last().unwrap().to_string()
}

/// How many copies for this recipient a peer has got.
fn copies(peer: &Peer, recipient: &str) -> usize {
    peer.received().iter().filter(|message| message.recipients.iter().any(|to| to == recipient)).count()
}

/// The content of a message as it left the gateway for this recipient.
async fn passed(gateway: &Gateway, backend: &Peer, to: &str) -> String {
    assert!(send(gateway, "s@out.test", &[to], "Subject: x\r\n\r\nx").await.starts_with("250"));
    assert!(backend.wait_received(1, PATIENCE).await);
    backend.received()[0].text().to_string()
}

fn loops(log: &str) -> usize {
    log.matches("ML-LOOP").count()
}

const MESSAGE: &str = "Subject: round\r\n\r\nx";

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_is_held_if_the_settings_say_so() {
    let mut backend = player("127.0.0.1").await;
    let gateway = gateway(&backend, "[loop]\nanswer = \"hold\"\n").await;
    play(&mut backend, &gateway, "relay GW").await;
    assert!(send(&gateway, "s@out.test", &["u@corp.test"], MESSAGE).await.starts_with("250"));
    let queue = gateway.wait_queue("it is held", |queue| queue.len() == 1 && queue[0]["state"] == "held").await;
    let status = queue[0]["status"].as_str().unwrap();
    assert_eq!(
        status,
        "451 4.3.0 [internal] message held: mail loop: u@corp.test → 127.0.0.1 → this gateway → u@corp.test"
    );
    assert_eq!(queue[0]["finding"]["cause"], "loop.peer.backend_returns");
    let log = gateway.wait_log(|log| log.contains("ML-HOLD") && log.contains("ALERT")).await;
    assert!(log.contains("setting: domain[corp.test].next_hops") && log.contains("answer: hold"), "{log}");
    assert_eq!((loops(&log), copies(&backend, "u@corp.test")), (1, 1));
    // Released while nothing is mended, it comes back and is held again; released after that, it stays.
    assert_eq!(gateway.run(&["queue", "release", "--all"]).0, 0);
    gateway.wait_log(|log| loops(log) == 2).await;
    gateway.wait_queue("it is held again", |queue| queue.len() == 1 && queue[0]["state"] == "held").await;
    play(&mut backend, &gateway, "").await;
    assert_eq!(gateway.run(&["queue", "release", "--all"]).0, 0);
    gateway.wait_queue("it is delivered", |queue| queue.is_empty()).await;
    assert_eq!(copies(&backend, "u@corp.test"), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trail_of_a_delivery_that_came_back_says_so() {
    let mut backend = player("127.0.0.1").await;
    let down = free("127.0.0.1");
    let settings = format!(
        "hostname = \"gw.corp.test\"\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"{down}\", {{ host = \"127.0.0.1\", \
         port = {}, preference = 10 }}]\n",
        backend.address().port()
    );
    let gateway = Gateway::start(&settings).await;
    play(&mut backend, &gateway, "relay GW").await;
    let reply = send(&gateway, "s@out.test", &["u@corp.test"], MESSAGE).await;
    let log = gateway.wait_log(|log| log.contains("INFO: Audit ID") && log.contains("recorded_under")).await;
    let first = log.lines().find(|line| line.contains("ML-DELIVERY")).unwrap();
    let id = first.split("Audit ID ").nth(1).unwrap().split(',').next().unwrap();
    let started = std::time::Instant::now();
    loop {
        let (_, text) = gateway.run(&["audit", "show", id, "--json"]);
        let events: Vec<serde_json::Value> = serde_json::from_str(&text).unwrap_or_default();
        let of = |kind: &str| events.iter().find(|event| event["event"] == kind).map(|event| &event["fields"]);
        if let (Some(delivered), Some(returned)) = (of("delivered"), of("returned")) {
            assert_eq!(delivered["finding"]["cause"], "loop.peer.mutual_fallback", "{text}");
            // What was odd about the delivery itself stands behind it.
            assert!(delivered["findings"].as_array().is_some_and(|all| all.len() == 2), "{text}");
            assert!(returned["status"].as_str().unwrap().contains("mail loop: u@corp.test"), "{reply} {text}");
            return;
        }
        assert!(started.elapsed() < PATIENCE, "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_back_takes_the_other_way_once() {
    let (mut backend, mut other) = (player("127.0.0.1").await, player("127.0.0.31").await);
    let gateway = gateway(&backend, &format!("[loop]\nanswer = \"{}\"\n", other.address())).await;
    play(&mut backend, &gateway, "relay GW").await;
    assert!(send(&gateway, "s@out.test", &["u@corp.test"], MESSAGE).await.starts_with("250"));
    assert!(other.wait_received(1, PATIENCE).await);
    gateway.wait_queue("it is gone", |queue| queue.is_empty()).await;
    let log = gateway.wait_log(|log| log.contains("route: loop.answer: ")).await;
    assert!(log.contains("answer: reroute"), "{log}");
    assert_eq!((loops(&log), copies(&backend, "u@corp.test"), copies(&other, "u@corp.test")), (1, 1, 1));
    // The other way leads back as well: there is no third one, and no storm.
    play(&mut other, &gateway, "relay GW").await;
    assert!(send(&gateway, "s@out.test", &["v@corp.test"], MESSAGE).await.starts_with("250"));
    let log = gateway.wait_log(|log| loops(log) == 3).await;
    gateway.wait_queue("nothing is retried", |queue| queue.is_empty()).await;
    assert!(log.lines().any(|line| line.contains("ML-LOOP") && line.contains("answer: refuse")), "{log}");
    assert_eq!((copies(&backend, "v@corp.test"), copies(&other, "v@corp.test")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_recipients_only_those_that_go_round_are_refused() {
    let backend = peer("").await;
    let gateway = gateway(&backend, "").await;
    let content = passed(&gateway, &backend, "round@corp.test").await;
    let reply = send(&gateway, "boss@corp.test", &["round@corp.test", "new@corp.test"], &content).await;
    assert!(reply.starts_with("250"), "{reply}");
    // The other recipient's copy, and the report.
    assert!(backend.wait_received(3, PATIENCE).await);
    gateway.wait_queue("it is over", |queue| queue.is_empty()).await;
    let received = backend.received();
    assert_eq!((copies(&backend, "new@corp.test"), copies(&backend, "round@corp.test")), (1, 1));
    let report = received.iter().find(|message| message.recipients == ["boss@corp.test"]).unwrap();
    assert_eq!(report.sender, "");
    let text = report.text();
    assert!(text.contains("Final-Recipient: rfc822; round@corp.test"), "{text}");
    assert!(text.contains("Status: 5.4.6") && text.contains("mail loop: round@corp.test → "), "{text}");
    assert!(!text.contains("Final-Recipient: rfc822; new@corp.test"), "{text}");
    let log = gateway.wait_log(|log| loops(log) >= 1).await;
    assert!(!log.contains("ML-TRANSFAIL"), "{log}");
    // All of them go round: that can be said at once.
    let reply = send(&gateway, "boss@corp.test", &["round@corp.test"], &content).await;
    assert!(reply.starts_with("554 5.4.6 mail loop: round@corp.test → "), "{reply}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_report_that_goes_round_for_one_recipient_makes_no_report() {
    let backend = peer("").await;
    let gateway = gateway(&backend, "").await;
    let content = passed(&gateway, &backend, "round@corp.test").await;
    assert!(send(&gateway, "", &["round@corp.test", "new@corp.test"], &content).await.starts_with("250"));
    gateway.wait_queue("it is over", |queue| queue.is_empty()).await;
    gateway.wait_log(|log| loops(log) >= 1).await;
    let received = backend.received();
    assert_eq!(received.len(), 2, "{received:?}");
    assert_eq!(copies(&backend, "new@corp.test"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_recipients_only_those_that_go_round_are_held() {
    let backend = peer("").await;
    let gateway = gateway(&backend, "[loop]\nanswer = \"hold\"\n").await;
    let content = passed(&gateway, &backend, "round@corp.test").await;
    assert!(send(&gateway, "", &["round@corp.test", "new@corp.test"], &content).await.starts_with("250"));
    assert!(backend.wait_received(2, PATIENCE).await);
    let queue = gateway.wait_queue("one is held", |queue| queue.len() == 1 && queue[0]["state"] == "held").await;
    assert_eq!(queue[0]["recipients"], serde_json::json!(["round@corp.test"]));
    assert_eq!(copies(&backend, "new@corp.test"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn taking_the_received_fields_away_does_not_hide_a_loop() {
    let mut backend = player("127.0.0.1").await;
    let gateway = gateway(&backend, "").await;
    play(&mut backend, &gateway, "relay u@corp.test GW bare").await;
    assert!(send(&gateway, "s@corp.test", &["u@corp.test"], MESSAGE).await.starts_with("250"));
    gateway.wait_log(|log| loops(log) == 1).await;
    gateway.wait_queue("nothing is retried", |queue| queue.is_empty()).await;
    assert_eq!(copies(&backend, "u@corp.test"), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_content_filter_may_hand_each_message_back_once() {
    let (mut filter, backend) = (player("127.0.0.31").await, peer("").await);
    let gateway = Gateway::start(&format!(
        "hostname = \"gw.corp.test\"\n[loop]\nfilters = [\"127.0.0.31\"]\n[[domain]]\nname = \"corp.test\"\n\
         next_hops = [\"{}\", {{ host = \"127.0.0.1\", port = {}, preference = 10 }}]\n\
         [[domain]]\nname = \"only.test\"\nnext_hops = \"{}\"\n",
        filter.address(),
        backend.address().port(),
        filter.address()
    ))
    .await;
    play(&mut filter, &gateway, "relay GW").await;
    assert!(send(&gateway, "s@out.test", &["u@corp.test"], MESSAGE).await.starts_with("250"));
    assert!(backend.wait_received(1, PATIENCE).await);
    gateway.wait_queue("it is delivered", |queue| queue.is_empty()).await;
    let log = gateway.wait_log(|log| log.contains("behind the content filter (loop.filters)")).await;
    assert_eq!((loops(&log), copies(&filter, "u@corp.test"), copies(&backend, "u@corp.test")), (0, 1, 1));
    // Where nothing lies behind the filter, the second return is a loop.
    assert!(send(&gateway, "s@corp.test", &["u@only.test"], MESSAGE).await.starts_with("250"));
    gateway.wait_log(|log| loops(log) == 1).await;
    gateway.wait_queue("nothing is retried", |queue| queue.is_empty()).await;
    assert_eq!(copies(&filter, "u@only.test"), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_and_forwards_and_mail_that_leaves_after_it_came_are_no_loops() {
    let (mut backend, far) = (player("127.0.0.1").await, peer_at("127.0.0.31:0", "").await);
    let zone = "far.test MX 10 mx.far.test\nmx.far.test A 127.0.0.31";
    let dns = Server::start("127.0.0.1:0".parse().unwrap(), zone.parse().unwrap()).await.unwrap();
    let gateway = Gateway::start(&format!(
        "{}[dns]\nservers = [\"{}\"]\n[delivery]\nport = {}\nallow_private_addresses = true\n[[alias]]\n\
         from = \"sales@corp.test\"\nto = [\"ann@corp.test\"]\n",
        Gateway::settings(&backend),
        dns.address(),
        far.address().port()
    ))
    .await;
    play(
        &mut backend,
        &gateway,
        "relay list@corp.test GW recipient=member@corp.test delivered-to\n\
         relay moved@corp.test OUT recipient=moved@far.test delivered-to\n\
         relay ann@corp.test GW recipient=bob@corp.test delivered-to",
    )
    .await;
    for to in ["list@corp.test", "moved@corp.test", "sales@corp.test"] {
        assert!(send(&gateway, "s@out.test", &[to], MESSAGE).await.starts_with("250"));
    }
    assert!(far.wait_received(1, PATIENCE).await && backend.wait_received(5, PATIENCE).await);
    gateway.wait_queue("all is delivered", |queue| queue.is_empty()).await;
    assert_eq!((copies(&backend, "member@corp.test"), copies(&backend, "bob@corp.test")), (1, 1));
    assert_eq!(copies(&far, "moved@far.test"), 1);
    let log = gateway.wait_log(|log| log.matches("ML-DELIVERY").count() == 6).await;
    assert_eq!(loops(&log), 0, "{log}");
    assert!(!log.contains("finding: loop."), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn forwards_in_a_ring_are_stopped_at_the_first_return() {
    let (mut a, mut b) = (player("127.0.0.1").await, player("127.0.0.31").await);
    let gateway = Gateway::start(&format!(
        "{}[[domain]]\nname = \"b.test\"\nnext_hops = \"{}\"\n[[alias]]\nfrom = \"x@corp.test\"\nto = [\"y@b.test\"]\n",
        Gateway::settings(&a),
        b.address()
    ))
    .await;
    // By an alias here and a forward there.
    play(&mut b, &gateway, "relay y@b.test GW recipient=x@corp.test delivered-to").await;
    assert!(send(&gateway, "s@corp.test", &["x@corp.test"], MESSAGE).await.starts_with("250"));
    let log = gateway.wait_log(|log| loops(log) == 1 && log.contains("loop.peer.mutual_forward")).await;
    assert!(log.contains("554 5.4.6"), "{log}");
    assert_eq!(copies(&b, "y@b.test"), 1);
    // By two mailboxes on two servers behind: a → b → a.
    play(&mut a, &gateway, "relay p@corp.test GW recipient=q@b.test delivered-to").await;
    play(&mut b, &gateway, "relay q@b.test GW recipient=p@corp.test delivered-to").await;
    assert!(send(&gateway, "s@corp.test", &["p@corp.test"], MESSAGE).await.starts_with("250"));
    gateway.wait_log(|log| loops(log) == 2).await;
    gateway.wait_queue("nothing is retried", |queue| queue.is_empty()).await;
    assert_eq!((copies(&a, "p@corp.test"), copies(&b, "q@b.test")), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_ever_reported_about_a_report() {
    let backend = peer("rcpt 550 5.1.1 no such user").await;
    let gateway = gateway(&backend, "").await;
    // The sender's own mailbox refuses the report as well.
    assert!(send(&gateway, "a@corp.test", &["b@corp.test"], MESSAGE).await.starts_with("250"));
    gateway.wait_log(|log| log.matches("ML-PERMFAIL").count() == 2).await;
    gateway.wait_queue("it is over", |queue| queue.is_empty()).await;
    let log = gateway.wait_log(|_| true).await;
    assert_eq!(log.matches("ML-ACCEPT").count(), 2, "the message and one report: {log}");
    assert!(backend.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_hops_name_the_host_that_repeats_and_are_answered_like_a_loop() {
    let backend = peer("").await;
    let path = |hosts: &[&str], times: usize| -> String {
        let fields: String = hosts.iter().map(|host| format!("Received: by {host}; today\r\n")).collect();
        format!("{}{MESSAGE}", fields.repeat(times))
    };
    let refusing = gateway(&backend, "[loop]\nhop_limit = 10\n").await;
    assert!(send(&refusing, "s@out.test", &["u@corp.test"], &path(&["a.test"], 10)).await.starts_with("250"));
    let reply = send(&refusing, "s@out.test", &["u@corp.test"], &path(&["a.test", "b.test"], 6)).await;
    assert!(reply.starts_with("554 5.4.6 too many hops"), "{reply}");
    assert!(reply.contains("12 Received fields, 10 are allowed; b.test stands in them 6 times"), "{reply}");
    let holding = gateway(&backend, "[loop]\nhop_limit = 10\nanswer = \"hold\"\n").await;
    assert!(send(&holding, "s@out.test", &["u@corp.test"], &path(&["a.test", "b.test"], 6)).await.starts_with("250"));
    let queue = holding.wait_queue("it is held", |queue| queue.len() == 1 && queue[0]["state"] == "held").await;
    assert!(queue[0]["status"].as_str().unwrap().contains("message held: too many hops"), "{queue:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_own_address_may_be_let_in_if_the_settings_say_so() {
    let backend = peer("").await;
    let more = "[loop]\nrefuse_own_address = false\n[[delivery.source]]\naddress = \"127.0.0.2\"\n";
    let gateway = gateway(&backend, more).await;
    let own = Client::connect(Some("127.0.0.2".parse().unwrap()), gateway.inbound).await.unwrap();
    assert!(own.banner.is("220"), "{}", own.banner);
}
