//! A log for tests.

use super::World;
use crate::{LogAsked, LogFile, LogLine, LogPage, LogReader, Problem};
use async_trait::async_trait;

fn page() -> LogPage {
    let line = LogLine {
        time: "2026 Nov 25 14:00:00 UTC".to_owned(),
        level: "info".to_owned(),
        tag: "ML-REJECT".to_owned(),
        audit_id: "01K8Z6T3WQM2V".to_owned(),
        text: "helo: <script>alert(1)</script>".to_owned(),
    };
    let files = ["maillog", "maillog.1"].map(|name| LogFile { name: name.to_owned(), size: 1000 }).into();
    LogPage { lines: vec![line], before: Some("500.7".to_owned()), end: 1000, looked: 500, files, compressed: 2 }
}

#[async_trait]
impl LogReader for World {
    async fn log(&self, _: &LogAsked, _: Option<&str>, _: usize) -> Result<LogPage, Problem> {
        Ok(page())
    }

    /// One line, then the file is gone.
    async fn log_after(&self, _: &LogAsked, from: u64, _: u64) -> Result<LogPage, Problem> {
        if from == 1000 {
            return Ok(LogPage { end: 2000, ..page() });
        }
        Err(Problem::Failed { what: "gone".to_owned() })
    }

    async fn log_octets(&self, file: &str, from: u64) -> Result<Vec<u8>, Problem> {
        if !["", "maillog", "maillog.1"].contains(&file) {
            return Err(Problem::Unknown { what: format!("no file {file:?}") });
        }
        let all = b"first piece, second piece";
        let from = usize::try_from(from).unwrap_or(usize::MAX).min(all.len());
        Ok(all[from..(from + 13).min(all.len())].to_vec())
    }
}
