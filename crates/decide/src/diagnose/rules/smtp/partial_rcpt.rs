//! A message goes to fewer recipients than it could, because of one.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Deal, Finding, Retry};

rule! {
    /// One refused recipient, and the client gives up all
    ///
    /// A server answers each recipient by itself. A client sends the message to those that were accepted and tells the sender about
    /// the others (RFC 5321 3.3). Some programs give the whole message up at the first refusal: nobody gets it.
    ///
    /// Known by a transaction in which recipients were accepted and others refused, and which the client then left without sending
    /// the message.
    ///
    /// The sending program must be corrected. Meanwhile the sender leaves the refused recipient out.
    "smtp.partial_rcpt", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
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

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

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
}
