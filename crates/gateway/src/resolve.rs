//! Resolver: asks the configured recursive servers over UDP, over TCP when cut short, and keeps the whole answer.
//!
//! A stub of our own over hickory-proto's codec (docs/adr/0002): a diagnosis needs to know which server said what, with
//! which rcode, AD bit and extended error, and a library that answers "no records found" throws that away.

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query, ResponseCode};
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use hickory_proto::rr::{Name, RData, RecordType};
use mail::dns::{Answer, Data, Kind, Outcome, Question, Record};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpStream, UdpSocket};
use tokio::time::timeout;

/// Answers kept; when there are more, the cache starts anew.
const CACHE_MAX: usize = 20_000;
/// The DNS flag day's buffer size: answers this long are not fragmented.
const UDP_PAYLOAD: u16 = 1232;
/// A failure is kept this long, so that a thousand messages to one domain ask once.
const FAILURE_TTL: Duration = Duration::from_secs(5);
/// RFC 2308 5: a negative answer without SOA should not be kept at all; a few seconds protect the server.
const NEGATIVE_TTL_MIN: u32 = 5;
/// Bounds on what a zone may ask for.
const TTL_MAX: u32 = 3600;
/// RFC 1034 has no number; eight is what other resolvers allow and more.
const CNAME_CHAIN_MAX: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Resolver {
    cache: Mutex<HashMap<Question, (Instant, Answer)>>,
}

/// Whom to ask and how long to wait for each.
#[derive(Clone, Debug)]
pub(crate) struct Servers {
    pub(crate) addresses: Vec<SocketAddr>,
    pub(crate) timeout: Duration,
}

impl Servers {
    /// From the settings, or from /etc/resolv.conf.
    pub(crate) fn of(dns: &decide::settings::Dns) -> Servers {
        let mut addresses = dns.servers.clone();
        if addresses.is_empty() {
            let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
            let servers = text.lines().filter_map(|line| line.trim().strip_prefix("nameserver"));
            addresses = servers
                .filter_map(|server| server.trim().parse::<IpAddr>().ok())
                .map(|address| (address, 53).into())
                .collect();
        }
        Servers { addresses, timeout: dns.timeout }
    }
}

impl Resolver {
    /// The answer, from the cache while its TTL lasts.
    pub(crate) async fn ask(&self, servers: &Servers, question: Question) -> Answer {
        if let Some(answer) = self.cached(&question) {
            return answer;
        }
        let answer = ask_in_turn(servers, &question).await;
        self.keep(&question, &answer);
        answer
    }

    /// Forgets everything: after a change of DNS settings.
    pub(crate) fn forget(&self) {
        self.cache.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    fn cached(&self, question: &Question) -> Option<Answer> {
        let cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, answer) = cache.get(question)?;
        (Instant::now() < *until).then(|| Answer { cached: true, elapsed_ms: 0, ..answer.clone() })
    }

    fn keep(&self, question: &Question, answer: &Answer) {
        let lasting = match answer.outcome {
            Outcome::Failed(_) => FAILURE_TTL,
            _ => Duration::from_secs(u64::from(
                answer.records.iter().map(|record| record.ttl).min().unwrap_or(NEGATIVE_TTL_MIN).min(TTL_MAX),
            )),
        };
        let mut cache = self.cache.lock().unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= CACHE_MAX {
            cache.clear();
        }
        cache.insert(question.clone(), (Instant::now() + lasting, answer.clone()));
    }
}

/// Each server in turn, twice round; the first that knows ends it. What all of them failed with is in the answer.
async fn ask_in_turn(servers: &Servers, question: &Question) -> Answer {
    if servers.addresses.is_empty() {
        return Answer::failed(
            question.clone(),
            "no DNS server is known: set dns.servers, or nameserver in /etc/resolv.conf",
        );
    }
    let started = Instant::now();
    let mut failed: Vec<String> = Vec::new();
    let mut last = None;
    for server in servers.addresses.iter().chain(&servers.addresses) {
        let answer = match ask_one(*server, servers.timeout, question).await {
            Ok(answer) => answer,
            Err(why) => Answer { server: server.to_string(), ..Answer::failed(question.clone(), why) },
        };
        let answer = Answer { elapsed_ms: u32::try_from(started.elapsed().as_millis()).unwrap_or(u32::MAX), ..answer };
        match &answer.outcome {
            Outcome::Failed(why) => {
                let reason = format!("{server} {why}");
                if !failed.contains(&reason) {
                    failed.push(reason);
                }
                last = Some(answer);
            }
            _ => return answer,
        }
    }
    let mut answer = last.unwrap_or_else(|| Answer::failed(question.clone(), ""));
    answer.outcome = Outcome::Failed(failed.join("; "));
    answer
}

async fn ask_one(server: SocketAddr, limit: Duration, question: &Question) -> Result<Answer, String> {
    let (id, packet) = packet(question)?;
    let silent = |_| format!("did not answer within {} s", limit.as_secs_f32());
    let bytes = timeout(limit, over_udp(server, id, &packet))
        .await
        .map_err(silent)?
        .map_err(|error| format!("over UDP: {error}"))?;
    let mut message =
        Message::from_vec(&bytes).map_err(|error| format!("sent an answer that cannot be read: {error}"))?;
    if message.metadata.truncation {
        let bytes = timeout(limit, over_tcp(server, &packet)).await.map_err(|_| {
            format!("cut its UDP answer short and did not answer over TCP within {} s", limit.as_secs_f32())
        })?;
        let bytes = bytes.map_err(|error| format!("cut its UDP answer short and failed over TCP: {error}"))?;
        message = Message::from_vec(&bytes).map_err(|error| format!("sent an answer that cannot be read: {error}"))?;
    }
    Ok(read(server, question, &message))
}

