//! The client's side. A script's lines: `S:` the peer says; `>` the driver does: `send from to[,to] [words] : content`, `quit`,
//! `eof`, `timeout ms`, `reset`; then, until the next of these, `C:` the lines said and `E:` how the events begin.

use mail::{Body, Notify, Recipient, Ret, ReversePath, Time};
use smtp::client::{Client, Closed, Credentials, Event, MessagePlan, Options, Tls};

struct Driver {
    client: Client,
    content: String,
    events: Vec<String>,
    said: Vec<u8>,
}

const NOW: Time = Time(1000);

impl Driver {
    fn drive(&mut self) {
        while let Some(event) = self.client.next() {
            self.events.push(name(&event));
            match event {
                Event::GoAhead => {
                    for piece in self.content.as_bytes().chunks(7) {
                        self.client.content(piece, NOW);
                    }
                    self.client.content_end(NOW);
                }
                Event::StartTls => self.client.tls_started(NOW),
                _ => {}
            }
        }
        self.said.append(self.client.output());
    }

    fn act(&mut self, deed: &str) {
        let (deed, content) = deed.split_once(" : ").unwrap_or((deed, ""));
        let words: Vec<&str> = deed.split_whitespace().collect();
        match words[0] {
            "send" => {
                self.content = content.replace("\\r", "\r").replace("\\n", "\n");
                self.client.send(plan(&words[1..], self.content.len() as u64), NOW);
            }
            "quit" => self.client.quit(NOW),
            "eof" => self.client.closed(Closed::Eof, Time(6200)),
            "timeout" => self.client.closed(Closed::Timeout { waited_ms: words[1].parse().unwrap() }, NOW),
            "reset" => self.client.closed(Closed::Error("connection reset by peer".to_owned()), NOW),
            "tls-failed" => self.client.closed(Closed::TlsFailed("alert 40".to_owned()), NOW),
            _ => panic!("{deed}?"),
        }
        self.drive();
    }
}

fn name(event: &Event) -> String {
    match event {
        Event::Banner(reply) => format!("banner {reply}"),
        Event::Ready(capabilities) => format!("ready{}", if capabilities.tls { " with TLS" } else { "" }),
        Event::StartTls => "starttls".to_owned(),
        Event::Recipient(index, reply) => format!("recipient {index} {reply}"),
        Event::GoAhead => "go ahead".to_owned(),
        Event::Final(reply) => format!("final {reply}"),
        Event::Refused(failure) => format!("refused {failure}"),
        Event::NoRecipients => "no recipients".to_owned(),
        Event::Failed(failure) => {
            format!("failed {failure}{}", if failure.maybe_delivered { " maybe delivered" } else { "" })
        }
        Event::Quit => "quit".to_owned(),
    }
}

pub(crate) fn plan(words: &[&str], size: u64) -> MessagePlan {
    let sender = match words[0] {
        "<>" => ReversePath::Null,
        address => ReversePath::Address(address.parse().unwrap()),
    };
    let recipients = words[1].split(',').map(|address| Recipient::plain(address.parse().unwrap())).collect();
    let (body, smtputf8, small) = (Body::SevenBit, false, false);
    let mut plan = MessagePlan { sender, recipients, body, smtputf8, size, ret: None, envid: None, small };
    for word in &words[2..] {
        match *word {
            "8bit" => plan.body = Body::EightBitMime,
            "binary" => plan.body = Body::BinaryMime,
            "utf8" => plan.smtputf8 = true,
            "small" => plan.small = true,
            "dsn" => {
                (plan.ret, plan.envid) = (Some(Ret::Headers), Some("id+2B".to_owned()));
                plan.recipients[0].notify = Some(Notify { success: true, failure: true, delay: false });
                plan.recipients[0].orcpt = Some("rfc822;x@y.test".to_owned());
            }
            _ => plan.size = word.strip_prefix("size=").unwrap().parse().unwrap(),
        }
    }
    plan
}

fn options(words: &str) -> Options {
    let mut options =
        Options { ehlo: "gw.test".to_owned(), peer: "mx.test".to_owned(), tls: Tls::Off, credentials: None };
    for word in words.split_whitespace() {
        match word {
            "offer" => options.tls = Tls::Offer,
            "require" => options.tls = Tls::Require,
            "auth" => options.credentials = Some(Credentials { user: "a".to_owned(), password: "secret".to_owned() }),
            _ => panic!("{word}?"),
        }
    }
    options
}

