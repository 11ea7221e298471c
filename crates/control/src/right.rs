//! Right: what somebody may do here. Roles are sets of rights; a handler names the one that it asks for as its argument.

use crate::Center;
use async_trait::async_trait;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::marker::PhantomData;

/// What an action asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Right {
    /// See where a message is: the audit log's search, a message's way, without its subject and transcripts.
    Find,
    /// See every page.
    Look,
    /// Act on mail: retry, hold, release, delete, reroute; diagnose; send a test message.
    Operate,
    /// Change settings.
    Configure,
    /// Administrators, tokens, backup, certificates.
    Administer,
}

/// What an administrator is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// Everything.
    Full,
    /// Sees everything, acts on mail.
    Operator,
    /// Sees everything, changes nothing.
    ReadOnly,
    /// Sees where mail is, and no more.
    HelpDesk,
}

impl Role {
    pub const ALL: [Role; 4] = [Role::Full, Role::Operator, Role::ReadOnly, Role::HelpDesk];

    pub fn may(self, right: Right) -> bool {
        match right {
            Right::Find => true,
            Right::Look => self != Role::HelpDesk,
            Right::Operate => matches!(self, Role::Full | Role::Operator),
            Right::Configure | Right::Administer => self == Role::Full,
        }
    }

    /// As people read it.
    pub fn name(self) -> &'static str {
        match self {
            Role::Full => "full administrator",
            Role::Operator => "operator",
            Role::ReadOnly => "read-only",
            Role::HelpDesk => "help desk",
        }
    }
}

/// Who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub role: Role,
    /// By an API token of this name, not by a browser's session.
    pub token: Option<String>,
}

/// What a request says of who sent it.
#[derive(Clone, Debug)]
pub struct Visitor {
    /// The session cookie's value.
    pub session: Option<String>,
    /// `Authorization: Bearer`.
    pub bearer: Option<String>,
}

/// The administrators, their sessions and their tokens; the gateway keeps them.
#[async_trait]
pub trait Accounts: Send + Sync + 'static {
    /// Whose session or token this is; `None`: nobody's, or it has ended.
    async fn who(&self, visitor: &Visitor) -> Option<Account>;
}

/// Proof that the request came from somebody who holds the right `R`; carries who.
#[derive(Clone, Debug)]
pub struct May<R> {
    pub account: Account,
    right: PhantomData<R>,
}

impl<R> May<R> {
    pub fn also(&self, right: Right) -> bool {
        self.account.role.may(right)
    }
}

/// Says in a handler's arguments that it is meant for everybody: sign-in, health.
#[derive(Clone, Copy, Debug)]
pub struct Open;

/// The rights as types, for [`May`].
pub mod rights {
    use super::Right;

    pub trait Named: Send + Sync + 'static {
        const RIGHT: Right;
    }

    macro_rules! named {
        ($($name:ident)*) => { $(
            #[derive(Clone, Copy, Debug)]
            pub struct $name;
            impl Named for $name {
                const RIGHT: Right = Right::$name;
            }
        )* };
    }

    named!(Find Look Operate Configure Administer);
}

impl<R: rights::Named> FromRequestParts<Center> for May<R> {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, center: &Center) -> Result<May<R>, Response> {
        let api = parts.uri.path().starts_with("/api/");
        let visitor = Visitor::of(&parts.headers);
        match center.accounts.who(&visitor).await {
            None => Err(crate::page::problem::sign_in(parts, api)),
            Some(account) if account.role.may(R::RIGHT) => Ok(May { account, right: PhantomData }),
            Some(account) => Err(crate::page::problem::forbidden(&account, R::RIGHT, api)),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for Open {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(_: &mut Parts, _: &S) -> Result<Open, Self::Rejection> {
        Ok(Open)
    }
}

/// The session cookie's name. `__Host-` binds it to this host and TLS; without TLS browsers would drop it.
pub(crate) const COOKIES: [&str; 2] = ["__Host-gatepost", "gatepost"];

impl Visitor {
    fn of(headers: &axum::http::HeaderMap) -> Visitor {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let cookie = text("cookie").and_then(|all| {
            let mut pairs = all.split(';').filter_map(|pair| pair.trim().split_once('='));
            pairs.find(|(name, _)| COOKIES.contains(name)).map(|(_, value)| value.to_owned())
        });
        let bearer = text("authorization").and_then(|value| value.strip_prefix("Bearer ")).map(str::to_owned);
        Visitor { session: cookie, bearer }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_desk_finds_mail_and_changes_nothing() {
        let rights = [Right::Find, Right::Look, Right::Operate, Right::Configure, Right::Administer];
        let held = |role: Role| rights.into_iter().filter(|right| role.may(*right)).count();
        assert_eq!(Role::ALL.map(held), [5, 3, 2, 1]);
    }
}
