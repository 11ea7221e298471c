//! The spool's disk has too little room for new mail.

use crate::diagnose::rules::shown::size;
use crate::diagnose::{Answer, Case, rule};
use mail::{Actor, Confidence, Finding};

rule! {
    /// Too little room for new mail
    ///
    /// The gateway takes mail only while so much of the data folder's disk is free as `queue.disk_reserve` says: the queue, the
    /// audit trail and the log need room even when mail stops. Below it all new mail is deferred with 421 4.3.1 or 452 4.3.1; senders keep it
    /// and come back. Either the disk is full, or the reserve is larger than the disk will ever have free.
    ///
    /// Known by what the file system said at that moment.
    ///
    /// Free space or enlarge the disk; or set `queue.disk_reserve` to what the disk can spare.
    "own.storage_low", find
}

/// Below this a disk is full by any measure.
const FULL: u64 = 50 << 20;

fn find(case: &Case<'_>) -> Answer {
    let Some(visit) = case.visit() else { return Answer::No };
    let (Some(storage), Some(refusal)) = (&visit.storage, visit.refused("storage-low")) else { return Answer::No };
    if storage.error.is_some() {
        return Answer::No;
    }
    let status = format!("{} {}", refusal.reply.code, refusal.reply.status());
    let never = storage.disk.filter(|disk| *disk <= storage.reserve);
    let limit = format!("{} must stay free (queue.disk_reserve)", size(storage.reserve));
    let mut sentence = format!("The queue disk ({}) has {} free but {limit}", storage.folder, size(storage.free));
    if let Some(disk) = never {
        sentence.push_str(&format!(", more than the whole disk of {}", size(disk)));
    }
    sentence.push_str(&format!(": all mail is deferred with {status}."));
    let mut finding = Finding::new("own.storage_low", Actor::OurSettings, sentence)
        .confidence(Confidence::Proven)
        .evidence(format!("{}: {} octets free, reserve {} octets", storage.folder, storage.free, storage.reserve))
        .disproof(format!("`df {}` shows more free than the reserve at that moment", storage.folder));
    if let Some(disk) = storage.disk {
        finding = finding.evidence(format!("the disk holds {}", size(disk)));
    }
    if let Some(files @ ..1000) = storage.files {
        finding = finding.evidence(format!("only {files} files (inodes) are left"));
    }
    if storage.message_size / 2 * 3 > storage.free {
        finding = finding.evidence(format!(
            "the largest message that is taken ({}) with half as much again does not fit either",
            size(storage.message_size)
        ));
    }
    if never.is_some() || storage.free > FULL {
        finding = finding.fix("Set `queue.disk_reserve` to what this disk can spare, such as \"500MB\".");
    }
    finding.fix(format!("Free space on the disk of {}, or give it a larger one.", storage.folder)).into()
}

#[cfg(test)]
mod tests {
    use crate::diagnose::testing::{Scene, check, scene};
    use mail::Storage;

    fn low(free: u64, reserve: u64, disk: u64) -> Scene {
        let mut scene = scene("visit inbound 127.0.1.10\nrefuse mail storage-low - 421 4.3.1 storage low");
        let storage = Storage {
            folder: "/data".to_owned(),
            free,
            reserve,
            disk: Some(disk),
            message_size: 10 << 20,
            ..Storage::default()
        };
        scene.visit.as_mut().unwrap().storage = Some(storage);
        scene
    }

    #[test]
    fn limit_free_space_and_folder_are_named() {
        low(9 << 30, 1396 << 30, 20 << 30).check(
            "own.storage_low: The queue disk (/data) has 9.0 GiB free but 1.4 TiB must stay free (queue.disk_reserve), more than \
             the whole disk of 20.0 GiB: all mail is deferred with 421 4.3.1.",
        );
        low(1 << 20, 500 << 20, 20 << 30).check(
            "own.storage_low: The queue disk (/data) has 1.0 MiB free but 500.0 MiB must stay free (queue.disk_reserve): all mail \
             is deferred with 421 4.3.1.",
        );
    }

    #[test]
    fn other_421s_are_not_about_storage() {
        check("visit inbound 127.0.1.10\nrefuse mail queue-full - 421 4.3.1 queue is full", "own.refused");
    }
}
