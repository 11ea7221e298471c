//! Sign-in: name and password, then the code of the second factor; and sign-out.

use crate::account::cookie;
use crate::page::Routes;
use crate::part::form::{Field, text};
use crate::part::shell;
use crate::right::Open;
use crate::{Center, Entry, Visitor};
use axum::Form;
use axum::extract::{DefaultBodyLimit, Query, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::{Markup, html};
use serde::Deserialize;

/// What strangers may send: three short fields.
pub(crate) const BODY_MAX: usize = 16 << 10;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/sign-in", get(page).post(enter))
        .route("/sign-in/code", post(code))
        .route("/sign-out", post(leave))
        .layer(DefaultBodyLimit::max(BODY_MAX))
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Asked {
    next: String,
}

async fn page(_: Open, State(center): State<Center>, Query(asked): Query<Asked>) -> Html<String> {
    let new = center.accounts.is_new().await;
    shell::bare(
        if new { "Welcome" } else { "Sign in" },
        html! {
            @if new {
                p { "No administrator exists yet. The link that makes the first one was printed when the gateway started; this prints it again:" }
                pre { "gatepost admin first-start" }
            } @else { (form("", &asked.next, None)) }
        },
    )
}

#[derive(Deserialize)]
struct Typed {
    name: String,
    password: String,
    #[serde(default)]
    next: String,
}

async fn enter(_: Open, State(center): State<Center>, visitor: Visitor, Form(typed): Form<Typed>) -> Response {
    let entry = center.accounts.sign_in(typed.name.trim(), &typed.password, &visitor).await;
    answer(entry, &visitor, &typed.next, |why| form(&typed.name, &typed.next, Some(why)))
}

#[derive(Deserialize)]
struct Second {
    ticket: String,
    code: String,
    #[serde(default)]
    next: String,
}

async fn code(_: Open, State(center): State<Center>, visitor: Visitor, Form(typed): Form<Second>) -> Response {
    let entry = center.accounts.second(&typed.ticket, typed.code.trim(), &visitor).await;
    answer(entry, &visitor, &typed.next, |why| form("", &typed.next, Some(why)))
}

async fn leave(_: Open, State(center): State<Center>, visitor: Visitor) -> Response {
    center.accounts.sign_out(&visitor).await;
    with_session("", &visitor, Redirect::to("/sign-in").into_response())
}

/// One text for a wrong name, a wrong password, a wrong code, a disabled and a locked account.
const REFUSED: &str = "That did not fit, or sign-in is locked for a few minutes after too many tries.";
const BUSY: &str = "Too many people sign in at this moment. Try again in a few seconds.";

fn answer(entry: Entry, visitor: &Visitor, next: &str, again: impl Fn(&str) -> Markup) -> Response {
    match entry {
        Entry::In(secret) => with_session(&secret, visitor, Redirect::to(local(next)).into_response()),
        Entry::Code(ticket) => shell::bare("Second step", second(&ticket, next)).into_response(),
        Entry::Refused => shell::with(StatusCode::UNAUTHORIZED, shell::bare("Sign in", again(REFUSED))),
        Entry::Busy => shell::with(StatusCode::SERVICE_UNAVAILABLE, shell::bare("Sign in", again(BUSY))),
    }
}

fn form(name: &str, next: &str, why: Option<&str>) -> Markup {
    html! {
        @if let Some(why) = why { (shell::notice("bad", why)) }
        form method="post" action="/sign-in" {
            div.field { label for="name" { "Name" } input #name name="name" value=(name) autocomplete="username" autocapitalize="none" spellcheck="false" required autofocus; }
            div.field { label for="password" { "Password" } input #password type="password" name="password" autocomplete="current-password" required; }
            input type="hidden" name="next" value=(next);
            button.primary type="submit" { "Sign in" }
        }
    }
}

fn second(ticket: &str, next: &str) -> Markup {
    let field = Field {
        name: "code",
        label: "Code",
        hint: "The six digits that your authenticator shows, or one of your recovery codes.",
        required: true,
        ..Field::default()
    };
    html! {
        form method="post" action="/sign-in/code" autocomplete="off" {
            (text("text", field))
            input type="hidden" name="ticket" value=(ticket);
            input type="hidden" name="next" value=(next);
            button.primary type="submit" { "Go on" }
        }
    }
}

/// Where to go after the sign-in: a path of this site, or the first page.
fn local(next: &str) -> &str {
    let path = next.starts_with('/') && !next.starts_with("//") && next.bytes().all(|byte| byte.is_ascii_graphic());
    if path && !next.contains('\\') { next } else { "/" }
}

/// The answer, with a session cookie; an empty one ends it. Lax, not Strict: a link in an alert's mail must find whoever is
/// signed in, and no such link changes anything.
pub(crate) fn with_session(secret: &str, visitor: &Visitor, mut response: Response) -> Response {
    let name = cookie(visitor.peer.tls);
    let secure = if visitor.peer.tls { "; Secure" } else { "" };
    let ended = if secret.is_empty() { "; Max-Age=0" } else { "" };
    let cookie = format!("{name}={secret}; Path=/; HttpOnly; SameSite=Lax{secure}{ended}");
    if let Ok(cookie) = HeaderValue::try_from(cookie) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{World, answer, get, post};
    use axum::http::Request;
    use std::sync::Arc;

    #[tokio::test]
    async fn a_sign_in_leads_back_to_where_it_was_asked_for() {
        let world = Arc::<World>::default();
        let form = "name=Full&password=right&next=%2Fqueue%3Fheld%3Don";
        let request = Request::post("/sign-in").header("content-type", "application/x-www-form-urlencoded");
        let response = answer(&world, request.body(form.to_owned()).unwrap()).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["location"]),
            (303, &HeaderValue::from_static("/queue?held=on"))
        );
        let cookie = response.headers()["set-cookie"].to_str().unwrap();
        assert_eq!(cookie, "gatepost=Full; Path=/; HttpOnly; SameSite=Lax");
    }

    #[tokio::test]
    async fn what_did_not_fit_is_not_told_and_the_name_stays() {
        let world = Arc::<World>::default();
        let (code, wrong) = post(&world, "", "/sign-in", "name=Full&password=wrong&next=/x").await;
        assert!(code == 401 && wrong.contains("value=\"Full\"") && wrong.contains("value=\"/x\""), "{wrong}");
        assert!(!wrong.contains("wrong") && wrong.contains(REFUSED), "{wrong}");
        let (code, unknown) = post(&world, "", "/sign-in", "name=Nobody&password=right").await;
        assert_eq!((code.as_u16(), unknown.contains(REFUSED)), (401, true));
    }

    #[tokio::test]
    async fn a_second_factor_is_asked_for_after_the_password() {
        let world = Arc::<World>::default();
        let (code, page) = post(&world, "", "/sign-in", "name=Operator&password=right&next=/x").await;
        assert!(code == 200 && page.contains("name=\"ticket\" value=\"ticket-Operator\""), "{page}");
        assert_eq!(post(&world, "", "/sign-in/code", "ticket=ticket-Operator&code=1&next=/x").await.0, 401);
        assert_eq!(post(&world, "", "/sign-in/code", "ticket=ticket-Operator&code=123456&next=/x").await.0, 303);
    }

    #[test]
    fn nobody_is_led_to_another_site() {
        for good in ["/", "/queue?x=1&y=%2F%2Fz"] {
            assert_eq!(local(good), good);
        }
        for bad in
            ["", "//evil.test", "/\\evil.test", "https://evil.test/", "/a\r\nSet-Cookie: x", "/\t/evil.test", "evil"]
        {
            assert_eq!(local(bad), "/", "{bad:?}");
        }
    }

    #[tokio::test]
    async fn the_page_asks_nothing_of_those_who_cannot_know_it() {
        let (code, page) = get("", "/sign-in?next=/queue").await;
        assert!(code == 200 && page.contains("value=\"/queue\"") && page.contains("current-password"), "{page}");
    }
}
