//! More sessions at once than the peer allows.

use crate::diagnose::rules::said::{self, Said};
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Stage};

rule! {
    /// Too many connections at once
    ///
    /// The host limits how many sessions one client may have, and this gateway had more: often because many recipient domains
    /// share one host. Its load is not the reason, and mail goes through with fewer sessions.
    ///
    /// Known by the host's words; or by a 421 at the greeting without a reason while several sessions to the same address were
    /// open here.
    ///
    /// The gateway opens fewer by itself after such an answer. To fix it for good: delivery.connections_per_address.
    "peer.concurrency", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((said, confidence)) = limited(case) else { return Answer::No };
    let open = said.tried.connections;
    let mut domains: Vec<String> = case.attempt().map(|attempt| attempt.domain.clone()).into_iter().collect();
    for seen in said::before(case, said.tried) {
        said::push_new(&mut domains, seen.domain.clone());
    }
    let place = said.place();
    let allows = match (words::limit(said.reply).filter(|_| said.is_about(Topic::Connections)), open) {
        (Some(limit), _) => format!("{place} allows {limit} parallel sessions"),
        (None, 2..) => format!("{place} allows fewer than {open} parallel sessions from here"),
        (None, _) => format!("{place} has more sessions than it allows"),
    };
    let ours = match (open, domains.len()) {
        (2.., 2..) => format!("this gateway had {open} open, for {} which share that host", said::list(&domains)),
        (2.., _) => format!("this gateway had {open} open"),
        _ => "this gateway had only this one open, so others count with it (a shared address, or the host's own total)"
            .to_owned(),
    };
    let mut finding =
        Finding::new("peer.concurrency", Actor::OurSettings, format!("{allows} ({}); {ours}.", said.code()))
            .severity(said::severity(case, &said))
            .confidence(confidence)
            .retry(Retry::Helps { after_s: words::delay(said.reply).map(|delay| delay.as_secs()) })
            .evidence(said.quote())
            .evidence(format!("sessions of ours to {} at that moment, this one included: {open}", said.tried.address))
            .disproof(format!("the same answer from {} to a single session", said.tried.host));
    if let Some(taken) = said::before(case, said.tried).filter(|seen| seen.delivered).last() {
        finding = finding.evidence(format!("{} took a message for {} shortly before", taken.host, taken.domain));
    }
    let fewer = open.saturating_sub(1).max(1);
    finding
        .fix("Nothing at once: the gateway lowers the number of sessions to this host and tries again.")
        .fix(format!("For good, if most destinations are this host: delivery.connections_per_address = {fewer}."))
        .into()
}

fn limited<'a>(case: &Case<'a>) -> Option<(Said<'a>, Confidence)> {
    if let Some(said) = said::about(case, Topic::Connections) {
        return Some((said, Confidence::Likely));
    }
    let said = said::decisive(case)?;
    let is_early = matches!(said.stage, Stage::Banner | Stage::Ehlo | Stage::Mail);
    let is_unexplained = said.reply.code == 421 && said.gives_no_reason() && said.tried.reused_after_ms.is_none();
    let works = said::before(case, said.tried).any(|seen| seen.delivered);
    (is_early && is_unexplained && said.tried.connections >= 2)
        .then_some((said, if works { Confidence::Likely } else { Confidence::Possible }))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn the_peer_counts_our_sessions() {
        check(
            "to a@c1.test
             try mx.shared.test 127.0.0.11
               open 3
               banner 421 4.7.0 mx.shared.test too many connections from 127.0.0.2
               fail banner them 421 4.7.0 too many connections",
            "peer.concurrency: mx.shared.test (127.0.0.11) allows fewer than 3 parallel sessions from here (421 4.7.0); this \
             gateway had 3 open.",
        );
        check(
            "to a@c1.test
             try mx.shared.test 127.0.0.11
               open 10
               banner 421 4.7.0 connection limit of 2 exceeded
               fail banner them 421 4.7.0 connection limit of 2 exceeded",
            "peer.concurrency: mx.shared.test (127.0.0.11) allows 2 parallel sessions (421 4.7.0); this gateway had 10 open.",
        );
    }

    #[test]
    fn a_421_without_words_counts_only_beside_other_sessions() {
        let scene = |open: u32| {
            format!(
                "to a@c1.test
                 try mx.shared.test 127.0.0.11
                   open {open}
                   banner 421 mx.shared.test Service not available
                   fail banner them 421 Service not available"
            )
        };
        check(&scene(4), "peer.concurrency");
        check(&scene(1), "peer.deferred");
    }

    #[test]
    fn a_421_with_another_reason_or_on_an_old_connection_is_something_else() {
        check(
            "to a@c1.test
             try mx.shared.test 127.0.0.11
               open 4
               banner 421 4.7.28 unusual rate of mail from your IP 127.0.0.2
               fail banner them 421 4.7.28 unusual rate",
            "peer.rate_reputation",
        );
    }
}
