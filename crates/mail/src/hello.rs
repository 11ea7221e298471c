//! Hello: reads what a TLS handshake says in the clear, out of the octets that went each way (RFC 8446 4, 5; RFC 5246 7).
//!
//! A failed handshake seldom says why; its first messages do. Nothing here is trusted and nothing is verified: it explains.

use crate::TlsHello;

const CHANGE_CIPHER_SPEC: u8 = 20;
const ALERT: u8 = 21;
const HANDSHAKE: u8 = 22;
const APPLICATION_DATA: u8 = 23;

const CLIENT_HELLO: u8 = 1;
const SERVER_HELLO: u8 = 2;
const CERTIFICATE: u8 = 11;
const SERVER_KEY_EXCHANGE: u8 = 12;
const SERVER_HELLO_DONE: u8 = 14;

const SERVER_NAME: u16 = 0;
const SIGNATURE_ALGORITHMS: u16 = 13;
const SUPPORTED_VERSIONS: u16 = 43;

const TLS_1_2: u16 = 0x0303;
/// RFC 5246 6.2.3: 2^14 octets, and 2048 more once encrypted.
const RECORD_MAX: usize = 16_384 + 2048;
/// Octets kept of what is no TLS.
const NOT_TLS_MAX: usize = 32;
/// Entries kept of a list of versions, suites or schemes.
const LIST_MAX: usize = 256;

/// Which side of the handshake we were.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Client,
    Server,
}

/// What was overheard of a handshake.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Overheard {
    pub hello: TlsHello,
    /// The server's first certificate, DER, if it came in the clear (TLS 1.2 and before).
    pub certificate: Option<Vec<u8>>,
    /// The other side has said all that it says in the clear: nothing more is worth waiting for.
    pub complete: bool,
}

/// Reads a handshake from the octets that we sent and those that we received, each from its start, as far as they go.
pub fn overhear(we: Side, sent: &[u8], received: &[u8]) -> Overheard {
    let ours = Flow::read(sent);
    let theirs = Flow::read(received);
    let mut overheard = Overheard::default();
    let hello = &mut overheard.hello;
    hello.alert = theirs.alert;
    hello.our_alert = ours.alert;
    if theirs.is_other {
        hello.not_tls = received.iter().copied().take(NOT_TLS_MAX).collect();
    }
    let (client, server) = if we == Side::Client { (&ours, &theirs) } else { (&theirs, &ours) };
    for (_, body) in client.messages().filter(|(kind, _)| *kind == CLIENT_HELLO).take(1) {
        // A message that breaks off leaves what came before it.
        let _ = client_hello(body, hello);
    }
    for (kind, body) in server.messages() {
        match kind {
            SERVER_HELLO => drop(server_hello(body, hello)),
            CERTIFICATE => overheard.certificate = first_certificate(body).map(<[u8]>::to_vec),
            SERVER_KEY_EXCHANGE => drop(server_key_exchange(body, hello)),
            _ => {}
        }
    }
    let last_word = |(kind, _): (u8, &[u8])| kind == SERVER_HELLO_DONE;
    overheard.complete =
        theirs.is_other || theirs.alert.is_some() || theirs.is_closed || theirs.messages().any(last_word);
    overheard
}

/// What one side sent.
#[derive(Debug, Default)]
struct Flow {
    /// Handshake messages in a row, without the records around them.
    handshake: Vec<u8>,
    alert: Option<(u8, u8)>,
    /// Encrypted from here on.
    is_closed: bool,
    /// It is no TLS.
    is_other: bool,
}

impl Flow {
    fn read(octets: &[u8]) -> Flow {
        let mut flow = Flow::default();
        let mut cursor = Cursor(octets);
        while let Some(kind) = cursor.0.first().copied() {
            let version = cursor.0.get(1).copied();
            let length = cursor.0.get(3..5).map(|length| usize::from(u16::from_be_bytes([length[0], length[1]])));
            let is_record = (CHANGE_CIPHER_SPEC..=APPLICATION_DATA).contains(&kind)
                && version.is_none_or(|major| major == 3)
                && length.is_none_or(|length| length <= RECORD_MAX);
            if !is_record {
                // What follows a record and is none is not worth a thought: only the first octets tell.
                flow.is_other = cursor.0.len() == octets.len();
                break;
            }
            let Some(length) = length else { break };
            let payload = &cursor.0[5..];
            let payload = &payload[..length.min(payload.len())];
            match (kind, payload) {
                // An encrypted alert is longer.
                (ALERT, &[level, description]) if length == 2 => flow.alert = flow.alert.or(Some((level, description))),
                (HANDSHAKE, _) if !flow.is_closed => flow.handshake.extend_from_slice(payload),
                (CHANGE_CIPHER_SPEC | APPLICATION_DATA, _) => flow.is_closed = true,
                _ => {}
            }
            cursor.0 = cursor.0.get(5 + length..).unwrap_or_default();
        }
        flow
    }

