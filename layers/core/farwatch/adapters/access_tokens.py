"""Access tokens: JWTs of ten minutes, HS256, signed under the active key and accepted under every key still listed.

The same installation signs and verifies, so a symmetric key is enough and the algorithm is a constant, never read from
the token. To rotate: add a key to ``jwt_keys``, make it ``jwt_active_kid``, drop the old one ten minutes later.
"""

from __future__ import annotations

import base64
import binascii
import secrets
from collections.abc import Mapping

import jwt

from farwatch.errors import Misconfigured
from farwatch.ports.proofs import AccessClaims, CredentialRefused

ALGORITHM = "HS256"
ISSUER = "farwatch"
AUDIENCE = "farwatch-api"
LIFETIME_S = 600
CLOCK_SKEW_S = 5
_MAX_LENGTH = 4096


class JwtAccessTokens:
    """Implements ``farwatch.ports.proofs.AccessTokens``. ``keys``: kid → base64 of 32 bytes or more."""

    lifetime_s = LIFETIME_S

    def __init__(self, keys: Mapping[str, str], active_kid: str) -> None:
        self._keys = {kid: _key(kid, text) for kid, text in keys.items()}
        if active_kid not in self._keys:
            raise Misconfigured(f"jwt_active_kid={active_kid} is not one of jwt_keys, for example k1")
        self._active_kid = active_kid

    def issue(self, user_id: str, session_id: str, now: int) -> str:
        """Return a token good from ``now`` (epoch ms) for ten minutes."""
        at = now // 1000
        claims = {
            "iss": ISSUER,
            "aud": AUDIENCE,
            "sub": user_id,
            "sid": session_id,
            "iat": at,
            "nbf": at,
            "exp": at + LIFETIME_S,
            "jti": secrets.token_hex(8),
        }
        key = self._keys[self._active_kid]
        return jwt.encode(claims, key, algorithm=ALGORITHM, headers={"kid": self._active_kid})

    def read(self, token: str, now: int) -> AccessClaims:
        """Return what the token says; raises CredentialRefused when it proves nothing at ``now``."""
        if len(token) > _MAX_LENGTH:
            raise CredentialRefused("malformed")
        try:
            kid = jwt.get_unverified_header(token).get("kid")
        except jwt.InvalidTokenError as error:
            raise CredentialRefused("malformed") from error
        key = self._keys.get(kid) if isinstance(kid, str) else None
        if key is None:
            raise CredentialRefused("invalid")
        try:
            claims = jwt.decode(
                token,
                key,
                algorithms=[ALGORITHM],
                audience=AUDIENCE,
                issuer=ISSUER,
                options={
                    "require": ["iss", "aud", "sub", "sid", "iat", "nbf", "exp"],
                    # Time is an argument here; it is compared below.
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
            exp, nbf, iat = int(claims["exp"]), int(claims["nbf"]), int(claims["iat"])
        except (jwt.InvalidTokenError, ValueError, TypeError) as error:
            raise CredentialRefused("invalid") from error
        at = now / 1000
        if at >= exp + CLOCK_SKEW_S:
            raise CredentialRefused("expired")
        if max(nbf, iat) > at + CLOCK_SKEW_S or exp - iat > LIFETIME_S:
            raise CredentialRefused("invalid")
        return AccessClaims(user_id=str(claims["sub"]), session_id=str(claims["sid"]))


def _key(kid: str, text: str) -> bytes:
    try:
        key = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise Misconfigured(
            f"jwt_keys.{kid} is not base64; make one with: openssl rand -base64 32"
        ) from error
    if len(key) < 32:
        raise Misconfigured(
            f"jwt_keys.{kid} is shorter than 32 bytes; make one with: openssl rand -base64 32"
        )
    return key
