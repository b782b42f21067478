"""Our own converters, and how skl2onnx learns of them.

Each replaces or adds to skl2onnx's: where its own fails, computes in float32 only, or is slow
(docs/decisions has the measurements). Everything else of the pipeline is skl2onnx's work.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

from skl2onnx import update_registered_converter
from sklearn import (
    calibration,
    cross_decomposition,
    discriminant_analysis,
    dummy,
    ensemble,
    impute,
    kernel_ridge,
    linear_model,
    naive_bayes,
    neural_network,
    preprocessing,
    svm,
    tree,
)

from trainer.compile.converters import encoders, layered, likelihood, linear, preparing, trees
from trainer.compile.converters.emit import ML, NotCompilable

__all__ = ["ML", "NotCompilable", "register"]

Function = Callable[..., None]

_STEPS: dict[type, tuple[Function, Function]] = {
    impute.SimpleImputer: (preparing.imputer_shape, preparing.imputer),
    preprocessing.StandardScaler: (preparing.same_shape, preparing.scaler),
    preprocessing.RobustScaler: (preparing.same_shape, preparing.scaler),
    preprocessing.MaxAbsScaler: (preparing.same_shape, preparing.scaler),
    preprocessing.MinMaxScaler: (preparing.same_shape, preparing.range_scaler),
    preprocessing.KBinsDiscretizer: (preparing.bins_shape, preparing.bins),
    preprocessing.OneHotEncoder: (encoders.shape, encoders.encoder),
    preprocessing.OrdinalEncoder: (encoders.shape, encoders.encoder),
    preprocessing.TargetEncoder: (encoders.shape, encoders.encoder),
}

_LINEAR_REGRESSORS = (
    linear_model.ARDRegression,
    linear_model.BayesianRidge,
    linear_model.ElasticNet,
    linear_model.ElasticNetCV,
    linear_model.HuberRegressor,
    linear_model.Lars,
    linear_model.LarsCV,
    linear_model.Lasso,
    linear_model.LassoCV,
    linear_model.LassoLars,
    linear_model.LassoLarsCV,
    linear_model.LassoLarsIC,
    linear_model.LinearRegression,
    linear_model.OrthogonalMatchingPursuit,
    linear_model.OrthogonalMatchingPursuitCV,
    linear_model.PassiveAggressiveRegressor,
    linear_model.QuantileRegressor,
    linear_model.Ridge,
    linear_model.RidgeCV,
    linear_model.SGDRegressor,
    linear_model.TheilSenRegressor,
    svm.LinearSVR,
)

_LINEAR_CLASSIFIERS = (
    discriminant_analysis.LinearDiscriminantAnalysis,
    linear_model.LogisticRegression,
    linear_model.LogisticRegressionCV,
    linear_model.PassiveAggressiveClassifier,
    linear_model.Perceptron,
    linear_model.RidgeClassifier,
    linear_model.RidgeClassifierCV,
    linear_model.SGDClassifier,
    svm.LinearSVC,
)

_REGRESSORS: dict[type, Function] = {
    **dict.fromkeys(_LINEAR_REGRESSORS, linear.regressor),
    linear_model.GammaRegressor: linear.logarithmic_regressor,
    linear_model.PoissonRegressor: linear.logarithmic_regressor,
    linear_model.TweedieRegressor: linear.logarithmic_regressor,
    dummy.DummyRegressor: likelihood.constant_regressor,
    kernel_ridge.KernelRidge: layered.kernel_ridge,
    neural_network.MLPRegressor: layered.network_regressor,
    svm.NuSVR: layered.support_vector_regressor,
    svm.SVR: layered.support_vector_regressor,
    cross_decomposition.CCA: linear.centred_regressor,
    cross_decomposition.PLSCanonical: linear.centred_regressor,
    cross_decomposition.PLSRegression: linear.centred_regressor,
    tree.DecisionTreeRegressor: trees.forest_regressor,
    tree.ExtraTreeRegressor: trees.forest_regressor,
    ensemble.RandomForestRegressor: trees.forest_regressor,
    ensemble.ExtraTreesRegressor: trees.forest_regressor,
    ensemble.BaggingRegressor: trees.forest_regressor,
    ensemble.GradientBoostingRegressor: trees.boosting_regressor,
    ensemble.HistGradientBoostingRegressor: trees.histogram_regressor,
}

_CLASSIFIERS: dict[type, Function] = {
    **dict.fromkeys(_LINEAR_CLASSIFIERS, linear.classifier),
    calibration.CalibratedClassifierCV: linear.calibrated_classifier,
    discriminant_analysis.QuadraticDiscriminantAnalysis: likelihood.quadratic_discriminant,
    dummy.DummyClassifier: likelihood.constant_classifier,
    naive_bayes.BernoulliNB: likelihood.discrete_bayes,
    naive_bayes.CategoricalNB: likelihood.categorical_bayes,
    naive_bayes.ComplementNB: likelihood.discrete_bayes,
    naive_bayes.GaussianNB: likelihood.gaussian_bayes,
    naive_bayes.MultinomialNB: likelihood.discrete_bayes,
    neural_network.MLPClassifier: layered.network_classifier,
    tree.DecisionTreeClassifier: trees.forest_classifier,
    tree.ExtraTreeClassifier: trees.forest_classifier,
    ensemble.RandomForestClassifier: trees.forest_classifier,
    ensemble.ExtraTreesClassifier: trees.forest_classifier,
    ensemble.BaggingClassifier: trees.forest_classifier,
    ensemble.AdaBoostClassifier: trees.voting_classifier,
    ensemble.GradientBoostingClassifier: trees.boosting_classifier,
    ensemble.HistGradientBoostingClassifier: trees.histogram_classifier,
}

_CLASSIFIER_OPTIONS: dict[str, list[Any]] = {
    "zipmap": [True, False, "columns"],
    "raw_scores": [True, False],
    "nocl": [True, False],
    "output_class_labels": [False, True],
}


@lru_cache(maxsize=1)
def register() -> None:
    """Tell skl2onnx, once per process."""
    for model, (shape, convert) in _STEPS.items():
        parser = encoders.parse if convert is encoders.encoder else None
        update_registered_converter(model, f"Warren{model.__name__}", shape, convert, parser=parser)
    for model, convert in _REGRESSORS.items():
        # skl2onnx's own parser of BayesianRidge asks for this option.
        options = {"return_std": [False]} if model is linear_model.BayesianRidge else None
        update_registered_converter(model, f"Warren{model.__name__}", trees.regressor_shape, convert, options=options)
    for model, convert in _CLASSIFIERS.items():
        update_registered_converter(
            model,
            f"Warren{model.__name__}",
            trees.classifier_shape,
            convert,
            options=_CLASSIFIER_OPTIONS,
        )
