"""Shapes with texts: pairs, captions files, generated parts in 24 positions, folders of codes."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tests.align_toys import VAE_CONFIG, make_tokenizer, make_vae, save_boxes

from cadwright.errors import InputError
from cadwright.geometry.mesh_to_sdf import mesh_to_sdf
from cadwright.geometry.sdf_io import save_sdf
from cadwright.models.align3d.captions_file import read_captions
from cadwright.models.align3d.conversation import PROMPT
from cadwright.models.align3d.hints import HINTS, MAIN
from cadwright.models.align3d.items import ShapeItems
from cadwright.models.align3d.latents import LatentFolder, codes_name, open_latents, write_shard
from cadwright.models.align3d.pairs import (
    QUESTIONS,
    TOPICS,
    Pair,
    Said,
    said_to_answer,
    said_to_pairs,
    text_to_said,
)
from cadwright.models.align3d.sources import (
    TURNS,
    GeneratedShapes,
    ListedShapes,
    turn_sdf,
)
from cadwright.models.vqvae.inputs import sdfs_to_batch
from cadwright.program.file_to_mesh import file_to_mesh

pytest.importorskip("numba")


SAID = [
    Said("box", 2, 0), Said("rounded prism", 1, 1), Said("ring", None, 3), Said(None, 3, None),
    Said(None, None, 2), Said("prism", None, None), Said(None, None, None),
]  # fmt: skip


class TestPairs:
    @pytest.mark.parametrize("known", SAID)
    def test_what_is_known_is_said_and_nothing_else(self, known: Said) -> None:
        for seed in range(16):
            caption, *questions = said_to_pairs(known, seed=seed)
            assert caption.question == PROMPT and text_to_said(caption.answer) == known
            asked = [t for t in TOPICS if any(q.question in QUESTIONS[t] for q in questions)]
            assert asked == [t for t in TOPICS if getattr(known, t) is not None]
            for topic, pair in zip(asked, questions, strict=True):
                assert getattr(text_to_said(pair.answer), topic) == getattr(known, topic)

    def test_a_text_that_names_nothing_says_nothing(self) -> None:
        assert text_to_said("A red robot. 2 bodies are cut away.") == Said(None, None, None)
        with pytest.raises(InputError, match="nothing is known"):
            said_to_answer(Said(None, 1, 1), "kind")


class TestCaptionsFile:
    def test_jsonl_and_both_kinds_of_csv(self, tmp_path: Path) -> None:
        path = save_boxes(tmp_path)
        rows = read_captions(path)
        assert [row.path.name for row in rows] == ["box0.stl", "box1.stl", "box2.stl"]
        assert len(rows[0].pairs) == 2 and len(rows[1].pairs) == 1
        plain = tmp_path / "plain.csv"
        plain.write_text("shape,caption\nbox1.stl,a box\n")
        assert read_captions(plain)[0].pairs[0].answer == "a box"
        (tmp_path / "abc_r16.npz").write_bytes(b"")
        published = tmp_path / "metadata.csv"
        published.write_text(
            'sha256,captions,sdf_computed\nabc,"[""a box"", ""a block""]",True\nxyz,[],False\n'
        )
        rows = read_captions(published, resolution=16)
        assert rows[0].path.name == "abc_r16.npz" and len(rows[0].pairs) == 2

    @pytest.mark.parametrize(
        ("row", "message"),
        [
            ({"shape": "box0.stl"}, "has no caption"),
            ({"shape": "box0.stl", "captions": []}, "has no caption"),
            ({"shape": "box0.stl", "captions": ["a", " "]}, "caption is empty"),
            ({"shape": "box0.stl", "caption": ""}, "caption is empty"),
            ({"shape": "lost.stl", "caption": "a"}, "there is no shape"),
            ({"caption": "a"}, "names no shape"),
            ({"shape": "box0.stl", "caption": "a", "questions": [["why?"]]}, "pairs of question"),
        ],
    )
    def test_rows_that_cannot_teach_are_refused(
        self, tmp_path: Path, row: dict[str, Any], message: str
    ) -> None:
        path = save_boxes(tmp_path)
        path.write_text(json.dumps(row) + "\n")
        with pytest.raises(InputError, match=message):
            read_captions(path)

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("a.jsonl", "", "no captions in it"),
            ("a.jsonl", "{oops", "line 1: no readable JSON"),
            ("a.jsonl", "[1]", "must be a JSON object"),
            ("a.txt", "", "from .jsonl or .csv"),
            ("a.csv", "sha256,captions\nabc,[]\n", "names no shape"),
        ],
    )
    def test_files_that_are_none_are_refused(
        self, tmp_path: Path, name: str, text: str, message: str
    ) -> None:
        (tmp_path / name).write_text(text)
        with pytest.raises(InputError, match=message):
            read_captions(tmp_path / name)
        with pytest.raises(InputError, match="cannot be read"):
            read_captions(tmp_path / "lost.jsonl")


class TestSources:
    def test_the_24_positions_are_rotations_and_each_is_another(self, tmp_path: Path) -> None:
        save_boxes(tmp_path)
        sdf = mesh_to_sdf(file_to_mesh(tmp_path / "box0.stl"), resolution=16)
        dense = np.ones((16, 16, 16), np.float32)
        dense[tuple(sdf.index.T)] = sdf.values
        matrices = set()
        for number, (axes, flips) in enumerate(TURNS):
            matrix = np.eye(3)[list(axes)] * np.where(flips, -1, 1)[:, None]
            assert np.linalg.det(matrix) == pytest.approx(1)
            matrices.add(matrix.tobytes())
            turned = turn_sdf(sdf, number)
            again = np.ones((16, 16, 16), np.float32)
            again[tuple(turned.index.T)] = turned.values
            expected = np.transpose(dense, axes)
            expected = np.flip(expected, [k for k in range(3) if flips[k]])
            assert np.array_equal(again, expected)
            keys = (turned.index * [256, 16, 1]).sum(axis=1)
            assert (np.diff(keys) > 0).all()
        assert len(matrices) == 24 and TURNS[0] == ((0, 1, 2), (False, False, False))

    def test_generated_shapes_are_the_same_each_time_and_turned_ones_say_the_same(self) -> None:
        one = GeneratedShapes(VAE_CONFIG, num=4, seed=5, turns=2)
        two = GeneratedShapes(VAE_CONFIG, num=4, seed=5, turns=2)
        first, turned = one[2], one[3]
        assert first.sdf is not None and turned.sdf is not None and two[3].sdf is not None
        assert np.array_equal(turned.sdf.index, two[3].sdf.index)
        assert first.pairs == turned.pairs and first.name != turned.name
        assert first.hints is not None and turned.hints is not None
        assert first.hints.shape == (3, HINTS) and first.hints[:, MAIN].sum() == 1
        # the same bodies, along whatever axes they now stand
        assert sorted(map(tuple, first.hints)) == sorted(map(tuple, turned.hints))
        longest = [int(shape.sdf.index[:, k].max()) for shape in (first, turned) for k in range(3)]
        assert sorted(longest[:3]) == sorted(longest[3:])
        assert not np.array_equal(first.sdf.index, turned.sdf.index)
        with pytest.raises(InputError, match="1 to 24"):
            GeneratedShapes(VAE_CONFIG, num=4, seed=5, turns=25)

    def test_meshes_sdfs_and_latents_of_a_captions_file(self, tmp_path: Path) -> None:
        path = save_boxes(tmp_path)
        sdf = mesh_to_sdf(file_to_mesh(tmp_path / "box0.stl"), resolution=16, threshold_factor=1.2)
        save_sdf(tmp_path / "box.npz", sdf)
        np.savez(tmp_path / "codes.npz", feats_3d=np.ones((3, 4), np.float32),
                 coords_3d=np.zeros((3, 4), np.int64))  # fmt: skip
        with path.open("a") as file:
            for name in ("box.npz", "codes.npz"):
                file.write(json.dumps({"shape": name, "caption": "a box"}) + "\n")
        shapes = ListedShapes(path, VAE_CONFIG)
        mesh, file_, codes = shapes[0], shapes[3], shapes[4]
        assert mesh.sdf is not None and file_.sdf is not None
        assert np.array_equal(mesh.sdf.index, file_.sdf.index)
        assert codes.feats is not None and codes.feats.shape == (3, 4) and codes.sdf is None
        with pytest.raises(InputError, match="needs a VAE"):
            ListedShapes(path)[0]

    def test_an_sdf_of_another_resolution_or_band_is_refused(self, tmp_path: Path) -> None:
        path = save_boxes(tmp_path)
        mesh = file_to_mesh(tmp_path / "box0.stl")
        save_sdf(tmp_path / "a.npz", mesh_to_sdf(mesh, resolution=16, threshold_factor=4.0))
        save_sdf(tmp_path / "b.npz", mesh_to_sdf(mesh, resolution=24, threshold_factor=1.2))
        for name in ("a.npz", "b.npz"):
            path.write_text(json.dumps({"shape": name, "caption": "a box"}) + "\n")
            with pytest.raises(InputError, match="the VAE reads 16"):
                ListedShapes(path, VAE_CONFIG)[0]


def write_folder(folder: Path, num: int = 3) -> None:
    vae = make_vae()
    open_latents(folder, {"latent_dim": 4, "vae": "x"}, vae.vq.embeddings.weight)
    source = GeneratedShapes(VAE_CONFIG, num=num, seed=1)
    shapes = [source[k] for k in range(num)]
    codes = [vae.Encode(sdfs_to_batch([s.sdf])) for s in shapes if s.sdf is not None]
    write_shard(folder, 0, codes, [s.name for s in shapes], [s.pairs for s in shapes])


class TestLatents:
    def test_vectors_and_indices_come_back_whole(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        found, vae = LatentFolder(tmp_path), make_vae()
        shape = GeneratedShapes(VAE_CONFIG, num=3, seed=1)[1]
        assert shape.sdf is not None
        code = vae.Encode(sdfs_to_batch([shape.sdf]))
        assert torch.equal(found.code(1).indices, code.indices)
        assert torch.equal(found.code(1).coords, code.coords)
        feats = found[1].feats
        assert feats is not None and torch.equal(feats, code.feats)
        assert found[1].pairs == shape.pairs and len(found) == 3 and found.latent_dim == 4
        assert len(LatentFolder(tmp_path, most=2)) == 2

    def test_folders_that_are_none_or_damaged_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(InputError, match="no folder of"):
            LatentFolder(tmp_path)
        write_folder(tmp_path)
        with pytest.raises(InputError, match="another extraction"):
            open_latents(tmp_path, {"latent_dim": 5}, make_vae().vq.embeddings.weight)
        np.save(tmp_path / "codebook.npy", np.zeros((2, 4), np.float32))
        with pytest.raises(InputError, match="outside the codebook"):
            LatentFolder(tmp_path)
        (tmp_path / codes_name(0)).write_bytes(b"PK broken")
        with pytest.raises(InputError, match="shard cannot be read"):
            LatentFolder(tmp_path)


class TestItems:
    def test_captions_and_questions_take_turns_and_an_epoch_asks_the_same(
        self, tmp_path: Path
    ) -> None:
        write_folder(tmp_path)
        items = ShapeItems(LatentFolder(tmp_path), make_tokenizer(), latent_dim=4)
        pairs = [Pair(PROMPT, f"caption {k}") for k in range(3)]
        pairs += [Pair(f"question {k}?", f"answer {k}") for k in range(3)]
        items.shapes = [replace(items.shapes[0], pairs=tuple(pairs))]
        seen = []
        for epoch in range(6):
            items.set_epoch(epoch)
            seen.append(items.tokenizer.decode(items[0]["input_ids"]))
        assert sum("Describe" in text for text in seen) == 3 and len(set(seen)) == 6
        items.set_epoch(0)
        assert items.tokenizer.decode(items[0]["input_ids"]) == seen[0]

    def test_captions_that_leave_something_open_can_be_left_out(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        shape = LatentFolder(tmp_path)[0]
        known = (Said("box", 2, None), Said(None, None, None), Said("box", 2, 3))
        shapes = [replace(shape, pairs=tuple(said_to_pairs(said, seed=0))) for said in known]
        items = ShapeItems(shapes, make_tokenizer(), whole_captions=True)
        assert len(items) == 2  # nothing can be asked of the second
        for index, captions in enumerate((0, 3)):
            asked = []
            for epoch in range(6):
                items.set_epoch(epoch)
                asked.append(items.tokenizer.decode(items[index]["input_ids"]))
            assert sum("Describe" in text for text in asked) == captions
        with pytest.raises(InputError, match="no caption names"):
            ShapeItems(shapes[1:2], make_tokenizer(), whole_captions=True)

    def test_another_width_and_an_answer_cut_off_whole_are_refused(self, tmp_path: Path) -> None:
        write_folder(tmp_path)
        tokenizer = make_tokenizer()
        with pytest.raises(InputError, match="latent_dim is 5"):
            ShapeItems(LatentFolder(tmp_path), tokenizer, latent_dim=5)[0]
        with pytest.raises(InputError, match="part-1-000000: the question takes"):
            ShapeItems(LatentFolder(tmp_path), tokenizer, max_length=3)[0]

    def test_raw_shapes_become_form_b(self) -> None:
        items = ShapeItems(GeneratedShapes(VAE_CONFIG, num=2, seed=1), make_tokenizer())
        raw = items[1]["inputs_3d"]
        assert set(raw) == {"sparse_sdf", "sparse_index"} and len(raw["sparse_sdf"]) > 50

    def test_pairs_are_what_a_listed_file_says(self, tmp_path: Path) -> None:
        rows = read_captions(save_boxes(tmp_path))
        assert rows[0].pairs[1] == Pair("How many holes are there?", "It has 0 through holes.")
