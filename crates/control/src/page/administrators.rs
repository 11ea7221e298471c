//! Administrators: who may sign in, as what; and ending it.

mod api;

use crate::page::{Routes, problem};
use crate::part::form::{Field, select, text};
use crate::part::{shell, time};
use crate::right::{May, rights};
use crate::{Account, Administrator, Center, Change, Problem, Role, Visitor};
use axum::Form;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use mail::Time;
use maud::{Markup, html};
use serde::Deserialize;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/administrators", get(page).post(add))
        .route("/administrators/change", post(change))
        .merge(api::routes())
}

type Admin = May<rights::Administer>;

async fn page(may: Admin, State(center): State<Center>) -> Response {
    show(&center, &may.account, "", None, &New::default()).await
}

#[derive(Debug, Default, Deserialize)]
struct New {
    name: String,
    role: String,
    password: String,
}

async fn add(may: Admin, State(center): State<Center>, visitor: Visitor, Form(new): Form<New>) -> Response {
    let role: Result<Role, String> = new.role.parse();
    let change = role.map_err(|what| Problem::Field { field: "role".to_owned(), what });
    let changed = match change {
        Ok(role) => {
            let change = Change::Add { name: new.name.trim().to_owned(), role, password: new.password.clone() };
            center.accounts.change(&may.account, &visitor, change).await
        }
        Err(problem) => Err(problem),
    };
    match changed {
        Ok(_) => {
            let good = format!("{} is an administrator now. Hand the password over in person.", new.name);
            show(&center, &may.account, &good, None, &New::default()).await
        }
        Err(problem) => show(&center, &may.account, "", Some(&problem), &new).await,
    }
}

#[derive(Deserialize)]
struct Act {
    name: String,
    act: String,
    #[serde(default)]
    role: String,
    #[serde(default)]
    password: String,
}

async fn change(may: Admin, State(center): State<Center>, visitor: Visitor, Form(act): Form<Act>) -> Response {
    let name = act.name.clone();
    let (change, good) = match act.act.as_str() {
        "role" => match act.role.parse::<Role>() {
            Ok(role) => (Change::Role { name, role }, format!("{} is {} now.", act.name, role.name())),
            Err(what) => {
                let problem = Problem::Failed { what };
                return show(&center, &may.account, "", Some(&problem), &New::default()).await;
            }
        },
        "disable" => (Change::Disable { name }, format!("{} cannot sign in any more.", act.name)),
        "enable" => (Change::Enable { name }, format!("{} can sign in again.", act.name)),
        "unlock" => (Change::Unlock { name }, format!("{} can try again at once.", act.name)),
        "sessions" => (Change::EndSessions { name }, format!("{} is signed out everywhere.", act.name)),
        "factor" => (
            Change::NoFactor { name },
            format!("{} signs in without a second step, and is signed out everywhere.", act.name),
        ),
        "remove" => (
            Change::Remove { name },
            format!("{} is removed; the API tokens that they made open nothing any more.", act.name),
        ),
        "reset" => (
            Change::Reset { name, password: act.password, factor: true },
            format!("{} has a new password, no second step, and is signed out everywhere.", act.name),
        ),
        _ => {
            let problem = Problem::Failed { what: "There is no such button.".to_owned() };
            return show(&center, &may.account, "", Some(&problem), &New::default()).await;
        }
    };
    match center.accounts.change(&may.account, &visitor, change).await {
        Ok(_) => show(&center, &may.account, &good, None, &New::default()).await,
        Err(problem) => {
            let problem = Problem::Failed { what: format!("{}: {}", act.name, problem.what()) };
            show(&center, &may.account, "", Some(&problem), &New::default()).await
        }
    }
}

async fn show(center: &Center, account: &Account, good: &str, wrong: Option<&Problem>, typed: &New) -> Response {
    match center.accounts.administrators().await {
        Err(failed) => problem::page(account, &failed),
        Ok(all) => {
            let code = if wrong.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
            let body = body(account, &all, center.reader.now(), good, wrong, typed);
            shell::with(code, shell::page(account, "/administrators", "Administrators", body))
        }
    }
}

fn roles() -> Vec<(&'static str, String)> {
    Role::ALL.map(|role| (role.word(), format!("{}: {}", role.name(), role.meaning()))).to_vec()
}

