//! Lists of the settings (aliases, masquerades, TLS policies, sources, users): search, pages, one entry at a time or all by
//! pasting. The same for each list; 100,000 entries stay usable.

use crate::page::change::{self, Asked, Wish};
use crate::page::{Routes, problem};
use crate::part::form::{self, Field};
use crate::part::setting::{self, Typed};
use crate::part::{count, encode, shell};
use crate::right::{May, Right, rights};
use crate::{Account, Center, Document, Problem};
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use decide::settings::{Complaint, Edit, Key, Part, Settings, Shape, entries, keys};
use maud::{Markup, html};
use serde::Deserialize;
use std::collections::BTreeSet;

/// Entries on one page.
const PAGE: usize = 50;

pub(crate) fn routes() -> Routes {
    let aliases = || "alias".to_owned();
    let masquerades = || "masquerade".to_owned();
    change::large(
        Routes::new()
            .route(
                "/aliases",
                get(move |may, center, query| page(may, center, aliases(), query))
                    .post(move |may, center, form| save(may, center, aliases(), form)),
            )
            .route(
                "/masquerades",
                get(move |may, center, query| page(may, center, masquerades(), query))
                    .post(move |may, center, form| save(may, center, masquerades(), form)),
            )
            .route(
                "/lists/{list}",
                get(|may, center, Path(list): Path<String>, query| page(may, center, list, query))
                    .post(|may, center, Path(list): Path<String>, form| save(may, center, list, form)),
            )
            .route("/lists/{list}/export", get(export)),
    )
}

/// Where a list's page is.
pub(crate) fn address(list: &str) -> String {
    match list {
        "alias" => "/aliases".to_owned(),
        "masquerade" => "/masquerades".to_owned(),
        "domain" => "/domains".to_owned(),
        _ => format!("/lists/{list}"),
    }
}

fn here(list: &str) -> &'static str {
    match list {
        "alias" => "/aliases",
        "masquerade" => "/masquerades",
        "domain" => "/domains",
        _ if crate::page::configuration::has(list) => "/configuration",
        _ => "/smtp",
    }
}

/// Words of a list: title, one entry.
fn words(list: &str) -> (String, String) {
    let (title, one) = match list {
        "alias" => ("Aliases", "alias"),
        "masquerade" => ("Address masquerading", "masquerade"),
        "domain" => ("Domains and routes", "domain"),
        "tls_policy" => ("TLS policies", "TLS policy"),
        "delivery.source" => ("Delivery bindings: source addresses", "source address"),
        "identity.scanner" => ("Other Scanners", "Scanner"),
        "user" => ("Users of the submission listener", "user"),
        _ => return (setting::label(&list.replace('.', " ")), list.replace(['.', '_'], " ")),
    };
    (title.to_owned(), one.to_owned())
}

/// Links to the lists that have no menu entry of their own.
pub(crate) fn links(settings: &Settings, which: impl Fn(&str) -> bool) -> Markup {
    let lists: Vec<String> =
        setting::lists().into_iter().filter(|list| here(list) != address(list) && which(list)).collect();
    html! { @if !lists.is_empty() {
        h2 { "Lists" }
        ul { @for list in lists {
            li { a href=(address(&list)) { (words(&list).0) } " " span.quiet { "(" (count(entries(settings, &list, "", 0, 0).0 as u64)) ")" } }
        } }
    } }
}

#[derive(Debug, Default, Deserialize)]
pub(crate) struct Find {
    #[serde(default)]
    pub(crate) q: String,
    #[serde(default)]
    pub(crate) page: usize,
    /// `alias[a@corp.test]`; `new`: an empty form.
    pub(crate) entry: Option<String>,
    pub(crate) applied: Option<i64>,
}

pub(crate) async fn page(
    may: May<rights::Look>,
    State(center): State<Center>,
    list: String,
    Query(find): Query<Find>,
) -> Response {
    if !setting::lists().contains(&list) {
        return problem::page(
            &may.account,
            &Problem::Unknown { what: format!("there is no list {list:?} in the settings") },
        );
    }
    show(&may.account, &center, &list, &find, &Typed::default(), &[], html! {}).into_response()
}

