"""The operators' edge over a house: its tokens, what it may act on, how it takes a new configuration."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from app.admin.access import Access, Token
from app.admin.parts import AdminParts
from app.admin.wishes import Wishes
from app.core.errors import InvalidRequest
from app.settings import ConfigError, diff, masked

if TYPE_CHECKING:
    from app.wiring.house import House


def operate(house: House) -> AdminParts:
    """Call it before the house starts: operators' wishes of before the start are heard then."""
    storage = house.storage
    return AdminParts(
        access=Access(partial(_tokens, house), house.clock),
        tenants=storage.tenants,
        keys=storage.stored_keys,
        reports=storage.reports,
        reconciliation=storage.reconciliation,
        audit=storage.audit,
        fleet=house.fleet,
        wishes=Wishes(storage.intents, storage.changes, house.fleet, house.clock),
        inflight=house.hearing.inflight,
        explain=house.hearing.explain,
        rehearse=house.rehearsal,
        cut=house.cut,
        reload=partial(_reload, house),
        config=lambda: masked(house.settings),
        clock=house.clock,
    )


def _tokens(house: House) -> list[Token]:
    return [
        Token.of(each.name, each.role, each.token.get_secret_value()) for each in house.settings.admin_tokens
    ]


async def _reload(house: House) -> list[str]:
    former = house.settings
    try:
        if house.colleagues is None:
            house.reload()
        else:
            await house.colleagues.reload()
    except ConfigError as error:
        raise InvalidRequest(str(error), param=error.problems[0].path) from error
    except ValueError as error:
        raise InvalidRequest(str(error)) from error
    return [change.path for change in diff(former, house.settings)]
