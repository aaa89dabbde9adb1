from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PusherMessage(_message.Message):
    __slots__ = ("event", "channel", "data", "name", "user_id", "tags", "sequence", "conflation_key", "message_id", "stream_id", "serial", "idempotency_key", "extras", "delta_sequence", "delta_conflation_key")
    class TagsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    EVENT_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    USER_ID_FIELD_NUMBER: _ClassVar[int]
    TAGS_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CONFLATION_KEY_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_ID_FIELD_NUMBER: _ClassVar[int]
    STREAM_ID_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    EXTRAS_FIELD_NUMBER: _ClassVar[int]
    DELTA_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    DELTA_CONFLATION_KEY_FIELD_NUMBER: _ClassVar[int]
    event: str
    channel: str
    data: MessageData
    name: str
    user_id: str
    tags: _containers.ScalarMap[str, str]
    sequence: int
    conflation_key: str
    message_id: str
    stream_id: str
    serial: int
    idempotency_key: str
    extras: MessageExtras
    delta_sequence: int
    delta_conflation_key: str
    def __init__(self, event: _Optional[str] = ..., channel: _Optional[str] = ..., data: _Optional[_Union[MessageData, _Mapping]] = ..., name: _Optional[str] = ..., user_id: _Optional[str] = ..., tags: _Optional[_Mapping[str, str]] = ..., sequence: _Optional[int] = ..., conflation_key: _Optional[str] = ..., message_id: _Optional[str] = ..., stream_id: _Optional[str] = ..., serial: _Optional[int] = ..., idempotency_key: _Optional[str] = ..., extras: _Optional[_Union[MessageExtras, _Mapping]] = ..., delta_sequence: _Optional[int] = ..., delta_conflation_key: _Optional[str] = ...) -> None: ...

class MessageData(_message.Message):
    __slots__ = ("string", "structured", "json", "binary")
    STRING_FIELD_NUMBER: _ClassVar[int]
    STRUCTURED_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    BINARY_FIELD_NUMBER: _ClassVar[int]
    string: str
    structured: StructuredData
    json: str
    binary: bytes
    def __init__(self, string: _Optional[str] = ..., structured: _Optional[_Union[StructuredData, _Mapping]] = ..., json: _Optional[str] = ..., binary: _Optional[bytes] = ...) -> None: ...

class StructuredData(_message.Message):
    __slots__ = ("channel_data", "channel", "user_data", "extra")
    class ExtraEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    CHANNEL_DATA_FIELD_NUMBER: _ClassVar[int]
    CHANNEL_FIELD_NUMBER: _ClassVar[int]
    USER_DATA_FIELD_NUMBER: _ClassVar[int]
    EXTRA_FIELD_NUMBER: _ClassVar[int]
    channel_data: str
    channel: str
    user_data: str
    extra: _containers.ScalarMap[str, str]
    def __init__(self, channel_data: _Optional[str] = ..., channel: _Optional[str] = ..., user_data: _Optional[str] = ..., extra: _Optional[_Mapping[str, str]] = ...) -> None: ...

class MessageExtras(_message.Message):
    __slots__ = ("headers", "ephemeral", "idempotency_key", "echo", "ai")
    class HeadersEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: ExtrasValue
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[ExtrasValue, _Mapping]] = ...) -> None: ...
    HEADERS_FIELD_NUMBER: _ClassVar[int]
    EPHEMERAL_FIELD_NUMBER: _ClassVar[int]
    IDEMPOTENCY_KEY_FIELD_NUMBER: _ClassVar[int]
    ECHO_FIELD_NUMBER: _ClassVar[int]
    AI_FIELD_NUMBER: _ClassVar[int]
    headers: _containers.MessageMap[str, ExtrasValue]
    ephemeral: bool
    idempotency_key: str
    echo: bool
    ai: AiExtras
    def __init__(self, headers: _Optional[_Mapping[str, ExtrasValue]] = ..., ephemeral: _Optional[bool] = ..., idempotency_key: _Optional[str] = ..., echo: _Optional[bool] = ..., ai: _Optional[_Union[AiExtras, _Mapping]] = ...) -> None: ...

class AiExtras(_message.Message):
    __slots__ = ("transport", "codec")
    class TransportEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class CodecEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    TRANSPORT_FIELD_NUMBER: _ClassVar[int]
    CODEC_FIELD_NUMBER: _ClassVar[int]
    transport: _containers.ScalarMap[str, str]
    codec: _containers.ScalarMap[str, str]
    def __init__(self, transport: _Optional[_Mapping[str, str]] = ..., codec: _Optional[_Mapping[str, str]] = ...) -> None: ...

class ExtrasValue(_message.Message):
    __slots__ = ("string", "number", "bool")
    STRING_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    BOOL_FIELD_NUMBER: _ClassVar[int]
    string: str
    number: float
    bool: bool
    def __init__(self, string: _Optional[str] = ..., number: _Optional[float] = ..., bool: _Optional[bool] = ...) -> None: ...
