//! One sign-in: from the address that a person opens to the tokens.

use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use oauth2::basic::BasicClient;
use oauth2::url::Url;
use oauth2::{AuthUrl, ClientId, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope};
use serde_json::{Value, json};

use super::callback::{self, Heard, MAX_CONNECTIONS};
use super::claims::Identity;
use super::pages;
use super::pasted::{Expected, code_from};
use super::provider::{Provider, authority, invalid};
use super::settings::Scene;
use super::tokens::{Failure, Grant, TokenRequest, Tokens, Transport};
use crate::config::EnvView;
use crate::error::{Code, Error, Result};
use crate::host::{Connection, Host, HttpAnswer, Listener};
use crate::text::SecretText;

/// After so many links of other sign-ins a warning is given.
const MANY_FOREIGN: u32 = 5;

/// A sign-in under way. It needs no callbacks: show [`LoginFlow::url`], then call
/// [`LoginFlow::listen`] until an address arrives or take one that a person pastes, and hand it
/// to [`Engine::oauth_complete`](crate::Engine::oauth_complete).
///
/// Mistakes of the other side (a wrong link, a text that is no answer) leave it waiting; an error
/// of the provider or a failed exchange ends it. Dropping it closes the listener.
pub struct LoginFlow {
    host: Host,
    provider: Provider,
    transport: Transport,
    url: String,
    state: SecretText,
    verifier: SecretText,
    redirect: Url,
    redirect_text: String,
    authorize: Url,
    listener: Option<Box<dyn Listener>>,
    started: Duration,
    timeout_ms: u64,
    remote: bool,
    phase: Phase,
    browser: Option<Box<dyn Connection>>,
    connections: u32,
    foreign: u32,
    warnings: Vec<String>,
    sent_at: u64,
    code: Option<SecretText>,
    /// Agent, profile id and whether to replace, as they were asked for.
    pub(crate) target: (Option<String>, Option<String>, bool),
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Phase {
    Waiting,
    /// An answer has arrived and is to be completed.
    Answered,
    Done,
    Failed,
}

/// What a sign-in gave.
pub(crate) struct SignedIn {
    pub(crate) tokens: Tokens,
    pub(crate) identity: Identity,
    pub(crate) subject: Option<String>,
    pub(crate) token_host: String,
}

impl LoginFlow {
    /// Prepares a sign-in. Blocks only when the endpoints have to be asked for first.
    pub(crate) fn begin(
        host: &Host,
        scene: &Scene,
        provider: Provider,
        timeout_ms: Option<u64>,
    ) -> Result<Self> {
        if !provider.login {
            let reason = "this provider has no sign-in here";
            return Err(invalid(&provider.id, "login", reason)
                .with_hint("use a setup-token, an API key, or the provider's own program"));
        }
        let authorize = provider.authorize_endpoint()?.clone();
        provider.token_endpoint()?;
        let (listener, redirect_text) =
            callback::listen(host, &provider.redirect_uri, &provider.redirect_ports);
        let redirect = callback::redirect_url(&redirect_text, &provider.id)?;
        let mut warnings = Vec::new();
        if listener.is_none() && super::provider::is_loopback(&redirect) {
            let port = redirect.port_or_known_default().unwrap_or(0);
            warnings.push(format!(
                "callback port {port} is in use; paste the address from the browser instead"
            ));
        }
        let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
        let state = CsrfToken::new_random_len(32);
        let wrong = |field: &str| invalid(&provider.id, field, "is not an address");
        let client = BasicClient::new(ClientId::new(provider.client_id.clone()))
            .set_auth_uri(AuthUrl::new(authorize.to_string()).map_err(|_| wrong("authorizeUrl"))?)
            .set_redirect_uri(
                RedirectUrl::new(redirect_text.clone()).map_err(|_| wrong("redirectUri"))?,
            );
        let mut request = client
            .authorize_url(|| state.clone())
            .add_scopes(provider.scopes.iter().cloned().map(Scope::new))
            .set_pkce_challenge(challenge);
        for (name, value) in &provider.authorize_params {
            request = request.add_extra_param(name, value);
        }
        let (url, state) = request.url();
        Ok(Self {
            host: host.clone(),
            transport: scene.transport.clone(),
            url: url.into(),
            state: SecretText::new(state.into_secret()),
            verifier: SecretText::new(verifier.into_secret()),
            redirect,
            redirect_text,
            authorize,
            listener,
            started: host.clock.monotonic(),
            timeout_ms: timeout_ms.unwrap_or(scene.settings.callback_timeout_ms),
            remote: is_remote(&scene.env),
            phase: Phase::Waiting,
            browser: None,
            connections: 0,
            foreign: 0,
            warnings,
            sent_at: 0,
            code: None,
            target: (None, None, false),
            provider,
        })
    }

