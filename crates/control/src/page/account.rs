//! Account: one's own password, second factor and sessions.

use crate::page::{Routes, problem, sign_in};
use crate::part::form::{Field, text};
use crate::part::{qr, shell, time};
use crate::right::{May, rights};
use crate::{Account, Center, Change, Given, Problem, Session, Visitor};
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use mail::Time;
use maud::{Markup, html};
use serde::Deserialize;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/account", get(page))
        .route("/account/password", post(password))
        .route("/account/factor", get(enrol).post(factor))
        .route("/account/no-factor", post(no_factor))
        .route("/account/session", post(session))
}

type Me = May<rights::Find>;

async fn page(me: Me, State(center): State<Center>, visitor: Visitor) -> Response {
    show(&center, &me.account, &visitor, &Said::default()).await
}

/// What the page says above itself after a change.
#[derive(Default)]
struct Said<'a> {
    good: Option<&'a str>,
    problem: Option<&'a Problem>,
    /// The form that the problem is about.
    form: &'a str,
}

async fn show(center: &Center, account: &Account, visitor: &Visitor, said: &Said<'_>) -> Response {
    let sessions = center.accounts.sessions(&account.name, visitor).await;
    let all = center.accounts.administrators().await;
    let (sessions, all) = match (sessions, all) {
        (Ok(sessions), Ok(all)) => (sessions, all),
        (Err(failed), _) | (_, Err(failed)) => return problem::page(account, &failed),
    };
    let factor = all.iter().any(|one| one.name == account.name && one.factor);
    let code = if said.problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    shell::with(
        code,
        shell::page(account, "/account", "Your account", body(account, factor, &sessions, center.reader.now(), said)),
    )
}

fn body(account: &Account, factor: bool, sessions: &[Session], now: Time, said: &Said<'_>) -> Markup {
    let error = |form: &str, name: &str| match said.problem {
        Some(Problem::Field { field, what }) if said.form == form && field == name => Some(what.as_str()),
        _ => None,
    };
    html! {
        @if let Some(good) = said.good { (shell::notice("good", good)) }
        @if let Some(problem) = said.problem.filter(|problem| !matches!(problem, Problem::Field { .. })) { (shell::notice("bad", problem.what())) }
        p { "Signed in as " strong { (account.name) } ", " (account.role.name()) ": " (account.role.meaning()) "." }
        @if account.token.is_some() { (shell::notice("info", "This is an API token; only people have passwords.")) }
        form method="post" action="/account/password" {
            fieldset {
                legend { "Password" }
                (text("password", Field { name: "old", label: "Password now", error: error("password", "old"), required: true, ..Field::default() }))
                (text("password", Field { name: "new", label: "New password", hint: "12 characters or more. Several words are good. All your other sessions end.", error: error("password", "new"), required: true, ..Field::default() }))
                (text("password", Field { name: "again", label: "The new one again", error: error("password", "again"), required: true, ..Field::default() }))
                button.primary type="submit" { "Change password" }
            }
        }
        fieldset {
            legend { "Second step when signing in" }
            @if factor {
                p { (shell::badge("good", "on")) " Your authenticator's code is asked for after your password." }
                form method="post" action="/account/no-factor" {
                    (text("password", Field { name: "password", label: "Password, to turn it off", error: error("factor", "password"), required: true, ..Field::default() }))
                    button.danger type="submit" { "Turn off" }
                }
            } @else {
                p { (shell::badge("warn", "off")) " A password alone lets in whoever learns it. A code of an authenticator application stops that." }
                p { a.button href="/account/factor" { "Turn on" } }
            }
        }
        h2 { "Where you are signed in" }
        (sessions_table(sessions, now))
    }
}

fn sessions_table(sessions: &[Session], now: Time) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Sessions" { table {
            thead { tr { th { "Browser" } th { "Address" } th { "Since" } th { "Last seen" } th { span.unseen { "Action" } } } }
            tbody { @for session in sessions { tr {
                td.break { (session.agent) @if session.current { " " (shell::badge("good", "this one")) } }
                td { (session.address) }
                td { (time::ago(session.created, now)) }
                td { (time::ago(session.seen, now)) }
                td { @if !session.current { form method="post" action="/account/session" { input type="hidden" name="id" value=(session.id); button type="submit" { "End" } } } }
            } } }
        } }
        @if sessions.iter().any(|session| !session.current) {
            form method="post" action="/account/session" { button type="submit" { "End all others" } }
        }
    }
}

#[derive(Deserialize)]
struct Passwords {
    old: String,
    new: String,
    again: String,
}

async fn password(me: Me, State(center): State<Center>, visitor: Visitor, Form(typed): Form<Passwords>) -> Response {
    let changed = if typed.new == typed.again {
        let change = Change::OwnPassword { old: typed.old, new: typed.new };
        center.accounts.change(&me.account, &visitor, change).await
    } else {
        Err(Problem::Field { field: "again".to_owned(), what: "It is not the same as the new password.".to_owned() })
    };
    done(&center, &me.account, visitor, changed, "password", "Your password is changed.").await
}

#[derive(Deserialize)]
struct OnePassword {
    password: String,
}

