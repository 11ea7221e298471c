//! Scanners: the other gateways that this Control Center knows: how they are; enrolled, tested, changed, removed.

mod drift;
mod one;

use crate::page::{Routes, problem};
use crate::part::form::{self, Field};
use crate::part::{self, encode, shell, time};
use crate::right::{May, Right, rights};
use crate::scanners::{fingerprint, invitation, spaced, state};
use crate::{Account, Center, Contact, Enrolment, Problem, Report, Role, Scanner, Trouble};
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Json};
use mail::Time;
use maud::{Markup, html};
use serde::Deserialize;
use utoipa_axum::routes;

pub(crate) const HERE: &str = "/scanners";

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/scanners", get(page).post(enrol))
        .route("/scanners/look", post(look))
        .route("/scanners/invite", post(invite))
        .routes(routes!(own))
        .routes(routes!(list, add))
        .routes(routes!(remove))
        .routes(routes!(test))
        .merge(one::routes())
        .merge(drift::routes())
}

type Admin = May<rights::Administer>;

/// How this Scanner is, as a Control Center asks that has enrolled it.
#[utoipa::path(get, path = "/api/v1/scanner", tag = "scanners", responses((status = 200, body = Report)))]
async fn own(may: May<rights::Look>, State(center): State<Center>) -> Result<Json<Report>, Problem> {
    let report = center.scanners.own().await?;
    Ok(Json(Report { role: Some(may.account.role), ..report }))
}

/// The other Scanners, as they were when they were asked last.
#[utoipa::path(get, path = "/api/v1/scanners", tag = "scanners", responses((status = 200, body = Vec<Scanner>)))]
async fn list(_: May<rights::Look>, State(center): State<Center>) -> Json<Vec<Scanner>> {
    Json(center.scanners.scanners())
}

/// What is to be enrolled: a code of that Scanner (`gatepost scanner invite`), or its address and token.
#[derive(Default, Deserialize, utoipa::ToSchema)]
#[serde(default)]
struct New {
    code: String,
    /// Left out: as it calls itself.
    name: String,
    url: String,
    /// SHA-256 of its certificate, in hex. Left out: authorities must vouch for it.
    fingerprint: String,
    token: String,
}

/// Enrols one. 422, with the stages of the contact, if something stands in the way.
#[utoipa::path(post, path = "/api/v1/scanners", tag = "scanners", request_body = New, responses((status = 201, body = Contact), (status = 422, body = Contact)))]
async fn add(may: Admin, State(center): State<Center>, Json(new): Json<New>) -> Result<Response, Problem> {
    let contact = center.scanners.enrol(&may.account, wanted(&new)?).await?;
    let code = if contact.trouble.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::CREATED };
    Ok((code, Json(contact)).into_response())
}

/// Removes one. That Scanner goes on as it is; its token is removed there.
#[utoipa::path(delete, path = "/api/v1/scanners/{name}", tag = "scanners", params(("name" = String, Path)), responses((status = 204), (status = 404, body = Problem)))]
async fn remove(may: Admin, State(center): State<Center>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    center.scanners.remove(&may.account, &name).await.map(|()| StatusCode::NO_CONTENT)
}

/// Asks one now, stage by stage.
#[utoipa::path(post, path = "/api/v1/scanners/{name}/test", tag = "scanners", params(("name" = String, Path)), responses((status = 200, body = Contact), (status = 404, body = Problem)))]
async fn test(_: Admin, State(center): State<Center>, Path(name): Path<String>) -> Result<Json<Contact>, Problem> {
    center.scanners.test(&name).await.map(Json)
}

fn wrong(field: &str, what: &str) -> Problem {
    Problem::Field { field: field.to_owned(), what: what.to_owned() }
}

