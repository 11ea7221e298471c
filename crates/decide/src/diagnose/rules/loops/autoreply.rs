//! Two automatic responders answer each other.

use crate::diagnose::{Answer, Case, Sent, rule};
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// Two responders answer each other
    ///
    /// Two addresses exchange message after message, each an answer to the one before, faster than people write, and without
    /// the mark of automatic mail (Auto-Submitted, RFC 3834) or the null sender. Each message is new, so no hop count ever
    /// rises, and each is delivered well.
    ///
    /// Let the local responder set `Auto-Submitted: auto-replied`, send with the null sender, answer each correspondent once a
    /// day, and never answer automatic mail.
    "loop.autoreply", find
}

/// Messages to and fro in a row before it is said.
const MESSAGES: usize = 6;
/// People take longer for each answer, on the average.
const PAUSE_MS: i64 = 60_000;

fn find(case: &Case<'_>) -> Answer {
    let pair = match (case.attempt(), case.visit()) {
        (Some(attempt), _) => attempt.recipients.first().map(|to| (attempt.sender.clone(), to.clone())),
        (None, Some(visit)) => {
            visit.deals.last().and_then(|deal| Some((deal.sender.clone(), deal.accepted.first()?.clone())))
        }
        (None, None) => None,
    };
    let Some((one, other)) = pair.filter(|(one, _)| !one.is_empty()) else { return Answer::No };
    let is = |sent: &Sent, from: &str, to: &str| {
        sent.sender.eq_ignore_ascii_case(from) && sent.recipients.iter().any(|known| known.eq_ignore_ascii_case(to))
    };
    let mut talk: Vec<&Sent> = Vec::new();
    for sent in case.around.sent.iter().filter(|sent| is(sent, &one, &other) || is(sent, &other, &one)) {
        // One message that came in and went out stands twice.
        if !talk.iter().any(|known| known.message_id == sent.message_id) {
            talk.push(sent);
        }
    }
    talk.sort_by_key(|sent| sent.at);
    // The unbroken chain of answers at the end.
    let answers = |pair: &[&Sent]| {
        !pair[1].in_reply_to.is_empty()
            && pair[1].in_reply_to == pair[0].message_id
            && !pair[1].sender.eq_ignore_ascii_case(&pair[0].sender)
    };
    let chain = talk.windows(2).rev().take_while(|pair| answers(pair)).count() + 1;
    let talk = &talk[talk.len().saturating_sub(chain)..];
    let (Some(first), Some(last)) = (talk.first(), talk.last()) else { return Answer::No };
    let took_ms = last.at.ms() - first.at.ms();
    let pauses = i64::try_from(talk.len()).unwrap_or(i64::MAX) - 1;
    if talk.len() < MESSAGES || took_ms / pauses.max(1) > PAUSE_MS {
        return Answer::No;
    }
    let marked = talk.iter().filter(|sent| sent.auto_submitted).count();
    let mark = match marked {
        0 => "without Auto-Submitted".to_owned(),
        _ => format!("{marked} of them with Auto-Submitted, which the other side does not heed"),
    };
    let is_local = |address: &str| {
        address.parse::<mail::Address>().is_ok_and(|address| case.settings.local_domain(address.domain()).is_some())
    };
    let ours = if is_local(&one) { &one } else { &other };
    let mut finding = Finding::new(
        "loop.autoreply",
        Actor::OurServer,
        format!(
            "{one} and {other} answer each other automatically ({} messages in {} s, each replying to the previous one, {mark}).",
            talk.len(),
            took_ms / 1000
        ),
    )
    .severity(Severity::Warning)
    .confidence(Confidence::Likely)
    .retry(Retry::NotNeeded)
    .disproof("people who write to each other as fast as that")
    .fix(format!("Let the responder of {ours} add `Auto-Submitted: auto-replied`, use a null sender, and answer each correspondent once a day."))
    .fix("Never let it answer automatic mail (Auto-Submitted other than `no`, null sender, Precedence: bulk).");
    for sent in talk.iter().take(8) {
        finding.evidence.push(format!(
            "{} {} from {} in reply to {}",
            sent.at.rfc3339(),
            sent.message_id,
            sent.sender,
            sent.in_reply_to
        ));
    }
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::Sent;
    use crate::diagnose::testing::{Scene, scene};
    use mail::Time;

    fn talk(messages: i64, pause_ms: i64, in_reply: bool) -> Scene {
        let mut scene = scene("to s@b.test\nfrom r@a.test\ntry mx.b.test 127.0.0.11\n final 250 2.0.0 ok");
        let (r, s) = ("r@a.test".to_owned(), "s@b.test".to_owned());
        for at in 0..messages {
            let (from, to) = if at % 2 == 0 { (&s, &r) } else { (&r, &s) };
            scene.around.sent.push(Sent {
                at: Time(1_900_000_000_000 + at * pause_ms),
                peer: "127.0.0.11".parse().unwrap(),
                incoming: at % 2 == 0,
                message_id: format!("<{at}@x>"),
                in_reply_to: if in_reply && at > 0 { format!("<{}@x>", at - 1) } else { String::new() },
                sender: from.clone(),
                recipients: vec![to.clone()],
                auto_submitted: false,
                size: 100,
            });
        }
        scene
    }

    #[test]
    fn eight_answers_in_a_few_seconds_are_no_conversation() {
        talk(8, 2000, true).check(
            "loop.autoreply: r@a.test and s@b.test answer each other automatically (8 messages in 14 s, each replying to the \
             previous one, without Auto-Submitted).",
        );
    }

    #[test]
    fn people_and_streams_of_mail_are_none() {
        talk(8, 600_000, true).check("unknown");
        talk(8, 2000, false).check("unknown");
        talk(4, 2000, true).check("unknown");
    }
}
