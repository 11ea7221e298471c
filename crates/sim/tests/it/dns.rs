//! DNS questions over UDP and TCP.

use std::{net::SocketAddr, time::Duration};

use hickory_proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{Name, RecordType},
};
use sim::dns::{Server, Transport, Zone};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UdpSocket},
    time::{Instant, timeout},
};

async fn serve(zone: &str) -> Server {
    let zone: Zone = zone.parse().unwrap();
    Server::start("127.0.0.53:0".parse().unwrap(), zone).await.unwrap()
}

fn question(name: &str, kind: &str, edns: bool) -> Vec<u8> {
    let mut message = Message::query();
    message.metadata.op_code = OpCode::Query;
    message.metadata.recursion_desired = true;
    message.add_query(Query::query(Name::from_ascii(name).unwrap(), kind.parse::<RecordType>().unwrap()));
    if edns {
        let mut edns = Edns::new();
        edns.set_max_payload(4096);
        message.set_edns(edns);
    }
    message.to_vec().unwrap()
}

async fn ask_udp(server: SocketAddr, bytes: &[u8]) -> Option<Message> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(bytes, server).await.unwrap();
    let mut buffer = vec![0; 65_535];
    let size = timeout(Duration::from_millis(700), socket.recv(&mut buffer)).await.ok()?.unwrap();
    let answer = Message::from_vec(&buffer[..size]).unwrap();
    assert_eq!(answer.metadata.id, Message::from_vec(bytes).unwrap().metadata.id);
    Some(answer)
}

async fn ask_tcp(server: SocketAddr, bytes: &[u8]) -> Message {
    let mut stream = TcpStream::connect(server).await.unwrap();
    stream.write_u16(u16::try_from(bytes.len()).unwrap()).await.unwrap();
    stream.write_all(bytes).await.unwrap();
    let size = stream.read_u16().await.unwrap();
    let mut answer = vec![0; size.into()];
    stream.read_exact(&mut answer).await.unwrap();
    Message::from_vec(&answer).unwrap()
}

/// The answer over UDP as `RCODE data, data`.
async fn udp(server: &Server, name: &str, kind: &str) -> String {
    match ask_udp(server.address(), &question(name, kind, false)).await {
        Some(answer) => told(&answer),
        None => "silence".to_owned(),
    }
}

fn told(answer: &Message) -> String {
    let records: Vec<String> = answer.answers.iter().map(|record| record.data.to_string()).collect();
    let truncated = if answer.metadata.truncation { " TC" } else { "" };
    format!("{:?}{truncated} {}", answer.metadata.response_code, records.join(", ")).trim_end().to_owned()
}

#[tokio::test]
async fn each_type_is_answered() {
    let server = serve(
        "d.test. MX 10 mx.d.test.\nd.test MX 0 .\nd.test A 127.0.0.11\nd.test AAAA ::1\nd.test TXT \"v=spf1 -all\"\n\
         d.test NS ns.d.test\nd.test SOA ns.d.test hostmaster.d.test 1 2 3 4 5\n\
         11.0.0.127.in-addr.arpa PTR mx.d.test\n_25._tcp.mx.d.test TLSA 3 1 1 00ff",
    )
    .await;
    for (name, kind, expected) in [
        ("d.test.", "MX", "NoError 10 mx.d.test., 0 ."),
        ("D.Test.", "A", "NoError 127.0.0.11"),
        ("d.test.", "AAAA", "NoError ::1"),
        ("d.test.", "TXT", "NoError v=spf1 -all"),
        ("d.test.", "NS", "NoError ns.d.test."),
        ("d.test.", "SOA", "NoError ns.d.test. hostmaster.d.test. 1 2 3 4 5"),
        ("11.0.0.127.in-addr.arpa.", "PTR", "NoError mx.d.test."),
        ("d.test.", "SRV", "NoError"),
        ("x.test.", "A", "NXDomain"),
    ] {
        assert_eq!(udp(&server, name, kind).await, expected, "{name} {kind}");
    }
    let tlsa = ask_udp(server.address(), &question("_25._tcp.mx.d.test.", "TLSA", false)).await.unwrap();
    assert_eq!(tlsa.answers[0].record_type(), RecordType::TLSA);
}

#[tokio::test]
async fn a_negative_answer_carries_an_soa() {
    let server = serve("a.test A 127.0.0.1").await;
    for (name, kind) in [("a.test.", "MX"), ("no.test.", "A")] {
        let answer = ask_udp(server.address(), &question(name, kind, false)).await.unwrap();
        assert_eq!(answer.authorities.len(), 1);
        assert_eq!(answer.authorities[0].record_type(), RecordType::SOA);
        assert!(answer.metadata.recursion_available);
    }
}

