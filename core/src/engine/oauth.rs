//! Signing in and keeping tokens fresh, on the stores of the engine's agents.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use arc_swap::ArcSwap;
use serde_json::{Value, json};

use super::Engine;
use super::refresh::{RefreshFailure, RefreshRequest, Refreshed, Refresher, TokenLife};
use super::routes::{Router, Routes};
use crate::config::EnvOrigin;
use crate::error::{Code, Error, Reason, Result};
use crate::host::Host;
use crate::oauth::{
    Fresh, Identity, Job, Journal, LoginFlow, Newcomer, Scene, SignedIn, Source, Validity, Want,
    Window, choose_profile_id, external_program, fresh_credential,
};
use crate::profiles::{AgentProfiles, Clear, Document, Kind, Notice, Profile, View};
use crate::snapshot::Snapshot;
use crate::text::SecretText;

/// How long a sign-in waits for the lock of the store, before and after.
const LOCK_BUDGET: Duration = Duration::from_secs(10);

/// What signing in and refreshing share.
pub(super) struct OauthParts {
    host: Host,
    refresher: crate::oauth::Refresher,
    scene: ArcSwap<Scene>,
}

/// How to sign in.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct LoginOptions {
    /// Agent whose store takes the profile; the default agent when none is named.
    pub agent: Option<String>,
    /// Profile id; chosen by the person's address when it is not given.
    pub profile_id: Option<String>,
    /// Replaces a key or token under the same id.
    pub replace: bool,
    /// Milliseconds until the sign-in is given up (default: `oauth.callbackTimeoutMs`).
    pub timeout_ms: Option<u64>,
}

/// A sign-in that worked.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LoginDone {
    /// Agent whose store holds the profile.
    pub agent: String,
    /// Profile id.
    pub profile_id: String,
    /// Provider.
    pub provider: String,
    /// Address of the account, when known.
    pub email: Option<String>,
    /// Account id, when known.
    pub account_id: Option<String>,
    /// End of the access token, in milliseconds since 1970.
    pub expires: Option<u64>,
    /// The store.
    pub store_path: String,
    /// What is worth knowing about the tokens.
    pub warnings: Vec<Code>,
    /// The model that people use with this provider.
    pub default_model: Option<String>,
}

impl LoginDone {
    /// The JSON form of every language.
    pub fn to_json(&self) -> Value {
        json!({
            "agentId": self.agent,
            "profileId": self.profile_id,
            "provider": self.provider,
            "type": "oauth",
            "email": self.email,
            "accountId": self.account_id,
            "expiresAt": self.expires,
            "storePath": self.store_path,
            "warnings": self.warnings.iter().map(|code| code.as_str()).collect::<Vec<_>>(),
            "defaultModel": self.default_model,
        })
    }
}

/// An access token and where it comes from.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct OauthToken {
    /// The token.
    pub access: SecretText,
    /// Its end, in milliseconds since 1970, when known.
    pub expires: Option<u64>,
    /// Account id, when known; requests to `openai-codex` need it.
    pub account_id: Option<String>,
    /// `stored`, `refreshed`, `adopted`, `peer` or `external:<program>`.
    pub source: String,
    /// Why the token is not newer, or not saved.
    pub warning: Option<Error>,
}

impl OauthToken {
    fn of(fresh: Fresh) -> Self {
        Self {
            access: fresh.access,
            expires: fresh.expires_ms,
            account_id: fresh.account_id,
            source: match fresh.source {
                Source::Adopted => "adopted".to_owned(),
                Source::External(program) => format!("external:{program}"),
                Source::Peer => "peer".to_owned(),
                Source::Refreshed => "refreshed".to_owned(),
                Source::Stored => "stored".to_owned(),
            },
            warning: fresh.warning,
        }
    }
}

impl OauthParts {
    pub(super) fn new(host: Host, snapshot: &Snapshot) -> Arc<Self> {
        Arc::new(Self {
            refresher: crate::oauth::Refresher::new(host.clone()),
            host,
            scene: ArcSwap::from_pointee(scene(snapshot)),
        })
    }

