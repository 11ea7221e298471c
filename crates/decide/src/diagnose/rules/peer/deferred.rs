//! The host deferred, and its words are all that is known.

use crate::diagnose::rules::said;
use crate::diagnose::words::{self, Topic};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// Deferred by the host
    ///
    /// The host asked to come back later, and no rule knows more than its own words say. They are quoted.
    ///
    /// Known by the reply alone: a 4xx.
    ///
    /// Wait. If it lasts for hours, ask the postmaster of that host, with the code, the words and the time.
    "peer.deferred", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(said) = said::decisive(case).filter(|said| said.reply.is_transient()) else { return Answer::No };
    let topic = words::topic(said.reply);
    let meaning = match topic {
        Some(Topic::Storage) => "it is short of disk or memory",
        Some(Topic::Busy) => "it is busy or does not say why",
        Some(_) => "for the reason in its words",
        None => "it does not say why",
    };
    let of = said.recipient.map_or_else(String::new, |recipient| format!(" <{recipient}>"));
    let delay_s = words::delay(said.reply).map(|delay| delay.as_secs());
    Finding::new(
        "peer.deferred",
        if matches!(topic, Some(Topic::Storage | Topic::Busy)) { Actor::TheirHost } else { Actor::TheirPolicy },
        format!("{} asks to come back later at {}{of}, {meaning}: \"{}\".", said.place(), said.stage, said.reply),
    )
    .severity(Severity::Failure)
    .confidence(if matches!(topic, None | Some(Topic::Busy)) { Confidence::Possible } else { Confidence::Likely })
    .retry(Retry::Helps { after_s: delay_s })
    .evidence(said.quote())
    .disproof(format!("the same answer from {} for a day", said.tried.host))
    .fix("Wait: the gateway tries again.")
    .fix(format!("If it lasts, ask the postmaster of {}.", said.tried.host))
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn the_words_are_quoted() {
        check(
            "to a@dest.test
             try mx.dest.test 127.0.0.11
               mail 451 4.3.0 local error
               fail mail them 451 4.3.0 local error",
            "peer.deferred: mx.dest.test (127.0.0.11) asks to come back later at MAIL FROM, it does not say why: \"451 4.3.0 \
             local error\".",
        );
    }
}
