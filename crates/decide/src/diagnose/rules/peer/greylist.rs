//! The peer greylists.

use crate::diagnose::rules::said::{self, Said};
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Stage};

rule! {
    /// Greylisting
    ///
    /// The host defers mail from an unknown combination of client address, sender and recipient, and accepts it when the same
    /// combination comes back after a delay, mostly five minutes. Nothing is wrong, here or there.
    ///
    /// Known by the host's words; or, without words, by a 4xx to every recipient on the first contact, with a delay or one of
    /// the codes that greylists use, and no other reason. After many attempts it is no longer greylisting, unless the address
    /// that mail leaves from changes with each.
    ///
    /// Nothing to do: the gateway comes back from the same address as soon as the delay is over.
    "peer.greylist", find
}

/// What postgrey, sqlgrey, Exim's and rspamd's modules ask for by default.
const DELAY_S: u64 = 300;

/// Attempts after which a greylist has long let mail through.
const ATTEMPTS_MAX: u32 = 6;

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt().filter(|_| !said::is_backend(case)) else { return Answer::No };
    let Some((said, confidence)) = greylisted(case) else { return Answer::No };
    let delay_s = words::delay(said.reply).map_or(DELAY_S, |delay| delay.as_secs());
    let when =
        if attempt.number == 1 { "at first contact".to_owned() } else { format!("at attempt {}", attempt.number) };
    let from = said.tried.source.map_or_else(String::new, |source| format!(" {source}"));
    let asked = if words::delay(said.reply).is_some() { "as the host asks" } else { "the usual delay" };
    let sentence = format!(
        "{} greylists new senders ({} {when}); a retry from the same address{from} after {}, {asked}, is planned.",
        said.place(),
        said.code(),
        said::seconds(delay_s),
    );
    Finding::new("peer.greylist", Actor::Nobody, sentence)
        .severity(said::severity(case, &said))
        .confidence(confidence)
        .retry(Retry::Helps { after_s: Some(delay_s) })
        .evidence(said.quote())
        .evidence(format!("attempt {} for sender <{}>", attempt.number, attempt.sender))
        .disproof(format!(
            "the same answer from {} to attempts from the same address after some hours",
            said.tried.host
        ))
        .fix("Wait: the next attempt is made when the delay is over.")
        .fix("If all deliveries leave from changing addresses, bind one: delivery.source.")
        .into()
}

fn greylisted<'a>(case: &Case<'a>) -> Option<(Said<'a>, Confidence)> {
    let attempt = case.attempt()?;
    let by_words =
        said::refusals(case).into_iter().find(|said| said.reply.is_transient() && said.is_about(Topic::Greylist));
    if let Some(said) = by_words {
        let confidence = if attempt.number >= ATTEMPTS_MAX { Confidence::Possible } else { Confidence::Likely };
        return Some((said, confidence));
    }
    let said = said::decisive(case)?;
    let enhanced = said.reply.enhanced.map(|status| (status.subject, status.detail));
    let is_usual = matches!(said.reply.code, 450 | 451) && matches!(enhanced, None | Some((2, 0) | (7, 0 | 1)));
    let has_delay = words::delay(said.reply).is_some();
    let is_silent = attempt.number <= 2
        && !said::is_configured(case)
        && matches!(said.stage, Stage::Rcpt | Stage::Data)
        && said.tried.reused_after_ms.is_none()
        && said.gives_no_reason()
        && !words::quotes(said.reply, &said.tried.ehlo)
        && said.tried.rcpt.iter().all(|rcpt| rcpt.reply.is_transient());
    // A sender whose mail the host took lately is not new to it.
    let is_known = said::before(case, said.tried).any(|seen| seen.delivered && seen.sender == attempt.sender);
    if !is_silent || !is_usual || is_known {
        return None;
    }
    match (has_delay, enhanced) {
        (true, _) => Some((said, Confidence::Likely)),
        (false, Some((2, 0) | (7, 1))) => Some((said, Confidence::Possible)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};
    use mail::{Confidence, Retry};

    fn greylisted(rcpt: &str) -> String {
        format!(
            "to a@grey.test
             dns grey.test MX: 10 mx.grey.test
             try mx.grey.test 127.0.0.11
               banner 220 mx.grey.test
               mail 250 ok
               rcpt a@grey.test {rcpt}
               fail rcpt them {rcpt}
               quit"
        )
    }

    #[test]
    fn a_greylist_that_says_so() {
        check(
            &greylisted("450 4.2.0 Greylisted, see http://postgrey.test"),
            "peer.greylist: mx.grey.test (127.0.0.11) greylists new senders (450 4.2.0 at first contact); a retry from the \
             same address 127.0.0.2 after 5 min, the usual delay, is planned.",
        );
    }

    #[test]
    fn the_announced_delay_counts() {
        let scene = scene(&greylisted("451 4.7.1 Greylisting in action, please come back in 00:10:00"));
        let first = scene.diagnose().findings.remove(0);
        assert_eq!(first.cause, "peer.greylist");
        assert_eq!(first.retry, Retry::Helps { after_s: Some(600) });
    }

    #[test]
    fn a_greylist_without_words() {
        let scene =
            scene(&greylisted("450 4.2.0 <a@grey.test>: Recipient address rejected: please retry in 5 minutes"));
        let first = scene.diagnose().findings.remove(0);
        assert_eq!((first.cause.as_ref(), first.confidence), ("peer.greylist", Confidence::Likely));
        check(&greylisted("450 4.2.0 try again later"), "peer.greylist");
    }

    #[test]
    fn a_deferral_for_our_name_or_a_full_mailbox_is_no_greylist() {
        check(&greylisted("450 4.7.1 <gw.corp.test>: not now"), "peer.deferred");
        check(&greylisted("450 4.2.2 mailbox full"), "rcpt.over_quota");
        check(&greylisted("451 4.3.5 configuration error"), "peer.deferred");
        check(&greylisted("550 5.7.1 greylisting is not for you"), "peer.refused");
    }

    #[test]
    fn after_many_attempts_it_is_hardly_a_greylist() {
        let scene = scene(&greylisted("450 4.2.0 Greylisted").replace("to a@grey.test", "to a@grey.test\nnumber 7"));
        assert_eq!(scene.diagnose().findings[0].confidence, Confidence::Possible);
        check(&greylisted("450 4.2.0 later").replace("to a@grey.test", "to a@grey.test\nnumber 7"), "peer.deferred");
    }
}
