//! Health for load balancers, metrics for Prometheus, the OpenAPI document for tools.

use crate::page::Routes;
use crate::right::Open;
use crate::{Center, Health, Right, Visitor};
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

/// Whether mail is accepted: 200 while it is, else 503. The body says why; from another machine only to who may look.
#[utoipa::path(get, path = "/healthz", tag = "status", responses((status = 200, body = Health), (status = 503, body = Health)))]
async fn health(_: Open, State(center): State<Center>, visitor: Visitor) -> Response {
    let health = center.reader.health();
    let code = if health.accepting { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    if may_look(&center, &visitor).await {
        return (code, Json(health)).into_response();
    }
    (code, Json(serde_json::json!({ "accepting": health.accepting }))).into_response()
}

/// Whoever is on this machine may; others by a session or a token.
async fn may_look(center: &Center, visitor: &Visitor) -> bool {
    visitor.peer.address.is_loopback()
        || center.accounts.who(visitor).await.is_some_and(|account| account.role.may(Right::Look))
}

async fn metrics(_: Open, State(center): State<Center>, visitor: Visitor) -> Response {
    if !may_look(&center, &visitor).await {
        let what = "from another machine this needs an API token: Authorization: Bearer …\n";
        return (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], what).into_response();
    }
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

#[cfg(test)]
mod tests {
    use crate::Peer;
    use crate::testing::{World, ask};
    use axum::http::Request;
    use std::sync::Arc;

    async fn from(address: [u8; 4], who: &str, path: &str) -> (u16, String) {
        let mut request = Request::get(path).body(String::new()).unwrap();
        request.extensions_mut().insert(Peer { address: address.into(), tls: false });
        let (code, text) = ask(&Arc::<World>::default(), who, request).await;
        (code.as_u16(), text)
    }

    #[tokio::test]
    async fn strangers_on_other_machines_learn_only_whether_mail_is_accepted() {
        assert_eq!(from([192, 0, 2, 1], "", "/healthz").await, (200, "{\"accepting\":true}".to_owned()));
        assert_eq!(from([192, 0, 2, 1], "HelpDesk", "/metrics").await.0, 401);
        assert_eq!(from([192, 0, 2, 1], "", "/metrics").await.0, 401);
        assert_eq!(from([192, 0, 2, 1], "ReadOnly", "/metrics").await.0, 200);
        assert!(from([127, 0, 0, 1], "", "/healthz").await.1.contains("mail.example.test"));
        assert_eq!(from([127, 0, 0, 1], "", "/metrics").await.0, 200);
    }
}
