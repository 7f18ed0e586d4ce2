"""The page's server: what it may read, and the one thing that it may write, decisions."""

from __future__ import annotations

from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from heartmend import __version__
from heartmend.errors import BadInputError
from heartmend.figures.planes import ADDED, REMOVED, RENAMED
from heartmend.io.dataset import Case
from heartmend.review.access import Access, Guard
from heartmend.review.case_cache import read_summary, read_image
from heartmend.review.summary import Digest, by_priority
from heartmend.run_folder.decisions import (
    NOTE_LENGTH,
    VERB,
    WHO_LENGTH,
    ConflictError,
    Decision,
    DecisionRequest,
    decisions_of,
)
from heartmend.run_folder.decisions_table import decisions_to_csv, import_csv
from heartmend.run_folder.finished import FinishedRun

MAX_JSON_BYTES, MAX_CSV_BYTES = 1 << 18, 1 << 24
Text = Annotated[str, Field(max_length=300)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    case: Text
    structure: Text
    choice: Literal["accept", "keep", "manual", "open"]
    note: Annotated[str, Field(max_length=NOTE_LENGTH)] = ""
    stamp: Text
    seen: Annotated[int, Field(ge=0)]


class _Act(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)

    who: Annotated[str, Field(min_length=1, max_length=WHO_LENGTH, pattern=r"\S")]
    entries: Annotated[list[_Entry], Field(max_length=300)] = []


class Review:
    """The cases that the page goes through. Whatever the page names is looked up here, never in the file system."""

    def __init__(self, subject: FinishedRun, reviewer: str = "") -> None:
        self.subject, self.reviewer = subject, reviewer
        self.decisions = decisions_of(subject)
        ready = [c for c in subject if subject.run.case_path(VERB, c.id, ".json").is_file()]
        self.cases: dict[str, Case] = {case.id: case for case in ready}
        self.digests: dict[str, Digest] = {
            d.case: d for d in by_priority(read_summary(subject, case) for case in ready)
        }

    async def run(self, request: Request) -> Response:
        """What the page needs to begin."""
        structures = [{"id": s.id, "name": s.name, "colour": s.colour} for s in self.subject.anatomy.structures]
        return JSONResponse(
            {
                "name": self.subject.run.out.name,
                "version": __version__,
                "reviewer": self.reviewer,
                "structures": structures,
                "colours": {"added": ADDED, "removed": REMOVED, "renamed": RENAMED},
                "left_out": self.subject.left_out,
                "cases": [_summary(d) for d in self.digests.values()],
            }
        )

    async def case(self, request: Request) -> Response:
        """The changes of a case, with the place of each."""
        found = self._digest(request)
        changes = [
            {**c.to_dict(), "at_mm": place} for c, place in zip(found.changes, found.places_mm, strict=True)
        ]  # fmt: skip
        return JSONResponse({"case": found.case, "shape": found.shape, "affine": found.affine, "changes": changes})

    async def maps(self, request: Request) -> Response:
        """The label maps before and after."""
        return await self._packed(request, ".maps.gz")

    async def surfaces(self, request: Request) -> Response:
        """The surfaces before and after."""
        return await self._packed(request, ".surfaces.gz")

    async def image(self, request: Request) -> Response:
        """The CT."""
        case = self.cases[self._digest(request).case]
        return Response(await run_in_threadpool(read_image, self.subject, case), media_type="application/octet-stream")

    async def read(self, request: Request) -> Response:
        """The decisions that hold, newer than `since`."""
        since = request.query_params.get("since", "0")
        if not since.isdecimal() or len(since) > 18:
            raise HTTPException(400, "since is the number of a decision")
        found = await run_in_threadpool(self.decisions.current, int(since))
        return JSONResponse({"decisions": [asdict(d) for d in found]})

    async def write(self, request: Request) -> Response:
        """Write decisions; 409 with those that hold when someone was faster."""
        act = await _act(request)
        for entry in act.entries:
            known = self.digests.get(entry.case)
            if known is None or entry.structure not in known.to_decide:
                raise HTTPException(400, f"nothing is to be decided about {entry.case!r} {entry.structure!r}")
            if entry.stamp != known.stamp:
                raise HTTPException(400, f"{entry.case!r} was mended again since; load the page anew")
        wishes = [DecisionRequest(e.case, e.structure, e.choice, e.note, e.stamp, e.seen) for e in act.entries]
        return await _answered(lambda: self.decisions.write(wishes, act.who))

    async def undo(self, request: Request) -> Response:
        """Take back the newest act of a person."""
        act = await _act(request)
        return await _answered(lambda: self.decisions.undo(act.who))

    async def save_table(self, request: Request) -> Response:
        """The decisions as CSV."""
        text = decisions_to_csv(await run_in_threadpool(self.decisions.current))
        named = {"content-disposition": 'attachment; filename="decisions.csv"'}
        return Response(text, media_type="text/csv; charset=utf-8", headers=named)

    async def load_table(self, request: Request) -> Response:
        """Take in a CSV of decisions."""
        _of_type(request, "text/csv")
        text = (await _body(request, MAX_CSV_BYTES)).decode("utf-8-sig", errors="replace")
        known = dict.fromkeys(self.digests, self.subject.anatomy.names)
        try:
            return JSONResponse(asdict(await run_in_threadpool(import_csv, text, self.decisions, known)))
        except (BadInputError, ConflictError) as error:
            raise HTTPException(400, str(error)) from error

    def _digest(self, request: Request) -> Digest:
        found = self.digests.get(request.path_params["case"])
        if found is None:
            raise HTTPException(404, "no such case")
        return found

    async def _packed(self, request: Request, ending: str) -> Response:
        path = self.subject.run.case_path(VERB, self._digest(request).case, ending)
        body = await run_in_threadpool(path.read_bytes)
        return Response(body, media_type="application/octet-stream", headers={"content-encoding": "gzip"})


def create_app(review: Review, access: Access) -> Starlette:
    """The server of a review, with its guard."""
    static = Path(str(resources.files("heartmend.review") / "static"))
    page = (static / "index.html").read_bytes()

    async def index(request: Request) -> Response:
        return Response(page, media_type="text/html; charset=utf-8")

    one = "/api/cases/{case}"
    routes = [
        Route("/", index),
        Route("/api/run", review.run),
        Route(f"{one}/maps", review.maps),
        Route(f"{one}/surfaces", review.surfaces),
        Route(f"{one}/image", review.image),
        Route(one, review.case),
        Route("/api/decisions", review.read),
        Route("/api/decisions", review.write, methods=["POST"]),
        Route("/api/undo", review.undo, methods=["POST"]),
        Route("/api/decisions.csv", review.save_table),
        Route("/api/decisions.csv", review.load_table, methods=["POST"]),
        Mount("/static", StaticFiles(directory=static, follow_symlink=False)),
    ]
    return Starlette(
        routes=routes, middleware=[Middleware(Guard, access=access)], exception_handlers={HTTPException: _told}
    )


async def _told(request: Request, error: Exception) -> Response:
    code, detail = (error.status_code, error.detail) if isinstance(error, HTTPException) else (500, "it failed")
    return JSONResponse({"error": detail}, code)


def _summary(digest: Digest) -> dict[str, Any]:
    return {
        "case": digest.case,
        "stamp": digest.stamp,
        "doubt": {**asdict(digest.doubt), "score": digest.doubt.score},
        "severity": digest.severity,
        "changed_ml": digest.changed_ml,
        "has_image": digest.has_image,
        "structures": [asdict(s) for s in digest.structures],
        "to_decide": digest.to_decide,
    }


async def _answered(write: Any) -> Response:
    try:
        written: list[Decision] = await run_in_threadpool(write)
    except ConflictError as error:
        return JSONResponse({"error": str(error), "newer": [asdict(d) for d in error.newer]}, 409)
    except BadInputError as error:
        raise HTTPException(400, str(error)) from error
    return JSONResponse({"decisions": [asdict(d) for d in written]})


async def _act(request: Request) -> _Act:
    _of_type(request, "application/json")
    try:
        return _Act.model_validate_json(await _body(request, MAX_JSON_BYTES))
    except ValidationError as error:
        first = error.errors()[0]
        raise HTTPException(400, f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


def _of_type(request: Request, wanted: str) -> None:
    """A form of another site cannot send these types without being asked first."""
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != wanted:
        raise HTTPException(415, f"send {wanted}")


async def _body(request: Request, limit: int) -> bytes:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise HTTPException(413, f"more than {limit} bytes")
    return bytes(body)
