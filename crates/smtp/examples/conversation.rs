//! Conversation: the two conversations, again and again, for counting instructions: `bench/instructions.py`.
//!
//! `cargo run --release -p smtp --example conversation -- server|client COUNT`: so many connections with a message of 4 KiB each.

use mail::{AuditId, Body, Recipient, ReversePath, Time};
use smtp::client::{self, Client, MessagePlan, Tls};
use smtp::server::{Durable, Event, Options, Server};

const NOW: Time = Time(1_000);
const COMMANDS: [&str; 4] =
    ["EHLO source.bench.test\r\n", "MAIL FROM:<bench@source.test>\r\n", "RCPT TO:<user@example.test>\r\n", "DATA\r\n"];
const REPLIES: [&str; 5] = [
    "220 sink.bench.test ESMTP\r\n",
    "250-sink.bench.test\r\n250-PIPELINING\r\n250-SIZE 10485760\r\n250-8BITMIME\r\n250 ENHANCEDSTATUSCODES\r\n",
    "250 2.1.0 ok\r\n250 2.1.5 ok\r\n354 go on\r\n",
    "250 2.0.0 taken\r\n",
    "221 2.0.0 bye\r\n",
];

struct Stored;

impl Durable for Stored {
    fn audit_id(&self) -> AuditId {
        AuditId::new(1, 0, 0)
    }
}

fn main() -> Result<(), String> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [what, count] = words.as_slice() else { return Err("conversation server|client COUNT".to_owned()) };
    let count: usize = count.parse().map_err(|error| format!("{count:?}: {error}"))?;
    let content = content();
    for _ in 0..count {
        match what.as_str() {
            "server" => serve(&content),
            "client" => deliver(&content)?,
            other => return Err(format!("{other:?} is neither server nor client")),
        }
    }
    Ok(())
}

/// 4 KiB as smtp-source sends them.
fn content() -> Vec<u8> {
    let header =
        "From: <bench@source.test>\r\nTo: <user@example.test>\r\nSubject: bench\r\nMessage-ID: <1@source.test>\r\n\r\n";
    let line = [b'X'; 78];
    let mut content = header.as_bytes().to_vec();
    while content.len() < 4096 {
        content.extend_from_slice(&line);
        content.extend_from_slice(b"\r\n");
    }
    content
}

fn serve(content: &[u8]) {
    let mut server = Server::new(Options::new("gateway.bench.test"));
    server.greet("gateway.bench.test ESMTP");
    for command in COMMANDS {
        hear(&mut server, command.as_bytes());
    }
    hear(&mut server, content);
    hear(&mut server, b".\r\n");
    hear(&mut server, b"QUIT\r\n");
}

fn hear(server: &mut Server, octets: &[u8]) {
    server.receive(octets);
    while let Some(event) = server.next() {
        match event {
            Event::Content => drop(server.take_content()),
            Event::ContentEnd { .. } => {
                drop(server.take_content());
                server.accept_content(&Stored);
            }
            Event::Quit => {}
            _ => server.accept(),
        }
    }
    drop(server.take_said());
    server.output().clear();
}

fn deliver(content: &[u8]) -> Result<(), String> {
    let options = client::Options {
        ehlo: "gateway.bench.test".to_owned(),
        peer: "sink.bench.test".to_owned(),
        tls: Tls::Off,
        credentials: None,
    };
    let mut client = Client::new(options, NOW);
    let address = |text: &str| text.parse::<mail::Address>().map_err(|error| error.to_string());
    for (n, reply) in REPLIES.iter().enumerate() {
        client.receive(reply.as_bytes(), NOW);
        while let Some(event) = client.next() {
            if event == client::Event::GoAhead {
                client.content(content, NOW);
                client.content_end(NOW);
            }
        }
        match n {
            1 => client.send(
                MessagePlan {
                    sender: ReversePath::Address(address("bench@source.test")?),
                    recipients: vec![Recipient::plain(address("user@example.test")?)],
                    body: Body::SevenBit,
                    smtputf8: false,
                    size: content.len() as u64,
                    ret: None,
                    envid: None,
                    small: true,
                },
                NOW,
            ),
            3 => client.quit(NOW),
            _ => {}
        }
        client.output().clear();
    }
    drop(client.take_transcript());
    Ok(())
}
