"""Text losses: equal to sentence-transformers' own in their special cases, values and gradients."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("sentence_transformers")

from sentence_transformers import SentenceTransformer  # noqa: E402
from sentence_transformers.sentence_transformer import losses as theirs  # noqa: E402
from sentence_transformers.sentence_transformer.modules import Pooling, Transformer  # noqa: E402
from tokenizers import Tokenizer, models, pre_tokenizers, processors  # noqa: E402
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast  # noqa: E402

from orthant.errors import InputError  # noqa: E402
from orthant.learn.losses import (  # noqa: E402
    ContrastiveSettings,
    DistillationLoss,
    TextContrastiveLoss,
    TextDistillationLoss,
)
from orthant.learn.losses.text import text_ids  # noqa: E402

WORDS = ["north", "south", "east", "west", "storm", "calm", "light", "keeper", "ship", "rock", "wave", "gull"]
TEXTS = [
    ["north storm", "calm light keeper", "ship rock", "gull", "west wave calm"],
    ["storm east north wave", "light", "rock ship wave south", "gull gull east", "calm"],
    ["south calm", "storm ship", "keeper", "light north rock", "east"],
    ["west", "gull rock east storm", "light light", "wave", "ship north south"],
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A two-layer BERT with random weights and one token per word."""
    path = tmp_path_factory.mktemp("tiny")
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    special = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special).save_pretrained(path)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
        max_position_embeddings=16,
        # Far from the default of 0.02, so that texts differ and every gradient is of a size to be compared.
        initializer_range=0.5,
    )
    BertModel(config).save_pretrained(path)
    return path


def build(folder, *, seed=None):
    transformer = Transformer(str(folder), max_seq_length=12)
    model = SentenceTransformer(modules=[transformer, Pooling(32)], device="cpu")
    if seed is not None:
        torch.manual_seed(seed)
        transformer.auto_model.embeddings.word_embeddings.weight.data.normal_(std=2.0)
    # In float64 nothing but a difference of definition can show.
    return model.double().eval()


@pytest.fixture(scope="module")
def model(folder):
    return build(folder)


@pytest.fixture(scope="module")
def guide(folder):
    return build(folder, seed=3)


def features(model, columns=4):
    return [model.preprocess(texts) for texts in TEXTS[:columns]]


def outcome(model, loss, *, columns=4, labels=None, seed=None):
    """Value and all gradients of one step."""
    model.zero_grad()
    if seed is not None:
        torch.manual_seed(seed)
    value = loss(features(model, columns), labels)
    value.backward()
    return value.detach(), torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])


def assert_same(first, second):
    assert abs(first[0].item() - second[0].item()) < 1e-9
    assert second[1].abs().max().item() > 1e-3
    assert (first[1] - second[1]).abs().max().item() < 1e-9


def ours(model, *, guide=None, mini_batch_size=None, **settings):
    settings = ContrastiveSettings(**{"temperature": 0.05, **settings})
    return TextContrastiveLoss(model, settings, guide=guide, mini_batch_size=mini_batch_size, same_texts=False)


DIRECTIONS = {
    "query_to_doc": ["query_document", "query_hard", "query_other_hard"],
    "query_to_query": ["query_query"],
    "doc_to_query": ["document_query"],
    "doc_to_doc": ["document_document", "document_other_hard"],
}


@pytest.mark.parametrize("columns", [2, 3, 4])
@pytest.mark.parametrize(
    "directions", [(), ("query_to_query",), ("doc_to_query",), ("doc_to_doc",), tuple(DIRECTIONS)[1:]], ids=str
)
def test_w59_equals_multiple_negatives_ranking(model, directions, columns):
    directions = ("query_to_doc", *directions)
    blocks = [name for direction in directions for name in DIRECTIONS[direction]]
    reference = theirs.MultipleNegativesRankingLoss(model, directions=directions)
    for mini_batch_size in (None, 2):
        got = outcome(model, ours(model, blocks=blocks, mini_batch_size=mini_batch_size), columns=columns)
        assert_same(got, outcome(model, reference, columns=columns))


