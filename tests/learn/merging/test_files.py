"""Safetensors, a tensor at a time: what is read and written is what the library reads and writes."""

import json

import pytest

torch = pytest.importorskip("torch")

from orthant.errors import InputError, NotFoundError, StoreCorruptedError  # noqa: E402
from orthant.learn.merging.files import TensorFileWriter, read_header, read_tensor, weight_files  # noqa: E402


def _tensors():
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(3, 5, generator=generator)
    return {
        "f64": values.double(),
        "f32": values,
        "f16": values.half(),
        "bf16": values.bfloat16(),
        "i64": torch.arange(7),
        "u8": torch.arange(3, dtype=torch.uint8),
        "bool": values > 0,
        "scalar": torch.tensor(2.5),
        "empty": torch.empty(0, 4),
    }


def test_reads_what_the_library_wrote(tmp_path):
    from safetensors.torch import save_file

    tensors = _tensors()
    save_file(tensors, tmp_path / "model.safetensors", metadata={"format": "pt"})
    entries, notes = read_header(tmp_path / "model.safetensors")
    assert notes == {"format": "pt"} and set(entries) == set(tensors)
    for name, entry in entries.items():
        found = read_tensor(entry)
        assert found.dtype == tensors[name].dtype and torch.equal(found, tensors[name])


def test_the_library_reads_what_was_written(tmp_path):
    from safetensors.torch import load_file

    tensors = _tensors()
    layout = {name: (tensor.dtype, tuple(tensor.shape)) for name, tensor in tensors.items()}
    with TensorFileWriter(tmp_path / "w.safetensors", layout) as file:
        for name, tensor in tensors.items():
            file.write(name, tensor)
    found = load_file(tmp_path / "w.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]


def test_a_mapping_is_private(tmp_path):
    from safetensors.torch import save_file

    save_file({"w": torch.ones(4)}, tmp_path / "m.safetensors")
    entry = read_header(tmp_path / "m.safetensors")[0]["w"]
    read_tensor(entry).fill_(7.0)
    assert read_tensor(entry).tolist() == [1.0] * 4


def test_an_error_while_writing_leaves_nothing(tmp_path):
    with (
        pytest.raises(InputError, match="in the order"),
        TensorFileWriter(tmp_path / "w.safetensors", {"a": (torch.float32, (1,)), "b": (torch.float32, (1,))}) as file,
    ):
        file.write("b", torch.ones(1))
    with (
        pytest.raises(InputError, match="no values"),
        TensorFileWriter(tmp_path / "w.safetensors", {"a": (torch.float32, (1,))}),
    ):
        pass
    with (
        pytest.raises(InputError, match="Convert it first"),
        TensorFileWriter(tmp_path / "w.safetensors", {"a": (torch.float32, (1,))}) as file,
    ):
        file.write("a", torch.ones(2))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "damage",
    [
        lambda data: data[:5],
        lambda data: (10**9).to_bytes(8, "little") + data[8:],
        lambda data: data[:8] + b"x" + data[9:],
        lambda data: data[:-4],
    ],
    ids=["short", "length", "json", "truncated"],
)
def test_damage_is_named(tmp_path, damage):
    from safetensors.torch import save

    path = tmp_path / "model.safetensors"
    path.write_bytes(damage(save({"w": torch.ones(8)})))
    with pytest.raises(StoreCorruptedError, match=r"model\.safetensors"):
        read_header(path)


def test_shape_and_bytes_must_agree(tmp_path):
    header = json.dumps({"w": {"dtype": "F32", "shape": [3], "data_offsets": [0, 8]}}).encode()
    (tmp_path / "m.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(8))
    with pytest.raises(StoreCorruptedError, match="8 bytes for 'w'"):
        read_header(tmp_path / "m.safetensors")


def test_an_index_decides_which_files_count(tmp_path):
    from safetensors.torch import save_file

    for name in ("model-00001.safetensors", "model-00002.safetensors", "consolidated.safetensors"):
        save_file({name: torch.ones(1)}, tmp_path / name)
    shards = {"a": "model-00001.safetensors", "b": "model-00002.safetensors"}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    assert [path.name for path in weight_files(tmp_path)] == sorted(shards.values())
    (tmp_path / "model-00002.safetensors").unlink()
    with pytest.raises(StoreCorruptedError, match="missing"):
        weight_files(tmp_path)


def test_folders_without_weights_are_refused(tmp_path):
    with pytest.raises(NotFoundError, match="no safetensors file"):
        weight_files(tmp_path)
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="merge_and_unload"):
        weight_files(tmp_path)
