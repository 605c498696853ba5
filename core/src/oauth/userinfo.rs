//! Who has signed in, asked of the provider when the tokens do not say it (OpenID Connect Core,
//! section 5.3).

use std::time::Duration;

use serde_json::Value;
use zeroize::Zeroizing;

use super::flow::SignedIn;
use super::provider::Provider;
use super::tokens::Transport;
use crate::host::{Host, HttpRequest};

const TIMEOUT: Duration = Duration::from_secs(10);

/// Adds the e-mail address and the subject that the tokens lack. The sign-in is good without
/// them, so a failure is only noted.
pub(super) fn complete(
    host: &Host,
    transport: &Transport,
    provider: &Provider,
    signed_in: &mut SignedIn,
) {
    let Some(url) = &provider.userinfo_url else {
        return;
    };
    if signed_in.identity.email.is_some() {
        return;
    }
    let mut request = HttpRequest::get(url.as_str());
    request.timeout = TIMEOUT;
    let bearer = Zeroizing::new(format!("Bearer {}", signed_in.tokens.access.expose()));
    request.headers.push(("Authorization".to_owned(), bearer));
    let answer = transport
        .prepare(host, url, &mut request)
        .and_then(|()| host.http.send(&request));
    let answer = match answer {
        Ok(answer) if answer.status == 200 => answer,
        Ok(answer) => return note(provider, &format!("HTTP {}", answer.status)),
        Err(failure) => return note(provider, &format!("{:?}", failure.kind)),
    };
    let Ok(document) = serde_json::from_slice::<Value>(&answer.body) else {
        return note(provider, "an answer that is not JSON");
    };
    let text = |key: &str| {
        let text = document.get(key)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let subject = text("sub");
    // An answer about somebody else must not name the profile.
    if signed_in.subject.is_some() && subject.is_some() && signed_in.subject != subject {
        return note(provider, "an answer about another subject");
    }
    signed_in.identity.email = text("email");
    signed_in.subject = signed_in.subject.take().or(subject);
}

fn note(provider: &Provider, what: &str) {
    log::debug!(target: "openclaw_auth::oauth", "userinfo of {}: {what}", provider.id);
}
