//! The next hop that the settings give to one of our domains is this gateway.

use super::{addresses, listed, no_way, own_host, with_route};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Via};

rule! {
    /// A domain's next hop is this gateway itself
    ///
    /// The settings name a next hop for one of the domains whose mail is taken, and that host or address is this gateway: one
    /// of its own listeners, under whatever name and at whatever port. A next hop that shows this by itself is refused when
    /// the settings are saved; this one does so by what DNS says of it now.
    ///
    /// Name the server that holds the domain's mailboxes. Nothing is dialled and nothing is retried until then.
    "loop.self.next_hop", find
}

fn find(case: &Case<'_>) -> Answer {
    let fits = |via| matches!(via, Via::NextHops | Via::Nowhere | Via::Detour);
    let Some((attempt, status)) =
        no_way(case).filter(|(attempt, _)| fits(attempt.via) && (attempt.local || attempt.via == Via::Detour))
    else {
        return Answer::No;
    };
    let domain = &attempt.domain;
    let hop = match own_host(attempt) {
        Some(own) => {
            let addresses = match addresses(case, own) {
                Ok(addresses) => addresses,
                Err(asks) => return Answer::Ask(asks),
            };
            let known = addresses.is_empty() || addresses.iter().any(|address| address.to_string() == own.host);
            if known { own.host.clone() } else { format!("{} ({})", own.host, listed(&addresses)) }
        }
        // Refused as the settings stand, before any host was looked at: the status names them.
        None if attempt.via == Via::Nowhere => {
            let cycle = status.text.split(" → ").nth(1).and_then(|hop| hop.split(" (").next());
            cycle.unwrap_or(domain).to_owned()
        }
        None => return Answer::No,
    };
    let by_order = attempt.via == Via::Detour;
    let of = if by_order { "that mail for" } else { "of" };
    let given = if by_order { " was given" } else { "" };
    let sentence = format!(
        "The next hop {hop} {of} {domain}{given} ({}) is this gateway itself, so the mail would come back.",
        attempt.rule
    );
    let finding = Finding::new("loop.self.next_hop", Actor::OurSettings, sentence)
        .confidence(Confidence::Proven)
        .retry(Retry::AfterFix)
        .disproof(format!("another mail server than this gateway answering at {hop}"));
    let finding = match by_order {
        true => finding.fix(format!("Give the mail another way: gatepost queue reroute --domain {domain} HOST.")),
        false => finding.fix(format!(
            "Name the mailbox server of {domain}: [[domain]] name = \"{domain}\", next_hops = [\"HOST\"]."
        )),
    };
    with_route(finding, attempt).into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const OWN: &str = "to user@corp.test
        local
        via next-hops
        rule domain corp.test
        dns mail.corp.test A: 127.0.0.2
        dropped mail.corp.test 127.0.0.2 0 own one of its listeners
        no-route 554 5.4.6 mail loop: corp.test → mail.corp.test [127.0.0.2] (domain corp.test) → this gateway → corp.test";

    #[test]
    fn a_next_hop_whose_name_leads_here() {
        check(
            OWN,
            "loop.self.next_hop: The next hop mail.corp.test (127.0.0.2) of corp.test (domain corp.test) is this gateway \
             itself, so the mail would come back.",
        );
    }

    #[test]
    fn a_next_hop_that_is_refused_as_it_stands() {
        check(
            "to user@corp.test
             local
             via nowhere
             rule domain corp.test
             no-route 554 5.4.6 mail loop: corp.test → gw.corp.test:25 (domain corp.test) → this gateway → corp.test",
            "loop.self.next_hop: The next hop gw.corp.test:25 of corp.test (domain corp.test) is this gateway itself, so the \
             mail would come back.",
        );
    }

    #[test]
    fn a_next_hop_that_is_down_or_unknown_is_none() {
        check("to user@corp.test\nlocal\nvia next-hops\ntry mail.corp.test 127.0.0.20\n refused", "net.refused");
        let other = OWN.replace("554 5.4.6 mail loop", "421 4.4.4 resolver failed");
        let found = scene(&other).nothing_more().diagnose();
        assert!(found.findings.iter().all(|finding| finding.cause != "loop.self.next_hop"));
    }
}
