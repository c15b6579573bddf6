"""The stock rules hold to what docs and people rely on."""

from __future__ import annotations

from farwatch.domain.rules import Comparison
from farwatch.domain.stock_rules import STOCK_RULES


def test_there_are_thirty_or_more_with_names_and_ids_of_their_own() -> None:
    assert len(STOCK_RULES) >= 30
    assert len({rule.id for rule in STOCK_RULES}) == len(STOCK_RULES)
    assert len({rule.name for rule in STOCK_RULES}) == len(STOCK_RULES)


def test_each_says_what_to_look_at() -> None:
    assert all(len(rule.summary) > 20 for rule in STOCK_RULES)


def test_leaving_is_never_harder_to_tell_from_entering_than_the_line_itself() -> None:
    for rule in STOCK_RULES:
        for condition in rule.conditions:
            assert condition.leave is not None
            if condition.comparison is Comparison.ABOVE:
                assert condition.leave <= condition.enter
            else:
                assert condition.leave >= condition.enter
