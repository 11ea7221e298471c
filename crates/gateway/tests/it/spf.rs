//! SPF of clients: what is written into the header, who is refused, and who is only deferred.

use crate::gateway::{Gateway, peer, record_of};
use sim::client::Client;
use sim::dns::{Server, Zone};
use sim::peer::Peer;

const ZONE: &str = "
good.test.    TXT \"v=spf1 include:spf.good.test -all\"
spf.good.test. TXT \"v=spf1 ip4:127.0.1.10 -all\"
broken.test.  TXT !SERVFAIL
";

struct Lab {
    _dns: Server,
    next_hop: Peer,
    gateway: Gateway,
}

async fn lab(spf: &str) -> Lab {
    let zone: Zone = ZONE.parse().unwrap();
    let dns = Server::start("127.0.0.53:0".parse().unwrap(), zone).await.unwrap();
    let next_hop = peer("").await;
    let settings = format!(
        "{}[listener.inbound]\nspf = \"{spf}\"\n[dns]\nservers = [\"{}\"]\ntimeout = \"1s\"\n",
        Gateway::settings(&next_hop),
        dns.address()
    );
    Lab { _dns: dns, next_hop, gateway: Gateway::start(&settings).await }
}

impl Lab {
    /// The reply to RCPT for a client and a sender.
    async fn rcpt(&self, from: &str, sender: &str) -> String {
        let mut client = Client::connect(Some(from.parse().unwrap()), self.gateway.inbound).await.unwrap();
        client.expect("EHLO mail.good.test", "250").await.unwrap();
        client.expect(&format!("MAIL FROM:<{sender}>"), "250").await.unwrap();
        client.say("RCPT TO:<u@corp.test>").await.unwrap().to_string()
    }

    /// The header's beginning of a message as the next hop got it, folds undone.
    async fn header(&self, from: &str, sender: &str, content: &str) -> String {
        let mut client = Client::connect(Some(from.parse().unwrap()), self.gateway.inbound).await.unwrap();
        let replies = client.send("mail.good.test", sender, &["u@corp.test"], content.as_bytes()).await.unwrap();
        assert!(replies.last().unwrap().is("250"), "{replies:?}");
        assert!(self.next_hop.wait_received(1, crate::gateway::PATIENCE).await);
        let received = self.next_hop.received();
        let text = String::from_utf8_lossy(&received.last().unwrap().content).into_owned();
        text.replace("\r\n\t", " ")
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fail_is_refused_and_a_failed_lookup_deferred() {
    let lab = lab("enforce").await;
    assert!(lab.rcpt("127.0.1.10", "a@good.test").await.starts_with("250"));
    let refused = lab.rcpt("127.0.1.11", "a@good.test").await;
    assert!(
        refused.starts_with(
            "550 5.7.23 SPF does not permit this client: 127.0.1.11 as good.test: fail by \"-all\" of good.test ("
        ),
        "{refused}"
    );
    assert_eq!(record_of(&lab.gateway, &refused).await["visit"]["refusals"][0]["why"], "spf-failed");
    let deferred = lab.rcpt("127.0.1.11", "a@broken.test").await;
    assert!(deferred.starts_with("451 4.7.24 SPF could not be evaluated, try again later: 127.0.1.11"), "{deferred}");
    assert!(lab.rcpt("127.0.1.11", "a@nothing.test").await.starts_with("250"), "no record, no verdict");
    assert!(lab.rcpt("127.0.0.1", "a@good.test").await.starts_with("250"), "an internal host");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_result_stands_in_the_header_and_forged_ones_go() {
    let lab = lab("mark").await;
    let forged = "Authentication-Results: GW.corp.test; spf=pass\r\nSubject: x\r\nAuthentication-Results: other.test; none\r\n\r\nAuthentication-Results: gw.corp.test; in the body\r\n";
    let text = lab.header("127.0.1.11", "a@good.test", forged).await;
    let mut lines = text.lines();
    assert_eq!(
        lines.next(),
        Some(
            "Authentication-Results: gw.corp.test; spf=fail (good.test does not permit 127.0.1.11) smtp.mailfrom=a@good.test"
        ),
        "{text}"
    );
    assert!(lines.next().is_some_and(|line| line.starts_with("Received-SPF: fail (gw.corp.test: ")), "{text}");
    assert_eq!(text.matches("spf=").count(), 1, "{text}");
    assert!(text.contains("Subject: x\r\nAuthentication-Results: other.test; none\r\n\r\nAuthentication-Results: gw.corp.test; in the body"), "{text}");
    let (_, trail) = lab.gateway.run(&["audit", "search", "a@good.test", "--json"]);
    let found: serde_json::Value = serde_json::from_str(&trail).unwrap();
    let (_, shown) = lab.gateway.run(&["audit", "show", found[0]["id"].as_str().unwrap(), "--json"]);
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    let accepted = shown.as_array().unwrap().iter().find(|event| event["event"] == "accepted").unwrap();
    assert_eq!(accepted["fields"]["spf"], "fail by \"-all\" of good.test");
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_of_internal_hosts_stays_as_it_is() {
    let lab = lab("mark").await;
    let results = "Authentication-Results: gw.corp.test; spf=pass\r\nSubject: x\r\n\r\nx\r\n";
    let text = lab.header("127.0.0.1", "a@good.test", results).await;
    assert!(!text.contains("Received-SPF") && text.contains("gw.corp.test; spf=pass\r\nSubject"), "{text}");
}
