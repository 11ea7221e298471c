//! The identity check by the real program, against a small DNS: a right identity, each fault, and what changes while it runs.

use crate::gateway::{Gateway, PATIENCE, peer, peer_at};
use serde_json::Value;
use sim::dns::Server;
use std::process::{Command, Stdio};
use std::time::Instant;

/// All is right: mail leaves from 127.0.0.9 as gw.corp.test.
const RIGHT: &[&str] = &[
    "gw.corp.test. A 127.0.0.9",
    "9.0.0.127.in-addr.arpa. PTR gw.corp.test.",
    "corp.test. MX 10 gw.corp.test.",
    "corp.test. TXT \"v=spf1 ip4:127.0.0.9 -all\"",
    "2.0.0.127.list.test. A 127.0.0.2",
];

/// The records of these names are replaced, or more are there.
fn zone(changes: &[&str]) -> sim::dns::Zone {
    let owner = |line: &str| line.split_whitespace().next().unwrap().to_owned();
    let mut lines: Vec<&str> = RIGHT.to_vec();
    lines.retain(|line| !changes.iter().any(|change| owner(change) == owner(line)));
    lines.extend(changes.iter().filter(|change| change.split_whitespace().count() > 1));
    lines.join("\n").parse().unwrap()
}

struct Lab {
    dns: Server,
    gateway: Gateway,
}

/// `more` comes behind the settings of a closed network in which loopback addresses are the world.
async fn lab(changes: &[&str], more: &str) -> Lab {
    let dns = Server::start("127.0.0.53:0".parse().unwrap(), zone(changes)).await.unwrap();
    let settings = format!(
        "hostname = \"gw.corp.test\"\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"127.0.0.1:1\"]\n\
         [identity]\ndnsbl = [\"list.test\"]\n[dns]\nservers = [\"{0}\"]\npublic_servers = [\"{0}\"]\ntimeout = \"1s\"\n\
         [delivery]\nallow_private_addresses = [\"127.0.0.0/8\"]\naddress_family = \"ipv4\"\n\
         [[delivery.source]]\naddress = \"127.0.0.9\"\n{more}",
        dns.address()
    );
    Lab { gateway: Gateway::start(&settings).await, dns }
}

