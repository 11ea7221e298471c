//! Administration, Configuration: hosts, then SMTP, then Advanced settings, then Delivery; the way that administrators of
//! messaging gateways know.

use crate::page::change;
use crate::page::smtp::{self, Tab};
use crate::page::{Routes, list};
use crate::part::setting::{self, Typed};
use crate::part::{encode, shell};
use crate::right::{May, Right, rights};
use crate::{Account, Center, Document, Scanner};
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::get;
use decide::settings::{Complaint, Key};
use maud::{Markup, html};

const HERE: &str = "/configuration";

pub(crate) fn routes() -> Routes {
    change::large(
        Routes::new()
            .route("/configuration", get(hosts))
            .route("/configuration/{host}", get(host))
            .route("/configuration/{host}/smtp", get(basic).post(save_basic))
            .route("/configuration/{host}/smtp/advanced", get(advanced).post(save_advanced)),
    )
}

/// The tables that stand here: what a host is, and how it delivers. All others are with the protocols.
pub(crate) fn has(table: &str) -> bool {
    let first = table.split('.').next().unwrap_or_default();
    first.is_empty() || matches!(first, "identity" | "delivery" | "retry" | "queue" | "route" | "tls_policy")
}

/// The tabs of Advanced settings: words, and which keys.
const TABS: [(&str, &str); 3] = [("delivery", "Delivery"), ("identity", "Identity"), ("queue", "Queue and bounces")];

fn is_in(tab: &str, key: &Key) -> bool {
    let first = key.table.split('.').next().unwrap_or_default();
    match tab {
        "basic" => matches!(key.path.as_str(), "mode" | "postmaster") || key.path == "queue.paused",
        "delivery" => key.path == "hostname" || first == "delivery" || key.table == "retry",
        "identity" => key.path == "internal_hosts" || first == "identity",
        _ => {
            has(&key.table)
                && first != "route"
                && !TABS[..2].iter().any(|(tab, _)| is_in(tab, key))
                && !is_in("basic", key)
        }
    }
}

fn keys(document: &Document, tab: &str) -> Vec<Key> {
    let all = setting::tables(&document.settings).into_iter().flat_map(|(_, keys)| keys);
    all.filter(|key| is_in(tab, key)).collect()
}

/// Where one is, and the way back up.
fn way(document: &Document, steps: &[(&str, &str)]) -> Markup {
    let host = format!("/configuration/{}", encode(&document.hostname));
    html! { nav.crumbs aria-label="Breadcrumb" { ol {
        li { a href="/configuration" { "Configuration" } }
        li { a href=(host) { (document.hostname) } }
        @for (path, words) in steps { li { a href=(format!("{host}{path}")) { (words) } } }
    } } }
}

async fn hosts(may: May<rights::Look>, State(center): State<Center>, Query(tab): Query<Tab>) -> Html<String> {
    let document = center.reader.settings();
    let enrolled = center.scanners.scanners();
    let mode =
        setting::tables(&document.settings).into_iter().flat_map(|(_, keys)| keys).find(|key| key.path == "mode");
    let body = html! {
        (change::above(&document, tab.applied, may.also(Right::Configure)))
        div.scroll { table {
            thead { tr { th { "Host" } th { "MTA operation" } th { "Settings" } } }
            tbody {
                tr {
                    th scope="row" { a href=(format!("/configuration/{}", encode(&document.hostname))) { (document.hostname) } " " (shell::badge("good", "this host")) }
                    td { (mode.map(|mode| mode.shown()).unwrap_or_default()) }
                    td { a href="/settings" { "version " (document.version) } }
                }
                @for scanner in &enrolled {
                    tr {
                        th scope="row" { a href=(format!("/scanner/{}", encode(&scanner.name))) { (scanner.name) } }
                        td { @match &scanner.report { Some(report) => (report.mode), None => "not known" } }
                        td { a href=(format!("/scanner/{}/drift", encode(&scanner.name))) { @match &scanner.report { Some(report) => { "version " (report.settings_version) }, None => "compare" } } }
                    }
                }
                @for other in strangers(&document, &enrolled) {
                    tr {
                        th scope="row" { (other) }
                        td.quiet { "not known: it is not enrolled here" }
                        td { a href="/scanners" { "Enrol it" } " · " a href="/settings/export" download="settings.toml" { "Export for it" } }
                    }
                }
            }
        } }
        p.quiet { "Each Scanner is an installation of its own. Others are known by " a href="/scanners" { "enrolment" } ", or from the list identity.scanner alone." }
    };
    shell::page(&may.account, HERE, "Configuration", body)
}

