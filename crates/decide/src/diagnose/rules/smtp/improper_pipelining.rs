//! A client goes on behind DATA or AUTH without waiting for the answer.

use super::violation::{last_words, severity, short};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// Pipelining where it is not allowed
    ///
    /// With PIPELINING a client may send several commands at once, but DATA, AUTH and EHLO end a group: it waits for the answer
    /// before it says more (RFC 2920 3.1). One that sends its message right behind DATA does not care whether the message is wanted;
    /// if DATA is refused, lines of the message would be taken for commands.
    ///
    /// Known by octets that were there behind DATA or AUTH before the answer left.
    ///
    /// Correct the client: wait for 354 before the message.
    "smtp.improper_pipelining", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    if visit.refused("improper-pipelining").is_none() {
        return Answer::No;
    }
    let (command, words) = last_words(visit);
    let verb = command.and_then(|line| line.split(' ').next()).unwrap_or("DATA").to_ascii_uppercase();
    let code = words.and_then(|words| words.get(..3)).unwrap_or("554");
    Finding::new(
        "smtp.improper_pipelining",
        Actor::TheSender,
        format!(
            "Client {} went on behind {verb} without waiting for the answer (RFC 2920 section 3.1 allows no more in the group); it got \
             {code} and the connection was closed.",
            visit.client
        ),
    )
    .severity(severity(visit))
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .evidence(format!("last command: {}", short(command.unwrap_or("DATA"))))
    .evidence(words.map_or_else(String::new, |words| format!("answered: {words}")))
    .disproof(format!("a trace in which nothing follows {verb} before our answer"))
    .fix(format!("Correct the client: after {verb} it waits for the answer (354 after DATA) before it says more."))
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn who_does_not_wait_for_the_go_ahead_is_named() {
        check(
            "visit inbound 127.0.1.10
             deal s@out.test: a@corp.test
             said client DATA
             said server 554 5.5.1 improper use of pipelining: wait for our answer (RFC 2920); closing connection
             refuse data improper-pipelining - 554 5.5.0 ImproperPipelining
             ours",
            "smtp.improper_pipelining: Client 127.0.1.10 went on behind DATA without waiting for the answer (RFC 2920 section 3.1 allows \
             no more in the group); it got 554 and the connection was closed.",
        );
    }

    #[test]
    fn commands_in_a_group_are_allowed() {
        check("visit inbound 127.0.1.10\ndeal s@out.test: a@corp.test\nsaid client DATA\ntaken 10", "unknown");
    }
}
