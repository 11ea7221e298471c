//! Edits of a document that leave alone what they do not mean: order, comments and blank lines are the administrator's.

use super::{Complaint, keys};
use mail::Address;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use toml_edit::{Array, ArrayOfTables, DocumentMut, Item, Table, TableLike, Value};

/// One change of a document. Values are TOML.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "edit", rename_all = "kebab-case")]
pub enum Edit {
    Set {
        path: String,
        value: String,
    },
    /// Takes the key away: its default is in force.
    Unset {
        path: String,
    },
    /// A new entry of a list.
    Add {
        list: String,
        keys: Vec<(String, String)>,
    },
    /// An entry of a list: `alias[a@corp.test]`.
    Remove {
        path: String,
    },
    /// Texts that a key's list has from now on as well.
    Include {
        path: String,
        items: Vec<String>,
    },
    /// Texts that it has no more.
    Exclude {
        path: String,
        items: Vec<String>,
    },
}

impl Edit {
    /// Key or entry that it changes; of a new entry, its list.
    pub fn path(&self) -> &str {
        match self {
            Edit::Add { list, .. } => list,
            Edit::Set { path, .. }
            | Edit::Unset { path }
            | Edit::Remove { path }
            | Edit::Include { path, .. }
            | Edit::Exclude { path, .. } => path,
        }
    }
}

/// The document with all edits made. It is not checked here, but each edit must find its place.
pub fn edit(text: &str, edits: &[Edit]) -> Result<String, Vec<Complaint>> {
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| {
        vec![complaint("", "", &format!("this is not TOML: {}", error.message()))]
    })?;
    let places = keys::places(text);
    let mut gone: BTreeMap<&str, BTreeSet<usize>> = BTreeMap::new();
    let mut complaints = Vec::new();
    for edit in edits {
        let made = match edit {
            Edit::Remove { path } => match places.get(path).zip(path.split_once('[')) {
                Some((place, (list, _))) => {
                    gone.entry(list).or_default().insert(*place);
                    Ok(())
                }
                None => Err(complaint(path, "", "is not there any more")),
            },
            Edit::Set { path, value } => parsed(path, value).and_then(|value| set(&mut document, &places, path, value)),
            Edit::Unset { path } => table_of(&mut document, &places, path).map(|(table, key)| {
                table.remove(key);
            }),
            Edit::Add { list, keys } => add(&mut document, list, keys),
            Edit::Include { path, items } => include(&mut document, &places, path, items),
            Edit::Exclude { path, items } => exclude(&mut document, &places, path, items),
        };
        complaints.extend(made.err());
    }
    if !complaints.is_empty() {
        return Err(complaints);
    }
    for (list, places) in gone {
        take_away(&mut document, list, &places);
    }
    let edited = document.to_string();
    Ok(if text.trim().is_empty() { edited.trim_start().to_owned() } else { edited })
}

fn complaint(path: &str, value: &str, problem: &str) -> Complaint {
    Complaint {
        path: path.to_owned(),
        line: None,
        value: value.to_owned(),
        problem: problem.to_owned(),
        suggestion: String::new(),
    }
}

fn parsed(path: &str, value: &str) -> Result<Value, Complaint> {
    value.parse::<Value>().map_err(|_| complaint(path, value, "is not a value as TOML writes it"))
}

/// The table that a key's path leads to, and the key's name. Tables on the way are made, entries must be there.
fn table_of<'d, 'p>(
    document: &'d mut DocumentMut,
    places: &BTreeMap<String, usize>,
    path: &'p str,
) -> Result<(&'d mut dyn TableLike, &'p str), Complaint> {
    let entry = path.rfind(']').map(|end| &path[..=end]);
    let rest = entry.map_or(path, |entry| path[entry.len()..].trim_start_matches('.'));
    let (above, key) = rest.rsplit_once('.').unwrap_or(("", rest));
    let lost = || complaint(path, "", "is not there any more");
    let mut table: &mut dyn TableLike = match entry {
        None => document.as_table_mut(),
        Some(entry) => {
            let place = *places.get(entry).ok_or_else(lost)?;
            let list = entry.split_once('[').map_or(entry, |(list, _)| list);
            let found: Option<&mut dyn TableLike> = match item_at(document, list) {
                Some(Item::ArrayOfTables(tables)) => tables.get_mut(place).map(|table| table as _),
                Some(Item::Value(Value::Array(items))) => {
                    items.get_mut(place).and_then(Value::as_inline_table_mut).map(|table| table as _)
                }
                _ => None,
            };
            found.ok_or_else(lost)?
        }
    };
    for name in above.split('.').filter(|name| !name.is_empty()) {
        table = below(table, name).ok_or_else(lost)?;
    }
    Ok((table, key))
}

