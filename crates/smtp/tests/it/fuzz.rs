//! Random octets in random pieces: neither machine panics, and neither grows.

use crate::client::plan;
use crate::server::Desk;
use mail::Time;
use smtp::client::{Client, Closed, Event, Options, Tls};

/// xorshift64: the same octets in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    /// Words of the protocol, mostly, so that the deeper states are reached.
    fn octets(&mut self, words: &[&[u8]]) -> Vec<u8> {
        let mut octets = Vec::new();
        for _ in 0..=self.below(6) {
            match self.below(8) {
                0 => octets.extend((0..self.below(40)).map(|_| self.below(256) as u8)),
                1 => octets.extend([&b"\r\n"[..], b"\n", b"\r", b"\0", b".", b"\r\n.\r\n"][self.below(6)]),
                2 => octets.extend(vec![b'x'; self.below(5000)]),
                _ => octets.extend(words[self.below(words.len())]),
            }
        }
        octets
    }
}

const COMMANDS: [&[u8]; 20] = [
    b"EHLO x\r\n",
    b"HELO x\r\n",
    b"MAIL FROM:<a@b.test>\r\n",
    b"MAIL FROM:<> SIZE=5 BODY=BINARYMIME\r\n",
    b"RCPT TO:<c@d.test>\r\n",
    b"RCPT TO:<refused@d.test>\r\n",
    b"DATA\r\n",
    b"BDAT 5\r\n",
    b"BDAT 0 LAST\r\n",
    b"BDAT 99999999999999999999\r\n",
    b"RSET\r\n",
    b"NOOP\r\n",
    b"STARTTLS\r\n",
    b"AUTH PLAIN\r\n",
    b"AUTH LOGIN\r\n",
    b"AGEAc2VjcmV0\r\n",
    b"*\r\n",
    b"line\r\n.\r\n",
    b"MAIL FROM:<\"\\\xff>\r\n",
    b"VRFY \xc3\xbc\r\n",
];

const REPLIES: [&[u8]; 16] = [
    b"220 mx\r\n",
    b"250 ok\r\n",
    b"250-mx\r\n",
    b"250-PIPELINING\r\n250-CHUNKING\r\n",
    b"250-SIZE 99999999999999999999\r\n",
    b"250 8BITMIME\r\n",
    b"250-STARTTLS\r\n",
    b"250-AUTH LOGIN PLAIN\r\n",
    b"354 go\r\n",
    b"334 \r\n",
    b"235 ok\r\n",
    b"421 no\r\n",
    b"550 5.1.1 no\r\n",
    b"451 later\r\n",
    b"250\xff\r\n",
    b"250",
];

#[test]
fn random_clients_do_not_break_the_server() {
    let mut random = Random(0x9E37_79B9_7F4A_7C15);
    for _ in 0..500 {
        let mut options = smtp::server::Options::new("gw.test");
        (options.starttls, options.auth, options.auth_without_tls) = (true, true, true);
        options.errors_max = [0, 3, 1000][random.below(3)];
        options.size_max = 20_000;
        let mut desk = Desk::new(options);
        desk.drive();
        for _ in 0..20 {
            let octets = random.octets(&COMMANDS);
            let at = random.below(octets.len() + 1);
            desk.hear(&octets[..at]);
            desk.hear(&octets[at..]);
            let lines = octets.iter().filter(|&&octet| octet == b'\n').count() + 2;
            assert!(desk.said.len() <= 1000 * (lines + 20), "{} octets said to {}", desk.said.len(), octets.len());
            assert!(desk.said.is_empty() || desk.said.ends_with(b"\r\n"));
            assert!(desk.server.wants_input() || desk.server.is_closing());
            desk.said.clear();
        }
    }
}

#[test]
fn random_servers_do_not_break_the_client() {
    let mut random = Random(0xD1B5_4A32_D192_ED03);
    let now = Time(0);
    for round in 0..500 {
        let tls = [Tls::Off, Tls::Offer, Tls::Require][random.below(3)];
        let mut client = Client::new(
            Options { ehlo: "gw.test".to_owned(), peer: "mx.test".to_owned(), tls, credentials: None },
            now,
        );
        if round % 4 != 0 {
            client.receive(b"220 mx\r\n250-mx\r\n250-PIPELINING\r\n250 CHUNKING\r\n", now);
        }
        let mut is_over = false;
        for _ in 0..20 {
            let octets = random.octets(&REPLIES);
            let at = random.below(octets.len() + 1);
            client.receive(&octets[..at], now);
            client.receive(&octets[at..], now);
            while let Some(event) = client.next() {
                assert!(!is_over, "{event:?} after the end");
                match event {
                    Event::Ready(_) | Event::Final(_) | Event::NoRecipients => {
                        let words = ["<>", "a@b.test,c@d.test", "small"];
                        client.send(plan(&words[..2 + random.below(2)], 5), now);
                    }
                    Event::GoAhead => {
                        client.content(b"x\r\n", now);
                        client.content_end(now);
                    }
                    Event::StartTls => client.tls_started(now),
                    Event::Failed(_) | Event::Quit => is_over = true,
                    Event::Banner(_) | Event::Recipient(..) | Event::Refused(_) => {}
                }
            }
            assert!(client.output().len() < 10_000);
            client.output().clear();
        }
        client.closed(Closed::Eof, now);
        assert_eq!(client.next().is_some(), !is_over);
        assert!(client.take_transcript().len() <= 1001);
    }
}
