//! Logins of other programs, read only. Nothing here ever writes, touches or locks their files.

use std::collections::HashMap;
use std::path::PathBuf;

use parking_lot::Mutex;
use serde_json::Value;

use super::claims::{Claims, Identity};
use crate::config::{EnvView, expand_home};
use crate::host::{FileMeta, Host};
use crate::text::SecretText;

/// Largest file that is read.
const MAX_BYTES: u64 = 1 << 20;
/// How long what was read counts without looking into the file again, in milliseconds.
const CACHE_MS: u64 = 60_000;

/// How an expiry is written.
#[derive(Clone, Copy)]
enum Expires {
    /// A member holds milliseconds since 1970, and must.
    Member(&'static str),
    /// The claim `exp` of the access token, or an hour after the file was written.
    Claim,
}

/// Where a program keeps its login. Pointers are RFC 6901.
struct Source {
    id: &'static str,
    /// What people call the program, and the command that signs in to it.
    label: &'static str,
    command: &'static str,
    provider: &'static str,
    /// Variable that names the folder, and the folder when it is not set.
    folder: (&'static str, &'static str),
    file: &'static str,
    access: &'static str,
    refresh: &'static str,
    refresh_required: bool,
    account_id: &'static str,
    id_token: &'static str,
    expires: Expires,
}

const SOURCES: &[Source] = &[
    Source {
        id: "claude-cli",
        label: "Claude CLI",
        command: "claude auth login",
        provider: "anthropic",
        folder: ("CLAUDE_CONFIG_DIR", "~/.claude"),
        file: ".credentials.json",
        access: "/claudeAiOauth/accessToken",
        refresh: "/claudeAiOauth/refreshToken",
        refresh_required: false,
        account_id: "",
        id_token: "",
        expires: Expires::Member("/claudeAiOauth/expiresAt"),
    },
    Source {
        id: "codex-cli",
        label: "Codex CLI",
        command: "codex login",
        provider: "openai-codex",
        folder: ("CODEX_HOME", "~/.codex"),
        file: "auth.json",
        access: "/tokens/access_token",
        refresh: "/tokens/refresh_token",
        refresh_required: true,
        account_id: "/tokens/account_id",
        id_token: "/tokens/id_token",
        expires: Expires::Claim,
    },
    Source {
        id: "minimax-cli",
        label: "MiniMax CLI",
        command: "minimax login",
        provider: "minimax-portal",
        folder: ("", "~/.minimax"),
        file: "oauth_creds.json",
        access: "/access_token",
        refresh: "/refresh_token",
        refresh_required: true,
        account_id: "",
        id_token: "",
        expires: Expires::Member("/expiry_date"),
    },
];

/// A login of another program.
#[derive(Debug, Clone)]
pub(crate) struct ExternalLogin {
    pub(crate) access: SecretText,
    pub(crate) refresh: Option<SecretText>,
    pub(crate) expires_ms: u64,
    pub(crate) identity: Identity,
}

/// A program, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Program {
    pub(crate) id: &'static str,
    pub(crate) label: &'static str,
    pub(crate) command: &'static str,
    pub(crate) provider: &'static str,
}

/// Reads and remembers the logins of other programs.
#[derive(Default)]
pub(crate) struct Externals {
    cache: Mutex<HashMap<PathBuf, Cached>>,
}

struct Cached {
    meta: FileMeta,
    read_at: u64,
    login: Option<ExternalLogin>,
}

impl Externals {
    /// The login of a program, `None` when it has none. The file is looked at every time; it is
    /// read when it has changed or a minute has passed.
    pub(crate) fn login(&self, host: &Host, env: &EnvView, id: &str) -> Option<ExternalLogin> {
        let source = SOURCES.iter().find(|source| source.id == id)?;
        let path = host.files.canonical(&source.path(host, env)).ok()?;
        let meta = host.files.stat(&path).ok()?;
        let now = host.clock.now_ms();
        let mut cache = self.cache.lock();
        if let Some(known) = cache.get(&path) {
            let same = known.meta.modified_ns == meta.modified_ns
                && (known.meta.len, known.meta.inode) == (meta.len, meta.inode);
            if same && now.saturating_sub(known.read_at) < CACHE_MS {
                return known.login.clone();
            }
        }
        let login = source.read(host, &path, &meta);
        let cached = Cached {
            meta,
            read_at: now,
            login: login.clone(),
        };
        cache.insert(path, cached);
        login
    }
}

/// A known program.
pub(crate) fn program(id: &str) -> Option<Program> {
    let source = SOURCES.iter().find(|source| source.id == id)?;
    Some(Program {
        id: source.id,
        label: source.label,
        command: source.command,
        provider: source.provider,
    })
}

/// Where the login of a program is kept.
pub(crate) fn file_of(host: &Host, env: &EnvView, id: &str) -> Option<PathBuf> {
    let source = SOURCES.iter().find(|source| source.id == id)?;
    Some(source.path(host, env))
}