fn below<'t>(table: &'t mut dyn TableLike, name: &str) -> Option<&'t mut dyn TableLike> {
    table
        .entry(name)
        .or_insert_with(|| {
            let mut made = Table::new();
            made.set_implicit(true);
            Item::Table(made)
        })
        .as_table_like_mut()
}

fn item_at<'d>(document: &'d mut DocumentMut, path: &str) -> Option<&'d mut Item> {
    let mut item = document.as_item_mut();
    for name in path.split('.') {
        item = item.as_table_like_mut()?.get_mut(name)?;
    }
    Some(item)
}

fn set(
    document: &mut DocumentMut,
    places: &BTreeMap<String, usize>,
    path: &str,
    value: Value,
) -> Result<(), Complaint> {
    let (table, key) = table_of(document, places, path)?;
    put(table, key, value);
    Ok(())
}

/// The comment behind a value stays behind it.
fn put(table: &mut dyn TableLike, key: &str, value: Value) {
    match table.get_mut(key).and_then(Item::as_value_mut) {
        Some(old) => {
            let decor = old.decor().clone();
            *old = match (&*old, value) {
                (Value::Array(before), Value::Array(after)) => Value::Array(laid_out(before, after)),
                (_, value) => value,
            };
            *old.decor_mut() = decor;
        }
        None => {
            table.insert(key, Item::Value(value));
        }
    }
}

/// A list laid out as it was: what it had keeps its line, the comment above it and the one behind it.
fn laid_out(before: &Array, after: impl IntoIterator<Item = Value>) -> Array {
    // The comment behind an item stands, to the reader of TOML, before the next one.
    let leads: Vec<&str> = before.iter().map(|item| text_of(item.decor().prefix())).collect();
    let trailing = before.trailing().as_str().unwrap_or_default();
    let ends: Vec<&str> = leads.iter().skip(1).copied().chain([trailing]).map(|lead| first_line(lead).0).collect();
    let indent = leads.iter().rev().find_map(|lead| lead.rfind('\n').map(|at| &lead[at..]));
    let places: BTreeMap<String, usize> = before.iter().enumerate().map(|(at, item)| (bare(item), at)).collect();

    let (mut laid, mut end) = (Array::new(), "");
    for mut item in after {
        let place = places.get(&bare(&item));
        let own = place
            .and_then(|place| leads.get(*place))
            .map(|lead| if lead.contains('\n') { first_line(lead).1 } else { lead });
        let own = own.filter(|own| !own.is_empty() || laid.is_empty());
        let lead = own.or(indent).unwrap_or(if laid.is_empty() { "" } else { " " });
        let lead = if laid.is_empty() && !lead.contains('\n') { leads.first().unwrap_or(&"") } else { lead };
        if let Some(old) = place.and_then(|place| before.get(*place)) {
            item = old.clone();
        }
        let suffix = text_of(item.decor().suffix()).to_owned();
        *item.decor_mut() = toml_edit::Decor::new(format!("{end}{lead}"), suffix);
        laid.push_formatted(item);
        end = place.and_then(|place| ends.get(*place)).copied().unwrap_or_default();
    }
    let rest = if trailing.contains('\n') { first_line(trailing).1 } else { trailing };
    laid.set_trailing(format!("{end}{rest}"));
    laid.set_trailing_comma(before.trailing_comma());
    laid
}

/// The first line, if there are more, and the rest with its line break.
fn first_line(text: &str) -> (&str, &str) {
    text.split_at(text.find('\n').unwrap_or(0))
}

fn text_of(raw: Option<&toml_edit::RawString>) -> &str {
    raw.and_then(toml_edit::RawString::as_str).unwrap_or_default()
}

fn bare(value: &Value) -> String {
    value.as_str().map_or_else(|| value.clone().decorated("", "").to_string(), str::to_owned)
}

fn add(document: &mut DocumentMut, list: &str, keys: &[(String, String)]) -> Result<(), Complaint> {
    let mut made = Table::new();
    for (key, value) in keys {
        made.insert(key, Item::Value(parsed(&format!("{list}[].{key}"), value)?));
    }
    let (above, name) = list.rsplit_once('.').unwrap_or(("", list));
    let mut table: &mut dyn TableLike = document.as_table_mut();
    for name in above.split('.').filter(|name| !name.is_empty()) {
        table = below(table, name).ok_or_else(|| complaint(list, "", "is no table here"))?;
    }
    match table.entry(name).or_insert_with(|| Item::ArrayOfTables(ArrayOfTables::new())) {
        Item::ArrayOfTables(tables) => tables.push(made),
        Item::Value(Value::Array(items)) => {
            let all = items.iter().cloned().chain([Value::InlineTable(made.into_inline_table())]);
            *items = laid_out(items, all.collect::<Vec<_>>());
        }
        _ => return Err(complaint(list, "", "is no list here")),
    }
    Ok(())
}

