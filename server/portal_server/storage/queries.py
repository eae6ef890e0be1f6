"""Every statement that the portal runs, compiled once for a database."""

from collections.abc import Sequence
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
    column,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    tuple_,
    update,
)
from sqlalchemy import table as sql_table
from sqlalchemy.dialects import postgresql, sqlite

from portal_server.domain.lists import Condition
from portal_server.storage.lists import FilteredList
from portal_server.storage.sql.statements import InsertRows, Statement
from portal_server.storage.tables import (
    AnswerRow,
    ApiKeyRow,
    ClientTypeRow,
    ProviderRow,
)

PROVIDER: Table = ProviderRow.__table__  # type: ignore[attr-defined]
CLIENT_TYPE: Table = ClientTypeRow.__table__  # type: ignore[attr-defined]
_answer: Table = AnswerRow.__table__  # type: ignore[attr-defined]
_api_key: Table = ApiKeyRow.__table__  # type: ignore[attr-defined]


def _id(name: str) -> BindParameter[int]:
    # As a column's own type PostgreSQL would refuse a number that is too big for
    # it, instead of finding no row.
    return bindparam(name, type_=BigInteger)


# Where SQLite keeps the last id of a table that never uses one again.
_SEQUENCE = sql_table("sqlite_sequence", column("name", String), column("seq", BigInteger))

# Bind parameters must not have the name of a column that the statement sets.
_this_provider = PROVIDER.c.id == _id("which")
_its_client_types = CLIENT_TYPE.c.provider_id == _id("of_provider")
_this_client_type = (CLIENT_TYPE.c.id == _id("which")) & _its_client_types
_this_key = _api_key.c.key_id == bindparam("which", type_=String)
_this_answer = _answer.c.digest == bindparam("which", type_=LargeBinary)
_LIMIT, _OFFSET = bindparam("limit", type_=BigInteger), bindparam("offset", type_=BigInteger)


def _after_in_provider(query: Select[Any], dialect: Dialect) -> Select[Any]:
    """A provider's client types after one of them, by the index on provider and id."""
    provider_id, id_ = CLIENT_TYPE.c.provider_id, CLIENT_TYPE.c.id
    if dialect.name == "sqlite":
        return query.where(_its_client_types, id_ > _id("after")).order_by(id_)
    # Were it said outright that the provider is one and the same, PostgreSQL might
    # take the order of the ids alone, and pass over the rows of all the others.
    place, this = (provider_id, id_), _id("of_provider")
    after = tuple_(*place) > tuple_(this, _id("after"))
    return query.where(after, provider_id <= this).order_by(*place)


def _next_ids(table: Table, dialect: Dialect) -> Select[Any]:
    """So many ids (`count`) that no row has had, in a transaction that writes."""
    number = select(literal(1).label("n")).cte("number", recursive=True)
    number = number.union_all(select(number.c.n + 1).where(number.c.n < bindparam("count")))
    if dialect.name == "postgresql":
        # Gives each value once, whoever asks.
        sequence = func.nextval(f"{table.name}_id_seq")
        return select(sequence.label("id")).select_from(number)
    # Nobody else writes meanwhile; the rows that get these ids move it on.
    last = select(func.coalesce(func.max(_SEQUENCE.c.seq), 0))
    last = last.where(_SEQUENCE.c.name == table.name)
    return select((last.scalar_subquery() + number.c.n).label("id"))


def _measure(dialect: Dialect) -> Select[*tuple[Any, ...]]:
    """How many client types a provider has, up to `limit`, and the bytes of their texts."""

    def size(text: Column[Any]) -> ColumnElement[int]:
        # SQLite's octet_length came with 3.43.
        if dialect.name == "sqlite":
            return func.length(cast(text, LargeBinary))
        return func.octet_length(text)

    sizes = size(CLIENT_TYPE.c.name) + size(CLIENT_TYPE.c.description)
    some = select(sizes.label("size")).where(_its_client_types).limit(_LIMIT).subquery()
    return select(
        func.count().label("rows"),
        cast(func.coalesce(func.sum(some.c.size), 0), BigInteger).label("size"),
    ).select_from(some)


