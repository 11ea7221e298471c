//! A recipient that the settings do not know.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Address, Confidence, Finding, Retry};

rule! {
    /// The recipient is not on the domain's list
    ///
    /// The domain has a list of recipients (`domain.recipients`), the address is not on it, and no alias leads elsewhere. The
    /// message is refused with 550 5.1.1, and the sender learns it at once.
    ///
    /// Known by the settings in force at that moment.
    ///
    /// The sender corrects the address; or the list lacks it: add it.
    "own.unknown_recipient", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let refusal = visit.refused("no-such-recipient");
    let Some((refusal, recipient)) = refusal.and_then(|refusal| Some((refusal, refusal.recipient.as_ref()?))) else {
        return Answer::No;
    };
    let address: Option<Address> = recipient.parse().ok();
    let domain = address.as_ref().and_then(|address| case.settings.local_domain(address.domain()));
    let Some((domain, list)) = domain.and_then(|domain| Some((domain, domain.recipients.as_ref()?))) else {
        return Answer::No;
    };
    let line = domain.line.map_or(String::new(), |line| format!(", settings line {line}"));
    Finding::new(
        "own.unknown_recipient",
        Actor::TheSender,
        format!(
            "{recipient} is not on this gateway's list of {} recipients of {}{line}: refused with {} {}.",
            list.iter().count(),
            domain.name,
            refusal.reply.code,
            refusal.reply.status()
        ),
    )
    .confidence(Confidence::Proven)
    .retry(Retry::Useless)
    .evidence(format!("RCPT TO:<{recipient}> from {}: {}", visit.client, refusal.reply))
    .disproof(format!("{recipient} in domain.recipients or in an alias at that moment"))
    .fix("The sender corrects the address.")
    .fix(format!("If it exists: add it to `recipients` of domain {}.", domain.name))
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;

    #[test]
    fn the_list_is_named() {
        let list = "\nsettings\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"127.0.0.20\"]\nrecipients = [\"a@corp.test\"]";
        scene(&format!(
            "visit inbound 127.0.1.10\nrefuse rcpt no-such-recipient x@corp.test 550 5.1.1 user unknown: x@corp.test{list}"
        ))
        .nothing_more()
        .check(
            "own.unknown_recipient: x@corp.test is not on this gateway's list of 1 recipients of corp.test, settings line 2: refused \
             with 550 5.1.1.",
        );
    }
}
