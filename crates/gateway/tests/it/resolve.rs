//! DNS that misbehaves: mail goes on where it can, waits where it must, and the cause is named.

use crate::gateway::{Gateway, PATIENCE, free, peer_at};
use sim::dns::Server;
use sim::peer::Peer;

async fn serve(zone: &str) -> Server {
    let zone = zone.parse().unwrap_or_else(|error| panic!("the zone: {error:?}"));
    Server::start("127.0.0.53:0".parse().unwrap(), zone).await.unwrap()
}

/// A gateway that asks this server and takes mail for these domains, by their MX.
async fn gateway(dns: std::net::SocketAddr, port: u16, domains: &[&str], more: &str) -> Gateway {
    let domains: String =
        domains.iter().map(|domain| format!("[[domain]]\nname = \"{domain}\"\nnext_hops = \"mx\"\n")).collect();
    Gateway::start(&format!(
        "hostname = \"gw.corp.test\"\n{domains}[delivery]\nport = {port}\nallow_private_addresses = true\n\
         [dns]\nservers = [\"{dns}\"]\ntimeout = \"1s\"\n{more}"
    ))
    .await
}

/// Sends a message and gives what `gatepost diagnose` says of it, as soon as the log names this cause.
async fn cause(gateway: &Gateway, to: &str, cause: &str) -> String {
    let reply = gateway.send("s@out.test", to, "Subject: x\r\n\r\nx\r\n").await;
    assert!(reply.is("250"), "{reply}");
    let named = format!("recipients: {to}");
    let is_result = |line: &&str| line.contains("finding: ") && line.contains(&named);
    let log = gateway.wait_log(|log| log.lines().any(|line| is_result(&line))).await;
    let line = log.lines().find(is_result).unwrap_or_default().to_owned();
    assert!(line.contains(&format!("finding: {cause},")), "not {cause}: {line}");
    let id = line.split("Audit ID ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
    // The log line is written before the attempt is on disk.
    let started = std::time::Instant::now();
    loop {
        let (_, text) = gateway.run(&["diagnose", id]);
        if text.contains(cause) {
            return format!("{line}\n{text}");
        }
        assert!(started.elapsed() < PATIENCE, "{text}");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

async fn taker() -> Peer {
    peer_at("127.0.0.11:0", "").await
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_on_without_edns_and_a_warning_says_so() {
    let peer = taker().await;
    let dns = serve("old.test ANY edns=yes !TIMEOUT\nold.test MX 10 mx.old.test\nmx.old.test A 127.0.0.11").await;
    let gateway = gateway(dns.address(), peer.address().port(), &["old.test"], "").await;
    let log = cause(&gateway, "a@old.test", "dns.edns_dropped").await;
    assert!(log.contains("The name server for old.test ignores EDNS questions"), "{log}");
    gateway.wait_queue("it is delivered", |queue| queue.is_empty()).await;
    assert_eq!(peer.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bogus_zone_waits_and_is_never_delivered_by_its_unchecked_answer() {
    let peer = taker().await;
    let dns = serve(
        "bogus.test MX cd=no !EDE 7 signature expired\nbogus.test MX cd=no !SERVFAIL\nbogus.test MX 10 mx.bogus.test\nmx.bogus.test A 127.0.0.11",
    )
    .await;
    let gateway = gateway(dns.address(), peer.address().port(), &["bogus.test"], "").await;
    let told = cause(&gateway, "a@bogus.test", "dns.dnssec_bogus").await;
    assert!(told.contains("DNSSEC validation of bogus.test fails (signature expired, EDE 7)"), "{told}");
    assert_eq!(gateway.queue().len(), 1);
    assert!(peer.received().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_tlsa_lookup_holds_up_signed_zones_only() {
    let peer = taker().await;
    let dns = serve(
        "plain.test MX 10 mx.plain.test\nmx.plain.test A 127.0.0.11\n_25._tcp.mx.plain.test TLSA !SERVFAIL\n\
         signed.test MX 10 mx.signed.test\nsigned.test MX !AD\nmx.signed.test A 127.0.0.11\nmx.signed.test A !AD\n\
         _25._tcp.mx.signed.test TLSA !SERVFAIL",
    )
    .await;
    let gateway = gateway(dns.address(), peer.address().port(), &["plain.test", "signed.test"], "").await;
    let sent = gateway.send("s@out.test", "a@plain.test", "Subject: x\r\n\r\nx\r\n").await;
    assert!(sent.is("250"), "{sent}");
    gateway.wait_queue("the unsigned domain's mail goes", |queue| queue.is_empty()).await;
    assert_eq!(dns.count("_25._tcp.mx.plain.test", "TLSA"), 0, "DANE is nothing without signatures");
    let log = cause(&gateway, "a@signed.test", "dns.tlsa_servfail").await;
    assert!(log.contains("4.7.5"), "{log}");
    assert_eq!((gateway.queue().len(), peer.received().len()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_is_not_returned_on_the_word_of_an_old_negative_answer() {
    let peer = taker().await;
    let dns = serve(
        "fixed.test 3600 SOA ns.fixed.test h.fixed.test 1 2 3 4 86400\nfixed.test NS ns.fixed.test\nns.fixed.test A 127.0.0.53\n\
         fixed.test MX rd=yes !NXDOMAIN\nfixed.test MX rd=no 10 mx.fixed.test\nmx.fixed.test A 127.0.0.11",
    )
    .await;
    let gateway = gateway(dns.address(), peer.address().port(), &["fixed.test"], "").await;
    let log = cause(&gateway, "a@fixed.test", "dns.negative_cache").await;
    assert!(log.contains("SOA minimum 86400"), "{log}");
    assert_eq!(gateway.queue().len(), 1, "it waits");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_resolver_is_named_and_not_the_domain() {
    let dead = free("127.0.0.54");
    let gateway = gateway(dead, 25, &["one.test"], "").await;
    let told = cause(&gateway, "a@one.test", "dns.local_resolver_dead").await;
    assert!(told.contains("The configured resolver 127.0.0.54"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn blocked_tcp_is_told_from_a_missing_record() {
    let dns = serve("$TCP refuse\nfat.test MX !TRUNCATE\nfat.test MX 10 mx.fat.test").await;
    let gateway = gateway(dns.address(), 25, &["fat.test"], "").await;
    cause(&gateway, "a@fat.test", "dns.tcp_blocked").await;
    assert_eq!(gateway.queue().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_fragments_are_found_though_the_mail_goes() {
    let peer = taker().await;
    let dns = serve(
        "big.test ANY via=udp do=yes buffer>1472 !TIMEOUT\nbig.test ANY via=udp do=yes buffer<=1472 !TRUNCATE\n\
         big.test MX 10 mx.big.test\nmx.big.test A 127.0.0.11",
    )
    .await;
    let gateway = gateway(dns.address(), peer.address().port(), &["big.test"], "").await;
    cause(&gateway, "a@big.test", "dns.fragments_dropped").await;
    gateway.wait_queue("it is delivered", |queue| queue.is_empty()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn both_views_stand_in_the_finding() {
    let peer = peer_at("127.0.0.31:0", "rcpt * 550 5.7.1 relaying denied").await;
    let inside = serve("group.test MX 10 ad.group.test\nad.group.test A 127.0.0.31").await;
    let public = serve("group.test MX 10 mx.cloud.test\nmx.cloud.test A 127.0.0.11").await;
    let more = format!("public_servers = [\"{}\"]\n", public.address());
    let gateway = gateway(inside.address(), peer.address().port(), &["group.test"], &more).await;
    let log = cause(&gateway, "a@group.test", "dns.split_view").await;
    assert!(log.contains("the public MX is mx.cloud.test (127.0.0.11)"), "{log}");
}
