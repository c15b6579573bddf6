"""What text an expression can be in Python: constants, and the holes in them that values fill.

Text is followed through literals, f-strings, ``+``, ``%``, ``format``, ``join``, names and loops; what cannot
be known is a hole. Values that cannot carry an attack leave no hole: numbers, members of a constant
collection, names that passed a check, results of escaping functions, constants by name (``UPPER_CASE``).
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from infra.scan.python_flow import Flow
from infra.scan.python_syntax import FunctionNode, entries, keyword

HOLE = "\x00"
MAX_DEPTH = 60
MAX_LEVEL = 3
MAX_CALLS = 3_000

_NUMBERS = {
    "int", "float", "len", "bool", "round", "abs", "ord", "hash", "id", "time", "perf_counter", "isoformat",
    "strftime",
}  # fmt: skip
_SAME_TEXT = {
    "strip", "lstrip", "rstrip", "lower", "upper", "title", "capitalize", "dedent", "encode", "decode", "str",
    "removeprefix", "removesuffix", "expandtabs", "cleandoc", "indent", "casefold",
}  # fmt: skip
_COLLECTIONS = {
    "sorted", "reversed", "list", "tuple", "set", "frozenset", "enumerate", "zip", "dict", "items", "keys",
    "values", "iter", "range", "MappingProxyType",
}  # fmt: skip
_COMPOSERS = {"SQL", "Markup"}
_REQUEST_PARTS = {"GET", "POST", "COOKIES", "META", "FILES", "PUT"}
_HARMLESS_TYPES = {"int", "float", "bool", "LiteralString", "date", "datetime", "UUID", "Decimal"}
_NUMBER_FORMATS = tuple("dfFeEgGxXobn%c")


@dataclass(frozen=True)
class Value:
    """Text with holes: ``text`` has ``HOLE`` where a value goes, ``holes`` are what goes there."""

    text: str = ""
    holes: tuple[ast.expr, ...] = ()

    @property
    def built(self) -> bool:
        """Whether constant text and unknown values were put together."""
        return bool(self.holes) and bool(self.text.replace(HOLE, "").strip())

    def __add__(self, other: Value) -> Value:
        return Value((self.text + other.text)[:20_000], (self.holes + other.holes)[:50])


HARMLESS = Value("?")


def worst(values: Iterable[Value]) -> Value:
    """Return the one of several possible values that is most dangerous: built, or unknown, or constant."""
    return max(values, key=lambda value: (value.built, bool(value.holes)), default=Value())


class Values:
    """Evaluates expressions of one module.

    ``safe`` tells from a function's name whether its result cannot carry the attack in question: an escaping
    or quoting function. Results are kept, so asking again costs nothing.
    """

    def __init__(self, flow: Flow, safe: Callable[[str], bool], outer: Values | None = None) -> None:
        self.flow, self.safe = flow, safe
        # Within a called function: what its parameters were given, and how many calls may still be entered.
        self._given: dict[ast.arg, Value] = {}
        self._level: int = outer._level + 1 if outer else 0
        self._budget: list[int] = outer._budget if outer else [MAX_CALLS]
        self._known: dict[ast.expr, Value] = {}
        self._collections: dict[ast.expr, bool] = {}
        self._depth: int = outer._depth if outer else 0
        self._handlers: dict[type[ast.expr], Callable[[Any], Value]] = {
            ast.Constant: self._constant,
            ast.JoinedStr: lambda node: self.together(node.values),
            ast.FormattedValue: self._formatted,
            ast.BinOp: self._operation,
            ast.IfExp: self._choice,
            ast.BoolOp: lambda node: worst([self.of(value) for value in node.values]),
            ast.Compare: lambda _: HARMLESS,
            ast.UnaryOp: lambda _: HARMLESS,
            ast.Subscript: self._subscript,
            ast.Attribute: self._attribute,
            ast.Name: self._name,
            ast.Call: self._call,
        }
        for inner in (ast.NamedExpr, ast.Await, ast.Starred):
            self._handlers[inner] = lambda node: self.of(node.value)
        for display in (ast.List, ast.Tuple, ast.Set):
            self._handlers[display] = lambda node: self.together(node.elts)
        for comprehension in (ast.GeneratorExp, ast.ListComp, ast.SetComp):
            self._handlers[comprehension] = lambda node: self.of(node.elt)

    def of(self, expr: ast.expr) -> Value:
        """Return the text ``expr`` can be, with its holes."""
        if self.flow.guarded(expr):
            return HARMLESS
        if expr not in self._known:
            # Known beforehand as a hole: a value defined by itself, or too far away, stays unknown.
            self._known[expr] = Value(HOLE, (expr,))
            if self._depth < MAX_DEPTH:
                self._depth += 1
                self._known[expr] = self._handlers.get(type(expr), self._unknown)(expr)
                self._depth -= 1
        return self._known[expr]

    def together(self, parts: Iterable[ast.expr]) -> Value:
        """Return the texts of several expressions one after another."""
        return sum((self.of(part) for part in parts), Value())

    def constant_collection(self, expr: ast.expr | None) -> bool:
        """Return whether every member of a collection is a constant, however it is looked up."""
        if expr is None or self._depth >= MAX_DEPTH:
            return False
        if expr not in self._collections:
            self._collections[expr] = False
            self._depth += 1
            self._collections[expr] = self._collects(expr)
            self._depth -= 1
        return self._collections[expr]

    def _collects(self, expr: ast.expr) -> bool:
        match expr:
            case ast.List() | ast.Tuple() | ast.Set():
                return all(self.constant_collection(part) for part in expr.elts)
            case ast.Dict():
                keys = all(key is not None and not self.of(key).holes for key in expr.keys)
                return keys and all(self.constant_collection(part) for part in expr.values)
            case ast.Call():
                name = self.flow.qualified(expr.func).rsplit(".", 1)[-1]
                parts = [*expr.args, *([expr.func.value] if isinstance(expr.func, ast.Attribute) else [])]
                if name in _COLLECTIONS:
                    return name == "range" or all(self.constant_collection(part) for part in parts)
            case ast.Name():
                bindings = self.flow.reaching(expr)
                if bindings:
                    return all(
                        row.how in {"set", "grow"} and self.constant_collection(row.expr) for row in bindings
                    )
            case _:
                pass
        return not self.of(expr).holes

    # -- one method for each sort of expression; any other is a hole

    def _unknown(self, node: ast.expr) -> Value:
        return Value(HOLE, (node,))

    def _constant(self, node: ast.Constant) -> Value:
        return Value(node.value.decode("latin-1") if isinstance(node.value, bytes) else str(node.value))

    def _formatted(self, node: ast.FormattedValue) -> Value:
        last = node.format_spec.values[-1:] if isinstance(node.format_spec, ast.JoinedStr) else []
        # The format of a number raises on text, so nothing but a number gets through.
        if any(isinstance(part, ast.Constant) and str(part.value).endswith(_NUMBER_FORMATS) for part in last):
            return Value("0")
        return self.of(node.value)

    def _operation(self, node: ast.BinOp) -> Value:
        if isinstance(node.op, ast.Add):
            return self.of(node.left) + self.of(node.right)
        if isinstance(node.op, ast.Mod):
            left = self.of(node.left)
            if not left.text or self._composes(node.left):
                return left
            return left + self.together(
                node.right.elts if isinstance(node.right, ast.Tuple) else [node.right]
            )
        if isinstance(node.op, ast.Mult):  # "?" * n, or a product
            return next(
                (side for side in (self.of(node.left), self.of(node.right)) if not side.holes), Value("0")
            )
        return self._unknown(node) if isinstance(node.op, ast.Div) else Value("0")

    def _choice(self, node: ast.IfExp) -> Value:
        test = node.test
        if (
            isinstance(test, ast.Compare)
            and isinstance(test.ops[0], ast.In)
            and ast.dump(test.left) == ast.dump(node.body)
        ):
            return self.of(node.orelse)
        return worst([self.of(node.body), self.of(node.orelse)])

    def _subscript(self, node: ast.Subscript) -> Value:
        if self.constant_collection(node.value):
            return HARMLESS
        held = self.flow.resolve(node.value)
        if isinstance(node.slice, ast.Constant):
            for key, value in entries(held):
                if key == node.slice.value:
                    return self.of(value)
        return self._unknown(node)

    def _attribute(self, node: ast.Attribute) -> Value:
        if (node.attr.isupper() and node.attr not in _REQUEST_PARTS) or _says_harmless(node.attr):
            return HARMLESS
        if node.attr in {"value", "name"} and isinstance(node.value, ast.Name):
            parameter = self.flow.parameter_of(node.value)
            if parameter is not None and self._is_enum(parameter.annotation):
                return HARMLESS
        bindings = [row.expr for row in self.flow.class_attribute(node) if row.expr is not None]
        return worst([self.of(expr) for expr in bindings]) if bindings else self._unknown(node)

    def _name(self, node: ast.Name) -> Value:
        bindings = self.flow.reaching(node)
        if bindings is None:
            parameter = self.flow.parameter_of(node)
            if parameter is not None:
                return self._parameter(parameter, node)
            return HARMLESS if node.id.isupper() or _says_harmless(node.id) else self._unknown(node)
        starts, grown = [], Value()
        if all(row.how in {"add", "grow"} for row in bindings):
            parameter = self.flow.parameter_of(node)
            if parameter is not None:
                starts.append(self._parameter(parameter, node))
        for row in bindings:
            if row.expr is None:
                starts.append(self._unknown(node))
            elif row.how == "each":
                starts.append(self._element(node, row.expr))
            elif row.how == "set":
                starts.append(self.of(row.expr))
            else:
                grown += self.of(row.expr)
        return worst(starts) + grown

    def _parameter(self, parameter: ast.arg, node: ast.Name) -> Value:
        """Return what a parameter can be: what the call gave, or anything its type allows."""
        if _harmless_type(parameter.annotation) or self._is_enum(parameter.annotation):
            return HARMLESS
        return self._given.get(parameter) or self._from_callers(parameter, node)

    def _from_callers(self, parameter: ast.arg, node: ast.Name) -> Value:
        """Return what a private function is called with, when every call of the module gives it harmless text."""
        function = self.flow.function(node)
        if function is None or not function.name.startswith("_") or self._depth > MAX_DEPTH // 2:
            return self._unknown(node)
        given = [dict(arguments(function, call)).get(parameter) for call in self.flow.calls_of(function.name)]
        harmless = bool(given) and all(expr is not None and not self.of(expr).holes for expr in given)
        return HARMLESS if harmless else self._unknown(node)

    def _is_enum(self, annotation: ast.expr | None) -> bool:
        made = self.flow.classes.get(annotation.id) if isinstance(annotation, ast.Name) else None
        return made is not None and any(
            self.flow.qualified(base).rsplit(".", 1)[-1] in {"Enum", "StrEnum", "IntEnum"}
            for base in made.bases
        )

    def _element(self, name: ast.Name, iterable: ast.expr) -> Value:
        """Return what a loop variable can be."""
        if self.constant_collection(iterable):
            return HARMLESS
        held = (
            self.of(iterable)
            if isinstance(iterable, (ast.List, ast.Tuple, ast.ListComp, ast.GeneratorExp))
            else Value()
        )
        return held if held.built else self._unknown(name)

    def _call(self, node: ast.Call) -> Value:
        name = self.flow.qualified(node.func).rsplit(".", 1)[-1]
        if name in _NUMBERS or self.safe(name):
            return HARMLESS
        if name in _COMPOSERS and node.args:
            return self.of(node.args[0])
        if isinstance(node.func, ast.Attribute) and not self.flow.qualified(node.func).startswith(
            ("textwrap", "inspect")
        ):
            return self._method(node, node.func.value, name)
        if name in _SAME_TEXT and node.args:
            return self.of(node.args[0])
        return self._local_result(name, node)

    def _method(self, node: ast.Call, base: ast.expr, name: str) -> Value:
        if name == "format":
            left = self.of(base)
            values = [*node.args, *(given.value for given in node.keywords)]
            return left if self._composes(base) else left + self.together(values)
        if name in {"format_map", "substitute", "safe_substitute"}:
            made = base.args[0] if isinstance(base, ast.Call) and base.args else base
            return self.of(made) + Value(HOLE, (node,))
        if name == "join" and node.args:
            return (
                HARMLESS if self.constant_collection(node.args[0]) else self.of(base) + self.of(node.args[0])
            )
        if name == "get" and self.constant_collection(base):
            return self.of(node.args[1]) if len(node.args) > 1 else HARMLESS
        if name == "replace" and len(node.args) == 2:
            return HARMLESS if _escapes(*node.args) else self.of(base) + self.of(node.args[1])
        return self.of(base) if name in _SAME_TEXT else self._local_result(name, node)

    def _composes(self, expr: ast.expr) -> bool:
        """Return whether ``expr`` is Markup or psycopg's SQL, which escape what is formatted into them."""
        if isinstance(expr, ast.Name):
            return any(
                row.expr is not None and self._composes(row.expr) for row in self.flow.reaching(expr) or []
            )
        return isinstance(expr, ast.Call) and self.flow.qualified(expr.func).rsplit(".", 1)[-1] in _COMPOSERS

    def _local_result(self, name: str, node: ast.Call) -> Value:
        """Follow a call into a function of this module, with the arguments it is given."""
        function = self.flow.functions.get(name)
        self._budget[0] -= 1
        if (
            function is None
            or self._depth > MAX_DEPTH // 2
            or self._level >= MAX_LEVEL
            or self._budget[0] < 0
        ):
            return self._unknown(node)
        inner = Values(self.flow, self.safe, self)
        inner._given = {
            parameter: self.of(given) for parameter, given in arguments(function, node) if given is not None
        }
        returned = [
            part.value
            for part in ast.walk(function)
            if isinstance(part, ast.Return)
            and part.value is not None
            and self.flow.function(part) is function
        ]
        value = worst([inner.of(value) for value in returned])
        return value if returned and (value.built or not value.holes) else self._unknown(node)


