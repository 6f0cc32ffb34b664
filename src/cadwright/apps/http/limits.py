"""How much one upload, one client and the whole service may take; the stages of a job.

In: nothing. Out: numbers with their units, which the page and the documentation show too. Not
covered: where they are enforced (``api``, ``jobs``).
"""

from __future__ import annotations

from dataclasses import dataclass

MB = 1 << 20
STAGES = (
    "read", "prepare", "load", "decode", "rank", "search", "exact", "measure", "files",
)  # fmt: skip
"""Of a job, in order."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one server.

    Attributes:
        upload_bytes: of one request, all files together.
        files: of one job.
        text_characters: of a description.
        program_characters: of a program that is previewed or built.
        body_bytes: of any request that is no upload.
        body_s: seconds for a request to arrive, beyond ``body_rate``.
        body_rate: bytes a second at which a request must arrive.
        connections: open at a time.
        faces: triangles of a mesh.
        candidates: programs that may be asked for.
        budget_s: seconds of search that may be asked for.
        queued: jobs that wait, of all clients.
        queued_a_client: jobs of one client that wait or run.
        streams: event streams open at a time.
        kept: finished jobs; the oldest go first.
        stored_bytes: of all jobs on the disk; the oldest finished ones go first.
        keep_s: seconds for which a finished job is kept after it was used last.
        job_s: wall-clock limit of one job beyond its search.
        cpu_s: seconds of one core that a job may take beyond its search.
        build_s: wall-clock limit of one exact build.
        preview_s: of one preview.
        memory_mb: of one worker (Linux).
        recycle_after: jobs after which a worker is replaced.
        drain_s: for which running jobs may go on when the server is asked to stop.
    """

    upload_bytes: int = 64 * MB
    files: int = 4
    text_characters: int = 4000
    program_characters: int = 100_000
    body_bytes: int = 1 * MB
    body_s: float = 30.0
    body_rate: int = 16 << 10
    connections: int = 800
    faces: int = 2_000_000
    candidates: int = 64
    budget_s: float = 60.0
    queued: int = 200
    queued_a_client: int = 20
    streams: int = 200
    kept: int = 200
    stored_bytes: int = 8192 * MB
    keep_s: float = 3600.0
    job_s: float = 300.0
    cpu_s: float = 240.0
    build_s: float = 30.0
    preview_s: float = 10.0
    memory_mb: int = 4096
    recycle_after: int = 50
    drain_s: float = 60.0
