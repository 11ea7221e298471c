//! API tokens: keys for programs, each with a role of its own; shown once.

use crate::page::{Routes, problem};
use crate::part::form::{Field, select, text};
use crate::part::{shell, time};
use crate::right::{May, rights};
use crate::{Account, Center, Change, Problem, Role, Token, Visitor};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Form, Json};
use mail::Time;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/tokens", get(page).post(add))
        .route("/tokens/remove", post(remove))
        .routes(routes!(list, add_api))
        .routes(routes!(remove_api))
}

type Admin = May<rights::Administer>;

/// All API tokens, without their secrets.
#[utoipa::path(get, path = "/api/v1/tokens", tag = "administration", responses((status = 200, body = Vec<Token>)))]
async fn list(_: Admin, State(center): State<Center>) -> Result<Json<Vec<Token>>, Problem> {
    center.accounts.tokens().await.map(Json)
}

#[derive(Deserialize, utoipa::ToSchema)]
struct NewToken {
    name: String,
    role: Role,
    /// Days until it expires, 1 to 3650; left out: never.
    days: Option<u32>,
}

#[derive(Serialize, utoipa::ToSchema)]
struct MadeToken {
    name: String,
    /// Not shown again.
    secret: String,
}

/// Makes a token. It works while who makes it may sign in and may all that it may.
#[utoipa::path(post, path = "/api/v1/tokens", tag = "administration", request_body = NewToken, responses((status = 201, body = MadeToken), (status = 422, body = Problem)))]
async fn add_api(
    may: Admin,
    State(center): State<Center>,
    visitor: Visitor,
    Json(new): Json<NewToken>,
) -> Result<Response, Problem> {
    let name = new.name.clone();
    let change = Change::AddToken { name: new.name, role: new.role, days: new.days.map(good_days).transpose()? };
    let given = center.accounts.change(&may.account, &visitor, change).await?;
    let made = MadeToken { name, secret: given.secrets.into_iter().next().unwrap_or_default() };
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// Removes a token: it opens nothing any more.
#[utoipa::path(delete, path = "/api/v1/tokens/{name}", tag = "administration", params(("name" = String, Path)), responses((status = 204), (status = 404, body = Problem)))]
async fn remove_api(
    may: Admin,
    State(center): State<Center>,
    visitor: Visitor,
    Path(name): Path<String>,
) -> Result<StatusCode, Problem> {
    center.accounts.change(&may.account, &visitor, Change::RemoveToken { name }).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn page(may: Admin, State(center): State<Center>) -> Response {
    show(&center, &may.account, html! {}, None, &New::default()).await
}

#[derive(Debug, Default, Deserialize)]
struct New {
    name: String,
    role: String,
    days: String,
}

async fn add(may: Admin, State(center): State<Center>, visitor: Visitor, Form(new): Form<New>) -> Response {
    let made = match wanted(&new) {
        Ok(change) => center.accounts.change(&may.account, &visitor, change).await,
        Err(problem) => Err(problem),
    };
    match made {
        Err(problem) => show(&center, &may.account, html! {}, Some(&problem), &new).await,
        Ok(given) => {
            let above = html! {
                div.notice.good role="status" {
                    p { "The token " strong { (new.name) } ". It is not shown again:" }
                    @for secret in &given.secrets { p { code #token { (secret) } " " button type="button" data-copy="#token" { "Copy" } } }
                    p { "Send it with each request: " code { "Authorization: Bearer …" } }
                }
            };
            show(&center, &may.account, above, None, &New::default()).await
        }
    }
}

fn good_days(days: u32) -> Result<u32, Problem> {
    let what = "Write a number of days from 1 to 3650, or leave it out.";
    if (1..=3650).contains(&days) {
        Ok(days)
    } else {
        Err(Problem::Field { field: "days".to_owned(), what: what.to_owned() })
    }
}

fn wanted(new: &New) -> Result<Change, Problem> {
    let role = new.role.parse().map_err(|what| Problem::Field { field: "role".to_owned(), what })?;
    let days = match new.days.trim() {
        "" => None,
        // What is no number is no number of days either.
        text => Some(good_days(text.parse().unwrap_or(0))?),
    };
    Ok(Change::AddToken { name: new.name.trim().to_owned(), role, days })
}

#[derive(Deserialize)]
struct Removed {
    name: String,
}

async fn remove(may: Admin, State(center): State<Center>, visitor: Visitor, Form(typed): Form<Removed>) -> Response {
    let change = Change::RemoveToken { name: typed.name.clone() };
    match center.accounts.change(&may.account, &visitor, change).await {
        Ok(_) => {
            let above = shell::notice("good", &format!("{} opens nothing any more.", typed.name));
            show(&center, &may.account, above, None, &New::default()).await
        }
        Err(problem) => show(&center, &may.account, html! {}, Some(&problem), &New::default()).await,
    }
}

async fn show(center: &Center, account: &Account, above: Markup, wrong: Option<&Problem>, typed: &New) -> Response {
    match center.accounts.tokens().await {
        Err(failed) => problem::page(account, &failed),
        Ok(all) => {
            let code = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
            let body = html! { (above) (body(&all, center.reader.now(), wrong, typed)) };
            shell::with(code, shell::page(account, "/tokens", "API tokens", body))
        }
    }
}

fn body(all: &[Token], now: Time, wrong: Option<&Problem>, typed: &New) -> Markup {
    let error = |name: &str| match wrong {
        Some(Problem::Field { field, what }) if field == name => Some(what.as_str()),
        _ => None,
    };
    let words = Role::ALL.map(|role| (role.word(), format!("{}: {}", role.name(), role.meaning())));
    let choices: Vec<(&str, &str)> = words.iter().map(|(word, text)| (*word, text.as_str())).collect();
    let role = if typed.role.is_empty() { "read-only" } else { &typed.role };
    html! {
        @if let Some(problem) = wrong.filter(|problem| !matches!(problem, Problem::Field { .. })) { (shell::notice("bad", problem.what())) }
        p { "A program that uses the API shows a token instead of signing in. " a href="/api/v1/openapi.json" { "What the API can do (OpenAPI)" } }
        p { "A token works while who made it may sign in and may all that the token may; one made on the command line stands on nobody's rights." }
        @if all.is_empty() { (shell::empty("There is no token.")) } @else {
            div.scroll tabindex="0" role="region" aria-label="Tokens" { table {
                thead { tr { th { "Name" } th { "Role" } th { "Made" } th { "By" } th { "Last used" } th { "Expires" } th { "State" } th { span.unseen { "Remove" } } } }
                tbody { @for token in all { tr {
                    th scope="row" { (token.name) }
                    td { (token.role.name()) }
                    td { (time::ago(token.created, now)) }
                    td { (token.by) @if token.apart { " (command line)" } }
                    td { @match token.used { Some(at) => (time::ago(at, now)), None => "never" } }
                    td { @match token.expires { Some(at) if at <= now => (shell::badge("bad", "expired")), Some(at) => (time::ago(at, now)), None => "never" } }
                    td { @match &token.stopped { Some(why) => { (shell::badge("bad", "stopped")) " " (why) }, None => (shell::badge("good", "works")) } }
                    td { form method="post" action="/tokens/remove" { input type="hidden" name="name" value=(token.name); button.danger type="submit" aria-label=(format!("Remove {}", token.name)) { "Remove" } } }
                } } }
            } }
        }
        h2 { "Make a token" }
        form method="post" action="/tokens" autocomplete="off" {
            (text("text", Field { name: "name", label: "Name", value: &typed.name, hint: "What uses it, such as monitoring", error: error("name"), required: true }))
            (select(&choices, Field { name: "role", label: "Role", value: role, error: error("role"), ..Field::default() }))
            (text("number", Field { name: "days", label: "Days until it expires", value: &typed.days, hint: "Empty: never.", error: error("days"), required: false }))
            button.primary type="submit" { "Make" }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, get, post, send};
    use crate::{Change, Role};
    use std::sync::Arc;

    #[tokio::test]
    async fn a_token_is_shown_once() {
        let world = Arc::<World>::default();
        let (code, page) = post(&world, "Full", "/tokens", "name=monitor&role=read-only&days=").await;
        assert!(code == 200 && page.contains("a-secret-shown-once"), "{page}");
        let (_, page) = get("Full", "/tokens").await;
        assert!(
            page.contains("monitoring")
                && page.contains("expired")
                && page.contains("is disabled")
                && !page.contains("a-secret"),
            "{page}"
        );
    }

    #[tokio::test]
    async fn tools_make_tokens_and_take_them_away() {
        let world = Arc::<World>::default();
        let ask = async |method, path, body| send(&world, "Full", method, path, body).await;
        let (code, text) = ask("POST", "/api/v1/tokens", r#"{"name":"m","role":"read-only","days":0}"#).await;
        assert!(code == 422 && text.contains("\"days\"") && world.changes.lock().unwrap().is_empty(), "{text}");
        let (code, text) = ask("POST", "/api/v1/tokens", r#"{"name":"m","role":"read-only"}"#).await;
        assert!(code == 201 && text.contains("a-secret-shown-once"), "{code} {text}");
        assert_eq!(ask("DELETE", "/api/v1/tokens/m", "").await.0, 204);
        let made = Change::AddToken { name: "m".to_owned(), role: Role::ReadOnly, days: None };
        assert_eq!(*world.changes.lock().unwrap(), [made, Change::RemoveToken { name: "m".to_owned() }]);
    }

    #[tokio::test]
    async fn a_length_that_is_none_is_refused_at_its_field() {
        let world = Arc::<World>::default();
        for days in ["0", "-1", "soon", "99999"] {
            let (code, page) = post(&world, "Full", "/tokens", &format!("name=m&role=full&days={days}")).await;
            assert!(code == 422 && page.contains("days-error") && page.contains("value=\"m\""), "{page}");
        }
        assert!(world.changes.lock().unwrap().is_empty());
    }
}
