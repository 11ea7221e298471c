//! Client: one question to another Scanner's API, with its token, over a connection that was looked at first.

use super::ANSWER_MAX;
use crate::core::Core;
use crate::http::{self, Place, Trust};
use axum::body::Body;
use axum::http::{Request, header};
use control::{Answer, Call, Contact, Stage, Trouble};
use store::Scanner;
use tokio::time::timeout;

/// Who is asked.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    /// As it is enrolled; empty: it is not yet.
    pub(crate) name: String,
    pub(crate) url: String,
    pub(crate) pin: Option<String>,
    pub(crate) token: String,
}

impl Target {
    pub(crate) fn of(scanner: &Scanner) -> Target {
        let Scanner { name, url, pin, token, .. } = scanner.clone();
        Target { name, url, pin, token }
    }
}

/// Asks; `for_whom` is the administrator in whose name. `way` is told how far it came.
pub(crate) async fn call(
    core: &Core,
    target: &Target,
    call: &Call,
    for_whom: Option<&str>,
    way: &mut Contact,
) -> Result<Answer, Trouble> {
    let late = |way: &Contact| Trouble {
        stage: way.went.last().map_or(Stage::Name, |went| after(went.stage)),
        what: format!("no answer within {} s", call.patience.as_secs()),
        fix: "Is that gateway overloaded, or does a firewall swallow what is sent?".to_owned(),
    };
    match timeout(call.patience, talk(core, target, call, for_whom, way)).await {
        Ok(answer) => answer,
        Err(_) => Err(late(way)),
    }
}

fn after(stage: Stage) -> Stage {
    match stage {
        Stage::Address => Stage::Name,
        Stage::Name => Stage::Connect,
        Stage::Connect => Stage::Certificate,
        _ => Stage::Answer,
    }
}

async fn talk(
    core: &Core,
    target: &Target,
    call: &Call,
    for_whom: Option<&str>,
    way: &mut Contact,
) -> Result<Answer, Trouble> {
    let place = address(&target.url)?;
    if target.token.is_empty() {
        let fix = "Make a new token on that Scanner (gatepost scanner invite) and enter it here.";
        let what = "there is no token for it: a backup that was restored holds none".to_owned();
        return Err(Trouble { stage: Stage::Token, what, fix: fix.to_owned() });
    }
    let trust = target.pin.as_deref().map_or(Trust::Authorities, Trust::Pin);
    let stream = http::open(core, &place, trust, true, way).await?;
    let broken = |what: String| {
        let fix = "Is that the port of its Control Center, and does that speak as the address says, https or http?";
        Trouble { stage: Stage::Answer, what: format!("it does not answer as HTTP: {what}"), fix: fix.to_owned() }
    };
    let mut request = match &call.body {
        Some(_) => Request::post(&call.path),
        None => Request::get(&call.path),
    }
    .header(header::HOST, &place.authority)
    .header(header::AUTHORIZATION, format!("Bearer {}", target.token))
    .header(header::CONTENT_TYPE, "application/json")
    .header(header::USER_AGENT, concat!("gatepost/", env!("CARGO_PKG_VERSION")));
    if let Some(version) = call.version {
        request = request.header(header::IF_MATCH, format!("\"{version}\""));
    }
    if let Some(name) = for_whom {
        request = request.header(control::ON_BEHALF, name);
    }
    let body = call.body.as_ref().map_or_else(Body::empty, |body| Body::from(body.to_string()));
    let request = request.body(body).map_err(|error| broken(error.to_string()))?;
    let (code, body) = http::say(stream, request, ANSWER_MAX).await.map_err(broken)?;
    Ok(Answer { code, body })
}

/// An address of a Control Center: a whole one, without a path.
pub(crate) fn address(url: &str) -> Result<Place, Trouble> {
    let wrong = |what: String| Trouble {
        stage: Stage::Address,
        what,
        fix: "Write it as https://mx2.example.test:8025, as the other gateway prints it at its start.".to_owned(),
    };
    let place = Place::read(url).map_err(wrong)?;
    if place.path != "/" {
        return Err(wrong(format!("{url}: nothing follows the host and port")));
    }
    Ok(place)
}