    pub(super) fn take_notices(&self) -> Vec<Notice> {
        self.refresher.take_notices()
    }

    pub(super) fn replace(&self, snapshot: &Snapshot) {
        self.scene.store(Arc::new(scene(snapshot)));
    }

    /// Becomes the one who refreshes for leases.
    pub(super) fn serve(self: &Arc<Self>, router: &Arc<Router>) {
        let built_in = BuiltIn {
            parts: Arc::clone(self),
            router: Arc::downgrade(router),
        };
        *router.refresher.write() = Some(Arc::new(built_in));
    }

    /// The result, or that of the twin when the login itself is lost.
    fn or_twin(
        &self,
        fresh: Result<Fresh>,
        profiles: &AgentProfiles,
        twin: impl FnOnce() -> Result<Option<String>>,
        wait: Duration,
    ) -> Result<Fresh> {
        let error = match fresh {
            Err(error) if error.code() == Code::OauthReauthRequired => error,
            other => return other,
        };
        match twin()? {
            Some(twin) => self.ensure(profiles, &twin, Want::Valid(0), wait),
            None => Err(error),
        }
    }

    fn ensure(
        &self,
        profiles: &AgentProfiles,
        profile_id: &str,
        want: Want,
        wait: Duration,
    ) -> Result<Fresh> {
        let job = Job {
            owner: profiles.store(),
            profile_id,
            want,
            wait,
        };
        self.refresher.ensure(&self.scene.load(), &job)
    }
}

/// The profile that older releases called `<provider>:default`, under the name that it has now:
/// an OAuth profile of the same provider and of the person whom the configuration names for it.
/// Never one of somebody else.
fn twin(routes: &Routes, view: &View, profile_id: &str) -> Option<String> {
    let provider = profile_id.strip_suffix(":default")?;
    let mut configured = routes.routing.profiles.iter();
    let (_, configured) = configured.find(|(id, _)| id == profile_id)?;
    let email = configured.email.as_deref()?.trim();
    if configured.mode != "oauth" || email.is_empty() {
        return None;
    }
    let is_twin = |profile: &&Arc<Profile>| {
        let of = profile.credential.email.as_deref().map(str::trim);
        profile.id != profile_id
            && profile.credential.kind == Kind::OAuth
            && routes.normal(&profile.credential.provider) == routes.normal(provider)
            && of.is_some_and(|of| of.eq_ignore_ascii_case(email))
    };
    view.profiles
        .iter()
        .find(is_twin)
        .map(|profile| profile.id.clone())
}

fn scene(snapshot: &Snapshot) -> Scene {
    let secret = |id: &str| {
        let path = format!("oauth.providers.{id}.clientSecret");
        snapshot.secret(&path).ok().cloned()
    };
    Scene::read(&snapshot.tree, &snapshot.env, &snapshot.places, &secret)
}

/// Refreshes for the leases of one engine.
struct BuiltIn {
    parts: Arc<OauthParts>,
    router: Weak<Router>,
}

impl Refresher for BuiltIn {
    fn refresh(&self, request: &RefreshRequest) -> std::result::Result<Refreshed, RefreshFailure> {
        let Some(router) = self.router.upgrade() else {
            let gone = Error::new(Code::InternalError, "the engine is closed");
            return Err(failure(request, &gone));
        };
        let want = match (&request.access, request.force) {
            (Some(refused), true) => Want::Other(refused.clone()),
            (None, true) => Want::Anyway,
            (_, false) => Want::Valid(request.min_valid_ms),
        };
        let wait = Duration::from_millis(request.wait_ms);
        let routes = router.routes();
        router
            .agent(&routes, Some(&request.agent))
            .and_then(|profiles| {
                let id = &request.profile_id;
                let fresh = self.parts.ensure(&profiles, id, want, wait);
                let twin = || Ok(twin(&routes, &*profiles.view(&routes.routing)?, id));
                self.parts.or_twin(fresh, &profiles, twin, wait)
            })
            .map(|fresh| Refreshed {
                access: fresh.access,
                expires: fresh.expires_ms,
            })
            .map_err(|error| failure(request, &error))
    }

