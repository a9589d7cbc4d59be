"""Arrays on the host that stand for memory of a device, and when each is copied."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from typing import Protocol

import numpy as np

from netspec.ops.base import Shape, count
from runtime.arena import Arena, Place
from runtime.arrays import Array
from runtime.primitives import Primitives


class Watcher(Protocol):
    """What is told before parameters may change."""

    def before_parameters(self) -> None:
        """Prepare for it."""


class Kind(Enum):
    """What a piece of memory holds, and so which steps read and change it."""

    __hash__ = object.__hash__  # of the one object; that of its name takes long

    INPUT = auto()  # data that no step changes
    DATA = auto()
    DIFF = auto()
    WEIGHT = auto()
    WEIGHT_DIFF = auto()
    OTHER = auto()  # anything: all steps may read and change it


@dataclass(frozen=True, eq=False)
class Steps:
    """What some steps do to memory.

    reads, changes: the kinds they may read, and of these the kinds they may change.
    rewrites: memory that they fill without reading it, so that what a caller wrote
    there is not needed.
    """

    reads: frozenset[Kind] = frozenset(Kind)
    changes: frozenset[Kind] = frozenset(Kind)
    rewrites: frozenset[HostCopy] = frozenset()


ANY = Steps()
WRITING = Steps(changes=frozenset())  # only takes to the device what callers wrote
_AMID = Steps(changes=frozenset(Kind) - {Kind.INPUT})
_LEARNED = frozenset({Kind.WEIGHT, Kind.WEIGHT_DIFF})
UPDATE = Steps(reads=_LEARNED, changes=_LEARNED)


class _Loan:
    """The base of a view of an array; NumPy keeps it alive for views of the view."""

    def __init__(self, array: np.ndarray) -> None:
        self._array = array
        self.__array_interface__ = array.__array_interface__


def _nothing() -> np.ndarray | None:
    """Stand for a reference to an array that nobody has any more."""
    return None


class HostCopy:
    """The one host array of a piece of device memory; all views are cut from it.

    array: what the backend copies. kind: what it holds.
    """

    def __init__(self, group: _Group, arrays: Sequence[Array], kind: Kind) -> None:
        self._group = group
        self._arrays = arrays  # the same memory in several shapes
        self.array = arrays[0]
        self.kind = kind
        self.asked_for = False  # since it was copied to the device
        self._host: np.ndarray | None = None
        self._shown: Callable[[], np.ndarray | None] = _nothing
        self._seen = -1

    @property
    def held(self) -> bool:
        """Whether a caller still has the host array, or a view of it."""
        return self._shown() is not None

    @property
    def stale(self) -> bool:
        """Whether steps may have changed the device since it was last read."""
        return self._seen != self._group.changes[self.kind]

    def read(self) -> np.ndarray:
        """Return the current contents as a flat array that may be written to."""
        if self.stale:
            self.refresh()
        self.asked_for = True
        self._group.lent.add(self)
        shown = self._shown()
        if shown is None:
            shown = np.asarray(_Loan(self._own()))
            self._shown = weakref.ref(shown)
        return shown

    def refresh(self) -> None:
        """Copy from the device, into the array that callers have."""
        host = self._own().reshape(self.array.shape)
        self._group.backend.download(self.array, out=host)
        self._seen = self._group.changes[self.kind]

    def write_back(self) -> None:
        """Copy to the device."""
        host = self._own().reshape(self.array.shape)
        self._group.backend.upload(host, out=self.array)

    def _own(self) -> np.ndarray:
        if self._host is None:
            self._host = np.empty(count(self.array.shape), str(self.array.dtype))
        return self._host


class _Group:
    """The host copies of some memory, and how often steps changed each kind of it."""

    def __init__(self, backend: Primitives) -> None:
        self.backend = backend
        self.changes = dict.fromkeys(Kind, 0)
        self.lent: weakref.WeakSet[HostCopy] = weakref.WeakSet()
        self._copies: weakref.WeakValueDictionary[int, HostCopy] = (
            weakref.WeakValueDictionary()
        )

    def copy(self, arrays: Sequence[Array], kind: Kind = Kind.OTHER) -> HostCopy:
        """Return the copy of some memory, `arrays` in all its shapes."""
        found = self._copies.get(id(arrays[0]))
        if found is None:
            found = HostCopy(self, arrays, kind)
            for array in arrays:
                self._copies[id(array)] = found
        return found

    def upload(self, steps: Steps, *, again: bool) -> bool:
        """Bring what callers may have written; say whether there was any."""
        if not self.lent:
            return False
        anything = False
        for copy in list(self.lent):
            if copy.kind not in steps.reads or (again and not copy.asked_for):
                continue
            copy.asked_for = False
            if not copy.held:
                self.lent.discard(copy)
            # Of a stale one the device has what counts: it is not lent since steps run.
            if copy not in steps.rewrites and not copy.stale:
                copy.write_back()
                anything = True
        return anything

    def expect(self, steps: Steps) -> None:
        """Note that these steps run now."""
        for kind in steps.changes:
            self.changes[kind] += 1

    def download(self) -> None:
        """Bring what callers hold up to date."""
        for copy in list(self.lent):
            if copy.stale and copy.held:
                copy.refresh()


class BlobCopies(_Group):
    """Those of the blobs of one plan."""


class ParameterCopies(_Group):
    """Those of the parameters of one net and of nets that share some with it."""

    def __init__(self, backend: Primitives) -> None:
        super().__init__(backend)
        self.exposed = False  # whether others have the arrays themselves
        self.versions = 0
        # Sets of references: to ask a WeakSet takes many steps in Python.
        self.loans: set[weakref.ref[_Loan]] = set()
        self.watchers: set[weakref.ref[Watcher]] = set()

    def watch(self, watcher: Watcher) -> None:
        """Let something be told before parameters may change, as long as it lives."""
        self.watchers.add(weakref.ref(watcher, self.watchers.discard))

    def lend(self, loan: _Loan) -> None:
        """Note that somebody has parameters, as long as the loan lives."""
        self.loans.add(weakref.ref(loan, self.loans.discard))


class Mirror:
    """Keeps the arrays that callers have in step with the memory of the device.

    Where the arrays of a backend are host arrays, callers have the arrays themselves.
    Elsewhere each piece of memory has one host array. Whoever reads `data` or `diff`
    gets a view of it, also for a parameter of several layers or nets, and for blobs
    that share their memory, as those of Reshape, Flatten and Split do. The views are
    live as those of the host are, for as long as somebody holds one:

    - what is written into them reaches the device before the next steps that read it;
      also of an array that was kept for many passes;
    - after the steps they show what those computed, without being asked for again.

    In pycaffe, a kept array shows new values once `data` is asked for again, and what
    is written into it without that arrives the first time only. Each array that is
    held costs a copy before a pass that reads its memory, unless the pass fills it
    anyway, and one after a pass that changes it; one that nobody holds any more is
    copied once, as it may have been written to.

    sharing: the mirror of a net that has parameters in common with this one.
    parameters: the copies of their parameters.
    """

    def __init__(self, backend: Primitives, sharing: Mirror | None = None) -> None:
        self.backend = backend
        self._blobs = BlobCopies(backend)
        self._arena: Arena | None = None
        self._lies: Mapping[int, Place] = {}
        self.parameters: ParameterCopies = (
            ParameterCopies(backend) if sharing is None else sharing.parameters
        )

    # ------------------------------------------------------------ plans

    def blob_copies(self) -> BlobCopies:
        """Return what keeps the host arrays of the blobs of a plan."""
        return BlobCopies(self.backend)

    def use(
        self, blobs: BlobCopies, arena: Arena | None, lies: Mapping[int, Place]
    ) -> None:
        """Show the blobs of another plan from now on.

        Its memory has had other contents since it was shown last.

        arena, lies: the memory that it shares, and where arrays lie in it, by id.
        """
        self._blobs, self._arena, self._lies = blobs, arena, lies
        if not self.backend.on_host:
            blobs.expect(ANY)

    # ------------------------------------------------------------ views

    def view(self, array: Array) -> HostView:
        """Return a view of an array of blobs."""
        if not self.backend.on_host:
            shape = tuple(array.shape)
            return HostView(self, array, shape, self._blobs.copy([array]))
        place = self._lies.get(id(array))
        arena = None if place is None else self._arena
        return HostView(self, array, tuple(array.shape), arena=arena, place=place)

    def weight(self, array: Array, shape: Shape, *, tell: bool = True) -> HostView:
        """Return a view of the flat array of a parameter.

        tell: whether others are to hear that it may have been written to.
        """
        if self.backend.on_host:
            return HostView(self, array.reshape(shape), shape, parameter=tell)
        copy = self.parameters.copy([array], Kind.WEIGHT)
        return HostView(self, array, shape, copy, parameter=tell)

    def weight_diff(self, array: Array, shape: Shape) -> HostView:
        """Return a view of the flat array of a parameter's gradient."""
        if self.backend.on_host:
            return HostView(self, array.reshape(shape), shape)
        return HostView(self, array, shape, self.diff_copy(array))

    def diff_copy(self, array: Array) -> HostCopy:
        """Return the copy of the gradient of a parameter."""
        return self.parameters.copy([array], Kind.WEIGHT_DIFF)

    # ------------------------------------------------------------ passes

    def before_steps(
        self, steps: Steps = ANY, *, again: bool = False, feeds: bool = False
    ) -> None:
        """Bring to the device what callers may have written.

        again: no code of theirs ran since the last steps, so that what they only hold
        is as it was. feeds: the steps fill the inputs of the net, too.
        """
        if Kind.WEIGHT in steps.changes:
            self.parameters_changed()
        if self.backend.on_host:
            return
        self._blobs.upload(steps, again=again)
        if self.parameters.upload(steps, again=again):
            self.parameters_changed()
        self._blobs.expect(steps)
        if feeds and Kind.INPUT not in steps.changes:
            self._blobs.changes[Kind.INPUT] += 1
        self.parameters.expect(steps)

    def after_steps(self) -> None:
        """Bring the arrays that callers hold up to date; also if steps failed."""
        if self.backend.on_host:
            return
        self._blobs.download()
        self.parameters.download()

    def hand_over(self) -> None:
        """Let code in Python work amid steps: it finds what they have done so far."""
        self.take_back()
        self.after_steps()

    def take_back(self) -> None:
        """Go on with steps after code in Python."""
        if not self.backend.on_host:
            self.before_steps(_AMID)

    # ------------------------------------------------------------ parameters

    def parameters_changed(self) -> None:
        """Note that parameters may be written to now."""
        for reference in tuple(self.parameters.watchers):
            if (one := reference()) is not None:
                one.before_parameters()
        self.parameters.versions += 1

    @property
    def lends_parameters(self) -> bool:
        """Whether somebody has parameters, and may write to them at any time."""
        return self.parameters.exposed or bool(self.parameters.loans)

    def parameters_version(self) -> int:
        """Return a number that is another one if parameters may have changed."""
        if self.lends_parameters:
            self.parameters.versions += 1
        return self.parameters.versions

    def expose_parameters(self) -> None:
        """Note that somebody gets the arrays of parameters themselves."""
        self.parameters.exposed = True
        self.before_steps(WRITING)

    def lend(self, array: np.ndarray) -> np.ndarray:
        """Return a view of parameters; as long as it or a view of it lives is known."""
        loan = _Loan(array)
        self.parameters.lend(loan)
        return np.asarray(loan)


