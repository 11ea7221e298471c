//! One connection to a peer, from the banner to its end.

use std::{io, net::SocketAddr, sync::Arc, time::SystemTime};

use tokio::time::timeout;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{
    Received,
    act::{self, Callout, Say, Then},
    script::{Situation, Tls, Verb},
    server::Shared,
    tls::{self, Replay},
};
use crate::{client::Client, wire::Wire};

/// Larger contents end the connection.
const CONTENT_MAX: usize = 256 << 20;

/// What belongs to the connection.
#[derive(Debug)]
pub(super) struct Session {
    /// None once the connection is gone.
    wire: Option<Wire>,
    source: SocketAddr,
    source_text: String,
    connection: usize,
    shared: Arc<Shared>,
    helo: String,
    tls: bool,
    user: Option<String>,
    /// The words after the address of the command at hand.
    parameters: Vec<String>,
    transaction: Transaction,
}

/// What belongs to one message.
#[derive(Debug, Default)]
struct Transaction {
    /// None before MAIL.
    sender: Option<String>,
    parameters: Vec<String>,
    recipients: Vec<String>,
    recipient_parameters: Vec<Vec<String>>,
    /// What came by BDAT so far.
    content: Vec<u8>,
}

/// What was said: its code, if it was a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Answer {
    Code(u16),
    Lost,
    Nothing,
}

impl Answer {
    fn is(self, class: u16) -> bool {
        matches!(self, Self::Code(code) if code / 100 == class)
    }
}

impl Session {
    pub(super) fn new(stream: TcpStream, source: SocketAddr, connection: usize, shared: Arc<Shared>) -> Self {
        Self {
            wire: Some(Wire::plain(stream)),
            source,
            source_text: source.ip().to_string(),
            connection,
            shared,
            helo: String::new(),
            tls: false,
            user: None,
            parameters: Vec::new(),
            transaction: Transaction::default(),
        }
    }

    /// The conversation. `full` refuses it with 421.
    pub(super) async fn run(mut self, full: bool) -> io::Result<()> {
        if self.shared.script.tls == Tls::Implicit {
            self.handshake().await?;
        }
        if full {
            self.say(b"421 4.3.2 too many connections\r\n").await?;
            return self.end(Then::Close).await;
        }
        let banner = format!("220 {} ESMTP sim\r\n", self.shared.hostname);
        self.perform(Verb::Banner, "", banner.into_bytes()).await?;
        while let Some(line) = self.next_command().await? {
            let line = String::from_utf8_lossy(&line).into_owned();
            self.shared.records.said(self.connection, &format!("C: {line}"));
            self.command(&line).await?;
        }
        Ok(())
    }

    /// None at the end; a client that is silent for too long is sent away.
    async fn next_command(&mut self) -> io::Result<Option<Vec<u8>>> {
        let Some(wire) = &mut self.wire else { return Ok(None) };
        let Some((patience, act)) = &self.shared.script.idle else { return wire.line().await };
        if let Ok(line) = timeout(*patience, wire.line()).await {
            return line;
        }
        let (say, then) = (act.say.clone(), act.then);
        self.utter(&say, b"").await?;
        self.end(then).await?;
        Ok(None)
    }

