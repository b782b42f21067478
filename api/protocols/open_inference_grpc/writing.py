"""Answers as messages.

Between a predictor's answer and the client. Outputs are raw where the request was, and typed where it was.
"""

from __future__ import annotations

from collections.abc import Sequence

from api.predict.batches import Answer
from api.predict.envelope import Asked
from api.protocols.open_inference import answers, metadata
from api.protocols.open_inference_grpc import contents
from api.protocols.open_inference_grpc import open_inference_pb2 as messages
from api.protocols.open_inference_grpc.reading import Note
from wire import errors, frames


def answer(asked: Asked, answer: Answer) -> bytes:
    """The whole ModelInferResponse. Raises errors.InternalError where the outputs are not those that were asked for."""
    if [each.name for each in answer.outputs] != [each.name for each in asked.outputs]:
        raise errors.InternalError("an answer with other outputs")
    note: Note = asked.note
    message = messages.ModelInferResponse(model_name=asked.model, model_version=str(answer.version), id=note.id)
    for output, data in zip(answer.outputs, frames.split(answer.members, answer.outputs), strict=True):
        tensor = message.outputs.add(name=output.name, datatype=output.datatype, shape=output.shape)
        if note.typed:
            contents.fill(tensor.contents, output.datatype, data)
        else:
            message.raw_output_contents.append(bytes(data))
    return message.SerializeToString()


def model(told: metadata.Model) -> messages.ModelMetadataResponse:
    """The metadata of a version; this form of the protocol has no place for a tensor's parameters."""
    message = messages.ModelMetadataResponse(name=told.name, versions=told.versions, platform=told.platform)
    for tensors, found in ((message.inputs, told.inputs), (message.outputs, told.outputs)):
        for each in found:
            tensors.add(name=each.name, datatype=each.datatype, shape=each.shape)
    return message


def index(found: Sequence[answers.Indexed]) -> messages.RepositoryIndexResponse:
    """The models that there are."""
    message = messages.RepositoryIndexResponse()
    for each in found:
        message.models.add(name=each.name, version=each.version, state=each.state, reason=each.reason)
    return message


def statistics(found: Sequence[metadata.ModelStatistics]) -> messages.ModelStatisticsResponse:
    """The statistics of versions; there is no cache and no account of single batch sizes."""
    message = messages.ModelStatisticsResponse()
    for each in found:
        durations = {
            name: messages.StatisticDuration(count=one.count, ns=one.ns) for name, one in each.inference_stats.items()
        }
        message.model_stats.add(
            name=each.name,
            version=each.version,
            last_inference=each.last_inference,
            inference_count=each.inference_count,
            execution_count=each.execution_count,
            inference_stats=messages.InferStatistics(**durations),
        )
    return message
