//! Statuses and error objects.

use auth::{CText, Class, Code, Error};
use serde_json::Value;

use crate::boundary::{fixed, free, read};
use crate::text::oca_str;

/// What came of a call. 0 is success, so `if (call(...))` is the failure branch. New values may
/// appear; treat an unknown one as a failure.
#[repr(i32)]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
#[non_exhaustive]
pub enum oca_status {
    /// Done.
    OCA_OK = 0,
    /// An argument is NULL, unknown, too long or not UTF-8: a mistake of the calling program.
    OCA_ERR_INVALID_ARGUMENT = 1,
    /// The configuration cannot be read or is invalid.
    OCA_ERR_CONFIG = 2,
    /// A secret reference cannot be resolved, or the secret is not active.
    OCA_ERR_SECRET = 3,
    /// There is no such path, profile or session.
    OCA_ERR_NOT_FOUND = 4,
    /// No credential is eligible: somebody has to log in.
    OCA_ERR_NO_CREDENTIAL = 5,
    /// There are credentials, but none can be used now: wait as the error says.
    OCA_ERR_UNAVAILABLE = 6,
    /// A login or refresh was refused.
    OCA_ERR_OAUTH = 7,
    /// A connection failed.
    OCA_ERR_NETWORK = 8,
    /// A time limit passed.
    OCA_ERR_TIMEOUT = 9,
    /// A file or a lock failed.
    OCA_ERR_IO = 10,
    /// The profile store is damaged.
    OCA_ERR_STORE = 11,
    /// The call would have to wait, and was asked not to.
    OCA_ERR_WOULD_BLOCK = 12,
    /// The buffer is too small; the needed size was written.
    OCA_ERR_BUFFER_TOO_SMALL = 13,
    /// Not in this build, or not for this engine.
    OCA_ERR_UNSUPPORTED = 14,
    /// The handle is past that.
    OCA_ERR_STATE = 15,
    /// A defect of the library was caught; the engine stays usable.
    OCA_ERR_PANIC = 99,
}

use oca_status as S;

impl oca_status {
    /// The status under which an error of the core travels.
    pub(crate) fn of(error: &Error) -> Self {
        let code = error.code();
        let row = STATUSES.iter().find(|(_, codes)| codes.contains(&code));
        row.map_or_else(|| Self::of_class(error.class()), |(status, _)| *status)
    }

    /// The status of most codes of a class.
    fn of_class(class: Class) -> Self {
        match class {
            Class::Internal => Self::OCA_ERR_INVALID_ARGUMENT,
            Class::Oauth => Self::OCA_ERR_OAUTH,
            Class::Routing => Self::OCA_ERR_NO_CREDENTIAL,
            Class::Secret => Self::OCA_ERR_SECRET,
            Class::Store => Self::OCA_ERR_IO,
            // Opening is refused for settings of each of the other parts.
            _ => Self::OCA_ERR_CONFIG,
        }
    }
}

/// Codes whose status is not that of their class.
const STATUSES: &[(oca_status, &[Code])] = &[
    (
        S::OCA_ERR_INVALID_ARGUMENT,
        &[
            Code::RuleInvalid,
            Code::DirectiveInvalid,
            Code::ModelNotAllowed,
            Code::ModelUnrecognized,
            Code::ProfileProviderMismatch,
            Code::OauthSetupTokenInvalid,
        ],
    ),
    (
        S::OCA_ERR_CONFIG,
        &[Code::NoDefaultModel, Code::OauthProviderInvalid],
    ),
    (S::OCA_ERR_SECRET, &[Code::UnresolvedRef]),
    (
        S::OCA_ERR_NOT_FOUND,
        &[
            Code::SecretPathUnknown,
            Code::SecretRefNotInSnapshot,
            Code::ProfileNotFound,
            Code::LeaseUnknown,
            Code::UnknownAgent,
            Code::OauthUnknownProvider,
            Code::OauthExternalCliMissing,
        ],
    ),
    (S::OCA_ERR_UNAVAILABLE, &[Code::AllUnavailable]),
    (
        S::OCA_ERR_OAUTH,
        &[Code::RefreshFailed, Code::RefreshUnavailable],
    ),
    (
        S::OCA_ERR_NETWORK,
        &[
            Code::OauthNetwork,
            Code::OauthTls,
            Code::OauthProviderUnavailable,
        ],
    ),
    (
        S::OCA_ERR_TIMEOUT,
        &[
            Code::OauthTimeout,
            Code::OauthCallbackTimeout,
            Code::OauthRefreshContention,
        ],
    ),
    (
        S::OCA_ERR_IO,
        &[Code::OauthStoreWriteFailed, Code::RefreshUnpersistable],
    ),
    (
        S::OCA_ERR_STORE,
        &[
            Code::StoreCorrupt,
            Code::StoreLegacyShape,
            Code::StoreSqliteMigrated,
            Code::StoreTooLarge,
        ],
    ),
    (S::OCA_ERR_UNSUPPORTED, &[Code::ClockNotManual]),
    (
        S::OCA_ERR_STATE,
        &[
            Code::LeaseFinished,
            Code::ProfileExists,
            Code::ModelListChanged,
            Code::OauthLoginCancelled,
        ],
    ),
    (S::OCA_ERR_PANIC, &[Code::InternalError, Code::Panic]),
];

