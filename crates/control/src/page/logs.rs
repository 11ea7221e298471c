//! Logs: the log file from its end, filtered, followed while it is written, and as a download.

use crate::page::{Routes, problem};
use crate::part::form::{self, Field};
use crate::part::{self, live, shell};
use crate::right::{May, rights};
use crate::{Center, LogAsked, LogFile, LogLine, LogPage, Problem};
use axum::Json;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/logs", get(page))
        .route("/logs/events", get(events))
        .route("/logs/download", get(download))
        .routes(routes!(api))
}

/// Lines of a page.
const LINES: usize = 200;
/// How long the events wait for a line before they look whether somebody still listens.
const STEP_MS: u64 = 5_000;
/// Tags that the log writes.
const TAGS: [&str; 9] =
    ["ML-ACCEPT", "ML-REJECT", "ML-DELIVERY", "ML-TRANSFAIL", "ML-PERMFAIL", "ML-LOOP", "ML-HOLD", "ALERT", "ORDER"];

/// Where to look, beside what for.
#[derive(Clone, Debug, Default, Deserialize, utoipa::IntoParams)]
#[serde(default)]
struct Place {
    /// `before` of the page after.
    before: String,
    /// Behind this octet.
    after: Option<u64>,
}

impl Place {
    fn before(&self) -> Option<&str> {
        Some(self.before.as_str()).filter(|before| !before.is_empty())
    }
}

/// Which file to take away. Empty: the one that is written to.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Taken {
    file: String,
}

/// Lines of the log, the newest last.
#[utoipa::path(get, path = "/api/v1/logs", tag = "logs", params(LogAsked, Place), responses((status = 200, body = LogPage), (status = 422, body = Problem)))]
async fn api(
    _: May<rights::Look>,
    State(center): State<Center>,
    Query(asked): Query<LogAsked>,
    Query(place): Query<Place>,
) -> Result<Json<LogPage>, Problem> {
    match place.after {
        Some(after) => center.reader.log_after(&asked, after, 0).await.map(Json),
        None => center.reader.log(&asked, place.before(), LINES).await.map(Json),
    }
}

async fn page(
    may: May<rights::Look>,
    State(center): State<Center>,
    Query(asked): Query<LogAsked>,
    Query(place): Query<Place>,
) -> Response {
    match center.reader.log(&asked, place.before(), LINES).await {
        Ok(found) => shell::page(&may.account, "/logs", "Logs", body(&asked, &place, &found)).into_response(),
        Err(error) => problem::page(&may.account, &error),
    }
}

fn body(asked: &LogAsked, place: &Place, found: &LogPage) -> Markup {
    let is_newest = place.before().is_none();
    let live = is_newest.then(|| format!("/logs/events?{}", address(asked, Some(("after", &found.end.to_string())))));
    html! {
        (filter(asked))
        p.row {
            @if let Some(before) = &found.before { a.button href=(format!("/logs?{}", address(asked, Some(("before", before))))) { (if found.lines.is_empty() { "Look further back" } else { "Older" }) } }
            @if !is_newest { a.button href=(format!("/logs?{}", address(asked, None))) { "Newest" } }
            @for file in found.files.iter().take(1) { (download_of(file)) }
            span.quiet { (part::bytes(found.looked)) " looked at" @if live.is_some() { "; new lines appear below by themselves" } }
        }
        @if found.files.len() > 1 || found.compressed > 0 { details {
            summary { "Older files" }
            p.quiet { "Those are looked through as well, file after file." @if found.compressed > 0 { " " (found.compressed) " compressed " (if found.compressed == 1 { "one is" } else { "ones are" }) " not." } }
            p.row { @for file in found.files.iter().skip(1) { (download_of(file)) } }
        } }
        @if found.lines.is_empty() { (shell::empty(if found.before.is_some() { "Nothing that matches among what was looked at so far." } else { "Nothing matches." })) }
        ol.log #lines data-mode="append" data-live=[live] data-events="lines" { (lines(&found.lines)) }
    }
}

fn filter(asked: &LogAsked) -> Markup {
    let field = |name, label, value| Field { name, label, value, ..Field::default() };
    let tags: Vec<(&str, &str)> = std::iter::once(("", "any")).chain(TAGS.map(|tag| (tag, tag))).collect();
    html! {
        form.filter action="/logs" method="get" {
            div.row {
                (form::text("search", field("text", "Text", &asked.text)))
                (form::text("search", field("id", "Audit ID", &asked.id)))
                (form::select(&tags, field("tag", "Tag", &asked.tag)))
                (form::select(&[("", "any"), ("info", "info"), ("notice", "notice"), ("warning", "warning")], field("level", "Level", &asked.level)))
                (form::text("search", Field { hint: "2026-11-25 14:00, as in the log", ..field("from", "From", &asked.from) }))
                (form::text("search", field("until", "Until", &asked.until)))
                div.buttons {
                    button.primary type="submit" { "Show" }
                    @if *asked != LogAsked::default() { a.button href="/logs" { "Show all" } }
                }
            }
        }
    }
}

