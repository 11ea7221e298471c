//! A domain that is the gateway's own host name as well.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Address, Confidence, Finding};

rule! {
    /// The domain is the gateway's own host name as well
    ///
    /// The MTA host name is the name of one host: bounces and postmaster mail live there. A mail domain with the same name stands for
    /// two things; a recipient is then looked up in the gateway's own tables although its mailbox lies at the server behind.
    ///
    /// Known by the settings: `hostname` and a `[[domain]]` have the same name.
    ///
    /// Give the gateway a host name of its own, such as `gw.` before the domain, with A and PTR records to match.
    "route.domain_in_two_classes", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let refused = visit.refusals.iter().find_map(|refusal| {
        let is_unknown = matches!(refusal.why.as_str(), "no-such-recipient" | "relaying-denied");
        let address = refusal.recipient.as_ref().filter(|_| is_unknown)?.parse::<Address>().ok()?;
        (case.identity.is_name(&address.domain().ascii())
            && case.settings.domains.find(&address.domain().ascii()).is_some())
        .then_some((refusal, address))
    });
    let Some((refusal, address)) = refused else { return Answer::No };
    let domain = address.domain();
    Finding::new(
        "route.domain_in_two_classes",
        Actor::OurSettings,
        format!(
            "{domain} is this gateway's own host name and at the same time a relay domain; its own table is used and knows no user \
             {} (refused with {} {}).",
            address.local(),
            refusal.reply.code,
            refusal.reply.status()
        ),
    )
    .confidence(Confidence::Likely)
    .evidence(format!("hostname = \"{domain}\" and [[domain]] name = \"{domain}\""))
    .evidence(format!("RCPT TO:<{address}>: {}", refusal.reply))
    .disproof(format!("{address} does not exist at the server behind either"))
    .fix(format!("Set `hostname` to a name of its own, such as \"gw.{domain}\", with A and PTR records that fit."))
    .fix(format!("And add {address} to `recipients` of domain {domain}, if it exists."))
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;

    fn found(domain: &str, expected: &str) {
        let settings = format!(
            "\nsettings\n[[domain]]\nname = \"{domain}\"\nnext_hops = [\"127.0.0.20\"]\nrecipients = [\"a@{domain}\"]"
        );
        let visit = format!("visit inbound 127.0.1.10\nrefuse rcpt no-such-recipient u@{domain} 550 5.1.1 unknown");
        scene(&(visit + &settings)).nothing_more().check(expected);
    }

    #[test]
    fn one_name_for_host_and_domain_is_told() {
        found(
            "gw.corp.test",
            "route.domain_in_two_classes: gw.corp.test is this gateway's own host name and at the same time a relay domain; its own \
             table is used and knows no user u (refused with 550 5.1.1).",
        );
        found("corp.test", "own.unknown_recipient");
    }
}
