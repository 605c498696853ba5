//! Credentials lent by the engine, as forwarding sees them.

use openclaw_auth::{
    Classification, CredentialKind, Eligibility, Engine, Error, Lease, LeaseRequest, PinSource,
    SecretText, Signal, Transport, Verdict,
};

/// What a credential is wanted for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wish {
    /// Provider.
    pub(crate) provider: String,
    /// Model, when it is known.
    pub(crate) model: Option<String>,
    /// Session, for the profile that it sticks to.
    pub(crate) session: Option<String>,
}

/// A credential that is lent for one attempt. Dropping it gives it back without a verdict.
pub(crate) trait Lent: Send + Sync {
    /// The secret; empty when the provider needs none.
    fn credential(&self) -> &SecretText;
    /// What it is called: a profile id, or `env:…` or `config:…`.
    fn candidate(&self) -> &str;
    /// Generation of the settings that it was chosen by.
    fn generation(&self) -> u64;
    /// What it is.
    fn kind(&self) -> CredentialKind;
    /// Account id, for providers that want it in a header.
    fn account_id(&self) -> Option<&str>;
    /// What a failure would mean. Changes nothing.
    fn classify(&self, trouble: &Trouble) -> Classification;
    /// The request succeeded. May block.
    fn succeed(&self, headers: &[(String, String)]);
    /// The request failed; what to try next. May block.
    fn fail(&self, trouble: &Trouble) -> Next;
    /// The request failed, and nothing else will be tried. May block.
    fn give_up(&self, trouble: &Trouble);
}

/// What follows a failure.
pub(crate) enum Next {
    /// Another attempt, with this credential.
    Retry(Box<dyn Lent>),
    /// Nothing is left; when something will be, in milliseconds from now.
    Over(Option<u64>),
}

/// How a provider failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Trouble {
    /// Status of its answer.
    pub(crate) status: Option<u16>,
    /// The beginning of its body.
    pub(crate) body: Option<String>,
    /// Its headers.
    pub(crate) headers: Vec<(String, String)>,
    /// What went wrong below HTTP.
    pub(crate) transport: Option<Transport>,
}

impl Trouble {
    fn with_signal<T>(&self, tell: impl FnOnce(&Signal<'_>) -> T) -> T {
        tell(&Signal {
            status: self.status,
            body: self.body.as_deref(),
            headers: &pairs(&self.headers),
            transport: self.transport,
            ..Signal::default()
        })
    }
}

fn pairs(headers: &[(String, String)]) -> Vec<(&str, &str)> {
    let pairs = headers.iter();
    pairs
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect()
}

/// Lends a credential of an engine. May block: tokens are refreshed, and the store is read.
///
/// # Errors
///
/// As [`Engine::lease`].
pub(super) fn lease(engine: &Engine, wish: &Wish) -> Result<Box<dyn Lent>, Error> {
    let session = wish.session.as_deref();
    // A person's choice of a profile is about its provider only, and survives requests to others.
    let session = session.filter(|key| match engine.session(key).pin {
        Some(pin) if pin.source == PinSource::User => {
            let eligibility = engine.eligibility(None, &pin.profile, &wish.provider);
            !matches!(eligibility, Ok(Eligibility::ProviderMismatch))
        }
        _ => true,
    });
    let lease = engine.lease(&LeaseRequest {
        provider: Some(&wish.provider),
        model: wish.model.as_deref(),
        session,
        ..LeaseRequest::default()
    })?;
    Ok(Box::new(lease))
}

impl Lent for Lease {
    fn credential(&self) -> &SecretText {
        Self::credential(self)
    }

    fn candidate(&self) -> &str {
        Self::candidate_id(self)
    }

    fn generation(&self) -> u64 {
        Self::generation(self)
    }

    fn kind(&self) -> CredentialKind {
        Self::kind(self)
    }

    fn account_id(&self) -> Option<&str> {
        Self::account_id(self)
    }

    fn classify(&self, trouble: &Trouble) -> Classification {
        trouble.with_signal(|signal| Self::classify(self, signal))
    }

    fn succeed(&self, headers: &[(String, String)]) {
        if let Err(error) = Self::succeed(self, &pairs(headers)) {
            // Streams may last longer than leases do.
            log::debug!("{}: {}", self.candidate_id(), error.code());
        }
    }

    fn fail(&self, trouble: &Trouble) -> Next {
        match trouble.with_signal(|signal| Self::fail(self, signal)) {
            Ok(Verdict::Retry { lease, .. }) => Next::Retry(lease),
            Ok(Verdict::Exhausted(end)) => Next::Over(end.retry_after_ms),
            Ok(_) => Next::Over(None),
            Err(error) => {
                log::debug!("{}: {}", self.candidate_id(), error.code());
                Next::Over(None)
            }
        }
    }

    fn give_up(&self, trouble: &Trouble) {
        if let Err(error) = trouble.with_signal(|signal| Self::give_up(self, signal)) {
            log::debug!("{}: {}", self.candidate_id(), error.code());
        }
    }
}
