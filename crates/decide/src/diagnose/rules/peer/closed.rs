//! The host hung up without a word.

use crate::diagnose::rules::said;
use crate::diagnose::{Answer, Case, connected, rule};
use mail::{Actor, Confidence, End, Finding, Retry, Stage};

rule! {
    /// Closed without a word
    ///
    /// The host, or something between, ended the connection without a reply. By the stage: before the greeting, an address that
    /// the host does not want, too many sessions, or a load balancer without a server behind; after EHLO or STARTTLS, a
    /// firewall that inspects; later, a crash, a limit, or a firewall.
    ///
    /// Known by the end of the connection alone, so nothing of this is more than possible.
    ///
    /// Wait; if it lasts, compare with a session from another network, and ask that host's postmaster.
    "peer.closed", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some((tried, failure)) = case.failed().filter(|(tried, _)| connected(tried)) else { return Answer::No };
    let how = match &tried.end {
        End::Closed => "closed the connection".to_owned(),
        End::Broken(why) => format!("broke the connection ({why})"),
        _ => return Answer::No,
    };
    if failure.maybe_delivered
        || tried.reused_after_ms.is_some()
        || said::refusals(case).iter().any(|said| std::ptr::eq(said.tried, tried))
    {
        return Answer::No;
    }
    let (reasons, missing) = match failure.stage {
        Stage::Banner => (
            "this address is not wanted there, too many sessions are open, or no server stands behind a load balancer",
            "a session from another address",
        ),
        Stage::Ehlo | Stage::StartTls => {
            ("a firewall that inspects the dialogue, or a crash", "a session with HELO, without TLS")
        }
        Stage::Body | Stage::FinalReply => {
            ("a crash, a filter, a limit of size or time, or a firewall", "a small message")
        }
        _ => ("a crash, a limit, or a firewall", "a second session"),
    };
    let sessions = if tried.connections > 1 {
        format!(" ({} of our sessions were open)", tried.connections)
    } else {
        String::new()
    };
    Finding::new(
        "peer.closed",
        Actor::TheirHost,
        format!("{} {how} at {} without a word{sessions}; possible: {reasons}.", said::place(tried), failure.stage),
    )
    .confidence(Confidence::Possible)
    .retry(Retry::Helps { after_s: None })
    .evidence(failure.to_string())
    .evidence(format!("not known: {missing}"))
    .disproof("a reply in the transcript, or the same end with all other hosts")
    .fix("Wait: the gateway tries again.")
    .fix(format!("If it lasts, compare with a session from another network, and ask the postmaster of {}.", tried.host))
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn possible_reasons_follow_the_stage() {
        check(
            "to a@dest.test
             try mx.dest.test 127.0.0.11
               fail banner them [internal] 451 4.4.2 closed
               closed",
            "peer.closed: mx.dest.test (127.0.0.11) closed the connection at banner without a word; possible: this address is \
             not wanted there, too many sessions are open, or no server stands behind a load balancer.",
        );
    }

    #[test]
    fn a_reply_before_the_end_is_the_reason() {
        check(
            "to a@dest.test
             try mx.dest.test 127.0.0.11
               mail 421 4.3.0 going down
               fail mail them 421 4.3.0 going down
               closed",
            "peer.deferred",
        );
    }
}
