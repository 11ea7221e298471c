//! A foreign domain's MX leads to loopback: to this machine, whoever asks.

use super::with_route;
use crate::diagnose::{Answer, Case, rule};
use mail::dns::Kind;
use mail::{Actor, Confidence, Finding, Identity, Retry, Via, Why};
use std::net::IpAddr;

rule! {
    /// MX leads to loopback
    ///
    /// Every mail host of the domain is `localhost`, or has an address that means "this machine" to everyone who looks it up:
    /// 127.0.0.1, ::1, 0.0.0.0, ::. Owners of parked domains do so to refuse mail. Dialling it would give the mail to this
    /// gateway again, as a trusted client's. It is not dialled, and the mail goes back to its sender.
    ///
    /// There is nothing to change here. The owner of the domain should publish a null MX (RFC 7505): `MX 0 .`
    "loop.self.mx_loopback", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.via == Via::Mx && attempt.tries.is_empty()) else {
        return Answer::No;
    };
    if attempt.no_route.is_none() || attempt.dropped.is_empty() {
        return Answer::No;
    }
    let means_itself = |host: &str, address: Option<IpAddr>| {
        let address = address.or_else(|| case.addresses(host).first().copied());
        is_localhost(host) || address.is_some_and(|address| is_itself(address, case.identity))
    };
    let fits = attempt.dropped.iter().all(|dropped| {
        matches!(dropped.why, Why::NotBetterThanOwn)
            || matches!(dropped.why, Why::Own(_) | Why::Prohibited | Why::NoAddress(_))
                && means_itself(&dropped.host, dropped.address)
    });
    let first = attempt.dropped.iter().find(|dropped| !matches!(dropped.why, Why::NotBetterThanOwn));
    let Some(first) = first.filter(|_| fits) else { return Answer::No };
    let domain = &attempt.domain;
    let address = first.address.or_else(|| case.addresses(&first.host).first().copied());
    let address = address.map(|address| format!(" ({address})")).unwrap_or_default();
    let publishes = match case.dns(domain, Kind::Mx).filter(|answer| answer.data().next().is_some()) {
        Some(_) => format!("{domain} publishes MX {} {}{address}", first.preference, first.host),
        None => format!("{domain} has no MX, and its own address is loopback{address}"),
    };
    let sentence =
        format!("{publishes}; a public domain cannot be served from loopback, so the domain accepts no mail.");
    let finding = Finding::new("loop.self.mx_loopback", Actor::TheirDns, sentence)
        .confidence(Confidence::Proven)
        .retry(Retry::Useless)
        .disproof(format!("an MX of {domain} with a public address at its own name servers"))
        .fix(format!(
            "Nothing here: the mail is returned. The owner of {domain} should publish a null MX: `{domain}. MX 0 .`"
        ));
    with_route(finding, attempt).into()
}

fn is_localhost(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    host == "localhost" || host.ends_with(".localhost") || host == "localhost.localdomain"
}

/// The addresses that mean whoever asks. Others of 127.0.0.0/8 do so as well unless they are known as this gateway's own.
fn is_itself(address: IpAddr, own: &Identity) -> bool {
    let address = address.to_canonical();
    address.is_unspecified()
        || address == IpAddr::from([127, 0, 0, 1])
        || address.is_loopback() && !own.is_address(address)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn localhost_serves_nobody() {
        for why in ["own one of its listeners", "prohibited"] {
            check(
                &format!(
                    "to a@parked.test
                     dns parked.test MX: 0 localhost
                     dns localhost A: 127.0.0.1
                     dropped localhost 127.0.0.1 0 {why}
                     no-route 554 5.4.6 mail loop: parked.test"
                ),
                "loop.self.mx_loopback: parked.test publishes MX 0 localhost (127.0.0.1); a public domain cannot be served from \
                 loopback, so the domain accepts no mail.",
            );
        }
    }

    #[test]
    fn a_private_address_is_something_else() {
        check(
            "to a@inside.test
             dns inside.test MX: 0 mx.inside.test
             dns mx.inside.test A: 10.0.0.1
             dropped mx.inside.test 10.0.0.1 0 prohibited
             no-route 551 5.4.6 private or loopback address",
            "dns.mx_private_address",
        );
    }

    #[test]
    fn one_true_host_beside_it_makes_it_another_matter() {
        check(
            "to a@half.test
             dns half.test MX: 0 localhost, 10 mx.half.test
             dns localhost A: 127.0.0.1
             dns mx.half.test A: 127.0.0.11
             dropped localhost 127.0.0.1 0 prohibited
             try mx.half.test 127.0.0.11
               refused",
            "net.refused",
        );
    }
}
