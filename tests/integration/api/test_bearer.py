"""Bearer tokens: the one kind that lets somebody in, and all those that do not, with no database anywhere near."""

import hashlib
import hmac
import json
import time
from base64 import urlsafe_b64encode
from uuid import UUID

import door
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from door import SECRET, TOKENS, WHO, bearer, claims, nowhere, signed

from worker.errors import InvalidSetting

__all__ = ["nowhere"]

MINE = UUID("8c049a20-3385-42da-b710-0d038eff5812")
KEYS = {bits: rsa.generate_private_key(65537, bits) for bits in (1024, 2048)}
OTHER = rsa.generate_private_key(65537, 2048)
SK = "sk_" + "Ab3dE6gH" + "x" * 43
RSA = {"JWT_ALGORITHM": "RS256", "JWT_SECRET": ""}


def public(key):
    """Return the public half of a key as PEM."""
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def private(key):
    """Return a key as PEM, whole."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def jwk(key, **named):
    """Return the public half of a key as a member of a JSON Web Key Set."""
    return {**jwt.get_algorithm_by_name("RS256").to_jwk(key.public_key(), as_dict=True), **named}


def part(value):
    """Encode one part of a token."""
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def handmade(header, said, secret):
    """Sign a token by hand, as nobody's library would."""
    body = f"{part(header)}.{part(said)}"
    return f"{body}.{part(hmac.digest(secret.encode(), body.encode(), hashlib.sha256))}"


def rs256(key=KEYS[2048], **header):
    """The header that shows a token of an RSA key."""
    return bearer(jwt.encode(claims(MINE), key, "RS256", headers=header))


def altered():
    """A good token whose claims were exchanged after it was signed."""
    head, _, signature = signed(MINE)["Authorization"].split(".")
    return {"Authorization": f"{head}.{part(claims(UUID(int=1)))}.{signature}"}


BAD = {
    "nothing": dict,
    "no token": lambda: {"Authorization": "Bearer"},
    "another scheme": lambda: {"Authorization": "Basic YTpi"},
    "garbage": lambda: bearer("a.b.c"),
    "two parts": lambda: {"Authorization": signed(MINE)["Authorization"].rpartition(".")[0]},
    "beyond ascii": lambda: bearer("caf\u00e9.caf\u00e9.caf\u00e9"),
    "an API key": lambda: bearer(SK),
    "expired": lambda: signed(MINE, exp=time.time() - 90),
    "not yet valid": lambda: signed(MINE, nbf=time.time() + 90),
    "issued in the future": lambda: signed(MINE, iat=time.time() + 90),
    "altered": altered,
    "wrong signature": lambda: bearer(jwt.encode(claims(MINE), SECRET + "x", "HS256")),
    "wrong issuer": lambda: signed(MINE, iss="https://elsewhere.example.com"),
    "wrong audience": lambda: signed(MINE, aud="others"),
    **{f"without {name}": lambda name=name: signed(MINE, **{name: None}) for name in claims(MINE)},
    "no organization's id": lambda: signed(MINE, organization_id="acme"),
    "a number for an organization": lambda: signed(MINE, organization_id=7),
    "many organizations": lambda: signed(MINE, organization_id=[str(MINE)]),
    "an endless expiry": lambda: signed(MINE, exp=float("inf")),
    "no expiry at all": lambda: signed(MINE, exp="soon"),
    "not an object": lambda: bearer(handmade({"alg": "HS256", "typ": "JWT"}, [1], SECRET)),
    "alg none": lambda: bearer(jwt.encode(claims(MINE), None, "none")),
    "no alg": lambda: bearer(handmade({"typ": "JWT"}, claims(MINE), SECRET)),
    "another algorithm": lambda: bearer(jwt.encode(claims(MINE), SECRET * 2, "HS384")),
    "another kind of algorithm": rs256,
    "a critical extension": lambda: bearer(handmade({"alg": "HS256", "crit": ["x"], "x": 1}, claims(MINE), SECRET)),
}