fn run(words: &str, script: &str, cut: impl Fn(usize) -> bool) -> Driver {
    let client = Client::new(options(words), NOW);
    let mut driver = Driver { client, content: String::new(), events: Vec::new(), said: Vec::new() };
    let (mut position, mut transcript) = (0, Vec::new());
    let lines: Vec<&str> = script.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    let kind = |line: &str| line.starts_with("S:") || line.starts_with('>');
    let mut at = 0;
    while at < lines.len() {
        let mut octets = Vec::new();
        while at < lines.len() && kind(lines[at]) {
            match lines[at].strip_prefix("> ") {
                Some(deed) => {
                    hear(&mut driver, &std::mem::take(&mut octets), &mut position, &cut);
                    driver.act(deed);
                }
                None => octets.extend([lines[at][2..].trim_start().as_bytes(), b"\r\n"].concat()),
            }
            at += 1;
        }
        hear(&mut driver, &octets, &mut position, &cut);
        let until = (at..lines.len()).find(|&at| kind(lines[at])).unwrap_or(lines.len());
        let expected = |prefix: &str| -> Vec<&str> {
            lines[at..until].iter().filter_map(|line| line.strip_prefix(prefix)).map(str::trim_start).collect()
        };
        let said = String::from_utf8(std::mem::take(&mut driver.said)).unwrap();
        assert_eq!(said.split_terminator("\r\n").collect::<Vec<_>>(), expected("C:"), "before line {until}");
        let events = std::mem::take(&mut driver.events);
        let expected = expected("E:");
        let fits = events.len() == expected.len()
            && events.iter().zip(&expected).all(|(event, expected)| event.starts_with(expected));
        assert!(fits, "expected {expected:#?}\ngot {events:#?}");
        at = until;
    }
    transcript.append(&mut driver.client.take_transcript());
    assert!(!format!("{transcript:?}").contains("AGEAc2VjcmV0"), "a secret in the transcript");
    driver.events = transcript.iter().map(|said| format!("{:?} {}", said.speaker, said.text)).collect();
    driver
}

fn hear(driver: &mut Driver, octets: &[u8], position: &mut usize, cut: &impl Fn(usize) -> bool) {
    let mut piece = Vec::new();
    for &octet in octets {
        piece.push(octet);
        *position += 1;
        if cut(*position) {
            driver.client.receive(&std::mem::take(&mut piece), NOW);
            driver.drive();
        }
    }
    driver.client.receive(&piece, NOW);
    driver.drive();
}

/// The peer's octets whole, cut in two at every byte, and byte by byte: what is said and what happens is the same.
fn check(words: &str, script: &str) {
    let whole = run(words, script, |_| false).events;
    let length: usize = script.lines().map(|line| line.trim().len() + 2).sum();
    for at in 1..length {
        assert_eq!(run(words, script, |position| position == at).events, whole, "cut at {at}");
    }
    assert_eq!(run(words, script, |_| true).events, whole, "byte by byte");
}

fn greeted(extensions: &str, script: &str) {
    let mut hello = "S: 220 mx.test\nC: EHLO gw.test\nE: banner 220 mx.test\nS: 250-mx.test\n".to_owned();
    extensions.split(", ").filter(|line| !line.is_empty()).for_each(|line| hello += &format!("S: 250-{line}\n"));
    check("", &format!("{hello}S: 250 HELP\nE: ready\n{script}"));
}

const GREETING: &str = "S: 220 mx\nC: EHLO gw.test\nE: banner 220 mx\n";

#[test]
fn one_command_at_a_time_without_pipelining() {
    greeted(
        "SIZE 100",
        "> send a@b.test c@d.test,e@f.test : .x\\r\\n
         C: MAIL FROM:<a@b.test> SIZE=4
         S: 250 2.1.0 ok
         C: RCPT TO:<c@d.test>
         S: 550 5.1.1 unknown
         C: RCPT TO:<e@f.test>
         E: recipient 0 550 5.1.1 unknown
         S: 250 ok
         C: DATA
         E: recipient 1 250 ok
         S: 354 go
         C: ..x
         C: .
         E: go ahead
         S: 250 2.0.0 queued
         E: final 250 2.0.0 queued
         > send <> c@d.test : x
         C: MAIL FROM:<> SIZE=1
         S: 250 ok
         C: RCPT TO:<c@d.test>
         S: 450 4.2.0 later
         E: recipient 0 450 4.2.0 later
         E: no recipients
         > send <> e@f.test : x
         C: RSET
         S: 250 ok
         C: MAIL FROM:<> SIZE=1
         S: 552 no
         E: refused 552 5.0.0 [mx.test] no at MAIL FROM
         > quit
         C: QUIT
         S: 221 bye
         E: quit",
    );
}