    fn knows(&self, provider: &str) -> bool {
        self.parts.scene.load().providers.get(provider).is_ok()
    }

    fn is_due(&self, token: &TokenLife<'_>) -> bool {
        let margin = self.parts.scene.load().settings.refresh_margin_ms;
        let far = token.now_ms.saturating_add(margin.max(token.min_valid_ms));
        // The usual case, without looking into the token.
        if token.expires.is_some_and(|at| at > far) {
            return false;
        }
        let mut validity = Validity {
            expires_ms: token.expires,
            issued_at_ms: token.issued_at,
            claimed_lifetime_ms: None,
            has_refresh: token.has_refresh,
        };
        if token.issued_at.is_none() {
            validity.claimed_lifetime_ms = token.access.and_then(crate::oauth::claimed_lifetime_ms);
        }
        validity.window(token.now_ms, margin, token.min_valid_ms) != Window::Fresh
    }
}

fn failure(request: &RefreshRequest, error: &Error) -> RefreshFailure {
    let prefix = format!("OAuth token refresh failed for {}: ", request.provider);
    let message = error.message();
    RefreshFailure {
        message: message.strip_prefix(&prefix).unwrap_or(message).to_owned(),
        reason: match error.code() {
            Code::OauthReauthRequired => Reason::AuthPermanent,
            Code::OauthNetwork | Code::OauthTls => Reason::Network,
            Code::OauthTimeout => Reason::Timeout,
            Code::OauthProviderUnavailable => Reason::Overloaded,
            Code::OauthTokenResponseInvalid => Reason::ServerError,
            _ => Reason::Auth,
        },
        // Says nothing about the credential: somebody else is at work, or this machine is at fault.
        busy: matches!(
            error.code(),
            Code::OauthRefreshContention
                | Code::RefreshUnpersistable
                | Code::OauthEndpointChanged
                | Code::OauthSharedWithExternalCli
                | Code::InternalError
        ) || error.class() == crate::error::Class::Store,
    }
}

/// Programs whose logins are known.
const EXTERNAL_PROGRAMS: [&str; 3] = ["claude-cli", "codex-cli", "minimax-cli"];

impl Engine {
    /// Starts a sign-in at a provider. That the store can be written is made sure first. Blocks
    /// only when the provider has to be asked for its endpoints.
    ///
    /// # Errors
    ///
    /// `oauth_unknown_provider`, `oauth_provider_invalid`, `refresh_unpersistable`,
    /// `unknown_agent`, or a `store_*` code.
    pub fn oauth_begin(&self, provider: &str, options: LoginOptions) -> Result<LoginFlow> {
        let scene = self.oauth.scene.load_full();
        let described = scene.providers.get(provider)?;
        if let Some(id) = &options.profile_id {
            crate::oauth::check_profile_id(id)?;
        }
        let profiles = self.login_store(&options)?;
        {
            let held = profiles.store().hold(LOCK_BUDGET)?;
            let len = profiles
                .store()
                .load()?
                .document
                .map_or(0, |document| document.to_text().len());
            let path = profiles.path();
            Journal::new(&self.host, path, &described.id)
                .check(len)
                .map_err(|error| {
                    let message = format!("cannot write {}: {}", path.display(), error.kind());
                    Error::new(Code::RefreshUnpersistable, message)
                })?;
            drop(held);
        }
        let complete = self.oauth.refresher.discovered().complete(
            &self.oauth.host,
            &scene.transport,
            described,
        )?;
        let mut flow = LoginFlow::begin(
            &self.host,
            &scene,
            complete.into_owned(),
            options.timeout_ms,
        )?;
        flow.target = (options.agent, options.profile_id, options.replace);
        Ok(flow)
    }

    /// Completes a sign-in with the address that arrived or with pasted text: exchanges the code,
    /// stores the profile, answers the browser. Blocks.
    ///
    /// # Errors
    ///
    /// The `oauth_…` codes of an answer and of the exchange, `profile_exists`, or a `store_*`
    /// code. Nothing has been stored then.
    pub fn oauth_complete(&self, flow: &mut LoginFlow, text: &str) -> Result<LoginDone> {
        let outcome = flow.exchange(text);
        self.conclude(flow, outcome)
    }