/// The keys of an entry's form. Recipients have a page of their own.
fn form_keys(settings: &Settings, list: &str, entry: &str) -> Vec<Key> {
    let found = if entry == "new" || entry.is_empty() {
        keys(settings, Part::New(list))
    } else {
        keys(settings, Part::Entry(entry))
    };
    found.into_iter().filter(|key| !(list == "domain" && key.name == "recipients")).collect()
}

pub(crate) fn show(
    account: &Account,
    center: &Center,
    list: &str,
    find: &Find,
    typed: &Typed,
    found: &[Complaint],
    more: Markup,
) -> Html<String> {
    let document = center.reader.settings();
    let may = account.role.may(Right::Configure);
    let (title, one) = words(list);
    let body = html! {
        (change::above(&document, find.applied, may))
        @if let Some(entry) = &find.entry {
            (entry_form(&document, list, &one, entry, typed, found, may, more))
        } @else {
            @if let Some(key) = keys(&document.settings, Part::New(list)).first() { p { (key.doc) } }
            (more)
            (table(&document, list, &one, find, may))
            @if may { (import_form(list, document.version, typed, found)) }
        }
    };
    shell::page(account, here(list), &title, body)
}

fn table(document: &Document, list: &str, one: &str, find: &Find, may: bool) -> Markup {
    let at = address(list);
    let (total, rows) = entries(&document.settings, list, &find.q, find.page.saturating_mul(PAGE), PAGE);
    let columns = |key: &&Key| !(key.secret || list == "domain" && key.name == "recipients");
    let heads: Vec<String> =
        keys(&document.settings, Part::New(list)).iter().filter(columns).map(|key| setting::label(key.name)).collect();
    html! {
        form.row action=(at) method="get" role="search" {
            (form::text("search", Field { name: "q", label: "Search", value: &find.q, ..Field::default() }))
            button type="submit" { "Search" }
            @if may { a.button.primary href=(format!("{at}?entry=new")) { "Add " (article(one)) } }
            a.button href=(format!("/lists/{list}/export")) download=(format!("{list}.txt")) { "Export" }
        }
        @if rows.is_empty() {
            (shell::empty(if find.q.is_empty() { "Nothing here yet." } else { "Nothing here holds that." }))
        } @else {
            form action=(at) method="post" {
                input type="hidden" name="act" value="remove";
                input type="hidden" name="version" value=(document.version);
                div.scroll { table {
                    thead { tr { @if may { th { input type="checkbox" data-all="" aria-label="Tick all"; } } @for head in &heads { th { (head) } } } }
                    tbody { @for row in &rows { tr {
                        @if may { td { input type="checkbox" name="pick" value=(row[0].table) aria-label=(row[0].shown()); } }
                        @for (place, key) in row.iter().filter(columns).enumerate() {
                            @if place == 0 { th scope="row" { a href=(format!("{at}?entry={}", encode(&key.table))) { (key.shown()) } } }
                            @else { td.break { (brief(&key.shown())) } }
                        }
                    } } }
                } }
                @if may { p { button.danger type="submit" { "Remove those ticked" } } }
            }
            (pager(&at, &find.q, find.page, total))
        }
    }
}

fn article(one: &str) -> String {
    let an = one.starts_with(['a', 'e', 'i', 'o']);
    format!("{} {one}", if an { "an" } else { "a" })
}

/// A list's first values, and how many there are.
fn brief(shown: &str) -> String {
    const FIRST: usize = 4;
    let lines: Vec<&str> = shown.lines().collect();
    match lines.len() {
        0..=FIRST => lines.join(", "),
        many => format!("{}, … ({} in all)", lines[..FIRST].join(", "), count(many as u64)),
    }
}

