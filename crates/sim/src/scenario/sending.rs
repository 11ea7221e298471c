//! Steps that speak to the gateway: `send` and `talk`.

use std::{net::SocketAddr, time::Duration};

use tokio::time::{sleep, timeout};

use super::{
    config,
    runner::{Heard, Stage},
    step::{Send, Talk, client_name},
    wording::contains,
};
use crate::{
    Span,
    client::{Client, Reply},
    peer::{base64, rsa_client_hello, unescape},
};

/// Between the bytes of one who types.
const SLOW_TYPING: Duration = Duration::from_millis(100);

impl Stage {
    pub(super) async fn send(&mut self, step: &Send) -> Result<(), String> {
        let target = self.listener(&step.listener)?;
        let told = |error: std::io::Error| format!("sending to {target}: {error}");
        let helo = step.helo.clone().unwrap_or_else(|| client_name(step.source));
        let to: Vec<&str> = step.to.all().iter().map(String::as_str).collect();
        let mut client = Client::connect(Some(step.source), target).await.map_err(told)?;
        let mut last = client.banner.clone();
        self.hear(step.source, &[], &last);
        if last.is("2") {
            last = client.say(&format!("EHLO {helo}")).await.map_err(told)?;
            self.hear(step.source, &[], &last);
        }
        if let Some((name, password)) = step.auth.as_deref().and_then(|pair| pair.split_once(' ')) {
            let secret = base64(&format!("\0{name}\0{password}"));
            last = client.say(&format!("AUTH PLAIN {secret}")).await.map_err(told)?;
        }
        for number in 0..step.times {
            if last.is("2") {
                let content = content(step, number + self.sent.len());
                let whole = client.transaction_as(&step.from, &step.parameters, &to, content.as_bytes(), step.raw);
                let replies = match step.patience {
                    None => whole.await.map_err(told)?,
                    Some(patience) => match timeout(patience.0, whole).await {
                        Ok(replies) => replies.map_err(told)?,
                        Err(_) => {
                            client.vanish(false).await;
                            return Ok(());
                        }
                    },
                };
                for reply in &replies {
                    self.hear(step.source, step.to.all(), reply);
                }
                last = replies.last().cloned().unwrap_or(last);
                self.remember(step, &last);
            }
            expect_reply(step, &last)?;
        }
        // A refused client may find the connection closed already.
        let _ = client.quit().await;
        Ok(())
    }

    pub(super) async fn talk(&mut self, step: &Talk) -> Result<(), String> {
        let target = self.listener(&step.listener)?;
        let told = |error: std::io::Error| format!("talking to {target}: {error}");
        let mut client = Client::dial(Some(step.source), target).await.map_err(told)?;
        // Whoever speaks first without meaning to would miss the banner.
        let polite = !step.early && step.lines.first().is_some_and(|line| line.starts_with("C: "));
        let mut banner = None;
        if polite {
            banner = Some(client.reply().await.map_err(told)?);
        }
        for line in &step.lines {
            match line.split_at(3) {
                ("C: ", said) => client.write(&talk_bytes(said)).await.map_err(told)?,
                ("B: ", said) => client.write(&unescape(said)?).await.map_err(told)?,
                ("1: ", said) => {
                    for byte in unescape(said)? {
                        client.write(&[byte]).await.map_err(told)?;
                        sleep(SLOW_TYPING).await;
                    }
                }
                ("W: ", span) => sleep(span.parse::<Span>()?.0).await,
                ("T: ", "hello") => client.write(&rsa_client_hello()).await.map_err(told)?,
                ("T: ", _) => client = client.start_tls("gw.corp.test").await.map_err(told)?,
                ("X: ", how) => {
                    client.vanish(how == "reset").await;
                    return Ok(());
                }
                (_, "close") => {
                    if !client.closed(Duration::from_secs(10)).await {
                        return Err("the gateway did not close the connection".to_owned());
                    }
                }
                (_, expected) => {
                    let reply = match banner.take() {
                        Some(banner) => banner,
                        None => client.reply().await.map_err(told)?,
                    };
                    self.hear(step.source, &[], &reply);
                    if !reply.is(expected) {
                        return Err(format!("expected {expected}, got: {reply}"));
                    }
                    // A message handed in by talk counts as the last one sent, too.
                    self.sent.extend(audit_id(&reply.to_string()).map(|id| (Vec::new(), id)));
                }
            }
        }
        Ok(())
    }

