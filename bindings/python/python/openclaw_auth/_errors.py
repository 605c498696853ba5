"""Exceptions. The compiled half calls `build` for every failure of the library."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


class OpenClawAuthError(Exception):
    """A failure with a stable code.

    Match on `code` or on the class, never on the text. Nothing in an exception is ever a secret.
    """

    code: str
    """Stable code, such as "secret_unresolved"; docs/errors.md of the project lists all."""
    status_class: str
    """The part of the library that refused, such as "secret" or "routing"."""
    message: str
    """One sentence."""
    hint: str | None
    """What to do about it, when that is not obvious."""
    details: Mapping[str, Any]
    """Structured fields; which ones belong to a code is listed in docs/errors.md."""
    retry_after: float | None
    """Seconds after which another try makes sense."""
    retryable: bool
    """Whether the same call may succeed later."""

    def __init__(
        self,
        message: str,
        *,
        code: str = "internal_error",
        status_class: str = "internal",
        hint: str | None = None,
        details: Mapping[str, Any] | None = None,
        retry_after: float | None = None,
        retryable: bool = False,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.status_class = status_class
        self.hint = hint
        self.details = dict(details or {})
        self.retry_after = retry_after
        self.retryable = retryable

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        fields = {name: getattr(self, name) for name in _FIELDS}
        return _rebuild, (type(self), self.message, fields)


_FIELDS = ("code", "status_class", "hint", "details", "retry_after", "retryable")


def _rebuild(kind: type[OpenClawAuthError], message: str, fields: dict[str, Any]) -> OpenClawAuthError:
    return kind(message, **fields)


class ArgumentError(OpenClawAuthError, ValueError):
    """An argument of a call cannot be used."""


class ConfigError(OpenClawAuthError, ValueError):
    """The configuration cannot be read or is invalid; `details["issues"]` lists every problem."""


class SecretError(OpenClawAuthError):
    """A secret cannot be resolved (`details["failures"]`), or its setting is not active."""


class NotFoundError(OpenClawAuthError, LookupError):
    """There is no such path, profile, agent or lease."""


class CredentialError(OpenClawAuthError):
    """No credential can be lent."""


class NoCredentialsError(CredentialError):
    """There is no credential: somebody has to log in or set a key."""


class UnavailableError(CredentialError):
    """There are credentials, but none can be used before `retry_after` seconds have passed."""


class OAuthError(OpenClawAuthError):
    """Signing in or refreshing was refused."""


class NetworkError(OpenClawAuthError, ConnectionError):
    """A connection failed."""


class AuthTimeoutError(OpenClawAuthError, TimeoutError):
    """A time limit passed."""


class StoreError(OpenClawAuthError, OSError):
    """The file of auth profiles cannot be read or written."""


class UnsupportedError(OpenClawAuthError, NotImplementedError):
    """Not in this build, or not for this engine."""


class StateError(OpenClawAuthError, RuntimeError):
    """What was used is closed or finished."""


class InternalError(OpenClawAuthError, RuntimeError):
    """A defect of the library, or an engine that was opened before a fork."""


# Codes whose class differs from that of their part of the library.
_BY_CODE: dict[str, type[OpenClawAuthError]] = {
    "all_unavailable": UnavailableError,
    "clock_not_manual": UnsupportedError,
    "closed": StateError,
    "directive_invalid": ArgumentError,
    "engine_after_fork": InternalError,
    "internal_error": InternalError,
    "lease_finished": StateError,
    "lease_unknown": NotFoundError,
    "model_list_changed": StateError,
    "model_not_allowed": ArgumentError,
    "model_unrecognized": ArgumentError,
    "no_credentials": NoCredentialsError,
    "no_default_model": ConfigError,
    "oauth_callback_timeout": AuthTimeoutError,
    "oauth_network": NetworkError,
    "oauth_timeout": AuthTimeoutError,
    "oauth_tls": NetworkError,
    "oauth_unknown_provider": NotFoundError,
    "panic": InternalError,
    "profile_exists": ArgumentError,
    "profile_not_found": NotFoundError,
    "profile_provider_mismatch": ArgumentError,
    "secret_path_unknown": NotFoundError,
    "secret_ref_not_in_snapshot": NotFoundError,
    "unknown_agent": NotFoundError,
}

_BY_CLASS: dict[str, type[OpenClawAuthError]] = {
    "access": ConfigError,
    "config": ConfigError,
    "gateway": ConfigError,
    "internal": ArgumentError,
    "oauth": OAuthError,
    "routing": CredentialError,
    "secret": SecretError,
    "store": StoreError,
}


def build(
    code: str,
    status_class: str,
    message: str,
    hint: str | None,
    details: dict[str, Any],
    retry_after_ms: int | None,
    retryable: bool,
) -> OpenClawAuthError:
    """The exception for a failure of the core."""
    kind = _BY_CODE.get(code) or _BY_CLASS.get(status_class, OpenClawAuthError)
    return kind(
        message,
        code=code,
        status_class=status_class,
        hint=hint,
        details=details,
        retry_after=None if retry_after_ms is None else retry_after_ms / 1000,
        retryable=retryable,
    )
