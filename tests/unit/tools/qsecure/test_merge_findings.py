"""How what engines report becomes findings."""

from dataclasses import replace
from pathlib import Path

import pytest
from planted.repositories import fake_aws_key, fake_private_key

from quantum_suite.core.findings import Confidence, Finding, Region, Severity
from quantum_suite.services.code_scanning.interface import RawFinding, StagedFile
from quantum_suite.tools.qsecure.merge_findings import merge_findings
from quantum_suite.tools.qsecure.stage_files import StagedPart

KEY = fake_aws_key()
CODE = RawFinding(
    engine="ruff",
    rule_id="S602",
    kind="code",
    family="S602",
    title="Subprocess with a shell",
    message="shell=True",
    severity=Severity.HIGH,
    confidence=Confidence.MEDIUM,
    staged="a.py",
    region=Region(start_line=2, end_line=2, start_column=1, end_column=9),
    cwe=(78,),
)
PASSWORD = replace(
    CODE,
    rule_id="S105",
    family="hardcoded-credential",
    cwe=(798, 259),
    severity=Severity.MEDIUM,
    remediation="env",
)
SECRET = replace(
    PASSWORD,
    engine="trivy",
    rule_id="aws-access-key-id",
    kind="secret",
    severity=Severity.CRITICAL,
    confidence=Confidence.HIGH,
    region=Region(start_line=2, end_line=2),
    cwe=(798,),
    remediation="revoke",
    masked_lines={2: 'key = "' + "*" * 20 + '"'},
)


def merge(root: Path, text: str, *raw: RawFinding, name: str = "a.py") -> list[Finding]:
    (root / name).write_text(text)
    return merge_findings(raw, StagedPart(root, [StagedFile(name, name, name.endswith(".py"))], []))


def test_the_same_thing_from_two_engines_is_one_finding(tmp_path: Path) -> None:
    (finding,) = merge(tmp_path, f'import os\nkey = "{KEY}"\n', PASSWORD, SECRET)
    assert finding.engines == ("trivy", "ruff")
    assert finding.rule_id == "aws-access-key-id"
    assert finding.other_rules == ("S105",)
    assert finding.severity is Severity.CRITICAL
    assert finding.confidence is Confidence.HIGH
    assert finding.cwe == (798, 259)
    assert finding.remediation == "revoke"


def test_a_shared_cwe_merges_too_but_not_across_lines_or_within_an_engine(tmp_path: Path) -> None:
    other = replace(CODE, engine="other", rule_id="X1", family="X1")
    elsewhere = replace(other, region=Region(start_line=3, end_line=3))
    same_engine = replace(CODE, rule_id="S604", family="S604")
    found = merge(tmp_path, "a\nb\nc\n", CODE, other, elsewhere, same_engine)
    assert sorted((finding.rule_id, finding.engines) for finding in found) == [
        ("S602", ("ruff", "other")),
        ("S604", ("ruff",)),
        ("X1", ("other",)),
    ]


def test_a_finding_reported_twice_by_one_engine_is_one(tmp_path: Path) -> None:
    assert len(merge(tmp_path, "a\nb\n", CODE, CODE)) == 1


def test_the_fingerprint_survives_shifted_lines_and_a_missing_engine(tmp_path: Path) -> None:
    line = f'key = "{KEY}"\n'
    (first,) = merge(tmp_path, "import os\n" + line, PASSWORD, SECRET)
    at = Region(start_line=5, end_line=5)
    moved = (
        replace(PASSWORD, region=at),
        replace(SECRET, region=at, masked_lines={5: SECRET.masked_lines[2]}),
    )
    (second,) = merge(tmp_path, "import os\n\n\n# more\n    " + line, *moved)
    (alone,) = merge(tmp_path, "import os\n" + line, PASSWORD)
    assert first.fingerprint == second.fingerprint == alone.fingerprint
    assert second.location.region == at


def test_a_secret_is_masked_in_the_findings_of_others_too(tmp_path: Path) -> None:
    call = replace(CODE, message=f"call with '{KEY}'", cwe=(88,))
    found = merge(tmp_path, f'import os\nrun("{KEY}", shell=True)\n', call, SECRET)
    masked = replace(SECRET, masked_lines={2: 'run("' + "*" * 20 + '", shell=True)'})
    found += merge(tmp_path, f'import os\nrun("{KEY}", shell=True)\n', call, masked)
    assert len(found) == 4
    assert not any(KEY in finding.model_dump_json() for finding in found)


