//! Drift: the settings of another Scanner beside this one's, key by key; either is brought in line with the other.

use super::HERE;
use crate::page::change::{self, Asked, Wish};
use crate::page::{Routes, everywhere, problem};
use crate::part::setting::{self, Typed};
use crate::part::{encode, shell};
use crate::right::{May, Right, rights};
use crate::{Account, Call, Center, Document, Problem, Trouble};
use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use decide::settings::{Change, Complaint, Edit, Settings, between, diff, is_own};
use maud::{Markup, html};
use std::time::Duration;

pub(super) fn routes() -> Routes {
    change::large(Routes::new().route("/scanner/{name}/drift", get(page).post(bring)))
}

/// A document with long lists takes a moment.
const PATIENCE: Duration = Duration::from_secs(10);
/// Rows shown.
const ROWS_MAX: usize = 500;

/// Both sides.
struct Both {
    own: Document,
    theirs: Settings,
}

async fn both(center: &Center, by: &Account, name: &str) -> Result<Both, Markup> {
    let call = Call { patience: PATIENCE, ..Call::get("/api/v1/settings".to_owned()) };
    let say = |trouble: &Trouble| html! { div.notice.bad role="alert" { p { (super::words(trouble)) } } };
    let answer = center.scanners.call(by, name, call).await.map_err(|trouble| say(&trouble))?;
    if answer.code != 200 {
        return Err(say(&everywhere::refusal(&answer)));
    }
    let own = center.reader.settings();
    match Settings::read(&String::from_utf8_lossy(&answer.body)) {
        Ok(theirs) => Ok(Both { own, theirs }),
        Err(complaints) => Err(html! {
            div.notice.bad role="alert" {
                p { "Its settings cannot be compared: this gateway does not understand all of them. Another version of gatepost may know other keys, and a token that may not change settings gets no password hashes." }
                ul { @for complaint in complaints.iter().take(20) { li { (complaint.to_string()) } } }
            }
        }),
    }
}

async fn page(may: May<rights::Look>, State(center): State<Center>, Path(name): Path<String>) -> Response {
    show(&center, &may.account, &name, html! {}, StatusCode::OK).await
}

async fn show(center: &Center, account: &Account, name: &str, above: Markup, code: StatusCode) -> Response {
    if !center.scanners.scanners().iter().any(|scanner| scanner.name == name) {
        return problem::page(account, &Problem::Unknown { what: format!("there is no Scanner {name}") });
    }
    let title = format!("Settings of {name} beside this one's");
    let found = match both(center, account, name).await {
        Ok(found) => found,
        Err(why) => {
            let body = html! { (why) p { a.button href=(format!("/scanner/{}", encode(name))) { "Back to " (name) } } };
            return shell::with(code, shell::page(account, HERE, &title, body));
        }
    };
    let changes = diff(&found.own.settings, &found.theirs);
    let rows: Vec<String> = between(&found.own.settings, &found.theirs).into_iter().map(|(path, _)| path).collect();
    let (own, shared): (Vec<&String>, Vec<&String>) = rows.iter().partition(|path| is_own(path));
    let may = account.role.may(Right::Configure);
    let body = html! {
        (above)
        @if shared.is_empty() { (shell::notice("good", "All settings that Scanners share are the same.")) }
        form method="post" action=(format!("/scanner/{}/drift", encode(name))) {
            @if !shared.is_empty() { (table(&shared, &changes, name, may)) }
            @if !own.is_empty() {
                h2 { "Keys that belong to one host" }
                p { "Its name, its addresses, its files: they are meant to differ." }
                (table(&own, &changes, name, may))
            }
            @if may && !rows.is_empty() {
                p {
                    button.primary type="submit" name="act" value="there" { "Preview: give " (name) " this one's values" } " "
                    button type="submit" name="act" value="here" { "Preview: take the values of " (name) " here" }
                }
            }
        }
        p { a.button href=(format!("/scanner/{}", encode(name))) { "Back to " (name) } }
    };
    shell::with(code, shell::page(account, HERE, &title, body))
}

