"""One layer tells another how the answer of a load is kept, while its result is passed on."""

from __future__ import annotations

from argo_mw.plugin import Handover, Kept


def test_a_load_whose_result_is_not_passed_on_takes_nothing() -> None:
    handover = Handover()
    assert (False, None) == (handover.keep(Kept(1.0, ())), handover.close())


def test_how_an_answer_is_kept_is_known_once_its_result_is_passed_on() -> None:
    handover, kept = Handover(), Kept(1.0, ())
    handover.open()
    assert (True, kept) == (handover.keep(kept), handover.close())
    assert handover.keep(Kept(2.0, ())) is False


def test_the_first_layer_that_keeps_an_answer_is_the_only_one_that_hands_it_over() -> None:
    handover, first = Handover(), Kept(1.0, ())
    handover.open()
    taken = [handover.keep(kept) for kept in (first, Kept(2.0, ()))]
    assert ([True, False], first) == (taken, handover.close())
