"""The scikit-learn estimator contract, kept without importing scikit-learn.

Constructors store their arguments untouched; learned attributes end in ``_``; ``fit`` returns self.
"""

from __future__ import annotations

import inspect
from typing import Any, TypeVar

from orthant.errors import InputError, NotFittedError, message

__all__ = ["Estimator", "check_is_fitted"]

Self = TypeVar("Self", bound="Estimator")


class Estimator:
    """Root of every transform and quantizer: parameters, cloning, tags and a readable repr.

    scikit-learn is imported only when scikit-learn itself asks for the tags, so ``clone``, ``Pipeline`` and
    ``GridSearchCV`` work and ``import orthant`` stays light.

    Examples
    --------
    >>> class Scale(Estimator):
    ...     def __init__(self, *, factor: float = 1.0) -> None:
    ...         self.factor = factor
    >>> Scale(factor=2.0)
    Scale(factor=2.0)
    """

    _estimator_type: str | None = None

    @classmethod
    def _parameter_names(cls) -> list[str]:
        if cls.__init__ is object.__init__:
            return []
        parameters = inspect.signature(cls.__init__).parameters.values()
        return sorted(p.name for p in parameters if p.name != "self" and p.kind is not p.VAR_KEYWORD)

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return the constructor's parameters.

        Parameters
        ----------
        deep : bool, default True
            Include the parameters of nested estimators as ``name__parameter``.

        Returns
        -------
        dict
            Parameter values by name.
        """
        out: dict[str, Any] = {}
        for name in self._parameter_names():
            value = getattr(self, name)
            if deep and hasattr(value, "get_params") and not isinstance(value, type):
                out.update((f"{name}__{key}", item) for key, item in value.get_params().items())
            out[name] = value
        return out

    def set_params(self: Self, **params: Any) -> Self:
        """Set constructor parameters by name, nested ones as ``name__parameter``.

        Parameters
        ----------
        **params : any
            New values.

        Returns
        -------
        Estimator
            Self.

        Raises
        ------
        InputError
            A name that the constructor does not have.
        """
        valid = self._parameter_names()
        for key, value in params.items():
            name, _, rest = key.partition("__")
            if name not in valid:
                raise InputError(
                    message(
                        f"parameter {name!r} for {type(self).__name__}",
                        f"one of {', '.join(valid) or 'none'}",
                        "check the spelling",
                    )
                )
            if rest:
                getattr(self, name).set_params(**{rest: value})
            else:
                setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        """Return the class name with every parameter."""
        inside = ", ".join(f"{key}={getattr(self, key)!r}" for key in self._parameter_names())
        return f"{type(self).__name__}({inside})"

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags; called by scikit-learn only."""
        from sklearn.utils import InputTags, Tags, TargetTags, TransformerTags

        return Tags(
            estimator_type=self._estimator_type,
            target_tags=TargetTags(required=False),
            transformer_tags=TransformerTags() if hasattr(self, "transform") else None,
            classifier_tags=None,
            regressor_tags=None,
            input_tags=InputTags(),
        )

    def __sklearn_is_fitted__(self) -> bool:
        """Return whether any learned attribute exists; called by scikit-learn only."""
        return any(name.endswith("_") and not name.startswith("_") for name in vars(self))


def check_is_fitted(estimator: Estimator) -> None:
    """Raise unless ``fit`` was called.

    Parameters
    ----------
    estimator : Estimator
        The one about to be used.

    Raises
    ------
    NotFittedError
        No learned attribute exists yet.
    """
    if not estimator.__sklearn_is_fitted__():
        name = type(estimator).__name__
        raise NotFittedError(message(f"a {name} that has not been fitted", "a fitted one", f"call {name}.fit(X) first"))
