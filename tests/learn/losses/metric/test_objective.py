from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from learn.losses.metric.batches import batch  # noqa: E402
from orthant.errors import InputError  # noqa: E402
from orthant.learn.losses.metric import (  # noqa: E402
    CoSENTLoss,
    HardMiner,
    MetricObjective,
    ProxyAnchorLoss,
    TextMetricLoss,
    TripletLoss,
)


class Encoder(torch.nn.Module):
    def forward(self, features):
        return {"sentence_embedding": features["x"]}


def test_the_objective_embeds_mines_and_hands_on():
    rows, labels = batch(dtype=torch.float32)
    model = torch.nn.Linear(8, 4)
    loss, miner = TripletLoss(), HardMiner()
    found = MetricObjective(model, loss, inputs="x", labels="y", miner=miner)({"x": rows, "y": labels})
    embeddings = model(rows)
    assert found.loss.item() == loss(embeddings, labels, pairs=miner(embeddings, labels)).loss.item()
    assert found.loss.item() != loss(embeddings, labels).loss.item()
    found.loss.backward()
    assert model.weight.grad.abs().max() > 0
    with pytest.raises(InputError, match="a batch with 'x'; expected 'labels' among them"):
        MetricObjective(model, loss, inputs="x")({"x": rows})


def test_training_separates_classes():
    torch.manual_seed(0)
    labels = torch.arange(60) % 3
    rows = torch.nn.functional.one_hot(labels, 3).float() * 2 + torch.randn(60, 3)
    rows = torch.cat([rows, torch.randn(60, 5)], dim=1)
    model = torch.nn.Linear(8, 4)
    objective = MetricObjective(model, ProxyAnchorLoss(3, 4))
    optimiser = torch.optim.Adam(objective.parameters(), lr=0.05)
    values = []
    for _ in range(60):
        output = objective({"inputs": rows, "labels": labels})
        optimiser.zero_grad()
        output.loss.backward()
        optimiser.step()
        values.append(output.loss.item())
    assert values[-1] < 0.7 * values[0]
    assert output.parts["accuracy"] > 0.6


def test_columns_decide_what_is_compared():
    embeddings, labels = batch(rows=12, classes=3)
    scores = torch.linspace(0, 1, 6, dtype=torch.float64)
    one = TextMetricLoss(Encoder(), TripletLoss())([{"x": embeddings}], labels)
    assert one.item() == TripletLoss()(embeddings, labels).loss.item()
    two = TextMetricLoss(Encoder(), CoSENTLoss())([{"x": embeddings[::2]}, {"x": embeddings[1::2]}], scores)
    assert two.item() == pytest.approx(CoSENTLoss()(embeddings, scores).loss.item(), rel=1e-12)
    wrapped = TextMetricLoss(Encoder(), TripletLoss(margin=0.5, average="all"))
    three = wrapped([{"x": embeddings[i::3]} for i in range(3)])
    unit = torch.nn.functional.normalize(embeddings)
    near, far = ((1 - (unit[0::3] * unit[i::3]).sum(dim=1)) for i in (1, 2))
    assert three.item() == pytest.approx(torch.relu(near - far + 0.5).mean().item(), rel=1e-12)
    assert set(wrapped.parts) == {"active"}
    with pytest.raises(InputError, match="4 text columns"):
        wrapped([{"x": embeddings}] * 4)
