//! Health for load balancers, metrics for Prometheus, the OpenAPI document for tools.

use crate::page::Routes;
use crate::right::Open;
use crate::{Center, Health};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use std::sync::Arc;
use utoipa::openapi::OpenApi;
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new().routes(routes!(health)).route("/metrics", get(metrics))
}

/// Whether mail is accepted: 200 while it is, else 503; the body says why either way.
#[utoipa::path(get, path = "/healthz", tag = "status", responses((status = 200, body = Health), (status = 503, body = Health)))]
async fn health(_: Open, State(center): State<Center>) -> Response {
    let health = center.reader.health();
    let code = if health.accepting { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (code, Json(health)).into_response()
}

async fn metrics(_: Open, State(center): State<Center>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], center.reader.metrics()).into_response()
}

/// The document of all API routes.
pub fn openapi() -> OpenApi {
    let (_, mut document) = super::pages().split_for_parts();
    name(&mut document);
    document
}

fn name(document: &mut OpenApi) {
    document.info = utoipa::openapi::InfoBuilder::new()
        .title("Gatepost")
        .version("1")
        .description(Some("What the Control Center's pages show and do, as JSON."))
        .build();
}

pub(crate) fn openapi_route(mut document: OpenApi) -> Router<Center> {
    name(&mut document);
    let document = Arc::new(document);
    Router::new()
        .route("/api/v1/openapi.json", get(move |_: Open| async move { Json(document.as_ref()).into_response() }))
}
