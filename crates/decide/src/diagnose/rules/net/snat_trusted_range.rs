//! The trusted networks hold the address under which everybody arrives.

use crate::diagnose::face::{self, Known};
use crate::diagnose::rules::said;
use crate::diagnose::{Answer, Case, Experiment, organisation, rule, spf, strangers};
use ipnet::IpNet;
use mail::{Actor, Address, Confidence, Finding, Listener, Retry, Severity, Visit};
use std::net::IpAddr;

rule! {
    /// A trusted network holds the address of a NAT
    ///
    /// Clients in `listener.outbound.accept_from` may relay without logging in. Behind a NAT, a container's proxy or a load balancer
    /// that hides addresses, outside clients all come from one address; if that is in the list, the gateway relays for everyone.
    ///
    /// Known by mail from strangers to strangers, taken at the outbound listener without authentication, while servers of several
    /// organisations come from that one address and DNS places them elsewhere.
    ///
    /// Take the address out of `listener.outbound.accept_from` at once, look through the queue for foreign mail, then restore the
    /// clients' addresses.
    "net.snat_trusted_range", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit().filter(|visit| visit.listener == Listener::Outbound) else { return Answer::No };
    let client = visit.client;
    if visit.user.is_some() || visit.reflected.is_some() {
        return Answer::No;
    }
    let Some(network) = case.settings.outbound.accept_from.iter().find(|network| network.contains(&client)) else {
        return Answer::No;
    };
    let foreign = |address: &str| {
        address.parse::<Address>().is_ok_and(|address| case.settings.local_domain(address.domain()).is_none())
    };
    let relayed = visit.deals.iter().filter(|deal| deal.taken && foreign(&deal.sender)).find_map(|deal| {
        let recipient = deal.accepted.iter().find(|recipient| foreign(recipient))?;
        Some((&deal.sender, recipient))
    });
    let Some((sender, recipient)) = relayed else { return Answer::No };
    let strangers = match strangers::at(case, client) {
        Known::Yes(strangers) => strangers,
        Known::Ask(wanted) => return Answer::Ask(wanted),
        Known::Never => return Answer::No,
    };
    let strangers = match without_customers(case, client, strangers) {
        Ok(strangers) => strangers,
        Err(wanted) => return Answer::Ask(wanted),
    };
    if strangers.len() < 2 || !strangers.iter().any(|stranger| stranger.elsewhere.is_some()) {
        return alone(case, visit, *network, sender, recipient);
    }
    let names: Vec<&str> = strangers.iter().map(|stranger| stranger.helo).collect();
    let mut finding = Finding::new(
        "net.snat_trusted_range",
        Actor::OurSettings,
        format!(
            "The trusted network {network} (listener.outbound.accept_from) contains {client}, under which outside clients appear behind \
             a NAT ({}): this gateway relays for everyone, as from {sender} to {recipient}.",
            said::list(&names)
        ),
    )
    .confidence(Confidence::Likely)
    .retry(Retry::AfterFix)
    .evidence(format!("taken at the outbound listener from {client} without authentication: {sender} to {recipient}, neither of a domain of ours"))
    .disproof(format!("{client} is one host of ours that sends for {}", said::list(&names)));
    for stranger in &strangers {
        let why =
            stranger.elsewhere.as_deref().map_or(String::new(), |why| format!("; DNS places it elsewhere: {why}"));
        let (helo, domain) = (stranger.helo, stranger.sender_domain);
        finding = finding.evidence(format!("{client} said EHLO {helo} and sent for {domain}{why}"));
    }
    finding
        .fix(format!("Take {client} out of listener.outbound.accept_from at once: name single hosts instead of {network}."))
        .fix(format!("Look for foreign mail that waits: gatepost queue list --sender {}; delete it.", sender.rsplit('@').next().unwrap_or_default()))
        .fix("Then restore the clients' own addresses: no source NAT, or PROXY protocol with listener.*.proxy_protocol_from.")
        .into()
}

/// Those whose SPF record does not list this gateway: who lets it send has asked it to.
fn without_customers<'a>(
    case: &Case<'a>,
    client: IpAddr,
    strangers: Vec<strangers::Stranger<'a>>,
) -> Result<Vec<strangers::Stranger<'a>>, Vec<Experiment>> {
    let (mut left, mut wanted) = (Vec::new(), Vec::new());
    for stranger in strangers {
        match spf::lists(case, stranger.sender_domain, client) {
            Known::Yes(Some(policy)) if lists_us(case, &policy) => {}
            Known::Ask(experiments) => wanted.extend(experiments),
            _ => left.push(stranger),
        }
    }
    if wanted.is_empty() { Ok(left) } else { Err(wanted) }
}

fn lists_us(case: &Case<'_>, policy: &spf::Policy) -> bool {
    let sources = case.settings.delivery.sources.iter().map(|source| &source.address);
    let ours = case.settings.public_addresses.iter().chain(&case.identity.addresses).chain(sources);
    ours.into_iter().any(|address| policy.allows(address.to_canonical()))
}

