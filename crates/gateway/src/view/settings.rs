//! What the pages of settings know: versions, and what this host says of a document.

use crate::core::Core;
use crate::door;
use crate::view::{View, field};
use async_trait::async_trait;
use control::{Checked, Document, Looks, Problem, RouteTry, SettingsReader, Version};
use decide::settings::Settings;
use std::sync::Arc;
use tokio::task::block_in_place;

#[async_trait]
impl SettingsReader for View {
    fn settings(&self) -> Document {
        let in_force = self.0.in_force();
        Document {
            version: in_force.version,
            settings: in_force.settings.clone(),
            file: self.0.settings_file.get().map(|file| file.display().to_string()),
            hostname: in_force.hostname.to_string(),
        }
    }

    fn settings_of(&self, version: i64) -> Result<Document, Problem> {
        let now = self.settings();
        if version == now.version {
            return Ok(now);
        }
        let text = self.settings_text(version)?;
        let settings = block_in_place(|| Settings::read(&text)).map_err(|complaints| Problem::Failed {
            what: format!("settings version {version} no longer fits:\n{}", door::complain(&complaints)),
        })?;
        Ok(Document { version, settings: Arc::new(settings), ..now })
    }

    fn settings_text(&self, version: i64) -> Result<String, Problem> {
        let number = u64::try_from(version).unwrap_or_default();
        let found = block_in_place(|| self.0.store.settings_version(number)).map_err(failed)?;
        match found {
            Some(version) => Ok(version.text),
            // No version was made yet: the defaults are in force.
            None if version == 0 => Ok(String::new()),
            None => Err(Problem::Unknown { what: format!("there is no settings version {version}") }),
        }
    }

    fn settings_history(&self) -> Result<Vec<Version>, Problem> {
        let versions = block_in_place(|| self.0.store.settings_history()).map_err(failed)?;
        let line = |version: store::Version| Version {
            number: i64::try_from(version.number).unwrap_or(i64::MAX),
            at: version.at,
            author: version.author,
            comment: version.comment,
        };
        Ok(versions.into_iter().map(line).collect())
    }

    async fn settings_check(&self, text: &str) -> Checked {
        match door::examine(&self.0, text).await {
            Ok(settings) => {
                Checked { notes: settings.notes(), settings: Some(Arc::new(settings)), complaints: Vec::new() }
            }
            Err(complaints) => Checked { settings: None, complaints, notes: Vec::new() },
        }
    }

    fn identity(&self) -> Option<Looks> {
        self.0.desk.last().map(looks)
    }

    async fn identity_check(&self, hostname: Option<&str>) -> Result<Looks, Problem> {
        let hostname = hostname.map(|name| field("hostname", name)).transpose()?;
        Ok(looks(crate::identity::check(&self.0, hostname).await))
    }

    async fn settings_route(&self, settings: Arc<Settings>, domain: &str) -> Result<RouteTry, Problem> {
        route(&self.0, settings, domain).await
    }
}

fn looks(report: crate::identity::Report) -> Looks {
    Looks { at: report.time, hostname: report.hostname.to_string(), proposed: report.proposed, lines: report.lines }
}

fn failed(error: std::io::Error) -> Problem {
    Problem::Failed { what: format!("the settings cannot be read: {error}") }
}

/// Where mail would go if these settings were in force.
async fn route(core: &Arc<Core>, settings: Arc<Settings>, domain: &str) -> Result<RouteTry, Problem> {
    let domain: mail::Domain = field("name", domain)?;
    let tried = core.would_be(settings);
    let found = door::route_with(core, &tried, &domain).await;
    let lines = |key: &str, line: &dyn Fn(&serde_json::Value) -> String| -> Vec<String> {
        found[key].as_array().into_iter().flatten().map(line).collect()
    };
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let hop = |value: &serde_json::Value| format!("{} [{}]", text(&value["host"]), text(&value["address"]));
    Ok(RouteTry {
        domain: domain.to_string(),
        rule: text(&found["rule"]),
        verdict: text(&found["verdict"]),
        dns: lines("dns", &text),
        candidates: lines("candidates", &hop),
        dropped: lines("dropped", &|value| format!("{}: {}", hop(value), text(&value["why"]))),
    })
}