@pytest.fixture
def address(nowhere):
    """The HTTP side with tokens of HS256, and nothing behind it."""
    with door.opened() as client:
        yield client


@pytest.fixture
def client(address):
    """A client that shows nothing."""
    return address


def test_a_good_token_speaks_for_its_organization(client):
    """Whoever shows a token of the issuer asks for its organization, although no database is there to be asked."""
    answer = client.get(WHO, headers=signed(MINE))

    assert (200, {"organization": str(MINE), "caller": f"token:{MINE}"}) == (answer.status_code, answer.json()["data"])


@pytest.mark.parametrize(
    "changed",
    [{"exp": -30}, {"nbf": 30}, {"iat": 30}],
    ids=["just expired", "almost valid", "almost issued"],
)
def test_clocks_may_differ_by_a_minute(client, changed):
    """What is over for half a minute, or begins in half a minute, still counts."""
    times = {name: time.time() + seconds for name, seconds in changed.items()}

    assert 200 == client.get(WHO, headers=signed(MINE, **times)).status_code


def test_a_token_may_be_meant_for_others_too(client):
    """Of several audiences one must be ours."""
    assert 200 == client.get(WHO, headers=signed(MINE, aud=["others", TOKENS["JWT_AUDIENCE"]])).status_code


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_any_other_token_is_refused_alike(client, bad):
    """Whatever is wrong, the answer is the same one, and says nothing of the reason."""
    headers = {name: value.encode("latin-1") for name, value in bad().items()}
    answer = client.get(WHO, headers=headers)

    error = {"code": "UNAUTHORIZED", "message": "A valid API key or bearer token is required."}
    assert (401, error, "Bearer") == (answer.status_code, answer.json()["error"], answer.headers["WWW-Authenticate"])


@pytest.mark.parametrize("key", [SK[:-1], "", SK], ids=["malformed", "empty", "well-formed"])
def test_a_key_that_is_shown_decides_alone(client, key):
    """Beside a bad key a good token is of no help; an empty header is no key; a possible key must be looked up."""
    answer = client.get(WHO, headers={"X-API-Key": key, **signed(MINE)})

    assert {SK[:-1]: 401, "": 200, SK: 503}[key] == answer.status_code


def test_without_an_algorithm_no_token_is_good(nowhere, monkeypatch):
    """Where none is configured, even what the issuer signed is refused."""
    door.point(monkeypatch, **dict.fromkeys(TOKENS, ""))
    with door.opened() as client:
        assert 401 == client.get(WHO, headers=signed(MINE)).status_code


def test_the_claim_may_have_another_name(nowhere, monkeypatch):
    """An issuer that calls the organization something else is understood."""
    door.point(monkeypatch, JWT_ORGANIZATION_CLAIM="https://example.com/org")
    named = {"organization_id": None, "https://example.com/org": str(MINE)}
    with door.opened() as client:
        assert [200, 401] == [client.get(WHO, headers=one).status_code for one in (signed(MINE, **named), signed(MINE))]


@pytest.mark.parametrize("spelled", [str, lambda pem: pem.replace("\n", "\\n")], ids=["lines", "escaped"])
def test_a_public_key_checks_tokens(nowhere, monkeypatch, spelled):
    """Under RS256 its owner's tokens are good, and neither another's nor any that a public key could sign."""
    pem = public(KEYS[2048])
    door.point(monkeypatch, **RSA, JWT_PUBLIC_KEY=spelled(pem))
    confused = bearer(handmade({"alg": "HS256", "typ": "JWT"}, claims(MINE), pem))
    with door.opened() as client:
        told = [client.get(WHO, headers=one).status_code for one in (rs256(), rs256(OTHER), signed(MINE), confused)]

    assert [200, 401, 401, 401] == told