    /// `(type, body)`; the last body may be cut short.
    fn messages(&self) -> impl Iterator<Item = (u8, &[u8])> {
        let mut cursor = Cursor(&self.handshake);
        std::iter::from_fn(move || {
            let kind = cursor.u8()?;
            let length = cursor.u24()?;
            Some((kind, cursor.at_most(length)))
        })
    }
}

/// RFC 8446 4.1.2.
fn client_hello(body: &[u8], hello: &mut TlsHello) -> Option<()> {
    let mut body = Cursor(body);
    let legacy_version = body.u16()?;
    hello.versions = vec![legacy_version];
    body.take(32)?;
    body.list8()?;
    hello.suites = body.list16()?.u16s();
    body.list8()?;
    let mut extensions = body.list16()?;
    while let Some((kind, mut data)) = extensions.extension() {
        match kind {
            SERVER_NAME => hello.sni = data.list16().and_then(|names| names.server_name()),
            SIGNATURE_ALGORITHMS => hello.signature_schemes = data.list16().map(Cursor::u16s).unwrap_or_default(),
            SUPPORTED_VERSIONS => {
                let offered = data.list8().map(Cursor::u16s).unwrap_or_default();
                if !offered.is_empty() {
                    hello.versions = offered;
                }
            }
            _ => {}
        }
    }
    // GREASE (RFC 8701): values of the form 0x?A?A mean nothing.
    let is_real = |value: &u16| value & 0x0F0F != 0x0A0A || value >> 8 != value & 0xFF;
    for list in [&mut hello.versions, &mut hello.suites, &mut hello.signature_schemes] {
        list.retain(is_real);
    }
    hello.versions.sort_unstable_by(|a, b| b.cmp(a));
    Some(())
}

/// RFC 8446 4.1.3.
fn server_hello(body: &[u8], hello: &mut TlsHello) -> Option<()> {
    let mut body = Cursor(body);
    hello.version = Some(body.u16()?);
    body.take(32)?;
    body.list8()?;
    hello.suite = Some(body.u16()?);
    body.u8()?;
    let mut extensions = body.list16()?;
    while let Some((kind, mut data)) = extensions.extension() {
        if kind == SUPPORTED_VERSIONS {
            hello.version = data.u16().or(hello.version);
        }
    }
    Some(())
}

/// RFC 5246 7.4.2: a list of certificates, the server's own first.
fn first_certificate(body: &[u8]) -> Option<&[u8]> {
    let mut body = Cursor(body);
    let length = body.u24()?;
    let mut list = Cursor(body.at_most(length));
    let length = list.u24()?;
    list.take(length)
}

/// RFC 5246 7.4.3 for DHE, RFC 8422 5.4 for ECDHE; which one it is follows from the suite.
fn server_key_exchange(body: &[u8], hello: &mut TlsHello) -> Option<()> {
    let mut body = Cursor(body);
    let is_new = hello.version == Some(TLS_1_2);
    if hello.suite.is_some_and(is_dhe) {
        let prime = body.list16()?.0;
        hello.dh_bits = Some(bits(prime));
        body.list16()?;
        body.list16()?;
    } else {
        // named_curve, its number, the point.
        if body.u8()? != 3 {
            return None;
        }
        body.u16()?;
        body.list8()?;
    }
    // Before TLS 1.2 the signature names no scheme.
    if is_new {
        hello.signature = Some(body.u16()?);
    }
    Some(())
}

/// Bits of a number, leading zeros not counted.
fn bits(number: &[u8]) -> u32 {
    let zeros = number.iter().take_while(|&&octet| octet == 0).count();
    let rest = &number[zeros..];
    rest.first()
        .map_or(0, |first| u32::try_from(rest.len()).unwrap_or(u32::MAX).saturating_mul(8) - first.leading_zeros())
}

/// Cipher suites with an ephemeral Diffie-Hellman exchange over integers, as IANA's registry lists them; those with a
/// pre-shared key, which no mail server uses, are left out.
pub fn is_dhe(suite: u16) -> bool {
    matches!(
        suite,
        0x0011..=0x001B
            | 0x0032..=0x0034
            | 0x0038..=0x003A
            | 0x0040
            | 0x0044..=0x0046
            | 0x0067
            | 0x006A..=0x006D
            | 0x0087..=0x0089
            | 0x0099..=0x009B
            | 0x009E..=0x009F
            | 0x00A2..=0x00A3
            | 0x00A6..=0x00A7
            | 0x00BD..=0x00BF
            | 0x00C3..=0x00C5
            | 0xC042..=0xC047
            | 0xC052..=0xC053
            | 0xC056..=0xC057
            | 0xC05A..=0xC05B
            | 0xC07C..=0xC07D
            | 0xC080..=0xC081
            | 0xC084..=0xC085
            | 0xC09E..=0xC09F
            | 0xC0A2..=0xC0A3
            | 0xCCAA
    )
}

