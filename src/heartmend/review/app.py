"""Web application of the review page: it reads cases, and writes decisions and hand-corrected label maps."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from heartmend.errors import HeartmendError
from heartmend.review.access import Access, Guard
from heartmend.review.case_endpoints import CaseEndpoints
from heartmend.review.decision_endpoints import DecisionEndpoints
from heartmend.review.edit_endpoints import EditEndpoints
from heartmend.review.load import Load, QuietStop
from heartmend.review.session import Review


def create_app(review: Review, access: Access) -> Starlette:
    """Create the web application of a review.

    Args:
        review: cases and decisions.
        access: access rules.

    Returns:
        An ASGI application.
    """
    static = Path(str(resources.files("heartmend.review") / "static"))
    page = (static / "index.html").read_bytes()

    async def index(request: Request) -> Response:
        return Response(page, media_type="text/html; charset=utf-8")

    routes = [
        Route("/", index),
        *CaseEndpoints(review).routes(),
        *DecisionEndpoints(review).routes(),
        *EditEndpoints(review).routes(),
        Mount("/static", StaticFiles(directory=static, follow_symlink=False)),
    ]
    middleware = [Middleware(QuietStop), Middleware(Guard, access=access), Middleware(Load)]
    handlers = {HTTPException: _error, HeartmendError: _failure}
    app = Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)
    # An address with a slash at its end is unknown, not another spelling.
    app.router.redirect_slashes = False
    return app


async def _error(request: Request, error: Exception) -> Response:
    code, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "internal error")
    return JSONResponse({"error": detail}, code)


async def _failure(request: Request, error: Exception) -> Response:
    """Response where a file of the run or of the data set cannot be read, or the decisions cannot be written."""
    return JSONResponse({"error": str(error)}, 500)