    async fn command(&mut self, line: &str) -> io::Result<()> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let verb = Verb::of_command(word);
        match verb {
            Verb::Helo | Verb::Ehlo => self.hello(verb, rest.trim()).await,
            Verb::Mail => self.mail(rest).await,
            Verb::Rcpt => self.rcpt(rest).await,
            Verb::Data => self.data().await,
            Verb::StartTls => self.start_tls().await,
            Verb::Auth if self.shared.script.user.is_some() => self.auth(rest).await,
            Verb::Rset => {
                self.transaction = Transaction::default();
                self.perform(verb, "", b"250 2.0.0 reset\r\n".to_vec()).await.map(drop)
            }
            Verb::Noop => self.perform(verb, "", b"250 2.0.0 ok\r\n".to_vec()).await.map(drop),
            Verb::Quit => {
                self.perform(verb, "", b"221 2.0.0 bye\r\n".to_vec()).await?;
                self.end(Then::Close).await
            }
            _ if word.eq_ignore_ascii_case("bdat") => self.bdat(rest).await,
            _ => self.perform(Verb::Other, word, b"500 5.5.1 unknown command\r\n".to_vec()).await.map(drop),
        }
    }

    async fn hello(&mut self, verb: Verb, name: &str) -> io::Result<()> {
        self.helo = name.to_owned();
        self.transaction = Transaction::default();
        let script = &self.shared.script;
        let mut lines = vec![self.shared.hostname.clone()];
        if verb == Verb::Ehlo {
            lines.extend(script.caps.iter().cloned());
            if script.tls.offered() && !self.tls {
                lines.push("STARTTLS".to_owned());
            }
            if script.user.as_ref().is_some_and(|user| self.tls || !user.needs_tls) {
                lines.push(format!("AUTH {}", script.mechanisms));
            }
        }
        let usual = act::lines("250", &lines.iter().map(String::as_str).collect::<Vec<_>>());
        self.perform(verb, name, usual).await.map(drop)
    }

    async fn mail(&mut self, rest: &str) -> io::Result<()> {
        let (address, parameters) = path(rest);
        let usual =
            if self.transaction.sender.is_some() { "503 5.5.1 nested MAIL\r\n" } else { "250 2.1.0 sender ok\r\n" };
        self.parameters = parameters.clone();
        if self.perform(Verb::Mail, &address, usual.into()).await?.is(2) {
            self.transaction = Transaction { sender: Some(address), parameters, ..Transaction::default() };
        }
        Ok(())
    }

    async fn rcpt(&mut self, rest: &str) -> io::Result<()> {
        let (address, parameters) = path(rest);
        let usual =
            if self.transaction.sender.is_none() { "503 5.5.1 MAIL first\r\n" } else { "250 2.1.5 recipient ok\r\n" };
        let limit = self.shared.script.recipients_max.as_ref();
        if let Some((_, act)) = limit.filter(|(max, _)| self.transaction.recipients.len() >= *max) {
            let (say, then) = (act.say.clone(), act.then);
            self.utter(&say, usual.as_bytes()).await?;
            return self.end(then).await;
        }
        self.parameters = parameters.clone();
        if self.perform(Verb::Rcpt, &address, usual.into()).await?.is(2) {
            self.transaction.recipients.push(address);
            self.transaction.recipient_parameters.push(parameters);
        }
        Ok(())
    }

    async fn data(&mut self) -> io::Result<()> {
        let usual =
            if self.transaction.recipients.is_empty() { "503 5.5.1 RCPT first\r\n" } else { "354 go ahead\r\n" };
        if !self.perform(Verb::Data, "", usual.into()).await?.is(3) {
            return Ok(());
        }
        self.body().await?;
        let Some(content) = self.content().await? else { return Ok(()) };
        self.shared.records.said(self.connection, &format!("C: (content of {} bytes)", content.len()));
        self.finish(content).await
    }

    /// A `body` line acts after the first bytes of the content.
    async fn body(&mut self) -> io::Result<()> {
        if let Some(wire) = &mut self.wire {
            wire.some().await?;
        }
        self.perform(Verb::Body, "", Vec::new()).await.map(drop)
    }

    /// Reads up to the final dot, undoing the doubled dots; none if the connection is gone.
    async fn content(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut content = Vec::new();
        while let Some(wire) = &mut self.wire {
            let Some(line) = wire.line().await? else { return Err(io::ErrorKind::UnexpectedEof.into()) };
            if line == b"." {
                return Ok(Some(content));
            }
            content.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
            content.extend_from_slice(b"\r\n");
            if content.len() > CONTENT_MAX {
                return Err(io::Error::other("content too large for this peer"));
            }
        }
        Ok(None)
    }

    /// RFC 3030 2: `BDAT size [LAST]`.
    async fn bdat(&mut self, rest: &str) -> io::Result<()> {
        let mut words = rest.split_whitespace();
        let size: Option<usize> = words.next().and_then(|word| word.parse().ok()).filter(|size| *size <= CONTENT_MAX);
        let last = words.next().is_some_and(|word| word.eq_ignore_ascii_case("last"));
        let Some((wire, size)) = self.wire.as_mut().zip(size) else { return Err(io::ErrorKind::InvalidData.into()) };
        let chunk = wire.exactly(size).await?;
        self.transaction.content.extend(chunk);
        if self.transaction.content.len() > CONTENT_MAX {
            return Err(io::Error::other("content too large for this peer"));
        }
        if last {
            let content = std::mem::take(&mut self.transaction.content);
            return self.finish(content).await;
        }
        let usual =
            if self.transaction.recipients.is_empty() { "503 5.5.1 RCPT first\r\n" } else { "250 2.0.0 chunk ok\r\n" };
        self.perform(Verb::Data, "", usual.into()).await.map(drop)
    }

    /// The answer to the final dot. An accepted message is kept before the answer goes out.
    async fn finish(&mut self, content: Vec<u8>) -> io::Result<()> {
        let usual: &[u8] = if self.transaction.recipients.is_empty() {
            b"503 5.5.1 RCPT first\r\n"
        } else {
            b"250 2.0.0 accepted\r\n"
        };
        let mut act = self.act(Verb::Dot, "", &content);
        tokio::time::sleep(act.delay).await;
        self.call_back(&mut act).await;
        let answer = answer(&act.say, usual);
        let transaction = std::mem::take(&mut self.transaction);
        if (answer.is(2) || answer == Answer::Lost) && !transaction.recipients.is_empty() {
            self.shared.keep(Received {
                helo: self.helo.clone(),
                source: self.source,
                tls: self.tls,
                user: self.user.clone(),
                sender: transaction.sender.unwrap_or_default(),
                parameters: transaction.parameters,
                recipients: transaction.recipients,
                recipient_parameters: transaction.recipient_parameters,
                content,
                at: SystemTime::now(),
                connection: self.connection,
            });
        }
        self.utter(&act.say, usual).await?;
        self.end(act.then).await
    }

    async fn start_tls(&mut self) -> io::Result<()> {
        let tls = self.shared.script.tls.clone();
        let offered = tls.offered() && !self.tls;
        let usual = if offered { "220 2.0.0 go ahead\r\n" } else { "502 5.5.1 no STARTTLS here\r\n" };
        if !self.perform(Verb::StartTls, "", usual.into()).await?.is(2) || !offered {
            return Ok(());
        }
        match tls {
            Tls::Garbage => {
                self.say(b"this is not TLS\r\n").await?;
                self.end(Then::Close).await
            }
            Tls::Replay(replay) => self.play(replay).await,
            Tls::Sni(served) => self.if_named(served).await,
            _ => self.handshake().await,
        }
    }

    /// Answers the ClientHello with bytes made for it, and ends.
    async fn play(&mut self, replay: Replay) -> io::Result<()> {
        let records = replay.records(&self.shared.hostname).map_err(io::Error::other)?;
        let Some(mut stream) = self.wire.take().and_then(Wire::into_plain) else { return Ok(()) };
        let hello = tls::client_hello(&stream).await?;
        tls::take(&mut stream, hello.len()).await?;
        self.shared.records.said(self.connection, &format!("-- {replay:?}"));
        let mut wire = Wire::plain(stream);
        wire.write(&records).await?;
        // A client that is still of good cheer would wait for a Finished: it may say so first.
        let _ = timeout(std::time::Duration::from_secs(2), wire.some()).await;
        wire.close().await;
        Ok(())
    }

    /// TLS for one server name, and the alert unrecognized_name for any other; a dot at the end makes another name.
    async fn if_named(&mut self, served: Option<String>) -> io::Result<()> {
        let served = served.unwrap_or_else(|| self.shared.hostname.clone());
        let Some(mut stream) = self.wire.take().and_then(Wire::into_plain) else { return Ok(()) };
        let hello = tls::client_hello(&stream).await?;
        let name = tls::server_name(&hello);
        self.shared.records.said(self.connection, &format!("-- SNI {name:?}"));
        if name.as_deref() == Some(served.as_str()) {
            self.wire = Some(Wire::plain(stream));
            return self.handshake().await;
        }
        tls::take(&mut stream, hello.len()).await?;
        let mut wire = Wire::plain(stream);
        wire.write(&tls::unrecognized_name()).await?;
        wire.close().await;
        Ok(())
    }

    /// RFC 3207 4.2: what was learned before TLS is forgotten.
    async fn handshake(&mut self) -> io::Result<()> {
        let stream = self.wire.take().and_then(Wire::into_plain);
        let Some((stream, (config, _))) = stream.zip(self.shared.tls.as_ref()) else { return Ok(()) };
        let secure = TlsAcceptor::from(Arc::clone(config)).accept(stream).await?;
        self.wire = Some(Wire::secure(secure.into()));
        self.tls = true;
        self.helo.clear();
        self.transaction = Transaction::default();
        self.shared.records.said(self.connection, "-- TLS");
        Ok(())
    }

    /// AUTH PLAIN and LOGIN (RFC 4954), with or without an initial response.
    async fn auth(&mut self, rest: &str) -> io::Result<()> {
        let Some(user) = self.shared.script.user.clone() else { return Ok(()) };
        let (name, password) = (user.name, user.password);
        let (mechanism, initial) = rest.split_once(' ').unwrap_or((rest, ""));
        let right = if mechanism.eq_ignore_ascii_case("plain") {
            let response = if initial.is_empty() { self.challenge("").await? } else { initial.to_owned() };
            // The identity before the first NUL may repeat the name (RFC 4616 2).
            [format!("\0{name}\0{password}"), format!("{name}\0{name}\0{password}")]
                .iter()
                .any(|text| base64(text) == response)
        } else {
            let user = if initial.is_empty() { self.challenge("VXNlcm5hbWU6").await? } else { initial.to_owned() };
            let word = self.challenge("UGFzc3dvcmQ6").await?;
            user == base64(&name) && word == base64(&password)
        };
        let usual = if right { "235 2.7.0 welcome\r\n" } else { "535 5.7.8 wrong name or password\r\n" };
        if self.perform(Verb::Auth, "", usual.into()).await?.is(2) {
            self.user = Some(name);
        }
        Ok(())
    }

    async fn challenge(&mut self, text: &str) -> io::Result<String> {
        self.say(format!("334 {text}\r\n").as_bytes()).await?;
        let Some(wire) = &mut self.wire else { return Err(io::ErrorKind::NotConnected.into()) };
        let line = wire.line().await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Does what the script says at this word, or the usual; gives what was answered.
    async fn perform(&mut self, verb: Verb, subject: &str, usual: Vec<u8>) -> io::Result<Answer> {
        let mut act = self.act(verb, subject, &[]);
        tokio::time::sleep(act.delay).await;
        self.call_back(&mut act).await;
        let answer = answer(&act.say, &usual);
        self.utter(&act.say, &usual).await?;
        self.end(act.then).await?;
        Ok(answer)
    }

    /// Verifies the sender where the line says; if that goes well, the line's reply is not said.
    async fn call_back(&self, act: &mut act::Act) {
        let Some(callout) = act.callout else { return };
        let verdict = self.verify(callout).await;
        let told = verdict.as_ref().map_or_else(ToString::to_string, |()| "verified".to_owned());
        self.shared.records.said(self.connection, &format!("-- callout to {}: {told}", callout.to));
        if verdict.is_ok() {
            (act.say, act.then) = (Say::Usual, Then::Stay);
        }
    }

    async fn verify(&self, callout: Callout) -> io::Result<()> {
        let sender = self.transaction.sender.clone().unwrap_or_default();
        let ask = async {
            let mut client = Client::connect(Some(self.shared.address.ip()), callout.to).await?;
            if !client.banner.is("220") {
                return Err(io::Error::other(client.banner.to_string()));
            }
            client.expect(&format!("EHLO {}", self.shared.hostname), "250").await?;
            client.expect("MAIL FROM:<>", "250").await?;
            client.expect(&format!("RCPT TO:<{sender}>"), "2").await?;
            client.quit().await
        };
        timeout(callout.wait, ask)
            .await
            .map_err(|_| io::Error::other(format!("no answer within {:?}", callout.wait)))?
    }

    fn act(&self, verb: Verb, subject: &str, content: &[u8]) -> act::Act {
        let sender = self.transaction.sender.as_deref().unwrap_or_default();
        self.shared.act(&Situation {
            verb,
            subject,
            helo: &self.helo,
            source: &self.source_text,
            sender,
            tls: self.tls,
            user: self.user.as_deref().unwrap_or_default(),
            parameters: if verb == Verb::Dot { &self.transaction.parameters } else { &self.parameters },
            content,
        })
    }

    /// Says what an action says, with the time where it asks for it.
    async fn utter(&mut self, say: &Say, usual: &[u8]) -> io::Result<()> {
        match say {
            Say::Usual => self.say(usual).await,
            Say::Bytes(bytes) => self.say(&act::dated(bytes.clone())).await,
            Say::Parts(parts) => {
                for (pause, bytes) in parts {
                    tokio::time::sleep(*pause).await;
                    self.say(&act::dated(bytes.clone())).await?;
                }
                Ok(())
            }
            Say::Nothing | Say::Lost => Ok(()),
        }
    }

    async fn say(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(wire) = self.wire.as_mut().filter(|_| !bytes.is_empty()) else { return Ok(()) };
        for line in String::from_utf8_lossy(bytes).lines() {
            self.shared.records.said(self.connection, &format!("S: {line}"));
        }
        wire.write(bytes).await
    }

    /// What becomes of the connection; afterwards there is none, unless it stays.
    async fn end(&mut self, then: Then) -> io::Result<()> {
        if then == Then::Stay {
            return Ok(());
        }
        let Some(mut wire) = self.wire.take() else { return Ok(()) };
        self.shared.records.said(self.connection, &format!("-- {then:?}"));
        match then {
            Then::Stay => Ok(()),
            Then::Close => {
                wire.close().await;
                Ok(())
            }
            Then::Reset => {
                wire.reset();
                Ok(())
            }
            Then::Silence => wire.swallow().await,
            Then::HalfClose => {
                wire.half_close().await?;
                wire.swallow().await
            }
        }
    }
}

