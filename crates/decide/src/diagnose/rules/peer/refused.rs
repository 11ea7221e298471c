//! The host refused, and its words are all that is known.

use crate::diagnose::rules::said;
use crate::diagnose::words;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// Refused by the host
    ///
    /// The host refused for good, and no rule knows more than its own words say. They are quoted.
    ///
    /// Known by the reply alone: what is behind it, only the host's owner can tell.
    ///
    /// Ask the postmaster of that host, with the code, the words and the time.
    "peer.refused", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(said) = said::decisive(case).filter(|said| said.reply.is_permanent()) else { return Answer::No };
    let confidence = if words::topic(said.reply).is_some() { Confidence::Likely } else { Confidence::Possible };
    let of = said.recipient.map_or_else(String::new, |recipient| format!(" <{recipient}>"));
    Finding::new(
        "peer.refused",
        Actor::TheirPolicy,
        format!("{} refused at {}{of} with its own words: \"{}\".", said.place(), said.stage, said.reply),
    )
    .confidence(confidence)
    .retry(Retry::Useless)
    .evidence(said.quote())
    .disproof(format!("{} accepts the same at another time", said.tried.host))
    .fix(format!(
        "Ask the postmaster of {} what \"{}\" means for mail from {}.",
        said.tried.host,
        said.reply,
        ours(&said)
    ))
    .into()
}

fn ours(said: &said::Said<'_>) -> String {
    said.tried.source.map_or_else(|| "this gateway".to_owned(), |source| source.to_string())
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn the_words_are_quoted() {
        check(
            "to a@dest.test
             try mx.dest.test 127.0.0.11
               rcpt a@dest.test 550 5.7.1 our policy says no
               fail rcpt them 550 5.7.1 our policy says no",
            "peer.refused: mx.dest.test (127.0.0.11) refused at RCPT TO <a@dest.test> with its own words: \"550 5.7.1 our policy \
             says no\".",
        );
    }

    #[test]
    fn a_refusal_by_one_host_and_a_delivery_by_the_next_is_none() {
        check(
            "to a@dest.test
             try mx1.dest.test 127.0.0.11
               banner 554 5.3.2 no
               fail banner them 554 5.3.2 no
             try mx2.dest.test 127.0.0.12
               rcpt a@dest.test 250 ok
               final 250 2.0.0 Ok: queued as ABC1",
            "diag.delivered_elsewhere",
        );
    }
}
