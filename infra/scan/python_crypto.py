"""Weak cryptography in Python where Bandit does not look: hashes of passwords, ciphers, nonces, salts, keys."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit
from infra.scan.python_constants import members, number, switch
from infra.scan.python_flow import Flow
from infra.scan.python_tokens import destinations
from infra.scan.secret_words import secrecy, words

MAX_DEPTH = 8
_NODES: tuple[type[ast.AST], ...] = (ast.Call, ast.Constant)
_FAST_HASHES = {
    "md5", "sha1", "sha224", "sha256", "sha384", "sha512", "sha3_256", "sha3_512", "blake2b", "blake2s",
}  # fmt: skip
_WEAK_HASHES = {"md5", "sha1", "md4", "md2"}
_WEAK_CIPHERS = {
    "DES", "DES3", "ARC2", "ARC4", "Blowfish", "TripleDES", "IDEA", "CAST", "CAST5", "SEED", "XOR",
}  # fmt: skip
_IV_MODES = {"CBC", "CTR", "CFB", "OFB", "GCM", "CFB8", "XTS"}
_AEAD = {"AESGCM", "AESCCM", "AESOCB3", "AESSIV", "AESGCMSIV", "ChaCha20Poly1305", "SecretBox"}
_WEAK_PASSWORD_HASHES = {
    "md5_crypt", "des_crypt", "sha1_crypt", "bsdi_crypt", "apr_md5_crypt", "ldap_md5", "ldap_sha1", "hex_md5",
    "hex_sha1", "hex_sha256", "mysql323", "lmhash", "nthash", "plaintext", "ldap_plaintext", "bigcrypt", "crypt16",
    "ldap_salted_md5", "ldap_salted_sha1", "django_salted_md5", "django_salted_sha1",
}  # fmt: skip
_DJANGO_HASHER = re.compile(r"\.(?:(?:Unsalted)?(?:MD5|SHA1)|Crypt)PasswordHasher$")
_WEAK_CURVES = {"SECP192R1", "SECT163K1", "SECT163R2", "SECT233K1", "SECT233R1", "SECP160R1"}
# Function -> (position of the salt, position of the rounds, fewest rounds).
_DERIVATIONS = {
    "pbkdf2_hmac": (2, 3, 100_000), "PBKDF2HMAC": (2, 3, 100_000), "PBKDF2": (1, 3, 100_000),
    "scrypt": (1, 9, 2**13), "Scrypt": (0, 9, 2**13), "gensalt": (9, 0, 10), "hashpw": (1, 9, 0),
    "kdf": (1, 9, 0), "hash_secret": (1, 9, 0),
}  # fmt: skip
_DERIVERS = ("hashlib", "cryptography", "Crypto", "Cryptodome", "bcrypt", "argon2")


def find(flow: Flow) -> Iterator[Hit]:
    """Yield the weak cryptography of one module."""
    for node in flow.each(*_NODES):
        if isinstance(node, ast.Call):
            qualified = flow.qualified(node.func)
            name = qualified.rsplit(".", 1)[-1]
            yield from _password_digest(flow, node, name)
            for rule in (
                *_hash(flow, node, qualified, name),
                *_password_scheme(flow, node, qualified, name),
                *_derivation(flow, node, qualified, name),
                *_cipher(flow, node, qualified, name),
                *_key(flow, node, qualified, name),
            ):
                yield Hit(RULES[rule], node.lineno, node.col_offset + 1)
        elif isinstance(node, ast.Constant) and _DJANGO_HASHER.search(str(node.value)):
            yield Hit(RULES["crypto-password-hash"], node.lineno, node.col_offset + 1)


def _hash(flow: Flow, call: ast.Call, qualified: str, name: str) -> Iterator[str]:
    if name == "new" and qualified.startswith("hashlib") and call.args:
        name = _word(flow, call.args[0])
    if qualified in {"hmac.new", "hmac.HMAC", "hmac.digest"}:
        chosen = flow.keyword(call, "digestmod", "digest") or (call.args[2] if len(call.args) > 2 else None)
        if chosen is not None and _word(flow, chosen) in {"md5", "md4"}:
            yield "crypto-weak-hash"
    if not qualified.startswith(("hashlib", "Crypto.Hash", "Cryptodome.Hash")):
        return
    if qualified.startswith("Crypto") and name == "new":
        name = qualified.rsplit(".", 2)[-2].lower()
    relaxed = switch(flow, flow.keyword(call, "usedforsecurity"))
    if name in _FAST_HASHES and call.args and _hashes_password(flow, call):
        yield "crypto-password-hash"
    elif name in _WEAK_HASHES and relaxed is not False:
        yield "crypto-weak-hash"


def _password_scheme(flow: Flow, call: ast.Call, qualified: str, name: str) -> Iterator[str]:
    """Check the schemes of libraries made for passwords: passlib, crypt, werkzeug."""
    if name == "CryptContext":
        schemes = [_word(flow, scheme) for scheme in members(flow, flow.keyword(call, "schemes"))]
        weak = any(scheme.replace("-", "_") in _WEAK_PASSWORD_HASHES for scheme in schemes)
    elif name == "generate_password_hash":
        method = _word(flow, flow.keyword(call, "method") or (call.args[1] if len(call.args) > 1 else None))
        weak = method in {"plain", "md5", "sha1", "sha256", "sha512"} or method.startswith(
            ("pbkdf2:sha1", "pbkdf2:md5")
        )
    else:
        passlib = qualified.startswith("passlib") and bool(_WEAK_PASSWORD_HASHES & set(qualified.split(".")))
        weak = passlib or qualified == "crypt.crypt"
    if weak:
        yield "crypto-password-hash"


def _word(flow: Flow, expr: ast.expr | None) -> str:
    """Return the algorithm an expression names, in small letters: ``"MD5"``, ``hashlib.md5``, ``hashes.MD5()``."""
    held = flow.resolve(expr)
    if isinstance(held, ast.Call):
        held = held.func
    if isinstance(held, ast.Constant):
        return str(held.value).lower().replace("sha-", "sha")
    return flow.qualified(held).rsplit(".", 1)[-1].lower() if held is not None else ""


def _password_digest(flow: Flow, call: ast.Call, name: str) -> Iterator[Hit]:
    """Check ``digest = hashlib.new(…)``, ``digest.update(password)``; a weak hash is one finding, where made."""
    if name != "update" or not isinstance(call.func, ast.Attribute):
        return
    made = flow.resolve(call.func.value)
    if not isinstance(made, ast.Call) or not any(_names_password(part) for part in call.args):
        return
    qualified = flow.qualified(made.func)
    if qualified.startswith("hashlib."):
        weak = any(True for _ in _hash(flow, made, qualified, qualified.rsplit(".", 1)[-1]))
        where = made if weak else call
        yield Hit(RULES["crypto-password-hash"], where.lineno, where.col_offset + 1)


def _hashes_password(flow: Flow, call: ast.Call) -> bool:
    """Return whether a hash is made of a password, or for one: by what goes in and by where it ends."""
    if any(_names_password(argument) for argument in call.args):
        return True
    return any(_is_hash_of_password(words(name)) for name in destinations(flow, call))


def _is_hash_of_password(name: list[str]) -> bool:
    hashed = {"hash", "hashed", "digest", "encrypt", "encode", "set", "make", "check", "verify"}
    return bool({"password", "passwd", "pwd"} & set(name)) and bool(hashed & set(name))


def _names_password(expr: ast.expr) -> bool:
    """Return whether an expression is made of a password, by the names and keys in it."""
    names = [
        node.id if isinstance(node, ast.Name) else node.attr
        for node in ast.walk(expr)
        if isinstance(node, (ast.Name, ast.Attribute))
    ]
    names += [
        node.slice.value
        for node in ast.walk(expr)
        if isinstance(node, ast.Subscript)
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    ]
    return any(secrecy(name) == "password" for name in names)


def _derivation(flow: Flow, call: ast.Call, qualified: str, name: str) -> Iterator[str]:
    if name not in _DERIVATIONS or not qualified.startswith(_DERIVERS):
        return
    salt_at, rounds_at, fewest = _DERIVATIONS[name]
    rounds = flow.keyword(call, "iterations", "rounds", "count", "n") or (
        call.args[rounds_at] if len(call.args) > rounds_at else None
    )
    given = number(flow, rounds)
    if given is not None and given < fewest:
        yield "crypto-iterations"
    salt = flow.keyword(call, "salt") or (call.args[salt_at] if len(call.args) > salt_at else None)
    if salt is not None and _constant_bytes(flow, salt):
        yield "crypto-fixed-salt"


def _cipher(flow: Flow, call: ast.Call, qualified: str, name: str) -> Iterator[str]:
    pycrypto = qualified.startswith(("Crypto.Cipher", "Cryptodome.Cipher"))
    pyca = qualified.startswith("cryptography.hazmat") and (
        ".ciphers." in qualified or ".decrepit." in qualified
    )
    owner = qualified.rsplit(".", 2)[-2] if qualified.count(".") else ""
    if (pycrypto and name == "new" and owner in _WEAK_CIPHERS) or (pyca and name in _WEAK_CIPHERS):
        yield "crypto-weak-cipher"
    if pyca and name == "ECB":
        yield "crypto-ecb"
    if pyca and name in _IV_MODES and call.args and _constant_bytes(flow, call.args[0]):
        yield "crypto-fixed-iv"
    if name == "encrypt" and isinstance(call.func, ast.Attribute):
        box = flow.resolve(call.func.value)
        made_by = flow.qualified(box.func).rsplit(".", 1)[-1] if isinstance(box, ast.Call) else ""
        place = 1 if made_by == "SecretBox" else 0
        nonce = flow.keyword(call, "nonce") or (call.args[place] if len(call.args) > place else None)
        if made_by in _AEAD and nonce is not None and _constant_bytes(flow, nonce):
            yield "crypto-fixed-iv"
    if pycrypto and name == "new":
        mode = flow.resolve(call.args[1] if len(call.args) > 1 else flow.keyword(call, "mode"))
        if isinstance(mode, ast.Attribute) and mode.attr == "MODE_ECB":
            yield "crypto-ecb"
        vector = flow.keyword(call, "iv", "IV", "nonce", "initial_value") or (
            call.args[2] if len(call.args) > 2 else None
        )
        if vector is not None and _constant_bytes(flow, vector):
            yield "crypto-fixed-iv"


def _constant_bytes(flow: Flow, expr: ast.expr, depth: int = 0) -> bool:
    """Return whether an expression is a literal (or a name bound to one), whatever is done with it."""
    if isinstance(expr, ast.Constant):
        return isinstance(expr.value, (bytes, str, int))
    parts: list[ast.expr | None] = []
    if isinstance(expr, (ast.Name, ast.Attribute)):
        bindings = flow.reaching(expr) if isinstance(expr, ast.Name) else flow.class_attribute(expr)
        parts = [row.expr for row in bindings or []]
    elif isinstance(expr, ast.BinOp):
        parts = [expr.left, expr.right]
    elif isinstance(expr, ast.Call):
        if isinstance(expr.func, ast.Attribute) and expr.func.attr == "encode":
            parts = [expr.func.value]
        elif flow.qualified(expr.func) in {"bytes", "bytearray", "bytes.fromhex", "binascii.unhexlify"}:
            parts = [*expr.args]
    return (
        depth < MAX_DEPTH
        and bool(parts)
        and all(part is not None and _constant_bytes(flow, part, depth + 1) for part in parts)
    )


def _key(flow: Flow, call: ast.Call, qualified: str, name: str) -> Iterator[str]:
    """Check the size of asymmetric keys where it reaches the call through a name (Bandit reads literals)."""
    owner = qualified.rsplit(".", 2)[-2].lower() if qualified.count(".") else ""
    if name in {"generate_private_key", "generate", "newkeys"} and owner in {
        "rsa",
        "dsa",
        "rsakey",
        "dsskey",
    }:
        place = 1 if name == "generate_private_key" and owner == "rsa" else 0
        given = flow.keyword(call, "key_size", "bits", "nbits") or (
            call.args[place] if len(call.args) > place else None
        )
        bits = number(flow, given)
        if bits is not None and bits < 2048:
            yield "crypto-short-key"
    if name == "generate_private_key" and owner == "ec":
        curve = flow.resolve(flow.keyword(call, "curve") or (call.args[0] if call.args else None))
        if isinstance(curve, ast.Call) and flow.qualified(curve.func).rsplit(".", 1)[-1] in _WEAK_CURVES:
            yield "crypto-short-key"
