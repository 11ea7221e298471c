//! Settings: whatever a document holds, reading it ends in settings or in complaints that have a place in it. Settings that are
//! written out are read again as the same; every field takes back what it shows; an edit changes what it names and nothing else.

use crate::octets::Octets;
use decide::Settings;
use decide::settings::{Complaint, Edit, Key, Part, diff, edit, entries, keys};

/// Lists with a key of their own.
const LISTS: &[&str] = &["domain", "alias", "masquerade", "user", "tls_policy", "delivery.source", "identity.scanner"];

/// Three lines: the kind of edit, a path, a value; the rest is the document.
pub(crate) fn check(input: &[u8]) {
    let mut octets = Octets(input);
    let (kind, path, value) = (octets.line(), octets.line(), octets.line());
    let text = crate::octets::readable(octets.0);
    let read = Settings::read(text);
    match &read {
        Ok(settings) => whole(settings),
        Err(complaints) => have_a_place(text, complaints),
    }
    let Some(made) = made(kind, path, value) else { return };
    match edit(text, std::slice::from_ref(&made)) {
        Err(complaints) => assert!(!complaints.is_empty()),
        Ok(edited) => {
            if let (Ok(before), Ok(after)) = (&read, Settings::read(&edited)) {
                changes_only_its_own(&made, before, &after);
            }
        }
    }
}

fn whole(settings: &Settings) {
    let text = settings.export();
    match Settings::read(&text) {
        Ok(again) => {
            assert!(diff(settings, &again).is_empty(), "{:?} in what is written out:\n{text}", diff(settings, &again))
        }
        Err(complaints) => panic!("what is written out is not read: {complaints:?}\n{text}"),
    }
    assert!(diff(settings, settings).is_empty());
    keys(settings, Part::Tables).iter().for_each(takes_back);
    for list in LISTS {
        for row in entries(settings, list, "", 0, 3).1 {
            keys(settings, Part::Entry(&row[0].table)).iter().for_each(takes_back);
        }
    }
}

fn takes_back(key: &Key) {
    if key.secret {
        return;
    }
    let shown = key.shown();
    assert_eq!(key.edit(&shown), None, "{} shows {shown:?} and takes it for a change", key.path);
    if key
        .value
        .as_deref()
        .is_some_and(|value| !value.contains("\\u") && !value.contains("\\n") && !value.contains("\\t"))
    {
        assert_eq!(key.typed(&shown), key.value, "{} shows {shown:?}", key.path);
    }
}

fn have_a_place(text: &str, complaints: &[Complaint]) {
    assert!(!complaints.is_empty(), "refused without a reason");
    let lines = text.lines().count().max(1);
    for complaint in complaints {
        assert!(complaint.line.is_none_or(|line| (1..=lines + 1).contains(&line)), "{complaint:?} of {lines} lines");
        assert!(!complaint.problem.is_empty());
    }
}

fn made(kind: &str, path: &str, value: &str) -> Option<Edit> {
    let (path, list) = (path.to_owned(), path.split('[').next().unwrap_or_default().to_owned());
    let items = || value.split(',').map(str::to_owned).collect();
    Some(match kind {
        "set" => Edit::Set { path, value: value.to_owned() },
        "unset" => Edit::Unset { path },
        "remove" => Edit::Remove { path },
        "include" => Edit::Include { path, items: items() },
        "exclude" => Edit::Exclude { path, items: items() },
        "add" => {
            let pairs = value.split(',').filter_map(|pair| pair.split_once('='));
            Edit::Add { list, keys: pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).collect() }
        }
        _ => return None,
    })
}

fn changes_only_its_own(made: &Edit, before: &Settings, after: &Settings) {
    // A list's entry is named by its first key: who changes that changes the name.
    let own = made.path().split(['[', '.']).next().unwrap_or_default();
    for change in diff(before, after) {
        assert!(change.path.starts_with(own), "{made:?} changes {change:?}");
    }
}
