//! What a failing vendor program probably needs. The program's own words are matched, never
//! shown: they may contain credentials.

use zeroize::Zeroizing;

use super::failure::Fault;

struct Hint {
    /// Any of these in standard error, lower case.
    stderr: &'static [&'static str],
    /// Only when the command's path contains this.
    command: Option<&'static str>,
    /// Or this exit code.
    exit: Option<i32>,
    text: &'static str,
}

const HINTS: &[Hint] = &[
    Hint {
        stderr: &[
            "not currently signed in",
            "no accounts configured",
            "op_service_account_token",
        ],
        command: None,
        exit: None,
        text: "1Password CLI is not signed in for this process: set passEnv: [\"HOME\", \
               \"OP_SERVICE_ACCOUNT_TOKEN\"] and export OP_SERVICE_ACCOUNT_TOKEN for the service, or sign in \
               for this user and pass HOME",
    },
    Hint {
        stderr: &["missing client token"],
        command: None,
        exit: None,
        text: VAULT_TOKEN,
    },
    Hint {
        stderr: &["permission denied"],
        command: Some("vault"),
        exit: None,
        text: VAULT_TOKEN,
    },
    Hint {
        stderr: &["connection refused", "no such host", "i/o timeout"],
        command: None,
        exit: None,
        text: "the secret backend is unreachable; check its address variable (for example VAULT_ADDR) and \
               list it in passEnv",
    },
    Hint {
        stderr: &["failed to get the data key", "no key could decrypt"],
        command: None,
        exit: None,
        text: "sops cannot find a key: pass SOPS_AGE_KEY_FILE (or the cloud KMS variables) in passEnv",
    },
    Hint {
        stderr: &[
            "no pinentry",
            "inappropriate ioctl",
            "cannot open '/dev/tty'",
        ],
        command: None,
        exit: None,
        text: "the command wants to prompt; unlock the agent beforehand or use a non-interactive credential",
    },
    Hint {
        stderr: &["rate limit", "too many requests", "429"],
        command: None,
        exit: None,
        text: "the backend is rate-limiting; see the provider's retry setting",
    },
    Hint {
        stderr: &[],
        command: None,
        exit: Some(127),
        text: "the script's interpreter was not found: add \"PATH\" to passEnv",
    },
    Hint {
        stderr: &[],
        command: None,
        exit: Some(126),
        text: "the command is not executable",
    },
];

const VAULT_TOKEN: &str =
    "Vault refused the request: check that VAULT_TOKEN is set and listed in passEnv";

/// Adds the first matching hint to a failure.
pub(super) fn from_output(
    mut fault: Fault,
    command: &str,
    stderr: &[u8],
    exit: Option<i32>,
) -> Fault {
    let stderr = Zeroizing::new(stderr.to_ascii_lowercase());
    let said = |part: &str| {
        stderr
            .windows(part.len())
            .any(|window| window == part.as_bytes())
    };
    let command = command.to_lowercase();
    let missing_interpreter = said("env:") && said("no such file");
    let matches = |hint: &&Hint| {
        (hint.stderr.iter().any(|part| said(part))
            && hint.command.is_none_or(|part| command.contains(part)))
            || (hint.exit.is_some() && hint.exit == exit)
            || (hint.exit == Some(127) && missing_interpreter)
    };
    if let Some(hint) = HINTS.iter().find(matches) {
        fault.hint = Some(hint.text.to_owned());
    }
    fault
}

/// Adds the names that `passEnv` asks for but nobody set.
pub(super) fn add(mut fault: Fault, missing: &[String]) -> Fault {
    if missing.is_empty() {
        return fault;
    }
    let note = format!(
        "these passEnv names are not set in the environment: {}",
        missing.join(", ")
    );
    fault.hint = Some(match fault.hint.take() {
        Some(hint) => format!("{hint}; {note}"),
        None => note,
    });
    fault.detail("missingEnv", missing.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;

    #[test]
    fn the_first_matching_row_is_used_and_stderr_is_not_shown() {
        let fault = || Fault::new(Code::SecretProviderExit, "exited");
        for (command, stderr, exit, expected) in [
            (
                "/usr/bin/op",
                "[ERROR] You are Not Currently Signed In CANARY",
                Some(1),
                "OP_SERVICE_ACCOUNT_TOKEN",
            ),
            (
                "/usr/bin/vault",
                "Code: 403. permission denied",
                Some(2),
                "VAULT_TOKEN",
            ),
            (
                "/usr/bin/x",
                "dial tcp: connection refused",
                Some(2),
                "VAULT_ADDR",
            ),
            (
                "/usr/bin/x",
                "Failed to get the data key",
                Some(1),
                "SOPS_AGE_KEY_FILE",
            ),
            (
                "/usr/bin/x",
                "gpg: Inappropriate ioctl for device",
                Some(2),
                "prompt",
            ),
            (
                "/usr/bin/x",
                "/usr/bin/env: 'node': No such file or directory",
                Some(1),
                "PATH",
            ),
            ("/usr/bin/x", "", Some(127), "PATH"),
            ("/usr/bin/x", "", Some(126), "not executable"),
        ] {
            let hint = from_output(fault(), command, stderr.as_bytes(), exit)
                .hint
                .clone()
                .unwrap();
            assert!(
                hint.contains(expected) && !hint.contains("CANARY"),
                "{stderr}: {hint}"
            );
        }
        assert_eq!(
            from_output(fault(), "/x", b"permission denied", Some(1)).hint,
            None
        );
        let fault = add(fault(), &["VAULT_ADDR".to_owned()]);
        assert!(fault.hint.clone().unwrap().contains("VAULT_ADDR"));
    }
}