def _kept_bytes() -> Select[Any]:
    """How much is kept for each key and minute since a time."""
    # Both databases write a time in UTC as YYYY-MM-DD HH:MM:SS, and go on from there.
    minute = func.substr(cast(_answer.c.create_time, Text), text("1"), text("16"))
    since = _answer.c.create_time >= bindparam("since", type_=_answer.c.create_time.type)
    return (
        select(
            _answer.c.key_id,
            minute.label("minute"),
            func.count().label("rows"),
            cast(func.sum(func.length(_answer.c.answer)), BigInteger).label("size"),
        )
        .where(_answer.c.key_id.is_not(None), since)
        .group_by(_answer.c.key_id, minute)
    )


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
        self.insert = {table: inserted(table) for table in (PROVIDER, CLIENT_TYPE)}
        self.insert_rows = {table: InsertRows(table, dialect) for table in self.insert}
        self.reserve_ids = {table: compiled(_next_ids(table, dialect)) for table in self.insert}
        self.find_provider = locked(select(PROVIDER).where(_this_provider))
        self.update_provider = written(PROVIDER, _this_provider)
        self.remove_provider = compiled(delete(PROVIDER).where(_this_provider))

        self.find_client_type = locked(select(CLIENT_TYPE).where(_this_client_type))
        self.all_client_types = compiled(
            select(CLIENT_TYPE).where(_its_client_types).order_by(CLIENT_TYPE.c.id).limit(_LIMIT)
        )
        self.measure = compiled(_measure(dialect))
        self.without_app_type = compiled(
            _after_in_provider(select(CLIENT_TYPE.c.id), dialect)
            .where(CLIENT_TYPE.c.okta_app_type.is_(None))
            .limit(_LIMIT)
        )
        self.update_client_type = written(CLIENT_TYPE, CLIENT_TYPE.c.id == _id("which"))
        self.remove_client_type = compiled(delete(CLIENT_TYPE).where(_this_client_type))

        add_answer = {
            "sqlite": sqlite.insert(_answer).on_conflict_do_nothing(),
            "postgresql": postgresql.insert(_answer).on_conflict_do_nothing(),
        }[dialect.name]
        self.add_answer = compiled(add_answer, *(c.name for c in _answer.c if c.name != "id"))
        self.find_answer = compiled(
            select(*(column for column in _answer.c if column.name != "id")).where(_this_answer)
        )
        self.remove_answer = compiled(delete(_answer).where(_this_answer))
        # By id, which is by time: no index on the time slows the writes.
        past = _answer.c.id > _id("after")
        self.oldest_answers = compiled(
            select(_answer.c.id, _answer.c.create_time)
            .where(past)
            .order_by(_answer.c.id)
            .limit(_LIMIT)
        )
        old = _answer.c.create_time < bindparam("before", type_=_answer.c.create_time.type)
        self.remove_old_answers = compiled(
            delete(_answer).where(past, _answer.c.id <= _id("upto"), old)
        )
        self.kept_bytes = compiled(_kept_bytes())

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
        page = {
            PROVIDER: select(PROVIDER).where(PROVIDER.c.id > _id("after")).order_by(PROVIDER.c.id),
            CLIENT_TYPE: _after_in_provider(select(CLIENT_TYPE), dialect),
        }
        self._lists = {
            table: FilteredList(table, query.limit(_LIMIT).offset(_OFFSET), dialect)
            for table, query in page.items()
        }

    def list_providers(self, where: Sequence[Condition]) -> Statement:
        """Providers that meet conditions of this kind; takes `values_of(where)`."""
        return self._lists[PROVIDER].meeting(where)

    def list_client_types(self, where: Sequence[Condition]) -> Statement:
        """A provider's client types that meet conditions of this kind."""
        return self._lists[CLIENT_TYPE].meeting(where)
