//! The list of all codes. A code, once released, is never renamed or reused.
//!
//! Codes of things that refuse or fail are in lower snake case; codes of things that are only
//! reported (events, diagnostics, findings) are in capitals. Access problems are all in lower case:
//! some of them are errors in one mode and warnings in another.

use std::ffi::CStr;
use std::fmt;

/// The part of the library that a code belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Class {
    /// Who may use the gateway.
    Access,
    /// Reading and checking configuration files.
    Config,
    /// The gateway program: listening, proxying, its own routes.
    Gateway,
    /// Bugs and misuse of the interface.
    Internal,
    /// Signing in to model providers, and keeping tokens fresh.
    Oauth,
    /// Choosing a credential for a request to a model provider.
    Routing,
    /// Secret references and their providers.
    Secret,
    /// The file of auth profiles.
    Store,
}

impl Class {
    /// The stable text of the class, the same in every language.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Access => "access",
            Self::Config => "config",
            Self::Gateway => "gateway",
            Self::Internal => "internal",
            Self::Oauth => "oauth",
            Self::Routing => "routing",
            Self::Secret => "secret",
            Self::Store => "store",
        }
    }
}

/// What a code says about: a failure, or something that is only reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// Something was refused or failed.
    Failure,
    /// Something is worth knowing: an event, a diagnostic or a finding.
    Report,
}

/// One row of the list of codes.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub struct CodeInfo {
    /// The code itself.
    pub code: Code,
    /// Its stable text.
    pub text: &'static str,
    /// The part of the library it belongs to.
    pub class: Class,
    /// Failure or report.
    pub kind: Kind,
    /// What it means, in one sentence.
    pub meaning: &'static str,
    /// What to do about it.
    pub remedy: &'static str,
}

macro_rules! codes {
    ($( $class:ident $kind:ident { $( $variant:ident $text:literal $meaning:literal $remedy:literal; )* } )*) => {
        /// A stable machine code. [`Code::as_str`] is its text in every language.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[non_exhaustive]
        pub enum Code {
            $($(
                #[doc = $meaning]
                $variant,
            )*)*
        }

        impl Code {
            /// Every code, in the order of the list.
            pub const ALL: &'static [CodeInfo] = &[
                $($(
                    CodeInfo {
                        code: Code::$variant,
                        text: $text,
                        class: Class::$class,
                        kind: Kind::$kind,
                        meaning: $meaning,
                        remedy: $remedy,
                    },
                )*)*
            ];

            /// The stable text of the code.
            pub fn as_str(self) -> &'static str {
                match self {
                    $($( Self::$variant => $text, )*)*
                }
            }

            /// The stable text of the code, for C.
            pub fn as_c_str(self) -> &'static CStr {
                match self {
                    $($( Self::$variant => const {
                        match CStr::from_bytes_with_nul(concat!($text, "\0").as_bytes()) {
                            Ok(text) => text,
                            Err(_) => c"",
                        }
                    }, )*)*
                }
            }

            /// The row of the list that describes the code.
            pub fn info(self) -> &'static CodeInfo {
                match self {
                    $($( Self::$variant => const {
                        &CodeInfo {
                            code: Code::$variant,
                            text: $text,
                            class: Class::$class,
                            kind: Kind::$kind,
                            meaning: $meaning,
                            remedy: $remedy,
                        }
                    }, )*)*
                }
            }
        }
    };
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

