//! Report: the messages that say what became of mail: bounces, delay notices, success reports (RFC 3461, 3464, 6522).

use crate::{Actor, AuditId, Domain, EnhancedStatus, Finding, Recipient, Status, Time};

/// What a report says of a recipient (RFC 3464 2.3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Failed,
    Delayed,
    /// Handed to a server that does not offer DSN.
    Relayed,
    /// Final delivery is the next hop's word; we say it only where the hop speaks for the mailbox.
    Delivered,
}

impl Action {
    fn word(self) -> &'static str {
        match self {
            Action::Failed => "failed",
            Action::Delayed => "delayed",
            Action::Relayed => "relayed",
            Action::Delivered => "delivered",
        }
    }
}

/// One recipient's fate.
#[derive(Clone, Debug)]
pub struct Fate {
    pub recipient: Recipient,
    pub action: Action,
    pub status: Status,
    pub last_attempt: Time,
}

/// A report to be written.
#[derive(Clone, Debug)]
pub struct Report<'a> {
    /// MTA host name.
    pub reporting: &'a Domain,
    /// Audit ID of the report itself, and of the message it is about.
    pub id: AuditId,
    pub about: AuditId,
    /// Whom it goes to, without brackets.
    pub to: &'a str,
    pub postmaster: &'a str,
    pub envid: Option<&'a str>,
    pub arrived: Time,
    pub now: Time,
    /// Delayed mail: until when it will be tried.
    pub until: Option<Time>,
    pub fates: &'a [Fate],
    /// Why, if it is known.
    pub finding: Option<&'a Finding>,
    /// The original's header, or all of it if it is short and was asked for.
    pub original: &'a [u8],
    /// `original` is the whole message, not only its header.
    pub whole: bool,
    /// The original has UTF-8 in its envelope or header, so that the report must be SMTPUTF8 as well (RFC 6533).
    pub smtputf8: bool,
}

/// The whole message, header first, lines ended by CRLF.
pub fn write(report: &Report<'_>) -> Vec<u8> {
    let action = report.fates.first().map_or(Action::Failed, |fate| fate.action);
    let boundary = format!("=_{}_{}", report.id, report.about);
    let (reporting, to) = (report.reporting, report.to);
    let subject = match action {
        Action::Failed => "Undelivered mail returned to sender",
        Action::Delayed => "Delayed mail (still being tried)",
        Action::Relayed | Action::Delivered => "Successful mail delivery report",
    };
    let mut out = String::with_capacity(4096);
    let mut line = |text: &str| {
        out.push_str(text);
        out.push_str("\r\n");
    };
    line(&format!("From: Mail Delivery System <{}>", report.postmaster));
    line(&format!("To: <{to}>"));
    line(&format!("Subject: {subject}"));
    line(&format!("Date: {}", report.now.rfc5322()));
    line(&format!("Message-ID: <{}@{reporting}>", report.id));
    line("Auto-Submitted: auto-replied");
    line("MIME-Version: 1.0");
    // RFC 2045 6.4: a multipart is 8bit if one of its parts is.
    line("Content-Transfer-Encoding: 8bit");
    line("Content-Type: multipart/report; report-type=delivery-status;");
    line(&format!("\tboundary=\"{boundary}\""));
    line("");
    line(&format!("--{boundary}"));
    line("Content-Type: text/plain; charset=utf-8");
    line("Content-Transfer-Encoding: 8bit");
    line("");
    human(report, action, &mut line);
    line("");
    line(&format!("--{boundary}"));
    line(if report.smtputf8 {
        "Content-Type: message/global-delivery-status"
    } else {
        "Content-Type: message/delivery-status"
    });
    line("Content-Transfer-Encoding: 8bit");
    line("");
    machine(report, &mut line);
    line(&format!("--{boundary}"));
    line(match (report.whole, report.smtputf8) {
        (true, false) => "Content-Type: message/rfc822",
        (false, false) => "Content-Type: text/rfc822-headers",
        (true, true) => "Content-Type: message/global",
        (false, true) => "Content-Type: message/global-headers",
    });
    line("Content-Transfer-Encoding: 8bit");
    line("");
    let mut out = out.into_bytes();
    out.extend_from_slice(report.original);
    if !report.original.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    out
}