/// Octets still to be read; every step may find too few.
#[derive(Clone, Copy, Debug)]
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn at_most(&mut self, count: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    fn u8(&mut self) -> Option<u8> {
        self.take(1).map(|octets| octets[0])
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2).map(|octets| u16::from_be_bytes([octets[0], octets[1]]))
    }

    fn u24(&mut self) -> Option<usize> {
        self.take(3).map(|octets| usize::from(octets[0]) << 16 | usize::from(octets[1]) << 8 | usize::from(octets[2]))
    }

    /// A list whose length stands before it in one octet.
    fn list8(&mut self) -> Option<Cursor<'a>> {
        let length = self.u8()?;
        self.take(usize::from(length)).map(Cursor)
    }

    /// A list whose length stands before it in two octets.
    fn list16(&mut self) -> Option<Cursor<'a>> {
        let length = self.u16()?;
        self.take(usize::from(length)).map(Cursor)
    }

    fn u16s(self) -> Vec<u16> {
        self.0.chunks_exact(2).take(LIST_MAX).map(|pair| u16::from_be_bytes([pair[0], pair[1]])).collect()
    }

    fn extension(&mut self) -> Option<(u16, Cursor<'a>)> {
        let kind = self.u16()?;
        Some((kind, self.list16()?))
    }

    /// RFC 6066 3: the first host name of the list.
    fn server_name(mut self) -> Option<String> {
        while let Some(kind) = self.u8() {
            let name = self.list16()?;
            if kind == 0 {
                return Some(String::from_utf8_lossy(name.0).into_owned());
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lays a message into records of at most `piece` octets.
    fn records(version: u16, messages: &[u8], piece: usize) -> Vec<u8> {
        let mut all = Vec::new();
        for part in messages.chunks(piece) {
            all.push(HANDSHAKE);
            all.extend(version.to_be_bytes());
            all.extend(u16::try_from(part.len()).unwrap().to_be_bytes());
            all.extend(part);
        }
        all
    }

    fn message(kind: u8, body: &[u8]) -> Vec<u8> {
        let mut all = vec![kind];
        all.extend(&u32::try_from(body.len()).unwrap().to_be_bytes()[1..]);
        all.extend(body);
        all
    }

    fn list16(data: &[u8]) -> Vec<u8> {
        let mut all = u16::try_from(data.len()).unwrap().to_be_bytes().to_vec();
        all.extend(data);
        all
    }

    fn extension(kind: u16, data: &[u8]) -> Vec<u8> {
        let mut all = kind.to_be_bytes().to_vec();
        all.extend(list16(data));
        all
    }

    fn client(name: &str) -> Vec<u8> {
        let mut body = vec![3, 3];
        body.extend([7; 32]);
        body.push(0);
        body.extend(list16(&[0x0A, 0x0A, 0xC0, 0x2F, 0x13, 0x01]));
        body.extend([1, 0]);
        let mut entry = vec![0];
        entry.extend(list16(name.as_bytes()));
        let mut extensions = extension(SERVER_NAME, &list16(&entry));
        extensions.extend(extension(SIGNATURE_ALGORITHMS, &list16(&[4, 3, 8, 4])));
        extensions.extend(extension(SUPPORTED_VERSIONS, &[4, 3, 3, 3, 4]));
        body.extend(list16(&extensions));
        message(CLIENT_HELLO, &body)
    }

    fn server(version: u16, suite: u16, exchange: &[u8]) -> Vec<u8> {
        let mut body = version.to_be_bytes().to_vec();
        body.extend([9; 32]);
        body.push(0);
        body.extend(suite.to_be_bytes());
        body.push(0);
        body.extend(list16(&[]));
        let mut all = message(SERVER_HELLO, &body);
        all.extend(message(CERTIFICATE, &[0, 0, 7, 0, 0, 4, 0x30, 2, 5, 0]));
        all.extend(message(SERVER_KEY_EXCHANGE, exchange));
        all.extend(message(SERVER_HELLO_DONE, &[]));
        all
    }

    fn dhe(prime: usize, scheme: u16) -> Vec<u8> {
        let mut all = list16(&vec![0xFF; prime]);
        all.extend(list16(&[2]));
        all.extend(list16(&vec![3; prime]));
        all.extend(scheme.to_be_bytes());
        all.extend(list16(&[1; 256]));
        all
    }

    #[test]
    fn both_hellos_are_read_however_they_are_cut_into_records() {
        for piece in [1, 7, 100, 16_000] {
            let sent = records(0x0301, &client("mx.dest.test"), piece);
            let received = records(0x0303, &server(0x0303, 0x0033, &dhe(128, 0x0401)), piece);
            let overheard = overhear(Side::Client, &sent, &received);
            let hello = overheard.hello;
            assert_eq!(hello.versions, [0x0304, 0x0303]);
            assert_eq!(hello.suites, [0xC02F, 0x1301], "GREASE is left out");
            assert_eq!(hello.signature_schemes, [0x0403, 0x0804]);
            assert_eq!(hello.sni.as_deref(), Some("mx.dest.test"));
            assert_eq!((hello.version, hello.suite), (Some(0x0303), Some(0x0033)));
            assert_eq!((hello.dh_bits, hello.signature), (Some(1024), Some(0x0401)));
            assert_eq!(overheard.certificate.as_deref(), Some(&[0x30, 2, 5, 0][..]));
            assert!(overheard.complete);
        }
    }

    #[test]
    fn a_server_hears_the_client() {
        let received = records(0x0301, &client("x.test."), 500);
        let overheard = overhear(Side::Server, &[21, 3, 3, 0, 2, 2, 40], &received);
        assert_eq!(overheard.hello.sni.as_deref(), Some("x.test."));
        assert_eq!(overheard.hello.our_alert, Some((2, 40)));
        assert_eq!(overheard.hello.alert, None);
    }

    #[test]
    fn elliptic_curves_have_a_scheme_and_no_prime() {
        let mut exchange = vec![3, 0, 23, 3, 1, 2, 3];
        exchange.extend([2, 1]);
        exchange.extend(list16(&[1; 64]));
        let received = records(0x0303, &server(0x0303, 0xC013, &exchange), 300);
        let hello = overhear(Side::Client, &[], &received).hello;
        assert_eq!((hello.dh_bits, hello.signature), (None, Some(0x0201)));
    }

    #[test]
    fn tls_1_0_signs_without_a_scheme() {
        let received = records(0x0301, &server(0x0301, 0x0033, &dhe(96, 0)), 300);
        let hello = overhear(Side::Client, &[], &received).hello;
        assert_eq!((hello.version, hello.dh_bits, hello.signature), (Some(0x0301), Some(768), None));
    }

    #[test]
    fn an_alert_is_read_and_an_encrypted_one_is_not() {
        let overheard = overhear(Side::Client, &[], &[0x15, 3, 1, 0, 2, 2, 0x46]);
        assert_eq!(overheard.hello.alert, Some((2, 70)));
        assert!(overheard.complete && overheard.hello.not_tls.is_empty());
        let mut encrypted = vec![20, 3, 3, 0, 1, 1, 21, 3, 3, 0, 26];
        encrypted.extend([0; 26]);
        assert_eq!(overhear(Side::Client, &[], &encrypted).hello.alert, None);
    }

    #[test]
    fn what_is_no_tls_is_kept_as_it_came() {
        let overheard = overhear(Side::Client, &[], b"454 4.7.0 TLS not available due to a local problem\r\n");
        assert_eq!(overheard.hello.not_tls, b"454 4.7.0 TLS not available due ");
        assert!(overheard.complete);
        assert!(overhear(Side::Client, &[], b"").hello.not_tls.is_empty());
        assert!(!overhear(Side::Client, &[], &[22, 3]).complete, "the record may still come");
    }

    #[test]
    fn no_octets_make_it_fail() {
        let sent = records(0x0301, &client("mx.dest.test"), 60);
        let mut received = records(0x0303, &server(0x0303, 0x0033, &dhe(128, 0x0401)), 90);
        received.extend([21, 3, 3, 0, 2, 2, 40]);
        for end in 0..=received.len() {
            overhear(Side::Client, &sent[..end.min(sent.len())], &received[..end]);
            overhear(Side::Server, &received[..end], &sent[..end.min(sent.len())]);
        }
        // A cheap generator is random enough to reach every length field.
        let mut state = 1_u64;
        let mut next = move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            usize::try_from(state >> 33).unwrap()
        };
        for _ in 0..20_000 {
            let (mut a, mut b) = (sent.clone(), received.clone());
            for _ in 0..1 + next() % 4 {
                let (at, other) = (next() % a.len(), next() % b.len());
                a[at] = u8::try_from(next() % 256).unwrap();
                b[other] = u8::try_from(next() % 256).unwrap();
            }
            overhear(Side::Client, &a, &b);
            overhear(Side::Server, &a, &b);
        }
    }
}
