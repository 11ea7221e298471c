//! The relay host for all other mail is this gateway.

use super::{listed, no_way, own_host};
use crate::diagnose::{Answer, Case, rule};
use crate::settings::NextHops;
use mail::{Actor, Attempt, Confidence, Finding, Retry, Via};
use std::net::IpAddr;

rule! {
    /// The relay host is this gateway itself
    ///
    /// `route.other.next_hops` names a host or address at which this gateway itself listens: an address of another interface
    /// of this machine, a virtual address, or a name that resolves to the own public address. All outgoing mail would come
    /// back, whatever its recipient's domain. It is one error of the settings, not one of each domain.
    ///
    /// Name the provider's server, or do not listen at that address.
    "loop.self.smarthost", find
}

fn find(case: &Case<'_>) -> Answer {
    let by_relay_host = |attempt: &Attempt| !attempt.local && matches!(attempt.via, Via::RelayHost | Via::Nowhere);
    let Some((attempt, _)) = no_way(case).filter(|(attempt, _)| by_relay_host(attempt)) else { return Answer::No };
    let NextHops::Hops(hops) = &case.settings.other.next_hops else { return Answer::No };
    let own = own_host(attempt);
    let host = match (own, hops.first()) {
        (Some(own), _) => own.host.clone(),
        (None, Some(hop)) => hop.host.to_string(),
        (None, None) => return Answer::No,
    };
    let addresses: Vec<IpAddr> = match (host.parse(), own.and_then(|own| own.address)) {
        (Ok(address), _) | (Err(_), Some(address)) => vec![address],
        (Err(_), None) => case.addresses(&host),
    };
    let which = if addresses.is_empty() || addresses.iter().any(|address| address.to_string() == host) {
        host.clone()
    } else {
        format!("{host} ({})", listed(&addresses))
    };
    let sentence = format!(
        "The smart-host {which} of route.other is one of this gateway's own listeners, so every outgoing message would come \
         back, whatever its domain."
    );
    let mut finding = Finding::new("loop.self.smarthost", Actor::OurSettings, sentence)
        .confidence(Confidence::Proven)
        .retry(Retry::AfterFix)
        .evidence(format!(
            "route.other.next_hops names {host}; this gateway listens at {}",
            listed(&case.identity.listening)
        ))
        .disproof(format!("another program than this gateway listening at {which}"))
        .fix("Set route.other.next_hops to the provider's server, or to \"mx\" to deliver directly.".to_owned())
        .fix(format!(
            "Or do not listen at {} (gatepost.toml, [listen]).",
            if addresses.is_empty() { host.clone() } else { listed(&addresses) }
        ));
    finding.evidence.extend(attempt.dns.iter().map(mail::dns::Answer::summary));
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn all_mail_would_come_back() {
        check(
            "to a@far.test
             via relay-host
             dns smart.corp.test A: 127.0.0.3
             dropped smart.corp.test 127.0.0.3 0 own one of its listeners
             no-route 554 5.4.6 mail loop
settings
[route.other]
next_hops = [\"smart.corp.test\"]",
            "loop.self.smarthost: The smart-host smart.corp.test (127.0.0.3) of route.other is one of this gateway's own \
             listeners, so every outgoing message would come back, whatever its domain.",
        );
        check(
            "to a@far.test
             via nowhere
             no-route 554 5.4.6 mail loop
settings
[route.other]
next_hops = [\"127.0.0.2\"]",
            "loop.self.smarthost",
        );
    }

    #[test]
    fn a_relay_host_that_is_down_is_no_loop() {
        check(
            "to a@far.test
             via relay-host
             try smart.corp.test 127.0.0.30
               refused
settings
[route.other]
next_hops = [\"smart.corp.test\"]",
            "net.refused",
        );
    }
}
