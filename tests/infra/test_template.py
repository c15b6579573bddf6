"""template.yaml keeps the house's policies, and agrees with the code that it deploys."""

from __future__ import annotations

import json
import tomllib
from typing import Any

import pytest

from farwatch.adapters import sns, sqs
from farwatch.domain.events import EventKind, IncidentEvent
from farwatch.domain.severity import Severity
from farwatch.services.health import MADE_GOOD
from farwatch.settings import Settings
from infra.local.home import CHECKOUT
from infra.local.package import load_template, package

TEMPLATE = load_template(CHECKOUT / "template.yaml")
RESOURCES: dict[str, dict[str, Any]] = TEMPLATE["Resources"]


def of_type(kind: str) -> dict[str, dict[str, Any]]:
    """Name -> properties of the resources of one type."""
    return {name: r["Properties"] for name, r in RESOURCES.items() if r["Type"] == kind}


FUNCTIONS = of_type("AWS::Serverless::Function")
QUEUES = of_type("AWS::SQS::Queue")
# What may be granted on "*", and why nothing narrower exists.
WIDE = {
    "xray:PutTraceSegments": "X-Ray has no resources",
    "xray:PutTelemetryRecords": "X-Ray has no resources",
}


# Actions written with a "*", and which they stand for. The engine asks for the second where AWS asks for the first.
SHORTENED = {
    "sqs:SendMessage*": {"sqs:SendMessage", "sqs:SendMessageBatch"},
    "sns:Publish*": {"sns:Publish", "sns:PublishBatch"},
}


def each_function() -> Any:
    return pytest.mark.parametrize("name", FUNCTIONS)


