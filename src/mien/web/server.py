"""The web application: its addresses and their responses."""

from __future__ import annotations

import asyncio
import json
import time
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
"""Bytes written to disk at a time."""

_ASKED: Final = 8192
"""Largest body, in bytes, of a request that is not an upload."""

READING: Final = 2.0
"""Seconds for which a request of the list of runs reads ledgers; the next one continues."""

_ASKED_SECONDS: Final = 20.0
"""Seconds within which it has to arrive."""


def build(jobs: Jobs | None, hosts: tuple[str, ...], runs: Path | None = None) -> Starlette:
    """Build the application.

    Args:
        jobs: The queue, already started; the application closes it. None if there are no weights.
        hosts: Allowed values of the Host header, with the port.
        runs: Folder of benchmark runs; None makes no page of reports.
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
        listed = await run_in_threadpool(shelf.rows, READING)
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


async def _whole(path: Path, kind: str) -> Response:
    """Return a small file of an answer, or 404 where the answer was deleted since it was looked up."""
    try:
        return Response(await run_in_threadpool(path.read_bytes), media_type=kind)
    except FileNotFoundError:
        raise HTTPException(404) from None


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
            return Response(status_code=400)  # nobody is left to read it
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
        return await _whole(job.folder / worker.BODY, "text/html; charset=utf-8")

    async def picture(request: Request) -> Response:
        job, name = of(request), request.path_params["name"]
        if name not in job.pictures:
            raise HTTPException(404)
        return await _whole(job.folder / name, "image/webp")

    async def download(request: Request) -> Response:
        job, kind = of(request), request.path_params["kind"]
        if kind not in job.files:
            raise HTTPException(404)
        name = quote(f"{Path(job.name).stem}.{kind}")
        # Always a download: a file must never be displayed as a page of this server.
        headers = {"Content-Disposition": f"attachment; filename*=UTF-8''{name}"}
        path = job.file(kind)
        try:
            size = await run_in_threadpool(path.stat)
        except FileNotFoundError:  # deleted since the answer was looked up
            raise HTTPException(404) from None
        return FileResponse(path, media_type=_TYPES[kind], headers=headers, stat_result=size)

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
    """Write an upload to disk as it arrives, and stop a client that sends more than it announced.

    Raises:
        Refused: The file is too large, has not the announced size, or does not fit on the disk.
        ClientDisconnect: The client disconnected.
        TimeoutError: No data arrived for too long.
    """
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > jobs.limits.size:
        raise Refused(413, too_large(jobs.limits, int(length)))
    received, block, began = 0, bytearray(), time.monotonic()
    chunks = request.stream()
    try:
        out = job.video.open("wb")
    except FileNotFoundError:  # deleted before the upload began
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
                raise Refused(
                    413,
                    MienError(
                        f"More bytes arrived than the {job.size:,} that were announced.",
                        "the video that was announced.",
                        "sending the video again.",
                    ),
                )
            # Slow is alive; but one who sends a byte now and then must not hold a place for ever.
            job.touched = now = time.monotonic()
            if now - began > jobs.rules.idle + received / jobs.rules.slowest:
                raise TimeoutError
            block += chunk
            if len(block) >= _BLOCK:
                await _write(out.write, bytes(block))
                block.clear()
            job.share = received / job.size
        await _write(out.write, bytes(block))
    if received != job.size:
        raise Refused(
            400,
            MienError(f"{received} bytes arrived.", f"{job.size} bytes, as announced.", "sending the video again."),
        )


async def _write(write: Callable[[bytes], int], block: bytes) -> None:
    try:
        await run_in_threadpool(write, block)
    except OSError as error:
        raise Refused(
            507,
            MienError(f"The video cannot be stored ({error.strerror}).", "free disk space.", "a shorter video."),
        ) from None


async def _small_body(request: Request) -> Any:
    body = bytearray()
    try:
        async with asyncio.timeout(_ASKED_SECONDS):
            async for chunk in request.stream():
                body += chunk
                if len(body) > _ASKED:
                    raise HTTPException(413)
    except TimeoutError:
        raise HTTPException(408, headers={"Connection": "close"}) from None
    except ClientDisconnect:
        raise HTTPException(400) from None  # nobody is left to read it
    if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
        raise HTTPException(415)
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise HTTPException(400) from None


def _asked(body: Any) -> tuple[str, int, float | None, bool]:
    """Return name, size, frame rate and `anyway` of a new job from the body of its request.

    Raises:
        Refused: A value is missing or invalid.
    """
    found = body if isinstance(body, dict) else {}
    name, size, fps, anyway = (found.get(key) for key in ("name", "size", "fps", "anyway"))
    if not isinstance(name, str) or isinstance(size, bool) or not isinstance(size, int) or size < 0:
        raise Refused(
            400,
            MienError("The request has no name or no size of a video.", "name and size.", "the page at this address."),
        )
    if size == 0:
        raise Refused(400, MienError("The file is empty.", "a video.", "another copy of the file."))
    rate = None
    if fps is not None:
        if isinstance(fps, bool) or not isinstance(fps, (int, float)) or not 0 < fps <= 1e5:
            raise Refused(
                400,
                MienError(
                    f"The frame rate {str(fps)[:40]} was given.",
                    "frames per second, more than 0 and at most 100,000.",
                    "200, or no frame rate.",
                ),
            )
        rate = float(fps)
    return name, size, rate, bool(anyway)


def _status(job: Job, jobs: Jobs) -> dict[str, Any]:
    """Return the state of a job for its page."""
    return {
        "name": job.name, "state": job.state, "stage": job.stage, "share": job.share, "before": jobs.before(job),
        "files": list(job.files), "error": None if job.error is None else _plain(job.error),
    }  # fmt: skip


def _plain(error: MienError) -> dict[str, str]:
    return {"found": error.found, "expected": error.expected, "fix": error.fix}


def _once() -> MienError:
    return MienError("A video was already sent for this job.", "one video per job.", "starting again.")


def _given_up() -> MienError:
    return MienError("This job was cancelled.", "a job that is still open.", "starting again.")


def _failed(pages: Environment, common: dict[str, Any], request: Request, error: HTTPException) -> Response:
    """Return the response for a failed request: a page for people, JSON in three parts for programs."""
    shown = MienError(
        "There is nothing at this address (any more)." if error.status_code == 404 else f"{error.detail}.",
        "an address of this server. Answers are deleted some time after their page is closed.",
        "the start page.",
    )
    if request.url.path.startswith("/api/"):
        return JSONResponse({"error": _plain(shown)}, error.status_code, error.headers)
    if request.url.path.startswith("/static/"):
        return PlainTextResponse("Not found.", error.status_code)
    page = pages.get_template("failed.html.j2").render(error=shown, here="", **common)
    return HTMLResponse(page, error.status_code, error.headers)
