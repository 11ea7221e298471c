//! Account: who is asking, and how somebody becomes known: administrators, their sessions, their tokens, their acts.

use crate::{Center, Problem, Role};
use async_trait::async_trait;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use mail::Time;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::net::IpAddr;

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub role: Role,
    /// By an API token of this name, not by a browser's session.
    pub token: Option<String>,
    /// For whom that token says that it acts: an administrator of another gateway's Control Center. Nobody vouches for it.
    pub on_behalf: Option<String>,
    /// The address it came from.
    pub from: String,
}

/// How a request came to us; whoever accepts connections puts it into the request's extensions.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    pub address: IpAddr,
    pub tls: bool,
}

/// What a request says of who sent it.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The session cookie's value.
    pub session: Option<String>,
    /// `Authorization: Bearer`.
    pub bearer: Option<String>,
    /// [`ON_BEHALF`].
    pub on_behalf: Option<String>,
    pub peer: Peer,
    /// What the browser calls itself.
    pub agent: String,
}

/// The administrators, their sessions and their tokens; the gateway keeps them.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Whose session or token this is; `None`: nobody's, or it has ended.
    async fn who(&self, visitor: &Visitor) -> Option<Account>;

    /// The same, asked again while a page stands open: that alone keeps no session alive.
    async fn still(&self, visitor: &Visitor) -> Option<Account>;

    /// Whether nobody has been made an administrator yet.
    async fn is_new(&self) -> bool;

    /// Whether this is the key of the first start's link, and still good.
    async fn is_first_key(&self, key: &str) -> bool;

    /// Makes the first administrator; gives the session.
    async fn first(&self, key: &str, name: &str, password: &str, visitor: &Visitor) -> Result<String, Problem>;

    /// Name and password.
    async fn sign_in(&self, name: &str, password: &str, visitor: &Visitor) -> Entry;

    /// The code of the second factor, or a recovery code; `ticket` is that of [`Entry::Code`].
    async fn second(&self, ticket: &str, code: &str, visitor: &Visitor) -> Entry;

    async fn sign_out(&self, visitor: &Visitor);

    /// Changes an account: one's own, or another's. Whether `by` may has been asked before.
    async fn change(&self, by: &Account, visitor: &Visitor, change: Change) -> Result<Given, Problem>;

    /// By name.
    async fn administrators(&self) -> Result<Vec<Administrator>, Problem>;

    /// Of one administrator; last seen first.
    async fn sessions(&self, name: &str, visitor: &Visitor) -> Result<Vec<Session>, Problem>;

    async fn tokens(&self) -> Result<Vec<Token>, Problem>;

    /// What administrators did, newest first.
    async fn acts(&self, term: &str, limit: usize) -> Result<Vec<Act>, Problem>;

    /// A new secret for the second factor, in base32, and its `otpauth:` address.
    fn secret(&self, name: &str) -> (String, String);
}

/// What came of a sign-in. Why somebody was refused is told to nobody.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// The session's secret, for the cookie.
    In(String),
    /// The password was right; the second factor is asked for, with this ticket.
    Code(String),
    Refused,
    /// Too many sign-ins at once.
    Busy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(tag = "change", rename_all = "kebab-case")]
pub enum Change {
    Add {
        name: String,
        role: Role,
        password: String,
    },
    Role {
        name: String,
        role: Role,
    },
    Disable {
        name: String,
    },
    Enable {
        name: String,
    },
    /// Forgets failed sign-ins.
    Unlock {
        name: String,
    },
    /// A new password for somebody else; `factor`: also without the second factor.
    Reset {
        name: String,
        password: String,
        #[serde(default)]
        factor: bool,
    },
    /// Takes somebody else's second factor away.
    NoFactor {
        name: String,
    },
    EndSessions {
        name: String,
    },
    Remove {
        name: String,
    },
    AddToken {
        name: String,
        role: Role,
        /// Days until it expires.
        days: Option<u32>,
    },
    RemoveToken {
        name: String,
    },
    OwnPassword {
        old: String,
        new: String,
    },
    /// Ends a session of one's own, or all others.
    OwnSession {
        id: Option<String>,
    },
    /// Begins to ask for a second factor: the secret, and a code made with it.
    OwnFactor {
        secret: String,
        code: String,
    },
    OwnNoFactor {
        password: String,
    },
}

