//! Alerts: what needs somebody now and what did, who was told, and a test.

use crate::page::{Routes, problem};
use crate::part::{shell, time};
use crate::reader::Alert;
use crate::right::{May, rights};
use crate::{Account, Center, Order, Problem, Right};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use mail::Time;
use maud::{Markup, html};
use utoipa_axum::routes;

pub(crate) fn routes() -> Routes {
    Routes::new().route("/alerts", get(page)).route("/alerts/test", post(test)).routes(routes!(list))
}

const SHOWN_MAX: usize = 200;

/// What administrators were told of, newest first, at most 200.
#[utoipa::path(get, path = "/api/v1/alerts", tag = "administration", responses((status = 200, body = Vec<Alert>)))]
async fn list(_: May<rights::Look>, State(center): State<Center>) -> Result<Json<Vec<Alert>>, Problem> {
    center.reader.alerts(SHOWN_MAX).await.map(Json)
}

async fn page(may: May<rights::Look>, State(center): State<Center>) -> Response {
    show(&center, &may.account, html! {}).await
}

async fn test(may: May<rights::Operate>, State(center): State<Center>) -> Response {
    let above = match center.orders.order(&may.account, Order::AlertTest, false).await {
        Ok(done) => shell::notice("info", &done.made.unwrap_or_default()),
        Err(problem) => shell::notice("bad", problem.what()),
    };
    show(&center, &may.account, above).await
}

async fn show(center: &Center, account: &Account, above: Markup) -> Response {
    match center.reader.alerts(SHOWN_MAX).await {
        Err(failed) => problem::page(account, &failed),
        Ok(alerts) => {
            let body = body(account, &alerts, &center.reader.alert_targets(), center.reader.now());
            shell::page(account, "/alerts", "Alerts", html! { (above) (body) }).into_response()
        }
    }
}

fn body(account: &Account, alerts: &[Alert], targets: &[String], now: Time) -> Markup {
    html! {
        @if targets.is_empty() {
            div.notice.warn role="status" { p { "Nobody is told. " a href="/smtp?tab=alerts" { "Name an address or a webhook" } " (alerts.mail_to, alerts.webhook)." } }
        } @else {
            p { "Told: " (targets.join(", ")) ". Once when something begins, once when it is over. Whom, and of what, is set under " code { "alerts" } " in the " a href="/smtp?tab=alerts" { "settings" } "." }
        }
        @if account.role.may(Right::Operate) {
            form method="post" action="/alerts/test" { button type="submit" { "Send a test alert" } }
        }
        h2 { "What there was" }
        @if alerts.is_empty() { (shell::empty("Nothing has needed anybody.")) } @else {
            div.scroll tabindex="0" role="region" aria-label="Alerts" { table {
                thead { tr { th { "What" } th { "Began" } th { "Over" } th { "Told" } } }
                tbody { @for alert in alerts { tr {
                    td.break { (alert.what) br; span.quiet { (alert.about) } }
                    td { (time::ago(alert.began, now)) }
                    td { @match alert.ended { Some(end) => (time::ago(end, now)), None => (shell::badge("bad", "not yet")) } }
                    td.break { (alert.told) }
                } } }
            } }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::Problem;
    use crate::reader::{Alert, AlertReader};
    use crate::testing::{NOW, World, get, post};
    use async_trait::async_trait;
    use mail::Time;
    use std::sync::Arc;

    #[async_trait]
    impl AlertReader for World {
        async fn alerts(&self, _: usize) -> Result<Vec<Alert>, Problem> {
            let alert = |what: &str, ended| Alert {
                about: "disk".to_owned(),
                what: what.to_owned(),
                began: Time(NOW.ms() - 600_000),
                ended,
                told: "begins: mail to admin@example.test".to_owned(),
            };
            Ok(vec![alert("<b>little room", None), alert("no room", Some(NOW))])
        }

        fn alert_targets(&self) -> Vec<String> {
            vec!["admin@example.test".to_owned()]
        }
    }

    #[tokio::test]
    async fn what_is_not_over_stands_out() {
        let (code, page) = get("ReadOnly", "/alerts").await;
        assert!(code == 200 && page.contains("not yet") && page.contains("10 min ago"), "{page}");
        assert!(!page.contains("<b>little") && !page.contains("Send a test"), "{page}");
    }

    #[tokio::test]
    async fn a_test_is_an_order() {
        let world = Arc::<World>::default();
        assert_eq!(post(&world, "ReadOnly", "/alerts/test", "").await.0, 403);
        assert_eq!(post(&world, "Operator", "/alerts/test", "").await.0, 200);
        assert_eq!(*world.orders.lock().unwrap(), [crate::Order::AlertTest]);
    }
}