/// One stranger's own server, seen once: its name lives elsewhere, and its domain lets neither this address nor us send.
fn alone(case: &Case<'_>, visit: &Visit, network: IpNet, sender: &str, recipient: &str) -> Answer {
    let client = visit.client;
    let Some((_, domain)) = sender.rsplit_once('@') else { return Answer::No };
    let helo = visit.helo.trim_end_matches('.');
    let is_own_server = organisation(helo).eq_ignore_ascii_case(organisation(domain)) && helo.contains('.');
    if !is_own_server || !strangers::is_inside(client) {
        return Answer::No;
    }
    let (name, record) = match (face::forward(case, helo, client), spf::lists(case, domain, client)) {
        (Known::Ask(mut wanted), Known::Ask(more)) => {
            wanted.extend(more);
            return Answer::Ask(wanted);
        }
        (Known::Ask(wanted), _) | (_, Known::Ask(wanted)) => return Answer::Ask(wanted),
        (Known::Yes((addresses, answer)), Known::Yes(Some(policy)))
            if !addresses.is_empty()
                && !addresses.contains(&client.to_canonical())
                && !policy.lists
                && !lists_us(case, &policy) =>
        {
            (answer.summary(), policy.record)
        }
        _ => return Answer::No,
    };
    Finding::new(
        "net.snat_trusted_range",
        Actor::OurSettings,
        format!(
            "The trusted network {network} (listener.outbound.accept_from) contains {client}, under which an outside client appears ({helo}, \
             whose address is another): behind a NAT this gateway relays for everyone, as from {sender} to {recipient}."
        ),
    )
    .severity(Severity::Warning)
    .confidence(Confidence::Possible)
    .retry(Retry::AfterFix)
    .evidence(format!("taken at the outbound listener from {client} without authentication: {sender} to {recipient}, neither of a domain of ours"))
    .evidence(name)
    .evidence(format!("{domain} TXT: \"{record}\", which lists neither {client} nor this gateway"))
    .disproof(format!("{client} is a host of ours that sends for {domain}"))
    .fix(format!("Is {client} a NAT, a balancer or a container's gateway? Take it out of listener.outbound.accept_from: name single hosts instead of {network}."))
    .fix(format!("Is it a server of ours that sends for {domain}? Add this gateway to the SPF record of {domain}."))
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{Scene, scene};

    fn visits(deal: &str, calls: &[(&str, &str)]) -> Scene {
        let mut scene = scene(&format!(
            "visit outbound 10.0.0.1\nhelo out.other.test\ndeal {deal}\ntaken 10\nsettings\n[listener.outbound]\naccept_from = [\"10.0.0.0/30\"]\n\
             [[domain]]\nname = \"corp.test\"\nnext_hops = [\"127.0.0.20\"]"
        ));
        for (helo, domain) in calls {
            scene.call("10.0.0.1", helo, domain);
        }
        scene
            .answer("out.spam.test A: 192.0.2.1")
            .answer("out.other.test A: 192.0.2.2")
            .answer("spam.test TXT: NODATA")
            .answer("mail.lab.test A: 192.0.2.3")
    }

    const TWO: [(&str, &str); 2] = [("out.spam.test", "spam.test"), ("out.other.test", "other.test")];

    #[test]
    fn a_trusted_nat_is_an_open_relay() {
        visits("z@other.test: y@a.test", &TWO).answer("other.test TXT: NODATA").check(
            "net.snat_trusted_range: The trusted network 10.0.0.0/30 (listener.outbound.accept_from) contains 10.0.0.1, under which \
             outside clients appear behind a NAT (out.spam.test and out.other.test): this gateway relays for everyone, as from \
             z@other.test to y@a.test.",
        );
    }

    #[test]
    fn one_stranger_is_worth_a_question() {
        visits("z@other.test: y@a.test", &TWO[1..]).answer("other.test TXT: \"v=spf1 ip4:192.0.2.2 -all\"").check(
            "net.snat_trusted_range: The trusted network 10.0.0.0/30 (listener.outbound.accept_from) contains 10.0.0.1, under which an \
             outside client appears (out.other.test, whose address is another): behind a NAT this gateway relays for everyone, as from \
             z@other.test to y@a.test.",
        );
    }

    #[test]
    fn our_own_mail_and_a_forwarder_of_ours_are_no_relaying() {
        let no_relay = |scene: Scene| {
            let found = scene.nothing_more().diagnose();
            assert!(found.findings.iter().all(|finding| finding.cause != "net.snat_trusted_range"), "{found:?}");
        };
        let listed =
            visits("z@other.test: y@a.test", &TWO[1..]).answer("other.test TXT: \"v=spf1 ip4:127.0.0.2 -all\"");
        no_relay(listed);
        no_relay(visits("me@corp.test: y@a.test", &TWO));
        no_relay(visits("z@other.test: me@corp.test", &TWO));
        let forwarder = [("mail.lab.test", "spam.test"), ("mail.lab.test", "other.test")];
        no_relay(visits("z@other.test: y@a.test", &forwarder));
    }
}
