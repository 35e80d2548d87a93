"""Reads SLOs from text, whatever form it has."""

from dataclasses import dataclass

from quantum_suite.services.slo.documents import read_documents
from quantum_suite.services.slo.fields import Problems
from quantum_suite.services.slo.interface import AlertWindows, InvalidSlo, Problem, Slo
from quantum_suite.services.slo.openslo_form import read_openslo_v1
from quantum_suite.services.slo.openslo_objects import V1, V1ALPHA, gather_objects
from quantum_suite.services.slo.openslo_v1alpha import read_openslo_v1alpha
from quantum_suite.services.slo.sloth_form import (
    KUBERNETES_V1,
    PROMETHEUS_V1,
    read_prometheus_v1,
    read_service_level,
)
from quantum_suite.services.slo.windows import read_alert_windows
from quantum_suite.services.yaml_nodes import Node

MAX_SLOS = 200
_FORMS = f"version: {PROMETHEUS_V1}, or apiVersion: {V1}, {V1ALPHA} or {KUBERNETES_V1}"


@dataclass(frozen=True, slots=True)
class _Sorted:
    """Documents by form."""

    sloth: list[Node]
    service_levels: list[Node]
    openslo: list[Node]
    alpha: list[Node]
    windows: list[AlertWindows]


def load_slos(text: str, file: str) -> list[Slo]:
    """Return the SLOs of a file, in order of its forms and documents; one at least.

    Raises InvalidSlo with every problem found, each with its line and key.
    """
    documents = read_documents(text, file)
    problems = Problems(file)
    forms = _sort(documents, problems)
    objects = gather_objects(forms.openslo, problems)
    found: list[Slo] = []
    for document in forms.sloth:
        found += read_prometheus_v1(document, problems, forms.windows)
    for document in forms.service_levels:
        found += read_service_level(document, problems, forms.windows)
    for document in objects.slos:
        found += read_openslo_v1(document, problems, objects, forms.windows)
    for document in forms.alpha:
        found += read_openslo_v1alpha(document, problems, forms.windows)
    problems.raise_any()
    _check_whole(found, file)
    return found


def _sort(documents: list[Node], problems: Problems) -> _Sorted:
    forms = _Sorted([], [], [], [], [])
    for document in documents:
        words = _words(document)
        version, kind = words.get("apiVersion", ""), words.get("kind", "")
        if words.get("version") == PROMETHEUS_V1:
            forms.sloth.append(document)
        elif version == V1:
            forms.openslo.append(document)
        elif version == V1ALPHA:
            forms.alpha.append(document)
        elif version == KUBERNETES_V1 and kind == "PrometheusServiceLevel":
            forms.service_levels.append(document)
        elif version == KUBERNETES_V1 and kind == "AlertWindows":
            windows = read_alert_windows(document, problems)
            forms.windows.extend([windows] if windows is not None else [])
        else:
            problems.add(document, "This is no form of SLOs that is known.", f"Begin with {_FORMS}.")
    return forms


def _words(document: Node) -> dict[str, str]:
    if not isinstance(document.value, dict):
        return {}
    return {key: node.written for key, node in document.value.items() if isinstance(node.value, str)}


def _check_whole(found: list[Slo], file: str) -> None:
    if not found:
        raise InvalidSlo([Problem(file, 1, "", "There is no SLO in this file.", f"Begin with {_FORMS}.")])
    if len(found) > MAX_SLOS:
        problem = Problem(file, 1, "", f"There are {len(found)} SLOs.", f"{MAX_SLOS} a file are the most.")
        raise InvalidSlo([problem])
    seen: dict[str, Slo] = {}
    for slo in found:
        if slo.id in seen:
            hint = f"The first is in line {seen[slo.id].line}: rename one."
            raise InvalidSlo([Problem(file, slo.line, "", f"There are two SLOs '{slo.id}'.", hint)])
        seen[slo.id] = slo
