"""OpenID Connect: verifying identity tokens against the provider's published keys."""

from __future__ import annotations

import hashlib

import jwt

from farwatch.domain.webhooks import address_fault
from farwatch.errors import Conflict, Misconfigured, Unauthenticated, Unavailable
from farwatch.ports.proofs import Identity

# Asymmetric only: with a symmetric algorithm in the list, the provider's public key could be used as a secret.
ALGORITHMS = ["RS256", "ES256", "EdDSA"]
CLOCK_SKEW_S = 30
_MAX_LENGTH = 16_384


class OidcProvider:
    """Implements ``farwatch.ports.proofs.IdentityProvider`` for one issuer; an empty ``issuer`` means none.

    ``groups_claim`` names the claim that holds a person's groups, a string or a list. Raises Misconfigured for keys or
    an issuer over plain HTTP, except on this machine: whoever sits between could hand out keys of their own.
    """

    def __init__(self, issuer: str, client_id: str, jwks_url: str, groups_claim: str = "groups") -> None:
        for name, url in (("OIDC_ISSUER", issuer), ("OIDC_JWKS_URL", jwks_url)):
            fault = address_fault(url) if url else ""
            if fault:
                raise Misconfigured(f"{name} {fault}, for example https://id.example.org")
        self._issuer = issuer
        self._client_id = client_id
        self._groups_claim = groups_claim
        self._keys = (
            jwt.PyJWKClient(jwks_url, cache_jwk_set=True, lifespan=600, timeout=5)
            if issuer and jwks_url
            else None
        )

    def verify(self, id_token: str, now: int) -> Identity:
        """Return whom the token vouches for; see the port for what is raised."""
        if self._keys is None or not self._client_id:
            raise Conflict("single sign-on is not configured here", code="sso_not_configured")
        try:
            if (
                len(id_token) > _MAX_LENGTH
                or jwt.get_unverified_header(id_token).get("alg") not in ALGORITHMS
            ):
                raise _refused()
            key = self._keys.get_signing_key_from_jwt(id_token)
            claims = jwt.decode(
                id_token,
                key,
                algorithms=ALGORITHMS,
                audience=self._client_id,
                issuer=self._issuer,
                options={
                    "require": ["iss", "aud", "sub", "iat", "exp"],
                    "verify_exp": False,
                    "verify_nbf": False,
                    "verify_iat": False,
                },
            )
            exp, iat = int(claims["exp"]), int(claims["iat"])
        except jwt.PyJWKClientConnectionError as error:
            raise Unavailable("identity provider", "its keys cannot be fetched") from error
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            raise _refused() from error
        at = now / 1000
        if (
            not iat - CLOCK_SKEW_S <= at < exp + CLOCK_SKEW_S
            or claims.get("azp", self._client_id) != self._client_id
        ):
            raise _refused()
        email = claims.get("email")
        if not isinstance(email, str) or claims.get("email_verified") is not True:
            raise Unauthenticated(
                "the identity provider has not verified an e-mail address", code="sso_refused"
            )
        groups = claims.get(self._groups_claim, [])
        return Identity(
            issuer=self._issuer,
            subject=str(claims["sub"]),
            email=email.strip().lower(),
            name=str(claims.get("name") or email)[:200],
            groups=tuple(str(g) for g in ([groups] if isinstance(groups, str) else groups)),
            token_id=_token_id(id_token),
            expires_at=(exp + CLOCK_SKEW_S) * 1000,
        )


def _token_id(id_token: str) -> str:
    """Return the SHA-256 of what was signed. One signature can be written in several ways, what it covers cannot."""
    return hashlib.sha256(id_token.rpartition(".")[0].encode()).hexdigest()


def _refused() -> Unauthenticated:
    return Unauthenticated("the identity token was not accepted", code="sso_refused")
