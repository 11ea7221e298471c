//! What the setup asks, for the Control Center.

use crate::door::Question;
use crate::view::{View, field};
use async_trait::async_trait;
use control::{Looked, Problem, SetupReader};
use decide::identity::State;

#[async_trait]
impl SetupReader for View {
    async fn document(&self) -> Result<String, Problem> {
        let document = self.ask(Question::SettingsExport { version: None }).await?;
        Ok(document.as_str().unwrap_or_default().to_owned())
    }

    fn is_owned_by_file(&self) -> bool {
        let current = tokio::task::block_in_place(|| self.0.store.settings_current());
        current.is_ok_and(|version| version.is_some_and(|version| version.author == "settings_file"))
    }

    async fn look(&self, hostname: &str) -> Result<Vec<Looked>, Problem> {
        let report = crate::identity::check(&self.0, Some(field("hostname", hostname)?)).await;
        let kind = |state| match state {
            State::Ok => "good",
            State::Note => "info",
            State::NotChecked => "plain",
            State::Warning => "warn",
            State::Problem => "bad",
        };
        let one =
            |line: decide::identity::Line| Looked { kind: kind(line.state), sentence: line.sentence, fix: line.fix };
        Ok(report.lines.into_iter().map(one).collect())
    }
}
