//! Commands, parsed once at the edge: a line becomes a typed command or the reply that says why not.

use crate::server::MailParams;
use crate::xtext;
use mail::{Address, Body, Notify, Recipient, Reply, Ret, ReversePath, Stage};

/// One command line of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Command {
    Hello { name: String, extended: bool },
    Mail(MailParams),
    Rcpt(Recipient),
    Data,
    Bdat { size: u64, last: bool },
    Reset,
    Noop,
    Verify,
    Help,
    Quit,
    StartTls,
    Auth { mechanism: String, initial: Option<String> },
}

/// The first word in capitals, and what follows it.
pub(crate) fn verb(line: &str) -> (String, &str) {
    let end = line.find([' ', '\t']).unwrap_or(line.len());
    (line[..end].to_ascii_uppercase(), line[end..].trim_ascii())
}

/// The stage at which a command stands, for logs.
pub(crate) fn stage(verb: &str) -> Stage {
    match verb {
        "MAIL" => Stage::Mail,
        "RCPT" => Stage::Rcpt,
        "DATA" | "BDAT" => Stage::Data,
        "STARTTLS" => Stage::StartTls,
        "AUTH" => Stage::Auth,
        _ => Stage::Ehlo,
    }
}

/// AUTH as it may be shown: the mechanism if it is one that exists (IANA's registry), never what follows.
pub(crate) fn auth_shown(parameters: &str) -> String {
    const MECHANISMS: [&str; 12] = [
        "PLAIN",
        "LOGIN",
        "CRAM-MD5",
        "DIGEST-MD5",
        "NTLM",
        "GSSAPI",
        "EXTERNAL",
        "ANONYMOUS",
        "XOAUTH2",
        "OAUTHBEARER",
        "SCRAM-SHA-1",
        "SCRAM-SHA-256",
    ];
    let named = parameters.split([' ', '\t']).next().unwrap_or_default();
    match MECHANISMS.iter().find(|mechanism| mechanism.eq_ignore_ascii_case(named)) {
        Some(mechanism) => format!("AUTH {mechanism}"),
        None => "AUTH".to_owned(),
    }
}

/// Whether this is a command's first word, served or not.
pub(crate) fn is_verb(verb: &str) -> bool {
    const VERBS: [&str; 21] = [
        "HELO", "EHLO", "MAIL", "RCPT", "DATA", "BDAT", "RSET", "NOOP", "HELP", "VRFY", "QUIT", "STARTTLS", "AUTH",
        "EXPN", "SEND", "SOML", "SAML", "TURN", "ETRN", "ATRN", "BURL",
    ];
    VERBS.contains(&verb)
}

