//! The list of users that may come in.

use std::borrow::Cow;
use std::collections::HashSet;

use foldhash::fast::RandomState;

use super::user::MAX_USER_BYTES;
use crate::error::Code;

/// How entries are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum UserMatch {
    /// Byte for byte.
    #[default]
    Exact,
    /// Names with exactly one `@` without regard to ASCII letter case, others byte for byte.
    EmailIgnoringCase,
}

/// The compiled allow list; looking a user up takes the same time however long it is.
#[derive(Debug, Default)]
pub(super) struct AllowUsers {
    rule: UserMatch,
    names: HashSet<Box<str>, RandomState>,
    /// Lower-case domains of entries such as `*@example.com`.
    domains: HashSet<Box<str>, RandomState>,
}

impl AllowUsers {
    pub(super) fn new(rule: UserMatch) -> Self {
        Self {
            rule,
            ..Self::default()
        }
    }

    /// Adds a trimmed entry.
    ///
    /// # Errors
    ///
    /// The code of what is wrong with it.
    pub(super) fn add(&mut self, entry: &str) -> Result<(), Code> {
        match entry.strip_prefix("*@") {
            _ if entry.is_empty() => return Err(Code::AllowUsersBlankEntry),
            _ if entry == "*" => return Err(Code::AllowUsersWildcard),
            Some(domain) if domain.is_empty() || domain.contains(['*', '@']) => {
                return Err(Code::AllowUsersBadPattern);
            }
            Some(domain) => self.domains.insert(domain.to_ascii_lowercase().into()),
            None if self.folds(entry) => self.names.insert(entry.to_ascii_lowercase().into()),
            None => self.names.insert(entry.into()),
        };
        Ok(())
    }

    /// Whether everyone whom the proxy lets in may come in.
    pub(super) fn is_open(&self) -> bool {
        self.names.is_empty() && self.domains.is_empty()
    }

    /// Looks a user of at most 512 bytes up, without allocating.
    pub(super) fn find(&self, user: &str) -> Listed {
        let mut buffer = [0; MAX_USER_BYTES];
        let user = match self.folds(user) {
            true => lowered(user, &mut buffer),
            false => Cow::Borrowed(user),
        };
        if self.names.contains(user.as_ref()) {
            return Listed::ByName;
        }
        match split_email(&user) {
            Some((local, domain)) if !local.is_empty() && !self.domains.is_empty() => {
                let mut buffer = [0; MAX_USER_BYTES];
                match self.domains.contains(lowered(domain, &mut buffer).as_ref()) {
                    true => Listed::ByDomain,
                    false => Listed::No,
                }
            }
            _ => Listed::No,
        }
    }

    /// The user as the caller is to see it.
    pub(super) fn canonical<'u>(&self, user: &'u str) -> Cow<'u, str> {
        match self.folds(user) && user.bytes().any(|b| b.is_ascii_uppercase()) {
            true => Cow::Owned(user.to_ascii_lowercase()),
            false => Cow::Borrowed(user),
        }
    }

    fn folds(&self, user: &str) -> bool {
        self.rule == UserMatch::EmailIgnoringCase && split_email(user).is_some()
    }
}

/// How a user is listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Listed {
    /// The whole name stands in the list.
    ByName,
    /// Its domain stands in the list.
    ByDomain,
    /// Not at all.
    No,
}

/// The two sides of a name with exactly one `@`.
fn split_email(user: &str) -> Option<(&str, &str)> {
    user.split_once('@')
        .filter(|(_, domain)| !domain.contains('@'))
}

/// The text in lower case. The buffer holds it when it fits, as checked names always do.
fn lowered<'t>(text: &str, buffer: &'t mut [u8; MAX_USER_BYTES]) -> Cow<'t, str> {
    if let Some(place) = buffer.get_mut(..text.len()) {
        place.copy_from_slice(text.as_bytes());
        place.make_ascii_lowercase();
        if let Ok(text) = str::from_utf8(place) {
            return Cow::Borrowed(text);
        }
    }
    Cow::Owned(text.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rule: UserMatch, entries: &[&str]) -> AllowUsers {
        let mut list = AllowUsers::new(rule);
        entries.iter().for_each(|entry| list.add(entry).unwrap());
        list
    }

    #[test]
    fn entries_that_mean_nothing_are_refused() {
        let mut list = AllowUsers::default();
        for (entry, code) in [
            ("", Code::AllowUsersBlankEntry),
            ("*", Code::AllowUsersWildcard),
            ("*@", Code::AllowUsersBadPattern),
            ("*@a@b", Code::AllowUsersBadPattern),
            ("*@*.com", Code::AllowUsersBadPattern),
        ] {
            assert_eq!(list.add(entry), Err(code), "{entry}");
        }
        assert!(list.is_open());
    }

    #[test]
    fn exact_rule_compares_bytes() {
        let list = list(UserMatch::Exact, &["Nick@Example.com", "*@Example.ORG"]);
        assert_eq!(list.find("Nick@Example.com"), Listed::ByName);
        assert_eq!(list.find("nick@example.com"), Listed::No);
        assert_eq!(list.find("Ann@eXample.org"), Listed::ByDomain);
        assert_eq!(list.find("@example.org"), Listed::No);
        assert_eq!(list.find("a@b@example.org"), Listed::No);
        assert_eq!(list.canonical("Ann@eXample.org"), "Ann@eXample.org");
    }

    #[test]
    fn email_rule_folds_addresses_only() {
        let list = list(UserMatch::EmailIgnoringCase, &["Nick@Example.com", "Root"]);
        assert_eq!(list.find("NICK@example.COM"), Listed::ByName);
        assert_eq!(list.find("root"), Listed::No);
        assert_eq!(list.find("Root"), Listed::ByName);
        assert_eq!(list.canonical("NICK@example.COM"), "nick@example.com");
        assert_eq!(list.canonical("A@B@C"), "A@B@C");
    }
}
