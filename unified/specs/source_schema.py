"""The schema of a source: where rows come from, and which of them are meant.

Rows are plain mappings; what each type of source puts into them stands in its docstring.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Split = str
"""`train`, `validation` and `test` have a meaning; other names may be evaluated by name."""


class Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


Scalar = str | int | float | bool
Values = Scalar | list[Scalar]


class Join(Strict):
    """Adds to each row what another source says of it.

    The right row's keys come into the row (the row's own stay). With `as` the right row stands under
    that name instead, and with `many` the list of all right rows that match. Where the left path gives a
    list (`ids`, `objects[].id`), there is a right row for each of its items, as a list under `as`.
    """

    on: str | dict[str, str]
    """Key that both rows have, or {path in the row: key of the right row}; several must all be equal.
    Compared as text. Without `many` a right key may stand in one row only. `"*"`: all right rows, whatever
    the row is (the classes of a data set); it needs `many`."""
    source: Source
    """Any source with splits of its own; split `"*"` is there for all. Without a `root` it has that of the
    outer source."""
    name: str | None = Field(default=None, alias="as")
    many: bool = False
    optional: bool = False
    """A row without a match stays (with null, or an empty list, under `as`); else it is a bad row. Splits
    that the other source lacks are then not joined."""


class Mismatch(Strict):
    """Pairs that do not belong together, for image-text matching: in a share `rate` of the rows `keys`
    come from another row. Which and from where is a function of the row's number alone. After `[*]`."""

    keys: list[str]
    rate: float = Field(default=0.5, gt=0, lt=1)
    name: str = Field(default="matches", alias="as")
    """Key that says true or false."""
    differ: str | None = None
    """Path whose value must be another in the other row (compared as text), e.g. `image_id`."""


class SourceBase(Strict):
    root: str | None = None
    """Folder that relative paths of the source and of image fields start from. Relative roots start
    at the folder of the YAML file; `$NAME` and `~` are expanded."""
    join: list[Join] = []
    where: dict[str, Values | dict[Split, Values]] = {}
    """Only rows that have this value, or one of these values, at a path (compared as text; true and false
    in small letters); a mapping says it for each split, and splits that it leaves out have all rows. Joined
    rows can be asked too."""
    number: str | None = None
    """Key under which each row gets its number in the source, counted from 1 (before `where`)."""
    index: str | None = None
    """The same, counted from 0."""
    parse: dict[str, str] = {}
    """Path -> what the text there is made of, with names in braces: `id: "{video}$_${clip}"` puts the parts
    of the id under `video` and `clip`. A part is as short as fits; a row that does not fit is a bad one."""
    files: dict[str, str] = {}
    """Key -> format string naming a JSON file of the row's own (`meta: "boxes/{metadata_fn}"`), which is read
    with the row."""
    mismatch: Mismatch | None = None


class HfSource(SourceBase):
    """A dataset of the Hugging Face hub, or local files/folders that `datasets.load_dataset` reads. A copy
    of a hub id in `$UNIFIED_DATA/hub/<id>` is read instead where it is there."""

    type: Literal["hf"]
    path: str
    name: str | None = None
    data_files: dict[str, str | list[str]] | None = None
    revision: str | None = None
    streaming: bool = False
    splits: dict[Split, str]
    """Our split -> the hub's split expression, e.g. `validation[:500]`."""


class Documents(SourceBase):
    """Files that hold rows as a whole: a list of rows; a mapping of rows (`key` says where its keys go); or a
    mapping of columns, equally long lists. Rows that are no mappings stand under `value`."""

    splits: dict[Split, str | list[str]]
    records: str | dict[Split, str] | None = None
    """Where the rows stand in the document, `a.b`; a mapping says it for each split."""
    key: str | None = None
    """The rows are the values of a mapping; its keys come to stand under this name."""
    each: list[str] = []
    """Keys of lists that are taken apart, one inside the other: `[paragraphs, qas]` makes a row of each
    question, with the keys of its paragraph and of that one's article (inner keys win)."""


class JsonSource(Documents):
    """JSON lines (`.jsonl`), or one JSON document."""

    type: Literal["jsonl", "json"]


class PickleSource(Documents):
    """A pickle of containers, text, numbers and numpy arrays, of Python 2 or 3. Anything else in it is
    refused, and nothing is executed."""

    type: Literal["pickle"]


class MatSource(SourceBase):
    """MATLAB files, v5 and v7.3. Rows along the sample axis, the last of each variable that fields use (of a
    vector: the long one), with MATLAB's order of axes, e.g. {images: (h, w, 3), depths: (h, w)}."""

    type: Literal["mat"]
    splits: dict[Split, str]
    records: str | dict[Split, str] | None = None
    """One variable: the elements of a struct array are rows; those of a list of numbers or of a cell stand
    under `value`."""


class CsvSource(SourceBase):
    type: Literal["csv"]
    splits: dict[Split, str | list[str]]
    delimiter: str = ","
    columns: list[str] | None = None
    """Column names of a file that has no header."""
    quotes: bool = True
    """Whether `"` may enclose a cell; in most TSV files (GLUE) it is plain text."""


class ParquetSource(SourceBase):
    type: Literal["parquet"]
    splits: dict[Split, str | list[str]]


