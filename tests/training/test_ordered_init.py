"""First weights: integers in order, points and numbers in one space."""

import pytest
import torch

from cadwright.models import CADRecode, CADRecodeConfig
from cadwright.models.cad_recode.tokenizer import load_tokenizer
from cadwright.training.ordered_init import order_numbers, value_to_fourier


@pytest.fixture(scope="module")
def model() -> CADRecode:
    torch.manual_seed(0)
    tokenizer = load_tokenizer()
    config = CADRecodeConfig(
        vocab_size=len(tokenizer),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_key_value_heads=1,
        tie_word_embeddings=True,
    )
    model = CADRecode(config)
    assert order_numbers(model, tokenizer) == 401
    return model


def likeness(model: CADRecode, first: int, second: int) -> float:
    tokenizer = load_tokenizer()
    weight = model.get_input_embeddings().weight
    rows = [weight[tokenizer(str(value))["input_ids"][0]] for value in (first, second)]
    return float(torch.nn.functional.cosine_similarity(*rows, dim=0))


def test_near_integers_are_more_alike_than_far_ones(model: CADRecode) -> None:
    assert likeness(model, 57, 58) > likeness(model, 57, 62) > 0
    assert likeness(model, 57, 58) > 2 * likeness(model, 57, -57)


def test_other_tokens_and_their_scale_are_untouched(model: CADRecode) -> None:
    weight = model.get_input_embeddings().weight
    numbers = [load_tokenizer()(str(value))["input_ids"][0] for value in range(-200, 201)]
    others = torch.tensor([k for k in range(len(weight)) if k not in set(numbers)])
    assert float(weight[others].std()) == pytest.approx(0.02, rel=0.1)
    assert float(weight[numbers].std()) == pytest.approx(0.02, rel=0.6)


def test_features_are_those_of_the_point_encoder(model: CADRecode) -> None:
    points = torch.tensor([[0.3, -0.7, 0.1]])
    axis = [value_to_fourier(points[:, k])[0] for k in range(3)]
    encoder = model.point_encoder.projection
    from cadwright.training.ordered_init import _axis_columns

    expected = sum(encoder.weight[:, _axis_columns(k)] @ axis[k] for k in range(3)) + encoder.bias
    assert torch.allclose(model.point_encoder(points)[0], expected, atol=1e-5)
