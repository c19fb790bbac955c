"""A ClientApp whose handlers are written once, for many devices at a time.

Usage::

    app = BatchClientApp()

    @app.train_many()
    def adapt(messages: list[Message], contexts: list[Context]) -> list[Message]:
        ...  # one reply per message, in the order of the messages

Flower (SuperNodes, the Simulation Engine) calls ``app(message, context)`` as it calls every ClientApp and
reaches the same function with lists of length one, or, where the message is for several devices
(:mod:`clients.batch_messages`), with all of theirs. A grid that holds many devices in one process calls
``app.call_many``. Where a handler raises :class:`clients.depot.NotInstalled`, the node answers what it lacks; for any
other exception an error without a path of its machine (:mod:`clients.faults`), and keeps the state that it had.
"""

import logging
from collections.abc import Callable
from functools import partial

from flwr.app import Context, Error, Message, RecordDict
from flwr.clientapp import ClientApp

from clients import depot
from clients.batch_messages import is_batch, pack_batch, pack_error, unpack_batch
from clients.faults import described
from clients.fields import BadMessage
from clients.messages import RAISED, pack_refusal

log = logging.getLogger(__name__)

AT_ONCE = 64
"""Devices of one message that a handler gets at once."""

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
    """Install what came with the messages, then answer each, by itself if it is for several devices."""
    for message, context in zip(messages, contexts, strict=True):
        if message.has_content() and depot.INSTALL in message.content:
            depot.install(depot.depot(context), message.content[depot.INSTALL])
            del message.content[depot.INSTALL]
    try:
        if not any(map(is_batch, messages)):
            return _handled(handler, messages, contexts)
        return [_batch(handler, message, context) for message, context in zip(messages, contexts, strict=True)]
    except depot.NotInstalled as error:
        missing = list(error.digests)
    depots = [depot.depot(context) for context in contexts]
    answers = {folder: depot.pack_missing(folder, missing) for folder in set(depots)}
    return [
        Message(RecordDict(dict(answers[folder])), reply_to=message)
        for message, folder in zip(messages, depots, strict=True)
    ]


def _batch(handler: BatchHandler, message: Message, context: Context) -> Message:
    """The reply to a message for several devices; an exception of one of them is no other's."""
    if not is_batch(message):
        return _handled(handler, [message], [context])[0]
    try:
        contents = unpack_batch(message.content)
    except BadMessage as error:
        return Message(RecordDict(dict(pack_refusal(str(error)))), reply_to=message)
    # With the metadata that is there: a device's process need not have the task identity that a new message takes.
    told = [Message(content, metadata=message.metadata) for content in contents]  # type: ignore[call-overload]
    replies: list[RecordDict] = []
    for start in range(0, len(told), AT_ONCE):
        some = told[start : start + AT_ONCE]
        try:
            replies += [reply.content for reply in _handled(handler, some, [context] * len(some))]
        except depot.NotInstalled:
            raise
        except Exception:
            log.info("a batch of %d devices failed; trying them one by one", len(some), exc_info=True)
            replies += [_alone(handler, one, context) for one in some]
    return Message(pack_batch(replies), reply_to=message)


def _alone(handler: BatchHandler, message: Message, context: Context) -> RecordDict:
    try:
        content: RecordDict = _handled(handler, [message], [context])[0].content
    except depot.NotInstalled:
        raise
    except Exception as error:
        log.error("a device failed on a %s message", message.metadata.message_type, exc_info=True)
        return pack_error(described(error))
    return content


def _handled(handler: BatchHandler, messages: list[Message], contexts: list[Context]) -> list[Message]:
    replies = handler(messages, contexts)
    if len(replies) != len(messages):
        raise ValueError(f"the handler answered {len(messages)} messages with {len(replies)} replies")
    return replies


def _call_one(handler: BatchHandler, message: Message, context: Context) -> Message:
    kept = RecordDict(dict(context.state))
    try:
        return _call(handler, [message], [context])[0]
    except Exception as error:  # what Flower would say of it may hold paths, under Ray a whole traceback
        log.error("a node failed on a %s message", message.metadata.message_type, exc_info=True)
        context.state = kept
        return Message(Error(RAISED, described(error)), reply_to=message)
