//! Between: what must be edited in one document so that it says what another says; and which keys belong to one host alone.

use super::keys::records;
use super::walk::Record;
use super::{Edit, Settings};
use std::collections::{BTreeMap, BTreeSet};

/// Keys that name what one machine has: copied to another Scanner, they would be wrong there. `listener.*` is any listener.
const OWN: [&str; 6] = [
    "hostname",
    "identity.public_addresses",
    "listener.*.certificate",
    "listener.*.key",
    "delivery.source",
    "dns.hosts_file",
];

/// Whether a key or an entry, by its path, belongs to one host: its name, its addresses, its files.
pub fn is_own(path: &str) -> bool {
    let path = path.split('[').next().unwrap_or(path);
    let parts: Vec<&str> = path.split('.').collect();
    OWN.iter().any(|own| {
        let own: Vec<&str> = own.split('.').collect();
        own.len() <= parts.len() && own.iter().zip(&parts).all(|(own, part)| *own == "*" || own == part)
    })
}

/// The edits that make settings equal to `to` in a document that says `from`, each with the key or entry that it is about.
/// Secrets are in them.
pub fn between(from: &Settings, to: &Settings) -> Vec<(String, Edit)> {
    let (before, after) = (tables(from), tables(to));
    let mut edits = Vec::new();
    for (table, keys) in &after {
        match before.get(table) {
            None if table.contains('[') => {
                let list = table.split('[').next().unwrap_or_default().to_owned();
                let keys = keys.iter().filter_map(|(key, value)| Some(((*key).to_owned(), value.clone()?))).collect();
                edits.push((table.clone(), Edit::Add { list, keys }));
            }
            known => {
                for (key, value) in keys {
                    let old = known.and_then(|known| known.get(key)).cloned().flatten();
                    let path = if table.is_empty() { (*key).to_owned() } else { format!("{table}.{key}") };
                    let edit = match value {
                        value if *value == old => continue,
                        Some(value) => Edit::Set { path: path.clone(), value: value.clone() },
                        None => Edit::Unset { path: path.clone() },
                    };
                    edits.push((path, edit));
                }
            }
        }
    }
    let gone: BTreeSet<&String> =
        before.keys().filter(|table| table.contains('[') && !after.contains_key(*table)).collect();
    edits.extend(gone.into_iter().map(|table| (table.clone(), Edit::Remove { path: table.clone() })));
    edits
}

/// All that Scanners with the same settings have in common, one key a line: equal texts, equal settings.
pub fn shared(settings: &Settings) -> String {
    let line = |record: Record| {
        let path =
            if record.table.is_empty() { record.key.to_owned() } else { format!("{}.{}", record.table, record.key) };
        Some(format!("{path} = {}\n", record.value.filter(|_| !is_own(&path))?))
    };
    records(settings).into_iter().filter_map(line).collect::<BTreeSet<_>>().into_iter().collect()
}

type Keys = BTreeMap<&'static str, Option<String>>;

fn tables(settings: &Settings) -> BTreeMap<String, Keys> {
    let mut tables: BTreeMap<String, Keys> = BTreeMap::new();
    for record in records(settings) {
        tables.entry(record.table).or_default().insert(record.key, record.value);
    }
    tables
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{diff, edit, reference};

    const ONE: &str = "# ours\nhostname = \"gw1.corp.test\"\n[queue]\nlimit = 5000\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"192.0.2.25\"]\n[[alias]]\nfrom = \"a@corp.test\"\nto = [\"b@corp.test\"]\n[[alias]]\nfrom = \"c@corp.test\"\nto = [\"b@corp.test\"]\n";
    const OTHER: &str = "hostname = \"gw2.corp.test\"\npostmaster = \"pm@corp.test\"\n[[domain]]\nname = \"corp.test\"\nnext_hops = [\"192.0.2.26\"]\n[[domain]]\nname = \"new.test\"\nnext_hops = [\"192.0.2.27\"]\n[[alias]]\nfrom = \"c@corp.test\"\nto = [\"d@corp.test\"]\n[[user]]\nname = \"ann\"\npassword = \"$argon2id$v=19$m=19456,t=2,p=1$c2FsdA$aGFzaA\"\n";

    #[test]
    fn edited_so_one_document_says_what_the_other_says() {
        for (from, to) in [(ONE, OTHER), (OTHER, ONE), ("", OTHER), (ONE, "")] {
            let [before, after] = [from, to].map(|text| Settings::read(text).unwrap());
            let (named, edits): (Vec<_>, Vec<_>) = between(&before, &after).into_iter().unzip();
            let back: BTreeSet<_> = between(&after, &before).into_iter().map(|(path, _)| path).collect();
            assert_eq!(named.into_iter().collect::<BTreeSet<_>>(), back, "the same differences from either side");
            let made = Settings::read(&edit(from, &edits).unwrap()).unwrap();
            assert_eq!(diff(&after, &made), [], "{edits:?}");
            assert_eq!(shared(&after), shared(&made), "secrets as well");
        }
        let same = Settings::read(ONE).unwrap();
        assert_eq!(between(&same, &same), []);
    }

    #[test]
    fn what_belongs_to_one_host_is_known_and_each_such_key_exists() {
        for path in [
            "hostname",
            "identity.public_addresses",
            "listener.inbound.certificate",
            "listener.submission.key",
            "delivery.source[192.0.2.1].ehlo",
            "delivery.source",
        ] {
            assert!(is_own(path), "{path}");
        }
        for path in [
            "mode",
            "listener.inbound.tls",
            "delivery.port",
            "domain[hostname].name",
            "identity.dnsbl",
            "identity.scanner[gw2.test].name",
        ] {
            assert!(!is_own(path), "{path}");
        }
        let known = reference();
        for own in OWN {
            let own = own.replace("*", "inbound");
            assert!(known.iter().any(|key| key.path.split('[').next().unwrap().starts_with(&own)), "{own}");
        }
    }

    #[test]
    fn another_host_name_is_no_difference_and_another_limit_is() {
        let text = |text: &str| shared(&Settings::read(text).unwrap());
        assert_eq!(text("hostname = \"a.test\"\n"), text("# b\nhostname = \"b.test\"\n"));
        assert_ne!(text(""), text("[queue]\nlimit = 5000\n"));
    }
}
