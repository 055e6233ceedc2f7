"""Checks an answer against the service model."""

import json

from botocore.parsers import create_parser

# What every operation of a service may say besides its own errors (CommonErrors of the API
# references, and what the protocols say of requests that cannot be read).
COMMON = {
    "AccessDeniedException", "IncompleteSignature", "InternalFailure", "InvalidClientTokenId", "InvalidSignatureException",
    "MissingAuthenticationToken", "MissingAuthenticationTokenException", "NotAuthorized", "OptInRequired", "RequestExpired",
    "ServiceUnavailable", "SerializationException", "ThrottlingException", "Throttling", "UnrecognizedClientException",
    "ValidationException", "ValidationError", "AccessDenied", "MissingParameter", "InvalidParameterValue", "MalformedQueryString",
    "InvalidParameterCombination", "UnauthorizedOperation",
}
STRANGE = ("unknown field", "unknown member", "is not recognized")  # how a member that is not modelled here would be refused


class Answer:
    def __init__(self, status, headers, body):
        self.status, self.headers, self.body = status, {k.lower(): v for k, v in headers.items()}, body
        self.code, self.message, self.parsed = "", "", None

    @property
    def ok(self):
        return 200 <= self.status < 300


def check(model, operation, answer):
    """Returns what is wrong with answer, as a list of texts, and reads it."""
    wrong = []
    protocol = model.metadata["protocol"]
    if not answer.headers.get("x-amzn-requestid") and not answer.headers.get("x-amz-request-id"):
        wrong.append("no request ID in the headers")
    if protocol == "json":
        expected = "application/x-amz-json-" + model.metadata["jsonVersion"]
        if answer.headers.get("content-type") != expected:
            wrong.append(f"Content-Type {answer.headers.get('content-type')}, not {expected}")
    op = model.operation_model(operation)
    try:
        raw = {"status_code": answer.status, "headers": answer.headers, "body": answer.body}
        answer.parsed = create_parser(protocol).parse(raw, op.output_shape)
    except Exception as err:
        return wrong + [f"botocore cannot read it: {err!r}"]
    if not answer.ok:
        return wrong + failure(op, answer)
    if op.output_shape is None:
        return wrong
    if protocol == "json":
        try:
            walk(op.output_shape, json.loads(answer.body or b"{}"), "", wrong)
        except ValueError as err:
            wrong.append(f"the body is not JSON: {err}")
    for name in op.output_shape.required_members:
        if name not in answer.parsed:
            wrong.append(f"output lacks {name}")
    return wrong


def failure(op, answer):
    error = answer.parsed.get("Error", {})
    answer.code, answer.message = error.get("Code") or "", error.get("Message") or ""
    modelled = {shape.metadata.get("error", {}).get("code") or shape.name for shape in op.error_shapes} | {shape.name for shape in op.error_shapes}
    wrong = []
    if answer.status >= 500:
        wrong.append(f"HTTP {answer.status} {answer.code}: {answer.message}")
    elif answer.code not in modelled | COMMON:
        wrong.append(f"{answer.code or 'no code'} is not an error of {op.name}: {answer.message}")
    if not answer.message and answer.code not in ("UnknownOperationException",):
        wrong.append(f"{answer.code} without a message")
    if answer.code != "SerializationException" and any(text in answer.message for text in STRANGE):
        wrong.append(f"a member of the model is not known: {answer.message}")
    return wrong


def walk(shape, value, path, wrong):
    """Collects what of a JSON value is not as its shape says."""
    kind = shape.type_name
    types = {"structure": dict, "map": dict, "list": list, "string": str, "boolean": bool, "integer": int, "long": int,
             "float": (int, float), "double": (int, float), "timestamp": (int, float), "blob": str}
    if isinstance(value, bool) and kind != "boolean" or not isinstance(value, types[kind]):
        if not shape.is_document_type if hasattr(shape, "is_document_type") else True:
            wrong.append(f"{path or 'the body'} is {json.dumps(value)[:60]}, not of type {kind}")
        return
    match kind:
        case "structure":
            for name, inner in value.items():
                at = f"{path}.{name}" if path else name
                if name not in shape.members:
                    wrong.append(f"{at} is not in the model")
                elif inner is None:
                    wrong.append(f"{at} is null instead of left out")
                else:
                    walk(shape.members[name], inner, at, wrong)
            for name in shape.required_members:
                if name not in value:
                    wrong.append(f"{path}.{name} is required and not there")
        case "list":
            for inner in value:
                walk(shape.member, inner, path + "[]", wrong)
        case "map":
            for inner in value.values():
                walk(shape.value, inner, path + "{}", wrong)
        case "string":
            if shape.enum and value not in shape.enum:
                wrong.append(f"{path} is {value!r}, which is none of its values")
