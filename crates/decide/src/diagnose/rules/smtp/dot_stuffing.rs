//! A client goes on with its message after the line that ended it.

use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Said, Speaker};

rule! {
    /// The client does not double leading dots
    ///
    /// A line with a single dot ends a message; a client doubles the dot of every line that begins with one (RFC 5321 4.5.2). One
    /// that does not sends a message with such a line cut there: what follows arrives as commands. The message was accepted
    /// without its end.
    ///
    /// Known by lines that are no commands, directly behind an accepted message.
    ///
    /// The program that sends must be corrected. The recipient has a cut message.
    "smtp.dot_stuffing", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit().filter(|visit| visit.taken > 0) else { return Answer::No };
    let texts = behind_content(&visit.transcript);
    let Some(first) = texts.first() else { return Answer::No };
    // A word in capitals may be a command that we do not know: XCLIENT, XFORWARD, ETRN.
    let verb = first.split(' ').next().unwrap_or_default();
    let may_be_command =
        verb.len() <= 12 && verb.bytes().all(|octet| octet.is_ascii_uppercase() || octet.is_ascii_digit());
    if texts.len() == 1 && may_be_command {
        return Answer::No;
    }
    // The message's own end, said as a command, leaves no doubt.
    let sure = if texts[1..].contains(&".") { Confidence::Proven } else { Confidence::Likely };
    let cut: String = first.chars().take(60).collect();
    let mut finding = Finding::new(
        "smtp.dot_stuffing",
        Actor::TheSender,
        format!(
            "Client {} sent text (\"{cut}\") as a command right after a line with a single dot: it does not dot-stuff (RFC 5321 \
             section 4.5.2), the message was cut.",
            visit.client
        ),
    )
    .confidence(sure)
    .retry(Retry::AfterFix)
    .disproof("a client's own trace that shows the dots doubled")
    .fix("Correct the sending program: a line that begins with a dot is sent with two (RFC 5321 4.5.2).")
    .fix("The sender sends the message again; the recipient's copy ends at the dot.");
    if let Some(deal) = visit.deals.iter().rev().find(|deal| deal.taken) {
        finding = finding.evidence(format!("message from <{}> of {} octets was accepted", deal.sender, deal.size));
    }
    for text in texts.iter().take(3) {
        finding = finding.evidence(format!("directly behind it: {text}"));
    }
    finding.into()
}

/// Lines that the client said behind an accepted message and that were refused as no commands, up to the first command.
fn behind_content(transcript: &[Said]) -> Vec<&str> {
    let said: Vec<(Speaker, &str)> = transcript.iter().map(|said| (said.speaker, said.text.as_str())).collect();
    for (at, window) in said.windows(2).enumerate() {
        let [(Speaker::Note, note), (Speaker::Server, answer)] = window else { continue };
        if !note.ends_with("octets of content") || !answer.starts_with("250") {
            continue;
        }
        let pairs = said[at + 2..].chunks(2);
        let refused = |pair: &&[(Speaker, &str)]| match pair {
            [(Speaker::Client, _), (Speaker::Server, answer)] => answer.starts_with("500"),
            [(Speaker::Client, _)] => false,
            _ => false,
        };
        let texts: Vec<&str> = pairs.take_while(refused).map(|pair| pair[0].1).collect();
        if !texts.is_empty() {
            return texts;
        }
    }
    Vec::new()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn text_behind_the_dot_is_no_command() {
        check(
            "visit inbound 127.0.1.10
             deal a@out.test: a@corp.test
             taken 7
             said note 7 octets of content
             said server 250 2.0.0 accepted as X
             said client world
             said server 500 5.5.2 Command not recognized
             said client .
             said server 500 5.5.2 Command not recognized
             said client QUIT
             said server 221 2.0.0 bye
             refuse ehlo - - 500 5.5.2 Command not recognized
             command world",
            "smtp.dot_stuffing: Client 127.0.1.10 sent text (\"world\") as a command right after a line with a single dot: it \
             does not dot-stuff (RFC 5321 section 4.5.2), the message was cut.",
        );
    }

    #[test]
    fn an_unknown_verb_behind_a_message_is_only_that() {
        check(
            "visit inbound 127.0.1.10
             deal a@out.test: a@corp.test
             taken 7
             said note 7 octets of content
             said server 250 2.0.0 accepted as X
             said client XSTATUS
             said server 500 5.5.2 Command not recognized
             said client QUIT
             said server 221 2.0.0 bye",
            "unknown",
        );
    }
}
