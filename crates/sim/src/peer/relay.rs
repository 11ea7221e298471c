//! A peer that sends what it accepted on to somewhere else: half of a mail loop.

use std::{io, net::SocketAddr};

use super::{Received, script::Relay};
use crate::{client::Client, glob};

/// A peer sends on this many messages at most, so that a loop in a test ends even if the gateway does not stop it.
pub(super) const RELAYED_MAX: usize = 60;

/// Sends the message on, for the recipients that the relay line names. Gives the last reply; none if nobody is named.
pub(super) async fn send_on(
    relay: &Relay,
    message: &Received,
    me: SocketAddr,
    hostname: &str,
) -> io::Result<Option<String>> {
    let recipients: Vec<&str> =
        message.recipients.iter().map(String::as_str).filter(|r| glob::matches(&relay.recipients, r)).collect();
    if recipients.is_empty() {
        return Ok(None);
    }
    let trace = format!(
        "Received: from {} ([{}])\r\n\tby {hostname} (sim) with ESMTP id {};\r\n\tSat, 1 Jan 2000 00:00:00 +0000\r\n",
        message.helo,
        message.source.ip(),
        message.connection,
    );
    let content = [trace.as_bytes(), &message.content].concat();
    let mut client = Client::connect(Some(me.ip()), relay.to).await?;
    let replies = client.send(hostname, &message.sender, &recipients, &content).await?;
    Ok(replies.last().map(ToString::to_string))
}
