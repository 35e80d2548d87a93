"""Policy documents that AWS treats as the same read the same, and others do not."""

import json
from typing import Any
from urllib.parse import quote

import pytest

from quantum_suite.services.infrastructure.library.aws.documents import document
from quantum_suite.services.infrastructure.library.aws.ec2.rules import read_rules, rules, their_rule


def policy(**statement: Any) -> dict[str, Any]:
    return {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]}


ONE = policy(Action=["s3:GetObject", "s3:PutObject"], Resource="*", Principal={"AWS": ["a", "b"]})


@pytest.mark.parametrize(
    "same",
    [
        json.dumps(ONE, indent=4),
        quote(json.dumps(ONE)),
        dict(reversed(ONE.items())),
        {"Version": "2012-10-17", "Statement": ONE["Statement"][0]},
        policy(Action=["s3:PutObject", "s3:GetObject"], Resource=["*"], Principal={"AWS": ["b", "a"]}),
    ],
)
def test_the_same_document_reads_the_same(same: Any) -> None:
    assert document(same) == document(ONE)
    assert document(document(same)) == document(ONE)


@pytest.mark.parametrize(
    "other",
    [
        policy(Action=["s3:GetObject"], Resource="*", Principal={"AWS": ["a", "b"]}),
        policy(Action=["s3:GetObject", "s3:PutObject"], Resource="*", Principal={"AWS": "a"}),
        {**ONE, "Version": "2008-10-17"},
        {**ONE, "Statement": ONE["Statement"] * 2},
    ],
)
def test_another_document_reads_otherwise(other: Any) -> None:
    assert document(other) != document(ONE)


def test_conditions_compare_as_text_and_statements_in_any_order() -> None:
    def with_condition(value: Any) -> dict[str, Any]:
        return policy(Action="s3:*", Condition={"Bool": {"aws:SecureTransport": value}})

    assert (
        document(with_condition(False)) == document(with_condition("false")) == document(with_condition(["false"]))
    )
    first, second = ONE["Statement"][0], policy(Action="sqs:*")["Statement"][0]
    both = [{"Version": "x", "Statement": pair} for pair in ([first, second], [second, first])]
    assert document(both[0]) == document(both[1])
    assert document("") == document({}) == ""


@pytest.mark.parametrize("broken", ["{", "[]", 3])
def test_what_is_no_document_is_refused(broken: Any) -> None:
    with pytest.raises(ValueError, match=r"it is no JSON|is an object"):
        document(broken)


def test_rules_read_the_same_in_any_grouping_and_come_back_from_aws_as_they_went() -> None:
    grouped = rules(
        [
            {"port": 22, "sources": ["10.0.0.9/8", "sg-0a1"], "description": "in"},
            {"protocol": "all", "source": "pl-1f"},
        ]
    )
    apart = rules(
        [
            {"protocol": "-1", "source": "pl-1f"},
            {"protocol": "6", "from_port": 22, "to_port": 22, "source": "sg-0a1", "description": "in"},
            {"protocol": "TCP", "from_port": 22, "to_port": 22, "source": "10.0.0.0/8", "description": "in"},
        ]
    )

    assert grouped == apart
    assert list(grouped) == ["all all pl-1f", "tcp 22-22 10.0.0.0/8", "tcp 22-22 sg-0a1"]
    assert read_rules(list(map(their_rule, grouped.values()))) == grouped
    assert rules(grouped) == grouped
