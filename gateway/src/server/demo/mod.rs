//! `--demo`: built-in settings and a built-in provider, so that one command shows everything.

mod mock;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;

use openclaw_auth::host::{self, Clock};
use openclaw_auth::{Code, Error, SecretText, mask};

use super::{Launch, system_failed};

/// A demonstration that is about to start.
pub(crate) struct Demo {
    /// Whether any port will do when the usual one is taken.
    pub(crate) any_port: bool,
    provider: TcpListener,
    key: SecretText,
}

impl Demo {
    /// Makes up a key, finds a port for the provider and replaces the settings.
    ///
    /// # Errors
    ///
    /// When the system has no port or no randomness, or when settings were given as well.
    pub(crate) fn prepare(launch: &mut Launch) -> Result<Self, Error> {
        let open = &mut launch.open;
        if open.config.is_some() || open.access.token.is_some() || open.access.password.is_some() {
            return Err(Error::new(
                Code::UsageError,
                "--demo brings its own settings; leave --config, --token-file and --password-file out",
            ));
        }
        let provider = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(|error| system_failed("no port for the mock provider", &error))?;
        let port = provider
            .local_addr()
            .map_err(|error| system_failed("no port for the mock provider", &error))?
            .port();
        let key = random_key()?;
        open.source_text = Some(SETTINGS.replace("PORT", &port.to_string()));
        open.env = Some(BTreeMap::from([(
            KEY_NAME.to_owned(),
            key.expose().to_owned(),
        )]));
        Ok(Self {
            any_port: launch.bind.port.is_none(),
            provider,
            key,
        })
    }

    /// Starts the provider and tells the user what to try.
    ///
    /// # Errors
    ///
    /// When the provider cannot be started.
    pub(crate) fn start(
        self,
        addresses: &[SocketAddr],
        clock: Arc<dyn Clock>,
        print: &dyn Fn(&str),
    ) -> Result<(), Error> {
        let gateway = addresses
            .first()
            .map_or_else(String::new, ToString::to_string);
        let shown = mask(self.key.expose());
        mock::start(self.provider, self.key, clock)
            .map_err(|error| system_failed("the mock provider cannot start", &error))?;
        print(&TOUR.replace("GATEWAY", &gateway).replace("KEY", &shown));
        Ok(())
    }
}

fn random_key() -> Result<SecretText, Error> {
    let mut bytes = [0_u8; 24];
    host::random(&mut bytes).map_err(|error| system_failed("no random numbers", &error))?;
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(SecretText::new(format!("demo-{digits}")))
}

/// Name of the variable that holds the key, in an environment of the demonstration's own.
const KEY_NAME: &str = "MOCK_API_KEY";

/// Trusted-proxy mode, with this machine itself as the proxy.
const SETTINGS: &str = r#"{
  gateway: {
    bind: "loopback",
    trustedProxies: ["127.0.0.1", "::1"],
    auth: {
      mode: "trusted-proxy",
      trustedProxy: {
        userHeader: "x-forwarded-user",
        requiredHeaders: ["x-forwarded-proto"],
        allowUsers: ["nick@example.com"],
      },
    },
  },
  models: {
    providers: {
      mock: {
        baseUrl: "http://127.0.0.1:PORT/v1",
        api: "openai-completions",
        apiKey: { source: "env", provider: "default", id: "MOCK_API_KEY" },
        models: [],
      },
    },
  },
}"#;

const TOUR: &str = r#"
This is a gateway in trusted-proxy mode, with this machine as the trusted proxy, in front of a
mock model provider that demands an API key. The key is a secret reference in the settings
(KEY, made up just now); callers never see it. Try, in another terminal:

1. A request that did not come through a login proxy. Answer: 403 trusted_proxy_missing_header.
   curl -s http://GATEWAY/_auth/whoami

2. A user whom the proxy let in but who is not on the list.
   Answer: 403 trusted_proxy_user_not_allowed.
   curl -s http://GATEWAY/_auth/whoami \
     -H 'X-Forwarded-Proto: https' -H 'X-Forwarded-User: mallory@example.com'

3. The allowed user. Answer: 200 and who you are.
   curl -s http://GATEWAY/_auth/whoami \
     -H 'X-Forwarded-Proto: https' -H 'X-Forwarded-User: nick@example.com'

4. A chat, streamed. The provider tells which key arrived: the gateway put it in.
   curl -sN http://GATEWAY/proxy/mock/v1/chat/completions \
     -H 'X-Forwarded-Proto: https' -H 'X-Forwarded-User: nick@example.com' \
     -H 'Content-Type: application/json' \
     -d '{"model":"mock-1","stream":true,"messages":[{"role":"user","content":"hello"}]}'

Stop with Ctrl-C."#;
