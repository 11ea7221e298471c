//! Mail is tried again from one address of a pool after the other, and greylisting sees strangers.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Deal, Finding, Greylisted, Retry, Severity, SpfResult};
use std::net::IpAddr;

rule! {
    /// Greylisting meets a pool of senders
    ///
    /// A large sender tries a deferred message again from another address of its pool. Greylisting that counts by address sees
    /// a stranger each time: the mail comes after hours, or never. This gateway counts a client by the sender's domain where that
    /// domain's SPF record permits it, else by its network (/24, /64): such mail passes at the second attempt. Where the
    /// addresses lie in different networks and SPF does not permit them, it is deferred each time.
    ///
    /// Known by three addresses or more from which mail of the same sender came for the same recipient, within four hours of
    /// the first deferral.
    ///
    /// Where it passes: nothing. Else the sender's domain lists its addresses by SPF; or set `listener.*.greylisting` to 0s.
    "policy.greylist_pool", find
}

/// Two may be a host with two addresses, or a second server: three are a pool.
const ADDRESSES_MIN: usize = 3;

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let Some((deal, greylisted)) = visit.deals.iter().rev().find_map(pool) else { return Answer::No };
    let sender = if deal.sender.is_empty() { "<>" } else { &deal.sender };
    let recipient = &greylisted.recipient;
    let (count, all) = (greylisted.addresses.len(), list(&greylisted.addresses));
    let domain = greylisted.origin.strip_prefix("domain:");
    let came = format!("Mail from {sender} to {recipient} has come from {count} addresses ({all})");
    let sentence = match (domain, greylisted.wait_s) {
        (Some(domain), None) => format!(
            "{came}, and the SPF record of {domain} permits {}: retries rotate through a pool. Greylisting counts the domain, so they pass.",
            visit.client
        ),
        (None, None) => format!(
            "{came}: retries rotate through a pool. Greylisting counts the network {}, which has come again, so this one passes.",
            greylisted.origin
        ),
        (Some(domain), Some(wait)) => format!(
            "{came}, and the SPF record of {domain} permits {}: retries rotate through a pool. Greylisting counts the domain; it passes in {wait} s.",
            visit.client
        ),
        (None, Some(_)) => format!(
            "{came}: retries rotate through a pool, and greylisting takes each network for a stranger, because SPF does not vouch for {} ({}). It is deferred each time.",
            visit.client,
            spf(deal)
        ),
    };
    let stuck = domain.is_none() && greylisted.wait_s.is_some();
    let mut finding = Finding::new("policy.greylist_pool", Actor::OurSettings, sentence)
        .severity(Severity::Warning)
        .confidence(Confidence::Likely)
        .retry(if stuck { Retry::AfterFix } else { Retry::Helps { after_s: greylisted.wait_s } })
        .evidence(format!("addresses, in order: {all}"))
        .evidence(format!("SPF of {sender} for {}: {}", visit.client, spf(deal)))
        .evidence(format!("counted as {}", greylisted.origin))
        .disproof("different messages at each attempt: compare their Message-IDs in the audit trail");
    if let Some(wait) = greylisted.wait_s {
        finding = finding.evidence(format!("must wait {wait} s"));
    }
    match domain {
        Some(domain) => finding.fix(format!(
            "Nothing: {domain} counts as one sender. To spare it the first wait, lower listener.{}.greylisting.",
            visit.listener.name()
        )),
        None => finding
            .fix(format!(
                "The owner of the sender's domain lists {all} in its SPF record; then the domain counts as one sender."
            ))
            .fix(format!("Until then: listener.{}.greylisting = \"0s\".", visit.listener.name())),
    }
    .into()
}

fn pool(deal: &Deal) -> Option<(&Deal, &Greylisted)> {
    Some((deal, deal.greylist.iter().find(|greylisted| greylisted.addresses.len() >= ADDRESSES_MIN)?))
}

fn spf(deal: &Deal) -> String {
    match &deal.spf {
        Some(check) if check.result == SpfResult::None => "no record".to_owned(),
        Some(check) => check.to_string(),
        None => "not asked".to_owned(),
    }
}

fn list(addresses: &[IpAddr]) -> String {
    addresses.iter().map(IpAddr::to_string).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;
    use mail::{Deal, Greylisted};

    #[track_caller]
    fn check(origin: &str, addresses: &[&str], wait_s: Option<u64>, expected: &str) {
        let mut scene = scene("visit inbound 127.0.1.12");
        let addresses = addresses.iter().map(|address| address.parse().unwrap()).collect();
        let greylisted =
            Greylisted { recipient: "u@corp.test".to_owned(), origin: origin.to_owned(), addresses, wait_s };
        let deal = Deal { sender: "a@pool.test".to_owned(), greylist: vec![greylisted], ..Deal::default() };
        scene.visit.as_mut().unwrap().deals.push(deal);
        scene.check(expected);
    }

    const THREE: [&str; 3] = ["127.0.1.10", "127.0.1.11", "127.0.1.12"];

    #[test]
    fn a_pool_that_passes_is_told_of() {
        check(
            "domain:pool.test",
            &THREE,
            None,
            "policy.greylist_pool: Mail from a@pool.test to u@corp.test has come from 3 addresses (127.0.1.10, 127.0.1.11, 127.0.1.12), \
             and the SPF record of pool.test permits 127.0.1.12: retries rotate through a pool. Greylisting counts the domain, so \
             they pass.",
        );
    }

    #[test]
    fn a_pool_that_cannot_pass_is_a_warning() {
        check(
            "127.0.1.0/24",
            &THREE,
            Some(300),
            "policy.greylist_pool: Mail from a@pool.test to u@corp.test has come from 3 addresses (127.0.1.10, 127.0.1.11, 127.0.1.12): \
             retries rotate through a pool, and greylisting takes each network for a stranger, because SPF does not vouch for 127.0.1.12 \
             (not asked). It is deferred each time.",
        );
    }

    #[test]
    fn two_addresses_are_no_pool() {
        check("127.0.1.0/24", &THREE[..2], Some(300), "unknown");
        check("127.0.1.0/24", &[], None, "unknown");
    }
}
