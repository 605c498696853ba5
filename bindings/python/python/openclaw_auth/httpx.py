"""Authentication for httpx clients.

    client = httpx.Client(auth=LeaseAuth(engine, "openai"))

Each request leases a credential; on a rate limit it is sent again with the next one, and a refused
OAuth token is refreshed. Other answers go to the caller as they are. A request with a streaming
body is sent once.
"""

from __future__ import annotations

import httpx

from ._flow import LeaseFlow


class LeaseAuth(LeaseFlow, httpx.Auth):
    """Leases a credential for each request, for httpx.Client and httpx.AsyncClient."""
