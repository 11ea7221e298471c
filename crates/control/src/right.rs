//! Right: what somebody may do here. Roles are sets of rights; a handler names the one that it asks for as its argument.

use crate::{Account, Center, Visitor};
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

impl Right {
    pub const ALL: [Right; 5] = [Right::Find, Right::Look, Right::Operate, Right::Configure, Right::Administer];
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

    /// Whether it may all that the other may.
    pub fn covers(self, other: Role) -> bool {
        Right::ALL.into_iter().all(|right| self.may(right) || !other.may(right))
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

    /// As forms, commands and databases write it.
    pub fn word(self) -> &'static str {
        match self {
            Role::Full => "full",
            Role::Operator => "operator",
            Role::ReadOnly => "read-only",
            Role::HelpDesk => "help-desk",
        }
    }

    /// What it may do, for whoever gives it to somebody.
    pub fn meaning(self) -> &'static str {
        match self {
            Role::Full => "sees and changes everything",
            Role::Operator => "sees everything and acts on mail; changes no settings",
            Role::ReadOnly => "sees everything, changes nothing",
            Role::HelpDesk => "sees where mail is, and no more",
        }
    }
}

impl std::str::FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        let all = Role::ALL.map(Role::word).join(", ");
        Role::ALL.into_iter().find(|role| role.word() == text).ok_or_else(|| format!("no such role; there are {all}"))
    }
}

/// Proof that the request came from somebody who holds the right `R`; carries who.
#[derive(Clone, Debug)]
pub struct May<R> {
    pub account: Account,
    visitor: Visitor,
    right: PhantomData<R>,
}

impl<R> May<R> {
    pub fn also(&self, right: Right) -> bool {
        self.account.role.may(right)
    }
}

impl<R: rights::Named> May<R> {
    /// Whether the session or token still stands and still has the right. For answers that take their time.
    pub(crate) async fn still(&self, center: &Center) -> bool {
        center.accounts.still(&self.visitor).await.is_some_and(|account| account.role.may(R::RIGHT))
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
        let visitor = Visitor::of(parts);
        match center.accounts.who(&visitor).await {
            None => Err(crate::page::problem::sign_in(parts, api)),
            Some(account) if account.role.may(R::RIGHT) => Ok(May { account, visitor, right: PhantomData }),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_help_desk_finds_mail_and_changes_nothing() {
        let held = |role: Role| Right::ALL.into_iter().filter(|right| role.may(*right)).count();
        assert_eq!(Role::ALL.map(held), [5, 3, 2, 1]);
    }

    #[test]
    fn a_greater_role_covers_a_lesser_one() {
        for (place, greater) in Role::ALL.into_iter().enumerate() {
            for (other, lesser) in Role::ALL.into_iter().enumerate() {
                assert_eq!(greater.covers(lesser), place <= other, "{greater:?} {lesser:?}");
            }
        }
    }

    #[test]
    fn a_role_is_written_as_it_is_read() {
        for role in Role::ALL {
            assert_eq!(role.word().parse(), Ok(role));
            assert_eq!(serde_json::to_value(role).unwrap(), role.word());
        }
        assert!("root".parse::<Role>().unwrap_err().contains("help-desk"));
    }
}
