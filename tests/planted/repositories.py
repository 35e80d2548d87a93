"""Small repositories with planted problems. Secrets are put together at run time: none stands in this file."""

import random
import string
from dataclasses import dataclass
from pathlib import Path


def fake_aws_key(seed: int = 7) -> str:
    """Return text of the shape of an AWS access key id."""
    letters = random.Random(seed)
    return "AK" + "IA" + "".join(letters.choice("ABCDEFGHJKLMNPQRSTUVWXYZ234567") for _ in range(16))


def fake_github_token(seed: int = 11) -> str:
    """Return text of the shape of a GitHub personal access token."""
    letters = random.Random(seed)
    return "gh" + "p_" + "".join(letters.choice(string.ascii_letters + string.digits) for _ in range(36))


def fake_private_key(seed: int = 13) -> tuple[str, list[str]]:
    """Return a PEM block of the right shape, and the lines of its body."""
    letters = random.Random(seed)
    alphabet = string.ascii_letters + string.digits + "+/"
    body = ["".join(letters.choice(alphabet) for _ in range(64)) for _ in range(12)]
    kind = "RSA PRIVATE " + "KEY"
    return "\n".join([f"-----BEGIN {kind}-----", *body, f"-----END {kind}-----", ""]), body


@dataclass(frozen=True)
class Planted:
    """A repository and the secret values in it, none of which may show up anywhere."""

    root: Path
    secrets: tuple[str, ...]


def plant(root: Path) -> Planted:
    """Write a repository with one of everything below `root`, which is made."""
    aws, github = fake_aws_key(), fake_github_token()
    pem, body = fake_private_key()
    word = "hunter2" + "hunter2"
    (root / "infra").mkdir(parents=True)
    (root / "src").mkdir()
    (root / "tests").mkdir()
    (root / "src" / "app.py").write_text(
        "import hashlib, pickle, subprocess\n"
        f'AWS_KEY = "{aws}"\n'
        f'password = "{word}"\n'
        'subprocess.call("ls " + AWS_KEY, shell=True)\n'
        'pickle.loads(b"")  # noqa: S301\n'
        "hashlib.md5(b'').hexdigest()\n"
    )
    (root / "src" / "broken.py").write_text("def f(:\n    pass\n")
    (root / "tests" / "test_app.py").write_text(f'assert True\nTOKEN = "{github}"\n')
    (root / "deploy.env").write_text(f"GITHUB_TOKEN={github}\n")
    (root / "server.pem").write_text(pem)
    (root / "Dockerfile").write_text(f"FROM ubuntu:latest\nENV DB_PASSWORD={word}\n")
    (root / "infra" / "main.tf").write_text(
        'resource "aws_security_group_rule" "ssh" {\n'
        '  type        = "ingress"\n'
        '  cidr_blocks = ["0.0.0.0/0"]\n'
        "  from_port   = 22\n"
        "  to_port     = 22\n"
        '  protocol    = "tcp"\n'
        '  security_group_id = "sg-1"\n'
        "}\n"
    )
    (root / "logo.bin").write_bytes(bytes(range(256)) * 4)
    return Planted(root, (aws, github, word, *body))
