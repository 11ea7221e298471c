//! The settings for tools: the same checks, held to the version in force by `If-Match`.

use crate::page::Routes;
use crate::page::change::{self, Wish};
use crate::right::{May, rights};
use crate::{Account, Center, Order, Problem};
use axum::Json;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use decide::settings::{Edit, reference};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    change::large(
        Routes::new()
            .routes(routes!(document, put))
            .routes(routes!(keys))
            .routes(routes!(check))
            .routes(routes!(apply))
            .routes(routes!(rollback))
            .routes(routes!(history)),
    )
}

/// A key's manual entry.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct KeyEntry {
    path: String,
    default: String,
    range: String,
    doc: String,
}

/// What to change: a whole document in TOML, or edits of the one in force.
#[derive(Debug, Deserialize, utoipa::ToSchema)]
struct Proposal {
    #[serde(default)]
    text: Option<String>,
    /// Each `{"edit": "set", "path": "retry.first", "value": "\"5m\""}`, `unset`, `add`, `remove`, `include` or `exclude`.
    #[serde(default)]
    #[schema(value_type = Vec<Object>)]
    edits: Vec<Edit>,
    #[serde(default)]
    comment: String,
}

impl Proposal {
    fn wish(self) -> Wish {
        self.text.map_or(Wish::Edits(self.edits), Wish::Text)
    }
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
struct Which {
    /// Left out: the version in force.
    version: Option<i64>,
}

/// The document of a version in TOML; `ETag` is its number.
#[utoipa::path(get, path = "/api/v1/settings", tag = "settings", params(Which), responses((status = 200, body = String, content_type = "application/toml")))]
async fn document(
    may: May<rights::Look>,
    State(center): State<Center>,
    Query(which): Query<Which>,
) -> Result<Response, Problem> {
    let version = which.version.unwrap_or_else(|| center.reader.settings().version);
    let text = super::readable(&center, &may.account, version)?;
    let kind = "application/toml; charset=utf-8".to_owned();
    Ok(([(header::CONTENT_TYPE, kind), (header::ETAG, format!("\"{version}\""))], text).into_response())
}

/// Puts a document in force. `If-Match` names the version that it was made from.
#[utoipa::path(put, path = "/api/v1/settings", tag = "settings", request_body(content = String, content_type = "application/toml"), responses((status = 200), (status = 409), (status = 422)))]
async fn put(may: May<rights::Configure>, State(center): State<Center>, headers: HeaderMap, text: String) -> Response {
    carry_out(&may.account, &center, &headers, Wish::Text(text), String::new(), false).await
}

/// Every key, with default, range and meaning.
#[utoipa::path(get, path = "/api/v1/settings/keys", tag = "settings", responses((status = 200, body = Vec<KeyEntry>)))]
async fn keys(_: May<rights::Look>) -> Json<Vec<KeyEntry>> {
    let entry = |doc: decide::settings::SettingDoc| KeyEntry {
        path: doc.path,
        default: doc.default,
        range: doc.range,
        doc: doc.doc.to_owned(),
    };
    Json(reference().into_iter().map(entry).collect())
}

/// All versions, newest first.
#[utoipa::path(get, path = "/api/v1/settings/versions", tag = "settings", responses((status = 200, body = Vec<crate::Version>)))]
async fn history(_: May<rights::Look>, State(center): State<Center>) -> Result<Json<Vec<crate::Version>>, Problem> {
    Ok(Json(center.reader.settings_history()?))
}

/// What a change comes to: the difference and all complaints. Nothing is changed.
#[utoipa::path(post, path = "/api/v1/settings/check", tag = "settings", request_body = Proposal, responses((status = 200), (status = 422)))]
async fn check(
    may: May<rights::Look>,
    State(center): State<Center>,
    headers: HeaderMap,
    Json(proposal): Json<Proposal>,
) -> Response {
    carry_out(&may.account, &center, &headers, proposal.wish(), String::new(), true).await
}

/// Makes a change and puts it in force.
#[utoipa::path(post, path = "/api/v1/settings/apply", tag = "settings", request_body = Proposal, responses((status = 200), (status = 409), (status = 422)))]
async fn apply(
    may: May<rights::Configure>,
    State(center): State<Center>,
    headers: HeaderMap,
    Json(proposal): Json<Proposal>,
) -> Response {
    let comment = proposal.comment.clone();
    carry_out(&may.account, &center, &headers, proposal.wish(), comment, false).await
}

/// Makes a new version with the text of an earlier one; left out: of the one before. `If-Match` names the version that must be in force.
#[utoipa::path(post, path = "/api/v1/settings/rollback", tag = "settings", params(Which), responses((status = 200), (status = 404, body = Problem), (status = 409), (status = 422)))]
async fn rollback(
    may: May<rights::Configure>,
    State(center): State<Center>,
    headers: HeaderMap,
    Query(which): Query<Which>,
) -> Response {
    let version = which.version.unwrap_or_else(|| center.reader.settings().version - 1);
    carry_out(&may.account, &center, &headers, Wish::Version(version), String::new(), false).await
}

/// The version that a request was made for; without `If-Match`, or with `*`, the one in force (RFC 9110 13.1.1).
fn base(center: &Center, headers: &HeaderMap) -> Result<i64, Problem> {
    let now = center.reader.settings().version;
    let Some(tag) = headers.get(header::IF_MATCH) else { return Ok(now) };
    let tag = tag.to_str().unwrap_or_default().trim();
    let wrong = |_| Problem::Field {
        field: "If-Match".to_owned(),
        what: "must be a version's number, such as \"7\"".to_owned(),
    };
    if tag == "*" { Ok(now) } else { tag.trim_matches('"').parse().map_err(wrong) }
}

fn code(found: &change::Preview) -> StatusCode {
    if found.is_good() { StatusCode::OK } else { StatusCode::UNPROCESSABLE_ENTITY }
}

pub(crate) fn said(found: &change::Preview) -> Value {
    let complaint = |complaint: &decide::settings::Complaint| json!({ "path": complaint.path, "line": complaint.line, "value": complaint.value, "problem": complaint.problem, "suggestion": complaint.suggestion });
    let changes = |changes: &[decide::settings::Change]| -> Value {
        changes.iter().map(|change| json!({ "path": change.path, "old": change.old, "new": change.new })).collect()
    };
    json!({
        "version": found.now.version,
        "file": found.now.file,
        "changes": changes(&found.changes),
        "complaints": found.checked.complaints.iter().map(complaint).collect::<Vec<_>>(),
        "notes": found.checked.notes.iter().map(complaint).collect::<Vec<_>>(),
        "collisions": found.meanwhile.as_ref().map(|meanwhile| changes(&meanwhile.collisions)),
    })
}

/// Holds a wish to the version that it was made from and puts it in force; with `dry_run`, says only what it comes to.
pub(crate) async fn carry_out(
    by: &Account,
    center: &Center,
    headers: &HeaderMap,
    wish: Wish,
    comment: String,
    dry_run: bool,
) -> Response {
    let (found, base) = match base(center, headers) {
        Ok(base) => match change::preview(center, base, &wish).await {
            Ok(found) => (found, base),
            Err(problem) => return problem.into_response(),
        },
        Err(problem) => return problem.into_response(),
    };
    if dry_run {
        return (code(&found), Json(said(&found))).into_response();
    }
    if let Some(file) = &found.now.file {
        let what =
            format!("the settings belong to the file {file} (settings_file in gatepost.toml): change them there");
        return Problem::Conflict { what }.into_response();
    }
    if found.meanwhile.is_some() {
        return (StatusCode::CONFLICT, Json(said(&found))).into_response();
    }
    if !found.is_good() {
        return (StatusCode::UNPROCESSABLE_ENTITY, Json(said(&found))).into_response();
    }
    let changes = said(&found)["changes"].take();
    let order = match wish {
        Wish::Version(version) => {
            Order::SettingsRollback { version: u64::try_from(version).unwrap_or_default(), base: Some(base) }
        }
        Wish::Edits(_) | Wish::Text(_) => Order::SettingsApply { text: found.text, comment, base: Some(base) },
    };
    match center.orders.order(by, order, false).await {
        Ok(done) => Json(json!({ "version": done.made, "changes": changes })).into_response(),
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use crate::Order;
    use crate::testing::{World, ask, get};
    use axum::http::Request;
    use std::sync::Arc;

    async fn send(world: &Arc<World>, method: &str, path: &str, matches: &str, body: &str) -> (u16, String) {
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("content-type", "application/json")
            .header("if-match", matches);
        let (code, text) = ask(world, "Full", request.body(body.to_owned()).unwrap()).await;
        (code.as_u16(), text)
    }

    #[tokio::test]
    async fn a_change_made_from_an_older_version_is_refused() {
        let world = Arc::<World>::default();
        let edits = r#"{"edits":[{"edit":"set","path":"queue.limit","value":"9"}]}"#;
        let (code, text) = send(&world, "POST", "/api/v1/settings/apply", "\"1\"", edits).await;
        assert!(code == 409 && text.contains("collisions") && text.contains("5000"), "{text}");
        assert_eq!(send(&world, "POST", "/api/v1/settings/apply", "\"2\"", edits).await.0, 200);
        assert_eq!(world.orders.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_rollback_is_held_to_the_version_that_was_seen() {
        let world = Arc::<World>::default();
        let path = "/api/v1/settings/rollback?version=1";
        assert_eq!(send(&world, "POST", path, "\"1\"", "").await.0, 409);
        assert_eq!(send(&world, "POST", path, "seven", "").await.0, 422);
        assert!(world.orders.lock().unwrap().is_empty());
        assert_eq!(send(&world, "POST", path, "\"2\"", "").await.0, 200);
        assert_eq!(*world.orders.lock().unwrap(), [Order::SettingsRollback { version: 1, base: Some(2) }]);
        assert_eq!(send(&world, "POST", "/api/v1/settings/rollback?version=77", "*", "").await.0, 404);
    }

    #[tokio::test]
    async fn settings_that_belong_to_a_file_are_changed_there() {
        let world =
            Arc::new(World { settings_file: Some("/etc/gatepost/settings.toml".to_owned()), ..World::default() });
        for (method, path, body) in [
            ("PUT", "/api/v1/settings", "mode = \"drain\""),
            ("POST", "/api/v1/settings/apply", "{}"),
            ("POST", "/api/v1/settings/rollback", ""),
        ] {
            let (code, text) = send(&world, method, path, "\"2\"", body).await;
            assert!(code == 409 && text.contains("/etc/gatepost/settings.toml"), "{path}: {code} {text}");
        }
        assert!(world.orders.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_check_names_every_mistake_and_changes_nothing() {
        let world = Arc::<World>::default();
        let (code, text) =
            send(&world, "POST", "/api/v1/settings/check", "\"2\"", r#"{"text":"mode = 5\nhostnam = 1"}"#).await;
        assert!(code == 422 && text.contains("\"path\":\"mode\"") && text.contains("\"path\":\"hostnam\""), "{text}");
        assert!(world.orders.lock().unwrap().is_empty());
        let (code, text) = get("ReadOnly", "/api/v1/settings/keys").await;
        assert!(code == 200 && text.contains("listener.inbound.connections"), "{text}");
    }
}
