"""Rules for SAM and CloudFormation templates, OpenAPI documents, and CORS settings in any YAML or JSON."""

from __future__ import annotations

import re
from collections.abc import Iterator

from infra.scan.catalogue import RULES
from infra.scan.findings import Hit, Severity
from infra.scan.nodes import Node, pairs
from infra.scan.secret_words import plausible, secrecy, squeeze

_SENSITIVE = re.compile(
    r"""(?ix)^
      (?: iam:(?:\*|pass|put|attach|create|update|delete|add|set)\S* | sts:assumerole\S*
        | kms:(?:\*|decrypt|create|put|schedule)\S* | secretsmanager:(?:\*|get|put|update|delete)\S*
        | ssm:(?:\*|get|put|send)\S* | s3:(?:\*|get|put|delete)\S* | sns:(?:\*|publish|subscribe)\S*
        | dynamodb:(?:\*|put|delete|update|get|scan|query|batch)\S*
        | lambda:(?:\*|invoke|update|create|add)\S*
        | sqs:(?:\*|send|receive|delete|purge)\S* | rds-db:connect | rds:(?:\*|delete|modify)\S*
        | ec2:(?:\*|run|terminate|authorize)\S* | organizations:\S*
        | cloudformation:(?:\*|create|update|delete|execute)\S* )$"""
)
_ADMIN = re.compile(r":policy/(?:AdministratorAccess|IAMFullAccess|PowerUserAccess)$")
_OPEN_RANGES = {"0.0.0.0/0", "::/0"}
_PUBLIC_PORTS = {80, 443}
_PLAIN_HTTP = re.compile(
    r"^http://(?!localhost|127\.|\[::1\]|0\.0\.0\.0|169\.254\.|\$\{|[\w-]+(?::|/|$)|[\w.-]+\.internal\b|host\.docker)",
    re.I,
)
_NAMESPACE = re.compile(r"^http://(?:www\.w3\.org|json-schema\.org|schemas?\.)", re.I)

# type -> (property, rule when it says no, whether leaving it out means no)
_ENCRYPTED: dict[str, list[tuple[str, str, bool]]] = {
    "AWS::SQS::Queue": [("SqsManagedSseEnabled", "crypto-at-rest", False)],
    "AWS::RDS::DBInstance": [("StorageEncrypted", "crypto-at-rest", False)],
    "AWS::RDS::DBCluster": [("StorageEncrypted", "crypto-at-rest", True)],
    "AWS::EFS::FileSystem": [("Encrypted", "crypto-at-rest", True)],
    "AWS::EC2::Volume": [("Encrypted", "crypto-at-rest", True)],
    "AWS::Redshift::Cluster": [("Encrypted", "crypto-at-rest", False)],
    "AWS::ElastiCache::ReplicationGroup": [
        ("AtRestEncryptionEnabled", "crypto-at-rest", True),
        ("TransitEncryptionEnabled", "crypto-in-transit", True),
    ],
}


def is_template(root: Node) -> bool:
    """Return whether a document is a CloudFormation or SAM template."""
    resources = root.get("Resources")
    return resources is not None and any(entry.get("Type") is not None for entry in resources.entries)


def find(root: Node) -> Iterator[Hit]:
    """Yield the findings of one YAML or JSON document."""
    yield from _cors(root)
    for node in root.walk():
        if node.get("Effect") is not None and node.get("Action") is not None:
            yield from _statement(node)
    if is_template(root):
        yield from _parameters(root)
        resources = root.get("Resources")
        for resource in resources.entries if resources else []:
            yield from _resource(resource.text("Type"), resource.get("Properties") or resource)


def _hit(rule: str, node: Node, severity: Severity | None = None) -> Hit:
    return Hit(RULES[rule], node.line, node.column, severity=severity)


def _says_no(node: Node | None) -> bool:
    return node is not None and (node.value or "").lower() in {"false", "no", "0", "off", "disabled"}


def _says_yes(node: Node | None) -> bool:
    return node is not None and (node.value or "").strip("'\"").lower() in {"true", "yes", "1", "on"}


# -- CORS ----------------------------------------------------------------------------------------------


def _cors(root: Node) -> Iterator[Hit]:
    for parent, node in _with_keys(root):
        entries = {squeeze(key.value or ""): (key, value) for key, value in node.mapping()}
        credentials = next(
            (value for name, (_, value) in entries.items() if name.endswith("allowcredentials")), None
        )
        for name, (key, value) in entries.items():
            # Serverless and others write `cors: {origin: …}`; elsewhere an `origin` is something else.
            origins = name.endswith(
                ("alloworigin", "alloworigins", "allowedorigins", "corsorigins", "corsorigin")
            )
            short = name == "cors" or (name in {"origin", "origins"} and parent == "cors")
            if not (origins or short):
                continue
            if _says_yes(credentials) and _any_origin(value, "null"):
                yield _hit("cors-null-origin", key)
            elif _any_origin(value):
                if _says_yes(credentials):
                    yield _hit("cors-wildcard-credentials", key)
                else:
                    yield _hit("cors-wildcard", key, _weight(entries, credentials))


def _with_keys(root: Node) -> Iterator[tuple[str, Node]]:
    """Yield every node once with the key it stands under, squeezed; items with that of their sequence."""
    stack = [("", root)]
    seen: set[int] = set()
    while stack:
        key, node = stack.pop()
        if id(node) not in seen:
            seen.add(id(node))
            yield key, node
            stack += [(key, item) for item in node.items]
            stack += [(squeeze(name.value or ""), entry) for name, entry in node.mapping()]


