"""Variables of OpenTelemetry that are wrong stop the start in a sentence."""

import pytest
from django.core.exceptions import ImproperlyConfigured

from telemetry.traces.conf import header_pairs, sampling


@pytest.mark.parametrize(
    ("sampler", "argument", "expected"),
    [
        ("always_on", "", (1.0, False)),
        ("always_off", "", (0.0, False)),
        ("parentbased_always_on", "0.1", (1.0, True)),
        ("traceidratio", "0.25", (0.25, False)),
        ("parentbased_traceidratio", "", (1.0, True)),
    ],
)
def test_samplers(sampler: str, argument: str, expected: tuple[float, bool]) -> None:
    assert sampling(sampler, argument) == expected


@pytest.mark.parametrize("argument", ["2", "-1", "nan", "half"])
def test_a_share_that_is_none(argument: str) -> None:
    with pytest.raises(ImproperlyConfigured, match="OTEL_TRACES_SAMPLER_ARG"):
        sampling("traceidratio", argument)


def test_a_sampler_that_is_unknown() -> None:
    with pytest.raises(ImproperlyConfigured, match="use one of always_on"):
        sampling("jaeger_remote", "")


def test_headers() -> None:
    assert header_pairs(" Authorization=Bearer fake==, x-scope=a ,") == {
        "authorization": "Bearer fake==",
        "x-scope": "a",
    }
    assert header_pairs("Authorization=Basic%20ZmFrZQ==,x-empty=") == {"authorization": "Basic ZmFrZQ==", "x-empty": ""}


@pytest.mark.parametrize(
    "text",
    ["fake-secret", "=fake-secret", "x y=fake-secret", "x=fake-secret%0d%0ay: z", "x=fake-secret%e4", "x=fake-secretß"],
)
def test_headers_that_are_none_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(ImproperlyConfigured) as refused:
        header_pairs(text)
    assert "fake-secret" not in str(refused.value)
