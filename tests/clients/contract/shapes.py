"""Values for the shapes of a service model: valid ones, and ones that break a single rule.

Everything here follows from the model and from a table of hints, so two runs send the same
requests but for the names that the world gives.
"""

import copy
import re

DEEPEST = 9  # structures in structures; what goes round is cut off there

# The model's patterns are Java's.
JAVA = (
    (r"\p{L}\p{Z}\p{N}", r"\w\s"),
    (r"\w-_", r"\w\-_"),
    (r"\p{Print}", r"[\x20-\x7e]"),
    (r"\x{10000}-\x{10FFFF}", "\U00010000-\U0010FFFF"),
    (r"\u10000-\u10FFFF", "\U00010000-\U0010FFFF"),
    (r"\uD7FF", "\uD7FF"),
    (r"\uD800\uDC00-\uDBFF\uDFFF", "\U00010000-\U0010FFFF"),
)


def matcher(pattern):
    for java, python in JAVA:
        pattern = pattern.replace(java, python)
    return re.compile(pattern)


def bounds(shape):
    return shape.metadata.get("min"), shape.metadata.get("max")


class Values:
    """Makes valid values. hints maps PATH, Shape.member or member to a value; a path is as
    in containerDefinitions[].name, from the top of the request. needs maps shapes to the
    members that they cannot do without, whatever the model says."""

    def __init__(self, operation, hints, needs):
        self.operation = operation
        self.hints = hints
        self.needs = needs

    def hint(self, path, owner, member):
        for key in (f"{self.operation}:{path}", path, f"{owner}.{member}", member):
            if key in self.hints:
                value = self.hints[key]
                return True, value() if callable(value) else copy.deepcopy(value)
        return False, None

    def make(self, shape, path="", owner="", member="", whole=False, depth=0):
        """A valid value of shape; whole: with all optional members, else with none."""
        found, value = self.hint(path, owner, member)
        if found:
            return value
        kind = shape.type_name
        if kind == "structure":
            return self.structure(shape, path, whole, depth)
        if kind == "list":
            low, _ = bounds(shape)
            return [self.make(shape.member, path + "[]", owner, member + "[]", whole, depth + 1) for _ in range(max(low or 0, 1))]
        if kind == "map":
            key = self.make(shape.key, path + "{key}", owner, member + "{key}", whole, depth + 1)
            return {key: self.make(shape.value, path + "{}", owner, member + "{}", whole, depth + 1)}
        return self.scalar(shape)

    def structure(self, shape, path, whole, depth):
        members = copy.deepcopy(self.needs.get(shape.name, {}))
        for name, inner in shape.members.items():
            at = f"{path}.{name}" if path else name
            if name in members:
                continue
            if name in shape.required_members or whole and depth < DEEPEST:
                value = self.make(inner, at, shape.name, name, whole, depth + 1)
                if value is not None:
                    members[name] = value
            if members and shape.metadata.get("union"):
                break
        return members

    def scalar(self, shape):
        low, high = bounds(shape)
        match shape.type_name:
            case "string":
                if shape.enum:
                    return shape.enum[0]
                return text(shape, max(low or 0, 1))
            case "boolean":
                return False
            case "integer" | "long":
                return max(low or 0, min(1, high if high is not None else 1))
            case "float" | "double":
                return float(max(low or 0, 1))
            case "timestamp":
                return 1_790_000_000
            case "blob":
                return "aGVsbG8="
        raise ValueError(f"no value for {shape}")


def text(shape, length):
    """A string of that length that matches the shape's pattern, if it is an easy one."""
    pattern = shape.metadata.get("pattern")
    candidates = ["a" * length, "1" * length, "arn:aws:x:us-east-1:123456789012:" + "a" * length, "1.0", "https://a.com", "s3://aaa", "vpce-0a",
                  "1" * 12, "arn:aws:kms:us-east-1:123456789012:key/k", "arn:aws:iam::123456789012:role/r", "/a", "a/b"]
    for candidate in candidates:
        if pattern is None or matcher(pattern).fullmatch(candidate):
            return candidate
    raise ValueError(f"{shape.name}: give a hint for the pattern {pattern}")


def violations(shape):
    """Yields (kind, value) for each way to break one rule of a value of shape."""
    kind, (low, high) = shape.type_name, bounds(shape)
    wrong = {"string": {"not": "text"}, "boolean": "perhaps", "integer": "some", "long": "some", "float": "some", "double": "some",
             "timestamp": {"not": "a time"}, "blob": {"not": "bytes"}, "list": {"not": "a list"}, "map": ["not a map"], "structure": ["no structure"]}
    yield "type", wrong[kind]
    if kind in ("integer", "long", "float", "double"):
        if low is not None:
            yield "range", low - 1
        if high is not None and high < 2**31 - 1:
            yield "range", high + 1
    if kind == "string":
        if shape.enum:
            yield "enum", "NOT_ONE_OF_THEM"
        if low:
            yield "length", "a" * (low - 1)
        if high is not None and high <= 100_000:
            yield "length", "a" * (high + 1)
        yield from unmatched(shape, low or 0, high)


def unmatched(shape, low, high):
    pattern = shape.metadata.get("pattern")
    if pattern is None or shape.enum:
        return
    for bad in ("<", "a b", "!", "\x01", "é", "[", "*:"):
        bad = bad * max(low, 1)
        if (high is None or len(bad) <= high) and not matcher(pattern).fullmatch(bad):
            yield "pattern", bad
            return


def lengths(shape, value):
    """Yields (kind, value) for a list or map that is too short or too long."""
    low, high = bounds(shape)
    if shape.type_name == "list" and value:
        if low:
            yield "length", value[: low - 1]
        if high is not None and high <= 2000:
            yield "length", (value * (high + 1))[: high + 1]


def paths(shape, whole=False, path=(), depth=0, seen=()):
    """Yields (path, shape, required) of every member below a structure: names, [] for the
    elements of lists and {} for the values of maps."""
    if depth > DEEPEST:
        return
    if shape.type_name == "structure":
        if shape.name in seen:
            return
        for name, inner in shape.members.items():
            at = path + (name,)
            yield at, inner, name in shape.required_members
            yield from paths(inner, whole, at, depth + 1, seen + (shape.name,))
    elif shape.type_name == "list":
        yield from paths(shape.member, whole, path + ("[]",), depth + 1, seen)
    elif shape.type_name == "map":
        yield from paths(shape.value, whole, path + ("{}",), depth + 1, seen)
