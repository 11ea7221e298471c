//! Scan: hands a message's content to a scanner (ClamAV's INSTREAM over TCP) before it is taken, and watches whether the client
//! still waits.

use decide::settings::{Host, Scanner};
use mail::{Scan, ScanWord};
use std::io;
use std::time::{Duration, Instant};
use store::Draft;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Content handed over at once.
const PIECE: usize = 65_536;
/// ClamAV's manual gives no limit; its answers are a line.
const ANSWER_MAX: u64 = 4096;
/// A daemon on our own network answers at once or not at all.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// clamd's port, if none is given.
const PORT: u16 = 3310;

/// What the scanner says. A failure says how far it came, in words of the system.
pub(crate) async fn scan(scanner: &Scanner, place: &decide::settings::NextHop, draft: &Draft) -> Scan {
    let port = place.port.unwrap_or(PORT);
    let address = format!("{}:{port}", place.host);
    let started = Instant::now();
    let asked = timeout(scanner.timeout, talk(&place.host, port, draft)).await;
    let (word, detail) = match asked {
        Ok(Ok(answer)) => read(&answer),
        Ok(Err(error)) => (ScanWord::Failed, error.to_string()),
        Err(_) => (ScanWord::Failed, format!("no answer within {} s", scanner.timeout.as_secs())),
    };
    let ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    Scan { address, word, detail, ms, ..Scan::default() }
}

async fn talk(host: &Host, port: u16, draft: &Draft) -> io::Result<String> {
    let dial = async {
        match host {
            Host::Addr(address) => TcpStream::connect((*address, port)).await,
            Host::Name(name) => TcpStream::connect((name.ascii().as_str(), port)).await,
        }
    };
    let silent =
        |_| io::Error::new(io::ErrorKind::TimedOut, format!("no connection within {} s", CONNECT_MAX.as_secs()));
    let mut socket = timeout(CONNECT_MAX, dial).await.map_err(silent)??;
    socket.write_all(b"zINSTREAM\0").await?;
    let mut piece = vec![0; PIECE];
    let mut offset = 0;
    loop {
        let length = draft.read_at(offset, &mut piece)?;
        // A chunk of no octets is the end.
        socket.write_all(&u32::try_from(length).unwrap_or(0).to_be_bytes()).await?;
        if length == 0 {
            break;
        }
        socket.write_all(&piece[..length]).await?;
        offset += length as u64;
    }
    let mut answer = Vec::new();
    socket.take(ANSWER_MAX).read_to_end(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).trim_matches(['\0', '\n', ' ']).to_owned())
}

/// `stream: OK`, `stream: NAME FOUND`, `… ERROR`.
fn read(answer: &str) -> (ScanWord, String) {
    let said = answer.strip_prefix("stream: ").unwrap_or(answer);
    match said.strip_suffix(" FOUND") {
        Some(name) => (ScanWord::Found, name.to_owned()),
        None if said == "OK" => (ScanWord::Clean, String::new()),
        None if said.is_empty() => (ScanWord::Failed, "it closed without an answer".to_owned()),
        None => (ScanWord::Failed, said.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_word_is_clean() {
        assert_eq!(read("stream: OK"), (ScanWord::Clean, String::new()));
        assert_eq!(read("stream: Eicar-Signature FOUND"), (ScanWord::Found, "Eicar-Signature".to_owned()));
        assert_eq!(read("INSTREAM size limit exceeded. ERROR").0, ScanWord::Failed);
        assert_eq!(read("").0, ScanWord::Failed);
    }
}
