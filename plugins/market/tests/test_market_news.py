"""News over real sockets."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from argo_mw import BadParameter, InvalidAnswer, Outcome
from argo_mw.plugin import Codecs
from argo_mw_market import Article, MarketPlugin, alpaca
from argo_mw_sandbox import Sandbox
from argo_mw_sandbox.vendors.protocol import Answer

REAL = ("AAPL", "GOOG", "IBM", "MSFT", "FB")


async def ask(open_argo, vendor: str, **question: object) -> Outcome:
    async with open_argo(news=vendor) as argo:
        return await argo.outcome("news", **question)


@pytest.mark.parametrize("vendor", ["alpaca", "alphavantage"])
async def test_news_are_articles_newest_first(sandbox: Sandbox, open_argo, vendor: str) -> None:
    outcome = await ask(open_argo, vendor, symbol="AAPL", days=30)
    articles = outcome.value
    assert outcome.upstream == vendor
    assert len(articles) > 5
    assert all(isinstance(article, Article) for article in articles)
    published = [article.published for article in articles]
    assert published == sorted(published, reverse=True)
    assert all(moment.tzinfo is UTC for moment in published)
    assert all("AAPL" in article.title for article in articles)
    assert outcome.as_of == sandbox.clock.time()


async def test_only_alpha_vantage_gives_sentiment(open_argo) -> None:
    scored = (await ask(open_argo, "alphavantage", symbol="AAPL", days=10)).value
    plain = (await ask(open_argo, "alpaca", symbol="AAPL", days=10)).value
    assert [a.url for a in scored] == [a.url for a in plain]
    assert all(a.sentiment is None and a.relevance == 1.0 for a in plain)
    assert all(a.sentiment is not None and -1 <= a.sentiment <= 1 for a in scored)
    assert {0.95} == {a.relevance for a in scored}


async def test_news_about_many_symbols_go_in_one_request(sandbox, open_argo) -> None:
    async with open_argo(news="alpaca") as argo:
        together = await argo.map("news", REAL)
    assert 1 == sandbox.counts()["alpaca"]["requests"]
    for symbol in REAL:
        alone = await ask(open_argo, "alpaca", symbol=symbol)
        assert together[symbol].value == alone.value


async def test_pages_of_news_are_read_until_every_symbol_has_enough(
    sandbox, open_argo, monkeypatch
) -> None:
    whole = await ask(open_argo, "alpaca", symbol="AAPL", days=30, limit=8)
    sandbox.reset_counts()
    monkeypatch.setattr(alpaca, "_MAX_NEWS", 3)
    paged = await ask(open_argo, "alpaca", symbol="AAPL", days=30, limit=8)
    assert paged.value == whole.value
    assert 8 == len(paged.value)
    assert 3 == sandbox.counts()["alpaca"]["requests"]


async def test_other_symbols_of_an_article_may_have_any_spelling(
    sandbox, open_argo, monkeypatch
) -> None:
    item = (
        b'{"headline":"Deals","created_at":"2013-02-28T12:00:00Z",'
        b'"symbols":["TSX:SHOP","aapl","AAPL","$X",""]}'
    )
    answer = Answer(b'{"news":[%s],"next_page_token":null}' % item)
    monkeypatch.setattr(type(sandbox.endpoint("alpaca").vendor), "answer", lambda *_: answer)
    assert ["Deals"] == [a.title for a in (await ask(open_argo, "alpaca", symbol="AAPL")).value]


@pytest.mark.parametrize(
    ("score", "relevance", "expected"),
    [("-0.25", "0.5", (-0.25, 0.5)), ("7", "7", (1.0, 1.0)), ("NaN", "NaN", (None, 0.0))],
)
async def test_scores_are_strings_and_one_that_is_no_number_is_left_out(
    sandbox, open_argo, monkeypatch, score: str, relevance: str, expected: tuple[float, float]
) -> None:
    mention = (
        f'{{"ticker":"AAPL","relevance_score":"{relevance}","ticker_sentiment_score":"{score}"}}'
    )
    body = (
        '{"items":"1","feed":[{"title":"x","time_published":"20130228T120000",'
        f'"ticker_sentiment":[{mention}]}}]}}'
    )
    answer = Answer(body.encode())
    monkeypatch.setattr(type(sandbox.endpoint("alphavantage").vendor), "answer", lambda *_: answer)
    (article,) = (await ask(open_argo, "alphavantage", symbol="AAPL")).value
    assert expected == (article.sentiment, article.relevance)


@pytest.mark.parametrize("vendor", ["alpaca", "alphavantage"])
async def test_no_news_is_an_answer(sandbox, open_argo, vendor: str) -> None:
    sandbox.set_fault(vendor, "empty")
    assert () == (await ask(open_argo, vendor, symbol="AAPL")).value


@pytest.mark.parametrize(
    ("vendor", "body"),
    [
        ("alpaca", b'{"news":[{"headline":"x"}]}'),
        ("alphavantage", b'{"items":"0"}'),
        ("alphavantage", b'{"feed":[{"title":"x"}]}'),
        ("alphavantage", b'{"feed":[{"title":"x","time_published":"today"}]}'),
    ],
)
async def test_news_of_another_shape_are_refused(
    sandbox, open_argo, monkeypatch, vendor: str, body: bytes
) -> None:
    made = sandbox.endpoint(vendor).vendor
    monkeypatch.setattr(type(made), "answer", lambda *_: Answer(body))
    with pytest.raises(InvalidAnswer, match="malformed"):
        await ask(open_argo, vendor, symbol="AAPL")


@pytest.mark.parametrize("bad", [{"limit": 0}, {"limit": "all"}, {"days": -1}, {"symbol": ""}])
async def test_bad_questions_for_news_are_refused(open_argo, bad: dict[str, object]) -> None:
    with pytest.raises(BadParameter):
        await ask(open_argo, "alpaca", **{"symbol": "AAPL", **bad})


async def test_massive_is_not_asked_for_news(sandbox, open_argo) -> None:
    async with open_argo() as argo:
        await argo.call("news", symbol="AAPL")
    assert 0 == sandbox.counts()["massive"]["requests"]


def test_articles_travel_through_shared_stores() -> None:
    codecs = Codecs()
    MarketPlugin().register_codecs(codecs)
    article = Article("t", "u", datetime(2024, 1, 2, 3, 4, tzinfo=UTC), "s", "x", -0.25, 0.5)
    assert codecs.decode(codecs.encode((article,))) == (article,)
