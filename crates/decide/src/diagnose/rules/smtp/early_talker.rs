//! A client spoke before it was greeted.

use crate::diagnose::rules::shown;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding};

rule! {
    /// The client speaks before the greeting
    ///
    /// A client waits for the server's 220 before it says anything (RFC 5321 3.1, 4.3.1), and may send several commands at once
    /// only after the EHLO answer has offered PIPELINING (RFC 2920). Programs that only send spam often do not wait; so do some
    /// scripts and monitoring probes. The gateway refuses them with 554: it looks before it greets, for as long as
    /// `listener.*.greeting_delay` says.
    ///
    /// Known by the octets that were there before the greeting left.
    ///
    /// The client must be corrected: wait for 220, then for the answer to EHLO.
    "smtp.early_talker", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit().filter(|visit| !visit.early.is_empty()) else { return Answer::No };
    // Another protocol altogether, or a balancer's header: no early SMTP.
    let is_other =
        [&b"\x16\x03"[..], b"PROXY ", b"\r\n\r\n\0\r\nQUIT"].iter().any(|start| visit.early.starts_with(start));
    if is_other {
        return Answer::No;
    }
    let said = shown::octets(&visit.early);
    let code = visit.refused("early-talker").map_or(554, |refusal| refusal.reply.code);
    Finding::new(
        "smtp.early_talker",
        Actor::TheSender,
        format!(
            "Client {} sent \"{said}\" before the greeting (PIPELINING not negotiated yet); refused with {code} as protocol \
             violation.",
            visit.client
        ),
    )
    .confidence(Confidence::Proven)
    .evidence(format!("octets before the greeting: {} (\"{said}\")", visit.early.len()))
    .evidence(format!("greeting delay of the {} listener: {:?}", visit.listener.name(), delay(case, visit)))
    .disproof("a client that waits for 220 and is refused for this all the same")
    .fix("Correct the client: it waits for 220, then for the answer to EHLO, before it says more.")
    .fix("For a monitoring probe of your own: have it read the greeting first.")
    .into()
}

fn delay(case: &Case<'_>, visit: &mail::Visit) -> std::time::Duration {
    case.settings.door(visit.listener).map(|door| door.greeting_delay).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn who_speaks_first_is_named_with_its_words() {
        check(
            "visit inbound 127.0.1.10
             not-greeted
             early EHLO probe\\r\\nQUIT\\r\\n
             refuse banner early-talker - 554 5.5.0 EarlyTalker
             ours",
            "smtp.early_talker: Client 127.0.1.10 sent \"EHLO probe / QUIT\" before the greeting (PIPELINING not negotiated \
             yet); refused with 554 as protocol violation.",
        );
    }

    #[test]
    fn a_client_that_waits_is_none() {
        check("visit inbound 127.0.1.10\nhelo a.test\nfirst EHLO a.test\\r\\n", "unknown");
    }
}