/// Before, next, and where one is.
pub(crate) fn pager(at: &str, q: &str, page: usize, total: usize) -> Markup {
    let join = if at.contains('?') { '&' } else { '?' };
    let link = |page: usize| format!("{at}{join}q={}&page={page}", encode(q));
    let last = total.saturating_sub(1) / PAGE;
    html! {
        nav.row aria-label="Pages" {
            @if page > 0 { a.button rel="prev" href=(link(page - 1)) { "Before" } }
            span.quiet { (count((page * PAGE + 1).min(total) as u64)) " to " (count(((page + 1) * PAGE).min(total) as u64)) " of " (count(total as u64)) }
            @if page < last { a.button rel="next" href=(link(page + 1)) { "Next" } }
        }
    }
}

#[expect(clippy::too_many_arguments, reason = "all that one form shows")]
fn entry_form(
    document: &Document,
    list: &str,
    one: &str,
    entry: &str,
    typed: &Typed,
    found: &[Complaint],
    may: bool,
    more: Markup,
) -> Markup {
    let at = address(list);
    let keys = form_keys(&document.settings, list, entry);
    if keys.is_empty() {
        return html! { (shell::empty("This entry is not there any more.")) p { a.button href=(at) { "Back to the list" } } };
    }
    let is_of = |complaint: &Complaint, key: &Key| {
        complaint
            .path
            .strip_prefix(list)
            .is_some_and(|rest| rest.starts_with('[') && rest.ends_with(&format!("].{}", key.name)))
    };
    let elsewhere: Vec<&Complaint> =
        found.iter().filter(|complaint| !keys.iter().any(|key| is_of(complaint, key))).collect();
    html! {
        p { a href=(at) { "Back to the list" } }
        (setting::complaints(&elsewhere))
        form action=(at) method="post" {
            input type="hidden" name="version" value=(typed.version().unwrap_or(document.version));
            input type="hidden" name="entry" value=(entry);
            fieldset disabled[!may] {
                legend { @if entry == "new" { "New " (one) } @else { (entry) } }
                @for key in &keys {
                    @let here: Vec<&Complaint> = found.iter().filter(|complaint| is_of(complaint, key)).collect();
                    (setting::field(key.name, key, typed, &here, may))
                }
            }
            (more)
            @if may { p.row {
                button.primary type="submit" name="act" value="save" { "Preview the change" }
                @if list == "domain" { button type="submit" name="act" value="route" { "Check the route" } }
                @if entry != "new" { button.danger type="submit" name="act" value="remove" { "Remove it" } }
            } }
        }
    }
}

fn import_form(list: &str, version: i64, typed: &Typed, found: &[Complaint]) -> Markup {
    let heads: Vec<&str> = keys(&Settings::default(), Part::New(list))
        .iter()
        .filter(|key| key.required && !key.secret)
        .map(|key| key.name)
        .collect();
    if keys(&Settings::default(), Part::New(list)).iter().any(|key| key.secret) {
        return html! {};
    }
    let hint = format!(
        "One entry on a line: {}, parted by spaces, commas, semicolons or tabs. Lines that begin with # are left out.",
        heads.join(", then ")
    );
    let complaints: Vec<&Complaint> = found.iter().collect();
    html! {
        details open[!found.is_empty()] {
            summary { "Paste or import many" }
            (setting::complaints(&complaints))
            form action=(address(list)) method="post" {
                input type="hidden" name="act" value="import";
                input type="hidden" name="version" value=(typed.version().unwrap_or(version));
                (form::area(10, Field { name: "lines", label: "Entries", value: typed.of("lines").unwrap_or_default(), hint: &hint, ..Field::default() }))
                (form::select(&[("replace", "take the value pasted here"), ("keep", "keep the value that they have")], Field { name: "existing", label: "Entries that are there already", value: typed.of("existing").unwrap_or("replace"), ..Field::default() }))
                (form::tick(typed.of("only").is_some(), Field { name: "only", label: "Remove all entries that are not pasted here", ..Field::default() }))
                p { button.primary type="submit" { "Preview the import" } }
            }
        }
    }
}

