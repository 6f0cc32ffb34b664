"""A request to make a part -> what the job is to do, with what was uploaded in the job's folder.

In: a form with files or a text, or JSON with a text or the name of an example. Out: a ``JobSpec``,
every option checked. Not covered: reading files (``worker``), whether there is room (``service``).
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from starlette.requests import Request

from cadwright.apps.http.api.examples import find_example
from cadwright.apps.http.api.schemas import JobOptions, JobRequest
from cadwright.apps.http.api.uploads import Upload, read_upload
from cadwright.apps.http.jobs.job import JobSpec
from cadwright.apps.http.limits import Limits
from cadwright.apps.http.problem_details import (
    Problem,
    bad_request,
    too_large,
    unknown_kind,
    unusable,
)
from cadwright.inference.prompt import PICTURE_SUFFIXES, words_to_name

FORM, JSON = "multipart/form-data", "application/json"
NUM_VIEWS = 4


async def read_submission(
    request: Request, folder: Path, limits: Limits, *, reads: list[str], default_budget_s: float
) -> JobSpec:
    """Read a request into a job's folder.

    Args:
        request: its body was not read yet.
        folder: of the job, empty.
        limits: of the server.
        reads: kinds of input that the model has; empty where that is not known yet.
        default_budget_s: seconds of search where the request names none.
    Raises:
        Problem: 400, 404, 413, 415 or 422, see ``uploads``.
    """
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media == FORM:
        spec = _from_form(await read_upload(request, folder, limits), limits, default_budget_s)
    elif media == JSON:
        values = _checked(JobRequest, await _read_json(request, limits), default_budget_s)
        assert isinstance(values, JobRequest)
        spec = _from_json(values, folder, limits)
    else:
        raise unknown_kind(f"send {FORM} with a file, or {JSON}")
    if reads and spec.kind not in reads:
        raise unusable(
            f"the model of this server reads {' and '.join(reads)}s, not {spec.kind}s; "
            "start it with the folder of a cadrille model (--model)"
        )
    return spec


def _from_form(upload: Upload, limits: Limits, default_budget_s: float) -> JobSpec:
    texts = {key: value for key, value in upload.fields.items() if key != "text"}
    options = _options(_numbers(texts), limits, default_budget_s)
    text = upload.fields.get("text")
    if text is not None and upload.files:
        raise unusable("a part is files or a text, not both")
    if text is not None:
        return _text_spec(text, options, limits)
    if not upload.files:
        raise unusable("there is no part: send a file, or a text")
    pictures = [name for name in upload.files if name.endswith(PICTURE_SUFFIXES)]
    if pictures and len(pictures) != len(upload.files):
        raise unusable("a part is a shape or pictures, not both")
    if pictures and len(pictures) not in (1, NUM_VIEWS):
        raise unusable(f"a part is one picture, or {NUM_VIEWS} views, not {len(pictures)} pictures")
    if not pictures and len(upload.files) != 1:
        raise unusable("a part is one shape: send the others as parts of their own")
    name = Path(upload.shown[0]).stem or "part"
    kind: Any = "picture" if pictures else "shape"
    return JobSpec(kind, name, tuple(upload.files), tuple(upload.shown), None, **options)


def _from_json(values: JobRequest, folder: Path, limits: Limits) -> JobSpec:
    options = _options(values.model_dump(include={"seed", "candidates", "budget_s"}), limits, 0.0)
    if (values.text is None) == (values.example is None):
        raise unusable("a part is a text or an example: one of them")
    if values.text is not None:
        return _text_spec(values.text, options, limits)
    assert values.example is not None
    example = find_example(values.example)
    stored = f"upload-0{example.path.suffix}"
    shutil.copyfile(example.path, folder / stored)
    return JobSpec("shape", example.path.stem, (stored,), (example.file,), None, **options)


def _text_spec(text: str, options: dict[str, Any], limits: Limits) -> JobSpec:
    if not text.strip():
        raise unusable("text: the description of the part is empty")
    if len(text) > limits.text_characters:
        raise too_large(f"text: a description may have {limits.text_characters} characters")
    return JobSpec("text", words_to_name(text), (), (), text.strip(), **options)


def _options(given: dict[str, Any], limits: Limits, default_budget_s: float) -> dict[str, Any]:
    values = _checked(JobOptions, given, default_budget_s)
    if values.candidates > limits.candidates:
        raise unusable(f"candidates: at most {limits.candidates}")
    if values.budget_s > limits.budget_s:
        raise unusable(f"budget_s: at most {limits.budget_s:g} seconds")
    return {
        "seed": values.seed,
        "candidates": values.candidates,
        "budget_s": float(values.budget_s),
    }


def _numbers(texts: dict[str, str]) -> dict[str, Any]:
    """The fields of a form as numbers."""
    numbers: dict[str, Any] = {}
    for name, text in texts.items():
        try:
            numbers[name] = float(text) if name == "budget_s" else int(text)
        except ValueError:
            raise unusable(f"{name}: '{text[:40]}' is no number") from None
    return numbers


def _checked(model: type[JobOptions], given: Any, default_budget_s: float) -> JobOptions:
    try:
        values = model.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"]) or "body"
        raise unusable(f"{where}: {first['msg']}") from None
    if "budget_s" not in values.model_fields_set:
        values.budget_s = default_budget_s
    return values


async def _read_json(request: Request, limits: Limits) -> Any:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limits.body_bytes:
            raise too_large(f"the body may have {limits.body_bytes} bytes")
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise _no_json() from None


def _no_json() -> Problem:
    return bad_request("the body is not valid JSON")
