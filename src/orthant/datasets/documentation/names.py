"""Which public name a definition has: ``numpy.linalg._linalg.svd`` is ``numpy.linalg.svd``.

Findings of `parse` enter; the name under which users import each definition leaves.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from orthant.datasets.documentation.parse import Finding

__all__ = ["PublicNames", "is_public"]

_LONGEST_CHAIN = 5


class PublicNames:
    """Follow the imports between the files of one package, or of the standard library.

    Parameters
    ----------
    findings : sequence of Finding
        Every file of the package, private ones included.
    """

    def __init__(self, findings: Sequence[Finding]) -> None:
        self._files = {f["module"]: f for f in findings}
        self._imported: dict[tuple[str, str], list[tuple[str, str]]] = defaultdict(list)
        self._resolved: dict[tuple[str, str, bool], str] = {}
        self._heirs: dict[tuple[str, str], list[str]] | None = None
        self._origins: dict[tuple[str, str], tuple[str, str]] = {}
        self._starred: dict[str, list[str]] = defaultdict(list)
        self._mentions: dict[str, set[str]] = defaultdict(set)
        for finding in findings:
            for source, name, alias in finding["imports"]:
                if name == "*":
                    self._starred[source].append(finding["module"])
                else:
                    self._imported[source, name].append((finding["module"], alias))
                    self._mentions[finding["module"]].add(alias)
                    self._origins.setdefault((finding["module"], alias), (source, name))

    def resolve(self, module: str, name: str, *, mentioned: bool = False) -> str:
        """Return the dotted public name of a top-level definition, or "" when users cannot reach it.

        Parameters
        ----------
        module : str
            Where it is defined.
        name : str
            Its name there.
        mentioned : bool, default False
            Let it be enough that a public package above imports that name from anywhere: for compiled objects,
            whose own imports cannot be followed.

        Returns
        -------
        str
            The shortest public path; its own one unless a package above re-exports it.
        """
        key = (module, name, mentioned)
        if key not in self._resolved:
            self._resolved[key] = self._shortest(module, name, mentioned)
        return self._resolved[key]

    def _shortest(self, module: str, name: str, mentioned: bool) -> str:
        found = {(module, name)} if is_public(module) and not name.startswith("_") else set()
        for (place, alias), starred in self._reachable(module, name).items():
            above = module.startswith(place + ".")
            if not is_public(place) or alias.startswith("_"):
                continue
            exports = self._files[place]["exports"]
            if (alias in exports) if exports is not None else above or starred:
                found.add((place, alias))
        if not name.startswith("_"):
            found.update((place, name) for place in self._listed(module, name, mentioned))
        if not found:
            return ""

        # A name's own module and the packages above it come before strangers that happen to export it.
        ordered = [
            (not (place == module or module.startswith(place + ".")), place.count("."), alias != name,
             _last(place) != _last(module), place, alias)
            for place, alias in found
        ]  # fmt: skip
        return ".".join(min(ordered)[-2:])

    def heirs(self, module: str, name: str) -> list[str]:
        """Return the public names of the classes that inherit from a private one, directly or through private ones.

        Parameters
        ----------
        module : str
            Where the private class is defined.
        name : str
            Its name there.

        Returns
        -------
        list of str
            The shortest first.
        """
        if self._heirs is None:
            self._heirs = self._inheritance()
        return self._heirs.get((module, name), [])

    def _inheritance(self) -> dict[tuple[str, str], list[str]]:
        found: dict[tuple[str, str], set[str]] = defaultdict(set)
        for module, finding in self._files.items():
            for name in finding["bases"]:
                shown = self.resolve(module, name)
                todo = self._bases(module, name) if shown else []
                while todo:
                    base = todo.pop()
                    if not self.resolve(*base) and shown not in found[base]:
                        found[base].add(shown)
                        todo.extend(self._bases(*base))
        return {base: sorted(names, key=lambda n: (n.count("."), n)) for base, names in found.items()}

    def _bases(self, module: str, name: str) -> list[tuple[str, str]]:
        """Return where the base classes are defined, as far as that is in the same package."""
        found = []
        for base in self._files[module]["bases"].get(name, ()):
            place: tuple[str, str] | None = (module, base)
            for _ in range(_LONGEST_CHAIN):
                finding = self._files.get(place[0]) if place else None
                if place is None or finding is None:
                    break
                if place[1] in finding["bases"]:
                    found.append(place)
                    break
                place = self._origins.get(place)
        return found

    def _reachable(self, module: str, name: str) -> dict[tuple[str, str], bool]:
        """Return every (module, alias) that the definition is imported into, and whether a star brought it."""
        seen: dict[tuple[str, str], bool] = {}
        todo = [(module, name)]
        while todo:
            place = todo.pop()
            following = [(step, False) for step in self._imported.get(place, ())]
            if self._is_starred(*place, passing=place[0] != module):
                following += [((importer, place[1]), True) for importer in self._starred.get(place[0], ())]
            for step, starred in following:
                if step not in seen and step != (module, name):
                    seen[step] = starred
                    todo.append(step)
        return seen

    def _is_starred(self, module: str, name: str, *, passing: bool) -> bool:
        """Tell whether ``from module import *`` brings a name along."""
        finding = self._files.get(module)
        exports = finding["exports"] if finding else None
        if exports is None or (passing and not is_public(module)):
            # A private module may extend its list by code when it passes on what others define.
            return not name.startswith("_")
        return name in exports

    def _listed(self, module: str, name: str, mentioned: bool) -> list[str]:
        """Return packages above that name it without a traceable import: lazily loaded or through compiled code."""
        places = []
        parts = module.split(".")
        for end in range(1, len(parts)):
            place = ".".join(parts[:end])
            finding = self._files.get(place)
            if finding is None or not is_public(place):
                continue
            listed = name in (finding["exports"] or ()) and name not in self._mentions[place]
            if listed or (mentioned and name in self._mentions[place]):
                places.append(place)
        return places


def _last(module: str) -> str:
    return module.rpartition(".")[2].lstrip("_")


def is_public(module: str) -> bool:
    """Tell whether no part of a dotted name is private.

    Parameters
    ----------
    module : str
        A dotted name.

    Returns
    -------
    bool
        Whether users may import it.
    """
    return not module.startswith("_") and "._" not in module
