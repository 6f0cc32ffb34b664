"""Shards: the same rows for any workers, any interruption, and any cluster."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from cadwright.errors import InputError
from cadwright.geometry.frames import normalise, placement_to_unit
from cadwright.geometry.mesh_to_views import mesh_to_views
from cadwright.program.program_to_mesh import program_to_mesh
from cadwright.program.text_to_program import text_to_program
from cadwright.synth.describe import STYLES, describe

parquet = pytest.importorskip("pyarrow.parquet")
from cadwright.synth.shards import write_shards  # noqa: E402


def read_columns(folder: Path) -> dict[str, list]:
    return parquet.read_table(sorted(folder.glob("shard-*.parquet"))).to_pydict()


def rows(folder: Path) -> list[tuple[int, str]]:
    found = []
    for path in sorted(folder.glob("shard-*.parquet")):
        table = parquet.read_table(path).to_pydict()
        found += list(zip(table["index"], table["program"], strict=True))
    return found


def test_a_resumed_run_gives_the_rows_of_one_that_never_stopped(tmp_path: Path) -> None:
    settings = {"seed": 3, "shard_size": 8, "num_points": 16}
    write_shards(tmp_path / "whole", num=30, **settings)
    write_shards(tmp_path / "parts", num=11, **settings)
    write_shards(tmp_path / "parts", num=30, **settings)
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")
    assert len(rows(tmp_path / "whole")) == 30


def test_workers_do_not_change_the_rows(tmp_path: Path) -> None:
    settings = {"seed": 3, "shard_size": 8, "num_points": 16}
    write_shards(tmp_path / "one", num=12, **settings)
    write_shards(tmp_path / "two", num=12, workers=2, **settings)
    assert rows(tmp_path / "one") == rows(tmp_path / "two")


def test_no_program_occurs_twice_and_points_are_whole(tmp_path: Path) -> None:
    write_shards(tmp_path, num=40, seed=5, shard_size=40, num_points=16)
    programs = [text for _, text in rows(tmp_path)]
    assert len(set(programs)) == 40
    table = parquet.read_table(tmp_path / "shard-00000.parquet")
    assert {len(points) for points in table["points"].to_pylist()} == {48}
    assert (tmp_path / "statistics.json").is_file()


def test_a_folder_of_another_seed_is_refused(tmp_path: Path) -> None:
    write_shards(tmp_path, num=4, seed=1, shard_size=4, num_points=16)
    with pytest.raises(InputError, match="seed=1, not 2"):
        write_shards(tmp_path, num=8, seed=2, shard_size=4, num_points=16)


def test_words_stand_beside_their_programs(tmp_path: Path) -> None:
    write_shards(tmp_path, num=6, seed=3, shard_size=4, num_points=16, words=True)
    table = read_columns(tmp_path)
    for k, text in enumerate(table["program"]):
        for style in STYLES:
            said = describe(text_to_program(text), style=style, seed=table["index"][k])
            assert table[f"words_{style}"][k] == said
    assert "views" not in table


def test_pictures_show_their_programs(tmp_path: Path) -> None:
    pytest.importorskip("numba")
    write_shards(tmp_path, num=2, seed=3, shard_size=4, num_points=16, views=True)
    table = read_columns(tmp_path)
    for text, png in zip(table["program"], table["views"], strict=True):
        mesh = program_to_mesh(text_to_program(text)).mesh
        assert mesh is not None
        expected = mesh_to_views(normalise(mesh, placement_to_unit(mesh.bounds)))
        assert (np.asarray(Image.open(io.BytesIO(png))) == expected).all()


def test_what_else_a_row_holds_does_not_change_the_rows_and_is_asked_for_again(
    tmp_path: Path,
) -> None:
    settings = {"seed": 3, "shard_size": 4, "num_points": 16}
    write_shards(tmp_path / "plain", num=6, **settings)
    write_shards(tmp_path / "words", num=3, words=True, **settings)
    write_shards(tmp_path / "words", num=6, words=True, **settings)
    assert rows(tmp_path / "words") == rows(tmp_path / "plain")
    with pytest.raises(InputError, match="words=False, not True"):
        write_shards(tmp_path / "plain", num=8, words=True, **settings)


def test_shards_from_before_there_were_words_are_gone_on_from(tmp_path: Path) -> None:
    settings = {"seed": 3, "shard_size": 4, "num_points": 16}
    write_shards(tmp_path, num=4, **settings)
    path = tmp_path / "shard-00000.parquet"
    table = parquet.read_table(path)
    note = table.schema.metadata[b"cadwright"].replace(b'"views": false, "words": false, ', b"")
    assert b"words" not in note
    parquet.write_table(table.replace_schema_metadata({"cadwright": note}), path)
    write_shards(tmp_path, num=6, **settings)
    assert len(rows(tmp_path)) == 6


def test_no_cluster_at_an_address_is_one_clear_error(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    with pytest.raises(InputError, match="no Ray cluster at 'nowhere'"):
        write_shards(tmp_path, num=4, seed=3, num_points=16, workers=0, ray="nowhere")


@pytest.mark.slow
def test_two_nodes_one_of_them_killed_give_the_rows_of_one_process(tmp_path: Path) -> None:
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    settings = {"num": 400, "seed": 3, "shard_size": 150, "num_points": 16}
    write_shards(tmp_path / "here", **settings)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    killed = []

    def kill_midway(done: int, _: int) -> None:
        if done >= 60 and not killed:
            killed.append(done)
            cluster.remove_node(second, allow_graceful=False)

    try:
        write_shards(
            tmp_path / "ray", workers=2, ray=cluster.address, progress=kill_midway, **settings
        )
    finally:
        cluster.shutdown()
    assert killed
    assert rows(tmp_path / "ray") == rows(tmp_path / "here")
