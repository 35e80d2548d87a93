"""Names of findings that stay."""

import re

from quantum_suite.tools.qsecure.fingerprint_findings import Fingerprinter


def name(path: str = "a.py", family: str = "S602", snippet: str | None = "run(x, shell=True)") -> str:
    return Fingerprinter().name(path, family, snippet)


def test_a_name_is_32_hexadecimal_digits() -> None:
    assert re.fullmatch(r"[0-9a-f]{32}", name())
    assert re.fullmatch(r"[0-9a-f]{32}", name(snippet=None, path="caf\\xe9\n.py"))


def test_white_space_and_the_text_of_literals_do_not_matter() -> None:
    assert name(snippet='run("***",  shell=True)') == name(snippet='  run("", shell=True)')


def test_path_family_and_code_matter() -> None:
    assert len({name(), name(path="b.py"), name(family="S603"), name(snippet="run(y, shell=True)")}) == 4


def test_identical_findings_of_a_file_are_told_apart_by_their_order() -> None:
    namer = Fingerprinter()
    first, second = (namer.name("a.py", "S602", "run(x)") for _ in range(2))
    assert first != second
    again = Fingerprinter()
    assert [again.name("a.py", "S602", "run(x)") for _ in range(2)] == [first, second]
