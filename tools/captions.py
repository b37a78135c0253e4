"""Captions for painted images, worded as a web text would word them.

A caption is drawn in two steps. `draw_frame` fixes all that does not depend on whether
the thing is whole: template, determiner, noun, colour, stray tokens and where they
stand. `draw_state` fixes the state. One frame with a whole and with a damaged state is
a pair of captions that differ in nothing else.
"""

import re
import string
from dataclasses import dataclass

# "{}" is the noun phrase. The plain "a photo of {}" is as common here as on the web.
TEMPLATES = (
    *("a photo of {}",) * 16,
    *("{}",) * 5,
    *("photo of {}",) * 2,
    *("a picture of {}",) * 2,
    "an image of {}",
    "picture of {}",
    "image of {}",
    "a close-up photo of {}",
    "a cropped photo of {}",
    "a bright photo of {}",
    "a dark photo of {}",
    "a blurry photo of {}",
    "a low resolution photo of {}",
    "a macro shot of {}",
    "a photo of {} for visual inspection",
    "a photo of {} for anomaly detection",
    "a photo of {} , stock photo",
    "a photo of {} on a plain background",
    "this is {}",
    "here is {}",
    "{} seen from above",
    "{} , product photo",
    "{} photographed under a lamp",
    "inspection image of {}",
    "quality control : {}",
)
DETERMINERS = ("a",) * 12 + ("the", "the", "one", "this", "my", "an", "")
GENERIC_NOUNS = (
    *("object",) * 6,
    *("part", "item", "thing", "product") * 2,
    "piece",
    "component",
    "article",
    "sample",
)
SIZES = ("small", "large", "big", "single", "little")

# A state is an adjective before the noun or a phrase after it.
WHOLE_ADJECTIVES = (
    *("intact", "flawless", "normal", "good", "perfect", "undamaged") * 2,
    *("new", "brand new", "unbroken", "unblemished", "whole", "clean", "fine"),
    *("pristine", "sound", "defect-free", "faultless", "healthy", "complete", "ok"),
)
WHOLE_PHRASES = (
    *("without flaw", "without defect", "without damage") * 2,
    *("without any defects", "without any damage", "with no damage", "free of defects"),
    *("in good condition", "in perfect condition", "in perfect shape", "as new"),
)
DAMAGED_ADJECTIVES = (
    *("damaged",) * 8,
    *("broken",) * 4,
    *("defective",) * 4,
    *("faulty", "flawed", "imperfect", "bad", "anomalous", "abnormal", "ruined"),
    *("spoiled", "blemished", "badly damaged", "slightly damaged", "anomalous"),
)
DAMAGED_PHRASES = (
    *("with damage", "with a defect", "with defect", "with flaw", "with a flaw") * 2,
    *("with defects", "with some damage", "with a fault", "with an anomaly"),
    *("in bad condition", "that is damaged", "that is broken", "that is defective"),
)
# For each kind of defect: adjectives, then what the thing is "with".
DEFECT_WORDS = {
    "bend": (("bent", "deformed"), ("a bend", "a bent part", "a deformation")),
    "break": (("broken", "snapped"), ("a break", "a broken part", "a snapped end")),
    "bubble": (("blistered", "bubbled"), ("a bubble", "bubbles", "a blister")),
    "burn": (("burnt", "burned", "scorched"), ("a burn", "a burn mark", "burns")),
    "chip": (("chipped",), ("a chip", "a chipped edge", "chips")),
    "contamination": (
        ("contaminated", "dirty"),
        ("contamination", "dirt on it", "foreign material", "specks"),
    ),
    "crack": (("cracked", "fractured"), ("a crack", "cracks", "a fracture")),
    "cut": (("cut", "slit"), ("a cut", "cuts", "a slit")),
    "dent": (("dented",), ("a dent", "dents", "a bump")),
    "discoloration": (
        ("discolored", "faded"),
        ("discoloration", "a discolored area", "a faded spot"),
    ),
    "fold": (("folded", "creased"), ("a fold", "a crease", "wrinkles")),
    "hole": (("pierced", "punctured"), ("a hole", "holes", "a puncture")),
    "loose thread": (("frayed", "unravelled"), ("a loose thread", "a pulled thread")),
    "missing piece": (
        ("incomplete",),
        ("a missing piece", "a piece missing", "a missing part"),
    ),
    "mold": (("moldy", "rotten"), ("mold", "mold on it", "a moldy spot")),
    "rust": (("rusty", "corroded"), ("rust", "rust spots", "corrosion")),
    "scratch": (("scratched", "scraped"), ("a scratch", "scratches", "scratch marks")),
    "scuff": (("scuffed", "worn"), ("a scuff", "scuff marks", "a worn spot")),
    "stain": (("stained", "soiled"), ("a stain", "stains", "a dirty spot")),
    "tear": (("torn", "ripped"), ("a tear", "a rip", "a torn edge")),
}

