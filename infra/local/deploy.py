"""Deploys template.yaml to the local engine: package, upload, change set, execute, wait.

The engine forgets everything when it dies, so this runs at every start and after every restart of it. The
API ids are pinned by a tag in the template, which keeps the URLs the same from one deployment to the next.
"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from infra.local.package import load_template, package

if TYPE_CHECKING:
    from collections.abc import Mapping

STACK = "farwatch"
BUCKET = "farwatch-code"
REGION = "us-east-1"
ACCOUNT = "000000000000"


class DeployError(RuntimeError):
    """The stack was refused or rolled back; the message names the resources and their reasons."""


@dataclass(frozen=True)
class Stack:
    """What a deployed stack offers: its outputs by name."""

    outputs: dict[str, str]


def client(service: str, endpoint: str) -> Any:
    """A boto3 client of the local engine at `endpoint`. Its credentials are not secret: nothing checks them."""
    import boto3
    from botocore.config import Config

    return boto3.client(
        service,
        endpoint_url=endpoint,
        region_name=REGION,
        aws_access_key_id=ACCOUNT,
        aws_secret_access_key="local",  # noqa: S106
        config=Config(retries={"total_max_attempts": 2}, read_timeout=60, s3={"addressing_style": "path"}),
    )


def deploy(
    *, root: Path, build: Path, endpoint: str, parameters: Mapping[str, str], secret: Mapping[str, object]
) -> Stack:
    """Deploy `root`/template.yaml to the engine at `endpoint` and return its outputs.

    `secret` becomes the Secrets Manager secret that the parameter `SecretsId` names, which has to be there
    before the stack is. Archives are kept in `build`. Raises `DeployError` when the stack does not come up
    and `FileNotFoundError` when code that the template names is missing.
    """
    ready = package(load_template(root / "template.yaml"), root, build, BUCKET)
    s3 = client("s3", endpoint)
    cloudformation = client("cloudformation", endpoint)
    s3.create_bucket(Bucket=BUCKET)
    _put_secret(endpoint, parameters["SecretsId"], secret)
    body = json.dumps(ready.template).encode()
    with ThreadPoolExecutor(4) as pool:
        uploads = [
            pool.submit(s3.put_object, Bucket=BUCKET, Key=key, Body=content)
            for key, content in [("template.json", body), *((a.key, a.body) for a in ready.archives)]
        ]
    for upload in uploads:
        upload.result()
    cloudformation.create_change_set(
        StackName=STACK,
        ChangeSetName="up",
        ChangeSetType="CREATE",
        TemplateURL=f"{endpoint}/{BUCKET}/template.json",
        Parameters=[{"ParameterKey": k, "ParameterValue": v} for k, v in parameters.items()],
        Capabilities=["CAPABILITY_IAM", "CAPABILITY_AUTO_EXPAND"],
    )
    _wait_for_change_set(cloudformation)
    cloudformation.execute_change_set(StackName=STACK, ChangeSetName="up")
    outputs = _wait_for_stack(cloudformation)
    _configure_cors(endpoint, ready.template, parameters)
    _reserve_concurrency(endpoint, ready.template, parameters)
    return Stack(outputs)


def _put_secret(endpoint: str, name: str, secret: Mapping[str, object]) -> None:
    client("secretsmanager", endpoint).create_secret(Name=name, SecretString=json.dumps(secret))


def _wait_for_change_set(cloudformation: Any, timeout: float = 30.0) -> None:
    deadline = time.monotonic() + timeout
    while True:
        answer = cloudformation.describe_change_set(StackName=STACK, ChangeSetName="up")
        status = answer["Status"]
        if status == "CREATE_COMPLETE":
            return
        if status == "FAILED" or time.monotonic() > deadline:
            raise DeployError(f"The engine refused template.yaml: {answer.get('StatusReason', status)}")
        time.sleep(0.02)


def _wait_for_stack(cloudformation: Any, timeout: float = 60.0) -> dict[str, str]:
    deadline = time.monotonic() + timeout
    while True:
        stack = cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
        status = stack["StackStatus"]
        if status == "CREATE_COMPLETE":
            return {o["OutputKey"]: o["OutputValue"] for o in stack.get("Outputs", [])}
        if status not in ("CREATE_IN_PROGRESS", "REVIEW_IN_PROGRESS") or time.monotonic() > deadline:
            raise DeployError(f"template.yaml did not deploy ({status}). {_failures(cloudformation)}")
        time.sleep(0.03)


def _failures(cloudformation: Any) -> str:
    events = cloudformation.describe_stack_events(StackName=STACK)["StackEvents"]
    failed = [e for e in events if e["ResourceStatus"].endswith("_FAILED") and e.get("ResourceStatusReason")]
    return " ".join(f"{e['LogicalResourceId']}: {e['ResourceStatusReason']}." for e in reversed(failed))


def _configure_cors(endpoint: str, template: dict[str, Any], parameters: Mapping[str, str]) -> None:
    """Set each API's CORS once more through the API itself.

    The engine keeps CORS that came by CloudFormation under names it does not read back, and then refuses
    every preflight. An account needs none of this.
    """
    gateway = client("apigatewayv2", endpoint)
    for api in template["Resources"].values():
        cors = api.get("Properties", {}).get("CorsConfiguration")
        if api["Type"] != "AWS::ApiGatewayV2::Api" or not cors:
            continue
        origins = [parameters[o["Ref"]] if isinstance(o, dict) else o for o in cors["AllowOrigins"]]
        gateway.update_api(
            ApiId=api["Properties"]["Tags"]["ms-custom-id"],
            CorsConfiguration={**cors, "AllowOrigins": origins},
        )


def _reserve_concurrency(endpoint: str, template: dict[str, Any], parameters: Mapping[str, str]) -> None:
    """Reserve each function's concurrency once more through the API itself; the engine skips it in templates."""
    plan = parameters.get("ReservedConcurrency", "none")
    if plan == "none":
        return
    functions = client("lambda", endpoint)
    for function in template["Resources"].values():
        if function["Type"] == "AWS::Serverless::Function":
            short = function["Properties"]["FunctionName"]["Fn::Sub"].removeprefix("${AWS::StackName}-")
            functions.put_function_concurrency(
                FunctionName=f"{STACK}-{short}",
                ReservedConcurrentExecutions=template["Mappings"]["Concurrency"][short][plan],
            )


def run_now(endpoint: str, *functions: str) -> None:
    """Start functions that otherwise wait for their schedule, so that nobody waits ten minutes for the first outlook."""
    for name in functions:
        client("lambda", endpoint).invoke(
            FunctionName=f"{STACK}-{name}", InvocationType="Event", Payload=b"{}"
        )
