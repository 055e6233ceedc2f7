#!/usr/bin/env python3
"""Sends every operation of AWS's service models to a Berth, right and wrong in every way
that the model knows, and checks each answer against the model.

    contract.py --endpoint http://127.0.0.1:8080 [--only RunTask,ListTasks] [--table FILE] [-v]

For each operation: the smallest request that means something; one with all members; the
smallest one with each other member added, however deep; and each of these with a single rule
of the model broken. The models are those of the installed botocore.

What the answers must be: of the model and its types, or an error of the operation; never HTTP 5xx,
never late, never an operation or member of the model that is not known. What deviates is listed,
with its reason, in deviations.json; an entry there that deviates no more is an error too.
"""

import argparse
import collections
import copy
import fnmatch
import json
import os
import pathlib
import sys
import time
import urllib.parse

import botocore
import urllib3
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.loaders import Loader
from botocore.model import ServiceModel
from botocore.serialize import create_serializer

import shapes
import verify
import world

HERE = pathlib.Path(__file__).parent
KINDS = ("least", "whole", "member", "missing", "type", "length", "range", "enum", "pattern")
LATE = 10  # seconds


class Service:
    """One AWS service at the endpoint."""

    def __init__(self, name, endpoint, region, key, secret):
        self.name = name
        self.model = ServiceModel(Loader().load_service_model(name, "service-2"), name)
        self.protocol = self.model.metadata["protocol"]
        self.endpoint = endpoint
        signing = self.model.metadata.get("signingName") or self.model.metadata["endpointPrefix"]
        self.signer = SigV4Auth(Credentials(key, secret), signing, region)
        self.pool = urllib3.PoolManager(timeout=LATE, retries=False)
        self.slowest = (0, "")

    def send(self, operation, request):
        op = self.model.operation_model(operation)
        if self.protocol == "json":
            target = f"{self.model.metadata['targetPrefix']}.{operation}"
            headers = {"Content-Type": f"application/x-amz-json-{self.model.metadata['jsonVersion']}", "X-Amz-Target": target}
            body = json.dumps(request).encode("utf-8", "surrogatepass")
        else:
            serialized = create_serializer(self.protocol, False).serialize_to_request(request, op)
            headers, body = dict(serialized["headers"]), urllib.parse.urlencode(serialized["body"], doseq=True).encode()
        signed = AWSRequest("POST", self.endpoint + "/", headers=headers, data=body)
        self.signer.add_auth(signed)
        for _ in range(40):
            began = time.monotonic()
            r = self.pool.request("POST", self.endpoint + "/", body=body, headers=dict(signed.headers.items()))
            self.slowest = max(self.slowest, (time.monotonic() - began, operation))
            if b"ThrottlingException" not in r.data:
                break
            time.sleep(0.25)  # as the service asks
        return verify.Answer(r.status, dict(r.headers), r.data)


class Case:
    def __init__(self, kind, path, request, control=None):
        self.kind, self.path, self.request, self.control = kind, path, request, control


def cases(service, operation, w):
    """Yields the cases of one operation."""
    op = service.model.operation_model(operation)
    if op.input_shape is None:
        yield Case("least", "", {})
        return
    values = shapes.Values(operation, w.hints, w.needs if service.name == "ecs" else {})
    least = w.least(service.name, operation)
    if least is None:
        least = lambda: values.make(op.input_shape)
    yield Case("least", "", least())
    yield Case("whole", "", values.make(op.input_shape, whole=True) | w.whole(operation, least))
    base = least()
    for path, shape, required in shapes.paths(op.input_shape):
        name = dotted(path)
        if operation not in world.HEAVY:
            base = least()  # with names of its own: what is there already may not be looked at
        if service.protocol != "json" and len(path) > 1:
            continue  # a form cannot be wrong in as many ways
        with_it = request_with(base, op.input_shape, path, values)
        if not required or len(path) > 1:
            yield Case("member", name, with_it)
        if required:
            yield Case("missing", name, without(with_it, path))
        if service.protocol != "json":
            continue
        broken = list(shapes.violations(shape)) + list(shapes.lengths(shape, values.make(shape, name, "", path[-1])))
        for kind, value in broken:
            yield Case(kind, name, put(with_it, path, value), with_it)
        if shape.type_name == "list":
            for kind, value in shapes.violations(shape.member):
                yield Case(kind, name + "[]", put(with_it, path, [value]), with_it)