/// The part for the sender: what happened, to whom, what to do.
fn human(report: &Report<'_>, action: Action, line: &mut impl FnMut(&str)) {
    line(&format!("This is the mail gateway {}.", report.reporting));
    line("");
    line(match action {
        Action::Failed => "Your message could not be delivered to the recipients below. It will not be tried again.",
        Action::Delayed => {
            "Your message has not been delivered yet to the recipients below. You need not send it again."
        }
        Action::Relayed | Action::Delivered => "Your message was handed on for the recipients below.",
    });
    if let Some(until) = report.until {
        line(&format!("It will be tried until {}.", until.rfc5322()));
    }
    for fate in report.fates {
        line("");
        line(&format!("  {}", fate.recipient.address));
        for part in wrap(&reason(fate), 72) {
            line(&format!("    {part}"));
        }
    }
    if let Some(finding) = report.finding.filter(|_| matches!(action, Action::Failed | Action::Delayed)) {
        line("");
        line("Why:");
        for part in wrap(&finding.sentence, 72) {
            line(&format!("    {part}"));
        }
        for part in wrap(&advice(finding), 72) {
            line(&format!("    {part}"));
        }
    }
    line("");
    line(&format!("If you need help, give your postmaster this Audit ID: {}", report.about));
}

/// What the sender can do, in the sender's words.
fn advice(finding: &Finding) -> String {
    let first = || finding.fix.first().cloned().unwrap_or_default();
    match finding.actor {
        Actor::TheSender | Actor::TheContent => format!("What you can do: {}", first()),
        Actor::Nobody => "You need not do anything.".to_owned(),
        Actor::TheirDns | Actor::TheirHost | Actor::TheirPolicy => {
            "Only the recipient's side can change this; tell the recipient by another way.".to_owned()
        }
        _ => "Your own mail administrators can change this; please show them this message.".to_owned(),
    }
}

/// Who said what, in one sentence.
fn reason(fate: &Fate) -> String {
    let status = &fate.status;
    match &status.host {
        Some(host) => format!("The mail server {host} said: {} {} {}", status.code, status.enhanced, status.text),
        None => format!("{} {} {}", status.code, status.enhanced, status.text),
    }
}

/// The part for programs (RFC 3464 2.2, 2.3). Blank lines separate recipients.
fn machine(report: &Report<'_>, line: &mut impl FnMut(&str)) {
    if let Some(envid) = report.envid {
        line(&format!("Original-Envelope-Id: {}", clean(&unxtext(envid))));
    }
    line(&format!("Reporting-MTA: dns; {}", report.reporting.ascii()));
    line(&format!("Arrival-Date: {}", report.arrived.rfc5322()));
    line("");
    for fate in report.fates {
        if let Some((kind, address)) = fate.recipient.orcpt.as_deref().and_then(|orcpt| orcpt.split_once(';')) {
            line(&format!("Original-Recipient: {}; {}", clean(kind), clean(&unxtext(address))));
        }
        let kind = if fate.recipient.address.is_international() { "utf-8" } else { "rfc822" };
        line(&format!("Final-Recipient: {kind}; {}", fate.recipient.address));
        line(&format!("Action: {}", fate.action.word()));
        line(&format!("Status: {}", class_for(fate)));
        if let Some(host) = &fate.status.host {
            line(&format!("Remote-MTA: dns; {}", clean(host)));
        }
        let kind = if fate.status.host.is_some() { "smtp" } else { "x-gatepost" };
        line(&format!(
            "Diagnostic-Code: {kind}; {} {} {}",
            fate.status.code,
            fate.status.enhanced,
            clean(&fate.status.text)
        ));
        line(&format!("Last-Attempt-Date: {}", fate.last_attempt.rfc5322()));
        if let Some(until) = report.until {
            line(&format!("Will-Retry-Until: {}", until.rfc5322()));
        }
        line("");
    }
}

/// The status' class must fit the action: a failed recipient is 5.x.x even if the last reply was 4xx (RFC 3464 2.3.4).
fn class_for(fate: &Fate) -> EnhancedStatus {
    let class = match fate.action {
        Action::Failed => 5,
        Action::Delayed => 4,
        Action::Relayed | Action::Delivered => 2,
    };
    EnhancedStatus { class, ..fate.status.enhanced }
}

/// Octets of a value in a header line: RFC 5322 2.1.1 allows a line 998.
const VALUE_MAX: usize = 800;

/// A value for a header line: no line ends, bounded.
fn clean(text: &str) -> String {
    let mut room = VALUE_MAX;
    let fits = |c: &char| {
        let is_room = c.len_utf8() <= room;
        room = room.saturating_sub(c.len_utf8());
        is_room
    };
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take_while(fits).collect()
}

