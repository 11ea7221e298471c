//! What an attempt's result means for a recipient: delivered, later, never, or try the next host first.
//!
//! | where it failed | 4xx, silence, a cut connection | 5xx |
//! |---|---|---|
//! | connect, banner | next host, then later | next host, then later; 521: never (RFC 7504) |
//! | EHLO | next host, then later | next host, then never |
//! | STARTTLS, AUTH | next host, then later | next host, then later: settings may be put right |
//! | MAIL | next host, then later | never |
//! | RCPT, DATA | later; 421 and no reply: next host, then later | never |
//! | body, final reply | later | never |
//!
//! RFC 5321 5.1 asks to try the hosts in turn until one takes the mail. A 4xx to one recipient or to the content is an
//! answer about this mail, not about this host: the next host would be asked the same (and a greylisting one tricked).

use crate::diagnose::words::{self, Topic};
use mail::{Failure, Reply, Stage, Status, status};

#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    Delivered,
    /// This host will not do, another may. If there is none left: [`exhausted`].
    NextHost,
    Retry(Status),
    Bounce(Status),
}

/// What the peer's last answer about a recipient means. Only a 2xx after the content is a delivery.
pub fn of_reply(stage: Stage, reply: &Reply, host: &str) -> Outcome {
    if reply.is_positive() && stage == Stage::FinalReply {
        return Outcome::Delivered;
    }
    if !reply.is_transient() && !reply.is_permanent() {
        return Outcome::Retry(status::BAD_REPLY.with(format!("{host} answered {reply} at {stage}")));
    }
    of_failure(&Failure::remote(stage, host, reply))
}

/// What a failure means while hosts are left.
pub fn of_failure(failure: &Failure) -> Outcome {
    let status = &failure.status;
    let is_ours = status.host.is_none();
    match failure.stage {
        // RFC 5321 6.1: the peer may have it; the retry comes later, when a duplicate filter can still see both.
        _ if failure.maybe_delivered => Outcome::Retry(status.clone()),
        _ if is_loop(status) => Outcome::Bounce(status.clone()),
        Stage::Connect | Stage::Banner | Stage::Ehlo | Stage::StartTls | Stage::Auth => Outcome::NextHost,
        Stage::Mail if is_ours || !status.is_permanent() => Outcome::NextHost,
        Stage::Rcpt | Stage::Data if is_ours || status.code == 421 => Outcome::NextHost,
        Stage::Rcpt if is_too_many_recipients(status) => Outcome::Retry(status.clone()),
        _ => by_class(status),
    }
}

/// What the last host's failure means when no other is left.
pub fn exhausted(failure: &Failure) -> Outcome {
    /// RFC 7504 3: the host never takes mail.
    const TAKES_NO_MAIL: u16 = 521;
    let status = &failure.status;
    match failure.stage {
        _ if failure.maybe_delivered => Outcome::Retry(status.clone()),
        _ if is_loop(status) => Outcome::Bounce(status.clone()),
        Stage::Connect | Stage::Banner if status.code == TAKES_NO_MAIL => Outcome::Bounce(status.clone()),
        Stage::Connect | Stage::Banner | Stage::StartTls | Stage::Auth => Outcome::Retry(status.clone()),
        Stage::Rcpt if is_too_many_recipients(status) => Outcome::Retry(status.clone()),
        _ => by_class(status),
    }
}

fn by_class(status: &Status) -> Outcome {
    if status.is_permanent() { Outcome::Bounce(status.clone()) } else { Outcome::Retry(status.clone()) }
}

/// Found by ourselves: another host or another day will not help, and each try is one more round.
pub fn is_loop(status: &Status) -> bool {
    let enhanced = (status.enhanced.class, status.enhanced.subject, status.enhanced.detail);
    status.host.is_none() && (status.code, enhanced) == (status::LOOP.code, status::LOOP.enhanced)
}

/// RFC 5321 4.5.3.1.10: a 552 that means too many recipients counts as 452, and so does any 5xx that says so. Of other 552
/// (mailbox full) it does not.
fn is_too_many_recipients(status: &Status) -> bool {
    status.is_permanent() && is_recipient_limit(&words_of(status))
}

