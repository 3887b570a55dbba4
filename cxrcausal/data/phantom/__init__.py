"""A procedural chest radiograph with a known SCM: counterfactual images whose truth is known.

>>> from cxrcausal.data import phantom
>>> study = phantom.sample(3, seed=0)
>>> study.images.shape, len(study.table)
(torch.Size([3, 1, 64, 64]), 3)
>>> other = phantom.counterfactual(study.noise, {"sex": "Male"})
>>> set(other.table["sex"])
{'Male'}
"""

from cxrcausal.data.phantom.mechanism import PhantomMechanism
from cxrcausal.data.phantom.metadata import phantom_scm
from cxrcausal.data.phantom.study import VERSION, Noise, Study, counterfactual, sample

__all__ = [
    "VERSION",
    "Noise",
    "PhantomMechanism",
    "Study",
    "counterfactual",
    "phantom_scm",
    "sample",
]
