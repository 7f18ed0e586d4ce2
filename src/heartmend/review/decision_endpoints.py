"""Endpoints of the decisions: reading, writing, undo, and tables."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from heartmend.errors import BadInputError, ConflictError
from heartmend.review.load import in_thread
from heartmend.review.requests import number_in, read_body, read_json, require_type, respond_to_write
from heartmend.review.session import Review
from heartmend.review.summary import ReviewSummary
from heartmend.run_folder.decision_records import MAX_NOTE_LENGTH, MAX_REVIEWER_LENGTH, DecisionRequest
from heartmend.run_folder.decisions_table import MAX_TABLE_BYTES, decisions_to_csv, import_csv

MAX_ENTRIES = 2000
"""A case has a few hundred changes at most."""
Text = Annotated[str, Field(max_length=300)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    case: Text
    structure: Text
    change: Text = ""
    choice: Literal["accept", "reject", "correct", "open"]
    note: Annotated[str, Field(max_length=MAX_NOTE_LENGTH)] = ""
    stamp: Text
    follows: Annotated[int, Field(ge=0)]


class _Batch(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    reviewer: Annotated[str, Field(min_length=1, max_length=MAX_REVIEWER_LENGTH, pattern=r"\S")]
    entries: Annotated[list[_Entry], Field(max_length=MAX_ENTRIES)] = []


class DecisionEndpoints:
    """Endpoints of the decisions of a review."""

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
            Route("/api/decisions", self.read),
            Route("/api/decisions", self.write, methods=["POST"]),
            Route("/api/undo", self.undo, methods=["POST"]),
            Route("/api/decisions.csv", self.save_table),
            Route("/api/decisions.csv", self.load_table, methods=["POST"]),
        ]

    async def read(self, request: Request) -> Response:
        """Send the current decisions with a number above `since`.

        Args:
            request: the request, with `since` in its query.

        Returns:
            JSON.

        Raises:
            HTTPException: if `since` is not the number of a decision.
        """
        since, review = number_in(request, "since"), self._review
        return JSONResponse(await in_thread(lambda: review.describe_decisions(review.decisions.current(since))))

    async def write(self, request: Request) -> Response:
        """Write decisions.

        Args:
            request: the request, with the decisions as JSON.

        Returns:
            JSON; on a conflict its status is 409 and it contains the current decisions.

        Raises:
            HTTPException: if the request is invalid, or a case was repaired again since the page was loaded.
        """
        batch, review = await read_json(request, _Batch), self._review
        for entry in batch.entries:
            known = review.summaries.get(entry.case)
            if known is None or not _can_decide(known, entry):
                raise HTTPException(400, f"no change to decide about in {entry.case!r} {entry.structure!r}")
            if entry.stamp != known.stamp:
                raise HTTPException(400, f"{entry.case!r} was repaired again in the meantime; reload the page")
        requests = [
            DecisionRequest(e.case, e.structure, e.choice, e.note, e.stamp, e.follows, e.change) for e in batch.entries
        ]
        return await respond_to_write(
            review, lambda: review.describe_decisions(review.decisions.write(requests, batch.reviewer))
        )

    async def undo(self, request: Request) -> Response:
        """Undo the newest batch of a reviewer.

        Args:
            request: the request, with the name of the reviewer as JSON.

        Returns:
            JSON with the current decisions and those that were undone; on a conflict its status is 409 and it contains
            the current decisions.

        Raises:
            HTTPException: if the request is invalid.
        """
        batch, review = await read_json(request, _Batch), self._review

        def undo() -> dict[str, Any]:
            found = review.decisions.undo(batch.reviewer)
            return {**review.describe_decisions(found.restored), "undone": [asdict(d) for d in found.undone]}

        return await respond_to_write(review, undo)

    async def save_table(self, request: Request) -> Response:
        """Send the current decisions as CSV.

        Args:
            request: the request.

        Returns:
            The table.
        """
        text = await in_thread(lambda: decisions_to_csv(self._review.decisions.current()))
        headers = {"content-disposition": 'attachment; filename="decisions.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=headers)

    async def load_table(self, request: Request) -> Response:
        """Import a CSV table of decisions.

        Args:
            request: the request, with the table as its body.

        Returns:
            JSON with the counts of the import.

        Raises:
            HTTPException: if the table is invalid or contradicts the current decisions.
        """
        require_type(request, "text/csv")
        table, finished = await read_body(request, MAX_TABLE_BYTES), self._review.finished
        known = dict.fromkeys((case.id for case in finished), finished.anatomy.names)
        try:
            return JSONResponse(asdict(await in_thread(lambda: import_csv(table, self._review.decisions, known))))
        except (BadInputError, ConflictError) as error:
            raise HTTPException(400, str(error)) from error


def _can_decide(known: ReviewSummary, entry: _Entry) -> bool:
    if not entry.change:
        return entry.structure in known.changed_structures
    return any(c.key == entry.change and c.change.structure == entry.structure for c in known.changes)