fn take_away(document: &mut DocumentMut, list: &str, places: &BTreeSet<usize>) {
    let mut at = 0;
    let mut stays = || {
        at += 1;
        !places.contains(&(at - 1))
    };
    match item_at(document, list) {
        Some(Item::ArrayOfTables(tables)) => tables.retain(|_| stays()),
        Some(Item::Value(Value::Array(items))) => items.retain(|_| stays()),
        _ => {}
    }
}

/// What two spellings of one text have in common.
fn same(text: &str) -> String {
    text.parse::<Address>().map_or_else(|_| text.to_owned(), |address| address.key())
}

fn include(
    document: &mut DocumentMut,
    places: &BTreeMap<String, usize>,
    path: &str,
    items: &[String],
) -> Result<(), Complaint> {
    let (table, key) = table_of(document, places, path)?;
    let item = table.entry(key).or_insert_with(|| Item::Value(Value::Array(Array::new())));
    let array = item.as_array_mut().ok_or_else(|| complaint(path, "", "is no list here"))?;
    let mut there: BTreeSet<String> = array.iter().filter_map(Value::as_str).map(same).collect();
    let new = items.iter().filter(|item| there.insert(same(item))).map(|item| Value::from(item.as_str()));
    let all: Vec<Value> = array.iter().cloned().chain(new).collect();
    *array = laid_out(array, all);
    Ok(())
}

