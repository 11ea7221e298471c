//! A kept connection had ended while it was idle.

use crate::diagnose::rules::said;
use crate::diagnose::{Answer, Case, delivered, rule};
use mail::{Actor, Confidence, End, Finding, Retry, Severity, Stage};

rule! {
    /// Kept connection had ended
    ///
    /// A connection kept open for further messages was closed by the host while it was idle; the 421 (or the end) was read as
    /// the first answer of the next message. It says nothing about that message and nothing about the host's load.
    ///
    /// Known by the answer of a connection that had carried messages before, after a pause, at MAIL, before anything else.
    ///
    /// Nothing to do: the message goes out in a new connection at once.
    "smtp.stale_connection", find
}

fn find(case: &Case<'_>) -> Answer {
    let stale = case.tries().iter().enumerate().find(|(_, tried)| {
        let said_421 = tried.mail_reply.as_ref().is_some_and(|reply| reply.code == 421);
        let ended = matches!(tried.end, End::Closed | End::Broken(_)) && tried.mail_reply.is_none();
        let early =
            tried.failure.as_ref().is_none_or(|failure| failure.stage <= Stage::Mail && !failure.maybe_delivered);
        tried.reused_after_ms.is_some() && early && !delivered(tried) && (said_421 || ended)
    });
    let Some((at, tried)) = stale else { return Answer::No };
    let idle = said::seconds(tried.reused_after_ms.unwrap_or_default() / 1000);
    let again = match case.tries()[at + 1..].iter().find(|later| later.address == tried.address) {
        Some(later) if delivered(later) => "reconnected, message sent",
        Some(_) => "a new connection was made at once",
        None => "the message goes out in a new connection",
    };
    let mut finding = Finding::new(
        "smtp.stale_connection",
        Actor::Nobody,
        format!("{} had closed the cached connection after {idle} of silence; {again}.", said::place(tried)),
    )
    .severity(Severity::Info)
    .confidence(Confidence::Likely)
    .retry(if case.delivered() { Retry::NotNeeded } else { Retry::Helps { after_s: Some(0) } })
    .evidence(format!("connection reused after {idle} of silence"))
    .disproof("the same answer to the first message of a new connection");
    if let Some(reply) = &tried.mail_reply {
        finding = finding.evidence(format!("first answer on the reused connection: \"{reply}\""));
    }
    finding.fix("Nothing.").into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn an_idle_connection_that_ended_is_no_overload() {
        check(
            "to a@idle.test
             try mx.idle.test 127.0.0.11
               reused 10000
               open 3
               mail 421 4.4.2 idle timeout
               fail mail them 421 4.4.2 idle timeout
             try mx.idle.test 127.0.0.11
               rcpt a@idle.test 250 ok
               final 250 ok",
            "smtp.stale_connection: mx.idle.test (127.0.0.11) had closed the cached connection after 10 s of silence; \
             reconnected, message sent.",
        );
    }

    #[test]
    fn a_421_on_a_new_connection_is_the_hosts_state() {
        check(
            "to a@idle.test
             try mx.idle.test 127.0.0.11
               mail 421 4.3.0 going down
               fail mail them 421 4.3.0 going down",
            "peer.deferred",
        );
    }
}
