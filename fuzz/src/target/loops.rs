//! The loop guard: a trace that we wrote is found in any header, one that was changed is not; our greeting is known among any
//! words.

use crate::octets::Octets;
use decide::loops::{FIELD, Key};
use mail::{Address, AuditId, Listener, Time};

/// Choices; lines: a greeting, recipients until an empty line; then the header around the trace.
pub(crate) fn check(input: &[u8]) {
    let mut octets = Octets(input);
    let (how, pass, bent) = (octets.octet(), octets.octet(), usize::from(octets.octet()));
    let greeting = octets.line();
    let mut recipients: Vec<Address> = Vec::new();
    loop {
        match octets.line() {
            "" => break,
            line => recipients.extend(line.parse::<Address>()),
        }
    }
    let around = octets.0;
    greeted(greeting, how);

    let key = Key::new([9; 32]);
    let id = AuditId::new(i64::from(how) * 1000, how, u16::from(pass));
    let listener =
        [Listener::Inbound, Listener::Outbound, Listener::Submission, Listener::Internal][usize::from(how & 3)];
    let marks = key.marks(id, listener, pass, &recipients);
    assert!(marks.field.starts_with(FIELD) && marks.field.ends_with("\r\n"));
    assert!(marks.field.lines().all(|line| line.len() <= 998), "{}", marks.field);
    let mark = if how & 4 == 0 {
        marks.field
    } else {
        format!("Received: by x (trace {})\r\n\tfor y; date\r\n", marks.comment)
    };

    let mut header = mark.clone().into_bytes();
    header.extend_from_slice(around);
    let traces = key.traces(&header);
    let found = traces.iter().any(|trace| (trace.id, trace.listener, trace.pass) == (id, listener, pass));
    assert!(found, "not found: {:?}", String::from_utf8_lossy(&header));
    assert!(Key::new([8; 32]).traces(&header).is_empty(), "another gateway's key reads it");

    // One letter of what is signed is another: hexadecimal digits and letters of the Audit ID have two cases.
    let begin = mark.find("1 ").unwrap_or_default();
    // Behind the bracket stand the clauses of Received, which nobody signs.
    let end = mark.rfind(')').unwrap_or(mark.len());
    let at = begin + bent % (end - begin);
    let old = mark.as_bytes()[at];
    let new = if old == b'0' { b'1' } else { b'0' };
    if old.is_ascii_hexdigit() && mark[..at].contains('=') {
        let mut changed = mark.into_bytes();
        changed[at] = new;
        assert!(
            key.traces(&changed).is_empty(),
            "a changed trace is believed: {:?}",
            String::from_utf8_lossy(&changed)
        );
    }
}

fn greeted(greeting: &str, how: u8) {
    let (key, now) = (Key::new([9; 32]), Time(1_800_000_000_000));
    assert!(!key.is_own_greeting(greeting, now), "{greeting:?} is taken for our own");
    let token = key.token(u32::from(how), now);
    assert!(key.is_own_greeting(&format!("{greeting} {token} ready"), now));
    assert!(!key.is_own_greeting(&format!("{greeting} {token} ready"), Time(now.ms() + 3_600_000)), "an old token");
    assert_eq!(key.to_hex().parse::<Key>(), Ok(key));
    let _ = greeting.parse::<Key>();
}
