"""How each cause acts: mechanisms with exact abduction, interventions, and the SCM of a graph."""

from cxrcausal.scm.continuous import FlowMechanism
from cxrcausal.scm.edges import DirectEdges, FlowEdges
from cxrcausal.scm.exogenous import Exogenous
from cxrcausal.scm.fit import MECHANISMS, fit_mechanism
from cxrcausal.scm.flow import ContinuousFlow, MonotoneFlow
from cxrcausal.scm.importance import WeightedDraws, importance_posterior
from cxrcausal.scm.interval import IntervalMechanism
from cxrcausal.scm.intervention import Scale, Shift, healthy, scale, shift
from cxrcausal.scm.learn import keep_replicates
from cxrcausal.scm.logic import LogicMechanism
from cxrcausal.scm.mechanism import Mechanism, Parents
from cxrcausal.scm.model import FlowSCM
from cxrcausal.scm.nominal import GumbelMechanism
from cxrcausal.scm.register import maximise_likelihood, register_mechanism
from cxrcausal.scm.replacement import Replace
from cxrcausal.scm.spline import SplineFlow
from cxrcausal.scm.table import check_table, decode, encode

__all__ = [
    "MECHANISMS",
    "ContinuousFlow",
    "DirectEdges",
    "Exogenous",
    "FlowEdges",
    "FlowMechanism",
    "FlowSCM",
    "GumbelMechanism",
    "IntervalMechanism",
    "LogicMechanism",
    "Mechanism",
    "MonotoneFlow",
    "Parents",
    "Replace",
    "Scale",
    "Shift",
    "SplineFlow",
    "WeightedDraws",
    "check_table",
    "decode",
    "encode",
    "fit_mechanism",
    "healthy",
    "importance_posterior",
    "keep_replicates",
    "maximise_likelihood",
    "register_mechanism",
    "scale",
    "shift",
]
