"""Layers in Python that the published nets of Faster R-CNN and R-FCN name.

With the folder `models` on the path of Python, a net that names `rpn.proposal_layer`
and its like runs and trains here:

    PYTHONPATH=models python -m runtime train --solver S --allow-python rpn

They take the place of those of py-faster-rcnn, and were written from the paper: Ren et
al., Faster R-CNN, arXiv:1506.01497. The text of a layer (`param_str`) may give the
options that each class lists; what is drawn at random follows from the inputs of a
layer, so that a run that goes on from a snapshot draws the same.
"""
