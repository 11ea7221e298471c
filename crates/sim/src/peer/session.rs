//! One connection to a peer, from the banner to its end.

use std::{io, net::SocketAddr, sync::Arc, time::SystemTime};

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;

use super::{
    Received,
    act::{self, Say, Then},
    script::{Situation, Tls, Verb},
    server::Shared,
};
use crate::wire::Wire;

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
        while let Some(wire) = &mut self.wire {
            let Some(line) = wire.line().await? else { break };
            let line = String::from_utf8_lossy(&line).into_owned();
            self.shared.records.said(self.connection, &format!("C: {line}"));
            self.command(&line).await?;
        }
        Ok(())
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
            if matches!(script.tls, Tls::Offered | Tls::Garbage) && !self.tls {
                lines.push("STARTTLS".to_owned());
            }
            if script.user.is_some() {
                lines.push("AUTH PLAIN LOGIN".to_owned());
            }
        }
        let usual = act::lines("250", &lines.iter().map(String::as_str).collect::<Vec<_>>());
        self.perform(verb, name, usual).await.map(drop)
    }

    async fn mail(&mut self, rest: &str) -> io::Result<()> {
        let (address, parameters) = path(rest);
        let usual =
            if self.transaction.sender.is_some() { "503 5.5.1 nested MAIL\r\n" } else { "250 2.1.0 sender ok\r\n" };
        if self.perform(Verb::Mail, &address, usual.into()).await?.is(2) {
            self.transaction = Transaction { sender: Some(address), parameters, ..Transaction::default() };
        }
        Ok(())
    }

    async fn rcpt(&mut self, rest: &str) -> io::Result<()> {
        let (address, parameters) = path(rest);
        let usual =
            if self.transaction.sender.is_none() { "503 5.5.1 MAIL first\r\n" } else { "250 2.1.5 recipient ok\r\n" };
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
        let act = self.act(Verb::Dot, "");
        tokio::time::sleep(act.delay).await;
        let (answer, bytes) = answer(&act.say, usual);
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
        self.say(&bytes).await?;
        self.end(act.then).await
    }

    async fn start_tls(&mut self) -> io::Result<()> {
        let tls = self.shared.script.tls;
        let offered = matches!(tls, Tls::Offered | Tls::Garbage) && !self.tls;
        let usual = if offered { "220 2.0.0 go ahead\r\n" } else { "502 5.5.1 no STARTTLS here\r\n" };
        if !self.perform(Verb::StartTls, "", usual.into()).await?.is(2) || !offered {
            return Ok(());
        }
        if tls == Tls::Garbage {
            self.say(b"this is not TLS\r\n").await?;
            return self.end(Then::Close).await;
        }
        self.handshake().await
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
        let Some((name, password)) = self.shared.script.user.clone() else { return Ok(()) };
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
        let act = self.act(verb, subject);
        tokio::time::sleep(act.delay).await;
        let (answer, bytes) = answer(&act.say, &usual);
        self.say(&bytes).await?;
        self.end(act.then).await?;
        Ok(answer)
    }

    fn act(&self, verb: Verb, subject: &str) -> act::Act {
        let sender = self.transaction.sender.as_deref().unwrap_or_default();
        self.shared.act(&Situation {
            verb,
            subject,
            helo: &self.helo,
            source: &self.source_text,
            sender,
            tls: self.tls,
        })
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

/// What is answered, and the bytes of it.
fn answer(say: &Say, usual: &[u8]) -> (Answer, Vec<u8>) {
    let bytes = match say {
        Say::Usual => usual.to_vec(),
        Say::Bytes(bytes) => bytes.clone(),
        Say::Nothing => return (Answer::Nothing, Vec::new()),
        Say::Lost => return (Answer::Lost, Vec::new()),
    };
    let code = bytes.get(..3).and_then(|code| std::str::from_utf8(code).ok()).and_then(|code| code.parse().ok());
    (code.map_or(Answer::Nothing, Answer::Code), bytes)
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