    /// Keeps the Audit ID of a reply.
    fn hear(&mut self, client: std::net::IpAddr, recipients: &[String], reply: &Reply) {
        if let Some(id) = audit_id(&reply.to_string()) {
            let refused = !reply.is("2") && !reply.is("3");
            self.heard.push(Heard { client: client.to_string(), recipients: recipients.to_vec(), id, refused });
        }
    }

    fn listener(&self, name: &str) -> Result<SocketAddr, String> {
        let address = name.parse().ok().or_else(|| config::listener(&self.host, name));
        address.ok_or_else(|| format!("gatepost.toml has no listener {name}"))
    }

    fn remember(&mut self, step: &Send, reply: &Reply) {
        if let Some(id) = audit_id(&reply.to_string()) {
            self.sent.push((step.to.all().to_vec(), id));
        }
    }
}

fn expect_reply(step: &Send, reply: &Reply) -> Result<(), String> {
    if !reply.is(&step.expect) {
        return Err(format!("expected {}, got: {reply}", step.expect));
    }
    contains("the reply", &reply.to_string(), &step.expect_contains)
}

/// `\r` and `\n` may be written in a line to send other line ends than CRLF; else CRLF is added.
fn talk_bytes(line: &str) -> Vec<u8> {
    let ended = line.contains("\\n") || line.contains("\\r");
    let mut text = line.replace("\\r", "\r").replace("\\n", "\n");
    if !ended {
        text += "\r\n";
    }
    text.into_bytes()
}

fn content(step: &Send, number: usize) -> String {
    let mut content = step.content.clone().unwrap_or_else(|| {
        format!(
            "From: <{}>\r\nTo: <{}>\r\nSubject: sim {number}\r\nDate: Sat, 1 Jan 2000 00:00:00 +0000\r\nMessage-ID: <sim.{number}@{}>\r\n\r\nHello.\r\n",
            step.from,
            step.to.all().join(">,\r\n <"),
            client_name(step.source),
        )
    });
    let trace = |hop: usize| {
        format!(
            "Received: from host{hop}.path.test by host{}.path.test with ESMTP id x{hop};\r\n\tSat, 1 Jan 2000 00:00:00 +0000\r\n",
            hop + 1
        )
    };
    content = (0..step.received).rev().map(trace).collect::<String>() + &content;
    while content.len() < step.size {
        content += &"x".repeat(70);
        content += "\r\n";
    }
    content
}

/// An Audit ID in a reply: a word of 13 letters and digits in Crockford's base 32.
fn audit_id(reply: &str) -> Option<String> {
    let crockford = |c: char| c.is_ascii_digit() || (c.is_ascii_uppercase() && !"ILOU".contains(c));
    let mut words = reply.split(|c: char| !c.is_ascii_alphanumeric());
    words
        .find(|word| word.len() == 13 && word.chars().all(crockford) && word.contains(|c: char| c.is_ascii_digit()))
        .map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audit_id_is_found_in_a_reply() {
        assert_eq!(audit_id("250 2.0.0 01HZX3K7Q9ABC queued"), Some("01HZX3K7Q9ABC".to_owned()));
        assert_eq!(audit_id("250 2.0.0 accepted as <01HZX3K7Q9ABC>"), Some("01HZX3K7Q9ABC".to_owned()));
        assert_eq!(audit_id("250 2.0.0 ACCEPTEDTODAY at 0123456789ABCD"), None);
    }

    #[test]
    fn lines_of_a_talk_end_as_they_say() {
        assert_eq!(talk_bytes("NOOP"), b"NOOP\r\n");
        assert_eq!(talk_bytes("a\\n.\\n"), b"a\n.\n");
    }
}
