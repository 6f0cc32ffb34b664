"""Child side of the exact kernel: the only file that imports cadquery, and only once it runs.

In: requests over stdin, each a JSON header (a program as a tree, or a path to a STEP file).
Out: replies, a JSON header and raw numpy bytes. A tree is interpreted by the very
CadQuery calls that its printed text would make; no text is ever executed. Time, memory
and crashes are watched by the parent (``program_to_solid``), which kills this process.
Lengths stay in the program's own frame, except in a STEP file written with a placement.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cadwright.geometry.touching import part_touching_edges
from cadwright.program._headless import provide_graphics_stubs
from cadwright.program._interpreter import BrokenShape, EmptyShape, Interpreter
from cadwright.program._messages import Message, json_to_node, receive, send
from cadwright.program._weld import close_slits, is_closed, weld
from cadwright.types import Mesh

STEP_VOLUME_TOLERANCE = 1e-5  # relative; what a part of 1/1000 of the program's size still keeps


class UnusableFile(Exception):
    """Internal: a file that cannot be read or written; ``InputError`` on the parent's side."""


def build(request: dict[str, Any]) -> Message:
    """Program -> exact solid -> (header, [vertices, faces]); a STEP file on request."""
    import cadquery

    shape = Interpreter(json_to_node(request["program"]), cadquery).shape()
    if not shape.Solids():
        raise EmptyShape("the program leaves no solid")
    if not shape.isValid():
        raise BrokenShape("OpenCASCADE's check (BRepCheck) finds the solid broken")
    volume = shape.Volume()
    if abs(volume) < 1e-9:
        raise EmptyShape("the program leaves no volume")
    vertices, faces, closed = tessellate(shape, request["tolerance"], request["angular"])
    if volume < 0 or not closed:
        raise BrokenShape("the solid is inside out" if closed else "the surface is not closed")
    header = {
        "outcome": "ok",
        "volume": volume,
        "num_faces": len(shape.Faces()),
        "num_solids": len(shape.Solids()),
        "bounds": _exact_bounds(shape),
    }
    if request.get("step_path"):
        write_step(shape, request["step_path"], request["step_name"], request.get("placement"))
    return header, [vertices, faces]


def read_step(request: dict[str, Any]) -> Message:
    """A STEP file of the user's -> (header, [vertices, faces]), lengths in millimetres.

    Raises:
        UnusableFile: the file is not STEP or holds no surface.
    """
    shape = _load_step(request["path"])
    vertices, faces, closed = tessellate(shape, request["tolerance"], request["angular"])
    if len(faces) == 0:
        raise UnusableFile("it holds no surface")
    return {"outcome": "ok", "closed": closed}, [vertices, faces]


def tessellate(
    shape: Any, tolerance: float, angular: float
) -> tuple[NDArray[np.float64], NDArray[np.int32], bool]:
    """Triangles of a shape, vertices shared within each solid but not between solids.

    So every solid is closed by itself, also where two of them touch, or one touches itself.

    Returns:
        vertices (V, 3), faces (F, 3) counter-clockwise from outside, and whether every
        edge is met by its opposite (a closed surface).
    """
    from OCP.TopAbs import TopAbs_FACE, TopAbs_SOLID
    from OCP.TopExp import TopExp_Explorer

    shape.mesh(tolerance, angular)
    groups = [solid.Faces() for solid in shape.Solids()]
    loose = TopExp_Explorer(shape.wrapped, TopAbs_FACE, TopAbs_SOLID)
    groups.append([])
    while loose.More():
        groups[-1].append(type(shape).cast(loose.Current()))
        loose.Next()
    vertices, faces, closed, offset = [np.zeros((0, 3))], [np.zeros((0, 3), np.int32)], True, 0
    for group in filter(None, groups):
        points, triangles = weld(*_triangulation(group))
        triangles = close_slits(points, triangles)
        closed = closed and is_closed(triangles)
        solid = part_touching_edges(Mesh(points, triangles.astype(np.int32)))
        vertices.append(solid.vertices)
        faces.append(solid.faces + np.int32(offset))
        offset += len(solid.vertices)
    return np.concatenate(vertices), np.concatenate(faces), closed


