//! A backup, for the Control Center.

use crate::door::Question;
use crate::view::View;
use async_trait::async_trait;
use control::{Account, BackupReader, Problem};
use tokio::sync::mpsc;

/// Octets that go through memory; larger ones are for the command line.
const DOWNLOAD_MAX: u64 = 256 << 20;

#[async_trait]
impl BackupReader for View {
    async fn backup(&self, by: &Account) -> Result<Vec<u8>, Problem> {
        let failed = |error: std::io::Error| Problem::Failed { what: format!("the backup failed: {error}") };
        // Beside the data: on the same disk, and no other user sees it.
        let folder = tempfile::tempdir_in(self.0.store.folder()).map_err(failed)?;
        let file = folder.path().join("backup.tar");
        let question = Question::Backup { file: file.clone(), records: false, by: crate::accounts::who(by) };
        let (progress, _) = mpsc::unbounded_channel();
        self.ask_from(&by.from, question, progress).await?;
        tokio::task::spawn_blocking(move || {
            let size = std::fs::metadata(&file)?.len();
            if size > DOWNLOAD_MAX {
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
}
