from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from reconstruct_stubs import DISC, OPEN_LOOP, PLACEMENT, RING, SHORT, StubDecoder, StubKernel

from cadwright.errors import CadwrightError, GeometryError, InputError
from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.geometry.mesh_to_points import sample_surface
from cadwright.geometry.mesh_to_views import mesh_to_views
from cadwright.geometry.metrics import Target
from cadwright.geometry.pictures import save_png
from cadwright.inference.pipeline import Reconstructor
from cadwright.inference.result import FILES, Reconstruction
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.program_to_user import text_to_user_program
from cadwright.program.text_to_program import text_to_program
from cadwright.types import Mesh

pytestmark = pytest.mark.usefixtures("kernel")


def user_mesh(text: str = RING) -> Mesh:
    mesh = program_to_mesh(text_to_program(text)).mesh
    assert mesh is not None
    return normalise(mesh, PLACEMENT)


def run(source: Any, *texts: str, **options: Any) -> Reconstruction:
    options = {"candidates": 4, "budget_s": 0.0} | options
    with Reconstructor(StubDecoder(*texts)) as reconstructor:  # type: ignore[arg-type]
        return reconstructor.reconstruct(source, **options)


def test_result_lies_on_the_users_mesh() -> None:
    target = user_mesh()
    result = run(target, DISC, RING, "nonsense")
    np.testing.assert_allclose(result.mesh.bounds, target.bounds, atol=1e-6)
    assert result.program == text_to_program(RING)
    assert result.report["iou"] > 0.999
    assert result.report["deviation"]["max"] < 1e-3
    assert result.report["bounds_gap"] < 1e-6
    assert result.report["source"] == "model"


def test_text_is_the_program_that_was_built() -> None:
    result = run(user_mesh(), RING)
    user = text_to_user_program(result.text)
    assert user.program == result.user_program.program
    mesh = program_to_mesh(user.program).mesh
    assert mesh is not None
    np.testing.assert_allclose(mesh.bounds, result.mesh.bounds, atol=1e-12)


def test_report_counts_every_candidate_by_outcome() -> None:
    report = run(user_mesh(), DISC, "r=w0.(", OPEN_LOOP, "r=print(1)", candidates=8).report
    assert report["candidates"] == {
        "tried": 8,
        "valid": 2,
        "by_outcome": {"ok": 2, "syntax": 2, "unsupported": 2, "invalid": 2},
    }


def test_report_is_plain_json_and_names_what_it_must() -> None:
    report = run(user_mesh(), RING, budget_s=0.2).report
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    wanted = {"chamfer", "chamfer_protocol", "iou", "kind", "seconds", "seed", "model", "versions"}
    assert wanted <= report.keys()
    stages = {"read", "prepare", "decode", "rank", "search", "exact", "measure"}
    assert stages <= report["seconds"].keys()
    assert report["search"]["end_fit"] >= report["search"]["start_fit"] - 0.005


def test_choice_is_by_the_one_scorer() -> None:
    target = user_mesh()
    result = run(target, SHORT, DISC)
    scorer = Target(target, seed=0)
    ious = {}
    for text in (SHORT, DISC):
        mesh = program_to_mesh(text_to_program(text)).mesh
        assert mesh is not None
        ious[text] = scorer.direct_iou(normalise(mesh, PLACEMENT))
    best = max(ious, key=lambda text: ious[text])
    assert result.program == text_to_program(best)
    assert result.report["iou"] == pytest.approx(ious[best], abs=1e-6)


def test_without_a_valid_candidate_the_bounding_box_is_named_as_such() -> None:
    target = user_mesh()
    result = run(target, "nonsense")
    assert result.report["source"] == "bounding_box"
    assert result.report["candidates"]["valid"] == 0
    np.testing.assert_allclose(result.mesh.bounds, target.bounds, atol=1e-6)


def test_search_without_a_candidate_is_named_as_search() -> None:
    result = run(user_mesh(DISC), "nonsense", budget_s=2.0)
    assert result.report["source"] == "search"
    assert result.report["iou"] > 0.9


