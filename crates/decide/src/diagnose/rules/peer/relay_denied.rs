//! The host does not take mail for this domain.

use crate::diagnose::rules::said;
use crate::diagnose::words::Topic;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Via};

rule! {
    /// Relaying denied by the peer
    ///
    /// The host says that it takes no mail for this domain: it is not one of its domains, and this gateway may not relay
    /// through it. If the domain's MX names the host, that host misses the domain (or the MX is out of date); if the settings
    /// name it, the route leads to the wrong host, or it does not know this gateway.
    ///
    /// Known by the host's words at RCPT. It is no statement about the recipient.
    ///
    /// By MX: the owner of the domain corrects the MX or adds the domain on that host. By settings: correct the next hop, or
    /// allow this gateway's address to relay there.
    "peer.relay_denied", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let Some(said) = said::about(case, Topic::RelayDenied) else { return Answer::No };
    let (place, code, domain) = (said.place(), said.code(), &attempt.domain);
    let (sentence, actor, fix) = match attempt.via {
        Via::Mx => (
            format!("{place} takes no mail for {domain} ({code}), although DNS names it as mail host of {domain}."),
            Actor::TheirHost,
            format!("The owner of {domain} adds the domain on {}, or corrects the MX record.", said.tried.host),
        ),
        Via::NextHops => (
            format!(
                "{place}, the next hop that the settings give to {domain}, does not take its mail ({code}): the domain is missing there."
            ),
            Actor::OurServer,
            format!(
                "Add {domain} to the accepted domains of {}, or correct [[domain]] {domain} next_hops.",
                said.tried.host
            ),
        ),
        _ => (
            format!(
                "{place}, the relay host of the settings, does not relay for this gateway ({code}): it does not know the address \
                 {} or wants a login.",
                said.tried.source.map_or_else(|| "it comes from".to_owned(), |source| source.to_string()),
            ),
            Actor::OurSettings,
            format!(
                "Let {} relay for this gateway's address, or set route.other.user and route.other.password_file.",
                said.tried.host
            ),
        ),
    };
    Finding::new("peer.relay_denied", actor, sentence)
        .severity(said::severity(case, &said))
        .confidence(Confidence::Likely)
        .evidence(said.quote())
        .evidence(format!("route: {}", attempt.rule))
        .disproof(format!("another recipient of {domain} that {} accepts", said.tried.host))
        .fix(fix)
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const DENIED: &str = "try mx.dest.test 127.0.0.11
        mail 250 ok
        rcpt a@dest.test 554 5.7.1 <a@dest.test>: Relay access denied
        fail rcpt them 554 5.7.1 Relay access denied";

    #[test]
    fn who_must_act_depends_on_the_route() {
        check(
            &format!("to a@dest.test\n{DENIED}"),
            "peer.relay_denied: mx.dest.test (127.0.0.11) takes no mail for dest.test (554 5.7.1), although DNS names it as mail \
             host of dest.test.",
        );
        check(&format!("to a@dest.test\nvia relay-host\n{DENIED}"), "peer.relay_denied");
    }
}
