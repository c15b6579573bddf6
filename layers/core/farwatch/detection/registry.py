"""Detectors by name. Each is built on first use, so that choosing one imports only what that one needs."""

from functools import cache

from farwatch.detection.interface import Detector

DETECTORS = ("default", "zscore", "iqr", "isolation_forest", "lof")
"""Every name ``get`` knows, the default first."""


class UnknownDetectorError(ValueError):
    """No detector has the name asked for."""


@cache
def get(name: str = "default") -> Detector:
    """Return the detector called ``name``; raise ``UnknownDetectorError`` for a name not in ``DETECTORS``.

    Detectors hold no data of any series, so one instance serves all.
    """
    from farwatch.detection.streaming import Streaming

    match name:
        case "default":
            from farwatch.detection.novelty import Novelty

            return Streaming(Novelty())
        case "zscore":
            from farwatch.detection.zscore import ZScore

            return Streaming(ZScore())
        case "iqr":
            from farwatch.detection.iqr import InterquartileRange

            return Streaming(InterquartileRange())
        case "isolation_forest":
            from farwatch.detection.windowed import Forest, Windowed

            return Streaming(Windowed(name, Forest))
        case "lof":
            from farwatch.detection.windowed import Windowed, local_outlier_factor

            return Streaming(Windowed(name, local_outlier_factor))
        case _:
            raise UnknownDetectorError(f"no detector is called {name!r}; there are {', '.join(DETECTORS)}")
