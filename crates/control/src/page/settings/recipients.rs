//! Invalid recipients: what becomes of mail to people that a domain does not have, and who they are that it has.

use crate::page::change::{self, Asked, Wish};
use crate::page::{Routes, list};
use crate::part::form::{self, Field};
use crate::part::setting::{self, Typed};
use crate::part::{count, encode, shell};
use crate::right::{May, Right, rights};
use crate::{Account, Center};
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use decide::settings::{Complaint, Edit, Key, LocalDomain, Part, keys};
use maud::{Markup, html};
use serde::Deserialize;

const HERE: &str = "/invalid-recipients";
/// As many as other lists show.
const PAGE: usize = 50;

pub(crate) fn routes() -> Routes {
    change::large(
        Routes::new()
            .route("/invalid-recipients", get(page).post(save))
            .route("/invalid-recipients/export", get(export)),
    )
}

#[derive(Debug, Default, Deserialize)]
struct Find {
    #[serde(default)]
    domain: String,
    #[serde(default)]
    q: String,
    #[serde(default)]
    page: usize,
    applied: Option<i64>,
}

async fn page(may: May<rights::Look>, State(center): State<Center>, Query(find): Query<Find>) -> Html<String> {
    show(&may.account, &center, &find, &Typed::default(), &[])
}

fn address(domain: &str) -> String {
    format!("{HERE}?domain={}", encode(domain))
}

fn show(account: &Account, center: &Center, find: &Find, typed: &Typed, found: &[Complaint]) -> Html<String> {
    let document = center.reader.settings();
    let may = account.role.may(Right::Configure);
    let chosen = document.settings.domains.find(&find.domain);
    let body = html! {
        (change::above(&document, find.applied, may))
        @match chosen {
            None => { (overview(document.settings.domains.iter())) }
            Some(domain) => {
                p { a href=(HERE) { "All domains" } }
                (policy(&keys(&document.settings, Part::Entry(&format!("domain[{}]", find.domain))), document.version, &find.domain, typed, found, may))
                (people(domain, document.version, find, may))
            }
        }
    };
    shell::page(account, HERE, "Invalid recipients", body)
}

fn overview<'d>(domains: impl Iterator<Item = &'d LocalDomain>) -> Markup {
    let domains: Vec<_> = domains.collect();
    html! {
        @if domains.is_empty() { (shell::empty("There is no local domain yet: add one under Domains and routes.")) }
        @else { div.scroll { table {
            thead { tr { th { "Domain" } th { "Valid recipients" } th { "The next hop is asked" } } }
            tbody { @for domain in domains { tr {
                th scope="row" { a href=(address(&domain.name.ascii())) { (domain.name) } }
                td { @match &domain.recipients { Some(list) => (count(list.len() as u64)), None => "everybody" } }
                td { @if domain.verify_recipients { "yes" } @else { "no" } }
            } } }
        } } }
    }
}

fn policy(keys: &[Key], version: i64, domain: &str, typed: &Typed, found: &[Complaint], may: bool) -> Markup {
    let shown: Vec<&Key> = keys.iter().filter(|key| is_policy(key)).collect();
    let at = |key: &Key| -> Vec<&Complaint> {
        found.iter().filter(|complaint| complaint.path.ends_with(&format!("].{}", key.name))).collect()
    };
    let elsewhere: Vec<&Complaint> = found
        .iter()
        .filter(|complaint| !shown.iter().any(|key| complaint.path.ends_with(&format!("].{}", key.name))))
        .collect();
    html! {
        (setting::complaints(&elsewhere))
        form action=(HERE) method="post" {
            input type="hidden" name="version" value=(typed.version().unwrap_or(version));
            input type="hidden" name="domain" value=(domain);
            input type="hidden" name="act" value="policy";
            fieldset disabled[!may] { legend { "Mail to others at " (domain) } @for key in &shown { (setting::field(key.name, key, typed, &at(key), may)) } }
            @if may { p { button.primary type="submit" { "Preview the change" } } }
        }
    }
}

fn is_policy(key: &Key) -> bool {
    !matches!(key.name, "name" | "next_hops" | "recipients")
}

