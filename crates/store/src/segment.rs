//! Segments: append-only files for content too long for a row of the spool.
//!
//! A record is a header (magic, Audit ID, length, CRC-32; little endian) and the content. The spool's row says where
//! the content begins; the header is for people and tools who must save mail from a lost spool.
//! A segment is written and synced *before* the spool refers to it, so what the spool names is there.
//! Two kinds of file share the numbers: shared segments, filled by the writer, and own segments, one spilled draft each.

use crate::disk::Disk;
use mail::AuditId;
use std::collections::{HashMap, HashSet};
use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Header of a record: `GPS1`, Audit ID (8), length (8), CRC-32 (4).
pub(crate) const HEADER: u64 = 24;

/// Where a segment lies and how the next one is called. Shared by writer and drafts.
#[derive(Debug)]
pub(crate) struct Shelf {
    pub(crate) folder: PathBuf,
    pub(crate) disk: Disk,
    next: AtomicU64,
}

impl Shelf {
    pub(crate) fn new(folder: PathBuf, disk: Disk, next: u64) -> Arc<Shelf> {
        Arc::new(Shelf { folder, disk, next: AtomicU64::new(next) })
    }

    pub(crate) fn path(&self, number: u64) -> PathBuf {
        self.folder.join(format!("{number:08}.seg"))
    }

    /// A new file with a number of its own.
    pub(crate) fn create(&self) -> io::Result<(u64, File)> {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let file = self.disk.create(&self.path(number))?;
        Ok((number, file))
    }

    pub(crate) fn remove(&self, number: u64) -> io::Result<()> {
        self.disk.remove(&self.path(number))
    }
}

pub(crate) fn header(id: AuditId, length: u64, crc: u32) -> [u8; HEADER as usize] {
    let mut header = [0; HEADER as usize];
    header[..4].copy_from_slice(b"GPS1");
    header[4..12].copy_from_slice(&id.to_i64().to_le_bytes());
    header[12..20].copy_from_slice(&length.to_le_bytes());
    header[20..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Where content lies: segment number, and offset of its first octet (behind the header).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) segment: u64,
    pub(crate) offset: u64,
}

/// The writer's side: the open segment, and how many messages each segment still carries.
#[derive(Debug)]
pub(crate) struct Segments {
    shelf: Arc<Shelf>,
    length_max: u64,
    open: Option<Open>,
    live: HashMap<u64, u64>,
}

#[derive(Debug)]
struct Open {
    number: u64,
    file: File,
    length: u64,
    synced: u64,
    new: bool,
}

impl Segments {
    pub(crate) fn new(shelf: Arc<Shelf>, length_max: u64, live: HashMap<u64, u64>) -> Segments {
        Segments { shelf, length_max, open: None, live }
    }

    /// Writes one record; it is safe only after [`Segments::sync`].
    pub(crate) fn append(&mut self, id: AuditId, content: &[u8], crc: u32) -> io::Result<Place> {
        if self.open.as_ref().is_some_and(|open| open.length >= self.length_max) {
            self.sync()?;
            self.close();
        }
        if self.open.is_none() {
            let (number, file) = self.shelf.create()?;
            self.open = Some(Open { number, file, length: 0, synced: 0, new: true });
        }
        let Some(open) = self.open.as_mut() else { return Err(io::Error::other("no open segment")) };
        let disk = &self.shelf.disk;
        disk.write_at(&open.file, &header(id, content.len() as u64, crc), open.length)?;
        let offset = open.length + HEADER;
        disk.write_at(&open.file, content, offset)?;
        open.length = offset + content.len() as u64;
        Ok(Place { segment: open.number, offset })
    }

    /// Everything appended so far on disk, and the name of a new file with it.
    pub(crate) fn sync(&mut self) -> io::Result<()> {
        let Some(open) = self.open.as_mut().filter(|open| open.length > open.synced) else { return Ok(()) };
        self.shelf.disk.sync(&open.file, &self.shelf.path(open.number))?;
        if open.new {
            self.shelf.disk.sync_folder(&self.shelf.folder)?;
            open.new = false;
        }
        open.synced = open.length;
        Ok(())
    }

    /// After a failure: never write to this file again. A failed fsync may have dropped pages that a later, successful
    /// one does not bring back. What was synced before stays; the tail goes, if the spool cannot refer to it.
    pub(crate) fn abandon(&mut self, tail_is_unknown: bool) {
        let Some(open) = self.open.take() else { return };
        if !tail_is_unknown {
            // Only to give the space back. If it fails, the tail goes when the store is opened next.
            let _ = open.file.set_len(open.synced);
        }
        self.forget_if_dead(open.number);
    }

