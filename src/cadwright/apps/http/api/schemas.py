"""The documents of the API as classes, from which its OpenAPI description is made.

In: JSON of requests, which is checked by them. Out: the description of answers, which are built
elsewhere (``jobs.job``, ``worker.job_results``) and not copied through them. Lengths are in the
unit of the input.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Point = tuple[float, float, float]
SEED_MAX = 2**31 - 1


class Strict(BaseModel):
    """A request: what it does not know, it refuses."""

    model_config = ConfigDict(extra="forbid", strict=True)


class JobOptions(Strict):
    """How a part is made."""

    seed: int = Field(0, ge=0, le=SEED_MAX, description="the same seed gives the same part")
    candidates: int = Field(16, ge=1, description="programs that the model writes")
    budget_s: float = Field(5.0, ge=0, description="seconds of search; 0 switches it off")


class JobRequest(JobOptions):
    """A part by a description or by the name of an example; files come as a form."""

    text: str | None = Field(None, min_length=1, description="a description of the part")
    example: str | None = Field(None, max_length=64, description="one of /api/examples")


class EditRequest(Strict):
    """A changed program."""

    text: str | None = Field(
        None, max_length=100_000, description="of the program; by default the one it has"
    )
    values: dict[str, Annotated[float, Field(ge=-1e9, le=1e9, allow_inf_nan=False)]] | None = Field(
        None, description="numbers of the text, by their id"
    )


class TokenRequest(Strict):
    """The token that the server printed."""

    token: str = Field(max_length=200)


class ProblemDocument(BaseModel):
    """RFC 9457."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    line: int | None = None
    column: int | None = None
    cause: dict[str, Any] | None = None


class Progress(BaseModel):
    """How far a job is."""

    stage: str | None
    step: str | None
    share: float = Field(ge=0, le=1)
    tried: int
    fit: float | None
    candidates: int | None
    valid: int | None
    seconds: float


class Stage(BaseModel):
    """One stage of a job."""

    name: str
    state: Literal["waiting", "active", "done"]
    seconds: float | None


class Given(BaseModel):
    """What was read of an input."""

    kind: Literal["solid", "surface", "points", "picture", "words"]
    faces: int | None
    points: int | None
    size: float | None
    bounds: tuple[Point, Point] | None


class JobStatus(BaseModel):
    """A job as it stands."""

    id: str
    name: str
    kind: Literal["shape", "picture", "text"]
    state: Literal["queued", "running", "done", "failed", "cancelled", "handed_back"]
    created: str
    expires: str | None
    options: JobOptions
    position: int | None = Field(description="jobs that come before this one")
    attempt: int
    input: Given | None
    has_target: bool
    progress: Progress
    stages: list[Stage]
    problem: ProblemDocument | None
    revision: int


class ProgramNumber(BaseModel):
    """A number that may be moved."""

    id: str
    name: str
    kind: Literal["size", "position", "angle", "number"]
    named: bool
    value: float
    min: float
    max: float
    step: float
    line: int


class ProgramText(BaseModel):
    """A program with its numbers."""

    text: str
    numbers: list[ProgramNumber]


class CandidateEntry(BaseModel):
    """A program that was considered."""

    index: int
    chosen: bool
    source: str
    fit: float
    bodies: int
    text: str
    thumbnail: str


class FileEntry(BaseModel):
    """A file to download."""

    name: str
    href: str
    bytes: int


class Result(BaseModel):
    """What a finished job hands out."""

    id: str
    name: str
    revision: int
    edited: bool
    report: dict[str, Any]
    program: ProgramText
    candidates: list[CandidateEntry]
    files: list[FileEntry]


class ExampleEntry(BaseModel):
    """A part that comes with the package."""

    name: str
    title: str
    kind: Literal["mesh", "points"]
    bytes: int
    href: str
    thumbnail: str


class Examples(BaseModel):
    """All of them."""

    examples: list[ExampleEntry]


class Info(BaseModel):
    """What this server is and takes."""

    version: str
    reads: list[Literal["shape", "picture", "text"]]
    suffixes: dict[str, list[str]]
    limits: dict[str, float]
    defaults: JobOptions
    stages: list[str]
    token_needed: bool


class Health(BaseModel):
    """How the server is."""

    state: Literal["starting", "ready", "stopping", "broken"]
    detail: str
    queued: int
    running: int
    kept: int
    workers: int
    restarts: int
    memory_mb: float
    workers_mb: list[float]