fn exclude(
    document: &mut DocumentMut,
    places: &BTreeMap<String, usize>,
    path: &str,
    items: &[String],
) -> Result<(), Complaint> {
    let (table, key) = table_of(document, places, path)?;
    let Some(array) = table.get_mut(key).and_then(Item::as_array_mut) else { return Ok(()) };
    let gone: BTreeSet<String> = items.iter().map(|item| same(item)).collect();
    let stay = |item: &&Value| !item.as_str().is_some_and(|text| gone.contains(&same(text)));
    let all: Vec<Value> = array.iter().filter(stay).cloned().collect();
    *array = laid_out(array, all);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = "\
# Our gateway. Ask alice before you change it.
hostname = 'gw.corp.test'   # as in DNS

[listener.inbound]
connections = 5 # small machine
  message_size = \"25MB\"

# the servers behind
[[domain]]
name = \"Corp.test\"
next_hops = [
    \"10.0.0.25\", # cellar
    \"10.0.0.26\",
]

[[alias]] # sales
from = \"sales@corp.test\"
to = [\"a@corp.test\"]

[[alias]]
from = \"info@corp.test\"
to = [\"b@corp.test\"]

[retry]
first = \"5m\"
";

    fn set(path: &str, value: &str) -> Edit {
        Edit::Set { path: path.to_owned(), value: value.to_owned() }
    }

    /// The lines that went (`-`) and came (`+`), in their order.
    fn check(edits: &[Edit], expected: &str) {
        let edited = edit(DOCUMENT, edits).unwrap();
        let (old, new): (Vec<&str>, Vec<&str>) = (DOCUMENT.lines().collect(), edited.lines().collect());
        let same_before = old.iter().zip(&new).take_while(|(a, b)| a == b).count();
        let rest = old.len().min(new.len()) - same_before;
        let same_after = old.iter().rev().zip(new.iter().rev()).take(rest).take_while(|(a, b)| a == b).count();
        let gone = old[same_before..old.len() - same_after].iter().map(|line| format!("-{line}\n"));
        let come = new[same_before..new.len() - same_after].iter().map(|line| format!("+{line}\n"));
        assert_eq!(gone.chain(come).collect::<String>(), expected);
    }

    #[test]
    fn a_changed_key_changes_its_value_and_nothing_else() {
        check(
            &[set("listener.inbound.connections", "7")],
            "-connections = 5 # small machine\n+connections = 7 # small machine\n",
        );
        check(
            &[set("hostname", "\"mx.corp.test\"")],
            "-hostname = 'gw.corp.test'   # as in DNS\n+hostname = \"mx.corp.test\"   # as in DNS\n",
        );
        check(
            &[set("domain[corp.test].next_hops", "[\"10.0.0.25\", \"10.0.0.27\"]")],
            "-    \"10.0.0.26\",\n+    \"10.0.0.27\",\n",
        );
        check(
            &[set("alias[info@corp.test].to", "[\"c@corp.test\"]")],
            "-to = [\"b@corp.test\"]\n+to = [\"c@corp.test\"]\n",
        );
    }

    #[test]
    fn a_new_key_joins_its_table() {
        check(&[set("listener.inbound.tls", "\"require\"")], "+tls = \"require\"\n");
        check(&[set("retry.longest", "\"1h\"")], "+longest = \"1h\"\n");
        check(&[set("mode", "\"drain\"")], "+mode = \"drain\"\n");
        check(&[set("listener.outbound.connections", "3")], "+[listener.outbound]\n+connections = 3\n+\n");
        check(&[set("delivery.port", "26")], "+\n+[delivery]\n+port = 26\n");
    }

    #[test]
    fn a_key_put_back_goes_with_its_line() {
        check(&[Edit::Unset { path: "listener.inbound.connections".to_owned() }], "-connections = 5 # small machine\n");
        check(&[Edit::Unset { path: "delivery.port".to_owned() }], "");
    }

    #[test]
    fn entries_come_after_their_like_and_go_alone() {
        let keys = [("from", "\"x@corp.test\""), ("to", "[\"y@corp.test\"]")];
        let keys = keys.map(|(key, value)| (key.to_owned(), value.to_owned())).to_vec();
        check(
            &[Edit::Add { list: "alias".to_owned(), keys }],
            "+[[alias]]\n+from = \"x@corp.test\"\n+to = [\"y@corp.test\"]\n+\n",
        );
        check(
            &[Edit::Remove { path: "alias[sales@corp.test]".to_owned() }],
            "-[[alias]] # sales\n-from = \"sales@corp.test\"\n-to = [\"a@corp.test\"]\n-\n",
        );
        let source = vec![("address".to_owned(), "\"192.0.2.1\"".to_owned())];
        check(
            &[Edit::Add { list: "delivery.source".to_owned(), keys: source }],
            "+\n+[[delivery.source]]\n+address = \"192.0.2.1\"\n",
        );
    }

    #[test]
    fn texts_join_and_leave_a_list_one_by_one() {
        let (path, items) =
            ("domain[corp.test].recipients".to_owned(), vec!["a@corp.test".to_owned(), "A@Corp.test".to_owned()]);
        check(&[Edit::Include { path: path.clone(), items: items.clone() }], "+recipients = [\"a@corp.test\"]\n");
        let hops = "domain[corp.test].next_hops".to_owned();
        check(&[Edit::Include { path: hops.clone(), items: vec!["c".to_owned()] }], "+    \"c\",\n");
        check(&[Edit::Exclude { path: hops, items: vec!["10.0.0.26".to_owned()] }], "-    \"10.0.0.26\",\n");
        let of = |list: &str, gone: &str| {
            let edits = [Edit::Exclude { path: "queue.paused".to_owned(), items: vec![gone.to_owned()] }];
            edit(&format!("queue.paused = {list}\n"), &edits).unwrap().replace("queue.paused = ", "")
        };
        assert_eq!(of("[\"a.test\", \"b.test\", \"c.test\"]", "b.test"), "[\"a.test\", \"c.test\"]\n");
        assert_eq!(of("[\"a.test\", \"b.test\"]", "a.test"), "[\"b.test\"]\n");
        assert_eq!(of("[\"a.test\"]", "a.test"), "[]\n");
    }

    #[test]
    fn other_ways_to_write_tables_are_kept() {
        let dotted = "listener.inbound.connections = 5\nalias = [{ from = \"a@b.test\", to = [\"c@b.test\"] }]\n";
        let edits = [set("listener.inbound.tls", "\"off\""), set("alias[a@b.test].to", "[\"d@b.test\"]")];
        assert_eq!(
            edit(dotted, &edits).unwrap(),
            "listener.inbound.connections = 5\nlistener.inbound.tls = \"off\"\nalias = [{ from = \"a@b.test\", to = [\"d@b.test\"] }]\n"
        );
        assert_eq!(edit("", &[set("retry.first", "\"1m\"")]).unwrap(), "[retry]\nfirst = \"1m\"\n");
    }

    #[test]
    fn an_edit_that_finds_no_place_is_told() {
        let gone = edit(DOCUMENT, &[set("alias[nobody@corp.test].to", "[]"), set("retry.first", "5m")]).unwrap_err();
        let said: Vec<String> = gone.iter().map(ToString::to_string).collect();
        assert_eq!(
            said,
            ["alias[nobody@corp.test].to is not there any more", "retry.first = 5m is not a value as TOML writes it"]
        );
    }
}
