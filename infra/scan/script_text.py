"""Source text of other languages than Python, seen twice: without comments, and without strings as well.

Pygments does the lexing, so a pattern can ask "is this in code" without a parser for every language. Blanked
characters become spaces: offsets and lines stay those of the file.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

from pygments.lexer import Lexer
from pygments.lexers import (
    CSharpLexer,
    GoLexer,
    HtmlLexer,
    JavaLexer,
    JavascriptLexer,
    KotlinLexer,
    PhpLexer,
    TypeScriptLexer,
)
from pygments.token import Comment, String

from infra.scan.sources import Source

LEXERS: dict[str, type[Lexer]] = {
    ".js": JavascriptLexer, ".mjs": JavascriptLexer, ".cjs": JavascriptLexer, ".jsx": JavascriptLexer,
    ".ts": TypeScriptLexer, ".tsx": TypeScriptLexer, ".html": HtmlLexer, ".htm": HtmlLexer, ".vue":
    HtmlLexer, ".svelte": HtmlLexer, ".ejs": HtmlLexer, ".java": JavaLexer, ".kt": KotlinLexer, ".go":
    GoLexer, ".cs": CSharpLexer, ".php": PhpLexer,
}  # fmt: skip

MAX_STEPS = 8_000_000

_OPEN, _CLOSE = "([{", ")]}"
_HARMLESS_CALL = re.compile(
    r"(?<![\w$])(?:[\w$]+\.)*(?:sanitize\w*|sanitise\w*|\w*[eE]scape\w*|encodeURIComponent|Number|parseInt|parseFloat|purify\w*|clean\w*|t|gettext)\("
)
_CHAINED_CALL = re.compile(r"\s*\.\s*\w+\(")
_ASSIGNED = re.compile(r"(?<![\w$.])([A-Za-z_$][\w$]*)\s*(?::\s*[\w<>\[\]]+\s*)?\+?=(?![=>])")
_REQUEST = re.compile(
    r"\b(?:req(?:uest)?|ctx(?:\s*\.\s*request)?)\s*\.\s*(?:query|params|body|headers|cookies)\s*(?:\.|\[)"
    r"|\breq(?:uest)?\s*\.\s*(?:url|originalUrl|path)\b"
    r"|\blocation\s*\.\s*(?:search|hash|href)|\bdocument\s*\.\s*(?:URL|referrer|cookie)|\bsearchParams\b|\bURLSearchParams\b"
)
_DESTRUCTURED = re.compile(
    r"\{([^{}]{1,300})\}\s*=\s*(?:req(?:uest)?|ctx)\s*\.\s*(?:query|params|body|headers|cookies)\b"
)
_HARMLESS_NAME = re.compile(
    r"\.\s*(?:length|size)\b|\b(?:null|undefined|true|false|this|[A-Z][A-Z0-9_]+|String|final|(?:\w+)?\.(?:length|size))\b"
)


class Exhausted(ValueError):
    """A script has more to follow than a scan is willing to."""


@dataclass
class Script:
    """One file: ``code`` has its comments blanked, ``bare`` its strings too (not what they interpolate)."""

    source: Source
    code: str
    bare: str
    steps: int = 0

    @cached_property
    def _starts(self) -> list[int]:
        starts = [0]
        for line in self.source.lines:
            starts.append(starts[-1] + len(line) + 1)
        return starts

    def place(self, offset: int) -> tuple[int, int]:
        """Return (line, column), both from 1, of an offset."""
        from bisect import bisect_right

        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1

    def expression(self, start: int, *, stops: str = ";") -> tuple[int, int]:
        """Return (start, end) of the expression at ``start``: to a stop or closing bracket at its own depth.

        A line break ends it too, unless an operator stands before or after the break. Raises ``Exhausted``.
        """
        end = self._end(start, stops)
        self.steps += end - start
        if self.steps > MAX_STEPS:
            raise Exhausted
        return start, end

    def _end(self, start: int, stops: str) -> int:
        depth = 0
        text = self.bare
        limit = min(len(text), start + 4000)
        for index in range(start, limit):
            char = text[index]
            if char in _OPEN:
                depth += 1
            elif char in _CLOSE:
                depth -= 1
                if depth < 0:
                    return index
            elif (depth == 0 and char in stops) or (
                depth == 0 and char == "\n" and ";" in stops and self._ends_here(start, index, limit)
            ):
                return index
        return limit

    def braces(self, offset: int) -> tuple[int, int]:
        """Return (start, end) of what stands between the innermost braces around an offset."""
        depth = 0
        for index in range(offset - 1, max(offset - 4000, -1), -1):
            depth += (self.bare[index] in _CLOSE) - (self.bare[index] in _OPEN)
            if depth < 0:
                return self.expression(index + 1, stops="")
        return offset, offset

    def _ends_here(self, start: int, index: int, limit: int) -> bool:
        before, after = self.code[start:index].rstrip()[-1:], self.code[index:limit].lstrip()[:1]
        return before not in {"", "+", "=", "(", ",", "?", ":"} and after not in {"+", "?", ":", "."}

    def dynamic(self, span: tuple[int, int]) -> bool:
        """Return whether an expression holds a value that is neither constant nor made harmless."""
        return any(name not in self._constants for name in self._names(span))

    def _names(self, span: tuple[int, int]) -> list[str]:
        """Return the identifiers of an expression, without harmless calls (and what is called on them)."""
        text = self.bare[slice(*span)]
        while found := _HARMLESS_CALL.search(text):
            end = _closing(text, found.end())
            while after := _CHAINED_CALL.match(text, end):
                end = _closing(text, after.end())
            text = text[: found.start()] + text[end:]
        return re.findall(r"[A-Za-z_$][\w$]*", _HARMLESS_NAME.sub(" ", text.replace("${", " ")))

    @cached_property
    def _constants(self) -> set[str]:
        """The names that are only ever assigned literals in this file."""
        literal: dict[str, bool] = {}
        for found in _ASSIGNED.finditer(self.bare):
            names = self._names(self.expression(found.end()))
            literal[found[1]] = literal.get(found[1], True) and not names
        return {name for name, constant in literal.items() if constant}

    def from_request(self, span: tuple[int, int]) -> bool:
        """Return whether an expression holds a field of the request, read on the spot or through a name."""
        text = self.bare[slice(*span)]
        names = set(re.findall(r"(?<![\w$.])[A-Za-z_$][\w$]*", text)) if self._names(span) else set()
        return bool(self._names(span)) and (bool(_REQUEST.search(text)) or bool(names & self._of_request))

    @cached_property
    def _of_request(self) -> set[str]:
        """The names that are given fields of the request somewhere in this file."""
        given = set()
        for found in _ASSIGNED.finditer(self.bare):
            span = self.expression(found.end())
            if _REQUEST.search(self.bare[slice(*span)]) and self._names(span):
                given.add(found[1])
        for found in _DESTRUCTURED.finditer(self.bare):
            given.update(re.findall(r"[A-Za-z_$][\w$]*", found[1]))
        return given

    def literal(self, span: tuple[int, int]) -> str:
        """Return the constant text of an expression, with ``?`` where values go."""
        parts: list[str] = []
        for char, bare in zip(self.code[slice(*span)], self.bare[slice(*span)], strict=True):
            if bare == " ":
                parts.append(char)
            elif not parts or parts[-1] != "?":
                parts.append("?")
        return re.sub(r"[\"'`]\s*\?*\s*[\"'`]|[\"'`]", "", "".join(parts))


def _closing(text: str, start: int) -> int:
    depth = 1
    for index in range(start, len(text)):
        depth += (text[index] in _OPEN) - (text[index] in _CLOSE)
        if depth == 0:
            return index + 1
    return len(text)


def read(source: Source) -> Script | None:
    """Return the file as a ``Script``, or ``None`` when its language is not one of ours."""
    lexer = LEXERS.get(source.suffix)
    if lexer is None:
        return None
    code, bare = list(source.text), list(source.text)
    for index, token, value in lexer().get_tokens_unprocessed(source.text):
        if token in Comment and token not in Comment.Preproc:
            _blank(code, index, value)
            _blank(bare, index, value)
        elif token in String and token not in String.Interpol:
            # A line that breaks within a string does not end the expression.
            _blank(bare, index, value, lines=True)
    return Script(source, "".join(code), "".join(bare))


def _blank(text: list[str], start: int, value: str, *, lines: bool = False) -> None:
    for offset, char in enumerate(value, start):
        if lines or char != "\n":
            text[offset] = " "
