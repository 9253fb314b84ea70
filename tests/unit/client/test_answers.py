"""The client reads and sends what the server writes and takes: the same fields, of the same types."""

from collections.abc import Iterator
from inspect import isclass

import msgspec
import pytest
from backlot_client import answers, spec
from msgspec import inspect

from server.api import billing, models, views
from server.ledger import credits, jobs
from server.workflows import background, image, intake

#: The answer of each call, in the client and in the server. The structs that they contain are compared too.
ANSWERS: list[tuple[type, tuple[type, ...]]] = [
    (answers.Accepted, (jobs.Accepted,)),
    (answers.Estimate, (intake.Estimate,)),
    (answers.Job, (views.JobView,)),
    (answers.JobPage, (views.JobPage,)),
    (answers.WholeJobPage, (views.WholeJobPage,)),
    (answers.EventPage, (views.EventPage,)),
    # One struct for both parts of the catalogue.
    (answers.CatalogEntry, (views.BackgroundEntry, views.ImageEntry)),
    (answers.Credits, (credits.Totals,)),
    (answers.TransactionPage, (billing.TransactionPage,)),
    (answers.Operations, (billing.Operations,)),
    (answers.Models, (models.ModelList,)),
]
SPECS: list[tuple[type, tuple[type, ...]]] = [
    (spec.BackgroundSpec, (background.BackgroundSpec,)),
    (spec.ImageSpec, (image.ImageSpec,)),
]
#: Fields for OpenAI's clients alone.
LEFT_OUT = {"Models.data", "Models.object"}


class Plain(msgspec.Struct, frozen=True):
    """A type without its bounds."""

    #: `str`, also of an enum; a list's `list of …`; a struct's `struct`.
    word: str
    may_be_null: bool = False
    #: The only texts that the type takes, if those are few.
    choices: frozenset[str] | None = None
    #: The struct that the type is, or is a list of.
    struct: inspect.StructType | None = None


def plain(kind: inspect.Type) -> Plain:
    match kind:
        case inspect.Metadata(type=bounded):
            return plain(bounded)
        case inspect.UnionType(types=types) if kind.includes_none:
            [inner] = (part for part in types if not isinstance(part, inspect.NoneType))
            return msgspec.structs.replace(plain(inner), may_be_null=True)
        case inspect.ListType(item_type=item):
            return Plain(f"list of {plain(item).word}", struct=plain(item).struct)
        case inspect.StructType():
            return Plain("struct", struct=kind)
        case inspect.EnumType(cls=cls):
            return Plain("StrType", choices=frozenset(str(member.value) for member in cls))
        case inspect.LiteralType(values=values):
            return Plain("StrType", choices=frozenset(map(str, values)))
    return Plain(type(kind).__name__)


def differences(
    client: inspect.StructType, servers: list[inspect.StructType], *, is_sent: bool, seen: set[type]
) -> Iterator[str]:
    """Say what differs between a struct of the client and the server's, or those that it stands for together."""
    seen.add(client.cls)
    mine = {field.encode_name: field for field in client.fields}
    theirs = [{field.encode_name: field for field in server.fields} for server in servers]
    anywhere = set[str]().union(*theirs)
    for name in mine.keys() ^ anywhere:
        yield f"{client.cls.__name__}.{name} is the {'client' if name in mine else 'server'}'s alone"
    for name in mine.keys() & anywhere:
        place = f"{client.cls.__name__}.{name}"
        here, there = plain(mine[name].type), [plain(fields[name].type) for fields in theirs if name in fields]
        for other in there:
            reader, writer = (other, here) if is_sent else (here, other)
            if here.word != other.word:
                yield f"{place} is {here.word} here and {other.word} there"
            if here.choices is not None and here.choices != other.choices:
                yield f"{place} takes other words"
            if writer.may_be_null and not reader.may_be_null:
                yield f"{place} may be null"
        if not is_sent and mine[name].required and not all(name in found and found[name].required for found in theirs):
            yield f"{place} may be missing"
        if is_sent and any(found[name].required for found in theirs) and not mine[name].required:
            yield f"{place} may be left out"
        if here.struct is not None:
            inner = [other.struct for other in there if other.struct is not None]
            yield from differences(here.struct, inner, is_sent=is_sent, seen=seen)


def compare(
    client: type, servers: tuple[type, ...], *, is_sent: bool = False, seen: set[type] | None = None
) -> set[str]:
    first, *others = (plain(inspect.type_info(kind)).struct for kind in (client, *servers))
    assert first is not None
    found = [other for other in others if other is not None]
    return set(differences(first, found, is_sent=is_sent, seen=set() if seen is None else seen))


@pytest.mark.parametrize(("client", "server"), ANSWERS)
def test_an_answer_is_read_as_it_is_written(client: type, server: tuple[type, ...]) -> None:
    assert compare(client, server) == {
        f"{name} is the server's alone" for name in LEFT_OUT if name.startswith(f"{client.__name__}.")
    }


@pytest.mark.parametrize(("client", "server"), SPECS)
def test_a_spec_is_sent_as_it_is_taken(client: type, server: tuple[type, ...]) -> None:
    assert compare(client, server, is_sent=True) == set()


def test_no_answer_is_left_out() -> None:
    seen: set[type] = set()
    for client, server in ANSWERS:
        compare(client, server, seen=seen)
    assert seen == {found for found in vars(answers).values() if isclass(found) and issubclass(found, msgspec.Struct)}
