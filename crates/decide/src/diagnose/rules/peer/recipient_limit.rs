//! The peer takes so many recipients in one transaction.

use crate::diagnose::rules::said;
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, delivered, rule};
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// Recipients per transaction
    ///
    /// The host takes only so many recipients in one transaction; the others must come in further ones, at once (RFC 5321
    /// 4.5.3.1.10, where 552 counts as 452). Nobody was rejected.
    ///
    /// Known by 250 for the first recipients and 452, 552 or another code with x.5.3, or words of that meaning, for all
    /// others.
    ///
    /// Nothing to do: the gateway sends the others in further transactions. delivery.recipients_per_message spares the host
    /// the refusals.
    "peer.recipient_limit", find
}

/// Numbers that administrators choose.
const ROUND: [usize; 9] = [1, 5, 10, 20, 25, 50, 100, 200, 500];

fn find(case: &Case<'_>) -> Answer {
    let limited = case.tries().iter().enumerate().find_map(|(at, tried)| {
        let taken = tried.rcpt.iter().take_while(|rcpt| rcpt.reply.is_positive()).count();
        let (first, others) = tried.rcpt.get(taken..)?.split_first()?;
        let says_so = words::is_about(&first.reply, Topic::Recipients);
        let code = first.reply.enhanced.map(|status| (status.subject, status.detail));
        // The first recipient of a later transaction got the same: then it is no matter of their number.
        let again = case.tries()[at + 1..].iter().filter(|later| later.address == tried.address).any(|later| {
            later.rcpt.first().is_some_and(|rcpt| !rcpt.reply.is_positive() && rcpt.reply.code == first.reply.code)
        });
        // What the code alone says was put to the proof: the others were taken in another transaction.
        let shown = crate::outcome::is_recipient_limit(&first.reply)
            && !others_full(&first.reply)
            && passed(case, at, &first.recipient);
        // A limit without words: all the others get the one answer, and the number is one that is chosen.
        let looks_so = matches!(first.reply.code, 452 | 552)
            && first.reply.enhanced.is_none()
            && ROUND.contains(&taken)
            && !others.is_empty()
            && others.iter().all(|rcpt| rcpt.reply == first.reply)
            && matches!(words::topic(&first.reply), Some(Topic::Storage | Topic::Quota | Topic::Busy) | None)
            && !says_full(&first.reply.text());
        let is_limit = says_so || code == Some((5, 3)) || looks_so || shown;
        (is_limit && (!again || says_so)).then_some((at, tried, taken, &first.reply, says_so || shown))
    });
    let Some((at, tried, taken, reply, says_so)) = limited else { return Answer::No };
    let refused: Vec<&str> = tried
        .rcpt
        .iter()
        .skip(taken)
        .filter(|rcpt| !rcpt.reply.is_positive())
        .map(|rcpt| rcpt.recipient.as_str())
        .collect();
    // A long record leaves tries out; their recipients fared as those of the last one.
    let is_cut = case.attempt().is_some_and(|attempt| attempt.tries_left_out > 0);
    let went_on = is_cut && case.last().is_some_and(|last| delivered(last) && last.failure.is_none());
    let sent = refused.iter().filter(|recipient| went_on || passed(case, at, recipient)).count();
    let code = reply.enhanced.map_or_else(|| reply.code.to_string(), |enhanced| format!("{} {enhanced}", reply.code));
    let plural = |count: usize, word: &str| if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") };
    let rest = if sent == refused.len() {
        let were = if sent == 1 { "was" } else { "were" };
        let transactions = if taken < sent { "further transactions" } else { "a further transaction" };
        format!("the other {sent} {were} sent in {transactions}")
    } else {
        format!("the other {} go in further transactions", refused.len() - sent)
    };
    let severity = if sent == refused.len() { Severity::Info } else { Severity::Failure };
    Finding::new(
        "peer.recipient_limit",
        Actor::Nobody,
        format!(
            "{} accepts {} per transaction ({code} from recipient {} on); {rest}.",
            said::place(tried),
            plural(taken, "recipient"),
            taken + 1,
        ),
    )
    .severity(severity)
    .confidence(if says_so { Confidence::Likely } else { Confidence::Possible })
    .retry(if sent == refused.len() { Retry::NotNeeded } else { Retry::Helps { after_s: Some(0) } })
    .evidence(format!("{} to the first {}", "250", plural(taken, "RCPT")))
    .evidence(format!("\"{reply}\" to {}", said::list(&refused)))
    .disproof("the same answer to the first recipient of a transaction")
    .fix("Nothing: the others are sent in further transactions by themselves.")
    .fix(format!(
        "To spare this host the refusals: delivery.recipients_per_message = {} (for all destinations).",
        taken.max(1)
    ))
    .into()
}

