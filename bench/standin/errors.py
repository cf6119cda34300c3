"""Errors as the Claude API words them (facts/claude-api.md 5)."""

from bench.asgi import Json

TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}

MESSAGES = {
    400: "The request was invalid.",
    401: "invalid x-api-key",
    402: "Your credit balance is too low to access the Claude API.",
    403: "Your API key does not have permission to use the specified resource.",
    404: "Not found",
    409: "The request conflicts with the current state of the resource.",
    413: "Request exceeds the maximum size",
    429: "This request would exceed your organization's rate limit. Please try again later.",
    500: "Internal server error",
    504: "Request timed out. Please try again.",
    529: "Overloaded",
}


class ApiError(Exception):
    """Ends a call with *status* and the API's envelope."""

    def __init__(self, status: int, message: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.message = message or MESSAGES.get(status, "Error")

    def envelope(self, request_id: str) -> Json:
        kind = TYPES.get(self.status, "api_error" if self.status >= 500 else "invalid_request_error")
        return {"type": "error", "error": {"type": kind, "message": self.message}, "request_id": request_id}