/// An answer to RCPT that means: not in this transaction, for it has its number of recipients. After recipients that were
/// accepted in the same transaction the rest may follow in another one at once (RFC 5321 4.5.3.1.10).
pub fn is_recipient_limit(reply: &Reply) -> bool {
    let enhanced = reply.enhanced.map(|status| (status.subject, status.detail));
    match (reply.code, enhanced) {
        (_, Some((5, 3))) => true,
        // A bare 452 may be about storage as well; then the next transaction will say so to its first recipient.
        (452, None) => true,
        _ => words::topics(reply).first() == Some(&Topic::Recipients),
    }
}

/// A refusal of the connection because there are too many of ours; `others`: there are others to the same address.
pub fn is_connection_limit(failure: &Failure, others: bool) -> bool {
    let status = &failure.status;
    if status.host.is_none() || !matches!(failure.stage, Stage::Banner | Stage::Ehlo) {
        return false;
    }
    let about = words::topics(&words_of(status));
    // A 421 without a reason, while the same host serves us on another connection.
    let is_unexplained = status.code == 421 && about.iter().all(|topic| matches!(topic, Topic::Busy | Topic::Rate));
    others && (about.first() == Some(&Topic::Connections) || is_unexplained)
}

/// A peer's refusal that is about the reverse DNS of our address.
pub fn is_about_reverse_dns(failure: &Failure) -> bool {
    let status = &failure.status;
    status.host.is_some() && words::topics(&words_of(status)).first() == Some(&Topic::ReverseDns)
}

