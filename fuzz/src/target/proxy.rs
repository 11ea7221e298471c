//! The PROXY protocol: a header in any pieces gives the same client; one that we write is read, and what stands behind it is
//! left for the conversation.

use crate::octets::Octets;
use crate::pieces::{cuts, pieces};
use crate::private::proxy::header;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, ReadBuf};

/// What a connection begins with; its first octets also as an address for a header of our own.
pub(crate) fn check(input: &[u8]) {
    let whole = read(input, &[]);
    for cuts in cuts(&input[..input.len().min(4096)]) {
        assert_eq!(read(input, &cuts), whole, "cut at {cuts:?}");
    }
    let mut octets = Octets(input);
    let six: [u8; 16] = std::array::from_fn(|_| octets.octet());
    let port = u16::from_be_bytes([six[1], six[2]]);
    for address in [IpAddr::from([six[0], six[1], six[2], six[3]]), IpAddr::from(six)] {
        let client = SocketAddr::new(address, port);
        for header in [version_1(client), version_2(client)] {
            let told = read(&[&header, &b"EHLO x\r\n"[..]].concat(), &[]);
            assert_eq!(told, (Ok(Some(client)), header.len()), "{:?}", header.escape_ascii().to_string());
        }
    }
}

fn version_1(client: SocketAddr) -> Vec<u8> {
    let (family, to) = if client.is_ipv4() { ("TCP4", "192.0.2.1") } else { ("TCP6", "2001:db8::1") };
    format!("PROXY {family} {} {to} {} 25\r\n", client.ip(), client.port()).into_bytes()
}

fn version_2(client: SocketAddr) -> Vec<u8> {
    let octets = match client.ip() {
        IpAddr::V4(v4) => [&v4.octets()[..], &[192, 0, 2, 1]].concat(),
        IpAddr::V6(v6) => [&v6.octets()[..], &[0x20; 16]].concat(),
    };
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
    header.push(if client.is_ipv4() { 0x11 } else { 0x21 });
    // The ports, and a TLV that nobody wants.
    header.extend_from_slice(&(octets.len() as u16 + 8).to_be_bytes());
    header.extend_from_slice(&octets);
    header.extend_from_slice(&client.port().to_be_bytes());
    header.extend_from_slice(&[0, 25, 4, 0, 1, 0]);
    header
}

/// What the header says, and how many octets were taken.
fn read(octets: &[u8], cuts: &[usize]) -> (Result<Option<SocketAddr>, String>, usize) {
    let pieces = pieces(octets.len(), cuts, &[]).into_iter().map(|piece| &octets[piece]).collect();
    let mut wire = Wire { pieces, taken: 0 };
    let mut seen = Vec::new();
    let mut context = Context::from_waker(Waker::noop());
    let result = match pin!(header(&mut wire, &mut seen)).poll(&mut context) {
        Poll::Ready(result) => result.map_err(|error| error.to_string()),
        Poll::Pending => panic!("it waits, though all is there"),
    };
    // Of what is no header the rest does not matter: the connection is closed.
    let taken = if result.is_ok() { wire.taken } else { 0 };
    (result, taken)
}

/// A connection that is closed behind its last piece.
struct Wire<'o> {
    pieces: std::collections::VecDeque<&'o [u8]>,
    taken: usize,
}

impl AsyncRead for Wire<'_> {
    fn poll_read(mut self: Pin<&mut Self>, _: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        if let Some(piece) = self.pieces.pop_front() {
            let (now, later) = piece.split_at(piece.len().min(into.remaining()));
            into.put_slice(now);
            self.taken += now.len();
            if !later.is_empty() {
                self.pieces.push_front(later);
            }
        }
        Poll::Ready(Ok(()))
    }
}
