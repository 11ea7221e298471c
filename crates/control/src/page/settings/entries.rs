//! Entries of the settings' lists for tools: domains, aliases, masquerades, users and the rest, one at a time or many; the
//! recipients of a domain; single keys, such as routes. Checked, held to a version and tried out as every change of settings.

use super::api::carry_out;
use crate::page::Routes;
use crate::page::change::{self, Wish};
use crate::part::setting;
use crate::right::{May, rights};
use crate::{Center, Document, Problem};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use decide::settings::{Edit, Key, LocalDomain, Part, entries, keys};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    change::large(
        Routes::new()
            .routes(routes!(lists))
            .routes(routes!(list, add))
            .routes(routes!(show, update, remove))
            .routes(routes!(recipients, replace_recipients, change_recipients, drop_recipients))
            .routes(routes!(values, set_values)),
    )
}

/// Entries in one answer.
const LIMIT_MAX: usize = 10_000;
const LIMIT: usize = 100;

type Fields = Map<String, Value>;

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct Wanted {
    /// Part of a name or value.
    q: String,
    skip: usize,
    /// 100 if left out, 10,000 at most.
    limit: Option<usize>,
}

impl Wanted {
    fn limit(&self) -> usize {
        self.limit.unwrap_or(LIMIT).min(LIMIT_MAX)
    }
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct How {
    /// Says what would change, and all complaints; changes nothing.
    dry_run: bool,
    /// Why; it stands in the history of versions.
    comment: String,
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Listed {
    list: String,
    entries: usize,
    /// What an entry has; the first is its name.
    keys: Vec<String>,
}

/// A part of a list.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Extract {
    /// The settings version that it is from.
    version: i64,
    /// Entries that match, shown or not.
    total: usize,
    #[schema(value_type = Vec<Object>)]
    entries: Vec<Value>,
}

fn tagged(version: i64, body: impl Serialize) -> Response {
    ([(header::ETAG, format!("\"{version}\""))], Json(body)).into_response()
}

fn unknown(what: String) -> Problem {
    Problem::Unknown { what }
}

fn known(list: &str) -> Result<(), Problem> {
    let is_there = setting::lists().iter().any(|known| known == list);
    if is_there { Ok(()) } else { Err(unknown(format!("there is no list {list:?}; /api/v1/lists names them"))) }
}

/// What a key is, as JSON. Secrets are left out, and the recipients of domains, which have an address of their own.
fn fields(row: &[Key]) -> Value {
    let shown = row.iter().filter(|key| !key.secret && !is_recipients(key));
    shown.map(|key| (key.name.to_owned(), value(key))).collect()
}

fn value(key: &Key) -> Value {
    key.toml().and_then(|value| serde_json::to_value(value).ok()).unwrap_or(Value::Null)
}

fn is_recipients(key: &Key) -> bool {
    key.name == "recipients" && key.table.starts_with("domain[")
}

/// A JSON value as TOML writes it; `None`: null.
fn toml(value: &Value) -> Option<String> {
    Some(match value {
        Value::Null => return None,
        Value::Array(items) => format!("[{}]", items.iter().filter_map(toml).collect::<Vec<_>>().join(", ")),
        Value::Object(fields) => {
            let pair = |(key, value): (&String, &Value)| Some(format!("{} = {}", json!(key), toml(value)?));
            format!("{{ {} }}", fields.iter().filter_map(pair).collect::<Vec<_>>().join(", "))
        }
        // What JSON writes for texts, numbers and yes or no, TOML reads.
        other => other.to_string(),
    })
}

/// The lists that there are.
#[utoipa::path(get, path = "/api/v1/lists", tag = "lists", responses((status = 200, body = Vec<Listed>)))]
async fn lists(_: May<rights::Look>, State(center): State<Center>) -> Json<Vec<Listed>> {
    let settings = center.reader.settings().settings;
    let one = |list: String| Listed {
        entries: entries(&settings, &list, "", 0, 0).0,
        keys: keys(&settings, Part::New(&list)).iter().map(|key| key.name.to_owned()).collect(),
        list,
    };
    Json(setting::lists().into_iter().map(one).collect())
}

/// Entries of a list; `ETag` is the version of the settings.
#[utoipa::path(get, path = "/api/v1/lists/{list}", tag = "lists", params(("list" = String, Path), Wanted), responses((status = 200, body = Extract), (status = 404, body = Problem)))]
async fn list(
    _: May<rights::Look>,
    State(center): State<Center>,
    Path(list): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    known(&list)?;
    let now = center.reader.settings();
    let (total, rows) = entries(&now.settings, &list, &wanted.q, wanted.skip, wanted.limit());
    let entries = rows.iter().map(|row| fields(row)).collect();
    Ok(tagged(now.version, Extract { version: now.version, total, entries }))
}

/// Adds an entry, such as `{"from": "a@corp.example", "to": ["b@corp.example"]}`, or a list of them in one version. `If-Match` names
/// the version that it was made from.
#[utoipa::path(post, path = "/api/v1/lists/{list}", tag = "lists", params(("list" = String, Path), How), request_body = Object, responses((status = 200), (status = 404, body = Problem), (status = 409), (status = 422)))]
async fn add(
    may: May<rights::Configure>,
    State(center): State<Center>,
    headers: HeaderMap,
    Path(list): Path<String>,
    Query(how): Query<How>,
    Json(body): Json<Value>,
) -> Result<Response, Problem> {
    known(&list)?;
    let given = match body {
        Value::Array(items) => items,
        one => vec![one],
    };
    let add = |entry: Value| {
        let Value::Object(fields) = entry else {
            let what = "must be an object of an entry's keys, or a list of such objects".to_owned();
            return Err(Problem::Field { field: list.clone(), what });
        };
        let keys = fields.into_iter().filter_map(|(key, value)| toml(&value).map(|value| (key, value))).collect();
        Ok(Edit::Add { list: list.clone(), keys })
    };
    let edits = given.into_iter().map(add).collect::<Result<Vec<_>, _>>()?;
    Ok(carry_out(&may.account, &center, &headers, Wish::Edits(edits), how.comment, how.dry_run).await)
}

/// An entry's keys, if it is there.
fn entry(now: &Document, list: &str, name: &str) -> Result<(String, Vec<Key>), Problem> {
    known(list)?;
    let path = format!("{list}[{name}]");
    let found = keys(&now.settings, Part::Entry(&path));
    if found.is_empty() { Err(unknown(format!("there is no {path}"))) } else { Ok((path, found)) }
}

/// One entry, with the defaults of what it leaves out.
#[utoipa::path(get, path = "/api/v1/lists/{list}/{name}", tag = "lists", params(("list" = String, Path), ("name" = String, Path)), responses((status = 200, body = Object), (status = 404, body = Problem)))]
async fn show(
    _: May<rights::Look>,
    State(center): State<Center>,
    Path((list, name)): Path<(String, String)>,
) -> Result<Response, Problem> {
    let now = center.reader.settings();
    let (_, found) = entry(&now, &list, &name)?;
    Ok(tagged(now.version, fields(&found)))
}

/// Changes keys of an entry; null takes a key away, so that its default is in force.
#[utoipa::path(patch, path = "/api/v1/lists/{list}/{name}", tag = "lists", params(("list" = String, Path), ("name" = String, Path), How), request_body = Object, responses((status = 200), (status = 404, body = Problem), (status = 409), (status = 422)))]
async fn update(
    may: May<rights::Configure>,
    State(center): State<Center>,
    headers: HeaderMap,
    Path((list, name)): Path<(String, String)>,
    Query(how): Query<How>,
    Json(body): Json<Fields>,
) -> Result<Response, Problem> {
    let (path, _) = entry(&center.reader.settings(), &list, &name)?;
    let edits = body.iter().map(|(key, value)| set(format!("{path}.{key}"), value)).collect();
    Ok(carry_out(&may.account, &center, &headers, Wish::Edits(edits), how.comment, how.dry_run).await)
}

fn set(path: String, value: &Value) -> Edit {
    match toml(value) {
        Some(value) => Edit::Set { path, value },
        None => Edit::Unset { path },
    }
}

/// Removes an entry.
#[utoipa::path(delete, path = "/api/v1/lists/{list}/{name}", tag = "lists", params(("list" = String, Path), ("name" = String, Path), How), responses((status = 200), (status = 404, body = Problem), (status = 409), (status = 422)))]
async fn remove(
    may: May<rights::Configure>,
    State(center): State<Center>,
    headers: HeaderMap,
    Path((list, name)): Path<(String, String)>,
    Query(how): Query<How>,
) -> Result<Response, Problem> {
    let (path, _) = entry(&center.reader.settings(), &list, &name)?;
    let edits = vec![Edit::Remove { path }];
    Ok(carry_out(&may.account, &center, &headers, Wish::Edits(edits), how.comment, how.dry_run).await)
}

fn domain<'s>(now: &'s Document, name: &str) -> Result<(&'s LocalDomain, String), Problem> {
    let found = now.settings.domains.find(name).ok_or_else(|| unknown(format!("there is no domain {name}")))?;
    Ok((found, format!("domain[{}].recipients", found.name.ascii())))
}