fn wanted(new: &New) -> Result<Enrolment, Problem> {
    if !new.code.trim().is_empty() {
        let what = "This is no whole code: copy all that `gatepost scanner invite` printed on the other gateway.";
        let read = invitation(&new.code).ok_or_else(|| wrong("code", what))?;
        return Ok(Enrolment { name: new.name.trim().to_owned(), ..read });
    }
    if new.url.trim().is_empty() {
        return Err(wrong("url", "Paste a code, or write the address of the other Control Center."));
    }
    let pin = match new.fingerprint.trim() {
        "" => None,
        text => Some(fingerprint(text).ok_or_else(|| wrong("fingerprint", "A SHA-256 has 64 hexadecimal digits."))?),
    };
    let token = Some(new.token.clone()).filter(|token| !token.trim().is_empty());
    Ok(Enrolment { name: new.name.trim().to_owned(), url: new.url.trim().to_owned(), pin, token, changes: false })
}

async fn page(may: May<rights::Look>, State(center): State<Center>) -> Response {
    show(&center, &may.account, StatusCode::OK, html! {}, None, &New::default()).await
}

async fn enrol(may: Admin, State(center): State<Center>, Form(new): Form<New>) -> Response {
    let done = match wanted(&new) {
        Ok(wanted) => center.scanners.enrol(&may.account, wanted).await,
        Err(problem) => Err(problem),
    };
    let code = StatusCode::UNPROCESSABLE_ENTITY;
    match done {
        Ok(contact) if contact.trouble.is_none() => {
            Redirect::to(&format!("/scanner/{}?enrolled=yes", encode(&contact.name))).into_response()
        }
        Ok(contact) => {
            let above = html! { (shell::notice("bad", "Not enrolled. What stands in the way:")) (stages(&contact)) };
            show(&center, &may.account, code, above, None, &new).await
        }
        Err(problem) => show(&center, &may.account, code, html! {}, Some(&problem), &new).await,
    }
}

#[derive(Deserialize)]
struct Looked {
    #[serde(default)]
    name: String,
    #[serde(default)]
    url: String,
}

/// First contact by address: its certificate is shown, and only then is a token asked for.
async fn look(may: Admin, State(center): State<Center>, Form(asked): Form<Looked>) -> Response {
    let contact = center.scanners.look(asked.url.trim()).await;
    let new = New { name: asked.name, url: asked.url, ..New::default() };
    if contact.trouble.is_some() {
        let above =
            html! { (shell::notice("bad", "It cannot be reached so. What stands in the way:")) (stages(&contact)) };
        return show(&center, &may.account, StatusCode::UNPROCESSABLE_ENTITY, above, None, &new).await;
    }
    let body = html! {
        (stages(&contact))
        form method="post" action="/scanners" autocomplete="off" {
            input type="hidden" name="name" value=(new.name.trim());
            input type="hidden" name="url" value=(new.url.trim());
            @match (&contact.fingerprint, contact.vouched) {
                (Some(_), true) => p { "An authority that this machine knows vouches for its certificate; nothing needs to be compared." },
                (Some(shown), false) => {
                    div.notice.warn role="status" {
                        p { "No authority vouches for the certificate that " strong { (new.url.trim()) } " shows. Compare this SHA-256 with the one on that gateway (there: Administration, Certificates; or " code { "gatepost scanner invite" } "). If it is another one, somebody stands between." }
                        p { code.break { (spaced(shown)) } }
                    }
                    div.field.tick { input type="checkbox" id="fingerprint" name="fingerprint" value=(shown) required; label for="fingerprint" { "I have compared it: this is that gateway's certificate" } }
                }
                (None, _) => p { "It is on this machine and speaks plain HTTP; there is no certificate to compare." },
            }
            (form::text("password", Field { name: "token", label: "API token of that Scanner", hint: "Made there under API tokens. Role full, to change its settings from here; read-only, to see it.", required: true, ..Field::default() }))
            p { button.primary type="submit" { "Enrol" } " " a.button href=(HERE) { "Leave it" } }
        }
    };
    shell::page(&may.account, HERE, "Enrol a Scanner: whose certificate is it?", body).into_response()
}

#[derive(Deserialize)]
struct Invited {
    #[serde(default)]
    name: String,
    #[serde(default)]
    role: String,
}

