//! Administrators, sessions and tokens, for the Control Center.

use crate::accounts;
use crate::view::View;
use async_trait::async_trait;
use control::{Account, Accounts, Act, Administrator, Change, Entry, Given, Problem, Session, Token, Visitor};

#[async_trait]
impl Accounts for View {
    async fn who(&self, visitor: &Visitor) -> Option<Account> {
        accounts::find(&self.0, visitor, true).await
    }

    async fn still(&self, visitor: &Visitor) -> Option<Account> {
        accounts::find(&self.0, visitor, false).await
    }

    async fn is_new(&self) -> bool {
        accounts::is_new(&self.0).await
    }

    async fn is_first_key(&self, key: &str) -> bool {
        accounts::is_first_key(&self.0, key).await
    }

    async fn first(&self, key: &str, name: &str, password: &str, visitor: &Visitor) -> Result<String, Problem> {
        accounts::first(&self.0, key, name, password, visitor).await
    }

    async fn sign_in(&self, name: &str, password: &str, visitor: &Visitor) -> Entry {
        accounts::sign_in(&self.0, name, password, visitor).await
    }

    async fn second(&self, ticket: &str, code: &str, visitor: &Visitor) -> Entry {
        accounts::second(&self.0, ticket, code, visitor).await
    }

    async fn sign_out(&self, visitor: &Visitor) {
        accounts::sign_out(&self.0, visitor).await;
    }

    async fn change(&self, by: &Account, visitor: &Visitor, change: Change) -> Result<Given, Problem> {
        accounts::change(&self.0, by, Some(visitor), change).await
    }

    async fn administrators(&self) -> Result<Vec<Administrator>, Problem> {
        accounts::administrators(&self.0).await
    }

    async fn sessions(&self, name: &str, visitor: &Visitor) -> Result<Vec<Session>, Problem> {
        accounts::sessions(&self.0, name, visitor).await
    }

    async fn tokens(&self) -> Result<Vec<Token>, Problem> {
        accounts::tokens(&self.0).await
    }

    async fn acts(&self, term: &str, limit: usize) -> Result<Vec<Act>, Problem> {
        accounts::acts(&self.0, term, limit).await
    }

    fn secret(&self, name: &str) -> (String, String) {
        accounts::new_secret(&self.0, name)
    }
}