def arguments(function: FunctionNode, call: ast.Call) -> Iterator[tuple[ast.arg, ast.expr | None]]:
    """Pair the parameters of a function with what a call gives them, or with their defaults."""
    declared = function.args
    positional = [*declared.posonlyargs, *declared.args]
    defaults = dict(
        zip(positional[len(positional) - len(declared.defaults) :], declared.defaults, strict=True)
    )
    defaults |= {
        arg: value
        for arg, value in zip(declared.kwonlyargs, declared.kw_defaults, strict=True)
        if value is not None
    }
    if positional and positional[0].arg in {"self", "cls"} and isinstance(call.func, ast.Attribute):
        positional = positional[1:]
    placed = dict(zip(positional, call.args, strict=False))
    for parameter in [*positional, *declared.kwonlyargs]:
        yield parameter, placed.get(parameter) or keyword(call, parameter.arg) or defaults.get(parameter)


def _escapes(old: ast.expr, new: ast.expr) -> bool:
    """Return whether ``replace(old, new)`` escapes: a quote doubled or after a backslash, ``<`` as an entity."""
    if not (isinstance(old, ast.Constant) and isinstance(new, ast.Constant)):
        return False
    return (old.value in {"'", '"', "`"} and new.value in {old.value * 2, f"\\{old.value}"}) or (
        old.value == "<" and new.value == "&lt;"
    )


def _says_harmless(name: str) -> bool:
    """Return whether a name says that its value was quoted or escaped where it was made."""
    return bool({"quoted", "escaped", "sanitized", "sanitised"} & set(name.lower().split("_")))


def _harmless_type(annotation: ast.expr | None) -> bool:
    """Return whether a type holds no free text: numbers, dates, ``Literal``, or one of these or ``None``."""
    if isinstance(annotation, ast.BinOp):
        sides = [side for side in (annotation.left, annotation.right) if not isinstance(side, ast.Constant)]
        return bool(sides) and all(_harmless_type(side) for side in sides)
    if isinstance(annotation, ast.Subscript):
        return getattr(annotation.value, "attr", getattr(annotation.value, "id", "")) == "Literal"
    return getattr(annotation, "attr", getattr(annotation, "id", "")) in _HARMLESS_TYPES
