//! Kept certificates: upload, request, use, removal. A key that came in is never shown again.

use super::{Found, show};
use crate::page::change::{self, Asked, Wish};
use crate::page::settings::api::carry_out;
use crate::page::{Routes, problem};
use crate::part::form::{self, Field};
use crate::part::setting::Typed;
use crate::part::{shell, time, upload};
use crate::reader::{Examined, Kept, Sent, Shown};
use crate::right::{May, rights};
use crate::{Account, Center, Note, Problem};
use axum::extract::{Multipart, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Json};
use decide::settings::Edit;
use mail::Time;
use maud::{Markup, html};
use serde::Deserialize;
use utoipa_axum::routes;

/// Octets of a chain with its key; the longest chains have some 20,000.
const SENT_MAX: usize = 256 << 10;

pub(super) fn routes() -> Routes {
    Routes::new()
        .route("/certificates/upload", post(upload))
        .route("/certificates/request", post(request))
        .route("/certificates/use", post(use_it))
        .route("/certificates/forget", post(forget))
        .routes(routes!(kept_api, keep_api))
        .routes(routes!(use_api))
        .routes(routes!(forget_api))
        .routes(routes!(request_api))
}

type Admin = May<rights::Administer>;

/// Listeners to choose from: the Control Center's own certificate is named in the host's file.
fn choices(all: &[Shown]) -> Vec<&str> {
    all.iter().map(|one| one.listener.as_str()).filter(|name| name.starts_with("listener.")).collect()
}

fn ticks(all: &[Shown], ticked: bool) -> Markup {
    html! { @for name in choices(all) { label { input type="checkbox" name="listener" value=(name) checked[ticked]; " " (name) } " " } }
}