    /// A committed message lies in this segment.
    pub(crate) fn live(&mut self, segment: u64) {
        *self.live.entry(segment).or_default() += 1;
    }

    /// A message of this segment is gone, and the spool knows it durably. The last one takes the file along.
    pub(crate) fn dead(&mut self, segment: u64) {
        if let Some(count) = self.live.get_mut(&segment) {
            *count = count.saturating_sub(1);
        }
        if self.open.as_ref().is_none_or(|open| open.number != segment) {
            self.forget_if_dead(segment);
        }
    }

    fn close(&mut self) {
        if let Some(open) = self.open.take() {
            self.forget_if_dead(open.number);
        }
    }

    fn forget_if_dead(&mut self, segment: u64) {
        if self.live.get(&segment).copied().unwrap_or(0) == 0 {
            self.live.remove(&segment);
            // A file that cannot be removed now is unreferenced, and goes when the store is opened next.
            let _ = self.shelf.remove(segment);
        }
    }
}

/// What the spool says about one segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wanted {
    pub(crate) messages: u64,
    /// Octets up to the end of the last record.
    pub(crate) length: u64,
}

/// What is wrong with a segment that the spool refers to.
#[derive(Debug)]
pub(crate) struct Damaged {
    pub(crate) segment: u64,
    /// Octets that are there; content behind them is lost.
    pub(crate) length: u64,
    pub(crate) what: String,
}

/// Brings the folder in line with the spool at open, without reading contents: files that nothing refers to and tails
/// behind the last record are removed; what is missing is told. Gives the next free number as well.
pub(crate) fn tidy(folder: &Path, wanted: &HashMap<u64, Wanted>) -> io::Result<(Vec<Damaged>, u64)> {
    let mut damaged = Vec::new();
    let mut seen = HashSet::new();
    let mut next = wanted.keys().max().map_or(1, |number| number + 1);
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(number) = number(&path) else { continue };
        next = next.max(number + 1);
        let Some(want) = wanted.get(&number) else {
            fs::remove_file(&path)?;
            continue;
        };
        seen.insert(number);
        let length = fs::metadata(&path)?.len();
        if length < want.length {
            let what = format!("{} is {length} octets long, {} are referred to", path.display(), want.length);
            damaged.push(Damaged { segment: number, length, what });
        } else if length > want.length {
            OpenOptions::new().write(true).open(&path)?.set_len(want.length)?;
        }
    }
    for (&segment, _) in wanted.iter().filter(|(number, _)| !seen.contains(number)) {
        let what = format!("{} is missing", folder.join(format!("{segment:08}.seg")).display());
        damaged.push(Damaged { segment, length: 0, what });
    }
    Ok((damaged, next))
}

fn number(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".seg")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Faults, Operation};

    fn segments(folder: &Path, disk: Disk) -> Segments {
        Segments::new(Shelf::new(folder.to_owned(), disk, 1), 100, HashMap::new())
    }

    fn id(n: u16) -> AuditId {
        AuditId::new(1, 0, n)
    }

    fn files(folder: &Path) -> Vec<u64> {
        let mut files: Vec<u64> = fs::read_dir(folder).unwrap().filter_map(|e| number(&e.unwrap().path())).collect();
        files.sort();
        files
    }

    #[test]
    fn a_segment_goes_with_its_last_message_once_it_is_full() {
        let folder = tempfile::tempdir().unwrap();
        let mut segments = segments(folder.path(), Disk::Real);
        for n in 0..3 {
            let place = segments.append(id(n), &[7; 60], 0).unwrap();
            segments.sync().unwrap();
            segments.live(place.segment);
        }
        assert_eq!(files(folder.path()), [1, 2]);
        segments.dead(1);
        assert_eq!(files(folder.path()), [1, 2]);
        segments.dead(1);
        assert_eq!(files(folder.path()), [2]);
        segments.dead(2);
        assert_eq!(files(folder.path()), [2], "the open segment stays");
    }

    #[test]
    fn after_a_failed_sync_another_file_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let faults = Arc::new(Faults::default());
        let mut segments = segments(folder.path(), Disk::Faulty(faults.clone()));
        let first = segments.append(id(1), b"kept", 0).unwrap();
        segments.sync().unwrap();
        segments.live(first.segment);
        segments.append(id(2), b"lost", 0).unwrap();
        faults.plan(Operation::Sync, 0, 1, io::ErrorKind::Other);
        assert!(segments.sync().is_err());
        segments.abandon(false);
        let third = segments.append(id(3), b"elsewhere", 0).unwrap();
        assert_ne!(third.segment, first.segment);
        assert_eq!(fs::read(folder.path().join("00000001.seg")).unwrap().len() as u64, HEADER + 4);
    }
}
