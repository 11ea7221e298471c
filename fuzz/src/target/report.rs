//! Reports: whatever a host or a sender said, a bounce is a message of three parts, with no field and no line of theirs but where
//! it belongs; xtext comes back.

use crate::octets::{Octets, readable};
use mail::report::{Action, Fate, Report, unxtext, write, xtext};
use mail::{AuditId, Headers, Recipient, Time, header_end, status};

/// Choices; lines: the envelope's ENVID, a recipient, its ORCPT, the last words of the host; then the original's header.
pub(crate) fn check(input: &[u8]) {
    let mut octets = Octets(input);
    let how = octets.octet();
    let (envid, address, orcpt, words) = (octets.line(), octets.line(), octets.line(), octets.line());
    assert_eq!(unxtext(&xtext(words)), words);
    let _ = unxtext(envid);
    let recipient = Recipient {
        orcpt: (how & 8 != 0 && orcpt.len() <= 500).then(|| orcpt.to_owned()),
        ..Recipient::plain(address.parse().unwrap_or_else(|_| "c@d.test".parse().unwrap()))
    };
    let fates = [Fate {
        recipient,
        action: [Action::Failed, Action::Delayed, Action::Relayed, Action::Delivered][usize::from(how & 3)],
        status: status::EXPIRED.with(words),
        last_attempt: Time(0),
    }];
    let reporting = "gw.corp.test".parse().unwrap();
    let original = octets.0;
    let report = Report {
        reporting: &reporting,
        id: AuditId::new(1, 0, 1),
        about: AuditId::new(1, 0, 2),
        to: "s@y.test",
        postmaster: "postmaster@corp.test",
        envid: (how & 16 != 0 && envid.len() <= 100).then_some(envid),
        arrived: Time(0),
        now: Time(1),
        until: (how & 32 != 0).then_some(Time(5)),
        fates: &fates,
        finding: None,
        original,
        whole: how & 64 != 0,
        smtputf8: how & 128 != 0,
    };
    let text = write(&report);
    let names: Vec<String> = Headers::of(&text).map(|field| readable(field.name).to_owned()).collect();
    let expected = [
        "From",
        "To",
        "Subject",
        "Date",
        "Message-ID",
        "Auto-Submitted",
        "MIME-Version",
        "Content-Transfer-Encoding",
        "Content-Type",
    ];
    assert_eq!(names, expected);

    // What is not the original's: whole lines, none too long, with the boundaries where they belong.
    let boundary = format!("--=_{}_{}", report.id, report.about);
    let line_end = if original.ends_with(b"\r\n") { "" } else { "\r\n" };
    let end = [original, format!("{line_end}\r\n{boundary}--\r\n").as_bytes()].concat();
    assert!(text.ends_with(&end), "the original is another");
    let at = text.len() - end.len();
    let ours = String::from_utf8(text[..at].to_vec()).unwrap_or_else(|error| panic!("{error}"));
    assert!(!ours.replace("\r\n", "").contains(['\r', '\n', '\0']), "{ours:?}");
    assert!(ours.lines().all(|line| line.len() <= 998), "a long line: {ours:?}");
    let parts: Vec<&str> = ours.split(&format!("\r\n{boundary}\r\n")).collect();
    assert!(parts.len() == 4, "{} parts: {ours:?}", parts.len());
    let machine = parts[2];
    let body = &machine.as_bytes()[header_end(machine.as_bytes())..];
    let of_message: Vec<String> = Headers::of(body).map(|field| readable(field.name).to_ascii_lowercase()).collect();
    assert!(of_message.contains(&"reporting-mta".to_owned()), "{machine:?}");
    let of_recipient = &body[header_end(body)..];
    let known = [
        "final-recipient",
        "original-recipient",
        "action",
        "status",
        "remote-mta",
        "diagnostic-code",
        "last-attempt-date",
        "will-retry-until",
    ];
    for field in Headers::of(of_recipient) {
        assert!(known.iter().any(|name| field.is(name)), "a field of somebody else: {:?}", readable(field.raw));
    }
}