/// One row for each key, or for each entry that only one of the two has.
fn table(paths: &[&String], changes: &[Change], name: &str, may: bool) -> Markup {
    let side = |path: &str, of: fn(&Change) -> &Option<String>| {
        let key = changes.iter().find(|change| change.path == path);
        let entry =
            changes.iter().find(|change| change.path.strip_prefix(path).is_some_and(|rest| rest.starts_with('.')));
        match (key, entry) {
            (Some(change), _) => {
                of(change).as_ref().map_or_else(|| html! { span.quiet { "not there" } }, |value| setting::short(value))
            }
            (None, Some(change)) => {
                html! { span.quiet { @if of(change).is_some() { "has this entry" } @else { "has no such entry" } } }
            }
            (None, None) => html! {},
        }
    };
    html! {
        div.scroll tabindex="0" role="region" aria-label="Differences" { table {
            thead { tr { @if may { th { span.unseen { "Ticked" } } } th { "Setting" } th { "Here" } th { (name) } } }
            tbody { @for path in paths.iter().take(ROWS_MAX) { tr {
                @if may { td { input type="checkbox" name="path" value=(path) aria-label=(path) checked[!is_own(path)]; } }
                th scope="row" { code { (path) } }
                td.break { (side(path, |change| &change.old)) }
                td.break { (side(path, |change| &change.new)) }
            } } }
        } }
        @if paths.len() > ROWS_MAX { p { "… and " (paths.len() - ROWS_MAX) " more: bring these in line first." } }
    }
}

async fn bring(
    may: May<rights::Configure>,
    State(center): State<Center>,
    Path(name): Path<String>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let typed = Typed(fields);
    let Ok(found) = both(&center, &may.account, &name).await else {
        return show(&center, &may.account, &name, html! {}, StatusCode::OK).await;
    };
    let there = typed.of("act") == Some("there");
    let (from, to) = if there { (&found.theirs, &*found.own.settings) } else { (&*found.own.settings, &found.theirs) };
    let ticked: std::collections::BTreeSet<&str> = typed.all("path").collect();
    let all = between(from, to).into_iter();
    let edits: Vec<Edit> = all.filter(|(path, _)| ticked.contains(path.as_str())).map(|(_, edit)| edit).collect();
    let back = format!("/scanner/{}/drift", encode(&name));
    if edits.is_empty() {
        let above = shell::notice("bad", "Nothing is ticked that still differs.");
        return show(&center, &may.account, &name, above, StatusCode::UNPROCESSABLE_ENTITY).await;
    }
    if there {
        return everywhere::bring(&center, &may.account, &name, &back, edits).await;
    }
    let base = found.own.version;
    let asked =
        Asked { account: &may.account, here: HERE, back: &back, wish: Wish::Edits(edits), base, besides: html! {} };
    match change::ask(&center, &asked).await {
        Ok(answer) => answer,
        Err(complaints) => {
            let complaints: Vec<&Complaint> = complaints.iter().collect();
            show(&center, &may.account, &name, setting::complaints(&complaints), StatusCode::UNPROCESSABLE_ENTITY).await
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, get, post};
    use std::sync::Arc;

    #[tokio::test]
    async fn two_scanners_are_compared_key_by_key() {
        let (code, page) = get("ReadOnly", "/scanner/mx2/drift").await;
        assert_eq!(code, 200);
        for part in [
            "<code>queue.limit</code>",
            "<code>hostname</code>",
            "belong to one host",
            "<code>alias[a0@corp.test]</code>",
            "has no such entry",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("type=\"checkbox\""), "a reader ticks nothing");
        let (code, page) = get("Full", "/scanner/mx3/drift").await;
        assert!(code == 200 && page.contains("192.0.2.3:8025: refused"), "{page}");
        assert_eq!(get("Full", "/scanner/none/drift").await.0, 404);
    }

    #[tokio::test]
    async fn what_is_ticked_is_previewed_there_or_here() {
        let world = Arc::<World>::default();
        let (code, page) = post(&world, "Full", "/scanner/mx2/drift", "act=there&path=queue.limit").await;
        assert!(
            code == 200 && page.contains("name=\"on\" value=\"mx2\" checked") && !page.contains("This Scanner<"),
            "{page}"
        );
        let (code, page) = post(&world, "Full", "/scanner/mx2/drift", "act=here&path=queue.limit").await;
        assert!(code == 200 && page.contains("Apply now") && page.contains("<code>77</code>"), "{page}");
        let (code, page) = post(&world, "Full", "/scanner/mx2/drift", "act=here&path=nonsense").await;
        assert!(code == 422 && page.contains("Nothing is ticked"), "{page}");
        assert!(world.orders.lock().unwrap().is_empty() && world.calls.lock().unwrap().is_empty());
    }
}
