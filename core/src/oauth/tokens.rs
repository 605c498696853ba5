//! Token requests: `oauth2` builds and reads them, the host sends them.

use std::time::Duration;

use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::url::{Url, form_urlencoded};
use oauth2::{
    AuthType, AuthorizationCode, Client, ClientId, ClientSecret, EndpointNotSet, EndpointSet,
    ExtraTokenFields, PkceCodeVerifier, RedirectUrl, RefreshToken, RequestTokenError, Scope,
    StandardRevocableToken, StandardTokenResponse, TokenResponse as _, TokenUrl,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use zeroize::Zeroizing;

use super::claims::Claims;
use super::provider::{ClientAuth, Provider, TokenFormat, is_loopback};
use super::response::{Refusal, normalise};
use crate::config::EnvView;
use crate::date::http_date_ms;
use crate::error::{Code, Error};
use crate::host::{Host, HttpAnswer, HttpFailure, HttpFailureKind, HttpRequest};
use crate::text::SecretText;

/// Lifetime that is assumed when the provider names none, in milliseconds.
const ASSUMED_LIFETIME_MS: u64 = 3_600_000;
/// Most bytes of a file of certificates.
const MAX_ROOTS: u64 = 4 << 20;

/// What a token endpoint gave.
#[derive(Debug, Clone)]
pub(crate) struct Tokens {
    pub(crate) access: SecretText,
    pub(crate) refresh: Option<SecretText>,
    pub(crate) id_token: Option<SecretText>,
    /// When the access token ends, in milliseconds since 1970.
    pub(crate) expires_ms: u64,
    /// When the request was sent.
    pub(crate) issued_at_ms: u64,
    /// The provider did not say how long the token lives.
    pub(crate) lifetime_assumed: bool,
}

impl Tokens {
    /// What the tokens say about their owner.
    pub(crate) fn claims(&self) -> Claims {
        Claims::of(
            self.access.expose(),
            self.id_token.as_ref().map(SecretText::expose),
        )
    }
}

/// Why a token request gave nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No answer.
    Http(HttpFailure),
    /// An answer that is no token.
    Refused(Refusal),
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Http(failure) => f.write_str(&failure.reason),
            Self::Refused(refusal) => refusal.fmt(f),
        }
    }
}

impl std::error::Error for Failure {}

impl Failure {
    /// The error for a failed exchange, or for a refresh that is not understood better.
    pub(crate) fn to_error(&self, provider: &Provider) -> Error {
        let host = provider
            .token_url
            .as_ref()
            .and_then(Url::host_str)
            .unwrap_or("the provider");
        let failure = match self {
            Self::Refused(refusal) => return super::response::exchange_error(refusal),
            Self::Http(failure) => failure,
        };
        let reason = &failure.reason;
        match failure.kind {
            HttpFailureKind::NotSent | HttpFailureKind::Unusable => {
                let message = format!("cannot reach {host}: {reason}");
                Error::new(Code::OauthNetwork, message).retryable(true)
            }
            HttpFailureKind::Tls => {
                let message = format!("no secure connection to {host}: {reason}");
                Error::new(Code::OauthTls, message).with_hint(
                    "a proxy that re-signs traffic needs its certificates in SSL_CERT_FILE",
                )
            }
            HttpFailureKind::TooLarge => {
                let message = "token response is larger than 1 MiB";
                Error::new(Code::OauthTokenResponseInvalid, message).retryable(true)
            }
            HttpFailureKind::Unanswered => {
                let seconds = provider.timeout_ms / 1_000;
                let message = format!(
                    "no answer from {host} within {seconds} s; it may have been processed ({reason})"
                );
                Error::new(Code::OauthTimeout, message).retryable(true)
            }
        }
        .with("host", host)
    }
}

/// How requests leave this machine: proxy and additional certificates, both from the process
/// environment only.
#[derive(Debug, Clone, Default)]
pub(crate) struct Transport {
    http_proxy: Option<String>,
    https_proxy: Option<String>,
    no_proxy: Vec<String>,
    roots_file: Option<String>,
}

