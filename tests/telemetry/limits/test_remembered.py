"""Answers that are a little old."""

from telemetry.limits.remembered import Remembered


def test_it_is_asked_once_in_a_while_and_for_each_alone() -> None:
    asked: list[str] = []
    remembered: Remembered[int] = Remembered(seconds=60, most=2)

    def ask(name: str) -> int:
        def answer() -> int:
            asked.append(name)
            return len(asked)

        return remembered.get(name, answer)

    assert [ask("a"), ask("a"), ask("b"), ask("a")] == [1, 1, 2, 1]
    ask("c")  # there is room for two only
    ask("a")
    assert asked == ["a", "b", "c", "a"]


def test_an_old_answer_is_asked_for_again() -> None:
    remembered: Remembered[int] = Remembered(seconds=0, most=2)
    answers = iter((1, 2))
    assert [remembered.get("a", lambda: next(answers)) for _ in range(2)] == [1, 2]
