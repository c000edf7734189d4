"""Who may see the page: a one-time token in the address, and the session that it is exchanged for."""

from __future__ import annotations

import secrets
from collections.abc import Iterable
from dataclasses import dataclass, field
from hmac import compare_digest


@dataclass(frozen=True, slots=True)
class Session:
    """One rater in one browser. `csrf` stands in the page and must come back with everything that is written."""

    rater: str
    csrf: str = field(default_factory=lambda: secrets.token_urlsafe(32))


class Access:
    """Tokens that have not been used, and sessions; both end with the process."""

    def __init__(self, raters: Iterable[str]) -> None:
        self._unused = {secrets.token_urlsafe(32): rater for rater in raters}
        self._sessions: dict[str, Session] = {}

    @property
    def tokens(self) -> dict[str, str]:
        """Rater → the token that lets them in, as long as it has not been used."""
        return {rater: token for token, rater in self._unused.items()}

    def enter(self, token: str) -> str | None:
        """The key of a new session for a token, which is used up; None for any other text."""
        for known in list(self._unused):
            if compare_digest(known.encode(), token.encode()):
                key = secrets.token_urlsafe(32)
                self._sessions[key] = Session(self._unused.pop(known))
                return key
        return None

    def session(self, key: str | None) -> Session | None:
        """The session of a key."""
        return self._sessions.get(key or "")
