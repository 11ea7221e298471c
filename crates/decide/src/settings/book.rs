//! A list of the settings whose entries each have a name of their own: found by it, written in its order.

use mail::Address;
use std::collections::BTreeMap;

/// Entries by their key. Two of one key cannot be in it: the reader complains about the second.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Book<T>(BTreeMap<String, T>);

/// What stands in a book under a key.
pub trait Entry {
    /// The name to be found by, in lower case and A-labels where it is a mail name.
    fn key(&self) -> String;
}

impl<T: Entry> Book<T> {
    /// By its exact key.
    pub fn find(&self, key: &str) -> Option<&T> {
        self.0.get(key)
    }

    /// What stands for an address: its own entry, or that of its whole domain (`@corp.test`).
    pub fn of(&self, address: &Address) -> Option<&T> {
        self.find(&address.key()).or_else(|| self.find(&format!("@{}", address.domain().ascii())))
    }

    /// In the order of the keys.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.values()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Gives the entry back if its key is taken.
    pub(super) fn add(&mut self, entry: T) -> Result<(), T> {
        let key = entry.key();
        if self.0.contains_key(&key) {
            return Err(entry);
        }
        self.0.insert(key, entry);
        Ok(())
    }
}

impl<T: PartialEq> Book<T> {
    /// Takes out of both what stands in both alike.
    pub(super) fn part(&mut self, other: &mut Book<T>) {
        self.0.retain(|key, entry| {
            let is_same = other.0.get(key) == Some(entry);
            if is_same {
                other.0.remove(key);
            }
            !is_same
        });
    }
}

#[cfg(test)]
impl<T> Book<T> {
    pub(crate) fn join(&mut self, other: Book<T>) {
        self.0.extend(other.0);
    }
}

impl<T> Default for Book<T> {
    fn default() -> Self {
        Book(BTreeMap::new())
    }
}

impl Entry for Address {
    fn key(&self) -> String {
        Address::key(self)
    }
}
