//! The secret of a candidate: from the store, the snapshot, or a refresh.

use std::sync::Arc;

use super::chain::{Candidate, Chain, Issued, Step};
use super::lease::Attempt;
use super::refresh::{RefreshRequest, TokenLife};
use super::routes::Router;
use crate::error::{Code, FailureScope};
use crate::profiles::{
    Eligibility, Expiry, Kind, Material as Stored, Profile, UsageEvent, policy_violations,
};
use crate::text::{SecretText, clean_secret};

/// Material for a lease.
pub(super) struct Material {
    pub(super) secret: SecretText,
    pub(super) expires: Option<u64>,
    pub(super) warning: Option<&'static str>,
}

/// Why a candidate was passed over.
pub(super) struct Skip {
    pub(super) code: Code,
    pub(super) message: String,
}

impl Router {
    /// The secret of a candidate.
    pub(super) fn material(
        &self,
        chain: &Chain,
        candidate: &Candidate,
        now: u64,
    ) -> Result<Material, Skip> {
        let plain = |secret: SecretText| Material {
            secret,
            expires: None,
            warning: None,
        };
        let profile = match candidate {
            Candidate::Extra(extra) => {
                let secret = extra.slot.as_ref().map(|slot| slot.value.clone());
                return Ok(plain(
                    secret.unwrap_or_else(|| SecretText::new(String::new())),
                ));
            }
            Candidate::Profile(profile) => profile,
        };
        let credential = &profile.credential;
        let config = chain.routes.routing.profile(&profile.id);
        if !policy_violations(&profile.id, credential, config).is_empty() {
            let message = "OAuth credentials must not be references".to_owned();
            return Err(Skip {
                code: Code::OauthSecretrefPolicy,
                message,
            });
        }
        let expires = match credential.expiry {
            Expiry::At(at) => Some(at),
            _ => None,
        };
        let secret = match &credential.material {
            Stored::Inline(secret) => Some(secret.clone()),
            Stored::Missing => None,
            Stored::Reference(reference) => {
                let resolved = chain.routes.snapshot.secret_ref(&reference.to_string());
                let resolved = resolved.map_err(|_| Skip {
                    code: Code::UnresolvedRef,
                    message: format!("could not resolve SecretRef \"{reference}\"."),
                })?;
                let clean = clean_secret(resolved.expose());
                Some(SecretText::new(clean.into_owned()))
            }
        };
        let soon = expires.is_some_and(|at| at < now.saturating_add(chain.request.min_valid_ms));
        let due = credential.kind == Kind::OAuth && {
            let life = TokenLife {
                access: secret.as_ref(),
                expires,
                issued_at: credential.issued_at,
                has_refresh: credential.refresh.is_some(),
                min_valid_ms: chain.request.min_valid_ms,
                now_ms: now,
            };
            let refresher = self.refresher.read();
            let refresher = refresher
                .as_ref()
                .filter(|known| known.knows(&credential.provider));
            refresher.map_or(soon, |refresher| refresher.is_due(&life))
        };
        let warning = soon.then_some("expires_soon");
        match (credential.kind, secret) {
            (Kind::OAuth, secret) if due || secret.is_none() => {
                if !chain.request.wait {
                    return Err(Skip {
                        code: Code::WouldBlock,
                        message: "the token is due for a refresh".to_owned(),
                    });
                }
                self.refresh(chain, profile, false, now).or_else(|skip| {
                    // What is still valid is better than nothing.
                    let valid = secret.filter(|_| expires.is_some_and(|at| now < at));
                    let secret = valid.ok_or(skip)?;
                    Ok(Material {
                        secret,
                        expires,
                        warning,
                    })
                })
            }
            (_, Some(secret)) => Ok(Material {
                expires,
                warning,
                ..plain(secret)
            }),
            (_, None) => Err(Skip {
                code: Code::ProfileIneligible,
                message: Eligibility::MissingCredential.explanation().to_owned(),
            }),
        }
    }

