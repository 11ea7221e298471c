//! Settings versions: the history, any two compared, the document as text; and the same for tools.

pub(crate) mod api;
mod entries;
mod recipients;

use crate::page::change::{self, Asked, Wish};
use crate::page::{Routes, problem};
use crate::part::form::{self, Field};
use crate::part::setting::{self, Typed};
use crate::part::{shell, time};
use crate::right::{May, Right, rights};
use crate::{Account, Center, Problem};
use axum::Form;
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use decide::settings::{Complaint, diff};
use maud::html;
use serde::Deserialize;

const HERE: &str = "/settings";

pub(crate) fn routes() -> Routes {
    change::large(
        Routes::new()
            .route("/settings", get(page))
            .route("/settings/edit", get(text).post(save_text))
            .route("/settings/compare", get(compare))
            .route("/settings/export", get(export))
            .route("/settings/back", post(back)),
    )
    .merge(recipients::routes())
    .merge(api::routes())
    .merge(entries::routes())
    .merge(crate::page::identity::routes())
}

#[derive(Debug, Default, Deserialize)]
struct Wanted {
    applied: Option<i64>,
    version: Option<i64>,
    from: Option<i64>,
    to: Option<i64>,
}

async fn page(may: May<rights::Look>, State(center): State<Center>, Query(wanted): Query<Wanted>) -> Response {
    let document = center.reader.settings();
    let history = match center.reader.settings_history() {
        Ok(history) => history,
        Err(failed) => return problem::page(&may.account, &failed),
    };
    let full = may.also(Right::Configure);
    let body = html! {
        (change::above(&document, wanted.applied, full))
        p { a.button href="/settings/export" download="settings.toml" { "Export the document" } " " a.button href="/settings/edit" { @if full { "Edit as text" } @else { "See as text" } } }
        @if history.is_empty() { (shell::empty("No version was made yet: the defaults are in force.")) }
        @else {
            form action="/settings/compare" method="get" {
                div.scroll { table {
                    thead { tr { th { "From" } th { "To" } th { "Version" } th { "Time" } th { "Author" } th { "Comment" } th {} } }
                    tbody { @for (place, version) in history.iter().enumerate() { tr {
                        td { input type="radio" name="from" value=(version.number) checked[place == 1] aria-label=(format!("from version {}", version.number)); }
                        td { input type="radio" name="to" value=(version.number) checked[place == 0] aria-label=(format!("to version {}", version.number)); }
                        th scope="row" { (version.number) " " @if version.number == document.version { (shell::badge("good", "in force")) } }
                        td { (time::exact(version.at)) }
                        td { (version.author) }
                        td.break { (version.comment) }
                        td { a href=(format!("/settings/compare?from={}&to={}", document.version, version.number)) { "Compare and put back" } " · " a href=(format!("/settings/export?version={}", version.number)) download=(format!("settings-{}.toml", version.number)) { "Export" } }
                    } } }
                } }
                p { button type="submit" { "Compare" } }
            }
        }
    };
    shell::page(&may.account, HERE, "Settings versions", body).into_response()
}

async fn compare(may: May<rights::Look>, State(center): State<Center>, Query(wanted): Query<Wanted>) -> Response {
    let now = center.reader.settings().version;
    let (from, to) = (wanted.from.unwrap_or(now), wanted.to.unwrap_or(now));
    let (old, new) = match (center.reader.settings_of(from), center.reader.settings_of(to)) {
        (Ok(old), Ok(new)) => (old, new),
        (Err(failed), _) | (_, Err(failed)) => return problem::page(&may.account, &failed),
    };
    let body = html! {
        p { "From version " (from) " (left) to version " (to) " (right):" }
        (setting::changes(&diff(&old.settings, &new.settings)))
        @if may.also(Right::Configure) && to != now {
            form action="/settings/back" method="post" {
                input type="hidden" name="version" value=(to);
                button.primary type="submit" { "Preview putting version " (to) " back" }
            }
        }
        p { a href="/settings" { "All versions" } }
    };
    shell::page(&may.account, HERE, "Two versions compared", body).into_response()
}

async fn back(may: May<rights::Configure>, State(center): State<Center>, Form(wanted): Form<Wanted>) -> Response {
    let now = center.reader.settings();
    let wish = Wish::Version(wanted.version.unwrap_or(now.version));
    let asked = Asked { account: &may.account, here: HERE, back: HERE, wish, base: now.version, besides: html! {} };
    match change::ask(&center, &asked).await {
        Ok(answer) => answer,
        Err(found) => {
            let found: Vec<&Complaint> = found.iter().collect();
            let body = html! { (setting::complaints(&found)) p { a.button href="/settings" { "All versions" } } };
            shell::with(
                StatusCode::UNPROCESSABLE_ENTITY,
                shell::page(&may.account, HERE, "This version no longer fits", body),
            )
        }
    }
}