pub(super) fn table(kept: &[Kept], all: &[Shown], may: bool, version: i64, now: Time) -> Markup {
    html! { @if !kept.is_empty() {
        h2 { "Uploaded and requested" }
        div.scroll tabindex="0" role="region" aria-label="Uploaded certificates" { table {
            thead { tr { th { "Name" } th { "For" } th { "Valid until" } th { "Used by" } @if may { th { span.unseen { "Change" } } } } }
            tbody { @for one in kept { tr {
                th scope="row" { (one.name) }
                td { @match (&one.certificate, &one.request) {
                    (Some(certificate), _) => (certificate.names.join(", ")),
                    (None, Some(request)) => { details { summary { "Waits for its certificate; the request" } pre #(format!("request-{}", one.name)) { (request) } button type="button" data-copy=(format!("[id='request-{}']", one.name)) { "Copy" } } }
                    (None, None) => "its file cannot be read",
                } }
                td { @if let Some(end) = one.certificate.as_ref().and_then(|certificate| certificate.not_after) { (time::ago(end, now)) } }
                td { @if one.used_by.is_empty() { "nobody" } @else { (one.used_by.join(", ")) } }
                @if may { td { div.stack {
                    @if one.request.is_none() { form.row method="post" action="/certificates/use" {
                        input type="hidden" name="name" value=(one.name);
                        input type="hidden" name="version" value=(version);
                        (ticks(all, false))
                        button type="submit" { "Use for those ticked" }
                    } }
                    @if one.used_by.is_empty() { form method="post" action="/certificates/forget" {
                        input type="hidden" name="name" value=(one.name);
                        button.danger type="submit" aria-label=(format!("Remove {}", one.name)) { "Remove" }
                    } }
                } } }
            } } }
        } }
    } }
}

pub(super) fn forms(found: &Found, all: &[Shown]) -> Markup {
    html! {
        h2 { "Upload a certificate" }
        form method="post" action="/certificates/upload" enctype="multipart/form-data" autocomplete="off" {
            (form::area(6, Field { name: "chain", label: "Certificate and chain (PEM)", value: &found.chain, hint: "The server's own certificate and the intermediate ones, in any order.", ..Field::default() }))
            p { label { "or its file " input type="file" name="chain"; } }
            (form::area(4, Field { name: "key", label: "Private key (PEM)", hint: "Kept in the data folder for the gateway alone and never shown again. Empty: it stands in the certificate's file, or the certificate was requested below.", ..Field::default() }))
            p { label { "or its file " input type="file" name="key"; } }
            p { "Use it for " (ticks(all, true)) }
            p { button.primary type="submit" { "Check and preview" } }
        }
        h2 { "Request a certificate" }
        form method="post" action="/certificates/request" autocomplete="off" {
            (form::text("text", Field { name: "names", label: "Host names", value: &found.names, hint: "Parted by spaces, the main one first. The gateway makes a key, which stays here, and a request to send to an authority; upload the certificate that comes back, without a key.", ..Field::default() }))
            p { button type="submit" { "Make a request" } }
        }
    }
}

async fn upload(may: Admin, State(center): State<Center>, form: Multipart) -> Response {
    let typed = match upload::texts(form, SENT_MAX).await {
        Ok(fields) => Typed(fields),
        Err(wrong) => return show(&center, &may.account, Found { wrong: Some(wrong), ..Found::default() }).await,
    };
    let text = |name: &str| typed.of(name).unwrap_or_default().to_owned();
    let sent = Sent { chain: text("chain"), key: text("key") };
    // A key that was pasted with its certificate does not go back either.
    let chain = if sent.chain.contains("PRIVATE KEY") { String::new() } else { sent.chain.clone() };
    let looked = center.reader.certificate_examine(sent.clone()).await;
    let examined = match looked {
        Ok(examined) if examined.usable => examined,
        Ok(examined) => {
            return show(&center, &may.account, Found { notes: examined.notes, chain, ..Found::default() }).await;
        }
        Err(wrong) => {
            return show(&center, &may.account, Found { wrong: Some(wrong), chain, ..Found::default() }).await;
        }
    };
    match center.reader.certificate_keep(&may.account, sent).await {
        Err(wrong) => show(&center, &may.account, Found { wrong: Some(wrong), chain, ..Found::default() }).await,
        Ok(kept) => {
            let listeners: Vec<&str> = typed.all("listener").collect();
            preview(&center, &may.account, &kept, &listeners, None, &examined.notes).await
        }
    }
}

/// The settings that make listeners show it.
fn edits(kept: &Kept, listeners: &[&str]) -> Vec<Edit> {
    let set = |path: String, file: &str| Edit::Set { path, value: serde_json::Value::from(file).to_string() };
    let both = |name: &&str| {
        [set(format!("{name}.certificate"), &kept.chain_file), set(format!("{name}.key"), &kept.key_file)]
    };
    listeners.iter().flat_map(both).collect()
}

async fn preview(
    center: &Center,
    account: &Account,
    kept: &Kept,
    listeners: &[&str],
    base: Option<i64>,
    notes: &[Note],
) -> Response {
    let all = center.reader.certificates().await;
    let known: Vec<&str> = listeners.iter().copied().filter(|name| choices(&all).contains(name)).collect();
    if known.is_empty() {
        let good = format!("{} is kept here. No listener shows it yet.", kept.name);
        return show(center, account, Found { good, notes: notes.to_vec(), ..Found::default() }).await;
    }
    let besides = html! {
        @for note in notes { (shell::notice(&note.kind, &note.text)) }
        p { "New connections are shown " (kept.name) " as soon as it is applied." }
    };
    let base = base.unwrap_or_else(|| center.reader.settings().version);
    let wish = Wish::Edits(edits(kept, &known));
    let asked = Asked { account, here: "/certificates", back: "/certificates", wish, base, besides };
    match change::ask(center, &asked).await {
        Ok(answer) => answer,
        Err(complaints) => {
            let what = complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            let wrong = Some(Problem::Failed { what });
            show(center, account, Found { wrong, ..Found::default() }).await
        }
    }
}

async fn find(center: &Center, name: &str) -> Result<Kept, Problem> {
    let found = center.reader.certificates_kept().await.into_iter().find(|kept| kept.name == name);
    let kept = found.ok_or_else(|| Problem::Unknown { what: format!("there is no certificate {name} here") })?;
    match kept.request {
        None => Ok(kept),
        Some(_) => Err(Problem::Conflict { what: format!("{name} is a request: its certificate has not come yet") }),
    }
}

async fn use_it(may: Admin, State(center): State<Center>, Form(fields): Form<Vec<(String, String)>>) -> Response {
    let typed = Typed(fields);
    match find(&center, typed.of("name").unwrap_or_default()).await {
        Err(wrong) => problem::page(&may.account, &wrong),
        Ok(kept) => {
            let listeners: Vec<&str> = typed.all("listener").collect();
            preview(&center, &may.account, &kept, &listeners, typed.version(), &[]).await
        }
    }
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

async fn forget(may: Admin, State(center): State<Center>, Form(typed): Form<Named>) -> Response {
    match center.reader.certificate_forget(&may.account, &typed.name).await {
        Err(wrong) => show(&center, &may.account, Found { wrong: Some(wrong), ..Found::default() }).await,
        Ok(()) => {
            let good = format!("{} is removed, with its key.", typed.name);
            show(&center, &may.account, Found { good, ..Found::default() }).await
        }
    }
}

#[derive(Deserialize)]
struct Names {
    names: String,
}

async fn request(may: Admin, State(center): State<Center>, Form(typed): Form<Names>) -> Response {
    let names = typed.names.split([' ', ',', ';', '\t']).map(str::to_owned).collect();
    let found = match center.reader.certificate_request(&may.account, names).await {
        Ok(kept) => Found {
            good: format!("The request {} stands in the table: send it to an authority.", kept.name),
            ..Found::default()
        },
        Err(wrong) => Found { wrong: Some(wrong), names: typed.names, ..Found::default() },
    };
    show(&center, &may.account, found).await
}

/// Certificates that were uploaded, and requests that wait for theirs. Never a key.
#[utoipa::path(get, path = "/api/v1/certificates/kept", tag = "administration", responses((status = 200, body = Vec<Kept>)))]
async fn kept_api(_: Admin, State(center): State<Center>) -> Json<Vec<Kept>> {
    Json(center.reader.certificates_kept().await)
}

#[derive(Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct How {
    /// Says what it comes to; keeps and changes nothing.
    dry_run: bool,
}

/// Keeps a certificate with its key. 422: it cannot be used, and the notes say why and what to do.
#[utoipa::path(post, path = "/api/v1/certificates/kept", tag = "administration", params(How), request_body = Sent, responses((status = 200, body = Examined), (status = 201, body = Kept), (status = 409, body = Problem), (status = 422, body = Examined)))]
async fn keep_api(
    may: Admin,
    State(center): State<Center>,
    Query(how): Query<How>,
    Json(sent): Json<Sent>,
) -> Result<Response, Problem> {
    let examined = center.reader.certificate_examine(sent.clone()).await?;
    if !examined.usable {
        return Ok((StatusCode::UNPROCESSABLE_ENTITY, Json(examined)).into_response());
    }
    if how.dry_run {
        return Ok(Json(examined).into_response());
    }
    let kept = center.reader.certificate_keep(&may.account, sent).await?;
    Ok((StatusCode::CREATED, Json(kept)).into_response())
}

#[derive(Deserialize, utoipa::ToSchema)]
struct Users {
    /// Such as `["listener.inbound", "listener.submission"]`.
    listeners: Vec<String>,
}

/// Makes listeners show a certificate: a change of settings, held to a version by `If-Match`.
#[utoipa::path(post, path = "/api/v1/certificates/kept/{name}/use", tag = "administration", params(("name" = String, Path), How), request_body = Users, responses((status = 200), (status = 404, body = Problem), (status = 409), (status = 422)))]
async fn use_api(
    may: Admin,
    State(center): State<Center>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(how): Query<How>,
    Json(users): Json<Users>,
) -> Result<Response, Problem> {
    let kept = find(&center, &name).await?;
    let listeners: Vec<&str> = users.listeners.iter().map(String::as_str).collect();
    let all = center.reader.certificates().await;
    if let Some(other) = listeners.iter().find(|name| !choices(&all).contains(name)) {
        let what = format!("{other} is no listener that speaks TLS; there are: {}", choices(&all).join(", "));
        return Err(Problem::Field { field: "listeners".to_owned(), what });
    }
    let wish = Wish::Edits(edits(&kept, &listeners));
    Ok(carry_out(&may.account, &center, &headers, wish, format!("certificate {name}"), how.dry_run).await)
}

/// Removes a certificate that no listener shows, or a request, with its key.
#[utoipa::path(delete, path = "/api/v1/certificates/kept/{name}", tag = "administration", params(("name" = String, Path)), responses((status = 204), (status = 404, body = Problem), (status = 409, body = Problem)))]
async fn forget_api(may: Admin, State(center): State<Center>, Path(name): Path<String>) -> Result<StatusCode, Problem> {
    center.reader.certificate_forget(&may.account, &name).await?;
    Ok(StatusCode::NO_CONTENT)
}

#[derive(Deserialize, utoipa::ToSchema)]
struct Requested {
    /// The main one first.
    names: Vec<String>,
}

/// Makes a key, which stays here, and a request for an authority.
#[utoipa::path(post, path = "/api/v1/certificates/requests", tag = "administration", request_body = Requested, responses((status = 201, body = Kept), (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn request_api(
    may: Admin,
    State(center): State<Center>,
    Json(wanted): Json<Requested>,
) -> Result<Response, Problem> {
    let kept = center.reader.certificate_request(&may.account, wanted.names).await?;
    Ok((StatusCode::CREATED, Json(kept)).into_response())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, ask, get, post, send};
    use axum::http::Request;
    use std::sync::Arc;

    async fn uploaded(world: &Arc<World>, parts: &[(&str, &str)]) -> (u16, String) {
        let part =
            |(head, text): &(&str, &str)| format!("--x\r\nContent-Disposition: form-data; {head}\r\n\r\n{text}\r\n");
        let body = parts.iter().map(part).collect::<String>() + "--x--\r\n";
        let request = Request::post("/certificates/upload").header("content-type", "multipart/form-data; boundary=x");
        let (code, page) = ask(world, "Full", request.body(body).unwrap()).await;
        (code.as_u16(), page)
    }

    #[tokio::test]
    async fn an_upload_is_checked_kept_and_previewed() {
        let world = Arc::<World>::default();
        let file = [
            ("name=\"chain\"", "typed"),
            ("name=\"chain\"; filename=\"mail.pem\"", "good"),
            ("name=\"key\"", "secret"),
            ("name=\"key\"; filename=\"\"", ""),
            ("name=\"listener\"", "listener.inbound"),
        ];
        let (code, page) = uploaded(&world, &file).await;
        assert!(code == 200 && page.contains("Apply now") && page.contains("It ends in 5 days"), "{page}");
        assert!(
            page.contains("/data/certificates/mail-ab12/chain.pem")
                && !page.contains("<code>listener.submission.certificate</code>"),
            "{page}"
        );
        assert!(!page.contains("secret"), "{page}");
        assert_eq!(*world.certificates_kept.lock().unwrap(), ["Full-person keeps"]);
        assert!(world.orders.lock().unwrap().is_empty(), "nothing is in force before it is applied");
    }

    #[tokio::test]
    async fn what_cannot_be_used_is_not_kept_and_its_key_does_not_come_back() {
        let world = Arc::<World>::default();
        let (code, page) = uploaded(&world, &[("name=\"chain\"", "<i>typed"), ("name=\"key\"", "secret")]).await;
        assert!(code == 422 && page.contains("does not belong") && page.contains("&lt;i&gt;typed"), "{page}");
        assert!(!page.contains("secret") && world.certificates_kept.lock().unwrap().is_empty(), "{page}");
        let long = "x".repeat(300 << 10);
        let (code, page) = uploaded(&world, &[("name=\"chain\"", &long)]).await;
        assert!(code == 422 && page.contains("longer than 262144 octets"), "{code}");
        let (code, text) = send(&world, "Full", "POST", "/api/v1/certificates/kept", r#"{"chain":"bad"}"#).await;
        assert!(code == 422 && text.contains("does not belong"), "{code} {text}");
    }

    #[tokio::test]
    async fn one_that_is_kept_is_used_or_removed_and_a_request_waits() {
        let world = Arc::<World>::default();
        let (_, page) = get("ReadOnly", "/certificates").await;
        assert!(page.contains("REQUEST &lt;b&gt;") && !page.contains("Upload a certificate"), "{page}");
        let form = "name=mail-ab12&version=2&listener=listener.submission";
        let (code, page) = post(&world, "Full", "/certificates/use", form).await;
        assert!(
            code == 200 && page.contains("listener.submission.certificate") && page.contains("Apply now"),
            "{page}"
        );
        assert_eq!(post(&world, "Full", "/certificates/use", "name=request-mail-ef56").await.0, 409);
        post(&world, "Full", "/certificates/forget", "name=mail-ab12").await;
        post(&world, "Full", "/certificates/request", "names=a.test+b.test").await;
        assert_eq!(*world.certificates_kept.lock().unwrap(), ["without mail-ab12", "asks for a.test b.test"]);
        let path = "/api/v1/certificates/kept/mail-ab12/use";
        let (code, text) = send(&world, "Full", "POST", path, r#"{"listeners":["listener.inbound"]}"#).await;
        assert!(code == 200 && text.contains("listener.inbound.key"), "{code} {text}");
        assert_eq!(send(&world, "Full", "POST", path, r#"{"listeners":["control"]}"#).await.0, 422);
    }
}
