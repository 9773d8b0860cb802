"""The application: its addresses and what each gives."""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from importlib.resources import files
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, HTMLResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

import mien
from mien.errors import MienError
from mien.web import reports, worker
from mien.web.guard import REPORT_POLICY, Guard
from mien.web.intake import spoken
from mien.web.jobs import Job, Jobs, Refused, too_large

_STATIC: Final = {
    "answer.css": ("mien.export", "templates/answer.css", "text/css"),
    "serve.css": ("mien.web", "static/serve.css", "text/css"),
    "serve.js": ("mien.web", "static/serve.js", "text/javascript"),
    "icon.svg": ("mien.web", "static/icon.svg", "image/svg+xml"),
}
_TYPES: Final = {
    "csv": "text/csv; charset=utf-8", "json": "application/json", "eaf": "application/xml", "mp4": "video/mp4",
    "html": "text/html; charset=utf-8",
}  # fmt: skip
_BLOCK: Final = 1 << 20
"""Bytes written at once."""

_ASKED: Final = 8192
"""Most bytes of a request that is not a film."""


def build(jobs: Jobs | None, hosts: tuple[str, ...], runs: Path | None = None) -> Starlette:
    """The application.

    Args:
        jobs: The queue, started by the application and closed with it; None where there are no weights.
        hosts: Names by which it may be called, with the port.
        runs: Folder of benchmark runs; None has no page of reports.
    """
    pages = Environment(
        loader=PackageLoader("mien.web", "templates"), autoescape=True, undefined=StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    pages.filters["spoken"] = spoken
    pages.filters["share"] = reports.share
    common = {"version": mien.__version__, "has_runs": runs is not None}
    shelf = None if runs is None else reports.Shelf(runs)

    @asynccontextmanager
    async def lifespan(_: Starlette) -> AsyncIterator[None]:
        try:
            yield
        finally:
            if jobs is not None:
                await run_in_threadpool(jobs.close)

    async def index(_: Request) -> Response:
        about = None if jobs is None else jobs.about
        limits = None if jobs is None else jobs.limits
        page = pages.get_template("index.html.j2")
        return HTMLResponse(page.render(about=about, limits=limits, here="ask", **common))

    async def static(request: Request) -> Response:
        found = _STATIC.get(request.path_params["name"])
        if found is None:
            raise HTTPException(404)
        package, path, kind = found
        return Response(files(package).joinpath(path).read_bytes(), media_type=kind)

    async def list_runs(_: Request) -> Response:
        if shelf is None:
            raise HTTPException(404)
        listed = await run_in_threadpool(shelf.rows)
        page = pages.get_template("reports.html.j2")
        return HTMLResponse(page.render(rows=listed, folder=shelf.folder.name, here="reports", **common))

    async def view_runs(request: Request) -> Response:
        if shelf is None:
            raise HTTPException(404)
        names = request.query_params.getlist("run")
        try:
            page, kind = await run_in_threadpool(shelf.page, names)
        except MienError as error:
            page = pages.get_template("failed.html.j2").render(error=error, here="reports", **common)
            return HTMLResponse(page, 404)
        if kind == "report":
            return HTMLResponse(page, headers={"Content-Security-Policy": REPORT_POLICY})
        shown = pages.get_template("spotting.html.j2").render(**json.loads(page), here="reports", **common)
        return HTMLResponse(shown)

    routes = [
        Route("/", index),
        Route("/static/{name}", static),
        Route("/reports", list_runs),
        Route("/reports/view", view_runs),
    ]
    if jobs is not None:
        routes += _job_routes(jobs)
    application = Starlette(
        routes=routes,
        lifespan=lifespan,
        middleware=[Middleware(Guard, hosts=hosts)],
        exception_handlers={HTTPException: partial(_failed, pages, common)},
    )
    application.router.redirect_slashes = False
    return application


def _job_routes(jobs: Jobs) -> list[Route]:
    def of(request: Request) -> Job:
        job = jobs.get(request.path_params["token"])
        if job is None:
            raise HTTPException(404)
        return job

    async def reserve(request: Request) -> Response:
        try:
            name, size, fps, anyway = _asked(await _small_body(request))
            job = await run_in_threadpool(jobs.reserve, name, size, fps, anyway)
        except Refused as refusal:
            wait = {"Retry-After": "60"} if refusal.status == 429 else None
            return JSONResponse({"error": _plain(refusal.error)}, refusal.status, wait)
        return JSONResponse({"token": job.token, "name": job.name}, 201)

    async def receive(request: Request) -> Response:
        job = of(request)
        if not jobs.begin(job):
            return JSONResponse({"error": _plain(_once())}, 409, {"Connection": "close"})
        try:
            await _store(request, job, jobs)
        except Refused as refusal:
            jobs.remove(job)
            return JSONResponse({"error": _plain(refusal.error)}, refusal.status, {"Connection": "close"})
        except TimeoutError:
            jobs.remove(job)
            return JSONResponse({"error": _plain(_given_up())}, 408, {"Connection": "close"})
        except ClientDisconnect:
            jobs.remove(job)
            return Response(status_code=400)  # nobody reads it
        except BaseException:
            jobs.remove(job)
            raise
        jobs.submit(job)
        return JSONResponse(_status(job, jobs), 202)

    async def status(request: Request) -> Response:
        return JSONResponse(_status(of(request), jobs))

    async def remove(request: Request) -> Response:
        await run_in_threadpool(jobs.remove, of(request))
        return Response(status_code=204)

    async def answer(request: Request) -> Response:
        job = of(request)
        if job.state not in ("answered", "done"):
            raise HTTPException(404)
        return FileResponse(job.folder / worker.BODY, media_type="text/html; charset=utf-8")

    async def picture(request: Request) -> Response:
        job, name = of(request), request.path_params["name"]
        if name not in job.pictures:
            raise HTTPException(404)
        return FileResponse(job.folder / name, media_type="image/webp")

    async def download(request: Request) -> Response:
        job, kind = of(request), request.path_params["kind"]
        if kind not in job.files:
            raise HTTPException(404)
        name = quote(f"{Path(job.name).stem}.{kind}")
        # Never shown within our own pages' origin, whatever is in it.
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        return FileResponse(job.file(kind), media_type=_TYPES[kind], headers=headers)

    one = "/api/jobs/{token}"
    return [
        Route("/api/jobs", reserve, methods=["POST"]),
        Route(f"{one}/video", receive, methods=["PUT"]),
        Route(one, status, methods=["GET"]),
        Route(one, remove, methods=["DELETE"]),
        Route(f"{one}/answer", answer),
        Route(f"{one}/pictures/{{name}}", picture),
        Route(f"{one}/files/{{kind}}", download),
    ]


async def _store(request: Request, job: Job, jobs: Jobs) -> None:
    """Writes a film as it comes, a block at a time; a client that sends more than it may is cut off.

    Raises:
        Refused: Too large, not what was announced, no room.
        ClientDisconnect: The client left.
        TimeoutError: Nothing came for too long.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > jobs.limits.size:
        raise Refused(413, too_large(jobs.limits, int(length)))
    received, block = 0, bytearray()
    chunks = request.stream()
    try:
        out = job.video.open("wb")
    except FileNotFoundError:  # taken back before it began
        raise Refused(410, _given_up()) from None
    with out:
        while True:
            try:
                chunk = await asyncio.wait_for(anext(chunks), jobs.rules.idle)
            except StopAsyncIteration:
                break
            if job.gone:
                raise Refused(410, _given_up())
            received += len(chunk)
            if received > job.size:
                raise Refused(413, too_large(jobs.limits))
            block += chunk
            if len(block) >= _BLOCK:
                await _write(out.write, bytes(block))
                block.clear()
                jobs.get(job.token)  # it is heard of
                job.share = received / job.size
        await _write(out.write, bytes(block))
    if received != job.size:
        raise Refused(
            400, MienError(f"{received} bytes came.", f"{job.size}, as announced.", "sending the video again.")
        )


async def _write(write: Callable[[bytes], int], block: bytes) -> None:
    try:
        await run_in_threadpool(write, block)
    except OSError as error:
        raise Refused(
            507, MienError(f"The video cannot be stored ({error.strerror}).", "room on the disk.", "a shorter one.")
        ) from None


async def _small_body(request: Request) -> Any:
    body = bytearray()
    try:
        async for chunk in request.stream():
            body += chunk
            if len(body) > _ASKED:
                raise HTTPException(413)
    except ClientDisconnect:
        raise HTTPException(400) from None  # nobody reads it
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400) from None


def _asked(body: Any) -> tuple[str, int, float | None, bool]:
    """Name, size, frame rate and wish of a new job.

    Raises:
        Refused: Something else.
    """
    found = body if isinstance(body, dict) else {}
    name, size, fps, anyway = (found.get(key) for key in ("name", "size", "fps", "anyway"))
    if not isinstance(name, str) or isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise Refused(
            400, MienError("A request without name and size of a video.", "name, size.", "the page at this address.")
        )
    if size == 0:
        raise Refused(400, MienError("The file is empty.", "a video.", "another copy of it."))
    rate = None
    if fps is not None:
        if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not (math.isfinite(fps) and 0 < fps <= 1e5):
            raise Refused(
                400, MienError(f"The frame rate {fps!r} was given.", "frames per second, above 0.", "200, or nothing.")
            )
        rate = float(fps)
    return name, size, rate, bool(anyway)


def _status(job: Job, jobs: Jobs) -> dict[str, Any]:
    """What a page is told of its job."""
    return {
        "name": job.name, "state": job.state, "stage": job.stage, "share": job.share, "before": jobs.before(job),
        "files": list(job.files), "error": None if job.error is None else _plain(job.error),
    }  # fmt: skip


def _plain(error: MienError) -> dict[str, str]:
    return {"found": error.found, "expected": error.expected, "fix": error.fix}


def _once() -> MienError:
    return MienError("A video was sent for this already.", "one video for each question.", "asking anew.")


def _given_up() -> MienError:
    return MienError("This question was taken back.", "one that is still open.", "asking anew.")


def _failed(pages: Environment, common: dict[str, Any], request: Request, error: HTTPException) -> Response:
    """What there is not: as a page to people, in three parts to programs."""
    told = MienError(
        "There is nothing here (any more)." if error.status_code == 404 else f"{error.detail}.",
        "an address of this server; answers go when they are deleted or their page is closed for long.",
        "the first page.",
    )
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": _plain(told)}, error.status_code, error.headers)
    if request.url.path.startswith("/static/"):
        return PlainTextResponse("Not here.", error.status_code)
    page = pages.get_template("failed.html.j2").render(error=told, here="", **common)
    return HTMLResponse(page, error.status_code, error.headers)
