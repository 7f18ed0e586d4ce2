"""Endpoints of corrections by hand, and of the refit that learns from them."""

from __future__ import annotations

from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from heartmend.errors import BadInputError
from heartmend.review.edit_requests import EditRequest
from heartmend.review.load import in_thread
from heartmend.review.requests import read_json, require_type, respond_to_write, summary_of
from heartmend.review.session import Review


class EditEndpoints:
    """Endpoints of the corrections of a review."""

    def __init__(self, review: Review) -> None:
        """Create the endpoints.

        Args:
            review: the review.
        """
        self._review = review

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the endpoints.

        Returns:
            The routes.
        """
        return [
            Route("/api/cases/{case}/edit", self.preview, methods=["POST"]),
            Route("/api/cases/{case}/corrected", self.save_correction, methods=["POST"]),
            Route("/api/refit", self.refit_state),
            Route("/api/refit", self.start_refit, methods=["POST"]),
        ]

    async def preview(self, request: Request) -> Response:
        """Apply a correction by hand, and send the result.

        Args:
            request: the request, with the id of the case in its path and the operations as JSON.

        Returns:
            The label map where it differs from the repaired one, as of `Editor.preview`.

        Raises:
            HTTPException: if the request is invalid, or an operation cannot be applied.
        """
        review = self._review
        case, edit = review.cases[summary_of(review, request).case], await read_json(request, EditRequest)
        try:
            operations = [step.to_operation(review.finished.anatomy) for step in edit.operations]
            body = await in_thread(lambda: review.editor.preview(case, operations))
        except BadInputError as error:
            raise HTTPException(400, str(error)) from error
        return Response(body, media_type="application/octet-stream")

    async def save_correction(self, request: Request) -> Response:
        """Save a correction by hand as the corrected label map of its case.

        Args:
            request: the request, with the id of the case in its path; reviewer and operations as JSON.

        Returns:
            JSON with the decisions; on a conflict its status is 409 and it contains the current decisions.

        Raises:
            HTTPException: if the request is invalid.
        """
        review = self._review
        case, edit = review.cases[summary_of(review, request).case], await read_json(request, EditRequest)
        if not edit.reviewer.strip():
            raise HTTPException(400, "reviewer: give the name of the person who corrected the case")

        def save() -> dict[str, Any]:
            operations = [step.to_operation(review.finished.anatomy) for step in edit.operations]
            return review.describe_decisions(review.editor.save(case, operations, edit.reviewer, edit.since))

        return await respond_to_write(review, save)

    async def refit_state(self, request: Request) -> Response:
        """Send whether a refit runs, and how many cases it would learn from.

        Args:
            request: the request.

        Returns:
            JSON.
        """
        return JSONResponse(await in_thread(self._review.describe_refit))

    async def start_refit(self, request: Request) -> Response:
        """Start to repair the undecided cases again.

        Args:
            request: the request, with an empty JSON object.

        Returns:
            JSON, as of `refit_state`.

        Raises:
            HTTPException: if a refit runs already, or cannot be started.
        """
        require_type(request, "application/json")
        try:
            self._review.refit.start()
        except BadInputError as error:
            raise HTTPException(400, str(error)) from error
        return JSONResponse(await in_thread(self._review.describe_refit))
