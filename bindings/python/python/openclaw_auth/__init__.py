"""Credentials for AI-agent gateways.

    from openclaw_auth import Engine

    with Engine.open() as engine:
        key = engine.secret("models.providers.openai.apiKey")
        with engine.lease("openai") as lease:
            ...  # use lease.secret, then lease.report(status=...)

`Engine` is for threads, `AsyncEngine` for asyncio. Middleware is in `openclaw_auth.asgi`, `.wsgi`,
`.django` and `.fastapi`; authentication of HTTP clients in `.httpx`, `.httpx2` and `.requests`.
"""

from __future__ import annotations

import os as _os

from . import _native
from ._engine import Engine, Lease, OAuthFlow, doctor
from ._errors import (
    ArgumentError,
    AuthTimeoutError,
    ConfigError,
    CredentialError,
    InternalError,
    NetworkError,
    NoCredentialsError,
    NotFoundError,
    OAuthError,
    OpenClawAuthError,
    SecretError,
    StateError,
    StoreError,
    UnavailableError,
    UnsupportedError,
)
from ._native import Decision, Snapshot, Verdict, __version__, classify

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._async import AsyncEngine, AsyncLease, AsyncOAuthFlow

__all__ = [
    "ArgumentError",
    "AsyncEngine",
    "AsyncLease",
    "AsyncOAuthFlow",
    "AuthTimeoutError",
    "ConfigError",
    "CredentialError",
    "Decision",
    "Engine",
    "InternalError",
    "Lease",
    "NetworkError",
    "NoCredentialsError",
    "NotFoundError",
    "OAuthError",
    "OAuthFlow",
    "OpenClawAuthError",
    "SecretError",
    "Snapshot",
    "StateError",
    "StoreError",
    "UnavailableError",
    "UnsupportedError",
    "Verdict",
    "__version__",
    "classify",
    "doctor",
]

if hasattr(_os, "register_at_fork"):
    _os.register_at_fork(after_in_child=_native.after_fork)


def __getattr__(name: str) -> object:
    # asyncio takes longer to import than everything else here, and not everybody needs it.
    if name in ("AsyncEngine", "AsyncLease", "AsyncOAuthFlow"):
        from . import _async

        return getattr(_async, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
