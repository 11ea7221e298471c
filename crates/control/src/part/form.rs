//! Form fields: a label, the field, a hint, and the reason when what was typed is no good. What was typed always stays.

use maud::{Markup, html};

/// What stands in a field, and what is wrong with it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Field<'a> {
    pub(crate) name: &'a str,
    pub(crate) label: &'a str,
    pub(crate) value: &'a str,
    pub(crate) hint: &'a str,
    /// The reason and what to do, when the last try was refused for this field.
    pub(crate) error: Option<&'a str>,
    pub(crate) required: bool,
}

/// One line of text; `kind` is HTML's type: text, password, email, number, search.
pub(crate) fn text(kind: &str, field: Field<'_>) -> Markup {
    around(
        field,
        html! {
            input type=(kind) id=(field.name) name=(field.name) value=(field.value) required[field.required] aria-invalid=[field.error.map(|_| "true")] aria-describedby=[described(field)];
        },
    )
}

/// Several lines of text.
pub(crate) fn area(rows: u32, field: Field<'_>) -> Markup {
    around(
        field,
        html! {
            textarea id=(field.name) name=(field.name) rows=(rows) required[field.required] spellcheck="false" aria-invalid=[field.error.map(|_| "true")] aria-describedby=[described(field)] { (field.value) }
        },
    )
}

/// One of several; each choice is its value and its words.
pub(crate) fn select(choices: &[(&str, &str)], field: Field<'_>) -> Markup {
    around(
        field,
        html! {
            select id=(field.name) name=(field.name) aria-describedby=[described(field)] {
                @for (value, words) in choices { option value=(value) selected[*value == field.value] { (words) } }
            }
        },
    )
}

/// Yes or no; sends `on` when ticked.
pub(crate) fn tick(checked: bool, field: Field<'_>) -> Markup {
    html! {
        div.field.tick {
            input type="checkbox" id=(field.name) name=(field.name) checked[checked] aria-describedby=[described(field)];
            label for=(field.name) { (field.label) }
            (words(field))
        }
    }
}

fn around(field: Field<'_>, input: Markup) -> Markup {
    html! { div.field.bad[field.error.is_some()] { label for=(field.name) { (field.label) } (input) (words(field)) } }
}

fn words(field: Field<'_>) -> Markup {
    html! {
        @if let Some(error) = field.error { p.error #(format!("{}-error", field.name)) { (error) } }
        @if !field.hint.is_empty() { p.hint #(format!("{}-hint", field.name)) { (field.hint) } }
    }
}

fn described(field: Field<'_>) -> Option<String> {
    let error = field.error.map(|_| format!("{}-error", field.name));
    let hint = (!field.hint.is_empty()).then(|| format!("{}-hint", field.name));
    let ids: Vec<String> = error.into_iter().chain(hint).collect();
    (!ids.is_empty()).then(|| ids.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_field_keeps_what_was_typed_and_says_why() {
        let field = Field {
            name: "host",
            label: "MTA host name",
            value: "mail",
            error: Some("not fully qualified: write mail.example.org"),
            ..Field::default()
        };
        let html = text("text", field).into_string();
        assert!(
            html.contains("value=\"mail\"")
                && html.contains("aria-describedby=\"host-error\"")
                && html.contains("write mail.example.org"),
            "{html}"
        );
    }
}
