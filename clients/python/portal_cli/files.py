"""The YAML files of `apply`: read and validated, with the line and column of each value."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml
from pydantic import ValidationError

from portal_cli import documents
from portal_cli.documents import ProviderDocument
from portal_cli.errors import CommandError, Exit
from portal_cli.places import File, Keys, Place

_STDIN: Final = Path("-")
_SUFFIXES: Final = {".yaml", ".yml"}
# The lists of a document, which are not part of the name of a field.
_LISTS: Final = {"providers", "client_types"}
# Replaces texts of the parser that are about YAML in general.
_TEXTS: Final = {
    "but found another document": "a file has one document; pass -f for each file",
    "found character '\\t' that cannot start any token": "indent with spaces, not with tabs",
}


class _Loader(yaml.SafeLoader):
    """Rejects duplicate keys: YAML would silently drop the first."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001
        """The mapping. Raises: ConstructorError."""
        seen: set[str] = set()
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            if key.value in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"duplicate field {key.value!r}", key.start_mark
                )
            seen.add(key.value)
        return super().construct_mapping(node, deep)


class InvalidFiles(CommandError):
    """Files that are invalid; `problems` has a line for each mistake."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = problems


def load(paths: Sequence[Path]) -> list[ProviderDocument]:
    """Read files, the YAML files of folders, and standard input (`-`), as one document.

    Raises:
        InvalidFiles: they are not valid; the problems have their line and column.
        CommandError: a file cannot be read, or is given twice.
    """
    if paths.count(_STDIN) > 1:
        raise CommandError("--file: standard input can be read only once", Exit.USAGE)
    files = _expanded(paths)
    counted = Counter(path.resolve() for path in files)
    for path in files:
        if counted[path.resolve()] > 1:
            raise CommandError(f"--file: {path} is given twice", Exit.USAGE)
    loaded: list[ProviderDocument] = []
    problems: list[str] = []
    for path in files:
        try:
            loaded += parse(documents.read(path), "stdin" if path == _STDIN else str(path))
        except InvalidFiles as error:
            problems += error.problems
    problems += _duplicate_uids(loaded)
    if problems:
        raise InvalidFiles(problems)
    return loaded


def _expanded(paths: Sequence[Path]) -> list[Path]:
    found: list[Path] = []
    for path in paths:
        if path == _STDIN or not path.is_dir():
            found.append(path)
            continue
        try:
            inside = sorted(one for one in path.iterdir() if _is_yaml(one))
        except OSError as error:
            raise CommandError(f"{path}: {error.strerror}") from None
        if not inside:
            raise CommandError(f"{path}: the folder has no .yaml or .yml file")
        found += inside
    return found


def _is_yaml(path: Path) -> bool:
    return path.suffix in _SUFFIXES and not path.name.startswith(".") and path.is_file()


def parse(text: str, name: str) -> list[ProviderDocument]:
    """Read a document; `name` is that of its file. Raises: InvalidFiles."""
    loader = None
    try:
        loader = _Loader(text)
        file = File(name, loader.get_single_node())
        value = loader.construct_document(file.root) if file.root else None
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f":{mark.line + 1}:{mark.column + 1}" if mark else ""
        problem = _TEXTS.get(str(error.problem), error.problem)
        raise InvalidFiles([f"{name}{place}: {problem}"]) from None
    except yaml.reader.ReaderError as error:
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        problem = f"unacceptable character U+{error.character:04X}"
        raise InvalidFiles([f"{name}:{line}:{column}: {problem}"]) from None
    except RecursionError:
        raise InvalidFiles([f"{name}: nested too deeply"]) from None
    except (yaml.YAMLError, ValueError) as error:  # such as a date that does not exist
        raise InvalidFiles([f"{name}: {error}"]) from None
    finally:
        if loader:
            loader.dispose()
    root = Place(file, ())
    try:
        return documents.validated(value, root)
    except ValidationError as error:
        raise InvalidFiles(
            [f"{root.of(*path)}: {_field(path)}{text}" for path, text in documents.problems(error)]
        ) from None


def _field(path: Keys) -> str:
    """The name of a field in its resource, with a colon; "" for the resource itself."""
    index = max((n for n, key in enumerate(path[:-1]) if key in _LISTS), default=-2)
    name = ".".join(map(str, path[index + 2 :]))
    if not path:
        return "document: "
    return f"{name}: " if name else ""


def _duplicate_uids(loaded: Sequence[ProviderDocument]) -> list[str]:
    uids: list[tuple[str, Place]] = []
    for document in loaded:
        place = document.place
        assert place is not None  # noqa: S101 - it comes from a file
        uids.append((document.provider.uid, place.of("uid")))
        for index, one in enumerate(document.client_types):
            uids.append((one.uid, place.of("client_types", index, "uid")))
    seen: Counter[str] = Counter()
    problems = []
    for uid, place in uids:
        seen[uid] += bool(uid)
        if seen[uid] > 1:
            problems.append(f"{place}: uid: duplicate uid {uid}")
    return problems
