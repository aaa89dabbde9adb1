"""Client sessions: what a frame from a client means, checked and carried out."""

from sockudo.sessions.gateway import Gateway
from sockudo.sessions.session import Session

__all__ = ["Gateway", "Session"]
