//! Restore: a backup is uploaded, checked whole, compared with what there is, and brought back while the gateway runs: its settings
//! as a new version, its accounts in place of those that there are.

use super::show;
use crate::page::change::{self, Wish};
use crate::page::settings::api::said;
use crate::page::{Routes, problem};
use crate::part::form::{self, Field};
use crate::part::setting::{self, Typed};
use crate::part::{shell, time};
use crate::reader::TakenIn;
use crate::right::{May, rights};
use crate::{Account, Center, Order, Problem};
use axum::body::{Body, Bytes};
use axum::extract::{DefaultBodyLimit, Multipart, Query, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::post;
use axum::{Form, Json};
use maud::{Markup, html};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use tokio::sync::mpsc::channel;
use utoipa_axum::routes;

pub(super) fn routes() -> Routes {
    // The bound is where the file is kept: it never lies in memory.
    Routes::new()
        .route("/backup/upload", post(upload))
        .routes(routes!(restore_api))
        .layer(DefaultBodyLimit::disable())
        .route("/backup/restore", post(restore))
}

type Admin = May<rights::Administer>;

fn unread(what: String) -> Problem {
    Problem::Field { field: "file".to_owned(), what }
}

async fn upload(may: Admin, State(center): State<Center>, form: Multipart) -> Response {
    match take_form(&center, form).await {
        Ok(taken) => preview(&center, &may.account, &taken, None).await,
        Err(wrong) => show(&may.account, "", Some(&wrong)),
    }
}

async fn take_form(center: &Center, mut form: Multipart) -> Result<TakenIn, Problem> {
    let missing = || unread("No file was chosen.".to_owned());
    let mut field = form.next_field().await.map_err(|error| unread(error.body_text()))?.ok_or_else(missing)?;
    let (sender, receiver) = channel::<Bytes>(4);
    let feed = async move {
        loop {
            match field.chunk().await {
                Ok(None) => return Ok(()),
                Err(error) => return Err(unread(format!("the upload broke off: {}", error.body_text()))),
                Ok(Some(piece)) => {
                    // Whoever keeps it has had enough: that says why.
                    if sender.send(piece).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    };
    let (fed, taken) = tokio::join!(feed, center.reader.backup_take(receiver));
    fed.and(taken)
}

async fn take_body(center: &Center, body: Body) -> Result<TakenIn, Problem> {
    use futures_core::Stream;
    let mut pieces = Box::pin(body.into_data_stream());
    let (sender, receiver) = channel::<Bytes>(4);
    let feed = async move {
        loop {
            match std::future::poll_fn(|context| pieces.as_mut().poll_next(context)).await {
                None => return Ok(()),
                Some(Err(error)) => return Err(unread(format!("the upload broke off: {error}"))),
                Some(Ok(piece)) => {
                    if sender.send(piece).await.is_err() {
                        return Ok(());
                    }
                }
            }
        }
    };
    let (fed, taken) = tokio::join!(feed, center.reader.backup_take(receiver));
    fed.and(taken)
}

/// Somebody or some token, before and after: absent, or a role.
#[derive(Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
struct Differs {
    name: String,
    now: Option<String>,
    then: Option<String>,
}

fn differences(now: BTreeMap<String, String>, then: &[(String, String)]) -> Vec<Differs> {
    let then: BTreeMap<&String, &String> = then.iter().map(|(name, role)| (name, role)).collect();
    let mut names: Vec<&String> = now.keys().chain(then.keys().copied()).collect();
    names.sort();
    names.dedup();
    let one = |name: &String| Differs {
        name: name.clone(),
        now: now.get(name).cloned(),
        then: then.get(name).map(|role| (*role).clone()),
    };
    names.into_iter().map(one).filter(|one| one.now != one.then).collect()
}

async fn accounts(center: &Center, taken: &TakenIn) -> Result<[Vec<Differs>; 2], Problem> {
    let word = |disabled, role: crate::Role| if disabled { "disabled" } else { role.word() }.to_owned();
    let all = center.accounts.administrators().await?;
    let people = all.into_iter().map(|one| (one.name, word(one.disabled, one.role))).collect();
    let tokens = center.accounts.tokens().await?.into_iter().map(|one| (one.name, word(false, one.role))).collect();
    Ok([differences(people, &taken.administrators), differences(tokens, &taken.tokens)])
}

async fn preview(center: &Center, account: &Account, taken: &TakenIn, wrong: Option<&Problem>) -> Response {
    let now = center.reader.settings().version;
    let found = change::preview(center, now, &Wish::Text(taken.settings.clone())).await;
    let compared = accounts(center, taken).await;
    let (found, [people, tokens]) = match (found, compared) {
        (Ok(found), Ok(compared)) => (found, compared),
        (Err(failed), _) | (_, Err(failed)) => return problem::page(account, &failed),
    };
    let settings = found.is_good() && !found.changes.is_empty() && found.now.file.is_none();
    let is_same = people.is_empty() && tokens.is_empty();
    let body = html! {
        @if let Some(wrong) = wrong { (shell::notice("bad", wrong.what())) }
        p.lead { "Nothing is changed yet. This backup was made " (time::exact(taken.made)) " by gatepost " (taken.version) " and is sound." }
        form action="/backup/restore" method="post" {
            input type="hidden" name="id" value=(taken.id);
            input type="hidden" name="version" value=(now);
            h2 { "Settings" }
            @if !found.is_good() {
                (shell::notice("warn", "Its settings do not fit this gateway and cannot be brought back here:"))
                (setting::complaints(&found.checked.complaints.iter().collect::<Vec<_>>()))
            } @else if found.changes.is_empty() { p { "They are the same as those in force." } }
            @else {
                (setting::changes(&found.changes))
                @match &found.now.file {
                    Some(file) => (change::file_notice(file)),
                    None => (form::tick(true, Field { name: "settings", label: "Bring the settings back", hint: "As a new version; the one in force now stays in the history.", ..Field::default() })),
                }
            }
            h2 { "Administrators and tokens" }
            @if is_same { p { "The same names with the same roles. Passwords and second steps may be older in the backup." } }
            @else { (table("Administrator", &people)) (table("Token", &tokens)) }
            (form::tick(false, Field { name: "accounts", label: "Put these accounts in place of those that there are", hint: "Passwords, second steps and tokens are those of the backup. Whoever has another password or role then is signed out.", ..Field::default() }))
            (form::tick(true, Field { name: "keep", label: "Keep my own account as it is", hint: "So that you cannot lock yourself out.", ..Field::default() }))
            p.row { button.primary type="submit" { "Restore what is ticked" } " " a.button href="/backup" { "Leave it as it is" } }
            @if !settings { p.quiet { "Of the settings nothing would change." } }
        }
    };
    let code = wrong.map_or(StatusCode::OK, problem::code);
    shell::with(code, shell::page(account, "/backup", "Restore: preview", body))
}

fn table(what: &str, rows: &[Differs]) -> Markup {
    html! { @if !rows.is_empty() { div.scroll { table {
        thead { tr { th { (what) } th { "Now" } th { "In the backup" } } }
        tbody { @for row in rows { tr {
            th scope="row" { (row.name) }
            td { (row.now.as_deref().unwrap_or("not there")) }
            td { (row.then.as_deref().unwrap_or("not there")) }
        } } }
    } } } }
}

/// What is brought back.
#[derive(Clone, Copy, Debug, Default, Deserialize, utoipa::IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(default)]
struct Chosen {
    /// The settings, as a new version.
    settings: bool,
    /// Administrators and tokens, in place of those that there are.
    accounts: bool,
    /// Whoever asks stays as they are, with their token. Left out: yes.
    keep: Option<bool>,
    /// Says what would change; changes nothing.
    dry_run: bool,
}

/// Accounts come first: they can be refused, and then nothing is done.
async fn carry_out(
    center: &Center,
    by: &Account,
    taken: &TakenIn,
    chosen: Chosen,
    base: i64,
) -> Result<Vec<String>, Problem> {
    let mut done = Vec::new();
    let found = change::preview(center, base, &Wish::Text(taken.settings.clone())).await?;
    if chosen.settings {
        if let Some(file) = &found.now.file {
            let what =
                format!("the settings belong to the file {file} (settings_file in gatepost.toml): change them there");
            return Err(Problem::Conflict { what });
        }
        if found.meanwhile.is_some() {
            let what =
                format!("settings version {} came in force meanwhile: look at the preview again", found.now.version);
            return Err(Problem::Conflict { what });
        }
        if !found.is_good() {
            let what = found.checked.complaints.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
            return Err(unread(format!("the backup's settings do not fit this gateway: {what}")));
        }
    }
    if chosen.accounts {
        center.reader.backup_accounts(by, &taken.id, chosen.keep.unwrap_or(true)).await?;
        done.push("administrators and tokens".to_owned());
    }
    if chosen.settings && !found.changes.is_empty() {
        let comment = format!("restored from the backup of {}", taken.made.rfc3339());
        let order = Order::SettingsApply { text: found.text, comment, base: Some(base) };
        let made = center.orders.order(by, order, false).await?.made.unwrap_or_default();
        done.push(format!("the settings, as version {made}"));
    }
    Ok(done)
}

async fn restore(may: Admin, State(center): State<Center>, Form(fields): Form<Vec<(String, String)>>) -> Response {
    let typed = Typed(fields);
    let taken = match center.reader.backup_taken(typed.of("id").unwrap_or_default()).await {
        Ok(taken) => taken,
        Err(wrong) => return show(&may.account, "", Some(&wrong)),
    };
    let is_ticked = |name: &str| typed.of(name).is_some();
    let chosen = Chosen {
        settings: is_ticked("settings"),
        accounts: is_ticked("accounts"),
        keep: Some(is_ticked("keep")),
        dry_run: false,
    };
    if !chosen.settings && !chosen.accounts {
        return preview(&center, &may.account, &taken, Some(&unread("Nothing is ticked.".to_owned()))).await;
    }
    let base = typed.version().unwrap_or_else(|| center.reader.settings().version);
    match carry_out(&center, &may.account, &taken, chosen, base).await {
        Err(wrong) => preview(&center, &may.account, &taken, Some(&wrong)).await,
        Ok(done) if done.is_empty() => show(&may.account, "Nothing had to be changed.", None),
        Ok(done) => show(&may.account, &format!("Brought back: {}.", done.join("; ")), None),
    }
}

/// What a restore would do, or did.
#[derive(Debug, Serialize, utoipa::ToSchema)]
struct Restored {
    /// When the backup was made, in milliseconds since 1970.
    #[schema(value_type = i64)]
    made: mail::Time,
    /// Of the gatepost that made it.
    version: String,
    /// Difference and complaints, as `/api/v1/settings/check` says them.
    #[schema(value_type = Object)]
    settings: Value,
    administrators: Vec<Differs>,
    tokens: Vec<Differs>,
    /// What was brought back; empty for a dry run.
    done: Vec<String>,
}

/// Brings back settings, accounts or both from a backup, which is the body (at most 256 MB), while the gateway runs. Without
/// `settings` and `accounts` it only says what would change.
#[utoipa::path(post, path = "/api/v1/backup/restore", tag = "administration", params(Chosen), request_body(content = Vec<u8>, content_type = "application/x-tar"), responses((status = 200, body = Restored), (status = 409, body = Problem), (status = 422, body = Problem)))]
async fn restore_api(
    may: Admin,
    State(center): State<Center>,
    Query(chosen): Query<Chosen>,
    body: Body,
) -> Result<Response, Problem> {
    let taken = take_body(&center, body).await?;
    let base = center.reader.settings().version;
    let found = change::preview(&center, base, &Wish::Text(taken.settings.clone())).await?;
    let [administrators, tokens] = accounts(&center, &taken).await?;
    let settings = said(&found);
    let done = if chosen.dry_run { Vec::new() } else { carry_out(&center, &may.account, &taken, chosen, base).await? };
    let (made, version) = (taken.made, taken.version);
    Ok(Json(Restored { made, version, settings, administrators, tokens, done }).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reader::BackupReader;
    use crate::testing::{World, ask, post, send};
    use async_trait::async_trait;
    use axum::http::Request;
    use std::sync::Arc;
    use tokio::sync::mpsc::Receiver;

    fn taken() -> TakenIn {
        TakenIn {
            id: "b1".to_owned(),
            made: mail::Time(0),
            version: "1.2.3".to_owned(),
            settings: "mode = \"drain\"\n".to_owned(),
            administrators: vec![("Full-person".into(), "full".into()), ("<b>eve".into(), "operator".into())],
            tokens: vec![("monitoring".into(), "full".into())],
        }
    }

    #[async_trait]
    impl BackupReader for World {
        async fn backup(&self, by: &Account) -> Result<Vec<u8>, Problem> {
            Ok(format!("backup for {}", by.name).into_bytes())
        }

        async fn backup_take(&self, mut octets: Receiver<Bytes>) -> Result<TakenIn, Problem> {
            let mut all = Vec::new();
            while let Some(piece) = octets.recv().await {
                all.extend_from_slice(&piece);
            }
            if all == b"a backup" {
                Ok(taken())
            } else {
                Err(unread("this backup is no good: it is cut short".to_owned()))
            }
        }

        async fn backup_taken(&self, id: &str) -> Result<TakenIn, Problem> {
            let gone = || Problem::Unknown { what: "that backup is not here any more".to_owned() };
            Some(taken()).filter(|taken| taken.id == id).ok_or_else(gone)
        }

        async fn backup_accounts(&self, by: &Account, _: &str, keep: bool) -> Result<(), Problem> {
            if !keep {
                return Err(Problem::Conflict { what: format!("{} would be locked out by it", by.name) });
            }
            self.restored.lock().unwrap().push(by.name.clone());
            Ok(())
        }
    }

    async fn uploaded(world: &Arc<World>, octets: &str) -> (u16, String) {
        let body = format!(
            "--x\r\nContent-Disposition: form-data; name=\"file\"; filename=\"b.tar\"\r\n\r\n{octets}\r\n--x--\r\n"
        );
        let request = Request::post("/backup/upload").header("content-type", "multipart/form-data; boundary=x");
        let (code, page) = ask(world, "Full", request.body(body).unwrap()).await;
        (code.as_u16(), page)
    }

    #[tokio::test]
    async fn an_upload_shows_what_would_change_and_changes_nothing() {
        let world = Arc::<World>::default();
        let (code, page) = uploaded(&world, "a backup").await;
        assert!(code == 200 && page.contains("<code>mode</code>") && page.contains("value=\"b1\""), "{page}");
        assert!(
            page.contains("&lt;b&gt;eve") && page.contains("HelpDesk-person") && page.contains("not there"),
            "{page}"
        );
        assert!(!page.contains("<th scope=\"row\">Full-person"), "who stays the same is no difference: {page}");
        assert!(world.orders.lock().unwrap().is_empty() && world.restored.lock().unwrap().is_empty());
        let (code, page) = uploaded(&world, "some picture").await;
        assert!(code == 422 && page.contains("it is cut short") && page.contains("Download a backup"), "{code} {page}");
    }

    #[tokio::test]
    async fn what_is_ticked_is_brought_back() {
        let world = Arc::<World>::default();
        let (code, page) =
            post(&world, "Full", "/backup/restore", "id=b1&version=2&settings=on&accounts=on&keep=on").await;
        assert!(code == 200 && page.contains("administrators and tokens"), "{page}");
        assert_eq!(*world.restored.lock().unwrap(), ["Full-person"]);
        assert!(
            matches!(&world.orders.lock().unwrap()[..], [Order::SettingsApply { text, base: Some(2), .. }] if text.contains("drain"))
        );
        assert_eq!(post(&world, "Full", "/backup/restore", "id=b0&settings=on").await.0, 404);
        assert_eq!(post(&world, "Full", "/backup/restore", "id=b1&version=2").await.0, 422);
    }

    #[tokio::test]
    async fn who_would_be_locked_out_is_told_before_anything_is_done() {
        let world = Arc::<World>::default();
        let (code, page) = post(&world, "Full", "/backup/restore", "id=b1&version=2&settings=on&accounts=on").await;
        assert!(
            code == 409 && page.contains("would be locked out") && page.contains("Restore what is ticked"),
            "{page}"
        );
        let (code, page) =
            post(&world, "Full", "/backup/restore", "id=b1&version=1&settings=on&accounts=on&keep=on").await;
        assert!(code == 409 && page.contains("came in force meanwhile"), "{page}");
        assert!(world.orders.lock().unwrap().is_empty() && world.restored.lock().unwrap().is_empty());
    }

    #[tokio::test]
    async fn tools_try_it_out_first() {
        let world = Arc::<World>::default();
        let (code, text) = send(&world, "Full", "POST", "/api/v1/backup/restore", "a backup").await;
        assert!(code == 200 && text.contains("\"done\":[]") && text.contains("\"path\":\"mode\""), "{code} {text}");
        let path = "/api/v1/backup/restore?settings=true&accounts=true";
        let (_, dry) = send(&world, "Full", "POST", &format!("{path}&dry_run=true"), "a backup").await;
        assert!(dry.contains("\"done\":[]") && world.orders.lock().unwrap().is_empty());
        let (code, text) = send(&world, "Full", "POST", path, "a backup").await;
        assert!(code == 200 && text.contains("administrators and tokens"), "{code} {text}");
        assert_eq!(send(&world, "Full", "POST", path, "").await.0, 422);
    }
}
