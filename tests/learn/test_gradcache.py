"""GradCache: the exact gradient, in the memory of a mini-batch."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from orthant.errors import InputError  # noqa: E402
from orthant.learn.gradcache import GradCache, count_rows, join_rows, take_rows  # noqa: E402
from orthant.learn.losses import ContrastiveLoss, ContrastiveSettings, LossOutput  # noqa: E402


class Tower(torch.nn.Module):
    def __init__(self, seed, dropout=0.0):
        super().__init__()
        torch.manual_seed(seed)
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(6, 16), torch.nn.Tanh(), torch.nn.Dropout(dropout), torch.nn.Linear(16, 4)
        ).double()

    def forward(self, x):
        return self.layers(x)


class Texts(torch.nn.Module):
    """A second kind of input: mappings with padding; several vectors per item come out."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(9)
        self.table = torch.nn.Embedding(12, 4).double()
        self.widths = []

    def forward(self, features):
        ids, mask = features["input_ids"], features["attention_mask"]
        self.widths.append(ids.shape[1])
        return {"tokens": self.table(ids), "mask": mask.bool()}


def gradients(*modules):
    return torch.cat([p.grad.flatten() for module in modules for p in module.parameters()])


def data(n=7):
    generator = torch.Generator().manual_seed(1)
    return {name: torch.randn(n, 6, generator=generator, dtype=torch.float64) for name in ("queries", "positives")}


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_gradient_is_that_of_the_whole_batch(size):
    results = []
    for cached in (False, True):
        towers = {"queries": Tower(0), "positives": Tower(1)}
        loss = ContrastiveLoss(ContrastiveSettings(temperature=0.3, learn_temperature=True)).double()
        if cached:
            output = GradCache(towers, loss, mini_batch_size=size)(data())
        else:
            output = loss({name: towers[name](x) for name, x in data().items()})
        assert isinstance(output, LossOutput)
        (3.0 * output.loss).backward()
        results.append((output.loss.detach(), gradients(*towers.values()), loss.log_scale.grad))
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)


