//! The interface behind which OAuth tokens are refreshed.

use std::fmt;

use crate::error::Reason;
use crate::text::SecretText;

/// Gets fresh tokens for an OAuth profile.
///
/// An implementation serialises refreshes of one credential across threads and processes, looks
/// into the store again once it has the lock, and stores new tokens before it returns. It may
/// block; no lock of the engine is held while it runs.
pub trait Refresher: Send + Sync {
    /// Material that is valid for at least [`RefreshRequest::min_valid_ms`].
    ///
    /// # Errors
    ///
    /// What stands against it. The failure is also held against the profile, unless it is
    /// [`RefreshFailure::busy`].
    fn refresh(&self, request: &RefreshRequest) -> Result<Refreshed, RefreshFailure>;
}

/// What is to be refreshed.
#[derive(Clone)]
#[non_exhaustive]
pub struct RefreshRequest {
    /// Agent whose store holds the profile.
    pub agent: String,
    /// Profile id.
    pub profile_id: String,
    /// Provider, in normal form.
    pub provider: String,
    /// The current access token, if there is one.
    pub access: Option<SecretText>,
    /// The refresh token, if there is one.
    pub refresh: Option<SecretText>,
    /// End of the access token, in milliseconds since 1970.
    pub expires: Option<u64>,
    /// How long the result must be valid, in milliseconds.
    pub min_valid_ms: u64,
    /// Whether the provider refused the current token, whatever its end says.
    pub force: bool,
    /// Longest wait for somebody else's refresh, in milliseconds.
    pub wait_ms: u64,
}

impl fmt::Debug for RefreshRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RefreshRequest")
            .field("profile_id", &self.profile_id)
            .field("provider", &self.provider)
            .field("force", &self.force)
            .finish_non_exhaustive()
    }
}

/// Fresh material.
#[derive(Debug, Clone)]
pub struct Refreshed {
    /// The access token.
    pub access: SecretText,
    /// Its end, in milliseconds since 1970.
    pub expires: Option<u64>,
}

/// Why there is no fresh material.
#[derive(Debug, Clone)]
pub struct RefreshFailure {
    /// What the refusal means for the profile.
    pub reason: Reason,
    /// One sentence without secrets.
    pub message: String,
    /// Somebody else was refreshing for the whole wait; nothing is known about the profile.
    pub busy: bool,
}
