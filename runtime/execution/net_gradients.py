"""Nets of which nothing runs backward, or not before somebody asks for it."""

from __future__ import annotations

import weakref
from collections import OrderedDict

import numpy as np

from netspec.errors import SpecError
from netspec.graph import Graph
from netspec.nets.filter import KeptNet
from netspec.schema import TRAIN
from runtime.execution.blob import Blob
from runtime.execution.net_shapes import NetShapes
from runtime.execution.ran import BackwardRan


class NetGradients(NetShapes):
    """Whether a `Net` can run backward.

    Where it cannot, layers run as one as in use, and pooling looks for no maxima that
    only backward would read. A net that waits (`gradients=None`) begins so. It is made
    anew, with the gradients of its definition, before anybody gets an array of it that
    would be another one then: ahead of passes by hand, and when a blob is looked at.
    """

    blobs: OrderedDict[str, Blob]
    _ran: BackwardRan
    _kept_net: KeptNet

    def _build(self) -> Graph:
        raise NotImplementedError

    def _may_wait(self) -> bool:
        """Whether a pass leaves nothing but blobs, so that it can be done again."""
        return not self.plan.lasting and not any(
            node.phase == TRAIN or op.keeps_blobs or op.learns_shapes or op.resizable
            for node in self.graph.nodes
            for op in (node.op,)
        )

    def _wait_if_that_may_be(self) -> None:
        """Begin to wait, or make what waits for nothing anew."""
        if self._gradients is not None:
            return
        self._waits = self._may_wait()
        if not self._waits:
            self._gradients = True
            self._begin_anew()

    def _begin_anew(self) -> None:
        self.graph = self._build()
        self.plans.forget()
        self._start()

    def _tell_when_asked(self) -> None:
        """Let blobs tell when somebody asks for them, while the net waits."""
        if not self._waits:
            return
        net = weakref.ref(self)  # so that it is freed at once

        def asked(_: str) -> None:
            if (living := net()) is not None:
                living.make_gradients()

        for blob in self.blobs.values():
            blob.ask = blob.ask_diff = asked

    def make_gradients(self) -> None:
        """Make gradients ready if the net has waited with that; blobs stay as they are.

        Where all blobs are kept, backward may follow; else a pass forward comes first.
        """
        if not self._waits:
            return
        self._waits, self._gradients = False, True
        self.forget_pass()
        shown = [blob for name, blob in self.blobs.items() if self._shows(name)]
        before = [(blob, blob.data.copy()) for blob in shown]
        self._begin_anew()
        for kept in self.plans:
            for name, blob in self.blobs.items():
                blob.ask = blob.ask_diff = None
                blob.rebind(*kept.views[id(self.plan)][name])
        self._put(before)
        whole = self._keep is None
        if whole:
            self._do_again()
            self._put(before)
        self._ran.both(kept=whole)

    def _shows(self, name: str) -> bool:
        always = name in self.graph.inputs or name in self.graph.outputs
        return self._keep is None or name in self._keep or always

    @staticmethod
    def _put(values: list[tuple[Blob, np.ndarray]]) -> None:
        for blob, array in values:
            blob.data[...] = array

    def _do_again(self) -> None:
        """Repeat the last pass forward from what the data layers gave."""
        given = {n.index for n in self.graph.nodes if n.op.is_source}
        self.mirror.before_steps()
        try:
            with np.errstate(all="ignore"):
                for step in self.plan.forward:
                    if step.node not in given:
                        step.run()
        finally:
            self.mirror.after_steps()
        self.plan.forget_prepared()

    def _check_gradients(self) -> None:
        """Refuse to run backward where that cannot be."""
        if self._gradients is False:
            raise SpecError(
                "the net was made with gradients=False, so that nothing of it runs "
                "backward; make it with gradients=True"
            )
        if self.graph.gradient_errors:
            raise SpecError("\n".join(self.graph.gradient_errors))