def test_next_best_is_taken_where_the_exact_kernel_refuses(kernel: type[StubKernel]) -> None:
    kernel.num_refused = 1
    result = run(user_mesh(), DISC, RING)
    assert result.program == text_to_program(DISC)
    assert [row["outcome"] for row in result.report["exact"]] == ["timeout", "ok"]


def test_error_where_the_exact_kernel_refuses_all(kernel: type[StubKernel], tmp_path: Path) -> None:
    kernel.num_refused = 99
    with pytest.raises(CadwrightError, match="none of 2 programs.*timeout"):
        run(user_mesh(), RING, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_solid_that_the_exact_kernel_builds_differently_is_not_taken(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    honest = StubKernel.build

    def lose_the_hole(self: StubKernel, program: Any, **options: Any) -> Any:
        wrong = len(program.bodies) == 1 and "Extrude" in type(program.bodies[0]).__name__
        box = text_to_program(SHORT) if wrong else program
        return honest(self, box, **options)

    monkeypatch.setattr(StubKernel, "build", lose_the_hole)
    result = run(user_mesh(), RING, DISC)
    assert result.program == text_to_program(DISC)
    assert "fits less" in result.report["exact"][0]["message"]


def test_open_surface_has_no_iou_and_says_why() -> None:
    target = user_mesh()
    opened = Mesh(target.vertices, target.faces[:-1])
    result = run(opened, RING, DISC)
    assert result.report["kind"] == "surface"
    assert result.report["iou"] is None
    assert "open surface" in result.report["iou_note"]
    assert result.program == text_to_program(RING)


def test_points_have_no_iou_and_are_chosen_by_chamfer_distance(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("cadwright.inference.report.NUM_POINTS", 4096)
    points = sample_surface(user_mesh(), 4000, np.random.default_rng(0))
    result = run(points, DISC, RING, SHORT)
    assert result.report["kind"] == "points"
    assert result.report["iou"] is None
    assert "point cloud" in result.report["iou_note"]
    assert result.report["chamfer"] < 1e-3
    assert result.program == text_to_program(RING)
    assert result.picture(size=64).shape[1] == 3 * 64


def test_point_sets_are_in_the_model_frame() -> None:
    decoder = StubDecoder(RING)
    with Reconstructor(decoder) as reconstructor:  # type: ignore[arg-type]
        reconstructor.reconstruct(user_mesh(), candidates=9, budget_s=0.0)
    assert len(decoder.point_sets) == 3
    for points in decoder.point_sets:
        assert points.shape == (32, 3)
        assert np.abs(points).max() == pytest.approx(1.0, abs=0.1)
    assert not np.array_equal(decoder.point_sets[0], decoder.point_sets[1])


def test_trimesh_like_objects_and_inside_out_meshes_are_taken() -> None:
    mesh = user_mesh()
    like = SimpleNamespace(vertices=mesh.vertices.tolist(), faces=mesh.faces[:, ::-1].tolist())
    assert run(like, RING).report["iou"] > 0.999


@pytest.mark.parametrize("source", [7, None, {"vertices": []}])
def test_what_is_no_part_is_refused(source: Any) -> None:
    with pytest.raises(InputError, match="a part is a path"):
        run(source, RING)


def test_zero_volume_and_non_manifold_meshes_are_refused() -> None:
    corners = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, -1]], dtype=float)
    sheet = Mesh(corners, np.array([[0, 1, 2], [0, 2, 1]], dtype=np.int32))
    with pytest.raises(GeometryError, match="no volume"):
        run(sheet, RING)
    fins = Mesh(corners, np.array([[0, 1, 2], [0, 1, 3], [0, 1, 4]], dtype=np.int32))
    with pytest.raises(GeometryError, match="not manifold"):
        run(fins, RING)