@pytest.mark.parametrize(
    ("mode", "on"), [("in_batch_negatives", "in_batch"), ("hard_negatives", "hard"), ("all_negatives", "all")]
)
def test_equals_its_hardness(model, mode, on):
    reference = theirs.MultipleNegativesRankingLoss(model, hardness_mode=mode, hardness_strength=5.0)
    assert_same(outcome(model, ours(model, hardness=5.0, hardness_on=on)), outcome(model, reference))


def test_equals_the_symmetric_form(model):
    both = ("query_to_doc", "doc_to_query")
    reference = theirs.MultipleNegativesRankingLoss(model, directions=both, partition_mode="per_direction")
    assert_same(outcome(model, ours(model, symmetric=True)), outcome(model, reference))


def test_equals_the_cached_form(model):
    reference = theirs.CachedMultipleNegativesRankingLoss(model, mini_batch_size=2)
    assert_same(outcome(model, ours(model, mini_batch_size=2, row_chunk=2)), outcome(model, reference))


@pytest.mark.parametrize(("kind", "margin"), [("absolute", 0.0), ("absolute", 0.05), ("relative", 0.05)])
def test_equals_gist(model, guide, kind, margin):
    blocks = ["query_document", "query_query", "document_document", "query_hard", "query_other_hard"]
    options = {"margin_strategy": kind, "margin": margin, "temperature": 0.1}
    settings = {"margin_kind": kind, "margin": margin, "temperature": 0.1, "blocks": blocks, "guide": guide}
    reference = outcome(model, theirs.GISTEmbedLoss(model, guide, **options), columns=3)
    got = outcome(model, ours(model, **settings), columns=3)
    assert_same(got, reference)
    # The guide does leave something out.
    assert abs(got[0] - outcome(model, ours(model, temperature=0.1, blocks=blocks), columns=3)[0]) > 1e-3
    cached = theirs.CachedGISTEmbedLoss(model, guide, mini_batch_size=2, **options)
    assert_same(outcome(model, ours(model, mini_batch_size=2, **settings)), outcome(model, cached))


def test_cached_gradient_is_the_uncached_one_under_the_same_dropout(folder):
    def step(mini_batch_size):
        model = build(folder).train()
        loss = ours(model, temperature=0.1, mini_batch_size=mini_batch_size)
        return outcome(model, loss, seed=5)

    # With mini-batches as long as the batch both draw the same masks, so only the replay could differ.
    assert_same(step(5), step(None))
    first, second = step(2), step(2)
    assert torch.equal(first[1], second[1])
    assert (first[1] - step(None)[1]).abs().max() > 1e-3


@pytest.mark.parametrize("mini_batch_size", [None, 2])
def test_works_inside_matryoshka(model, mini_batch_size):
    dims, weights = [32, 16, 8], [1.0, 0.3, 0.2]
    inner = ours(model, mini_batch_size=mini_batch_size, learn_temperature=True)
    reference = theirs.MatryoshkaLoss(model, theirs.MultipleNegativesRankingLoss(model), dims, weights)
    assert_same(outcome(model, theirs.MatryoshkaLoss(model, inner, dims, weights)), outcome(model, reference))
    plain = ours(model, learn_temperature=True)
    outcome(model, theirs.MatryoshkaLoss(model, plain, dims, weights))
    torch.testing.assert_close(inner.contrastive.log_scale.grad, plain.contrastive.log_scale.grad, rtol=1e-5, atol=0)


@pytest.mark.parametrize("wrapper", [theirs.AdaptiveLayerLoss, theirs.Matryoshka2dLoss])
def test_works_inside_losses_over_layers(model, wrapper):
    options = {"matryoshka_dims": [32, 8], "n_dims_per_step": -1} if wrapper is theirs.Matryoshka2dLoss else {}
    options["n_layers_per_step"] = -1
    reference = wrapper(model, theirs.MultipleNegativesRankingLoss(model), **options)
    assert_same(outcome(model, wrapper(model, ours(model), **options)), outcome(model, reference))


