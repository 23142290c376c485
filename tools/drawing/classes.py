"""Annotation values of the ADE20K classes that the toy scenes draw (0 is "other")."""

from __future__ import annotations

OTHER = 0
WALL, BUILDING, SKY, FLOOR, TREE, CEILING, ROAD, BED, WINDOWPANE, GRASS = range(1, 11)
CABINET, SIDEWALK, PERSON = 11, 12, 13
DOOR, TABLE, MOUNTAIN, PLANT, CURTAIN, CHAIR, CAR, WATER, PAINTING, SOFA = range(15, 25)
RUG, FENCE, LAMP, CUSHION = 29, 33, 37, 40
PATH, BOOKCASE, BENCH, BUS, STREETLIGHT, TELEVISION = 53, 63, 70, 81, 88, 90

STUFF_VALUES = (
    WALL, BUILDING, SKY, FLOOR, CEILING, ROAD, GRASS, SIDEWALK, MOUNTAIN, WATER, RUG, PATH,
)  # fmt: skip
"""Classes without countable objects; the instance id of their pixels is 0."""

THING_VALUES = (
    TREE, BED, WINDOWPANE, CABINET, PERSON, DOOR, TABLE, PLANT, CURTAIN, CHAIR, CAR, PAINTING,
    SOFA, FENCE, LAMP, CUSHION, BOOKCASE, BENCH, BUS, STREETLIGHT, TELEVISION,
)  # fmt: skip
"""Classes of countable objects, as ADE20K sorts them; each object has its own instance id."""

CLASS_VALUES = tuple(sorted(STUFF_VALUES + THING_VALUES))
"""Every class that the generator draws, in order of annotation value."""