async fn no_factor(me: Me, State(center): State<Center>, visitor: Visitor, Form(typed): Form<OnePassword>) -> Response {
    let change = Change::OwnNoFactor { password: typed.password };
    let changed = center.accounts.change(&me.account, &visitor, change).await;
    done(&center, &me.account, visitor, changed, "factor", "The second step is off.").await
}

#[derive(Deserialize)]
struct OneSession {
    id: Option<String>,
}

async fn session(me: Me, State(center): State<Center>, visitor: Visitor, Form(typed): Form<OneSession>) -> Response {
    let changed = center.accounts.change(&me.account, &visitor, Change::OwnSession { id: typed.id }).await;
    done(&center, &me.account, visitor, changed, "session", "Ended.").await
}

/// The page again, with what came of a change; a new session takes the old one's place.
async fn done(
    center: &Center,
    account: &Account,
    mut visitor: Visitor,
    changed: Result<Given, Problem>,
    form: &str,
    good: &str,
) -> Response {
    match changed {
        Err(problem) => {
            show(center, account, &visitor, &Said { problem: Some(&problem), form, ..Said::default() }).await
        }
        Ok(Given { session: Some(secret), .. }) => {
            visitor.session = Some(secret.clone());
            let page = show(center, account, &visitor, &Said { good: Some(good), ..Said::default() }).await;
            sign_in::with_session(&secret, &visitor, page)
        }
        Ok(_) => show(center, account, &visitor, &Said { good: Some(good), ..Said::default() }).await,
    }
}

async fn enrol(me: Me, State(center): State<Center>) -> Response {
    let (secret, address) = center.accounts.secret(&me.account.name);
    shell::page(&me.account, "/account", "Second step when signing in", enrolment(&secret, &address, None))
        .into_response()
}

fn enrolment(secret: &str, address: &str, error: Option<&str>) -> Markup {
    html! {
        ol {
            li { p { "Scan this with an authenticator application on your phone:" } (qr::code(address, "The secret, for an authenticator's camera")) p { "Or type the secret: " code.secret { (secret) } } }
            li {
                p { "Type the code that it shows:" }
                form method="post" action="/account/factor" autocomplete="off" {
                    (text("text", Field { name: "code", label: "Code", error, required: true, ..Field::default() }))
                    input type="hidden" name="secret" value=(secret);
                    button.primary type="submit" { "Turn on" } " " a href="/account" { "Not now" }
                }
            }
        }
    }
}

#[derive(Deserialize)]
struct Factor {
    secret: String,
    code: String,
}

async fn factor(me: Me, State(center): State<Center>, visitor: Visitor, Form(typed): Form<Factor>) -> Response {
    let change = Change::OwnFactor { secret: typed.secret.clone(), code: typed.code };
    match center.accounts.change(&me.account, &visitor, change).await {
        Ok(given) => {
            let body = html! {
                (shell::notice("good", "The second step is on."))
                p { "Each of these codes works once in place of your authenticator. Keep them where you find them without your phone. They are not shown again." }
                ul.codes { @for code in &given.secrets { li { code { (code) } } } }
                p { a.button href="/account" { "I have kept them" } }
            };
            shell::page(&me.account, "/account", "Recovery codes", body).into_response()
        }
        Err(problem) => {
            let (_, address) = center.accounts.secret(&me.account.name);
            let address = address.split("secret=").next().unwrap_or_default().to_owned();
            let address = format!("{address}secret={}&issuer=Gatepost", crate::part::encode(&typed.secret));
            let body = enrolment(&typed.secret, &address, Some(problem.what()));
            shell::with(
                StatusCode::UNPROCESSABLE_ENTITY,
                shell::page(&me.account, "/account", "Second step when signing in", body),
            )
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, get, post};
    use std::sync::Arc;

    #[tokio::test]
    async fn everybody_sees_their_own_sessions() {
        let (code, page) = get("HelpDesk", "/account").await;
        assert!(code == 200 && page.contains("this one") && page.contains("End all others"), "{page}");
        assert!(!page.contains("<b>agent"), "{page}");
    }

    #[tokio::test]
    async fn a_wrong_password_is_told_at_its_field() {
        let world = Arc::<World>::default();
        let form = "old=wrong&new=correct+horse+battery&again=correct+horse+battery";
        let (code, page) = post(&world, "ReadOnly", "/account/password", form).await;
        assert!(code == 422 && page.contains("old-error"), "{page}");
        let form = "old=right&new=correct+horse+battery&again=correct+horse";
        let (code, page) = post(&world, "ReadOnly", "/account/password", form).await;
        assert!(code == 422 && page.contains("again-error"), "{page}");
    }

    #[tokio::test]
    async fn the_second_step_is_turned_on_by_a_code_and_gives_recovery_codes() {
        let world = Arc::<World>::default();
        let (_, page) = get("Full", "/account/factor").await;
        assert!(page.contains("SECRET32") && page.contains("<svg"), "{page}");
        let (code, page) = post(&world, "Full", "/account/factor", "secret=SECRET32&code=0").await;
        assert!(code == 422 && page.contains("value=\"SECRET32\""), "{page}");
        let (code, page) = post(&world, "Full", "/account/factor", "secret=SECRET32&code=123456").await;
        assert!(code == 200 && page.contains("one-time-code"), "{page}");
    }
}