    /// The address that a person opens in a browser. It holds no secret.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The value that tells answers of this sign-in from others.
    pub fn state(&self) -> &str {
        self.state.expose()
    }

    /// Where the browser comes back to.
    pub fn redirect_uri(&self) -> &str {
        &self.redirect_text
    }

    /// The addresses that are listened on; empty when only pasting is possible.
    pub fn addresses(&self) -> &[SocketAddr] {
        self.listener
            .as_ref()
            .map_or(&[], |listener| listener.addresses())
    }

    /// Whether the person's browser is probably on another machine.
    pub fn is_remote(&self) -> bool {
        self.remote
    }

    /// Milliseconds until the sign-in is given up.
    pub fn remaining_ms(&self) -> u64 {
        let elapsed = self.host.clock.monotonic().saturating_sub(self.started);
        let elapsed = u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX);
        self.timeout_ms.saturating_sub(elapsed)
    }

    /// Id of the provider.
    pub fn provider(&self) -> &str {
        &self.provider.id
    }

    /// Name of the provider for people.
    pub fn label(&self) -> &str {
        &self.provider.label
    }

    /// What a person should know; taken once.
    pub fn take_warnings(&mut self) -> Vec<String> {
        std::mem::take(&mut self.warnings)
    }

    /// Whether nothing can complete it any more.
    pub fn has_ended(&self) -> bool {
        matches!(self.phase, Phase::Done | Phase::Failed)
    }

    pub(crate) fn description(&self) -> &Provider {
        &self.provider
    }

    /// Waits for the browser at most that long. Blocks. `None`: nothing has come yet; read a
    /// terminal, then listen again. The address that comes holds the authorization code.
    ///
    /// # Errors
    ///
    /// `oauth_callback_timeout` when the time of the sign-in is over, and the codes of an answer
    /// that ends it.
    pub fn listen(&mut self, timeout: Duration) -> Result<Option<SecretText>> {
        let end = self.host.clock.monotonic() + timeout;
        loop {
            self.check_waiting()?;
            let left = end.saturating_sub(self.host.clock.monotonic());
            let left = left.min(Duration::from_millis(self.remaining_ms()));
            let heard = match &self.listener {
                Some(listener) if self.connections < MAX_CONNECTIONS => listener.accept(left),
                _ => {
                    self.host.clock.sleep(left);
                    Ok(None)
                }
            };
            let browser = match heard {
                Ok(Some(browser)) => browser,
                Ok(None) => {
                    self.check_waiting()?;
                    return Ok(None);
                }
                Err(error) => {
                    self.warnings
                        .push(format!("the callback listener failed: {}", error.kind()));
                    self.listener = None;
                    continue;
                }
            };
            self.connections += 1;
            let port = self.redirect.port_or_known_default().unwrap_or(0);
            let settled = self.phase != Phase::Waiting;
            match callback::hear(browser, &self.expected(), port, settled) {
                Heard::Nothing => {}
                Heard::Foreign => {
                    self.foreign += 1;
                    if self.foreign == MANY_FOREIGN {
                        let text =
                            "several answers belong to other sign-ins; close old browser windows";
                        self.warnings.push(text.to_owned());
                    }
                }
                Heard::Redirect { address, browser } => {
                    self.phase = Phase::Answered;
                    self.browser = Some(browser);
                    return Ok(Some(address));
                }
                Heard::Ended(error) => {
                    self.phase = Phase::Failed;
                    return Err(error);
                }
            }
        }
    }

    /// Ends the sign-in.
    pub fn cancel(&mut self) -> Error {
        self.phase = Phase::Failed;
        Error::new(Code::OauthLoginCancelled, "sign-in cancelled").retryable(true)
    }

    /// Exchanges the code in an address or pasted text. The browser is still to be answered, with
    /// [`LoginFlow::finish`].
    pub(crate) fn exchange(&mut self, text: &str) -> Result<SignedIn> {
        self.accept_text(text)?;
        let code = self
            .code
            .take()
            .unwrap_or_else(|| SecretText::new(String::new()));
        let outcome = self.token_request(&code).send(&|_| {});
        self.signed_in(outcome)
    }

    /// The token request for hosts with an HTTP client of their own: `method`, `url`, `headers`
    /// and `body`. It holds the authorization code.
    ///
    /// # Errors
    ///
    /// As for completing; nothing has been sent.
    pub fn request_json(&mut self, text: &str) -> Result<Value> {
        self.accept_text(text)?;
        let code = self
            .code
            .clone()
            .unwrap_or_else(|| SecretText::new(String::new()));
        self.sent_at = self.host.clock.now_ms();
        let request = self.token_request(&code).build();
        let request = request.map_err(|failure| failure.to_error(&self.provider))?;
        let headers: serde_json::Map<String, Value> = request
            .headers
            .iter()
            .map(|(name, value)| (name.clone(), Value::from(value.as_str())))
            .collect();
        Ok(json!({
            "method": request.method,
            "url": request.url,
            "headers": headers,
            "body": String::from_utf8_lossy(&request.body),
        }))
    }

