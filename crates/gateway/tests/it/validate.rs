//! DNS validation of clients: who is refused for what DNS says, and who is only deferred because DNS says nothing.

use crate::gateway::{Gateway, peer, record_of};
use sim::client::Client;
use sim::dns::{Server, Zone};
use sim::peer::Peer;

const ZONE: &str = "
10.1.0.127.in-addr.arpa. PTR mail.good.test.
mail.good.test.          A   127.0.1.10
good.test.               MX  10 mail.good.test.
11.1.0.127.in-addr.arpa. PTR mail.liar.test.
mail.liar.test.          A   127.0.1.99
12.1.0.127.in-addr.arpa. PTR !SERVFAIL
liar.test.               TXT \"v=spf1 -all\"
nomail.test.             MX  0 .
broken.test.             ANY !SERVFAIL
10.1.0.127.list.test.    A   127.0.0.2
*.error.test.            A   127.255.255.254
*.servfail.test.         ANY !SERVFAIL
";

struct Lab {
    _dns: Server,
    _next_hop: Peer,
    gateway: Gateway,
}

async fn lab(listener: &str) -> Lab {
    let zone: Zone = ZONE.parse().unwrap();
    let dns = Server::start("127.0.0.53:0".parse().unwrap(), zone).await.unwrap();
    let next_hop = peer("").await;
    let settings = format!(
        "{}[listener.inbound]\n{listener}\n[dns]\nservers = [\"{}\"]\ntimeout = \"1s\"\n",
        Gateway::settings(&next_hop),
        dns.address()
    );
    Lab { _dns: dns, _next_hop: next_hop, gateway: Gateway::start(&settings).await }
}

impl Lab {
    async fn client(&self, from: &str) -> Client {
        Client::connect(Some(from.parse().unwrap()), self.gateway.inbound).await.unwrap()
    }

    /// What a client from this address is greeted with.
    async fn greeting(&self, from: &str) -> String {
        self.client(from).await.banner.to_string()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_without_a_name_is_refused_and_the_trail_says_why() {
    let lab = lab("require_reverse_name = true").await;
    assert!(lab.greeting("127.0.1.10").await.starts_with("220"));
    assert!(lab.greeting("127.0.1.11").await.starts_with("220"), "a name that lies is a name");
    let greeting = lab.greeting("127.0.1.13").await;
    assert!(greeting.starts_with("550 5.7.25 no reverse name: 127.0.1.13"), "{greeting}");
    let visit = record_of(&lab.gateway, &greeting).await;
    assert_eq!(visit["visit"]["refusals"][0]["why"], "no-reverse-name");
    assert_eq!(visit["visit"]["dns"][0]["question"]["name"], "13.1.0.127.in-addr.arpa");
    assert_eq!(visit["finding"]["cause"], "dns.client_no_ptr");
    // Unknown is not no.
    assert!(lab.greeting("127.0.1.12").await.starts_with("421 4.4.0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_name_that_leads_elsewhere_is_refused_with_the_text_of_the_settings() {
    let lab = lab("require_confirmed_reverse_name = \"mind your PTR\"").await;
    assert!(lab.greeting("127.0.1.10").await.starts_with("220"));
    let greeting = lab.greeting("127.0.1.11").await;
    assert!(greeting.starts_with("550 5.7.25 mind your PTR ("), "{greeting}");
    assert_eq!(record_of(&lab.gateway, &greeting).await["visit"]["refusals"][0]["why"], "reverse-name-mismatch");
    assert!(lab.greeting("127.0.1.13").await.starts_with("220"), "without a name there is none to lead elsewhere");
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_ehlo_and_mail_must_resolve_if_asked_for() {
    let lab = lab("require_resolvable_helo = true\nrequire_resolvable_sender = true").await;
    let mut client = lab.client("127.0.1.10").await;
    client.expect("EHLO web1", "550 5.7.1 EHLO name does not resolve: web1").await.unwrap();
    client.expect("EHLO broken.test", "451 4.4.0").await.unwrap();
    client.expect("EHLO [127.0.1.10]", "250").await.unwrap();
    client.expect("EHLO mail.good.test", "250").await.unwrap();
    client.expect("MAIL FROM:<a@nowhere.test>", "550 5.1.8").await.unwrap();
    client.expect("MAIL FROM:<a@liar.test>", "550 5.1.8").await.unwrap();
    client.expect("MAIL FROM:<a@nomail.test>", "550 5.1.8").await.unwrap();
    client.expect("MAIL FROM:<a@broken.test>", "451 4.4.0").await.unwrap();
    client.expect("MAIL FROM:<>", "250").await.unwrap();
    client.expect("RSET", "250").await.unwrap();
    client.expect("MAIL FROM:<a@good.test>", "250").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_block_list_refuses_whom_it_holds_and_nobody_by_an_error_code() {
    let lab = lab("dnsbl = [\"list.test\", \"error.test\"]").await;
    let greeting = lab.greeting("127.0.1.10").await;
    assert!(greeting.starts_with("554 5.7.1 blocked: 127.0.1.10 is on list.test (127.0.0.2)"), "{greeting}");
    assert!(lab.greeting("127.0.1.11").await.starts_with("220"));
    lab.gateway.wait_log(|log| log.contains("finding: own.dnsbl_query_error")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_block_list_is_left_out_after_five_failures() {
    let lab = lab("dnsbl = [\"servfail.test\"]").await;
    for client in 20..26 {
        assert!(lab.greeting(&format!("127.0.1.{client}")).await.starts_with("220"));
    }
    lab.gateway.wait_log(|log| log.contains("finding: own.dnsbl_timeout")).await;
    assert!(lab._dns.asked().iter().any(|asked| asked.name.contains("24.1.0.127.servfail.test")));
    assert!(!lab._dns.asked().iter().any(|asked| asked.name.contains("25.1.0.127.servfail.test")), "it was left out");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_next_hop_is_asked_whom_it_knows_and_no_bounce_is_made() {
    let script = "rcpt nobody@corp.test 550 5.1.1 no such user\nrcpt moody@corp.test 550 Sender verify failed\n";
    let next_hop = peer(script).await;
    let gateway = Gateway::start(&format!("{}verify_recipients = true\n", Gateway::settings(&next_hop))).await;
    let reply = gateway.send("forged@victim.test", "nobody@corp.test", "Subject: x\r\n\r\nx").await.to_string();
    assert!(reply.starts_with("550 5.1.1"), "{reply}");
    let event = record_of(&gateway, &reply).await;
    assert_eq!(event["finding"]["cause"], "own.no_recipient_check");
    assert!(event["finding"]["sentence"].as_str().unwrap().contains("instead of bouncing to forged@victim.test"));
    // A refusal that is not about the mailbox shuts nobody out.
    assert!(gateway.send("a@good.test", "moody@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(gateway.send("a@good.test", "known@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(gateway.send("a@good.test", "known@corp.test", "Subject: x\r\n\r\nx").await.is("250"));
    assert!(next_hop.wait_received(2, crate::gateway::PATIENCE).await);
    let probes = next_hop.transcript().iter().filter(|line| line.contains("C: MAIL FROM:<>")).count();
    assert!(probes >= 3, "nobody, moody and known, once each; and perhaps a bounce: {:?}", next_hop.transcript());
    let known = next_hop.transcript().iter().filter(|line| line.contains("C: RCPT TO:<known@corp.test>")).count();
    assert_eq!(known, 3, "asked once, delivered twice");
}
