import importlib.util
import warnings

import numpy as np
import pytest

from encoders.tiny_models import FakeSentenceTransformer, write_tiny_bert
from orthant.encoders.fingerprint import Fingerprint, difference
from orthant.encoders.sentence_transformers import SentenceTransformerEncoder
from orthant.encoders.transformer import TransformerEncoder
from orthant.errors import DimensionError, InputError
from orthant.types import Encoder

TEXTS = ["a cat", "the lighthouse", "", "dog", "no. 7 is here", "?"]
LONG = "abc def ghi jkl mno pqr stu vwx yz0 123 456"


# Objects that look like the real class


def test_vectors_are_float32_in_the_order_given():
    encoder = SentenceTransformerEncoder(FakeSentenceTransformer())
    assert isinstance(encoder, Encoder) and encoder.dim == 6 and encoder.max_tokens == 8
    out = encoder.encode(["abc", "d"])
    assert out.dtype == np.float32 and out.shape == (2, 6) and out.flags.c_contiguous
    np.testing.assert_array_equal(encoder.encode(["d"])[0], out[1])
    assert encoder.encode([]).shape == (0, 6)


def test_roles_use_prompts_or_the_models_own_methods():
    model = FakeSentenceTransformer()
    encoder = SentenceTransformerEncoder(model)
    np.testing.assert_array_equal(encoder.encode(["abc"], role="query"), encoder.encode(["q: abc"]))
    model.encode_query = lambda texts, **settings: model.calls.append("query") or model.encode(texts, **settings)
    encoder.encode(["abc"], role="query")
    assert model.calls[-2:] == ["query", "encode"]