fn body(me: &Account, all: &[Administrator], now: Time, good: &str, wrong: Option<&Problem>, typed: &New) -> Markup {
    let error = |name: &str| match wrong {
        Some(Problem::Field { field, what }) if field == name => Some(what.as_str()),
        _ => None,
    };
    let words = roles();
    let choices: Vec<(&str, &str)> = words.iter().map(|(word, text)| (*word, text.as_str())).collect();
    let role = if typed.role.is_empty() { "read-only" } else { &typed.role };
    html! {
        @if !good.is_empty() { (shell::notice("good", good)) }
        @if let Some(problem) = wrong.filter(|problem| !matches!(problem, Problem::Field { .. })) { (shell::notice("bad", problem.what())) }
        div.scroll tabindex="0" role="region" aria-label="Administrators" { table {
            thead { tr { th { "Name" } th { "Role" } th { "State" } th { "Second step" } th { "Last sign-in" } th.number { "Sessions" } th { span.unseen { "Change" } } } }
            tbody { @for one in all { tr {
                th scope="row" { (one.name) @if one.name == me.name { " " (shell::badge("plain", "you")) } }
                td { (one.role.name()) }
                td { (state(one, now)) }
                td { @if one.factor { (shell::badge("good", "on")) } @else { (shell::badge("warn", "off")) } }
                td { @match one.signed_in { Some(at) => (time::ago(at, now)), None => "never" } }
                td.number { (one.sessions) }
                td { details { summary { "Change" } (changes(one, &choices, now)) } }
            } } }
        } }
        h2 { "Add an administrator" }
        form method="post" action="/administrators" autocomplete="off" {
            (text("text", Field { name: "name", label: "Name", value: &typed.name, hint: "To sign in with: letters, digits, and . _ - @", error: error("name"), required: true }))
            (select(&choices, Field { name: "role", label: "Role", value: role, error: error("role"), ..Field::default() }))
            (text("password", Field { name: "password", label: "First password", hint: "12 characters or more; to be changed under Password and sign-in.", error: error("password"), required: true, ..Field::default() }))
            button.primary type="submit" { "Add" }
        }
    }
}

fn state(one: &Administrator, now: Time) -> Markup {
    match one {
        Administrator { disabled: true, .. } => shell::badge("bad", "disabled"),
        Administrator { locked_until: Some(until), .. } if *until > now => shell::badge("warn", "locked"),
        _ => shell::badge("good", "may sign in"),
    }
}

fn changes(one: &Administrator, choices: &[(&str, &str)], now: Time) -> Markup {
    let button = |act: &str, words: &str, class: Option<&str>| {
        html! { form method="post" action="/administrators/change" { input type="hidden" name="name" value=(one.name); button class=[class] type="submit" name="act" value=(act) { (words) } } }
    };
    let locked = one.locked_until.is_some_and(|until| until > now);
    html! {
        div.stack {
            form.row method="post" action="/administrators/change" {
                input type="hidden" name="name" value=(one.name);
                select name="role" aria-label=(format!("Role of {}", one.name)) { @for (value, words) in choices { option value=(value) selected[*value == one.role.word()] { (words.split(':').next().unwrap_or_default()) } } }
                button type="submit" name="act" value="role" { "Set role" }
            }
            form.row method="post" action="/administrators/change" autocomplete="off" {
                input type="hidden" name="name" value=(one.name);
                input type="password" name="password" placeholder="New password" aria-label=(format!("New password of {}", one.name)) autocomplete="new-password" required;
                button type="submit" name="act" value="reset" { "Reset password" }
            }
            div.row {
                @if locked { (button("unlock", "Unlock", None)) }
                (button("sessions", "End sessions", None))
                @if one.factor { (button("factor", "Take the second step away", None)) }
                @if one.disabled { (button("enable", "Enable", None)) } @else { (button("disable", "Disable", Some("danger"))) }
                (button("remove", "Remove", Some("danger")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, get, post};
    use crate::{Change, Role};
    use std::sync::Arc;

    #[tokio::test]
    async fn only_full_administrators_see_the_others() {
        let (code, page) = get("Full", "/administrators").await;
        assert!(
            code == 200 && page.contains("disabled") && page.contains("locked") && page.contains("Unlock"),
            "{page}"
        );
        for who in ["Operator", "ReadOnly", "HelpDesk"] {
            assert_eq!(get(who, "/administrators").await.0, 403, "{who}");
            assert_eq!(get(who, "/api/v1/administrators").await.0, 403, "{who}");
        }
    }

    #[tokio::test]
    async fn what_was_typed_stays_when_it_is_refused() {
        let world = Arc::<World>::default();
        let (code, page) = post(&world, "Full", "/administrators", "name=bob&role=operator&password=short").await;
        assert!(code == 422 && page.contains("value=\"bob\"") && page.contains("12 characters"), "{page}");
        assert!(page.contains("<option value=\"operator\" selected>"), "{page}");
        assert!(world.changes.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_button_changes_whom_it_stands_beside() {
        let world = Arc::<World>::default();
        let (code, _) = post(&world, "Full", "/administrators/change", "name=bob&act=role&role=help-desk").await;
        assert_eq!(code, 200);
        assert_eq!(*world.changes.lock().unwrap(), [Change::Role { name: "bob".to_owned(), role: Role::HelpDesk }]);
        assert_eq!(post(&world, "Full", "/administrators/change", "name=bob&act=nonsense").await.0, 422);
    }
}
