//! Clock and Audit IDs: the only place that reads the time of day.

use mail::{AuditId, Time};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Now, in Unix milliseconds.
pub(crate) fn now() -> Time {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Time(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

/// Gives each ID once, also when the clock is set back and across restarts.
#[derive(Debug)]
pub(crate) struct Ids {
    scanner: u8,
    /// `ms << 13 | sequence` of the last ID given.
    last: AtomicI64,
}

impl Ids {
    /// Begins above the highest ID in the spool.
    pub(crate) fn new(scanner: u8, highest: Option<AuditId>) -> Ids {
        let last = highest.map_or(0, |id| (id.ms() + 1) << 13);
        Ids { scanner, last: AtomicI64::new(last) }
    }

    /// The next ID.
    pub(crate) fn next(&self) -> AuditId {
        let floor = now().ms() << 13;
        let step = |last: i64| Some((last + 1).max(floor));
        let last = self.last.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).unwrap_or(floor);
        let given = (last + 1).max(floor);
        AuditId::new(given >> 13, self.scanner, (given & 0x1fff) as u16)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_is_given_twice_even_if_the_clock_lags() {
        let future = AuditId::new(now().ms() + 3_600_000, 0, 5);
        let ids = Ids::new(0, Some(future));
        let given: std::collections::BTreeSet<_> = (0..20_000).map(|_| ids.next()).collect();
        assert_eq!(given.len(), 20_000);
        assert!(given.first().unwrap() > &future);
    }
}
