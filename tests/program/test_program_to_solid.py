"""The exact kernel: figures that can be worked out by hand, its files, and attacks on it."""

from __future__ import annotations

import itertools
import math
import multiprocessing
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import manifold3d as m3
import numpy as np
import pytest

from cadwright.errors import InputError
from cadwright.geometry.frames import Placement
from cadwright.program.grammar import Program
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_solid import ExactKernel, SolidResult
from cadwright.program.program_to_text import program_to_text
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh, Outcome

HEAD = "import cadquery as cq\nw0=cq.Workplane('XY',origin=(0,0,0))\nr="
GOLDEN = Path(__file__).parents[1] / "golden" / "shapes"
ENDLESS = {"tolerance": 1e-7, "angular": 1e-4}  # minutes of meshing for one cylinder
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals")


def program(body: str) -> Program:
    return text_to_program(HEAD + body)


def sketch(ops: str) -> Program:
    return program(f"w0.sketch(){ops}.finalize().extrude(10)")


BOX = program("w0.workplane(offset=-85/2).moveTo(1,2).box(10,20,85)")
CYLINDER = program("w0.workplane(offset=10/2).cylinder(10,100)")
OPEN = sketch(".segment((0,0),(40,0)).segment((40,40)).segment((0,40)).assemble()")
TWO = sketch(".rect(40,40).push([(100,0)]).circle(15)")


def is_solid(mesh: Mesh) -> bool:
    """Whether manifold3d takes the mesh as it is: closed, and no vertex twice."""
    solid = m3.Manifold(m3.Mesh64(mesh.vertices, mesh.faces.astype(np.uint64)))
    return solid.status() == m3.Error.NoError and not solid.is_empty()


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")
    return not (stat.exists() and stat.read_text().rsplit(")", 1)[1].split()[0] == "Z")