#[tokio::test]
async fn scripted_words_stand_in_place_of_data() {
    let server = serve("a.test A !SERVFAIL\nb.test A !REFUSED\nc.test A !NXDOMAIN\nd.test A 127.0.0.1\nd.test A !NODATA\ne.test A !TIMEOUT").await;
    for (name, expected) in [
        ("a.test.", "ServFail"),
        ("b.test.", "Refused"),
        ("c.test.", "NXDomain"),
        ("d.test.", "NoError"),
        ("e.test.", "silence"),
    ] {
        assert_eq!(udp(&server, name, "A").await, expected, "{name}");
    }
}

#[tokio::test]
async fn the_first_question_fails_and_the_second_is_answered() {
    let server = serve("a.test A 127.0.0.1\na.test A #1 !SERVFAIL").await;
    assert_eq!(udp(&server, "a.test.", "A").await, "ServFail");
    assert_eq!(udp(&server, "a.test.", "A").await, "NoError 127.0.0.1");
    server.replace("a.test A #1 127.0.0.9".parse().unwrap());
    assert_eq!(udp(&server, "a.test.", "A").await, "NoError 127.0.0.9");
}

#[tokio::test]
async fn a_truncated_answer_is_whole_over_tcp() {
    let server = serve("a.test A 127.0.0.1\na.test A !TRUNCATE").await;
    let bytes = question("a.test.", "A", true);
    assert_eq!(told(&ask_udp(server.address(), &bytes).await.unwrap()), "NoError TC");
    assert_eq!(told(&ask_tcp(server.address(), &bytes).await), "NoError 127.0.0.1");
}

#[tokio::test]
async fn an_answer_too_large_for_udp_is_truncated() {
    let zone: String = (1..=60).map(|n| format!("a.test A 127.0.3.{n}\n")).collect();
    let server = serve(&zone).await;
    let small = ask_udp(server.address(), &question("a.test.", "A", false)).await.unwrap();
    assert!(small.metadata.truncation && small.answers.is_empty());
    let large = ask_udp(server.address(), &question("a.test.", "A", true)).await.unwrap();
    assert!(!large.metadata.truncation);
    assert_eq!(large.answers.len(), 60);
}

#[tokio::test]
async fn an_answer_can_be_late_or_validated_or_explained() {
    let server =
        serve("a.test A 127.0.0.1\na.test A !DELAY 300ms !AD\nb.test A !SERVFAIL\nb.test ANY !EDE 6 bogus").await;
    let started = Instant::now();
    let answer = ask_udp(server.address(), &question("a.test.", "A", false)).await.unwrap();
    assert!(started.elapsed() >= Duration::from_millis(300) && answer.metadata.authentic_data);
    let server = serve("b.test ANY !EDE 6 signature expired\nb.test A !SERVFAIL").await;
    let answer = ask_udp(server.address(), &question("b.test.", "A", true)).await.unwrap();
    assert_eq!(answer.metadata.response_code, ResponseCode::ServFail);
    let edns = answer.edns.unwrap();
    let option = edns.option(15.into()).expect("RFC 8914 option");
    assert_eq!(Vec::<u8>::try_from(option).unwrap(), b"\0\x06signature expired");
}

#[tokio::test]
async fn every_question_is_logged() {
    let server = serve("a.test A 127.0.0.1\nb.test A !TIMEOUT").await;
    udp(&server, "a.test.", "A").await;
    ask_tcp(server.address(), &question("a.test.", "MX", false)).await;
    udp(&server, "b.test.", "A").await;
    let asked: Vec<String> = server.asked().iter().map(ToString::to_string).collect();
    assert_eq!(asked, ["UDP a.test A #1: NOERROR 1", "TCP a.test MX #1: NOERROR 0", "UDP b.test A #1: no answer"]);
    assert_eq!(server.count("A.TEST.", "A"), 1);
    assert_eq!(server.asked()[1].transport, Transport::Tcp);
}

#[tokio::test]
async fn nonsense_does_not_stop_the_server() {
    let server = serve("a.test A 127.0.0.1").await;
    assert!(ask_udp_raw(server.address(), b"\0").await.is_none());
    assert!(ask_udp_raw(server.address(), &[0xff; 40]).await.is_none());
    assert_eq!(udp(&server, "a.test.", "A").await, "NoError 127.0.0.1");
}

async fn ask_udp_raw(server: SocketAddr, bytes: &[u8]) -> Option<usize> {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.send_to(bytes, server).await.unwrap();
    timeout(Duration::from_millis(200), socket.recv(&mut [0; 512])).await.ok()?.ok()
}
