//! Problem: the pages for what cannot be shown, each saying what happened and what to do.

use crate::part::shell;
use crate::{Account, Problem, Right};
use axum::Json;
use axum::extract::Request;
use axum::http::{StatusCode, header, request::Parts};
use axum::response::{IntoResponse, Redirect, Response};
use maud::{Markup, html};
use serde_json::json;

impl IntoResponse for Problem {
    /// As the API says it. Pages use [`page`].
    fn into_response(self) -> Response {
        (code(&self), Json(self)).into_response()
    }
}

pub(crate) fn code(problem: &Problem) -> StatusCode {
    match problem {
        Problem::Unknown { .. } => StatusCode::NOT_FOUND,
        Problem::Field { .. } => StatusCode::UNPROCESSABLE_ENTITY,
        Problem::Conflict { .. } => StatusCode::CONFLICT,
        Problem::Failed { .. } => StatusCode::SERVICE_UNAVAILABLE,
    }
}

/// A whole page about a problem, inside the shell.
pub(crate) fn page(account: &Account, problem: &Problem) -> Response {
    let title = match problem {
        Problem::Unknown { .. } => "Not found",
        Problem::Field { .. } => "Something typed is no good",
        Problem::Conflict { .. } => "Not possible as things are",
        Problem::Failed { .. } => "That did not work",
    };
    (code(problem), shell::page(account, "", title, html! { p.lead { (problem.what()) } })).into_response()
}

/// Nobody is signed in: pages lead to the sign-in and back; the API says so.
pub(crate) fn sign_in(parts: &Parts, api: bool) -> Response {
    if api {
        let what = "sign in, or send an API token: Authorization: Bearer …";
        let challenge = [(header::WWW_AUTHENTICATE, "Bearer")];
        return (StatusCode::UNAUTHORIZED, challenge, Json(json!({ "problem": "sign-in", "what": what })))
            .into_response();
    }
    let wanted = parts.uri.path_and_query().map_or("/", |path| path.as_str());
    Redirect::to(&format!("/sign-in?next={}", crate::part::encode(wanted))).into_response()
}

/// Signed in, but not allowed.
pub(crate) fn forbidden(account: &Account, right: Right, api: bool) -> Response {
    let what = format!(
        "{} is signed in as {}, and this needs the right to {}. A full administrator can change that under Administration, Administrators.",
        account.name,
        account.role.name(),
        format!("{right:?}").to_lowercase()
    );
    if api {
        return (StatusCode::FORBIDDEN, Json(json!({ "problem": "forbidden", "what": what }))).into_response();
    }
    (StatusCode::FORBIDDEN, shell::page(account, "", "Not allowed", html! { p.lead { (what) } })).into_response()
}

/// No such address.
pub(crate) async fn not_found(request: Request) -> Response {
    if request.uri().path().starts_with("/api/") {
        let what = "no such address; /api/v1/openapi.json lists them all";
        return (StatusCode::NOT_FOUND, Json(json!({ "problem": "unknown", "what": what }))).into_response();
    }
    let text: Markup = html! { p.lead { "There is no page at this address." } p { a href="/" { "To the dashboard" } } };
    (StatusCode::NOT_FOUND, shell::bare("Not found", text)).into_response()
}