/// A later transaction of the attempt was taken for this recipient.
fn passed(case: &Case<'_>, at: usize, recipient: &str) -> bool {
    case.tries().iter().skip(at + 1).any(|later| {
        delivered(later) && later.rcpt.iter().any(|rcpt| rcpt.recipient == recipient && rcpt.reply.is_positive())
    })
}

/// The words name another reason.
fn others_full(reply: &mail::Reply) -> bool {
    matches!(words::topic(reply), Some(topic) if !matches!(topic, Topic::Recipients | Topic::Storage | Topic::Quota | Topic::Busy))
        || says_full(&reply.text())
}

fn says_full(text: &str) -> bool {
    text.to_ascii_lowercase().contains("mailbox")
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    fn many(taken: usize, refused: usize, reply: &str) -> String {
        use std::fmt::Write as _;
        let mut text = String::from("to r0@many.test\ntry mx.many.test 127.0.0.11\nmail 250 ok\n");
        for at in 0..taken + refused {
            let reply = if at < taken { "250 ok" } else { reply };
            writeln!(text, "rcpt r{at}@many.test {reply}").unwrap();
        }
        text + "data 354 go\nfinal 250 ok\n"
    }

    #[test]
    fn the_others_go_in_a_second_transaction() {
        let mut text = many(100, 50, "452 4.5.3 Error: too many recipients");
        check(
            &text,
            "peer.recipient_limit: mx.many.test (127.0.0.11) accepts 100 recipients per transaction (452 4.5.3 from recipient \
             101 on); the other 50 go in further transactions.",
        );
        text.push_str("try mx.many.test 127.0.0.11\nmail 250 ok\n");
        for at in 100..150 {
            text.push_str(&format!("rcpt r{at}@many.test 250 ok\n"));
        }
        text.push_str("final 250 ok");
        let diagnosis = scene(&text).diagnose();
        let finding = diagnosis.findings.iter().find(|finding| finding.cause == "peer.recipient_limit").unwrap();
        assert!(finding.sentence.ends_with("the other 50 were sent in a further transaction."), "{}", finding.sentence);
    }

    #[test]
    fn a_552_and_a_limit_of_one_are_limits_too() {
        check(&many(100, 5, "552 5.5.3 Too many recipients"), "peer.recipient_limit");
        check(&many(1, 3, "452 one recipient at a time"), "peer.recipient_limit");
        check(&many(50, 3, "452 no"), "peer.recipient_limit");
    }

    #[test]
    fn a_limit_that_the_split_has_shown_is_named() {
        let second = "try mx.many.test 127.0.0.11\nmail 250 ok\nrcpt r3@many.test 250 ok\nfinal 250 ok";
        let found = scene(&(many(3, 1, "452 later") + second)).diagnose().findings;
        let finding = found.iter().find(|finding| finding.cause == "peer.recipient_limit").unwrap();
        assert_eq!(
            finding.sentence,
            "mx.many.test (127.0.0.11) accepts 3 recipients per transaction (452 from recipient 4 on); the other 1 was sent in a \
             further transaction."
        );
        assert!(found.iter().all(|finding| finding.cause != "smtp.partial_rcpt"), "nobody is left out");
        // The same answer to the first recipient of the next transaction: the disk is full, for one.
        let again = "try mx.many.test 127.0.0.11\nmail 250 ok\nrcpt r4@many.test 452 later\nfail rcpt them 452 later";
        let found = scene(&(many(5, 2, "452 later") + again)).diagnose().findings;
        assert!(found.iter().all(|finding| finding.cause != "peer.recipient_limit"), "{found:?}");
    }

    #[test]
    fn full_mailboxes_and_unknown_users_are_no_limit() {
        check(&many(1, 1, "452 4.2.2 mailbox full"), "rcpt.over_quota");
        check(&many(1, 2, "550 5.1.1 no such user"), "rcpt.unknown");
        check(&many(50, 2, "452 Mailbox full"), "rcpt.over_quota");
    }
}
