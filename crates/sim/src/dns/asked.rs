//! One question that the server was asked, and what it did with it.

use std::{fmt, net::SocketAddr, time::SystemTime};

/// How a question came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Udp,
    Tcp,
}

/// A line of the server's log.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The name as it was asked, without the dot at its end.
    pub name: String,
    /// `MX`, `A`, …
    pub kind: String,
    pub transport: Transport,
    /// The how-manieth question for this name and type, counted from 1 over both transports.
    pub number: u32,
    /// `NOERROR 2`, `NXDOMAIN 0`, `NOERROR 0 truncated`, `no answer`: the rcode and the number of records.
    pub answer: String,
    pub client: SocketAddr,
    pub at: SystemTime,
}

impl fmt::Display for Transport {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        })
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {} {} #{}: {}", self.transport, self.name, self.kind, self.number, self.answer)
    }
}
