"""An SVG file as an element of a page that can neither act, nor fetch, nor leave its place: only
what is named here stays.

Every id and class becomes <prefix>-<n> or <prefix>-<class> (so that two figures never share one,
and matplotlib's random ids leave no trace); its style sheet is scoped to it. Elements of other
namespaces, scripts, links, handlers, animations, dates, and every property that could place it
elsewhere on the page are left out.
"""

import re
import xml.etree.ElementTree as ElementTree

SVG = "http://www.w3.org/2000/svg"
HREF = ("href", "{http://www.w3.org/1999/xlink}href")
ELEMENTS = {
    f"{{{SVG}}}{name}"
    for name in (
        "circle",
        "clipPath",
        "defs",
        "desc",
        "ellipse",
        "g",
        "image",
        "line",
        "linearGradient",
        "marker",
        "mask",
        "path",
        "pattern",
        "polygon",
        "polyline",
        "radialGradient",
        "rect",
        "stop",
        "style",
        "svg",
        "symbol",
        "text",
        "textPath",
        "title",
        "tspan",
        "use",
    )
}
# of style, and attributes of the same names
PROPERTIES = {
    "alignment-baseline",
    "baseline-shift",
    "clip-path",
    "clip-rule",
    "color",
    "color-interpolation",
    "dominant-baseline",
    "fill",
    "fill-opacity",
    "fill-rule",
    "font",
    "font-family",
    "font-size",
    "font-stretch",
    "font-style",
    "font-variant",
    "font-weight",
    "image-rendering",
    "letter-spacing",
    "marker-end",
    "marker-mid",
    "marker-start",
    "mask",
    "opacity",
    "paint-order",
    "shape-rendering",
    "stop-color",
    "stop-opacity",
    "stroke",
    "stroke-dasharray",
    "stroke-dashoffset",
    "stroke-linecap",
    "stroke-linejoin",
    "stroke-miterlimit",
    "stroke-opacity",
    "stroke-width",
    "text-anchor",
    "text-decoration",
    "text-rendering",
    "vector-effect",
    "visibility",
    "white-space",
    "word-spacing",
    "writing-mode",
}
ATTRIBUTES = PROPERTIES | {
    "clipPathUnits",
    "cx",
    "cy",
    "d",
    "dx",
    "dy",
    "fx",
    "fy",
    "gradientTransform",
    "gradientUnits",
    "height",
    "lengthAdjust",
    "markerHeight",
    "markerUnits",
    "markerWidth",
    "maskContentUnits",
    "maskUnits",
    "offset",
    "orient",
    "pathLength",
    "patternContentUnits",
    "patternTransform",
    "patternUnits",
    "points",
    "preserveAspectRatio",
    "r",
    "refX",
    "refY",
    "rotate",
    "rx",
    "ry",
    "spreadMethod",
    "startOffset",
    "textLength",
    "transform",
    "type",
    "version",
    "viewBox",
    "width",
    "x",
    "x1",
    "x2",
    "y",
    "y1",
    "y2",
    "{http://www.w3.org/XML/1998/namespace}space",
}
IMAGE = re.compile(r"data:image/(png|jpeg|gif|webp);base64,[A-Za-z0-9+/=\s]*")
FUNCTION = re.compile(r"([\w-]*)\(")
FUNCTIONS = {
    "url",
    "rgb",
    "rgba",
    "hsl",
    "hsla",
    *("matrix", "translate", "scale", "rotate", "skewX", "skewY"),
}
URL = re.compile(r"url\(\s*(['\"]?)#([^'\"()\s]+)\1\s*\)")
COMMENT = re.compile(r"/\*.*?(\*/|\Z)", re.DOTALL)
AT_RULE = re.compile(r"@[^;{}]*(;|\{(?:[^{}]*\{[^{}]*\})*[^{}]*(\}|\Z))")
SELECTOR = re.compile(r"[\w.#*\s-]+")  # no neighbours (~, +), which lie outside of the figure


def inline_svg(text: str, prefix: str) -> str:
    """The SVG document `text` as an element of an HTML page. Raises ValueError for what is no SVG,
    or nested too deeply.
    """
    try:
        root = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise ValueError(f"Figure {prefix!r} is not well-formed SVG: {error}.") from None
    if root.tag != f"{{{SVG}}}svg":
        raise ValueError(f"Figure {prefix!r} is not SVG: its outermost element is {root.tag}.")
    _drop(root)
    root.attrib.pop("style", None)  # of the box in the page, which is the page's
    names = dict.fromkeys(e.attrib["id"] for e in root.iter() if "id" in e.attrib)
    renamed = {name: f"{prefix}-{n}" for n, name in enumerate(names, start=1)}
    for element in root.iter():
        element.attrib = _attributes(element, renamed, prefix)
        if element.tag == f"{{{SVG}}}style":
            element.text = _scoped(element.text or "", renamed, prefix)
        _lay_out(element)
    root.attrib |= {"id": f"{prefix}-svg", "role": "img", "aria-labelledby": f"{prefix}-caption"}
    root.tail = None
    ElementTree.register_namespace("", SVG)
    try:
        return ElementTree.tostring(root, encoding="unicode")
    except RecursionError:
        raise ValueError(f"Figure {prefix!r} is nested too deeply.") from None


