"""Where a database is: `sqlite:///file`, `sqlite:////absolute/file` or `postgresql://…`."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote, urlsplit

from app.store.refusal import StoreRefusal

_POSTGRESQL = ("postgresql", "postgres", "postgresql+asyncpg")


class Location:
    """Prints without the password."""

    def __init__(self, url: str) -> None:
        scheme, _, rest = url.partition("://")
        self.path: Path | None = None
        self.dsn = ""
        if scheme in ("sqlite", "sqlite+aiosqlite") and len(rest) > 1 and rest.startswith("/"):
            self.dialect = "sqlite"
            self.path = Path(rest[1:]).absolute()
        elif scheme in _POSTGRESQL and rest:
            self.dialect = "postgresql"
            self.dsn = f"postgresql://{rest}"
        else:
            raise StoreRefusal(
                "SLUICE_DATABASE_URL must be sqlite:///file.db, sqlite:////absolute/file.db"
                " or postgresql://user@host/database."
            )

    @property
    def file_uri(self) -> str:
        """The SQLite file as SQLite's own URI."""
        return f"file:{quote(str(self.path))}"

    @property
    def secret_path(self) -> Path | None:
        """The file that holds the generated secret, beside the SQLite file; None on PostgreSQL."""
        return self.path.with_suffix(".secret") if self.path is not None else None

    def __str__(self) -> str:
        if self.path is not None:
            return f"sqlite:///{self.path}"
        parts = urlsplit(self.dsn)
        user, _, host = parts.netloc.rpartition("@")
        masked = f"{user.partition(':')[0]}{':***' if ':' in user else ''}@{host}" if user else host
        return f"postgresql://{masked}{parts.path}"
