"""What users of other libraries look for in a net, a solver or a history."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from netspec.errors import SpecError

CallT = TypeVar("CallT", bound=Callable[..., Any])
ClassT = TypeVar("ClassT", bound=type)

# What they call it, and what to write here; {} is the object.
EVERYWHERE: Mapping[str, str] = {
    "predict": "runtime.predict({}, x)",
    "evaluate": "runtime.evaluate({}, (x, y))",
    "score": "runtime.evaluate({}, (x, y))",
    "summary": "netspec.summarize(n), n the spec",
    "cuda": "backend='cupy', where it is made",
    "gpu": "backend='cupy', where it is made",
    "cpu": "backend='numpy', where it is made",
    "to": "backend='cupy' or 'numpy', where it is made",
    "plot_history": "history.plot()",
    "confusion_matrix": "runtime.evaluate({}, (x, y)).confusion",
}
NET: Mapping[str, str] = {
    "fit": "runtime.fit(n, (x, y), epochs=...), n the spec",
    "train": "runtime.fit(n, (x, y), epochs=...); the phase of a net is given where "
    "it is made: runtime.Net(n, 'TRAIN')",
    "eval": "runtime.Net(n, 'TEST', share_with=net), or runtime.predict(net, x)",
    "compile": "runtime.fit(n, data, solver=dict(type='Adam', base_lr=...))",
    "state_dict": "net.params, or net.save(path)",
    "get_weights": "net.params, or net.save(path)",
    "weights": "net.params",
    "named_parameters": "net.params.items()",
    "load": "net.copy_from(path)",
    "load_weights": "net.copy_from(path)",
    "load_state_dict": "net.copy_from(path)",
    "set_weights": "net.copy_from(path)",
    "save_weights": "net.save(path)",
    "zero_grad": "net.clear_param_diffs()",
    "optimizer": "runtime.Solver(n, type=..., base_lr=...)",
    "freeze": "netspec.freeze(n, 'conv*'), n the spec, before it is built",
    "get_layer": "net.blobs[name] and net.params[name]",
    "name_scope": "net.name",
}
SOLVER: Mapping[str, str] = {
    "fit": "runtime.fit(solver, data, epochs=...), solver.solve() or solver.step(n)",
    "train": "solver.solve() or solver.step(n)",
    "run": "solver.solve() or solver.step(n)",
    "save": "solver.net.save(path) for the weights, solver.snapshot() to go on later",
    "load": "solver.restore(path) to go on, solver.net.copy_from(path) for weights",
    "learning_rate": "solver.lr",
    "base_lr": "solver.lr, or solver.param.base_lr",
    "zero_grad": "solver.net.clear_param_diffs()",
    "optimizer": "solver.param.type",
    "params": "solver.net.params",
    "blobs": "solver.net.blobs",
    "test_net": "solver.test_nets[0]",
}
HISTORY: Mapping[str, str] = {
    "fit": "runtime.fit(history, epochs=...), which goes on",
    "history": "history.as_dict()",
    "epoch": "history.as_dict()['epoch']",
    "epochs": "history.as_dict()['epoch']",
    "loss": "history.as_dict()['loss']",
    "losses": "history.as_dict()['loss']",
    "accuracy": "history.as_dict(), by the name of the output: 'val_accuracy'",
    "save": "history.net.save(path) for the weights, history.write(path) for the log",
    "params": "history.net.params",
    "blobs": "history.net.blobs",
    "model": "history.net",
    "forward": "history.net.forward(...), or runtime.predict(history, x)",
    "copied": "history.solver.copied",
    "as_df": "history.to_pandas()",
    "dataframe": "history.to_pandas()",
}


class NoSuchAttribute(SpecError, AttributeError):
    """An attribute that an object does not have."""


class _Elsewhere:
    """An attribute of other libraries, which says what to write here.

    It is no `__getattr__`, as IPython completes no keys below objects with one, and it
    is not listed by `dir`.
    """

    def __init__(self, kind: str, name: str, here: str) -> None:
        self._text = f"a {kind} has no attribute {name!r}; write {here}"

    def __get__(self, instance: object, owner: type) -> Any:
        if instance is None:
            raise AttributeError(self._text)
        raise NoSuchAttribute(self._text)


def with_habits(kind: str, words: Mapping[str, str]) -> Callable[[ClassT], ClassT]:
    """Return a decorator: objects of the class answer for what others call things.

    kind: what messages call an object. words: what others write, and what to write.
    Names that the class has, and what is set in an object, stay as they are.
    """

    def decorate(owner: ClassT) -> ClassT:
        for name, here in {**EVERYWHERE, **words}.items():
            if not hasattr(owner, name):
                said = here.replace("{}", kind)
                setattr(owner, name, _Elsewhere(kind, name, said))
        owner.__dir__ = _listed  # type: ignore[method-assign,assignment]
        return owner

    return decorate


def _listed(self: object) -> list[str]:
    hidden = {
        name
        for owner in type(self).__mro__
        for name, value in vars(owner).items()
        if isinstance(value, _Elsewhere)
    }
    hidden -= vars(self).keys()
    return sorted({*object.__dir__(self)} - hidden)


def told_without_strange(call: CallT) -> CallT:
    """Give a function a signature without arguments that are there to be refused.

    They are `*others` and `**unknown`.
    """
    own = inspect.signature(call)
    hidden = ("others", "unknown")
    kept = [one for one in own.parameters.values() if one.name not in hidden]
    call.__signature__ = own.replace(parameters=kept)  # type: ignore[attr-defined]
    return call
