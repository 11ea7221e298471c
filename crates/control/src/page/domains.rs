//! Domains and routes: local domains with the servers behind them, and the ways of all other mail; each way can be tried
//! before it is saved.

use crate::page::change;
use crate::page::list::{self, Find};
use crate::page::{Routes, problem, smtp};
use crate::part::setting::{self, Typed};
use crate::part::shell;
use crate::right::{May, Right, rights};
use crate::{Account, Center, Problem, RouteTry};
use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use decide::settings::{Complaint, Key, edit};
use maud::{Markup, html};

pub(crate) fn routes() -> Routes {
    change::large(
        Routes::new()
            .route("/domains", get(page).post(save))
            .route("/domains/routes", get(ways).post(save_ways))
            .route("/domains/try", get(attempt)),
    )
}

fn tabs(ways: bool) -> Markup {
    smtp::tabs(&[
        ("/domains".to_owned(), "Domains".to_owned(), !ways),
        ("/domains/routes".to_owned(), "Routes of all mail".to_owned(), ways),
    ])
}

async fn page(may: May<rights::Look>, State(center): State<Center>, Query(find): Query<Find>) -> Html<String> {
    let more = html! { @if find.entry.is_none() { (tabs(false)) } };
    list::show(&may.account, &center, "domain", &find, &Typed::default(), &[], more)
}

async fn save(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let typed = Typed(fields);
    if typed.of("act") != Some("route") {
        return list::save(may, State(center), "domain".to_owned(), Form(typed.0)).await;
    }
    let entry = typed.of("entry").unwrap_or("new").to_owned();
    let (found, tried) = match try_typed(&center, &entry, &typed).await {
        Ok(route) => (Vec::new(), result(&route)),
        Err(found) => (found, html! {}),
    };
    let code = if found.is_empty() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY };
    let find = Find { entry: Some(entry), ..Find::default() };
    shell::with(code, list::show(&may.account, &center, "domain", &find, &typed, &found, tried))
}

/// Where mail would go with the domain as it is typed.
async fn try_typed(center: &Center, entry: &str, typed: &Typed) -> Result<RouteTry, Vec<Complaint>> {
    let failed = |problem: Problem| {
        vec![Complaint {
            path: String::new(),
            line: None,
            value: String::new(),
            problem: problem.what().to_owned(),
            suggestion: String::new(),
        }]
    };
    let now = center.reader.settings();
    let edits = list::edits(&now.settings, "domain", entry, typed);
    let text = edit(&center.reader.settings_text(now.version).map_err(failed)?, &edits)?;
    let checked = center.reader.settings_check(&text).await;
    let settings = checked.settings.ok_or(checked.complaints)?;
    center.reader.settings_route(settings, typed.of("name").unwrap_or_default()).await.map_err(failed)
}

fn result(route: &RouteTry) -> Markup {
    let kind = if route.verdict == "deliver" { "good" } else { "bad" };
    html! {
        section.card aria-live="polite" {
            h2 { "Mail for " (route.domain) " would go this way" }
            dl.facts {
                dt { "Verdict" } dd { (shell::badge(kind, &route.verdict)) }
                dt { "Decided by" } dd { code { (route.rule) } }
                dt { "Tried in this order" } dd { @if route.candidates.is_empty() { "nothing" } @else { ol { @for hop in &route.candidates { li { code { (hop) } } } } } }
                @if !route.dropped.is_empty() { dt { "Left out" } dd { ul { @for hop in &route.dropped { li { (hop) } } } } }
                @if !route.dns.is_empty() { dt { "DNS" } dd { ul.evidence { @for line in &route.dns { li { code { (line) } } } } } }
            }
        }
    }
}

#[derive(Debug, Default, serde::Deserialize)]
struct Wanted {
    #[serde(default)]
    domain: String,
    applied: Option<i64>,
}

fn keys(center: &Center) -> Vec<Key> {
    let tables = setting::tables(&center.reader.settings().settings);
    tables.into_iter().filter(|(table, _)| table.starts_with("route")).flat_map(|(_, keys)| keys).collect()
}

async fn ways(may: May<rights::Look>, State(center): State<Center>, Query(wanted): Query<Wanted>) -> Html<String> {
    ways_page(&may.account, &center, wanted.applied, &Typed::default(), &[], html! {})
}

fn ways_page(
    account: &Account,
    center: &Center,
    applied: Option<i64>,
    typed: &Typed,
    found: &[Complaint],
    tried: Markup,
) -> Html<String> {
    let document = center.reader.settings();
    let may = account.role.may(Right::Configure);
    let body = html! {
        (change::above(&document, applied, may))
        (tabs(true))
        form.row action="/domains/try" method="get" {
            (crate::part::form::text("text", crate::part::form::Field { name: "domain", label: "Where does mail for this domain go?", ..Default::default() }))
            button type="submit" { "Try it" }
        }
        (tried)
        (smtp::form("/domains/routes", document.version, &keys(center), typed, found, may, html! {}))
    };
    shell::page(account, "/domains", "Routes of all mail", body)
}

async fn attempt(may: May<rights::Look>, State(center): State<Center>, Query(wanted): Query<Wanted>) -> Response {
    let settings = center.reader.settings().settings;
    match center.reader.settings_route(settings, wanted.domain.rsplit('@').next().unwrap_or_default()).await {
        Ok(route) => ways_page(&may.account, &center, None, &Typed::default(), &[], result(&route)).into_response(),
        Err(failed) => problem::page(&may.account, &failed),
    }
}

async fn save_ways(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let typed = Typed(fields);
    match smtp::wish(&may.account, &center, "/domains", "/domains/routes", &typed, html! {}).await {
        Ok(answer) => answer,
        Err(found) => {
            let page = ways_page(&may.account, &center, None, &typed, &found, html! {});
            shell::with(StatusCode::UNPROCESSABLE_ENTITY, page)
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, get, post};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_domains_way_is_tried_as_it_is_typed() {
        let world = Arc::<World>::default();
        let typed = "act=route&entry=new&version=2&name=new.test&next_hops=192.0.2.25";
        let (code, page) = post(&world, "Full", "/domains", typed).await;
        assert!(code == 200 && page.contains("domain[new.test]") && page.contains("value=\"new.test\""), "{page}");
        let (code, page) =
            post(&world, "Full", "/domains", "act=route&entry=new&version=2&name=new.test&next_hops=300.1.1.1").await;
        assert!(code == 422 && page.contains("300.1.1.1") && page.contains("must be a host or address"), "{page}");
    }

    #[tokio::test]
    async fn recipient_lists_are_not_shown_among_domains() {
        let (code, page) = get("ReadOnly", "/domains").await;
        assert!(code == 200 && page.contains("corp.test") && !page.contains("ann@corp.test"), "{page}");
    }
}
