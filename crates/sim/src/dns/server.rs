//! The sockets of the scripted DNS server.

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, ResponseCode},
    rr::rdata::opt::{EdnsCode, EdnsOption},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UdpSocket},
    task::{JoinHandle, JoinSet},
    time::timeout,
};

use super::{
    Asked, Transport, Zone,
    answer::{Counts, Plan, text},
    zone::Circumstances,
};

/// RFC 1035 4.2.1: what fits into UDP without EDNS.
const UDP_SIZE: u16 = 512;
/// What we say that we can take over UDP: the figure of the 2020 DNS flag day.
const EDNS_SIZE: u16 = 1232;
/// An idle TCP client is let go after this time.
const TCP_IDLE: Duration = Duration::from_secs(30);
/// RFC 8914 2: the EDNS option that holds an extended error.
const EXTENDED_ERROR: u16 = 15;
/// The log keeps this many questions; scenarios are far smaller.
const ASKED_MAX: usize = 100_000;

/// A running server. It stops when it is dropped.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

/// What to do about one question.
#[derive(Debug)]
enum Deed {
    Answer(Vec<u8>, Duration),
    Silence,
    Close,
}

#[derive(Debug)]
struct Shared {
    book: Mutex<Book>,
}

#[derive(Debug)]
struct Book {
    zone: Zone,
    counts: Counts,
    asked: Vec<Asked>,
}

