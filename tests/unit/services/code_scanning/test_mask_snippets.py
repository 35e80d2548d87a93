"""What is masked in text that is shown."""

import pytest
from planted.repositories import fake_aws_key, fake_github_token

from quantum_suite.services.code_scanning.mask_snippets import hidden_value, mask_line, mask_prose

WORD = "hunter" + "2hunter"


@pytest.mark.parametrize(
    "line",
    [
        f'password = "{WORD}"',
        f"password: '{WORD}'",
        f'db_passwd="{WORD}",',
        f'connect(host="h", password="{WORD}")',
        f'API_KEY = """{WORD}',
        f'{{"client_secret": "{WORD}"}}',
        f'token: str = "{WORD}"  # temporary',
        f'x = "{fake_aws_key()}"',
        f"url = 'postgres://admin:{WORD}@db/x'",
    ],
)
def test_values_in_source_are_masked_where_the_line_speaks_of_a_secret(line: str) -> None:
    masked = mask_line(line, credential=False, is_code=True)
    assert WORD not in masked
    assert fake_aws_key() not in masked
    assert "***" in masked


@pytest.mark.parametrize(
    "line",
    [
        f"password: {WORD}",
        f"PASSWORD={WORD}",
        f"export DB_PASSWORD={WORD}",
        f"ENV DB_PASSWORD {WORD} more",
        f"ARG TOKEN={WORD}",
        f"password => {WORD},",
        f"  secret := {WORD}",
    ],
)
def test_bare_values_in_settings_are_masked(line: str) -> None:
    assert WORD not in mask_line(line, credential=False, is_code=False)


def test_everything_assigned_goes_where_a_rule_says_credential() -> None:
    masked = mask_line(f'    "{WORD}", {WORD[::-1]!r}', credential=True, is_code=True)
    assert masked == "    \"***\", '***'"


@pytest.mark.parametrize(
    "line",
    [
        "token = get_token(user)",
        'print("hello world")',
        "def test_very_long_function_name_that_is_only_words_2(self):",
        "from quantum_suite.services.scans.interface import ScanStore",
        "password = ''",
    ],
)
def test_code_without_a_value_stays_readable(line: str) -> None:
    assert mask_line(line, credential=False, is_code=True) == line


def test_long_random_words_and_digests_are_masked_anywhere() -> None:
    token = fake_github_token()[4:]
    assert token not in mask_line(f"x = f({token})", credential=False, is_code=True)
    assert mask_line("sum: " + "0123456789abcdef" * 4, credential=False, is_code=True) == "sum: ***"


def test_runs_of_stars_do_not_tell_the_length() -> None:
    assert mask_line("KEY=" + "*" * 20, credential=False, is_code=False) == "KEY=***"


def test_engine_output_is_masked() -> None:
    text = f"flag is missed: 'curl -u admin:{WORD} https://u:{WORD}@h/ --password {WORD} {fake_github_token()}'"
    masked = mask_prose(text)
    assert WORD not in masked
    assert fake_github_token() not in masked
    assert masked.startswith("flag is missed: 'curl")


@pytest.mark.parametrize(
    ("raw", "masked", "value"),
    [
        ("KEY=abcdef end", "KEY=****** end", "abcdef"),
        ("a abc b def c", "a *** b *** c", "abc b def"),
        ("é=abcdef;", "é=******;", "abcdef"),
        ("no stars", "no stars", None),
        ("other text", "KEY=******", None),
    ],
)
def test_a_hidden_value_is_told_from_the_line_and_its_masked_form(
    raw: str, masked: str, value: str | None
) -> None:
    assert hidden_value(raw, masked) == value
