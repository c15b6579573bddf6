"""What can go wrong when a forecast is asked for: two errors, each of which says what to do about it."""


class ForecastError(ValueError):
    """No forecast can be made from this input; the message is fit to show to the user."""


class InsufficientHistory(ForecastError):
    """The history is too short or too full of holes for the model.

    ``needed_s`` is the span of known samples the model asks for, ``found_s`` the span there is (both in
    seconds), so that a caller can say when to try again.
    """

    def __init__(self, model: str, needed_s: float, found_s: float) -> None:
        self.model = model
        self.needed_s = needed_s
        self.found_s = found_s
        super().__init__(
            f"{model} needs {needed_s / 3600:g} h of samples and has {found_s / 3600:.3g} h; "
            f"try again in {max(needed_s - found_s, 0.0) / 3600:.1f} h"
        )


class UnknownModel(ForecastError):
    """The model asked for does not exist; ``known`` lists those that do."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        self.name = name
        self.known = known
        super().__init__(f"there is no forecasting model {name!r}; choose one of {', '.join(known)}")
