//! One walk over all keys: reads a document, and records of each key its value, range and manual entry on the way.
//!
//! Without a document (`given` is None) nothing is read and the records describe the settings as they are: the
//! reference, the export and the comparison are made of them.

use super::Complaint;
use super::book::{Book, Entry};
use super::form::Shape;
use super::value::{Problem, Setting};
use std::collections::BTreeMap;
use std::ops::{Range, RangeInclusive};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a walk found.
pub(super) struct Walk<'d> {
    /// Where the document's lines end: counted once, for a document may have a hundred thousand entries.
    ends: Vec<usize>,
    pub(super) complaints: Vec<Complaint>,
    pub(super) records: Vec<Record>,
    /// Lines of list entries, by `alias[a@corp.test]`.
    pub(super) lines: BTreeMap<String, usize>,
    /// Which place each has in its list, by the same names, from 0.
    pub(super) places: BTreeMap<String, usize>,
    /// Without a document: the entries whose keys are wanted.
    pub(super) wanted: Wanted<'d>,
    /// How many entries the text of [`Wanted::Page`] stands in.
    pub(super) found: usize,
}

/// Which entries of the lists a walk without a document looks at.
#[derive(Clone, Copy)]
pub(super) enum Wanted<'d> {
    All,
    None,
    /// `alias[a@corp.test]`.
    One(&'d str),
    /// Some of one list: those in which this text stands, ignoring case, from one on, so many.
    Page {
        list: &'d str,
        text: &'d str,
        skip: usize,
        limit: usize,
    },
}

/// One key as the walk met it.
pub(super) struct Record {
    /// `listener.inbound`, `domain[corp.test]`; empty at the top.
    pub(super) table: String,
    pub(super) key: &'static str,
    /// As TOML; None: absent, which has its own meaning.
    pub(super) value: Option<String>,
    pub(super) range: String,
    pub(super) doc: &'static str,
    pub(super) secret: bool,
    pub(super) required: bool,
    pub(super) shape: Shape,
}

/// One table of the document, or its place where the document has none.
pub(super) struct Table<'w, 'd> {
    walk: &'w mut Walk<'d>,
    path: String,
    given: Option<&'d DeTable<'d>>,
    line: Option<usize>,
    known: Vec<&'static str>,
}

impl<'d> Walk<'d> {
    pub(super) fn new(text: &'d str) -> Walk<'d> {
        Walk {
            ends: text.match_indices('\n').map(|(at, _)| at).collect(),
            complaints: Vec::new(),
            records: Vec::new(),
            lines: BTreeMap::new(),
            places: BTreeMap::new(),
            wanted: Wanted::All,
            found: 0,
        }
    }

    pub(super) fn root(&mut self, given: Option<&'d DeTable<'d>>, keys: impl FnOnce(&mut Table<'_, 'd>)) {
        let mut table = Table { walk: self, path: String::new(), given, line: None, known: Vec::new() };
        keys(&mut table);
        table.unknown_keys();
    }

    pub(super) fn line(&self, span: &Range<usize>) -> usize {
        self.ends.partition_point(|end| *end < span.start) + 1
    }
}

impl<'d> Table<'_, 'd> {
    /// A key of any value its type can have.
    pub(super) fn key<T: Setting>(&mut self, key: &'static str, value: &mut T, doc: &'static str) {
        self.read(key, value, T::WHAT.to_owned(), doc, |_| true);
    }

    /// A key whose value lies between two others.
    pub(super) fn within<T: Setting + PartialOrd>(
        &mut self,
        key: &'static str,
        value: &mut T,
        range: RangeInclusive<T>,
        doc: &'static str,
    ) {
        let bare = |bound: &T| bound.show().unwrap_or_default().replace('"', "");
        let words = format!("{} to {}", bare(range.start()), bare(range.end()));
        self.read(key, value, words, doc, |value| range.contains(value));
    }

    /// A key that its table cannot be without.
    pub(super) fn required<T: Setting>(
        &mut self,
        key: &'static str,
        current: Option<T>,
        doc: &'static str,
    ) -> Option<T> {
        let mut value = Given(current);
        let complaints = self.walk.complaints.len();
        self.read(key, &mut value, T::WHAT.to_owned(), doc, |_| true);
        if let Some(record) = self.walk.records.last_mut() {
            record.required = true;
        }
        if value.0.is_none() && self.given.is_some() && self.walk.complaints.len() == complaints {
            let (path, line) = (self.path_of(key), self.line);
            self.walk.complaints.push(Complaint {
                path,
                line,
                value: String::new(),
                problem: "is missing".to_owned(),
                suggestion: format!("give {}", T::WHAT),
            });
        }
        value.0
    }