def wait_until_gone(pid: int, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_running(pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    return not is_running(pid)


def run_script(folder: Path, text: str, **options: object) -> subprocess.Popen[str]:
    """A script of the user's, without the guard ``if __name__ == '__main__'``."""
    script = folder / "script.py"
    script.write_text(textwrap.dedent(text))
    source = str(Path(__file__).parents[2] / "src")
    return subprocess.Popen(  # type: ignore[call-overload, no-any-return]
        [sys.executable, str(script)],
        env={**os.environ, "PYTHONPATH": source},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **options,
    )


# -- what it builds ------------------------------------------------------------------------------


def test_a_box_is_exact(kernel: ExactKernel) -> None:
    result = kernel.build(BOX)
    assert (result.outcome, result.message) == (Outcome.OK, "")
    assert result.volume == pytest.approx(10 * 20 * 85, rel=1e-12)
    assert (result.num_faces, result.num_solids) == (6, 1)
    expected = [[-4, -8, -85], [6, 12, 0]]
    assert result.bounds is not None
    assert result.mesh is not None
    np.testing.assert_allclose(result.bounds, expected, atol=1e-9)
    np.testing.assert_allclose(result.mesh.bounds, expected, atol=1e-9)
    assert result.mesh.vertices.shape == (8, 3)
    assert result.mesh.faces.shape == (12, 3)


def test_a_cylinder_is_exact_and_its_mesh_lies_within(kernel: ExactKernel) -> None:
    result = kernel.build(CYLINDER)
    assert result.volume == pytest.approx(math.pi * 100**2 * 10, rel=1e-12)
    assert result.num_faces == 3
    assert result.bounds is not None
    assert result.mesh is not None
    np.testing.assert_allclose(result.bounds, [[-100, -100, 0], [100, 100, 10]], atol=1e-9)
    assert (result.mesh.bounds[0] >= result.bounds[0] - 1e-9).all()
    assert 0.999 * result.volume < result.mesh.signed_volume < result.volume
    radii = np.hypot(result.mesh.vertices[:, 0], result.mesh.vertices[:, 1])
    np.testing.assert_allclose(radii, 100, rtol=1e-9)


def test_a_finer_mesh_comes_closer(kernel: ExactKernel) -> None:
    coarse, fine = kernel.build(CYLINDER, angular=0.5), kernel.build(CYLINDER, angular=0.02)
    assert coarse.mesh is not None
    assert fine.mesh is not None
    assert coarse.volume == fine.volume
    assert len(coarse.mesh.faces) < len(fine.mesh.faces)
    missing = [result.volume - result.mesh.signed_volume for result in (coarse, fine)]  # type: ignore[union-attr]
    assert 0 < missing[1] < missing[0] / 10


@pytest.mark.parametrize(
    ("ops", "volume", "num_solids"),
    [
        (".rect(40,40).push([(100,0)]).rect(10,10)", 17000, 2),
        (".rect(40,40).push([(30,0)]).rect(40,40)", 28000, 1),
        (".rect(40,40).push([(40,0)]).rect(40,40)", 32000, 1),
        (".rect(40,40).push([(40,40)]).rect(40,40)", 32000, 2),
        (".rect(40,40).push([(5,0)]).rect(10,10,mode='s')", 15000, 1),
        (".rect(40,40).rect(20,20,mode='s').rect(10,10)", 13000, 2),
        (".push([(9,9)]).rect(4,4).reset().rect(4,4)", 320, 2),
    ],
)
def test_all_faces_of_a_sketch_and_all_solids_count(
    kernel: ExactKernel, ops: str, volume: float, num_solids: int
) -> None:
    result = kernel.build(sketch(ops))
    assert result.outcome is Outcome.OK
    assert result.volume == pytest.approx(volume, rel=1e-9)
    assert result.num_solids == num_solids
    assert result.mesh is not None
    assert result.mesh.signed_volume == pytest.approx(volume, rel=1e-9)
    assert is_solid(result.mesh)


@pytest.mark.parametrize(
    "ops",
    [
        ".circle(20).push([(10,0)]).circle(10,mode='s')",
        ".circle(20).push([(5,0)]).circle(15,mode='s')",
        ".rect(40,40).push([(0,10)]).circle(10,mode='s')",
        ".rect(40,40).circle(20,mode='s')",
    ],
)
def test_a_hole_that_touches_the_outline_still_gives_a_closed_mesh(
    kernel: ExactKernel, ops: str
) -> None:
    result = kernel.build(sketch(ops))
    assert result.outcome is Outcome.OK
    assert result.mesh is not None
    assert is_solid(result.mesh)
    assert result.mesh.signed_volume == pytest.approx(result.volume, rel=0.01)


@pytest.mark.parametrize(
    ("ops", "outcome"),
    [
        (".rect(4,4).circle(9,mode='s')", Outcome.EMPTY),
        (".segment((0,0),(20,0)).segment((40,0)).close().assemble()", Outcome.EMPTY),
        (".circle(5,mode='s').rect(40,40)", Outcome.INVALID),
        (".segment((0,0),(40,0)).segment((40,40)).segment((0,40)).assemble()", Outcome.INVALID),
        (".segment((0,0),(40,40)).segment((40,0)).segment((0,60)).close().assemble()", "invalid"),
        (".segment((0,0),(40,0)).arc((40,10),(40,40)).close().assemble()", Outcome.INVALID),
        (".segment((0,0),(40,0)).segment((40,0)).segment((40,40)).close().assemble()", "invalid"),
    ],
)
def test_what_has_no_solid_has_an_outcome_and_a_reason(
    kernel: ExactKernel, ops: str, outcome: str
) -> None:
    result = kernel.build(sketch(ops))
    assert result.outcome == outcome
    assert result.message
    assert result.mesh is None
    assert result.bounds is None
    assert result.volume == 0


def test_a_refusal_does_not_cost_the_worker(kernel: ExactKernel) -> None:
    kernel.build(BOX)
    before = kernel.worker_pids
    assert kernel.build(OPEN).outcome is Outcome.INVALID
    assert kernel.build(BOX).outcome is Outcome.OK
    assert kernel.worker_pids == before


def test_the_seconds_told_are_those_of_the_build(kernel: ExactKernel) -> None:
    kernel.build(BOX)
    started = time.perf_counter()
    result = kernel.build(BOX)
    assert 0 < result.seconds <= time.perf_counter() - started


@pytest.mark.slow
def test_plain_cadquery_makes_the_same_solid_of_the_printed_program(
    kernel: ExactKernel, tmp_path: Path
) -> None:
    programs = [text_to_program(path.read_text()) for path in sorted(GOLDEN.glob("*.py"))]
    programs += [TWO, sketch(".circle(20).push([(5,0)]).circle(15,mode='s')")]
    block, rod = (
        "w0.workplane(offset=20/2).box(80,60,20)",
        "w0.workplane(offset=20/2).cylinder(90,9)",
    )
    programs += [
        program(f"{block}.faces('>Z').edges().chamfer(4).cut({rod}.faces('<Z').edges().fillet(2))"),
        program("w0.sketch().push([(20,5)]).rect(9,9).finalize().revolve(200,(3,0,0),(3,1,0))"),
        sketch(".push([(3,4)]).rect(40,20).reset().vertices().chamfer(5)"),
        sketch(".rect(40,20).vertices().fillet(5).push([(3,4)]).circle(2,mode='s')"),
    ]
    for index, item in enumerate(programs):
        (tmp_path / f"part{index}.py").write_text(program_to_text(item))
    process = run_script(
        tmp_path,
        f"""
        import runpy
        for index in range({len(programs)}):
            shape = runpy.run_path(f'{tmp_path}/part{{index}}.py')['r'].val()
            print(repr(shape.Volume()), len(shape.Faces()), len(shape.Solids()))
        """,
    )
    output, errors = process.communicate(timeout=300)
    assert not errors
    for line, result in zip(output.splitlines(), kernel.build_many(programs), strict=True):
        told = (repr(result.volume), str(result.num_faces), str(result.num_solids))
        assert tuple(line.split()) == told


# -- files ---------------------------------------------------------------------------------------


def test_a_step_file_read_back_is_the_same_solid(kernel: ExactKernel, tmp_path: Path) -> None:
    result = kernel.build(TWO, step_path=tmp_path / "two parts.step")
    assert result.outcome is Outcome.OK
    assert result.step_path == tmp_path / "two parts.step"
    mesh = kernel.step_to_mesh(tmp_path / "two parts.step")
    assert is_solid(mesh)
    assert result.mesh is not None
    np.testing.assert_allclose(mesh.bounds, result.mesh.bounds, atol=1e-6)
    assert mesh.signed_volume == pytest.approx(result.mesh.signed_volume, rel=1e-6)
    assert [path.name for path in tmp_path.iterdir()] == ["two parts.step"]


@pytest.mark.parametrize(
    ("scale", "offset"),
    [
        (1.0, (0.0, 0.0, 0.0)),
        (0.0254, (-3.0, 0.5, 100.25)),
        (31.7, (1e4, -2e4, 7.0)),
        (5e-4, (0, 0, 1)),
    ],
)
def test_a_placed_step_file_lies_in_the_users_frame(
    kernel: ExactKernel, tmp_path: Path, scale: float, offset: tuple[float, float, float]
) -> None:
    placement = Placement(scale, np.array(offset, dtype=np.float64))
    result = kernel.build(TWO, step_path=tmp_path / "user.step", placement=placement)
    assert (result.outcome, result.message) == (Outcome.OK, "")
    assert result.mesh is not None
    mesh = kernel.step_to_mesh(tmp_path / "user.step")
    expected = placement.apply(result.mesh.bounds)
    np.testing.assert_allclose(mesh.bounds, expected, atol=1e-6 * 200 * scale + 1e-9)
    assert result.mesh.bounds[0, 0] == pytest.approx(-20)  # the mesh stays in the program's frame


def test_a_step_file_depends_on_the_program_alone(kernel: ExactKernel, tmp_path: Path) -> None:
    kernel.build(TWO, step_path=tmp_path / "a.step")
    kernel.build(BOX, step_path=tmp_path / "b.step")
    first = (tmp_path / "a.step").read_bytes()
    kernel.build(TWO, step_path=tmp_path / "a.step")
    assert (tmp_path / "a.step").read_bytes() == first
    assert b"PRODUCT('a','a'" in first


@pytest.mark.slow
def test_another_worker_writes_the_same_step_file(kernel: ExactKernel, tmp_path: Path) -> None:
    kernel.build(TWO, step_path=tmp_path / "a.step")
    first = (tmp_path / "a.step").read_bytes()
    with ExactKernel() as other:
        other.build(TWO, step_path=tmp_path / "a.step")
    assert (tmp_path / "a.step").read_bytes() == first


def test_a_failed_build_leaves_the_old_file_and_no_other(
    kernel: ExactKernel, tmp_path: Path
) -> None:
    old = tmp_path / "part.step"
    old.write_text("what was here")
    assert kernel.build(OPEN, step_path=old).outcome is Outcome.INVALID
    assert old.read_text() == "what was here"
    assert list(tmp_path.iterdir()) == [old]


def test_a_folder_that_is_not_there_is_named(kernel: ExactKernel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="nowhere"):
        kernel.build(BOX, step_path=tmp_path / "nowhere" / "part.step")
    with pytest.raises(InputError, match="folder"):
        kernel.build(BOX, step_path=tmp_path)


def test_a_placement_without_a_file_is_a_mistake(kernel: ExactKernel) -> None:
    with pytest.raises(ValueError, match="placement"):
        kernel.build(BOX, placement=Placement(2.0, np.zeros(3)))


@pytest.mark.parametrize(
    "content", [b"", b"solid cube\nendsolid\n", b"\0" * 1000, b"ISO-10303-21;\nHEADER;\n"]
)
def test_what_is_not_step_is_refused_in_one_sentence(
    kernel: ExactKernel, tmp_path: Path, content: bytes
) -> None:
    path = tmp_path / "part.step"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"part\.step") as caught:
        kernel.step_to_mesh(path)
    assert "\n" not in str(caught.value)


def test_a_cut_off_step_file_is_refused(kernel: ExactKernel, tmp_path: Path) -> None:
    path = tmp_path / "part.step"
    kernel.build(TWO, step_path=path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=r"part\.step"):
        kernel.step_to_mesh(path)


def test_a_step_file_that_is_not_there_is_named(kernel: ExactKernel, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"gone\.step"):
        kernel.step_to_mesh(tmp_path / "gone.step")
    with pytest.raises(InputError, match="cannot read"):
        kernel.step_to_mesh(tmp_path)


# -- many programs -------------------------------------------------------------------------------


def test_many_programs_come_back_in_order(kernel: ExactKernel) -> None:
    programs = [program(f"w0.workplane(offset=1/2).box({n},1,1)") for n in range(1, 9)]
    programs.insert(3, OPEN)
    results = list(kernel.build_many(programs))
    assert results[3].outcome is Outcome.INVALID
    volumes = [result.volume for result in results if result.outcome is Outcome.OK]
    assert volumes == pytest.approx([1, 2, 3, 4, 5, 6, 7, 8])


def test_many_programs_may_be_endless(kernel: ExactKernel) -> None:
    taken = 0

    def stream() -> Iterator[Program]:
        nonlocal taken
        for _ in itertools.count():
            taken += 1
            yield BOX

    results = kernel.build_many(stream())
    assert [next(results).outcome for _ in range(3)] == [Outcome.OK] * 3
    results.close()  # type: ignore[attr-defined]
    assert taken <= 6


@pytest.mark.slow
def test_threads_share_two_workers_without_mixing_answers() -> None:
    programs = [program(f"w0.workplane(offset=1/2).box({n},1,1)") for n in range(1, 41)]
    answers: dict[int, SolidResult] = {}
    with ExactKernel(num_workers=2) as pool:

        def build_each(first: int) -> None:
            for k in range(first, len(programs), 4):
                answers[k] = pool.build(programs[k])

        threads = [threading.Thread(target=build_each, args=(k,)) for k in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(pool.worker_pids) == 2
    assert [answers[k].volume for k in range(40)] == pytest.approx(list(range(1, 41)))


# -- attacks -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def victim(kernel: ExactKernel) -> Iterator[ExactKernel]:
    with ExactKernel(timeout_s=60.0) as exact:
        exact.warm_up()
        yield exact


def test_a_program_that_takes_too_long_is_a_timeout_and_the_next_one_works(
    victim: ExactKernel, tmp_path: Path
) -> None:
    assert victim.build(BOX).outcome is Outcome.OK
    (pid,) = victim.worker_pids
    victim.timeout_s = 1.0
    started = time.perf_counter()
    result = victim.build(CYLINDER, step_path=tmp_path / "part.step", **ENDLESS)
    victim.timeout_s = 60.0
    assert result.outcome is Outcome.TIMEOUT
    assert "1 seconds" in result.message
    assert 1.0 <= result.seconds < 5.0
    assert time.perf_counter() - started < 10.0
    assert not is_running(pid)
    assert not list(tmp_path.iterdir())
    assert victim.build(BOX).outcome is Outcome.OK


@posix
def test_a_crash_of_the_kernel_is_an_outcome_and_the_next_program_works(
    victim: ExactKernel,
) -> None:
    assert victim.build(BOX).outcome is Outcome.OK
    (pid,) = victim.worker_pids
    threading.Timer(0.3, os.kill, (pid, signal.SIGSEGV)).start()
    result = victim.build(CYLINDER, **ENDLESS)
    assert result.outcome is Outcome.CRASH
    assert "SIGSEGV" in result.message
    assert victim.build(BOX).outcome is Outcome.OK
    assert pid not in victim.worker_pids


@posix
def test_a_worker_that_died_in_its_sleep_is_replaced_unnoticed(victim: ExactKernel) -> None:
    assert victim.build(BOX).outcome is Outcome.OK
    (pid,) = victim.worker_pids
    os.kill(pid, signal.SIGKILL)
    assert wait_until_gone(pid, 5)
    assert victim.build(BOX).outcome is Outcome.OK


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="the memory limit is Linux's")
def test_a_program_that_takes_too_much_memory_is_stopped() -> None:
    with ExactKernel(timeout_s=120.0, memory_mb=512) as small:
        result = small.build(CYLINDER, angular=1e-5)
        assert result.outcome is Outcome.MEMORY
        assert "512 MB" in result.message
        assert small.build(BOX).outcome is Outcome.OK


def test_a_worker_is_replaced_after_its_share_of_programs() -> None:
    with ExactKernel(recycle_after=2) as short_lived:
        assert short_lived.build(BOX).outcome is Outcome.OK
        (first,) = short_lived.worker_pids
        assert short_lived.build(BOX).outcome is Outcome.OK
        (second,) = short_lived.worker_pids
        assert first != second
        assert not is_running(first)
        assert short_lived.build(BOX).outcome is Outcome.OK
        assert short_lived.worker_pids == [second]
    assert not is_running(second)


def test_warming_up_does_not_wait() -> None:
    with ExactKernel(num_workers=2) as cold:
        started = time.perf_counter()
        cold.warm_up()
        assert time.perf_counter() - started < 1.0
        pids = cold.worker_pids
        assert len(pids) == 2
    assert not any(is_running(pid) for pid in pids)


def test_a_closed_kernel_says_so() -> None:
    exact = ExactKernel()
    exact.close()
    exact.close()
    with pytest.raises(RuntimeError, match="closed"):
        exact.build(BOX)


@pytest.mark.parametrize(
    "options",
    [{"num_workers": 0}, {"timeout_s": 0.0}, {"memory_mb": 100}, {"recycle_after": -1}],
)
def test_limits_without_meaning_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ExactKernel(**options)  # type: ignore[arg-type]


def _build_fast_in_fork() -> None:
    sys.exit(0 if program_to_mesh(BOX).outcome is Outcome.OK else 1)


@posix
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_fork_after_use_neither_hangs_nor_takes_the_workers_away(kernel: ExactKernel) -> None:
    assert kernel.build(BOX).outcome is Outcome.OK
    assert not {"OCP", "cadquery"} & set(sys.modules)
    before = kernel.worker_pids
    child = multiprocessing.get_context("fork").Process(target=_build_fast_in_fork)
    child.start()
    child.join(timeout=60)
    assert child.exitcode == 0
    assert kernel.build(BOX).outcome is Outcome.OK
    assert kernel.worker_pids == before


@pytest.mark.slow
def test_a_script_without_main_guard_works_and_no_stray_file_is_imported(tmp_path: Path) -> None:
    work = tmp_path / "work"
    work.mkdir()
    for name in ("cadquery", "json", "cadwright"):
        (work / f"{name}.py").write_text("raise SystemExit('a stray file was imported')")
    process = run_script(
        tmp_path,
        f"""
        from cadwright.program.program_to_solid import ExactKernel
        from cadwright.program.text_to_program import text_to_program
        kernel = ExactKernel()
        result = kernel.build(text_to_program({program_to_text(BOX)!r}))
        print(result.outcome.value, result.volume, kernel.worker_pids[0], flush=True)
        """,
        cwd=work,
    )
    output, errors = process.communicate(timeout=120)
    assert (errors, process.returncode) == ("", 0)
    outcome, volume, pid = output.split()
    assert outcome == "ok"
    assert float(volume) == pytest.approx(17000)
    assert wait_until_gone(int(pid), 10)


HANGING_SCRIPT = f"""
import threading, time
from cadwright.program.program_to_solid import ExactKernel
from cadwright.program.text_to_program import text_to_program
kernel = ExactKernel(timeout_s=TIMEOUT)
kernel.build(text_to_program({program_to_text(BOX)!r}))
print(kernel.worker_pids[0], flush=True)
kernel.build(text_to_program({program_to_text(CYLINDER)!r}), tolerance=1e-7, angular=1e-4)
"""


@posix
@pytest.mark.slow
def test_ctrl_c_ends_parent_and_worker_with_one_traceback(tmp_path: Path) -> None:
    process = run_script(tmp_path, HANGING_SCRIPT.replace("TIMEOUT", "300"), start_new_session=True)
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    time.sleep(1.0)
    os.killpg(process.pid, signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert errors.count("Traceback") == 1
    assert errors.strip().endswith("KeyboardInterrupt")
    assert wait_until_gone(pid, 10)


@posix
@pytest.mark.slow
def test_a_worker_ends_with_its_parent_even_in_the_middle_of_a_build(tmp_path: Path) -> None:
    process = run_script(tmp_path, HANGING_SCRIPT.replace("TIMEOUT", "3"))
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    time.sleep(1.0)
    process.kill()
    process.communicate(timeout=10)
    assert is_running(pid)
    assert wait_until_gone(pid, 25)


@posix
@pytest.mark.slow
def test_an_idle_worker_ends_with_its_parent(tmp_path: Path) -> None:
    script = HANGING_SCRIPT.replace("TIMEOUT", "30").rsplit("kernel.build", 1)[0]
    process = run_script(tmp_path, script + "time.sleep(60)\n")
    assert process.stdout is not None
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate(timeout=10)
    assert wait_until_gone(pid, 10)
