//! Greylisting: strangers wait, whoever comes again passes, also after a restart and from another address of its pool.

use crate::gateway::{Gateway, peer, record_of};
use sim::client::Client;
use sim::dns::{Server, Zone};
use sim::peer::Peer;
use std::time::Duration;

const ZONE: &str = "
pool.test.  TXT \"v=spf1 ip4:127.0.0.0/8 -all\"
";

struct Lab {
    _dns: Server,
    next_hop: Peer,
    gateway: Gateway,
}

async fn lab(greylisting: &str) -> Lab {
    let zone: Zone = ZONE.parse().unwrap();
    let dns = Server::start("127.0.0.53:0".parse().unwrap(), zone).await.unwrap();
    let next_hop = peer("").await;
    let settings = format!(
        "{}[listener.inbound]\ngreylisting = \"{greylisting}\"\n[dns]\nservers = [\"{}\"]\ntimeout = \"1s\"\n",
        Gateway::settings(&next_hop),
        dns.address()
    );
    Lab { _dns: dns, next_hop, gateway: Gateway::start(&settings).await }
}

impl Lab {
    /// The reply to RCPT, or to DATA if that is accepted.
    async fn offer(&self, from: &str, sender: &str, recipient: &str) -> String {
        let mut client = Client::connect(Some(from.parse().unwrap()), self.gateway.inbound).await.unwrap();
        client.expect("EHLO mail.out.test", "250").await.unwrap();
        client.expect(&format!("MAIL FROM:<{sender}>"), "250").await.unwrap();
        let reply = client.say(&format!("RCPT TO:<{recipient}>")).await.unwrap();
        if !reply.is("250") {
            client.quit().await.unwrap();
            return reply.to_string();
        }
        client.say("DATA").await.unwrap().to_string()
    }

    /// Comes again until it passes: the test's own clock is not the gateway's.
    async fn comes_again(&self, from: &str, sender: &str) {
        let started = std::time::Instant::now();
        while !self.offer(from, sender, "u@corp.test").await.starts_with("354") {
            assert!(started.elapsed() < crate::gateway::PATIENCE);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_waits_and_others_do_not() {
    let lab = lab("1h").await;
    let deferred = lab.offer("127.0.1.10", "a@out.test", "u@corp.test").await;
    assert!(deferred.starts_with("450 4.7.1 greylisted, try again later: in 3600 seconds ("), "{deferred}");
    let visit = record_of(&lab.gateway, &deferred).await;
    assert_eq!(visit["visit"]["refusals"][0]["why"], "greylisted");
    assert_eq!(visit["visit"]["deals"][0]["greylist"][0]["origin"], "127.0.1.0/24");
    assert_eq!(visit["finding"]["severity"], "info");
    // What comes with the null sender is answered at DATA: a question about a recipient must not wait.
    assert!(lab.offer("127.0.1.10", "", "u@corp.test").await.starts_with("450 4.7.1 greylisted"));
    assert!(lab.offer("127.0.0.1", "a@out.test", "u@corp.test").await.starts_with("354"), "an internal host");
    assert!(lab.offer("127.0.1.10", "a@out.test", "Postmaster@corp.test").await.starts_with("354"));
    assert!(lab.offer("127.0.1.10", "a@out.test", "u@other.test").await.starts_with("550 5.7.1"), "no relay either");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_has_come_again_is_known_after_a_restart() {
    let mut lab = lab("1s").await;
    assert!(lab.offer("127.0.1.10", "a@out.test", "u@corp.test").await.starts_with("450"));
    lab.comes_again("127.0.1.10", "a@out.test").await;
    lab.gateway.terminate();
    assert!(lab.gateway.ended().await);
    lab.gateway.launch().await;
    assert!(lab.offer("127.0.1.10", "a@out.test", "u@corp.test").await.starts_with("354"));
    assert!(lab.offer("127.0.1.10", "b@out.test", "u@corp.test").await.starts_with("450"));
    drop(lab.next_hop);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pool_passes_by_its_domain_and_is_told_of() {
    let lab = lab("1s").await;
    assert!(lab.offer("127.0.1.10", "a@pool.test", "u@corp.test").await.starts_with("450"));
    lab.comes_again("127.0.2.10", "a@pool.test").await;
    assert!(lab.offer("127.0.3.10", "a@pool.test", "u@corp.test").await.starts_with("354"));
    lab.gateway.wait_log(|log| log.contains("finding: policy.greylist_pool")).await;
}
