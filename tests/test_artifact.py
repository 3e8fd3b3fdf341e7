"""Artefacts find their class by their kind."""

from __future__ import annotations

import re

import numpy as np
import pytest

import orthant
from contracts.package import SOURCE, modules
from orthant.artifact import ARTIFACT_CLASSES, load_artifact, write_artifact
from orthant.encoders import (
    BinaryParagraphVectors,
    ConceptEncoder,
    DisambiguatedSkipGram,
    ExplicitSemanticAnalysis,
    FoldedEncoder,
    PictureTextEncoder,
    ProjectedEncoder,
    RecordEncoder,
    StaticEncoder,
    TopicEncoder,
    WordVectors,
)
from orthant.errors import InputError, NotFoundError, StoreCorruptedError
from orthant.quantization import (
    ITQ,
    LVQ,
    SQ8,
    IVFCodec,
    LowRankVQMatrix,
    ProductQuantizer,
    RaBitQ,
    RecurrentBinary,
    ResidualQuantizer,
    SignCodes,
)
from orthant.transforms import (
    DriftCompensator,
    FixedDimensionalEncoding,
    GapAlignment,
    Layer,
    LeanVec,
    LowRankMap,
    MeanShift,
    Network,
    Procrustes,
    Reduction,
    RelativeRepresentation,
    ResidualAdapter,
    SubspaceProjection,
    WordedMap,
)

X = np.random.default_rng(0).standard_normal((100, 8)).astype(np.float32)
MADE = {
    "quantization.itq": lambda: ITQ().fit(X),
    "quantization.lvq": lambda: LVQ().fit(X),
    "quantization.product": lambda: ProductQuantizer(m=2, bits=4).fit(X),
    "quantization.rabitq": lambda: RaBitQ().fit(X),
    "quantization.recurrent_binary": lambda: RecurrentBinary().fit(X),
    "quantization.residual": lambda: ResidualQuantizer(levels=2, bits=4).fit(X),
    "quantization.sign_codes": lambda: SignCodes().fit(X),
    "quantization.sq8": lambda: SQ8().fit(X),
    "transform.drift": lambda: DriftCompensator().fit(X + 1, X),
    "transform.gap_alignment": lambda: GapAlignment().fit(X + 1, X),
    "transform.leanvec": lambda: LeanVec(dim=3).fit(X),
    "transform.low_rank_map": lambda: LowRankMap().fit(X, X[:, :3]),
    "transform.mean_shift": lambda: MeanShift().fit(X, X + 1),
    "transform.network": lambda: Network([Layer("tanh")]),
    "transform.procrustes": lambda: Procrustes(scale=True).fit(X, X[:, ::-1]),
    "transform.reduction": lambda: Reduction(dim=3).fit(X),
    "transform.relative": lambda: RelativeRepresentation(space="target").fit(X, X[:, :3]),
    "transform.residual_adapter": lambda: ResidualAdapter(rank=2, epochs=1).fit(X, np.roll(X, 1, axis=1)),
    "transform.worded_map": lambda: WordedMap().fit(X, X[:, :3], words=np.eye(len(X)), word_vectors=X[:, :3]),
    "transform.subspace": lambda: SubspaceProjection(rank=2).fit(X),
}
TEXTS = ["the bank of the river", "a loan from the bank", "water in the river", "money for a loan"] * 10
ROWS = Network([Layer("linear", {"weight": np.eye(3, 512, dtype=np.float32)}), Layer("relu")])
ANSWERING = {
    "encoder.binary_paragraphs": (
        lambda: BinaryParagraphVectors(bits=8, epochs=2, min_count=1).fit(TEXTS),
        lambda made: made.encode(TEXTS[:3]).codes,
    ),
    "encoder.concepts": (
        lambda: ConceptEncoder("static", ROWS, ["sea", "land", "air"]),
        lambda made: made.encode_sparse(TEXTS[:3]).toarray(),
    ),
    "encoder.explicit": (
        lambda: ExplicitSemanticAnalysis({"water": "the river", "money": "a loan"}),
        lambda made: made.encode_sparse(TEXTS[:3]).toarray(),
    ),
    "encoder.pictures": (
        lambda: PictureTextEncoder(
            {
                "text": np.eye(3, 512),
                "convolution_0": np.ones((2, 4, 3, 3)),
                "bias_0": np.arange(2.0),
                "projection": X[:3],
                "projection_bias": np.zeros(3),
            },
            side=4,
        ),
        lambda made: np.concatenate([made.encode(TEXTS[:3]), made.encode_pictures(np.eye(4, dtype=np.uint8)[None])]),
    ),
    "encoder.folded": (
        lambda: FoldedEncoder("static"),
        lambda made: made.encode(TEXTS[:3]),
    ),
    "encoder.projected": (
        lambda: ProjectedEncoder("static", ROWS, name="three"),
        lambda made: made.encode(TEXTS[:3]),
    ),
    "encoder.senses": (
        lambda: DisambiguatedSkipGram(senses=2, dim=4, epochs=1, min_count=1).fit(TEXTS),
        lambda made: made.disambiguate("bank", ["river"]),
    ),
    "encoder.topics": (
        lambda: TopicEncoder(2, min_count=1).fit(TEXTS),
        lambda made: made.encode(TEXTS[:3]),
    ),
    "encoder.words": (
        lambda: WordVectors(["river", "loan", "bank"], X[:3]),
        lambda made: made.encode(TEXTS[:3]),
    ),
    "quantization.low_rank_vq": (
        lambda: LowRankVQMatrix.compress(X, block=4, rank=2, codebook_size=8),
        lambda made: made.decode(),
    ),
}