#[test]
fn with_pipelining_all_up_to_data_goes_at_once() {
    greeted(
        "PIPELINING, DSN, 8BITMIME, SMTPUTF8",
        "> send a@b.test c@d.test,e@f.test 8bit utf8 dsn : x
         C: MAIL FROM:<a@b.test> BODY=8BITMIME SMTPUTF8 RET=HDRS ENVID=id+2B
         C: RCPT TO:<c@d.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x@y.test
         C: RCPT TO:<e@f.test>
         C: DATA
         S: 250 ok
         S: 550 no
         S: 250 ok
         S: 354 go
         C: x
         C: .
         E: recipient 0 550 no
         E: recipient 1 250 ok
         E: go ahead
         S: 451 4.3.0 later
         E: final 451 4.3.0 later
         > send <> c@d.test : x
         C: RSET
         C: MAIL FROM:<>
         C: RCPT TO:<c@d.test>
         C: DATA
         S: 250 ok
         S: 250 ok
         S: 550 no
         S: 354 nobody, but go
         C: .
         E: recipient 0 550 no
         S: 554 empty
         E: no recipients
         > send <> c@d.test : x
         C: RSET
         C: MAIL FROM:<>
         C: RCPT TO:<c@d.test>
         C: DATA
         S: 250
         S: 550 5.7.1 no
         S: 503 5.5.1 no MAIL
         S: 503 5.5.1 no MAIL
         E: refused 550 5.7.1 [mx.test] no at MAIL FROM
         > send <> c@d.test : x
         C: RSET
         C: MAIL FROM:<>
         C: RCPT TO:<c@d.test>
         C: DATA
         S: 250
         S: 250
         S: 250
         S: 451 4.3.0 disk
         E: recipient 0 250
         E: refused 451 4.3.0 [mx.test] disk at DATA",
    );
}

#[test]
fn a_small_message_leaves_in_one_write_with_chunking() {
    greeted(
        "PIPELINING, CHUNKING",
        "> send a@b.test c@d.test small : .x\\r\\n
         C: MAIL FROM:<a@b.test>
         C: RCPT TO:<c@d.test>
         C: BDAT 4 LAST
         C: .x
         E: go ahead
         S: 250 ok
         S: 250 ok
         S: 250 queued
         E: recipient 0 250 ok
         E: final 250 queued
         > send a@b.test c@d.test small : x\\r\\n
         C: MAIL FROM:<a@b.test>
         C: RCPT TO:<c@d.test>
         C: BDAT 3 LAST
         C: x
         E: go ahead
         S: 250 ok
         S: 550 no
         S: 503 no
         E: recipient 0 550 no
         E: no recipients
         > send a@b.test c@d.test : x\\r\\n
         C: RSET
         C: MAIL FROM:<a@b.test>
         C: RCPT TO:<c@d.test>
         S: 250 ok
         S: 250 ok
         S: 250 ok
         C: BDAT 3 LAST
         C: x
         E: recipient 0 250 ok
         E: go ahead
         S: 250 queued
         E: final 250 queued",
    );
}

#[test]
fn what_the_peer_cannot_take_is_refused_without_a_word_to_it() {
    greeted(
        "SIZE 100, CHUNKING",
        "> send a@b.test c@d.test size=101 : x
         E: refused 552 5.3.4 [internal] message larger than the peer accepts: 101 octets, mx.test takes 100
         > send a@b.test c@d.test 8bit : x
         E: refused 554 5.6.3 [internal] peer does not offer 8BITMIME
         > send a@b.test c@d.test binary : x
         E: refused 554 5.6.3 [internal] peer does not offer BINARYMIME
         > send a@b.test c@d.test utf8 : x
         E: refused 553 5.6.7 [internal] peer does not offer SMTPUTF8
         > send a@b.test ü@d.test : x
         E: refused 553 5.6.7 [internal]
         > quit
         C: QUIT",
    );
}