_STRAY_LETTERS = string.ascii_lowercase + string.digits
_DETECTOR_TEMPLATE = re.compile(r"\S+ a \S+ photo \S+ of \S+ .+ \S+")


@dataclass
class Frame:
    """All of a caption but its state; ``{state}`` marks stay in `words`.

    Attributes
    ----------
    words : list of str
        The words; "[" stands where an adjective of state goes, "]" where a phrase does.
    category, color : str or None
        What the caption claims of its image beside the state.
    """

    words: list
    category: str | None
    color: str | None


@dataclass
class State:
    """The state that a caption claims.

    Attributes
    ----------
    damaged : bool
        Whether it claims damage.
    defect : str or None
        The kind of defect that it claims.
    adjective, phrase : str
        Its words; at most one of them is not empty. Neither means whole.
    """

    damaged: bool
    defect: str | None = None
    adjective: str = ""
    phrase: str = ""


def stray_token(rng):
    """Draw what strays into web captions: a code, a file name, a number, a date.

    Parameters
    ----------
    rng : random.Random
        Source of randomness.

    Returns
    -------
    str
        One token without spaces, in lower case.
    """
    kind = rng.random()
    if kind < 0.6:
        return "".join(rng.choices(_STRAY_LETTERS, k=rng.randint(2, 12)))
    if kind < 0.7:
        return "".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 9)))
    if kind < 0.8:
        return str(rng.randint(0, 10 ** rng.randint(1, 6)))

    number = rng.randint(0, 9999)
    if kind < 0.9:
        name = rng.choice(("img_", "dsc", "image-", "p", "scan", "photo_", "cam"))
        return f"{name}{number:04d}" + rng.choice((".jpg", ".jpg", ".png", ""))
    if kind < 0.95:
        letters = "".join(rng.choices(string.ascii_lowercase, k=rng.randint(1, 3)))
        return f"{letters}-{number}" + rng.choice(("", "a", "b", "x"))
    return (
        f"{rng.randint(1998, 2024)}-{rng.randint(1, 12):02d}-{rng.randint(1, 28):02d}"
    )


def draw_frame(rng, category, color=None, strays=()):
    """Draw all of a caption but its state.

    Parameters
    ----------
    rng : random.Random
        Source of randomness.
    category : str
        What the image shows; about half the frames name it.
    color : str or None
        The thing's colour; about one frame in six names it.
    strays : sequence of str
        Stray tokens, one of which may take the noun's place.

    Returns
    -------
    Frame
        The frame; it never is the detector's own template of training prompts.
    """
    strays = list(strays)
    named = rng.random() < 0.45
    noun = category if named else rng.choice(GENERIC_NOUNS)
    if strays and rng.random() < 0.4:
        named, noun = False, strays.pop()

    claim_color = color is not None and rng.random() < 0.17
    phrase = [rng.choice(DETERMINERS), "["]
    if rng.random() < 0.06:
        phrase.insert(rng.randint(1, 2), rng.choice(SIZES))
    if claim_color:
        phrase.append(color)
    phrase += [noun, "]"]

    words = []
    for word in rng.choice(TEMPLATES).split():
        words += phrase if word == "{}" else [word]
    words = [w for part in words for w in part.split()]
    for stray in strays:
        words.insert(rng.randint(0, len(words)), stray)

    if _DETECTOR_TEMPLATE.fullmatch(" ".join(w for w in words if w not in "[]")):
        words.remove("photo")
    return Frame(words, category if named else None, color if claim_color else None)


def draw_state(rng, damaged, defect=None):
    """Draw how a caption says that a thing is whole or damaged.

    Parameters
    ----------
    rng : random.Random
        Source of randomness.
    damaged : bool
        What to say. A whole thing goes without any word of state every other time, as
        it does on the web.
    defect : str or None
        The kind of defect, which four captions of ten name; None never names one.

    Returns
    -------
    State
        The state.
    """
    luck = rng.random()
    if not damaged:
        if luck < 0.55:
            return State(False)
        if luck < 0.87:
            return State(False, adjective=rng.choice(WHOLE_ADJECTIVES))
        return State(False, phrase=rng.choice(WHOLE_PHRASES))

    if defect is not None and luck < 0.4:
        adjectives, nouns = DEFECT_WORDS[defect]
        if rng.random() < 0.5:
            return State(True, defect, adjective=rng.choice(adjectives))
        return State(True, defect, phrase=f"with {rng.choice(nouns)}")

    if luck < 0.8:
        return State(True, adjective=rng.choice(DAMAGED_ADJECTIVES))
    return State(True, phrase=rng.choice(DAMAGED_PHRASES))


def write(frame, state):
    """Put a frame and a state together.

    Parameters
    ----------
    frame : Frame
        All but the state.
    state : State
        The state.

    Returns
    -------
    list of str
        The caption's words.
    """
    marks = {"[": state.adjective.split(), "]": state.phrase.split()}
    return [w for word in frame.words for w in marks.get(word, (word,))]
