"""Where the names of a Python module get their values: a light data-flow within one module.

Built from the syntax tree alone; nothing is executed. Assignments are followed within a function and out to
its module, in the order of the text; branches are not told apart, except that an assignment in the same block
(or one around it) hides what came before.
"""

from __future__ import annotations

import ast
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal, TypeVar, cast

from infra.scan.python_guards import failed, passed
from infra.scan.python_syntax import FunctionNode, Scope, entries, keyword, parameter

_Sort = TypeVar("_Sort", bound=ast.AST)

MAX_BINDINGS = 50
_DEFINING: tuple[type[ast.AST], ...] = (
    ast.Import, ast.ImportFrom, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.If, ast.IfExp, ast.While,
    ast.comprehension,
)  # fmt: skip
_BINDING: tuple[type[ast.AST], ...] = (
    ast.Assign, ast.AnnAssign, ast.NamedExpr, ast.AugAssign, ast.For, ast.AsyncFor, ast.comprehension, ast.withitem,
    ast.Call,
)  # fmt: skip
MAX_STEPS = 5


_GROWING = {"append", "extend", "insert", "add"}


@dataclass(frozen=True)
class Binding:
    """One way a name gets a value.

    ``expr`` is what it is bound to, ``None`` when that cannot be said. ``how``: ``set`` (assigned), ``add``
    (``+=``), ``each`` (loop over ``expr``) or ``grow`` (``expr`` appended). ``block`` identifies the list of
    statements it stands in.
    """

    expr: ast.expr | None
    how: Literal["set", "add", "each", "grow"]
    order: tuple[int, int]
    block: int


@dataclass
class _Names:
    bindings: dict[str, list[Binding]] = field(default_factory=lambda: defaultdict(list))
    guards: dict[str, list[tuple[int, int]]] = field(default_factory=lambda: defaultdict(list))