def test_a_value_an_engine_hid_is_masked_in_messages_even_when_it_has_no_telling_shape(tmp_path: Path) -> None:
    word = "plain" + "word"
    secret = replace(SECRET, staged="Dockerfile", masked_lines={2: "RUN x " + "*" * 9})
    other = replace(
        CODE, staged="Dockerfile", message=f"flag is missed: 'x {word}'", cwe=(), kind="misconfiguration"
    )
    found = merge(tmp_path, f"FROM a\nRUN x {word}\n", secret, other, name="Dockerfile")
    assert len(found) == 2
    assert not any(word in str(finding) for finding in found)


def test_a_long_key_shows_none_of_its_lines(tmp_path: Path) -> None:
    pem, body = fake_private_key()
    key = replace(SECRET, staged="k.pem", region=Region(start_line=2, end_line=13), masked_lines={2: "*" * 64})
    (finding,) = merge(tmp_path, pem, key, name="k.pem")
    assert finding.snippet == "***\n***\n***\n***\n***\n…"
    assert not any(line in finding.model_dump_json() for line in body)


def test_a_password_over_several_lines_shows_none_of_them(tmp_path: Path) -> None:
    text = 'x = 1\npassword = """first' + "part\nsecond" + 'part\n"""\n'
    (finding,) = merge(tmp_path, text, replace(PASSWORD, region=Region(start_line=2, end_line=4)))
    assert "part" not in finding.model_dump_json()


def test_a_finding_without_lines_is_about_the_file(tmp_path: Path) -> None:
    whole = replace(CODE, engine="trivy", rule_id="DS-0002", family="DS-0002", region=None)
    (finding,) = merge(tmp_path, "FROM a\n", replace(whole, staged="Dockerfile"), name="Dockerfile")
    assert finding.location.region is None
    assert finding.snippet is None


def test_a_region_beyond_the_file_is_clipped(tmp_path: Path) -> None:
    long = replace(CODE, region=Region(start_line=2, end_line=99))
    outside = replace(CODE, rule_id="S1", family="S1", region=Region(start_line=50, end_line=51), cwe=())
    found = {finding.rule_id: finding.location.region for finding in merge(tmp_path, "a\nb\n", long, outside)}
    assert found == {"S602": Region(start_line=2, end_line=3), "S1": None}


def test_long_lines_and_long_regions_are_cut(tmp_path: Path) -> None:
    (finding,) = merge(
        tmp_path, "x = (\n" + "word " * 200 + "\n" * 20, replace(CODE, region=Region(start_line=1, end_line=15))
    )
    assert finding.snippet is not None
    assert len(finding.snippet.splitlines()) == 6
    assert max(map(len, finding.snippet.splitlines())) <= 241


def test_a_secret_at_the_cut_of_an_enormous_line_does_not_show(tmp_path: Path) -> None:
    word = "ab" * 30
    (finding,) = merge(
        tmp_path, "a\n" + " ".join("x" * 19 for _ in range(198)) + f" {word}{word}" + "y" * 9_000_000, CODE
    )
    assert finding.snippet is not None
    assert "ab" not in finding.snippet
    minified = "a=" + "q" * 200 + word + "z" * 9_000_000
    (short,) = merge(tmp_path, f"a\n{minified}\n", CODE)
    assert short.snippet == "…"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.yaml", "env:\n- name: DB_PASSWORD\n  value: {}\n"),
        ("v.tf", 'variable "db_password" {{\n  type = string\n  default = "{}"\n}}\n'),
        ("a.py", 'x = {{\n    "password":\n        "{}",\n}}\n'),
        ("b.py", 'login(password=\n    "{}"\n)\n'),
    ],
)
def test_a_secret_announced_on_an_earlier_line_does_not_show(tmp_path: Path, name: str, text: str) -> None:
    word = "plain" + "word"
    block = replace(CODE, staged=name, region=Region(start_line=1, end_line=4), cwe=())
    (finding,) = merge(tmp_path, text.format(word), block, name=name)
    assert finding.snippet is not None
    assert word not in finding.snippet


def test_only_what_every_engine_is_told_to_ignore_is_suppressed(tmp_path: Path) -> None:
    quiet = replace(PASSWORD, suppressed=True)
    (alone,) = merge(tmp_path, f'import os\nkey = "{KEY}"\n', quiet)
    (both,) = merge(tmp_path, f'import os\nkey = "{KEY}"\n', quiet, SECRET)
    assert alone.suppressed
    assert not both.suppressed
