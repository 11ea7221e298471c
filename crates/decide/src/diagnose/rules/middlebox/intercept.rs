//! Unrelated hosts answer as one: outgoing port 25 is redirected.

use super::place;
use crate::diagnose::{Answer, Case, Seen, organisation, rule};
use mail::{Actor, Confidence, Finding, HostTry, Reply};
use std::net::IpAddr;

rule! {
    /// Outgoing SMTP intercepted
    ///
    /// Mail hosts of unrelated domains, at different addresses, greet with one and the same name that is neither's, and refuse in
    /// the same words: a provider, firewall or virus scanner redirects outgoing port 25 to a proxy of its own. Customers of one
    /// mail hoster share its greeting as well, but are not refused there as strangers.
    ///
    /// Ask the provider, or send by a relay host on port 587 with TLS (`route.other`).
    "middlebox.intercept", find
}

/// The name that a greeting or an EHLO answer begins with.
fn first_name(text: &str) -> Option<&str> {
    let name =
        text.trim_start_matches(|c: char| c.is_ascii_digit() || c == '-' || c == ' ').split_whitespace().next()?;
    name.contains('.').then_some(name)
}

fn is_related(name: &str, host: &str) -> bool {
    organisation(name).eq_ignore_ascii_case(organisation(host))
}

/// Of addresses so far apart, one hoster is not the usual reason.
fn far_apart(one: IpAddr, other: IpAddr) -> bool {
    match (one, other) {
        (IpAddr::V4(one), IpAddr::V4(other)) => one.octets()[..2] != other.octets()[..2],
        (IpAddr::V6(one), IpAddr::V6(other)) => one.segments()[..2] != other.segments()[..2],
        _ => false,
    }
}

/// The refusal that a stranger to a relay gets: by policy, at MAIL or RCPT.
fn stranger(reply: &Reply) -> bool {
    let words = reply.text().to_ascii_lowercase();
    reply.code >= 500
        && (reply.code == 530
            || reply.status().subject == 7
            || words.contains("relay")
            || words.contains("authenticat"))
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.via == mail::Via::Mx) else { return Answer::No };
    let Some((tried, reply)) = refused(case) else { return Answer::No };
    let Some(banner) = tried.banner.as_ref().map(Reply::text) else { return Answer::No };
    let Some(name) = first_name(&banner).filter(|name| !is_related(name, &tried.host)) else { return Answer::No };
    if is_related(name, &attempt.domain) {
        return Answer::No;
    }
    let same = |seen: &&Seen| {
        !seen.configured
            && seen.port == tried.port
            && seen.address != tried.address
            && !is_related(&seen.host, &tried.host)
            && seen.domain != attempt.domain
            && seen.banner.as_deref().and_then(first_name) == Some(name)
            && !is_related(name, &seen.host)
            && !is_related(name, &seen.domain)
            && seen.reply.as_ref().is_some_and(|other| other.code == reply.code && other.text() == reply.text())
    };
    let others: Vec<&Seen> = case.around.seen.iter().filter(same).collect();
    let Some(other) = others.first() else { return Answer::No };
    // Somebody who greets with a name of his own lately: then not all of the port is redirected.
    let own_name = |seen: &&Seen| {
        !seen.configured
            && seen.port == tried.port
            && seen.banner.as_deref().and_then(first_name).is_some_and(|name| is_related(name, &seen.host))
            && seen.at >= other.at
    };
    if case.around.seen.iter().find(own_name).is_some() {
        return Answer::No;
    }
    let apart = others.iter().any(|seen| far_apart(seen.address, tried.address));
    let sentence = format!(
        "{} and {} both answer as \"{name}\" with the same reply ({} {}): outgoing port {} is redirected to a proxy.",
        other.host,
        tried.host,
        reply.code,
        reply.text(),
        tried.port
    );
    let mut finding = Finding::new("middlebox.intercept", Actor::OurNetwork, sentence)
        .confidence(if apart || others.len() > 1 { Confidence::Likely } else { Confidence::Possible })
        .evidence(format!("{}: {banner}", place(tried)))
        .disproof(format!("{} greets as \"{name}\" when asked from another network as well", tried.host))
        .fix(format!("Ask the provider or whoever runs the firewall why outgoing port {} is redirected.", tried.port))
        .fix("Or send by a relay host on port 587: route.other.next_hops = [\"RELAY:587\"], tls = \"verify\".");
    for seen in others.iter().take(5) {
        finding.evidence.push(format!("{} ({}): {}", seen.host, seen.address, seen.banner.clone().unwrap_or_default()));
    }
    if let (Some(ours), Some(theirs)) = (&tried.certificate, &other.fingerprint) {
        let same = if ours.fingerprint == *theirs { "the same certificate" } else { "different certificates" };
        finding.evidence.push(format!("both show {same}"));
    }
    finding.into()
}

/// The refusal as a stranger.
fn refused<'a>(case: &Case<'a>) -> Option<(&'a HostTry, &'a Reply)> {
    case.refusals().into_iter().map(|(tried, _, reply)| (tried, reply)).find(|(_, reply)| stranger(reply))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const REFUSED: &str = "to a@b1.test
         try mx.b1.test 127.0.0.42
           banner 220 proxy.isp.test ESMTP
           rcpt a@b1.test 550 5.7.1 authentication required for relaying
           fail rcpt them 550 5.7.1 authentication required for relaying";
    const OTHER: &str = "\n seen a1.test mx.a1.test 127.0.0.41 9 banner 220 proxy.isp.test ESMTP, reply 550 5.7.1 authentication required for relaying";

    #[test]
    fn two_strangers_with_one_voice_are_a_proxy() {
        check(
            &format!("{REFUSED}{OTHER}"),
            "middlebox.intercept: mx.a1.test and mx.b1.test both answer as \"proxy.isp.test\" with the same reply (550 \
             authentication required for relaying): outgoing port 25 is redirected to a proxy.",
        );
    }

    #[test]
    fn customers_of_one_hoster_share_its_name() {
        let hosted = OTHER.replace("reply 550 5.7.1 authentication required for relaying", "delivered");
        check(&format!("{REFUSED}{hosted}"), "peer.auth_required");
    }

    #[test]
    fn another_host_with_a_name_of_its_own_clears_the_way() {
        let own = "\n seen c.test mx.c.test 127.0.0.43 3 banner 220 mx.c.test ESMTP, delivered";
        check(&format!("{REFUSED}{OTHER}{own}"), "peer.auth_required");
        check(&format!("{}{OTHER}", REFUSED.replace("proxy.isp.test", "mx.b1.test")), "peer.auth_required");
    }
}
