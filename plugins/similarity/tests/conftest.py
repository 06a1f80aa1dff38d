"""What the tests of similarity's policy share."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from argo_mw_similarity import Guarded, read
from argo_mw_similarity.comparison.policy import Judgement
from argo_mw_similarity.language import lexicon
from argo_mw_similarity.language.lexicon import Lexicon


@pytest.fixture(scope="module")
def words() -> Lexicon:
    return lexicon.load()


@pytest.fixture
def judged(words: Lexicon) -> Callable[[str, str], Judgement]:
    """The judgement of two prompts that are near, which is the same in both orders."""

    def judge(a: str, b: str) -> Judgement:
        orders = ((a, b), (b, a))
        one, other = (Guarded(words).judge(read(x, words), read(y, words), 0.96) for x, y in orders)
        assert one == other
        return one

    return judge
