//! One Scanner: how it is, a test of the way to it, and what is known of it changed.

use super::{Admin, HERE, stages, table, words};
use crate::page::{Routes, problem};
use crate::part::form::{self, Field};
use crate::part::{encode, shell, time};
use crate::right::{May, Right, rights};
use crate::scanners::{fingerprint, spaced};
use crate::{Account, Center, Contact, Enrolment, Problem, Scanner};
use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use maud::{Markup, html};
use serde::Deserialize;

pub(super) fn routes() -> Routes {
    Routes::new().route("/scanner/{name}", get(page).post(change))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Shown {
    enrolled: String,
}

async fn page(
    may: May<rights::Look>,
    State(center): State<Center>,
    Path(name): Path<String>,
    Query(shown): Query<Shown>,
) -> Response {
    let above = html! { @if !shown.enrolled.is_empty() { (shell::notice("good", "It is enrolled, and asked every few seconds from now on.")) } };
    show(&center, &may.account, &name, above, StatusCode::OK).await
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Typed {
    act: String,
    token: String,
    url: String,
    fingerprint: String,
}

async fn change(
    may: Admin,
    State(center): State<Center>,
    Path(name): Path<String>,
    Form(typed): Form<Typed>,
) -> Response {
    let Some(known) = find(&center, &name) else { return problem::page(&may.account, &unknown(&name)) };
    let keep = Enrolment { name: name.clone(), url: known.url, pin: known.pin, token: None, changes: true };
    let wanted = match typed.act.as_str() {
        "remove" => {
            return match center.scanners.remove(&may.account, &name).await {
                Ok(()) => Redirect::to(HERE).into_response(),
                Err(failed) => problem::page(&may.account, &failed),
            };
        }
        "test" => {
            return match center.scanners.test(&name).await {
                Ok(contact) => tested(&center, &may.account, &name, &contact).await,
                Err(failed) => problem::page(&may.account, &failed),
            };
        }
        "token" => Enrolment { token: Some(typed.token), ..keep },
        "url" => Enrolment { url: typed.url, ..keep },
        "certificate" => Enrolment { pin: fingerprint(&typed.fingerprint), ..keep },
        _ => {
            return problem::page(
                &may.account,
                &Problem::Failed { what: "this page's form came back incomplete".to_owned() },
            );
        }
    };
    let (code, above) = match center.scanners.enrol(&may.account, wanted).await {
        Ok(contact) if contact.trouble.is_none() => {
            (StatusCode::OK, html! { (shell::notice("good", "Changed.")) (stages(&contact)) })
        }
        Ok(contact) => (
            StatusCode::UNPROCESSABLE_ENTITY,
            html! { (shell::notice("bad", "Nothing was changed. What stands in the way:")) (stages(&contact)) },
        ),
        Err(problem) => (StatusCode::UNPROCESSABLE_ENTITY, shell::notice("bad", problem.what())),
    };
    show(&center, &may.account, &name, above, code).await
}

fn find(center: &Center, name: &str) -> Option<Scanner> {
    center.scanners.scanners().into_iter().find(|scanner| scanner.name == name)
}

fn unknown(name: &str) -> Problem {
    Problem::Unknown { what: format!("there is no Scanner {name}") }
}

/// A test's stages; of a certificate that is another one, a way to confirm it.
async fn tested(center: &Center, account: &Account, name: &str, contact: &Contact) -> Response {
    let pinned = find(center, name).and_then(|scanner| scanner.pin);
    let other = contact.fingerprint.as_ref().filter(|shown| !contact.vouched && pinned.as_ref() != Some(shown));
    let above = html! {
        (stages(contact))
        @if let Some(shown) = other {
            form method="post" action=(format!("/scanner/{}", encode(name))) {
                input type="hidden" name="act" value="certificate";
                p { "The certificate that it shows now has this SHA-256: " code.break { (spaced(shown)) } }
                div.field.tick { input type="checkbox" id="fingerprint" name="fingerprint" value=(shown) required; label for="fingerprint" { "I have compared it on that gateway: this is its new certificate" } }
                button type="submit" { "Confirm this certificate" }
            }
        }
    };
    show(center, account, name, above, StatusCode::OK).await
}

async fn show(center: &Center, account: &Account, name: &str, above: Markup, code: StatusCode) -> Response {
    let Some(scanner) = find(center, name) else { return problem::page(account, &unknown(name)) };
    let own = match center.scanners.own().await {
        Ok(own) => own,
        Err(failed) => return problem::page(account, &failed),
    };
    let now = center.reader.now();
    let action = format!("/scanner/{}", encode(name));
    let body = html! {
        (above)
        (table(&own, std::slice::from_ref(&scanner), now))
        @if let Some(trouble) = &scanner.trouble { div.notice.bad role="status" { p { (words(trouble)) } } }
        dl.facts {
            dt { "Control Center" } dd { a href=(format!("{}/", scanner.url)) { (scanner.url) } }
            dt { "Certificate" } dd.break { @match &scanner.pin {
                Some(pin) => { "confirmed by its SHA-256 " code { (spaced(pin)) } }
                None if scanner.url.starts_with("http://") => { "none: plain HTTP on this machine" }
                None => { "an authority that this machine knows must vouch for it" }
            } }
            dt { "Enrolled" } dd { (time::exact(scanner.enrolled)) " UTC by " (scanner.by) }
        }
        p { a.button href=(format!("{action}/drift")) { "Compare its settings with this one's" } " " a.button href=(format!("{}/", scanner.url)) { "Open its Control Center" } }
        @if account.role.may(Right::Administer) {
            form method="post" action=(action) { input type="hidden" name="act" value="test"; button type="submit" { "Test the connection" } }
            h2 { "Change" }
            form method="post" action=(action) autocomplete="off" {
                input type="hidden" name="act" value="token";
                (form::text("password", Field { name: "token", label: "New API token", hint: "Made on that Scanner. The one that is kept is never shown.", required: true, ..Field::default() }))
                button type="submit" { "Take this token" }
            }
            form method="post" action=(action) {
                input type="hidden" name="act" value="url";
                (form::text("text", Field { name: "url", label: "Address of its Control Center", value: &scanner.url, required: true, ..Field::default() }))
                button type="submit" { "Take this address" }
            }
            form method="post" action=(action) {
                input type="hidden" name="act" value="remove";
                p { "Removed, it goes on as it is, and is not seen from here. Remove its token on that Scanner, too." }
                button.danger type="submit" { "Remove " (scanner.name) }
            }
        }
    };
    shell::with(code, shell::page(account, HERE, &format!("Scanner {name}"), body))
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, get, post};
    use std::sync::Arc;

    #[tokio::test]
    async fn one_is_tested_stage_by_stage_and_a_new_certificate_confirmed() {
        let world = Arc::<World>::default();
        let (code, page) = post(&world, "Full", "/scanner/mx3", "act=test").await;
        assert!(
            code == 200 && page.contains("certificate: it shows another") && page.contains("Confirm this certificate"),
            "{page}"
        );
        let pin = "cd".repeat(32);
        assert_eq!(post(&world, "Full", "/scanner/mx3", &format!("act=certificate&fingerprint={pin}")).await.0, 200);
        {
            let enrolled = world.enrolled.lock().unwrap();
            assert!(enrolled[0].changes && enrolled[0].token.is_none() && enrolled[0].pin.as_ref() == Some(&pin));
        }
        assert_eq!(post(&world, "Full", "/scanner/mx2", "act=remove").await.0, 303);
        assert_eq!(post(&world, "Full", "/scanner/none", "act=test").await.0, 404);
        assert_eq!(post(&world, "Full", "/scanner/mx2", "act=nonsense").await.0, 503);
        let (_, page) = get("ReadOnly", "/scanner/mx2").await;
        assert!(
            page.contains("https://mx2.example.test:8025/") && !page.contains("<button class=\"danger\""),
            "{page}"
        );
    }
}
