"""How each cause acts: mechanisms with exact abduction, interventions, and the SCM of a graph."""

from cxrcausal.scm.action import Replace, Scale, Shift, healthy, scale, shift
from cxrcausal.scm.exogenous import Exogenous
from cxrcausal.scm.fit.choice import MECHANISMS, fit_mechanism
from cxrcausal.scm.fit.nodewise import keep_replicates
from cxrcausal.scm.mechanism.base import Mechanism, Parents
from cxrcausal.scm.mechanism.continuous import FlowMechanism
from cxrcausal.scm.mechanism.definition import LogicMechanism
from cxrcausal.scm.mechanism.flow import ContinuousFlow, MonotoneFlow
from cxrcausal.scm.mechanism.interval import IntervalMechanism
from cxrcausal.scm.mechanism.nominal import GumbelMechanism
from cxrcausal.scm.mechanism.registry import maximise_likelihood, register_mechanism
from cxrcausal.scm.mechanism.spline import SplineFlow
from cxrcausal.scm.mechanism.thresholds import DirectEdges, FlowEdges
from cxrcausal.scm.model import FlowSCM
from cxrcausal.scm.table import check_table, decode, encode
from cxrcausal.scm.unknown.importance import WeightedDraws, importance_posterior

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