/// Decodes xtext (RFC 3461 4); what is no xtext stays as it is.
pub fn unxtext(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let hex = (*first == b'+').then(|| tail.get(..2)).flatten().and_then(|hex| std::str::from_utf8(hex).ok());
        match hex.and_then(|hex| u8::from_str_radix(hex, 16).ok()) {
            Some(byte) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            None => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Encodes xtext (RFC 3461 4): `+`, `=` and all that is not printable ASCII as `+XX`.
pub fn xtext(text: &str) -> String {
    text.bytes().fold(String::with_capacity(text.len()), |mut out, byte| {
        match byte {
            b'+' | b'=' | 0..=32 | 127.. => out.push_str(&format!("+{byte:02X}")),
            plain => out.push(char::from(plain)),
        }
        out
    })
}

/// Breaks a text at spaces; a word longer than the width keeps a line of its own, within what a line may hold.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    // What a server or its DNS said may hold a NUL, and whoever gets the report refuses it for that.
    let words = text.split(|c: char| c.is_whitespace() || c.is_control()).filter(|word| !word.is_empty());
    for word in words.flat_map(|word| cut(word, 200)) {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].len() + 1 + word.len() > width {
            lines.push(word);
            continue;
        }
        if !lines[last].is_empty() {
            lines[last].push(' ');
        }
        lines[last].push_str(&word);
    }
    lines
}

/// A word in pieces of at most so many characters.
fn cut(word: &str, length: usize) -> Vec<String> {
    let characters: Vec<char> = word.chars().collect();
    characters.chunks(length).map(|piece| piece.iter().collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::status;

    fn bounce(original: &[u8]) -> String {
        bounce_for("last failure: 450 4.2.0 [mx.x.test] greylisted", original)
    }

    fn bounce_for(words: &str, original: &[u8]) -> String {
        let reporting = "gw.corp.test".parse().unwrap();
        let fates = [Fate {
            recipient: Recipient {
                orcpt: Some("rfc822;a+2Bb@x.test".to_owned()),
                ..Recipient::plain("a@x.test".parse().unwrap())
            },
            action: Action::Failed,
            status: status::EXPIRED.with(words),
            last_attempt: Time(0),
        }];
        let report = Report {
            reporting: &reporting,
            id: AuditId::new(1, 0, 1),
            about: AuditId::new(1, 0, 2),
            to: "s@y.test",
            postmaster: "postmaster@corp.test",
            envid: Some("x+3Dy"),
            arrived: Time(0),
            now: Time(0),
            until: None,
            fates: &fates,
            finding: None,
            original,
            whole: false,
            smtputf8: false,
        };
        String::from_utf8(write(&report)).unwrap()
    }

    #[test]
    fn a_bounce_has_three_parts_and_the_machine_part_fits_rfc_3464() {
        let text = bounce(b"Subject: hello\r\n");
        assert_eq!(text.matches("\r\n--=_").count(), 4);
        for wanted in [
            "Original-Envelope-Id: x=y\r\n",
            "Original-Recipient: rfc822; a+b@x.test\r\n",
            "Final-Recipient: rfc822; a@x.test\r\nAction: failed\r\nStatus: 5.4.7\r\n",
            "Subject: hello\r\n",
            "Auto-Submitted: auto-replied\r\n",
        ] {
            assert!(text.contains(wanted), "{wanted:?} is missing in\n{text}");
        }
    }

    #[test]
    fn xtext_survives_both_ways() {
        for text in ["a+b=c@x.test", "\"a b\"@x.test", "plain"] {
            assert!(!xtext(text).contains([' ', '=']));
            assert_eq!(unxtext(&xtext(text)), text);
        }
    }

    #[test]
    fn strange_words_make_no_line_too_long_and_leave_no_control() {
        let text = bounce_for(&format!("a\0b\r{}", "\u{20ac}".repeat(900)), b"Subject: x\r\n");
        assert!(text.lines().all(|line| line.len() <= 998), "{text}");
        assert!(text.contains("a b") && !text.replace("\r\n", "").contains(['\0', '\r', '\n']), "{text}");
    }

    #[test]
    fn no_line_is_bare() {
        let text = bounce(b"Subject: hello");
        assert!(!text.replace("\r\n", "").contains(['\r', '\n']));
    }
}
