//! A client says commands in an order that SMTP does not have.

use super::violation::{severity, short};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Refusal, Retry};

rule! {
    /// Commands out of order
    ///
    /// MAIL needs EHLO or HELO before it, RCPT needs MAIL, DATA needs an accepted RCPT (RFC 5321 4.1.4). The client said one without
    /// the other, and nothing of what it said before was refused: it is the client that is wrong, not an answer of ours that it passed
    /// over.
    ///
    /// Known by the first 503 of the session, with no refusal before it.
    ///
    /// Correct the client.
    "smtp.bad_sequence", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    // What follows upon a refusal of ours is its consequence: commands said in one go with it.
    let Some(refusal) = visit.refusals.first().filter(|refusal| refusal.reply.code == 503) else { return Answer::No };
    let is_protocol = |refusal: &Refusal| refusal.why.is_empty();
    if !is_protocol(refusal) || refusal.command.is_empty() {
        return Answer::No;
    }
    let command = short(&refusal.command);
    let more = visit.refusals.iter().filter(|refusal| refusal.reply.code == 503).count();
    let times = if more > 1 { format!(", {more} times in all") } else { String::new() };
    Finding::new(
        "smtp.bad_sequence",
        Actor::TheSender,
        format!(
            "Client {} said \"{command}\" out of order and got {} {} ({}){times}; nothing that it said before was refused.",
            visit.client,
            refusal.reply.code,
            refusal.reply.status(),
            refusal.reply.text()
        ),
    )
    .severity(if visit.taken > 0 { mail::Severity::Info } else { severity(visit) })
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .evidence(format!("{command}: {}", refusal.reply))
    .disproof("a refusal before it in the same session")
    .fix("Correct the client: EHLO, MAIL, RCPT, DATA, each after the one before it was accepted (RFC 5321 4.1.4).")
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn mail_before_ehlo_is_named() {
        check(
            "visit inbound 127.0.1.10
             refuse mail - - 503 5.5.1 say EHLO or HELO first
             command MAIL FROM:<a@out.test>",
            "smtp.bad_sequence: Client 127.0.1.10 said \"MAIL FROM:<a@out.test>\" out of order and got 503 5.5.1 (say EHLO or HELO first); \
             nothing that it said before was refused.",
        );
    }

    #[test]
    fn what_follows_a_refusal_is_its_consequence() {
        check(
            "visit inbound 127.0.1.10
             refuse mail sender-domain-unresolvable - 550 5.1.8 no
             command MAIL FROM:<a@x.test>
             refuse rcpt - - 503 5.5.1 MAIL first
             command RCPT TO:<u@corp.test>
             dns x.test MX: FAIL no
             dns x.test A: FAIL no
             dns x.test AAAA: FAIL no",
            "unknown",
        );
    }
}