/// A line that belongs to HTTP or to a message's header: a browser or a confused sender made to speak to us
/// (cross-protocol requests carry commands in their bodies). No SMTP verb has a colon or these words.
pub(crate) fn is_foreign(line: &str) -> bool {
    let word = line.split([' ', '\t']).next().unwrap_or_default();
    let is_http = matches!(word, "GET" | "POST" | "PUT" | "HEAD" | "OPTIONS" | "CONNECT" | "PATCH" | "DELETE");
    let name = word.strip_suffix(':').or_else(|| word.split_once(':').map(|(name, _)| name));
    is_http || name.is_some_and(|name| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'))
}

/// Parses a line without its CRLF. `hostname` completes `<postmaster>` (RFC 5321 4.5.1).
pub(crate) fn parse(line: &str, hostname: &str) -> Result<Command, Reply> {
    // RFC 5321 4.1.1: white space before CRLF is to be tolerated.
    let (verb, rest) = verb(line.trim_ascii_end());
    let bare =
        |command| if rest.is_empty() { Ok(command) } else { Err(parameters(format!("{verb} takes no parameters"))) };
    match verb.as_str() {
        "HELO" => hello(rest, false),
        "EHLO" => hello(rest, true),
        "MAIL" => mail(rest).map(Command::Mail),
        "RCPT" => rcpt(rest, hostname).map(Command::Rcpt),
        "DATA" => bare(Command::Data),
        "BDAT" => bdat(rest),
        "RSET" => bare(Command::Reset),
        // RFC 5321 4.1.1.9: NOOP's parameter is ignored.
        "NOOP" => Ok(Command::Noop),
        "HELP" => Ok(Command::Help),
        "VRFY" if rest.is_empty() => Err(parameters("VRFY needs a name")),
        "VRFY" => Ok(Command::Verify),
        "QUIT" => bare(Command::Quit),
        "STARTTLS" => bare(Command::StartTls),
        "AUTH" => auth(rest),
        "EXPN" | "SEND" | "SOML" | "SAML" | "TURN" | "ETRN" | "ATRN" | "BURL" => {
            Err(Reply::new(502, "5.5.1", format!("{verb} is not implemented")))
        }
        _ => Err(Reply::new(500, "5.5.2", "Command not recognized")),
    }
}

/// RFC 5321 4.1.1.1. What the name is worth is for policy to say; here it only must be one word.
fn hello(rest: &str, extended: bool) -> Result<Command, Reply> {
    let name = rest.to_owned();
    if name.is_empty() || name.len() > 255 || name.contains([' ', '\t']) {
        return Err(parameters("say your name: one word, a domain or an address literal"));
    }
    Ok(Command::Hello { name, extended })
}

/// RFC 5321 4.1.1.2, with the parameters of RFC 1870, 6152, 3030, 6531, 3461 and 4954.
fn mail(rest: &str) -> Result<MailParams, Reply> {
    let path = after_keyword(rest, "FROM:").ok_or_else(|| parameters("syntax: MAIL FROM:<address>"))?;
    let (path, rest) = split_path(path).ok_or_else(|| bad_sender("the sender is not in angle brackets"))?;
    let sender = match path {
        "" => ReversePath::Null,
        path => {
            ReversePath::Address(without_source_route(path).parse().map_err(|error| bad_sender(&format!("{error}")))?)
        }
    };
    let mut mail = MailParams::of(sender);
    let mut seen = Vec::new();
    for (keyword, value) in esmtp(rest, &mut seen)? {
        let wrong = || parameters(format!("{keyword} has a wrong value"));
        match (keyword.as_str(), value) {
            ("SIZE", Some(value)) => mail.size = Some(number(value).ok_or_else(wrong)?),
            ("BODY", Some(value)) => mail.body = body(value).ok_or_else(wrong)?,
            ("SMTPUTF8", None) => mail.smtputf8 = true,
            ("RET", Some(value)) if value.eq_ignore_ascii_case("FULL") => mail.ret = Some(Ret::Full),
            ("RET", Some(value)) if value.eq_ignore_ascii_case("HDRS") => mail.ret = Some(Ret::Headers),
            // RFC 3461 4.4: at most 100 characters.
            ("ENVID", Some(value)) if value.len() <= 100 && xtext::decode(value).is_some() => {
                mail.envid = Some(value.to_owned())
            }
            ("AUTH", Some("<>")) => mail.auth = Some("<>".to_owned()),
            ("AUTH", Some(value)) => mail.auth = Some(xtext::decode(value).ok_or_else(wrong)?),
            ("SIZE" | "BODY" | "SMTPUTF8" | "RET" | "ENVID" | "AUTH", _) => return Err(wrong()),
            _ => return Err(unknown("MAIL", &keyword)),
        }
    }
    if !mail.smtputf8 && mail.sender.address().is_some_and(Address::is_international) {
        return Err(Reply::new(550, "5.6.7", "this sender needs the SMTPUTF8 parameter"));
    }
    Ok(mail)
}

/// RFC 5321 4.1.1.3, with the parameters of RFC 3461.
fn rcpt(rest: &str, hostname: &str) -> Result<Recipient, Reply> {
    let path = after_keyword(rest, "TO:").ok_or_else(|| parameters("syntax: RCPT TO:<address>"))?;
    let wrong = |why: &str| Reply::new(501, "5.1.3", why);
    let (path, rest) = split_path(path).ok_or_else(|| wrong("the recipient is not in angle brackets"))?;
    let path = without_source_route(path);
    let address =
        if path.eq_ignore_ascii_case("postmaster") { format!("{path}@{hostname}").parse() } else { path.parse() };
    let mut recipient = Recipient::plain(address.map_err(|error: mail::AddressError| wrong(&error.0))?);
    let mut seen = Vec::new();
    for (keyword, value) in esmtp(rest, &mut seen)? {
        match (keyword.as_str(), value) {
            ("NOTIFY", Some(value)) => {
                recipient.notify = Some(notify(value).ok_or_else(|| parameters("NOTIFY has a wrong value"))?);
            }
            ("ORCPT", Some(value)) if is_orcpt(value) => recipient.orcpt = Some(value.to_owned()),
            ("NOTIFY" | "ORCPT", _) => return Err(parameters(format!("{keyword} has a wrong value"))),
            _ => return Err(unknown("RCPT", &keyword)),
        }
    }
    Ok(recipient)
}

/// RFC 3030 2.
fn bdat(rest: &str) -> Result<Command, Reply> {
    let mut words = rest.split_ascii_whitespace();
    let size = words.next().and_then(number);
    let last = words.next().map(|word| word.eq_ignore_ascii_case("LAST"));
    match (size, last, words.next()) {
        (Some(size), None, None) => Ok(Command::Bdat { size, last: false }),
        (Some(size), Some(true), None) => Ok(Command::Bdat { size, last: true }),
        _ => Err(parameters("syntax: BDAT size [LAST]")),
    }
}

/// RFC 4954 4.
fn auth(rest: &str) -> Result<Command, Reply> {
    let mut words = rest.split_ascii_whitespace();
    let mechanism = words.next().unwrap_or_default().to_ascii_uppercase();
    let initial = words.next().map(str::to_owned);
    if mechanism.is_empty() || words.next().is_some() {
        return Err(parameters("syntax: AUTH mechanism [initial response]"));
    }
    Ok(Command::Auth { mechanism, initial })
}

/// `rest` behind `keyword`; white space before the path is an old and harmless mistake (RFC 5321 4.1.1.2 forbids it).
fn after_keyword<'a>(rest: &'a str, keyword: &str) -> Option<&'a str> {
    let head = rest.get(..keyword.len())?;
    head.eq_ignore_ascii_case(keyword).then(|| rest[keyword.len()..].trim_ascii_start())
}

