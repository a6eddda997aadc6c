# SPDX-License-Identifier: Apache-2.0
"""The SLIP decoder takes any bytes in any pieces: it never fails, never hoards, and gives back what was encoded."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from secure_ext.prove.virtual_chip.slip import MAX_FRAME, SlipDecoder, encode

NOISE = st.lists(st.sampled_from([0xC0, 0xDB, 0xDC, 0xDD, 0x00, 0x55]) | st.integers(0, 255)).map(bytes)


def in_pieces(data: bytes, sizes: list[int]) -> list[bytes]:
    pieces = []
    for size in sizes:
        pieces.append(data[:size])
        data = data[size:]
    return [*pieces, data]


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=8), st.lists(st.integers(0, 50)))
def test_what_was_encoded_comes_back(payloads: list[bytes], sizes: list[int]) -> None:
    """However the bytes are cut on their way."""
    decoder = SlipDecoder()
    stream = b"".join(encode(payload) for payload in payloads)
    assert [frame for piece in in_pieces(stream, sizes) for frame in decoder.feed(piece)] == payloads


@given(NOISE, st.lists(st.integers(0, 9)))
def test_noise_is_the_same_in_any_pieces(noise: bytes, sizes: list[int]) -> None:
    """No exception, and nothing depends on how it arrived."""
    decoder = SlipDecoder()
    frames = [frame for piece in in_pieces(noise, sizes) for frame in decoder.feed(piece)]
    assert frames == SlipDecoder().feed(noise)
    assert all(0 < len(frame) <= MAX_FRAME for frame in frames)


@given(NOISE, st.binary(min_size=1, max_size=50))
def test_after_noise_it_finds_the_next_frames(noise: bytes, payload: bytes) -> None:
    """One frame may be lost to what came before, not two."""
    decoder = SlipDecoder()
    decoder.feed(noise)
    assert decoder.feed(encode(payload) * 2)[-1] == payload


def test_the_longest_frame_and_one_byte_more() -> None:
    decoder = SlipDecoder()
    assert decoder.feed(encode(b"a" * MAX_FRAME)) == [b"a" * MAX_FRAME]
    assert decoder.feed(encode(b"a" * (MAX_FRAME + 1))) == []
    assert decoder.feed(encode(b"next")) == [b"next"]
