"""A short list of numbers is read in a quicker way, to the same array, with the same refusals."""

import math

import numpy as np
import pytest

from modelyard.schemas.arrays import ArrayFault, ArraySpec, to_array


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    "numbers",
    [
        [0.1, -2.5, 3.0],
        [1, 2, 3],
        [True, False],
        [2**60 + 1, -(2**60)],
        [1e-45, 5e-324, 1e-300],
        ["1.5", "2"],
        [1, "2", 3.5],
        [],
        [[1, 2], [3, 4]],
        [1e38, 3e38],
        list(range(5000)),
    ],
)
def test_the_array_is_numpys_own(numbers, dtype):
    with np.errstate(over="ignore"):
        expected = np.array(numbers, dtype=dtype)
    got = to_array(numbers, ArraySpec(dtype))
    assert got.dtype == expected.dtype and got.shape == expected.shape
    assert np.array_equal(got, expected)
    assert got.flags.writeable and got.flags.c_contiguous
    got[...] = 7


@pytest.mark.parametrize(
    "numbers",
    [[1.0, math.nan], [math.inf], [1e39, 1.0], [10**400], [None, 1.0], ["a"], [1, [2]], [{}]],
)
def test_what_is_no_row_of_finite_numbers_is_refused(numbers):
    with pytest.raises(ArrayFault):
        to_array(numbers, ArraySpec("float32"))


def test_nan_is_let_through_where_it_may_be():
    spec = ArraySpec("float32", allow_nan=True)
    assert np.isnan(to_array([1.0, math.nan], spec)).tolist() == [False, True]
    assert np.isnan(to_array([1.0, None], spec)).tolist() == [False, True]