#[test]
fn an_old_server_is_greeted_with_helo() {
    check(
        "",
        &format!(
            "{GREETING}S: 502 what?\nC: HELO gw.test\nS: 250 mx\nE: ready\n> send <> a@b.test : x\nC: MAIL FROM:<>"
        ),
    );
    check("offer", &format!("{GREETING}S: 500\nC: HELO gw.test\nS: 250\nE: ready"));
    check(
        "",
        &format!(
            "{GREETING}S: 550 5.7.1 your name does not resolve\nC: QUIT\nE: failed 550 5.7.1 [mx.test] your name does not resolve at EHLO"
        ),
    );
    check("", "S: 554 5.7.1 no\nC: QUIT\nE: banner 554\nE: failed 554 5.7.1 [mx.test] no at banner");
}

#[test]
fn tls_is_used_if_offered_and_insisted_on_if_required() {
    let offered = format!("{GREETING}S: 250-mx\nS: 250 STARTTLS\n");
    let rest = "C: STARTTLS\nS: 220 go\nC: EHLO gw.test\nE: starttls\nS: 250 mx\nE: ready with TLS";
    check("require", &format!("{offered}{rest}"));
    run("offer", &format!("{offered}{rest}"), |_| false);
    run("", &format!("{offered}E: ready"), |_| false);
    run("offer", &format!("{offered}C: STARTTLS\nS: 454 later\nE: ready"), |_| false);
    check(
        "require",
        &format!("{offered}C: STARTTLS\nS: 454 4.7.0 later\nC: QUIT\nE: failed 454 4.7.0 [mx.test] later at STARTTLS"),
    );
    check(
        "require",
        &format!(
            "{GREETING}S: 250 mx\nC: QUIT\nE: failed 451 4.7.6 [internal] STARTTLS required but not advertised at STARTTLS"
        ),
    );
    run("offer", &format!("{offered}C: STARTTLS\nS: 220 go\nS: 250 injected\nE: failed 451 4.7.5"), |_| false);
}

#[test]
fn auth_is_said_first_and_its_secrets_are_not_recorded() {
    let plain = format!("{GREETING}S: 250-mx\nS: 250 AUTH LOGIN PLAIN\nC: AUTH PLAIN AGEAc2VjcmV0\n");
    check("auth", &format!("{plain}S: 235 2.7.0 ok\nE: ready"));
    check(
        "auth",
        &format!(
            "{plain}S: 535 5.7.8 wrong\nC: QUIT\nE: failed 451 4.7.8 [internal] authentication with the relay host failed: mx.test said 535 5.7.8 wrong at AUTH"
        ),
    );
    let login = format!(
        "{GREETING}S: 250-mx\nS: 250 AUTH=LOGIN\nC: AUTH LOGIN\nS: 334 VXNlcm5hbWU6\nC: YQ==\nS: 334 UGFzc3dvcmQ6\nC: c2VjcmV0\n"
    );
    check("auth", &format!("{login}S: 235\nE: ready"));
    check("auth", &format!("{login}S: 334\nE: failed 451 4.5.0"));
    check(
        "auth",
        &format!(
            "{GREETING}S: 250 mx\nC: QUIT\nE: failed 451 4.7.8 [internal] authentication with the relay host failed: the peer offers neither"
        ),
    );
    check(
        "auth offer",
        &format!(
            "{GREETING}S: 250-mx\nS: 250 AUTH PLAIN\nC: QUIT\nE: failed 451 4.7.8 [internal] authentication with the relay host failed: no TLS"
        ),
    );
}

#[test]
fn a_lost_connection_says_at_which_stage_and_with_which_words() {
    check("", "> eof\nE: failed 451 4.4.2 [internal] no banner: closed by mx.test after 5.2 s at banner");
    check(
        "",
        &format!(
            "{GREETING}> timeout 300000\nE: failed 451 4.4.2 [internal] no HELO/EHLO response: timed out after 300 s; its last words: 220 mx at EHLO"
        ),
    );
    check("", &format!("{GREETING}S: 421 4.3.2 going down\nE: failed 421 4.3.2 [mx.test] going down at EHLO"));
    check(
        "",
        &format!(
            "{GREETING}S: HTTP/1.1 400\nE: failed 451 4.5.0 [internal] not an SMTP reply: \"HTTP/1.1 400\\r\\n\" at EHLO"
        ),
    );
    check(
        "",
        &format!(
            "{GREETING}S: 354 what\nE: failed 451 4.5.0 [internal] not an SMTP reply: unexpected here: 354 what at EHLO"
        ),
    );
    greeted("", "S: 421 idle too long\nE: failed 421 4.0.0 [mx.test] idle too long at MAIL FROM");
    greeted(
        "",
        "S: 554 5.7.1 go away\nE: failed 451 4.4.2 [internal] connection closed by remote host: it said 554 5.7.1 go away",
    );
    greeted("", "> quit\nC: QUIT\n> eof\nE: quit");
    check(
        "require",
        &format!(
            "{GREETING}S: 250-mx\nS: 250 STARTTLS\nC: STARTTLS\n> reset\nE: failed 451 4.4.2 [internal] no STARTTLS response: connection reset by peer"
        ),
    );
}

