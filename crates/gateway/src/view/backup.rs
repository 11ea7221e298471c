//! A backup to take away and one to bring back, for the Control Center.

use crate::accounts;
use crate::door::Question;
use crate::view::View;
use async_trait::async_trait;
use axum::body::Bytes;
use control::{Account, BackupReader, Problem, TakenIn};
use mail::Time;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use store::backup::Contents;
use tempfile::NamedTempFile;
use tokio::sync::mpsc;
use tokio::sync::mpsc::Receiver;

/// Octets that go through memory or come in; larger ones are for the command line.
const SIZE_MAX: u64 = 256 << 20;

/// The backup that was taken in last, with its id. It goes when the next comes, or with the gateway.
#[derive(Default)]
pub(crate) struct Aside(Mutex<Option<(String, NamedTempFile)>>);

#[async_trait]
impl BackupReader for View {
    async fn backup(&self, by: &Account) -> Result<Vec<u8>, Problem> {
        let failed = |error: std::io::Error| Problem::Failed { what: format!("the backup failed: {error}") };
        // Beside the data: on the same disk, and no other user sees it.
        let folder = tempfile::tempdir_in(self.0.store.folder()).map_err(failed)?;
        let file = folder.path().join("backup.tar");
        let question = Question::Backup { file: file.clone(), records: false, by: accounts::who(by) };
        let (progress, _) = mpsc::unbounded_channel();
        self.ask_from(&by.from, question, progress).await?;
        tokio::task::spawn_blocking(move || {
            let size = std::fs::metadata(&file)?.len();
            if size > SIZE_MAX {
                let what = format!("it has {} MB: use `gatepost backup create`", size >> 20);
                return Err(std::io::Error::other(what));
            }
            let read = std::fs::read(&file);
            drop(folder);
            read
        })
        .await
        .map_err(|error| Problem::Failed { what: error.to_string() })?
        .map_err(failed)
    }

    async fn backup_take(&self, mut octets: Receiver<Bytes>) -> Result<TakenIn, Problem> {
        let failed = |error: std::io::Error| Problem::Failed { what: format!("the backup cannot be kept: {error}") };
        // Made for the gateway's user alone, as all that tempfile makes.
        let made = tempfile::Builder::new().prefix("backup.").suffix(".tmp").tempfile_in(self.0.store.folder());
        let (mut file, mut size) = (made.map_err(failed)?, 0_u64);
        while let Some(piece) = octets.recv().await {
            size += piece.len() as u64;
            if size > SIZE_MAX {
                let what = format!("it is larger than {} MB: use `gatepost backup restore`", SIZE_MAX >> 20);
                return Err(wrong(what));
            }
            // A piece is some kilobytes; the disk has them in its cache before the next comes.
            tokio::task::block_in_place(|| file.write_all(&piece)).map_err(failed)?;
        }
        let contents = self.contents(file.path().to_owned()).await?;
        let octets: [u8; 16] = rand::random();
        let id: String = octets.iter().map(|octet| format!("{octet:02x}")).collect();
        *self.aside() = Some((id.clone(), file));
        Ok(taken_in(id, contents))
    }

    async fn backup_taken(&self, id: &str) -> Result<TakenIn, Problem> {
        let contents = self.contents(self.path_of(id)?).await?;
        Ok(taken_in(id.to_owned(), contents))
    }

    async fn backup_accounts(&self, by: &Account, id: &str, keep: bool) -> Result<(), Problem> {
        let contents = self.contents(self.path_of(id)?).await?;
        accounts::restore(&self.0, by, contents.administrators, contents.tokens, keep).await
    }
}

fn wrong(what: String) -> Problem {
    Problem::Field { field: "file".to_owned(), what }
}

impl View {
    fn aside(&self) -> std::sync::MutexGuard<'_, Option<(String, NamedTempFile)>> {
        self.3.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn path_of(&self, id: &str) -> Result<PathBuf, Problem> {
        let what = "that backup is not here any more: another was uploaded, or the gateway was started anew".to_owned();
        let aside = self.aside();
        let found = aside.as_ref().filter(|(known, _)| known == id).map(|(_, file)| file.path().to_owned());
        found.ok_or(Problem::Unknown { what })
    }

    async fn contents(&self, file: PathBuf) -> Result<Contents, Problem> {
        let folder = self.0.store.folder().to_owned();
        let read = tokio::task::spawn_blocking(move || store::backup::contents(&file, &folder)).await;
        let read = read.map_err(|error| Problem::Failed { what: error.to_string() })?;
        read.map_err(|error| match error.kind() {
            std::io::ErrorKind::InvalidData => wrong(error.to_string()),
            _ => Problem::Failed { what: format!("the backup cannot be read: {error}") },
        })
    }
}

fn taken_in(id: String, contents: Contents) -> TakenIn {
    let role = |role: String, disabled| if disabled { "disabled".to_owned() } else { role };
    TakenIn {
        id,
        made: Time(contents.backup.made_ms),
        version: contents.backup.version,
        settings: contents.settings.map(|version| version.text).unwrap_or_default(),
        administrators: contents
            .administrators
            .into_iter()
            .map(|one| (one.name, role(one.role, one.disabled)))
            .collect(),
        tokens: contents.tokens.into_iter().map(|one| (one.name, one.role)).collect(),
    }
}
