"""``headrace export``: everybody in a segment, into a file or a pipe."""

from __future__ import annotations

import errno
import http.client
import json
import os
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from typing import Annotated, BinaryIO
from urllib.parse import quote, urlencode

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeElapsedColumn

from headrace.cli.invocation import Invocation, invoked
from headrace.errors import OperatorError

TIMEOUT_SECONDS = 60.0
PIECE = 1 << 16


class Format(StrEnum):
    """What is written."""

    CSV = "csv"
    NDJSON = "ndjson"
    PARQUET = "parquet"


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command()(export)


def export(
    context: typer.Context,
    segment: Annotated[str, typer.Argument(help="Whose members.")],
    to: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Default: standard output.")
    ] = None,
    format: Annotated[Format, typer.Option(help="csv, ndjson or parquet.")] = Format.CSV,
    trait: Annotated[
        list[str] | None,
        typer.Option(help="A trait to add; may be repeated. Default: all that identify nobody."),
    ] = None,
    members_only: Annotated[bool, typer.Option("--members-only", help="Add no traits.")] = False,
) -> None:
    """Write the members of SEGMENT with their traits, as the API has them now.

    FILE is there when all of it is. Refused while the segment's outputs are held.
    """
    run = invoked(context)
    asked = [("format", format.value), *(("trait", name) for name in trait or ())]
    if members_only:
        asked.append(("members_only", "true"))
    settings = run.settings
    base = f"http://{settings.api_host}:{settings.api_port}"
    address = f"{base}/v1/segments/{quote(segment, safe='')}/export?{urlencode(asked)}"
    key = settings.api_key.get_secret_value()
    request = urllib.request.Request(
        address, headers={"Authorization": f"Bearer {key}"} if key else {}
    )
    with _answer(base, request) as answer, _place(to) as file:
        size = _copy(run, answer, file, segment)
    if to is not None:
        run.err.print(f"{segment} as of {answer.headers['Headrace-As-Of']}: {size:,} bytes in {to}")


@contextmanager
def _answer(base: str, request: urllib.request.Request) -> Iterator[http.client.HTTPResponse]:
    """The API's answer; a refusal as the sentence it is."""
    try:
        with urllib.request.urlopen(request, timeout=TIMEOUT_SECONDS) as answer:
            yield answer
    except urllib.error.HTTPError as refusal:
        try:
            told = json.load(refusal)
            why = f"{told['detail']} ({told['code']})"
        except (ValueError, KeyError, TypeError):
            why = f"{base} answers {refusal.code}: is another server there?"
        raise OperatorError(why, code="HR956") from refusal
    except BrokenPipeError:
        raise  # the reader of our output has left, as `head` does
    except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
        raise OperatorError(
            f"the API at {base} broke off in the middle, because the segment changed or a server"
            " went away: export it again",
            code="HR957",
        ) from error
    except urllib.error.URLError as error:
        raise OperatorError(
            f"the API at {base} does not answer ({error.reason}); `headrace up` starts it"
        ) from error


@contextmanager
def _place(to: Path | None) -> Iterator[BinaryIO]:
    """Where the bytes go; a file gets its name when it is whole."""
    if to is None:
        try:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        except OSError as error:
            if error.errno == errno.ENOSPC:
                detail = f"cannot write: {error.strerror}"
                raise OperatorError(detail, code="HR958") from error
            raise
        return
    part = to.with_name(f".{to.name}.{os.getpid()}.part")
    try:
        if to.exists() and not to.is_file():  # a pipe, or a device
            with to.open("wb") as file:
                yield file
            return
        with part.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        part.replace(to)
    except OSError as error:
        if isinstance(error, ConnectionError | TimeoutError | urllib.error.URLError):
            raise
        raise OperatorError(f"cannot write {to}: {error.strerror}", code="HR958") from error
    finally:
        part.unlink(missing_ok=True)


def _copy(run: Invocation, answer: http.client.HTTPResponse, file: BinaryIO, segment: str) -> int:
    columns = (BarColumn(), DownloadColumn(), TimeElapsedColumn())
    shown = run.err.is_terminal and not file.isatty()
    size = 0
    with Progress(*columns, console=run.err, transient=True, disable=not shown) as bar:
        task = bar.add_task(f"exporting {segment}", total=None)
        while piece := answer.read1(PIECE):
            file.write(piece)
            size += len(piece)
            bar.advance(task, len(piece))
    return size