impl Lab {
    /// The lines of a look now.
    fn lines(&self) -> Vec<Value> {
        let (_, text) = self.gateway.run(&["identity", "--json"]);
        let report: Value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}"));
        report["lines"].as_array().unwrap().clone()
    }

    /// With these records, the line of this check stands so, says this, and wants this change.
    #[track_caller]
    fn check(&self, changes: &[&str], check: &str, state: &str, says: &str, fix: &str) {
        self.dns.replace(zone(changes));
        let lines = self.lines();
        let line = lines.iter().find(|line| line["check"] == check).unwrap();
        assert_eq!(line["state"], state, "{changes:?}: {line:#}");
        assert!(line["sentence"].as_str().unwrap().contains(says), "{changes:?}: {line:#}");
        assert!(line["fix"].to_string().contains(fix), "{changes:?}: {line:#}");
        assert!(state == "ok" || !line["evidence"].as_array().unwrap().is_empty(), "{line:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_identity_has_no_problem() {
    let lab = lab(&[], "").await;
    let (code, text) = lab.gateway.run(&["identity"]);
    assert_eq!(code, 0, "{text}");
    for line in lab.lines() {
        // The listener of the test is on loopback at any port, and its certificate of its own making.
        let is_right =
            matches!(line["check"].as_str().unwrap(), "listening" | "certificate" | "port25") || line["state"] == "ok";
        assert!(is_right, "{line:#}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn each_fault_is_named_with_the_record_to_change() {
    let lab = lab(&[], "").await;
    let ptr = "9.0.0.127.in-addr.arpa.";
    lab.check(
        &[ptr],
        "reverse-name",
        "problem",
        "127.0.0.9 has no PTR record (NXDOMAIN)",
        "127.0.0.9 → PTR gw.corp.test.",
    );
    lab.check(&[&format!("{ptr} PTR !SERVFAIL")], "reverse-name", "not-checked", "the lookup failed", "");
    let other = format!("{ptr} PTR host7.provider.test.");
    let liar = [other.as_str(), "host7.provider.test. A 127.0.0.77"];
    lab.check(
        &liar,
        "reverse-name",
        "problem",
        "host7.provider.test leads to 127.0.0.77",
        "127.0.0.9 → PTR gw.corp.test.",
    );
    let honest = [other.as_str(), "host7.provider.test. A 127.0.0.9"];
    lab.check(&honest, "reverse-name", "ok", "host7.provider.test, which leads back", "");
    lab.check(&honest, "ehlo-name", "note", "the different names are allowed", "");
    lab.check(&["gw.corp.test."], "address", "problem", "no A or AAAA record (NXDOMAIN)", "gw.corp.test. A 127.0.0.9");
    lab.check(
        &["gw.corp.test. A 10.1.2.3"],
        "address",
        "problem",
        "10.1.2.3, which is not reachable",
        "gw.corp.test. A 127.0.0.9",
    );
    lab.check(&["gw.corp.test. A !SERVFAIL"], "address", "not-checked", "the lookup failed", "");
    let foreign = ["corp.test. TXT \"v=spf1 mx:other.test -all\"", "corp.test. MX 10 gw.corp.test."];
    lab.check(&foreign, "spf", "problem", "127.0.0.9 fail by \"-all\"", "v=spf1 ip4:127.0.0.9 mx:other.test -all");
    lab.check(
        &["9.0.0.127.list.test. A 127.0.0.4"],
        "block-list",
        "problem",
        "127.0.0.9 is on the block list list.test",
        "list.test",
    );
    let refused = ["9.0.0.127.list.test. A 127.255.255.254"];
    lab.check(&refused, "block-list", "not-checked", "refuses questions that come by a public resolver", "dns.servers");
    lab.check(&["9.0.0.127.list.test. ANY !REFUSED"], "block-list", "not-checked", "did not answer", "");
    let away = [
        "corp.test. MX 10 mx.filter.test.",
        "mx.filter.test. A 127.0.0.88",
        "corp.test. TXT \"v=spf1 ip4:127.0.0.9 -all\"",
    ];
    lab.check(
        &away,
        "mx",
        "warning",
        "does not lead here, but to mx.filter.test (127.0.0.88)",
        "corp.test. MX 10 gw.corp.test.",
    );
    lab.check(&[], "reverse-name", "ok", "leads back", "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_for_another_name_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["other.test".to_owned()]).unwrap();
    let (certificate, key) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).unwrap();
    std::fs::write(&key, made.signing_key.serialize_pem()).unwrap();
    let files = format!("certificate = \"{}\"\nkey = \"{}\"\n", certificate.display(), key.display());
    let lab = lab(&[], &format!("[listener.inbound]\n{files}[listener.submission]\n{files}")).await;
    let lines = lab.lines();
    let of =
        |listener: &str| lines.iter().find(|line| line["check"] == "certificate" && line["about"] == listener).unwrap();
    assert_eq!(of("submission")["state"], "problem");
    assert_eq!(of("submission")["finding"]["cause"], "tls.cert_name_mismatch");
    assert_eq!(of("inbound")["state"], "warning");
    let says = "the certificate of the inbound listener is for other.test, not for gw.corp.test";
    assert_eq!(of("inbound")["sentence"], says);
}

#[tokio::test(flavor = "multi_thread")]
async fn port_25_is_seen_by_a_connection_in_which_nothing_is_said() {
    let mx = peer_at("127.0.0.31:0", "").await;
    let more = format!("[identity]\nprobe_domains = [\"dest.test\"]\n[delivery]\nport = {}\n", mx.address().port());
    let dns = Server::start(
        "127.0.0.53:0".parse().unwrap(),
        zone(&["dest.test. MX 10 mx.dest.test.", "mx.dest.test. A 127.0.0.31"]),
    )
    .await
    .unwrap();
    let settings = format!(
        "hostname = \"gw.corp.test\"\n{more}allow_private_addresses = [\"127.0.0.0/8\"]\n[dns]\nservers = [\"{}\"]\n",
        dns.address()
    );
    let lab = Lab { gateway: Gateway::start(&settings).await, dns };
    let line = lab.lines().into_iter().find(|line| line["check"] == "port25").unwrap();
    assert_eq!(line["state"], "ok", "{line:#}");
    assert!(line["sentence"].as_str().unwrap().contains("mx.dest.test at 127.0.0.31 answers"), "{line:#}");
    assert!(
        !mx.transcript().iter().any(|said| said.contains("MAIL") || said.contains("DATA")),
        "{:?}",
        mx.transcript()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_changes_is_told_and_watched_for() {
    let lab = lab(&[], "").await;
    // The first look is the gateway's own, at the start.
    let started = Instant::now();
    while lab.gateway.run(&["status"]).1.contains("not checked yet") {
        assert!(started.elapsed() < PATIENCE);
    }
    assert!(!lab.gateway.http("/healthz").await.contains("no PTR record"));
    lab.dns.replace(zone(&["9.0.0.127.in-addr.arpa."]));
    // The next comes by itself, when settings are saved.
    std::fs::copy(lab.gateway.path("settings.toml"), lab.gateway.path("same.toml")).unwrap();
    assert_eq!(lab.gateway.run(&["settings", "apply", "same.toml"]).0, 0);
    let told = "identity: 127.0.0.9 has no PTR record";
    lab.gateway.wait_log(|log| log.lines().any(|line| line.contains("ALERT") && line.contains(told))).await;
    let (code, text) = lab.gateway.run(&["identity"]);
    assert_eq!(code, 3, "{text}");
    assert!(text.contains("problem") && text.contains("127.0.0.9 → PTR gw.corp.test."), "{text}");
    assert!(lab.gateway.http("/healthz").await.contains(told));
    let (_, status) = lab.gateway.run(&["status"]);
    assert!(status.contains("1 problem"), "{status}");
    // A lookup that fails is no change, and the end of the trouble is one.
    lab.dns.replace(zone(&["9.0.0.127.in-addr.arpa. PTR !SERVFAIL"]));
    lab.lines();
    lab.dns.replace(zone(&[]));
    lab.lines();
    let log = lab.gateway.wait_log(|log| log.contains("state: ok")).await;
    assert_eq!(log.matches(told).count(), 1, "{log}");
    assert!(!lab.gateway.http("/healthz").await.contains(told));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_is_looked_at_before_it_is_saved() {
    let lab = lab(&["new.corp.test. A 127.0.0.9"], "").await;
    let propose = |name: &str| {
        let (code, text) = lab.gateway.run(&["identity", "--hostname", name, "--json"]);
        (code, serde_json::from_str::<Value>(&text).unwrap())
    };
    let (code, report) = propose("gone.corp.test");
    assert_eq!(
        (code, &report["proposed"], &report["hostname"]),
        (3, &Value::Bool(true), &Value::from("gone.corp.test"))
    );
    assert!(report["lines"].to_string().contains("gone.corp.test has no A or AAAA record"), "{report:#}");
    let (code, report) = propose("new.corp.test");
    assert_eq!(code, 0, "{report:#}");
    // It is not kept: the gateway is still called what it was.
    assert!(lab.gateway.run(&["status"]).1.contains("gw.corp.test"));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_host_name_is_said_at_once_in_both_directions() {
    let next_hop = peer("").await;
    let gateway = Gateway::start(&Gateway::settings(&next_hop)).await;
    let named = |name: &str| Gateway::settings(&next_hop).replace("gw.corp.test", name);
    for name in ["one.corp.test", "two.corp.test"] {
        std::fs::write(gateway.path("new.toml"), named(name)).unwrap();
        let (code, text) = gateway.run(&["settings", "apply", "new.toml"]);
        assert_eq!(code, 0, "{text}");
        let mut client = gateway.client().await;
        assert!(client.banner.to_string().starts_with(&format!("220 {name} ")), "{}", client.banner);
        let hello = client.say("EHLO out.test").await.unwrap().to_string();
        assert!(hello.contains(name), "{hello}");
        assert!(gateway.send("a@out.test", "b@corp.test", &format!("Subject: {name}\r\n\r\nx")).await.is("250"));
        gateway.wait_queue("it is delivered", |queue| queue.is_empty()).await;
        let greeted = next_hop.transcript().iter().filter(|line| line.contains(&format!("EHLO {name}"))).count();
        assert_eq!(greeted, 1, "{:?}", next_hop.transcript());
    }
}

/// In a network of its own, where addresses may be given and taken.
#[tokio::test(flavor = "multi_thread")]
async fn addresses_that_come_and_go_are_known_at_once() {
    let isolated = |script: &str| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--net", "sh", "-ec", script]).stderr(Stdio::inherit());
        command
    };
    if !isolated("ip link set lo up").status().is_ok_and(|status| status.success()) {
        eprintln!("this machine does not let a test have a network of its own: nothing was tested");
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(
        folder.path().join("gatepost.toml"),
        "data = \"data\"\nsettings_file = \"settings.toml\"\n[listen]\ninbound = [\"127.0.0.1:2525\"]\n",
    )
    .unwrap();
    std::fs::write(folder.path().join("settings.toml"), "hostname = \"gw.corp.test\"\n").unwrap();
    let script = format!(
        "G={}; ip link set lo up; $G run >/dev/null & trap \"kill $!\" EXIT
         wait_for() {{ n=0; until $G status 2>/dev/null | grep addresses | grep -q \"$@\"; do n=$((n+1)); test $n -lt 600; sleep 0.05; done; }}
         wait_for 127.0.0.1
         ip addr add 203.0.113.9/32 dev lo; ip addr add 2001:db8::9/128 dev lo
         wait_for 203.0.113.9; wait_for 2001:db8::9
         ip addr del 203.0.113.9/32 dev lo
         wait_for -v 203.0.113.9",
        env!("CARGO_BIN_EXE_gatepost")
    );
    let status = isolated(&script).current_dir(folder.path()).status().unwrap();
    let log = std::fs::read_to_string(folder.path().join("data/maillog")).unwrap_or_default();
    assert!(status.success(), "{log}");
    assert!(log.contains("came: 203.0.113.9") && log.contains("went: 203.0.113.9"), "{log}");
}
