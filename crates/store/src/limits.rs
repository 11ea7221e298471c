//! Limits: how much memory and disk the store may take, and the counts that keep to them.

use crate::Refused;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What the store may take. All in octets.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Content of all drafts, and of committed mail still in memory, together. Beyond it drafts go to files.
    pub memory: u64,
    /// Content of one draft in memory; a longer one goes to a file of its own.
    pub memory_draft: u64,
    /// Content up to this lies in its row of the spool, longer content in a segment.
    pub row: u64,
    /// A segment is closed when it is this long.
    pub segment: u64,
    /// Free disk space below which new mail is refused (and mail already here can still leave).
    pub disk_reserve: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits { memory: 64 << 20, memory_draft: 4 << 20, row: 16 << 10, segment: 64 << 20, disk_reserve: 500_000_000 }
    }
}

/// Memory that content takes, counted across all drafts.
#[derive(Debug)]
pub(crate) struct Budget {
    used: AtomicU64,
    max: u64,
}

impl Budget {
    pub(crate) fn new(max: u64) -> Arc<Budget> {
        Arc::new(Budget { used: AtomicU64::new(0), max })
    }

    pub(crate) fn used(&self) -> u64 {
        self.used.load(Ordering::Relaxed)
    }

    pub(crate) fn max(&self) -> u64 {
        self.max
    }

    /// A part of the budget, empty at first.
    pub(crate) fn charge(self: &Arc<Budget>) -> Charge {
        Charge { budget: self.clone(), octets: 0 }
    }
}

/// Octets taken from the budget; they go back when this is dropped.
#[derive(Debug)]
pub(crate) struct Charge {
    budget: Arc<Budget>,
    octets: u64,
}

impl Charge {
    /// Takes `more` octets; false, and nothing taken, if the budget has not so many left.
    pub(crate) fn grow(&mut self, more: u64) -> bool {
        let max = self.budget.max;
        let taken = self.budget.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(more).filter(|sum| *sum <= max)
        });
        if taken.is_ok() {
            self.octets += more;
        }
        taken.is_ok()
    }
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.budget.used.fetch_sub(self.octets, Ordering::Relaxed);
    }
}

/// Free space of the disk that holds the folder, asked a few times a second at most.
#[derive(Debug)]
pub(crate) struct Room {
    folder: PathBuf,
    /// Bytes; settings may change it while mail flows.
    reserve: AtomicU64,
    seen: Mutex<Option<(Instant, u64)>>,
}

/// How long an answer of the file system is believed. 2,000 drafts of 10 MB could overrun it by little: content
/// waits in memory or has been counted by the file system by then.
const ROOM_FRESH: Duration = Duration::from_millis(300);

impl Room {
    pub(crate) fn new(folder: &Path, reserve: u64) -> Room {
        Room { folder: folder.to_owned(), reserve: AtomicU64::new(reserve), seen: Mutex::new(None) }
    }

    pub(crate) fn reserve(&self) -> u64 {
        self.reserve.load(Ordering::Relaxed)
    }

    /// From now on, so many bytes stay free.
    pub(crate) fn keep(&self, reserve: u64) {
        self.reserve.store(reserve, Ordering::Relaxed);
    }

    /// Octets that an ordinary user can still write.
    pub(crate) fn free(&self) -> io::Result<u64> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, free)) = *seen
            && at.elapsed() < ROOM_FRESH
        {
            return Ok(free);
        }
        let stat = rustix::fs::statvfs(&self.folder)?;
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        *seen = Some((Instant::now(), free));
        Ok(free)
    }

    /// Whether new mail may come in.
    pub(crate) fn check(&self) -> Result<(), Refused> {
        let free = self.free().map_err(Refused::Failed)?;
        let reserve = self.reserve();
        if free < reserve {
            return Err(Refused::Full { free, reserve });
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_charge_goes_back_when_dropped() {
        let budget = Budget::new(100);
        let mut first = budget.charge();
        assert!(first.grow(60));
        let mut second = budget.charge();
        assert!(!second.grow(41));
        drop(first);
        assert!(second.grow(41));
        assert_eq!(budget.used(), 41);
    }
}