def _lay_out(element: ElementTree.Element) -> None:
    """One line break after an element, none within: but for those of a text, which are letters."""
    if len(element):
        element.text = (element.text or "").strip()
    if not (element.tail or "").strip() and element.tag != f"{{{SVG}}}tspan":
        element.tail = "\n"


def _drop(root: ElementTree.Element) -> None:
    """Take out every element that is not one of ELEMENTS; no depth of them ends Python's stack."""
    left = [root]
    while left:
        element = left.pop()
        for child in list(element):
            if child.tag in ELEMENTS:
                left.append(child)
            else:
                element.remove(child)


def _attributes(
    element: ElementTree.Element, renamed: dict[str, str], prefix: str
) -> dict[str, str]:
    """The attributes that stay, by their new names and values."""
    kept = {}
    for name, value in element.attrib.items():
        if name == "id":
            kept[name] = renamed[value]
        elif name == "class":
            kept[name] = " ".join(f"{prefix}-{one}" for one in value.split())
        elif name == "style":
            kept[name] = _declarations(value, renamed)
        elif name in HREF:
            if target := _target(element, value, renamed):
                kept["href"] = target  # without xlink:, which the HTML parser does not need
        elif name in ATTRIBUTES and _is_harmless(value):
            kept[name] = _local(value, renamed)
    return kept


def _target(element: ElementTree.Element, href: str, renamed: dict[str, str]) -> str | None:
    """A place in the figure by its new name, or an image that lies in the file; None for all else."""
    if href.startswith("#") and href[1:] in renamed:
        return f"#{renamed[href[1:]]}"
    if element.tag == f"{{{SVG}}}image" and IMAGE.fullmatch(href):
        return href
    return None


def _declarations(style: str, renamed: dict[str, str]) -> str:
    """The declarations of harmless properties; the text as it stands where all are."""
    parts = [part for part in COMMENT.sub("", style).split(";") if part.strip()]
    kept = [part for part in parts if _is_property(part) and _is_harmless(part)]
    whole = len(kept) == len(parts) and "/*" not in style
    return _local(style if whole else ";".join(kept).strip(), renamed)


def _is_property(declaration: str) -> bool:
    return declaration.partition(":")[0].strip() in PROPERTIES


def _is_harmless(value: str) -> bool:
    """Whether a value has no escape (\\75rl is url), no function that may fetch, and no url beyond
    the figure.
    """
    functions = {name.lower() for name in FUNCTION.findall(value)}
    local = len(re.findall(r"url\(", value, re.IGNORECASE)) == len(URL.findall(value))
    return (
        not re.search(r"[\\@{}<]", value)
        and functions <= {name.lower() for name in FUNCTIONS}
        and local
    )


def _local(value: str, renamed: dict[str, str]) -> str:
    """References by their new names."""
    return URL.sub(lambda match: f"url(#{renamed.get(match[2], match[2])})", value)


def _scoped(style: str, renamed: dict[str, str], prefix: str) -> str:
    """A flat style sheet under the figure: matplotlib's `*{stroke-linejoin: round}` must not
    restyle the page.
    """
    plain = AT_RULE.sub("", COMMENT.sub("", style))
    rules = []
    for selectors, body in re.findall(r"([^{}]+)\{([^{}]*)\}", plain):
        parts = [part.strip() for part in selectors.split(",")]
        if not all(SELECTOR.fullmatch(part) for part in parts):
            continue
        if kept := _declarations(body.strip(), renamed):
            scoped = (f"#{prefix}-svg {_renamed_selector(part, renamed, prefix)}" for part in parts)
            rules.append(f"{', '.join(scoped)}{{{kept}}}")
    return "".join(rules)


def _renamed_selector(selector: str, renamed: dict[str, str], prefix: str) -> str:
    by_id = re.sub(r"#([\w-]+)", lambda match: f"#{renamed.get(match[1], match[1])}", selector)
    return re.sub(r"\.([\w-]+)", rf".{prefix}-\1", by_id)
