//! The recipient's mailbox is full.

use crate::diagnose::rules::said::{self, Said};
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, delivered, rule};
use mail::{Actor, Confidence, Finding, Retry, Stage};

rule! {
    /// Mailbox full
    ///
    /// The recipient's mailbox is over its quota. Others at the same host get their mail; the host's disk is not meant, nor
    /// the size of the message.
    ///
    /// Known by x.2.2 or by words of that meaning, at RCPT or after the content. 552 alone has three meanings (mailbox full,
    /// message too large, too many recipients) and counts only at RCPT, as a guess.
    ///
    /// The recipient makes room, or the administrator there raises the quota. Mail deferred is tried again; mail refused is
    /// returned.
    "rcpt.over_quota", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let full: Vec<Said<'_>> = said::refusals(case)
        .into_iter()
        .filter(|said| said.stage >= Stage::Rcpt && said.is_about(Topic::Quota))
        .filter(|said| said.stage == Stage::Rcpt || !is_ambiguous(said))
        .collect();
    let Some(said) = full.first() else { return Answer::No };
    let recipients: Vec<&str> = match said.recipient {
        Some(_) => full.iter().filter(|other| other.at == said.at).filter_map(|said| said.recipient).collect(),
        // After the content the answer is for all that were taken at RCPT.
        None => attempt.recipients.iter().map(String::as_str).collect(),
    };
    let taken: Vec<&str> = case
        .tries()
        .iter()
        .filter(|tried| delivered(tried))
        .flat_map(|tried| &tried.rcpt)
        .filter(|rcpt| rcpt.reply.is_positive())
        .map(|rcpt| rcpt.recipient.as_str())
        .collect();
    let what = if recipients.len() == 1 { "Mailbox" } else { "Mailboxes" };
    let is = if recipients.len() == 1 { "is" } else { "are" };
    let others = match taken.len() {
        0 => String::new(),
        1 => format!("; {} of the same message was delivered", taken[0]),
        _ => format!("; {} of the same message were delivered", said::list(&taken)),
    };
    let sentence =
        format!("{what} {} {is} over quota ({}) at {}{others}.", said::list(&recipients), said.code(), said.place());
    let mut finding = Finding::new("rcpt.over_quota", Actor::TheirHost, sentence)
        .severity(said::severity(case, said))
        .confidence(if is_ambiguous(said) { Confidence::Possible } else { Confidence::Likely })
        .retry(if said.reply.is_permanent() { Retry::Useless } else { Retry::Helps { after_s: delay(said) } })
        .disproof(format!("{} takes another message for the same recipient at the same time", said.tried.host));
    finding.evidence.extend(full.iter().take(3).map(Said::quote));
    finding
        .fix(format!("{} makes room in the mailbox, or its administrator raises the quota.", said::list(&recipients)))
        .into()
}

fn delay(said: &Said<'_>) -> Option<u64> {
    words::delay(said.reply).map(|delay| delay.as_secs())
}

/// 552 without a word: RFC 5321 4.2.2 means the mailbox, many hosts the message.
fn is_ambiguous(said: &Said<'_>) -> bool {
    words::topics(said.reply).contains(&Topic::MessageSize)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn one_mailbox_is_full_and_the_other_gets_its_mail() {
        check(
            "to a@dest.test b@dest.test
             try mx.dest.test 127.0.0.11
               mail 250 ok
               rcpt a@dest.test 452 4.2.2 Mailbox full
               rcpt b@dest.test 250 ok
               data 354 go
               final 250 ok",
            "rcpt.over_quota: Mailbox a@dest.test is over quota (452 4.2.2) at mx.dest.test (127.0.0.11); b@dest.test of the \
             same message was delivered.",
        );
    }

    #[test]
    fn a_552_is_quota_size_or_recipients() {
        let at_rcpt = |words: &str| {
            format!(
                "to a@dest.test\ntry mx.dest.test 127.0.0.11\nmail 250 ok\nrcpt a@dest.test {words}\nfail rcpt them {words}"
            )
        };
        let at_end = |words: &str| {
            format!(
                "to a@dest.test\ntry mx.dest.test 127.0.0.11\nmail 250 ok\nrcpt a@dest.test 250 ok\ndata 354 go\nfinal {words}\nfail final-reply them {words}"
            )
        };
        check(&at_rcpt("552 mailbox full"), "rcpt.over_quota");
        check(&at_rcpt("552 no"), "rcpt.over_quota");
        check(&at_end("552 5.2.2 user over quota"), "rcpt.over_quota");
        check(&at_end("552 no"), "peer.refused");
    }

    #[test]
    fn a_full_disk_is_not_a_full_mailbox() {
        check(
            "to a@dest.test
             try mx.dest.test 127.0.0.11
               mail 250 ok
               rcpt a@dest.test 452 4.3.1 Insufficient system storage
               fail rcpt them 452 4.3.1 Insufficient system storage",
            "peer.deferred",
        );
    }
}
