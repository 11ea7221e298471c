//! An alias adds a recipient in a pseudo domain that nothing serves.

use super::{addresses, listed, no_way, own_host, with_route};
use crate::diagnose::{Answer, Case, rule};
use crate::settings::{Alias, Mailboxes};
use mail::{Actor, Address, Attempt, Confidence, Finding, Retry, Status};

rule! {
    /// An alias leads to a pseudo domain
    ///
    /// The recipient was not given by the sender: an alias of the settings added it. Its domain is one that only a program
    /// inside was meant to see, such as a vacation responder's; it has no next hop, and DNS, often by a wildcard record, leads
    /// it to this gateway, or nowhere. The alias's other recipients get the message.
    ///
    /// Give the domain the program's server as next hop, or take the recipient out of the alias. The sender can do nothing.
    "loop.self.pseudo_domain", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|attempt| attempt.tries.is_empty() && !attempt.local) else {
        return Answer::No;
    };
    let Some(status) = attempt.no_route.as_ref().filter(|status| status.is_permanent()) else { return Answer::No };
    let domain = &attempt.domain;
    let Some(recipient) = attempt.recipients.first().and_then(|to| to.parse::<Address>().ok()) else {
        return Answer::No;
    };
    let leads = |to: &Mailboxes| match to {
        Mailboxes::One(address) => address.key() == recipient.key(),
        Mailboxes::Domain(other) => other.ascii() == *domain,
    };
    let Some(alias) = case.settings.aliases.iter().find(|alias| alias.to.iter().any(leads)) else {
        return Answer::No;
    };
    // A recipient of the domain that the alias itself belongs to is not a pseudo domain's.
    if alias.from.key().rsplit('@').next() == Some(domain.as_str()) {
        return Answer::No;
    }
    let Some(own) = own_host(attempt).filter(|_| no_way(case).is_some()) else {
        return nowhere(attempt, status, &recipient, alias).into();
    };
    let own_addresses = match addresses(case, own) {
        Ok(addresses) => addresses,
        Err(asks) => return Answer::Ask(asks),
    };
    let to = if own_addresses.is_empty() { String::new() } else { format!(" ({})", listed(&own_addresses)) };
    let how = format!("resolves to this gateway{to}");
    with_route(finding(attempt, &recipient, alias, &how).confidence(Confidence::Proven), attempt).into()
}

/// DNS leads such a domain nowhere, rather than home.
fn nowhere(attempt: &Attempt, status: &Status, recipient: &Address, alias: &Alias) -> Finding {
    with_route(finding(attempt, recipient, alias, &format!("leads nowhere in DNS ({status})")), attempt)
}

fn finding(attempt: &Attempt, recipient: &Address, alias: &Alias, how: &str) -> Finding {
    let domain = &attempt.domain;
    Finding::new(
        "loop.self.pseudo_domain",
        Actor::OurSettings,
        format!("Alias expansion of {} adds {recipient}, whose domain {domain} has no next hop and {how}.", alias.from),
    )
    .retry(Retry::AfterFix)
    .evidence(format!("alias {} → {}", alias.from, listed(&alias.to)))
    .disproof(format!("a client that gave {recipient} at RCPT, without the alias"))
    .fix(format!("Give {domain} the responder's server: [[domain]] name = \"{domain}\", next_hops = [\"HOST\"]."))
    .fix(format!("Or take {recipient} out of the alias {}.", alias.from))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    const VACATION: &str = "to u#corp.test@autoreply.corp.test
        dns autoreply.corp.test MX: NODATA
        dns autoreply.corp.test A: 127.0.0.2
        dropped autoreply.corp.test 127.0.0.2 0 own its address
        no-route 554 5.4.6 mail loop
settings
[[alias]]
from = \"u@corp.test\"
to = [\"u@corp.test\", \"u#corp.test@autoreply.corp.test\"]";

    #[test]
    fn a_vacation_domain_without_a_transport() {
        check(
            VACATION,
            "loop.self.pseudo_domain: Alias expansion of u@corp.test adds u#corp.test@autoreply.corp.test, whose domain \
             autoreply.corp.test has no next hop and resolves to this gateway (127.0.0.2).",
        );
    }

    #[test]
    fn a_vacation_domain_that_does_not_exist_at_all() {
        check(
            "to u#corp.test@autoreply.invalid.test
             dns autoreply.invalid.test MX: NXDOMAIN
             no-route 550 5.1.2 domain does not exist
settings
[[alias]]
from = \"u@corp.test\"
to = [\"u@corp.test\", \"u#corp.test@autoreply.invalid.test\"]",
            "loop.self.pseudo_domain",
        );
    }

    #[test]
    fn a_recipient_that_no_alias_made_is_an_unknown_domain() {
        check(
            &VACATION.replace("to = [\"u@corp.test\", \"u#corp.test@autoreply.corp.test\"]", "to = [\"u@corp.test\"]"),
            "loop.self.domain_not_local",
        );
    }
}
