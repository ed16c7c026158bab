"""RefCOCO, RefCOCO+, RefCOCOg and gRefCOCO: expressions in refs(...).p or grefs(...).json, masks in instances.json.

FOLDER/refcoco/refs(unc).p     or refs(google).p; refcocog: refs(umd).p or refs(google).p; grefcoco: grefs(unc).json
FOLDER/refcoco/instances.json
FOLDER/images/mscoco/images/train2014/COCO_train2014_000000000009.jpg ...
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from qwen_seg_ros.errors import InvalidInputError
from qwen_seg_ros.offline.evaluation.public.coco_masks import Polygons, Runs, parse_segmentation
from qwen_seg_ros.offline.evaluation.public.plain_pickle import read_plain_pickle
from qwen_seg_ros.offline.evaluation.public.reading import entry, inside, read_json
from qwen_seg_ros.offline.evaluation.public.split import LeftOut, Picture, PublicSplit, Question, Regions

SPLIT_BY = {"refcoco": "unc", "refcoco+": "unc", "refcocog": "umd", "grefcoco": "unc"}  # the usual author of the splits
IMAGES = ("images/mscoco/images/train2014", "images/train2014", "train2014", "coco/train2014")
MOST_ENTRIES = 2_000_000
MOST_SENTENCES = 1000
NO_TARGET = -1


@dataclass(frozen=True, eq=False)
class Instances:
    """What instances.json holds, by id."""

    images: dict[int, dict]
    annotations: dict[int, dict]


def load_refer(
    dataset: str, folder: Path, split: str, split_by: str | None = None, images: Path | None = None
) -> PublicSplit[Question]:
    """Every sentence of a split is a question; those about one picture stand together, in the order of the file.

    folder: the one that holds the folder of the set; split_by: whose splits, None = the usual ones; images: folder of
    train2014, None = one of the usual places below `folder`.

    Raises:
        InvalidInputError: when a file is missing or damaged, there is no such split, or more than 5 % of it is unusable.
    """
    refs_file = _refs_file(dataset, folder, split_by or SPLIT_BY[dataset])
    refs = _of_split(_refs(refs_file), split, refs_file)
    instances = _instances(folder / dataset / "instances.json")
    pictures = images or _images(folder)
    left_out, found = LeftOut(), dict[int, Picture[Question]]()
    for place, ref in refs:
        _add(ref, place, refs_file, instances, pictures, found, left_out)
    left_out.check()
    return PublicSplit(dataset, split, tuple(found.values()), left_out)


def _refs_file(dataset: str, folder: Path, split_by: str) -> Path:
    own = folder / dataset
    name = f"grefs({split_by}).json" if dataset == "grefcoco" else f"refs({split_by}).p"
    if not (own / name).is_file():
        there = ", ".join(sorted(p.name for p in own.glob("*refs(*)*"))) if own.is_dir() else "no such folder"
        raise InvalidInputError(f"no file {own / name} (there: {there or 'none'}); --data is the folder that holds {dataset}/")
    return own / name


def _refs(file: Path) -> list:
    refs = read_json(file) if file.suffix == ".json" else read_plain_pickle(file)
    if not isinstance(refs, list) or not 0 < len(refs) <= MOST_ENTRIES:
        raise InvalidInputError(f"{file}: must hold a list of 1 to {MOST_ENTRIES} refs, got {type(refs).__name__}")
    return refs


def _of_split(refs: list, split: str, file: Path) -> list[tuple[int, Any]]:
    """(place in the file, ref); a ref that names no split might be of this one, so that it is counted."""
    names = [ref.get("split", split) if isinstance(ref, dict) else split for ref in refs]
    chosen = [(place, ref) for place, (ref, name) in enumerate(zip(refs, names, strict=True)) if name == split]
    if not chosen:
        known = ", ".join(sorted({name[:40] for name in names if isinstance(name, str)})[:20])
        raise InvalidInputError(f"{file}: has no split {split!r}; it has {known}")
    return chosen


def _instances(file: Path) -> Instances:
    values = read_json(file)
    try:
        images, annotations = (_by_id(entry(values, key, list), key) for key in ("images", "annotations"))
    except InvalidInputError as problem:
        raise InvalidInputError(f"{file}: {problem}") from None
    return Instances(images, annotations)


def _by_id(items: list, name: str) -> dict[int, dict]:
    if len(items) > MOST_ENTRIES:
        raise InvalidInputError(f"{name} has {len(items)} entries, {MOST_ENTRIES} at most are read")
    return {item["id"]: item for item in items if isinstance(item, dict) and isinstance(item.get("id"), int)}


def _images(folder: Path) -> Path:
    found = next((folder / place for place in IMAGES if (folder / place).is_dir()), None)
    if found is None:
        raise InvalidInputError(f"no pictures in {folder}: none of {', '.join(IMAGES)}; name the folder with --images")
    return found


def _add(
    ref: Any, place: int, file: Path, instances: Instances, images: Path, found: dict[int, Picture[Question]], left_out: LeftOut
) -> None:
    """The ref's questions to its picture, or the reason why not; a ref that cannot be used counts as one entry."""
    name = f"ref {ref['ref_id']}" if isinstance(ref, dict) and isinstance(ref.get("ref_id"), int) else f"entry {place}"
    try:
        picture = _picture(ref, file, instances, images)
        truth = Regions(tuple(_parts(ref, instances)))
        questions = tuple(Question(f"{name}, sentence {n}", text, truth) for n, text in _sentences(ref))
    except InvalidInputError as problem:
        left_out.total += 1
        left_out.add(file, name, problem)
        return
    left_out.total += len(questions)
    known = found.get(ref["image_id"], picture)
    found[ref["image_id"]] = Picture(known.file, file, (*known.questions, *questions), known.size)


