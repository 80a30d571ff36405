"""Numbers as a reader sees them on a page."""

import math


def show_number(value: float | str | None) -> str:
    """A number with thousands separated and five digits that count; a text as it is; a dash for None."""
    if value is None or isinstance(value, str):
        return "–" if value is None else value
    if isinstance(value, int):
        return f"{value:,}"
    if not math.isfinite(value):
        return str(value)
    if value == round(value) and abs(value) < 1e9:
        return f"{int(value):,}"
    size = math.floor(math.log10(abs(value)))
    if not -5 < size < 9:
        return f"{value:.4g}"
    text = f"{value:,.{max(0, 4 - size)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def show_share(part: float, whole: float) -> str:
    """``part`` of ``whole`` in percent; what is not zero never shows as 0 %, and what is not all never as 100 %."""
    percent = 100 * part / whole if whole else 0.0
    if 0 < percent < 0.01:
        return "< 0.01 %"
    if 99.99 < percent < 100:
        return "> 99.99 %"
    return f"{percent:.3g} %" if percent < 99.5 else f"{percent:.4g} %"


def show_bytes(num_bytes: int) -> str:
    """A size with three digits that count, in the units that disks are sold in."""
    size, units = float(num_bytes), ["B", "kB", "MB", "GB", "TB"]
    while size >= 999.5 and len(units) > 1:
        size, units = size / 1000, units[1:]
    return f"{size:.3g} {units[0]}"
