//! Steps that speak to the gateway: `send` and `talk`.

use std::{net::SocketAddr, time::Duration};

use super::{
    config,
    runner::Stage,
    step::{Send, Talk, client_name},
    wording::contains,
};
use crate::client::{Client, Reply};

impl Stage {
    pub(super) async fn send(&mut self, step: &Send) -> Result<(), String> {
        let target = self.listener(&step.listener)?;
        let told = |error: std::io::Error| format!("sending to {target}: {error}");
        let helo = step.helo.clone().unwrap_or_else(|| client_name(step.source));
        let to: Vec<&str> = step.to.all().iter().map(String::as_str).collect();
        let mut client = Client::connect(Some(step.source), target).await.map_err(told)?;
        let mut last = client.banner.clone();
        if last.is("2") {
            last = client.say(&format!("EHLO {helo}")).await.map_err(told)?;
        }
        for number in 0..step.times {
            if last.is("2") {
                let content = content(step, number + self.sent.len());
                let replies = client.transaction(&step.from, &to, content.as_bytes()).await.map_err(told)?;
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
        let mut client = Client::connect(Some(step.source), target).await.map_err(told)?;
        let mut banner = Some(client.banner.clone());
        for line in &step.lines {
            match line.split_at(3) {
                ("C: ", said) => client.write(&talk_bytes(said)).await.map_err(told)?,
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
            step.to.all().join(">, <"),
            client_name(step.source),
        )
    });
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
