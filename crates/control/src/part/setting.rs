//! Settings as form fields. Everything shown comes from the key itself, so a new key needs no line here.

use crate::part::form::{self, Field};
use crate::part::shell::badge;
use decide::settings::{Change, Complaint, Edit, Key, Settings, Shape};
use maud::{Markup, html};

/// What a form sent, in its order; a name may come more than once.
#[derive(Clone, Debug, Default)]
pub(crate) struct Typed(pub(crate) Vec<(String, String)>);

impl Typed {
    pub(crate) fn of(&self, name: &str) -> Option<&str> {
        self.0.iter().rev().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn all<'t>(&'t self, name: &'t str) -> impl Iterator<Item = &'t str> {
        self.0.iter().filter(move |(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(crate) fn version(&self) -> Option<i64> {
        self.of("version").and_then(|version| version.trim().parse().ok())
    }

    /// What was typed for a key, as [`Key::edit`] takes it.
    fn value(&self, name: &str, key: &Key) -> Option<String> {
        let value = self.of(name)?;
        let text = self.of(&format!("{name}.text")).unwrap_or_default().trim();
        Some(if key.shape == Shape::Check && value == "true" && !text.is_empty() {
            text.to_owned()
        } else {
            value.to_owned()
        })
    }

    /// The edit of one key, whose field has this name.
    pub(crate) fn edit(&self, name: &str, key: &Key) -> Option<Edit> {
        if self.all("default").any(|path| path == name) {
            return (!key.is_default()).then(|| Edit::Unset { path: key.path.clone() });
        }
        key.edit(&self.value(name, key)?)
    }
}

/// `connections_per_address` → `Connections per address`.
pub(crate) fn label(name: &str) -> String {
    let words = name.replace('_', " ");
    let known = [
        ("Tls", "TLS"),
        ("Dnsbl", "DNS block lists"),
        ("Spf", "SPF"),
        ("Dns", "DNS"),
        ("Ehlo", "EHLO name"),
        ("Hostname", "MTA host name"),
        ("Mode", "MTA operation"),
    ];
    let mut letters = words.chars();
    let text = letters.next().map(|first| first.to_uppercase().chain(letters).collect::<String>()).unwrap_or_default();
    known.iter().find(|(from, _)| *from == text).map_or(text, |(_, to)| (*to).to_owned())
}

/// Where a key stands on a page, by its name; what fits nowhere comes last, so that new keys are seen.
pub(crate) fn section(key: &Key) -> &'static str {
    let name = key.name;
    match name {
        _ if name.starts_with("require_") => "DNS validation",
        _ if name.contains("dnsbl") => "Block lists",
        _ if name.contains("spf") || key.table.contains("spf") => "SPF",
        _ if name.contains("greylist") || key.table.contains("greylist") => "Greylisting",
        _ if name.contains("tls") || matches!(name, "certificate" | "key" | "ca_file") => "TLS",
        _ if name.ends_with("_timeout") => "Timeouts",
        _ if name.contains("connections") || name.contains("_per_") || name == "message_size" => "Limits",
        "accept_from" | "proxy_protocol_from" | "internal_hosts" => "Who may connect",
        _ => "General",
    }
}

/// A key's field, named `name`: what stands in it, what it means, its default, and what is wrong with it.
pub(crate) fn field(name: &str, key: &Key, typed: &Typed, complaints: &[&Complaint], may: bool) -> Markup {
    let shown = typed.value(name, key).unwrap_or_else(|| key.shown());
    let error = complaints.iter().map(|complaint| words_of(complaint)).collect::<Vec<_>>().join(" ");
    let label = label(key.name);
    let field = Field {
        name,
        label: &label,
        value: &shown,
        hint: key.doc,
        error: (!error.is_empty()).then_some(error.as_str()),
        required: key.required && !key.secret,
    };
    let rows = |text: &str| u32::try_from(text.lines().count()).unwrap_or(10).clamp(2, 10);
    let yes_no = [("true", "yes"), ("false", "no")];
    html! {
        div.setting {
            @match &key.shape {
                Shape::YesNo => (form::select(&yes_no, field)),
                Shape::Choice(words) => {
                    @let choices: Vec<(&str, &str)> = words.iter().map(|word| (*word, *word)).collect();
                    (form::select(&choices, field))
                }
                Shape::Check => (check(field)),
                Shape::Lines | Shape::MxOrLines | Shape::YesNoOrLines => (form::area(rows(&shown), field)),
                _ => (form::text(if key.secret { "password" } else { "text" }, field)),
            }
            p.about {
                code { (key.path) }
                @if !key.required {
                    " · " span.quiet { "default: " (key.default_words()) }
                }
                @if !matches!(key.shape, Shape::Choice(_) | Shape::YesNo) { " · " span.quiet { "must be " (key.range) } }
                @if !key.is_default() && !key.required {
                    " " (badge("info", "differs from the default"))
                    @if may {
                        " " label.back { input type="checkbox" name="default" value=(name) checked[typed.all("default").any(|path| path == name)]; " put back" }
                    }
                }
            }
        }
    }
}

/// Off, on, or on with a text of one's own.
fn check(field: Field<'_>) -> Markup {
    let own = !matches!(field.value, "true" | "false" | "");
    let on = if own { "true" } else { field.value };
    let name = format!("{}.text", field.name);
    html! {
        (form::select(&[("false", "off"), ("true", "on")], Field { value: on, ..field }))
        (form::text("text", Field {
            name: &name,
            label: "Reply text of your own",
            value: if own { field.value } else { "" },
            hint: "One line of ASCII. Empty: the gateway's own text.",
            ..Field::default()
        }))
    }
}

/// A complaint without its place, for beside the field.
pub(crate) fn words_of(complaint: &Complaint) -> String {
    let value = if complaint.value.is_empty() { String::new() } else { format!("{} ", complaint.value) };
    let what = if complaint.suggestion.is_empty() { String::new() } else { format!(" ({})", complaint.suggestion) };
    format!("{value}{}{what}.", complaint.problem)
}

/// Complaints that belong to no field here.
pub(crate) fn complaints(complaints: &[&Complaint]) -> Markup {
    html! {
        @if !complaints.is_empty() {
            div.notice.bad role="alert" {
                p { "Nothing was changed. What stands in the way:" }
                ul { @for complaint in complaints.iter().take(SHOWN) { li { (complaint.to_string()) } } }
                @if complaints.len() > SHOWN { p { "… and " (complaints.len() - SHOWN) " more" } }
            }
        }
    }
}

/// Lines of a long list that a page shows.
const SHOWN: usize = 200;

/// Old and new, one key a row.
pub(crate) fn changes(changes: &[Change]) -> Markup {
    html! {
        @if changes.is_empty() { p { "Nothing that matters to the gateway would change: only comments, order or spelling." } }
        @else {
            div.scroll { table {
                thead { tr { th { "Setting" } th { "Now" } th { "Then" } } }
                tbody { @for change in changes.iter().take(SHOWN) { tr {
                    th scope="row" { code { (change.path) } }
                    td.break { @match &change.old { Some(old) => (short(old)), None => span.quiet { "not there" } } }
                    td.break { @match &change.new { Some(new) => (short(new)), None => span.quiet { "not there" } } }
                } } }
            } }
            @if changes.len() > SHOWN { p.quiet { "… and " (changes.len() - SHOWN) " more" } }
        }
    }
}

/// A recipient list may be long.
pub(crate) fn short(value: &str) -> Markup {
    const LONG: usize = 600;
    match value.char_indices().nth(LONG) {
        None => html! { code { (value) } },
        Some((end, _)) => {
            html! { code { (&value[..end]) } " … (" (crate::part::count(value.len() as u64)) " characters)" }
        }
    }
}

/// All fields of some keys, under their sections, each named by its path.
pub(crate) fn fields(keys: &[Key], typed: &Typed, found: &[Complaint], may: bool) -> Markup {
    let mut sections: Vec<(&str, Vec<&Key>)> = Vec::new();
    for key in keys {
        // Both have next hops: the way must stand above them.
        let name = match key.table.as_str() {
            "route.local" => "Mail for local domains",
            "route.other" => "Mail for all other domains",
            _ => section(key),
        };
        match sections.iter_mut().find(|(section, _)| *section == name) {
            Some((_, keys)) => keys.push(key),
            None => sections.push((name, vec![key])),
        }
    }
    html! {
        @for (name, keys) in sections {
            fieldset disabled[!may] {
                legend { (name) }
                @for key in keys {
                    @let here: Vec<&Complaint> = found.iter().filter(|complaint| complaint.path == key.path).collect();
                    (field(&key.path, key, typed, &here, may))
                }
            }
        }
    }
}

/// The tables of the settings that are there once, in the order of the reference.
pub(crate) fn tables(settings: &Settings) -> Vec<(String, Vec<Key>)> {
    let mut tables: Vec<(String, Vec<Key>)> = Vec::new();
    for key in decide::settings::keys(settings, decide::settings::Part::Tables) {
        match tables.iter_mut().find(|(table, _)| *table == key.table) {
            Some((_, keys)) => keys.push(key),
            None => tables.push((key.table.clone(), vec![key])),
        }
    }
    tables
}

/// The lists of the settings: `alias`, `delivery.source`.
pub(crate) fn lists() -> Vec<String> {
    let mut lists: Vec<String> = Vec::new();
    for doc in decide::settings::reference() {
        if let Some((list, _)) = doc.path.split_once("[]")
            && !lists.iter().any(|known| known == list)
        {
            lists.push(list.to_owned());
        }
    }
    lists
}

#[cfg(test)]
mod tests {
    use super::*;
    use decide::settings::{Part, keys};

    fn key(path: &str) -> Key {
        keys(&Settings::default(), Part::Tables).into_iter().find(|key| key.path == path).unwrap()
    }

    fn typed(fields: &[(&str, &str)]) -> Typed {
        Typed(fields.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect())
    }

    #[test]
    fn a_check_with_a_text_of_ones_own_is_one_value() {
        let path = "listener.inbound.require_reverse_name";
        let edit = |fields: &[(&str, &str)]| typed(fields).edit(path, &key(path));
        let set = |value: &str| Some(Edit::Set { path: path.to_owned(), value: value.to_owned() });
        let text = "listener.inbound.require_reverse_name.text";
        assert_eq!(edit(&[(path, "true"), (text, " Get a PTR ")]), set("\"Get a PTR\""));
        assert_eq!(edit(&[(path, "true"), (text, "")]), set("true"));
        assert_eq!(edit(&[(path, "false"), (text, "left over")]), None);
    }

    #[test]
    fn a_field_shows_default_meaning_and_what_is_wrong_and_keeps_what_was_typed() {
        let key = key("retry.first");
        let complaint = Complaint {
            path: key.path.clone(),
            line: Some(3),
            value: "\"<b>\"".to_owned(),
            problem: "must be 1s to 1d".to_owned(),
            suggestion: "\"15m\" is the default".to_owned(),
        };
        let html = field("retry.first", &key, &typed(&[("retry.first", "<b>")]), &[&complaint], true).into_string();
        for part in
            ["value=\"&lt;b&gt;\"", "must be 1s to 1d", "default: 15m", "Time to the second attempt", "aria-invalid"]
        {
            assert!(html.contains(part), "{part}: {html}");
        }
    }
}