pub(crate) async fn save(
    may: May<rights::Configure>,
    State(center): State<Center>,
    list: String,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let typed = Typed(fields);
    if !setting::lists().contains(&list) {
        return problem::page(
            &may.account,
            &Problem::Unknown { what: format!("there is no list {list:?} in the settings") },
        );
    }
    let now = center.reader.settings();
    let base = typed.version().unwrap_or(now.version);
    let seen = if base == now.version { now } else { center.reader.settings_of(base).unwrap_or(now) };
    let entry = typed.of("entry").map(str::to_owned);
    let edits = match typed.of("act") {
        Some("remove") => {
            let picked = typed.all("pick").chain(entry.as_deref());
            picked.map(|path| Edit::Remove { path: path.to_owned() }).collect()
        }
        Some("import") => import(&seen.settings, &list, &typed),
        _ => edits(&seen.settings, &list, entry.as_deref().unwrap_or("new"), &typed),
    };
    let find = Find { entry, ..Find::default() };
    let (here, back) = (here(&list), address(&list));
    let found = if edits.is_empty() {
        vec![Complaint {
            path: String::new(),
            line: None,
            value: String::new(),
            problem: "nothing was changed or ticked".to_owned(),
            suggestion: String::new(),
        }]
    } else {
        let asked =
            Asked { account: &may.account, here, back: &back, wish: Wish::Edits(edits), base, besides: html! {} };
        match change::ask(&center, &asked).await {
            Ok(answer) => return answer,
            Err(found) => found,
        }
    };
    shell::with(StatusCode::UNPROCESSABLE_ENTITY, show(&may.account, &center, &list, &find, &typed, &found, html! {}))
}

/// What an entry's form wants.
pub(crate) fn edits(settings: &Settings, list: &str, entry: &str, typed: &Typed) -> Vec<Edit> {
    let keys = form_keys(settings, list, entry);
    if entry != "new" {
        return keys.iter().filter_map(|key| typed.edit(key.name, key)).collect();
    }
    let given = |key: &Key| match typed.edit(key.name, key) {
        Some(Edit::Set { value, .. }) => Some((key.name.to_owned(), value)),
        _ => None,
    };
    let given: Vec<_> = keys.iter().filter_map(given).collect();
    if given.is_empty() { Vec::new() } else { vec![Edit::Add { list: list.to_owned(), keys: given }] }
}

fn import(settings: &Settings, list: &str, typed: &Typed) -> Vec<Edit> {
    let columns: Vec<Key> = keys(settings, Part::New(list)).into_iter().filter(|key| key.required).collect();
    let there: BTreeSet<String> =
        entries(settings, list, "", 0, usize::MAX / 2).1.into_iter().map(|row| row[0].table.clone()).collect();
    let (keep, only) = (typed.of("existing") == Some("keep"), typed.of("only").is_some());
    let (mut edits, mut pasted) = (Vec::new(), BTreeSet::new());
    for line in typed
        .of("lines")
        .unwrap_or_default()
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty() && !line.starts_with('#'))
    {
        let mut words = words_of_line(line).into_iter();
        let mut given: Vec<(String, String)> = Vec::new();
        for key in &columns {
            let many = matches!(key.shape, Shape::Lines | Shape::MxOrLines);
            let text =
                if many { words.by_ref().collect::<Vec<_>>().join("\n") } else { words.next().unwrap_or_default() };
            given.extend(key.typed(&text).map(|value| (key.name.to_owned(), value)));
        }
        let name = format!("{list}[{}]", key_of(line));
        if !there.contains(&name) {
            edits.push(Edit::Add { list: list.to_owned(), keys: given });
        } else if !keep {
            edits.extend(
                given.into_iter().skip(1).map(|(key, value)| Edit::Set { path: format!("{name}.{key}"), value }),
            );
        }
        pasted.insert(name);
    }
    if only && !pasted.is_empty() {
        edits.extend(there.into_iter().filter(|name| !pasted.contains(name)).map(|path| Edit::Remove { path }));
    }
    edits
}

