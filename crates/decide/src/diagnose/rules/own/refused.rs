//! A refusal that a rule of this gateway makes, where nothing more special is known.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Refusal, Retry, Severity, status};

rule! {
    /// Refused by a rule of this gateway
    ///
    /// The gateway itself refused or deferred this client, for a reason that stands in its reply and in the manual's list of
    /// statuses (`gatepost statuses`): a limit, a list of networks, the need for TLS or for a password.
    ///
    /// Known by the reply that the gateway gave.
    ///
    /// What to do depends on the reason; the status says it.
    "own.refused", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    // What has rules of its own, which know better when they say nothing.
    let others = [
        &status::RELAYING_DENIED,
        &status::NO_REVERSE_NAME,
        &status::REVERSE_NAME_MISMATCH,
        &status::HELO_UNRESOLVABLE,
        &status::SENDER_DOMAIN_UNRESOLVABLE,
    ];
    let kind = |refusal: &Refusal| {
        status::TABLE.iter().find(|kind| kind.id == refusal.why && others.iter().all(|other| other.id != kind.id))
    };
    let found = visit.refusals.iter().rev().find_map(|refusal| Some((refusal, kind(refusal)?)));
    let Some((refusal, kind)) = found else { return Answer::No };
    let reply = &refusal.reply;
    // Who is new is asked to come again: nothing is wrong.
    let is_usual = kind.id == status::GREYLISTED.id;
    let whom = refusal.recipient.as_ref().map_or(String::new(), |recipient| format!(" for {recipient}"));
    Finding::new(
        "own.refused",
        match kind.code {
            _ if is_usual => Actor::Nobody,
            535 | 530 => Actor::TheSender,
            _ => Actor::OurSettings,
        },
        format!(
            "This gateway's {} listener answered {}{whom} with {} {} ({}): {}",
            visit.listener.name(),
            visit.client,
            reply.code,
            reply.status(),
            reply.text(),
            kind.meaning
        ),
    )
    .severity(if is_usual { Severity::Info } else { Severity::Failure })
    .confidence(Confidence::Proven)
    .retry(if reply.is_transient() { Retry::Helps { after_s: None } } else { Retry::AfterFix })
    .evidence(format!("{} at {}: {reply}", refusal.stage, visit.local))
    .disproof("other settings in force at that moment")
    .fix(kind.fix)
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn each_status_of_ours_explains_itself() {
        check(
            "visit submission 127.0.1.10\nrefuse auth bad-credentials - 535 5.7.8 authentication credentials invalid",
            "own.refused: This gateway's submission listener answered 127.0.1.10 with 535 5.7.8 (authentication credentials \
             invalid): No user of the settings has this name and password.",
        );
    }

    #[test]
    fn what_the_protocol_refused_is_not_ours() {
        check("visit inbound 127.0.1.10\nrefuse ehlo - - 503 5.5.1 say EHLO first", "unknown");
    }
}