/// Scanners that the settings name and nobody enrolled.
fn strangers(document: &Document, enrolled: &[Scanner]) -> Vec<String> {
    let is_enrolled = |name: &String| {
        let calls_itself = |scanner: &Scanner| scanner.report.as_ref().is_some_and(|report| report.name == *name);
        *name == document.hostname || enrolled.iter().any(|scanner| scanner.name == *name || calls_itself(scanner))
    };
    let named = document.settings.scanners.iter().map(|scanner| scanner.name.to_string());
    named.filter(|name| !is_enrolled(name)).collect()
}

async fn host(may: May<rights::Look>, State(center): State<Center>, Path(host): Path<String>) -> Response {
    let document = center.reader.settings();
    if host != document.hostname {
        return Redirect::to(HERE).into_response();
    }
    let at = format!("/configuration/{}", encode(&host));
    let body = html! {
        (way(&document, &[]))
        section.cards {
            div.card { h2 { "SMTP" } p { a href=(format!("{at}/smtp")) { "MTA operation, postmaster" } } p { a href=(format!("{at}/smtp/advanced")) { "Advanced settings: Delivery" } } p { a href="/smtp" { "Listeners" } } }
            div.card { h2 { "DNS" } p { a href="/smtp?tab=dns" { "Resolvers and hosts file" } } }
            div.card { h2 { "Identity" } p { a href="/identity" { "Identity check" } } }
        }
    };
    shell::page(&may.account, HERE, &format!("Host {host}"), body).into_response()
}

async fn basic(may: May<rights::Look>, State(center): State<Center>, Query(tab): Query<Tab>) -> Html<String> {
    basic_page(&may.account, &center, &tab, &Typed::default(), &[])
}

fn basic_page(account: &Account, center: &Center, tab: &Tab, typed: &Typed, found: &[Complaint]) -> Html<String> {
    let document = center.reader.settings();
    let may = account.role.may(Right::Configure);
    let action = format!("/configuration/{}/smtp", encode(&document.hostname));
    let body = html! {
        (change::above(&document, tab.applied, may))
        (way(&document, &[("/smtp", "SMTP")]))
        p { a.button href=(format!("{action}/advanced")) { "Advanced settings" } }
        (smtp::form(&action, document.version, &keys(&document, "basic"), typed, found, may, html! {}))
    };
    shell::page(account, HERE, "SMTP of this host", body)
}

async fn save_basic(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let typed = Typed(fields);
    let back = format!("/configuration/{}/smtp", encode(&center.reader.settings().hostname));
    match smtp::wish(&may.account, &center, HERE, &back, &typed, html! {}).await {
        Ok(answer) => answer,
        Err(found) => shell::with(
            StatusCode::UNPROCESSABLE_ENTITY,
            basic_page(&may.account, &center, &Tab::default(), &typed, &found),
        ),
    }
}

async fn advanced(may: May<rights::Look>, State(center): State<Center>, Query(tab): Query<Tab>) -> Html<String> {
    advanced_page(&may.account, &center, &tab, &Typed::default(), &[])
}

