"""An upload -> files in the job's folder, as the bytes arrive, and its other fields.

In: the stream of a multipart/form-data body. Out: files under names that this server chose, none
of them looked into, and the other fields. Nothing is kept in memory or written elsewhere, and what
is too large is refused as soon as that is known. Not covered: what the files hold (``worker``).
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from cadwright.apps.http.limits import Limits
from cadwright.apps.http.problem_details import (
    Problem,
    bad_request,
    too_large,
    unknown_kind,
    unusable,
)
from cadwright.geometry.mesh_io import SUFFIXES
from cadwright.inference.prompt import PICTURE_SUFFIXES, safe_name

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks

ALL_SUFFIXES = (*SUFFIXES, *PICTURE_SUFFIXES)
OPTIONS = ("text", "seed", "candidates", "budget_s")
FILE_FIELD = "file"
FRAME_BYTES = 1 << 16  # of boundaries and headers around the files
OPTION_BYTES = 64  # of any field but the text
HEADER_BYTES = 4096  # of one part
NAME_LENGTH = 120  # of a file's name, for show
DRAINED = 8  # times the limit: how much of a body that is too large is read before the answer


class Upload:
    """What a form holds, as far as it was read.

    Args:
        folder: of the job.
        limits: of the server.

    Attributes:
        files: names in the folder, in order.
        shown: what the client calls them.
        fields: the other parts, as text.
        is_whole: whether the form's end was seen.
    """

    def __init__(self, folder: Path, limits: Limits) -> None:
        self.folder, self.limits = folder, limits
        self.files: list[str] = []
        self.shown: list[str] = []
        self.fields: dict[str, str] = {}
        self.is_whole = False
        self._headers: dict[bytes, bytes] = {}
        self._name, self._value = b"", b""
        self._field = ""
        self._text = bytearray()
        self._file: BinaryIO | None = None

    def callbacks(self) -> MultipartCallbacks:
        """For ``MultipartParser``."""
        return {
            "on_part_begin": self._begin_part,
            "on_header_field": self._add_name,
            "on_header_value": self._add_value,
            "on_header_end": self._end_header,
            "on_headers_finished": self._end_headers,
            "on_part_data": self._add_data,
            "on_part_end": self._end_part,
            "on_end": self._end,
        }

    def _end(self) -> None:
        self.is_whole = True

    def close(self) -> None:
        """Close a file that was cut off."""
        if self._file is not None:
            self._file.close()

    def _begin_part(self) -> None:
        self._headers, self._text = {}, bytearray()

    def _add_name(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]
        self._check_header()

    def _add_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._check_header()

    def _check_header(self) -> None:
        if len(self._name) + len(self._value) > HEADER_BYTES:
            raise bad_request("a part of the form has a header that is too long")

    def _end_header(self) -> None:
        self._headers[self._name.lower()] = self._value
        self._name, self._value = b"", b""

    def _end_headers(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._field = options.get(b"name", b"").decode("utf-8", "replace")
        filename = options.get(b"filename")
        if self._field == FILE_FIELD:
            if filename is None:
                raise unusable("file: this must be a file with a name, not a text")
            self._open(filename.decode("utf-8", "replace"))
        elif self._field not in OPTIONS:
            raise unusable(f"the form has a part '{self._field[:40]}' that means nothing here")
        elif self._field in self.fields:
            raise unusable(f"{self._field}: there is more than one of it")

    def _open(self, filename: str) -> None:
        if len(self.files) >= self.limits.files:
            raise unusable(f"there are more than {self.limits.files} files")
        shown = safe_name(filename.replace("\\", "/").rsplit("/", 1)[-1])[-NAME_LENGTH:]
        suffix = next((one for one in ALL_SUFFIXES if filename.lower().endswith(one)), None)
        if suffix is None:
            known = ", ".join(ALL_SUFFIXES)
            raise unknown_kind(f"{shown}: unknown kind of file, the known ones end in {known}")
        self.shown.append(shown)
        self.files.append(f"upload-{len(self.files)}{suffix}")
        self._file = (self.folder / self.files[-1]).open("xb")

    def _add_data(self, data: bytes, start: int, end: int) -> None:
        if self._file is not None:
            self._file.write(data[start:end])
            return
        self._text += data[start:end]
        most = 4 * self.limits.text_characters if self._field == "text" else OPTION_BYTES
        if len(self._text) > most:
            raise too_large(f"{self._field}: this is too long")

    def _end_part(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
            return
        try:
            self.fields[self._field] = self._text.decode("utf-8")
        except UnicodeDecodeError:
            raise unusable(f"{self._field}: this is not UTF-8") from None


async def read_upload(request: Request, folder: Path, limits: Limits) -> Upload:
    """Read a form into a job's folder.

    Raises:
        Problem: 400 where it is no whole form, 413 where it is too large, 415 where a file is of
            an unknown kind, 422 where its parts make no sense.
    """
    most = limits.upload_bytes + FRAME_BYTES
    _, options = parse_options_header(request.headers.get("content-type", ""))
    if not options.get(b"boundary"):
        raise bad_request("the form names no boundary")
    upload = Upload(folder, limits)
    problem: Problem | None = None
    taken = 0
    try:
        parser = MultipartParser(options[b"boundary"], upload.callbacks())
        async for chunk in request.stream():
            taken += len(chunk)
            if taken > most:
                megabytes = limits.upload_bytes / (1 << 20)
                problem = problem or too_large(f"an upload may have {megabytes:g} MB, not more")
            if problem is None:
                try:
                    parser.write(chunk)
                except Problem as found:
                    problem = found
            elif taken > DRAINED * most:  # a client that never stops is cut off
                break
        # What is refused is read to its end all the same: many clients read no answer before.
        if problem is not None:
            raise problem
        parser.finalize()
        if not upload.is_whole:
            raise bad_request("the form ends before it is whole")
    except FormParserError as error:
        raise bad_request("the form is broken") from error
    finally:
        upload.close()
    return upload
