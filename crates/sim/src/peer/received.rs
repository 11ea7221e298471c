//! A message as a peer got it.

use std::{net::SocketAddr, time::SystemTime};

/// One accepted message: envelope, content and circumstances.
#[derive(Debug, Clone)]
pub struct Received {
    /// The name given in EHLO or HELO.
    pub helo: String,
    /// Where the connection came from.
    pub source: SocketAddr,
    /// Did it come through TLS?
    pub tls: bool,
    /// The user of AUTH, if there was any.
    pub user: Option<String>,
    /// The address of MAIL, without brackets; empty for the null sender.
    pub sender: String,
    /// The words after the address of MAIL: `SIZE=100`, `RET=HDRS`.
    pub parameters: Vec<String>,
    /// The addresses of the accepted RCPTs, in their order.
    pub recipients: Vec<String>,
    /// The words after the address of each RCPT: `NOTIFY=NEVER`.
    pub recipient_parameters: Vec<Vec<String>>,
    /// The content as it was before the dots were doubled for transfer.
    pub content: Vec<u8>,
    pub at: SystemTime,
    /// Which connection to this peer it was, counted from 1.
    pub connection: usize,
}

impl Received {
    /// The content as text; what is not UTF-8 is shown as U+FFFD.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.content).into_owned()
    }

    /// Was it sent to this address (letters in either case)?
    pub fn is_to(&self, address: &str) -> bool {
        self.recipients.iter().any(|recipient| recipient.eq_ignore_ascii_case(address))
    }
}
