//! A client ends its command lines otherwise than with CRLF.

use super::violation::{last_words, severity};
use crate::diagnose::rules::shown;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry};

rule! {
    /// A command line that does not end with CRLF
    ///
    /// Commands end with CR and LF (RFC 5321 2.3.8, 4.1.1). A client that ends them with LF or CR alone, or sends a NUL, is a
    /// program that writes its lines as a script does, a test by hand without `crlf`, or an attempt to smuggle commands. The gateway
    /// closes the connection: two servers that disagree about where a line ends can be made to pass on forged mail.
    ///
    /// Known by the octet itself in a command line.
    ///
    /// Correct the client: CRLF behind each command. With openssl: `openssl s_client -crlf`; with netcat: `nc -C`.
    "smtp.command_line_end", find
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let kinds = [("bare-lf-in-command", "a bare LF"), ("bare-cr-in-command", "a bare CR"), ("nul-in-command", "a NUL")];
    let Some((_, what)) = kinds.into_iter().find(|(why, _)| visit.refused(why).is_some()) else { return Answer::No };
    let code = last_words(visit).1.and_then(|words| words.get(..3)).unwrap_or("500");
    let said = visit.transcript.iter().filter(|said| said.speaker == mail::Speaker::Client).count();
    let after = match said {
        0 | 1 => "as the first thing it said".to_owned(),
        more => format!("after {} commands", more - 1),
    };
    Finding::new(
        "smtp.command_line_end",
        Actor::TheSender,
        format!(
            "Client {} sent a command line with {what} {after}; only CRLF ends a line (RFC 5321 section 2.3.8), so it got {code} and \
             the connection was closed.",
            visit.client
        ),
    )
    .severity(severity(visit))
    .confidence(Confidence::Proven)
    .retry(Retry::AfterFix)
    .evidence(format!("first octets from {}: \"{}\"", visit.client, shown::octets(&visit.first)))
    .evidence(last_words(visit).1.map_or_else(String::new, |words| format!("answered: {words}")))
    .disproof("CR and LF behind each command in a trace of the network")
    .fix("Correct the client: CRLF behind each command (RFC 5321 2.3.8).")
    .fix("By hand: `openssl s_client -crlf -starttls smtp`, `nc -C`, or swaks.")
    .into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_bare_line_feed_is_named() {
        check(
            "visit inbound 127.0.1.10
             first EHLO x\\n
             said server 220 gw
             said client (a line with a bare LF)
             said server 500 5.5.2 bare LF in a command line: only CRLF ends a line; closing connection
             refuse ehlo bare-lf-in-command - 554 5.5.0 BareLineFeed
             ours",
            "smtp.command_line_end: Client 127.0.1.10 sent a command line with a bare LF as the first thing it said; only CRLF ends a \
             line (RFC 5321 section 2.3.8), so it got 500 and the connection was closed.",
        );
    }

    #[test]
    fn content_has_rules_of_its_own() {
        check("visit inbound 127.0.1.10\nrefuse body malformed - 550 5.6.0 bare LF", "unknown");
    }
}
