"""Endpoints of the cases: the list, and what the page displays of each case."""

from __future__ import annotations

from collections.abc import Callable

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from heartmend.errors import RunError
from heartmend.review.case_cache import prepare_surfaces, read_image, read_uncertainty
from heartmend.review.load import ResponseCache, in_thread
from heartmend.review.page_data import unpack_maps
from heartmend.review.requests import number_in, summary_of
from heartmend.review.session import Review


class CaseEndpoints:
    """Endpoints of the cases of a review."""

    def __init__(self, review: Review) -> None:
        """Create the endpoints.

        Args:
            review: the review.
        """
        self._review = review
        self._cache = ResponseCache()
        # Made when a case is added: many requests share the text.
        self._run: tuple[int, bytes] = (-1, b"")

    def routes(self) -> list[BaseRoute]:
        """Return the routes of the endpoints.

        Returns:
            The routes.
        """
        case = "/api/cases/{case}"
        return [
            Route("/api/run", self.run),
            Route("/api/cases", self.new_cases),
            Route(f"{case}/maps", self.maps),
            Route(f"{case}/surfaces", self.surfaces),
            Route(f"{case}/image", self.image),
            Route(f"{case}/uncertainty", self.uncertainty),
            Route(f"{case}/views", self.views),
            Route(case, self.case),
        ]

    async def run(self, request: Request) -> Response:
        """Send the run: structures, colours, and the cases in the order of review.

        Args:
            request: the request.

        Returns:
            JSON.
        """
        added = len(self._review.added)
        if self._run[0] != added:
            self._run = added, bytes(JSONResponse(self._review.describe_run()).body)
        waiting = f',"waiting":{self._review.waiting}}}'.encode()
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
        review = self._review
        added = list(review.added)
        new = dict.fromkeys(added[number_in(request, "after") :])
        return JSONResponse(
            {"cases": review.describe_cases(new), "added": len(added), "waiting": review.waiting,
             "left_out": review.left_out, "states": await in_thread(lambda: review.states(new))}
        )  # fmt: skip

    async def case(self, request: Request) -> Response:
        """Send the grid and the changes of a case, with the position of each change.

        Args:
            request: the request, with the id of the case in its path.

        Returns:
            JSON.

        Raises:
            HTTPException: if the case is not in the review.
        """
        found = summary_of(self._review, request)
        changes = [{**c.to_dict(), "is_flagged": c.is_flagged} for c in found.changes]
        return JSONResponse({"case": found.case, "shape": found.shape, "affine": found.affine, "changes": changes})

    async def maps(self, request: Request) -> Response:
        """Send the label maps before and after.

        Args:
            request: the request, with the id of the case in its path.

        Returns:
            The packed label maps.

        Raises:
            HTTPException: if the case is not in the review, or its files are damaged.
        """
        finished = self._review.finished
        return await self._packed(request, "maps", lambda id: finished.run.read_review_volume(id, "maps"))

    async def surfaces(self, request: Request) -> Response:
        """Send the surfaces before and after. They are computed now where the thread in the background has not yet.

        Args:
            request: the request, with the id of the case in its path.

        Returns:
            The packed surfaces.

        Raises:
            HTTPException: if the case is not in the review, or its files are damaged.
        """
        finished, cases = self._review.finished, self._review.cases

        def read(id: str) -> bytes:
            prepare_surfaces(finished, cases[id])
            return finished.run.read_review_volume(id, "surfaces")

        return await self._packed(request, "surfaces", read)

    async def views(self, request: Request) -> Response:
        """Send the planes of the heart's own axes, and the paths along its vessels.

        Args:
            request: the request, with the id of the case in its path.

        Returns:
            JSON.

        Raises:
            HTTPException: if the case is not in the review, or its label maps are damaged.
        """
        summary, finished = summary_of(self._review, request), self._review.finished

        def compute() -> bytes:
            # Imported when the first view is wanted: NetworkX takes half a second.
            from heartmend.review.views import describe_views

            _, after = unpack_maps(finished.run.read_review_volume(summary.case, "maps"), summary.shape)
            return bytes(JSONResponse(describe_views(after, summary.grid, finished.anatomy)).body)

        body = await self._cache.get(("views", summary.case, summary.stamp), compute, is_computed=True)
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
        review = self._review
        case = review.cases[summary_of(review, request).case]
        body = await self._cache.get(("image", case.id), lambda: read_image(review.finished, case))
        if review.intake is not None:
            review.intake.case_was_fetched()
        return Response(body, media_type="application/octet-stream")

    async def uncertainty(self, request: Request) -> Response:
        """Send the probability of an error of each voxel.

        Args:
            request: the request, with the id of the case in its path.

        Returns:
            The packed probabilities, as of `read_uncertainty`.

        Raises:
            HTTPException: if the case is not in the review, or the run has no probabilities of it.
        """
        review, summary = self._review, summary_of(self._review, request)
        case = review.cases[summary.case]

        def read() -> bytes:
            return read_uncertainty(review.finished, case) or b""

        body = await self._cache.get(("uncertainty", summary.stamp), read)
        if not body:
            raise HTTPException(
                404, f"the run has no probabilities of errors of case {case.id}; it needs --uncertainty"
            )
        return Response(body, media_type="application/octet-stream", headers={"content-encoding": "gzip"})

    async def _packed(self, request: Request, kind: str, read: Callable[[str], bytes]) -> Response:
        summary = summary_of(self._review, request)
        id = summary.case
        try:
            # A case that was repaired again has another stamp.
            body = await self._cache.get((kind, summary.stamp), lambda: read(id), is_computed=kind == "surfaces")
        except RunError as error:
            raise HTTPException(500, f"the {kind} of case {id} are damaged; start the review again") from error
        return Response(body, media_type="application/octet-stream", headers={"content-encoding": "gzip"})