    /// A table below this one.
    pub(super) fn table(&mut self, key: &'static str, keys: impl FnOnce(&mut Table<'_, 'd>)) {
        self.known.push(key);
        let found = self.given.and_then(|given| given.get(key));
        let inner = found.and_then(|value| value.get_ref().as_table());
        if let (Some(value), None) = (found, inner) {
            self.complain(key, Problem::of(value, "must be a table"), String::new(), false);
        }
        let line = found.map(|value| self.walk.line(&value.span()));
        let mut table = Table { path: self.path_of(key), walk: self.walk, given: inner, line, known: Vec::new() };
        keys(&mut table);
        table.unknown_keys();
    }

    /// A list of tables, `[[key]]`. With a document its entries are made anew, without one they are shown.
    pub(super) fn list<T: Entry + Clone>(
        &mut self,
        key: &'static str,
        book: &mut Book<T>,
        each: impl Fn(&mut Table<'_, 'd>, Option<T>) -> Option<T>,
    ) {
        self.known.push(key);
        let path = self.path_of(key);
        let Some(found) = self.given.and_then(|given| given.get(key)) else {
            return self.show(&path, book, each);
        };
        *book = Book::default();
        let tables: Option<Vec<_>> = found
            .get_ref()
            .as_array()
            .and_then(|items| items.iter().map(|item| item.get_ref().as_table().map(|table| (item, table))).collect());
        let Some(tables) = tables else {
            return self.complain(
                key,
                Problem::of(found, &format!("must be tables, each begun with [[{path}]]")),
                String::new(),
                false,
            );
        };
        for (at, (item, inner)) in tables.into_iter().enumerate() {
            let line = self.walk.line(&item.span());
            let mut table = Table {
                walk: self.walk,
                path: format!("{path}[{}]", at + 1),
                given: Some(inner),
                line: Some(line),
                known: Vec::new(),
            };
            let entry = each(&mut table, None);
            table.unknown_keys();
            if let Some(entry) = entry {
                self.add(key, book, entry, at + 1, line);
            }
        }
    }

