//! Hosts file: names with fixed addresses, which count before DNS as they do for the other programs of the machine.

use mail::dns::{Answer, Data, Kind, Outcome, Question, Record};
use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

/// A larger file is not read: block lists of the largest kind have a tenth of it.
const OCTETS_MAX: u64 = 64 << 20;

pub(super) type Names = HashMap<String, Vec<IpAddr>>;

/// The file as it was read last.
#[derive(Debug, Default)]
pub(super) struct Hosts {
    read: Mutex<Option<Read>>,
}

#[derive(Debug)]
struct Read {
    path: PathBuf,
    changed: SystemTime,
    octets: u64,
    names: Arc<Names>,
}

impl Hosts {
    /// The file's answer; `None`: the file says nothing of this name, or the question is not for addresses. As with libc, a
    /// name that stands there has no addresses but those that stand there.
    pub(super) fn answer(&self, path: &Path, question: &Question) -> Option<Answer> {
        if !matches!(question.kind, Kind::A | Kind::Aaaa) {
            return None;
        }
        let names = self.names(path)?;
        let addresses = names.get(&question.name)?;
        let fits = |address: &&IpAddr| address.is_ipv4() == (question.kind == Kind::A);
        let record = |address: &IpAddr| Record {
            name: question.name.clone(),
            kind: question.kind,
            ttl: 0,
            data: Data::Address(*address),
        };
        let records: Vec<Record> = addresses.iter().filter(fits).map(record).collect();
        let outcome = if records.is_empty() { Outcome::NoData } else { Outcome::Found };
        Some(Answer { records, server: path.display().to_string(), ..Answer::bare(question.clone(), outcome) })
    }

    /// The names that the file gives to addresses like these.
    pub(super) fn names_of(&self, path: &Path, fits: impl Fn(IpAddr) -> bool) -> Vec<String> {
        let Some(names) = self.names(path) else { return Vec::new() };
        let found = names.iter().filter(|(_, addresses)| addresses.iter().any(|address| fits(*address)));
        let mut found: Vec<String> = found.map(|(name, _)| name.clone()).collect();
        found.sort_unstable();
        found
    }

    /// What the file says now. A file that is not there says nothing.
    fn names(&self, path: &Path) -> Option<Arc<Names>> {
        let about = std::fs::metadata(path).ok().filter(|about| about.len() <= OCTETS_MAX)?;
        let (changed, octets) = (about.modified().ok()?, about.len());
        let mut read = self.read.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = read.as_ref()
            && (known.path == path && known.changed == changed && known.octets == octets)
        {
            return Some(known.names.clone());
        }
        let text = String::from_utf8_lossy(&std::fs::read(path).ok()?).into_owned();
        let names = Arc::new(parse(&text));
        *read = Some(Read { path: path.to_owned(), changed, octets, names: names.clone() });
        Some(names)
    }
}

/// hosts(5): an address, its name, its other names; `#` begins a comment. Lines of other shapes are passed over.
pub(super) fn parse(text: &str) -> Names {
    let mut names = Names::new();
    for line in text.lines() {
        let mut words = line.split('#').next().unwrap_or_default().split_whitespace();
        let Some(Ok(address)) = words.next().map(str::parse::<IpAddr>) else { continue };
        for name in words {
            let known = names.entry(name.trim_end_matches('.').to_ascii_lowercase()).or_default();
            if !known.contains(&address) {
                known.push(address);
            }
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_in_the_file_has_the_addresses_that_stand_there_and_no_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hosts");
        let hosts = Hosts::default();
        let ask = |name: &str, kind| {
            hosts.answer(&path, &Question::new(name, kind)).map_or("-".to_owned(), |answer| answer.summary())
        };
        assert_eq!(ask("gw.own.test", Kind::A), "-", "there is no file");
        std::fs::write(&path, "# x\n127.0.1.1\tGW.own.test. gw # own\n127.0.1.2 gw\n::1 six\nnonsense gw\n").unwrap();
        assert_eq!(ask("gw.own.test", Kind::A), "gw.own.test A: 127.0.1.1");
        assert_eq!(ask("gw.own.test", Kind::Aaaa), "gw.own.test AAAA: NODATA");
        assert_eq!(ask("gw", Kind::A), "gw A: 127.0.1.1, 127.0.1.2");
        assert_eq!(ask("six", Kind::Aaaa), "six AAAA: ::1");
        assert_eq!(ask("gw", Kind::Mx), "-", "only addresses");
        assert_eq!(ask("own", Kind::A), "-", "comments are no names");
        let of = |own: &str| hosts.names_of(&path, |address| address.to_string() == own);
        assert_eq!(of("127.0.1.1"), ["gw", "gw.own.test"]);
        assert_eq!(of("127.0.1.9"), [""; 0]);
        std::fs::write(&path, "127.0.1.9 gw\n").unwrap();
        assert_eq!(ask("gw", Kind::A), "gw A: 127.0.1.9", "a changed file is read again");
    }
}
