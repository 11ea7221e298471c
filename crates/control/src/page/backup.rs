//! Backup and restore: settings and accounts as one file, and how to bring it back.

mod restore;

use crate::page::{Routes, problem};
use crate::part::shell;
use crate::right::{May, rights};
use crate::{Account, Center, Problem};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use maud::html;
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new()
        .route("/backup", get(page))
        .route("/backup/download", post(download))
        .routes(routes!(download_api))
        .merge(restore::routes())
}

async fn page(may: May<rights::Administer>) -> Response {
    show(&may.account, "", None)
}

fn show(account: &Account, good: &str, wrong: Option<&Problem>) -> Response {
    let body = html! {
        @if !good.is_empty() { (shell::notice("good", good)) }
        @if let Some(wrong) = wrong { (shell::notice("bad", wrong.what())) }
        h2 { "Backup" }
        p { "One file with all settings versions, administrators, API tokens and acts, as they are at this moment. Queued mail is not in it: brought back, it would be delivered twice. Keep it as safe as a password: it holds the hashes of all passwords and the secrets of authenticators." }
        form method="post" action="/backup/download" { button.primary type="submit" { "Download a backup" } }
        p { "The same on the gateway's machine, for a timer; with the audit trail too, if you want:" }
        pre { "gatepost backup create /backup/gatepost.tar\ngatepost backup create --records /backup/gatepost-with-records.tar" }
        h2 { "Restore" }
        p { "Bring back settings, accounts or both from a backup while the gateway runs. First you see what would change." }
        form method="post" action="/backup/upload" enctype="multipart/form-data" {
            p { label { "Backup file " input type="file" name="file" required; } }
            p { button.primary type="submit" { "Check and preview" } }
        }
        p { "On the gateway's machine everything comes back, with the history of settings and acts, and the audit trail if it is in it. Stop the gateway, then:" }
        pre { "gatepost backup check /backup/gatepost.tar\ngatepost backup restore /backup/gatepost.tar" }
        p { "The file is checked whole before anything is replaced. What was there stays beside it, as " code { "NAME.before-restore" } ". Nobody is signed in by a backup." }
    };
    let code = wrong.map_or(StatusCode::OK, problem::code);
    shell::with(code, shell::page(account, "/backup", "Backup and restore", body))
}

async fn download(may: May<rights::Administer>, State(center): State<Center>) -> Response {
    match file(&may.account, &center).await {
        Err(failed) => problem::page(&may.account, &failed),
        Ok(answer) => answer,
    }
}

/// Settings and accounts of this moment, as one file.
#[utoipa::path(post, path = "/api/v1/backup", tag = "administration", responses((status = 200, content_type = "application/x-tar", body = Vec<u8>)))]
async fn download_api(may: May<rights::Administer>, State(center): State<Center>) -> Result<Response, Problem> {
    file(&may.account, &center).await
}

async fn file(account: &Account, center: &Center) -> Result<Response, Problem> {
    let file = center.reader.backup(account).await?;
    let day = center.reader.now().rfc3339().chars().take(10).collect::<String>();
    let headers = [
        (header::CONTENT_TYPE, "application/x-tar".to_owned()),
        (header::CONTENT_DISPOSITION, format!("attachment; filename=\"gatepost-{day}.tar\"")),
    ];
    Ok((headers, file).into_response())
}

#[cfg(test)]
mod tests {
    use crate::testing::{World, get, post, send};
    use std::sync::Arc;

    #[tokio::test]
    async fn only_full_administrators_take_backups_away() {
        let world = Arc::<World>::default();
        assert_eq!(post(&world, "Full", "/backup/download", "").await.1, "backup for Full-person");
        assert_eq!(send(&world, "Full", "POST", "/api/v1/backup", "").await.1, "backup for Full-person");
        for who in ["Operator", "ReadOnly", "HelpDesk"] {
            assert_eq!(post(&world, who, "/backup/download", "").await.0, 403);
            assert_eq!(send(&world, who, "POST", "/api/v1/backup", "").await.0, 403);
            assert_eq!(get(who, "/backup").await.0, 403);
        }
    }
}