class HostView:
    """What shows `data` or `diff` of a blob as a NumPy array.

    It is the array itself where arrays are host arrays (of parameters and of what
    plans share, a view that is known of as long as somebody has it), else a view of the
    host copy; see `Mirror`.

    arena, place: where the array lies in memory that plans share.
    """

    def __init__(
        self,
        mirror: Mirror,
        array: Array,
        shape: Shape,
        copy: HostCopy | None = None,
        *,
        parameter: bool = False,
        arena: Arena | None = None,
        place: Place | None = None,
    ) -> None:
        self._arena, self._place = arena, place
        self._mirror = mirror
        self._array = array
        self._copy = copy
        self._parameter = parameter
        self._shown: Callable[[], np.ndarray | None] = _nothing
        self.shape = shape
        self.dtype = array.dtype

    def read(self) -> np.ndarray:
        """Return the current contents as a NumPy array that may be written to."""
        if self._parameter:
            self._mirror.parameters_changed()
        if self._copy is not None:
            return self._read(self._copy)
        array: np.ndarray = self._array
        if self._parameter:
            return self._mirror.lend(array)
        if self._arena is None or self._place is None:
            return array
        shown = self._shown()
        if shown is None:
            loan = _Loan(array)
            self._arena.lend(loan, self._place)
            shown = np.asarray(loan)
            self._shown = weakref.ref(shown)
        return shown

    def _read(self, copy: HostCopy) -> np.ndarray:
        flat, shown = copy.read(), self._shown()
        if shown is None:
            shown = flat.reshape(self.shape)
            self._shown = weakref.ref(shown)
        return shown

    def shows(self, array: np.ndarray) -> bool:
        """Say whether this is the memory itself that `read` returns."""
        if self._copy is not None:
            return False
        mine: np.ndarray = self._array
        return array.shape == mine.shape and array.ctypes.data == mine.ctypes.data