def test_dropout_draws_the_same_masks_again():
    tower = Tower(0, dropout=0.5)
    drawn = []
    hook = tower.layers[2].register_forward_hook(lambda module, args, out: drawn.append(out.detach() == 0))
    torch.manual_seed(4)
    loss = GradCache(tower, ContrastiveLoss(), mini_batch_size=3)(data()).loss
    torch.rand(3)
    before = torch.get_rng_state()
    loss.backward()
    # What follows draws as if nothing had been replayed.
    assert torch.equal(torch.get_rng_state(), before)
    first, again = drawn[: len(drawn) // 2], drawn[len(drawn) // 2 :]
    assert len(first) == 6
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    hook.remove()


def test_dropout_gradient_is_exact():
    tower = Tower(0, dropout=0.5)
    inputs = data()
    torch.manual_seed(4)
    GradCache(tower, ContrastiveLoss(), mini_batch_size=3)(inputs).loss.backward()
    cached = gradients(tower)
    tower.zero_grad()
    torch.manual_seed(4)
    whole = {name: torch.cat([tower(x[i : i + 3]) for i in range(0, 7, 3)]) for name, x in inputs.items()}
    ContrastiveLoss()(whole).loss.backward()
    torch.testing.assert_close(cached, gradients(tower), rtol=0, atol=1e-12)


def test_only_one_mini_batch_keeps_its_graph():
    def peak(size, n):
        tower, live, high = Tower(0), 0, 0

        class Saved:
            def __init__(self, tensor):
                nonlocal live, high
                self.tensor = tensor
                live += tensor.numel()
                high = max(high, live)

            def __del__(self):
                nonlocal live
                live -= self.tensor.numel()

        def energy(batch):
            return batch["x"].square().mean()

        x = torch.randn(n, 6, dtype=torch.float64)
        with torch.autograd.graph.saved_tensors_hooks(Saved, lambda saved: saved.tensor):
            GradCache(tower, energy, mini_batch_size=size)({"x": x}).backward()
        return high

    weights = sum(p.numel() for p in Tower(0).parameters())
    # Activations of 8 rows at a time; beyond them only the embeddings, 4 numbers a row, grow with the batch.
    assert peak(8, 512) <= peak(8, 64) + 4 * 512
    assert peak(8, 512) < 8 * 64 + weights + 4 * 512 < peak(512, 512) / 4


def test_inputs_of_different_kinds_and_several_vectors_per_item():
    ids = torch.tensor([[1, 2, 3, 4], [5, 6, 0, 0], [7, 0, 0, 0]])
    texts = {"input_ids": ids, "attention_mask": (ids > 0).long(), "prompt_length": torch.tensor([1]), "task": "query"}
    images = torch.randn(5, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def loss(batch):
        tokens, mask = batch["text"]["tokens"], batch["text"]["mask"]
        assert tuple(tokens.shape) == (3, 4, 4)
        pooled = (tokens * mask.unsqueeze(-1)).sum(1)
        return (pooled @ batch["image"].T).logsumexp(1).mean() * batch["factor"]

    results = []
    for cached in (False, True):
        encoders = {"text": Texts(), "image": Tower(2)}
        if cached:
            value = GradCache(encoders, loss, mini_batch_size=1)(
                {"text": texts, "image": images}, fields={"factor": 2.0}
            )
        else:
            value = loss({"text": encoders["text"](texts), "image": encoders["image"](images), "factor": 2.0})
        value.backward()
        results.append((value.detach(), gradients(*encoders.values())))
    for whole, parts in zip(*results, strict=True):
        torch.testing.assert_close(parts, whole, rtol=0, atol=1e-12)
    # Short texts are not encoded at the width of the longest.
    assert encoders["text"].widths == [4, 2, 1] * 2


def test_embeddings_that_the_loss_does_not_use_are_not_encoded_again():
    calls = []

    def encode(x):
        calls.append(len(x))
        return tower(x)

    tower = Tower(0)
    value = GradCache(encode, lambda batch: batch["a"].sum(), mini_batch_size=4)(
        {"a": data()["queries"], "b": data(3)["queries"]}
    )
    value.backward()
    assert calls == [4, 3, 3, 4, 3]


def test_without_gradients_it_only_computes():
    tower = Tower(0)
    with torch.no_grad():
        output = GradCache(tower, ContrastiveLoss(), mini_batch_size=2)(data())
        whole = ContrastiveLoss()({name: tower(x) for name, x in data().items()})
    assert not output.loss.requires_grad
    assert output.loss.item() == pytest.approx(whole.loss.item(), abs=1e-12)


def test_encoding_again_keeps_the_precision_of_the_first_time():
    tower = torch.nn.Linear(6, 4)
    kinds = []

    def encode(x):
        out = tower(x)
        kinds.append(out.dtype)
        return out

    x = {name: value.float() for name, value in data().items()}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        loss = GradCache(encode, ContrastiveLoss(), mini_batch_size=4)(x).loss
    loss.backward()
    assert set(kinds) == {torch.bfloat16} and len(kinds) == 8


def test_rows_of_lists_tensors_and_mappings():
    assert [count_rows(x) for x in (["a", "b"], torch.ones(3, 1), {"pixel_values": torch.ones(4, 2)})] == [2, 3, 4]
    left = {"input_ids": torch.tensor([[0, 0, 5]]), "attention_mask": torch.tensor([[0, 0, 1]])}
    assert take_rows(left, 0, 1)["input_ids"].tolist() == [[0, 0, 5]]
    assert take_rows(["a", "b", "c"], 1, 3) == ["b", "c"]
    assert join_rows([torch.ones(1, 1, 2), torch.ones(2, 3, 2)]).sum(1)[:, 0].tolist() == [1.0, 3.0, 3.0]


@pytest.mark.parametrize(
    ("call", "match"),
    [
        (lambda: GradCache(Tower(0), ContrastiveLoss(), mini_batch_size=0), "mini_batch_size=0"),
        (lambda: GradCache({"a": Tower(0)}, ContrastiveLoss(), mini_batch_size=1)({"b": torch.ones(1)}), "'b' without"),
        (lambda: GradCache(Tower(0), ContrastiveLoss(), mini_batch_size=1)({"a": torch.ones(0, 6)}), "no rows in 'a'"),
        (lambda: GradCache(Tower(0), len, mini_batch_size=1)({"a": torch.ones(1)}, fields={"a": 1}), "both as inputs"),
        (lambda: count_rows(3), "inputs of type int"),
        (lambda: take_rows({"input_ids": torch.ones(2, 3), "flat": torch.ones(5)}, 0, 1), "flat with 5 rows beside 2"),
    ],
)
def test_bad_use_is_refused(call, match):
    with pytest.raises(InputError, match=match):
        call()
