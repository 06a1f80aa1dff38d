"""The OpenAI-compatible providers, each with its own errors."""

from __future__ import annotations

from argo_mw_sandbox.vendors.chat import Chat, Provider
from argo_mw_sandbox.vendors.protocol import Answer, World, failure


def _error(status: int, message: str, code: str, kind: str | None = None) -> Answer:
    content = {"message": message, "type": kind or code, "param": None, "code": code}
    return failure(status, {"error": content})


def _glm_error(status: int, code: str, message: str) -> Answer:
    return failure(status, {"error": {"code": code, "message": message}})


_INVALID = "invalid_request_error"

DEEPSEEK = Provider(
    "deepseek",
    ("deepseek-",),
    {
        "unauthorized": _error(
            401,
            "Authentication Fails, Your api key: ****true is invalid",
            _INVALID,
            "authentication_error",
        ),
        "bad_request": _error(
            400, "Failed to deserialize the JSON body into the target type", _INVALID
        ),
        "no_model": _error(400, "Model Not Exist", _INVALID),
        "no_balance": _error(402, "Insufficient Balance", _INVALID, "unknown_error"),
        "unprocessable": _error(422, "Invalid parameters", _INVALID),
        "rate_limit": _error(429, "Rate limit reached", "rate_limit_reached"),
        "server_error": _error(500, "Internal server error", "internal_error"),
        "overloaded": _error(
            503, "Service is too busy. Please try again later", "service_unavailable_error"
        ),
    },
    unknown_model="no_model",
    least_cached=64,
    embeds=False,
)

QWEN = Provider(
    "qwen",
    ("qwen", "qwq"),
    {
        "unauthorized": _error(
            401, "Incorrect API key provided.", "invalid_api_key", "invalid_request_error"
        ),
        "bad_request": _error(
            400, "'messages' is a required property", "invalid_parameter_error", _INVALID
        ),
        "no_model": _error(
            404,
            "The model does not exist or you do not have access to it.",
            "model_not_found",
            _INVALID,
        ),
        "rate_limit": _error(429, "You exceeded your current requests list.", "limit_requests"),
        "token_limit": _error(429, "You exceeded your current token limit.", "limit_burst_rate"),
        "insufficient_quota": _error(
            429,
            "You exceeded your current quota, please check your plan and billing details.",
            "insufficient_quota",
        ),
        "arrears": _error(
            400,
            "Access denied, please make sure your account is in good standing.",
            "Arrearage",
        ),
        "inspection": _error(
            400,
            "Input data may contain inappropriate content.",
            "data_inspection_failed",
        ),
        "server_error": _error(500, "An internal error has occurred.", "internal_error"),
        "overloaded": _error(
            503, "The model is overloaded, please try again later.", "ServiceUnavailable"
        ),
    },
    unknown_model="no_model",
    least_cached=256,
)

GLM = Provider(
    "glm",
    ("glm-",),
    {
        "unauthorized": _glm_error(401, "1000", "Authentication Failed"),
        "bad_request": _glm_error(400, "1214", "The messages parameter is invalid."),
        "no_model": _glm_error(400, "1211", "Unknown Model, please check the model code."),
        "content_filter": _glm_error(
            400, "1301", "System detected potentially unsafe or sensitive content."
        ),
        "rate_limit": _glm_error(429, "1302", "Rate limit reached for requests"),
        "frequency": _glm_error(429, "1303", "API calls are too frequent, please slow down."),
        "daily_limit": _glm_error(429, "1304", "The daily call limit for this API was reached."),
        "overloaded": _glm_error(
            429, "1305", "The service may be temporarily overloaded, please try again later"
        ),
        "arrears": _glm_error(
            429, "1113", "Insufficient balance or no resource package. Please recharge."
        ),
        "weekly_quota": _glm_error(
            429, "1310", "Weekly/Monthly Limit Exhausted. Your limit will reset at 2013-03-04."
        ),
        "server_error": _glm_error(500, "1234", "Network error, please contact customer service."),
    },
    unknown_model="no_model",
    least_cached=512,
    always_usage=True,
)


def deepseek(world: World) -> Chat:
    """DeepSeek."""
    return Chat(world, DEEPSEEK)


def qwen(world: World) -> Chat:
    """Qwen, in Alibaba's compatible mode."""
    return Chat(world, QWEN)


def glm(world: World) -> Chat:
    """GLM, by Z.ai."""
    return Chat(world, GLM)