def dotted(path):
    return ".".join(path).replace(".[]", "[]").replace(".{}", "{}")


def request_with(base, shape, path, values):
    """Returns base with the member at path added, and what is above it made if need be."""
    request = copy.deepcopy(base)
    at, here = request, shape
    for depth, step in enumerate(path):
        name, last = dotted(path[: depth + 1]), depth == len(path) - 1
        if step == "[]":
            at, here = at[0], here.member
        elif step == "{}":
            at, here = next(iter(at.values())), here.value
        else:
            if here.metadata.get("union"):
                for other in [k for k in at if k != step]:
                    del at[other]
            inner = here.members[step]
            if last or not at.get(step):
                at[step] = values.make(inner, name, here.name, step)
            if not last and inner.type_name in ("structure", "list", "map") and not isinstance(at[step], (dict, list)):
                at[step] = {}
            at, here = at[step], inner
    return request


def put(request, path, value):
    request = copy.deepcopy(request)
    at = request
    for step in path[:-1]:
        at = at[0] if step == "[]" else next(iter(at.values())) if step == "{}" else at[step]
    at[path[-1]] = value
    return request


def without(request, path):
    request = copy.deepcopy(request)
    at = request
    for step in path[:-1]:
        at = at[0] if step == "[]" else next(iter(at.values())) if step == "{}" else at[step]
    at.pop(path[-1], None)
    return request


class Report:
    """What came of all cases."""

    def __init__(self, deviations, verbose):
        self.deviations, self.verbose = deviations, verbose
        self.used = set()
        self.failed = []
        self.cells = collections.defaultdict(lambda: collections.defaultdict(lambda: [0, 0, 0]))  # (service, op) → kind → passed, deviates, all
        self.outcome = {}  # (service, op) → what the least request got
        self.masked = collections.Counter()

    def mask(self, operation, case, answer, control):
        """Counts a request that was refused for what its right twin was refused for too: it
        says nothing of the rule that it breaks."""
        if not answer.ok and not control.ok and (answer.code, answer.message) == (control.code, control.message):
            self.masked[operation, case.path, answer.message[:100]] += 1

    def add(self, service, operation, case, answer, wrong):
        cell = self.cells[service, operation][case.kind]
        cell[2] += 1
        if self.verbose:
            print(service, operation, case.kind, case.path, answer.status, answer.code, answer.message[:150], wrong or "")
        if not wrong:
            cell[0] += 1
            return
        for i, d in enumerate(self.deviations):
            if fnmatch.fnmatchcase(f"{service}.{operation}", d["operation"]) and fnmatch.fnmatchcase(case.kind, d.get("kind", "*")) \
                    and fnmatch.fnmatchcase(case.path, d.get("path", "*").replace("[", "[[]")) and all(d.get("says", "") in text for text in wrong):
                self.used.add(i)
                cell[1] += 1
                return
        self.failed.append((service, operation, case, answer, wrong))


def judge(case, answer, wrong, expect_ok):
    """Adds what is wrong with an outcome, beyond what the model says of its form."""
    if case.kind == "least" and expect_ok and not answer.ok:
        wrong.append(f"refused: {answer.code}: {answer.message}")
    if case.kind not in ("least", "whole", "member") and answer.ok:
        wrong.append("accepted")
    return wrong


def run(service, operations, w, report):
    for operation in operations:
        supported, control = w.supports(service.name, operation), None
        for case in cases(service, operation, w):
            if case.kind != "least" and not supported and case.kind != "whole":
                continue
            w.rename(operation, case)
            began = time.monotonic()
            try:
                answer = service.send(operation, case.request)
            except Exception as err:
                answer = verify.Answer(0, {}, b"")
                wrong = [f"no answer within {time.monotonic() - began:.0f} s: {err!r}"]
            else:
                wrong = judge(case, answer, verify.check(service.model, operation, answer), supported)
                w.clean(service.name, operation, answer)
                if case.kind == "member":
                    control = answer
                elif case.control is not None and control:
                    report.mask(operation, case, answer, control)
            if case.kind == "least":
                report.outcome[service.name, operation] = "yes" if answer.ok else answer.code
            report.add(service.name, operation, case, answer, wrong)


