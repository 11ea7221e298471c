//! The peer tests unknown clients and defers their first session.

use crate::diagnose::rules::said;
use crate::diagnose::words;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Stage};

rule! {
    /// First session deferred by protocol tests
    ///
    /// The host watches how an unknown client speaks (a greeting in two parts with a pause, then tests after it, as Postfix'
    /// postscreen makes them) and must end that first session with 4xx, because it cannot hand it on. The client has passed:
    /// its next session goes straight through. It is no overload.
    ///
    /// Known by the same 4xx without a reason (4.3.2) to every recipient of the first session, after a greeting in parts.
    ///
    /// Nothing to do: the gateway comes back within minutes from the same address.
    "peer.first_contact_defer", find
}

/// The next session may come at once; a minute lets the host note that we passed.
const RETRY_S: u64 = 60;

/// A pause before the greeting that is made on purpose.
const PAUSE_MS: u64 = 2_000;

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let Some(said) = said::decisive(case).filter(|said| said.stage == Stage::Rcpt && said.reply.is_transient()) else {
        return Answer::No;
    };
    let tried = said.tried;
    let same =
        tried.rcpt.iter().all(|rcpt| rcpt.reply.code == said.reply.code && rcpt.reply.enhanced == said.reply.enhanced);
    let parts = tried.banner.as_ref().map_or(0, |banner| banner.lines.len());
    let has_pause = parts >= 2 && tried.banner_ms.is_none_or(|ms| ms >= PAUSE_MS);
    let is_usual = said.reply.enhanced.is_some_and(|status| (status.subject, status.detail) == (3, 2));
    let is_known = said::before(case, tried).any(|seen| seen.delivered);
    let fits = same
        && attempt.number <= 2
        && !is_known
        && !said::is_configured(case)
        && tried.reused_after_ms.is_none()
        && said.gives_no_reason()
        && words::delay(said.reply).is_none()
        && !words::quotes(said.reply, &tried.ehlo)
        && (is_usual || (parts >= 2 && matches!(said.reply.code, 450 | 451)));
    if !fits || !(is_usual || has_pause) {
        return Answer::No;
    }
    let (how, confidence) = match (parts, is_usual) {
        (2.., true) => (" after a two-part greeting", Confidence::Likely),
        (2.., false) => (" after a two-part greeting", Confidence::Possible),
        _ => ("", Confidence::Possible),
    };
    let waited = tried.banner_ms.filter(|ms| *ms >= PAUSE_MS);
    let mut finding = Finding::new(
        "peer.first_contact_defer",
        Actor::Nobody,
        format!(
            "{} defers the first session of an unknown client ({}{how}) and accepts the next one: protocol pre-screening.",
            said.place(),
            said.code(),
        ),
    )
    .severity(said::severity(case, &said))
    .confidence(confidence)
    .retry(Retry::Helps { after_s: Some(RETRY_S) })
    .evidence(said.quote())
    .disproof(format!("the same answer from {} to a third session within the hour", tried.host));
    if let Some(banner) = &tried.banner {
        let after = waited.map_or_else(String::new, |ms| format!(", complete after {} s", ms / 1000));
        finding = finding.evidence(format!("greeting in {parts} lines{after}: \"{banner}\""));
    }
    finding.fix("Wait: the next attempt is made within minutes from the same address.").into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene, seen_at};
    use mail::Reply;

    const DEFERRED: &str = "to a@ps.test
        try mx.ps.test 127.0.0.11
          banner 220 mx.ps.test
          banner-after 6000
          mail 250 ok
          rcpt a@ps.test 450 4.3.2 Service currently unavailable
          fail rcpt them 450 4.3.2 Service currently unavailable";

    #[test]
    fn a_greeting_in_two_parts_and_a_deferral() {
        let mut scene = scene(DEFERRED);
        scene.attempt.tries[0].banner = Some(Reply::parse(&["220-mx.ps.test wait", "220 mx.ps.test"]).unwrap());
        scene.check(
            "peer.first_contact_defer: mx.ps.test (127.0.0.11) defers the first session of an unknown client (450 4.3.2 after a \
             two-part greeting) and accepts the next one: protocol pre-screening.",
        );
    }

    #[test]
    fn a_host_that_knows_us_or_one_at_the_greeting_is_busy() {
        let mut known = scene(DEFERRED);
        known.around.seen.push(seen_at("mx.ps.test", "127.0.0.11", |seen| seen.delivered = true));
        known.check("peer.deferred");
        check(
            "to a@ps.test
             try mx.ps.test 127.0.0.11
               banner 421 4.3.2 Service currently unavailable
               fail banner them 421 4.3.2 Service currently unavailable",
            "peer.deferred",
        );
        check(&DEFERRED.replace("to a@ps.test", "to a@ps.test\nnumber 5"), "peer.deferred");
    }
}
