from __future__ import annotations

from reconstruct_stubs import DISC, OPEN_LOOP, RING

from cadwright.geometry.metrics import volume_iou
from cadwright.inference.mend import without_broken_bodies
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program

CROSSED = (
    "w0.sketch().segment((0,0),(50,50)).segment((50,0)).segment((0,40)).close().assemble()"
    ".finalize().extrude(20)"
)


def test_the_body_that_does_not_build_is_left_out_wherever_it_stands() -> None:
    ring = RING.split("r=")[1]
    first = RING.split("r=")[0]
    whole = program_to_mesh(text_to_program(RING)).mesh
    assert whole is not None
    for text in (f"{first}r={ring}.union({CROSSED})", f"{first}r={CROSSED}.union({ring})"):
        assert program_to_mesh(text_to_program(text)).mesh is None
        (mended,) = without_broken_bodies([text])
        mesh = program_to_mesh(text_to_program(mended)).mesh
        assert mesh is not None and volume_iou(mesh, whole) > 0.9999


def test_what_cannot_be_read_or_has_nothing_left_gives_nothing() -> None:
    assert without_broken_bodies(["?", OPEN_LOOP, f"{DISC.split('r=')[0]}r={CROSSED}"]) == []
