//! Refused: why new mail could not be made durable. Always temporary, always a 4xx: nothing was acknowledged.

use std::fmt;
use std::io;

/// Why a draft was not committed.
#[derive(Debug)]
pub enum Refused {
    /// Less disk space is free than is to stay free (octets).
    Full { free: u64, reserve: u64 },
    /// A write or sync failed; the text says where.
    Failed(io::Error),
}

impl Refused {
    /// The same for the next draft of a batch: an `io::Error` cannot be cloned.
    pub(crate) fn again(&self) -> Refused {
        match self {
            Refused::Full { free, reserve } => Refused::Full { free: *free, reserve: *reserve },
            Refused::Failed(error) => Refused::Failed(again(error)),
        }
    }

    pub(crate) fn closed() -> Refused {
        Refused::Failed(closed())
    }
}

pub(crate) fn again(error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), error.to_string())
}

pub(crate) fn closed() -> io::Error {
    io::Error::other("the store has been closed")
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refused::Full { free, reserve } => {
                let mb = |octets: &u64| octets / 1_000_000;
                write!(f, "storage low: {} MB free, {} MB must stay free", mb(free), mb(reserve))
            }
            Refused::Failed(error) => write!(f, "storage failed: {error}"),
        }
    }
}

impl std::error::Error for Refused {}

impl From<Refused> for io::Error {
    fn from(refused: Refused) -> io::Error {
        match refused {
            Refused::Full { .. } => io::Error::new(io::ErrorKind::StorageFull, refused.to_string()),
            Refused::Failed(error) => error,
        }
    }
}
