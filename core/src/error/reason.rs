//! Why a provider refused a request, in one vocabulary for store, interface and logs, and what
//! each reason means for the credential that was used.

/// Why a request to a model provider failed. The texts are stable and are those of OpenClaw
/// 2026.4 where it has the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Reason {
    /// Credential rejected, perhaps repairable.
    Auth,
    /// Credential or account revoked.
    AuthPermanent,
    /// Out of credit, unpaid, hard limit.
    Billing,
    /// The caller gave up.
    Cancelled,
    /// The prompt is too large.
    ContextOverflow,
    /// The request itself was refused.
    Format,
    /// The model does not exist for this credential.
    ModelNotFound,
    /// DNS, TLS or connection failure.
    Network,
    /// Provider or model is out of capacity.
    Overloaded,
    /// Throttling, or a quota that resets by itself.
    RateLimit,
    /// A failure inside the provider.
    ServerError,
    /// The conversation kept by the provider is gone.
    SessionExpired,
    /// No answer in time.
    Timeout,
    /// Nothing matched.
    Unknown,
}

/// What a failure says about: the account behind the credential, one model, the provider as a
/// whole, or only the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FailureScope {
    /// Every model of the credential.
    Account,
    /// One model.
    Model,
    /// Nothing about the credential.
    Provider,
    /// Nothing but the request.
    Request,
}

impl FailureScope {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Model => "model",
            Self::Provider => "provider",
            Self::Request => "request",
        }
    }
}

/// Whether profiles rotate after a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rotation {
    /// The next profile cannot help.
    No,
    /// The next profile may help.
    Yes,
    /// One more profile is tried in a chain, not all of them.
    Once,
}

/// What a reason means: one row of the policy table.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Policy {
    text: &'static str,
    /// Whether the credential gets a window in which it is not used.
    pub(crate) penalizes: bool,
    pub(crate) rotates_profiles: Rotation,
    /// Whether another model of a fallback chain may help.
    pub(crate) next_model: bool,
    /// Whether other models of the same provider are tried before another provider.
    pub(crate) siblings: bool,
    /// Whether the same request may succeed later.
    pub(crate) retryable: bool,
    /// Status a gateway answers with when no credential is left.
    pub(crate) http_status: u16,
    pub(crate) advice: &'static str,
    pub(crate) scope: FailureScope,
}

macro_rules! policies {
    ($( $reason:ident $text:literal $penalizes:ident $rotates:ident $next:ident $siblings:ident $retryable:ident $status:literal $advice:literal $scope:ident; )*) => {
        const ALL: &[Reason] = &[$( Reason::$reason, )*];

        impl Reason {
            pub(crate) fn policy(self) -> &'static Policy {
                match self {
                    $( Self::$reason => const {
                        &Policy {
                            text: $text,
                            penalizes: flag::$penalizes,
                            rotates_profiles: Rotation::$rotates,
                            next_model: flag::$next,
                            siblings: flag::$siblings,
                            retryable: flag::$retryable,
                            http_status: $status,
                            advice: $advice,
                            scope: FailureScope::$scope,
                        }
                    }, )*
                }
            }
        }
    };
}

/// Short words for the table.
#[expect(non_upper_case_globals, reason = "words of a table, read as prose")]
mod flag {
    pub(super) const yes: bool = true;
    pub(super) const no: bool = false;
}

//   reason        text              penalizes rotates next siblings retryable status advice scope
policies! {
    Auth            "auth"             yes Yes  yes no  no  401 "reauth"      Account;
    AuthPermanent   "auth_permanent"   yes Yes  yes no  no  403 "reauth"      Account;
    Billing         "billing"          yes Yes  yes no  no  402 "top_up"      Account;
    Cancelled       "cancelled"        no  No   no  no  no  499 "stop"        Request;
    ContextOverflow "context_overflow" no  No   no  no  no  413 "compact"     Request;
    Format          "format"           no  No   yes yes no  400 "fix_request" Request;
    ModelNotFound   "model_not_found"  yes Yes  yes yes no  404 "next_model"  Model;
    Network         "network"          no  No   yes no  yes 502 "retry"       Provider;
    Overloaded      "overloaded"       yes Yes  yes yes yes 503 "wait"        Model;
    RateLimit       "rate_limit"       yes Yes  yes yes yes 429 "wait"        Model;
    ServerError     "server_error"     no  Once yes yes yes 502 "retry"       Provider;
    SessionExpired  "session_expired"  no  No   no  no  no  410 "new_session" Request;
    Timeout         "timeout"          no  Once yes yes yes 408 "retry"       Provider;
    Unknown         "unknown"          no  No   yes yes no  502 "stop"        Request;
}

impl Reason {
    /// The stable text.
    pub fn as_str(self) -> &'static str {
        self.policy().text
    }

    /// Reads the stable text.
    pub fn parse(text: &str) -> Option<Self> {
        ALL.iter().copied().find(|reason| reason.as_str() == text)
    }

    /// What a caller may do about it: `wait`, `top_up`, `reauth`, `retry`, `next_model`,
    /// `fix_request`, `compact`, `new_session` or `stop`.
    pub fn advice(self) -> &'static str {
        self.policy().advice
    }

    /// The HTTP status a gateway answers with when this is the last word.
    pub fn http_status(self) -> u16 {
        self.policy().http_status
    }

    /// Whether the same request may succeed later without anybody doing anything.
    pub fn is_retryable(self) -> bool {
        self.policy().retryable
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_is_read_back() {
        for reason in ALL {
            assert_eq!(Reason::parse(reason.as_str()), Some(*reason));
        }
        assert_eq!(ALL.len(), 14);
    }
}
