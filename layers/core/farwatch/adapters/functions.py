"""Other Lambda functions, invoked by name."""

from __future__ import annotations

import json
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from farwatch.errors import Unavailable


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
