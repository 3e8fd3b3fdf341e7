"""Strokes against geometry: arcs, curves, packed flags, shapes; and pictures with ink where strokes are."""

from __future__ import annotations

import numpy as np
import pytest

from orthant.datasets.drawings.outlines import outlines
from orthant.datasets.drawings.rendering import render
from orthant.errors import InputError


@pytest.mark.parametrize("large", [0, 1])
@pytest.mark.parametrize("sweep", [0, 1])
def test_arcs_lie_on_their_circle_on_the_side_that_is_asked(large, sweep):
    (line,) = outlines(f'<path d="M2 0A2 2 0 {large} {sweep} 0 2" />')
    # Two circles of radius 2 pass through both points; the flags choose one and a way around it.
    centre = 0j if large != sweep else 2 + 2j
    np.testing.assert_allclose(np.abs(np.array(line) - centre), 2.0, atol=1e-9)
    angles = np.unwrap(np.angle(np.array(line) - centre))
    assert np.sign(angles[-1] - angles[0]) == (1 if sweep else -1)
    np.testing.assert_allclose(abs(angles[-1] - angles[0]), np.pi * (1.5 if large else 0.5), atol=1e-9)


def test_ellipses_turn_and_small_radii_grow():
    (line,) = outlines('<path d="M0 0a2 1 90 0 1 0 4" />')
    points = np.array(line)
    np.testing.assert_allclose((points.real / 1) ** 2 + ((points.imag - 2) / 2) ** 2, 1.0, atol=1e-9)
    (small,) = outlines('<path d="M0 0a.5.5 0 01 4 0" />')
    np.testing.assert_allclose(np.abs(np.array(small) - 2), 2.0, atol=1e-9)


def test_curves_and_relative_commands():
    lines = outlines('<path d="M0 0c0 1 1 1 1 0s1-1 1 0m1 1 2 0q1 1 2 0t2 0H0V5z" />')
    assert len(lines) == 2
    np.testing.assert_allclose(lines[0][8], 0.5 + 0.75j)
    np.testing.assert_allclose(lines[0][24], 1.5 - 0.75j)
    assert lines[1][:2] == [3 + 1j, 5 + 1j] and lines[1][-3:] == [0 + 1j, 0 + 5j, 3 + 1j]
    np.testing.assert_allclose(lines[1][2 + 7], 6 + 1.5j)
    np.testing.assert_allclose(lines[1][2 + 16 + 7], 8 + 0.5j)


def test_other_shapes():
    rect, circle, line, shape = outlines(
        '<rect x="1" y="2" width="4" height="2" rx="1"/><circle cx="5" cy="5" r="2"/>'
        '<line x1="0" y1="1" x2="2" y2="3"/><polygon points="0,0 1,0 1,1"/>'
    )
    points = np.array(rect)
    assert points.real.min() == 1 and points.real.max() == 5 and points.imag.min() == 2 and points.imag.max() == 4
    np.testing.assert_allclose(np.abs(np.array(circle) - (5 + 5j)), 2)
    assert line == [1j, 2 + 3j] and shape == [0j, 1 + 0j, 1 + 1j, 0j]


@pytest.mark.parametrize("shapes", ['<text x="1"/>', '<path d="M1 2L3"/>', '<path d="1 2"/>', '<path d="M1 2 ?"/>'])
def test_what_cannot_be_read_is_refused(shapes):
    with pytest.raises(InputError):
        outlines(shapes)


def test_ink_is_where_strokes_are():
    pytest.importorskip("PIL")
    (picture,) = render(['<path d="M0 12h24" />'], side=24)
    ink = picture[..., 3]
    assert ink[11:13, 1:].min() > 180 and ink[:10].max() == ink[14:].max() == 0 and not picture[..., :3].any()
    thin = render(['<path d="M0 12h24" />'], side=24, stroke=1.0)[0, ..., 3]
    assert thin.sum() < 0.7 * ink.sum()


def test_every_icon_of_the_set_is_drawn(data_root):
    pytest.importorskip("PIL")
    from orthant.datasets import load

    drawings = load("icons_svg", root=data_root).drawings
    pictures = render([one.shapes for one in drawings[::20]], side=24)[..., 3]
    assert ((pictures > 0).mean(axis=(1, 2)) > 0.02).all() and pictures[:, :, 0].mean() < 60
