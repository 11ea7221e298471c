//! Addresses, domains, Audit IDs, enhanced statuses: what is written is read again as the same.

use crate::octets::readable;
use mail::{Address, AuditId, Domain, EnhancedStatus, ReversePath};
use std::fmt::{Debug, Display};
use std::str::FromStr;

/// A text.
pub(crate) fn check(input: &[u8]) {
    let text = readable(input);
    comes_back::<AuditId>(text);
    comes_back::<EnhancedStatus>(text);
    comes_back::<store::AuditCursor>(text);
    if let Some(domain) = comes_back::<Domain>(text) {
        names_are_names(&domain);
    }
    if let Some(address) = comes_back::<Address>(text) {
        names_are_names(address.domain());
        let again = Address::new(address.local(), address.domain().clone()).unwrap();
        assert_eq!(again, address);
        let said = address.to_string();
        assert!(!said.contains(char::is_control), "{said:?}");
        assert_eq!(address.is_international(), !said.is_ascii(), "{said:?}");
        assert_eq!(address.key(), again.key());
        let path = ReversePath::Address(address);
        let json = serde_json::to_string(&path).unwrap();
        assert_eq!(serde_json::from_str::<ReversePath>(&json).unwrap(), path, "{json}");
    }
}

fn comes_back<T: FromStr + Display + PartialEq + Debug>(text: &str) -> Option<T> {
    let value: T = text.parse().ok()?;
    let said = value.to_string();
    match said.parse::<T>() {
        Ok(again) => assert_eq!(again, value, "{text:?} is written as {said:?}"),
        Err(_) => panic!("{text:?} is written as {said:?}, which is not read"),
    }
    Some(value)
}

/// What is asked of DNS and compared: letters, digits, hyphens, underscores and dots, whatever was typed.
fn names_are_names(domain: &Domain) {
    let ascii = domain.ascii();
    if domain.literal().is_some() {
        return;
    }
    assert!(ascii.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)), "{domain} is {ascii:?}");
    let again: Domain = ascii.parse().unwrap_or_else(|error| panic!("{domain} is {ascii:?}: {error}"));
    assert_eq!(again.ascii(), ascii, "{domain}");
    if let Some(parent) = domain.parent() {
        assert!(domain.is_within(&parent), "{domain} is not within {parent}");
    }
}
