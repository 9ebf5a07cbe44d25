"""The section `[transforms]`: which metrics get a rate beside their value.

<any key> = rate:<metrics_group_type>:<name>[,<name>…]
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Mapping

    from pythond.dialects.panoptes.ini import Value

# As the original keeps the last value of a counter.
GAP_INTERVALS = 3


class TransformError(ValueError):
    """A transform is wrong; `offset` is where in the text."""

    def __init__(self, text: str, offset: int) -> None:
        super().__init__(text)
        self.text = text
        self.offset = offset


class Transforms:
    """All transforms of a plugin that are right, by the type of the group."""

    def __init__(self) -> None:
        self._names: dict[str, dict[str, int]] = {}

    def add(self, text: str, line: int = 0) -> None:
        """Adds one. Raises `TransformError`."""
        group_type, names = parse(text)
        known = self._names.setdefault(group_type, {})
        for name in names:
            known.setdefault(name, line)

    def of(self, group_type: str) -> Mapping[str, int]:
        """Returns the metrics of a group type that get a rate, with the line that says so."""
        return self._names.get(group_type, {})

    def __len__(self) -> int:
        return sum(len(names) for names in self._names.values())


def parse(text: str) -> tuple[str, list[str]]:
    """Returns the type of the group and the names. Raises `TransformError`."""
    parts = text.split(":")
    if len(parts) != 3:
        found = f"it has {len(parts) - 1}"
        raise TransformError(f"must be rate:<metrics_group_type>:<name>[,<name>…], with two colons; {found}", 0)
    kind, group_type, names = (part.strip() for part in parts)
    if kind != "rate":
        raise TransformError(f"`{kind}` is no transform; there is only `rate`", 0)
    if not group_type:
        raise TransformError("the type of the metrics group is missing", len(parts[0]) + 1)
    wanted = [name.strip() for name in names.split(",") if name.strip()]
    if not wanted:
        raise TransformError("the names of the metrics are missing", len(parts[0]) + len(parts[1]) + 2)
    return group_type, wanted


def read(section: Mapping[str, Value]) -> tuple[Transforms, list[tuple[Value, str, TransformError]]]:
    """Reads a section; returns what is right, and what is not with its option."""
    found = Transforms()
    wrong = []
    for option, value in section.items():
        try:
            found.add(value.text, value.line)
        except TransformError as error:
            wrong.append((value, option, error))
    return found, wrong
