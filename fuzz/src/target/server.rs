//! The server's machine: a client's octets, in any pieces, give the same events, replies, content and record.

use super::desk::Desk;
use crate::octets::Octets;
use crate::pieces::{cuts, pieces};

/// Options, answers of the policy, and what the client says.
pub(crate) fn check(input: &[u8]) {
    let mut octets = Octets(input);
    let (options, policy) = (octets.octet(), octets.octet());
    let wire = octets.0;
    let (reference, waits) = octet_by_octet(options, policy, wire);
    secrets_stay(wire, &reference);
    for cuts in cuts(wire) {
        let mut desk = Desk::new(options, policy);
        for piece in pieces(wire.len(), &cuts, &waits) {
            desk.hear(&wire[piece]);
        }
        let told = desk.told();
        let expected = reference.told();
        assert_eq!(told, expected, "cut at {cuts:?} (waiting at {waits:?})");
    }
}

/// What the session comes to, and where a client has to wait for an answer: behind DATA, AUTH and STARTTLS octets that come
/// too early mean something else than those that come in time (RFC 2920 3.1, RFC 3207 4).
fn octet_by_octet(options: u8, policy: u8, wire: &[u8]) -> (Desk, Vec<usize>) {
    let mut desk = Desk::new(options, policy);
    let mut waits = Vec::new();
    let mut line = 0;
    for at in 0..wire.len() {
        if desk.hear(&wire[at..=at]) {
            let said = wire[line..=at].to_ascii_uppercase();
            let holds = |word: &[u8]| said.windows(4).any(|four| four == word);
            if holds(b"DATA") || holds(b"AUTH") || holds(b"STAR") || desk.was_auth {
                waits.push(at + 1);
            }
        }
        if wire[at] == b'\n' {
            line = at + 1;
        }
    }
    (desk, waits)
}

/// Nothing that AUTH carries stands in the record of the session, unless the client says it elsewhere as well.
fn secrets_stay(wire: &[u8], desk: &Desk) {
    let text = String::from_utf8_lossy(wire);
    for line in text.split("\r\n") {
        let mut words = line.split_ascii_whitespace();
        let is_auth = words.next().is_some_and(|verb| verb.eq_ignore_ascii_case("AUTH"));
        for secret in words.skip(1).filter(|word| is_auth && word.len() >= 8 && text.matches(*word).count() == 1) {
            assert!(!desk.shown.iter().any(|shown| shown.contains(secret)), "{secret:?} is shown: {:?}", desk.shown);
        }
    }
}
