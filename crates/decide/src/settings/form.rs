//! The keys as fields of a form: what stands in each, how it is typed, and what was typed as TOML again.

use super::edit::Edit;
use super::value::quoted;
use toml_edit::Value;

/// How a value is typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shape {
    YesNo,
    /// One of these words.
    Choice(Vec<&'static str>),
    Number,
    /// A number, or a number with its unit.
    Size,
    Text,
    /// A list, one on a line.
    Lines,
    /// The word `mx`, or a list.
    MxOrLines,
    /// `true`, `false`, or a list.
    YesNoOrLines,
    /// `false`, `true`, or a text of the administrator's own.
    Check,
    /// As in the document.
    Toml,
}

/// One key: its manual entry and what it is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    /// `listener.inbound.connections`, `alias[a@corp.test].to`; `alias[].to` of an entry to be added.
    pub path: String,
    /// `listener.inbound`, `alias[a@corp.test]`; empty at the top.
    pub table: String,
    pub name: &'static str,
    /// As TOML; None: absent, which has its own meaning. Never given for secrets.
    pub value: Option<String>,
    pub default: Option<String>,
    /// Its entry cannot be without it.
    pub required: bool,
    pub secret: bool,
    pub range: String,
    pub doc: &'static str,
    pub shape: Shape,
}

impl Key {
    /// The value as it stands in a field; of a check, the tick and the text are one: `true`, `false` or the text.
    pub fn shown(&self) -> String {
        self.value.as_deref().map(|value| self.shape.shown(value)).unwrap_or_default()
    }

    /// The default as people read it.
    pub fn default_words(&self) -> String {
        let words = self.default.as_deref().map(|value| self.shape.shown(value).replace('\n', ", "));
        words.filter(|words| !words.is_empty()).unwrap_or_else(|| "none".to_owned())
    }

    pub fn is_default(&self) -> bool {
        !self.required && self.value == self.default
    }

    /// What it is, as a value that other formats can be made of.
    pub fn toml(&self) -> Option<toml::Value> {
        let mut read: toml::Table = format!("it = {}", self.value.as_deref()?).parse().ok()?;
        read.remove("it")
    }

    /// What was typed, as TOML; None: the key is left out.
    pub fn typed(&self, text: &str) -> Option<String> {
        if text.trim().is_empty() && self.default.is_none() && !self.required {
            return None;
        }
        Some(self.shape.typed(text))
    }

    /// The edit that makes the key what was typed; None: it is that already.
    pub fn edit(&self, text: &str) -> Option<Edit> {
        let text = text.replace("\r\n", "\n");
        if text.trim_end() == self.shown().trim_end() || (self.secret && text.is_empty()) {
            return None;
        }
        let path = self.path.clone();
        Some(match self.typed(&text) {
            Some(value) => Edit::Set { path, value },
            None => Edit::Unset { path },
        })
    }
}

impl Shape {
    fn shown(&self, toml: &str) -> String {
        let Ok(value) = toml.parse::<Value>() else { return toml.to_owned() };
        let bare = |value: &Value| match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.clone().decorated("", "").to_string(),
        };
        match (&value, self) {
            (_, Shape::Toml) => toml.to_owned(),
            (Value::Array(items), _) => items.iter().map(bare).collect::<Vec<_>>().join("\n"),
            _ => bare(&value),
        }
    }

    fn typed(&self, text: &str) -> String {
        let text = text.trim();
        match self {
            Shape::Toml => text.to_owned(),
            Shape::YesNo | Shape::Check if matches!(text, "true" | "false") => text.to_owned(),
            Shape::YesNoOrLines if matches!(text, "true" | "false") => text.to_owned(),
            Shape::Number | Shape::Size => {
                text.parse::<i64>().map_or_else(|_| quoted(text), |number| number.to_string())
            }
            Shape::MxOrLines if text.eq_ignore_ascii_case("mx") => quoted("mx"),
            Shape::Lines | Shape::MxOrLines | Shape::YesNoOrLines => list(text),
            _ => quoted(text),
        }
    }
}

/// One on a line; several on one if commas part them and nothing else on the line may hold commas.
fn list(text: &str) -> String {
    let mut items = Vec::new();
    for line in text.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with('{') && line.parse::<Value>().is_ok() {
            items.push(line.to_owned());
        } else if line.contains(['"', '{']) {
            items.push(quoted(line));
        } else {
            items.extend(line.split(',').map(str::trim).filter(|item| !item.is_empty()).map(quoted));
        }
    }
    format!("[{}]", items.join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::{Part, Settings, keys};
    use super::*;

    #[test]
    fn every_key_takes_back_what_its_field_shows() {
        let text = "hostname = \"gw.corp.test\"\n[listener.inbound]\nrequire_reverse_name = \"Your \\\"PTR\\\", please\"\n[route.other]\nnext_hops = [{ host = \"a.test\", preference = 5 }, \"b.test:26\"]\n[[domain]]\nname = \"corp.test\"\nnext_hops = \"mx\"\nrecipients = [\"\\\"a, b\\\"@corp.test\", \"c@corp.test\"]\n[delivery]\nallow_private_addresses = [\"10.0.0.0/8\"]\n";
        let settings = Settings::read(text).unwrap();
        for key in keys(&settings, Part::Tables).into_iter().chain(keys(&settings, Part::Entry("domain[corp.test]"))) {
            assert_eq!(key.typed(&key.shown()), key.value, "{}", key.path);
            assert_eq!(key.edit(&key.shown()), None, "{}", key.path);
        }
    }

    #[test]
    fn what_is_no_number_is_complained_about_and_not_taken_for_something_else() {
        assert_eq!(Shape::Number.typed("12, 13"), "\"12, 13\"");
        assert_eq!(Shape::Size.typed("25MB"), "\"25MB\"");
        assert_eq!(
            Shape::Lines.typed("a.test, b.test\n\n{ host = \"c.test\" }"),
            "[\"a.test\", \"b.test\", { host = \"c.test\" }]"
        );
        assert_eq!(Shape::Text.typed("\"]\nmode = \"drain"), quoted("\"]\nmode = \"drain"));
    }

    #[test]
    fn an_empty_field_leaves_out_what_may_be_absent() {
        let settings = Settings::read("hostname = \"gw.corp.test\"").unwrap();
        let key = |path: &str| keys(&settings, Part::Tables).into_iter().find(|key| key.path == path).unwrap();
        assert_eq!(key("hostname").edit(" "), Some(Edit::Unset { path: "hostname".to_owned() }));
        let none = |path: &str, value: &str| Some(Edit::Set { path: path.to_owned(), value: value.to_owned() });
        assert_eq!(key("dns.hosts_file").edit(""), none("dns.hosts_file", "\"\""));
        assert_eq!(key("internal_hosts").edit(""), none("internal_hosts", "[]"));
    }
}