fn people(domain: &LocalDomain, version: i64, find: &Find, may: bool) -> Markup {
    let at = address(&find.domain);
    let wanted = find.q.to_lowercase();
    let all: Vec<String> = domain
        .recipients
        .iter()
        .flat_map(|list| list.iter())
        .map(ToString::to_string)
        .filter(|address| address.to_lowercase().contains(&wanted))
        .collect();
    let rows: Vec<&String> = all.iter().skip(find.page.saturating_mul(PAGE)).take(PAGE).collect();
    let hidden = html! { input type="hidden" name="version" value=(version); input type="hidden" name="domain" value=(find.domain); };
    html! {
        h2 { "Valid recipients" }
        @if domain.recipients.is_none() { p { "No list is kept: every recipient is valid." } }
        @else {
            form.row action=(HERE) method="get" role="search" {
                input type="hidden" name="domain" value=(find.domain);
                (form::text("search", Field { name: "q", label: "Search", value: &find.q, ..Field::default() }))
                button type="submit" { "Search" }
                a.button href=(format!("{HERE}/export?domain={}", encode(&find.domain))) download="recipients.txt" { "Export" }
            }
            form action=(HERE) method="post" {
                (hidden)
                div.scroll { table { tbody { @for address in &rows { tr { @if may { td { input type="checkbox" name="pick" value=(address) aria-label=(address); } } th scope="row" { (address) } } } } } }
                @if may { p { button.danger type="submit" name="act" value="exclude" { "Remove those ticked" } } }
            }
            (list::pager(&at, &find.q, find.page, all.len()))
        }
        @if may {
            details { summary { "Paste or import many" }
                form action=(HERE) method="post" {
                    (hidden)
                    (form::area(10, Field { name: "lines", label: "Addresses", hint: "One on a line, or parted by commas, semicolons or spaces. Lines that begin with # are left out.", ..Field::default() }))
                    (form::tick(false, Field { name: "only", label: "The list is exactly what is pasted here", ..Field::default() }))
                    p { button.primary type="submit" name="act" value="include" { "Preview the import" } }
                }
            }
            @if domain.recipients.is_some() { form action=(HERE) method="post" { (hidden) p { button.danger type="submit" name="act" value="everybody" { "Give the list up: every recipient is valid" } } } }
        }
    }
}

async fn save(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let typed = Typed(fields);
    let now = center.reader.settings();
    let base = typed.version().unwrap_or(now.version);
    let seen = if base == now.version { now } else { center.reader.settings_of(base).unwrap_or(now) };
    let find = Find { domain: typed.of("domain").unwrap_or_default().to_owned(), ..Find::default() };
    let entry = format!("domain[{}]", find.domain);
    let path = format!("{entry}.recipients");
    let edits = match typed.of("act") {
        Some("exclude") => vec![Edit::Exclude { path, items: typed.all("pick").map(str::to_owned).collect() }],
        Some("include") => {
            let items = addresses(typed.of("lines").unwrap_or_default());
            // An edit of its own empties the list first, so that the rest is laid out anew.
            let empty = Edit::Set { path: path.clone(), value: "[]".to_owned() };
            typed.of("only").map(|_| empty).into_iter().chain([Edit::Include { path, items }]).collect()
        }
        Some("everybody") => vec![Edit::Unset { path }],
        _ => keys(&seen.settings, Part::Entry(&entry))
            .iter()
            .filter(|key| is_policy(key))
            .filter_map(|key| typed.edit(key.name, key))
            .collect(),
    };
    let back = address(&find.domain);
    let asked =
        Asked { account: &may.account, here: HERE, back: &back, wish: Wish::Edits(edits), base, besides: html! {} };
    match change::ask(&center, &asked).await {
        Ok(answer) => answer,
        Err(found) => shell::with(StatusCode::UNPROCESSABLE_ENTITY, show(&may.account, &center, &find, &typed, &found)),
    }
}

fn addresses(text: &str) -> Vec<String> {
    let lines = text.lines().filter(|line| !line.trim_start().starts_with('#'));
    let words = lines.flat_map(|line| line.split([',', ';', ' ', '\t', '\r']));
    words.map(|word| word.trim_matches(['<', '>'])).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

async fn export(_: May<rights::Look>, State(center): State<Center>, Query(find): Query<Find>) -> Response {
    let settings = center.reader.settings().settings;
    let list = settings.domains.find(&find.domain).and_then(|domain| domain.recipients.as_ref());
    let text: String = list.into_iter().flat_map(|list| list.iter()).map(|address| format!("{address}\n")).collect();
    ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, get, post};
    use std::sync::Arc;

    #[tokio::test]
    async fn recipients_are_searched_joined_and_taken_out() {
        let (code, page) = get("ReadOnly", "/invalid-recipients?domain=corp.test&q=ANN").await;
        assert!(code == 200 && page.contains("ann@corp.test") && !page.contains("bob@corp.test"), "{page}");
        let world = Arc::<World>::default();
        let form = "act=include&version=2&domain=corp.test&lines=%3Ccy%40corp.test%3E%2C+ann%40corp.test";
        let (code, page) = post(&world, "Full", "/invalid-recipients", form).await;
        assert!(
            code == 200 && page.contains("ann@corp.test&quot;, &quot;bob@corp.test&quot;, &quot;cy@corp.test"),
            "{page}"
        );
        let (code, page) = post(
            &world,
            "Full",
            "/invalid-recipients",
            "act=policy&version=2&domain=corp.test&invalid_recipients=drop",
        )
        .await;
        assert!(code == 200 && page.contains("domain[corp.test].invalid_recipients"), "{page}");
    }
}
