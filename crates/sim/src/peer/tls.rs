//! TLS handshakes that a peer only plays: the bytes that old or wrong software would send, made without such software.

use std::io;

use tokio::{io::AsyncReadExt, net::TcpStream};

use super::certificate;

/// TLS_RSA_WITH_AES_128_CBC_SHA, which every old server has.
const OLD_SUITE: u16 = 0x002f;
const ECDHE_RSA_AES128_GCM: u16 = 0xc02f;
const DHE_RSA_AES128_GCM: u16 = 0x009e;
/// RFC 8446 6: the alert for a server name that is not served here.
const UNRECOGNIZED_NAME: u8 = 112;

/// What a peer answers to a ClientHello, before it ends the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Replay {
    /// `alert 70`: a fatal alert.
    Alert(u8),
    /// `hello 0x0301`: a ServerHello of this version.
    Hello(u16),
    /// `dhe 1024`: TLS 1.2 with a Diffie-Hellman group of so many bits.
    Dhe(usize),
    /// `sigalg 0x0201`: TLS 1.2 with a key exchange signed by this scheme.
    SigAlg(u16),
}

impl Replay {
    pub(super) fn begins(text: &str) -> bool {
        matches!(text.split(' ').next(), Some("alert" | "hello" | "dhe" | "sigalg"))
    }

    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("\"{text}\" is no handshake: expected `alert 70`, `hello 0x0301`, `dhe 1024` or `sigalg 0x0201`")
        };
        let (word, value) = text.split_once(' ').ok_or_else(wrong)?;
        let value = value.trim();
        let number = match value.strip_prefix("0x") {
            Some(digits) => u16::from_str_radix(digits, 16),
            None => value.parse(),
        };
        let number = number.map_err(|_| wrong())?;
        match word {
            "alert" => u8::try_from(number).map(Self::Alert).map_err(|_| wrong()),
            "hello" => Ok(Self::Hello(number)),
            "dhe" if (512..=8192).contains(&number) && number % 8 == 0 => Ok(Self::Dhe(number.into())),
            "sigalg" => Ok(Self::SigAlg(number)),
            _ => Err(wrong()),
        }
    }

    /// The records to send. `name` is for the certificate.
    pub(super) fn records(self, name: &str) -> Result<Vec<u8>, String> {
        // RFC 5246 7.4: a handshake message is a type, a length of three bytes, and a body.
        match self {
            Self::Alert(number) => Ok(alert(number)),
            Self::Hello(version) => Ok(record(version, &server_hello(version, OLD_SUITE))),
            Self::Dhe(bits) => {
                let prime = odd_number(bits);
                let exchange = [vector16(&prime), vector16(&[2]), vector16(&prime[1..])].concat();
                let key = signed(&exchange, 0x0401);
                Ok(flight(DHE_RSA_AES128_GCM, &certificate::rsa(name)?, &key))
            }
            Self::SigAlg(scheme) => {
                // RFC 8422 5.4: a named curve (3), x25519, and a point.
                let point = odd_number(256);
                let exchange = [&[3, 0x00, 0x1d, 32][..], &point].concat();
                Ok(flight(ECDHE_RSA_AES128_GCM, &certificate::rsa(name)?, &signed(&exchange, scheme)))
            }
        }
    }
}

