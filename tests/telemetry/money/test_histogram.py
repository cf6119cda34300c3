import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.money.histogram import BOUNDS_MS, BUCKETS, columns, limits_ms, percentile_ms

NOTHING = [0] * len(BUCKETS)


def with_counts(**counts: int) -> list[int]:
    return [counts.get(name, 0) for name in columns("ms")]


def test_of_nothing_there_is_no_percentile() -> None:
    assert percentile_ms(NOTHING, 0.5) is None


@pytest.mark.parametrize(
    ("share", "expected"), [(0.25, 150.0), (0.5, 200.0), (0.75, 5500.0), (1.0, 7000.0), (0.0, 100.0)]
)
def test_times_are_spread_evenly_over_their_bucket(share: float, expected: float) -> None:
    assert percentile_ms(with_counts(ms_200=50, ms_7000=50), share) == expected


def test_of_the_longest_only_the_beginning_is_known() -> None:
    assert percentile_ms(with_counts(ms_more=3), 0.99) == BOUNDS_MS[-1]


def test_the_limits_of_all_buckets_join() -> None:
    limits = [limits_ms(bucket) for bucket in range(len(BUCKETS))]
    assert [longer for _, longer in limits[:-1]] == [shorter for shorter, _ in limits[1:]]
    assert (limits[0][0], limits[-1][1]) == (None, None)


@given(st.lists(st.integers(0, 5), min_size=len(BUCKETS), max_size=len(BUCKETS)).filter(any))
def test_a_percentile_grows_with_its_share(counts: list[int]) -> None:
    found = [percentile_ms(counts, share / 20) for share in range(21)]
    assert found == sorted(found, key=lambda value: value or 0)
