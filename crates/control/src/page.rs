//! Pages: one file each, one line each in [`all`].

pub(crate) mod account;
pub(crate) mod acts;
pub(crate) mod administrators;
pub(crate) mod alerts;
pub(crate) mod audit;
pub(crate) mod backup;
pub(crate) mod certificates;
pub(crate) mod change;
pub(crate) mod configuration;
pub(crate) mod dashboard;
pub(crate) mod destinations;
pub(crate) mod diagnose;
pub(crate) mod domains;
pub(crate) mod everywhere;
pub(crate) mod explain;
pub(crate) mod first_start;
pub(crate) mod identity;
pub(crate) mod list;
pub(crate) mod logs;
pub(crate) mod message;
pub(crate) mod problem;
pub(crate) mod queue;
pub(crate) mod scanners;
pub(crate) mod settings;
pub(crate) mod setup;
pub(crate) mod sign_in;
pub(crate) mod smtp;
pub(crate) mod status;
pub(crate) mod tokens;

use crate::{Center, asset, guard};
use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use utoipa_axum::router::OpenApiRouter;

/// A page's routes; `routes!` ones are API and stand in the OpenAPI document.
pub(crate) type Routes = OpenApiRouter<Center>;

/// Each page's routes. Add a line.
fn pages() -> Routes {
    Routes::new()
        .merge(audit::routes())
        .merge(dashboard::routes())
        .merge(queue::routes())
        .merge(explain::routes())
        .merge(message::routes())
        .merge(destinations::routes())
        .merge(diagnose::routes())
        .merge(logs::routes())
        .merge(status::routes())
        .merge(sign_in::routes())
        .merge(first_start::routes())
        .merge(account::routes())
        .merge(administrators::routes())
        .merge(tokens::routes())
        .merge(scanners::routes())
        .merge(acts::routes())
        .merge(certificates::routes())
        .merge(alerts::routes())
        .merge(backup::routes())
        .merge(setup::routes())
        .merge(change::routes())
        .merge(everywhere::routes())
        .merge(smtp::routes())
        .merge(domains::routes())
        .merge(configuration::routes())
        .merge(list::routes())
        .merge(settings::routes())
}

/// All routes, behind the headers that every answer carries.
pub(crate) fn all(center: Center) -> Router {
    let (pages, openapi) = pages().split_for_parts();
    pages
        .merge(status::openapi_route(openapi))
        .merge(asset::routes())
        .fallback(problem::not_found)
        .layer(middleware::from_fn(guard::same_site))
        .layer(middleware::from_fn(headers))
        .with_state(center)
}

/// Nothing from elsewhere, nothing inline, nothing in a frame.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), microphone=(), geolocation=()"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    // What an administrator saw is not left in a shared cache; assets say otherwise themselves.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod every;

#[cfg(test)]
mod tests {
    use crate::testing::{World, answer, get};
    use axum::http::Request;
    use std::sync::Arc;

    #[tokio::test]
    async fn every_answer_carries_the_headers_that_keep_others_out() {
        let world = Arc::<World>::default();
        for path in ["/", "/sign-in", "/nowhere", "/api/v1/acts", "/healthz"] {
            let response = answer(&world, Request::get(path).body(String::new()).unwrap()).await;
            let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
            let policy = header("content-security-policy");
            assert!(policy.contains("default-src 'none'") && policy.contains("frame-ancestors 'none'"), "{path}");
            assert!(!policy.contains("unsafe") && !policy.contains("http"), "{path}: {policy}");
            assert_eq!(
                (header("x-content-type-options"), header("cache-control")),
                ("nosniff".into(), "no-store".into())
            );
            assert_eq!(header("x-frame-options"), "DENY");
        }
    }

    #[tokio::test]
    async fn an_unknown_address_says_where_to_go() {
        let (code, page) = get("", "/nowhere").await;
        assert!(code == 404 && page.contains("To the dashboard"), "{page}");
        let (code, text) = get("", "/api/v1/nowhere").await;
        assert!(code == 404 && text.contains("openapi.json"), "{text}");
    }
}