    /// The other half of [`LoginFlow::request_json`].
    pub(crate) fn accept_answer(&mut self, status: u16, body: &str) -> Result<SignedIn> {
        let Some(code) = self.code.take() else {
            let message = "there is no request that this could be the answer to";
            return Err(Error::new(Code::InvalidArgument, message));
        };
        let answer = HttpAnswer {
            status,
            headers: Vec::new(),
            body: body.as_bytes().to_vec().into(),
        };
        let outcome = self.token_request(&code).read(self.sent_at, &answer);
        self.signed_in(outcome)
    }

    /// Answers the browser with the real outcome.
    pub(crate) fn finish(&mut self, error: Option<&Error>) {
        self.phase = if error.is_none() {
            Phase::Done
        } else {
            Phase::Failed
        };
        if let Some(browser) = self.browser.take() {
            let page = match error {
                None => pages::success(&self.provider.label),
                Some(error) => pages::failure("502 Bad Gateway", &format!("{}.", error.message())),
            };
            callback::say(browser, &page);
        }
    }

    fn accept_text(&mut self, text: &str) -> Result<()> {
        self.check_waiting()?;
        let code = code_from(text, &self.expected()).inspect_err(|error| {
            let slips = [
                Code::OauthCodeMissing,
                Code::OauthInputInvalid,
                Code::OauthStateMismatch,
                Code::OauthStateMissing,
            ];
            if !slips.contains(&error.code()) {
                self.phase = Phase::Failed;
            }
        })?;
        self.code = Some(code);
        Ok(())
    }

    fn token_request<'a>(&'a self, code: &'a SecretText) -> TokenRequest<'a> {
        TokenRequest {
            host: &self.host,
            provider: &self.provider,
            transport: &self.transport,
            grant: Grant::Code {
                code,
                redirect_uri: &self.redirect_text,
                verifier: &self.verifier,
                state: &self.state,
            },
            timeout: Duration::from_millis(self.provider.timeout_ms),
        }
    }

    fn signed_in(&mut self, outcome: std::result::Result<Tokens, Failure>) -> Result<SignedIn> {
        let tokens = outcome.map_err(|failure| {
            self.phase = Phase::Failed;
            failure
                .to_error(&self.provider)
                .with("provider", self.provider.id.clone())
        })?;
        let claims = tokens.claims();
        let mut signed_in = SignedIn {
            identity: Identity {
                account_id: claims.first(&self.provider.account_id),
                email: claims.first(&self.provider.email),
            },
            subject: claims.first(&self.provider.subject),
            token_host: authority(self.provider.token_endpoint()?),
            tokens,
        };
        super::userinfo::complete(&self.host, &self.transport, &self.provider, &mut signed_in);
        Ok(signed_in)
    }

    fn expected(&self) -> Expected<'_> {
        Expected {
            redirect: &self.redirect,
            authorize: &self.authorize,
            state: &self.state,
            issuer: self.provider.issuer.as_deref(),
        }
    }

    fn check_waiting(&mut self) -> Result<()> {
        match self.phase {
            Phase::Waiting | Phase::Answered if self.remaining_ms() > 0 => Ok(()),
            Phase::Waiting | Phase::Answered => {
                self.phase = Phase::Failed;
                Err(callback::timeout(self.timeout_ms))
            }
            Phase::Done => Err(Error::new(
                Code::OauthInputInvalid,
                "this sign-in is already complete",
            )),
            Phase::Failed => Err(Error::new(
                Code::OauthLoginCancelled,
                "this sign-in has ended",
            )),
        }
    }
}

impl Drop for LoginFlow {
    fn drop(&mut self) {
        if let Some(browser) = self.browser.take() {
            callback::say(browser, &pages::neutral());
        }
    }
}

impl fmt::Debug for LoginFlow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoginFlow")
            .field("provider", &self.provider.id)
            .field("phase", &self.phase)
            .finish_non_exhaustive()
    }
}

/// Whether the browser of the person is probably on another machine (same rule as OpenClaw
/// 2026.4).
pub(crate) fn is_remote(env: &EnvView) -> bool {
    let set = |name: &str| env.process(name).is_some_and(|value| !value.is_empty());
    let remote = [
        "SSH_CLIENT",
        "SSH_TTY",
        "SSH_CONNECTION",
        "REMOTE_CONTAINERS",
        "CODESPACES",
    ];
    let screen = [
        "DISPLAY",
        "WAYLAND_DISPLAY",
        "WSL_INTEROP",
        "WSL_DISTRO_NAME",
        "WSLENV",
    ];
    remote.iter().any(|name| set(name))
        || (cfg!(target_os = "linux") && !screen.iter().any(|name| set(name)))
}

#[cfg(test)]
mod tests;
