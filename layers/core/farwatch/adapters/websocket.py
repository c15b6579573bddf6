"""Posting to WebSocket connections through Chalice's WebSocket API."""

from __future__ import annotations

from typing import Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from chalice.app import WebsocketAPI, WebsocketDisconnectedError

from farwatch.errors import Unavailable
from farwatch.ports.connections import Gone

PARALLEL = 50


class ChalicePoster:
    """Implements ``farwatch.ports.connections.Poster``.

    Chalice would derive the management endpoint from the API's id, which is wrong for a custom domain and for the local
    engine; it is set from the settings instead. The client is made here, before threads share it.
    """

    def __init__(self, api: WebsocketAPI, endpoint: str) -> None:
        session = botocore.session.get_session()
        session.set_default_client_config(
            Config(
                max_pool_connections=PARALLEL,
                connect_timeout=2,
                read_timeout=5,
                retries={"max_attempts": 2, "mode": "standard"},
            )
        )
        api.session = boto3.Session(botocore_session=session)
        api._endpoint = endpoint
        api._get_client()
        self._api: Any = api

    def post(self, connection_id: str, text: str) -> None:
        """Send one message; see the port."""
        try:
            self._api.send(connection_id, text)
        except WebsocketDisconnectedError as error:
            raise Gone(connection_id) from error
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("websocket", f"{type(error).__name__} for one connection") from error

    def hang_up(self, connection_id: str) -> None:
        """Close a connection."""
        try:
            self._api.close(connection_id)
        except WebsocketDisconnectedError:
            return
        except (BotoCoreError, ClientError) as error:
            raise Unavailable("websocket", f"{type(error).__name__} for one connection") from error