/// The question on the wire, with EDNS, and AD set so that a validating resolver tells what it validated (RFC 6840 5.7).
fn packet(question: &Question) -> Result<(u16, Vec<u8>), String> {
    let mut name = Name::from_ascii(&question.name)
        .map_err(|error| format!("{:?} cannot be asked for: {error}", question.name))?;
    name.set_fqdn(true);
    let id: u16 = rand::random();
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = true;
    message.metadata.authentic_data = true;
    message.add_query(Query::query(name, record_type(question.kind)));
    let mut edns = Edns::new();
    edns.set_max_payload(UDP_PAYLOAD);
    message.edns = Some(edns);
    Ok((id, message.to_vec().map_err(|error| error.to_string())?))
}

/// A socket of its own for each question: the source port is as hard to guess as the ID (RFC 5452 9.2).
async fn over_udp(server: SocketAddr, id: u16, packet: &[u8]) -> std::io::Result<Vec<u8>> {
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

async fn over_tcp(server: SocketAddr, packet: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut socket = TcpStream::connect(server).await?;
    let mut framed = u16::try_from(packet.len()).unwrap_or(u16::MAX).to_be_bytes().to_vec();
    framed.extend_from_slice(packet);
    socket.write_all(&framed).await?;
    let length = socket.read_u16().await?;
    let mut answer = vec![0; usize::from(length)];
    socket.read_exact(&mut answer).await?;
    Ok(answer)
}

fn read(server: SocketAddr, question: &Question, message: &Message) -> Answer {
    let mut answer = Answer::bare(question.clone(), Outcome::NoData);
    answer.server = server.to_string();
    answer.authentic = message.metadata.authentic_data;
    answer.extended_errors = message.edns.iter().flat_map(extended_errors).collect();
    answer.records = chain(&question.name, question.kind, message);
    let found = answer.records.iter().any(|record| record.kind == question.kind);
    answer.outcome = match message.metadata.response_code {
        ResponseCode::NoError if found => Outcome::Found,
        ResponseCode::NoError => Outcome::NoData,
        ResponseCode::NXDomain => Outcome::NoName,
        other => Outcome::Failed(format!("answered {}", rcode(other))),
    };
    if let Outcome::Failed(why) = &mut answer.outcome {
        for error in &answer.extended_errors {
            why.push_str(&format!(" ({error})"));
        }
    }
    answer
}

/// The mnemonic of RFC 1035 and its successors, as administrators know it from dig.
fn rcode(code: ResponseCode) -> String {
    match code {
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        other => format!("{other:?}"),
    }
}

/// The records that belong to the name, following CNAMEs; stray ones are left out.
fn chain(name: &str, kind: Kind, message: &Message) -> Vec<Record> {
    let mut records = Vec::new();
    let mut owner = name.to_owned();
    for _ in 0..CNAME_CHAIN_MAX {
        let of_owner = message.answers.iter().filter(|record| plain(&record.name) == owner);
        let of_owner: Vec<Record> =
            of_owner.filter_map(|record| convert(record.name.clone(), record.ttl, &record.data)).collect();
        let next = of_owner.iter().find(|record| record.kind == Kind::Cname).map(|record| record.data.to_string());
        records.extend(of_owner.into_iter().filter(|record| record.kind == kind || record.kind == Kind::Cname));
        match next {
            Some(next) if kind != Kind::Cname => owner = next,
            _ => break,
        }
    }
    records
}

fn convert(name: Name, ttl: u32, data: &RData) -> Option<Record> {
    let (kind, data) = match data {
        RData::A(address) => (Kind::A, Data::Address(IpAddr::V4(address.0))),
        RData::AAAA(address) => (Kind::Aaaa, Data::Address(IpAddr::V6(address.0))),
        RData::MX(mx) => (Kind::Mx, Data::Mx { preference: mx.preference, host: plain(&mx.exchange) }),
        RData::CNAME(target) => (Kind::Cname, Data::Name(plain(&target.0))),
        RData::PTR(target) => (Kind::Ptr, Data::Name(plain(&target.0))),
        RData::NS(target) => (Kind::Ns, Data::Name(plain(&target.0))),
        RData::SOA(soa) => (Kind::Soa, Data::Name(plain(&soa.mname))),
        RData::TXT(text) => {
            let bytes: Vec<u8> = text.txt_data.iter().flat_map(|part| part.iter().copied()).collect();
            (Kind::Txt, Data::Text(String::from_utf8_lossy(&bytes).into_owned()))
        }
        _ => return None,
    };
    Some(Record { name: plain(&name), kind, ttl, data })
}

/// Lower case, no final dot.
fn plain(name: &Name) -> String {
    let text = name.to_ascii().to_ascii_lowercase();
    text.strip_suffix('.').map(str::to_owned).unwrap_or(text)
}

/// RFC 8914: option 15, two octets of code, then text.
fn extended_errors(edns: &Edns) -> Vec<String> {
    let options = edns.options().as_ref().iter();
    options
        .filter_map(|(code, option)| match (code, option) {
            (EdnsCode::Unknown(15), EdnsOption::Unknown(_, bytes)) if bytes.len() >= 2 => {
                let number = u16::from_be_bytes([bytes[0], bytes[1]]);
                Some(format!("EDE {number} {}", String::from_utf8_lossy(&bytes[2..])).trim().to_owned())
            }
            _ => None,
        })
        .collect()
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
    }
}
