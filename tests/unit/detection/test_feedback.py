"""A false alarm moves the threshold of its series, and taking it back moves it back."""

from hypothesis import given
from hypothesis import strategies as st

from farwatch.detection import DEFAULT_THRESHOLD
from farwatch.detection.feedback import CEILING, threshold

SCORES = st.lists(st.floats(0, 1), max_size=12)


def test_without_verdicts_the_threshold_is_the_default():
    assert threshold([]) == DEFAULT_THRESHOLD


def test_two_verdicts_on_the_same_alarm_rule_it_out():
    assert threshold([0.7]) > DEFAULT_THRESHOLD
    assert threshold([0.7, 0.7, 0.7]) > 0.7


@given(SCORES, st.floats(0, 1))
def test_a_verdict_raises_the_threshold_up_to_the_ceiling_and_taking_it_back_restores_it(scores, another):
    before = threshold(scores)
    after = threshold([*scores, another])
    assert DEFAULT_THRESHOLD <= before <= after <= CEILING
    assert after > before or before == CEILING
    assert threshold(list(reversed(scores))) == before