async fn export(may: May<rights::Look>, State(center): State<Center>, Query(wanted): Query<Wanted>) -> Response {
    let version = wanted.version.unwrap_or_else(|| center.reader.settings().version);
    match readable(&center, &may.account, version) {
        Ok(text) => ([(header::CONTENT_TYPE, "application/toml; charset=utf-8")], text).into_response(),
        Err(failed) => problem::page(&may.account, &failed),
    }
}

/// The document; the hashes of passwords are for those only who may change them.
fn readable(center: &Center, account: &Account, version: i64) -> Result<String, Problem> {
    let text = center.reader.settings_text(version)?;
    if account.role.may(Right::Configure) {
        return Ok(text);
    }
    let hidden = |line: &str| {
        if line.contains("$argon2") { "# a password's hash is left out here\n".to_owned() } else { format!("{line}\n") }
    };
    Ok(text.lines().map(hidden).collect())
}

async fn text(may: May<rights::Look>, State(center): State<Center>) -> Response {
    let version = center.reader.settings().version;
    match readable(&center, &may.account, version) {
        Ok(text) => text_page(&may.account, &center, version, &text, &[]).into_response(),
        Err(failed) => problem::page(&may.account, &failed),
    }
}

fn text_page(account: &Account, center: &Center, version: i64, text: &str, found: &[Complaint]) -> Html<String> {
    let document = center.reader.settings();
    let may = account.role.may(Right::Configure);
    let found: Vec<&Complaint> = found.iter().collect();
    let body = html! {
        (change::above(&document, None, may))
        (setting::complaints(&found))
        form action="/settings/edit" method="post" {
            input type="hidden" name="version" value=(version);
            fieldset disabled[!may] {
                legend { "Version " (version) }
                (form::area(30, Field { name: "text", label: "Document (TOML)", value: text, hint: "Every key has a default, so a document holds only what differs.", ..Field::default() }))
            }
            @if may { p { button.primary type="submit" { "Preview the change" } } }
        }
    };
    shell::page(account, HERE, "Settings as text", body)
}

async fn save_text(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let typed = Typed(fields);
    let base = typed.version().unwrap_or_else(|| center.reader.settings().version);
    let text = typed.of("text").unwrap_or_default().replace("\r\n", "\n");
    let asked = Asked {
        account: &may.account,
        here: HERE,
        back: HERE,
        wish: Wish::Text(text.clone()),
        base,
        besides: html! {},
    };
    match change::ask(&center, &asked).await {
        Ok(answer) => answer,
        Err(found) => {
            shell::with(StatusCode::UNPROCESSABLE_ENTITY, text_page(&may.account, &center, base, &text, &found))
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Order;
    use crate::testing::{World, get, post};
    use std::sync::Arc;

    #[tokio::test]
    async fn the_history_compares_any_two_versions() {
        let (code, page) = get("ReadOnly", "/settings").await;
        assert!(
            code == 200 && page.contains("smaller queue") && page.contains("&lt;b&gt;bob") && page.contains("in force"),
            "{page}"
        );
        let (_, page) = get("ReadOnly", "/settings/compare?from=1&to=2").await;
        assert!(page.contains("<code>queue.limit</code>") && page.contains("<code>5000</code>"), "{page}");
        assert_eq!(get("ReadOnly", "/settings/compare?from=1&to=77").await.0, 404);
    }

    #[tokio::test]
    async fn a_rollback_is_previewed_and_then_one_step() {
        let world = Arc::<World>::default();
        let (code, page) = post(&world, "Full", "/settings/back", "version=1").await;
        assert!(code == 200 && page.contains("<code>queue.limit</code>") && page.contains("Apply now"), "{page}");
        assert_eq!(post(&world, "Full", "/settings/rollback", "version=1&base=2").await.0, 303);
        assert_eq!(*world.orders.lock().unwrap(), [Order::SettingsRollback { version: 1, base: Some(2) }]);
        let (code, _) = post(&world, "Full", "/settings/rollback", "version=1&base=1").await;
        assert_eq!(code, 409, "another version came in force meanwhile");
    }

    #[tokio::test]
    async fn text_with_mistakes_comes_back_with_all_of_them() {
        let world = Arc::<World>::default();
        let (code, page) =
            post(&world, "Full", "/settings/edit", "version=2&text=hostnam+%3D+1%0Amode+%3D+%22sleep%22").await;
        assert_eq!(code, 422);
        for part in ["did you mean `hostname`?", "line 2: mode", "hostnam = 1"] {
            assert!(page.contains(part), "{part}: {page}");
        }
    }
}
