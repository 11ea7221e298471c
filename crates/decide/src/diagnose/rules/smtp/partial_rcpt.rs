//! A message goes to fewer recipients than it could, because of one.

use crate::diagnose::rules::said;
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, delivered, rule};
use mail::{Actor, Confidence, Deal, Finding, HostTry, RcptSaid, Reply, Retry, Severity};

rule! {
    /// One refused recipient, and the client gives up all
    ///
    /// A server answers each recipient by itself. A client sends the message to those that were accepted and tells the sender about
    /// the others (RFC 5321 3.3). Some programs give the whole message up at the first refusal: nobody gets it.
    ///
    /// Known by a transaction in which recipients were accepted and others refused, and which the client then left without sending
    /// the message.
    ///
    /// Outgoing mail has the same kind of mix: the gateway sends to those that were accepted, reports the refused ones and tries
    /// the deferred ones again. That is a note, not a failure.
    ///
    /// The sending program must be corrected. Meanwhile the sender leaves the refused recipient out.
    "smtp.partial_rcpt", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return mixed(case).into() };
    // The null sender asks whether a recipient exists, and never meant to send.
    let given_up = |deal: &&Deal| {
        !deal.content && !deal.sender.is_empty() && !deal.accepted.is_empty() && !deal.refused.is_empty()
    };
    let Some(deal) = visit.deals.iter().find(given_up) else { return Answer::No };
    // More refused than accepted: somebody tries names out.
    if deal.refused.len() > deal.accepted.len() {
        return Answer::No;
    }
    let said = &deal.refused[0];
    let count = deal.accepted.len();
    let recipients =
        if count == 1 { "1 accepted recipient".to_owned() } else { format!("{count} accepted recipients") };
    let others = match deal.refused.len() {
        1 => format!("{} was", said.recipient),
        more => format!("{} and {} more were", said.recipient, more - 1),
    };
    let mut finding = Finding::new(
        "smtp.partial_rcpt",
        Actor::TheSender,
        format!(
            "Client {} abandoned the message to {recipients} because {others} refused ({} {}).",
            visit.client,
            said.reply.code,
            said.reply.status()
        ),
    )
    .confidence(Confidence::Likely)
    .retry(Retry::AfterFix)
    .evidence(format!("accepted: {}", deal.accepted.iter().take(10).cloned().collect::<Vec<_>>().join(", ")))
    .disproof("DATA in the same transaction, or the client's own reason for leaving");
    for said in deal.refused.iter().take(3) {
        finding = finding.evidence(format!("refused: {}: {}", said.recipient, said.reply));
    }
    finding
        .fix("Correct the sending program: it sends to the recipients that were accepted (RFC 5321 3.3).")
        .fix(format!("Meanwhile the sender leaves {} out.", said.recipient))
        .into()
}

/// Outgoing: worth a note. Why a recipient was refused, other rules tell.
fn mixed(case: &Case<'_>) -> Option<Finding> {
    let not_taken = |tried: &&HostTry| tried.rcpt.iter().any(|rcpt| !rcpt.reply.is_positive());
    let tried = case.tries().iter().rev().find(|tried| delivered(tried) && not_taken(tried))?;
    // Taken in another transaction of the same attempt, and those that only their number kept out.
    let passed = |recipient: &str| {
        case.tries().iter().any(|other| {
            delivered(other) && other.rcpt.iter().any(|rcpt| rcpt.recipient == recipient && rcpt.reply.is_positive())
        })
    };
    let is_settled = |rcpt: &&RcptSaid| {
        rcpt.reply.is_positive() || !(passed(&rcpt.recipient) || words::is_about(&rcpt.reply, Topic::Recipients))
    };
    let of = |wanted: fn(&Reply) -> bool| -> Vec<&str> {
        let settled = tried.rcpt.iter().filter(is_settled);
        settled.filter(|rcpt| wanted(&rcpt.reply)).map(|rcpt| rcpt.recipient.as_str()).collect()
    };
    let (taken, refused, deferred) = (of(Reply::is_positive), of(Reply::is_permanent), of(Reply::is_transient));
    // The others go, or went, in the next transaction: that is a limit, no refusal.
    if taken.is_empty() || (refused.is_empty() && deferred.is_empty()) {
        return None;
    }
    let mut sentence = format!("{} took the message for {}", said::place(tried), said::list(&taken));
    for (recipients, fate) in [(refused, "refused"), (deferred, "deferred")] {
        if !recipients.is_empty() {
            sentence.push_str(&format!("; {fate} {}", said::list(&recipients)));
        }
    }
    let mut finding = Finding::new("smtp.partial_rcpt", Actor::Nobody, sentence + ".")
        .severity(Severity::Info)
        .confidence(Confidence::Proven)
        .retry(Retry::Helps { after_s: None })
        .disproof("a second copy at a recipient that was taken");
    for rcpt in tried.rcpt.iter().filter(is_settled).filter(|rcpt| !rcpt.reply.is_positive()).take(4) {
        finding = finding.evidence(format!("RCPT TO <{}>: \"{}\"", rcpt.recipient, rcpt.reply));
    }
    Some(finding.fix("Nothing: refused ones are reported to the sender, deferred ones are tried again."))
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene};

    const REFUSED: &str = "refuse rcpt no-such-recipient x@corp.test 550 5.1.1 user unknown";

    #[test]
    fn a_message_given_up_for_one_recipient_is_named() {
        check(
            &format!(
                "visit inbound 127.0.1.10\ndeal s@out.test: a@corp.test b@corp.test c@corp.test d@corp.test\n{REFUSED}"
            ),
            "smtp.partial_rcpt: Client 127.0.1.10 abandoned the message to 4 accepted recipients because x@corp.test was refused \
             (550 5.1.1).",
        );
    }

    #[test]
    fn who_goes_on_with_the_others_is_right() {
        check(&format!("visit inbound 127.0.1.10\ndeal s@out.test: a@corp.test\n{REFUSED}\ntaken 100"), "own.refused");
    }

    #[test]
    fn a_question_about_an_address_is_no_message() {
        check(&format!("visit inbound 127.0.1.10\ndeal : a@corp.test\n{REFUSED}"), "own.refused");
    }

    #[test]
    fn outgoing_recipients_have_fates_of_their_own() {
        let scene = scene(
            "to a@dest.test b@dest.test c@dest.test
             try mx.dest.test 127.0.0.11
               rcpt a@dest.test 250 ok
               rcpt b@dest.test 550 5.1.1 unknown user
               rcpt c@dest.test 450 4.3.0 later
               data 354 go
               final 250 ok",
        );
        scene.check("rcpt.unknown");
        let findings = scene.diagnose().findings;
        let note = findings.iter().find(|finding| finding.cause == "smtp.partial_rcpt").unwrap();
        assert_eq!(
            note.sentence,
            "mx.dest.test (127.0.0.11) took the message for a@dest.test; refused b@dest.test; deferred c@dest.test."
        );
    }
}
