//! Our MX, but not in our settings.

use crate::diagnose::rules::own::mx::{self, Leads};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Address, Confidence, Finding, Listener};

rule! {
    /// The domain's MX leads here, and the settings do not know the domain
    ///
    /// DNS sends a domain's mail to this gateway, but the domain is not in the settings. The gateway takes the mail for an
    /// attempt to relay and refuses it. A domain that was added in DNS first, a name with a typing error in the settings, or
    /// a former domain whose MX was left.
    ///
    /// Known by the domain's MX record, which names this gateway or leads to one of its addresses.
    ///
    /// Add the domain to the settings, or have its MX record changed.
    "route.domain_not_accepted", find
}

/// Recipients looked at.
const RECIPIENTS_MAX: usize = 3;

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit().filter(|visit| visit.listener == Listener::Inbound) else { return Answer::No };
    let refused = visit.refusals.iter().filter(|refusal| refusal.why == "relaying-denied");
    let mut wanted = Vec::new();
    for refusal in refused.take(RECIPIENTS_MAX) {
        let Some(recipient) = refusal.recipient.as_ref().and_then(|text| text.parse::<Address>().ok()) else {
            continue;
        };
        let domain = recipient.domain();
        // A local part that routes is refused in our own domains as well.
        if domain.literal().is_some() || case.settings.local_domain(domain).is_some() {
            continue;
        }
        let name = domain.ascii();
        let is_own = |address| case.identity.is_address(address) || address == visit.local.ip();
        match mx::leads_to(case, &name, is_own) {
            Leads::Elsewhere => {}
            Leads::Ask(more) => wanted.extend(more),
            Leads::Here(how) => {
                let address = how.address.map_or(String::new(), |address| format!(" ({address})"));
                let way = if how.implicit {
                    format!("{name} has no MX, and its address{address} is this gateway's")
                } else {
                    format!("{name}'s MX {}{address} points to this gateway", how.host)
                };
                let mut finding = Finding::new(
                    "route.domain_not_accepted",
                    Actor::OurSettings,
                    format!(
                        "{way}, but {name} is not in its domain table, so mail to {recipient} is refused as relaying ({} {}).",
                        refusal.reply.code,
                        refusal.reply.status()
                    ),
                )
                .confidence(Confidence::Proven)
                .disproof(format!("a [[domain]] for {name} in the settings, or another MX at the domain's own name servers"))
                .fix(format!("If {name} is yours: add `[[domain]]` with `name = \"{name}\"` and its next_hops."))
                .fix(format!("If it is not: its owner changes the MX record of {name}."));
                finding.evidence = how.evidence;
                return finding.evidence(format!("RCPT TO:<{recipient}>: {}", refusal.reply)).into();
            }
        }
    }
    if wanted.is_empty() { Answer::No } else { Answer::Ask(wanted) }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::Experiment;
    use crate::diagnose::testing::scene;
    use mail::dns::{Kind, Question};

    const VISIT: &str = "visit inbound 127.0.1.10\nrefuse rcpt relaying-denied u@new.test 550 5.7.1 relaying denied";

    #[test]
    fn our_mx_without_our_settings_is_our_mistake() {
        scene(VISIT).asks(&Experiment::ask(Question::new("new.test", Kind::Mx)));
        scene(VISIT).answer("new.test MX: 10 gw.corp.test").answer("gw.corp.test A: 127.0.0.2").check(
            "route.domain_not_accepted: new.test's MX gw.corp.test (127.0.0.2) points to this gateway, but new.test is not in its \
             domain table, so mail to u@new.test is refused as relaying (550 5.7.1).",
        );
        scene(VISIT).answer("new.test MX: NODATA").answer("new.test A: 127.0.0.3").check(
            "route.domain_not_accepted: new.test has no MX, and its address (127.0.0.3) is this gateway's, but new.test is not in \
             its domain table, so mail to u@new.test is refused as relaying (550 5.7.1).",
        );
    }

    #[test]
    fn a_stranger_who_tries_to_relay_is_only_that() {
        scene(VISIT)
            .answer("new.test MX: 10 mx.new.test")
            .answer("mx.new.test A: 127.0.0.99")
            .answer("mx.new.test AAAA: NODATA")
            .check("own.relaying_denied");
        scene(VISIT).answer("new.test MX: FAIL SERVFAIL").nothing_more().check("own.relaying_denied");
        scene(VISIT).nothing_more().check("own.relaying_denied");
    }
}