/// Waits for the ClientHello, which is left unread.
pub(super) async fn client_hello(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 16_384 + 5];
    loop {
        let size = stream.peek(&mut bytes).await?;
        if size == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let wanted = 5 + bytes.get(3..5).map_or(0, |l| usize::from(l[0]) << 8 | usize::from(l[1]));
        if size >= wanted.min(bytes.len()) && size > 5 {
            bytes.truncate(size);
            return Ok(bytes);
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
}

/// Takes what lies ready, so that closing is no reset.
pub(super) async fn take(stream: &mut TcpStream, size: usize) -> io::Result<()> {
    let mut bytes = vec![0; size];
    stream.read_exact(&mut bytes).await.map(drop)
}

/// RFC 6066 3: the name in a ClientHello, as it was sent.
pub(super) fn server_name(hello: &[u8]) -> Option<String> {
    let mut rest = hello.get(5 + 4 + 2 + 32..)?;
    let skip = |rest: &mut &[u8], length_size: usize| -> Option<()> {
        let (length, after) = rest.split_at_checked(length_size)?;
        let length = length.iter().fold(0usize, |sum, byte| sum << 8 | usize::from(*byte));
        *rest = after.get(length..)?;
        Some(())
    };
    skip(&mut rest, 1)?; // session
    skip(&mut rest, 2)?; // suites
    skip(&mut rest, 1)?; // compressions
    rest = rest.get(2..)?;
    while let Some((head, after)) = rest.split_at_checked(4) {
        let size = usize::from(head[2]) << 8 | usize::from(head[3]);
        let body = after.get(..size)?;
        if head[..2] == [0, 0] {
            return Some(String::from_utf8_lossy(body.get(5..)?).into_owned());
        }
        rest = &after[size..];
    }
    None
}

pub(super) fn unrecognized_name() -> Vec<u8> {
    alert(UNRECOGNIZED_NAME)
}

/// A ClientHello of TLS 1.2 with suites and signatures for RSA certificates only.
pub(crate) fn rsa_client_hello() -> Vec<u8> {
    let suites: [u16; 4] = [0xc02f, 0xc030, 0xc013, 0xc014];
    let suites: Vec<u8> = suites.iter().flat_map(|suite| suite.to_be_bytes()).collect();
    // Groups x25519 and P-256, uncompressed points, RSA signatures (PKCS#1 with SHA-256, 384, 1).
    let extensions = [
        extension(10, &vector16(&[0x00, 0x1d, 0x00, 0x17])),
        extension(11, &[1, 0]),
        extension(13, &vector16(&[4, 1, 5, 1, 2, 1])),
    ]
    .concat();
    let body = [&[3, 3][..], &[7; 32], &[0], &vector16(&suites), &[1, 0], &vector16(&extensions)].concat();
    record(0x0301, &message(1, &body))
}

fn alert(number: u8) -> Vec<u8> {
    vec![21, 3, 1, 0, 2, 2, number]
}

fn record(version: u16, messages: &[u8]) -> Vec<u8> {
    // Nothing made here is longer than one record may be (2^14).
    [&[22][..], &version.to_be_bytes(), &vector16(messages)].concat()
}

fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind][..], &vector24(body)].concat()
}

fn server_hello(version: u16, suite: u16) -> Vec<u8> {
    message(2, &[&version.to_be_bytes()[..], &[7; 32], &[0], &suite.to_be_bytes(), &[0]].concat())
}

/// ServerHello, Certificate, ServerKeyExchange, ServerHelloDone.
fn flight(suite: u16, certificate: &[u8], key: &[u8]) -> Vec<u8> {
    let messages = [
        server_hello(0x0303, suite),
        message(11, &vector24(&vector24(certificate))),
        message(12, key),
        message(14, &[]),
    ];
    record(0x0303, &messages.concat())
}

/// A key exchange with the scheme and a signature that nobody can verify.
fn signed(exchange: &[u8], scheme: u16) -> Vec<u8> {
    [exchange, &scheme.to_be_bytes(), &vector16(&odd_number(2048))].concat()
}

/// So many bits, the first and the last of them set.
fn odd_number(bits: usize) -> Vec<u8> {
    (0..bits / 8).map(|at| if at == 0 { 0xc3 } else { 0x5b }).collect()
}

fn vector16(bytes: &[u8]) -> Vec<u8> {
    [&u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_be_bytes()[..], bytes].concat()
}

fn vector24(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_be_bytes();
    [&length[1..], bytes].concat()
}

fn extension(number: u16, body: &[u8]) -> Vec<u8> {
    [&number.to_be_bytes()[..], &vector16(body)].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_seven_bytes() {
        assert_eq!(Replay::parse("alert 70").unwrap().records("x").unwrap(), [21, 3, 1, 0, 2, 2, 70]);
        assert!(Replay::parse("alert 300").is_err() && Replay::parse("dhe 1023").is_err());
    }

    #[test]
    fn handshakes_have_the_lengths_they_say() {
        for text in ["hello 0x0301", "dhe 1024", "sigalg 0x0201"] {
            let records = Replay::parse(text).unwrap().records("mx.test").unwrap();
            assert_eq!(usize::from(records[3]) << 8 | usize::from(records[4]), records.len() - 5, "{text}");
            assert_eq!(records[0], 22);
        }
        let dhe = Replay::Dhe(1024).records("mx.test").unwrap();
        assert!(dhe.windows(3).any(|part| part == [0, 128, 0xc3]), "the prime has 1024 bits");
    }

    #[test]
    fn a_server_name_is_read_as_it_was_sent() {
        let name = b"mx.dot.test.";
        let entry = [&[0][..], &vector16(name)].concat();
        let extensions = [extension(11, &[1, 0]), extension(0, &vector16(&entry))].concat();
        let body = [&[3, 3][..], &[7; 32], &[0], &vector16(&[0xc0, 0x2f]), &[1, 0], &vector16(&extensions)].concat();
        assert_eq!(server_name(&record(0x0301, &message(1, &body))).as_deref(), Some("mx.dot.test."));
        assert_eq!(server_name(&rsa_client_hello()), None);
        assert_eq!(server_name(b"\x16\x03"), None);
    }
}