    /// Like [`Engine::oauth_complete`] for hosts that have sent the request of
    /// [`LoginFlow::request_json`] by themselves.
    ///
    /// # Errors
    ///
    /// As [`Engine::oauth_complete`].
    pub fn oauth_accept_response(
        &self,
        flow: &mut LoginFlow,
        http_status: u16,
        body: &str,
    ) -> Result<LoginDone> {
        let outcome = flow.accept_answer(http_status, body);
        self.conclude(flow, outcome)
    }

    /// The access token of an OAuth profile, refreshed when it is due. `force` refreshes it in
    /// any case. Blocks.
    ///
    /// # Errors
    ///
    /// `profile_not_found`, `refresh_unpersistable`, and the `oauth_…` codes of a refresh.
    pub fn oauth_token(
        &self,
        agent: Option<&str>,
        profile_id: &str,
        min_valid_ms: u64,
        force: bool,
    ) -> Result<OauthToken> {
        let want = if force {
            Want::Anyway
        } else {
            Want::Valid(min_valid_ms)
        };
        self.token(agent, profile_id, want)
    }

    /// Another access token than the one that the provider has just refused with 401. Reports of
    /// the same token by many threads cause one refresh. Blocks.
    ///
    /// # Errors
    ///
    /// As [`Engine::oauth_token`].
    pub fn oauth_unauthorized(
        &self,
        agent: Option<&str>,
        profile_id: &str,
        refused: &SecretText,
    ) -> Result<OauthToken> {
        self.token(agent, profile_id, Want::Other(refused.clone()))
    }

    /// Links a profile to the login of another program, read-only: `codex-cli` or `claude-cli`.
    /// Nothing is copied. The id of the profile is `<provider>:<program>`.
    ///
    /// # Errors
    ///
    /// `oauth_external_cli_missing` when that program is not signed in, or a `store_*` code.
    pub fn oauth_link(&self, agent: Option<&str>, program: &str) -> Result<LoginDone> {
        let scene = self.oauth.scene.load_full();
        let known = external_program(program).ok_or_else(|| {
            let message =
                "programs whose login can be linked are codex-cli, claude-cli, minimax-cli";
            Error::new(Code::InvalidArgument, message)
        })?;
        let found = self
            .oauth
            .refresher
            .externals()
            .login(&self.host, &scene.env, known.id);
        let found = found.ok_or_else(|| {
            let message = format!("{} is not signed in on this machine", known.label);
            let hint = format!("run `{}`, then repeat", known.command);
            Error::new(Code::OauthExternalCliMissing, message).with_hint(hint)
        })?;
        let id = format!("{}:{}", known.provider, known.id);
        let mut credential = serde_json::Map::new();
        credential.insert("type".to_owned(), "oauth".into());
        credential.insert("provider".to_owned(), known.provider.into());
        if let Some(account) = &found.identity.account_id {
            credential.insert("accountId".to_owned(), account.clone().into());
        }
        credential.insert("oa".to_owned(), json!({"external": {"cli": known.id}}));
        let credential = Value::Object(credential);
        let profiles = self.router.agent(&self.router.routes(), agent)?;
        self.edit_profiles(&profiles, &mut |document| {
            put(document, &id, &credential);
            Ok(())
        })?;
        Ok(LoginDone {
            agent: profiles.agent.clone(),
            profile_id: id,
            provider: known.provider.to_owned(),
            email: None,
            account_id: found.identity.account_id,
            expires: Some(found.expires_ms),
            store_path: profiles.path().display().to_string(),
            warnings: Vec::new(),
            default_model: None,
        })
    }

    /// Whether another program (`claude-cli`, `codex-cli`, `minimax-cli`) is signed in here.
    pub fn external_login(&self, program: &str) -> bool {
        let scene = self.oauth.scene.load_full();
        let externals = self.oauth.refresher.externals();
        externals.login(&self.host, &scene.env, program).is_some()
    }