impl Server {
    /// Listens on UDP and TCP of one address. Port 0 takes one that is free for both.
    pub async fn start(address: SocketAddr, zone: Zone) -> io::Result<Self> {
        let (udp, tcp) = bind(address).await?;
        let address = udp.local_addr()?;
        // Taken and let go, so that a foreign listener at this address is noticed.
        let tcp = Some(tcp).filter(|_| !zone.tcp_refused);
        let book = Mutex::new(Book { zone, counts: Counts::new(), asked: Vec::new() });
        let shared = Arc::new(Shared { book });
        let mut tasks = vec![tokio::spawn(serve_udp(Arc::new(udp), Arc::clone(&shared)))];
        tasks.extend(tcp.map(|tcp| tokio::spawn(serve_tcp(tcp, Arc::clone(&shared)))));
        Ok(Self { address, shared, tasks })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Every question so far, oldest first.
    pub fn asked(&self) -> Vec<Asked> {
        self.shared.book().asked.clone()
    }

    /// How often this name and type were asked. `kind` is `MX`, `A`, …
    pub fn count(&self, name: &str, kind: &str) -> usize {
        let name = name.trim_end_matches('.');
        let same = |asked: &&Asked| asked.name.eq_ignore_ascii_case(name) && asked.kind.eq_ignore_ascii_case(kind);
        self.shared.book().asked.iter().filter(same).count()
    }

    /// Answers from another zone from now on; numbers start again at 1.
    pub fn replace(&self, zone: Zone) {
        let mut book = self.shared.book();
        book.zone = zone;
        book.counts.clear();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

/// UDP and TCP on one port. A free UDP port may be taken for TCP, so a few are tried.
async fn bind(address: SocketAddr) -> io::Result<(UdpSocket, TcpListener)> {
    let tries = if address.port() == 0 { 20 } else { 1 };
    let mut last = None;
    for _ in 0..tries {
        let udp = UdpSocket::bind(address).await?;
        match TcpListener::bind(udp.local_addr()?).await {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| io::ErrorKind::AddrInUse.into()))
}

async fn serve_udp(socket: Arc<UdpSocket>, shared: Arc<Shared>) {
    let mut answers = JoinSet::new();
    let mut buffer = vec![0; 65_535];
    loop {
        // An error here is about one datagram (an ICMP answer to an earlier one), not about the socket.
        let Ok((size, client)) = socket.recv_from(&mut buffer).await else { continue };
        while answers.try_join_next().is_some() {}
        let Deed::Answer(answer, delay) = shared.answer(&buffer[..size], Transport::Udp, client) else { continue };
        let socket = Arc::clone(&socket);
        answers.spawn(async move {
            tokio::time::sleep(delay).await;
            let _ = socket.send_to(&answer, client).await;
        });
    }
}

async fn serve_tcp(listener: TcpListener, shared: Arc<Shared>) {
    let mut clients = JoinSet::new();
    loop {
        let Ok((stream, client)) = listener.accept().await else {
            tokio::time::sleep(Duration::from_millis(10)).await;
            continue;
        };
        while clients.try_join_next().is_some() {}
        let shared = Arc::clone(&shared);
        clients.spawn(async move {
            let _ = talk_tcp(stream, client, &shared).await;
        });
    }
}

/// RFC 1035 4.2.2: messages with a length of two bytes before each.
async fn talk_tcp(mut stream: TcpStream, client: SocketAddr, shared: &Shared) -> io::Result<()> {
    loop {
        let size = timeout(TCP_IDLE, stream.read_u16()).await??;
        let mut question = vec![0; size.into()];
        timeout(TCP_IDLE, stream.read_exact(&mut question)).await??;
        let (answer, delay) = match shared.answer(&question, Transport::Tcp, client) {
            Deed::Answer(answer, delay) => (answer, delay),
            Deed::Silence => continue,
            Deed::Close => return Ok(()),
        };
        tokio::time::sleep(delay).await;
        let size = u16::try_from(answer.len()).map_err(io::Error::other)?;
        stream.write_all(&[&size.to_be_bytes(), answer.as_slice()].concat()).await?;
    }
}

impl Shared {
    /// A panic elsewhere leaves at worst a question unlogged; the book stays usable.
    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The bytes of the answer and how long to wait before sending them, if there shall be one.
    fn answer(&self, bytes: &[u8], transport: Transport, client: SocketAddr) -> Deed {
        self.answered(bytes, transport, client).unwrap_or(Deed::Silence)
    }

    fn answered(&self, bytes: &[u8], transport: Transport, client: SocketAddr) -> Option<Deed> {
        let request = Message::from_vec(bytes).ok()?;
        if request.metadata.message_type != MessageType::Query {
            return None;
        }
        let question = request.queries.first().filter(|_| request.metadata.op_code == OpCode::Query);
        let Some(question) = question else {
            let error = Message::error_msg(request.metadata.id, request.metadata.op_code, ResponseCode::NotImp);
            return Some(Deed::Answer(error.to_vec().ok()?, Duration::ZERO));
        };
        let mut book = self.book();
        let Book { zone, counts, .. } = &mut *book;
        let edns = request.edns.as_ref();
        let circumstances = Circumstances {
            cd: request.metadata.checking_disabled,
            dnssec: edns.is_some_and(|edns| edns.flags().dnssec_ok),
            edns: edns.is_some(),
            rd: request.metadata.recursion_desired,
            tcp: transport == Transport::Tcp,
            buffer: edns.map_or(UDP_SIZE, |edns| edns.max_payload().max(UDP_SIZE)),
            asked: question.query_type(),
        };
        let plan = zone.plan(counts, question.name(), &circumstances);
        let response = respond(&request, &plan);
        let (response, bytes) = cut(response, &request, &plan, transport)?;
        if book.asked.len() < ASKED_MAX {
            book.asked.push(Asked {
                name: text(question.name()),
                kind: question.query_type().to_string(),
                transport,
                number: plan.number,
                answer: told(&response, &plan),
                client,
                at: SystemTime::now(),
            });
        }
        if plan.close && transport == Transport::Tcp {
            return Some(Deed::Close);
        }
        (!plan.silent).then_some(Deed::Answer(bytes, plan.delay))
    }
}

fn respond(request: &Message, plan: &Plan) -> Message {
    let mut response = Message::response(request.metadata.id, OpCode::Query);
    response.metadata.recursion_desired = request.metadata.recursion_desired;
    response.metadata.checking_disabled = request.metadata.checking_disabled;
    response.metadata.recursion_available = true;
    response.metadata.authentic_data = plan.authentic;
    response.metadata.response_code = plan.rcode;
    response.add_queries(request.queries.iter().cloned());
    response.add_answers(plan.answers.iter().cloned());
    response.add_authorities(plan.authorities.iter().cloned());
    if let Some(asked) = &request.edns {
        response.set_edns(edns(asked, plan));
    }
    response
}

fn edns(asked: &Edns, plan: &Plan) -> Edns {
    let mut edns = Edns::new();
    edns.set_max_payload(EDNS_SIZE);
    edns.set_dnssec_ok(asked.flags().dnssec_ok);
    if let Some((code, text)) = &plan.extended_error {
        let bytes = [&code.to_be_bytes(), text.as_bytes()].concat();
        edns.options_mut().insert(EdnsOption::Unknown(u16::from(EdnsCode::from(EXTENDED_ERROR)), bytes));
    }
    edns
}

/// Over UDP: nothing but TC=1 if the script says so or the answer is larger than the client takes.
fn cut(response: Message, request: &Message, plan: &Plan, transport: Transport) -> Option<(Message, Vec<u8>)> {
    let bytes = response.to_vec().ok()?;
    let size_max = request.edns.as_ref().map_or(UDP_SIZE, |edns| edns.max_payload().max(UDP_SIZE));
    if transport == Transport::Tcp || (!plan.truncate && bytes.len() <= size_max.into()) {
        return Some((response, bytes));
    }
    let cut = response.truncate();
    let bytes = cut.to_vec().ok()?;
    Some((cut, bytes))
}

fn told(response: &Message, plan: &Plan) -> String {
    if plan.silent {
        return "no answer".to_owned();
    }
    let rcode = match plan.rcode {
        ResponseCode::NoError => "NOERROR",
        ResponseCode::NXDomain => "NXDOMAIN",
        ResponseCode::ServFail => "SERVFAIL",
        ResponseCode::Refused => "REFUSED",
        other => other.to_str(),
    };
    let truncated = if response.metadata.truncation { " truncated" } else { "" };
    format!("{rcode} {}{truncated}", response.answers.len())
}
