//! Stored profiles, sessions and models.

use auth::{Clear, CredentialKind, NewCredential, ProfileMaterial, SecretRef, SecretText};
use pyo3::prelude::*;
use serde_json::{Value, json};

use crate::boundary::invalid;
use crate::convert::{self, object, word};
use crate::engine::Engine;

#[pymethods]
impl Engine {
    fn profiles<'py>(
        &self,
        py: Python<'py>,
        agent: Option<&str>,
        provider: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let listed = self.detached(py, |core| core.profiles_json(agent, provider))?;
        object(py, &listed)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "they are keywords, seen from Python"
    )]
    fn add_profile(
        &self,
        py: Python<'_>,
        profile_id: String,
        provider: String,
        kind: &str,
        secret: Option<String>,
        reference: Option<&str>,
        expires_at: Option<u64>,
        email: Option<String>,
        display_name: Option<String>,
        agent: Option<&str>,
        replace: bool,
    ) -> PyResult<()> {
        let kind = match kind {
            "api_key" => CredentialKind::ApiKey,
            "token" => CredentialKind::Token,
            _ => return Err(invalid(py, "kind", "`api_key` or `token`")),
        };
        let material = match (secret, reference.map(SecretRef::parse)) {
            (Some(secret), None) => ProfileMaterial::Inline(SecretText::new(secret)),
            (None, Some(Some(reference))) => ProfileMaterial::Reference(reference),
            (None, Some(None)) => return Err(invalid(py, "ref", "`source:provider:id`")),
            _ => return Err(invalid(py, "secret", "given, or `ref`, but not both")),
        };
        let credential = NewCredential {
            id: profile_id,
            provider,
            kind,
            material,
            expires: expires_at,
            email,
            display_name,
            replace,
        };
        self.detached(py, |core| core.add_profile(agent, &credential))
    }

    fn remove_profile(
        &self,
        py: Python<'_>,
        profile_id: &str,
        agent: Option<&str>,
    ) -> PyResult<()> {
        self.detached(py, |core| core.remove_profile(agent, profile_id))
    }

    fn profile_order(
        &self,
        py: Python<'_>,
        provider: &str,
        model: Option<&str>,
        prefer: Option<&str>,
        agent: Option<&str>,
    ) -> PyResult<Vec<String>> {
        self.detached(py, |core| {
            core.profile_order(agent, provider, model, prefer)
        })
    }

    fn order<'py>(
        &self,
        py: Python<'py>,
        provider: &str,
        agent: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let document = self.detached(py, |core| core.order_json(agent, provider))?;
        object(py, &document)
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is made of a Python sequence is owned"
    )]
    fn set_order(
        &self,
        py: Python<'_>,
        provider: &str,
        ids: Option<Vec<String>>,
        agent: Option<&str>,
    ) -> PyResult<()> {
        self.detached(py, |core| core.set_order(agent, provider, ids.as_deref()))
    }

    fn clear_cooldown(
        &self,
        py: Python<'_>,
        profile_id: Option<&str>,
        what: &str,
        agent: Option<&str>,
    ) -> PyResult<()> {
        let known = "`all`, `cooldown`, `disabled` or `models`";
        let what = word(py, "what", Some(what), Clear::parse, known)?.unwrap_or(Clear::All);
        self.detached(py, |core| core.clear_cooldown(agent, profile_id, what))
    }

    fn eligibility(
        &self,
        py: Python<'_>,
        profile_id: &str,
        provider: &str,
        agent: Option<&str>,
    ) -> PyResult<&'static str> {
        let found = self.detached(py, |core| core.eligibility(agent, profile_id, provider))?;
        Ok(found.as_str())
    }

    fn env_candidates(
        &self,
        py: Python<'_>,
        provider: &str,
    ) -> PyResult<Vec<(String, &'static str)>> {
        let found = self.quick(py, |core| Ok(core.env_candidates(provider)))?;
        Ok(found
            .into_iter()
            .map(|(id, kind)| (id, kind.as_str()))
            .collect())
    }

    fn chat<'py>(
        &self,
        py: Python<'py>,
        session: &str,
        message: &str,
        shown: Option<&str>,
        agent: Option<&str>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let reply = self.detached(py, |core| core.chat(session, agent, message, shown))?;
        let Some(reply) = reply else { return Ok(None) };
        let document = json!({
            "directive": directive(&reply.directive),
            "rest": reply.rest,
            "session": reply.session.to_json(),
            "view": reply.view,
        });
        object(py, &document).map(Some)
    }

    fn models<'py>(
        &self,
        py: Python<'py>,
        session: &str,
        agent: Option<&str>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let models = self.detached(py, |core| core.models(session, agent))?;
        object(py, &models.iter().map(auth::ModelChoice::to_json).collect())
    }

    #[expect(
        clippy::needless_pass_by_value,
        reason = "what is made of a Python sequence is owned"
    )]
    fn model_chain(
        &self,
        py: Python<'_>,
        requested: Option<&str>,
        fallbacks: Option<Vec<String>>,
        agent: Option<&str>,
    ) -> PyResult<Vec<String>> {
        self.detached(py, |core| {
            core.model_chain(agent, requested, fallbacks.as_deref())
        })
    }

    fn session<'py>(&self, py: Python<'py>, key: &str) -> PyResult<Bound<'py, PyAny>> {
        let entry = self.quick(py, |core| Ok(core.session(key).to_json()))?;
        object(py, &entry)
    }

    fn set_session(&self, py: Python<'_>, key: &str, entry: &Bound<'_, PyAny>) -> PyResult<()> {
        let entry = auth::SessionEntry::from_json(&convert::json("entry", entry)?);
        self.quick(py, |core| {
            core.set_session(key, entry);
            Ok(())
        })
    }

    fn export_sessions<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let sessions = self.quick(py, |core| Ok(core.export_sessions()))?;
        object(py, &sessions)
    }

    fn import_sessions(&self, py: Python<'_>, sessions: &Bound<'_, PyAny>) -> PyResult<()> {
        let sessions = convert::json("sessions", sessions)?;
        self.quick(py, |core| {
            core.import_sessions(&sessions);
            Ok(())
        })
    }
}

fn directive(directive: &auth::Directive) -> Value {
    match directive {
        auth::Directive::List => json!({"kind": "list"}),
        auth::Directive::Pick(number) => json!({"kind": "pick", "number": number}),
        auth::Directive::Reset => json!({"kind": "reset"}),
        auth::Directive::Select { model, profile } => {
            json!({"kind": "select", "model": model, "profile": profile})
        }
        auth::Directive::Show => json!({"kind": "show"}),
        _ => json!({"kind": "status"}),
    }
}