    /// When the login of another program ends, in milliseconds since 1970.
    pub(crate) fn external_expiry(&self, program: &str) -> Option<u64> {
        let scene = self.oauth.scene.load_full();
        let externals = self.oauth.refresher.externals();
        let login = externals.login(&self.host, &scene.env, program)?;
        Some(login.expires_ms)
    }

    /// Another program whose login has this refresh token.
    pub(crate) fn program_with(&self, refresh: &SecretText) -> Option<&'static str> {
        let scene = self.oauth.scene.load_full();
        let externals = self.oauth.refresher.externals();
        let mut programs = EXTERNAL_PROGRAMS.iter().copied();
        programs.find(|program| {
            let login = externals.login(&self.host, &scene.env, program);
            login.is_some_and(|login| login.refresh.as_ref() == Some(refresh))
        })
    }

    /// The account id that the access token of a login names.
    pub(crate) fn account_in(&self, login: &crate::oauth::Login) -> Option<String> {
        let scene = self.oauth.scene.load_full();
        let provider = scene.providers.get(&login.provider).ok()?;
        crate::oauth::account_claim(login.access.as_ref()?, provider)
    }

    /// Asks the token endpoint of a provider whether it is there; no token is sent. `None`: there
    /// is no such endpoint. Blocks.
    pub(crate) fn reach_token_endpoint(&self, provider: &str) -> Option<crate::oauth::Reached> {
        let scene = self.oauth.scene.load_full();
        let provider = scene.providers.get(provider).ok()?;
        let url = provider.token_endpoint().ok()?;
        Some(crate::oauth::reach(&self.host, &scene.transport, url))
    }

    /// Ids of the providers that can be signed in to or refreshed.
    pub fn oauth_providers(&self) -> Vec<String> {
        let scene = self.oauth.scene.load();
        scene.providers.ids().map(str::to_owned).collect()
    }

    /// Variables that would change a sign-in provider but are ignored, because they do not come
    /// from the process environment.
    pub fn oauth_ignored_variables(&self) -> Vec<(String, &'static str)> {
        let scene = self.oauth.scene.load();
        let ignored = scene.providers.ignored.iter().map(|name| {
            let origin = scene.env.origin(name).map_or("", EnvOrigin::as_str);
            (name.clone(), origin)
        });
        ignored.collect()
    }

    /// Profiles of type `oauth` of an agent.
    ///
    /// # Errors
    ///
    /// `unknown_agent` or a `store_*` code.
    pub fn oauth_profiles(&self, agent: Option<&str>) -> Result<Vec<(String, String)>> {
        let (_, _, view) = self.view(agent)?;
        let oauth = view
            .profiles
            .iter()
            .filter(|profile| profile.credential.kind == Kind::OAuth);
        Ok(oauth
            .map(|profile| (profile.id.clone(), profile.credential.provider.clone()))
            .collect())
    }

    /// The kind of a stored profile; `None` when there is no profile of the id.
    ///
    /// # Errors
    ///
    /// `unknown_agent` or a `store_*` code.
    pub fn profile_kind(&self, agent: Option<&str>, profile_id: &str) -> Result<Option<Kind>> {
        let (_, _, view) = self.view(agent)?;
        Ok(view
            .profile(profile_id)
            .map(|profile| profile.credential.kind))
    }

    fn token(&self, agent: Option<&str>, profile_id: &str, want: Want) -> Result<OauthToken> {
        let (routes, profiles, view) = self.view(agent)?;
        let inherited = view
            .profile(profile_id)
            .is_some_and(|profile| profile.inherited);
        let owner = self.router.owner(&routes, &profiles, inherited)?;
        let wait = Duration::from_millis(routes.routing.refresh_wait_ms);
        let fresh = self.oauth.ensure(&owner, profile_id, want, wait);
        let twin = || Ok(twin(&routes, &view, profile_id));
        self.oauth
            .or_twin(fresh, &owner, twin, wait)
            .map(OauthToken::of)
    }

    fn login_store(&self, options: &LoginOptions) -> Result<Arc<AgentProfiles>> {
        self.router
            .agent(&self.router.routes(), options.agent.as_deref())
    }

    /// Stores what a sign-in has brought, answers the browser and tells how it ended. A slip that
    /// leaves the flow waiting for another answer is no end.
    fn conclude(&self, flow: &mut LoginFlow, outcome: Result<SignedIn>) -> Result<LoginDone> {
        let ended = match outcome {
            Ok(signed_in) => self.store_login(flow, &signed_in),
            Err(error) if !flow.has_ended() => return Err(error),
            Err(error) => Err(error),
        };
        flow.finish(ended.as_ref().err());
        self.tell_sign_in(&flow.description().id, &ended);
        ended
    }

    fn tell_sign_in(&self, provider: &str, ended: &Result<LoginDone>) {
        let (code, message, details) = match ended {
            Ok(done) => (
                Code::OauthSignedIn,
                format!("signed in as {}", done.profile_id),
                json!({
                    "provider": provider, "profileId": done.profile_id,
                    "ownerPath": done.store_path, "expires": done.expires,
                }),
            ),
            Err(error) => (
                Code::OauthSignInFailed,
                error.message().to_owned(),
                json!({"provider": provider, "error": error.code().as_str()}),
            ),
        };
        self.oauth.refresher.notice(code, message, details);
    }

    fn store_login(&self, flow: &LoginFlow, signed_in: &SignedIn) -> Result<LoginDone> {
        let provider = flow.description();
        let (agent, wanted, replace) = &flow.target;
        let profiles = self.router.agent(&self.router.routes(), agent.as_deref())?;
        let Identity { account_id, email } = &signed_in.identity;
        let newcomer = Newcomer {
            identity: &signed_in.identity,
            subject: signed_in.subject.as_deref(),
            wanted: wanted.as_deref(),
            replace: *replace,
        };
        let tokens = &signed_in.tokens;
        let credential = fresh_credential(
            &provider.id,
            &signed_in.identity,
            tokens,
            &signed_in.token_host,
        );
        let credential = Value::Object(credential);
        let mut chosen = String::new();
        self.edit_profiles(&profiles, &mut |document| {
            // The second look finds what the first has written.
            if document.profile(&chosen) != Some(&credential) {
                chosen = choose_profile_id(document, provider, &newcomer)?;
                put(document, &chosen, &credential);
            }
            Ok(())
        })?;
        self.clear_cooldown(agent.as_deref(), Some(&chosen), Clear::All)?;
        let mut warnings = Vec::new();
        if provider.account_id_required && account_id.is_none() {
            warnings.push(Code::OauthAccountIdMissing);
        }
        if tokens.refresh.is_none() {
            warnings.push(Code::OauthRefreshTokenMissing);
        }
        if tokens.lifetime_assumed {
            warnings.push(Code::OauthExpiresInMissing);
        }
        Ok(LoginDone {
            agent: profiles.agent.clone(),
            profile_id: chosen,
            provider: provider.id.clone(),
            email: email.clone(),
            account_id: account_id.clone(),
            expires: Some(tokens.expires_ms),
            store_path: profiles.path().display().to_string(),
            warnings,
            default_model: provider.default_model.clone(),
        })
    }

    fn edit_profiles(
        &self,
        profiles: &AgentProfiles,
        change: &mut dyn FnMut(&mut Document) -> Result<()>,
    ) -> Result<()> {
        profiles.edit(&self.router.routes().routing, change)
    }
}

/// Puts a credential in place of what has its id; labels that a person gave stay.
fn put(document: &mut Document, id: &str, credential: &Value) {
    document.edit("profiles", |profiles| {
        let old = profiles
            .get(id)
            .and_then(|old| old.get("displayName"))
            .cloned();
        let mut next = credential.clone();
        if let (Some(name), Value::Object(map)) = (old, &mut next) {
            map.insert("displayName".to_owned(), name);
        }
        if let Some(old) = profiles.insert(id.to_owned(), next) {
            crate::secrets::wipe(old);
        }
    });
}

impl fmt::Debug for OauthParts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OauthParts")
    }
}
