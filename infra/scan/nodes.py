"""YAML and JSON documents as light nodes that know their line, safe to build from hostile input.

Built from parser events with a stack of our own: no tag is resolved, no object is made, an alias is a
reference and is never expanded, and depth is bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import yaml

MAX_DEPTH = 100
MAX_NODES = 200_000

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class Unreadable(ValueError):
    """The text is not a YAML or JSON document within the limits."""


@dataclass
class Node:
    """A ``kind`` of node: a scalar (``value``), a map (``keys`` and ``entries``) or a seq (``items``).

    ``tag`` is the explicit tag (``!Ref``) or ``""``. ``line`` and ``column`` count from 1.
    """

    kind: Literal["scalar", "map", "seq"]
    line: int
    column: int
    tag: str = ""
    value: str | None = None
    keys: list[Node] = field(default_factory=list)
    entries: list[Node] = field(default_factory=list)
    items: list[Node] = field(default_factory=list)

    def get(self, *names: str) -> Node | None:
        """Return the entry below a chain of keys, compared exactly, or ``None``."""
        node: Node | None = self
        for name in names:
            node = next((entry for key, entry in node.mapping() if key.value == name), None) if node else None
        return node

    def text(self, *names: str) -> str:
        """Return the scalar below a chain of keys, or an empty string."""
        node = self.get(*names)
        return (node.value or "") if node is not None else ""

    def mapping(self) -> Iterator[tuple[Node, Node]]:
        """Yield the entries of a mapping as (key node, value node)."""
        return zip(self.keys, self.entries, strict=True)

    def scalars(self) -> list[Node]:
        """Return the node itself when it is a scalar, or the scalars of a sequence."""
        return [self] if self.value is not None else [item for item in self.items if item.value is not None]

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it once, in the order of the document."""
        seen: set[int] = set()
        stack = [self]
        while stack:
            node = stack.pop()
            if id(node) in seen:
                continue
            seen.add(id(node))
            yield node
            stack.extend(reversed([*node.entries, *node.items]))


def pairs(root: Node) -> Iterator[tuple[str, Node]]:
    """Yield every (key, value) of every mapping below ``root``; items of sequences have an empty key."""
    for node in root.walk():
        for key, entry in node.mapping():
            yield key.value or "", entry
        for item in node.items:
            if item.keys:
                yield "", item


def parse(text: str) -> list[Node]:
    """Return the documents of a YAML stream (JSON is YAML here); raises ``Unreadable``."""
    documents: list[Node] = []
    stack: list[Node] = []
    anchors: dict[str, Node] = {}
    count = 0
    try:
        # Tabs may indent JSON but not YAML; a space keeps the columns.
        for event in yaml.parse(
            text.replace("\t", " ") if text.lstrip()[:1] in "{[" else text, Loader=_Loader
        ):
            if isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
                stack.pop()
                continue
            if isinstance(event, yaml.AliasEvent):
                node = anchors.get(event.anchor or "") or _node(event)
            elif isinstance(event, yaml.NodeEvent):
                node = _node(event)
                if event.anchor:
                    anchors[event.anchor] = node
            else:
                continue
            count += 1
            if len(stack) > MAX_DEPTH or count > MAX_NODES:
                raise Unreadable("too deep or too many nodes")
            _attach(node, stack[-1] if stack else None, documents)
            if isinstance(event, (yaml.MappingStartEvent, yaml.SequenceStartEvent)):
                stack.append(node)
    except yaml.YAMLError as error:
        raise Unreadable(str(error)) from error
    return documents


def _node(event: yaml.NodeEvent) -> Node:
    mark, tag = event.start_mark, getattr(event, "tag", None) or ""
    line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
    if isinstance(event, yaml.MappingStartEvent):
        return Node("map", line, column, tag)
    if isinstance(event, yaml.SequenceStartEvent):
        return Node("seq", line, column, tag)
    return Node("scalar", line, column, tag, value=getattr(event, "value", ""))


def _attach(node: Node, parent: Node | None, documents: list[Node]) -> None:
    if parent is None:
        documents.append(node)
    elif parent.kind == "seq":
        parent.items.append(node)
    elif len(parent.keys) == len(parent.entries):
        parent.keys.append(node)
    else:
        parent.entries.append(node)
