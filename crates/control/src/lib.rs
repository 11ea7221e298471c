//! The Control Center: what administrators and their tools see over HTTP. It has a Reader, and no way to the spool.
//!
//! Today: `/healthz` for load balancers, `/metrics` for Prometheus, `/` for people.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use serde::Serialize;
use std::sync::Arc;

/// All that the Control Center may look at.
pub trait Reader: Send + Sync + 'static {
    /// Metrics in Prometheus' text form.
    fn metrics(&self) -> String;
    /// Whether mail is accepted and delivered, and the figures behind it.
    fn health(&self) -> Health;
}

/// The gateway's state in a few figures.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Health {
    /// Mail is accepted: not draining, not stopping, disk above its reserve.
    pub accepting: bool,
    pub version: String,
    pub hostname: String,
    pub mode: String,
    pub settings_version: i64,
    /// Deliveries in the queue, and those of them that are held.
    pub queued: u64,
    pub held: u64,
    /// Bytes.
    pub disk_free: u64,
    pub disk_reserve: u64,
    /// What was set aside or went wrong, newest last.
    pub alerts: Vec<String>,
}

/// The routes, over a reader.
pub fn router(reader: Arc<dyn Reader>) -> Router {
    Router::new()
        .route("/", get(front))
        .route("/healthz", get(health))
        .route("/metrics", get(metrics))
        .with_state(reader)
}

/// 200 while mail is accepted, else 503; the body says why either way.
async fn health(State(reader): State<Arc<dyn Reader>>) -> Response {
    let health = reader.health();
    let code = if health.accepting { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, axum::Json(health)).into_response()
}

async fn metrics(State(reader): State<Arc<dyn Reader>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], reader.metrics()).into_response()
}

async fn front(State(reader): State<Arc<dyn Reader>>) -> Html<String> {
    Html(page(&reader.health()))
}

fn page(health: &Health) -> String {
    let state = if health.accepting { "accepts mail" } else { "does not accept mail" };
    let alerts: String = health.alerts.iter().map(|alert| format!("<li>{}</li>", escape(alert))).collect();
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Gatepost on {host}</title>\
         <h1>Gatepost on {host}</h1><p>This Scanner {state} (MTA operation: {mode}, settings version {version}).</p>\
         <p>{queued} deliveries queued, {held} held. {free} MB free on the disk, {reserve} MB are kept in reserve.</p>\
         <ul>{alerts}</ul><p><a href=\"/healthz\">health</a> · <a href=\"/metrics\">metrics</a> · on the command line: <code>gatepost queue list</code></p></html>",
        host = escape(&health.hostname),
        mode = escape(&health.mode),
        version = health.settings_version,
        queued = health.queued,
        held = health.held,
        free = health.disk_free / 1_000_000,
        reserve = health.disk_reserve / 1_000_000,
    )
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_others_wrote_is_never_active_in_a_page() {
        let health = Health {
            accepting: true,
            version: String::new(),
            hostname: "<script>".to_owned(),
            mode: String::new(),
            settings_version: 1,
            queued: 0,
            held: 0,
            disk_free: 0,
            disk_reserve: 0,
            alerts: vec!["<img onerror=x>".to_owned()],
        };
        let page = page(&health);
        assert!(!page.contains("<script>") && !page.contains("<img"), "{page}");
    }
}
