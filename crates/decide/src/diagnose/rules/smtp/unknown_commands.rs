//! A client says many commands that SMTP does not have.

use super::violation::{severity, short};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Refusal, Retry, Severity};

rule! {
    /// Many unknown commands
    ///
    /// The client said several things that are no commands. That is a program that speaks another protocol or reads no answers, or
    /// somebody who tries what the server knows. After `listener.*.errors_per_session` errors the gateway closes the connection.
    ///
    /// Known by the commands themselves, each answered with 500 or 502.
    ///
    /// A program of your own: correct it. Strangers: nothing.
    "smtp.unknown_commands", find
}

/// Fewer are a client that tries an extension or two.
const MANY: usize = 3;

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit().filter(|visit| visit.taken == 0) else { return Answer::No };
    let unknown: Vec<&Refusal> = visit
        .refusals
        .iter()
        .filter(|refusal| matches!(refusal.reply.code, 500 | 502) && !refusal.command.is_empty())
        .collect();
    let Some(first) = unknown.first().filter(|_| unknown.len() >= MANY) else { return Answer::No };
    let last = visit.transcript.iter().rev().find(|said| said.speaker == mail::Speaker::Server);
    let closed = last.is_some_and(|said| said.text.starts_with("421"));
    let end = if closed { "; then the gateway closed the connection (421, too many errors)" } else { "" };
    let mut finding = Finding::new(
        "smtp.unknown_commands",
        Actor::TheSender,
        format!(
            "Client {} said {} lines that are no SMTP commands, the first \"{}\" ({} {}){end}.",
            visit.client,
            unknown.len(),
            short(&first.command),
            first.reply.code,
            first.reply.status()
        ),
    )
    .severity(if visit.transactions == 0 { Severity::Info } else { severity(visit) })
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .disproof("commands of RFC 5321 in these places of a trace")
    .fix(format!("If {} is yours: correct its program, or its port.", visit.client))
    .fix("Otherwise nothing: listener.*.errors_per_session ends such sessions.");
    for refusal in unknown.iter().take(3) {
        finding = finding.evidence(format!("\"{}\": {}", short(&refusal.command), refusal.reply));
    }
    finding.into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    fn visit(commands: usize) -> String {
        let one = "refuse ehlo - - 500 5.5.2 Command not recognized\ncommand foo\n";
        format!(
            "visit inbound 127.0.1.10\n{}said server 421 4.7.0 gw too many errors; closing connection",
            one.repeat(commands)
        )
    }

    #[test]
    fn many_are_told_and_one_is_not() {
        check(
            &visit(20),
            "smtp.unknown_commands: Client 127.0.1.10 said 20 lines that are no SMTP commands, the first \"foo\" (500 5.5.2); then the \
             gateway closed the connection (421, too many errors).",
        );
        check(&visit(2), "unknown");
    }
}
