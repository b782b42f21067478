"""What scikit-learn's constraints don't say about its estimators, for the catalogue.

Comes in where ``trainer.catalogue`` translates the constraints: which estimators can't be
trained from JSON and why, which parameters a request may not set and why, which options mean
nothing for a table, and where our default differs from scikit-learn's.
"""

from __future__ import annotations

from typing import Any

from wire.parameters import Allowed

_NEEDS_ESTIMATOR = "it wraps another estimator, which JSON parameters can't carry"
_NEEDS_TARGETS = "it needs several targets, and a model here has one"

EXCLUDED: dict[str, str] = {
    "ClassifierChain": _NEEDS_TARGETS,
    "FixedThresholdClassifier": _NEEDS_ESTIMATOR,
    "MultiOutputClassifier": _NEEDS_TARGETS,
    "MultiOutputRegressor": _NEEDS_TARGETS,
    "MultiTaskElasticNet": _NEEDS_TARGETS + "; ElasticNet is the same for one",
    "MultiTaskElasticNetCV": _NEEDS_TARGETS + "; ElasticNetCV is the same for one",
    "MultiTaskLasso": _NEEDS_TARGETS + "; Lasso is the same for one",
    "MultiTaskLassoCV": _NEEDS_TARGETS + "; LassoCV is the same for one",
    "OneVsOneClassifier": _NEEDS_ESTIMATOR,
    "OneVsRestClassifier": _NEEDS_ESTIMATOR,
    "OutputCodeClassifier": _NEEDS_ESTIMATOR,
    "RegressorChain": _NEEDS_TARGETS,
    "SelfTrainingClassifier": _NEEDS_ESTIMATOR,
    "StackingClassifier": _NEEDS_ESTIMATOR + " (a list of them)",
    "StackingRegressor": _NEEDS_ESTIMATOR + " (a list of them)",
    "TunedThresholdClassifierCV": _NEEDS_ESTIMATOR,
    "VotingClassifier": _NEEDS_ESTIMATOR + " (a list of them)",
    "VotingRegressor": _NEEDS_ESTIMATOR + " (a list of them)",
}
"""The estimators that can't fit a single target from JSON parameters, with the reason."""

_ENCODED = "the trainer encodes text columns itself"
FIXED: dict[str, str] = {
    "n_jobs": "the trainer uses one process per training, so that trainings don't starve each other",
    "verbose": "the training's progress is reported in its own way",
    "warm_start": "every version is fitted from the beginning",
    "copy": "the data belongs to the training and is never seen again",
    "copy_X": "the data belongs to the training and is never seen again",
    "copy_X_train": "the data belongs to the training and is never seen again",
    "categorical_features": _ENCODED,
    "use_legacy_attributes": "it only names attributes of the fitted object",
    "precompute": "it changes the time a fit takes and not its result",
    "n_targets": "a model here has one target",
    "alpha_per_target": "a model here has one target",
    "store_cv_results": "it only keeps figures in the fitted object",
    "store_covariance": "it only keeps figures in the fitted object",
    "compute_score": "it only keeps figures in the fitted object",
}
"""Parameters that no request may set, with the reason."""


REFUSED_LISTS = frozenset({("array-like", "alpha")})
"""Constraints that take one value per target or per feature, where a request gives one for all."""

REFUSED_OPTIONS = frozenset({"precomputed", "pyfunc", "deprecated", "warn"})
"""Options that take a matrix or a function instead of a table of rows."""

HIDDEN_DEFAULTS = frozenset({"deprecated", "warn"})
"""Defaults that are no values but markers of scikit-learn's own deprecations."""

_NULL = Allowed("null")
_NUMBERS = Allowed("list", of=Allowed("number"))

WORDS: dict[str, tuple[Allowed, ...]] = {
    "boolean": (Allowed("boolean"),),
    "random_state": (Allowed("integer", low=0), _NULL),
    "cv_object": (Allowed("integer", low=2, high=20), _NULL),
    "array-like": (_NUMBERS,),
}
"""The forms of scikit-learn's constraints that are words."""

_WEIGHTS = Allowed("class_weights")
_MONOTONIC = (Allowed("list", of=Allowed("integer", low=-1, high=1)), _NULL)
_CLASSIFIER_SCORES = ("accuracy", "balanced_accuracy", "f1_macro", "f1_weighted", "neg_log_loss", "roc_auc_ovr")
_REGRESSOR_SCORES = (
    "neg_mean_absolute_error",
    "neg_mean_squared_error",
    "neg_median_absolute_error",
    "neg_root_mean_squared_error",
    "r2",
)

FORMS: dict[str, tuple[Allowed, ...]] = {
    "class_weight": (Allowed("option", options=("balanced",)), _WEIGHTS, _NULL),
    "RandomForestClassifier.class_weight": (
        Allowed("option", options=("balanced", "balanced_subsample")),
        _WEIGHTS,
        _NULL,
    ),
    "ExtraTreesClassifier.class_weight": (
        Allowed("option", options=("balanced", "balanced_subsample")),
        _WEIGHTS,
        _NULL,
    ),
    "monotonic_cst": _MONOTONIC,
    "interaction_cst": (
        Allowed("option", options=("no_interactions", "pairwise")),
        Allowed("list", of=Allowed("list", of=Allowed("integer", low=0))),
        _NULL,
    ),
    "hidden_layer_sizes": (
        Allowed("integer", low=1),
        Allowed("list", of=Allowed("integer", low=1)),
    ),
    "metric_params": (Allowed("object"), _NULL),
    "kernel_params": (Allowed("object"), _NULL),
    "solver_options": (Allowed("object"), _NULL),
    "CCA.n_components": (Allowed("integer", low=1, high=1),),
    "PLSCanonical.n_components": (Allowed("integer", low=1, high=1),),
    "CategoricalNB.min_categories": (Allowed("integer", low=2),),
    "DummyClassifier.constant": (Allowed("label"), _NULL),
    "DummyRegressor.constant": (Allowed("number"), _NULL),
    "HistGradientBoostingClassifier.scoring": (Allowed("option", options=("loss", *_CLASSIFIER_SCORES)), _NULL),
    "HistGradientBoostingRegressor.scoring": (Allowed("option", options=("loss", *_REGRESSOR_SCORES)), _NULL),
    "LogisticRegressionCV.scoring": (Allowed("option", options=_CLASSIFIER_SCORES), _NULL),
    "RidgeCV.scoring": (Allowed("option", options=_REGRESSOR_SCORES), _NULL),
    "RidgeClassifierCV.scoring": (Allowed("option", options=_CLASSIFIER_SCORES[:4]), _NULL),
    "RadiusNeighborsClassifier.outlier_label": (Allowed("label"),),
}
"""The forms of parameters whose constraints are wider than a table and JSON are."""

PROBABILITIES: dict[str, tuple[str, tuple[Any, ...]]] = {
    "NuSVC": ("probability", (True,)),
    "SGDClassifier": ("loss", ("log_loss", "modified_huber")),
    "SVC": ("probability", (True,)),
}
"""Estimators that give probabilities only where a parameter has one of these values."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "CCA": {"n_components": 1},
    "CategoricalNB": {"min_categories": 2},
    "PLSCanonical": {"n_components": 1},
    "RadiusNeighborsClassifier": {"outlier_label": "most_frequent"},
}
"""Our defaults where scikit-learn's can't work for one target, or would let a later row fail.

CCA and PLSCanonical allow one component per target. A category that no training row has, and a
row with no neighbour in the radius, would raise an error when they are served.
"""
