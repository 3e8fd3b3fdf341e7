"""The contrastive loss against brute force in NumPy float64, and every mechanism against its absence."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from orthant.errors import DimensionError, DtypeError, InputError, NonFiniteError  # noqa: E402
from orthant.learn.losses import ContrastiveLoss, ContrastiveSettings, mix_negatives  # noqa: E402
from orthant.learn.losses.blocks import BLOCKS  # noqa: E402

B, M, D = 5, 3, 7
JOINT = [name for name in BLOCKS if name not in ("query_mixed", "query_queue")]


def batch(seed=0, *, dtype=torch.float64, negatives=True):
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype).requires_grad_()

    out = {"queries": draw(B, D), "positives": draw(B, D)}
    return {**out, "negatives": draw(B, M, D)} if negatives else out


def value(fields, **settings):
    return ContrastiveLoss(ContrastiveSettings(**settings))(fields).loss


def arrays(fields):
    unit = {}
    for name, tensor in fields.items():
        x = tensor.detach().numpy().astype(np.float64)
        unit[name] = x / np.linalg.norm(x, axis=-1, keepdims=True)
    return unit["queries"], unit["positives"], unit.get("negatives")


def brute_force(fields, blocks, *, tau, related=None, negative_related=None, there=None):
    """- log softmax of the positive, entry by entry, with the blocks as their definitions read."""
    q, p, n = arrays(fields)
    related = np.zeros((B, B), bool) if related is None else related
    negative_related = np.zeros((B, B, M), bool) if negative_related is None else negative_related
    there = np.ones((B, M), bool) if there is None else there
    losses = []
    for i in range(B):
        positive = q[i] @ p[i] / tau
        terms = [positive]
        for name, weight in blocks.items():
            for j in range(B):
                if j != i and not related[i, j]:
                    pair = {
                        "query_document": (q[i], p[j]),
                        "query_query": (q[i], q[j]),
                        "document_document": (p[i], p[j]),
                        "document_query": (p[i], q[j]),
                    }.get(name)
                    if pair:
                        terms.append(pair[0] @ pair[1] / tau + weight)
                for k in range(M):
                    own = j == i
                    left = {"query_hard": q[i], "query_other_hard": q[i], "document_other_hard": p[i]}.get(name)
                    if left is None or own != (name == "query_hard") or not there[j, k] or negative_related[i, j, k]:
                        continue
                    terms.append(left @ n[j, k] / tau + weight)
        if "document_query" in blocks:
            terms.append(positive)
        losses.append(np.log(np.sum(np.exp(terms))) - positive)
    return np.mean(losses)


@pytest.mark.parametrize("name", JOINT)
def test_w59_each_block_is_its_definition(name):
    fields = batch()
    got = value(fields, temperature=0.3, blocks={name: 0.7}, in_batch=name != "query_hard")
    assert got.item() == pytest.approx(brute_force(fields, {name: 0.7}, tau=0.3), abs=1e-12)


def test_all_blocks_together_with_ragged_negatives():
    fields, there = batch(1), np.random.default_rng(0).random((B, M)) < 0.6
    weights = {name: 0.1 * i for i, name in enumerate(JOINT)}
    got = value({**fields, "negative_mask": torch.from_numpy(there)}, temperature=0.2, blocks=weights)
    assert got.item() == pytest.approx(brute_force(fields, weights, tau=0.2, there=there), abs=1e-12)


def test_gradients_are_those_of_the_value():
    fields = batch(2)
    names = list(fields)

    def loss(*tensors):
        given = dict(zip(names, tensors, strict=True))
        settings = {"blocks": JOINT, "hardness": 0.0, "focal_gamma": 0.5, "focal_detach": False}
        return value(given, temperature=0.5, **settings)

    assert torch.autograd.gradcheck(loss, tuple(fields.values()), fast_mode=True)


def test_chunks_of_rows_change_neither_value_nor_gradient():
    results = []
    for chunk in (None, 2):
        fields = batch(3)
        loss = value(fields, blocks=JOINT, row_chunk=chunk, focal_gamma=1.0)
        loss.backward()
        results.append([loss, *(t.grad for t in fields.values())])
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(whole, parts, rtol=0, atol=1e-12)


def test_chunks_of_rows_keep_no_matrix_of_all_pairs():
    def largest(chunk):
        sizes = []
        fields = {"queries": torch.randn(64, 4, requires_grad=True), "positives": torch.randn(64, 4)}
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            value(fields, row_chunk=chunk)
        return max(sizes)

    assert largest(None) >= 64 * 64 > 64 * 8 >= largest(8)


def test_a_saturated_row_keeps_its_digits():
    angle = torch.tensor([0.0, 1.2])
    x = torch.stack([angle.cos(), angle.sin()], 1)
    got = value({"queries": x, "positives": x}, temperature=0.02)
    exact = np.log1p(np.exp((np.cos(1.2) - 1.0) / 0.02))
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(exact, rel=1e-4)
    assert got.item() > 0


def test_half_precision_is_compared_in_float32():
    fields = {name: t.detach() for name, t in batch(4, dtype=torch.float32).items()}
    half = {name: t.bfloat16() for name, t in fields.items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = value(half)
    assert got.dtype == torch.float32
    assert got.item() == pytest.approx(value({name: t.float() for name, t in half.items()}).item(), abs=1e-6)


def test_symmetric_is_the_mean_of_both_directions():
    fields = batch(5)
    swapped = {"queries": fields["positives"], "positives": fields["queries"]}
    both = 0.5 * (value(fields) + value(swapped, blocks=["query_document"]))
    assert value(fields, symmetric=True).item() == pytest.approx(both.item(), abs=1e-12)


@pytest.mark.parametrize("what", ["query_ids", "positive_ids", "labels", "known_ids"])
def test_related_rows_are_no_negatives(what):
    fields = batch(6)
    ids = torch.tensor([4, 9, 4, -1, -1])
    related = np.zeros((B, B), bool)
    related[0, 2] = related[2, 0] = True
    extra = {what: ids}
    if what == "known_ids":
        extra = {"positive_ids": torch.arange(10, 15), "known_ids": torch.tensor([[12], [-1], [10], [-1], [-1]])}
    if what == "labels":
        extra["negative_labels"] = torch.full((B, M), -1)
    blocks = dict.fromkeys(JOINT, 0.0)
    expected = brute_force(fields, blocks, tau=0.2, related=related)
    assert value({**fields, **extra}, temperature=0.2, blocks=JOINT).item() == pytest.approx(expected, abs=1e-12)
    assert abs(value(fields, temperature=0.2, blocks=JOINT).item() - expected) > 1e-4


@pytest.mark.parametrize("what", ["negative_ids", "negative_labels"])
def test_related_hard_negatives_are_left_out_of_every_block(what):
    fields = batch(7)
    own = torch.arange(B)
    of_negatives = torch.full((B, M), -1)
    of_negatives[1, 2], of_negatives[3, 0] = 1, 0
    related = np.zeros((B, B, M), bool)
    related[1, 1, 2] = related[0, 3, 0] = True
    other = {"negative_ids": "positive_ids", "negative_labels": "labels"}[what]
    got = value({**fields, what: of_negatives, other: own}, temperature=0.2, blocks=JOINT)
    expected = brute_force(fields, dict.fromkeys(JOINT, 0.0), tau=0.2, negative_related=related)
    assert got.item() == pytest.approx(expected, abs=1e-12)


def test_a_document_equal_to_the_query_is_left_out_where_ids_are_shared():
    fields = batch(8, negatives=False)
    ids = {"query_ids": torch.tensor([1, 2, 3, 4, 5]), "positive_ids": torch.tensor([6, 1, 7, 8, 9])}
    related = np.zeros((B, B), bool)
    related[0, 1] = related[1, 0] = True
    expected = brute_force(fields, {"query_document": 0.0}, tau=0.05, related=related)
    assert value({**fields, **ids}, shared_ids=True).item() == pytest.approx(expected, abs=1e-12)
    assert value({**fields, **ids}).item() == pytest.approx(value(fields).item(), abs=1e-12)


def test_a_row_of_the_same_class_changes_nothing_for_the_others():
    fields = {name: t.detach() for name, t in batch(9, negatives=False).items()}
    labels = torch.tensor([0, 1, 2, 3, 0])
    first = {name: t[:4] for name, t in fields.items()}
    # Only the first row counts; the fifth is of its class.
    weights = torch.tensor([1.0, 0.0, 0.0, 0.0, 0.0])
    alone = value({**first, "labels": labels[:4], "weights": weights[:4]}, temperature=1.0).item() * 4
    masked = value({**fields, "labels": labels, "weights": weights}, temperature=1.0).item() * 5
    unmasked = value({**fields, "weights": weights}, temperature=1.0).item() * 5
    assert masked == pytest.approx(alone, abs=1e-12)
    assert unmasked > alone + 0.01


def test_related_rows_can_share_the_target():
    fields, labels = batch(10, negatives=False), torch.tensor([0, 1, 0, 0, 2])
    q, p, _ = arrays(fields)
    logits = q @ p.T / 0.3
    log_share = logits - np.log(np.exp(logits).sum(1, keepdims=True))
    same = labels.numpy()[:, None] == labels.numpy()[None]
    expected = np.mean([-log_share[i][same[i]].mean() for i in range(B)])
    got = value({**fields, "labels": labels}, temperature=0.3, related="positive")
    assert got.item() == pytest.approx(expected, abs=1e-12)


def test_targets_spread_over_the_row_s_own_negatives():
    fields = batch(11)
    targets = torch.softmax(torch.randn(B, 1 + M, generator=torch.Generator().manual_seed(0), dtype=torch.float64), 1)
    q, p, n = arrays(fields)
    logits = np.concatenate([(q * p).sum(1)[:, None], np.einsum("nd,nmd->nm", q, n)], 1) / 0.2
    expected = -(targets.numpy() * (logits - np.log(np.exp(logits).sum(1, keepdims=True)))).sum(1).mean()
    got = value({**fields, "targets": targets}, temperature=0.2, in_batch=False)
    assert got.item() == pytest.approx(expected, abs=1e-12)
    one_hot = torch.eye(1 + M, dtype=torch.float64)[[0] * B]
    assert value({**fields, "targets": one_hot}).item() == pytest.approx(value(fields).item(), abs=1e-12)


def test_soft_weight_mixes_in_the_teacher():
    fields = batch(12)
    teacher = torch.randn(B, 1 + M, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    q, p, n = arrays(fields)
    scores = np.concatenate([(q * p).sum(1)[:, None], np.einsum("nd,nmd->nm", q, n)], 1) / 0.1

    def log_softmax(x):
        return x - np.log(np.exp(x).sum(1, keepdims=True))

    t = log_softmax(teacher.numpy() / 0.5)
    divergence = (np.exp(t) * (t - log_softmax(scores))).sum(1).mean()
    settings = {"soft_weight": 0.25, "teacher_temperature": 0.5, "student_temperature": 0.1}
    got = value({**fields, "teacher_scores": teacher}, **settings)
    assert got.item() == pytest.approx(0.75 * value(fields).item() + 0.25 * divergence, abs=1e-12)


def focal(fields, gamma, detach=True):
    return value(fields, temperature=0.5, focal_gamma=gamma, focal_detach=detach)


def test_w59_focal_weight_is_its_equation_and_moves_the_gradient_to_hard_rows():
    fields = batch(13, negatives=False)
    q, p, _ = arrays(fields)
    logits = q @ p.T / 0.5
    rows = np.log(np.exp(logits).sum(1)) - np.diag(logits)
    assert focal(fields, 0.5).item() == pytest.approx(np.mean((1 - np.exp(-rows)) ** 0.5 * rows), abs=1e-12)
    shares = []
    for gamma in (0.0, 0.5):
        fields = batch(13, negatives=False)
        focal(fields, gamma).backward()
        norms = fields["queries"].grad.norm(dim=1)
        shares.append((norms[int(rows.argmax())] / norms.sum()).item())
    assert shares[1] > shares[0]


def test_focal_weight_is_a_constant_unless_asked():
    gradients = []
    for detach in (True, False):
        fields = batch(14)
        focal(fields, 1.0, detach).backward()
        gradients.append(fields["queries"].grad)
    assert (gradients[0] - gradients[1]).abs().max() > 1e-4


@pytest.mark.parametrize("kind", ["absolute", "relative"])
def test_self_margin_leaves_out_what_scores_too_close(kind):
    fields = batch(15, negatives=False)
    q, p, _ = arrays(fields)
    s = q @ p.T
    limit = np.diag(s) - (0.1 if kind == "absolute" else 0.1 * np.abs(np.diag(s)))
    related = s > limit[:, None]
    expected = brute_force(fields, {"query_document": 0.0}, tau=0.05, related=related)
    got = value(fields, margin=0.1, margin_kind=kind, margin_source="self")
    assert 0 < related.sum() - B < B * (B - 1)
    assert got.item() == pytest.approx(expected, abs=1e-12)


def test_a_teacher_s_scores_judge_own_negatives():
    fields = batch(16)
    scores = torch.full((B, 1 + M), 0.5, dtype=torch.float64)
    scores[:, 0], scores[2, 1] = 0.8, 0.77
    related = np.zeros((B, B, M), bool)
    related[2, 2, 0] = True
    settings = {"margin": 0.05, "margin_kind": "relative", "margin_source": "teacher"}
    expected = brute_force(fields, dict.fromkeys(BLOCKS[:3], 0.0), tau=0.05, negative_related=related)
    got = value({**fields, "teacher_scores": scores}, **settings)
    assert got.item() == pytest.approx(expected, abs=1e-12)


def test_hardest_keeps_the_largest_logits():
    fields = batch(17)
    q, p, n = arrays(fields)
    losses = []
    for i in range(B):
        others = np.concatenate([np.delete(q[i] @ p.T, i), (n @ q[i]).ravel()]) / 0.05
        positive = q[i] @ p[i] / 0.05
        kept = np.sort(others)[-4:]
        losses.append(np.log(np.exp(positive) + np.exp(kept).sum()) - positive)
    assert value(fields, hardest=4).item() == pytest.approx(np.mean(losses), abs=1e-12)


def test_w59_queue_holds_earlier_documents_first_in_first_out():
    loss = ContrastiveLoss(ContrastiveSettings(queue_size=7, temperature=0.3))
    first, second, third = (batch(seed, negatives=False) for seed in (18, 19, 20))
    loss(first), loss(second)
    unit = [f["positives"].detach() / f["positives"].detach().norm(dim=1, keepdim=True) for f in (first, second)]
    expected_queue = torch.cat(unit)[-7:]
    torch.testing.assert_close(loss.queue, expected_queue)
    q, p, _ = arrays(third)
    logits = np.concatenate([q @ p.T, q @ expected_queue.numpy().T], 1) / 0.3
    expected = np.mean(np.log(np.exp(logits).sum(1)) - np.diag(q @ p.T) / 0.3)
    assert loss.eval()(third).loss.item() == pytest.approx(expected, abs=1e-12)
    torch.testing.assert_close(loss.queue, expected_queue)
    again = ContrastiveLoss(loss.settings)
    again.load_state_dict(loss.state_dict())
    assert again.eval()(third).loss.item() == pytest.approx(expected, abs=1e-12)


def test_queue_knows_duplicates_and_takes_entries_of_a_momentum_copy():
    loss = ContrastiveLoss(ContrastiveSettings(queue_size=5))
    fields = batch(21, negatives=False)
    ids = torch.arange(B)
    entries = torch.randn(B, D, dtype=torch.float64)
    loss({**fields, "positive_ids": ids, "queue_entries": entries})
    torch.testing.assert_close(loss.queue, torch.nn.functional.normalize(entries, dim=1))
    plain = value(fields)
    loss.eval()
    with_all = loss({**fields, "positive_ids": ids + 100}).loss
    without_own = loss({**fields, "positive_ids": ids}).loss
    assert plain < without_own < with_all


def test_mixed_negatives_lie_between_their_parents_and_pass_gradients():
    torch.manual_seed(0)
    h = torch.nn.functional.normalize(torch.randn(4, 2, 5, dtype=torch.float64), dim=-1).requires_grad_()
    mixed, there = mix_negatives(torch.zeros(4, 5), h, torch.ones(4, 2, dtype=torch.bool), count=3)
    assert there.all()
    torch.testing.assert_close(mixed.norm(dim=-1), torch.ones(4, 3, dtype=torch.float64))
    a, b = h[:, :1], h[:, 1:]
    between = (mixed * a).sum(-1).arccos() + (mixed * b).sum(-1).arccos()
    torch.testing.assert_close(between, (a * b).sum(-1).arccos().expand(4, 3))
    sums, _ = mix_negatives(torch.zeros(4, 5), h, torch.ones(4, 2, dtype=torch.bool), normalize=False)
    sums.sum().backward()
    # The shares of both parents sum to 1, so do the gradients.
    torch.testing.assert_close(h.grad.sum(1), torch.ones(4, 5, dtype=torch.float64))


def test_list_mixture_is_the_softmax_of_similarity():
    q, h = torch.randn(3, 5, dtype=torch.float64), torch.randn(3, 4, 5, dtype=torch.float64)
    mask = torch.tensor([[True] * 4, [True, True, False, False], [True, False, False, False]])
    mixed, there = mix_negatives(q, h, mask, how="list", count=2, temperature=0.7, normalize=False)
    logits = torch.einsum("nd,nmd->nm", q, h).masked_fill(~mask, -torch.inf) / 0.7
    torch.testing.assert_close(mixed[:, 0], torch.einsum("nm,nmd->nd", logits.softmax(1), h))
    assert there.tolist() == [[True] * 2, [True] * 2, [False] * 2]
    assert (mixed[:2, 0] - mixed[:2, 1]).abs().max() > 1e-6


def test_mixing_adds_negatives_of_true_negatives_only():
    fields = batch(22)
    output = ContrastiveLoss(ContrastiveSettings(in_batch=False, mix="pair", n_mixed=2))(fields)
    assert output.parts["negatives"] == M + 2
    assert output.loss > value(fields, in_batch=False)
    duplicates = {"positive_ids": torch.arange(B), "negative_ids": torch.arange(B)[:, None].expand(B, M).clone()}
    duplicates["negative_ids"][:, 0] = -1
    left = ContrastiveLoss(ContrastiveSettings(in_batch=False, mix="pair"))({**fields, **duplicates})
    assert left.parts["negatives"] == 1


def test_hardness_adds_a_constant_to_the_chosen_logits():
    fields = batch(23)
    base = value(fields, temperature=0.5).item()
    values = {
        on: value(fields, temperature=0.5, hardness=5.0, hardness_on=on).item() for on in ("in_batch", "hard", "all")
    }
    assert len({round(v, 9) for v in (base, *values.values())}) == 4


def test_a_row_without_negatives_counts_as_zero_with_zero_gradient():
    fields = batch(24, negatives=False)
    output = ContrastiveLoss()({**fields, "labels": torch.zeros(B, dtype=torch.int64)})
    output.loss.backward()
    assert output.loss.item() == 0.0
    assert output.parts["rows_without_negatives"] == B
    assert fields["queries"].grad.abs().max() == 0.0
    single = {name: t.detach()[:1].requires_grad_() for name, t in fields.items()}
    value(single, blocks=JOINT[:3]).backward()
    assert single["queries"].grad.abs().max() == 0.0
    with pytest.raises(InputError, match="rows without any negative"):
        value({**fields, "labels": torch.zeros(B, dtype=torch.int64)}, empty_rows="error")


def test_a_learned_temperature_learns_and_stops_at_its_floor():
    fields = batch(25)
    loss = ContrastiveLoss(ContrastiveSettings(temperature=0.5, learn_temperature=True, min_temperature=0.1)).double()
    loss(fields).loss.backward()
    with torch.no_grad():
        step = 1e-6
        up = ContrastiveLoss(ContrastiveSettings(temperature=0.5 * np.exp(-step)))(fields).loss
        down = ContrastiveLoss(ContrastiveSettings(temperature=0.5 * np.exp(step)))(fields).loss
    assert loss.log_scale.grad.item() == pytest.approx(((up - down) / (2 * step)).item(), rel=1e-6)
    with torch.no_grad():
        loss.log_scale.fill_(100.0)
    assert loss.temperature == pytest.approx(0.1)


def test_figures_describe_the_batch():
    x = torch.eye(4)
    parts = ContrastiveLoss(ContrastiveSettings(temperature=1.0))({"queries": x, "positives": x}).parts
    assert parts["accuracy"] == 1.0
    assert parts["negatives"] == 3.0
    assert parts["positive_probability"] == pytest.approx(np.e / (np.e + 3), abs=1e-6)
    collapsed = torch.ones(4, 2)
    assert ContrastiveLoss()({"queries": collapsed, "positives": collapsed}).parts["accuracy"] == 0.0


@pytest.mark.parametrize(
    ("settings", "match"),
    [
        ({"temperature": 0.0}, "temperature=0.0"),
        ({"temperature": -1.0}, "temperature=-1.0"),
        ({"temperature": float("nan")}, "temperature=nan"),
        ({"focal_gamma": -0.5}, "focal_gamma"),
        ({"soft_weight": 1.5}, "soft_weight"),
        ({"blocks": ["query_doc"]}, "query_document"),
        ({"blocks": []}, "no blocks"),
        ({"in_batch": False, "blocks": ["query_query"]}, "in_batch=False"),
        ({"in_batch": False, "symmetric": True}, "symmetric"),
        ({"symmetric": True, "blocks": ["document_query"]}, "second softmax"),
        ({"blocks": ["query_mixed"]}, "without mix"),
        ({"blocks": ["query_queue"]}, "without queue"),
        ({"hardest": 0}, "hardest"),
        ({"margin_kind": "percent"}, "margin_kind"),
    ],
)
def test_bad_settings_are_refused(settings, match):
    with pytest.raises(InputError, match=match):
        ContrastiveSettings(**settings)


def nan(tensor):
    out = tensor.detach().clone()
    out[1, 0] = float("nan")
    return out


@pytest.mark.parametrize(
    ("change", "settings", "error", "match"),
    [
        (lambda f: {"negatives": None}, {"in_batch": False}, InputError, "no negatives with in_batch=False"),
        (lambda f: {"queries": None}, {}, InputError, "without .'queries'"),
        (lambda f: {"negative": f["negatives"]}, {}, InputError, "batch fields .'negative'"),
        (lambda f: {"positives": f["positives"][:-1]}, {}, DimensionError, "positives of shape"),
        (lambda f: {"positives": f["positives"][:, :-1]}, {}, DimensionError, "positives of shape"),
        (lambda f: {"negatives": f["negatives"][:, 0]}, {}, DimensionError, "negatives of shape"),
        (lambda f: {"positives": f["positives"].to("meta")}, {}, InputError, "positives on meta"),
        (lambda f: {"positives": f["positives"].tolist()}, {}, DtypeError, "positives of type list"),
        (lambda f: {"queries": nan(f["queries"])}, {}, NonFiniteError, "queries with NaN or infinity in 1 row.s.: 1"),
        (lambda f: {"negative_mask": torch.ones(B, 2)}, {}, DimensionError, "negative_mask"),
        (lambda f: {"negatives": None, "negative_mask": torch.ones(B, M)}, {}, InputError, "without negatives"),
        (lambda f: {"queries": f["queries"].tolist()}, {}, DtypeError, "queries of type list"),
        (lambda f: {"query_ids": torch.zeros(B)}, {}, DtypeError, "query_ids of dtype"),
        (lambda f: {"labels": torch.zeros(B, dtype=torch.int64)}, {}, InputError, "negative_labels"),
        (lambda f: {"targets": torch.ones(B, 1 + M)}, {}, InputError, "no distribution in rows"),
        (
            lambda f: {"targets": torch.eye(1 + M)[[1] * B], "negative_mask": torch.zeros(B, M)},
            {},
            InputError,
            "absent",
        ),
        (lambda f: {}, {"soft_weight": 0.5}, InputError, "no teacher_scores"),
        (lambda f: {"teacher_scores": torch.ones(B, 1 + M)}, {}, InputError, "without use"),
        (lambda f: {}, {"margin": 0.1}, InputError, "without a guide"),
        (lambda f: {"guide_queries": f["queries"]}, {}, InputError, "guide embeddings without use"),
        (lambda f: {"guide_queries": f["queries"]}, {"margin": 0.1}, InputError, "guide embeddings of"),
        (lambda f: {"negatives": f["negatives"][:, :1]}, {"mix": "pair"}, InputError, "at least two to mix"),
        (lambda f: {"negatives": None}, {"mix": "pair"}, InputError, "mix without negatives"),
    ],
)
def test_bad_batches_are_refused(change, settings, error, match):
    fields = batch(26)
    with pytest.raises(error, match=match):
        value({**fields, **change(fields)}, **settings)


def test_a_queue_refuses_another_dimension():
    loss = ContrastiveLoss(ContrastiveSettings(queue_size=4))
    loss(batch(27, negatives=False))
    with pytest.raises(DimensionError, match="queue_size=0"):
        loss({"queries": torch.ones(2, 3), "positives": torch.ones(2, 3)})
