//! Everybody outside comes from one address inside.

use crate::diagnose::face::Known;
use crate::diagnose::rules::said;
use crate::diagnose::{Answer, Case, rule, strangers};
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// A NAT hides the clients' addresses
    ///
    /// Mail servers of several organisations come from one private address. They cannot live there: a NAT, a container's proxy or a
    /// load balancer in front of the gateway puts its own address in the place of theirs. SPF, DMARC, reverse DNS, block lists,
    /// greylisting and limits for each client all look at the wrong address, and whoever trusts that address trusts the Internet.
    ///
    /// Known by sessions with EHLO names of several organisations, each with mail of its own, from one address of the inside, while
    /// DNS (the EHLO name's address, else the sender's SPF record) places those servers elsewhere.
    ///
    /// Keep the source address: host networking or no userland proxy (Docker), externalTrafficPolicy Local (Kubernetes), or PROXY
    /// protocol from the balancer with `listener.*.proxy_protocol_from`.
    "net.snat_hides_clients", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let client = visit.client;
    let is_candidate = strangers::is_inside(client) || case.settings.public_addresses.contains(&client);
    if !is_candidate || visit.proxy.is_some() || visit.user.is_some() || visit.reflected.is_some() {
        return Answer::No;
    }
    let strangers = match strangers::at(case, client) {
        Known::Yes(strangers) => strangers,
        Known::Ask(wanted) => return Answer::Ask(wanted),
        Known::Never => return Answer::No,
    };
    let elsewhere: Vec<_> = strangers.iter().filter(|stranger| stranger.elsewhere.is_some()).collect();
    if elsewhere.len() < 2 {
        return Answer::No;
    }
    let domains: Vec<&str> = elsewhere.iter().map(|stranger| stranger.sender_domain).collect();
    let names: Vec<&str> = elsewhere.iter().map(|stranger| stranger.helo).collect();
    let mut finding = Finding::new(
        "net.snat_hides_clients",
        Actor::OurNetwork,
        format!(
            "All clients appear as {client} (container, NAT gateway or load balancer): the mail servers of {} ({}) cannot all come \
             from one private host, so the real addresses are lost before this gateway.",
            said::list(&domains),
            said::list(&names)
        ),
    )
    .severity(Severity::Warning)
    .confidence(Confidence::Likely)
    .retry(Retry::AfterFix)
    .disproof(format!("one host at {client} that itself sends for all of these"));
    for stranger in &elsewhere {
        let why = stranger.elsewhere.as_deref().unwrap_or_default();
        finding = finding.evidence(format!(
            "{client} said EHLO {} and sent for {}; DNS places it elsewhere: {why}",
            stranger.helo, stranger.sender_domain
        ));
    }
    let listener = visit.listener.name();
    finding
        .fix("Keep the source address on the way: host networking or no userland proxy (Docker), externalTrafficPolicy: Local (Kubernetes), no source NAT on the router.")
        .fix(format!("Or send PROXY protocol from {client} and set listener.{listener}.proxy_protocol_from = [\"{client}\"]."))
        .fix(format!("Until then do not trust {client}: no internal_hosts, no listener.outbound.accept_from that holds it."))
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{Scene, scene};

    fn visits(client: &str, calls: &[(&str, &str)]) -> Scene {
        let mut scene = scene(&format!(
            "visit inbound {client}\nhelo out.bank.test\ndeal a@bank.test: u@corp.test\ntaken 10\nsettings\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"127.0.0.20\"]"
        ));
        for (helo, domain) in calls {
            scene.call(client, helo, domain);
        }
        scene
    }

    const TWO: [(&str, &str); 2] = [("out.big.test", "big.test"), ("out.bank.test", "bank.test")];

    #[test]
    fn servers_of_strangers_do_not_live_on_one_private_host() {
        visits("172.17.0.1", &TWO)
            .answer("out.big.test A: 192.0.2.1")
            .answer("out.bank.test A: NXDOMAIN")
            .answer("bank.test TXT: \"v=spf1 ip4:192.0.2.2 -all\"")
            .check(
                "net.snat_hides_clients: All clients appear as 172.17.0.1 (container, NAT gateway or load balancer): the mail servers \
                 of big.test and bank.test (out.big.test and out.bank.test) cannot all come from one private host, so the real \
                 addresses are lost before this gateway.",
            );
    }

    #[test]
    fn who_lives_there_hides_nobody() {
        let at_home =
            visits("172.17.0.1", &TWO).answer("out.big.test A: 172.17.0.1").answer("out.bank.test A: 192.0.2.2");
        at_home.check("unknown");
        visits("172.17.0.1", &TWO).nothing_more().check("unknown");
    }

    #[test]
    fn a_forwarder_a_public_address_and_our_own_servers_are_no_nat() {
        for (client, calls) in [
            // A filter of ours that passes mail of many on, under its own name.
            ("10.0.0.5", [("filter.lab.test", "big.test"), ("filter.lab.test", "bank.test")]),
            ("10.0.0.5", [("out.big.test", "big.test"), ("out.bank.test", "big.test")]),
            ("10.0.0.5", [("app1.corp.test", "corp.test"), ("out.bank.test", "bank.test")]),
            ("10.0.0.5", [("printer", "big.test"), ("out.bank.test", "bank.test")]),
            ("192.0.2.77", TWO),
        ] {
            let scene = visits(client, &calls)
                .answer("out.big.test A: 192.0.2.1")
                .answer("out.bank.test A: 192.0.2.2")
                .answer("filter.lab.test A: 192.0.2.3");
            scene.check("unknown");
        }
    }
}
