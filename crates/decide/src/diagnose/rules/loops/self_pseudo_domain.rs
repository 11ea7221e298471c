//! An alias adds a recipient in a pseudo domain that nothing serves.

use super::{addresses, listed, no_way, own_host, with_route};
use crate::diagnose::{Answer, Case, Experiment, Result, rule};
use crate::settings::Mailboxes;
use mail::dns::{Kind, Question};
use mail::{Actor, Address, Confidence, Finding, Retry};

rule! {
    /// An alias leads to a pseudo domain
    ///
    /// The recipient was not given by the sender: an alias of the settings added it. Its domain is one that only a program
    /// inside was meant to see, such as a vacation responder's; it has no next hop, and DNS, often by a wildcard record, leads
    /// it to this gateway. The alias's other recipients get the message.
    ///
    /// Give the domain the program's server as next hop, or take the recipient out of the alias. The sender can do nothing.
    "loop.self.pseudo_domain", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((attempt, _)) = no_way(case) else { return Answer::No };
    let Some(own) = own_host(attempt) else { return Answer::No };
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
    let probe = domain.split_once('.').map(|(_, parent)| Question::new(&format!("gatepost-probe.{parent}"), Kind::A));
    let probe = probe.map(Experiment::ask);
    let own_addresses = match addresses(case, own) {
        Ok(addresses) => addresses,
        Err(asks) => return Answer::Ask(asks),
    };
    let wildcard = match probe.as_ref().map(|probe| case.look(probe)) {
        Some(None) => return Answer::Ask(probe.into_iter().collect()),
        Some(Some(Result::Answer(answer))) => answer.addresses().iter().any(|address| own_addresses.contains(address)),
        _ => false,
    };
    let by = if wildcard { "by wildcard " } else { "" };
    let to = if own_addresses.is_empty() { String::new() } else { format!(" ({})", listed(&own_addresses)) };
    let finding = Finding::new(
        "loop.self.pseudo_domain",
        Actor::OurSettings,
        format!(
            "Alias expansion of {} adds {recipient}, whose domain {domain} has no next hop and resolves {by}to this \
             gateway{to}.",
            alias.from
        ),
    )
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .evidence(format!("alias {} → {}", alias.from, listed(&alias.to)))
    .disproof(format!("a client that gave {recipient} at RCPT, without the alias"))
    .fix(format!("Give {domain} the responder's server: [[domain]] name = \"{domain}\", next_hops = [\"HOST\"]."))
    .fix(format!("Or take {recipient} out of the alias {}.", alias.from));
    with_route(finding, attempt).into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

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
        scene(VACATION).answer("gatepost-probe.corp.test A: 127.0.0.2").check(
            "loop.self.pseudo_domain: Alias expansion of u@corp.test adds u#corp.test@autoreply.corp.test, whose domain \
             autoreply.corp.test has no next hop and resolves by wildcard to this gateway (127.0.0.2).",
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
