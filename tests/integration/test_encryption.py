"""With a key, no prompt and no answer can be read in what is kept on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from argo_mw import Argo, Outcome
from argo_mw.plugin import Upstream, context_of, operation
from argo_mw.testing import FakePlugin
from argo_mw_persist import store_of
from argo_mw_redis.testing import servers

PROMPT, ANSWER = "canary of a prompt", "canary of an answer"
OLD, NEW = "o" * 44, "n" * 44


@operation(kind="llm")
def think(messages: list[dict[str, str]]) -> str:
    """An answer of a language model."""
    raise AssertionError


class Model(FakePlugin):
    """A language model, which counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

        async def fetch(call: object) -> Outcome:
            self.asked += 1
            return Outcome(ANSWER)

        super().__init__(
            operations=[think], upstreams=[Upstream("model", frozenset({"think"}), fetch)]
        )


async def session(home: Path, key: object, shared: str = "sqlite") -> tuple[int, list[object]]:
    """Ask two equivalent questions; return how often the model was asked, and what was recorded."""
    model = Model()
    argo_table: dict[str, object] = {"state_dir": str(home), "shared": shared}
    if key:
        argo_table["encryption_key"] = key
    config = {
        "argo": argo_table,
        "plugins": {
            "persist": {"answers": ["think"], "durable": True},
            "similarity": {"embedder": "none"},
            "coalesce": {"distributed": True},
        },
    }
    async with Argo.open(config, plugins={"mine": model}) as argo:
        for text in (PROMPT, f"{PROMPT} "):
            messages = [{"role": "user", "content": text}]
            assert ANSWER == await argo.call("think", messages=messages)
        await store_of(argo).flush()
        page = await argo.call("answers", of="think")
        return model.asked, [one.decode(context_of(argo).codecs) for one in page.answers]


def kept(home: Path) -> bytes:
    return b"".join(file.read_bytes() for file in home.rglob("*") if file.is_file())


@pytest.fixture(autouse=True)
def own_state(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ARGO_MW_STATE_DIR", raising=False)


async def test_prompts_and_answers_are_on_disk_without_a_key_and_not_with_one(
    tmp_path: Path,
) -> None:
    clear, secret = tmp_path / "clear", tmp_path / "secret"
    await session(clear, None)
    await session(secret, NEW)
    assert PROMPT.encode() in kept(clear), "the test looks where they are kept"
    assert ANSWER.encode() in kept(clear)
    assert PROMPT.encode() not in kept(secret)
    assert ANSWER.encode() not in kept(secret)


async def test_a_rotated_key_keeps_what_is_known_and_another_key_does_not(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    assert (1, [ANSWER]) == await session(tmp_path, OLD)
    asked, recorded = await session(tmp_path, [NEW, OLD])
    assert (0, [ANSWER]) == (asked, recorded)
    caplog.clear()
    asked, recorded = await session(tmp_path, NEW)
    assert 1 == asked, "what the old key encrypted is a miss, and no error"
    warnings = [record for record in caplog.records if "refused (encryption" in record.getMessage()]
    assert 1 == len(warnings), "one warning for all of them"


async def test_clear_values_are_misses_once_there_is_a_key(tmp_path: Path) -> None:
    await session(tmp_path, None)
    asked, _ = await session(tmp_path, NEW)
    assert 1 == asked


@pytest.mark.parametrize(("key", "found"), [(None, True), (NEW, False)], ids=["clear", "encrypted"])
async def test_with_a_key_no_value_in_redis_shows_a_prompt_or_an_answer(
    tmp_path: Path, key: str | None, found: bool
) -> None:
    with servers(tmp_path) as start:
        server = start()
        await session(tmp_path / "state", key, server.url)
        server.command("SAVE")
        dump = kept(server.directory)
    assert b"REDIS" in dump
    assert found is (PROMPT.encode() in dump or ANSWER.encode() in dump)