impl Transport {
    /// Reads the variables that decide.
    pub(crate) fn of(env: &EnvView) -> Self {
        let first = |names: &[&str]| {
            let values = names.iter().filter_map(|name| env.process(name));
            values
                .map(str::trim)
                .find(|value| !value.is_empty())
                .map(str::to_owned)
        };
        let no_proxy = first(&["NO_PROXY", "no_proxy"]).unwrap_or_default();
        Self {
            http_proxy: first(&["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"]),
            https_proxy: first(&["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"]),
            no_proxy: no_proxy
                .split(',')
                .map(|entry| entry.trim().to_lowercase())
                .collect(),
            roots_file: first(&["SSL_CERT_FILE", "NODE_EXTRA_CA_CERTS"]),
        }
    }

    /// The proxy for an address. This machine is never reached through one.
    fn proxy(&self, url: &Url) -> Option<String> {
        if is_loopback(url) || self.is_excepted(url) {
            return None;
        }
        match url.scheme() {
            "https" => self.https_proxy.clone(),
            _ => self.http_proxy.clone(),
        }
    }

    /// `NO_PROXY`: `*`, or names with everything below them, each with an optional port.
    fn is_excepted(&self, url: &Url) -> bool {
        let host = url.host_str().unwrap_or_default().to_lowercase();
        self.no_proxy
            .iter()
            .filter(|entry| !entry.is_empty())
            .any(|entry| {
                let (name, port) = match entry.rsplit_once(':') {
                    Some((name, port)) if port.parse::<u16>().is_ok() => (name, port.parse().ok()),
                    _ => (entry.as_str(), None),
                };
                let name = name.trim_start_matches("*.").trim_start_matches('.');
                let named = name == "*"
                    || host == name
                    || host
                        .strip_suffix(name)
                        .is_some_and(|rest| rest.ends_with('.'));
                named && port.is_none_or(|port: u16| url.port_or_known_default() == Some(port))
            })
    }

    /// Completes a request to an address.
    pub(crate) fn prepare(
        &self,
        host: &Host,
        url: &Url,
        request: &mut HttpRequest,
    ) -> Result<(), HttpFailure> {
        request.allow_http = is_loopback(url);
        request.proxy = self.proxy(url);
        if let (Some(path), "https") = (&self.roots_file, url.scheme()) {
            request.extra_roots = read_roots(host, path).map_err(|reason| {
                let reason = format!("{path} cannot be used as additional certificates: {reason}");
                HttpFailure::new(HttpFailureKind::Tls, reason)
            })?;
        }
        Ok(())
    }
}

fn read_roots(host: &Host, path: &str) -> std::io::Result<Vec<u8>> {
    let real = host.files.canonical(path.as_ref())?;
    let bytes = host.files.open(&real)?.read_to_limit(MAX_ROOTS)?;
    bytes
        .map(|bytes| bytes.to_vec())
        .ok_or_else(|| std::io::ErrorKind::FileTooLarge.into())
}

/// What a token request asks for.
pub(crate) enum Grant<'a> {
    /// Tokens for the code of a sign-in.
    Code {
        code: &'a SecretText,
        redirect_uri: &'a str,
        verifier: &'a SecretText,
        state: &'a SecretText,
    },
    /// New tokens for a refresh token.
    Refresh {
        refresh: &'a SecretText,
        /// Client id in the credential; wins over the description.
        client_id: Option<&'a str>,
    },
}

impl Grant<'_> {
    /// The secrets that an answer may repeat.
    fn secrets(&self) -> Vec<&str> {
        match self {
            Self::Code { code, verifier, .. } => vec![code.expose(), verifier.expose()],
            Self::Refresh { refresh, .. } => vec![refresh.expose()],
        }
    }
}

/// A token request that can be sent once or several times.
pub(crate) struct TokenRequest<'a> {
    pub(crate) host: &'a Host,
    pub(crate) provider: &'a Provider,
    pub(crate) transport: &'a Transport,
    pub(crate) grant: Grant<'a>,
    /// Longest time until the answer is there; never more than the provider's own limit.
    pub(crate) timeout: Duration,
}