def _picture(ref: Any, file: Path, instances: Instances, images: Path) -> Picture[Question]:
    image_id = entry(ref, "image_id", int)
    if image_id not in instances.images:
        raise InvalidInputError(f"image_id {image_id} is not in instances.json; both files must be of the same set")
    image = instances.images[image_id]
    path = inside(images, entry(image, "file_name", str))
    return Picture(path, file, (), (entry(image, "height", int), entry(image, "width", int)))


def _parts(ref: dict, instances: Instances) -> Iterator[Polygons | Runs]:
    """Masks of the annotations that the ref means; none = no target. Crowds are left out, as the sets' authors do."""
    ids = entry(ref, "ann_id", (int, list))
    ids = ids if isinstance(ids, list) else [ids]
    if not all(isinstance(number, int) for number in ids):
        raise InvalidInputError(f"ann_id must be a number or a list of numbers, [{NO_TARGET}] for no target")
    if ids == [NO_TARGET]:
        return
    annotations = [_annotation(number, ref, instances) for number in ids[:MOST_SENTENCES]]
    objects = [annotation for annotation in annotations if not annotation.get("iscrowd")]
    if not objects:
        raise InvalidInputError(f"ann_id names no single object; [{NO_TARGET}] would mean that there is no target")
    for annotation in objects:
        yield parse_segmentation(entry(annotation, "segmentation", (list, dict)))


def _annotation(number: int, ref: dict, instances: Instances) -> dict:
    if number not in instances.annotations:
        raise InvalidInputError(f"ann_id {number} is not in instances.json; both files must be of the same set")
    annotation = instances.annotations[number]
    if annotation.get("image_id") != ref["image_id"]:
        raise InvalidInputError(f"ann_id {number} belongs to another picture, {annotation.get('image_id')!r:.40}")
    return annotation


def _sentences(ref: dict) -> Iterator[tuple[int, str]]:
    for place, sentence in enumerate(entry(ref, "sentences", list)[:MOST_SENTENCES]):
        number = sentence.get("sent_id") if isinstance(sentence, dict) else None
        yield number if isinstance(number, int) else place, entry(sentence, "sent", str)