/// Name of a status, for example "OCA_ERR_CONFIG"; "OCA_ERR_UNKNOWN" for a number that this
/// library does not know. Static.
#[unsafe(no_mangle)]
#[must_use]
pub extern "C" fn oca_status_name(status: i32) -> oca_str {
    let row = NAMES.iter().find(|(known, _)| *known as i32 == status);
    fixed(row.map_or(c"OCA_ERR_UNKNOWN", |(_, name)| name))
}

const NAMES: &[(oca_status, &std::ffi::CStr)] = &[
    (S::OCA_OK, c"OCA_OK"),
    (S::OCA_ERR_INVALID_ARGUMENT, c"OCA_ERR_INVALID_ARGUMENT"),
    (S::OCA_ERR_CONFIG, c"OCA_ERR_CONFIG"),
    (S::OCA_ERR_SECRET, c"OCA_ERR_SECRET"),
    (S::OCA_ERR_NOT_FOUND, c"OCA_ERR_NOT_FOUND"),
    (S::OCA_ERR_NO_CREDENTIAL, c"OCA_ERR_NO_CREDENTIAL"),
    (S::OCA_ERR_UNAVAILABLE, c"OCA_ERR_UNAVAILABLE"),
    (S::OCA_ERR_OAUTH, c"OCA_ERR_OAUTH"),
    (S::OCA_ERR_NETWORK, c"OCA_ERR_NETWORK"),
    (S::OCA_ERR_TIMEOUT, c"OCA_ERR_TIMEOUT"),
    (S::OCA_ERR_IO, c"OCA_ERR_IO"),
    (S::OCA_ERR_STORE, c"OCA_ERR_STORE"),
    (S::OCA_ERR_WOULD_BLOCK, c"OCA_ERR_WOULD_BLOCK"),
    (S::OCA_ERR_BUFFER_TOO_SMALL, c"OCA_ERR_BUFFER_TOO_SMALL"),
    (S::OCA_ERR_UNSUPPORTED, c"OCA_ERR_UNSUPPORTED"),
    (S::OCA_ERR_STATE, c"OCA_ERR_STATE"),
    (S::OCA_ERR_PANIC, c"OCA_ERR_PANIC"),
];

/// Why a call failed. Immutable; any thread may read it. Free it with oca_error_free().
pub struct oca_error {
    status: oca_status,
    code: Code,
    message: CText,
    details: CText,
    retry_after_ms: u64,
}

impl oca_error {
    pub(crate) fn new(error: &Error) -> Self {
        let mut details = error.details().clone();
        if let Some(hint) = error.hint() {
            details.insert("hint".to_owned(), hint.into());
        }
        Self {
            status: oca_status::of(error),
            code: error.code(),
            message: CText::new(error.message()),
            details: CText::new(&Value::Object(details).to_string()),
            retry_after_ms: error.retry_after_ms().unwrap_or(0),
        }
    }

    pub(crate) fn status(&self) -> oca_status {
        self.status
    }
}

/// Status that the call returned; OCA_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_error_status(err: *const oca_error) -> oca_status {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(S::OCA_OK, |call| {
            call.peek(err).map_or(S::OCA_OK, |err| err.status)
        })
    }
}

/// Stable code, for example "secret_unresolved"; docs/errors.md lists all. Absent for NULL.
/// Static.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_error_code(err: *const oca_error) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(oca_str::ABSENT, |call| {
            call.peek(err)
                .map_or(oca_str::ABSENT, |err| fixed(err.code.as_c_str()))
        })
    }
}

/// One English sentence for people, without a period; never holds a secret. It may change from
/// release to release. Lives as long as the error.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_error_message(err: *const oca_error) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(oca_str::ABSENT, |call| {
            call.peek(err)
                .map_or(oca_str::ABSENT, |err| oca_str::of(&err.message))
        })
    }
}

/// JSON object with what the code refers to: path, source, provider, id, file, line, column,
/// failures, hint and others. Lives as long as the error.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_error_details_json(err: *const oca_error) -> oca_str {
    // SAFETY: the caller keeps the contract of the header.
    unsafe {
        read(oca_str::ABSENT, |call| {
            call.peek(err)
                .map_or(oca_str::ABSENT, |err| oca_str::of(&err.details))
        })
    }
}

/// Milliseconds after which a new try can succeed; 0 if waiting does not help.
#[unsafe(no_mangle)]
#[must_use]
pub unsafe extern "C" fn oca_error_retry_after_ms(err: *const oca_error) -> u64 {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { read(0, |call| call.peek(err).map_or(0, |err| err.retry_after_ms)) }
}

/// Frees an error. NULL is fine.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn oca_error_free(err: *mut oca_error) {
    // SAFETY: the caller keeps the contract of the header.
    unsafe { free(err) }
}
