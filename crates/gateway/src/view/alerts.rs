//! What administrators were told of, for the Control Center.

use crate::view::View;
use async_trait::async_trait;
use control::{Alert, AlertReader, Problem};

#[async_trait]
impl AlertReader for View {
    async fn alerts(&self, limit: usize) -> Result<Vec<Alert>, Problem> {
        let core = self.0.clone();
        let failed = |error: String| Problem::Failed { what: format!("the alerts' database failed: {error}") };
        let found = tokio::task::spawn_blocking(move || core.store.alarms().history(limit)).await;
        let found = found.map_err(|error| failed(error.to_string()))?.map_err(|error| failed(error.to_string()))?;
        let one = |alarm: store::Alarm| Alert {
            about: alarm.key,
            what: alarm.what,
            began: alarm.began,
            ended: alarm.ended,
            told: alarm.told,
        };
        Ok(found.into_iter().map(one).collect())
    }

    fn alert_targets(&self) -> Vec<String> {
        let alerts = self.0.in_force().settings.alerts.clone();
        // The rest of a webhook's address is a key to it.
        let host = |address: &str| address.split('/').nth(2).map(|host| format!("webhook at {host}"));
        let webhook = alerts.webhook.and_then(|address| host(&address.0));
        alerts.mail_to.iter().map(ToString::to_string).chain(webhook).collect()
    }
}
