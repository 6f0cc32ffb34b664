"""Target against result as a picture, for the parts that came out worst. Worker side.

In: a part with one prediction. Out: a PNG file, both shapes where the direct protocol compares
them (the target in the UNIT frame), a prediction that gives no mesh as the target alone.
"""

from __future__ import annotations

import numpy as np

from cadwright.errors import CadwrightError, MissingDependencyError
from cadwright.evaluation.predictions import Part
from cadwright.evaluation.scoring import Event, PartScorer
from cadwright.geometry.frames import PROGRAM_TO_UNIT, normalise, placement_to_unit
from cadwright.geometry.pictures import comparison_picture, render_mesh, save_png
from cadwright.inference.result import points_to_marks

SIZE = 240  # pixels a panel


def draw_pair(scorer: PartScorer, part: Part, path: str) -> Event:
    """Draw a part's target and its first prediction.

    Returns:
        An event "drawn", with an "error" where nothing could be drawn.
    Raises:
        MissingDependencyError: numba or Pillow is not installed.
    """
    try:
        shape = scorer.load(part.target)
        to_unit = placement_to_unit(shape.bounds)
        mesh = points_to_marks(np.asarray(shape.points)) if shape.mesh is None else shape.mesh
        target = normalise(mesh, to_unit)
        if not part.predictions:
            save_png(render_mesh(target, size=SIZE), path)
            return {"event": "drawn"}
        built = scorer.build(part.predictions[0], {})
        if built.mesh is None:
            save_png(render_mesh(target, size=SIZE), path)
            return {"event": "drawn", "error": built.message}
        way = PROGRAM_TO_UNIT if part.predictions[0].frame == "program" else to_unit
        save_png(comparison_picture(target, normalise(built.mesh, way), size=SIZE), path)
    except MissingDependencyError:
        raise
    except CadwrightError as error:
        return {"event": "drawn", "error": str(error)}
    return {"event": "drawn"}