impl TokenRequest<'_> {
    /// Sends the request once. `received` sees every answer before anything is made of it.
    pub(crate) fn send(&self, received: &dyn Fn(&HttpAnswer)) -> Result<Tokens, Failure> {
        let sent_at = self.host.clock.now_ms();
        self.through(sent_at, &|request| {
            let answer = self.host.http.send(&request).map_err(Failure::Http)?;
            received(&answer);
            log_skew(&answer, sent_at);
            Ok(answer)
        })
    }

    /// Reads an answer that was received earlier, to a request sent at that time.
    pub(crate) fn read(&self, sent_at: u64, answer: &HttpAnswer) -> Result<Tokens, Failure> {
        self.through(sent_at, &|_| Ok(answer.clone()))
    }

    /// The request itself, for hosts that send it by themselves.
    pub(crate) fn build(&self) -> Result<HttpRequest, Failure> {
        let built = std::cell::RefCell::new(None);
        let caught = self.through(0, &|request| {
            *built.borrow_mut() = Some(request);
            let reason = "not sent";
            Err(Failure::Http(HttpFailure::new(
                HttpFailureKind::NotSent,
                reason,
            )))
        });
        match (built.into_inner(), caught) {
            (Some(request), _) => Ok(request),
            (None, Err(failure)) => Err(failure),
            (None, Ok(_)) => Err(Failure::Http(HttpFailure::new(
                HttpFailureKind::Unusable,
                "there is no request",
            ))),
        }
    }

    fn through(
        &self,
        sent_at: u64,
        exchange: &dyn Fn(HttpRequest) -> Result<HttpAnswer, Failure>,
    ) -> Result<Tokens, Failure> {
        let unusable =
            |reason: &str| Failure::Http(HttpFailure::new(HttpFailureKind::Unusable, reason));
        let Some(url) = &self.provider.token_url else {
            return Err(unusable("the description has no token endpoint"));
        };
        let call = |request: oauth2::HttpRequest| {
            let request = self.adapt(url, request)?;
            let answer = exchange(request)?;
            let body = normalise(&answer, &self.grant.secrets()).map_err(Failure::Refused)?;
            let mut response = oauth2::HttpResponse::new(body.to_string().into_bytes());
            let json = oauth2::http::HeaderValue::from_static("application/json");
            response
                .headers_mut()
                .insert(oauth2::http::header::CONTENT_TYPE, json);
            Ok(response)
        };
        let response = match &self.grant {
            Grant::Code {
                code,
                redirect_uri,
                verifier,
                state,
            } => {
                let redirect = RedirectUrl::new((*redirect_uri).to_owned())
                    .map_err(|_| unusable("the redirect address is not usable"))?;
                let client = self
                    .client(url, &self.provider.client_id)
                    .set_redirect_uri(redirect);
                let mut request = client
                    .exchange_code(AuthorizationCode::new(code.expose().to_owned()))
                    .set_pkce_verifier(PkceCodeVerifier::new(verifier.expose().to_owned()));
                if self.provider.send_state_in_exchange {
                    request = request.add_extra_param("state", state.expose());
                }
                for (name, value) in &self.provider.exchange_params {
                    request = request.add_extra_param(name, value);
                }
                request.request(&call)
            }
            Grant::Refresh { refresh, client_id } => {
                let client = self.client(url, client_id.unwrap_or(&self.provider.client_id));
                let token = RefreshToken::new(refresh.expose().to_owned());
                let mut request = client.exchange_refresh_token(&token);
                if self.provider.send_scope_on_refresh {
                    request =
                        request.add_scopes(self.provider.scopes.iter().cloned().map(Scope::new));
                }
                for (name, value) in &self.provider.refresh_params {
                    request = request.add_extra_param(name, value);
                }
                request.request(&call)
            }
        };
        match response {
            Ok(response) => Ok(tokens(&response, sent_at)),
            Err(RequestTokenError::Request(failure)) => Err(failure),
            Err(_) => {
                let reason = "token response has members of the wrong type";
                Err(Failure::Refused(Refusal::Unusable(reason.to_owned())))
            }
        }
    }

    fn client(&self, url: &Url, client_id: &str) -> ClientWith<EndpointSet> {
        let mut client = ClientWith::<EndpointNotSet>::new(ClientId::new(client_id.to_owned()))
            .set_token_uri(TokenUrl::from_url(url.clone()));
        client = client.set_auth_type(match self.provider.client_auth {
            ClientAuth::Basic => AuthType::BasicAuth,
            ClientAuth::Body | ClientAuth::None => AuthType::RequestBody,
        });
        match (&self.provider.client_secret, self.provider.client_auth) {
            (Some(secret), ClientAuth::Basic | ClientAuth::Body) => {
                client.set_client_secret(ClientSecret::new(secret.expose().to_owned()))
            }
            _ => client,
        }
    }

    /// The request of `oauth2` as one of the host.
    fn adapt(&self, url: &Url, request: oauth2::HttpRequest) -> Result<HttpRequest, Failure> {
        let (parts, form) = request.into_parts();
        let mut adapted = HttpRequest::post(url.as_str(), Vec::new());
        let (body, content_type) = match self.provider.token_format {
            TokenFormat::Form => (Zeroizing::new(form), "application/x-www-form-urlencoded"),
            TokenFormat::Json => (as_json(&Zeroizing::new(form)), "application/json"),
        };
        adapted.body = body;
        adapted.timeout = self
            .timeout
            .min(Duration::from_millis(self.provider.timeout_ms));
        let mut header = |name: &str, value: &str| {
            adapted
                .headers
                .push((name.to_owned(), Zeroizing::new(value.to_owned())));
        };
        header("accept", "application/json");
        header("content-type", content_type);
        let basic = parts.headers.get(oauth2::http::header::AUTHORIZATION);
        if let Some(basic) = basic.and_then(|value| value.to_str().ok()) {
            header("authorization", basic);
        }
        for (name, value) in &self.provider.token_headers {
            header(name, value);
        }
        let prepared = self.transport.prepare(self.host, url, &mut adapted);
        prepared.map_err(Failure::Http)?;
        Ok(adapted)
    }
}