fn advanced_page(account: &Account, center: &Center, tab: &Tab, typed: &Typed, found: &[Complaint]) -> Html<String> {
    let document = center.reader.settings();
    let may = account.role.may(Right::Configure);
    let name = tab.tab.as_deref().filter(|tab| TABS.iter().any(|(name, _)| name == tab)).unwrap_or("delivery");
    let action = format!("/configuration/{}/smtp/advanced", encode(&document.hostname));
    let links: Vec<_> = TABS
        .iter()
        .map(|(tab, words)| (format!("{action}?tab={tab}"), (*words).to_owned(), *tab == name))
        .chain([("/smtp?tab=listener.inbound".to_owned(), "Inbound".to_owned(), false)])
        .chain([("/smtp?tab=listener.outbound".to_owned(), "Outbound".to_owned(), false)])
        .collect();
    let words = TABS.iter().find(|(tab, _)| *tab == name).map_or("", |(_, words)| words);
    let all = html! {
        @if may && !(document.settings.scanners.is_empty() && center.scanners.scanners().is_empty()) {
            div.field.tick {
                input type="checkbox" id="all" name="all" checked[typed.of("all").is_some()];
                label for="all" { "Apply to all Scanners" }
                p.hint { "The preview asks each enrolled Scanner what the change comes to there." }
            }
        }
    };
    let body = html! {
        (change::above(&document, tab.applied, may))
        (way(&document, &[("/smtp", "SMTP"), ("/smtp/advanced", "Advanced settings")]))
        (tabs_of(&links))
        @if name == "delivery" { p { a href="/identity" { "How this host looks from outside" } " · " a href="/domains" { "Domains and routes" } } }
        (smtp::form(&format!("{action}?tab={name}"), document.version, &keys(&document, name), typed, found, may, all))
        (list::links(&document.settings, |list| has(list) && (name == "identity") == list.starts_with("identity")))
    };
    shell::page(account, HERE, &format!("Advanced settings: {words}"), body)
}

fn tabs_of(links: &[(String, String, bool)]) -> Markup {
    smtp::tabs(links)
}

async fn save_advanced(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Query(tab): Query<Tab>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let typed = Typed(fields);
    let document = center.reader.settings();
    let name = tab.tab.clone().unwrap_or_default();
    // The host's name may be what changes: its pages find their way back from the list of hosts.
    let moves = typed.of("hostname").is_some_and(|typed| typed.trim() != document.hostname);
    let back = if moves {
        HERE.to_owned()
    } else {
        format!("/configuration/{}/smtp/advanced?tab={}", encode(&document.hostname), encode(&name))
    };
    let besides = html! {
        (crate::page::identity::consequences(&center, &document, &typed).await)
        @if typed.of("all").is_some() { (by_hand(&strangers(&document, &center.scanners.scanners()))) }
    };
    match smtp::wish(&may.account, &center, HERE, &back, &typed, besides).await {
        Ok(answer) => answer,
        Err(found) => {
            let page = advanced_page(&may.account, &center, &tab, &typed, &found);
            shell::with(StatusCode::UNPROCESSABLE_ENTITY, page)
        }
    }
}

/// Scanners that are not reached from here.
fn by_hand(names: &[String]) -> Markup {
    html! {
        @if !names.is_empty() {
            div.notice.warn role="status" { p {
                "Named in the settings and not enrolled, so not reached from here: " strong { (names.join(", ")) } ". "
                a href="/scanners" { "Enrol them" } ", or export the document once it is in force and run there: " code { "gatepost settings diff settings.toml" } ", then " code { "gatepost settings apply settings.toml" } "."
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, get, post};
    use std::sync::Arc;

    #[tokio::test]
    async fn delivery_is_found_by_the_known_way() {
        let (code, page) = get("ReadOnly", "/configuration").await;
        assert!(code == 200 && page.contains("href=\"/configuration/mail.example.test\""), "{page}");
        let (_, page) = get("ReadOnly", "/configuration/mail.example.test").await;
        assert!(page.contains("/configuration/mail.example.test/smtp/advanced"), "{page}");
        let (_, page) = get("ReadOnly", "/configuration/mail.example.test/smtp/advanced").await;
        for part in [
            "MTA host name",
            "name=\"retry.first\"",
            "name=\"delivery.connections\"",
            "needs a full administrator",
            "/lists/delivery.source",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }

    #[tokio::test]
    async fn a_change_for_all_scanners_says_what_it_takes_for_each() {
        let world = Arc::<World>::default();
        let path = "/configuration/mail.example.test/smtp/advanced?tab=delivery";
        let (code, page) = post(&world, "Full", path, "version=2&retry.first=5m&all=on").await;
        assert!(
            code == 200 && page.contains("<strong>gw2.example.test</strong>") && page.contains("not reached from here"),
            "{page}"
        );
        for part in [
            "<code>retry.first</code>",
            "name=\"on\" value=\"mx2\" checked",
            "192.0.2.3:8025: refused",
            "Apply to the ticked",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        let (code, page) = post(&world, "Full", path, "version=2&retry.first=never&all=on").await;
        assert!(code == 422 && page.contains("value=\"never\""), "{page}");
    }
}
