"""What a collection offers for replacing an encoder: the method delegates."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any, NoReturn

from orthant.collection.records.items import made_of_records, reads_records
from orthant.collection.space_encoders import is_sparse, load
from orthant.collection.spaces import require_dense
from orthant.collection.upgrade.state import ADAPTED
from orthant.encoders.fingerprint import short_fingerprint
from orthant.errors import InputError, NotFoundError, message
from orthant.validate import check_choice, check_count

if TYPE_CHECKING:
    from orthant.collection.space_encoders import SpaceEncoders
    from orthant.collection.storage.store import Store
    from orthant.collection.upgrade.maps import Using
    from orthant.collection.upgrade.plan import UpgradePlan
    from orthant.types import Encoder

__all__ = ["UpgradeMethods"]

_WAYS = ("auto", "joint-words", "words", "joint", "low-rank", "procrustes", "drift", "relative", "reencode")


class AbsentEncoder:
    """Stands for the new encoder of an open upgrade where nobody has passed it: known by its fingerprint alone.

    Parameters
    ----------
    fingerprint : str
        Of the encoder that is not there.
    """

    def __init__(self, fingerprint: str) -> None:
        self.fingerprint = fingerprint

    def __getattr__(self, name: str) -> NoReturn:
        """Refuse whatever needs the encoder itself."""
        given = f"an open upgrade to {short_fingerprint(self.fingerprint)}, whose encoder has no name"
        raise InputError(message(given, "the encoder itself", "pass it, or its folder, to upgrade"))


class UpgradeMethods:
    """The part of a collection that replaces encoders; see :class:`Collection`."""

    _store: Store
    _encoders: SpaceEncoders

    def upgrade(
        self,
        encoder: str | Encoder | Any | None = None,
        *,
        using: Using = "auto",
        space: str = "default",
        pairs: int = 5000,
        seed: int = 0,
    ) -> UpgradePlan:
        """Plan the replacement of a space's encoder; nothing changes before ``plan.run``, no search before ``commit``.

        Parameters
        ----------
        encoder : str, Encoder or sentence-transformers model, optional
            The new one. Left out, the upgrade that is open is continued. Where its encoder was given neither by name
            nor on opening, the plan tells where it stands and goes back or is released, but encodes nothing.
        using : {"auto", "joint-words", "words", "joint", "low-rank", "procrustes", "drift", "relative", "reencode"}
            How records are found that are not encoded again: by old vectors mapped to the new space (``"low-rank"``,
            ``"procrustes"``, ``"drift"`` or ``"relative"``), by old vectors and the words of the stored texts, at most
            20,000 of which the new encoder encodes each by itself (``"words"``), by either map and the old model's own
            scores (``"joint"`` and ``"joint-words"``, which ask both models at each search), or not at all
            (``"reencode"``: all are encoded before the cut-over). Default ``"auto"``: the one whose vectors find most
            of the new model's neighbours on a sample; ``"drift"``, by the movement that the training measured, for an
            encoder of ``ContinualTrainer.encoder`` that follows the present one, without a sample.
        space : str, default "default"
            The space.
        pairs : int, default 5000
            Records that are encoded for rehearsal and map. Too few spoil the map, more cost time.
        seed : int, default 0
            Of the sample.

        Returns
        -------
        UpgradePlan
            With ``rehearse``, ``run``, ``commit``, ``rollback`` and ``release``.

        Raises
        ------
        InputError
            Another upgrade is open, the encoder is the space's own, or a sparse one.
        NotFoundError
            No such space, or none to continue.
        """
        from orthant.collection.upgrade.plan import UpgradePlan

        check_choice(using, _WAYS, name="using")
        check_count(pairs, name="pairs", minimum=1)
        check_count(seed, name="seed", minimum=0)
        now = self._store.refreshed()
        state = now.upgrade
        if state and state.using == ADAPTED:
            given = f"space {state.space!r}, whose records are moved by a correction"
            raise InputError(message(given, "vectors of an encoder", "keep_adapter() or reset_adapter() first"))
        if encoder is None:
            if not state:
                raise NotFoundError(
                    message("no encoder, and no open upgrade", "either", "pass the new encoder to begin one")
                )
            space = state.space
            encoder = state.encoder or self._encoders.given(state.fresh)
            if encoder is None:
                absent = AbsentEncoder(state.fingerprint)
                return UpgradePlan(self, absent, None, using=using, space=space, pairs=pairs, seed=seed)  # type: ignore[arg-type]
        loaded, loadable = load(encoder)
        held = now.spaces.get(space)
        _refuse_unfit(loaded, None if held is None else held.definition.fingerprint)
        if state:
            if state.fingerprint != loaded.fingerprint or state.space != space or using not in ("auto", state.using):
                raise InputError(
                    message(
                        f"a second upgrade while that of space {state.space!r} to "
                        f"{short_fingerprint(state.fingerprint)} by {state.using!r} is open",
                        "one at a time",
                        "continue that one, or end it with release() or rollback()",
                    )
                )
            if self._encoders.given(state.fresh) is None:
                self._encoders.adopt(state.fresh, loaded, loadable=loadable)
        elif space not in now.spaces:
            raise _absent(space, now.spaces)
        elif now.spaces[space].definition.kind == "tokens":
            require_dense(now.spaces[space].definition)
        elif now.spaces[space].definition.fingerprint == loaded.fingerprint:
            raise InputError(message("the encoder that the space has", "another one", "there is nothing to upgrade"))
        elif now.spaces[space].definition.fingerprint is None and using not in ("auto", "reencode"):
            given = f"using={using!r} for vectors that no encoder made"
            raise InputError(message(given, "'reencode'", "nothing says how queries of the old space are made"))
        return UpgradePlan(self, loaded, loadable, using=using, space=space, pairs=pairs, seed=seed)  # type: ignore[arg-type]


def _absent(space: str, spaces: Collection[str]) -> NotFoundError:
    if spaces:
        return NotFoundError(message(f"space {space!r}", f"one of: {', '.join(spaces)}", "check the name"))
    given = f"space {space!r} of a collection without vectors"
    return NotFoundError(message(given, "vectors of another encoder", "open() the folder with the new encoder"))


def _refuse_unfit(new: Any, present: str | None) -> None:
    if reads_records(new) or made_of_records(present):
        # A plan compares and encodes texts, which would be taken for whole records.
        given = "an upgrade from or to an encoder of whole records"
        raise InputError(message(given, "encoders of texts", "add a space for it, and write the records again"))
    if is_sparse(new):
        raise InputError(message("a sparse encoder", "one of vectors", "add_space() holds weighted terms"))
