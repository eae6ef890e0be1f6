"""Every statement that the portal runs, compiled once for a database."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import (
    BigInteger,
    BindParameter,
    Column,
    ColumnElement,
    Dialect,
    LargeBinary,
    Select,
    String,
    Table,
    Text,
    bindparam,
    cast,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.dialects import postgresql, sqlite

from portal_server.domain.model import Comparison, Condition
from portal_server.storage.statements import Statement
from portal_server.storage.tables import (
    AnswerRow,
    ApiKeyRow,
    ClientTypeRow,
    ProviderRow,
    Words,
)

_provider: Table = ProviderRow.__table__  # type: ignore[attr-defined]
_client_type: Table = ClientTypeRow.__table__  # type: ignore[attr-defined]
_answer: Table = AnswerRow.__table__  # type: ignore[attr-defined]
_api_key: Table = ApiKeyRow.__table__  # type: ignore[attr-defined]


def _id(name: str) -> BindParameter[int]:
    # As a column's own type PostgreSQL would refuse a number that is too big for
    # it, instead of finding no row.
    return bindparam(name, type_=BigInteger)


# Bind parameters must not have the name of a column that the statement sets.
_this_provider = _provider.c.id == _id("which")
_its_client_types = _client_type.c.provider_id == _id("of_provider")
_this_client_type = (_client_type.c.id == _id("which")) & _its_client_types
_this_key = _api_key.c.key_id == bindparam("which", type_=String)
_this_answer = _answer.c.digest == bindparam("which", type_=LargeBinary)
_LIMIT, _OFFSET = bindparam("limit", type_=BigInteger), bindparam("offset", type_=BigInteger)


class Queries:
    """The statements of one database, by what they do."""

    def __init__(self, dialect: Dialect) -> None:
        """Compile them."""

        def compiled(clause: Any, *sets: str) -> Statement:
            return Statement(clause, dialect, *sets)

        def locked(query: Select[Any]) -> dict[str | None, Statement]:
            # SQLite needs no row locks and writes none: its writers take turns.
            return {
                None: compiled(query),
                "shared": compiled(query.with_for_update(read=True)),
                "exclusive": compiled(query.with_for_update()),
            }

        def inserted(table: Table) -> Statement:
            clause = insert(table).returning(table.c.id)
            return compiled(clause, *(c.name for c in table.c if c.name != "id"))

        def written(table: Table, where: ColumnElement[bool]) -> Statement:
            fixed = ("id", "uid", "provider_id", "create_time")
            return compiled(
                update(table).where(where), *(c.name for c in table.c if c.name not in fixed)
            )

        self._dialect = dialect
        self.add_provider = inserted(_provider)
        self.find_provider = locked(select(_provider).where(_this_provider))
        self.update_provider = written(_provider, _this_provider)
        self.remove_provider = compiled(delete(_provider).where(_this_provider))

        self.add_client_type = inserted(_client_type)
        self.find_client_type = locked(select(_client_type).where(_this_client_type))
        self.all_client_types = compiled(
            select(_client_type).where(_its_client_types).order_by(_client_type.c.id)
        )
        self.without_app_type = compiled(
            select(_client_type.c.id)
            .where(_its_client_types, _client_type.c.okta_app_type.is_(None))
            .order_by(_client_type.c.id)
            .limit(_LIMIT)
        )
        self.update_client_type = written(_client_type, _client_type.c.id == _id("which"))
        self.remove_client_type = compiled(delete(_client_type).where(_this_client_type))

        add_answer = {
            "sqlite": sqlite.insert(_answer).on_conflict_do_nothing(),
            "postgresql": postgresql.insert(_answer).on_conflict_do_nothing(),
        }[dialect.name]
        self.add_answer = compiled(add_answer, *(c.name for c in _answer.c if c.name != "id"))
        self.find_answer = compiled(
            select(
                _answer.c.digest, _answer.c.fingerprint, _answer.c.answer, _answer.c.create_time
            ).where(_this_answer)
        )
        self.remove_answer = compiled(delete(_answer).where(_this_answer))
        # By id, which is by time: no index on the time slows the writes.
        first = select(_answer.c.id, _answer.c.create_time).order_by(_answer.c.id).limit(_LIMIT)
        oldest = first.subquery()
        old = oldest.c.create_time < bindparam("before", type_=_answer.c.create_time.type)
        self.remove_old_answers = compiled(
            delete(_answer).where(_answer.c.id.in_(select(oldest.c.id).where(old)))
        )

        self.add_key = compiled(insert(_api_key), *(c.name for c in _api_key.c))
        self.find_key = compiled(select(_api_key).where(_this_key))
        self.lock_keys = {
            "sqlite": None,
            "postgresql": compiled(text("LOCK TABLE api_key IN SHARE ROW EXCLUSIVE MODE")),
        }[dialect.name]
        self.list_keys = compiled(
            select(_api_key).order_by(_api_key.c.create_time, _api_key.c.key_id)
        )
        self.revoke_key = compiled(
            update(_api_key).where(_this_key, _api_key.c.revoke_time.is_(None)), "revoke_time"
        )
        self._list = lru_cache(256)(self._compile_list)

    def list_providers(self, where: Sequence[Condition]) -> Statement:
        """Providers that meet conditions of this kind; takes `values_of(where)`."""
        return self._list(_provider, _shape(where))

    def list_client_types(self, where: Sequence[Condition]) -> Statement:
        """A provider's client types that meet conditions of this kind."""
        return self._list(_client_type, _shape(where))

    def _compile_list(
        self, table: Table, shape: tuple[tuple[str, Comparison, bool], ...]
    ) -> Statement:
        query = select(table).where(table.c.id > _id("after")).order_by(table.c.id)
        if table is _client_type:
            query = query.where(_its_client_types)
        for number, (field, comparison, unset) in enumerate(shape):
            query = query.where(_meets(table.c[field], comparison, f"v{number}", unset=unset))
        return Statement(query.limit(_LIMIT).offset(_OFFSET), self._dialect)


def values_of(where: Sequence[Condition]) -> dict[str, Any]:
    """What the statement of a list takes for its conditions."""
    return {
        f"v{number}": condition.value
        for number, condition in enumerate(where)
        if condition.value is not None
    }


def _shape(where: Sequence[Condition]) -> tuple[tuple[str, Comparison, bool], ...]:
    return tuple((c.field, c.comparison, c.value is None) for c in where)


def _meets(
    column: Column[Any], comparison: Comparison, name: str, *, unset: bool
) -> ColumnElement[bool]:
    value = None if unset else bindparam(name, type_=String)
    match comparison:
        case Comparison.EQUALS:
            # Not `=`: an unset column is a value here, as in the filter language.
            return column.is_not_distinct_from(value)
        case Comparison.DIFFERS:
            return column.is_distinct_from(value)
        case Comparison.HAS if isinstance(column.type, Words):
            # A word with its quotes is nowhere in the JSON but as an element.
            text = cast(column, Text)
            return (
                func.replace(text, literal('"') + bindparam(name, type_=String) + '"', "") != text
            )
        case Comparison.HAS:
            # LIKE ignores case in SQLite and keeps it in PostgreSQL; this keeps it in both.
            return (func.replace(column, value, "") != column) | (value == literal(""))
