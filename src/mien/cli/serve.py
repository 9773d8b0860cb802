"""`mien serve`: the local page."""

from __future__ import annotations

import socket
import sys
from pathlib import Path
from typing import Annotated

import typer

from mien.cli.recognise import Weights
from mien.cli.shell import Json, Terminated, print_json, say
from mien.errors import MienError, install_extra

PORT = 8420


def serve(
    weights: Weights = None,
    runs: Annotated[Path | None, typer.Option("--runs", help="A folder of benchmark runs to browse.")] = None,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = PORT,
    max_mib: Annotated[float, typer.Option("--max-mib", min=0.001, help="Largest video in MiB.")] = 512.0,
    max_seconds: Annotated[float, typer.Option("--max-seconds", min=0.1, help="Longest video in seconds.")] = 600.0,
    workers: Annotated[int, typer.Option(min=1, max=64, help="Videos analysed at the same time.")] = 1,
    waiting: Annotated[int, typer.Option(min=1, max=1000, help="Videos that may wait in the queue.")] = 8,
    open_page: Annotated[bool, typer.Option("--open", help="Open the page in your browser.")] = False,
    as_json: Json = False,
) -> None:
    """Open a local web page for `recognise` and for reports. Nothing leaves your machine."""
    if runs is not None and not runs.is_dir():
        raise MienError(
            f"There is no folder {str(runs)!r}.", "a folder of runs that `mien benchmark` made.", "`--runs runs`."
        )
    ours = listen(port)
    try:
        import uvicorn

        from mien.web.connections import patient_protocol
        from mien.web.intake import Limits
        from mien.web.jobs import Jobs, Rules
        from mien.web.server import build
    except ModuleNotFoundError as error:
        ours.close()
        raise MienError(
            f"The page needs {error.name}, which is not installed.", "the extra `web`.", f"{install_extra('web')}."
        ) from None
    number = ours.getsockname()[1]
    address = f"http://127.0.0.1:{number}/"
    jobs: Jobs | None = Jobs(weights, Limits(max_mib, max_seconds), Rules(workers, waiting))
    assert jobs is not None
    try:
        jobs.start()
    except MienError:
        # Reports can be read without weights; weights that were asked for must work.
        if weights is not None or runs is None:
            ours.close()
            raise
        jobs = None
    application = build(jobs, (f"127.0.0.1:{number}", f"localhost:{number}"), runs)
    config = uvicorn.Config(
        application, log_level="warning", access_log=False, server_header=False, timeout_graceful_shutdown=2,
        http=patient_protocol(), proxy_headers=False, ws="none",
    )  # fmt: skip
    if as_json:
        print_json({"address": address}, indent=None)
    else:
        say("Open ", (address, "bold"), ("  (this machine only; Ctrl-C stops it and deletes all uploads)", "dim"))
    if open_page:
        import webbrowser

        webbrowser.open(address)
    terminated = False
    try:
        uvicorn.Server(config).run(sockets=[ours])
    except KeyboardInterrupt as error:
        terminated = isinstance(error, Terminated)
    finally:
        if jobs is not None:
            jobs.close()
    if not as_json:
        say("Stopped. All uploads and their results are deleted.")
    if terminated:
        raise typer.Exit(143)


def listen(port: int) -> socket.socket:
    """Open a socket on 127.0.0.1, which no other machine can reach.

    Raises:
        MienError: The port is taken, or may not be used.
    """
    ours = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        if sys.platform != "win32":  # there it would let two servers share a port
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ours.bind(("127.0.0.1", port))
        ours.listen(256)
    except OSError as error:
        ours.close()
        raise MienError(
            f"Port {port} cannot be used ({error.strerror}).", "a port that is free.", "`mien serve --port 0`."
        ) from None
    return ours
