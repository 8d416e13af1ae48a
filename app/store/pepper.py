"""Secrets at rest: HMAC(pepper, SHA-256(secret)), so that a stolen database opens nothing."""

from __future__ import annotations

import hashlib
import hmac
import os
import secrets
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select
from sqlalchemy.exc import IntegrityError

from app.store.refusal import StoreRefusal
from app.store.tables import meta

if TYPE_CHECKING:
    from pathlib import Path

    from app.store.database import Database

_NAME = "secret_fingerprint"


class Pepper:
    """The key of the HMAC; while it is being rotated, the previous one opens too."""

    def __init__(self, secret: str, previous: str | None = None) -> None:
        self._secret = secret.encode()
        self._previous = previous.encode() if previous else None

    def digest(self, sha256: bytes) -> str:
        """What is stored of a secret, given the SHA-256 of it."""
        return hmac.digest(self._secret, sha256, "sha256").hex()

    def previous_digest(self, sha256: bytes) -> str | None:
        """What was stored of it under the previous pepper."""
        return None if self._previous is None else hmac.digest(self._previous, sha256, "sha256").hex()

    @property
    def fingerprint(self) -> str:
        return _fingerprint(self._secret)

    @property
    def previous_fingerprint(self) -> str | None:
        return None if self._previous is None else _fingerprint(self._previous)


def sha256(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


async def unlock(database: Database, secret: str | None = None, previous: str | None = None) -> Pepper:
    """The pepper of this database: `secret`, else the file beside it, else a new file (0600).

    Raises StoreRefusal when it is not the one its keys were stored with, or cannot be had.
    """
    async with database.read() as connection:
        known = await connection.scalar(select(meta.c.value).where(meta.c.name == _NAME))
    file = database.location.secret_path
    if secret is None and file is None:
        raise StoreRefusal("SLUICE_SECRET must be set where the database is PostgreSQL.")
    if secret is None and file is not None:
        secret = _read(file) or (_generate(file) if known is None else None)
        if secret is None:
            raise StoreRefusal(
                f"The secret of this database is missing: restore {file} or set SLUICE_SECRET."
            )
    pepper = Pepper(secret or "", previous)
    if known is not None and known not in (pepper.fingerprint, pepper.previous_fingerprint):
        raise StoreRefusal(
            "SLUICE_SECRET (or the secret file) is not the one this database's keys were stored with;"
            " to change it, set the old one as SLUICE_SECRET_PREVIOUS."
        )
    if known != pepper.fingerprint:
        try:
            await _remember(database, pepper, known)
        except IntegrityError:  # another gateway that starts at this moment was first
            return await unlock(database, secret, previous)
    return pepper


async def _remember(database: Database, pepper: Pepper, known: str | None) -> None:
    """In place of what was known, and of nothing else: IntegrityError where that has changed meanwhile."""
    async with database.write() as connection:
        await connection.execute(delete(meta).where(meta.c.name == _NAME, meta.c.value == known))
        await connection.execute(insert(meta).values(name=_NAME, value=pepper.fingerprint))


def _fingerprint(secret: bytes) -> str:
    return hmac.digest(secret, b"sluice: which secret is this", "sha256").hex()[:32]


def _read(file: Path) -> str | None:
    try:
        return file.read_text(encoding="ascii").strip() or None
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreRefusal(f"The secret file {file} cannot be read: {error}.") from error


def _generate(file: Path) -> str:
    """Complete or not there at all, also when two processes start at once."""
    draft = file.with_name(f"{file.name}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as stream:
        stream.write(f"{secrets.token_urlsafe(32)}\n")
    try:
        os.link(draft, file)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
    return _read(file) or ""
