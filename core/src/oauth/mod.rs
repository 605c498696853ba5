//! OAuth: signing in to model providers, keeping tokens fresh, and never losing a login.
//!
//! [`LoginFlow`] is one sign-in; [`Refresher`] keeps the tokens of profiles fresh. Everything
//! that is special about a provider is data ([`provider`]), and so is where other programs keep
//! their logins ([`external`]).

mod callback;
mod claims;
mod discovery;
mod expiry;
mod external;
mod flow;
mod journal;
mod login;
mod pages;
mod pasted;
mod profile_id;
mod provider;
mod redact;
mod refresh;
mod response;
mod settings;
mod setup_token;
mod tokens;
mod userinfo;

pub(crate) use claims::Identity;
pub(crate) use expiry::{Validity, Window};
pub(crate) use external::program as external_program;
pub use flow::LoginFlow;
pub(crate) use flow::SignedIn;
pub(crate) use journal::Journal;
pub(crate) use login::{Login, fresh as fresh_credential};
pub(crate) use profile_id::{Newcomer, check_id as check_profile_id, choose as choose_profile_id};
pub(crate) use refresh::{Fresh, Job, Refresher, Source, Want};
pub(crate) use settings::Scene;
pub use setup_token::{
    TokenProblem, check_setup_token, clean_pasted, parse_duration, profile_slug,
};

use std::time::Duration;

use crate::date::http_date_ms;
use crate::host::{Host, HttpFailureKind, HttpRequest};
use crate::text::SecretText;

/// What became of a try to reach a token endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reached {
    /// It answered; its clock in milliseconds since 1970, when it said.
    Answered(Option<u64>),
    /// No answer, and why.
    Failed(String),
    /// No secure connection, and why.
    Unverified(String),
}

/// Ids of the providers that the library describes itself.
pub(crate) fn built_in_providers() -> Vec<String> {
    provider::built_in_ids()
}

/// How long an access token lives by its own claims, in milliseconds.
pub(crate) fn claimed_lifetime_ms(access: &SecretText) -> Option<u64> {
    claims::Claims::of(access.expose(), None).lifetime_ms()
}

/// The account id that an access token names, where the provider says it is.
pub(crate) fn account_claim(access: &SecretText, provider: &provider::Provider) -> Option<String> {
    claims::Claims::of(access.expose(), None).first(&provider.account_id)
}

/// Whether an endpoint answers at all. Nothing but the address is sent.
pub(crate) fn reach(host: &Host, transport: &tokens::Transport, url: &oauth2::url::Url) -> Reached {
    let mut request = HttpRequest::get(url.as_str());
    request.timeout = REACH_TIMEOUT;
    request.connect_timeout = REACH_TIMEOUT;
    let prepared = transport.prepare(host, url, &mut request);
    let sent = prepared.and_then(|()| host.http.send(&request));
    match sent {
        Ok(answer) => {
            let date = answer.header("date").and_then(http_date_ms);
            Reached::Answered(date.map(|ms| ms as u64))
        }
        Err(failure) if failure.kind == HttpFailureKind::Tls => Reached::Unverified(failure.reason),
        Err(failure) => Reached::Failed(failure.reason),
    }
}

const REACH_TIMEOUT: Duration = Duration::from_secs(5);