/// The other side: a code for the Control Center that is to enrol this gateway.
async fn invite(may: Admin, State(center): State<Center>, Form(asked): Form<Invited>) -> Response {
    let role = asked.role.parse::<Role>().map_err(|what| wrong("role", &what));
    let made = match role {
        Ok(role) => center.scanners.invite(&may.account, asked.name.trim(), role).await,
        Err(problem) => Err(problem),
    };
    match made {
        Ok(code) => {
            let above = html! {
                div.notice.good role="status" {
                    p { "Paste this code into the other Control Center, under Administration, Scanners. It holds a token and is not shown again:" }
                    p { code.break #code-made { (code) } " " button type="button" data-copy="#code-made" { "Copy" } }
                    p { "Removing the token " strong { (asked.name.trim()) } " under API tokens takes it back." }
                }
            };
            show(&center, &may.account, StatusCode::OK, above, None, &New::default()).await
        }
        Err(problem) => {
            let above = shell::notice("bad", problem.what());
            show(&center, &may.account, StatusCode::UNPROCESSABLE_ENTITY, above, None, &New::default()).await
        }
    }
}

async fn show(
    center: &Center,
    account: &Account,
    code: StatusCode,
    above: Markup,
    wrong: Option<&Problem>,
    typed: &New,
) -> Response {
    let own = match center.scanners.own().await {
        Ok(own) => own,
        Err(failed) => return problem::page(account, &failed),
    };
    let all = center.scanners.scanners();
    let error = |name: &str| match wrong {
        Some(Problem::Field { field, what }) if field == name => Some(what.as_str()),
        _ => None,
    };
    let body = html! {
        (above)
        @if let Some(problem) = wrong.filter(|problem| !matches!(problem, Problem::Field { field, .. } if ["code", "url", "name"].contains(&field.as_str()))) { (shell::notice("bad", problem.what())) }
        (table(&own, &all, center.reader.now()))
        @if all.is_empty() { (shell::empty("This Control Center knows no other Scanner. Several gateways that share the work are seen and set from one place when they are enrolled here.")) }
        @if account.role.may(Right::Administer) {
            h2 { "Enrol a Scanner" }
            p { "On the other gateway, run " code { "gatepost scanner invite" } " or press the button at the foot of this page, and paste the code that it gives:" }
            form method="post" action="/scanners" autocomplete="off" {
                (form::text("password", Field { name: "code", label: "Code", hint: "Address, certificate and token in one. It is not shown again.", error: error("code"), required: true, ..Field::default() }))
                (form::text("text", Field { name: "name", label: "Name", value: &typed.name, hint: "Empty: as it calls itself.", error: error("name"), ..Field::default() }))
                button.primary type="submit" { "Enrol" }
            }
            details open[!typed.url.is_empty() || error("url").is_some()] {
                summary { "Without a code: by address and token" }
                form method="post" action="/scanners/look" autocomplete="off" {
                    div.field.bad[error("url").is_some()] {
                        label for="url" { "Address of its Control Center" }
                        input type="text" id="url" name="url" value=(typed.url) required placeholder="https://mx2.example.test:8025" aria-describedby="url-hint";
                        @if let Some(error) = error("url") { p.error { (error) } }
                        p.hint #url-hint { "https; http only for a gateway on this machine." }
                    }
                    input type="hidden" name="name" value=(typed.name);
                    button type="submit" { "Look at its certificate" }
                }
            }
            h2 { "Let another Control Center enrol this gateway" }
            form method="post" action="/scanners/invite" autocomplete="off" {
                div.row {
                    div.field { label for="invite-name" { "Name of the token" } input type="text" id="invite-name" name="name" value="control-center" required; }
                    div.field { label for="invite-role" { "What it may do" } select id="invite-role" name="role" { option value="full" { "see it and change its settings" } option value="read-only" { "only see it" } } }
                }
                button type="submit" { "Make a code" }
            }
        }
    };
    shell::with(code, shell::page(account, HERE, "Scanners", body))
}

/// A contact: what went well, what stands in the way, what to do.
pub(super) fn stages(contact: &Contact) -> Markup {
    html! {
        ul.stages {
            @for went in &contact.went { li { (shell::badge("good", "ok")) " " (went.stage.words()) ": " (went.said) } }
            @if let Some(trouble) = &contact.trouble { li { (shell::badge("bad", "fails")) " " (words(trouble)) } }
            @for note in &contact.notes { li { (shell::badge("warn", "note")) " " (note) } }
        }
    }
}

pub(crate) fn words(trouble: &Trouble) -> Markup {
    html! { (trouble.stage.words()) ": " (trouble.what) ". " strong { "To do: " } (trouble.fix) }
}

/// All Scanners, this one first. Every number leads to the Scanner that it is of.
pub(crate) fn table(own: &Report, others: &[Scanner], now: Time) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Scanners" { table {
            thead { tr { th { "Scanner" } th { "State" } th.number { "Queue" } th { "Oldest" } th.number { "Incidents" } th.number { "Identity problems" } th.number { "Disk free" } th { "Settings" } th { "Seen" } } }
            tbody {
                tr {
                    th scope="row" { (own.name) br; span.quiet { "this one, " (own.version) } }
                    td { (badge(own)) }
                    (figures("", own, now))
                    td { a href="/settings" { "version " (own.settings_version) } }
                    td { "now" }
                }
                @for scanner in others { tr {
                    th scope="row" { a href=(format!("/scanner/{}", encode(&scanner.name))) { (scanner.name) } @if let Some(report) = &scanner.report { br; span.quiet { @if report.name != scanner.name { (report.name) ", " } (report.version) } } }
                    td.break { (state_of(scanner, now)) }
                    @match &scanner.report {
                        None => { td.number { "–" } td { "–" } td.number { "–" } td.number { "–" } td.number { "–" } td { "–" } }
                        Some(report) => {
                            (figures(&scanner.url, report, now))
                            td { (settings_of(scanner, report, own)) }
                        }
                    }
                    td { @match scanner.heard { Some(at) => (time::ago(at, now)), None => "never" } }
                } }
            }
        } }
    }
}

