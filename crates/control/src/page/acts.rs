//! Acts: what administrators did, each order, change and sign-in, with who, when and from where.

use crate::page::{Routes, problem};
use crate::part::{shell, time};
use crate::right::{May, rights};
use crate::{Act, Center, Problem};
use axum::Json;
use axum::extract::{Query, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::Value;
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new().route("/acts", get(page)).routes(routes!(list))
}

/// Acts shown at once; a narrower search finds older ones.
const SHOWN_MAX: usize = 200;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
struct Asked {
    /// Part of a name, an address, an act or its particulars.
    q: String,
}

/// What administrators did, newest first, at most 200.
#[utoipa::path(get, path = "/api/v1/acts", tag = "administration", params(Asked), responses((status = 200, body = Vec<Act>)))]
async fn list(
    _: May<rights::Administer>,
    State(center): State<Center>,
    Query(asked): Query<Asked>,
) -> Result<Json<Vec<Act>>, Problem> {
    center.accounts.acts(asked.q.trim(), SHOWN_MAX).await.map(Json)
}

async fn page(may: May<rights::Administer>, State(center): State<Center>, Query(asked): Query<Asked>) -> Response {
    match center.accounts.acts(asked.q.trim(), SHOWN_MAX).await {
        Err(failed) => problem::page(&may.account, &failed),
        Ok(acts) => shell::page(&may.account, "/acts", "Administrators' acts", body(&acts, &asked.q)).into_response(),
    }
}

fn body(acts: &[Act], term: &str) -> Markup {
    html! {
        form.row method="get" action="/acts" role="search" {
            div.field { label for="q" { "Find" } input #q type="search" name="q" value=(term) placeholder="Name, address, order, Audit ID …"; }
            button type="submit" { "Find" }
        }
        @if acts.is_empty() { (shell::empty(if term.is_empty() { "Nobody has done anything yet." } else { "Nothing was done that fits." })) } @else {
            div.scroll tabindex="0" role="region" aria-label="Acts" { table {
                thead { tr { th { "Time (UTC)" } th { "Who" } th { "From" } th { "What" } th { "Particulars" } } }
                tbody { @for act in acts { tr {
                    td { (time::exact(act.at)) }
                    td { (act.who) }
                    td { (act.place) }
                    td { (act.what) }
                    td.break { (particulars(&act.fields)) }
                } } }
            } }
            @if acts.len() == SHOWN_MAX { p.quiet { "The newest " (SHOWN_MAX) ". A narrower search finds older ones." } }
        }
    }
}

/// `count 3, which domain=corp.test`: names and values, nothing that is empty.
fn particulars(fields: &Value) -> String {
    let Some(fields) = fields.as_object() else { return String::new() };
    let said = fields.iter().filter(|(_, value)| !is_nothing(value));
    said.map(|(name, value)| format!("{name}: {}", words(value))).collect::<Vec<_>>().join(", ")
}

fn is_nothing(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Object(fields) => fields.values().all(is_nothing),
        _ => false,
    }
}

fn words(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(list) => list.iter().map(words).collect::<Vec<_>>().join(" "),
        Value::Object(fields) => {
            let said = fields.iter().filter(|(_, value)| !is_nothing(value));
            said.map(|(name, value)| format!("{name}={}", words(value))).collect::<Vec<_>>().join(" ")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::get;

    #[tokio::test]
    async fn who_did_what_from_where() {
        let (code, page) = get("Full", "/acts?q=delete").await;
        assert!(code == 200 && page.contains("192.0.2.7") && page.contains("which: domain=corp.test"), "{page}");
        assert_eq!(get("Operator", "/acts").await.0, 403);
    }

    #[test]
    fn particulars_leave_out_what_says_nothing() {
        let fields =
            serde_json::json!({ "count": 3, "which": { "ids": [], "domain": "a.test" }, "why": "", "x": null });
        assert_eq!(particulars(&fields), "count: 3, which: domain=a.test");
    }
}
