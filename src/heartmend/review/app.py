"""Web application of the review page: it reads cases, and writes decisions and hand-corrected label maps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from heartmend.errors import BadInputError, ConflictError, HeartmendError, RunError
from heartmend.figures.style import ADDED, RELABELLED, REMOVED
from heartmend.io.dataset import Case
from heartmend.repair.shared_errors.estimate import MIN_TRUSTED
from heartmend.review.access import Access, Guard
from heartmend.review.case_cache import read_image
from heartmend.review.edit_requests import EditRequest
from heartmend.review.editor import Editor
from heartmend.review.intake import Intake
from heartmend.review.load import Load, QuietStop, ResponseCache, in_thread
from heartmend.review.page_data import unpack_maps
from heartmend.review.plan import decisions_by_case
from heartmend.review.priority import expected_errors
from heartmend.review.refit_process import RefitProcess
from heartmend.review.states import CaseDecisions
from heartmend.review.summary import ReviewSummary, by_priority, read_summary
from heartmend.review.views import describe_views
from heartmend.run_folder.decisions import (
    MAX_NOTE_LENGTH,
    MAX_REVIEWER_LENGTH,
    Decision,
    DecisionRequest,
    open_decisions,
)
from heartmend.run_folder.decisions_table import MAX_TABLE_BYTES, decisions_to_csv, import_csv
from heartmend.run_folder.finished import NOT_REPAIRED, FinishedRun
from heartmend.version import __version__

MAX_JSON_BYTES = 1 << 20
MAX_ENTRIES = 2000
"""A case has a few hundred changes at most."""
_Model = TypeVar("_Model", bound=BaseModel)
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


class Review:
    """Cases and decisions of a run, and the endpoints of the page.

    Every case id of a request is looked up among the cases; it is never used as a path.

    Attributes:
        finished: the run.
        reviewer: name that the page proposes for the reviewer.
        decisions: database of the decisions.
        cases: cases whose review files exist, by id.
        summaries: their summaries, by id, in the order in which they were added.
        intake: the thread that prepares more cases; None where all were made ready before.
    """

    def __init__(
        self, finished: FinishedRun, reviewer: str = "", intake_workers: int | None = None,
        refit_command: tuple[str, ...] = (),
    ) -> None:  # fmt: skip
        """Open the review of a run.

        Args:
            finished: the run; without `intake_workers` its cases were made ready (`case_cache.make_ready`).
            reviewer: name that the page proposes for the reviewer.
            intake_workers: prepare the cases in the background, on this number of worker processes (0: one per CPU
                core), from `start` on.
            refit_command: command that repairs the undecided cases again, with its arguments; empty: the page cannot.

        Raises:
            RunError: if the database of the decisions cannot be used.
        """
        self.finished, self.reviewer = finished, reviewer
        self.decisions = open_decisions(finished)
        self.cases: dict[str, Case] = {}
        self.summaries: dict[str, ReviewSummary] = {}
        self.intake = None if intake_workers is None else Intake(finished, self.add, intake_workers)
        self.refit = RefitProcess(refit_command, self._after_refit)
        self.editor = Editor(finished, self.decisions)
        self._cache = ResponseCache()
        self._added: list[str] = []
        # Made when a case is added: many requests share the text.
        self._run: tuple[int, bytes] = (-1, b"")
        if self.intake is None:
            for case in finished:
                if finished.run.has_review_case(case.id):
                    self.add(finished, case)

    def start(self) -> None:
        """Start to prepare the cases, where this was not done before."""
        if self.intake is not None:
            self.intake.start()

    def add(self, finished: FinishedRun, case: Case) -> None:
        """Add a case whose review files exist, or replace it where it was repaired again.

        Args:
            finished: the run.
            case: the case.

        Raises:
            RunError: if its summary is damaged.
        """
        summary = read_summary(finished, case)
        # In this order: a request may run between two lines, and finds a case by its place in the list.
        self.finished = self.editor.finished = finished
        self.cases[case.id], self.summaries[case.id] = case, summary
        self._added.append(case.id)

    def _after_refit(self) -> None:
        """Add the cases that were repaired again; `heartmend refit` has written their review files."""
        finished = self.finished.reopened()
        for case in finished:
            known = self.summaries.get(case.id)
            if finished.run.has_review_case(case.id) and (known is None or known.stamp != finished.stamp(case)):
                self.add(finished, case)

    async def run(self, request: Request) -> Response:
        """Send the run: structures, colours, and the cases in the order of review.

        Args:
            request: the request.

        Returns:
            JSON.
        """
        added = len(self._added)
        if self._run[0] != added:
            self._run = added, bytes(JSONResponse(self._describe_run()).body)
        waiting = f',"waiting":{self._waiting()}}}'.encode()
        return Response(self._run[1][:-1] + waiting, media_type="application/json")

    async def new_cases(self, request: Request) -> Response:
        """Send the cases that became ready after the first `after` ones.

        Args:
            request: the request, with `after` in its query.

        Returns:
            JSON, with the number of all that are ready, and that of those that still wait.

        Raises:
            HTTPException: if `after` is not a number.
        """
        added = list(self._added)
        new = dict.fromkeys(added[_number(request, "after") :])
        errors = self._expected_errors()
        return JSONResponse(
            {"cases": [_to_dict(self.summaries[id], errors[id]) for id in new], "added": len(added),
             "waiting": self._waiting(), "left_out": self._left_out(),
             "states": await in_thread(lambda: self._states(new))}
        )  # fmt: skip

    def _expected_errors(self) -> dict[str, dict[str, float]]:
        """Expected error of each structure of each case, by what is known of the cohort now."""
        ready = list(self.summaries.values())
        return expected_errors({c.case: {s.name: (s.expected_error, s.after_ml) for s in c.structures} for c in ready})

    def _waiting(self) -> int:
        return self.intake.waiting if self.intake else 0

    def _left_out(self) -> dict[str, str]:
        """Reason for each case that is not reviewed; those that wait are not among them."""
        if self.intake is None:
            return self.finished.left_out
        return {id: why for id, why in self.finished.left_out.items() if why != NOT_REPAIRED} | self.intake.failed

    def _describe_run(self) -> dict[str, Any]:
        errors = self._expected_errors()
        structures = [
            {"id": s.id, "name": s.name, "colour": s.colour, "kind": s.kind} for s in self.finished.anatomy.structures
        ]
        return {
            "name": self.finished.run.output.name,
            "version": __version__,
            "reviewer": self.reviewer,
            "structures": structures,
            "colours": {"added": ADDED, "removed": REMOVED, "relabelled": RELABELLED},
            "left_out": self._left_out(),
            "added": len(self._added),
            "cases": [_to_dict(s, errors[s.case]) for s in by_priority(list(self.summaries.values()))],
        }

    async def case(self, request: Request) -> Response:
        """Send the grid and the changes of a case, with the position of each change.

        Args:
            request: the request, with the id of the case in its path.

        Returns:
            JSON.

        Raises:
            HTTPException: if the case is not in the review.
        """
        found = self._summary(request)
        changes = [{**c.to_dict(), "is_flagged": c.is_flagged} for c in found.changes]
        return JSONResponse({"case": found.case, "shape": found.shape, "affine": found.affine, "changes": changes})

    async def maps(self, request: Request) -> Response:
        """Send the label maps before and after.

        Args:
            request: the request, with the id of the case in its path.

        Returns:
            The packed label maps.

        Raises:
            HTTPException: if the case is not in the review.
        """
        return await self._packed(request, "maps")

    async def surfaces(self, request: Request) -> Response:
        """Send the surfaces before and after.

        Args:
            request: the request, with the id of the case in its path.

        Returns:
            The packed surfaces.

        Raises:
            HTTPException: if the case is not in the review.
        """
        return await self._packed(request, "surfaces")

    async def views(self, request: Request) -> Response:
        """Send the planes of the heart's own axes, and the paths along its vessels.

        Args:
            request: the request, with the id of the case in its path.

        Returns:
            JSON.

        Raises:
            HTTPException: if the case is not in the review, or its label maps are damaged.
        """
        summary, finished = self._summary(request), self.finished

        def compute() -> bytes:
            _, after = unpack_maps(finished.run.read_review_volume(summary.case, "maps"), summary.shape)
            return bytes(JSONResponse(describe_views(after, summary.grid, finished.anatomy)).body)

        body = await self._cache.get(("views", summary.case, summary.stamp), compute)
        return Response(body, media_type="application/json")

    async def image(self, request: Request) -> Response:
        """Send the CT.

        Args:
            request: the request, with the id of the case in its path.

        Returns:
            The packed CT.

        Raises:
            HTTPException: if the case is not in the review.
        """
        case = self.cases[self._summary(request).case]
        body = await self._cache.get(("image", case.id), lambda: read_image(self.finished, case))
        return Response(body, media_type="application/octet-stream")

    async def read(self, request: Request) -> Response:
        """Send the current decisions with a number above `since`.

        Args:
            request: the request, with `since` in its query.

        Returns:
            JSON.

        Raises:
            HTTPException: if `since` is not the number of a decision.
        """
        since = _number(request, "since")
        return JSONResponse(await in_thread(lambda: self._describe(self.decisions.current(since))))

    def _describe(self, decisions: Iterable[Decision]) -> dict[str, Any]:
        """Decisions for the page, with the states that follow from all decisions about their cases."""
        decisions = list(decisions)
        return {"decisions": [asdict(d) for d in decisions], "states": self._states({d.case for d in decisions})}

    def _states(self, cases: Iterable[str]) -> dict[str, Any]:
        """States of those of the cases that are ready, and of their structures."""
        ready = sorted(set(cases) & self.summaries.keys())
        by_case = decisions_by_case(self.decisions.current()) if ready else {}
        states = {}
        for case in ready:
            found = CaseDecisions.of(self.summaries[case], by_case.get(case, []))
            states[case] = {"case": found.case_state, "structures": dict(found.states)}
        return states

    async def write(self, request: Request) -> Response:
        """Write decisions.

        Args:
            request: the request, with the decisions as JSON.

        Returns:
            JSON; on a conflict its status is 409 and it contains the current decisions.

        Raises:
            HTTPException: if the request is invalid, or a case was repaired again since the page was loaded.
        """
        batch = await _read_json(request, _Batch)
        for entry in batch.entries:
            known = self.summaries.get(entry.case)
            if known is None or not _can_decide(known, entry):
                raise HTTPException(400, f"no change to decide about in {entry.case!r} {entry.structure!r}")
            if entry.stamp != known.stamp:
                raise HTTPException(400, f"{entry.case!r} was repaired again in the meantime; reload the page")
        requests = [
            DecisionRequest(e.case, e.structure, e.choice, e.note, e.stamp, e.follows, e.change) for e in batch.entries
        ]
        return await self._respond(lambda: self._describe(self.decisions.write(requests, batch.reviewer)))

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
        batch = await _read_json(request, _Batch)

        def undo() -> dict[str, Any]:
            found = self.decisions.undo(batch.reviewer)
            return {**self._describe(found.restored), "undone": [asdict(d) for d in found.undone]}

        return await self._respond(undo)

    async def preview(self, request: Request) -> Response:
        """Apply a correction by hand, and send the result.

        Args:
            request: the request, with the id of the case in its path and the operations as JSON.

        Returns:
            The label map where it differs from the repaired one, as of `Editor.preview`.

        Raises:
            HTTPException: if the request is invalid, or an operation cannot be applied.
        """
        case, edit = self.cases[self._summary(request).case], await _read_json(request, EditRequest)
        try:
            operations = [step.to_operation(self.finished.anatomy) for step in edit.operations]
            body = await in_thread(lambda: self.editor.preview(case, operations))
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
        case, edit = self.cases[self._summary(request).case], await _read_json(request, EditRequest)
        if not edit.reviewer.strip():
            raise HTTPException(400, "reviewer: give the name of the person who corrected the case")

        def save() -> dict[str, Any]:
            operations = [step.to_operation(self.finished.anatomy) for step in edit.operations]
            return self._describe(self.editor.save(case, operations, edit.reviewer, edit.since))

        return await self._respond(save)

    async def refit_state(self, request: Request) -> Response:
        """Send whether a refit runs, and how many cases it would learn from.

        Args:
            request: the request.

        Returns:
            JSON.
        """
        return JSONResponse(await in_thread(self._describe_refit))

    async def start_refit(self, request: Request) -> Response:
        """Start to repair the undecided cases again.

        Args:
            request: the request, with an empty JSON object.

        Returns:
            JSON, as of `refit_state`.

        Raises:
            HTTPException: if a refit runs already, or cannot be started.
        """
        _require_type(request, "application/json")
        try:
            self.refit.start()
        except BadInputError as error:
            raise HTTPException(400, str(error)) from error
        return JSONResponse(await in_thread(self._describe_refit))

    def _describe_refit(self) -> dict[str, Any]:
        by_case = decisions_by_case(self.decisions.current())
        corrected = 0
        for case, decisions in by_case.items():
            if case in self.summaries and any(d.choice == "corrected" for d in decisions):
                corrected += CaseDecisions.of(self.summaries[case], decisions).case_state == "decided"
        refit = self.refit
        return {
            "state": refit.state, "message": refit.message, "corrected": corrected, "needed": MIN_TRUSTED,
            "is_possible": bool(refit.command),
        }  # fmt: skip

    async def save_table(self, request: Request) -> Response:
        """Send the current decisions as CSV.

        Args:
            request: the request.

        Returns:
            The table.
        """
        text = await in_thread(lambda: decisions_to_csv(self.decisions.current()))
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
        _require_type(request, "text/csv")
        table = await _body(request, MAX_TABLE_BYTES)
        known = dict.fromkeys((case.id for case in self.finished), self.finished.anatomy.names)
        try:
            return JSONResponse(asdict(await in_thread(lambda: import_csv(table, self.decisions, known))))
        except (BadInputError, ConflictError) as error:
            raise HTTPException(400, str(error)) from error

    async def _respond(self, write: Callable[[], dict[str, Any]]) -> Response:
        try:
            return JSONResponse(await in_thread(write))
        except ConflictError as error:
            conflicts = error.newer
            newer = await in_thread(lambda: self._describe(conflicts))
            return JSONResponse({"error": str(error), "newer": newer["decisions"], "states": newer["states"]}, 409)
        except BadInputError as error:
            raise HTTPException(400, str(error)) from error

    def _summary(self, request: Request) -> ReviewSummary:
        found = self.summaries.get(request.path_params["case"])
        if found is None:
            raise HTTPException(404, "no such case")
        return found

    async def _packed(self, request: Request, kind: str) -> Response:
        summary = self._summary(request)
        case_id = summary.case
        try:
            # A case that was repaired again has another stamp.
            body = await self._cache.get(
                (kind, summary.stamp), lambda: self.finished.run.read_review_volume(case_id, kind)
            )
        except RunError as error:
            raise HTTPException(500, f"the {kind} of case {case_id} are damaged; start the review again") from error
        return Response(body, media_type="application/octet-stream", headers={"content-encoding": "gzip"})


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

    case = "/api/cases/{case}"
    routes = [
        Route("/", index),
        Route("/api/run", review.run),
        Route("/api/cases", review.new_cases),
        Route(f"{case}/maps", review.maps),
        Route(f"{case}/surfaces", review.surfaces),
        Route(f"{case}/image", review.image),
        Route(f"{case}/views", review.views),
        Route(f"{case}/edit", review.preview, methods=["POST"]),
        Route(f"{case}/corrected", review.save_correction, methods=["POST"]),
        Route(case, review.case),
        Route("/api/decisions", review.read),
        Route("/api/decisions", review.write, methods=["POST"]),
        Route("/api/undo", review.undo, methods=["POST"]),
        Route("/api/refit", review.refit_state),
        Route("/api/refit", review.start_refit, methods=["POST"]),
        Route("/api/decisions.csv", review.save_table),
        Route("/api/decisions.csv", review.load_table, methods=["POST"]),
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


def _number(request: Request, name: str) -> int:
    given = request.query_params.get(name, "0")
    if not (given.isascii() and given.isdecimal()) or len(given) > 18:
        raise HTTPException(400, f"{name} must be a number")
    return int(given)


def _to_dict(summary: ReviewSummary, errors: Mapping[str, float]) -> dict[str, Any]:
    return {
        "case": summary.case,
        "stamp": summary.stamp,
        "priority": {**asdict(summary.priority), "score": summary.priority.score},
        "severity": summary.severity,
        "changed_ml": summary.changed_ml,
        "has_image": summary.has_image,
        "structures": [{**asdict(s), "expected_error": round(errors[s.name], 5)} for s in summary.structures],
        "changed_structures": summary.changed_structures,
    }


def _can_decide(known: ReviewSummary, entry: _Entry) -> bool:
    if not entry.change:
        return entry.structure in known.changed_structures
    return any(c.key == entry.change and c.change.structure == entry.structure for c in known.changes)


async def _read_json(request: Request, model: type[_Model]) -> _Model:
    _require_type(request, "application/json")
    try:
        return model.model_validate_json(await _body(request, MAX_JSON_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        raise HTTPException(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}"[:300]) from error


def _require_type(request: Request, wanted: str) -> None:
    """Check the content type: a form of another site cannot send these types without a CORS preflight request."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != wanted:
        raise HTTPException(415, f"the content type must be {wanted}")


async def _body(request: Request, limit: int) -> bytes:
    """Read the body of a request. A body that is declared too large is not read."""
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