@pytest.mark.filterwarnings("ignore:AdaptiveLayerLoss is not compatible")
def test_mini_batches_inside_losses_over_layers_are_refused(model):
    loss = theirs.AdaptiveLayerLoss(model, ours(model, mini_batch_size=2))
    with pytest.raises(InputError, match="mini_batch_size inside AdaptiveLayerLoss"):
        outcome(model, loss)


def test_gradient_accumulation_reaches_encoder_and_temperature(model):
    loss = ours(model, mini_batch_size=2, learn_temperature=True)
    whole = outcome(model, loss)
    temperature = loss.contrastive.log_scale.grad.clone()
    model.zero_grad(), loss.contrastive.zero_grad()
    (loss(features(model)) / 4).backward()
    quarter = torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None])
    torch.testing.assert_close(quarter * 4, whole[1], rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(loss.contrastive.log_scale.grad * 4, temperature)


def test_evaluation_without_gradients_agrees(model):
    with torch.no_grad():
        cached = ours(model, mini_batch_size=2)(features(model))
        whole = ours(model)(features(model))
    assert cached.item() == pytest.approx(whole.item(), abs=1e-6)


def test_duplicate_texts_are_no_negatives(model):
    columns = [["north", "south", "east"], ["storm", "storm", "calm"], ["rock", "gull", "storm"]]
    made = [model.preprocess(texts) for texts in columns]
    settings = ContrastiveSettings(temperature=0.05)
    loss = TextContrastiveLoss(model, settings)
    got = loss(made).item()
    query, positive, negative = (model(dict(column))["sentence_embedding"].detach() for column in made)
    cosine = torch.nn.functional.normalize(query) @ torch.nn.functional.normalize(torch.cat([positive, negative])).T
    logits = cosine / 0.05
    # Rows 0 and 1 share a positive, which is also the third row's negative.
    for row, column in ((0, 1), (1, 0), (0, 5), (1, 5)):
        logits[row, column] = -torch.inf
    expected = torch.nn.functional.cross_entropy(logits, torch.arange(3)).item()
    assert got == pytest.approx(expected, abs=1e-5)
    assert loss.last_parts["negatives"] == pytest.approx((3 + 3 + 5) / 3)


def test_empty_texts_stand_for_absent_negatives(model):
    queries, positives = TEXTS[0][:2], TEXTS[1][:2]
    ragged = [model.preprocess(texts) for texts in (queries, positives, ["rock", "gull"], ["", "wave"])]
    loss = TextContrastiveLoss(model, ContrastiveSettings(in_batch=False), same_texts=False)
    value = loss(ragged)
    assert loss.last_parts["negatives"] == 1.5
    first = [model.preprocess(texts) for texts in (queries[:1], positives[:1], ["rock"])]
    second = [model.preprocess(texts) for texts in (queries[1:], positives[1:], ["gull"], ["wave"])]
    assert value.item() == pytest.approx((loss(first) + loss(second)).item() / 2, abs=1e-9)


def test_ids_of_texts_ignore_padding_and_keep_order_apart():
    ids = torch.tensor([[5, 6, 7, 0], [0, 5, 6, 7], [7, 6, 5, 0], [5, 6, 0, 0]])
    numbers = text_ids({"input_ids": ids, "attention_mask": (ids > 0).long()}).tolist()
    assert numbers[0] == numbers[1]
    assert len(set(numbers)) == 3 and min(numbers) >= 0
    flat = text_ids({"input_ids": torch.tensor([5, 6, 7, 7, 6, 5, 5, 6]), "offsets": torch.tensor([0, 3, 6])})
    assert flat.tolist() == [numbers[0], numbers[2], numbers[3]]
    assert text_ids({"pixel_values": torch.ones(2, 3)}) is None
    many = torch.randint(0, 50, (20_000, 8))
    assert len(set(text_ids({"input_ids": many}).tolist())) == len(many.unique(dim=0))


@pytest.mark.parametrize(
    ("meaning", "labels", "settings"),
    [
        ("weights", torch.tensor([1.0, 0.0, 2.0, 1.0, 1.0]), {}),
        ("teacher_scores", torch.tensor([[0.9, 0.5, 0.1]] * 5), {"soft_weight": 0.5}),
        ("targets", torch.tensor([[0.6, 0.3, 0.1]] * 5), {}),
        ("classes", torch.tensor([[0, 1, 2]] * 5), {}),
        ("classes", torch.tensor([0, 1, 0, 1, 0]), {"in_batch": False, "blocks": ["query_hard"]}),
    ],
)
def test_labels_reach_the_loss(model, meaning, labels, settings):
    settings = ContrastiveSettings(temperature=0.05, **settings)
    got = TextContrastiveLoss(model, settings, labels=meaning, same_texts=False)(features(model), labels)
    embeddings = [model(column)["sentence_embedding"] for column in features(model)]
    fields = {meaning: labels}
    if meaning == "classes":
        fields = {"labels": labels if labels.ndim == 1 else labels[:, 0]}
        fields |= {"negative_labels": labels[:, 1:]} if labels.ndim > 1 else {}
    from orthant.learn.losses import ContrastiveLoss

    negatives = torch.stack(embeddings[2:], 1)
    batch = {"queries": embeddings[0], "positives": embeddings[1], "negatives": negatives, **fields}
    assert got.item() == pytest.approx(ContrastiveLoss(settings)(batch).loss.item(), abs=1e-6)
    with pytest.raises(InputError, match="no labels"):
        TextContrastiveLoss(model, settings, labels=meaning)(features(model))


def test_equals_distillation_of_candidates(model):
    labels = torch.tensor([[3.0, 1.0, 0.5]] * 5, dtype=torch.float64)
    got = TextDistillationLoss(model, DistillationLoss(student_temperature=2.0, teacher_temperature=0.5))
    from sentence_transformers.util import pairwise_cos_sim

    reference = theirs.DistillKLDivLoss(model, pairwise_cos_sim, student_temperature=2.0, teacher_temperature=0.5)
    first, second = outcome(model, got, labels=labels), outcome(model, reference, labels=labels)
    # Theirs is multiplied by the square of the student's temperature.
    assert_same((first[0] * 4, first[1] * 4), second)
    margin = TextDistillationLoss(model, DistillationLoss("margin_mse"))
    reference = theirs.MarginMSELoss(model, pairwise_cos_sim)
    assert_same(outcome(model, margin, labels=labels), outcome(model, reference, labels=labels))


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda m: TextContrastiveLoss(m, ContrastiveSettings(margin=0.1)), "a margin without a guide"),
        (lambda m: TextContrastiveLoss(m, guide=m), "a guide without a margin"),
        (lambda m: TextContrastiveLoss(m, mini_batch_size=0), "mini_batch_size"),
        (lambda m: TextContrastiveLoss(m, labels="scores"), "teacher_scores"),
        (lambda m: TextContrastiveLoss(m)(features(m, 1)), "1 columns of texts"),
        (lambda m: TextDistillationLoss(m)(features(m, 2), torch.ones(5, 1)), "2 columns of texts"),
        (lambda m: TextDistillationLoss(m, normalize=True), "normalize without"),
        (
            lambda m: TextContrastiveLoss(m, ContrastiveSettings(in_batch=False))(features(m, 2)),
            "no negatives with in_batch=False",
        ),
    ],
)
def test_bad_use_is_refused(model, make, match):
    with pytest.raises(InputError, match=match):
        make(model)


def test_the_trainer_s_card_gets_what_differs(model):
    loss = TextContrastiveLoss(model, ContrastiveSettings(temperature=0.02), mini_batch_size=3, same_texts=False)
    assert loss.get_config_dict() == {"temperature": 0.02, "mini_batch_size": 3, "labels": "ignored"}