def table(report, services):
    lines = [f"Models: botocore {botocore.__version__}. Written by `tests/clients/contract`; N means that N requests were sent and answered as the",
             "model says, N−M that M of them deviate, for the reasons below.", ""]
    for service in services:
        rows = {op: cells for (name, op), cells in report.cells.items() if name == service.name}
        full = {op: cells for op, cells in rows.items() if set(cells) - {"least", "whole"} or report.outcome[service.name, op] == "yes"}
        lines += [f"### {service.name}", "", "| operation | " + " | ".join(KINDS[1:]) + " |", "|---|" + "---|" * (len(KINDS) - 1)]
        for op, cells in sorted(full.items()):
            lines.append(f"| {op} | " + " | ".join(number(cells.get(kind)) for kind in KINDS[1:]) + " |")
        refused = collections.defaultdict(list)
        for op in sorted(set(rows) - set(full)):
            refused[report.outcome[service.name, op]].append(op)
        lines.append("")
        for code, ops in sorted(refused.items()):
            lines += [f"Refused with {code}: {', '.join(ops)}.", ""]
    lines += ["Deviations:", ""] + [f"- `{d['operation']}` {d.get('kind', '')} {d.get('path', '')}: {d['reason']}".replace("  ", " ") for d in report.deviations] + [""]
    return "\n".join(lines)


def number(cell):
    if not cell:
        return ""
    passed, deviates, _ = cell
    return f"{passed + deviates}" + (f"−{deviates}" if deviates else "")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--endpoint", required=True)
    p.add_argument("--region", default="us-east-1")
    p.add_argument("--key", default=os.environ.get("AWS_ACCESS_KEY_ID", "210987654321"))
    p.add_argument("--secret", default=os.environ.get("AWS_SECRET_ACCESS_KEY", "secret"))
    p.add_argument("--only", default="*")
    p.add_argument("--services", default="ecs,logs,sts,application-autoscaling")
    p.add_argument("--image", default="berth/demo:latest")
    p.add_argument("--table")
    p.add_argument("-v", action="store_true", dest="verbose")
    a = p.parse_args()

    w = world.World(a)
    services = [Service(name, a.endpoint, a.region, a.key, a.secret) for name in a.services.split(",")]
    report = Report(json.loads((HERE / "deviations.json").read_text()), a.verbose)
    began = time.monotonic()
    try:
        for service in services:
            names = sorted(n for n in service.model.operation_names if any(fnmatch.fnmatchcase(n, g) for g in a.only.split(",")))
            run(service, [n for n in names if w.wants(service, n)], w, report)
    finally:
        w.close()

    sent = sum(cell[2] for cells in report.cells.values() for cell in cells.values())
    for service, operation, case, answer, wrong in report.failed:
        print(f"FAIL {service}.{operation} {case.kind} {case.path}: {'; '.join(wrong[:4])}")
        print(f"     {json.dumps(case.request)[:600]}")
    asked = {service.name for service in services}
    stale = [d for i, d in enumerate(report.deviations) if i not in report.used and d["operation"].split(".")[0] in asked] if a.only == "*" else []
    for d in stale:
        print(f"FAIL deviations.json: {json.dumps(d)} deviates no more")
    if a.table:
        pathlib.Path(a.table).write_text(table(report, services))
    if a.verbose:
        for (operation, path, message), n in sorted(report.masked.items()):
            print(f"masked {n}: {operation} {path}: {message}")
    print(f"{sum(report.masked.values())} requests were refused for something else than what is wrong with them")
    print(f"{sent} requests in {time.monotonic() - began:.0f} s, the slowest took {max(s.slowest for s in services)}")
    print(f"contract: {sent - len(report.failed)} passed, {len(report.failed) + len(stale)} failed")
    sys.exit(1 if report.failed or stale else 0)


if __name__ == "__main__":
    main()