codes! {
    Access Failure {
        TrustedProxyConfigMissing "trusted_proxy_config_missing"
            "Trusted-proxy mode is selected but gateway.auth.trustedProxy is not configured."
            "Add gateway.auth.trustedProxy with at least userHeader.";
        TrustedProxyNoProxiesConfigured "trusted_proxy_no_proxies_configured"
            "Trusted-proxy mode is selected but gateway.trustedProxies is empty."
            "List the address from which the proxy connects.";
        TrustedProxyNoRequest "trusted_proxy_no_request"
            "No request facts were supplied, so nothing can be decided."
            "Pass the peer address and the header lines; this is a mistake in the calling program.";
        TrustedProxyUntrustedSource "trusted_proxy_untrusted_source"
            "The connection does not come from an address in gateway.trustedProxies."
            "Connect through the proxy, or list the address of the transport peer.";
        TrustedProxyLoopbackSource "trusted_proxy_loopback_source"
            "The connection comes from loopback, which is switched off or only covered by a wide range."
            "Name the loopback address in gateway.trustedProxies, or set trustedProxy.allowLoopback.";
        TrustedProxyLocalInterfaceSource "trusted_proxy_local_interface_source"
            "The connection comes from one of this host's own addresses, which only matches a range."
            "List the address by itself in gateway.trustedProxies to trust it.";
        TrustedProxyLocalInterfaceCheckFailed "trusted_proxy_local_interface_check_failed"
            "This host's own addresses could not be determined, so the source cannot be judged."
            "List the proxy by its single address, or set trustedProxy.allowLoopback.";
        TrustedProxyAmbiguousHeader "trusted_proxy_ambiguous_header"
            "A security header is repeated, has an alias beside it, or is named in Connection."
            "Make the proxy replace the header instead of adding to it, and drop look-alike names.";
        TrustedProxySecretMissing "trusted_proxy_secret_missing"
            "The header that carries the proxy secret is missing or blank."
            "Make the proxy send the secret, or connect through the proxy.";
        TrustedProxySecretMismatch "trusted_proxy_secret_mismatch"
            "The header that carries the proxy secret has the wrong value."
            "Give proxy and gateway the same secret; previousValue helps while it changes.";
        TrustedProxyMissingHeader "trusted_proxy_missing_header"
            "A required header is missing or blank."
            "Make the proxy send every header in trustedProxy.requiredHeaders.";
        TrustedProxyUserMissing "trusted_proxy_user_missing"
            "The user header is missing, blank or an unfilled template."
            "Make the proxy authenticate the caller and send the user header.";
        TrustedProxyUserInvalid "trusted_proxy_user_invalid"
            "The user header has a value that cannot be a single user name."
            "Make the proxy send one plain UTF-8 name of at most 512 bytes.";
        TrustedProxyUserNotAllowed "trusted_proxy_user_not_allowed"
            "The user is not in trustedProxy.allowUsers."
            "Add the user, or a domain entry such as `*@example.com`.";
        TrustedProxyOriginNotAllowed "trusted_proxy_origin_not_allowed"
            "The request was made by a page of another origin."
            "List the origin in gateway.controlUi.allowedOrigins if it is yours.";
        ProxyAttributionRequired "proxy_attribution_required"
            "The client address cannot be determined from the proxy headers."
            "List the proxy in gateway.trustedProxies and make it send the client address.";
        OriginNotAllowed "origin_not_allowed"
            "The request was made by a page of another origin."
            "List the origin in gateway.controlUi.allowedOrigins if it is yours.";
        HostNotAllowed "host_not_allowed"
            "A loopback connection carries a Host header that a re-bound name could have produced."
            "List the host in gateway.allowedHosts.";
        TokenMissingConfig "token_missing_config"
            "Token mode is selected but no token is configured."
            "Set gateway.auth.token or OPENCLAW_GATEWAY_TOKEN.";
        TokenMissing "token_missing"
            "The request carries no token."
            "Send `Authorization: Bearer` with the gateway token.";
        TokenMismatch "token_mismatch"
            "The token is wrong."
            "Use the token from the gateway's configuration.";
        PasswordMissingConfig "password_missing_config"
            "Password mode is selected but no password is configured."
            "Set gateway.auth.password or OPENCLAW_GATEWAY_PASSWORD.";
        PasswordMissing "password_missing"
            "The request carries no password."
            "Send the gateway password.";
        PasswordMismatch "password_mismatch"
            "The password is wrong."
            "Use the password from the gateway's configuration.";
        CredentialAmbiguous "credential_ambiguous"
            "The request carries more than one credential of the same kind."
            "Send exactly one Authorization header.";
        RateLimited "rate_limited"
            "Too many wrong credentials came from this client."
            "Wait as long as the answer says.";
        GatewayAuthModeUnknown "gateway_auth_mode_unknown"
            "`gateway.auth.mode` is not a known mode."
            "Use \"none\", \"token\", \"password\" or \"trusted-proxy\".";
        TrustedProxiesBlankEntry "trusted_proxies_blank_entry"
            "An entry of gateway.trustedProxies is blank."
            "Remove the entry.";
        TrustedProxiesNotAnIp "trusted_proxies_not_an_ip"
            "An entry of gateway.trustedProxies is not an address or subnet."
            "Write an IP address or a subnet such as 10.0.0.0/24; names are not resolved.";
        TrustedProxiesBadPrefix "trusted_proxies_bad_prefix"
            "The prefix length of a subnet is not a plain number within bounds."
            "Write 0 to 32 for IPv4, 0 to 128 for IPv6, without leading zeros.";
        TrustedProxiesMappedPrefix "trusted_proxies_mapped_prefix"
            "An IPv4-mapped subnet has a prefix below 96, which would cover far more than meant."
            "Write the IPv4 form that the message shows.";
        TrustedProxiesZoneId "trusted_proxies_zone_id"
            "An entry of gateway.trustedProxies has a zone."
            "Remove the part from `%` on.";
        TrustedProxiesAny "trusted_proxies_any"
            "An entry of gateway.trustedProxies covers every address."
            "List the addresses of the proxies only.";
        TrustedProxiesUnspecified "trusted_proxies_unspecified"
            "An entry of gateway.trustedProxies is the unspecified address, from which nobody connects."
            "List the address from which the proxy connects.";
        TrustedProxiesTooMany "trusted_proxies_too_many"
            "gateway.trustedProxies has more than 65536 entries."
            "Merge the entries into subnets.";
        TokenPlaceholder "token_placeholder"
            "The token is a well-known stand-in, not a secret."
            "Replace it with 32 random bytes.";
        PasswordPlaceholder "password_placeholder"
            "The password is a well-known stand-in, not a secret."
            "Replace it with a long random text.";
        TrustedProxyUserHeaderBlank "trusted_proxy_user_header_blank"
            "trustedProxy.userHeader is absent or blank."
            "Name the header in which the proxy sends the user.";
        TrustedProxyHeaderNameInvalid "trusted_proxy_header_name_invalid"
            "A configured header name cannot be a header name."
            "Use letters, digits and dashes.";
        TrustedProxyUserHeaderForbidden "trusted_proxy_user_header_forbidden"
            "trustedProxy.userHeader is a header that clients send themselves."
            "Use a header of its own, which only the proxy sets.";
        TrustedProxyRequiredHeaderForbidden "trusted_proxy_required_header_forbidden"
            "trustedProxy.requiredHeaders names a header that belongs to one connection only."
            "Require a header that the proxy adds.";
        AllowUsersBlankEntry "allow_users_blank_entry"
            "An entry of trustedProxy.allowUsers is blank."
            "Remove the entry.";
        AllowUsersWildcard "allow_users_wildcard"
            "trustedProxy.allowUsers contains `*`, which matches nobody."
            "Remove the list to allow everyone the proxy lets in.";
        AllowUsersBadPattern "allow_users_bad_pattern"
            "An entry of trustedProxy.allowUsers is a pattern that is not supported."
            "Write a full user name or `*@domain`.";
        AllowUsersMatchUnknown "allow_users_match_unknown"
            "trustedProxy.allowUsersMatch is not a known rule."
            "Use \"exact\" or \"email-ci\".";
        TrustedProxySecretMissingConfig "trusted_proxy_secret_missing_config"
            "trustedProxy.proxySecret has no usable value."
            "Set proxySecret.value, or remove proxySecret.";
        MixedTrustedProxyToken "mixed_trusted_proxy_token"
            "Trusted-proxy mode is selected and a shared token exists beside it."
            "Remove the token from the place that the message names.";
        GatewayBindWithoutAuth "gateway_bind_without_auth"
            "The gateway would listen beyond loopback without any authentication."
            "Set gateway.auth.mode, or bind to loopback.";
        AllowedOriginsInvalid "allowed_origins_invalid"
            "An entry of gateway.controlUi.allowedOrigins is not an origin."
            "Write scheme, host and port only, such as https://claw.example.com.";
        RateLimitInvalid "rate_limit_invalid"
            "A setting in gateway.auth.rateLimit is out of bounds."
            "Use a number within the bounds that the message shows.";
        HstsMaxAgeMissing "hsts_max_age_missing"
            "strictTransportSecurity has no max-age."
            "Write for example `max-age=31536000`.";
        HstsMaxAgeInvalid "hsts_max_age_invalid"
            "The max-age of strictTransportSecurity is not a number of seconds."
            "Write digits only, at most 4294967295.";
        HstsDuplicateDirective "hsts_duplicate_directive"
            "A directive of strictTransportSecurity occurs twice."
            "Remove one of them.";
        HstsSyntax "hsts_syntax"
            "strictTransportSecurity does not follow RFC 6797."
            "Separate directives by semicolons; includeSubDomains and preload have no value.";
        HstsInvalidCharacters "hsts_invalid_characters"
            "strictTransportSecurity contains characters that a header cannot carry."
            "Use printable ASCII only.";
        TlsCaRequired "tls_ca_required"
            "gateway.tls.clientAuth asks for client certificates, but no authority is configured."
            "Set gateway.tls.caPath to the certificates that sign those of the clients.";
        TlsCertKeyMissing "tls_cert_key_missing"
            "The certificate or the key of the gateway is missing, and none is generated."
            "Provide both files, or remove the one that is there and leave gateway.tls.autoGenerate on.";
        TlsExpired "tls_expired"
            "The certificate of the gateway has expired."
            "Renew it.";
        TlsKeyMismatch "tls_key_mismatch"
            "The certificate and the key of the gateway do not belong together."
            "Point certPath and keyPath at one pair, the gateway's own certificate first in its file.";
        TlsNotYetValid "tls_not_yet_valid"
            "The certificate of the gateway is not valid yet."
            "Check the clock of this machine, or wait.";
        TlsParse "tls_parse"
            "A file with certificates or a key cannot be understood."
            "Use PEM: certificates, and an unencrypted PKCS#8, PKCS#1 or SEC1 key.";
        TlsUnreadable "tls_unreadable"
            "A file with certificates or a key cannot be read or written."
            "Check the path, its folder and the permissions.";
    }
    Access Report {
        GatewayAuthModeImplicit "gateway_auth_mode_implicit"
            "The password was chosen although a token exists in the environment too."
            "Set gateway.auth.mode.";
        GatewaySecretEnvOverride "gateway_secret_env_override"
            "A gateway credential in the environment wins over the secret reference in the file."
            "Remove one of the two.";
        GatewaySettingIgnored "gateway_setting_ignored"
            "A setting is known elsewhere and has no effect here."
            "Nothing, or remove the setting.";
        TrustedProxiesHostBits "trusted_proxies_host_bits"
            "A subnet in gateway.trustedProxies has bits set behind its prefix."
            "Write the subnet that the message shows, or the single address that was meant.";
        TrustedProxiesWhitespace "trusted_proxies_whitespace"
            "An entry of gateway.trustedProxies has blanks around it."
            "Remove the blanks.";
        TokenTooShort "token_too_short"
            "The token has fewer than 24 characters."
            "Use 32 random bytes.";
        PasswordTooShort "password_too_short"
            "The password has fewer than 24 characters."
            "Use a longer password.";
        TrustedProxyUserHeaderUnusual "trusted_proxy_user_header_unusual"
            "trustedProxy.userHeader contains more than letters, digits and dashes; some proxies drop it."
            "Use letters, digits and dashes.";
        AllowUsersWhitespace "allow_users_whitespace"
            "An entry of trustedProxy.allowUsers has blanks around it."
            "Remove the blanks.";
        TrustedProxySecretTooShort "trusted_proxy_secret_too_short"
            "The proxy secret has fewer than 24 characters."
            "Use 32 random bytes.";
        TrustedProxiesUnreachable "trusted_proxies_unreachable"
            "The gateway listens on loopback only, but no trusted proxy is a loopback address."
            "Add 127.0.0.1 when the proxy runs on this host, or bind to the network.";
        AllowedOriginsWildcard "allowed_origins_wildcard"
            "gateway.controlUi.allowedOrigins contains `*`, so any page may use the gateway."
            "List the origins instead.";
        HstsBlank "hsts_blank"
            "strictTransportSecurity is blank and counts as not set."
            "Remove the setting, or set it to false.";
        HstsPreloadRequirements "hsts_preload_requirements"
            "preload needs includeSubDomains and a max-age of at least one year."
            "Add them, or remove preload.";
        HstsDisables "hsts_disables"
            "max-age=0 tells browsers to forget the rule."
            "Nothing, if that is meant.";
        HstsUnknownDirective "hsts_unknown_directive"
            "strictTransportSecurity has a directive that browsers do not know."
            "Check the spelling.";
        TlsExpiresSoon "tls_expires_soon"
            "The certificate of the gateway expires within 30 days."
            "Renew it.";
        TlsKeyPermissions "tls_key_permissions"
            "Other users of this machine can read the key of the gateway."
            "Give the file mode 0600.";
        TlsSelfSignedExposed "tls_self_signed_exposed"
            "The gateway shows a self-signed certificate to other machines."
            "Give clients its fingerprint, or use a certificate that they can verify.";
    }
    Config Failure {
        ConfigChanged "config_changed"
            "A configuration file changed while the command ran; nothing was written."
            "Run the command again.";
        ConfigWriteFailed "config_write_failed"
            "The configuration file could not be written; the old content is intact."
            "Check owner and permissions of the file and its folder.";
        ConfigNotFound "config_not_found"
            "A configuration file that was named explicitly does not exist."
            "Correct the path, or remove the option or OPENCLAW_CONFIG_PATH to use the default place.";
        ConfigReadFailed "config_read_failed"
            "A configuration file exists but cannot be read."
            "Check owner and permissions of the file.";
        ConfigTooLarge "config_too_large"
            "A configuration file, one of its strings or the whole tree is larger than the limit."
            "Split the file or remove what does not belong into a configuration.";
        ConfigTooDeep "config_too_deep"
            "Values are nested deeper than 128 levels."
            "Flatten the structure; nothing in the format needs this depth.";
        ConfigParseError "config_parse_error"
            "The text is not valid JSON5."
            "Fix the text at the shown line and column.";
        ConfigRootNotObject "config_root_not_object"
            "The top level of the file is not an object."
            "Put the settings inside one pair of braces.";
        ConfigNumberNotFinite "config_number_not_finite"
            "A number is NaN, infinite or too large."
            "Write a finite number.";
        ConfigForbiddenKey "config_forbidden_key"
            "A key has a name that JavaScript programs treat specially (`__proto__` and the like)."
            "Rename the key.";
        ConfigIncludeInvalid "config_include_invalid"
            "An `$include` has the wrong shape."
            "Use a path or a list of paths; with sibling keys the included value must be an object.";
        ConfigIncludeNotFound "config_include_not_found"
            "An included file does not exist."
            "Correct the path; it is relative to the file that contains the directive.";
        ConfigIncludeOutsideRoot "config_include_outside_root"
            "An included file lies outside the folder of the main configuration file."
            "Move the file inside, or name its folder in OPENCLAW_INCLUDE_ROOTS.";
        ConfigIncludeCircular "config_include_circular"
            "A file includes itself, directly or through others."
            "Break the cycle.";
        ConfigIncludeTooDeep "config_include_too_deep"
            "More than ten files are nested below the main file."
            "Include the deeper files from a higher level.";
        ConfigIncludeUnsafeFile "config_include_unsafe_file"
            "An included file is not a regular file, is too large, or another user may write to it."
            "Use a regular file of at most 2 MiB that only its owner can write.";
        ConfigIncludeLimit "config_include_limit"
            "More than 256 files were included."
            "Merge some of the files.";
        ConfigEnvVarMissing "config_env_var_missing"
            "A `${NAME}` in a setting names a variable that is missing or empty."
            "Set the variable, or write `$${NAME}` for the literal text.";
        ConfigUnknownKey "config_unknown_key"
            "A key is not known in a section that is checked strictly."
            "Correct the spelling or remove the key.";
        ConfigInvalidValue "config_invalid_value"
            "A value has the wrong type, is out of bounds or does not match its pattern."
            "Correct the value as the message says.";
        ConfigRedactedValue "config_redacted_value"
            "The text `__OPENCLAW_REDACTED__` stands where a secret belongs."
            "Put the reference or the secret back; the text is only a stand-in in printed copies.";
        GatewayAuthModeAmbiguous "gateway_auth_mode_ambiguous"
            "Token and password are both configured and `gateway.auth.mode` does not choose."
            "Set gateway.auth.mode to \"token\" or \"password\".";
    }
    Config Report {
        ConfigDuplicateKey "CONFIG_DUPLICATE_KEY"
            "A key occurs twice in one object; the last one counts."
            "Remove one of them.";
        ConfigEnvRefMalformed "CONFIG_ENV_REF_MALFORMED"
            "A text looks like a variable reference but is not one, and stays as it is."
            "Use `${NAME}` with capital letters, digits and underscores; defaults are not supported.";
        ConfigMisplacedKey "CONFIG_MISPLACED_KEY"
            "A key stands where nothing reads it."
            "Move it to the shown place.";
        ConfigFilePermissions "CONFIG_FILE_PERMISSIONS"
            "A file that holds a secret can be read by other users."
            "Run chmod 600 on the file.";
        ConfigLegacyLocation "CONFIG_LEGACY_LOCATION"
            "The configuration was found in a folder of an older release."
            "Move it to the .openclaw folder.";
        ConfigHomeFallback "CONFIG_HOME_FALLBACK"
            "No home directory could be determined; the working directory is used."
            "Set HOME or OPENCLAW_HOME.";
        ConfigNotPortable "CONFIG_NOT_PORTABLE"
            "A setting that only this library understands stands in openclaw.json."
            "Move it to openclaw-auth.json5 when OpenClaw must read the same file.";
        DotenvReadFailed "DOTENV_READ_FAILED"
            "A .env file exists but cannot be read."
            "Check owner and permissions of the file.";
        DotenvKeySkipped "DOTENV_KEY_SKIPPED"
            "A line of a .env file or an entry of the env block has an unusable name."
            "Use letters, digits and underscores; do not start with a digit.";
        DotenvValueTruncatedAtHash "DOTENV_VALUE_TRUNCATED_AT_HASH"
            "An unquoted value was cut at a `#`."
            "Put the value in quotes if the `#` belongs to it.";
        EnvKeyBlocked "ENV_KEY_BLOCKED"
            "A variable that could change how programs run is not taken from this place."
            "Set it in the environment of the process if it is really wanted.";
    }
    Secret Failure {
        SecretUnresolved "secret_unresolved"
            "At least one required secret could not be resolved; `details.failures` lists each one."
            "Fix every listed failure; nothing was changed.";
        SecretRefInvalid "secret_ref_invalid"
            "A secret reference has the wrong shape."
            "Write {source, provider, id} as the reason says.";
        SecretRefNotFound "secret_ref_not_found"
            "The provider has no value for this reference."
            "Set the variable, or correct the id.";
        SecretRefPolicyDenied "secret_ref_policy_denied"
            "The provider is not allowed to hand out this name."
            "Add the name to the provider's allowlist.";
        SecretRefProviderError "secret_ref_provider_error"
            "The exec provider reported an error for this id."
            "Look into the backend; `details.providerCode` gives the kind.";
        SecretRefRedactedValue "secret_ref_redacted_value"
            "The value is a redaction placeholder, not a credential."
            "Put the real secret where the reference points.";
        SecretRefValueType "secret_ref_value_type"
            "The value is not a non-empty string."
            "Store the secret as a string; quote numbers in the secrets file.";
        SecretRefUnsupportedSurface "secret_ref_unsupported_surface"
            "This setting does not accept a secret reference."
            "Use a plain string; it may be \"${NAME}\".";
        SecretRefOauthPolicy "secret_ref_oauth_policy"
            "OAuth credentials change while the program runs and cannot be references."
            "Log in again so that the tokens are stored, or change the profile's mode.";
        SecretProviderNotConfigured "secret_provider_not_configured"
            "The reference names a provider that is not declared."
            "Declare it in secrets.providers.";
        SecretProviderSourceMismatch "secret_provider_source_mismatch"
            "The provider is declared with another source."
            "Make the source of the reference and of the provider agree.";
        SecretProviderUnsupportedSource "secret_provider_unsupported_source"
            "The source is known elsewhere but not supported here."
            "Use a file provider.";
        SecretProviderInvalid "secret_provider_invalid"
            "The provider's own settings are invalid."
            "Fix the settings named in the details.";
        SecretProviderPathInsecure "secret_provider_path_insecure"
            "The provider's file or command fails the path policy."
            "Do what the hint says; allowInsecurePath switches the check off.";
        SecretProviderUnreadable "secret_provider_unreadable"
            "The provider's file or command cannot be opened."
            "Check that it exists and may be read.";
        SecretProviderTooLarge "secret_provider_too_large"
            "The secrets file is larger than maxBytes."
            "Raise maxBytes or split the file.";
        SecretProviderParse "secret_provider_parse"
            "The secrets file is not a JSON object in UTF-8."
            "Fix the file at the shown place.";
        SecretProviderSpawnFailed "secret_provider_spawn_failed"
            "The provider's command could not be started."
            "Check the command and its interpreter.";
        SecretProviderTimeout "secret_provider_timeout"
            "The provider did not finish in time."
            "Raise timeoutMs or check the backend.";
        SecretProviderNoOutput "secret_provider_no_output"
            "The exec provider was silent for too long."
            "Raise noOutputTimeoutMs or check the backend.";
        SecretProviderOutputLimit "secret_provider_output_limit"
            "The exec provider printed more than maxOutputBytes."
            "Raise maxOutputBytes or make the command print only the secret.";
        SecretProviderExit "secret_provider_exit"
            "The exec provider ended with a non-zero exit code."
            "Follow the hint, or run the command by hand.";
        SecretProviderSignal "secret_provider_signal"
            "The exec provider was killed by a signal."
            "Look for the reason in the system log.";
        SecretProviderResponse "secret_provider_response"
            "The exec provider's answer cannot be used."
            "Answer with protocol version 1, or set jsonOnly: false for plain text.";
        SecretProviderLimit "secret_provider_limit"
            "More is asked of a provider than the limits allow."
            "Raise the limits in secrets.resolution, or use fewer references.";
        SecretsActivationDeadline "secrets_activation_deadline"
            "The deadline of the whole activation passed before this provider finished."
            "Raise the deadline or speed up the provider.";
        SecretsActivationCancelled "secrets_activation_cancelled"
            "The activation was cancelled."
            "Nothing; the previous secrets stay in use.";
        RuleInvalid "rule_invalid"
            "A rule for secret surfaces is invalid."
            "Correct the rule at the pointer in the details.";
        PlanInvalid "plan_invalid"
            "A plan for moving secrets is invalid; `details.problems` lists every reason."
            "Correct the plan.";
        PlanExecConsentRequired "plan_exec_consent_required"
            "The plan uses programs, which are only run with consent."
            "Look at the plan and allow exec explicitly.";
        PlanPreflightFailed "plan_preflight_failed"
            "The configuration would not work after the plan; nothing was written."
            "Fix the listed failures first.";
        PlanTargetNotEditable "plan_target_not_editable"
            "A value of the plan cannot be changed in the text of its file."
            "Change it by hand; the details name path and files.";
        PlanConflict "plan_conflict"
            "A file was changed by somebody else while the plan was applied; nothing was written."
            "Apply the plan again.";
        PlanWriteFailed "plan_write_failed"
            "A file could not be written; files that were written before it were put back."
            "Check permissions and space; `details.notRestored` lists what could not be put back.";
        SecretInactive "secret_inactive"
            "The setting is not active, so its secret was not resolved."
            "Activate the feature, or do not read the secret.";
        SecretPathUnknown "secret_path_unknown"
            "There is no secret at this configuration path."
            "Check the path against the configuration.";
        SecretRefNotInSnapshot "secret_ref_not_in_snapshot"
            "The reference was not part of the last activation."
            "Use the reference in the configuration and reload.";
        SecretUseTypedRead "secret_use_typed_read"
            "The path is a secret surface and cannot be read as a plain setting."
            "Read it with `secret(path)`.";
    }
    Secret Report {
        SecretsActivated "SECRETS_ACTIVATED"
            "The first snapshot is in place."
            "Nothing.";
        SecretsReloaded "SECRETS_RELOADED"
            "A new snapshot is in place."
            "Nothing.";
        SecretsReloaderDegraded "SECRETS_RELOADER_DEGRADED"
            "A reload failed; the last good snapshot stays in use."
            "Fix the listed failures and reload.";
        SecretsReloaderRecovered "SECRETS_RELOADER_RECOVERED"
            "A reload succeeded after failed ones; secrets are current again."
            "Nothing.";
        SecretsRefIgnoredInactiveSurface "SECRETS_REF_IGNORED_INACTIVE_SURFACE"
            "A reference stands on a setting that is not active; it was not resolved."
            "Nothing, or remove the reference.";
        SecretsRefOverridesPlaintext "SECRETS_REF_OVERRIDES_PLAINTEXT"
            "A reference and a plain value stand side by side; the reference counts."
            "Remove the plain value.";
        SecretsGatewayAuthSurface "SECRETS_GATEWAY_AUTH_SURFACE"
            "Tells whether a reference on a gateway credential is active, and why."
            "Nothing.";
        SecretsRefShapeSuspect "SECRETS_REF_SHAPE_SUSPECT"
            "An object looks almost like a secret reference and is left alone."
            "Use exactly {source, provider, id} if a reference is meant.";
        SecretsLegacyRefForm "SECRETS_LEGACY_REF_FORM"
            "A reference has no provider; the default one is used."
            "Add the provider so that OpenClaw accepts the file too.";
        SecretsExecPlaintextAssumed "SECRETS_EXEC_PLAINTEXT_ASSUMED"
            "The exec provider printed plain text, which was taken as the secret."
            "Write jsonOnly: false to say so.";
        SecretsExecNotRun "SECRETS_EXEC_NOT_RUN"
            "A report did not resolve the reference, because that would start a program."
            "Nothing; the gateway itself runs it.";
        SecretsPassenvMissing "SECRETS_PASSENV_MISSING"
            "A name in passEnv is not set."
            "Set the variable or remove the name.";
        SecretsPathCheckBypassed "SECRETS_PATH_CHECK_BYPASSED"
            "allowInsecurePath switched owner and permission checks off for this provider."
            "Fix the permissions and remove the switch.";
        SecretsSecretInArgs "SECRETS_SECRET_IN_ARGS"
            "A variable that looks like a secret is put into a command line, which other users can see."
            "Pass it with passEnv instead.";
        SecretsStoreSkipped "SECRETS_STORE_SKIPPED"
            "A store of auth profiles cannot be read, so its references are not resolved."
            "Repair the file; it is left alone.";
        WebSearchAutodetectSelected "WEB_SEARCH_AUTODETECT_SELECTED"
            "No web search provider is named, so the first one with a key was selected."
            "Nothing, or name one in tools.web.search.provider.";
        WebSearchProviderInvalidAutodetect "WEB_SEARCH_PROVIDER_INVALID_AUTODETECT"
            "The named web search provider is not usable; one was selected as if none were named."
            "Correct tools.web.search.provider, or enable its plugin.";
        WebSearchKeyUnresolvedFallbackUsed "WEB_SEARCH_KEY_UNRESOLVED_FALLBACK_USED"
            "The web search key does not resolve; a variable of the environment is used instead."
            "Fix or remove the reference.";
        WebSearchKeyUnresolvedNoFallback "WEB_SEARCH_KEY_UNRESOLVED_NO_FALLBACK"
            "The web search key does not resolve and no variable replaces it."
            "Fix the reference, or set the provider's variable.";
        WebFetchAutodetectSelected "WEB_FETCH_AUTODETECT_SELECTED"
            "No web fetch provider is named, so the first one with a key was selected."
            "Nothing, or name one in tools.web.fetch.provider.";
        WebFetchProviderInvalidAutodetect "WEB_FETCH_PROVIDER_INVALID_AUTODETECT"
            "The named web fetch provider is not usable; one was selected as if none were named."
            "Correct tools.web.fetch.provider, or enable its plugin.";
        WebFetchProviderKeyUnresolvedFallbackUsed "WEB_FETCH_PROVIDER_KEY_UNRESOLVED_FALLBACK_USED"
            "The web fetch key does not resolve; a variable of the environment is used instead."
            "Fix or remove the reference.";
        WebFetchProviderKeyUnresolvedNoFallback "WEB_FETCH_PROVIDER_KEY_UNRESOLVED_NO_FALLBACK"
            "The web fetch key does not resolve and no variable replaces it."
            "Fix the reference, or set the provider's variable.";
        PlaintextFound "PLAINTEXT_FOUND"
            "A secret stands in a file as plain text."
            "Move it to a provider and put a reference in its place.";
        PlaintextSuspected "PLAINTEXT_SUSPECTED"
            "A text stands under a key that looks like it holds a secret."
            "Check it; hosts can register the place as a secret surface.";
        RefUnresolved "REF_UNRESOLVED"
            "A reference that is needed does not resolve."
            "Do what the failure says.";
        RefShadowed "REF_SHADOWED"
            "A stored profile of the same provider takes precedence over the reference."
            "Remove the profile, or the reference.";
        LegacyResidue "LEGACY_RESIDUE"
            "A credential is stored where it is changed by a login or belongs to an older release."
            "Run secrets apply with scrubbing, or log in again.";
        RefInactive "REF_INACTIVE"
            "A reference stands on a setting that is not active; it was not resolved."
            "Nothing, or remove the reference.";
        ProviderPathInsecure "PROVIDER_PATH_INSECURE"
            "A provider's file or command fails the path policy."
            "Do what the failure's hint says.";
        ProviderUnused "PROVIDER_UNUSED"
            "A declared secret provider is used by no reference."
            "Remove it if it is not needed.";
        NotPortable "NOT_PORTABLE"
            "A setting would be refused by OpenClaw."
            "Move it to openclaw-auth.json5, or do not share the file.";
        SecretsValueWhitespace "SECRETS_VALUE_WHITESPACE"
            "A secret has leading or trailing white space or a line break."
            "Remove it if it is not meant.";
        SecretsValueControlChars "SECRETS_VALUE_CONTROL_CHARS"
            "A secret contains control characters."
            "Check how the secret was stored.";
    }
    Gateway Failure {
        AdminRequired "admin_required"
            "The caller may use the gateway but not this route."
            "Add the user to gateway.auth.adminUsers, or use an admin's account.";
        BindFailed "bind_failed"
            "The gateway cannot listen on its address and port."
            "Stop the program that uses the port, or choose another one with --port.";
        BodyIncomplete "body_incomplete"
            "The request body ended early or was framed wrongly."
            "Send the whole body with a correct length.";
        BodyTimeout "body_timeout"
            "The request body stopped arriving."
            "Send the body without pauses of 30 seconds or more.";
        BodyTooLarge "body_too_large"
            "The request body is larger than the limit."
            "Send less, or raise gateway.http.maxBodyBytes.";
        CredentialInQuery "credential_in_query"
            "A credential was sent in the query of the address."
            "Send it in the Authorization header; addresses end up in logs.";
        CredentialInvalid "credential_invalid"
            "A credential or configured header value contains bytes that no header can carry."
            "Correct the stored value; line breaks and control characters are the usual cause.";
        CredentialMissing "credential_missing"
            "The provider has no credential that could be sent."
            "Configure models.providers.<id>.apiKey.";
        GatewayFileFailed "gateway_file_failed"
            "A file of the gateway (log, process id, token, password) cannot be read or written."
            "Check the path, its folder and the permissions.";
        HeadersTooLarge "headers_too_large"
            "The request has too many header fields, or they are too long."
            "Send at most 100 fields, 16 KiB in one value and 32 KiB in total.";
        HostInvalid "host_invalid"
            "The request has no Host line, several, an unusable one, or one that differs from its target."
            "Send exactly one Host line that names the gateway.";
        MessageInvalid "message_invalid"
            "A message on the WebSocket cannot be understood."
            "Send JSON objects with `id` and `method` as text frames.";
        MethodNotAllowed "method_not_allowed"
            "The route does not have this method."
            "Use one of the methods in the Allow header.";
        MethodUnknown "method_unknown"
            "A message on the WebSocket names a method that does not exist."
            "Use whoami, status, command or ping.";
        MethodUnsupported "method_unsupported"
            "The gateway does not serve CONNECT and TRACE requests."
            "Use another method.";
        ModelUnknown "model_unknown"
            "The request names no model that belongs to a configured provider."
            "Name it as provider/model, list it in models.providers.<id>.models, or set agents.defaults.model.";
        NotFound "not_found"
            "The gateway has no such route."
            "Check the path.";
        Overloaded "overloaded"
            "Too many requests are being forwarded at the same time."
            "Retry after a second.";
        PathInvalid "path_invalid"
            "The path to forward contains dot segments, encoded slashes or back-slashes."
            "Send the path in its plain form.";
        ProviderAuthUnsupported "provider_auth_unsupported"
            "The provider signs its requests in a way that the gateway does not support."
            "Use a provider that takes an API key or a token.";
        ProviderInvalid "provider_invalid"
            "The settings of the provider cannot be used for forwarding."
            "Correct models.providers.<id> as the message says.";
        ProviderUnknown "provider_unknown"
            "The path names a provider that is not configured."
            "Add it to models.providers, or correct the path.";
        SecretOnCommandLine "secret_on_command_line"
            "A secret was given as an option, where other users of the machine can see it."
            "Use --token-file or --password-file, or a reference in the configuration.";
        SessionInvalid "session_invalid"
            "The key of a session is not usable, or is given twice."
            "Use 1 to 128 letters, digits and any of . _ : @ / - as the key.";
        TargetInvalid "target_invalid"
            "The request target contains characters that are not allowed, or has an unsupported form."
            "Percent-encode the target and begin it with a slash.";
        TargetTooLong "target_too_long"
            "The request target is longer than 8 KiB."
            "Shorten path and query.";
        UnknownCommand "unknown_command"
            "The text contains no command."
            "Send /model, /model list, /model status, /model default, /model <number> or /model <model>.";
        UpgradeUnsupported "upgrade_unsupported"
            "The request asks for a protocol other than websocket."
            "Remove the Upgrade header.";
        UpstreamAuthFailed "upstream_auth_failed"
            "The provider refused the credential of the gateway."
            "Check the provider's key; `error.upstream` has the provider's own message.";
        UpstreamRedirect "upstream_redirect"
            "The provider answered with a redirect, which is never followed."
            "Set baseUrl to the final address.";
        UpstreamTimeout "upstream_timeout"
            "The provider did not answer in time."
            "Retry later, or check the connection to the provider.";
        UpstreamUnreachable "upstream_unreachable"
            "The provider cannot be reached, or its answer is not HTTP."
            "Check baseUrl, the network and the provider's certificate.";
        GatewayNotRunning "gateway_not_running"
            "No gateway runs on this state folder."
            "Start one, or name another with --state-dir or --url.";
        GatewayNoAnswer "gateway_no_answer"
            "The gateway did not say in time, or not in a form that is understood, how it went."
            "Look into its log, or raise --timeout.";
        NeedsTerminal "needs_terminal"
            "The command has to ask something, and there is no terminal."
            "Give the answers as options, or run it on a terminal.";
        RepairFailed "repair_failed"
            "A repair could not be done; what it concerns is as it was."
            "Do by hand what the finding says.";
        WebsocketRequired "websocket_required"
            "The route opens a WebSocket, and the request is no such handshake."
            "Make the proxy pass Upgrade and Connection on, and use HTTP/1.1 for this route.";
        Cancelled "cancelled"
            "A person ended the command; nothing was written."
            "Run the command again.";
        EmptyInput "empty_input"
            "The command was given no value."
            "Paste the value, or send it to standard input.";
        UnknownMethod "unknown_method"
            "The provider has no such way to sign in."
            "Choose one of the methods that the message lists.";
        UsageError "usage_error"
            "The command line cannot be understood."
            "Run the command with --help.";
    }
    Gateway Report {
        RestartRequired "RESTART_REQUIRED"
            "The settings ask for another address, port or TLS state of the listener."
            "Restart the gateway.";
    }
    Oauth Failure {
        OauthAccountMismatch "oauth_account_mismatch"
            "A new token belongs to another account than the profile."
            "Sign in again with the right account, or use another profile id.";
        OauthAuthorizationDenied "oauth_authorization_denied"
            "The sign-in was denied at the provider."
            "Start the sign-in again and allow access.";
        OauthAuthorizationError "oauth_authorization_error"
            "The provider reported an error instead of signing in."
            "See the message; often the description of the provider is wrong.";
        OauthCallbackTimeout "oauth_callback_timeout"
            "No answer of the browser arrived in time."
            "Start the sign-in again, or paste the address from the browser.";
        OauthCodeMissing "oauth_code_missing"
            "The answer of the browser contains no authorization code."
            "Paste the complete address that is shown after signing in.";
        OauthEndpointChanged "oauth_endpoint_changed"
            "The token endpoint is not the one that issued the refresh token."
            "Sign in again, or set OPENCLAW_AUTH_OAUTH_ALLOW_ENDPOINT_CHANGE=1 if the move is intended.";
        OauthExchangeRejected "oauth_exchange_rejected"
            "The provider did not accept the authorization code."
            "Start the sign-in again; a code works once and for a short time.";
        OauthExternalCliExpired "oauth_external_cli_expired"
            "The login of another program, to which this profile is linked, has run out."
            "Run that program once so that it renews its login.";
        OauthExternalCliInvalid "oauth_external_cli_invalid"
            "The login of another program belongs to another account than the linked profile."
            "Sign in to that program with the right account, or link again.";
        OauthExternalCliMissing "oauth_external_cli_missing"
            "The other program, to which this profile is linked, is not signed in."
            "Sign in to that program.";
        OauthInputInvalid "oauth_input_invalid"
            "The pasted text is no answer of a sign-in."
            "Paste the address from the browser, or the code.";
        OauthIssuerMismatch "oauth_issuer_mismatch"
            "The answer of the browser names another issuer than the provider's description."
            "Do not continue; check the description of the provider.";
        OauthLoginCancelled "oauth_login_cancelled"
            "The sign-in was cancelled."
            "Start it again.";
        OauthNetwork "oauth_network"
            "The provider cannot be reached; the request was not sent."
            "Check the network and the proxy settings.";
        OauthProviderInvalid "oauth_provider_invalid"
            "The description of a sign-in provider is wrong."
            "Correct the field that the details name.";
        OauthProviderUnavailable "oauth_provider_unavailable"
            "The provider is busy or out of order."
            "Try again later.";
        OauthReauthRequired "oauth_reauth_required"
            "The provider does not accept the refresh token any more; details.reason says why."
            "Sign in again.";
        OauthRefreshContention "oauth_refresh_contention"
            "Another process has been refreshing the same login for the whole waiting time."
            "Try again; the details name the process.";
        OauthRefreshMissing "oauth_refresh_missing"
            "The access token has run out and the profile has no refresh token."
            "Sign in again.";
        OauthSetupTokenInvalid "oauth_setup_token_invalid"
            "The text is not a setup-token."
            "Paste the whole output of `claude setup-token`.";
        OauthSharedWithExternalCli "oauth_shared_with_external_cli"
            "The refresh token belongs to another program too, which would be logged out."
            "Run that program once, or sign in here to get a login of its own.";
        OauthStateMismatch "oauth_state_mismatch"
            "The answer of the browser belongs to a different sign-in."
            "Use the address of this sign-in.";
        OauthStateMissing "oauth_state_missing"
            "The answer of the browser does not say which sign-in it belongs to."
            "Paste the complete address.";
        OauthStoreWriteFailed "oauth_store_write_failed"
            "The provider has issued new tokens, but the profile store could not be written."
            "Repair the disk; the tokens are kept in the rescue file that the message names.";
        OauthTimeout "oauth_timeout"
            "The provider did not answer; it may have processed the request."
            "Try again.";
        OauthTls "oauth_tls"
            "No secure connection to the provider."
            "If a proxy of your company re-signs traffic, name its certificates in SSL_CERT_FILE.";
        OauthTokenResponseInvalid "oauth_token_response_invalid"
            "The answer of the token endpoint is not usable."
            "Check the address of the token endpoint; try again.";
        OauthUnknownProvider "oauth_unknown_provider"
            "There is no OAuth description for the provider."
            "Add one under oauth.providers, or sign in another way.";
        RefreshUnpersistable "refresh_unpersistable"
            "The profile store cannot be written, so no refresh was attempted."
            "Make the folder of the store writable and free some space.";
    }
    Oauth Report {
        OauthAccountIdMissing "ACCOUNT_ID_MISSING"
            "The tokens do not name the account that the provider's requests need."
            "Sign in again if requests are refused.";
        OauthExpiresInMissing "EXPIRES_IN_MISSING"
            "The provider did not say how long the token lives; one hour is assumed."
            "Nothing to do, unless requests fail early.";
        OauthRefreshFailed "OAUTH_REFRESH_FAILED"
            "Tokens could not be refreshed; the details have the provider, the profile and the reason."
            "See the message; `models auth refresh` tries again.";
        OauthRefreshStarted "OAUTH_REFRESH_STARTED"
            "A refresh of tokens begins."
            "Nothing to do.";
        OauthRefreshed "OAUTH_REFRESHED"
            "Tokens were refreshed."
            "Nothing to do.";
        OauthSignedIn "OAUTH_SIGNED_IN"
            "A sign-in has ended and its profile is stored."
            "Nothing to do.";
        OauthSignInFailed "OAUTH_SIGN_IN_FAILED"
            "A sign-in has ended without a profile."
            "See the message and start again.";
        OauthTokenAdopted "OAUTH_TOKEN_ADOPTED"
            "Tokens that somebody else refreshed are used."
            "Nothing to do.";
        OauthTokensRescued "OAUTH_TOKENS_RESCUED"
            "New tokens are in use but could not be saved in the store; they are kept beside it."
            "Make the store writable; they are taken over at the next refresh.";
        OauthOverrideIgnored "OAUTH_OVERRIDE_IGNORED"
            "A variable that changes a sign-in provider is set outside the process environment and is ignored."
            "Set it in the environment of the process.";
        OauthRefreshTokenMissing "REFRESH_TOKEN_MISSING"
            "The provider issued no refresh token; a new sign-in is due when the access token ends."
            "Ask for the scope that the provider wants for refresh tokens.";
    }
    Store Failure {
        StoreConflict "store_conflict"
            "Other programs kept changing the profile store while it was being written."
            "Try again; stop other programs that write the file without its lock.";
        StoreCorrupt "store_corrupt"
            "The profile store is not valid JSON or has no `profiles` object."
            "Run openclaw-auth store repair, or restore the file; it is never overwritten.";
        StoreLegacyShape "store_legacy_shape"
            "The profile store has the flat shape of a very old release."
            "Run openclaw-auth store migrate.";
        StoreLocked "store_locked"
            "Another program holds the lock of the profile store."
            "Try again; the details name the holder.";
        StoreNotReplaceable "store_not_replaceable"
            "The profile store cannot be replaced because it is a mount point of its own."
            "Mount the folder instead of the single file.";
        StorePermissions "store_permissions"
            "Other users can read the profile store, and strict_permissions is set."
            "Run chmod 600 on the file.";
        StoreReadOnly "store_read_only"
            "The profile store cannot be written here."
            "Make the folder writable, or make the change on the machine that owns it.";
        StoreSqliteMigrated "store_sqlite_migrated"
            "The credentials of this agent live in the SQLite store of a newer OpenClaw."
            "Export the profiles, or use a separate state directory.";
        StoreTooLarge "store_too_large"
            "The profile store is larger than 16 MiB."
            "Remove what does not belong there.";
        StoreUnreadable "store_unreadable"
            "The profile store exists but cannot be read."
            "Check owner and permissions of the file.";
        StoreWriteFailed "store_write_failed"
            "The profile store could not be written; the old content is intact."
            "Check the free space and the state of the disk.";
    }
    Store Report {
        ProfilesRejected "PROFILES_REJECTED"
            "Entries of the profile store cannot be used; they stay in the file."
            "Give each entry a type and a provider.";
        StoreDegraded "STORE_DEGRADED"
            "The profile store cannot be read or written; the last good content stays in use."
            "See the code in the details.";
        StoreDisappeared "STORE_DISAPPEARED"
            "The profile store was deleted while the program was running."
            "Restore the file, or log in again.";
        StoreOpenToOthers "STORE_OPEN_TO_OTHERS"
            "Other users can read the profile store."
            "Run chmod 600 on the file.";
        StoreRejectedEntry "STORE_REJECTED_ENTRY"
            "A stored profile has no type, no provider, or another shape, and is not used."
            "Correct or remove the entry.";
        StoreVersionNewer "STORE_VERSION_NEWER"
            "The profile store says that a newer format is in it; it is read as far as it is known."
            "Update this library.";
        UsageDropped "USAGE_DROPPED"
            "So many usage events were waiting for the profile store that the oldest were dropped."
            "Find out why the store cannot be written.";
    }
    Routing Failure {
        AllUnavailable "all_unavailable"
            "Credentials exist, but none may be used now."
            "Wait until the time in the details, or clear the cooldown.";
        LeaseFinished "lease_finished"
            "The outcome of this lease has been reported already."
            "Report each lease once.";
        LeaseUnknown "lease_unknown"
            "There is no lease with this id."
            "Use the id of a lease that is still out.";
        NoCredentials "no_credentials"
            "No credential of any kind is known for the provider."
            "Set the variable that the message names, or add a profile.";
        ProfileIneligible "profile_ineligible"
            "The chosen profile cannot be used; details.reasonCode says why."
            "Renew the credential or choose another profile.";
        ProfileNotFound "profile_not_found"
            "There is no profile with this id."
            "Check the id against the list of profiles.";
        ProfileExists "profile_exists"
            "There is a profile with this id already."
            "Choose another id, or say that it is to be replaced.";
        ProfileProviderMismatch "profile_provider_mismatch"
            "The chosen profile belongs to another provider."
            "Choose a profile of the provider of the model.";
        OauthSecretrefPolicy "oauth_secretref_policy"
            "OAuth credentials change while the program runs and cannot be references."
            "Log in again so that the tokens are stored, or change the mode of the profile.";
        UnresolvedRef "unresolved_ref"
            "The secret that the chosen profile refers to was not resolved."
            "Fix the reference and reload.";
        RefreshFailed "refresh_failed"
            "The OAuth token could not be refreshed."
            "Try again, or log in again.";
        RefreshUnavailable "refresh_unavailable"
            "The OAuth token has run out and nothing here can refresh it."
            "Log in again, or give the engine a refresher for the provider.";
        WouldBlock "would_block"
            "The call would have to wait, and was told not to."
            "Make the call that waits, off the event loop.";
        UnknownProvider "unknown_provider"
            "There is no model provider with this id."
            "Check the spelling, or describe the provider in the settings.";
        UnknownAgent "unknown_agent"
            "There is no agent with this id."
            "Check the id against agents.list.";
        AgentExists "agent_exists"
            "There is an agent with this id already, or its store is not empty."
            "Choose another name.";
        AgentReserved "agent_reserved"
            "The name belongs to the main agent, which is always there."
            "Choose another name.";
        AliasExists "alias_exists"
            "The alias points to another model already."
            "Remove it first, or choose another alias.";
        AliasNotFound "alias_not_found"
            "There is no such alias."
            "Check the spelling against the list of aliases.";
        FallbackNotFound "fallback_not_found"
            "The model is not among the fallbacks."
            "Check the spelling against the list of fallbacks.";
        DirectiveInvalid "directive_invalid"
            "The /model directive is not understood."
            "Write /model name, /model provider/name@profile, or /model list.";
        ModelNotAllowed "model_not_allowed"
            "The model is not in the list of allowed models."
            "Choose one that /model list shows.";
        ModelUnrecognized "model_unrecognized"
            "The text is not the name of a model."
            "Write provider/name or an alias.";
        NoDefaultModel "no_default_model"
            "No model is configured as the default."
            "Set agents.defaults.model.";
        ModelListChanged "model_list_changed"
            "The list of models is not the one that was shown."
            "Show the list again.";
    }
    Routing Report {
        EnvNotAKey "ENV_NOT_A_KEY"
            "A variable is named like a key but holds something else, and is not used."
            "Rename the variable if it is meant to be a key.";
        FallbackUnresolved "FALLBACK_UNRESOLVED"
            "A model of the fallback chain cannot be resolved and is skipped."
            "Correct the name in agents.defaults.model.";
        ImplausibleWindow "IMPLAUSIBLE_WINDOW"
            "A profile is marked unavailable for longer than any rule allows; the mark is ignored."
            "Check the clocks of the machines that write the store.";
        LeaseTableFull "LEASE_TABLE_FULL"
            "So many leases are out that the oldest were released."
            "Report the outcome of every lease.";
        OrderAllFiltered "ORDER_ALL_FILTERED"
            "The order of a provider names only profiles that cannot be used."
            "Renew the profiles or change the order.";
        UserPinDropped "USER_PIN_DROPPED"
            "The profile that a user had chosen for a session does not exist any more."
            "Choose a profile again.";
    }
    Internal Failure {
        InvalidArgument "invalid_argument"
            "An argument of a call is invalid."
            "Correct the call; this is a mistake in the calling program.";
        Closed "closed"
            "An engine, snapshot, lease or sign-in was used after it was closed."
            "Open a new one; this is a mistake in the calling program.";
        ClockNotManual "clock_not_manual"
            "The clock of the engine is the machine's and cannot be moved."
            "Open the engine with a manual clock; it is meant for tests.";
        EngineAfterFork "engine_after_fork"
            "The process was forked after the engine was opened, and the child used it."
            "Open the engine in the worker process, after the fork.";
        EngineClosed "engine_closed"
            "The engine, snapshot or lease was used after it had been closed."
            "Close it when nothing uses it any more.";
        Panic "panic"
            "A defect inside the library was caught at its border; the engine stays usable."
            "Report it with the message.";
        InternalError "internal_error"
            "Something that cannot happen happened."
            "Report it with the message.";
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_spelled_by_kind() {
        let mut seen = HashSet::new();
        for info in Code::ALL {
            assert!(seen.insert(info.text), "{} occurs twice", info.text);
            assert_eq!(info.code.as_str(), info.text);
            assert_eq!(info.code.as_c_str().to_str(), Ok(info.text));
            assert_eq!(info.code.info().text, info.text);
            let lower = info
                .text
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
            let upper = info
                .text
                .chars()
                .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_');
            assert!(
                if info.kind == Kind::Failure || info.class == Class::Access {
                    lower
                } else {
                    upper
                },
                "{} has the wrong spelling",
                info.text
            );
            assert!(
                info.meaning.ends_with('.') && info.remedy.ends_with('.'),
                "{}",
                info.text
            );
        }
    }
}