impl Source {
    fn path(&self, host: &Host, env: &EnvView) -> PathBuf {
        let home = env
            .process("HOME")
            .map(str::trim)
            .filter(|home| !home.is_empty());
        let home = home.map(PathBuf::from).or_else(|| host.env.account_home());
        let home = home.unwrap_or_else(|| PathBuf::from("/"));
        let (variable, usual) = self.folder;
        let named = env
            .process(variable)
            .map(str::trim)
            .filter(|text| !text.is_empty());
        expand_home(named.unwrap_or(usual), &home).join(self.file)
    }

    fn read(&self, host: &Host, path: &std::path::Path, meta: &FileMeta) -> Option<ExternalLogin> {
        let bytes = host
            .files
            .open(path)
            .ok()?
            .read_to_limit(MAX_BYTES)
            .ok()??;
        let tree: Value = serde_json::from_slice(&bytes).ok()?;
        let login = self.login(&tree, meta);
        crate::secrets::wipe(tree);
        login
    }

    fn login(&self, tree: &Value, meta: &FileMeta) -> Option<ExternalLogin> {
        let text = |pointer: &str| {
            let text = tree
                .pointer(pointer)
                .filter(|_| !pointer.is_empty())?
                .as_str()?;
            (!text.is_empty()).then(|| text.to_owned())
        };
        let access = text(self.access)?;
        let refresh = text(self.refresh);
        if self.refresh_required && refresh.is_none() {
            return None;
        }
        let id_token = text(self.id_token).map(SecretText::new);
        let claims = Claims::of(&access, id_token.as_ref().map(SecretText::expose));
        let expires_ms = match self.expires {
            Expires::Member(pointer) => {
                let ms = tree.pointer(pointer)?.as_f64()?;
                (ms > 0.0 && ms <= super::claims::MAX_TIME_MS).then_some(ms as u64)?
            }
            Expires::Claim => claims.expires_ms().or_else(|| {
                let written = u64::try_from(meta.modified_ns / 1_000_000).ok()?;
                written.checked_add(3_600_000)
            })?,
        };
        Some(ExternalLogin {
            access: SecretText::new(access),
            refresh: refresh.map(SecretText::new),
            expires_ms,
            identity: Identity {
                account_id: text(self.account_id),
                email: None,
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::sim::Sim;
    use crate::oauth::claims::token_of;

    fn view(sim: &Sim) -> (Host, EnvView) {
        let host = sim.host();
        let env = EnvView::new(host.env.vars().clone());
        (host, env)
    }

    #[test]
    fn logins_are_read_and_nothing_else_happens() {
        let sim = Sim::new();
        sim.env("HOME", "/home/u");
        let codex = "/home/u/.codex/auth.json";
        let access = token_of(r#"{"exp":1795363200}"#);
        let text = format!(
            r#"{{"tokens":{{"access_token":"{access}","refresh_token":"R","account_id":"acct-1"}}}}"#
        );
        sim.file(codex, &text, 0o600);
        let claude = r#"{"claudeAiOauth":{"accessToken":"C","expiresAt":1795363200000}}"#;
        sim.file("/home/u/.claude/.credentials.json", claude, 0o600);
        let (host, env) = view(&sim);
        let externals = Externals::default();
        let before = sim.meta(codex);
        let login = externals.login(&host, &env, "codex-cli").unwrap();
        assert_eq!(login.expires_ms, 1_795_363_200_000);
        assert_eq!(login.identity.account_id.as_deref(), Some("acct-1"));
        let login = externals.login(&host, &env, "claude-cli").unwrap();
        assert!(login.refresh.is_none());
        assert!(externals.login(&host, &env, "minimax-cli").is_none());
        assert!(externals.login(&host, &env, "other").is_none());
        assert_eq!(sim.meta(codex), before);
        assert_eq!(sim.text(codex), Some(text.clone()));

        // A rewritten file is seen at once.
        let text = text.replace(&access, "opaque");
        sim.file(codex, &text, 0o600);
        let login = externals.login(&host, &env, "codex-cli").unwrap();
        assert_eq!(login.access.expose(), "opaque");
        let written = u64::try_from(sim.meta(codex).unwrap().modified_ns / 1_000_000).unwrap();
        assert_eq!(login.expires_ms, written + 3_600_000);
    }

    #[test]
    fn odd_files_are_no_login() {
        let sim = Sim::new();
        sim.env("CODEX_HOME", "/c");
        let (host, env) = view(&sim);
        for odd in [
            "",
            "[]",
            "{",
            r#"{"tokens":{"access_token":"A"}}"#,
            r#"{"tokens":{"access_token":1,"refresh_token":"R"}}"#,
        ] {
            sim.file("/c/auth.json", odd, 0o600);
            assert!(
                Externals::default()
                    .login(&host, &env, "codex-cli")
                    .is_none(),
                "{odd}"
            );
        }
        sim.file("/c/auth.json", vec![b' '; (MAX_BYTES + 1) as usize], 0o600);
        assert!(
            Externals::default()
                .login(&host, &env, "codex-cli")
                .is_none()
        );
    }
}
