//! The final dot was sent, and no answer came.

use crate::diagnose::rules::said;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, End, Finding, Retry, Speaker, Stage};

rule! {
    /// No answer to the end of the message
    ///
    /// The whole message was sent, and the answer to the final dot never came: the host may have stored it and be too slow to
    /// say so (a filter before the queue), or the connection broke in the moment between. Each further try can be one more copy
    /// for the recipient (RFC 5321 6.1).
    ///
    /// Known by the end of the connection after the final dot. The same end after the same time, again and again, means a host
    /// that stores before it is asked whether the client still waits.
    ///
    /// The host's owner makes its filter answer in time (10 minutes are allowed, RFC 5321 4.5.3.2.6). Ask the recipient whether
    /// the message is there already, and delete it from the queue if so.
    "smtp.ambiguous_after_data", find
}

/// RFC 5321 4.5.3.2.6: a client waits ten minutes. Longer before the next try, so that a slow host can end its work.
const RETRY_S: u64 = 600;

fn find(case: &Case<'_>) -> Answer {
    let Some(attempt) = case.attempt() else { return Answer::No };
    let Some((tried, failure)) = case.failed().filter(|(_, failure)| failure.maybe_delivered) else {
        return Answer::No;
    };
    let last_said = tried.transcript.iter().rev().find(|said| said.speaker == Speaker::Client).map(|said| said.at);
    let waited = match (&tried.end, last_said) {
        (End::TimedOut { waited_ms }, _) => Some(waited_ms / 1000),
        (_, Some(at)) => Some(attempt.ended.since(at).as_secs()),
        _ => None,
    };
    let before = said::before(case, tried)
        .filter(|seen| {
            seen.at < tried.started
                && !seen.delivered
                && seen.stage == Some(Stage::FinalReply)
                && seen.reply.is_none()
                && seen.sender == attempt.sender
                && seen.domain == attempt.domain
        })
        .count();
    let times = before + 1;
    let how = match &tried.end {
        End::TimedOut { .. } => "silent",
        End::Broken(_) => "broken off",
        _ => "closed",
    };
    let after = waited.map_or_else(String::new, |seconds| format!(" {} after the final dot", said::seconds(seconds)));
    let repeated = if times > 1 { format!(", {times} times") } else { String::new() };
    let copies = if times > 1 {
        format!("it probably delivered {times} copies")
    } else {
        "it may have delivered a copy already".to_owned()
    };
    // What the peer's system never acknowledged may not have arrived, the dot least of all.
    let doubtful = tried.unacknowledged.is_some_and(|octets| octets > 0);
    let mut finding = Finding::new(
        "smtp.ambiguous_after_data",
        Actor::TheirHost,
        format!(
            "{} takes the whole message but never confirms it ({how}{after}{repeated}): {copies}.",
            said::place(tried),
        ),
    )
    .confidence(if doubtful { Confidence::Possible } else { Confidence::Likely })
    .retry(Retry::Helps { after_s: Some(RETRY_S) })
    .evidence(failure.to_string())
    .evidence(format!("{} octets of content sent, then the final dot; no reply", tried.content_sent))
    .disproof("the recipient got no copy");
    if let Some(octets) = tried.unacknowledged {
        finding = finding.evidence(format!("{octets} octets not acknowledged by the peer's system"));
    }
    if times > 1 {
        finding = finding.evidence(format!("the same end {before} times before within the last hour"));
    }
    finding
        .fix(format!("The owner of {} makes the answer to the final dot come within 10 minutes: scan after the queue, or faster.", tried.host))
        .fix("Ask a recipient whether the message is there; if so, delete it from the queue: gatepost queue delete ID.")
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{check, scene, seen_at};
    use mail::{Stage, Time};

    const LOST: &str = "to a@dup.test
        try mx.dup.test 127.0.0.11
          mail 250 ok
          rcpt a@dup.test 250 ok
          data 354 go
          sent 2000
          fail final-reply path [internal] 451 4.4.2 no reply maybe
          closed";

    #[test]
    fn the_reply_never_came() {
        check(
            LOST,
            "smtp.ambiguous_after_data: mx.dup.test (127.0.0.11) takes the whole message but never confirms it (closed): it may \
             have delivered a copy already.",
        );
    }

    #[test]
    fn copies_are_counted() {
        let mut scene = scene(LOST);
        for minutes in 1..3 {
            scene.around.seen.push(seen_at("mx.dup.test", "127.0.0.11", |seen| {
                seen.at = Time(seen.at.ms() - minutes * 60_000);
                seen.domain = "dup.test".to_owned();
                seen.stage = Some(Stage::FinalReply);
            }));
        }
        assert!(scene.diagnose().findings[0].sentence.ends_with("(closed, 3 times): it probably delivered 3 copies."));
    }

    #[test]
    fn a_break_in_the_content_is_no_delivery() {
        check(&LOST.replace(" maybe", "").replace("final-reply path", "body path"), "peer.closed");
    }
}