/// Splits `<path> parameters`; a quoted local part may hold `>` and spaces.
fn split_path(text: &str) -> Option<(&str, &str)> {
    let inner = text.strip_prefix('<')?;
    let (mut quoted, mut escaped) = (false, false);
    let end = inner.bytes().position(|b| {
        let ends = b == b'>' && !quoted;
        (quoted, escaped) = match b {
            _ if escaped => (quoted, false),
            b'\\' if quoted => (quoted, true),
            b'"' => (!quoted, false),
            _ => (quoted, false),
        };
        ends
    })?;
    let rest = &inner[end + 1..];
    (rest.is_empty() || rest.starts_with(' ')).then_some((&inner[..end], rest))
}

/// `@one,@two:user@example.test` is `user@example.test` (RFC 5321 4.1.1.3, appendix C).
fn without_source_route(path: &str) -> &str {
    if path.starts_with('@') { path.split_once(':').map_or(path, |(_, mailbox)| mailbox) } else { path }
}

/// `KEYWORD[=value]`, each at most once (RFC 5321 4.1.2 Mail-parameters).
fn esmtp<'a>(
    rest: &'a str,
    found: &mut Vec<(String, Option<&'a str>)>,
) -> Result<Vec<(String, Option<&'a str>)>, Reply> {
    for word in rest.split_ascii_whitespace() {
        let (keyword, value) = word.split_once('=').map_or((word, None), |(keyword, value)| (keyword, Some(value)));
        let keyword = keyword.to_ascii_uppercase();
        if found.iter().any(|(known, _)| *known == keyword) {
            return Err(parameters(format!("{keyword} is given twice")));
        }
        found.push((keyword, value));
    }
    Ok(std::mem::take(found))
}

/// Digits only, at most 20 (RFC 1870 4): `parse` alone would take `+1`.
fn number(text: &str) -> Option<u64> {
    if text.len() > 20 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    text.parse().ok()
}

fn body(value: &str) -> Option<Body> {
    let words = [("7BIT", Body::SevenBit), ("8BITMIME", Body::EightBitMime), ("BINARYMIME", Body::BinaryMime)];
    words.iter().find(|(word, _)| value.eq_ignore_ascii_case(word)).map(|(_, body)| *body)
}

/// RFC 3461 4.1: NEVER alone, or a list.
fn notify(value: &str) -> Option<Notify> {
    if value.eq_ignore_ascii_case("NEVER") {
        return Some(Notify::NEVER);
    }
    let mut notify = Notify::NEVER;
    for word in value.split(',') {
        match word.to_ascii_uppercase().as_str() {
            "SUCCESS" => notify.success = true,
            "FAILURE" => notify.failure = true,
            "DELAY" => notify.delay = true,
            _ => return None,
        }
    }
    Some(notify)
}

/// RFC 3461 4.2: `address-type;xtext`, at most 500 characters. RFC 6533 3 adds `utf-8;` with raw UTF-8.
fn is_orcpt(value: &str) -> bool {
    value.len() <= 500
        && value.split_once(';').is_some_and(|(kind, address)| {
            let raw = kind.eq_ignore_ascii_case("utf-8") && !address.chars().any(char::is_control);
            !kind.is_empty() && !address.is_empty() && (raw || xtext::decode(address).is_some())
        })
}

