//! Backup and restore: settings and accounts as one file, and how to bring it back.

use crate::Center;
use crate::page::{Routes, problem};
use crate::part::shell;
use crate::right::{May, rights};
use axum::extract::State;
use axum::http::header;
use axum::response::{Html, IntoResponse, Response};
use axum::routing::{get, post};
use maud::html;

pub(crate) fn routes() -> Routes {
    Routes::new().route("/backup", get(page)).route("/backup/download", post(download))
}

async fn page(may: May<rights::Administer>) -> Html<String> {
    let body = html! {
        h2 { "Backup" }
        p { "One file with all settings versions, administrators, API tokens and acts, as they are at this moment. Queued mail is not in it: brought back, it would be delivered twice. Keep it as safe as a password: it holds the hashes of all passwords and the secrets of authenticators." }
        form method="post" action="/backup/download" { button.primary type="submit" { "Download a backup" } }
        p { "The same on the gateway's machine, for a timer; with the audit trail too, if you want:" }
        pre { "gatepost backup create /backup/gatepost.tar\ngatepost backup create --records /backup/gatepost-with-records.tar" }
        h2 { "Restore" }
        p { "Stop the gateway, then:" }
        pre { "gatepost backup check /backup/gatepost.tar\ngatepost backup restore /backup/gatepost.tar" }
        p { "The file is checked whole before anything is replaced. What was there stays beside it, as " code { "NAME.before-restore" } ". Nobody is signed in by a backup." }
    };
    shell::page(&may.account, "/backup", "Backup and restore", body)
}

async fn download(may: May<rights::Administer>, State(center): State<Center>) -> Response {
    match center.reader.backup(&may.account).await {
        Err(failed) => problem::page(&may.account, &failed),
        Ok(file) => {
            let day = center.reader.now().rfc3339().chars().take(10).collect::<String>();
            let headers = [
                (header::CONTENT_TYPE, "application/x-tar".to_owned()),
                (header::CONTENT_DISPOSITION, format!("attachment; filename=\"gatepost-{day}.tar\"")),
            ];
            (headers, file).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::reader::BackupReader;
    use crate::testing::{World, get, post};
    use crate::{Account, Problem};
    use async_trait::async_trait;
    use std::sync::Arc;

    #[async_trait]
    impl BackupReader for World {
        async fn backup(&self, by: &Account) -> Result<Vec<u8>, Problem> {
            Ok(format!("backup for {}", by.name).into_bytes())
        }
    }

    #[tokio::test]
    async fn only_full_administrators_take_backups_away() {
        let world = Arc::<World>::default();
        assert_eq!(post(&world, "Full", "/backup/download", "").await.1, "backup for Full-person");
        for who in ["Operator", "ReadOnly", "HelpDesk"] {
            assert_eq!(post(&world, who, "/backup/download", "").await.0, 403);
            assert_eq!(get(who, "/backup").await.0, 403);
        }
    }
}
