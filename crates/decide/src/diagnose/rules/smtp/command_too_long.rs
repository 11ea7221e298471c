//! A command line that is longer than SMTP allows.

use super::violation::severity;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// A command line that is too long
    ///
    /// A command line has 512 octets at most, more where an extension says so (RFC 5321 4.5.3.1.4); this gateway takes more than
    /// that, yet not any length. Longer ones come from programs that put several addresses into one RCPT, or the message where a command
    /// should be, or from attacks.
    ///
    /// Known by the line itself.
    ///
    /// Correct the client: one address in each RCPT, the message after 354.
    "smtp.command_too_long", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let Some(refusal) = visit.refusals.iter().find(|refusal| refusal.command == "(line too long)") else {
        return Answer::No;
    };
    Finding::new(
        "smtp.command_too_long",
        Actor::TheSender,
        format!(
            "Client {} sent a command line longer than SMTP allows (RFC 5321 section 4.5.3.1.4) and got {} {}.",
            visit.client,
            refusal.reply.code,
            refusal.reply.status()
        ),
    )
    .severity(severity(visit))
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .evidence(format!("answered: {}", refusal.reply))
    .disproof("a trace with shorter lines")
    .fix("Correct the client: one address in each RCPT; the message only after 354.")
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_long_command_is_named() {
        check(
            "visit inbound 127.0.1.10\nrefuse ehlo - - 500 5.5.2 line too long\ncommand (line too long)",
            "smtp.command_too_long: Client 127.0.1.10 sent a command line longer than SMTP allows (RFC 5321 section 4.5.3.1.4) and got \
             500 5.5.2.",
        );
        check("visit inbound 127.0.1.10\nrefuse ehlo - - 500 5.5.2 Command not recognized\ncommand XYZ", "unknown");
    }
}
