//! A client speaks another protocol, or its message, where commands are expected.

use super::violation::{last_words, severity, short};
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding, Retry, Severity};

rule! {
    /// Another protocol on the mail port
    ///
    /// The first octets belong to HTTP, SSH, IMAP, POP or another protocol: a wrong port in a program or a health check, or
    /// somebody who looks for open ports. Or the client sends the lines of a message where a command should be: it goes on with its
    /// message although DATA was not accepted.
    ///
    /// Known by the octets.
    ///
    /// A program or health check of your own: set the right port, or have it read the greeting and say QUIT. Strangers: nothing, they
    /// get nothing.
    "smtp.foreign_protocol", find
}

/// Which protocol begins so.
fn protocol(first: &[u8]) -> Option<&'static str> {
    let line = first.split(|octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default();
    let text = String::from_utf8_lossy(line).to_ascii_uppercase();
    let word = text.split(' ').next().unwrap_or_default();
    let second = text.split(' ').nth(1).unwrap_or_default();
    match word {
        "OPTIONS" | "DESCRIBE" if second.starts_with("RTSP:") => Some("RTSP"),
        "OPTIONS" | "INVITE" | "REGISTER" if second.starts_with("SIP:") => Some("SIP"),
        "GET" | "POST" | "PUT" | "HEAD" | "OPTIONS" | "CONNECT" | "PATCH" | "DELETE" | "PRI" | "TRACE" => Some("HTTP"),
        "CAPA" | "STLS" => Some("POP3"),
        _ if word.starts_with("SSH-") => Some("SSH"),
        _ if matches!(second, "LOGIN" | "CAPABILITY" | "STARTTLS" | "AUTHENTICATE") && word.len() <= 8 => Some("IMAP"),
        _ if first.starts_with(&[3, 0, 0]) => Some("RDP"),
        _ if first.starts_with(&[5, 1]) || first.starts_with(&[4, 1, 0]) => Some("SOCKS"),
        _ if first.starts_with(b"*1\r\n$") || first.starts_with(b"*2\r\n$") => Some("Redis"),
        _ if first.windows(4).any(|window| window == b"\xffSMB" || window == b"\xfeSMB") => Some("SMB"),
        _ => None,
    }
}

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit().filter(|visit| visit.early.is_empty() || visit.greeted.is_some()) else {
        return Answer::No;
    };
    let is_refused = visit.refusals.iter().any(|refusal| refusal.reply.code >= 500);
    let foreign = protocol(&visit.first).filter(|_| is_refused && visit.transactions == 0);
    if let Some(name) = foreign {
        let line = first_line(&visit.first);
        return Finding::new(
            "smtp.foreign_protocol",
            Actor::TheSender,
            format!(
                "Client {} speaks {name} (\"{line}\") on port {}, which is a mail port: no mail is concerned.",
                visit.client,
                visit.local.port()
            ),
        )
        .severity(Severity::Info)
        .confidence(Confidence::Likely)
        .retry(Retry::AfterFix)
        .evidence(format!("first octets: \"{line}\""))
        .disproof("EHLO or HELO as the first command")
        .fix(format!(
            "If {} is yours: set it to the right port; a health check reads the greeting and says QUIT.",
            visit.client
        ))
        .fix("Otherwise nothing: it gets nothing here.")
        .into();
    }
    if visit.refused("foreign-protocol").is_none() {
        return Answer::No;
    }
    let (Some(line), words) = last_words(visit) else { return Answer::No };
    // Headers of a message. Why DATA was not accepted, other rules tell.
    let code = words.and_then(|words| words.get(..3)).unwrap_or("500");
    Finding::new(
        "smtp.foreign_protocol",
        Actor::TheSender,
        format!(
            "Client {} sent \"{}\" where a command should be: a line of a message whose DATA was not accepted, or of another protocol; it \
             got {code} and the connection was closed.",
            visit.client,
            short(line)
        ),
    )
    .severity(severity(visit))
    .confidence(Confidence::Likely)
    .retry(Retry::AfterFix)
    .evidence(format!("said as a command: {}", short(line)))
    .evidence(words.map_or_else(String::new, |words| format!("answered: {words}")))
    .disproof("a trace in which this line stands between 354 and the final dot")
    .fix("Correct the client: it sends its message only after 354, and reads each answer before it goes on.")
    .into()
}

fn first_line(first: &[u8]) -> String {
    let line = first.split(|octet| matches!(octet, b'\r' | b'\n')).next().unwrap_or_default();
    crate::diagnose::rules::shown::octets(line)
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::check;

    #[test]
    fn a_browser_on_the_mail_port_is_no_failure() {
        check(
            "visit inbound 127.0.1.10
             first GET / HTTP/1.1\\r\\nHost: x\\r\\n
             said client GET / HTTP/1.1
             said server 500 5.5.2 this is an SMTP server; closing connection
             refuse ehlo foreign-protocol - 554 5.5.0 ForeignProtocol",
            "smtp.foreign_protocol: Client 127.0.1.10 speaks HTTP (\"GET / HTTP/1.1\") on port 25, which is a mail port: no mail is \
             concerned.",
        );
        check(
            "visit inbound 127.0.1.10
             first SSH-2.0-OpenSSH_9.6\\r\\n
             refuse ehlo - - 500 5.5.2 Command not recognized",
            "smtp.foreign_protocol",
        );
    }

    #[test]
    fn a_message_without_its_data_is_named_by_its_line() {
        check(
            "visit inbound 127.0.1.10
             first EHLO x\\r\\n
             deal s@out.test: a@corp.test
             said client Subject: hello
             said server 500 5.5.2 this is an SMTP server; closing connection
             refuse ehlo foreign-protocol - 554 5.5.0 ForeignProtocol",
            "smtp.foreign_protocol: Client 127.0.1.10 sent \"Subject: hello\" where a command should be: a line of a message whose DATA was \
             not accepted, or of another protocol; it got 500 and the connection was closed.",
        );
        check(
            "visit inbound 127.0.1.10\nfirst EHLO x\\r\\nrefuse ehlo - - 500 5.5.2 Command not recognized",
            "unknown",
        );
    }
}