    /// Fresh tokens for a profile, from whoever can get them.
    pub(super) fn refresh(
        &self,
        chain: &Chain,
        profile: &Arc<Profile>,
        force: bool,
        now: u64,
    ) -> Result<Material, Skip> {
        let credential = &profile.credential;
        let provider = &credential.provider;
        let failed = |code, message: &str| Skip {
            code,
            message: format!(
                "OAuth token refresh failed for {provider}: {message}. Please try again or \
                 re-authenticate."
            ),
        };
        let refresher = self
            .refresher
            .read()
            .clone()
            .filter(|refresher| chain.request.refresh && refresher.knows(provider));
        let Some(refresher) = refresher else {
            return Err(failed(
                Code::RefreshUnavailable,
                "nothing here can refresh it",
            ));
        };
        let owner = self.owner(&chain.routes, &chain.agent, profile.inherited);
        let owner = owner.map_err(|error| failed(error.code(), error.message()))?;
        let request = RefreshRequest {
            agent: owner.agent.clone(),
            profile_id: profile.id.clone(),
            provider: provider.clone(),
            access: match &credential.material {
                Stored::Inline(secret) => Some(secret.clone()),
                _ => None,
            },
            refresh: credential.refresh.clone(),
            expires: match credential.expiry {
                Expiry::At(at) => Some(at),
                _ => None,
            },
            min_valid_ms: chain.request.min_valid_ms,
            force,
            wait_ms: chain.routes.routing.refresh_wait_ms,
        };
        let refreshed = refresher.refresh(&request);
        {
            let mut counts = self.refreshes.lock();
            let [worked, failed] = counts.entry(provider.clone()).or_default();
            *(if refreshed.is_ok() { worked } else { failed }) += 1;
        }
        refreshed
            .map(|fresh| Material {
                secret: fresh.access,
                expires: fresh.expires,
                warning: None,
            })
            .map_err(|failure| {
                if !failure.busy && failure.reason.policy().penalizes {
                    let event = UsageEvent::Failure {
                        at: now,
                        reason: failure.reason,
                        scope: FailureScope::Account,
                        hint_ms: None,
                        model: None,
                        count: 1,
                    };
                    owner.record(&profile.id, event, &chain.routes.routing);
                }
                failed(Code::RefreshFailed, &failure.message)
            })
    }

    /// The same OAuth profile with other material than the provider has just refused: what another
    /// process has stored meanwhile, or what a refresh gives.
    pub(super) fn renewed(&self, chain: &mut Chain, issued: &Issued) -> Option<Issued> {
        let profile = issued.candidate.profile()?;
        if profile.credential.kind != Kind::OAuth || chain.refreshed.contains(&profile.id) {
            return None;
        }
        chain.refreshed.push(profile.id.clone());
        let now = self.host.clock.now_ms();
        let step = chain.step();
        let view = self.view(&chain.routes, &chain.agent).ok()?;
        let current = view.profile(&profile.id)?;
        let stored = match &current.credential.material {
            Stored::Inline(secret) => Some(secret),
            _ => None,
        };
        let material = match stored.filter(|stored| **stored != issued.secret) {
            Some(secret) => Material {
                secret: secret.clone(),
                expires: match current.credential.expiry {
                    Expiry::At(at) => Some(at),
                    _ => None,
                },
                warning: None,
            },
            None => self.refresh(chain, current, true, now).ok()?,
        };
        if chain.has_tried(&material.secret) || chain.leases >= chain.request.max_attempts {
            return None;
        }
        Some(chain.issue(
            &step,
            Candidate::Profile(Arc::clone(current)),
            material,
            now,
        ))
    }
}

impl Skip {
    pub(super) fn attempt(self, candidate: &Candidate, step: &Step, now: u64) -> Attempt {
        Attempt {
            candidate_id: candidate.id().to_owned(),
            provider: step.provider.clone(),
            model: step.model.clone(),
            skipped: true,
            reason: self.code.as_str().to_owned(),
            status: None,
            code: None,
            rule: None,
            at: now,
            message: self.message,
        }
    }
}
