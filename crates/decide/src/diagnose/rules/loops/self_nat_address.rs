//! One of the hosts is this gateway, seen through NAT or a load balancer.

use super::{listed, met, with_route};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Connect, Finding, HostTry, Retry, Via};

rule! {
    /// This gateway, seen through NAT
    ///
    /// A mail host has an address that no interface of this machine has; but the greeting that was heard there bears a token
    /// that only this gateway can make. So NAT, a port forwarding or a load balancer leads from there back here. The host and
    /// all that are not better than it are left out (RFC 5321 5.1); the mail goes to the better ones, and waits for them if
    /// they cannot be reached. If there is no better one, the mail would go round and is returned.
    ///
    /// List the address in `identity.public_addresses`; then it is known without being dialled. While it is not, it is
    /// remembered for an hour.
    "loop.self.nat_address", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    // With another name it is another Scanner.
    let Some((own, None)) = met(case) else { return Answer::No };
    let Some(address) = own.address else { return Answer::No };
    let others: Vec<&HostTry> = attempt.tries.iter().filter(|tried| !tried.own_token).collect();
    if case.delivered() {
        return Answer::No;
    }
    let preference =
        if attempt.via == Via::Mx { format!("{address}, preference {}", own.preference) } else { address.to_string() };
    let host = if own.host == address.to_string() { preference } else { format!("{} ({preference})", own.host) };
    let rest = if others.is_empty() {
        format!("no other host of {} is left, and mail would come back", attempt.domain)
    } else {
        let left: Vec<String> = others.iter().map(|tried| format!("{} ({})", tried.host, tried.address)).collect();
        let how = match others.last().map(|tried| &tried.connect) {
            Some(Connect::Refused) => "which refuses connections now",
            Some(Connect::TimedOut { .. }) => "which does not answer now",
            Some(Connect::NetworkUnreachable | Connect::HostUnreachable) => "which cannot be reached now",
            _ => "which does not take the mail now",
        };
        format!("with it and everything behind it removed only {} is left, {how}. The message waits", listed(&left))
    };
    let waits = !others.is_empty();
    let mut finding = Finding::new(
        "loop.self.nat_address",
        Actor::OurSettings,
        format!("{host} is this gateway seen through NAT; {rest}."),
    )
    .confidence(Confidence::Proven)
    .retry(if waits { Retry::Helps { after_s: None } } else { Retry::AfterFix })
    .disproof(format!("another mail server answering at {address}, with a greeting of its own"));
    for tried in &attempt.tries {
        if let Some(banner) = &tried.banner {
            finding.evidence.push(format!("{} [{}] greeted: {banner}", tried.host, tried.address));
        }
        if let Some(failure) = &tried.failure {
            finding.evidence.push(format!("{} [{}]: {failure}", tried.host, tried.address));
        }
    }
    let mut finding = finding
        .fix(format!("List {address} as an address of this gateway: [identity] public_addresses = [\"{address}\"]."));
    if waits {
        finding = finding.fix("Nothing else is wrong: delivery follows when the better host is back.".to_owned());
    } else {
        finding = finding.fix(format!("Give {} the server behind this gateway as next hop.", attempt.domain));
    }
    with_route(finding, attempt).into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_backup_behind_nat_waits_for_the_primary() {
        check(
            "to u@corp.test
             local
             via mx
             dropped gw.corp.test 127.0.0.99 20 own its greeting, which bears this gateway's own token
             try primary.corp.test 127.0.0.11
               refused
               fail connect path [internal] 421 4.4.1 connection refused",
            "loop.self.nat_address: gw.corp.test (127.0.0.99, preference 20) is this gateway seen through NAT; with it and \
             everything behind it removed only primary.corp.test (127.0.0.11) is left, which refuses connections now. The \
             message waits.",
        );
    }

    #[test]
    fn alone_it_is_a_loop() {
        check(
            "to u@corp.test
             dropped gw.corp.test 127.0.0.99 20 own its greeting, which bears this gateway's own token
             no-route 554 5.4.6 mail loop",
            "loop.self.nat_address: gw.corp.test (127.0.0.99, preference 20) is this gateway seen through NAT; no other host \
             of corp.test is left, and mail would come back.",
        );
    }
}
