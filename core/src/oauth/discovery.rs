//! Endpoints that a provider publishes itself (OpenID Connect Discovery 1.0).

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use oauth2::url::Url;
use parking_lot::Mutex;
use serde_json::Value;

use super::provider::{Provider, invalid, is_loopback};
use super::tokens::{Failure, Transport};
use crate::error::Result;
use crate::host::{Host, HttpRequest};

const TIMEOUT: Duration = Duration::from_secs(10);

/// What was published, by issuer; asked for once in the life of a process.
#[derive(Default)]
pub(crate) struct Discovered {
    documents: Mutex<HashMap<String, Value>>,
}

impl Discovered {
    /// The description with the endpoints that it lacks.
    ///
    /// # Errors
    ///
    /// `oauth_provider_invalid` when the document is not that of the issuer, and the codes of a
    /// failed request.
    pub(crate) fn complete<'a>(
        &self,
        host: &Host,
        transport: &Transport,
        provider: &'a Provider,
    ) -> Result<Cow<'a, Provider>> {
        let wanted =
            provider.token_url.is_none() || (provider.login && provider.authorize_url.is_none());
        let issuer = match &provider.issuer {
            Some(issuer) if provider.discovery && wanted => issuer,
            _ => return Ok(Cow::Borrowed(provider)),
        };
        let known = self.documents.lock().get(issuer).cloned();
        let document = match known {
            Some(document) => document,
            None => {
                let document = fetch(host, transport, provider, issuer)?;
                self.documents
                    .lock()
                    .insert(issuer.clone(), document.clone());
                document
            }
        };
        let mut complete = provider.clone();
        let endpoint = |key: &str| {
            let url = Url::parse(document.get(key)?.as_str()?).ok()?;
            (url.scheme() == "https" || is_loopback(&url)).then_some(url)
        };
        let fill =
            |slot: &mut Option<Url>, key: &str| *slot = slot.take().or_else(|| endpoint(key));
        fill(&mut complete.authorize_url, "authorization_endpoint");
        fill(&mut complete.token_url, "token_endpoint");
        fill(&mut complete.revoke_url, "revocation_endpoint");
        fill(&mut complete.userinfo_url, "userinfo_endpoint");
        if complete.home_authority.is_none() {
            complete.home_authority = complete.token_url.as_ref().map(super::provider::authority);
        }
        Ok(Cow::Owned(complete))
    }
}

fn fetch(host: &Host, transport: &Transport, provider: &Provider, issuer: &str) -> Result<Value> {
    let address = format!(
        "{}/.well-known/openid-configuration",
        issuer.trim_end_matches('/')
    );
    let wrong = |reason: &str| invalid(&provider.id, "discovery", reason);
    let url = Url::parse(&address).map_err(|_| wrong("the issuer is no address"))?;
    let mut request = HttpRequest::get(address);
    request.timeout = TIMEOUT;
    let answer = transport
        .prepare(host, &url, &mut request)
        .and_then(|()| host.http.send(&request))
        .map_err(|failure| Failure::Http(failure).to_error(provider))?;
    if answer.status != 200 {
        return Err(wrong(&format!(
            "the issuer answers with HTTP {}",
            answer.status
        )));
    }
    let document: Value =
        serde_json::from_slice(&answer.body).map_err(|_| wrong("the document is not JSON"))?;
    if document.get("issuer").and_then(Value::as_str) != Some(issuer) {
        return Err(wrong("the document belongs to another issuer"));
    }
    Ok(document)
}