/// RFC 5321 4.2.2: 501 syntax error in parameters.
fn parameters(why: impl Into<String>) -> Reply {
    Reply::new(501, "5.5.4", why)
}

fn bad_sender(why: &str) -> Reply {
    Reply::new(501, "5.1.7", why)
}

/// RFC 5321 4.1.1.11: 555 MAIL or RCPT parameters not recognized.
fn unknown(command: &str, keyword: &str) -> Reply {
    Reply::new(555, "5.5.4", format!("{command} parameter {keyword} is not known here"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, expected: &str) {
        let got = match parse(line, "gw.test") {
            Ok(command) => format!("{command:?}"),
            Err(reply) => reply.to_string(),
        };
        assert!(got.contains(expected), "{line:?}: {got}");
    }

    #[test]
    fn paths_are_read_as_the_rfc_draws_them() {
        check("mail from:<>", "sender: Null");
        check("MAIL FROM: <a@b.test>  ", "a@b.test");
        check("MAIL FROM:<@x.test,@y.test:a@b.test>", "sender: Address(a@b.test)");
        check("MAIL FROM:<\"a> b\"@c.test> SIZE=3", "sender: Address(\"a> b\"@c.test), size: Some(3)");
        check("MAIL FROM:<\"a\\\"> b\"@c.test>", "sender: Address(\"a\\\"> b\"@c.test)");
        check("RCPT TO:<PostMaster>", "PostMaster@gw.test");
        check("MAIL FROM:a@b.test", "501 5.1.7");
        check("MAIL FROM:<a@b.test>SIZE=3", "501 5.1.7");
        check("MAIL a@b.test", "501 5.5.4 syntax: MAIL FROM:<address>");
        check("RCPT TO:<>", "501 5.1.3");
        check("RCPT TO:<a b@c.test>", "501 5.1.3");
        check("RCPT FROM:<a@c.test>", "501 5.5.4");
        check("MAIL FROM:<ü@b.test>", "550 5.6.7");
        check("MAIL FROM:<ü@b.test> SMTPUTF8", "smtputf8: true");
    }

    #[test]
    fn parameters_are_checked() {
        check(
            "MAIL FROM:<> SIZE=10 BODY=8bitmime RET=hdrs ENVID=a+2Bb AUTH=<>",
            "size: Some(10), body: EightBitMime, smtputf8: false, ret: Some(Headers), envid: Some(\"a+2Bb\"), auth: Some(\"<>\")",
        );
        for wrong in [
            "SIZE",
            "SIZE=",
            "SIZE=+1",
            "SIZE=99999999999999999999",
            "BODY=9BIT",
            "SMTPUTF8=1",
            "RET=ALL",
            "ENVID=+2b",
            "SIZE=1 SIZE=1",
        ] {
            check(&format!("MAIL FROM:<> {wrong}"), "501 5.5.4");
        }
        check("MAIL FROM:<> BY=120;R", "555 5.5.4 MAIL parameter BY");
        check(
            "RCPT TO:<a@b.test> NOTIFY=success,DELAY ORCPT=rfc822;x+2By@z.test",
            "success: true, failure: false, delay: true",
        );
        check("RCPT TO:<a@b.test> NOTIFY=NEVER,SUCCESS", "501 5.5.4");
        check("RCPT TO:<a@b.test> ORCPT=x@z.test", "501 5.5.4");
        check("RCPT TO:<a@b.test> SIZE=1", "555 5.5.4");
    }

    #[test]
    fn other_commands_and_what_is_none() {
        check("EHLO", "501 5.5.4");
        check("EHLO two words", "501 5.5.4");
        check("BDAT 12 last", "Bdat { size: 12, last: true }");
        for wrong in ["BDAT", "BDAT -1", "BDAT 1 FIRST", "BDAT 1 LAST x", "BDAT 0x10"] {
            check(wrong, "501 5.5.4");
        }
        check("DATA now", "501 5.5.4");
        check("QUIT  ", "Quit");
        check("EXPN list", "502 5.5.1");
        check("FROB", "500 5.5.2");
        check("", "500 5.5.2");
        assert!(is_foreign("GET / HTTP/1.1") && is_foreign("Subject: x") && is_foreign("Host:x"));
        assert!(!is_foreign("MAIL FROM:<a@b.test>") && !is_foreign("QUIT"));
    }
}
