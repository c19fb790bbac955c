"""A ClientApp whose handlers are written once, for many devices at a time.

Usage::

    app = BatchClientApp()

    @app.train_many()
    def adapt(messages: list[Message], contexts: list[Context]) -> list[Message]:
        ...  # one reply per message, in the order of the messages

Flower (SuperNodes, the Simulation Engine) calls ``app(message, context)`` as it calls every ClientApp and
reaches the same function with lists of length one. A grid that holds many devices in one process calls
``app.call_many``.
"""

from collections.abc import Callable
from functools import partial

from flwr.app import Context, Message
from flwr.clientapp import ClientApp

BatchHandler = Callable[[list[Message], list[Context]], list[Message]]
Decorator = Callable[[BatchHandler], BatchHandler]


class BatchClientApp(ClientApp):
    """A Flower ClientApp with handlers for a list of devices.

    Handlers take no Flower mods: a mod sees one message at a time and would run on one of the two call paths
    only.
    """

    def __init__(self) -> None:
        super().__init__()
        self._handlers: dict[str, BatchHandler] = {}

    def train_many(self, action: str = "default") -> Decorator:
        """Register the handler of ``train`` messages (``train.<action>`` unless the action is "default")."""
        return partial(self._register, "train", action)

    def evaluate_many(self, action: str = "default") -> Decorator:
        """Register the handler of ``evaluate`` messages."""
        return partial(self._register, "evaluate", action)

    def query_many(self, action: str = "default") -> Decorator:
        """Register the handler of ``query`` messages."""
        return partial(self._register, "query", action)

    def call_many(self, messages: list[Message], contexts: list[Context]) -> list[Message]:
        """Handle messages of one type for as many different devices; replies come in the order of the
        messages.

        Raises whatever the handler raises: then none of the messages counts as handled. ValueError if the
        messages differ in type, if no handler is registered for it, or if the handler does not return one
        reply per message.
        """
        if not messages:
            return []
        kinds = {message.metadata.message_type for message in messages}
        if len(kinds) > 1:
            raise ValueError(f"one call handles one message type, got {', '.join(sorted(kinds))}")
        kind = kinds.pop()
        handler = self._handlers.get(kind if "." in kind else f"{kind}.default")
        if handler is None:
            raise ValueError(f"no handler is registered for messages of type '{kind}'")
        return _call(handler, messages, contexts)

    def _register(self, category: str, action: str, handler: BatchHandler) -> BatchHandler:
        getattr(self, category)(action)(partial(_call_one, handler))
        self._handlers[f"{category}.{action}"] = handler
        return handler


def _call(handler: BatchHandler, messages: list[Message], contexts: list[Context]) -> list[Message]:
    replies = handler(messages, contexts)
    if len(replies) != len(messages):
        raise ValueError(f"the handler answered {len(messages)} messages with {len(replies)} replies")
    return replies


def _call_one(handler: BatchHandler, message: Message, context: Context) -> Message:
    return _call(handler, [message], [context])[0]