def test_names_stay_inside_the_output_folder(tmp_path: Path) -> None:
    for name in ("..", "../up", "a/b", "", "con:cave"):
        folder = Path(run(user_mesh(), RING, name=name).name)
        assert len(folder.parts) == 1
        assert ".." not in folder.parts


def test_save_writes_all_files_and_nothing_else(tmp_path: Path) -> None:
    run(user_mesh(), RING, name="ring", out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["ring"]
    assert {path.name for path in (tmp_path / "ring").iterdir()} == set(FILES)
    report = json.loads((tmp_path / "ring" / "report.json").read_text())
    assert report["name"] == "ring"
    assert (tmp_path / "ring" / "part.step").read_bytes() == b"ISO-10303-21; ring"


def test_save_replaces_its_own_files_only(tmp_path: Path) -> None:
    folder = tmp_path / "ring"
    folder.mkdir()
    (folder / "notes.txt").write_text("mine")
    (folder / "part.py").write_text("old")
    run(user_mesh(), RING, name="ring", out=tmp_path)
    assert (folder / "notes.txt").read_text() == "mine"
    assert "cadquery" in (folder / "part.py").read_text()


def test_failed_save_leaves_the_old_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = run(user_mesh(), RING, name="ring", out=tmp_path)
    before = {path.name: path.read_bytes() for path in (tmp_path / "ring").iterdir()}

    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cadwright.inference.result.save_png", full)
    with pytest.raises(InputError, match="No space left"):
        result.save(tmp_path)
    assert {path.name: path.read_bytes() for path in (tmp_path / "ring").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["ring"]


def test_same_seed_gives_the_same_program_and_figures() -> None:
    first, second = (run(user_mesh(), SHORT, DISC, RING, seed=5) for _ in range(2))
    assert first.text == second.text
    drop = "seconds"
    assert {k: v for k, v in first.report.items() if k != drop} == {
        k: v for k, v in second.report.items() if k != drop
    }


def test_progress_rises_to_one() -> None:
    seen: list[tuple[str, float]] = []
    run(user_mesh(), RING, budget_s=0.3, progress=lambda what, share: seen.append((what, share)))
    shares = [share for _, share in seen]
    assert shares == sorted(shares)
    assert seen[-1] == ("done", 1.0)
    assert 0.0 <= shares[0] < 0.1


def test_kernel_is_closed_at_the_end() -> None:
    with Reconstructor(StubDecoder(RING)) as reconstructor:  # type: ignore[arg-type]
        kernel = reconstructor.kernel
    assert kernel.closed  # type: ignore[attr-defined]


def picture_of(text: str) -> np.ndarray:
    mesh = user_mesh(text)
    return mesh_to_views(normalise(mesh, placement_to_unit(mesh.bounds)))


def test_picture_is_decoded_as_such_and_chooses_the_part_it_shows(tmp_path: Path) -> None:
    path = tmp_path / "shown.png"
    save_png(picture_of(RING), path)
    decoder = StubDecoder(DISC, RING, SHORT, "?")
    with Reconstructor(decoder) as reconstructor:  # type: ignore[arg-type]
        result = reconstructor.reconstruct(path, candidates=4, budget_s=5.0, out=tmp_path / "out")
    assert decoder.picture is not None and not decoder.point_sets
    assert result.program == text_to_program(RING)
    report = result.report
    assert (report["name"], report["kind"], report["source"]) == ("shown", "views", "model")
    assert report["input"] == str(path)
    assert report["iou"] is report["chamfer"] is report["deviation"] is report["bounds_gap"] is None
    assert "no distance was measured" in report["iou_note"]
    assert "longest side is about 200" in report["unit"]
    assert report["chosen_by"].startswith("the picture")
    assert report["chosen_fit"] == pytest.approx(1.0, abs=1e-3)
    assert report["search"]["tries"] == 0 and "search" not in report["seconds"]
    assert report["size"] == pytest.approx(200)
    assert {file.name for file in (tmp_path / "out" / "shown").iterdir()} == set(FILES)
    assert result.picture(size=64).shape == (64, 192, 3)


def test_four_views_apart_are_the_picture_they_make() -> None:
    whole, decoder = picture_of(RING), StubDecoder(DISC, RING)
    tiles = [whole[134 * (k // 2) :, 134 * (k % 2) :][:134, :134] for k in range(4)]
    with Reconstructor(decoder) as reconstructor:  # type: ignore[arg-type]
        result = reconstructor.reconstruct(views=tiles, candidates=2)
    np.testing.assert_array_equal(np.asarray(decoder.picture), whole)
    assert result.program == text_to_program(RING)


def test_words_are_decoded_as_such_and_agreement_chooses(tmp_path: Path) -> None:
    decoder = StubDecoder(RING, DISC, DISC, "?")
    with Reconstructor(decoder) as reconstructor:  # type: ignore[arg-type]
        result = reconstructor.reconstruct(text="A round plate", candidates=4, out=tmp_path)
    assert decoder.words == "A round plate"
    assert result.program == text_to_program(DISC)
    assert (result.report["kind"], result.report["input"]) == ("words", "A round plate")
    assert result.report["chosen_by"].startswith("agreement")
    assert json.loads(json.dumps(result.report, allow_nan=False)) == result.report
    assert (tmp_path / "a-round-plate" / "part.step").is_file()
    assert result.picture(size=64).shape == (128, 128, 3)


def test_part_py_names_a_unit_only_where_the_input_has_one() -> None:
    unit, none = "lengths in the unit of the input file", "lengths in no unit"
    for result in (run(None, DISC, text="a plate"), run(None, RING, views=picture_of(RING))):
        assert none in result.text and unit not in result.text
        assert "longest side about 200" in result.text
        assert text_to_user_program(result.text).program == result.user_program.program
    assert unit in (text := run(user_mesh(), RING).text) and none not in text


def test_words_whose_candidates_differ_much_are_said_to_be_in_doubt() -> None:
    texts = [
        DISC.replace("cylinder(60,100)", f"box({size})")
        for size in ("200,8,8", "8,200,8", "8,8,200")
    ]
    doubtful = run(None, *texts, text="a part", candidates=3)
    assert "probably not understood" in doubtful.report["iou_note"]
    assert "understood" not in run(None, *texts[:1], text="a bar").report["iou_note"]


def test_words_without_a_valid_candidate_are_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(CadwrightError, match="none of the candidates is a program that builds"):
        run(None, "?", OPEN_LOOP, text="a ring", out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_one_part_is_shown_in_one_way() -> None:
    with pytest.raises(InputError, match="one of them"):
        run(user_mesh(), RING, text="a ring")
    with pytest.raises(InputError, match="4 views, not 5"):
        run(None, RING, views=[picture_of(RING)] * 5)
    with pytest.raises(InputError, match="is not a readable picture"):
        run("absent.png", RING)


def test_embedded_model_is_picked_by_kind_of_input(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    from cadwright.inference import decode, embedded

    (tmp_path / "embedded").mkdir()
    (tmp_path / "embedded" / "config.json").write_text("{}")
    monkeypatch.setattr(embedded, "_assets", lambda: tmp_path)
    monkeypatch.setattr(decode.Decoder, "load", lambda folder, **_: StubDecoder(folder, RING))
    with Reconstructor() as reconstructor:
        with pytest.raises(InputError, match="reads meshes and point clouds, not text"):
            reconstructor.reconstruct(text="a ring")
        (tmp_path / "embedded_multimodal").mkdir()
        (tmp_path / "embedded_multimodal" / "config.json").write_text("{}")
        for kind, name in (("points", "embedded"), ("words", "embedded_multimodal")):
            loaded: Any = reconstructor.load(kind)  # type: ignore[arg-type]
            assert Path(loaded.texts[0]).name == name
            assert reconstructor.load(kind) is loaded  # type: ignore[arg-type]
        assert reconstructor.load("views") is reconstructor.load("words")