OTHERWISE = ("encoder.records", "encoder.static", "quantization.inverted", "transform.fixed_dimensional")


@pytest.mark.parametrize("kind", MADE)
def test_each_kind_comes_back_as_its_class(kind, tmp_path):
    made = MADE[kind]()
    made.save(tmp_path)
    again = orthant.load_artifact(tmp_path)
    assert type(again) is type(made)
    call = "transform" if hasattr(made, "transform") else "encode"
    np.testing.assert_array_equal(getattr(again, call)(X), getattr(made, call)(X))


@pytest.mark.parametrize("kind", ANSWERING)
def test_each_kind_answers_as_before(kind, tmp_path):
    make, ask = ANSWERING[kind]
    made = make()
    made.save(tmp_path / "kept")
    again = orthant.load_artifact(tmp_path / "kept")
    assert type(again) is type(made)
    np.testing.assert_array_equal(ask(again), ask(made))


def test_tables_come_back_as_encoders():
    assert isinstance(load_artifact(SOURCE / "encoders" / "static_minilm"), StaticEncoder)


def test_encoders_of_records_come_back(tmp_path):
    records = [{"year": 1990 + i, "genre": "drama" if i % 2 else "war"} for i in range(20)]
    made = RecordEncoder(dim=64).fit(records)
    made.save(tmp_path)
    again = load_artifact(tmp_path)
    assert isinstance(again, RecordEncoder)
    np.testing.assert_array_equal(again.encode(records), made.encode(records))


def test_encodings_of_sets_come_back(tmp_path):
    made = FixedDimensionalEncoding().fit([X[:5], X[5:9]])
    made.save(tmp_path)
    again = load_artifact(tmp_path)
    assert isinstance(again, FixedDimensionalEncoding)
    np.testing.assert_array_equal(again.transform([X[9:12]]), made.transform([X[9:12]]))


def test_inverted_codecs_come_back(tmp_path):
    made = IVFCodec.train(np.repeat(X, 4, axis=0), lists=4, metric="l2")
    made.save(tmp_path)
    again = load_artifact(tmp_path)
    assert isinstance(again, IVFCodec)
    for first, second in zip(again.encode(X), made.encode(X), strict=True):
        np.testing.assert_array_equal(first, second)


def test_every_kind_that_is_written_has_a_class():
    wings = "transform|quantization|encoder|head|codebook"
    named = r"(?:_?KIND|    _kind(?:: ClassVar\[str\])?)"
    pattern = re.compile(rf'^{named} = "((?:{wings})\.[a-z0-9_.]+)"$', re.M)
    written = {kind for path in modules().values() for kind in pattern.findall(path.read_text(encoding="utf-8"))}
    # An exported transformer is no artefact of arrays; load_encoder reads it.
    assert set(ARTIFACT_CLASSES) == written - {"encoder.onnx"}
    assert set(ARTIFACT_CLASSES) == {*MADE, *ANSWERING, *OTHERWISE}


def test_the_guide_lists_every_kind():
    page = (SOURCE.parents[1] / "docs" / "guide" / "12-serving-without-torch.md").read_text(encoding="utf-8")
    for kind, place in ARTIFACT_CLASSES.items():
        assert re.search(rf"^\| `{re.escape(kind)}` \| `orthant\.\w+\.{place.rpartition('.')[2]}` \|$", page, re.M), (
            kind
        )


def test_what_cannot_be_loaded_is_told(tmp_path):
    with pytest.raises(NotFoundError, match="no artefact"):
        load_artifact(tmp_path)
    write_artifact(tmp_path / "other", kind="transform.sorcery", arrays={}, config={})
    with pytest.raises(InputError, match=r"transform\.sorcery.*transform\.leanvec"):
        load_artifact(tmp_path / "other")
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="load_encoder"):
        load_artifact(tmp_path)
    (tmp_path / "config.json").write_text("not JSON")
    (tmp_path / "arrays.safetensors").write_bytes(b"")
    with pytest.raises(StoreCorruptedError, match="not JSON"):
        load_artifact(tmp_path)
    (tmp_path / "config.json").write_text("[1]")
    with pytest.raises(StoreCorruptedError, match="without a format"):
        load_artifact(tmp_path)