fn badge(report: &Report) -> Markup {
    let (kind, word) = state(report);
    shell::badge(kind, word)
}

/// State in words: why it is silent, and since when; never the last known one as if it were now.
fn state_of(scanner: &Scanner, now: Time) -> Markup {
    match (&scanner.trouble, scanner.silent_since, &scanner.report) {
        (Some(trouble), Some(since), _) => {
            html! { (shell::badge("bad", "unreachable")) " since " (time::ago(since, now)) ": " (words(trouble)) }
        }
        (_, _, Some(report)) => html! { (badge(report)) @for note in &scanner.notes { p.quiet { (note) } } },
        _ => html! { (shell::badge("plain", "not asked yet")) },
    }
}

fn figures(base: &str, report: &Report, now: Time) -> Markup {
    let link = |path: &str| format!("{base}{path}");
    html! {
        td.number { a href=(link("/queue")) { (part::count(report.queued)) } @if report.held > 0 { br; span.quiet { a href=(link("/queue?held=true")) { (part::count(report.held)) " held" } } } }
        td { @match report.oldest { Some(at) => a href=(link("/queue?sort=oldest")) { (time::ago(at, now)) }, None => "–" } }
        td.number { a href=(link("/")) { (part::count(report.incidents)) } }
        td.number { a href=(link("/identity")) { @match report.identity_problems { Some(count) => (part::count(count)), None => "not checked" } } }
        td.number.bad-text[report.disk_free < report.disk_reserve] { (part::bytes(report.disk_free)) }
    }
}

