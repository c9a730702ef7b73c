"""What clients may ask for, field by field: the description of the interface is made from this page."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from regard.pipelines.chat import chat_search

MOST_BEAMS = 64
MOST_TOKENS = 1024
ModelName = Annotated[str | None, Field(description="A name of /v1/models; the first that fits if it is left out.")]


class Body(BaseModel):
    """Unknown fields are mistakes, as they are in a recipe."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)


class SearchFields(Body):
    """Settings of the search; what is left out is as the model's folder has it."""

    beam_size: Annotated[int | None, Field(ge=1, le=MOST_BEAMS)] = None
    n_best: Annotated[int | None, Field(ge=1, le=MOST_BEAMS, description="So many outputs, the best first.")] = None
    length_penalty: Annotated[float | None, Field(ge=0, le=10)] = None
    coverage_penalty: Annotated[float | None, Field(ge=0, le=10)] = None
    no_repeat_ngram_size: Annotated[int | None, Field(ge=0, le=MOST_TOKENS)] = None
    min_length: Annotated[int | None, Field(ge=0, le=MOST_TOKENS)] = None
    max_length: Annotated[int | None, Field(ge=1, le=MOST_TOKENS)] = None
    forbid_unknown: bool | None = None
    sampling: Annotated[bool | None, Field(description="Draw outputs instead of looking for the best.")] = None
    temperature: Annotated[float | None, Field(gt=0, le=100)] = None
    top_k: Annotated[int | None, Field(ge=0, le=1_000_000)] = None
    top_p: Annotated[float | None, Field(gt=0, le=1)] = None
    seed: Annotated[int | None, Field(ge=0, lt=2**63)] = None

    def search(self) -> dict[str, Any]:
        """What was set."""
        return {name: value for name in SearchFields.model_fields if (value := getattr(self, name)) is not None}


class Translate(SearchFields):
    """One text or several, each translated as `regard translate` translates a line."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"text": "A man plays guitar.", "n_best": 2, "alignment": True}]}
    )

    text: Annotated[str | list[str], Field(description="One text gives one object, a list gives a list.")]
    model: ModelName = None
    source: Annotated[str | None, Field(max_length=20, description="With `target`, instead of `model`.")] = None
    target: Annotated[str | None, Field(max_length=20)] = None
    format: Annotated[Literal["text", "html"], Field(description="html: mark-up keeps its place.")] = "text"
    prefix: Annotated[str, Field(max_length=10_000, description="What every output begins with.")] = ""
    replace_unk: Annotated[bool, Field(description="Copy the source word that <unk> looked at.")] = False
    alignment: Annotated[bool, Field(description="Add links of words, [source, target] from 0.")] = False
    attention: Annotated[bool, Field(description="Add every attention, {site: [head][query][key]}.")] = False
    stream: Annotated[bool, Field(description="Send the best output so far after each step (one text).")] = False

    @model_validator(mode="after")
    def _agrees(self) -> "Translate":
        if self.stream and (not isinstance(self.text, str) or self.format == "html" or self.replace_unk):
            raise ValueError("`stream` is for one plain text, without `replace_unk`")
        if self.format == "html" and (self.attention or self.alignment or self.prefix or self.replace_unk):
            raise ValueError("`attention`, `alignment`, `prefix` and `replace_unk` are for the format text")
        return self


class Chat(Body):
    """A conversation so far; the last turn is answered."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"turns": ["Hello, who are you?"]}]})

    turns: Annotated[list[str], Field(min_length=1, description="The oldest first; turns alternate.")]
    model: ModelName = None
    history: Annotated[
        int | None, Field(ge=1, le=1000, description="Turns the model reads, if not its own number.")
    ] = None
    temperature: Annotated[float, Field(ge=0, le=100, description="0: always the most probable word.")] = 0.7
    top_k: Annotated[int, Field(ge=0, le=1_000_000)] = 0
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 1
    max_length: Annotated[int, Field(ge=1, le=MOST_TOKENS)] = 60
    stream: Annotated[bool, Field(description="Send the reply piece by piece.")] = False

    def search(self) -> dict[str, Any]:
        """The settings of `regard chat` with the same options."""
        return chat_search(self.temperature, top_k=self.top_k, top_p=self.top_p, seed=self.seed, most=self.max_length)


class Pronounce(SearchFields):
    """Words to be pronounced."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"words": ["attention"], "n_best": 2}]})

    words: Annotated[list[str], Field(min_length=1)]
    model: ModelName = None


class Classify(Body):
    """Texts that are to be given labels, or words that are to be given tags."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"text": ["How far is it from Denver to Aspen ?"]}]})

    text: Annotated[str | list[str], Field(description="One text or several.")]
    model: ModelName = None
    n_best: Annotated[int, Field(ge=1, le=1000, description="So many labels, the most probable first.")] = 1
    attention: Annotated[bool, Field(description="Add every attention, {site: [head][query][key]}.")] = False


class ClassifyPicture(Body):
    """A picture that is to be given a label."""

    picture: Annotated[str, Field(description="A PNG, JPEG, GIF, WebP, BMP or TIFF file in base64; or a form's file.")]
    model: ModelName = None
    n_best: Annotated[int, Field(ge=1, le=1000, description="So many labels, the most probable first.")] = 1


class CaptionPicture(SearchFields):
    """A picture that is to be described."""

    picture: Annotated[str, Field(description="A PNG, JPEG, GIF, WebP, BMP or TIFF file in base64; or a form's file.")]
    model: ModelName = None
    attention: Annotated[bool, Field(description="Add the map [row][column] of each token.")] = False


class Score(Body):
    """Pairs of source and target: how probable is each target?"""

    model_config = ConfigDict(json_schema_extra={"examples": [{"pairs": [["A man.", "Ein Mann."]]}]})

    pairs: Annotated[list[tuple[str, str]], Field(min_length=1)]
    model: ModelName = None
    length_penalty: Annotated[float | None, Field(ge=0, le=10)] = None


class Message(BaseModel):
    """One turn as OpenAI's clients send it."""

    model_config = ConfigDict(extra="ignore")

    role: Literal["system", "developer", "user", "assistant"]
    content: str


class Completion(Body):
    """OpenAI's chat completion. What has no effect here may be sent with the value that means nothing."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"messages": [{"role": "user", "content": "Hello, who are you?"}]}]}
    )

    messages: Annotated[list[Message], Field(min_length=1, description="`system` is not read: the models know none.")]
    model: ModelName = None
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7
    top_p: Annotated[float, Field(gt=0, le=1)] = 0.95
    max_tokens: Annotated[int | None, Field(ge=1, le=MOST_TOKENS)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1, le=MOST_TOKENS)] = None
    seed: Annotated[int | None, Field(ge=0, lt=2**63)] = None
    stream: bool = False
    stream_options: dict[str, Any] | None = None
    n: Literal[1, None] = None
    stop: Literal[None] = None
    presence_penalty: Literal[0, None] = None
    frequency_penalty: Literal[0, None] = None
    user: str | None = None

    @property
    def turns(self) -> list[str]:
        """What was said, without the system's words."""
        return [message.content for message in self.messages if message.role in ("user", "assistant")]

    def search(self) -> dict[str, Any]:
        """The settings of `regard chat` with the same options."""
        most = self.max_completion_tokens or self.max_tokens or 60
        seed = 1 if self.seed is None else self.seed
        return chat_search(self.temperature, top_k=0, top_p=self.top_p, seed=seed, most=most)
