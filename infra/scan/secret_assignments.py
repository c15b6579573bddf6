"""Hard-coded secrets in source code, configuration and commands that are neither Python nor YAML nor JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit
from infra.scan.secret_words import placeholder
from infra.scan.secrets import WINDOW, connection_string, is_lock_file, judge
from infra.scan.sources import Source

_QUOTED = re.compile(
    r"""(?x)
    (?<![\w.-]) (?P<quote_name>["'])? (?P<name>[A-Za-z_$][\w.$-]{1,80}) (?(quote_name)["']) \]? \s{0,8}
    (?: :\s{0,4}[A-Za-z_][\w<>\[\]|. ]{0,30}(?==) )?                     # a type annotation
    (?: := | => | = | : ) \s{0,8} [@brf]? (?P<quote>["'`]) (?P<value>(?:(?!(?P=quote)).){1,400}) (?P=quote)
    """
)
_BARE = re.compile(
    r"^\s*(?:export\s+|ENV\s+|ARG\s+|set\s+)?(?://\S+:)?(?P<name>[A-Za-z_][\w.-]{1,80})\s*[=:]\s*(?P<value>[^\s'\"]+)\s*(?:\s[#;].*)?$"
)
_DOCKER = re.compile(r"^\s*ENV\s+(?P<name>\w{2,80})\s+(?P<value>\S+)\s*$")

# NAME=value before or among the words of a command.
_BEFORE_COMMAND = re.compile(
    r"(?:^|[\s;&|(\"'])(?:Environment=['\"]?)?(?P<name>[A-Za-z_][\w.]{2,80})=(?P<quote>['\"]?)(?P<value>[^\s'\"$`;&|()<>\[\]{}]{4,200})(?P=quote)(?=[\s;&|)\"']|$)"
)
_EXPANSION = re.compile(r"\$\{(?P<name>[A-Za-z_]\w{2,80})(?::?[-=]|:)(?P<value>[^}$\s]{4,200})\}")
_IN_COMMANDS = re.compile(
    r"(?:^|\s)--(?P<name>[a-z-]*(?:password|passwd|token|secret|api-key))[= ]['\"]?(?P<value>[^\s'\"$-][^\s'\"]{3,200})"
    r"|\bcurl\b[^|;&\n]*\s(?:-u|--user)[ =]?['\"]?[\w.@-]+:(?P<pair>[^\s'\":$]{4,200})"
    r"|\b(?:sshpass|docker login|podman login|mysql|mysqldump|mysqladmin|mongo|mongosh|mongodump|redis-cli|ldapsearch)"
    r"\b[^|;&\n]*\s-(?:p|a|w)[ ]?['\"]?(?P<short>[^\s'\"$-][^\s'\"]{3,200})"
    r"|\b(?:echo|printf)\s+(?:-n\s+)?['\"]?(?P<piped>[^\s'\"$]{6,200})['\"]?\s*\|[^|]*(?:password-stdin|chpasswd|passwd|sudo\s+-S)"
)
_FALLBACK = re.compile(
    r"(?:process\.env\.|process\.env\[['\"]"
    r"|import\.meta\.env\.|Deno\.env\.get\(['\"]|getenv\(['\"]|getOrDefault\(['\"]|ENV\.fetch\(['\"]|env\(['\"])"
    r"(?P<name>\w{3,80})['\"]?[\])]?\s*(?:\|\||\?\?|,)\s*(?P<quote>['\"`])(?P<value>(?:(?!(?P=quote)).){4,200})(?P=quote)"
)
# A literal where a script signs tokens or sessions with it.
_SIGNING = re.compile(
    r"\b(?:jwt|jsonwebtoken)\s*\.\s*(?:sign|verify)\(\s*(?:[^(){},'\"`]|\([^()]*\)|\{[^{}]*\})+,\s*(?P<quote>['\"`])(?P<value>(?:(?!(?P=quote)).){3,200})(?P=quote)"
    r"|\b(?:session|cookieSession|cookieParser)\(\s*(?:\{[^}]*\b(?:secret|keys)\s*:\s*\[?\s*)?(?P<other>['\"`])(?P<session>(?:(?!(?P=other)).){3,200})(?P=other)"
)
_NETRC = re.compile(r"\bpassword\s+(?P<value>\S{4,200})")
_PGPASS = re.compile(r"^[^\s:#]+:[\d*]+:[^\s:]+:[^\s:]+:(?P<value>\S{4,200})$")
_VARIABLE = re.compile(r'^\s*variable\s+"(?P<name>\w+)"')
_DEFAULT = re.compile(r'^\s*default\s*=\s*"(?P<value>[^"]{4,200})"')
_IN_MARKUP = re.compile(r"<(?P<name>[\w.:-]{2,60})>(?P<value>[^<>]{4,200})</(?P=name)>")

_COMMANDS = {
    ".yml",
    ".yaml",
    ".json",
    ".mk",
    ".sh",
    ".bash",
    ".zsh",
    ".dockerfile",
    ".md",
    ".txt",
    ".service",
    ".ps1",
    ".bat",
}
_CODE = {
    ".js", ".mjs", ".cjs", ".jsx", ".ts", ".tsx", ".vue", ".svelte", ".java", ".kt", ".scala",
    ".groovy", ".gradle", ".go", ".rb", ".php", ".cs", ".rs", ".c", ".cc", ".cpp", ".h", ".swift",
    ".ps1", ".html", ".htm", ".ejs", ".sql", ".tf",
}  # fmt: skip
_CONFIG = {
    ".env", ".ini", ".cfg", ".conf", ".properties", ".toml", ".sh", ".bash", ".zsh", ".tfvars",
    ".npmrc", ".pypirc", ".netrc", ".dockerfile", ".credentials", ".envrc",
}  # fmt: skip


def scan_assignments(source: Source, *, parsed: bool = False) -> Iterator[Hit]:
    """Find credentials assigned in code and configuration, and given to commands.

    ``parsed`` says that the entries of the file were read as YAML or JSON already; only its commands are left.
    """
    suffix = source.suffix
    base = source.name.rsplit("/", 1)[-1].lower()
    commands = base.startswith(
        ("dockerfile", "containerfile", "makefile", "jenkinsfile", "procfile", "vagrantfile")
    )
    config = commands or suffix in _CONFIG or base in {"credentials", ".env"} or base.startswith(".env.")
    if is_lock_file(source):
        return
    if suffix in {".xml", ".config", ".csproj", ".plist"}:
        yield from _markup(source)
    if base in {".netrc", "_netrc", ".pgpass", "pgpass.conf"}:
        yield from _password_file(source)
    documents = suffix in {".yml", ".yaml", ".json", ".template"}
    code = suffix in _CODE or (documents and not parsed)
    if suffix == ".tf":
        yield from _terraform(source)
    for number, line in enumerate(source.lines, 1):
        if len(line) > WINDOW or _is_comment(line, suffix):
            continue
        if config or code:
            for found in _QUOTED.finditer(line):
                yield from judge(found["name"], found["value"], number, found.start("value") + 1)
            yield from connection_string(line, number, 1)
            yield from _matches(_FALLBACK, line, number)
            yield from _signing(line, number)
        if config or (documents and not parsed):
            bare = _BARE.match(line) or (_DOCKER.match(line) if commands else None)
            if bare:
                yield from judge(bare["name"], bare["value"], number, bare.start("value") + 1)
        if config or suffix in _COMMANDS:
            yield from _commands(line, number)


def _is_comment(line: str, suffix: str) -> bool:
    """Return whether a whole line of configuration is a comment in which settings are only shown."""
    return suffix in {".env", ".ini", ".cfg", ".conf", ".toml"} and line.lstrip().startswith(("# ", ";"))


def _markup(source: Source) -> Iterator[Hit]:
    for number, line in enumerate(source.lines, 1):
        yield from _matches(_IN_MARKUP, line[:WINDOW], number)


def _matches(pattern: re.Pattern[str], line: str, number: int) -> Iterator[Hit]:
    for found in pattern.finditer(line):
        yield from judge(found["name"], found["value"], number, found.start("value") + 1)


def _signing(line: str, number: int) -> Iterator[Hit]:
    for found in _SIGNING.finditer(line):
        group = "value" if found["value"] else "session"
        if not placeholder(found[group]):
            yield Hit(RULES["secret-key-literal"], number, found.start(group) + 1, secret=found[group])


def _password_file(source: Source) -> Iterator[Hit]:
    for number, line in enumerate(source.lines, 1):
        found = _NETRC.search(line[:WINDOW]) or _PGPASS.match(line[:WINDOW])
        if found:
            yield from judge("password", found["value"], number, found.start("value") + 1)


def _terraform(source: Source) -> Iterator[Hit]:
    """Find the default of a variable whose name says that it holds a credential."""
    name = ""
    for number, line in enumerate(source.lines, 1):
        opened, default = _VARIABLE.match(line), _DEFAULT.match(line)
        name = opened["name"] if opened else name
        if default:
            yield from judge(name, default["value"], number, default.start("value") + 1)


def _commands(line: str, number: int) -> Iterator[Hit]:
    yield from _matches(_EXPANSION, line, number)
    yield from _matches(_BEFORE_COMMAND, line, number)
    for found in _IN_COMMANDS.finditer(line):
        group = next(name for name in ("value", "pair", "short", "piped") if found[name])
        yield from judge(found["name"] or "password", found[group], number, found.start(group) + 1)
