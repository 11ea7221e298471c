//! A peer that sends what it accepted on to somewhere else, or answers it: half of a mail loop.

use std::{io, net::SocketAddr};

use super::{
    Received,
    script::{How, Relay},
};
use crate::{client::Client, date, glob};

/// A peer sends on this many messages at most, so that a loop in a test ends even if the gateway does not stop it.
pub(super) const RELAYED_MAX: usize = 60;

/// Sends the message on, for the recipients that the relay line names. Gives the last reply; none if nobody is named.
pub(super) async fn send_on(
    relay: &Relay,
    message: &Received,
    me: SocketAddr,
    hostname: &str,
    number: usize,
) -> io::Result<Option<String>> {
    let recipients: Vec<&str> =
        message.recipients.iter().map(String::as_str).filter(|r| glob::matches(&relay.recipients, r)).collect();
    let Some(first) = recipients.first() else { return Ok(None) };
    if relay.how == How::Answer {
        // A responder knows nothing of RFC 3834, but it has nobody to answer if there is no sender.
        if message.sender.is_empty() {
            return Ok(None);
        }
        let content = answer(message, first, hostname, number);
        let sender = relay.sender.as_deref().unwrap_or(first);
        return say(relay, me, hostname, sender, &[&message.sender], content.as_bytes()).await;
    }
    let content = [head(relay, message, first, hostname).as_bytes(), &body(relay, message)].concat();
    let sender = relay.sender.as_deref().unwrap_or(&message.sender);
    let to = relay.recipient.as_deref().map_or(recipients, |other| vec![other]);
    say(relay, me, hostname, sender, &to, &content).await
}

async fn say(
    relay: &Relay,
    me: SocketAddr,
    hostname: &str,
    sender: &str,
    to: &[&str],
    content: &[u8],
) -> io::Result<Option<String>> {
    let mut client = Client::connect(Some(me.ip()), relay.to).await?;
    if !client.banner.is("2") {
        return Ok(Some(client.banner.to_string()));
    }
    let replies = client.send(hostname, sender, to, content).await?;
    Ok(replies.last().map(ToString::to_string))
}

fn head(relay: &Relay, message: &Received, recipient: &str, hostname: &str) -> String {
    let mut head = String::new();
    if relay.delivered_to {
        head += &format!("Delivered-To: {recipient}\r\n");
    }
    if !relay.bare {
        head += &format!(
            "Received: from {} ([{}])\r\n\tby {hostname} (sim) with ESMTP id {};\r\n\t{}\r\n",
            message.helo,
            message.source.ip(),
            message.connection,
            date::rfc5322(date::now_s()),
        );
    }
    head
}

fn body(relay: &Relay, message: &Received) -> Vec<u8> {
    if relay.bare { without_trace(&message.text()).into_bytes() } else { message.content.clone() }
}

/// The content without its Received fields.
fn without_trace(text: &str) -> String {
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((text, ""));
    let mut kept = String::new();
    let mut dropping = false;
    for line in head.split("\r\n") {
        if !line.starts_with([' ', '\t']) {
            dropping = line.to_ascii_lowercase().starts_with("received:");
        }
        if !dropping {
            kept = kept + line + "\r\n";
        }
    }
    kept + "\r\n" + body
}

/// A new message, as an out-of-office responder writes it.
fn answer(message: &Received, from: &str, hostname: &str, number: usize) -> String {
    let text = message.text();
    let field = |name: &str| {
        let begins = |line: &&str| line.to_ascii_lowercase().starts_with(name);
        text.split("\r\n").take_while(|line| !line.is_empty()).find(begins).map(|line| line[name.len()..].trim())
    };
    let about = field("message-id:").unwrap_or_default();
    // RFC 5322 3.6.4 lets References grow for ever; real programs keep the last few.
    let known = text.split_whitespace().filter(|word| word.starts_with("<answer.") && word.ends_with('>'));
    let known: Vec<&str> = known.collect();
    let references = known[known.len().saturating_sub(5)..].join("\r\n ");
    let subject = field("subject:").unwrap_or_default();
    format!(
        "From: <{from}>\r\nTo: <{}>\r\nSubject: Re: {subject}\r\nDate: {}\r\nMessage-ID: <answer.{number}.{}@{hostname}>\r\n\
         In-Reply-To: {about}\r\nReferences: {references}\r\n {about}\r\n\r\nI am out of office.\r\n",
        message.sender,
        date::rfc5322(date::now_s()),
        from.replace('@', "."),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trace_is_taken_away_with_its_folded_lines() {
        let text = "Received: from a\r\n\tby b\r\nSubject: x\r\nReceived: by c\r\n\r\nReceived: body\r\n";
        assert_eq!(without_trace(text), "Subject: x\r\n\r\nReceived: body\r\n");
    }
}
