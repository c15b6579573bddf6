"""Other Lambda functions, invoked by name."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from farwatch.errors import FieldError, InvalidInput, Unavailable
from farwatch.ports.anomalies import Scored


class ForecastFunction:
    """The forecast function, started without waiting; Lambda itself retries and keeps what failed."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def start(self, forecast_id: str) -> None:
        """Have the pending forecast made; raises Unavailable when it could not be asked for."""
        try:
            self._client.invoke(
                FunctionName=self._name,
                InvocationType="Event",
                Payload=json.dumps({"forecast_id": forecast_id}).encode(),
            )
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("lambda", f"{type(error).__name__} from {self._name}") from error


class DetectFunction:
    """The detect function, waited for: it answers within seconds for the few thousand samples it is given."""

    def __init__(self, client: Any, name: str) -> None:
        self._client = client
        self._name = name

    def run(self, detector: str, times: list[int], values: list[float]) -> Scored:
        """Score the samples (epoch ms, value) in order; raises InvalidInput when refused, Unavailable when down."""
        question = {"detector": detector, "times": times, "values": values}
        try:
            answer = self._client.invoke(FunctionName=self._name, Payload=json.dumps(question).encode())
            body = json.loads(answer["Payload"].read())
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("lambda", f"{type(error).__name__} from {self._name}") from error
        if "error" in body:
            message = str(body["error"]["message"])
            raise InvalidInput(message, [FieldError("detector", message)])
        if answer.get("FunctionError") or "score" not in body:
            raise Unavailable("lambda", f"{self._name} failed: {body.get('errorType', 'no reason given')}")
        return Scored(body["score"], body["low"], body["high"], body["pattern"])
