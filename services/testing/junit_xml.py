"""JUnit XML, in the form that CI servers read."""

import re
from collections import Counter
from collections.abc import Sequence
from xml.etree import ElementTree  # Written here, never read: nobody else's XML is parsed.

from quantum_suite.services.testing.interface import TestCase

_NOT_IN_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def junit_xml(name: str, cases: Sequence[TestCase], seconds: float) -> bytes:
    """Return a report of one suite; tests that did not run count as errors, and say so."""
    counts = Counter(case.outcome for case in cases)
    numbers = {
        "tests": str(len(cases)),
        "failures": str(counts["failed"] + counts["xpassed"]),
        "errors": str(counts["error"] + counts["not_run"]),
        "skipped": str(counts["skipped"] + counts["xfailed"]),
        "time": f"{seconds:.3f}",
    }
    top = ElementTree.Element("testsuites", {"name": name, **numbers})
    suite = ElementTree.SubElement(top, "testsuite", {"name": name, **numbers})
    for case in cases:
        suite.append(_case(case))
    return bytes(ElementTree.tostring(top, encoding="utf-8", xml_declaration=True))


def _case(case: TestCase) -> ElementTree.Element:
    classname, separator, name = case.id.rpartition("::")
    if not separator:
        classname, _, name = case.id.rpartition(" > ")
    attributes = {"classname": _clean(classname), "name": _clean(name), "time": f"{case.seconds:.3f}"}
    if case.path is not None:
        attributes["file"] = _clean(case.path)
    if case.line is not None:
        attributes["line"] = str(case.line)
    element = ElementTree.Element("testcase", attributes)
    tag = _TAGS.get(case.outcome)
    if tag is not None:
        first = case.message.strip().splitlines()[-1:] or [case.outcome]
        child = ElementTree.SubElement(element, tag, {"message": _clean(first[0])[:300], "type": case.outcome})
        child.text = _clean(case.message)
    return element


_TAGS = {
    "failed": "failure",
    "xpassed": "failure",
    "error": "error",
    "not_run": "error",
    "skipped": "skipped",
    "xfailed": "skipped",
}


def _clean(text: str) -> str:
    return _NOT_IN_XML.sub("?", text)
