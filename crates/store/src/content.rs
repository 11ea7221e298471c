//! Content: the octets of a message after DATA, in memory or in a file, checked against their CRC when read whole.

use crate::limits::Charge;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Deref;
use std::os::unix::fs::FileExt;
use std::sync::{Arc, Mutex, PoisonError};

/// A message's content. Cloning is cheap; each clone checks its own reading.
#[derive(Clone, Debug)]
pub enum Content {
    /// Straight from a draft, or from its row.
    Memory(Arc<Loaded>),
    /// In a segment.
    File(Part),
}

/// Content in memory. While it lives it counts against [`Limits::memory`](crate::Limits::memory).
pub struct Loaded {
    octets: Vec<u8>,
    _charge: Option<Charge>,
}

impl Loaded {
    pub(crate) fn new(octets: Vec<u8>, charge: Option<Charge>) -> Arc<Loaded> {
        Arc::new(Loaded { octets, _charge: charge })
    }
}

impl Deref for Loaded {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        &self.octets
    }
}

/// Never the content itself: this may end in a log.
impl fmt::Debug for Loaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} octets", self.octets.len())
    }
}

/// A part of a segment file.
#[derive(Debug)]
pub struct Part {
    file: Arc<File>,
    start: u64,
    length: u64,
    crc: u32,
    read: Mutex<Read>,
}

/// How far the content has been read without a gap, and the CRC so far.
#[derive(Debug, Default)]
struct Read {
    until: u64,
    crc: crc32fast::Hasher,
}

impl Part {
    pub(crate) fn new(file: File, start: u64, length: u64, crc: u32) -> Part {
        Part { file: Arc::new(file), start, length, crc, read: Mutex::default() }
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.length.saturating_sub(offset);
        let wanted = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        if wanted == 0 {
            return Ok(0);
        }
        let got = self.file.read_at(&mut buffer[..wanted], self.start + offset)?;
        if got == 0 {
            return Err(damaged(format!("content ends after {offset} of {} octets", self.length)));
        }
        self.check(offset, &buffer[..got])?;
        Ok(got)
    }

    fn check(&self, offset: u64, octets: &[u8]) -> io::Result<()> {
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if offset == 0 {
            *read = Read::default();
        }
        if read.until != offset {
            return Ok(());
        }
        read.crc.update(octets);
        read.until += octets.len() as u64;
        if read.until == self.length && read.crc.clone().finalize() != self.crc {
            return Err(damaged("content does not match its checksum".to_owned()));
        }
        Ok(())
    }
}

impl Clone for Part {
    fn clone(&self) -> Part {
        Part { file: self.file.clone(), start: self.start, length: self.length, crc: self.crc, read: Mutex::default() }
    }
}

impl Content {
    /// Octets.
    pub fn len(&self) -> u64 {
        match self {
            Content::Memory(loaded) => loaded.len() as u64,
            Content::File(part) => part.length,
        }
    }

    /// Whether there is no content at all.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The whole content, if it is in memory.
    pub fn memory(&self) -> Option<&[u8]> {
        match self {
            Content::Memory(loaded) => Some(loaded),
            Content::File(_) => None,
        }
    }

    /// Reads from `offset`; gives how many octets, 0 at the end. Read from start to end without a gap, the last piece
    /// is an error (`InvalidData`) if the checksum is wrong: then do not end the transfer, and call
    /// [`Store::set_aside`](crate::Store::set_aside). Blocks on the disk.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Content::Memory(loaded) => {
                let rest = usize::try_from(offset).ok().and_then(|offset| loaded.get(offset..)).unwrap_or_default();
                let count = rest.len().min(buffer.len());
                buffer[..count].copy_from_slice(&rest[..count]);
                Ok(count)
            }
            Content::File(part) => part.read_at(offset, buffer),
        }
    }

    /// Everything, at once: for pages and small mail.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let mut octets = vec![0; usize::try_from(self.len()).map_err(io::Error::other)?];
        let mut filled = 0;
        while filled < octets.len() {
            filled += self.read_at(filled as u64, &mut octets[filled..])?;
        }
        Ok(octets)
    }
}

pub(crate) fn damaged(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn a_changed_octet_is_found_at_the_end_of_the_reading() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"--The content--").unwrap();
        let right = Part::new(file.try_clone().unwrap(), 2, 11, crc32fast::hash(b"The content"));
        assert_eq!(Content::File(right).read().unwrap(), b"The content");
        let wrong = Part::new(file, 2, 11, crc32fast::hash(b"The c0ntent"));
        let mut buffer = [0; 6];
        assert_eq!(wrong.read_at(0, &mut buffer).unwrap(), 6);
        assert_eq!(wrong.read_at(6, &mut buffer).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