#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Recipients {
    version: i64,
    /// None is kept: every recipient is valid.
    unlisted: bool,
    /// Those that match, shown or not.
    total: usize,
    recipients: Vec<String>,
}

/// The valid recipients of a domain.
#[utoipa::path(get, path = "/api/v1/lists/domain/{name}/recipients", tag = "lists", params(("name" = String, Path), Wanted), responses((status = 200, body = Recipients), (status = 404, body = Problem)))]
async fn recipients(
    _: May<rights::Look>,
    State(center): State<Center>,
    Path(name): Path<String>,
    Query(wanted): Query<Wanted>,
) -> Result<Response, Problem> {
    let now = center.reader.settings();
    let (found, _) = domain(&now, &name)?;
    let text = wanted.q.to_lowercase();
    let all = found.recipients.iter().flat_map(|list| list.iter()).map(ToString::to_string);
    let matching: Vec<String> = all.filter(|address| address.to_lowercase().contains(&text)).collect();
    let total = matching.len();
    let recipients = matching.into_iter().skip(wanted.skip).take(wanted.limit()).collect();
    Ok(tagged(
        now.version,
        Recipients { version: now.version, unlisted: found.recipients.is_none(), total, recipients },
    ))
}

/// Makes the list of valid recipients exactly this one.
#[utoipa::path(put, path = "/api/v1/lists/domain/{name}/recipients", tag = "lists", params(("name" = String, Path), How), request_body = Vec<String>, responses((status = 200), (status = 404, body = Problem), (status = 409), (status = 422)))]
async fn replace_recipients(
    may: May<rights::Configure>,
    State(center): State<Center>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(how): Query<How>,
    Json(items): Json<Vec<String>>,
) -> Result<Response, Problem> {
    let (_, path) = domain(&center.reader.settings(), &name)?;
    // An edit of its own empties the list first, so that the rest is laid out anew.
    let empty = Edit::Set { path: path.clone(), value: "[]".to_owned() };
    let wish = Wish::Edits(vec![empty, Edit::Include { path, items }]);
    Ok(carry_out(&may.account, &center, &headers, wish, how.comment, how.dry_run).await)
}

