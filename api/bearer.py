"""
Bearer tokens: JSON Web Tokens of one issuer, signed with exactly one algorithm, checked without any database.

What is wrong with the keys is refused at boot; what is wrong with a token is nobody's business: it is good, or it is
nothing.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeGuard
from uuid import UUID

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from worker.errors import InvalidSetting
from worker.settings import Settings

LEEWAY_SECONDS: Final = 60
LEAST_BITS: Final = 2048

Key = RSAPublicKey | bytes


class Tokens:
    """
    The tokens that one configured issuer signs.

    :raises InvalidSetting: when a key cannot be read, or is too weak
    """

    def __init__(self, current: Settings) -> None:
        self._algorithm = current.jwt_algorithm
        self._issuer = current.jwt_issuer
        self._audience = current.jwt_audience
        self._claim = current.jwt_organization_claim
        self._named = _key_set(Path(current.jwt_jwks_file)) if current.jwt_jwks_file else None
        self._only = None if self._named or not self._algorithm else _only_key(current)

    def organization(self, token: str) -> UUID | None:
        """Return the organization that a token speaks for; None for a token that is not good."""
        try:
            key = self._key(token)
            claims = None if key is None else self._claims(token, key)
            return UUID(claims[self._claim]) if claims else None
        except (jwt.PyJWTError, ValueError, TypeError, AttributeError):  # the last three: a claim that is no UUID
            return None

    def _key(self, token: str) -> Key | None:
        """Return the key that a token must be signed with; a token may name one of a set, and no other."""
        if self._named is None:
            return self._only
        return self._named.get(jwt.get_unverified_header(token).get("kid", ""))

    def _claims(self, token: str, key: Key) -> dict[str, Any]:
        """Check a token, and return what it says."""
        return jwt.decode(
            token,
            key,
            algorithms=[self._algorithm],
            issuer=self._issuer,
            audience=self._audience,
            leeway=LEEWAY_SECONDS,
            options={"require": ["exp", "iss", "aud", self._claim]},
        )


def _only_key(current: Settings) -> Key:
    """Read the one key there is: the secret of HS256, or the public key of RS256."""
    if current.jwt_algorithm == "HS256":
        try:
            secret: bytes = jwt.get_algorithm_by_name("HS256").prepare_key(current.jwt_secret.get_secret_value())
        except jwt.InvalidKeyError:
            raise InvalidSetting("JWT_SECRET: must be a secret of your own, not a public key.") from None
        return secret
    try:
        key = load_pem_public_key(current.jwt_public_key.replace("\\n", "\n").encode())
    except (ValueError, UnsupportedAlgorithm):
        key = None
    if not _is_strong(key):
        raise InvalidSetting(f"JWT_PUBLIC_KEY: must be an RSA public key of {LEAST_BITS} bits or more, as PEM.")
    return key


def _key_set(file: Path) -> Mapping[str, Key]:
    """Read the keys that a set holds for RS256, by their names; those for other uses are passed over."""
    try:
        every = json.loads(file.read_bytes())["keys"]
        meant = [one for one in every if one["kty"] == "RSA" and one.get("alg", "RS256") == "RS256"]
        keys = {one["kid"]: jwt.PyJWK(one, "RS256").key for one in meant if one.get("use", "sig") == "sig"}
    except OSError as error:
        raise InvalidSetting(f"JWT_JWKS_FILE: cannot be read ({error.strerror}).") from None
    except (ValueError, KeyError, TypeError, AttributeError, jwt.PyJWTError):
        keys = {}
    if not keys or not all(_is_strong(key) for key in keys.values()):
        raise InvalidSetting(
            f"JWT_JWKS_FILE: must be a JSON Web Key Set with RSA public keys of {LEAST_BITS} bits or more, each with a kid."
        )
    return keys


def _is_strong(key: object) -> TypeGuard[RSAPublicKey]:
    """Whether this is a public key that may be trusted."""
    return isinstance(key, RSAPublicKey) and key.key_size >= LEAST_BITS