fn download_of(file: &LogFile) -> Markup {
    html! { a.button href=(format!("/logs/download?file={}", part::encode(&file.name))) { "Download " (file.name) " (" (part::bytes(file.size)) ")" } }
}

fn address(asked: &LogAsked, place: Option<(&str, &str)>) -> String {
    let fields = [
        ("text", &asked.text),
        ("id", &asked.id),
        ("tag", &asked.tag),
        ("level", &asked.level),
        ("from", &asked.from),
        ("until", &asked.until),
    ];
    let given = fields.iter().filter(|(_, value)| !value.is_empty());
    let given = given.map(|(name, value)| format!("{name}={}", part::encode(value)));
    given.chain(place.map(|(name, value)| format!("{name}={value}"))).collect::<Vec<_>>().join("&")
}

fn lines(lines: &[LogLine]) -> Markup {
    html! {
        @for line in lines {
            li {
                span.when { (line.time) } " "
                @if !line.tag.is_empty() { (shell::badge(if line.level == "warning" { "warn" } else { "plain" }, &line.tag)) " " }
                @if !line.audit_id.is_empty() { a href=(format!("/message/{}", line.audit_id)) { (line.audit_id) } " " }
                span { (line.text) }
            }
        }
    }
}

/// New lines that match, as they are written.
async fn events(
    may: May<rights::Look>,
    State(center): State<Center>,
    Query(asked): Query<LogAsked>,
    Query(place): Query<Place>,
) -> Response {
    let (sender, receiver) = tokio::sync::mpsc::channel(16);
    let reader = center.reader.clone();
    tokio::spawn(async move {
        let mut from = place.after.unwrap_or(u64::MAX);
        while !sender.is_closed() {
            let Ok(found) = reader.log_after(&asked, from, STEP_MS).await else { return };
            from = found.end;
            if !found.lines.is_empty() && sender.send(live::fragment("lines", lines(&found.lines))).await.is_err() {
                return;
            }
        }
    });
    live::events(may, &center, receiver)
}

async fn download(may: May<rights::Look>, State(center): State<Center>, Query(taken): Query<Taken>) -> Response {
    let mut octets = match center.reader.log_octets(&taken.file, 0).await {
        Ok(octets) => octets,
        Err(error) => return problem::page(&may.account, &error),
    };
    let (sender, receiver) = tokio::sync::mpsc::channel::<Bytes>(4);
    tokio::spawn(async move {
        let mut from = 0;
        while !octets.is_empty() {
            from += octets.len() as u64;
            if sender.send(octets.into()).await.is_err() {
                return;
            }
            let Ok(more) = center.reader.log_octets(&taken.file, from).await else { return };
            octets = more;
        }
    });
    let headers = [
        (header::CONTENT_TYPE, "text/plain; charset=utf-8"),
        (header::CONTENT_DISPOSITION, "attachment; filename=\"maillog.txt\""),
    ];
    (headers, live::body(receiver)).into_response()
}

#[cfg(test)]
mod tests {
    use crate::testing::get;

    #[tokio::test]
    async fn lines_are_text_and_lead_to_their_messages() {
        let (code, page) = get("ReadOnly", "/logs?text=refused&level=warning").await;
        assert_eq!(code, 200);
        for part in [
            "/message/01K8Z6T3WQM2V",
            "&lt;script&gt;",
            "before=500.7\"",
            "/logs/download?file=maillog.1",
            "2 compressed ones are not",
            "data-live=\"/logs/events?text=refused&amp;level=warning&amp;after=1000\"",
            "ML-REJECT",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("<script>alert"), "{page}");
        let (_, old) = get("ReadOnly", "/logs?before=500.7").await;
        assert!(!old.contains("data-live") && old.contains("Newest"), "an old page is not followed: {old}");
        assert_eq!(get("HelpDesk", "/logs").await.0, 403);
        assert_eq!(get("HelpDesk", "/logs/download").await.0, 403);
    }

    #[tokio::test]
    async fn the_file_can_be_taken_away_and_followed() {
        assert_eq!(
            get("ReadOnly", "/logs/download").await,
            (axum::http::StatusCode::OK, "first piece, second piece".to_owned())
        );
        assert_eq!(get("ReadOnly", "/logs/download?file=..%2Faccounts.db").await.0, 404);
        let (_, stream) = get("ReadOnly", "/logs/events?after=1000").await;
        assert!(stream.contains("event: lines") && stream.contains("/message/01K8Z6T3WQM2V"), "{stream}");
    }
}
