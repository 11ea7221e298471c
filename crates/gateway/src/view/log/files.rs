//! The files of the log: the one that is written to, and those that rotation left beside it.

use super::{apart, text, written};
use control::LogFile;
use jiff::Span;
use jiff::civil::DateTime;
use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Endings of compressed files.
const COMPRESSED: [&str; 5] = ["gz", "xz", "zst", "bz2", "lz4"];
/// Octets read to find a line with its time.
const PROBE: u64 = 64 << 10;

/// A place in the log. The file is named by its inode: that stays when rotation gives it another name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) octet: u64,
    pub(super) inode: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.octet, self.inode)
    }
}

impl FromStr for Place {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Place, &'static str> {
        let numbers = text.split_once('.').and_then(|(octet, inode)| Some((octet.parse().ok()?, inode.parse().ok()?)));
        let (octet, inode) = numbers.ok_or("not a place in the log, as a page before gave it")?;
        Ok(Place { octet, inode })
    }
}

/// One of them.
pub(super) struct OneFile {
    pub(super) path: PathBuf,
    pub(super) inode: u64,
    pub(super) size: u64,
}

/// All that can be read, the newest first.
pub(super) struct Files {
    pub(super) all: Vec<OneFile>,
    pub(super) compressed: u64,
}

impl Files {
    /// The log file and what is called like it with a number or a day behind: `maillog.1`, `maillog-20261125`.
    pub(super) fn of(path: &Path) -> io::Result<Files> {
        let own = name(path);
        let (mut rotated, mut compressed) = (Vec::new(), 0);
        for entry in path.parent().unwrap_or(Path::new(".")).read_dir()? {
            let path = entry?.path();
            let called = name(&path);
            let Some(rest) = called.strip_prefix(&own).and_then(|rest| rest.strip_prefix(['.', '-'])) else { continue };
            let (stem, packed) = match rest.rsplit_once('.') {
                Some((stem, end)) if COMPRESSED.contains(&end) => (stem, true),
                _ => (rest, false),
            };
            if stem.is_empty() || !stem.bytes().all(|octet| octet.is_ascii_digit()) {
                continue;
            }
            // One that rotation takes away just now is not there.
            let Ok(meta) = path.metadata() else { continue };
            if packed {
                compressed += 1;
            } else if meta.is_file() {
                rotated.push((meta.mtime(), meta.mtime_nsec(), OneFile { path, inode: meta.ino(), size: meta.len() }));
            }
        }
        rotated.sort_unstable_by(|a, b| (b.0, b.1, &a.2.path).cmp(&(a.0, a.1, &b.2.path)));
        let meta = path.metadata()?;
        let mut all = vec![OneFile { path: path.to_owned(), inode: meta.ino(), size: meta.len() }];
        all.extend(rotated.into_iter().map(|(_, _, file)| file));
        Ok(Files { all, compressed })
    }

    /// Where to begin: at the end, or where a page before stopped. `None`: that file is gone.
    pub(super) fn place(&self, before: Option<Place>) -> Option<Place> {
        let current = self.all.first()?;
        let Some(place) = before else { return Some(Place { octet: current.size, inode: current.inode }) };
        if place.inode == current.inode && place.octet > current.size {
            // Copied and truncated since: what stood there stands in the copy.
            return self.all.get(1).map(|copy| Place { octet: place.octet, inode: copy.inode });
        }
        self.all.iter().any(|file| file.inode == place.inode).then_some(place)
    }

    /// The path of a file of this name; empty: the one that is written to.
    pub(super) fn named(&self, wanted: &str) -> Option<PathBuf> {
        let found = self.all.iter().find(|file| wanted.is_empty() || name(&file.path) == wanted)?;
        Some(found.path.clone())
    }

    pub(super) fn told(&self) -> Vec<LogFile> {
        self.all.iter().map(|file| LogFile { name: name(&file.path), size: file.size }).collect()
    }
}

fn name(path: &Path) -> String {
    path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// An octet at or before `end` behind which all lines were written after `latest`. Lines stand in the order of their time, but for the
/// hour that is lived twice in autumn: so much later is looked at.
pub(super) fn written_by(file: &File, end: u64, latest: DateTime) -> io::Result<u64> {
    let latest = latest.saturating_add(Span::new().minutes(61));
    let (mut low, mut high) = (0, end);
    while high - low > PROBE {
        let middle = low + (high - low) / 2;
        match time_behind(file, middle, high)? {
            Some(at) if at < latest => low = middle,
            // Where no line has a time, nothing is known: the look begins later than it must.
            None => low = middle,
            Some(_) => high = middle,
        }
    }
    Ok(high)
}

/// The time of the first whole line behind an octet.
fn time_behind(file: &File, from: u64, end: u64) -> io::Result<Option<DateTime>> {
    let mut piece = vec![0; (end - from).min(PROBE) as usize];
    file.read_exact_at(&mut piece, from)?;
    Ok(piece.split(|octet| *octet == b'\n').skip(1).find_map(|line| written(&apart(&text(line)).time)))
}
