//! The environment of the process, captured once.
#![expect(
    clippy::disallowed_methods,
    reason = "this is the capture that the lint points to"
)]

use std::collections::BTreeMap;
use std::env;
use std::path::PathBuf;

use zeroize::Zeroizing;

use super::Environment;

/// Variables and working directory as they were at [`RealEnvironment::capture`].
pub(super) struct RealEnvironment {
    vars: BTreeMap<String, Zeroizing<String>>,
    current_dir: PathBuf,
}

impl RealEnvironment {
    /// Copies the environment. Variables that are not UTF-8 are left out. Where the working
    /// directory is gone or unreadable, it is `/`.
    pub(super) fn capture() -> Self {
        let vars = env::vars_os()
            .filter_map(|(name, value)| {
                Some((
                    name.into_string().ok()?,
                    Zeroizing::new(value.into_string().ok()?),
                ))
            })
            .collect();
        Self::with_vars(vars)
    }

    /// The same with given variables.
    pub(super) fn with_vars(vars: BTreeMap<String, Zeroizing<String>>) -> Self {
        Self {
            vars,
            current_dir: env::current_dir().unwrap_or_else(|_| PathBuf::from("/")),
        }
    }
}

impl Environment for RealEnvironment {
    fn vars(&self) -> &BTreeMap<String, Zeroizing<String>> {
        &self.vars
    }

    /// Asked for on demand, because the account database may be slow (LDAP).
    fn account_home(&self) -> Option<PathBuf> {
        env::home_dir().filter(|home| !home.as_os_str().is_empty())
    }

    fn current_dir(&self) -> PathBuf {
        self.current_dir.clone()
    }

    /// Asked for on demand, because programs drop privileges after they start.
    fn effective_uid(&self) -> u32 {
        #[cfg(unix)]
        let uid = rustix::process::geteuid().as_raw();
        #[cfg(not(unix))]
        let uid = 0;
        uid
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn capture_holds_what_the_process_has() {
        let captured = RealEnvironment::capture();
        let path = env::var("PATH").ok();
        assert_eq!(
            captured.vars().get("PATH").map(|value| value.to_string()),
            path
        );
        assert_eq!(captured.current_dir(), env::current_dir().unwrap());
        assert!(
            captured
                .account_home()
                .is_some_and(|home| home.is_absolute())
        );
    }
}