def _weight(entries: dict[str, tuple[Node, Node]], credentials: Node | None) -> Severity:
    """Grade an open door without credentials by the methods and headers that may come through it."""

    def listed(*endings: str) -> set[str]:
        held = (value for name, (_, value) in entries.items() if name.endswith(endings))
        return {
            word.strip("'\" ").upper()
            for value in held
            for part in value.scalars()
            for word in (part.value or "").split(",")
        }

    methods = listed("allowmethods", "allowedmethods", "methods") - {""}
    if (methods and methods <= {"GET", "HEAD", "OPTIONS"}) or (not methods and _says_no(credentials)):
        return Severity.INFO
    return (
        Severity.MEDIUM
        if methods or listed("allowheaders", "allowedheaders") & {"*", "AUTHORIZATION"}
        else Severity.LOW
    )


def _any_origin(node: Node, origin: str = "*") -> bool:
    return any((scalar.value or "").strip("'\"") == origin for scalar in node.scalars())


# -- policies ------------------------------------------------------------------------------------------


def _statement(node: Node) -> Iterator[Hit]:
    if node.text("Effect") != "Allow":
        return
    action, resource, principal = node.get("Action"), node.get("Resource"), node.get("Principal")
    if principal is not None and node.get("Condition") is None:
        anyone = [scalar for scalar in [*principal.scalars(), *_nested(principal)] if scalar.value == "*"]
        if anyone:
            yield _hit("iam-public", anyone[0])
    if action is None or resource is None or not any(scalar.value == "*" for scalar in resource.scalars()):
        return
    actions = action.scalars()
    every = next(
        (
            scalar
            for scalar in actions
            if scalar.value == "*"
            or re.fullmatch(r"(?:iam|sts|kms|s3|secretsmanager):\*", scalar.value or "")
        ),
        None,
    )
    if every is not None:
        yield _hit("iam-wildcard", every)
        return
    sensitive = next((scalar for scalar in actions if _SENSITIVE.match(scalar.value or "")), None)
    if sensitive is not None and node.get("Condition") is None:
        yield _hit("iam-sensitive-any-resource", sensitive)


def _nested(node: Node) -> list[Node]:
    return [scalar for entry in node.entries for scalar in entry.scalars()]


# -- templates -----------------------------------------------------------------------------------------


def _parameters(root: Node) -> Iterator[Hit]:
    parameters = root.get("Parameters")
    for name, parameter in parameters.mapping() if parameters else []:
        default = parameter.get("Default")
        hidden = _says_yes(parameter.get("NoEcho"))
        holds = secrecy(name.value or "") not in {None, "random"}
        if not (holds or hidden) or parameter.text("Type").startswith("AWS::SSM"):
            continue
        if default is not None and default.value and plausible(default.value, "password"):
            yield Hit(RULES["secret-template-default"], default.line, default.column, secret=default.value)
        elif holds and not hidden:
            yield _hit("secret-template-echo", name)


def _resource(kind: str, properties: Node) -> Iterator[Hit]:
    yield from _encryption(kind, properties)
    yield from _network(kind, properties)
    yield from _plain_http(kind, properties)
    policies = properties.get("ManagedPolicyArns") or properties.get("Policies")
    for scalar in policies.scalars() if policies else []:
        if _ADMIN.search(scalar.value or "") or scalar.value == "AdministratorAccess":
            yield _hit("iam-wildcard", scalar)
    access = properties.get("AccessControl")
    if kind == "AWS::S3::Bucket" and access is not None and (access.value or "").startswith("PublicRead"):
        yield _hit("iam-public", access)
    auth = (
        properties.get("AuthType")
        if kind == "AWS::Lambda::Url"
        else properties.get("FunctionUrlConfig", "AuthType")
    )
    if auth is not None and auth.value == "NONE":
        yield _hit("net-public-url", auth)


def _encryption(kind: str, properties: Node) -> Iterator[Hit]:
    for name, rule, required in _ENCRYPTED.get(kind, []):
        given = properties.get(name)
        if _says_no(given):
            yield _hit(rule, given or properties)
        elif (
            required
            and given is None
            and properties.get("SnapshotIdentifier") is None
            and properties.get("SnapshotId") is None
        ):
            yield _hit(rule, properties, Severity.LOW)


def _network(kind: str, properties: Node) -> Iterator[Hit]:
    if kind in {"AWS::RDS::DBInstance", "AWS::RDS::DBCluster", "AWS::Redshift::Cluster"}:
        public = properties.get("PubliclyAccessible")
        if public is not None and _says_yes(public):
            yield _hit("net-public-database", public)
    ingress = properties.get("SecurityGroupIngress")
    rules = ingress.items if ingress else [properties] if kind == "AWS::EC2::SecurityGroupIngress" else []
    for rule in rules:
        source = rule.get("CidrIp") or rule.get("CidrIpv6")
        if source is None or source.value not in _OPEN_RANGES:
            continue
        ports = {rule.text("FromPort"), rule.text("ToPort")}
        public_only = all(port.isdigit() and int(port) in _PUBLIC_PORTS for port in ports)
        if rule.text("IpProtocol") == "-1" or not public_only:
            yield _hit("net-open-port", source)


def _plain_http(kind: str, properties: Node) -> Iterator[Hit]:
    if kind == "AWS::ElasticLoadBalancingV2::Listener" and properties.text("Protocol") == "HTTP":
        actions = properties.get("DefaultActions")
        if not any(action.text("Type") == "redirect" for action in (actions.items if actions else [])):
            yield _hit("crypto-plain-http", properties.get("Protocol") or properties)
        return
    for _, node in pairs(properties):
        for scalar in node.scalars():
            value = scalar.value or ""
            if (value == "allow-all" and kind == "AWS::CloudFront::Distribution") or (
                _PLAIN_HTTP.match(value) and not _NAMESPACE.match(value)
            ):
                yield _hit("crypto-plain-http", scalar)
