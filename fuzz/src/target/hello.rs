//! TLS overheard: any octets of a handshake, cut off anywhere; what was heard to its end stays so.

use crate::octets::Octets;
use mail::TlsHello;
use mail::hello::{Side, overhear};

/// Who we are and where the two directions part; then the octets sent and received.
pub(crate) fn check(input: &[u8]) {
    let mut octets = Octets(input);
    let (side, length) = (octets.octet(), usize::from(octets.octet()) * 4);
    let we = if side & 1 == 0 { Side::Client } else { Side::Server };
    let (sent, received) = octets.0.split_at(length.min(octets.0.len()));
    let mut was_complete = false;
    let step = (received.len() / 64).max(1);
    for end in (0..=received.len()).step_by(step) {
        let overheard = overhear(we, sent, &received[..end]);
        assert!(overheard.complete || !was_complete, "complete, and with more octets not");
        was_complete = overheard.complete;
    }
    let whole = overhear(we, sent, received);
    assert!(whole.hello.not_tls.len() <= 32 && whole.hello.suites.len() <= 256);
    assert!(whole.certificate.is_none_or(|certificate| certificate.len() <= received.len().max(sent.len())));
    let json = serde_json::to_string(&whole.hello).unwrap();
    assert_eq!(serde_json::from_str::<TlsHello>(&json).unwrap(), whole.hello);
}