    /// The keys of those entries that are wanted.
    fn show<T: Entry + Clone>(
        &mut self,
        path: &str,
        book: &Book<T>,
        each: impl Fn(&mut Table<'_, 'd>, Option<T>) -> Option<T>,
    ) {
        let walk_entry = |walk: &mut Walk<'d>, entry: &T| {
            let path = format!("{path}[{}]", entry.key());
            each(&mut Table { walk, path, given: None, line: None, known: Vec::new() }, Some(entry.clone()));
        };
        match self.walk.wanted {
            Wanted::None => {}
            Wanted::All => book.iter().for_each(|entry| walk_entry(self.walk, entry)),
            Wanted::One(one) => {
                let name = one.strip_prefix(path).and_then(|rest| rest.strip_prefix('[')?.strip_suffix(']'));
                if let Some(entry) = name.and_then(|name| book.find(name)) {
                    walk_entry(self.walk, entry);
                }
            }
            Wanted::Page { list, .. } if list != path => {}
            Wanted::Page { text, skip, limit, .. } => {
                let text = text.to_lowercase();
                for entry in book.iter() {
                    let before = self.walk.records.len();
                    let shown = (skip..skip + limit).contains(&self.walk.found);
                    if shown || !text.is_empty() {
                        walk_entry(self.walk, entry);
                    }
                    let holds = |record: &Record| {
                        !record.secret
                            && record.value.as_ref().is_some_and(|value| value.to_lowercase().contains(&text))
                    };
                    let counts = text.is_empty() || self.walk.records[before..].iter().any(holds);
                    self.walk.found += usize::from(counts);
                    if !(counts && shown) {
                        self.walk.records.truncate(before);
                    }
                }
            }
        }
    }

    /// Where the list entry that is being read stands.
    pub(super) fn line(&self) -> Option<usize> {
        self.line
    }

    fn add<T: Entry>(&mut self, key: &'static str, book: &mut Book<T>, entry: T, number: usize, line: usize) {
        let name = format!("{}[{}]", self.path_of(key), entry.key());
        let Err(entry) = book.add(entry) else {
            self.walk.places.insert(name.clone(), number - 1);
            self.walk.lines.insert(name, line);
            return;
        };
        let first = self.walk.lines.get(&name).map_or(String::new(), |line| format!(" (line {line})"));
        self.walk.complaints.push(Complaint {
            path: format!("{}[{number}]", self.path_of(key)),
            line: Some(line),
            value: entry.key(),
            problem: format!("is there already{first}"),
            suggestion: "join the two".to_owned(),
        });
    }

    fn read<T: Setting>(
        &mut self,
        key: &'static str,
        value: &mut T,
        range: String,
        doc: &'static str,
        fits: impl Fn(&T) -> bool,
    ) {
        self.known.push(key);
        if let Some(found) = self.given.and_then(|given| given.get(key)) {
            match T::read(found) {
                Ok(new) if fits(&new) => *value = new,
                Ok(_) => self.out_of_range(key, value, &range, Problem::of(found, "")),
                Err(problems) => {
                    let default = default_words(value);
                    for problem in problems {
                        if problem.text.is_empty() {
                            self.out_of_range(key, value, &range, problem);
                        } else {
                            self.complain(key, problem, default.clone(), T::SECRET);
                        }
                    }
                }
            }
        }
        self.walk.records.push(Record {
            table: self.path.clone(),
            key,
            value: value.show(),
            range,
            doc,
            secret: T::SECRET,
            required: false,
            shape: T::shape(),
        });
    }

    fn out_of_range<T: Setting>(&mut self, key: &str, value: &T, range: &str, problem: Problem) {
        let problem = Problem { text: format!("must be {range}"), ..problem };
        self.complain(key, problem, default_words(value), T::SECRET);
    }

    fn complain(&mut self, key: &str, problem: Problem, default: String, secret: bool) {
        let complaint = Complaint {
            path: self.path_of(key),
            line: Some(self.walk.line(&problem.span)),
            value: if secret { "…".to_owned() } else { problem.value },
            problem: problem.text,
            suggestion: problem.suggestion.unwrap_or(default),
        };
        self.walk.complaints.push(complaint);
    }

    fn unknown_keys(&mut self) {
        let Some(given) = self.given else { return };
        for (key, value) in given.iter().filter(|(key, _)| !self.known.contains(&key.get_ref().as_ref())) {
            let name = key.get_ref();
            let suggestion = match nearest(name, &self.known) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.known.join(", ")),
            };
            let complaint = Complaint {
                path: self.path_of(name),
                line: Some(self.walk.line(&key.span())),
                value: Problem::of(value, "").value,
                problem: "is not a setting".to_owned(),
                suggestion,
            };
            self.walk.complaints.push(complaint);
        }
    }

    fn path_of(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }
}

fn default_words<T: Setting>(value: &T) -> String {
    value.show().filter(|_| !T::SECRET).map_or(String::new(), |value| format!("{value} is the default"))
}

/// A value that may be missing but has no meaning then.
struct Given<T>(Option<T>);

impl<T: Setting> Setting for Given<T> {
    const WHAT: &'static str = T::WHAT;
    const SECRET: bool = T::SECRET;

    fn shape() -> Shape {
        T::shape()
    }

    fn read(value: &Spanned<DeValue<'_>>) -> Result<Self, Vec<Problem>> {
        T::read(value).map(|value| Given(Some(value)))
    }

    fn show(&self) -> Option<String> {
        self.0.as_ref().and_then(Setting::show)
    }
}

/// The known name that a wrong one was probably meant to be: a third of its letters may differ.
fn nearest(name: &str, known: &[&'static str]) -> Option<&'static str> {
    let far = |other: &str| distance(name, other);
    known.iter().copied().min_by_key(|other| far(other)).filter(|other| far(other) <= other.len().max(3) / 3)
}

/// Levenshtein's: how many letters must be added, removed or changed.
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.chars().count()).collect();
    for (i, from) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, to) in b.chars().enumerate() {
            let change = diagonal + usize::from(from != to);
            diagonal = row[j + 1];
            row[j + 1] = change.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_is_understood() {
        assert_eq!(nearest("conections", &["connections", "certificate"]), Some("connections"));
        assert_eq!(nearest("tsl", &["tls", "key"]), None);
        assert_eq!(nearest("whatever", &["connections", "certificate"]), None);
    }
}