@each_function()
def test_a_function_states_what_it_may_use(name: str) -> None:
    properties = FUNCTIONS[name]
    assert {"Timeout", "MemorySize", "ReservedConcurrentExecutions", "Role", "Description"} <= set(properties)
    short = properties["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
    assert set(TEMPLATE["Mappings"]["Concurrency"][short]) == {"none", "machine", "small", "large"}


@each_function()
def test_a_function_writes_to_a_log_group_of_its_own_that_forgets(name: str) -> None:
    group = RESOURCES[FUNCTIONS[name]["LoggingConfig"]["LogGroup"]["Ref"]]["Properties"]
    assert group["LogGroupName"]["Fn::Sub"] == "/aws/lambda/" + FUNCTIONS[name]["FunctionName"]["Fn::Sub"]
    assert group["RetentionInDays"] == {"Ref": "LogRetentionDays"}


@each_function()
def test_a_function_has_a_handler_where_the_makefile_takes_it_from(name: str) -> None:
    folder, module, attribute = FUNCTIONS[name]["Handler"].split(".")[1:]
    assert name == f"{folder.capitalize()}Function", (
        "functions/Makefile finds the folder by the resource's name"
    )
    assert (CHECKOUT / "functions" / folder / f"{module}.py").is_file()
    assert attribute == "handler"


@each_function()
def test_what_a_function_failed_to_do_is_kept(name: str) -> None:
    events = FUNCTIONS[name].get("Events", {})
    for event in events.values():
        if event["Type"] == "SQS":
            assert event["Properties"]["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
            assert "RedrivePolicy" in QUEUES[event["Properties"]["Queue"]["Fn::GetAtt"][0]]
        else:
            assert event["Properties"]["DeadLetterConfig"]["Arn"] == {
                "Fn::GetAtt": ["FailedInvocations", "Arn"]
            }
    invoked_through_the_gateway = {"AuthorizerFunction", "IngestFunction", "ApiFunction"}
    fed_by_queues_only = bool(events) and all(event["Type"] == "SQS" for event in events.values())
    if name not in invoked_through_the_gateway and not fed_by_queues_only:
        destination = FUNCTIONS[name]["EventInvokeConfig"]["DestinationConfig"]["OnFailure"]
        assert destination["Destination"] == {"Fn::GetAtt": ["FailedInvocations", "Arn"]}


@each_function()
def test_a_queue_hides_a_message_for_longer_than_one_attempt_takes(name: str) -> None:
    for event in FUNCTIONS[name].get("Events", {}).values():
        if event["Type"] == "SQS":
            queue = QUEUES[event["Properties"]["Queue"]["Fn::GetAtt"][0]]
            assert queue["VisibilityTimeout"] >= 2 * FUNCTIONS[name]["Timeout"]


def test_every_queue_has_dead_letters_of_its_own_kind() -> None:
    dead: set[str] = set()
    for name, queue in QUEUES.items():
        if "RedrivePolicy" in queue:
            target = queue["RedrivePolicy"]["deadLetterTargetArn"]["Fn::GetAtt"][0]
            assert QUEUES[target].get("FifoQueue", False) == queue.get("FifoQueue", False)
            assert QUEUES[target]["MessageRetentionPeriod"] > queue["MessageRetentionPeriod"]
            assert target not in dead, f"{name} shares its dead letters"
            dead.add(target)
    assert set(QUEUES) - dead - {n for n, q in QUEUES.items() if "RedrivePolicy" in q} == {
        "FailedInvocations"
    }
    assert all(queue["SqsManagedSseEnabled"] is True for queue in QUEUES.values())


def test_the_health_page_asks_every_queue_of_dead_letters_and_may_ask_no_other() -> None:
    fed = {n for n, queue in QUEUES.items() if "RedrivePolicy" in queue}
    names = {
        QUEUES[name]["QueueName"]["Fn::Sub"].removeprefix("${AWS::StackName}-"): name
        for name in set(QUEUES) - fed
    }
    assert set(sqs.DEAD_LETTERS) == set(names)
    assert set(names) >= MADE_GOOD
    assert QUEUES["SamplesQueue"]["QueueName"]["Fn::Sub"] == "${AWS::StackName}-samples.fifo"
    asked = {
        resource["Fn::GetAtt"][0]
        for policy in RESOURCES["ApiRole"]["Properties"]["Policies"]
        for statement in policy["PolicyDocument"]["Statement"]
        if "sqs:GetQueueAttributes" in as_list(statement["Action"])
        for resource in as_list(statement["Resource"])
    }
    assert asked == set(names.values())


def statements() -> list[tuple[str, dict[str, Any]]]:
    found = []
    for name, resource in RESOURCES.items():
        properties = resource.get("Properties", {})
        documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
        documents += [properties["PolicyDocument"]] if "PolicyDocument" in properties else []
        found += [(name, statement) for document in documents for statement in document["Statement"]]
    return found


def test_looks_leave_room_for_those_who_ask_detect_something() -> None:
    rows = TEMPLATE["Mappings"]["Concurrency"]
    assert all(rows["looks"][plan] < rows["detect"][plan] for plan in ("machine", "small", "large"))


def test_the_reservations_have_a_row_for_each_function_and_one_for_queues() -> None:
    rows = {properties["FunctionName"]["Fn::Sub"].rpartition("-")[2] for properties in FUNCTIONS.values()}
    assert set(TEMPLATE["Mappings"]["Concurrency"]) == rows | {"queue", "looks"}
    # The engine keeps the text of a parameter as text and then compares it with a number.
    for properties in FUNCTIONS.values():
        for event in properties.get("Events", {}).values():
            scaling = event["Properties"].get("ScalingConfig", {}).get("MaximumConcurrency")
            assert scaling is None or "Fn::FindInMap" in scaling


def as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def test_no_statement_allows_an_action_by_wildcard_or_on_everything() -> None:
    assert len(statements()) > len(FUNCTIONS)
    for name, statement in statements():
        actions = as_list(statement["Action"])
        assert not [action for action in actions if "*" in action and action not in SHORTENED], name
        if "*" in as_list(statement["Resource"]):
            assert set(actions) <= set(WIDE), f"{name} grants {actions} on everything"


def test_a_function_may_only_receive_from_queues_that_feed_it() -> None:
    for name, properties in FUNCTIONS.items():
        role = RESOURCES[properties["Role"]["Fn::GetAtt"][0]]["Properties"]
        fed = {
            event["Properties"]["Queue"]["Fn::GetAtt"][0]
            for event in properties.get("Events", {}).values()
            if event["Type"] == "SQS"
        }
        granted = {
            resource["Fn::GetAtt"][0]
            for policy in role.get("Policies", [])
            for statement in policy["PolicyDocument"]["Statement"]
            if "sqs:ReceiveMessage" in as_list(statement["Action"])
            for resource in as_list(statement["Resource"])
        }
        assert granted == fed, name
        assert role["ManagedPolicyArns"] == [{"Ref": "FunctionBase"}]


def test_functions_are_given_the_settings_that_the_code_reads() -> None:
    given = set(TEMPLATE["Globals"]["Function"]["Environment"]["Variables"])
    read = {field.upper() for field in Settings.model_fields}
    # Read elsewhere: by Powertools, by numpy's and scikit-learn's algebra, and by programs outside Lambda.
    elsewhere = {name for name in given if name.startswith("POWERTOOLS_") or name.endswith("_NUM_THREADS")}
    assert given - read - elsewhere == set()
    assert read - given == {"SECRETS_FILE", "AWS_ENDPOINT_URL"}


def test_no_secret_stands_in_an_environment_or_a_parameter_without_noecho() -> None:
    variables = TEMPLATE["Globals"]["Function"]["Environment"]["Variables"]
    for function in FUNCTIONS.values():
        variables |= function.get("Environment", {}).get("Variables", {})
    suspicious = [
        n for n in variables if any(w in n for w in ("PASSWORD", "TOKEN", "DATABASE", "REDIS", "PEPPER"))
    ]
    assert suspicious == []
    for name, parameter in TEMPLATE["Parameters"].items():
        if any(word in name.lower() for word in ("password", "token", "dsn")):
            assert parameter.get("NoEcho") is True, name


def test_subscriptions_filter_by_attributes_that_events_carry() -> None:
    event = IncidentEvent(
        id="evt_1",
        incident_id="inc_1",
        seq=1,
        kind=EventKind.OPENED,
        at=0,
        pages=True,
        severity=Severity.CRITICAL,
        status="open",
        title="CPU",
        reason="high",
        host_id="host_1",
        host_name="web-1",
        opened_at=0,
    )
    carried = json.loads(sns.attributes(event)["channels"]["StringValue"])
    wanted = [s["FilterPolicy"] for s in of_type("AWS::SNS::Subscription").values()]
    assert sorted(channel for policy in wanted for channel in policy["channels"]) == sorted(carried)
    assert all(set(policy) == {"channels"} for policy in wanted)


def test_layers_list_what_pyproject_lists() -> None:
    extras = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    listed = {
        layer: [
            line
            for line in (CHECKOUT / "layers" / layer / "requirements.txt").read_text().splitlines()
            if line and not line.startswith("#")
        ]
        for layer in ("core", "live", "detect", "forecast")
    }
    # The runtime brings boto3; migrations run from the command line, and a container needs no connection pool.
    not_in_functions = {"boto3>=1.40", "yoyo-migrations>=9.0", "psycopg[binary,pool]>=3.2"}
    assert sorted(listed["core"]) == sorted({*extras["core"], "psycopg[binary]>=3.2"} - not_in_functions)
    for layer in ("live", "detect", "forecast"):
        assert set(listed[layer]) <= set(extras[layer])


def test_packaging_changes_nothing_but_where_code_lies(tmp_path: Any) -> None:
    packaged = package(TEMPLATE, CHECKOUT, tmp_path, "bucket").template
    for name, resource in packaged["Resources"].items():
        properties = dict(resource["Properties"])
        original = dict(RESOURCES[name]["Properties"])
        for field in ("CodeUri", "ContentUri"):
            if field in properties:
                assert properties.pop(field).startswith("s3://bucket/")
                original.pop(field, None)
        assert {**resource, "Properties": properties} == {**RESOURCES[name], "Properties": original}
    assert {k: v for k, v in packaged.items() if k != "Resources"} == {
        k: v for k, v in TEMPLATE.items() if k != "Resources"
    }
