"""Groups with a memory limit: made, limited, removed, or refused with the reason; plain folders stand in for them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from orthant.errors import InputError
from orthant.evaluation.memory_groups import memory_group

V1 = ("memory.limit_in_bytes", "memory.memsw.limit_in_bytes", "memory.max_usage_in_bytes", "cgroup.procs")
V2 = ("memory.max", "memory.swap.max", "memory.peak", "cgroup.procs")


@pytest.fixture
def controller(monkeypatch, tmp_path):
    """A folder that treats folders within it as the kernel does: they come with files, and go with them."""

    def of(names, busy=0):
        make, remove, left = Path.mkdir, Path.rmdir, [busy]

        def mkdir(path, *args, **kwargs):
            make(path, *args, **kwargs)
            for name in names:
                (path / name).write_text("4096")

        def rmdir(path):
            if left[0]:
                left[0] -= 1
                raise OSError(16, "Device or resource busy")
            for file in path.iterdir():
                file.unlink()
            remove(path)

        monkeypatch.setattr(Path, "mkdir", mkdir)
        monkeypatch.setattr(Path, "rmdir", rmdir)
        return tmp_path

    return of


@pytest.mark.parametrize(("names", "swap"), [(V1, "1000000"), (V2, "0")])
def test_a_group_is_limited_joined_and_removed(controller, names, swap):
    parent = controller(names, busy=2)
    with memory_group(parent, 1_000_000) as group:
        assert group.limit == 1_000_000 and group.folder.parent == parent
        assert (group.folder / names[0]).read_text() == "1000000"
        assert (group.folder / names[1]).read_text() == swap
        group.join(os.getpid())
        assert (group.folder / "cgroup.procs").read_text() == str(os.getpid())
        assert group.peak_bytes() == 4096
    assert not list(parent.iterdir())


def test_where_none_can_be_made_the_reason_is_told(controller, tmp_path):
    with pytest.raises(InputError, match="No such file"), memory_group(tmp_path / "absent", 4096):
        pass
    with pytest.raises(InputError, match="limit"), memory_group(tmp_path, 0):
        pass
    parent = controller(("cgroup.procs",))
    with pytest.raises(InputError, match=r"without the memory controller.*subtree_control"), memory_group(parent, 4096):
        pass
    # What was begun is taken back.
    assert not list(parent.iterdir())


def test_a_refused_limit_leaves_no_group(controller, monkeypatch):
    parent, write = controller(V2), Path.write_text

    def refused(path, text, **kwargs):
        if path.name == "memory.max" and text != "4096":
            raise OSError(22, "Invalid argument")
        return write(path, text, **kwargs)

    monkeypatch.setattr(Path, "write_text", refused)
    with pytest.raises(InputError, match="limit of 5000 bytes refused"), memory_group(parent, 5000):
        pass
    assert not list(parent.iterdir())