def test_a_set_of_keys_checks_tokens(nowhere, monkeypatch, tmp_path):
    """Each token is checked with the key it names, and with no other; one that names none of them is refused."""
    keys = [jwk(KEYS[2048], kid="old"), jwk(OTHER, kid="new", use="sig", alg="RS256")]
    keys += [{"kty": "EC", "kid": "ec"}, jwk(OTHER, kid="enc", use="enc"), jwk(OTHER, kid="512", alg="RS512")]
    (tmp_path / "keys.json").write_text(json.dumps({"keys": keys}))
    door.point(monkeypatch, **RSA, JWT_JWKS_FILE=str(tmp_path / "keys.json"))
    shown = [rs256(kid="old"), rs256(OTHER, kid="new"), rs256(kid="new"), rs256(kid="none"), rs256()]
    shown += [rs256(OTHER, kid="enc"), rs256(OTHER, kid="512"), signed(MINE)]
    shown += [bearer(handmade({"alg": "RS256", "kid": ["old"]}, claims(MINE), SECRET))]
    with door.opened() as client:
        told = [client.get(WHO, headers=one).status_code for one in shown]

    assert [200, 200, 401, 401, 401, 401, 401, 401, 401] == told


WEAK = {
    "a private key": private(KEYS[2048]),
    "a short key": public(KEYS[1024]),
    "another kind of key": public(ec.generate_private_key(ec.SECP256R1())),
    "garbage": "-----BEGIN PUBLIC KEY-----\nswordfish\n-----END PUBLIC KEY-----",
}


@pytest.mark.parametrize("pem", WEAK.values(), ids=WEAK.keys())
def test_a_key_that_cannot_be_trusted_is_refused_at_boot(nowhere, monkeypatch, pem):
    """Anything but an RSA public key of 2048 bits is one sentence that names the variable and repeats nothing."""
    door.point(monkeypatch, **RSA, JWT_PUBLIC_KEY=pem)

    with pytest.raises(InvalidSetting) as refusal:
        door.created()
    assert "JWT_PUBLIC_KEY: must be an RSA public key of 2048 bits or more, as PEM." == str(refusal.value)


def test_a_public_key_is_no_secret(nowhere, monkeypatch):
    """What anybody may read cannot sign tokens."""
    door.point(monkeypatch, JWT_SECRET=public(KEYS[2048]))

    with pytest.raises(InvalidSetting, match="JWT_SECRET: must be a secret of your own, not a public key"):
        door.created()


SETS = {
    "not JSON": "swordfish",
    "not a set": "[]",
    "empty": {"keys": []},
    "a key without a name": {"keys": [jwk(KEYS[2048])]},
    "a short key among them": {"keys": [jwk(KEYS[2048], kid="a"), jwk(KEYS[1024], kid="b")]},
    "a broken key": {"keys": [{"kty": "RSA", "kid": "a", "n": "!"}]},
    "no key of ours": {"keys": [{"kty": "oct", "kid": "a", "k": part(SECRET.encode())}]},
    "a private key": {"keys": [{**json.loads(jwt.get_algorithm_by_name("RS256").to_jwk(KEYS[2048])), "kid": "a"}]},
}


@pytest.mark.parametrize("held", SETS.values(), ids=SETS.keys())
def test_a_set_that_cannot_be_trusted_is_refused_at_boot(nowhere, monkeypatch, tmp_path, held):
    """Anything but a set of strong, named, public RSA keys is one sentence that names the variable."""
    (tmp_path / "keys.json").write_text(held if isinstance(held, str) else json.dumps(held))
    door.point(monkeypatch, **RSA, JWT_JWKS_FILE=str(tmp_path / "keys.json"))

    with pytest.raises(InvalidSetting) as refusal:
        door.created()
    assert str(refusal.value).startswith("JWT_JWKS_FILE: must be a JSON Web Key Set with RSA public keys")


def test_a_set_that_is_not_there_is_refused_at_boot(nowhere, monkeypatch, tmp_path):
    """A file that cannot be read is one sentence without its path."""
    door.point(monkeypatch, **RSA, JWT_JWKS_FILE=str(tmp_path / "keys.json"))

    with pytest.raises(InvalidSetting) as refusal:
        door.created()
    assert "JWT_JWKS_FILE: cannot be read (No such file or directory)." == str(refusal.value)
