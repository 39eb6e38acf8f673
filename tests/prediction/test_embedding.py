"""Embeddings: of length 1, the same after they were stored, and none of what is no vector."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from framesift.prediction.embedding import (
    MAX_EMBEDDING_LENGTH,
    embedding_bytes,
    format_embedding,
    make_embedding,
    parse_embedding,
    read_embedding,
)
from framesift.prediction.prediction import scale_prediction, with_origin
from framesift.prediction.wire_format import to_wire
from sampling_data import label, objects


def test_an_embedding_points_where_the_values_do_and_has_length_1() -> None:
    found = make_embedding(np.array([3.0, 0.0, -4.0]))
    assert found is not None
    assert found.dtype == np.float32
    assert found == pytest.approx([0.6, 0.0, -0.8], abs=5e-4)
    assert np.linalg.norm(found) == pytest.approx(1.0, abs=1e-6)
    assert not found.flags.writeable


def test_of_channels_of_a_picture_the_means_are_taken_and_of_anything_else_all_values() -> None:
    channels = np.stack([np.full((2, 3), 1.0), np.arange(6.0).reshape(2, 3) * 0.8])
    assert make_embedding(channels) == pytest.approx(make_embedding(np.array([1.0, 2.0])))
    assert make_embedding(np.array([[1, 2], [3, 4]])) == pytest.approx(make_embedding(np.array([1.0, 2, 3, 4])))


@given(
    values=st.lists(st.floats(-1.0, 1.0, width=32), min_size=1, max_size=40).filter(any),
    power=st.integers(-200, 200),
)
def test_an_embedding_that_was_stored_is_the_same_to_the_bit(values: list[float], power: int) -> None:
    made = make_embedding(np.array(values) * 10.0**power)
    assert made is not None
    assert np.array_equal(read_embedding(embedding_bytes(made)), made)  # type: ignore[arg-type]  # it is one
    assert np.array_equal(parse_embedding(format_embedding(made)), made)
    assert len(embedding_bytes(made)) == 2 * len(values)


@pytest.mark.parametrize("values", [[0.0, 0.0], [np.nan, 1.0], [np.inf, 1.0], [-np.inf, np.inf]])
def test_values_without_a_direction_give_none(values: list[float]) -> None:
    assert make_embedding(np.array(values)) is None


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (np.zeros(MAX_EMBEDDING_LENGTH + 1), r"1 to 4096 values, and shape \(4097,\) gives 4097"),
        (np.zeros((MAX_EMBEDDING_LENGTH + 1, 2, 2)), "gives 4097"),
        (np.zeros(0), "gives 0"),
        (np.zeros((3, 0, 2)), "1 to 4096"),
        (np.array(["a"]), "array of numbers"),
        (np.array([True]), "array of numbers"),
    ],
)
def test_what_is_no_vector_of_numbers_is_refused_with_its_shape(values: NDArray[Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        make_embedding(values)


@pytest.mark.parametrize(
    "text",
    [None, 5, "", "a", "AAAA=", "AAA=", base64.b64encode(b"\x00\x7c").decode(), base64.b64encode(bytes(9000)).decode()],
)
def test_a_text_that_is_no_embedding_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="embedding: is not allowed"):
        parse_embedding(text)


def test_a_prediction_keeps_it_and_does_not_deliver_it() -> None:
    made = make_embedding(np.array([1.0, 2.0]))
    for plain in (objects(("car", 0.5)), label("car", 0.5)):
        given = with_origin(plain, embedding=made)
        assert given == plain
        assert scale_prediction(given, 64, 48).embedding is made
        assert to_wire(given) == to_wire(plain)
        assert plain.embedding is None