/// What is answered.
fn answer(say: &Say, usual: &[u8]) -> Answer {
    let bytes = match say {
        Say::Usual => usual,
        Say::Bytes(bytes) => bytes,
        Say::Parts(parts) => parts.last().map_or(&[][..], |(_, bytes)| bytes),
        Say::Nothing => return Answer::Nothing,
        Say::Lost => return Answer::Lost,
    };
    let code = bytes.get(..3).and_then(|code| std::str::from_utf8(code).ok()).and_then(|code| code.parse().ok());
    code.map_or(Answer::Nothing, Answer::Code)
}

/// `FROM:<a@x> SIZE=5` gives the address without brackets, and the words after it.
fn path(text: &str) -> (String, Vec<String>) {
    let text = text.split_once(':').map_or(text, |(_, path)| path).trim();
    // A quoted local part may hold ">" (RFC 5321 4.1.2), so the last bracket before the parameters counts.
    let end = text.find("> ").or_else(|| text.strip_suffix('>').map(str::len)).unwrap_or(text.len());
    let (address, parameters) = text.split_at(end);
    let address = address.trim_start_matches('<').to_owned();
    let parameters = parameters.trim_start_matches('>').split_whitespace().map(str::to_owned).collect();
    (address, parameters)
}

/// RFC 4648 4. Comparing encoded texts needs no decoder.
pub(crate) fn base64(text: &str) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for chunk in text.as_bytes().chunks(3) {
        let bits = chunk.iter().fold(0u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
        for digit in 0..4 {
            let index = (bits >> (18 - 6 * digit)) as usize & 63;
            out.push(if digit <= chunk.len() { char::from(DIGITS[index]) } else { '=' });
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_cut_from_its_parameters() {
        assert_eq!(
            path("FROM:<a@x.test> SIZE=5 RET=HDRS"),
            ("a@x.test".to_owned(), vec!["SIZE=5".to_owned(), "RET=HDRS".to_owned()])
        );
        assert_eq!(path("FROM:<>"), (String::new(), vec![]));
        assert_eq!(path("TO: <\"a>b\"@x.test>").0, "\"a>b\"@x.test");
    }

    #[test]
    fn base64_pads() {
        assert_eq!(["", "f", "fo", "foo", "foob"].map(base64), ["", "Zg==", "Zm8=", "Zm9v", "Zm9vYg=="]);
    }
}