fn settings_of(scanner: &Scanner, report: &Report, own: &Report) -> Markup {
    html! {
        a href=(format!("{}/settings", scanner.url)) { "version " (report.settings_version) } br;
        @if report.settings_mark == own.settings_mark { span.quiet { "the same as here" } }
        @else { a href=(format!("/scanner/{}/drift", encode(&scanner.name))) { (shell::badge("warn", "differs from here")) } }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, ask, get, post};
    use axum::http::Request;
    use std::sync::Arc;

    #[tokio::test]
    async fn every_scanner_is_shown_with_its_state_and_the_age_of_it() {
        let (code, page) = get("ReadOnly", "/scanners").await;
        assert_eq!(code, 200);
        for part in [
            "this one, 1.2.3",
            "accepts mail",
            "<a href=\"https://mx2.example.test:8025/queue\">1,234</a>",
            "unreachable",
            "connection: 192.0.2.3:8025: refused",
            "Is it running?",
            "never",
            "differs from here",
            "It runs gatepost 0.9",
        ] {
            assert!(page.contains(part), "{part}: {page}");
        }
        assert!(!page.contains("Enrol a Scanner"), "a reader has no form for it");
    }

    #[tokio::test]
    async fn one_is_enrolled_by_its_code_and_the_token_is_never_shown() {
        let world = Arc::<World>::default();
        let pin = "ab".repeat(32);
        let form = format!("code=https%3A%2F%2Fmx4.example.test%3A8025%2F%23sha256%3D{pin}%26token%3Dgp_secret&name=");
        let (code, _) = post(&world, "Full", "/scanners", &form).await;
        assert_eq!(code, 303);
        {
            let enrolled = world.enrolled.lock().unwrap();
            assert_eq!(
                (enrolled[0].url.as_str(), enrolled[0].pin.as_deref()),
                ("https://mx4.example.test:8025", Some(pin.as_str()))
            );
        }
        let (code, page) = post(&world, "Full", "/scanners", "code=nonsense&name=mx9").await;
        assert!(
            code == 422
                && page.contains("no whole code")
                && page.contains("value=\"mx9\"")
                && !page.contains("nonsense"),
            "{page}"
        );
        let (code, page) = post(&world, "Full", "/scanners", "url=https://bad.test&token=gp_secret").await;
        assert!(
            code == 422
                && page.contains("Not enrolled")
                && page.contains("token: it does not know")
                && !page.contains("gp_secret"),
            "{page}"
        );
        assert_eq!(world.enrolled.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_certificate_is_compared_before_a_token_is_asked_for() {
        let world = Arc::<World>::default();
        let (code, page) = post(&world, "Full", "/scanners/look", "name=&url=https://mx4.example.test").await;
        assert!(
            code == 200 && page.contains("AB:AB:AB") && page.contains("name=\"fingerprint\" value=\"abab"),
            "{page}"
        );
        assert!(page.contains("required") && page.contains("type=\"password\" id=\"token\""), "{page}");
        let (code, page) = post(&world, "Full", "/scanners/look", "name=&url=https://down.test").await;
        assert!(code == 422 && page.contains("no answer") && page.contains("value=\"https://down.test\""), "{page}");
    }

    #[tokio::test]
    async fn the_api_enrols_lists_tests_and_removes() {
        let world = Arc::<World>::default();
        let send = async |method: &str, path: &str, body: &str| {
            let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
            let (code, text) = ask(&world, "Full", request.body(body.to_owned()).unwrap()).await;
            (code.as_u16(), text)
        };
        let (code, text) =
            send("POST", "/api/v1/scanners", r#"{"url":"https://mx4.example.test","token":"gp_x"}"#).await;
        assert!(code == 201 && !text.contains("gp_x"), "{text}");
        let (code, text) = send("POST", "/api/v1/scanners", r#"{"url":"https://bad.test","token":"gp_x"}"#).await;
        assert!(code == 422 && text.contains("\"stage\":\"token\""), "{text}");
        let (_, text) = send("GET", "/api/v1/scanners", "").await;
        assert!(text.contains("\"silent_since\"") && !text.contains("gp_"), "{text}");
        assert_eq!(send("POST", "/api/v1/scanners/mx2/test", "").await.0, 200);
        assert_eq!(send("DELETE", "/api/v1/scanners/mx2", "").await.0, 204);
        assert_eq!(send("DELETE", "/api/v1/scanners/none", "").await.0, 404);
        let (_, text) = send("GET", "/api/v1/scanner", "").await;
        assert!(text.contains("\"role\":\"full\""), "{text}");
    }
}
