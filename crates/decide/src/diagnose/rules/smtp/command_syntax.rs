//! A client writes a command in a form that SMTP does not have.

use super::violation::{severity, short};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// A command in a wrong form
    ///
    /// The command is known, and what stands behind it is not as RFC 5321 4.1.2 has it: an address without angle brackets or with a
    /// blank in it, a parameter that was not offered in the EHLO answer, a domain that is none.
    ///
    /// Known by the command as it came, and by the answer.
    ///
    /// Correct the client, or the address that it was given.
    "smtp.command_syntax", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let is_syntax = |refusal: &&mail::Refusal| {
        matches!(refusal.reply.code, 501 | 504 | 553 | 555) && refusal.why.is_empty() && !refusal.command.is_empty()
    };
    let Some(refusal) = visit.refusals.iter().find(is_syntax) else { return Answer::No };
    let command = short(&refusal.command);
    // Credentials have an answer of their own.
    if command.to_ascii_uppercase().starts_with("AUTH") {
        return Answer::No;
    }
    Finding::new(
        "smtp.command_syntax",
        Actor::TheSender,
        format!(
            "Client {} said \"{command}\", which has not the form of RFC 5321 section 4.1.2, and got {} {} ({}).",
            visit.client,
            refusal.reply.code,
            refusal.reply.status(),
            refusal.reply.text()
        ),
    )
    .severity(if visit.taken > 0 { mail::Severity::Warning } else { severity(visit) })
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .evidence(format!("{command}: {}", refusal.reply))
    .disproof("the same command with brackets and parameters as RFC 5321 4.1.2 has them")
    .fix("Correct the client, or the address that it was given: <user@domain>, without blanks.")
    .fix("Parameters only if the EHLO answer offers their extension.")
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn an_address_without_its_form_is_named() {
        check(
            "visit inbound 127.0.1.10
             refuse mail - - 501 5.5.4 an address stands in angle brackets
             command MAIL FROM: a b c",
            "smtp.command_syntax: Client 127.0.1.10 said \"MAIL FROM: a b c\", which has not the form of RFC 5321 section 4.1.2, and got \
             501 5.5.4 (an address stands in angle brackets).",
        );
        check("visit inbound 127.0.1.10\nrefuse auth - - 501 5.5.2 cannot decode\ncommand AUTH PLAIN", "unknown");
    }
}
