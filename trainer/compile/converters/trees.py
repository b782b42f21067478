"""Converters for decision trees, forests and both kinds of gradient boosting.

Every fitted tree goes into one sum (``tree_sum``); what stands around it (mean, prior, link,
argmax) is written exactly as scikit-learn computes it, so that in float64 a graph differs
from the estimator by rounding of the last bit at most.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from skl2onnx.common.data_types import Int64TensorType

from trainer.compile.converters import tree_node, tree_sum
from trainer.compile.converters.emit import Emit, NotCompilable
from trainer.compile.converters.preparing import set_output


def classifier_shape(operator: Any) -> None:
    """One label and one probability per class; skl2onnx would give a forest's in float32."""
    operator.outputs[0].type = Int64TensorType([operator.inputs[0].get_first_dimension()])
    set_output(operator, len(operator.raw_operator.classes_), place=1)


def regressor_shape(operator: Any) -> None:
    """One value."""
    set_output(operator, 1)


def _narrowed(emit: Emit) -> str:
    """The input as scikit-learn's own trees see it: rounded to float32, whatever the graph's type."""
    return emit.cast(emit.cast(emit.input(), np.float32), emit.dtype)


def forest_regressor(scope: Any, operator: Any, container: Any) -> None:
    """A tree or the mean of a forest's trees."""
    emit = Emit(scope, operator, container)
    trees = [tree_node.sklearn_tree(one, one.value[:, :, 0], place) for one, place in _members(operator.raw_operator)]
    total = tree_sum.add(emit, _narrowed(emit), trees, [0] * len(trees), 1)
    emit.output(0, emit.node("Div", total, emit.constant(len(trees))))


def forest_classifier(scope: Any, operator: Any, container: Any) -> None:
    """A tree's class shares, or their mean over a forest's trees, and the largest one's label."""
    emit = Emit(scope, operator, container)
    classes, fitted = operator.raw_operator.classes_, _members(operator.raw_operator)
    rows = _narrowed(emit)
    if len(classes) == 2 and emit.ml_version >= tree_node.NEWER_FORM:
        # One number per leaf suffices: the shares of two classes add up to one.
        trees = [tree_node.sklearn_tree(tree, tree.value[:, 0, 1:], place) for tree, place in fitted]
        second = tree_sum.add(emit, rows, trees, [0] * len(trees), 1)
        total = emit.node("Concat", emit.node("Sub", emit.constant(len(trees)), second), second, axis=1)
    else:
        trees = [tree_node.sklearn_tree(tree, tree.value[:, 0, :], place) for tree, place in fitted]
        total = tree_sum.add(emit, rows, trees, [0] * len(trees), len(classes))
    emit.classify(emit.node("Div", total, emit.constant(len(trees))), classes)


def _members(model: Any) -> list[tuple[Any, Any]]:
    """The fitted trees of a tree, a forest or a bag of trees, each with its columns (None: all in order)."""
    members = getattr(model, "estimators_", [model])
    columns = getattr(model, "estimators_features_", [None] * len(members))
    if not all(hasattr(one, "tree_") and one.n_outputs_ == 1 for one in members):
        raise NotCompilable("something other than trees for one target")
    if hasattr(model, "classes_") and any(len(one.classes_) != len(model.classes_) for one in members):
        raise NotCompilable("members that have not seen every class")
    return [(one.tree_, places) for one, places in zip(members, columns, strict=True)]