/// The members of a form as one JSON object.
fn as_json(form: &[u8]) -> Zeroizing<Vec<u8>> {
    let members: Map<String, Value> = form_urlencoded::parse(form)
        .map(|(name, value)| (name.into_owned(), Value::from(value.into_owned())))
        .collect();
    let members = Value::Object(members);
    let text = Zeroizing::new(members.to_string().into_bytes());
    crate::secrets::wipe(members);
    text
}

/// A difference of clocks that is worth a word, in milliseconds.
pub(super) const MIN_SKEW_MS: u64 = 60_000;

/// By how many milliseconds the clock of whoever answered is ahead of ours.
pub(super) fn clock_skew_ms(answer: &HttpAnswer, now_ms: u64) -> Option<i64> {
    let date_ms = answer.header("date").and_then(http_date_ms)?;
    Some((date_ms - now_ms as f64) as i64)
}

fn log_skew(answer: &HttpAnswer, sent_at: u64) {
    let skew_ms = clock_skew_ms(answer, sent_at);
    if let Some(skew_ms) = skew_ms.filter(|skew| skew.unsigned_abs() > MIN_SKEW_MS) {
        let skew_s = skew_ms / 1_000;
        log::debug!(target: "openclaw_auth::oauth", "the provider's clock differs by {skew_s} s");
    }
}

#[derive(Deserialize, Serialize)]
struct Extra {
    #[serde(default)]
    id_token: Option<String>,
}

impl std::fmt::Debug for Extra {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Extra")
    }
}

impl ExtraTokenFields for Extra {}

type Response = StandardTokenResponse<Extra, BasicTokenType>;
/// A client without addresses but, perhaps, that of the token endpoint.
type ClientWith<TokenEndpoint> = Client<
    BasicErrorResponse,
    Response,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    EndpointNotSet,
    TokenEndpoint,
>;

fn tokens(response: &Response, sent_at: u64) -> Tokens {
    let secret = |text: &String| SecretText::new(text.clone());
    let access = secret(response.access_token().secret());
    let id_token = response.extra_fields().id_token.as_ref().map(secret);
    let named = response.expires_in().map(|lifetime| {
        let ms = u64::try_from(lifetime.as_millis()).unwrap_or(u64::MAX);
        sent_at.saturating_add(ms)
    });
    let from_claim = || Claims::of(access.expose(), None).expires_ms();
    let known = named.or_else(from_claim);
    Tokens {
        refresh: response.refresh_token().map(|token| secret(token.secret())),
        expires_ms: known.unwrap_or_else(|| sent_at.saturating_add(ASSUMED_LIFETIME_MS)),
        issued_at_ms: sent_at,
        lifetime_assumed: known.is_none(),
        access,
        id_token,
    }
}
