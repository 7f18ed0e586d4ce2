"""What the endpoints have in common: reading a request as far as it is allowed, and the response to a write."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from heartmend.errors import BadInputError, ConflictError
from heartmend.review.load import in_thread
from heartmend.review.session import Review
from heartmend.review.summary import ReviewSummary

MAX_JSON_BYTES = 1 << 20
_Model = TypeVar("_Model", bound=BaseModel)


def summary_of(review: Review, request: Request) -> ReviewSummary:
    """Find the case of a request. Its id is looked up among the cases; it is never used as a path.

    Args:
        review: the review.
        request: the request, with the id of the case in its path.

    Returns:
        The summary of the case.

    Raises:
        HTTPException: if the case is not in the review.
    """
    found = review.summaries.get(request.path_params["case"])
    if found is None:
        raise HTTPException(404, "no such case")
    return found


def number_in(request: Request, name: str) -> int:
    """Read a number in the query of a request.

    Args:
        request: the request.
        name: name of the number; 0 where it is missing.

    Returns:
        The number.

    Raises:
        HTTPException: if it is not a number.
    """
    given = request.query_params.get(name, "0")
    if not (given.isascii() and given.isdecimal()) or len(given) > 18:
        raise HTTPException(400, f"{name} must be a number")
    return int(given)


async def read_json(request: Request, model: type[_Model]) -> _Model:
    """Read the JSON of a request.

    Args:
        request: the request.
        model: what it must contain.

    Returns:
        The content.

    Raises:
        HTTPException: if it is something else, or too large.
    """
    require_type(request, "application/json")
    try:
        return model.model_validate_json(await read_body(request, MAX_JSON_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        raise HTTPException(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:300]) from error


def require_type(request: Request, wanted: str) -> None:
    """Check the content type: a form of another site cannot send these types without a CORS preflight request.

    Args:
        request: the request.
        wanted: the content type.

    Raises:
        HTTPException: if it has another one.
    """
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != wanted:
        raise HTTPException(415, f"the content type must be {wanted}")


async def read_body(request: Request, limit: int) -> bytes:
    """Read the body of a request. A body that is declared too large is not read.

    Args:
        request: the request.
        limit: its largest size, in bytes.

    Returns:
        The body.

    Raises:
        HTTPException: if it is too large, or the connection ends.
    """
    too_large = HTTPException(413, f"more than {limit} bytes")
    length = request.headers.get("content-length", "0")
    if not (length.isdecimal() and len(length) < 19 and int(length) <= limit):
        raise too_large
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > limit:
                raise too_large
    except ClientDisconnect as error:
        raise HTTPException(400, "the connection ended before the end of the request") from error
    return bytes(body)


async def respond_to_write(review: Review, write: Callable[[], dict[str, Any]]) -> Response:
    """Write something in a thread.

    Args:
        review: the review.
        write: writes, and returns JSON.

    Returns:
        The JSON; on a conflict its status is 409 and it contains the current decisions.

    Raises:
        HTTPException: if the input is bad.
    """
    try:
        return JSONResponse(await in_thread(write))
    except ConflictError as error:
        conflicts = error.newer
        newer = await in_thread(lambda: review.describe_decisions(conflicts))
        return JSONResponse({"error": str(error), "newer": newer["decisions"], "states": newer["states"]}, 409)
    except BadInputError as error:
        raise HTTPException(400, str(error)) from error