/// The name that an entry is found by: its first word, as the settings write it.
fn key_of(line: &str) -> String {
    let first = words_of_line(line).into_iter().next().unwrap_or_default();
    match first.strip_prefix('@') {
        Some(domain) => {
            format!("@{}", domain.parse().map_or_else(|_| domain.to_owned(), |domain: mail::Domain| domain.ascii()))
        }
        None if first.contains('@') => {
            first.parse().map_or_else(|_| first.clone(), |address: mail::Address| address.key())
        }
        None => first.parse().map_or_else(|_| first.clone(), |domain: mail::Domain| domain.ascii()),
    }
}

/// Words of one line; what stands in quotation marks is not parted.
fn words_of_line(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), false);
    for letter in line.chars() {
        match letter {
            '"' => {
                quoted = !quoted;
                word.push(letter);
            }
            ' ' | '\t' | ',' | ';' if !quoted => words.push(std::mem::take(&mut word)),
            _ => word.push(letter),
        }
    }
    words.push(word);
    words.retain(|word| !matches!(word.as_str(), "" | "=" | "→" | "->"));
    // `/etc/aliases` has a colon behind the name; an address has none there.
    if let Some(first) = words.first_mut() {
        *first = first.trim_end_matches(':').to_owned();
    }
    words
}

/// The list as text, in the form that the import takes.
async fn export(_: May<rights::Look>, State(center): State<Center>, Path(list): Path<String>) -> Response {
    let document = center.reader.settings();
    let mut text = String::new();
    for row in entries(&document.settings, &list, "", 0, usize::MAX / 2).1 {
        let values = row.iter().filter(|key| key.required && !key.secret).map(|key| key.shown().replace('\n', " "));
        text.push_str(&values.collect::<Vec<_>>().join(" "));
        text.push('\n');
    }
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, get, post};
    use std::sync::Arc;

    #[test]
    fn lines_of_other_systems_are_understood() {
        for line in [
            "a@x.test: b@y.test, c@y.test",
            "a@x.test b@y.test\tc@y.test",
            "a@x.test,b@y.test;c@y.test",
            "a@x.test = b@y.test c@y.test",
        ] {
            assert_eq!(words_of_line(line), ["a@x.test", "b@y.test", "c@y.test"], "{line}");
        }
        assert_eq!(words_of_line("\"a, b\"@x.test c@y.test"), ["\"a, b\"@x.test", "c@y.test"]);
    }

    #[tokio::test]
    async fn aliases_are_searched_and_paged() {
        let (code, page) = get("ReadOnly", "/aliases?page=1").await;
        assert!(code == 200 && page.contains("51 to 100 of 120") && page.contains("rel=\"next\""), "{page}");
        let (_, page) = get("ReadOnly", "/aliases?q=BOX7%40corp").await;
        assert!(page.contains("1 to 1 of 1") && page.contains("a7@corp.test"), "{page}");
    }

    #[tokio::test]
    async fn an_import_adds_and_replaces_and_shows_it_before() {
        let world = Arc::<World>::default();
        let form = "act=import&version=2&existing=replace&lines=%23+old%0Anew%40corp.test+x%40corp.test%0AA7%40Corp.test%3A+y%40corp.test";
        let (code, page) = post(&world, "Full", "/aliases", form).await;
        assert_eq!(code, 200, "{page}");
        assert!(page.contains("alias[new@corp.test].to") && page.contains("alias[a7@corp.test].to"), "{page}");
        assert!(world.orders.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_ring_is_told_and_what_was_typed_stays() {
        let world = Arc::<World>::default();
        let form = "act=save&entry=new&version=2&from=box7%40corp.test&to=a7%40corp.test";
        let (code, page) = post(&world, "Full", "/aliases", form).await;
        assert!(
            code == 422 && page.contains("goes round in a ring: a7@corp.test → box7@corp.test → a7@corp.test"),
            "{page}"
        );
        assert!(page.contains("value=\"box7@corp.test\""), "{page}");
    }
}
