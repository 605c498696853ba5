//! The table of checks: everything that `doctor` looks for, in the order of its report.

use super::place::Place;
use super::{DoctorFinding, config, credentials, files, gateway, oauth, secrets, store};
use crate::config::Severity;

/// One check.
#[derive(Debug)]
pub(super) struct Check {
    pub(super) id: &'static str,
    pub(super) area: &'static str,
    /// How bad a finding is, unless the check says otherwise.
    pub(super) severity: Severity,
    /// What it looks for.
    pub(super) about: &'static str,
    /// What to do, unless the finding says it better.
    pub(super) hint: &'static str,
    pub(super) fix: Fix,
    pub(super) needs: Needs,
    pub(super) find: fn(&Place, &'static Check) -> Vec<DoctorFinding>,
}

/// How a finding is repaired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fix {
    /// With the consent of a person.
    Ask,
    /// Without a question.
    Auto,
    /// Not at all.
    No,
}

impl Fix {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Ask => "ask",
            Self::Auto => "auto",
            Self::No => "",
        }
    }
}

/// What a check cannot do without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Needs {
    /// A configuration that can be used.
    Config,
    Network,
    Nothing,
}

use Fix::{Ask, Auto, No};
use Severity::{Error as E, Info as I, Warning as W};

type Find = fn(&Place, &'static Check) -> Vec<DoctorFinding>;

/// A row: id, severity, what it looks for, what to do, repair, and how it is found.
macro_rules! rows {
    ($( $area:literal { $( $id:literal $severity:ident $about:literal $hint:literal $fix:ident $needs:ident $find:path; )* } )*) => {
        &[$($( Check {
            id: $id,
            area: $area,
            severity: $severity,
            about: $about,
            hint: $hint,
            fix: $fix,
            needs: Needs::$needs,
            find: $find as Find,
        }, )*)*]
    };
}

/// Every check.
pub(super) const TABLE: &[Check] = rows! {
    "Configuration" {
        "config.parse" E "the configuration is not JSON5, or an include fails"
            "correct the file" No Nothing config::parse;
        "config.invalid" E "a setting does not fit"
            "correct the setting" No Nothing config::invalid;
        "config.unknown_key" W "a setting is unknown"
            "remove or correct it" Ask Nothing config::unknown_key;
        "config.missing" I "there is no configuration file"
            "the defaults are in force" No Nothing config::missing;
        "config.env_override" I "the environment moves the configuration or the state folder"
            "unset the variable if that is not meant" No Nothing config::env_override;
        "config.duplicate_default_agent" W "several agents are the default"
            "keep `default: true` at one" No Config config::duplicate_default_agent;
        "config.model_unknown_provider" W "a model names a provider that nothing is known of"
            "correct the name, or add a credential" No Config config::model_unknown_provider;
        "config.alias_conflict" W "an alias stands for several models"
            "keep it at one model" No Config config::alias_conflict;
        "config.plain_shell_substitution" I "a key looks like $NAME"
            "write ${NAME}" No Config config::plain_shell_substitution;
    }
    "Files" {
        "fs.state_dir.missing" W "there is no state folder"
            "create it" Auto Nothing files::state_missing;
        "fs.state_dir.not_writable" E "the state folder cannot be written"
            "give it to the user that runs the program" No Nothing files::state_not_writable;
        "fs.state_dir.perms_world_writable" E "every user may write the state folder"
            "chmod 700" Auto Nothing files::state_mode;
        "fs.state_dir.perms_group_writable" W "the group may write the state folder"
            "chmod 700" Auto Nothing files::state_mode;
        "fs.state_dir.perms_readable" W "others may look into the state folder"
            "chmod 700" Auto Nothing files::state_mode;
        "fs.state_dir.symlink" I "the state folder is a link"
            "" No Nothing files::state_symlink;
        "fs.state_dir.owner" W "the state folder belongs to another user"
            "chown it; this is usual after sudo" No Nothing files::state_owner;
        "fs.config.perms_writable" E "others may write the configuration"
            "chmod 600" Auto Nothing files::config_mode;
        "fs.config.perms_world_readable" E "every user may read the configuration"
            "chmod 600" Auto Nothing files::config_mode;
        "fs.config.perms_group_readable" W "the group may read the configuration"
            "chmod 600" Auto Nothing files::config_mode;
        "fs.credentials.perms" E "others may read a file with credentials"
            "chmod 600" Auto Nothing files::credentials_mode;
        "fs.dotenv.unreadable" W "the .env file cannot be read"
            "correct its owner and mode" No Nothing files::dotenv_unreadable;
        "fs.cloud_synced" W "the state folder is copied to other machines"
            "move it with OPENCLAW_STATE_DIR" No Nothing files::cloud_synced;
        "fs.read_only" W "a store cannot be replaced"
            "mount the folder instead of the file, and writable" No Nothing files::read_only;
    }
    "Store" {
        "store.corrupt" E "a store cannot be read"
            "openclaw-auth store repair" No Nothing store::corrupt;
        "store.sqlite_migrated" E "the credentials live in a database of a newer OpenClaw"
            "export them, or use another state folder" No Nothing store::sqlite_migrated;
        "store.legacy_auth_json" W "an old auth.json was not imported"
            "import it" Ask Nothing store::legacy_auth_json;
        "store.legacy_oauth_json" W "an old credentials/oauth.json was not imported"
            "import it" Ask Nothing store::legacy_oauth_json;
        "store.legacy_shape" E "a store has the shape of a very old release"
            "openclaw-auth store migrate" No Nothing store::legacy_shape;
        "store.rejected_entries" W "stored profiles cannot be used"
            "correct or remove them" No Nothing store::rejected_entries;
        "store.mode_type_alias" I "a profile is written in an old spelling"
            "write it in the current one" Ask Nothing store::spelling;
        "store.version_newer" W "a store has a newer version"
            "update this program" No Nothing store::version_newer;
        "store.lock_stale" W "a lock was left behind"
            "remove it" Auto Nothing store::lock_stale;
        "store.lock_held" I "a lock has been held for a long time"
            "wait for the program, or end it" No Nothing store::lock_held;
        "store.tmp_leftover" I "temporary files were left behind"
            "remove them" Auto Nothing store::tmp_leftover;
        "store.order_unknown_profile" W "an order names a profile that does not exist"
            "take it out" Ask Config store::order_unknown_profile;
        "store.config_profile_missing" W "the configuration names a profile that is not stored"
            "remove the entry, or store the credential" Ask Config store::config_profile_missing;
        "store.config_mode_mismatch" W "the configuration gives a profile another type"
            "correct the configuration" Ask Config store::config_mode_mismatch;
        "store.usage_orphan" I "a usage record belongs to no profile"
            "remove it" Auto Nothing store::usage_orphan;
        "store.usage_implausible" W "a window ends too far away to be believed"
            "clear it" Auto Nothing store::usage_implausible;
    }
    "Secrets" {
        "secrets.unresolved" E "an active reference does not resolve"
            "" No Config secrets::unresolved;
        "secrets.inactive_unresolved" I "a reference that is not in use does not resolve"
            "" No Config secrets::inactive_unresolved;
        "secrets.exec_unchecked" I "programs of references were not run"
            "openclaw-auth doctor --allow-exec" No Config secrets::exec_unchecked;
        "secrets.provider_missing" E "a reference names a provider that is not declared"
            "declare it under secrets.providers" No Config secrets::provider_missing;
        "secrets.exec_not_found" E "the program of a provider does not start"
            "correct its command" No Config secrets::exec_not_found;
        "secrets.exec_insecure" E "the program of a provider can be changed by others"
            "correct its owner and mode" No Config secrets::exec_insecure;
        "secrets.exec_slow" W "a program takes longer than five seconds"
            "" No Config secrets::exec_slow;
        "secrets.file_insecure" E "the file of a provider can be read or changed by others"
            "correct its owner and mode" No Config secrets::file_insecure;
        "secrets.plaintext" W "secrets stand as plain text in a file"
            "openclaw-auth secrets audit" No Config secrets::plaintext;
        "secrets.oauth_policy" E "OAuth material is a reference"
            "sign in again, so that the tokens are stored" No Config secrets::oauth_policy;
        "secrets.override_in_dotenv" W "a variable of a .env file is ignored"
            "set it in the environment of the process" No Nothing secrets::override_in_dotenv;
    }
    "Credentials" {
        "profile.expired" E "a credential has run out"
            "" No Nothing credentials::profile;
        "profile.expiring" W "a credential runs out soon"
            "" No Nothing credentials::expiring;
        "profile.missing_credential" E "a profile holds no secret"
            "" No Nothing credentials::profile;
        "profile.invalid_expires" E "the expiry of a token is no point in time"
            "remove it" Ask Nothing credentials::profile;
        "profile.unresolved_ref" E "the reference of a profile does not resolve"
            "" No Config credentials::profile;
        "profile.expires_in_seconds" W "an expiry is written in seconds"
            "write it in milliseconds" Ask Nothing credentials::expires_in_seconds;
        "profile.cooldown" I "a profile is cooling down"
            "" No Nothing credentials::cooldown;
        "profile.disabled" W "a profile is disabled"
            "" No Nothing credentials::disabled;
        "profile.setup_token_policy" I "a setup-token of Anthropic is in use"
            "check the current terms; an API key is the safe choice" No Nothing
            credentials::setup_token;
        "provider.missing" E "a provider in use has no credential"
            "" No Config credentials::provider_missing;
        "provider.key_whitespace" W "a key in the environment has odd characters"
            "set it again without them" No Nothing credentials::key_whitespace;
        "provider.key_placeholder" W "a key in the environment is a placeholder"
            "set the real key" No Nothing credentials::key_placeholder;
        "provider.duplicate_keys" I "the same key has several names"
            "one is enough; rotation gains nothing" No Nothing credentials::duplicate_keys;
    }
    "OAuth" {
        "auth.oauth.refresh_failed" E "a login was refused for good"
            "sign in again" No Nothing oauth::refresh_failed;
        "auth.oauth.no_refresh" W "a login cannot renew itself"
            "sign in again" No Nothing oauth::no_refresh;
        "auth.oauth.due" I "an access token has run out"
            "it renews on next use" Ask Nothing oauth::due;
        "auth.oauth.interrupted" W "a refresh was interrupted"
            "sign in again if the next use fails" Auto Nothing oauth::interrupted;
        "auth.oauth.rescue" E "a new login was kept beside the store"
            "it is merged the next time the login is renewed" No Nothing oauth::rescue;
        "auth.oauth.shadow" W "several stores hold the same login"
            "keep one copy" Ask Nothing oauth::shadow;
        "auth.oauth.shared_external" W "another program holds the same login"
            "sign in here on its own" No Nothing oauth::shared_external;
        "auth.oauth.deprecated_id" I "a profile is a copy of another program's login"
            "link it instead, or sign in here" Ask Nothing oauth::deprecated_id;
        "auth.oauth.legacy_default" I "the configuration names a login by an old id"
            "rename it in the configuration and its order" No Config oauth::legacy_default;
        "auth.oauth.account_missing" W "a login has no account id"
            "sign in again" Auto Nothing oauth::account_missing;
        "auth.oauth.unknown_provider" W "nothing is known of the provider of a login"
            "describe it under oauth.providers in openclaw-auth.json5" No Nothing
            oauth::unknown_provider;
        "auth.oauth.endpoint_override" I "a built-in endpoint is replaced"
            "" No Nothing oauth::endpoint_override;
        "clock.skew" W "the clock is wrong"
            "set the clock" No Network oauth::clock_skew;
        "clock.implausible" E "the clock cannot be right"
            "set the clock" No Nothing oauth::clock_implausible;
        "tls.unverifiable" E "the certificate of a token endpoint cannot be verified"
            "name the certificates with SSL_CERT_FILE" No Network oauth::tls_unverifiable;
        "net.unreachable" W "a token endpoint cannot be reached"
            "check the network and the proxy" No Network oauth::unreachable;
    }
    "Gateway" {
        "gateway.auth_missing" E "the gateway asks for no credential"
            "set gateway.auth" No Config gateway::auth_missing;
        "gateway.auth_ambiguous" E "token and password are configured, and no mode"
            "set gateway.auth.mode" No Config gateway::auth_ambiguous;
        "gateway.mixed_trusted_proxy_token" E "trusted-proxy mode with a token"
            "remove the token" No Config gateway::mixed_token;
        "gateway.trusted_proxy_incomplete" E "trusted-proxy mode without its settings"
            "set userHeader and trustedProxies" No Config gateway::incomplete;
        "gateway.trusted_proxy_wide" W "many addresses are trusted as proxies"
            "list the addresses of the proxies only" No Config gateway::wide;
        "gateway.trusted_proxy_unreachable" E "no trusted proxy can reach the gateway"
            "bind to an address that the proxy reaches" No Config gateway::unreachable;
        "gateway.trusted_proxy_no_allowlist" W "every user of the proxy may come in"
            "list the users in allowUsers" No Config gateway::no_allow_list;
        "gateway.weak_secret" W "the token or password is weak"
            "use 24 or more random characters" No Config gateway::weak_secret;
        "gateway.env_override" I "the environment replaces the token or password"
            "" No Nothing gateway::env_override;
        "gateway.not_running" I "no gateway answers"
            "openclaw-auth gateway run" No Network gateway::not_running;
        "gateway.tls_expires_soon" W "the certificate of the gateway runs out"
            "renew it" No Config gateway::tls_expires;
    }
    "Environment" {
        "env.live_override" I "a variable replaces every other key"
            "unset it when it is not needed" No Nothing credentials::live_override;
        "env.home" W "there is no home folder"
            "set HOME" No Nothing files::home;
        "env.root" W "root runs this on files of somebody else"
            "run it as the owner" No Nothing files::root;
    }
};

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_unique_and_sentences_have_no_period() {
        let mut seen = BTreeSet::new();
        for check in TABLE {
            assert!(seen.insert(check.id), "{} occurs twice", check.id);
            assert!(
                !check.about.ends_with('.') && !check.hint.ends_with('.'),
                "{}",
                check.id
            );
        }
    }
}