#[test]
fn after_the_content_is_said_a_lost_reply_may_mean_delivered() {
    let data = "> send <> c@d.test : x
         C: MAIL FROM:<>
         C: RCPT TO:<c@d.test>
         C: DATA
         S: 250
         S: 250
         S: 354
         C: x
         C: .
         E: recipient 0
         E: go ahead\n";
    greeted(
        "PIPELINING",
        &format!(
            "{data}> eof\nE: failed 451 4.4.2 [internal] no final reply: the message may be delivered twice: closed by mx.test after 5.2 s; its last words: 354 at final reply maybe delivered"
        ),
    );
    greeted(
        "PIPELINING",
        &format!("{data}S: 421 4.3.0 shutting down\nE: failed 421 4.3.0 [mx.test] shutting down at final reply"),
    );
    let chunk = "> send <> c@d.test small : x
         C: MAIL FROM:<>
         C: RCPT TO:<c@d.test>
         C: BDAT 1 LAST
         C: x
         E: go ahead\n";
    // The client's last octets have no CRLF: as a line they end with the text.
    greeted(
        "PIPELINING, CHUNKING",
        &format!(
            "{chunk}> eof\nE: failed 451 4.4.2 [internal] no final reply: the message may be delivered twice: closed by mx.test after 5.2 s; its last words: 250 mx.test PIPELINING CHUNKING HELP at MAIL FROM maybe delivered"
        ),
    );
    greeted(
        "PIPELINING, CHUNKING",
        &format!("{chunk}S: 550 no\n> eof\nE: failed 451 4.4.2 [internal] no RCPT TO response"),
    );
}

#[test]
fn content_that_could_smuggle_is_not_passed_on() {
    greeted(
        "PIPELINING",
        "> send <> c@d.test : x\\n.\\r\\nMAIL FROM:<evil@b.test>\\r\\n
         C: MAIL FROM:<>
         C: RCPT TO:<c@d.test>
         C: DATA
         S: 250
         S: 250
         S: 354
         E: recipient 0
         E: go ahead
         E: refused 550 5.6.0 [internal] malformed content: bare LF in line 1, not passed on at BODY
         E: quit",
    );
}

#[test]
fn a_refused_chunk_ends_the_message() {
    let mut client = Client::new(options(""), NOW);
    client.receive(b"220 mx\r\n250-mx\r\n250 CHUNKING\r\n", NOW);
    client.send(plan(&["<>", "a@b.test"], 200_000), NOW);
    client.receive(b"250\r\n250\r\n", NOW);
    while client.next().is_some() {}
    client.content(&[b'x'; 60_000], NOW);
    client.content(&[b'x'; 60_000], NOW);
    client.receive(b"452 4.3.1 full\r\n", NOW);
    assert_eq!(client.next().map(|event| name(&event)).as_deref(), Some("final 452 4.3.1 full"));
    client.content(&[b'x'; 60_000], NOW);
    client.content_end(NOW);
    assert!(client.is_idle());
    client.output().clear();
    client.send(plan(&["<>", "a@b.test"], 1), NOW);
    assert_eq!(client.output(), b"RSET\r\n");
}

#[test]
fn the_transcript_holds_every_line_and_no_content() {
    let script = format!(
        "{GREETING}S: 250 mx\nE: ready\n> send <> a@b.test : secret words\nC: MAIL FROM:<>\nS: 250\nC: RCPT TO:<a@b.test>\nS: 250\nC: DATA\nE: recipient\nS: 354\nC: secret words\nC: .\nE: go ahead\n> eof\nE: failed"
    );
    let driver = run("", &script, |_| false);
    let expected = [
        "Server 220 mx",
        "Client EHLO gw.test",
        "Server 250 mx",
        "Client MAIL FROM:<>",
        "Server 250",
        "Client RCPT TO:<a@b.test>",
        "Server 250",
        "Client DATA",
        "Server 354",
        "Client <12 bytes of content>",
        "Note closed by mx.test after 5.2 s",
    ];
    assert_eq!(driver.events, expected);
}
