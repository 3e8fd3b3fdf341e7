"""The upgrades of a running server: one per collection, each on a thread of its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from orthant.collection.asynchronous.lanes import Lane
from orthant.collection.collection import Collection
from orthant.collection.upgrade.plan import UpgradePlan
from orthant.collection.upgrade.state import UpgradeState
from orthant.encoders.api.specs import is_api_spec
from orthant.encoders.registry import encoder_names, load_encoder
from orthant.errors import InputError, message
from orthant.server.failures import Refusal
from orthant.server.keys import check_served_name

if TYPE_CHECKING:
    from orthant.server.service import Served

__all__ = ["SHIPPED", "Progress", "Upgrades"]

T = TypeVar("T")
SHIPPED: tuple[str, ...] = ("minilm", "minilm-int8", "static")
"""Encoders that every server may change to; any other would be a folder of the host, or a download."""


@dataclass
class Progress:
    """What the server does for an upgrade, beside what the collection holds of it.

    Attributes
    ----------
    state : str
        ``"idle"``, ``"running"``, ``"pausing"``, ``"paused"`` or ``"failed"``.
    share : float or None
        Of the records, what the last run was to encode again.
    error : str or None
        Why it failed.
    """

    state: str = "idle"
    share: float | None = None
    error: str | None = None

    @property
    def going(self) -> bool:
        """Whether a run has not ended."""
        return self.state in ("running", "pausing")


class _Held:
    """What is kept of one collection: its plan with the sample already encoded, and its run."""

    def __init__(self, collection: Collection, name: str) -> None:
        self.collection = collection
        # Not a thread of the searches: a run may take hours.
        self.lane = Lane(f"upgrade-{name}", threads=1, max_waiting=None)
        self.plan: UpgradePlan | None = None
        self.settings: tuple[Any, ...] = ()
        self.progress = Progress()
        self.rehearsal: dict[str, Any] | None = None
        self.stop, self.ending = threading.Event(), threading.Event()
        self.task: asyncio.Task[None] | None = None


class Upgrades:
    """Carries out upgrades, one action of a collection at a time.

    Parameters
    ----------
    allowed : mapping of str to encoder, or sequence of str, optional
        Encoders by the names that requests use: what :func:`orthant.encoders.registry.load_encoder` takes. Default
        those that are shipped.
    hide : callable of str
        Takes paths of the host out of a text.

    Attributes
    ----------
    names : list of str
        The encoders that a request may ask for.

    Examples
    --------
    >>> Upgrades(["static"], str).names
    ['static']
    """

    def __init__(self, allowed: Mapping[str, Any] | Sequence[str] | None, hide: Callable[[str], str]) -> None:
        given = SHIPPED if allowed is None else allowed
        pairs = given.items() if isinstance(given, Mapping) else [(name, name) for name in given]
        self._allowed = {check_served_name(name): encoder for name, encoder in pairs}
        self._loaded: dict[str, Any] = {}
        self._hide = hide
        self._held: dict[str, _Held] = {}

    @property
    def names(self) -> list[str]:
        """The encoders that a request may ask for."""
        return list(self._allowed)

    def progress(self, name: str) -> tuple[Progress, dict[str, Any] | None]:
        """Return what this server does for a collection, and its last rehearsal.

        Parameters
        ----------
        name : str
            The collection.

        Returns
        -------
        progress : Progress
            Of the run.
        rehearsal : dict or None
            Its figures.
        """
        held = self._held.get(name)
        return (Progress(), None) if held is None else (held.progress, held.rehearsal)

    def name_of(self, state: UpgradeState) -> str | None:
        """Return the name by which the encoder of an open upgrade is allowed; loads none.

        Parameters
        ----------
        state : UpgradeState
            As a collection stores it.

        Returns
        -------
        str or None
            None where it is none of the allowed ones, as far as they are loaded.
        """
        for name, spec in self._allowed.items():
            fingerprint = getattr(self._loaded.get(name, spec), "fingerprint", None)
            if (state.encoder is not None and spec == state.encoder) or fingerprint == state.fingerprint:
                return name
        return None

    async def rehearse(
        self, served: Served, settings: Mapping[str, Any], queries: Any, judgements: Any, decide_by: Any = "unseen"
    ) -> Any:
        """Measure on a sample what an upgrade would bring.

        Parameters
        ----------
        served : Served
            The collection.
        settings : mapping
            ``encoder``, ``using``, ``space``, ``pairs`` and ``seed``, as ``Collection.upgrade`` takes them.
        queries, judgements, decide_by : object
            As ``UpgradePlan.rehearse`` takes them.

        Returns
        -------
        dict
            The figures; kept until the next rehearsal.
        """

        def run(held: _Held) -> dict[str, Any]:
            plan = self._planned(held, settings)
            found = plan.rehearse(queries, judgements, decide_by=decide_by, stop=held.ending.is_set)
            # Whoever starts it asks for the same, so that the sample need not be encoded again.
            return {**found.to_dict(), "settings": dict(settings)}

        held = await self._of(served)
        held.rehearsal = await self._alone(held, run)
        return held.rehearsal

    async def start(self, served: Served, settings: Mapping[str, Any], **run: Any) -> None:
        """Begin an upgrade, or go on with it; returns at once.

        Parameters
        ----------
        served : Served
            The collection.
        settings : mapping
            As for :meth:`rehearse`; without ``encoder`` the open upgrade goes on.
        **run : object
            ``share``, ``batch_size`` and ``pause_s`` of ``UpgradePlan.run``.

        Raises
        ------
        Refusal
            Status 409: a run is going on.
        InputError
            An encoder that is not allowed, or what ``Collection.upgrade`` refuses.
        """
        held = await self._of(served)
        plan = await self._alone(held, lambda held: self._planned(held, settings))
        _require_rest(held)
        held.stop.clear()
        held.progress = Progress("running", run.get("share"))
        held.task = asyncio.create_task(self._run(held, plan, run))

    async def _run(self, held: _Held, plan: UpgradePlan, run: Mapping[str, Any]) -> None:
        try:
            await held.lane.run(lambda: plan.run(stop=held.stop.is_set, **run))
        except Exception as error:  # noqa: BLE001 - whoever asks next is told, and what is written stays
            held.progress = Progress("failed", run.get("share"), self._hide(str(error)))
            return
        held.progress = Progress("paused" if held.stop.is_set() else "idle", run.get("share"))

    async def pause(self, served: Served) -> None:
        """Let a run end after its present batch; what it has encoded stays.

        Parameters
        ----------
        served : Served
            The collection.

        Raises
        ------
        Refusal
            Status 409: no run is going on.
        """
        held = await self._of(served)
        if not held.progress.going:
            raise Refusal(409, "InputError", message("a pause without a run", "a run that goes on", "start one"))
        held.stop.set()
        held.progress = Progress("pausing", held.progress.share)

    async def act(self, served: Served, action: Callable[[UpgradePlan], T]) -> T:
        """Do something with the open upgrade of a collection, such as committing it.

        Parameters
        ----------
        served : Served
            The collection.
        action : callable of UpgradePlan
            May block.

        Returns
        -------
        object
            What it gave.

        Raises
        ------
        Refusal
            Status 409: a run is going on.
        NotFoundError
            No upgrade is open.
        """
        held = await self._of(served)
        found = await self._alone(held, lambda held: action(self._planned(held, {})))
        held.progress = Progress()
        return found

    async def close(self) -> None:
        """Let every run and rehearsal end after its present batch, and wait for that."""
        for held in self._held.values():
            held.stop.set()
            held.ending.set()
        for held in self._held.values():
            if held.task is not None:
                await asyncio.wait([held.task])
            await held.lane.close()
        self._held.clear()

    # ---- parts ------------------------------------------------------------------------------------------------------

    async def _of(self, served: Served) -> _Held:
        if served.name not in self._held:
            collection = await served.calls.read(lambda collection: collection)
            self._held.setdefault(served.name, _Held(collection, served.name))
        return self._held[served.name]

    async def _alone(self, held: _Held, function: Callable[[_Held], T]) -> T:
        _require_rest(held)
        return await held.lane.run(lambda: function(held))

    def _planned(self, held: _Held, settings: Mapping[str, Any]) -> UpgradePlan:
        """The plan of these settings; the one at hand where it is the same, since its sample is encoded already."""
        state = held.collection._store.refreshed().upgrade
        if "encoder" not in settings:
            if held.plan is None or not state:
                held.plan, held.settings = self._continued(held.collection), ()
            return held.plan
        key = tuple(sorted(settings.items()))
        if held.plan is None or held.settings != key or held.plan.status().phase == "closed":
            given = {**settings, "encoder": self._encoder(settings["encoder"])}
            held.plan, held.settings = held.collection.upgrade(**given), key
        return held.plan

    def _continued(self, collection: Collection) -> UpgradePlan:
        state = collection._store.refreshed().upgrade
        if state and state.encoder is None:
            # It was a folder or an object, which only its fingerprint can tell.
            for name in self._allowed:
                encoder = self._encoder(name)
                if getattr(encoder, "fingerprint", None) == state.fingerprint:
                    return collection.upgrade(encoder, space=state.space)
        return collection.upgrade()

    def _encoder(self, name: str) -> Any:
        if name not in self._allowed:
            known = ", ".join(self._allowed) or "none"
            way = "choose one of these, or let the operator serve with --upgrade-encoder NAME=FOLDER"
            raise InputError(message("an encoder that this server does not change to", f"one of: {known}", way))
        spec = self._allowed[name]
        if isinstance(spec, str) and (spec in encoder_names() or is_api_spec(spec)):
            # By its name, which the collection keeps to load it by.
            return spec
        if name not in self._loaded:
            self._loaded[name] = load_encoder(spec)
        return self._loaded[name]


def _require_rest(held: _Held) -> None:
    if held.progress.going:
        text = message("an action while an upgrade runs", "one that has ended", "pause it first, or wait")
        raise Refusal(409, "InputError", text)
