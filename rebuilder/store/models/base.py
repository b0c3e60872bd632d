"""What all tables have in common.

They are declared as SQLAlchemy's declarative models are, but are tables of its Core. There are no sessions and no
objects, and to load the ORM, to map classes and to compile statements by it takes a third of a command like `status`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Generic, TypeVar

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ColumnElement,
    ForeignKey,
    FromClause,
    Index,
    Integer,
    MetaData,
    Table,
    TextClause,
)
from sqlalchemy.types import TypeEngine

NAMING = {
    "ix": "ix_%(column_0_label)s",
    "uq": "uq_%(table_name)s_%(column_0_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


BIG = BigInteger().with_variant(Integer(), "sqlite")  # 64 bits on both databases
_WHERE = "where"  # in an index's `info`

T = TypeVar("T")
Model = TypeVar("Model", bound="Base")


class Base:
    """A table: its columns are attributes of the class, which stands for the table in a statement."""

    metadata: ClassVar = MetaData(naming_convention=NAMING)
    __tablename__: ClassVar[str]
    __table_args__: ClassVar[tuple[Any, ...]] = ()
    __table__: ClassVar[FromClause]

    def __init_subclass__(cls, **options: Any) -> None:
        if "__table__" in vars(cls):  # an alias
            return
        columns = {name: member for name, member in vars(cls).items() if isinstance(member, Column)}
        for name, member in columns.items():
            member.name = member.key = name
        cls.__table__ = Table(cls.__tablename__, Base.metadata, *columns.values(), *cls.__table_args__, **options)

    @classmethod
    def __clause_element__(cls) -> FromClause:
        """What SQLAlchemy puts into a statement for the class."""
        return cls.__table__


def column(kind: TypeEngine[T] | type[TypeEngine[T]], *keys: ForeignKey, **options: Any) -> ColumnElement[T]:
    """A column that always has a value. The name is the attribute's, the options are those of `Column`."""
    return Column(kind, *keys, nullable=False, **options)


def nullable(kind: TypeEngine[T] | type[TypeEngine[T]], *keys: ForeignKey, **options: Any) -> ColumnElement[T | None]:
    """A column that may be null."""
    return Column(kind, *keys, nullable=True, **options)


class expression(Generic[T]):  # noqa: N801  as `property`
    """What a query makes of a table's columns, by a name of its own."""

    def __init__(self, made: Callable[[Any], ColumnElement[T]]) -> None:
        self._made = made

    def __get__(self, _instance: None, model: type[Base]) -> ColumnElement[T]:
        return self._made(model)


def aliased(model: type[Model]) -> type[Model]:
    """The table once more, for a statement that has it twice."""
    alias = model.__table__.alias()
    return type(model.__name__, (model,), {"__table__": alias, **alias.c})


def one_of(column: str, words: Any, name: str) -> CheckConstraint:
    """The column holds one of these words."""
    return CheckConstraint(f"{column} IN ({', '.join(repr(str(word)) for word in sorted(words))})", name=name)


def partial_index(name: str, *columns: str, where: TextClause | ColumnElement[bool], unique: bool = False) -> Index:
    """An index of the rows that fit `where` alone, which `tables_of` tells the dialect."""
    return Index(name, *columns, unique=unique, info={_WHERE: where})


def tables_of(dialect: str) -> MetaData:
    """The tables as this dialect makes them. To give it its options when they are declared would load all dialects."""
    for table in Base.metadata.tables.values():
        for index in table.indexes:
            if _WHERE in index.info:
                index.dialect_kwargs[f"{dialect}_{_WHERE}"] = index.info[_WHERE]
    return Base.metadata
