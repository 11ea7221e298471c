//! Wire: one question to one server, over UDP or TCP.

use super::message;
use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::{Name, RecordType};
use mail::dns::{Answer, Kind, Question, Tried, Trouble};
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// The DNS flag day's buffer size: answers this long are not fragmented.
pub(super) const UDP_PAYLOAD: u16 = 1232;

/// How to put a question.
#[derive(Clone, Copy, Debug)]
pub(super) struct Way {
    /// The buffer size announced; `None`: no OPT record.
    pub(super) edns: Option<u16>,
    /// DO: send signatures along.
    pub(super) dnssec: bool,
    /// CD: do not validate.
    pub(super) unchecked: bool,
    /// RD: ask others if you do not know.
    pub(super) recursive: bool,
    /// At once, not only when UDP is cut short.
    pub(super) tcp: bool,
}

impl Way {
    pub(super) const USUAL: Way =
        Way { edns: Some(UDP_PAYLOAD), dnssec: false, unchecked: false, recursive: true, tcp: false };
}

/// Why nothing came that can be used: in the sense of machines and in words.
struct Bad(Trouble, String);

/// Asks one server; over TCP too if it says so (TC=1). Always an answer, though a failed one may be all there is; what went
/// before it is in its `tried`.
pub(super) async fn ask(server: SocketAddr, limit: Duration, question: &Question, way: Way) -> Answer {
    let started = Instant::now();
    let mut tried: Vec<Tried> = Vec::new();
    let mut note = |tcp: bool, trouble: Trouble, since: Instant| {
        tried.push(Tried { server: server.to_string(), tcp, edns: way.edns, trouble, ms: millis(since) });
    };
    let failed = |trouble: Trouble, why: String| Answer {
        server: server.to_string(),
        trouble: Some(trouble),
        ..Answer::failed(question.clone(), why)
    };
    let (id, packet) = match packet(question, way) {
        Ok(made) => made,
        Err(why) => return failed(Trouble::NotAsked, why),
    };
    let mut answer = match once(server, limit, question, id, &packet, way.tcp).await {
        Ok(answer) => answer,
        Err(Bad(Trouble::Truncated, _)) => {
            note(false, Trouble::Truncated, started);
            let again = Instant::now();
            match once(server, limit, question, id, &packet, true).await {
                Ok(answer) => answer,
                Err(Bad(trouble, why)) => {
                    note(true, trouble, again);
                    failed(trouble, format!("cut its UDP answer short and over TCP {why}"))
                }
            }
        }
        Err(Bad(trouble, why)) => {
            note(way.tcp, trouble, started);
            failed(trouble, why)
        }
    };
    if let (Some(trouble), true) = (answer.trouble, answer.size > 0) {
        note(answer.over_tcp, trouble, started);
    }
    answer.without_edns = way.edns.is_none();
    answer.tried = tried;
    answer
}

pub(super) fn millis(since: Instant) -> u32 {
    u32::try_from(since.elapsed().as_millis()).unwrap_or(u32::MAX)
}

async fn once(
    server: SocketAddr,
    limit: Duration,
    question: &Question,
    id: u16,
    packet: &[u8],
    tcp: bool,
) -> Result<Answer, Bad> {
    let came = if tcp {
        timeout(limit, over_tcp(server, packet)).await
    } else {
        timeout(limit, over_udp(server, id, packet)).await
    };
    let bytes = came
        .map_err(|_| Bad(Trouble::TimedOut, format!("did not answer within {} s", limit.as_secs_f32())))?
        .map_err(|error| of_socket(&error, tcp))?;
    let unreadable = |error| Bad(Trouble::Unreadable, format!("sent an answer that cannot be read: {error}"));
    let message = Message::from_vec(&bytes).map_err(unreadable)?;
    if message.metadata.truncation && !tcp {
        return Err(Bad(Trouble::Truncated, "cut its answer short".to_owned()));
    }
    let mut answer = message::read(server, question, &message);
    answer.over_tcp = tcp;
    answer.size = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    Ok(answer)
}

fn of_socket(error: &io::Error, tcp: bool) -> Bad {
    let transport = if tcp { "TCP" } else { "UDP" };
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Bad(
            Trouble::NoListener,
            format!("does not answer (connection refused): nothing listens at its {transport} port"),
        ),
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::HostUnreachable => {
            Bad(Trouble::Unreachable, format!("cannot be reached: {error}"))
        }
        _ => Bad(Trouble::Broken, format!("failed over {transport}: {error}")),
    }
}

/// The question on the wire. AD is set so that a validating resolver tells what it validated (RFC 6840 5.7).
fn packet(question: &Question, way: Way) -> Result<(u16, Vec<u8>), String> {
    let mut name = Name::from_ascii(&question.name)
        .map_err(|error| format!("{:?} cannot be asked for: {error}", question.name))?;
    name.set_fqdn(true);
    let id: u16 = rand::random();
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = way.recursive;
    message.metadata.authentic_data = true;
    message.metadata.checking_disabled = way.unchecked;
    message.add_query(Query::query(name, record_type(question.kind)));
    message.edns = way.edns.map(|size| {
        let mut edns = Edns::new();
        edns.set_max_payload(size);
        edns.set_dnssec_ok(way.dnssec);
        edns
    });
    Ok((id, message.to_vec().map_err(|error| error.to_string())?))
}

/// A socket of its own for each question: the source port is as hard to guess as the ID (RFC 5452 9.2).
async fn over_udp(server: SocketAddr, id: u16, packet: &[u8]) -> io::Result<Vec<u8>> {
    let any: SocketAddr = if server.is_ipv4() { ([0, 0, 0, 0], 0).into() } else { ([0u16; 8], 0).into() };
    let socket = UdpSocket::bind(any).await?;
    socket.connect(server).await?;
    socket.send(packet).await?;
    let mut buffer = vec![0; 4096];
    loop {
        let length = socket.recv(&mut buffer).await?;
        // An answer to another question is no answer: a late one, or a forgery.
        if length >= 12 && buffer[..2] == id.to_be_bytes() && buffer[2] & 0x80 != 0 {
            buffer.truncate(length);
            return Ok(buffer);
        }
    }
}

async fn over_tcp(server: SocketAddr, packet: &[u8]) -> io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(server).await?;
    let mut framed = u16::try_from(packet.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    framed.extend_from_slice(packet);
    socket.write_all(&framed).await?;
    let length = socket.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    socket.read_exact(&mut answer).await?;
    Ok(answer)
}

fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Aaaa => RecordType::AAAA,
        Kind::Mx => RecordType::MX,
        Kind::Ptr => RecordType::PTR,
        Kind::Txt => RecordType::TXT,
        Kind::Cname => RecordType::CNAME,
        Kind::Ns => RecordType::NS,
        Kind::Soa => RecordType::SOA,
        Kind::Tlsa => RecordType::TLSA,
        Kind::Any => RecordType::ANY,
    }
}
