"""An upgrade as its user holds it: rehearse, run, commit, roll back, release."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from orthant.collection.ingest import checked_vectors
from orthant.collection.space_encoders import define_space, load
from orthant.collection.spaces import SpaceDefinition
from orthant.collection.storage import merging, tables
from orthant.collection.upgrade import cutover
from orthant.collection.upgrade.maps import WORDED, SpaceBridge, fit_bridge, load_map
from orthant.collection.upgrade.rehearsal import Rehearsal, choose_way, rehearse
from orthant.collection.upgrade.returning import encode_for_former, newer_only
from orthant.collection.upgrade.running import RunReport, encode_rest, fill_mapped, remaining
from orthant.collection.upgrade.sampling import Sample, Sampling, Stopped
from orthant.collection.upgrade.state import UpgradeState
from orthant.collection.upgrade.status import UpgradeStatus
from orthant.collection.upgrade.vocabulary import window_of
from orthant.encoders.fingerprint import short_fingerprint
from orthant.encoders.progress import progress_bar
from orthant.errors import EncoderMismatchError, InputError, NotFoundError, message
from orthant.kernels import bitmaps
from orthant.types import BitmapArray
from orthant.validate import as_texts, check_choice, check_count, check_fraction

if TYPE_CHECKING:
    from orthant.collection.collection import Collection

__all__ = ["UpgradePlan", "UpgradeStatus"]


class UpgradePlan:
    """Replaces the encoder of a space; made by ``Collection.upgrade``.

    Until :meth:`commit` every search is answered as before. A process that dies at any moment is continued by calling
    ``Collection.upgrade`` again with the same encoder.

    Parameters
    ----------
    collection : Collection
        The opened collection.
    encoder : Encoder
        The new one.
    loadable : str or None
        Name by which it can be loaded again.
    using : str
        The way; ``"auto"`` chooses by :func:`choose_way`.
    space : str
        The space.
    pairs : int
        Records that are encoded for rehearsal and map.
    seed : int
        Of the sample.
    """

    def __init__(
        self,
        collection: Collection,
        encoder: Any,
        loadable: str | None,
        *,
        using: str,
        space: str,
        pairs: int,
        seed: int,
    ) -> None:
        self._collection, self._encoder, self._loadable = collection, encoder, loadable
        self._store = collection._store
        self._seed, self._using = seed, using
        self.space = space
        self._ways: dict[str, float] = {}
        self._sampling = Sampling(self._store, encoder, space, pairs=pairs, seed=seed)
        self._learned: SpaceBridge | None = None
        self._bridge: SpaceBridge | None = None
        self._closed = False

    @property
    def using(self) -> str:
        """The way; ``"auto"`` until a rehearsal or a run has chosen."""
        state = self._store.generation.upgrade
        return state.using if state else self._using

    def __repr__(self) -> str:
        """Return what is planned; ``status`` tells how far it is."""
        to = short_fingerprint(self._encoder.fingerprint)
        return f"UpgradePlan(space={self.space!r}, using={self.using!r}, to {to})"

    def _open(self) -> UpgradeState:
        state = self._store.refreshed().upgrade
        if not state or state.fingerprint != self._encoder.fingerprint or state.space != self.space:
            raise NotFoundError(message("no open upgrade to this encoder", "one that has run", "call run() first"))
        return state

    # ---- before ---------------------------------------------------------------------------------------------------

    def rehearse(
        self,
        queries: Sequence[str] | Mapping[str, str],
        judgements: Mapping[str, Mapping[str, int]] | None = None,
        *,
        decide_by: Literal["unseen", "now"] = "unseen",
        progress: bool = False,
        stop: Callable[[], bool] | None = None,
    ) -> Rehearsal:
        """Measure what the upgrade would bring, at 0, 25, 50, 75 and 100 % encoded again, and change nothing.

        Parameters
        ----------
        queries : sequence of str, or mapping of str to str
            Texts, or texts by id. Some hundreds; with fewer than fifty the intervals say little.
        judgements : mapping of str to mapping of str to int, optional
            Grades of records by query id, or by text where ``queries`` is a sequence. Without them the figures say how
            much of the new model's own ten nearest is found, not whether those are better.
        decide_by : {"unseen", "now"}, default "unseen"
            Whose figures decide: those of records that no map has seen, which hold however large the collection is and
            whatever becomes of it, or those of this collection as the run leaves it, some records of which the map was
            learned from. The latter are higher, and equal where the map comes of the encoder's training.
        progress : bool, default False
            Show a bar while the sample is encoded.
        stop : callable, optional
            Asked before each batch of the sample; once it says True, the call is refused.

        Returns
        -------
        Rehearsal
            Both figures with intervals, and whether to go on.

        Raises
        ------
        InputError
            Fewer than ten usable queries, an upgrade that is committed, or ``stop`` said so.

        Notes
        -----
        Cost: up to ``pairs`` records, the relevant ones and all queries are encoded. The map is that of the following
        ``run``, from the same random records; relevant ones beyond them judge and teach nothing. A sample is easier to
        search than the collection: shares of the gain carry over, the metric itself does not.
        """
        check_choice(decide_by, ("unseen", "now"), name="decide_by")
        if self._store.refreshed().upgrade.committed:
            raise InputError(message("a rehearsal of what is committed", "an open plan", "roll back, or release it"))
        named = dict(queries) if isinstance(queries, Mapping) else {text: text for text in as_texts(queries)}
        wanted = [] if judgements is None else [d for q in named for d, g in judgements.get(q, {}).items() if g > 0]
        try:
            sample = self._sampled(wanted, progress=progress, stop=stop)
        except Stopped:
            raise InputError(message("a rehearsal that was stopped", "one that may end", "start it again")) from None
        self._choose(sample)
        bridge = None if self.using == "reencode" else self._fitted(self.using)
        texts = list(named.values())
        old = self._collection._encoders.require(self.space)
        found = rehearse(
            sample,
            self.using,
            checked_vectors(self._encoder.encode(texts, role="query"), len(texts), self._encoder.dim),
            checked_vectors(old.encode(texts, role="query"), len(texts), old.dim),
            query_ids=list(named),
            judgements=judgements,
            bridge=bridge,
            decide_by=decide_by,
            seed=self._seed,
        )
        return replace(found, ways=self._ways)

    def _choose(self, sample: Sample | None) -> None:
        if self._using == "auto" and self._sampling.trained() is not None:
            self._using = "drift"
        elif self._using == "auto" and sample is not None:
            both = self._collection._encoders.at_hand(self.space)
            self._using, self._ways = choose_way(sample, both=both, seed=self._seed)

    def _sampled(
        self, wanted: Sequence[str] = (), *, progress: bool = False, stop: Callable[[], bool] | None = None
    ) -> Sample:
        words = self._using in ("auto", *WORDED)
        return self._sampling.sample(wanted, words=words, progress=progress, stop=stop)

    # ---- carrying out ---------------------------------------------------------------------------------------------

    def run(
        self,
        share: float | None = None,
        *,
        batch_size: int = 256,
        pause_s: float = 0.0,
        progress: bool = False,
        stop: Callable[[], bool] | None = None,
    ) -> RunReport:
        """Make the new space, and encode a share of the records again; continues where an earlier call ended.

        Searches and writes go on meanwhile, and nothing that they answer changes before :meth:`commit`. After it, a
        further run encodes more records while they are found by their mapped vectors.

        Parameters
        ----------
        share : float, optional
            Of all records, from 0 to 1; default 1.0 for ``"reencode"``, else 0.0: old vectors are mapped, and no text
            is encoded beyond the sample.
        batch_size : int, default 256
            Records per commit. A process that dies loses at most the work on one batch; small batches pay more disk
            syncs.
        pause_s : float, default 0.0
            Seconds of rest after each batch, to leave the machine to others.
        progress : bool, default False
            Show a bar.
        stop : callable, optional
            Asked after each batch; once it says True, the call ends and another one continues. While the sample is
            encoded nothing has begun yet, and the upgrade stays planned.

        Returns
        -------
        RunReport
            Counts, and the records that cannot be encoded; another call tries them again.

        Raises
        ------
        InputError
            Another upgrade is open, or there are too few records to learn a map.
        StoreError
            The disk is full or failing; what was written is kept.
        """
        began = time.perf_counter()
        check_count(batch_size, name="batch_size")
        check_fraction(pause_s, name="pause_s", high=3600.0)
        if share is not None:
            share = check_fraction(share, name="share")
        if not self._store.refreshed().upgrade:
            try:
                self._begin(progress=progress, stop=stop)
            except Stopped:
                left = self._store.refreshed().count
                return RunReport(0, 0, left, 0.0, {}, time.perf_counter() - began)
        state = self._open()
        if share is None:
            share = 1.0 if state.using == "reencode" else 0.0
        mapped = self._fill_mapped(state)
        left = len(remaining(self._store.refreshed(), state))
        with progress_bar(max(left, 1), shown=progress, label="encoding again") as advance:
            encoded, failed = encode_rest(
                self._store,
                self._encoder,
                share=share,
                batch_size=batch_size,
                pause_s=pause_s,
                advance=advance,
                stop=stop,
            )
        self._settle()
        now = self._store.refreshed()
        open_rows = len(remaining(now, now.upgrade))
        done = (now.count - open_rows) / now.count if now.count else 1.0
        return RunReport(encoded, mapped, open_rows, done, failed, time.perf_counter() - began)

    def _begin(self, *, progress: bool, stop: Callable[[], bool] | None) -> None:
        old = self._store.refreshed().spaces[self.space].definition
        if self._using == "auto":
            self._choose(None if self._sampling.trained() is not None else self._sampled(progress=progress, stop=stop))
        fresh = define_space(f"{self.space}.next", self._encoder, dim=None, metric=old.metric, loadable=self._loadable)
        state = UpgradeState(
            self.space, self._using, self._loadable, self._encoder.fingerprint, filling=(fresh[0].name,)
        )
        spaces = [fresh]
        if self._using != "reencode":
            self._bridge = bridge = self._fitted(self._using, progress=progress, stop=stop)
            # Before the commit that names it; a leftover of an attempt that died is written over.
            bridge.map.save(cutover.map_folder(self._store))
            dim = self._encoder.dim + (old.dim if bridge.weight else 0)
            mapped = SpaceDefinition(f"{self.space}.mapped", dim, "cosine").validated()
            spaces.append((mapped, np.zeros((0, dim), dtype=np.float32)))
            state = replace(state, weight=bridge.weight, scales=bridge.scales, filling=(*state.filling, mapped.name))
        cutover.begin(self._store, state, spaces)
        self._collection._encoders.adopt(state.fresh, self._encoder, loadable=self._loadable)

    def _fitted(self, using: str, *, progress: bool = False, stop: Callable[[], bool] | None = None) -> SpaceBridge:
        """The map of a run, which a rehearsal before it judges."""
        now = self._store.refreshed()
        old = now.spaces[now.upgrade.former if now.upgrade else self.space].definition
        if old.metric != "cosine":
            given = f"using={using!r} for a space scored by {old.metric!r}"
            raise InputError(message(given, "a space scored by cosine", "use using='reencode'"))
        trained = self._sampling.trained() if using == "drift" else None
        if trained is not None:
            return SpaceBridge(trained)
        if self._learned is None:
            sample = self._sampled(progress=progress, stop=stop).for_learning()
            ends = {"source": old.fingerprint, "target": self._encoder.fingerprint}
            words = sample.words if using in WORDED else None
            self._learned = fit_bridge(using, sample.old, sample.new, words=words, **ends)
        return self._learned

    def _fill_mapped(self, state: UpgradeState) -> int:
        if state.mapped is None:
            return 0
        if self._bridge is None:
            fitted = load_map(state.using, cutover.map_folder(self._store))
            self._bridge = SpaceBridge(fitted, state.weight, state.scales, window_of(self._encoder))
        return fill_mapped(self._store, state, self._bridge)

    def _settle(self) -> None:
        """Let spaces that are whole have their graph."""
        with self._store.writer() as now:
            state = now.upgrade
            whole = {state.mapped}
            if not len(set(remaining(now, state).tolist())) or (state.mapped is None and not self._missing()):
                whole.add(state.fresh)
            filling = tuple(name for name in state.filling if name not in whole)
            if filling != state.filling:
                cutover.note(self._store, replace(state, filling=filling))
                merging.settle(self._store)

    def _missing(self) -> int:
        """Records that the old vectors find and that neither a new nor a mapped vector would."""
        now = self._store.refreshed()
        state = now.upgrade
        words = len(now.live)
        found = bitmaps.resize(now.spaces[state.fresh].rows_bitmap(), words)
        if state.mapped is not None:
            found = found | bitmaps.resize(now.spaces[state.mapped].rows_bitmap(), words)
        lost = now.live & bitmaps.resize(now.spaces[state.former].rows_bitmap(), words) & ~found
        return self._not_accepted(lost, state)

    def _not_accepted(self, chosen: BitmapArray, state: UpgradeState) -> int:
        """How many of some rows hold a record that nobody let go without a vector."""
        rows = bitmaps.to_rows(chosen)
        if not len(rows) or not state.accepted:
            return len(rows)
        with self._store.database.reading() as connection:
            held = tables.fetch_records(connection, self._store.database, rows.tolist())
        return len({record[0] for record in held.values()} - set(state.accepted))

    def accept(self, ids: Sequence[str] | None = None) -> int:
        """Let records go without a vector of the new encoder; they are still found by their words.

        Parameters
        ----------
        ids : sequence of str, optional
            Some of those that failed; default all of them.

        Returns
        -------
        int
            Records accepted by this call.

        Raises
        ------
        InputError
            An id that did not fail.
        """
        with self._store.writer():
            state = self._open()
            unresolved = state.unresolved
            chosen = list(unresolved) if ids is None else list(ids)
            unknown = [key for key in chosen if key not in dict(state.failed)]
            if unknown:
                raise InputError(
                    message(f"id {unknown[0]!r}, which did not fail", "ids of status().failed", "check it")
                )
            cutover.note(self._store, replace(state, accepted=tuple(sorted({*state.accepted, *chosen}))))
            return len(set(chosen) & set(unresolved))

    def commit(self) -> UpgradeStatus:
        """Cut over: the space is searched with the new encoder from now on; one transaction, nothing is copied.

        The old vectors stay beside it, under the name of the space and ``.former``, until :meth:`release`. Records that
        are written from now on are encoded by the new encoder, and by the old one as well where it is at hand, so that
        :meth:`rollback` stays possible.

        Returns
        -------
        UpgradeStatus
            As it stands now.

        Raises
        ------
        InputError
            Records failed and were not accepted, or ``run`` is not through.
        """
        with self._store.writer():
            state = self._open()
            if state.committed:
                return self.status()
            self._fill_mapped(state)
            if state.unresolved:
                key, why = next(iter(state.unresolved.items()))
                given = f"{len(state.unresolved)} records that could not be encoded, such as {key!r} ({why})"
                raise InputError(message(given, "none", "run() again, or accept() that they are found by words only"))
            missing = self._missing()
            if missing:
                given = f"{missing} records without a vector of the new encoder"
                raise InputError(message(given, "none", "call run() until nothing remains"))
            self._settle()
            names = cutover.cut_over(self._store, self._open())
            self._collection._encoders.renamed(names)
        return self.status()

    def rollback(self, encoder: Any | None = None, *, accept: bool = False) -> UpgradeStatus:
        """Go back to the old encoder and its vectors, to the byte, and forget what the upgrade made.

        Records that were written since the cut-over while the old encoder was not at hand are encoded by it first.

        Parameters
        ----------
        encoder : str, Encoder or sentence-transformers model, optional
            The old one, where it is neither open nor stored by name. It must be the same to the fingerprint.
        accept : bool, default False
            Go back although some records cannot be encoded by it; they are found by their words only until they are
            written again.

        Returns
        -------
        UpgradeStatus
            Its phase is ``"closed"``; ``failed`` has the records that were let go.

        Raises
        ------
        InputError
            Records that only the new encoder has encoded, and no old one to encode them, or one that refuses them.
        EncoderMismatchError
            Another encoder than the old one.
        """
        state = self._open()
        encoders = self._collection._encoders
        if encoder is not None:
            loaded, loadable = load(encoder)
            encoders.adopt(state.former, loaded, loadable=loadable)
        # Once beside other calls, and then what was written meanwhile.
        self._encode_for_former(state)
        with self._store.writer():
            state = self._open()
            lost = self._encode_for_former(state)
            if lost and not accept:
                told = ", ".join(repr(key) for key in list(lost)[:5])
                given = f"{len(lost)} records without a vector of the old encoder ({told}: {next(iter(lost.values()))})"
                way = "rollback(encoder=...) with it, write or delete them, or rollback(accept=True)"
                raise InputError(message(given, "none", way))
            names = cutover.restore(self._store, state)
            if state.committed:
                encoders.renamed({**names})
            status = replace(self._status_closed(state), failed=lost)
        self._bridge, self._closed = None, True
        return status

    def _encode_for_former(self, state: UpgradeState) -> dict[str, str]:
        if not len(newer_only(self._store.refreshed(), state)):
            return {}
        try:
            former = self._collection._encoders.require(state.former)
        except (InputError, EncoderMismatchError):
            former = None
        return encode_for_former(self._store, former, state)

    def release(self) -> UpgradeStatus:
        """End a committed upgrade: the old and the mapped vectors go, and it cannot be taken back any longer.

        Returns
        -------
        UpgradeStatus
            Its phase is ``"closed"``.

        Raises
        ------
        InputError
            It is not committed, or records are still found by their mapped vectors only, and were not accepted.
        """
        with self._store.writer() as now:
            state = self._open()
            if not state.committed:
                raise InputError(message("an upgrade that is not committed", "a committed one", "commit() first"))
            if state.mapped is not None:
                words = len(now.live)
                only = now.live & bitmaps.resize(now.spaces[state.mapped].rows_bitmap(), words)
                only &= ~bitmaps.resize(now.spaces[state.space].rows_bitmap(), words)
                count = self._not_accepted(only, state)
                if count:
                    given = f"{count} records that are found by mapped vectors only"
                    raise InputError(message(given, "none", "run(share=1.0) first, or leave the upgrade open"))
            status = self._status_closed(state)
            cutover.drop_spaces(self._store, [name for name in (state.former, state.mapped) if name])
        self._closed = True
        return status

    # ---- looking ----------------------------------------------------------------------------------------------------

    def status(self) -> UpgradeStatus:
        """Return where the upgrade stands.

        Returns
        -------
        UpgradeStatus
            As of the last commit of any process.
        """
        now = self._store.refreshed()
        state = now.upgrade
        if not state:
            old, new = now.spaces[self.space].definition.fingerprint, self._encoder.fingerprint
            phase = "closed" if self._closed else "planned"
            return UpgradeStatus(self.space, self._using, old, new, phase, now.count, 0, 0, {})
        return self._status_of(state, "committed" if state.committed else "running")

    def _status_closed(self, state: UpgradeState) -> UpgradeStatus:
        now = self._store.refreshed()
        old = now.spaces[self.space].definition.fingerprint
        return UpgradeStatus(self.space, state.using, old, state.fingerprint, "closed", now.count, 0, 0, {})

    def _status_of(self, state: UpgradeState, phase: str) -> UpgradeStatus:
        now = self._store.refreshed()
        encoded = now.spaces[state.fresh].live_count(now.live)
        mapped = now.spaces[state.mapped].live_count(now.live) if state.mapped else 0
        old = now.spaces[state.former].definition.fingerprint
        return UpgradeStatus(
            self.space,
            state.using,
            old,
            state.fingerprint,
            phase,
            now.count,
            encoded,
            mapped,
            state.unresolved,
            len(newer_only(now, state)),
        )

    def compatibility(self, *, progress: bool = False) -> dict[str, Any]:
        """Report how far the two encoders are apart, on the sample.

        Parameters
        ----------
        progress : bool, default False
            Show a bar while the sample is encoded.

        Returns
        -------
        dict
            ``old``, ``new`` and ``dims``; ``overlap@10``: how much of the new model's ten nearest the old vectors, and
            each way's mapped vectors, find; ``drift`` where both have the same dimension; ``trained``: what a new
            encoder that was trained to follow the old one brings: ``length`` of the movement, and its ``report``.
        """
        from orthant.measures import drift_statistics

        sample = self._sampled(progress=progress)
        _, overlaps = choose_way(sample, seed=self._seed)
        dims = [sample.old.shape[1], sample.new.shape[1]]
        out: dict[str, Any] = {"new": self._encoder.fingerprint, "dims": dims, "overlap@10": overlaps}
        out["old"] = self.status().old
        trained = self._sampling.trained()
        if trained is not None:
            told = getattr(self._encoder, "report", None)
            out["trained"] = {"length": float(np.linalg.norm(trained.drift_)), "report": told}
        out["drift"] = asdict(drift_statistics(sample.new, sample.old)) if dims[0] == dims[1] else None
        return out
