"""Decoding the bodies of publishes: every shape that is refused, and that nothing but refusals comes out."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sockudo import errors
from sockudo.errors import ErrorSpec, SockudoError
from sockudo.publishing.bodies import EventBody, decode_batch, decode_event

TEXT_FIELDS = ("name", "channel", "socket_id", "info", "idempotency_key", "message_id")


def refusal(body: bytes, *, batch: bool = False) -> tuple[ErrorSpec, str]:
    with pytest.raises(SockudoError) as caught:
        (decode_batch if batch else decode_event)(body)
    return caught.value.spec, caught.value.text


def both(body: bytes) -> list[tuple[ErrorSpec, str]]:
    """The refusals of a body as an event and as the first item of a batch."""
    return [refusal(body), refusal(b'{"batch":[%b]}' % body, batch=True)]


class TestWrongTypes:
    @pytest.mark.parametrize("value", ["1", "1.5", "true", "[]", "{}", '["a"]'])
    @pytest.mark.parametrize("field", TEXT_FIELDS)
    def test_a_text_field(self, field: str, value: str) -> None:
        for spec, text in both(f'{{"{field}":{value}}}'.encode()):
            assert spec is errors.WRONG_SHAPE
            assert f"{field}'" in text
            assert "expected string or null" in text

    @pytest.mark.parametrize(
        ("field", "value", "place"),
        [
            ("channels", '"news"', "channels'"),
            ("channels", '{"a":"b"}', "channels'"),
            ("channels", '["a",1]', "channels[1]'"),
            ("channels", "[null]", "channels[0]'"),
            ("tags", "[]", "tags'"),
            ("tags", '{"a":1}', "tags[...]'"),
            ("tags", '{"a":null}', "tags[...]'"),
            ("delta", '"true"', "delta'"),
            ("delta", "1", "delta'"),
            ("extras", "[]", "extras'"),
            ("extras", '{"headers":[]}', "extras.headers'"),
            ("extras", '{"headers":{"a":{}}}', "extras.headers[...]'"),
            ("extras", '{"headers":{"a":null}}', "extras.headers[...]'"),
            ("extras", '{"ephemeral":"yes"}', "extras.ephemeral'"),
            ("extras", '{"echo":0}', "extras.echo'"),
            ("extras", '{"ai":true}', "extras.ai'"),
            ("extras", '{"ai":{"transport":{"a":1}}}', "extras.ai.transport[...]'"),
            ("extras", '{"ai":{"codec":"x"}}', "extras.ai.codec'"),
        ],
    )
    def test_any_other_field(self, field: str, value: str, place: str) -> None:
        for spec, text in both(f'{{"{field}":{value}}}'.encode()):
            assert spec is errors.WRONG_SHAPE
            assert place in text

    @pytest.mark.parametrize("body", ["[]", "null", "1", '"text"', "true", '["name","data"]'])
    def test_a_body_that_is_no_object(self, body: str) -> None:
        for batch in (False, True):
            spec, text = refusal(body.encode(), batch=batch)
            assert spec is errors.WRONG_SHAPE
            assert "expected object" in text

    @pytest.mark.parametrize("body", ["{}", '{"batch":null}', '{"batch":{}}', '{"batch":"x"}', '{"Batch":[]}'])
    def test_a_batch_without_a_list(self, body: str) -> None:
        spec, text = refusal(body.encode(), batch=True)
        assert spec is errors.WRONG_SHAPE
        assert "batch'" in text

    def test_an_item_is_named_by_its_place(self) -> None:
        _, text = refusal(b'{"batch":[{},{},{"name":1}]}', batch=True)
        assert text == "Wrong shape of the JSON body: field 'batch[2].name': expected string or null, got integer"

    def test_the_body_is_never_quoted(self) -> None:
        for body in (b'{"name":["secret"]}', b'{"secret":', b'{"data":secret}', b'{"tags":{"secret":1}}'):
            assert "secret" not in refusal(body)[1]


class TestSyntax:
    @pytest.mark.parametrize(
        "body",
        [
            b"",
            b"   ",
            b"{",
            b'{"name":"a"',
            b'{"name":"a",}',
            b'{"name" "a"}',
            b"{'name':'a'}",
            b'{"name":"a"} x',
            b'{"name":"a"}{}',
            b'{"data":NaN}',
            b'{"data":Infinity}',
            b'{"other":NaN}',
            b'{"data":01}',
            b'{"data":+1}',
            b'{"data":.5}',
            b'{"data":"a\nb"}',
            b'{"data":"\\x41"}',
            b"name=a&data=b",
            b"\x1f\x8b\x08\x00gzip",
            b'{"name":1,"data":}',
            b"[1,2",
        ],
    )
    def test_what_is_no_json(self, body: bytes) -> None:
        for batch in (False, True):
            spec, text = refusal(body, batch=batch)
            assert spec is errors.MALFORMED_JSON
            assert text.startswith("The body is not valid JSON: ")

    def test_a_byte_order_mark(self) -> None:
        assert refusal(b'\xef\xbb\xbf{"name":"a"}')[0] is errors.MALFORMED_JSON

    @pytest.mark.parametrize("field", ["data", "name", "unknown"])
    def test_a_lone_surrogate_wherever_it_stands(self, field: str) -> None:
        for spec, text in both(b'{"%b":"\\ud83d"}' % field.encode()):
            assert spec is errors.MALFORMED_JSON
            assert "lone surrogate at byte" in text

    @pytest.mark.parametrize("field", ["data", "name", "unknown"])
    def test_bytes_that_are_not_utf8_wherever_they_stand(self, field: str) -> None:
        for spec, text in both(b'{"%b":"\xc3\x28"}' % field.encode()):
            assert spec is errors.MALFORMED_JSON
            assert "not UTF-8 at byte" in text

    @pytest.mark.parametrize("field", ["data", "extras", "unknown"])
    @pytest.mark.parametrize("bracket", ["[]", "{}"])
    def test_deep_nesting(self, field: str, bracket: str) -> None:
        start, end = (bracket[0], bracket[1]) if bracket == "[]" else ('{"a":', "}")
        body = f'{{"{field}":{start * 20_000}1{end * 20_000}}}'.encode()
        for spec, text in both(body):
            assert spec is errors.MALFORMED_JSON
            assert "nested more than 128 levels deep" in text

    def test_the_deepest_data_there_may_be_can_be_delivered(self) -> None:
        event = decode_event(b'{"data":' + b"[" * 127 + b"]" * 127 + b"}")
        assert event.text() == "[" * 127 + "]" * 127

    def test_a_text_full_of_brackets_is_not_deep(self) -> None:
        data = "[" * 5000
        assert decode_event(json.dumps({"data": data}).encode()).text() == data


class TestRepeatedFields:
    @pytest.mark.parametrize("first", ["1", "null"])
    @pytest.mark.parametrize("second", ["1", "null"])
    @pytest.mark.parametrize("field", EventBody.__struct_fields__)
    def test_every_field_whatever_its_values(self, field: str, first: str, second: str) -> None:
        right = {"channels": '["a"]', "tags": '{"a":"b"}', "delta": "true", "extras": "{}"}.get(field, '"x"')
        values = [right if value == "1" else "null" for value in (first, second)]
        body = f'{{"{field}":{values[0]},"other":0,"{field}":{values[1]}}}'.encode()
        for spec, text in both(body):
            assert spec is errors.WRONG_SHAPE
            assert f"the field '{field}' is repeated" in text

    @pytest.mark.parametrize("name", ["name", "channels", "idempotency_key", "message_id"])
    def test_a_name_spelled_with_escapes(self, name: str) -> None:
        value = '["a"]' if name == "channels" else '"a"'
        for place in range(len(name)):
            spelled = f"{name[:place]}\\u{ord(name[place]):04x}{name[place + 1 :]}"
            for spec, text in both(f'{{"{name}":{value},"{spelled}":{value}}}'.encode()):
                assert spec is errors.WRONG_SHAPE
                assert f"the field '{name}' is repeated" in text

    @pytest.mark.parametrize("first", ["null", '"a"', '"\\\\"', '"\\""'])
    @pytest.mark.parametrize("end", ["", "\\\\", '\\"', '\\\\\\"', '\\"\\\\'])
    def test_quotes_and_backslashes_in_the_values_hide_nothing(self, first: str, end: str) -> None:
        rest = f'"channel":"b{end}","data":"c{end}"'
        for members in (f'"name":{first},"name":"a{end}",{rest}', f'{rest},"name":"a","channel":"b{end}"'):
            for spec, text in both(f"{{{members}}}".encode()):
                assert spec is errors.WRONG_SHAPE
                assert "is repeated" in text
        for unknown in ('"\xff"', "[" * 200 + "]" * 200, '"\\ud800"'):
            body = f'{{"name":"a{end}",{rest},"x":{unknown}}}'.encode("latin-1")
            for spec, _ in both(body):
                assert spec is errors.MALFORMED_JSON

    def test_the_item_of_a_batch_is_named(self) -> None:
        spec, text = refusal(b'{"batch":[{},{"name":"a","name":"b"}]}', batch=True)
        assert spec is errors.WRONG_SHAPE
        assert text.endswith("the field 'name' is repeated (item 1 of the batch)")

    def test_the_batch_itself(self) -> None:
        spec, text = refusal(b'{"batch":[],"batch":[{"name":"a"}]}', batch=True)
        assert spec is errors.WRONG_SHAPE
        assert "'batch' is repeated" in text

    @pytest.mark.parametrize(
        "body",
        [
            b'{"name":"a","data":{"name":"b","name":"c"}}',
            b'{"name":"a","data":"{\\"name\\":1,\\"name\\":2}"}',
            b'{"name":"name","data":"data","channel":"channel","channels":["channels","name"]}',
            b'{"name":"a","unknown":1,"unknown":2}',
            b'{"name":"a","unknown":{"name":1,"name":2},"batch":5,"tags":null}',
            b'{"name":"a","data":"\\u0061\\u0062","\\u0000repeated":"name"}',
            b'{"name":"a","data":"b","x":%b,"y":"name","z":"name"}' % (b"9" * 5000),
        ],
    )
    def test_what_is_no_repetition(self, body: bytes) -> None:
        assert decode_event(body).name in ("a", "name")
        assert len(decode_batch(b'{"batch":[%b,%b]}' % (body, body)).batch) == 2


class TestData:
    @pytest.mark.parametrize(
        ("sent", "delivered"),
        [
            ('"text"', "text"),
            ('"{\\"a\\": 1}"', '{"a": 1}'),
            ('""', ""),
            ("null", "null"),
            ("true", "true"),
            ("12", "12"),
            ("-0.0", "-0.0"),
            ("1.50", "1.5"),
            ("9007199254740993", "9007199254740993"),
            ("123456789012345678901234567890", "123456789012345678901234567890"),
            ('{ "b" : [ 1 , 2 ] , "a" : null }', '{"b":[1,2],"a":null}'),
            ('["\\u00e9","\\ud83d\\ude00","\\n"]', '["é","😀","\\n"]'),
            ('{"a":1,"a":2}', '{"a":2}'),
        ],
    )
    def test_what_is_delivered(self, sent: str, delivered: str) -> None:
        assert decode_event(f'{{"name":"a","data":{sent}}}'.encode()).text() == delivered

    def test_absent_data(self) -> None:
        assert decode_event(b'{"name":"a"}').text() == "null"

    def test_numbers_that_cannot_be_kept_are_refused_with_their_place(self) -> None:
        for number in (b"1e999", b"-1e999", b"9" * 5000):
            for spec, text in both(b'{"data":[%b]}' % number):
                assert spec is errors.WRONG_SHAPE
                assert "out of range" in text
                assert "data[0]'" in text


class TestAccepted:
    def test_everything_at_once(self) -> None:
        event = decode_event(
            b'{"name":"n","data":"d","channels":["a","b"],"channel":"c","socket_id":"1.2","info":"user_count",'
            b'"tags":{"t":"u"},"delta":false,"extras":{"headers":{"s":"x","n":1,"f":1.5,"b":true},"push":{"any":[]},'
            b'"ephemeral":true,"echo":false,"ai":{"transport":{"a":"b"}}},"idempotency_key":"k","message_id":"m",'
            b'"later":{"deep":[1]}}'
        )
        assert event.channels == ["a", "b"]
        assert (event.channel, event.socket_id, event.info) == ("c", "1.2", "user_count")
        assert (event.tags, event.delta, event.idempotency_key, event.message_id) == ({"t": "u"}, False, "k", "m")
        assert event.extras is not None
        assert event.extras["headers"] == {"s": "x", "n": 1, "f": 1.5, "b": True}

    def test_null_is_absent(self) -> None:
        nothing = b",".join(b'"%b":null' % field.encode() for field in EventBody.__struct_fields__)
        assert decode_event(b"{%b}" % nothing) == EventBody() == decode_event(b"{}")

    def test_names_are_case_sensitive(self) -> None:
        assert decode_event(b'{"Name":1,"DATA":2,"name":"a"}').name == "a"

    def test_an_empty_batch(self) -> None:
        assert decode_batch(b' { "batch" : [ ] } ').batch == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=6), inner, max_size=4),
    max_leaves=12,
)
texts = st.text(max_size=20)
events = st.fixed_dictionaries(
    {},
    optional={
        "name": texts,
        "data": json_values,
        "channels": st.lists(texts, max_size=4),
        "channel": texts,
        "socket_id": texts,
        "info": texts,
        "tags": st.dictionaries(texts, texts, max_size=3),
        "delta": st.booleans(),
        "idempotency_key": texts,
        "message_id": texts,
        "unknown": json_values,
    },
)


def read(body: bytes) -> SockudoError | None:
    """The first refusal of a body as an event and as a batch; anything but a refusal is raised."""
    found = []
    for decode in (decode_event, decode_batch):
        try:
            decode(body)
        except SockudoError as error:
            found.append(error)
    return found[0] if found else None


class TestProperties:
    @given(st.binary(max_size=200) | st.text(alphabet='{}[]":,\\u0d8name1etrlsE-. ', max_size=80).map(str.encode))
    def test_any_bytes_are_read_or_refused(self, body: bytes) -> None:
        refused = read(body)
        if refused is not None:
            assert refused.spec in (errors.MALFORMED_JSON, errors.WRONG_SHAPE)
            assert "\n" not in refused.text
        try:
            json.loads(body, parse_int=lambda _: 0)
        except ValueError:
            assert refused is not None

    @given(events, st.data())
    def test_damaged_bodies_are_read_or_refused(self, event: dict[str, Any], data: st.DataObject) -> None:
        body = bytearray(json.dumps({"batch": [event]}).encode())
        for place in data.draw(st.lists(st.integers(0, len(body) - 1), max_size=3)):
            body[place] = data.draw(st.integers(0, 255))
        refused = read(bytes(body))
        assert refused is None or refused.spec in (errors.MALFORMED_JSON, errors.WRONG_SHAPE)

    @given(events, st.booleans())
    def test_valid_events_come_out_as_json_reads_them(self, event: dict[str, Any], ascii_only: bool) -> None:
        body = json.dumps(event, ensure_ascii=ascii_only).encode()
        for found in (decode_event(body), decode_batch(b'{"batch":[%b]}' % body).batch[0]):
            for field in EventBody.__struct_fields__:
                assert getattr(found, field) == event.get(field)
            data = event.get("data")
            if isinstance(data, str):
                assert found.text() == data
            else:
                assert json.loads(found.text()) == data
                assert found.text() == msgspec.json.format(found.text(), indent=-1)

    @given(events, st.sampled_from(EventBody.__struct_fields__), st.data())
    def test_a_repeated_field_is_found_anywhere(self, event: dict[str, Any], field: str, data: st.DataObject) -> None:
        members = [f"{json.dumps(name)}:{json.dumps(value)}" for name, value in event.items() if name != field]
        for _ in range(2):
            members.insert(data.draw(st.integers(0, len(members))), f'"{field}":null')
        for spec, text in both(f"{{{','.join(members)}}}".encode()):
            assert spec is errors.WRONG_SHAPE
            assert f"'{field}' is repeated" in text
