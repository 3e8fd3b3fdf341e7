"""Handing letters over: the protocol, and folders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from orthant.artifact import write_bytes_atomically
from orthant.errors import OrthantError, message
from orthant.feed.letters import html_of
from orthant.feed.outbox import Letter
from orthant.validate import check_choice

__all__ = ["Delivery", "DeliveryError", "FolderDelivery"]


class DeliveryError(OrthantError):
    """A letter could not be handed over.

    Parameters
    ----------
    text : str
        What was in the way.
    outcome : {"later", "refused", "unknown"}
        Whether another attempt can help, cannot, or whether the letter may have arrived.
    over : bool, default False
        Nothing else can be handed over now.
    tried : bool, optional
        This letter was begun, so it may be what is in the way and is not tried for ever; default where not ``over``.
    """

    def __init__(
        self,
        text: str,
        outcome: Literal["later", "refused", "unknown"],
        *,
        over: bool = False,
        tried: bool | None = None,
    ) -> None:
        super().__init__(text)
        self.outcome = outcome
        self.over = over
        self.tried = not over if tried is None else tried


class Delivery(Protocol):
    """A way for letters; a context manager."""

    repeatable: bool
    """Handing a letter over twice does no harm."""
    needs_links: bool
    """Letters reach people, who must be able to unsubscribe."""

    def __enter__(self) -> Self:
        """Begin."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""
        ...

    def deliver(self, letter: Letter, handing: Callable[[], None]) -> None:
        """Hand one letter over.

        Parameters
        ----------
        letter : Letter
            Which.
        handing : callable
            To be called at the last moment before the other side could have it.

        Raises
        ------
        DeliveryError
            It was not handed over, or nobody knows.
        """
        ...


class FolderDelivery:
    """Write each message to a file, for another program to send or to be read in a browser.

    A letter has one name for ever, so a run that is repeated writes the same file again and never a second one.

    Parameters
    ----------
    folder : str or Path
        Where they go; made when missing.
    form : {"eml", "html"}, default "eml"
        Whole messages, or only what they show.

    Raises
    ------
    InputError
        Another form.
    """

    repeatable = True
    needs_links = False

    def __init__(self, folder: str | Path, *, form: Literal["eml", "html"] = "eml") -> None:
        self.folder = Path(folder)
        self.form = check_choice(form, ("eml", "html"), name="form")

    def __enter__(self) -> Self:
        """Make the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Do nothing."""

    def deliver(self, letter: Letter, handing: Callable[[], None]) -> None:
        """Write one file.

        Parameters
        ----------
        letter : Letter
            Which.
        handing : callable
            Called before it is written.

        Raises
        ------
        DeliveryError
            The file cannot be written.
        """
        content = letter.content if self.form == "eml" else html_of(letter.content)
        handing()
        try:
            write_bytes_atomically(self.folder / f"{letter.kind}-{letter.id:06d}.{self.form}", content)
        except OSError as error:
            text = message(str(error.strerror), "a folder that can be written", "free space, or choose another")
            raise DeliveryError(text, "later", over=True) from error
