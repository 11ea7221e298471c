//! First start: by a link that is printed on the gateway's own terminal, the first administrator is made.

use crate::page::{Routes, sign_in};
use crate::part::form::{Field, text};
use crate::part::shell;
use crate::right::Open;
use crate::{Center, Problem, Visitor};
use axum::Form;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;

pub(crate) fn routes() -> Routes {
    Routes::new().route("/first-start", get(page).post(begin)).layer(DefaultBodyLimit::max(sign_in::BODY_MAX))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    key: String,
}

async fn page(_: Open, State(center): State<Center>, Query(asked): Query<Asked>) -> Response {
    if !center.accounts.is_first_key(&asked.key).await {
        return stale(center.accounts.is_new().await);
    }
    shell::bare("Welcome to Gatepost", form(&asked.key, "", None)).into_response()
}

#[derive(Deserialize)]
struct Typed {
    key: String,
    name: String,
    password: String,
    again: String,
}

async fn begin(_: Open, State(center): State<Center>, visitor: Visitor, Form(typed): Form<Typed>) -> Response {
    if !center.accounts.is_first_key(&typed.key).await {
        return stale(center.accounts.is_new().await);
    }
    let made = if typed.password == typed.again {
        center.accounts.first(&typed.key, typed.name.trim(), &typed.password, &visitor).await
    } else {
        Err(Problem::Field { field: "again".to_owned(), what: "It is not the same password as above.".to_owned() })
    };
    match made {
        Ok(secret) => sign_in::with_session(&secret, &visitor, Redirect::to("/setup").into_response()),
        Err(problem) => {
            let page = shell::bare("Welcome to Gatepost", form(&typed.key, &typed.name, Some(&problem)));
            shell::with(StatusCode::UNPROCESSABLE_ENTITY, page)
        }
    }
}

fn stale(new: bool) -> Response {
    let body = html! {
        @if new {
            p.lead { "This link is not good: each start of the gateway makes a new one." }
            p { "On the gateway's machine, this prints it:" }
            pre { "gatepost admin first-start" }
        } @else {
            p.lead { "The first administrator has been made already." }
            p { a href="/sign-in" { "Sign in" } }
        }
    };
    shell::with(StatusCode::FORBIDDEN, shell::bare("First start", body))
}

fn form(key: &str, name: &str, problem: Option<&Problem>) -> Markup {
    let error = |name: &str| match problem {
        Some(Problem::Field { field, what }) if field == name => Some(what.as_str()),
        _ => None,
    };
    html! {
        p { "Make the first administrator, who may do everything. Others can be added later." }
        @if let Some(problem) = problem.filter(|problem| !matches!(problem, Problem::Field { .. })) { (shell::notice("bad", problem.what())) }
        form method="post" action="/first-start" {
            (text("text", Field { name: "name", label: "Your name", value: name, hint: "To sign in with: letters, digits, and . _ - @", error: error("name"), required: true }))
            (text("password", Field { name: "password", label: "Password", hint: "12 characters or more. Several words are good.", error: error("password"), required: true, ..Field::default() }))
            (text("password", Field { name: "again", label: "The same again", error: error("again"), required: true, ..Field::default() }))
            input type="hidden" name="key" value=(key);
            button.primary type="submit" { "Go on" }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, get, post};
    use std::sync::Arc;

    #[tokio::test]
    async fn only_the_printed_link_makes_the_first_administrator() {
        let (code, page) = get("", "/first-start?key=wrong").await;
        assert!(code == 403 && page.contains("made already") && !page.contains("<form"), "{page}");
        let (code, page) = get("", "/first-start?key=first").await;
        assert!(code == 200 && page.contains("value=\"first\""), "{page}");
        let world = Arc::<World>::default();
        let form = "name=ann&password=correct+horse&again=correct+horse";
        assert_eq!(post(&world, "", "/first-start", &format!("key=wrong&{form}")).await.0, 403);
        assert_eq!(post(&world, "", "/first-start", &format!("key=first&{form}")).await.0, 303);
    }

    #[tokio::test]
    async fn a_refused_password_says_why_and_the_name_stays() {
        let world = Arc::<World>::default();
        let (code, page) = post(&world, "", "/first-start", "key=first&name=ann&password=short&again=short").await;
        assert!(code == 422 && page.contains("value=\"ann\"") && page.contains("12 characters"), "{page}");
        let (code, page) = post(&world, "", "/first-start", "key=first&name=ann&password=one&again=two").await;
        assert!(code == 422 && page.contains("not the same") && !page.contains("value=\"one\""), "{page}");
    }
}
