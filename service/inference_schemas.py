"""The JSON of the Open Inference Protocol's routes, as /docs.json describes it."""

from typing import Any, Literal

from pydantic import BaseModel, Field

InputType = Literal["BYTES", "UINT8"]


class LiveDocument(BaseModel):
    """The server answers."""

    live: bool


class ReadyDocument(BaseModel):
    """The server can infer."""

    ready: bool


class ModelReadyDocument(BaseModel):
    """The model can infer."""

    name: str
    ready: bool


class ServerDocument(BaseModel):
    """What serves, and which extensions of the protocol it has."""

    name: str
    version: str
    extensions: list[str]


class TensorDocument(BaseModel):
    """A tensor that a model takes or gives; -1 is any number of images."""

    name: str
    datatype: str
    shape: list[int]


class ModelParameters(BaseModel):
    """`classes` name the columns; `image` may also be BYTES of shape [n], an encoded image each."""

    model: str
    classes: list[str]
    image_datatypes: list[InputType]
    most_images: int


class ModelDocument(BaseModel):
    """What a model takes and gives."""

    name: str
    versions: list[str]
    platform: str
    inputs: list[TensorDocument]
    outputs: list[TensorDocument]
    parameters: ModelParameters


class InputDocument(BaseModel):
    """An input: its `data`, or `parameters.binary_data_size` of what follows the JSON."""

    name: Literal["image"]
    datatype: InputType
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class WantedDocument(BaseModel):
    """An output that is asked for; `parameters.binary_data` asks for it after the JSON."""

    name: str
    parameters: dict[str, Any] | None = None


class InferenceRequestDocument(BaseModel):
    """The JSON part of an inference request."""

    id: str | None = None
    inputs: list[InputDocument] = Field(min_length=1, max_length=1)
    outputs: list[WantedDocument] | None = None
    parameters: dict[str, Any] | None = None


class OutputDocument(BaseModel):
    """An output: its `data`, or `parameters.binary_data_size` of what follows the JSON."""

    name: str
    datatype: str
    shape: list[int]
    data: list[Any] | None = None
    parameters: dict[str, Any] | None = None


class InferenceDocument(BaseModel):
    """The JSON part of an inference response; `parameters` have the policy's revision and the model."""

    model_name: str
    model_version: str
    id: str | None = None
    parameters: dict[str, Any]
    outputs: list[OutputDocument]