def _triangulation(group: Sequence[Any]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The triangles that OpenCASCADE attached to some faces, corners not shared between faces."""
    from OCP.BRep import BRep_Tool
    from OCP.TopAbs import TopAbs_REVERSED
    from OCP.TopLoc import TopLoc_Location

    points: list[tuple[float, float, float]] = []
    triangles: list[tuple[int, int, int]] = []
    for face in group:
        location = TopLoc_Location()
        surface = BRep_Tool.Triangulation_s(face.wrapped, location)
        if surface is None:
            continue
        motion, base = location.Transformation(), len(points) - 1
        for index in range(1, surface.NbNodes() + 1):
            node = surface.Node(index).Transformed(motion)
            points.append((node.X(), node.Y(), node.Z()))
        step = -1 if face.wrapped.Orientation() == TopAbs_REVERSED else 1
        for triangle in surface.Triangles():
            corners = [triangle.Value(k) + base for k in (1, 2, 3)][::step]
            triangles.append((corners[0], corners[1], corners[2]))
    return np.array(points, np.float64).reshape(-1, 3), np.array(triangles, int).reshape(-1, 3)


def _exact_bounds(shape: Any) -> list[list[float]]:
    from OCP.Bnd import Bnd_Box
    from OCP.BRepBndLib import BRepBndLib

    box = Bnd_Box()
    # no triangulation, no tolerances: the solid's own extent, not that of its polygons
    BRepBndLib.AddOptimal_s(shape.wrapped, box, False, False)
    lower, upper = box.CornerMin(), box.CornerMax()
    return [[lower.X(), lower.Y(), lower.Z()], [upper.X(), upper.Y(), upper.Z()]]


def write_step(shape: Any, path: str, name: str, placement: Any) -> None:
    """Write a STEP file whose bytes depend on the program only, and read it back.

    Args:
        shape: the solid, in the program's frame.
        path: file to write; the parent renames it once all is well.
        name: the product's name and the header's, ASCII.
        placement: (scale, (x, y, z), rotation or None) into the USER frame, p -> (rotation p) *
            scale + (x, y, z), or None.

    Raises:
        UnusableFile: the file cannot be written.
        BrokenShape: what is read back is not the same solid.
    """
    from OCP.IFSelect import IFSelect_RetDone

    placed = shape if placement is None else _place(shape, *placement)
    if not placed.isValid():
        raise BrokenShape("the solid breaks at the scale of the user's file")
    if _step_writer(placed, name).Write(path) != IFSelect_RetDone:
        raise UnusableFile("the file cannot be written")
    again = _load_step(path)
    expected = shape.Volume() * (1.0 if placement is None else placement[0] ** 3)
    same_volume = abs(again.Volume() / expected - 1) < STEP_VOLUME_TOLERANCE
    counts = [(len(part.Solids()), len(part.Faces())) for part in (again, shape)]
    if not (same_volume and counts[0] == counts[1]):
        raise BrokenShape("the STEP file, read back, holds another solid")


def _place(shape: Any, scale: float, shift: Sequence[float], turn: Any = None) -> Any:
    from OCP.BRepBuilderAPI import BRepBuilderAPI_Transform
    from OCP.gp import gp_Trsf, gp_Vec

    motion = gp_Trsf()
    if turn is not None:  # rows of a rotation matrix
        motion.SetValues(*turn[0], 0.0, *turn[1], 0.0, *turn[2], 0.0)
    motion.SetTranslationPart(gp_Vec(*shift))
    motion.SetScaleFactor(scale)
    return type(shape).cast(BRepBuilderAPI_Transform(shape.wrapped, motion, True).Shape())


def _step_writer(shape: Any, name: str) -> Any:
    from OCP.APIHeaderSection import APIHeaderSection_MakeHeader
    from OCP.Interface import Interface_Static
    from OCP.StepBasic import StepBasic_Product
    from OCP.STEPControl import STEPControl_AsIs, STEPControl_Writer
    from OCP.TCollection import TCollection_HAsciiString

    writer = STEPControl_Writer()
    for key in ("xstep.cascade.unit", "write.step.unit"):
        Interface_Static.SetCVal_s(key, "MM")
    Interface_Static.SetIVal_s("write.step.assembly", 0)  # several solids are still one part
    writer.Transfer(shape.wrapped, STEPControl_AsIs)
    model, label = writer.Model(), TCollection_HAsciiString(name)
    # OpenCASCADE puts the time and a count of files written into the file; both are noise here
    for index in range(1, model.NbEntities() + 1):
        entity = model.Value(index)
        if isinstance(entity, StepBasic_Product):
            entity.SetId(label)
            entity.SetName(label)
    header = APIHeaderSection_MakeHeader(model)
    header.SetName(TCollection_HAsciiString(f"{name}.step"))
    header.SetTimeStamp(TCollection_HAsciiString("1970-01-01T00:00:00"))
    header.SetOriginatingSystem(TCollection_HAsciiString("cadwright"))
    return writer


def _load_step(path: str) -> Any:
    import cadquery
    from OCP.IFSelect import IFSelect_RetDone
    from OCP.Interface import Interface_Static
    from OCP.STEPControl import STEPControl_Reader

    reader = STEPControl_Reader()
    Interface_Static.SetCVal_s("xstep.cascade.unit", "MM")
    if reader.ReadFile(path) != IFSelect_RetDone:
        raise UnusableFile("it is not a readable STEP file")
    reader.TransferRoots()
    if reader.NbShapes() == 0:
        raise UnusableFile("it holds no shape")
    return cadquery.Shape.cast(reader.OneShape())


def answer(request: dict[str, Any]) -> Message:
    """Do one request. What the kernel raises becomes an outcome; a defect here ends the process."""
    started = time.perf_counter()
    arrays: list[NDArray[Any]] = []
    try:
        header, arrays = {"build": build, "read_step": read_step}[request["do"]](request)
    except EmptyShape as error:
        header = {"outcome": "empty", "message": str(error)}
    except BrokenShape as error:
        header = {"outcome": "invalid", "message": str(error)}
    except UnusableFile as error:
        header = {"outcome": "unusable_file", "message": str(error)}
    except MemoryError:
        header = {"outcome": "memory", "message": "the kernel asked for more memory than allowed"}
    except Exception as error:
        if not _raised_by_kernel(error):
            raise
        header = {"outcome": "invalid", "message": f"{type(error).__name__}: {error}"}
    return {**header, "seconds": time.perf_counter() - started}, arrays


def _raised_by_kernel(error: Exception) -> bool:
    """OpenCASCADE's errors have no common class in Python, so their place has to tell."""
    places = [type(error).__module__]
    trace = error.__traceback__
    while trace is not None:
        places.append(trace.tb_frame.f_globals.get("__name__", ""))
        trace = trace.tb_next
    return any(place.split(".")[0] in ("OCP", "cadquery", "multimethod") for place in places)


def limit_this_process(memory_mb: int) -> None:
    """Ignore Ctrl-C (the parent decides), leave no core file, cap the memory where Linux can.

    RLIMIT_DATA counts what a program allocates; RLIMIT_AS would also count the 1 GB of
    address space that OpenCASCADE's libraries and threads merely reserve.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if sys.platform != "win32":
        import resource

        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        if sys.platform == "linux":
            resource.setrlimit(resource.RLIMIT_DATA, (memory_mb << 20, memory_mb << 20))


def main() -> None:
    """Serve requests until the parent closes stdin or dies."""
    limit_this_process(int(sys.argv[-1]))
    replies = os.dup(1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # OpenCASCADE prints to stdout
    provide_graphics_stubs()
    try:
        import cadquery  # noqa: F401
    except ImportError as error:
        send(replies, {"ready": False, "message": str(error)})
        return
    send(replies, {"ready": True})
    with contextlib.suppress(BrokenPipeError):  # the parent died while this worked
        while (message := receive(0)) is not None:
            _alarm(message[0]["timeout_s"] + 10)
            reply = answer(message[0])
            _alarm(0)
            send(replies, *reply)


def _alarm(seconds: float) -> None:
    """Let the system end this process; OpenCASCADE holds Python's lock, so no thread could.

    The parent kills sooner; this is for a parent that died.
    """
    if hasattr(signal, "setitimer"):
        signal.setitimer(signal.ITIMER_REAL, seconds)
