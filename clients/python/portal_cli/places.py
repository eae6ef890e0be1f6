"""Where a value is in a YAML file."""

from dataclasses import dataclass
from typing import TypeAlias

import yaml

Keys: TypeAlias = tuple[str | int, ...]
"""The path of a value: the keys of mappings and the indexes of lists, from the root."""


@dataclass(frozen=True, slots=True)
class Place:
    """A value in a file: its file, and its path from the root."""

    file: "File"
    path: Keys

    def of(self, *path: str | int) -> "Place":
        """The place of a value in this one."""
        return Place(self.file, (*self.path, *path))

    @property
    def position(self) -> tuple[int, int]:
        """The line and column, from 1; those of the nearest value around one that is absent."""
        return self.file.position(self.path)

    def __str__(self) -> str:
        """`FILE:LINE:COLUMN`, which editors and CI systems recognize."""
        line, column = self.position
        return f"{self.file.name}:{line}:{column}"


@dataclass(frozen=True, slots=True, eq=False)
class File:
    """A YAML file that was read."""

    name: str
    root: yaml.Node | None

    def position(self, path: Keys) -> tuple[int, int]:
        """See `Place.position`. An unknown field has the position of its name."""
        node, mark = self.root, self.root.start_mark if self.root else None
        for key in path:
            found = _child(node, key)
            if found is None:
                break
            name, node = found
            mark = (name if isinstance(node, yaml.CollectionNode) else node).start_mark
        return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def _child(node: yaml.Node | None, key: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """A value in a mapping or a list, after the node that shows where it begins."""
    if isinstance(node, yaml.SequenceNode) and isinstance(key, int) and key < len(node.value):
        return node.value[key], node.value[key]
    if isinstance(node, yaml.MappingNode):
        # The last one: a mapping that is merged (`<<`) comes first.
        for name, value in reversed(node.value):
            if isinstance(name, yaml.ScalarNode) and name.value == key:
                return name, value
    return None
