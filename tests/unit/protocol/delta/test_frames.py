"""The exact bytes of frames with delta metadata (contract 60 § 2.6)."""

from __future__ import annotations

import json

from sockudo.protocol.delta.algorithms import Algorithm
from sockudo.protocol.delta.frames import DeltaFrames, full_frame
from sockudo.protocol.frame import Frame

TEXT = b'{"event":"quote","channel":"fx:desk","data":"{}","serial":41}'


def test_a_full_frame_ends_with_its_metadata() -> None:
    plain = b'{"event":"quote","channel":"fx:desk","data":"{}","serial":41'
    assert full_frame(TEXT, 7, None) == plain + b',"__delta_seq":7}'
    assert full_frame(TEXT, 70_000, "EURUSD") == plain + b',"__delta_seq":70000,"__conflation_key":"EURUSD"}'
    assert full_frame(TEXT, 0, 'a"b\\\n é').endswith(',"__delta_seq":0,"__conflation_key":"a\\"b\\\\\\n é"}'.encode())


def test_a_delta_frame_of_an_unkeyed_channel() -> None:
    frames = DeltaFrames("fx:desk", Algorithm.FOSSIL, name_algorithm=True)
    made = frames.delta_frame(Frame("quote", "fx:desk", "{}"), b'1V\n1F@0,G:5}","serial":42}2p3zA3;', 8, None, 7)
    assert made == (
        b'{"event":"sockudo:delta","channel":"fx:desk","data":{"event":"quote",'
        b'"delta":"MVYKMUZAMCxHOjV9Iiwic2VyaWFsIjo0Mn0ycDN6QTM7","seq":8,"algorithm":"fossil","base_index":7}}'
    )


def test_a_delta_frame_with_everything() -> None:
    frames = DeltaFrames("fx:desk", Algorithm.XDELTA3, name_algorithm=True)
    frame = Frame(
        'qu"ote', "fx:desk", "{}", user_id="ana", tags={"a": "b"}, message_id="m-1", stream_id="s-1", serial=42
    )
    assert frames.delta_frame(frame, b"\xfb\xff", 70_001, 'a"b', 70_000) == (
        b'{"event":"sockudo:delta","channel":"fx:desk","data":{"event":"qu\\"ote","delta":"+/8=","seq":70001,'
        b'"algorithm":"xdelta3","conflation_key":"a\\"b","base_index":70000},'
        b'"message_id":"m-1","stream_id":"s-1","serial":42}'
    )


def test_the_format_can_be_left_out() -> None:
    frames = DeltaFrames("fx:desk", Algorithm.FOSSIL, name_algorithm=False)
    made = json.loads(frames.delta_frame(Frame("quote", "fx:desk", "{}"), b"x", 8, None, 7))
    assert made["data"] == {"event": "quote", "delta": "eA==", "seq": 8, "base_index": 7}