def test_w62_truncation_is_counted_with_the_prompt():
    encoder = SentenceTransformerEncoder(FakeSentenceTransformer())
    with pytest.warns(UserWarning, match=r"1 of 2 texts were longer than 8 tokens: 4 of 15 tokens"):
        encoder.encode(["a" * 12, "bbb"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, report = encoder.encode_with_report(["a" * 12, "b" * 6, ""], role="query")
    assert (report.items, report.truncated_items, report.truncated_tokens) == (3, 2, 8)
    strict = SentenceTransformerEncoder(FakeSentenceTransformer(), truncation="error")
    with pytest.raises(InputError, match="the first at position 1"):
        strict.encode(["a", "a" * 12])
    with pytest.raises(InputError, match=r"TransformerEncoder\.load"):
        SentenceTransformerEncoder(FakeSentenceTransformer(), truncation="chunk")


def test_w62_what_the_encoder_says_fits_is_not_cut():
    encoder = SentenceTransformerEncoder(FakeSentenceTransformer())
    fits = encoder.document_tokens
    assert encoder.token_counts(["a" * 12, "", "bb"]).tolist() == [12, 0, 2] and len(encoder.token_counts([])) == 0
    assert encoder.encode_with_report(["a" * fits])[1].truncated_items == 0
    assert encoder.encode_with_report(["a" * (fits + 1)])[1].truncated_items == 1


def test_w35_identity_follows_weights_prompts_and_revision():
    made = SentenceTransformerEncoder(FakeSentenceTransformer()).fingerprint
    assert made == SentenceTransformerEncoder(FakeSentenceTransformer()).fingerprint
    other = FakeSentenceTransformer()
    other.prompts = {}
    wrapped = [
        SentenceTransformerEncoder(FakeSentenceTransformer(seed=1)),
        SentenceTransformerEncoder(other),
        SentenceTransformerEncoder(FakeSentenceTransformer(), revision="2"),
    ]
    told = [difference(made, one.fingerprint).partition(":")[0] for one in wrapped]
    assert told == ["weights", "prompts", "revision"]


def test_without_weights_a_revision_is_required():
    class Weightless(FakeSentenceTransformer):
        state_dict = None

    with pytest.raises(InputError, match="revision="):
        SentenceTransformerEncoder(Weightless())
    named = SentenceTransformerEncoder(Weightless(), revision="2024-05")
    assert Fingerprint.parse(named.fingerprint).revision == "2024-05"


def test_wrong_models_answers_and_inputs_are_refused():
    for wrong in (None, "minilm", FakeSentenceTransformer, object()):
        with pytest.raises(InputError, match="SentenceTransformer object"):
            SentenceTransformerEncoder(wrong)
    model = FakeSentenceTransformer()
    encoder = SentenceTransformerEncoder(model)
    for wrong in ("text", [1], [None]):
        with pytest.raises(InputError):
            encoder.encode(wrong)
    with pytest.raises(InputError):
        encoder.encode(["a"], role="passage")
    model.encode = lambda texts, **settings: np.zeros((1, 6))
    with pytest.raises(DimensionError, match="1 vectors for 2 items"):
        encoder.encode(["a", "b"])


def test_items_of_a_multimodal_model_pass_through():
    model = FakeSentenceTransformer()
    model.modalities = ["text", "image"]
    model.prompts, model.encode = {}, lambda items, **settings: np.ones((len(items), 6))
    out, report = SentenceTransformerEncoder(model).encode_with_report([object(), "text"])
    assert out.shape == (2, 6) and report.items == 2 and report.truncated_items == 0


# The real class: one import of it for the whole suite


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    if not all(importlib.util.find_spec(name) for name in ("torch", "sentence_transformers")):
        pytest.skip("the learn extra (torch, sentence-transformers) is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("ORTHANT_CACHE", str(tmp_path_factory.mktemp("cache")))
        import torch
        from sentence_transformers import SentenceTransformer

        torch.set_num_threads(1)
        folder = write_tiny_bert(tmp_path_factory.mktemp("models") / "tiny", prompts={"query": "q. "})
        yield folder, SentenceTransformer(str(folder), device="cpu", local_files_only=True)


def test_every_runtime_agrees_with_the_real_class_and_shares_its_identity(real):
    folder, model = real
    wrapped = SentenceTransformerEncoder(model)
    assert wrapped.dim == 32 and wrapped.max_tokens == 24
    for backend in ("numpy", "torch", *(["onnx"] if importlib.util.find_spec("onnxruntime") else [])):
        other = TransformerEncoder.load(folder, backend=backend)
        assert difference(other.fingerprint, wrapped.fingerprint) == ""
        for role in ("query", "document"):
            np.testing.assert_allclose(
                other.encode_with_report([*TEXTS, LONG], role=role)[0],
                wrapped.encode_with_report([*TEXTS, LONG], role=role)[0],
                atol=1e-5,
            )


def test_the_real_class_counts_as_transformer_encoder_does(real):
    folder, model = real
    ours = TransformerEncoder.load(folder, backend="numpy").encode_with_report([*TEXTS, LONG], role="query")[1]
    theirs = SentenceTransformerEncoder(model).encode_with_report([*TEXTS, LONG], role="query")[1]
    for name in ("items", "truncated_items", "truncated_tokens"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert theirs.truncated_tokens == 33 + 2 - 22


def test_the_real_class_in_other_arithmetic_is_another_identity(real):
    _, model = real
    full = SentenceTransformerEncoder(model).fingerprint
    state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    try:
        half = SentenceTransformerEncoder(model.bfloat16())
        assert "arithmetic: 'float32' against 'bfloat16'" in difference(full, half.fingerprint)
        assert half.encode(["a cat"]).dtype == np.float32
    finally:
        model.float().load_state_dict(state)
    assert SentenceTransformerEncoder(model).fingerprint == full


def test_torch_threads_are_given_back(real):
    import torch

    folder, _ = real
    encoder = TransformerEncoder.load(folder, backend="torch", threads=2, device="cpu")
    before = torch.get_num_threads()
    encoder.encode(["a"])
    assert torch.get_num_threads() == before != 2