def voting_classifier(scope: Any, operator: Any, container: Any) -> None:
    """AdaBoostClassifier: every tree's winner gets the tree's weight, the others lose their share of it."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    count, total = len(model.classes_), model.estimator_weights_.sum()
    trees = []
    for (one, places), weight in zip(_members(model), model.estimator_weights_, strict=False):
        won = one.value[:, 0, :].argmax(axis=1)[:, None] == np.arange(count)
        votes = np.where(won, weight, -1 / (count - 1) * weight)
        trees.append(tree_node.sklearn_tree(one, votes[:, 1:] if count == 2 else votes, places))
    sums = tree_sum.add(emit, _narrowed(emit), trees, [0] * len(trees), 1 if count == 2 else count)
    decision = emit.node("Div", sums, emit.constant(total))
    if count > 2:
        emit.label(emit.argmax(decision), model.classes_)
        emit.output(1, emit.softmax(emit.node("Div", decision, emit.constant(count - 1)), count))
        return
    # The two classes' votes are each other's negative.
    both = emit.node("Concat", emit.node("Neg", decision), decision, axis=1)
    second = emit.node("Greater", decision, emit.constant(0))
    flat = emit.node("Reshape", emit.cast(second, np.int64), emit.constant([-1], np.int64))
    emit.label(flat, model.classes_)
    emit.output(1, emit.softmax(both, 2))


def _boosted(emit: Emit, model: Any) -> str:
    """The raw prediction (rows, trees per iteration) of GradientBoosting."""
    if model.init_ != "zero" and type(model.init_).__name__ not in ("DummyClassifier", "DummyRegressor"):
        raise NotCompilable("an init estimator of one's own")
    prior = model._raw_predict_init(np.zeros((1, model.n_features_in_), np.float32))
    trees, targets = [], []
    for stage in model.estimators_:
        for target, member in enumerate(stage):
            trees.append(tree_node.sklearn_tree(member.tree_, model.learning_rate * member.tree_.value[:, :, 0]))
            targets.append(target)
    total = tree_sum.add(emit, _narrowed(emit), trees, targets, prior.shape[1])
    return emit.node("Add", total, emit.constant(prior))


def boosting_regressor(scope: Any, operator: Any, container: Any) -> None:
    """GradientBoostingRegressor: the prior plus what every stage adds."""
    emit = Emit(scope, operator, container)
    emit.output(0, _boosted(emit, operator.raw_operator))


def boosting_classifier(scope: Any, operator: Any, container: Any) -> None:
    """GradientBoostingClassifier; with two classes a raw prediction of exactly 0 is the second."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    raw = _boosted(emit, model)
    if len(model.classes_) > 2:
        emit.classify(emit.softmax(raw, len(model.classes_)), model.classes_)
        return
    logit = emit.node("Mul", raw, emit.constant(2)) if model.loss == "exponential" else raw
    is_second = emit.node("GreaterOrEqual", raw, emit.constant(0))
    emit.two_classes(emit.elementwise("Sigmoid", logit, 1), is_second, model.classes_)


def _histogram_boosted(emit: Emit, model: Any) -> str:
    """The raw prediction of HistGradientBoosting, which, unlike the others, compares in float64."""
    if model._preprocessor is not None:
        raise NotCompilable("categorical features inside the estimator")
    trees, targets = [], []
    for stage in model._predictors:
        for target, member in enumerate(stage):
            nodes = member.nodes
            left = np.where(nodes["is_leaf"], -1, nodes["left"].astype(np.int64))
            trees.append(
                tree_node.Tree(
                    left,
                    nodes["right"].astype(np.int64),
                    nodes["feature_idx"].astype(np.int64),
                    nodes["num_threshold"].astype(np.float64),
                    nodes["missing_go_to_left"].astype(bool),
                    nodes["value"][:, None].astype(np.float64),
                )
            )
            targets.append(target)
    prior = np.asarray(model._baseline_prediction).reshape(1, -1)
    if not trees:
        raise NotCompilable("boosting that stopped before its first tree")
    total = tree_sum.add(emit, emit.input(), trees, targets, prior.shape[1])
    return emit.node("Add", total, emit.constant(prior))


def histogram_regressor(scope: Any, operator: Any, container: Any) -> None:
    """HistGradientBoostingRegressor with the identity or the logarithm as its link."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    raw = _histogram_boosted(emit, model)
    link = type(model._loss.link).__name__
    if link not in ("IdentityLink", "LogLink"):
        raise NotCompilable(f"the link {link}")
    emit.output(0, raw if link == "IdentityLink" else emit.elementwise("Exp", raw, 1))


def histogram_classifier(scope: Any, operator: Any, container: Any) -> None:
    """HistGradientBoostingClassifier; with two classes a raw prediction of exactly 0 is the first."""
    emit, model = Emit(scope, operator, container), operator.raw_operator
    raw = _histogram_boosted(emit, model)
    if len(model.classes_) > 2:
        emit.classify(emit.softmax(raw, len(model.classes_)), model.classes_)
        return
    is_second = emit.node("Greater", raw, emit.constant(0))
    emit.two_classes(emit.elementwise("Sigmoid", raw, 1), is_second, model.classes_)