#[derive(Debug, Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
struct Differing {
    add: Vec<String>,
    remove: Vec<String>,
}

/// Adds valid recipients and removes others.
#[utoipa::path(patch, path = "/api/v1/lists/domain/{name}/recipients", tag = "lists", params(("name" = String, Path), How), request_body = Differing, responses((status = 200), (status = 404, body = Problem), (status = 409), (status = 422)))]
async fn change_recipients(
    may: May<rights::Configure>,
    State(center): State<Center>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(how): Query<How>,
    Json(wanted): Json<Differing>,
) -> Result<Response, Problem> {
    let (_, path) = domain(&center.reader.settings(), &name)?;
    let Differing { add, remove } = wanted;
    let remove = (!remove.is_empty()).then(|| Edit::Exclude { path: path.clone(), items: remove });
    let add = (!add.is_empty()).then_some(Edit::Include { path, items: add });
    let wish = Wish::Edits(remove.into_iter().chain(add).collect());
    Ok(carry_out(&may.account, &center, &headers, wish, how.comment, how.dry_run).await)
}

/// Gives the list up: every recipient is valid.
#[utoipa::path(delete, path = "/api/v1/lists/domain/{name}/recipients", tag = "lists", params(("name" = String, Path), How), responses((status = 200), (status = 404, body = Problem), (status = 409), (status = 422)))]
async fn drop_recipients(
    may: May<rights::Configure>,
    State(center): State<Center>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(how): Query<How>,
) -> Result<Response, Problem> {
    let (_, path) = domain(&center.reader.settings(), &name)?;
    let wish = Wish::Edits(vec![Edit::Unset { path }]);
    Ok(carry_out(&may.account, &center, &headers, wish, how.comment, how.dry_run).await)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct Under {
    /// Only keys that begin so, such as `route.`
    under: String,
}

/// What keys outside lists are now, such as `route.other.next_hops`.
#[utoipa::path(get, path = "/api/v1/settings/values", tag = "settings", params(Under), responses((status = 200, body = Object)))]
async fn values(_: May<rights::Look>, State(center): State<Center>, Query(wanted): Query<Under>) -> Response {
    let now = center.reader.settings();
    let all = keys(&now.settings, Part::Tables).into_iter();
    let shown = all.filter(|key| !key.secret && key.path.starts_with(&wanted.under));
    let values: Fields = shown.map(|key| (key.path.clone(), value(&key))).collect();
    tagged(now.version, values)
}

/// Changes keys by their whole names; null takes a key away, so that its default is in force.
#[utoipa::path(patch, path = "/api/v1/settings/values", tag = "settings", params(How), request_body = Object, responses((status = 200), (status = 409), (status = 422)))]
async fn set_values(
    may: May<rights::Configure>,
    State(center): State<Center>,
    headers: HeaderMap,
    Query(how): Query<How>,
    Json(body): Json<Fields>,
) -> Response {
    let edits = body.iter().map(|(path, value)| set(path.clone(), value)).collect();
    carry_out(&may.account, &center, &headers, Wish::Edits(edits), how.comment, how.dry_run).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Order;
    use crate::testing::{World, send};
    use std::sync::Arc;

    async fn asked(path: &str) -> Value {
        let (code, text) = send(&Arc::default(), "ReadOnly", "GET", path, "").await;
        assert_eq!(code, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    /// What the settings would be after it, as the one order says.
    async fn after(method: &str, path: &str, body: &str) -> String {
        let world = Arc::<World>::default();
        let dry = format!("{path}?dry_run=true");
        let (code, text) = send(&world, "Full", method, &dry, body).await;
        assert!(code == 200 && world.orders.lock().unwrap().is_empty(), "{code} {text}");
        let (code, said) = send(&world, "Full", method, path, body).await;
        assert_eq!(code, 200, "{said}");
        let changes = |text: &str| serde_json::from_str::<Value>(text).unwrap()["changes"].clone();
        assert_eq!(changes(&text), changes(&said), "the dry run says what is done");
        match world.orders.lock().unwrap().as_slice() {
            [Order::SettingsApply { text, base: Some(2), .. }] => text.clone(),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn lists_are_read_in_parts_and_without_secrets() {
        let lists = asked("/api/v1/lists").await;
        let alias = lists.as_array().unwrap().iter().find(|one| one["list"] == "alias").unwrap();
        assert_eq!((&alias["entries"], &alias["keys"][0]), (&json!(120), &json!("from")));
        let part = asked("/api/v1/lists/alias?q=box11&limit=2&skip=1").await;
        assert_eq!((&part["total"], part["entries"].as_array().unwrap().len()), (&json!(11), 2));
        assert_eq!(asked("/api/v1/lists/alias/a7@corp.test").await["to"], json!(["box7@corp.test"]));
        let domain = asked("/api/v1/lists/domain/corp.test").await;
        assert!(domain["next_hops"] == json!(["192.0.2.25"]) && domain.get("recipients").is_none(), "{domain}");
        for path in ["/api/v1/lists/nothing", "/api/v1/lists/alias/nobody", "/api/v1/lists/domain/x.test/recipients"] {
            assert_eq!(send(&Arc::default(), "Full", "GET", path, "").await.0, 404, "{path}");
        }
    }

    #[tokio::test]
    async fn entries_are_added_changed_and_removed() {
        let text = after("POST", "/api/v1/lists/alias", r#"{"from":"x@corp.test","to":["y@corp.test"]}"#).await;
        assert!(text.contains("from = \"x@corp.test\"") && text.contains("# cellar"), "{text}");
        let many = r#"[{"from":"x@corp.test","to":["y@corp.test"]},{"from":"z@corp.test","to":["y@corp.test"]}]"#;
        assert!(after("POST", "/api/v1/lists/alias", many).await.contains("z@corp.test"));
        let text =
            after("PATCH", "/api/v1/lists/domain/corp.test", r#"{"next_hops":[{"host":"a.test","preference":5}]}"#)
                .await;
        assert!(text.contains("\"host\" = \"a.test\"") || text.contains("host = \"a.test\""), "{text}");
        assert!(!after("DELETE", "/api/v1/lists/alias/a7@corp.test", "").await.contains("\"a7@corp.test\""));
        let world = Arc::<World>::default();
        let (code, text) = send(&world, "Full", "POST", "/api/v1/lists/alias", r#"{"from":5}"#).await;
        assert!(code == 422 && text.contains("complaints") && text.contains(".from"), "{code} {text}");
        assert_eq!(send(&world, "Full", "POST", "/api/v1/lists/alias", "[7]").await.0, 422);
        assert_eq!(send(&world, "Full", "PATCH", "/api/v1/lists/alias/nobody", "{}").await.0, 404);
    }

    #[tokio::test]
    async fn recipients_come_and_go() {
        let path = "/api/v1/lists/domain/corp.test/recipients";
        let found = asked(&format!("{path}?q=BOB")).await;
        assert_eq!((&found["total"], &found["recipients"]), (&json!(1), &json!(["bob@corp.test"])));
        let text = after("PATCH", path, r#"{"add":["cy@corp.test"],"remove":["ann@corp.test"]}"#).await;
        assert!(
            text.contains("cy@corp.test") && text.contains("bob@corp.test") && !text.contains("ann@corp.test"),
            "{text}"
        );
        let text = after("PUT", path, r#"["cy@corp.test"]"#).await;
        assert!(text.contains("cy@corp.test") && !text.contains("bob@corp.test"), "{text}");
        assert!(!after("DELETE", path, "").await.contains("bob@corp.test"));
    }

    #[tokio::test]
    async fn routes_are_keys_that_are_read_and_set() {
        assert_eq!(asked("/api/v1/settings/values?under=queue.limit").await["queue.limit"], 5000);
        let text =
            after("PATCH", "/api/v1/settings/values", r#"{"route.other.next_hops":["192.0.2.9"],"queue.limit":null}"#)
                .await;
        assert!(text.contains("192.0.2.9") && !text.contains("limit = 5000"), "{text}");
    }
}
