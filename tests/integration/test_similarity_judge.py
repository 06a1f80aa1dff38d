"""The judge of ``similarity`` asks the models of ``llm``: neither plugin knows the other."""

from __future__ import annotations

from argo_mw import Argo
from argo_mw.plugin import context_of
from argo_mw_llm import LlmPlugin
from argo_mw_sandbox import Sandbox, SandboxConfig
from argo_mw_similarity import SimilarityPlugin
from argo_mw_similarity.opinions.same_question import COMPLETE, asked_of, verdict_in

PROMPTS = {"known": "How do I price a bond?", "asked": "How do I price a callable bond?"}


def opened(url: str) -> Argo:
    return Argo.open(
        {
            "argo": {"shared": "memory://", "strict": True},
            "flags": {"similarity": "on"},
            "plugins": {
                "llm": {"glm": {"url": url, "key": "any"}},
                "similarity": {"policy": "judged", "embedder": "none", "judge_model": "glm-4.6"},
            },
            "operations": {"complete": {"upstreams": ["glm"]}},
            "upstreams": {"glm": {"per_minute": 1_000}},
        },
        plugins={"similarity": SimilarityPlugin, "llm": LlmPlugin},
        installed=False,
    )


async def test_the_question_is_one_that_the_operation_of_llm_takes() -> None:
    async with opened("http://127.0.0.1:9/") as argo:
        context = context_of(argo)
        call = context.make_call(COMPLETE, "red", asked_of("glm-4.6", PROMPTS))
        (upstream,) = context.upstreams(call)
    assert ("glm", "red") == (upstream.name, call.tenant)


async def test_a_model_that_answers_something_else_gives_no_verdict() -> None:
    async with Sandbox(SandboxConfig(speed=0.0)) as sandbox, opened(sandbox.url("glm")) as argo:
        answer = await argo.options(tenant="red").outcome("same_question", **PROMPTS)
        assert verdict_in(answer.value) is None
        assert 1 == sandbox.counts_of("glm").requests
        assert answer.cost.tokens_in > 0