fn words_of(status: &Status) -> Reply {
    Reply { code: status.code, enhanced: Some(status.enhanced), lines: vec![status.text.clone()] }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mail::Culprit;

    fn stage(name: &str) -> Stage {
        [
            Stage::Dns,
            Stage::Connect,
            Stage::Banner,
            Stage::Ehlo,
            Stage::StartTls,
            Stage::Auth,
            Stage::Mail,
            Stage::Rcpt,
            Stage::Data,
            Stage::Body,
            Stage::FinalReply,
        ]
        .into_iter()
        .find(|stage| stage.name() == name)
        .unwrap()
    }

    fn word(outcome: Outcome) -> String {
        match outcome {
            Outcome::Delivered => "delivered".to_owned(),
            Outcome::NextHost => "next host".to_owned(),
            Outcome::Retry(status) => format!("retry {status}"),
            Outcome::Bounce(status) => format!("bounce {status}"),
        }
    }

    /// A reply at a stage; what is done while hosts are left, and when none is.
    fn check(at: &str, reply: &str, expected: &str, last: &str) {
        let parsed = Reply::parse(&[reply]).unwrap();
        assert_eq!(word(of_reply(stage(at), &parsed, "mx.test")), expected, "{at} {reply}");
        assert_eq!(word(exhausted(&Failure::remote(stage(at), "mx.test", &parsed))), last, "{at} {reply}, last host");
    }

    fn check_own(at: &str, kind: &status::Kind, expected: &str, last: &str) {
        let failure = Failure::new(stage(at), Culprit::Path, kind.with(""));
        assert_eq!(word(of_failure(&failure)), expected, "{at} {}", kind.id);
        assert_eq!(word(exhausted(&failure)), last, "{at} {}, last host", kind.id);
    }

    #[test]
    fn only_the_final_2xx_is_a_delivery() {
        assert_eq!(of_reply(Stage::FinalReply, &Reply::new(250, "2.0.0", "queued"), "mx.test"), Outcome::Delivered);
        assert_eq!(
            word(of_reply(Stage::Data, &Reply::plain(250, "what?"), "mx.test")),
            "retry 451 4.5.0 [internal] not an SMTP reply: mx.test answered 250 what? at DATA"
        );
    }

    #[test]
    fn a_host_that_greets_with_no_is_left_for_the_next() {
        check("banner", "554 no", "next host", "retry 554 5.0.0 [mx.test] no");
        check("banner", "421 busy", "next host", "retry 421 4.0.0 [mx.test] busy");
        check("banner", "521 never", "next host", "bounce 521 5.0.0 [mx.test] never");
        check(
            "EHLO",
            "550 5.7.1 your name does not resolve",
            "next host",
            "bounce 550 5.7.1 [mx.test] your name does not resolve",
        );
        check("EHLO", "451 later", "next host", "retry 451 4.0.0 [mx.test] later");
        check("AUTH", "535 5.7.8 wrong password", "next host", "retry 535 5.7.8 [mx.test] wrong password");
    }

    #[test]
    fn an_answer_about_the_mail_counts_for_all_hosts() {
        check("MAIL FROM", "550 5.7.1 no", "bounce 550 5.7.1 [mx.test] no", "bounce 550 5.7.1 [mx.test] no");
        check("MAIL FROM", "451 4.7.1 later", "next host", "retry 451 4.7.1 [mx.test] later");
        check(
            "RCPT TO",
            "550 5.1.1 unknown",
            "bounce 550 5.1.1 [mx.test] unknown",
            "bounce 550 5.1.1 [mx.test] unknown",
        );
        check(
            "RCPT TO",
            "451 4.7.1 Greylisted",
            "retry 451 4.7.1 [mx.test] Greylisted",
            "retry 451 4.7.1 [mx.test] Greylisted",
        );
        check("RCPT TO", "421 4.3.2 closing", "next host", "retry 421 4.3.2 [mx.test] closing");
        check("final reply", "554 5.7.1 spam", "bounce 554 5.7.1 [mx.test] spam", "bounce 554 5.7.1 [mx.test] spam");
        check("final reply", "452 4.2.2 full", "retry 452 4.2.2 [mx.test] full", "retry 452 4.2.2 [mx.test] full");
    }

    #[test]
    fn too_many_recipients_is_for_later_whatever_its_code() {
        check(
            "RCPT TO",
            "552 too many recipients",
            "retry 552 5.0.0 [mx.test] too many recipients",
            "retry 552 5.0.0 [mx.test] too many recipients",
        );
        check("RCPT TO", "552 5.5.3 no more", "retry 552 5.5.3 [mx.test] no more", "retry 552 5.5.3 [mx.test] no more");
        check(
            "RCPT TO",
            "552 5.2.2 mailbox full",
            "bounce 552 5.2.2 [mx.test] mailbox full",
            "bounce 552 5.2.2 [mx.test] mailbox full",
        );
    }

    #[test]
    fn a_limit_of_recipients_is_told_from_other_refusals() {
        let is_limit = |reply: &str| is_recipient_limit(&Reply::parse(&[reply]).unwrap());
        assert!(is_limit("452 4.5.3 too many recipients") && is_limit("552 5.5.3 no more") && is_limit("452 enough"));
        assert!(is_limit("550 too many recipients for one message"));
        assert!(
            !is_limit("452 4.3.1 out of storage") && !is_limit("552 5.2.2 mailbox full") && !is_limit("450 4.2.0 x")
        );
    }

    #[test]
    fn a_limit_of_connections_needs_others() {
        let at_banner = |reply: &str| Failure::remote(Stage::Banner, "mx.test", &Reply::parse(&[reply]).unwrap());
        let busy = at_banner("421 4.3.2 too many connections from 192.0.2.1");
        assert!(is_connection_limit(&busy, true) && !is_connection_limit(&busy, false));
        assert!(is_connection_limit(&at_banner("421 4.3.2 try later"), true));
        assert!(!is_connection_limit(&at_banner("421 4.7.1 listed at bl.test, blocked"), true));
        assert!(!is_connection_limit(&at_banner("554 5.7.1 no"), true));
    }

    #[test]
    fn our_own_statuses_lead_on_too() {
        check_own("connect", &status::CONNECT_TIMEOUT, "next host", "retry 450 4.4.1 [internal] connection timed out");
        check_own("RCPT TO", &status::NO_RESPONSE, "next host", "retry 451 4.4.2 [internal] no response");
        check_own(
            "MAIL FROM",
            &status::NEEDS_8BITMIME,
            "next host",
            "bounce 554 5.6.3 [internal] peer does not offer 8BITMIME",
        );
        check_own(
            "BODY",
            &status::CLOSED,
            "retry 451 4.4.2 [internal] connection closed by remote host",
            "retry 451 4.4.2 [internal] connection closed by remote host",
        );
        check_own(
            "DNS",
            &status::NULL_MX,
            "bounce 550 5.1.10 [internal] domain does not accept mail (null MX)",
            "bounce 550 5.1.10 [internal] domain does not accept mail (null MX)",
        );
        check_own(
            "banner",
            &status::LOOP,
            "bounce 554 5.4.6 [internal] mail loop",
            "bounce 554 5.4.6 [internal] mail loop",
        );
    }

    #[test]
    fn what_may_be_delivered_is_not_tried_elsewhere_at_once() {
        let failure = Failure {
            maybe_delivered: true,
            ..Failure::new(Stage::FinalReply, Culprit::Path, status::MAYBE_TWICE.with(""))
        };
        assert!(matches!(of_failure(&failure), Outcome::Retry(_)));
    }
}
