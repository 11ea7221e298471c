//! Somebody wants to send through us to elsewhere.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Listener, Retry, Severity};

rule! {
    /// Mail for elsewhere, from somebody who may not send it here
    ///
    /// The inbound listener takes mail for the domains of the settings only, from everybody. Mail for other domains is taken at the outbound
    /// listener, from the networks in its `accept_from`, and at the submission listener, from users who have logged in.
    /// Everything else would make this an open relay.
    ///
    /// Known by the settings in force at that moment.
    ///
    /// A stranger who tries: nothing to do. An own server or user: use the outbound or the submission listener.
    "own.relaying_denied", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let refusal = visit.refused("relaying-denied");
    let Some((refusal, recipient)) = refusal.and_then(|refusal| Some((refusal, refusal.recipient.as_ref()?))) else {
        return Answer::No;
    };
    let is_own = case.settings.outbound.accept_from.iter().any(|network| network.contains(&visit.client));
    let status = format!("{} {}", refusal.reply.code, refusal.reply.status());
    let listener = visit.listener.name();
    let client = visit.client;
    let finding = if is_own && visit.listener == Listener::Inbound {
        let sentence = format!(
            "{client} may send to {recipient} by the outbound listener, but came to the inbound one, which relays for nobody: refused \
             with {status}."
        );
        Finding::new("own.relaying_denied", Actor::OurServer, sentence)
            .fix(format!("Point {client} to the outbound listener's port."))
    } else {
        let sentence = format!(
            "{recipient} is in no domain of this gateway, and {client} is not allowed to send elsewhere through the {listener} \
             listener: refused with {status}."
        );
        Finding::new("own.relaying_denied", Actor::TheSender, sentence)
            .severity(Severity::Info)
            .retry(Retry::Useless)
            .fix("If this is a stranger: nothing, the refusal is right.")
            .fix("If it is a server of yours: `listener.outbound.accept_from`; a user: the submission listener, with AUTH.")
            .fix("If the domain is yours: add a `[[domain]]`.")
    };
    finding
        .confidence(Confidence::Proven)
        .evidence(format!("RCPT TO:<{recipient}> from {client} at {}: {}", visit.local, refusal.reply))
        .disproof("the domain in the settings, or the client in listener.outbound.accept_from, at that moment")
        .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::scene;

    fn found(client: &str, expected: &str) {
        let refused = "refuse rcpt relaying-denied u@far.test 550 5.7.1 relaying denied";
        scene(&format!("visit inbound {client}\n{refused}")).nothing_more().check(expected);
    }

    #[test]
    fn a_stranger_is_told_so_and_an_own_server_where_to_go() {
        found(
            "192.0.2.9",
            "own.relaying_denied: u@far.test is in no domain of this gateway, and 192.0.2.9 is not allowed to send elsewhere through \
             the inbound listener: refused with 550 5.7.1.",
        );
        found(
            "127.0.0.1",
            "own.relaying_denied: 127.0.0.1 may send to u@far.test by the outbound listener, but came to the inbound one, which \
             relays for nobody: refused with 550 5.7.1.",
        );
    }
}