class EntitiesSource(SourceBase):
    """Flickr30k Entities. Rows, one a sentence: {image_id, image, sentence (0..4), caption, phrases:
    [{phrase, first_char, last_char, chain, types, boxes}], grounded (the phrases that have boxes),
    grounded_caption ({text, boxes, spans} for a field of type grounded_text)}. Boxes are xyxy from 0;
    `last_char` is excluded."""

    type: Literal["entities"]
    splits: dict[Split, str]
    """Lists of image ids, one a line."""
    sentences: str = "Sentences"
    annotations: str = "Annotations"
    images: str = "flickr30k-images"


class SwigSource(SourceBase):
    """SWiG (grounded situations). Rows, one a picture: {image, image_id, width, height, verb, abstract,
    order (the verb's roles), nouns (of most annotators), boxes, roles and situation (grounded text:
    `agent: man, item: ball`, and the same after the verb), frames (the text of each of three annotators)}."""

    type: Literal["swig"]
    splits: dict[Split, str]
    space: str = "SWiG_jsons/imsitu_space.json"
    images: str = "images_512"


class ActivityNetEntitiesSource(SourceBase):
    """ActivityNet-Entities. Rows, one a frame with boxes: {video, segment, frame (0..9, of ten of the event),
    start, end, duration (seconds), caption, classes, grounded_caption ({text, boxes, spans} for a field of
    type grounded_text; boxes xyxy in 0..1)}."""

    type: Literal["activitynet_entities"]
    splits: dict[Split, str]
    """Our split -> that of `ids`: training, validation."""
    annotations: str = "anet_entities_cleaned_class_thresh50_trainval.json"
    sizes: str = "anet_entities_trainval.json"
    """The raw annotations, which tell the size of the frames that the boxes are in."""
    ids: str = "split_ids_anet_entities.json"


class VisdialSource(SourceBase):
    """Visual Dialog v1.0. Rows, one a round: {image_id, round_id (from 1), caption, history (questions and
    answers before), question, answer, answer_options, gt_index, relevance (0 where not annotated)}."""

    type: Literal["visdial"]
    splits: dict[Split, str]
    dense: dict[Split, str] = {}
    """Files of dense annotations."""


class VistSource(SourceBase):
    """Visual Storytelling (VIST), stories in sequence. Rows, one a story: {story_id, album_id, photos (ids of
    the five, in order), texts (one a photo), story (all of them), references (the stories of the same photos
    in the same order, this one first), telling (which of them this one is in the file, from 0)}."""

    type: Literal["vist"]
    splits: dict[Split, str]
    text: Literal["original_text", "text"] = "original_text"
    """As written, or tokenised with names replaced (`[male]`)."""


class CocoFiles(Strict):
    images: str
    annotations: str


class CocoSource(SourceBase):
    """Official COCO JSON. Rows, `per: image`: {image, image_id, width, height, boxes, labels, areas,
    captions, keypoints, masks, crowd_boxes, crowd_labels}; `per: annotation`: one row an object with the
    same keys in the singular {image, box, label, area, keypoints, mask, caption}; `per: class`: one row a
    class that an image shows, as per image but with its `label`. `crowd` annotations are nowhere but in
    crowd_boxes."""

    type: Literal["coco"]
    kind: Literal["instances", "captions", "keypoints"]
    per: Literal["image", "annotation", "class"] = "image"
    splits: dict[Split, CocoFiles]
    min_area: float = 0.0


class ImageFolderSource(SourceBase):
    """`<split>/<class>/<image>`. Rows: {image, label}."""

    type: Literal["imagefolder"]
    splits: dict[Split, str]


class FilesSource(SourceBase):
    """One row for each file that matches a glob: {path, stem, name, folder, match}. Sibling files are named
    in fields by a format string, e.g. `depth: "{folder}/{stem}_depth.png"`; `match` lists what each wildcard
    of the glob stood for."""

    type: Literal["files"]
    splits: dict[Split, str | list[str]]


class WebdatasetSource(SourceBase):
    """Tar shards. Rows: {__key__, <extension>: bytes or decoded value}. Streaming only."""

    type: Literal["webdataset"]
    splits: dict[Split, str | list[str]]


class PythonSource(SourceBase):
    """A function `module_or_file.py:name` called as `function(split, **args)`; it returns a sequence
    (`__len__` and `__getitem__`) of rows, or an iterable, which is then streamed."""

    type: Literal["python"]
    function: str
    args: dict[str, Any] = {}
    splits: dict[Split, str]


class ToyboxSource(SourceBase):
    """The built-in world: row i is a pure function of (kind, split, i). `kind` names a row maker."""

    type: Literal["toybox"]
    kind: str
    image_size: int = 64
    args: dict[str, Any] = {}
    splits: dict[Split, int] = {"train": 1_000_000, "validation": 2000, "held_out": 2000}
    """Rows a split. Every scene of `held_out` has a colour-shape pair that `train` never shows."""


Source = Annotated[
    HfSource | JsonSource | PickleSource | MatSource | CsvSource | ParquetSource | CocoSource | EntitiesSource
    | SwigSource | ActivityNetEntitiesSource | VisdialSource | VistSource | ImageFolderSource
    | FilesSource | WebdatasetSource | PythonSource | ToyboxSource,
    Field(discriminator="type"),
]  # fmt: skip

Join.model_rebuild()  # a join holds a source, and a source joins