/// What a change gives, shown once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// A token, or recovery codes.
    pub secrets: Vec<String>,
    /// The session that takes the place of the one that the change ended.
    pub session: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Administrator {
    pub name: String,
    pub role: Role,
    /// A second factor is asked for.
    pub factor: bool,
    pub disabled: bool,
    /// Too many sign-ins failed; none is tried before.
    #[schema(value_type = Option<i64>)]
    pub locked_until: Option<Time>,
    #[schema(value_type = i64)]
    pub created: Time,
    #[schema(value_type = Option<i64>)]
    pub signed_in: Option<Time>,
    pub sessions: u64,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Session {
    /// Names it, and is not its secret.
    pub id: String,
    #[schema(value_type = i64)]
    pub created: Time,
    #[schema(value_type = i64)]
    pub seen: Time,
    pub address: String,
    pub agent: String,
    /// The one that asks.
    pub current: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Token {
    pub name: String,
    pub role: Role,
    /// Who made it. It works while they may sign in and may all that it may.
    pub by: String,
    /// Made on the command line: it stands on nobody's rights.
    pub apart: bool,
    /// Why it opens nothing now, if so.
    pub stopped: Option<String>,
    #[schema(value_type = i64)]
    pub created: Time,
    #[schema(value_type = Option<i64>)]
    pub used: Option<Time>,
    #[schema(value_type = Option<i64>)]
    pub expires: Option<Time>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, utoipa::ToSchema)]
pub struct Act {
    #[schema(value_type = i64)]
    pub at: Time,
    pub who: String,
    /// Address, or "command line".
    pub place: String,
    pub what: String,
    pub fields: Value,
}

/// The session cookie. `__Host-` binds it to this host and to TLS, where browsers keep to it.
pub(crate) fn cookie(tls: bool) -> &'static str {
    if tls { "__Host-gatepost" } else { "gatepost" }
}

/// The header by which another Control Center says who acts through its token.
pub const ON_BEHALF: &str = "gatepost-on-behalf-of";

/// Characters kept of a browser's name.
const AGENT_MAX: usize = 200;
/// And of whom somebody acts for.
const WHOM_MAX: usize = 200;

impl Visitor {
    pub(crate) fn of(parts: &Parts) -> Visitor {
        let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
        let peer = parts.extensions.get::<Peer>().copied();
        let peer = peer.unwrap_or(Peer { address: IpAddr::from([127, 0, 0, 1]), tls: false });
        // Two cookies of one name: somebody planted one. Which is ours cannot be told.
        let mut named = text("cookie").into_iter().flat_map(|all| all.split(';')).filter_map(|pair| {
            pair.trim().split_once('=').filter(|(name, _)| *name == cookie(peer.tls)).map(|(_, value)| value.to_owned())
        });
        let session = named.next().filter(|_| named.next().is_none());
        let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
        let agent = text("user-agent").unwrap_or_default().chars().take(AGENT_MAX).collect();
        let on_behalf = text(ON_BEHALF).map(|name| name.chars().take(WHOM_MAX).collect());
        Visitor { session, bearer, on_behalf, peer, agent }
    }
}

impl FromRequestParts<Center> for Visitor {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &Center) -> Result<Visitor, Self::Rejection> {
        Ok(Visitor::of(parts))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::Request;

    fn visitor(cookies: &str, tls: bool) -> Visitor {
        let (mut parts, ()) = Request::get("/").header("cookie", cookies).body(()).unwrap().into_parts();
        parts.extensions.insert(Peer { address: IpAddr::from([192, 0, 2, 1]), tls });
        Visitor::of(&parts)
    }

    #[test]
    fn a_cookie_that_another_host_could_have_planted_is_none() {
        assert_eq!(visitor("a=b; gatepost=x", false).session.as_deref(), Some("x"));
        assert_eq!(visitor("gatepost=x", true).session, None);
        assert_eq!(visitor("__Host-gatepost=x; gatepost=y", true).session.as_deref(), Some("x"));
        assert_eq!(visitor("gatepost=x; gatepost=y", false).session, None);
    }
}