class Flow:
    """The names of one parsed module: scopes, bindings, checks, imports.

    ``nodes`` lists every node once, ``functions`` the functions and ``classes`` the classes by name,
    ``imports`` what a local name was imported as (dotted).
    """

    def __init__(self, tree: ast.Module) -> None:
        self.tree = tree
        self.nodes = list(ast.walk(tree))
        self.functions: dict[str, FunctionNode] = {}
        self.classes: dict[str, ast.ClassDef] = {}
        self.imports: dict[str, str] = {}
        self._parents: dict[ast.AST, ast.AST] = {}
        self._blocks: dict[ast.AST, int] = {}
        self._scopes: dict[ast.AST, _Names] = defaultdict(_Names)
        self._calls: dict[str, list[ast.Call]] | None = None
        self._tested: set[str] = set()
        self._by_type: dict[type[ast.AST], list[ast.AST]] = defaultdict(list)
        for node in self.nodes:
            self._by_type[type(node)].append(node)
            for child in ast.iter_child_nodes(node):
                self._parents[child] = node
            for _, held in ast.iter_fields(node):
                if isinstance(held, list):
                    self._blocks.update((child, id(held)) for child in held if isinstance(child, ast.stmt))
        for node in self.each(*_DEFINING):
            self._record_definition(node)
        for node in self.each(*_BINDING):
            self._record_binding(node)
        for names in self._scopes.values():
            for bindings in names.bindings.values():
                bindings.sort(key=lambda row: row.order)

    # -- structure

    def scope(self, node: ast.AST) -> Scope:
        """Return the innermost function, class or module around ``node``."""
        current = self._parents.get(node)
        while current is not None and not isinstance(current, Scope):
            current = self._parents.get(current)
        return current if current is not None else self.tree

    def function(self, node: ast.AST) -> FunctionNode | None:
        """Return the innermost function around ``node``, or ``None`` at module level."""
        scope: Scope = self.scope(node)
        while not isinstance(scope, (ast.FunctionDef, ast.AsyncFunctionDef)):
            if isinstance(scope, ast.Module):
                return None
            scope = self.scope(scope)
        return scope

    def statement(self, node: ast.AST) -> ast.AST:
        """Return the statement that ``node`` is part of."""
        while not isinstance(node, ast.stmt) and node in self._parents:
            node = self._parents[node]
        return node

    def qualified(self, node: ast.expr) -> str:
        """Return the dotted name of an expression with imports resolved.

        The base is ``()`` for a call, ``?`` for any other expression that is no name; without attributes such
        an expression gives an empty string.
        """
        parts: list[str] = []
        while isinstance(node, ast.Attribute):
            parts.append(node.attr)
            node = node.value
        if isinstance(node, ast.Name):
            return ".".join([self.imports.get(node.id, node.id), *reversed(parts)])
        base = "()" if isinstance(node, ast.Call) else "?"
        return ".".join([base, *reversed(parts)]) if parts else ""

    def calls(self) -> Iterator[ast.Call]:
        """Yield every call of the module."""
        return self.each(ast.Call)

    def each(self, *types: type[_Sort]) -> Iterator[_Sort]:
        """Yield every node of exactly these types, type by type."""
        for sort in types:
            yield from cast(list[_Sort], self._by_type.get(sort, []))

    def calls_of(self, name: str) -> list[ast.Call]:
        """Return the calls of whatever is called ``name``, as a function or a method."""
        if self._calls is None:
            self._calls = defaultdict(list)
            for call in self.calls():
                called = (
                    call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
                )
                self._calls[called].append(call)
        return self._calls.get(name, [])

    # -- questions

    def guarded(self, expr: ast.expr) -> bool:
        """Return whether a name or attribute has passed a check before its use at ``expr``, or around it."""
        if not self._tested or not isinstance(expr, (ast.Name, ast.Attribute)):
            return False
        key = ast.dump(expr)
        if key not in self._tested:
            return False
        ends = self._scopes[self.scope(expr)].guards.get(key, ())
        return any(end < (expr.lineno, expr.col_offset) for end in ends) or self._tested_around(expr, key)

    def holders(self, node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
        """Yield (name, value) of the keywords and dictionary entries a node stands in within its statement."""
        parent = self._parents.get(node)
        while parent is not None and not isinstance(node, ast.stmt):
            if isinstance(parent, ast.keyword) and parent.arg is not None:
                yield parent.arg, parent.value
            elif isinstance(parent, ast.Dict):
                yield from (entry for entry in entries(parent) if entry[1] is node)
            node, parent = parent, self._parents.get(parent)

    def takers(self, node: ast.AST) -> Iterator[str]:
        """Yield the names of the calls a node is an argument of, within its statement, innermost first."""
        parent = self._parents.get(node)
        while parent is not None and not isinstance(node, ast.stmt):
            if isinstance(parent, ast.Call) and node is not parent.func:
                yield self.qualified(parent.func).rsplit(".", 1)[-1]
            node, parent = parent, self._parents.get(parent)

    def tests_around(self, node: ast.AST) -> Iterator[tuple[ast.expr, bool]]:
        """Yield the conditions ``node`` stands under within its function, each with the outcome it needs."""
        parent = self._parents.get(node)
        while parent is not None and not isinstance(parent, Scope):
            match parent:
                case ast.If() | ast.While():
                    if node is not parent.test:
                        yield parent.test, node in parent.body
                case ast.IfExp():
                    if node is not parent.test:
                        yield parent.test, node is parent.body
                case ast.ListComp() | ast.SetComp() | ast.GeneratorExp() | ast.DictComp():
                    if not isinstance(node, ast.comprehension):
                        yield from ((test, True) for made in parent.generators for test in made.ifs)
                case _:
                    pass
            node, parent = parent, self._parents.get(parent)

    def _tested_around(self, expr: ast.expr, key: str) -> bool:
        return any(
            key in (ast.dump(good) for good in (passed(test) if outcome else failed(test)))
            for test, outcome in self.tests_around(expr)
        )

    def reaching(self, name: ast.Name) -> list[Binding] | None:
        """Return the bindings that can reach a use of ``name``, or ``None`` when the module binds none."""
        scope: Scope = self.scope(name)
        place = (name.lineno, name.col_offset)
        around = self._blocks_around(name)
        own = self.statement(name)
        # `sql = sql + x` reads what was bound before, not what it binds.
        here = (getattr(own, "lineno", 0), getattr(own, "col_offset", 0))
        while True:
            bindings = self._scopes[scope].bindings.get(name.id)
            if bindings and isinstance(own, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
                bindings = [row for row in bindings if row.order != here]
            if bindings:
                return _reaching(bindings, place, around)
            if isinstance(scope, ast.Module) or parameter(scope, name.id) is not None:
                return None
            # Outside its own function a name has any value it was ever given there.
            scope, place = self.scope(scope), (1 << 30, 0)

    def resolve(self, expr: ast.expr | None) -> ast.expr | None:
        """Return what a name or ``self.NAME`` was assigned, step by step while there is exactly one answer."""
        for _ in range(MAX_STEPS):
            if isinstance(expr, ast.Name):
                bindings = self.reaching(expr)
            elif isinstance(expr, ast.Attribute):
                bindings = self.class_attribute(expr)
            else:
                break
            if not bindings or len(bindings) > 1 or bindings[0].how != "set" or bindings[0].expr is None:
                break
            expr = bindings[0].expr
        return expr

    def keyword(self, call: ast.Call, *names: str) -> ast.expr | None:
        """Return the first argument given by one of the names, also through ``**`` of a known dictionary."""
        found = keyword(call, *names)
        if found is not None:
            return found
        for given in call.keywords:
            held = self.resolve(given.value) if given.arg is None else None
            for key, value in entries(held):
                if key in names:
                    return value
        return None

    def parameter_of(self, name: ast.Name) -> ast.arg | None:
        """Return the parameter a name stands for, of the innermost function that has one, or ``None``."""
        scope: Scope = self.scope(name)
        while not isinstance(scope, ast.Module):
            found = parameter(scope, name.id)
            if found is not None:
                return found
            scope = self.scope(scope)
        return None

    def class_attribute(self, node: ast.Attribute) -> list[Binding]:
        """Return the bindings of ``self.NAME`` or ``cls.NAME``: in the class's body, and in its methods."""
        if not (isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}):
            return []
        scope: Scope = self.scope(node)
        while not isinstance(scope, (ast.Module, ast.ClassDef)):
            scope = self.scope(scope)
        if not isinstance(scope, ast.ClassDef):
            return []
        names = self._scopes[scope].bindings
        return [*names.get(node.attr, []), *names.get(f"self.{node.attr}", [])]

    def _block(self, node: ast.AST) -> int:
        statement: ast.AST | None = node
        while statement is not None and statement not in self._blocks:
            statement = self._parents.get(statement)
        return self._blocks[statement] if statement is not None else 0

    def _blocks_around(self, node: ast.AST) -> set[int]:
        around = set()
        current: ast.AST | None = node
        while current is not None and not isinstance(current, Scope):
            around.add(self._block(current))
            current = self._parents.get(current)
        return around

    # -- recording

    def _bind(
        self, name: str, node: ast.AST, expr: ast.expr | None, how: Literal["set", "add", "each", "grow"]
    ) -> None:
        order = (getattr(node, "lineno", 0), getattr(node, "col_offset", 0))
        self._scopes[self.scope(node)].bindings[name].append(Binding(expr, how, order, self._block(node)))

    def _record_definition(self, node: ast.AST) -> None:
        if isinstance(node, ast.Import):
            for alias in node.names:
                top = alias.name.split(".")[0]
                self.imports[alias.asname or top] = alias.name if alias.asname else top
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                self.imports[alias.asname or alias.name] = f"{node.module or ''}.{alias.name}"
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            self.functions.setdefault(node.name, node)
        elif isinstance(node, ast.ClassDef):
            self.classes.setdefault(node.name, node)
        elif isinstance(node, ast.If):
            self._record_guard(node)
        tests = (
            [node.test]
            if isinstance(node, (ast.If, ast.IfExp, ast.While))
            else node.ifs
            if isinstance(node, ast.comprehension)
            else []
        )
        for test in tests:
            self._tested.update(ast.dump(good) for good in (*passed(test), *failed(test)))

    def _record_binding(self, node: ast.AST) -> None:
        match node:
            case ast.Assign():
                for target in node.targets:
                    self._bind_target(target, node, node.value)
            case (
                ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value)
                | ast.NamedExpr(target=ast.Name(id=name), value=value)
            ):
                self._bind(name, node, value, "set")
            case ast.AugAssign(target=ast.Name(id=name)):
                self._bind(name, node, node.value, "add")
            case ast.For() | ast.AsyncFor() | ast.comprehension():
                self._bind_loop(node.target, node.iter)
            case ast.withitem(optional_vars=ast.Name(id=name) as target):
                self._bind(name, target, None, "set")
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attr)) if (
                attr in _GROWING and node.args
            ):
                self._bind(name, node, node.args[-1], "grow")
            case _:
                pass

    def _bind_target(self, target: ast.expr, node: ast.stmt, value: ast.expr) -> None:
        if isinstance(target, ast.Name):
            self._bind(target.id, node, value, "set")
        elif isinstance(target, ast.Attribute):
            self._bind_attribute(target, node, value)
        elif isinstance(target, (ast.Tuple, ast.List)):
            pairs = isinstance(value, (ast.Tuple, ast.List)) and len(value.elts) == len(target.elts)
            for index, element in enumerate(target.elts):
                if isinstance(element, ast.Name):
                    part = value.elts[index] if pairs and isinstance(value, (ast.Tuple, ast.List)) else None
                    self._bind(element.id, node, part, "set")

    def _bind_loop(self, target: ast.expr, iterable: ast.expr) -> None:
        """Bind the names of a loop, position by position where it runs over a display of tuples."""
        rows = iterable.elts if isinstance(iterable, (ast.List, ast.Tuple, ast.Set)) else []
        pairs = [row.elts for row in rows if isinstance(row, (ast.List, ast.Tuple))]
        for part in ast.walk(target):
            if isinstance(part, ast.Name):
                given = iterable
                if (
                    isinstance(target, ast.Tuple)
                    and part in target.elts
                    and pairs
                    and len(pairs) == len(rows)
                ):
                    index = target.elts.index(part)
                    if all(len(pair) == len(target.elts) for pair in pairs):
                        given = ast.Tuple([pair[index] for pair in pairs], ast.Load())
                self._bind(part.id, target, given, "each")

    def _bind_attribute(self, target: ast.Attribute, node: ast.stmt, value: ast.expr) -> None:
        """Record ``self.NAME = value`` with the class, under a name no variable can have."""
        scope: Scope = self.scope(node)
        while not isinstance(scope, (ast.Module, ast.ClassDef)):
            scope = self.scope(scope)
        if (
            isinstance(scope, ast.ClassDef)
            and isinstance(target.value, ast.Name)
            and target.value.id == "self"
        ):
            binding = Binding(value, "set", (node.lineno, node.col_offset), self._block(node))
            self._scopes[scope].bindings[f"self.{target.attr}"].append(binding)

    def _record_guard(self, node: ast.If) -> None:
        """Note names that are known to be good after ``if NAME not in ALLOWED: raise`` and the like."""
        if not isinstance(node.body[-1], (ast.Raise, ast.Return, ast.Continue)):
            return
        for checked in failed(node.test):
            end = (node.end_lineno or node.lineno, 0)
            self._scopes[self.scope(node)].guards[ast.dump(checked)].append(end)


def _reaching(bindings: list[Binding], place: tuple[int, int], around: set[int]) -> list[Binding]:
    """Return the bindings, in order, back to the last assignment that is certain to have run."""
    end = bisect_left(bindings, place, key=lambda row: row.order) or len(bindings)
    for start in range(end - 1, max(end - 1 - MAX_BINDINGS, -1), -1):
        if bindings[start].how == "set" and bindings[start].block in around:
            return bindings[start:end]
    return bindings[max(end - MAX_BINDINGS, 0) : end]
