"""Rules of security groups, one for each source, by what tells them apart: order and grouping mean nothing."""

import ipaddress
import re
from collections.abc import Iterator, Mapping
from typing import Any

from quantum_suite.services.infrastructure.library.properties import text

Rules = dict[str, dict[str, Any]]

_NUMBERS = {"icmp": "1", "tcp": "6", "udp": "17", "icmpv6": "58", "all": "-1"}
_NAMES = {"1": "icmp", "6": "tcp", "17": "udp", "58": "icmpv6"}
_GROUP = re.compile(r"sg-[0-9a-f]+")
_LIST = re.compile(r"pl-[0-9a-f]+")


def rules(value: Any) -> Rules:
    """Return rules, given as a list or by key, in their one form; raises ValueError saying which is wrong."""
    given = list(value.values()) if isinstance(value, Mapping) else value
    if not isinstance(given, list | tuple):
        raise ValueError("it must be a list of rules")
    found = [one for rule in given for one in _split(rule)]
    return {_key(rule): rule for rule in sorted(found, key=_key)}


def read_rules(permissions: Any) -> Rules:
    """Return the rules that AWS tells of a group."""
    found: list[dict[str, Any]] = []
    for one in permissions:
        sources = [
            *((item["CidrIp"], item) for item in one.get("IpRanges", ())),
            *((item["CidrIpv6"], item) for item in one.get("Ipv6Ranges", ())),
            *((item["PrefixListId"], item) for item in one.get("PrefixListIds", ())),
            *((item["GroupId"], item) for item in one.get("UserIdGroupPairs", ())),
        ]
        found += [
            _rule(one["IpProtocol"], one.get("FromPort"), one.get("ToPort"), source, item.get("Description") or "")
            for source, item in sources
        ]
    return {_key(rule): rule for rule in sorted(found, key=_key)}


def their_rule(rule: Mapping[str, Any]) -> dict[str, Any]:
    """Return a rule as AWS takes it."""
    asked: dict[str, Any] = {"IpProtocol": rule["protocol"]}
    if rule["protocol"] != "-1":
        asked |= {"FromPort": int(rule["from_port"]), "ToPort": int(rule["to_port"])}
    source = rule["source"]
    told = {"Description": rule["description"]} if rule["description"] else {}
    if source.startswith("sg-"):
        asked["UserIdGroupPairs"] = [{"GroupId": source, **told}]
    elif source.startswith("pl-"):
        asked["PrefixListIds"] = [{"PrefixListId": source, **told}]
    elif ":" in source:
        asked["Ipv6Ranges"] = [{"CidrIpv6": source, **told}]
    else:
        asked["IpRanges"] = [{"CidrIp": source, **told}]
    return asked


def _split(rule: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(rule, Mapping):
        raise ValueError("a rule is an object with protocol, from_port, to_port and source")
    wrong = sorted(set(rule) - {"protocol", "from_port", "to_port", "port", "source", "sources", "description"})
    if wrong:
        raise ValueError(f"a rule has no {', '.join(wrong)}")
    protocol = text(rule.get("protocol", "tcp"))
    low, high = rule.get("from_port", rule.get("port")), rule.get("to_port", rule.get("port"))
    sources = rule.get("sources") or [rule.get("source")]
    for source in sources:
        if not isinstance(source, str) or not source:
            raise ValueError("a rule needs a source: a network (10.0.0.0/8), a group (sg-...) or a list (pl-...)")
        yield _rule(protocol, low, high, source, text(rule.get("description", "")))


def _rule(protocol: str, low: Any, high: Any, source: str, description: str) -> dict[str, Any]:
    number = _NUMBERS.get(protocol.lower(), protocol)
    name = _NAMES.get(number, number)
    if name == "-1":
        low = high = -1
    if low is None or high is None:
        raise ValueError(f"a rule of protocol {name} needs from_port and to_port")
    return {
        "protocol": name,
        "from_port": int(low),
        "to_port": int(high),
        "source": _source(source),
        "description": description,
    }


def _source(source: str) -> str:
    if _GROUP.fullmatch(source) or _LIST.fullmatch(source):
        return source
    try:
        # AWS keeps the network of an address with host bits.
        return str(ipaddress.ip_network(source, strict=False))
    except ValueError:
        raise ValueError(f"'{source}' is no network, no group (sg-...) and no list (pl-...)") from None


def _key(rule: Mapping[str, Any]) -> str:
    ports = "all" if rule["protocol"] == "-1" else f"{rule['from_port']}-{rule['to_port']}"
    protocol = "all" if rule["protocol"] == "-1" else rule["protocol"]
    return f"{protocol} {ports} {rule['source']}"
