"""Projects as they lie in a folder, and plans that wait for their approval."""

import base64
import os
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC

from quantum_suite.core.errors import CallerError, Damaged, NotFound
from quantum_suite.services.encryption.memory import MemoryKeyProvider
from quantum_suite.services.infrastructure.embedded.hosts import ProviderFailed
from quantum_suite.services.infrastructure.embedded.plugins import find_plugin
from quantum_suite.services.infrastructure.embedded.registration import duration_seconds
from quantum_suite.services.infrastructure.embedded.yaml_functions import call_function
from quantum_suite.services.infrastructure.embedded.yaml_references import Reference, names_in, pieces_of
from quantum_suite.services.infrastructure.interface import ImportRequest, StackRef, StackRequest
from quantum_suite.services.infrastructure.opening import granted_environment
from quantum_suite.services.infrastructure.plan import Plan
from quantum_suite.services.infrastructure.plans import FilePlanStore
from quantum_suite.services.infrastructure.project import read_configuration, read_project, source_digest
from quantum_suite.services.infrastructure.values import UNKNOWN_VALUE, secret

DIGEST = "a" * 64


def written(folder: Path, text: str, **files: str) -> StackRequest:
    (folder / "Pulumi.yaml").write_text(text)
    for name, content in files.items():
        (folder / f"Pulumi.{name}.yaml").write_text(content)
    return StackRequest(StackRef(folder, "dev"))


def test_configuration_is_overlaid_from_project_to_stack_to_request(tmp_path: Path) -> None:
    request = written(
        tmp_path,
        "name: shop\nruntime: python\nconfig:\n  size: {default: 3}\n"
        "  pin: {default: x, secret: true}\n  other:k: v\n",
        dev="config:\n  shop:size: 4\n  shop:deep: {a: [1, true]}\n  shop:yes: true\n",
    )
    project = read_project(tmp_path)
    found = read_configuration(project, request)
    assert found.values == {
        "shop:size": "4",
        "shop:pin": "x",
        "other:k": "v",
        "shop:deep": '{"a": [1, true]}',
        "shop:yes": "true",
    }
    assert found.secret_keys == {"shop:pin"}
    over = StackRequest(request.ref, config={"size": "5"}, secret_config=frozenset({"size", "nothing"}))
    assert read_configuration(project, over).values["shop:size"] == "5"
    assert read_configuration(project, over).secret_keys == {"shop:pin", "shop:size"}


def test_values_that_pulumis_passphrase_sealed_open_with_it_and_with_nothing_else(tmp_path: Path) -> None:
    salt, nonce = os.urandom(8), os.urandom(12)
    key = PBKDF2HMAC(algorithm=hashes.SHA256(), length=32, salt=salt, iterations=1_000_000).derive(b"open")
    sealed = base64.b64encode(AESGCM(key).encrypt(nonce, b"hunter2", None)).decode()
    value = f"v1:{base64.b64encode(nonce).decode()}:{sealed}"
    dev = f"encryptionsalt: v1:{base64.b64encode(salt).decode()}:v1:x:y\n"
    dev += f"config:\n  shop:pin: {{secure: '{value}'}}\n"
    request = written(tmp_path, "name: shop\nruntime: python\n", dev=dev)
    project = read_project(tmp_path)
    knows = StackRequest(request.ref, environment={"PULUMI_CONFIG_PASSPHRASE": "open"})
    found = read_configuration(project, knows)
    assert (found.values, found.secret_keys) == ({"shop:pin": "hunter2"}, {"shop:pin"})
    with pytest.raises(CallerError, match="nothing here opens it"):
        read_configuration(project, request)
    with pytest.raises(CallerError, match="does not open with"):
        read_configuration(project, StackRequest(request.ref, environment={"PULUMI_CONFIG_PASSPHRASE": "shut"}))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: [", "it is no YAML"),
        ("- a", "it is no mapping"),
        ("runtime: python", "it has no name"),
        ("name: x\nruntime: nodejs", "its runtime is 'nodejs'"),
        ("name: x\nruntime: python\nmain: ../up", "its main leads out of the folder"),
    ],
)
def test_a_project_that_cannot_be_used_says_why(tmp_path: Path, text: str, message: str) -> None:
    written(tmp_path, text)
    with pytest.raises(CallerError, match=message):
        read_project(tmp_path)


def test_sources_count_by_name_and_content_and_caches_do_not(tmp_path: Path) -> None:
    written(tmp_path, "name: shop\nruntime: python\n")
    first = source_digest(tmp_path)
    for name in (".git", "__pycache__", "env"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "x").write_text("y")
    (tmp_path / "env" / "pyvenv.cfg").touch()
    assert source_digest(tmp_path) == first
    (tmp_path / "a").write_text("1")
    second = source_digest(tmp_path)
    (tmp_path / "a").rename(tmp_path / "b")
    third = source_digest(tmp_path)
    (tmp_path / "link").symlink_to("b")
    assert len({first, second, third, source_digest(tmp_path)}) == 4


@pytest.mark.anyio
async def test_a_plan_is_kept_with_what_it_was_asked_with_sealed(tmp_path: Path) -> None:
    keys = MemoryKeyProvider()
    store = FilePlanStore(tmp_path / "plans", keys)
    plan = Plan(kind="update", engine="e", project="p", stack="dev", state_serial=1, digest=DIGEST)
    request = StackRequest(
        StackRef(tmp_path, "dev"),
        config={"pin": "hunter2"},
        secret_config=frozenset({"pin"}),
        targets=("urn:a",),
        refresh=True,
        pending={"urn:b": "absent"},
        policy_packs=(tmp_path,),
        import_=ImportRequest("urn:c", "id"),
    )
    await store.keep(plan, request, "ann")
    found = await store.get(DIGEST)
    assert (found.plan, found.request, found.owner) == (plan, request, "ann")
    path = tmp_path / "plans" / f"{DIGEST}.json"
    assert "hunter2" not in path.read_text()
    assert store.plan_json("../../etc") is None
    with pytest.raises(NotFound):
        await store.get("b" * 64)
    path.write_text(path.read_text().replace('"request": "01', '"request": "02'))
    with pytest.raises(Damaged):
        await store.get(DIGEST)
    path.write_text("{")
    with pytest.raises(Damaged):
        await store.get(DIGEST)


@pytest.mark.anyio
async def test_a_plan_is_given_for_the_stack_it_was_made_for_alone(tmp_path: Path) -> None:
    store = FilePlanStore(tmp_path / "plans", MemoryKeyProvider())
    plan = Plan(kind="update", engine="e", project="p", stack="dev", state_serial=1, digest=DIGEST)
    await store.keep(plan, StackRequest(StackRef(tmp_path, "dev")), "ann")
    assert (await store.get_for(StackRef(tmp_path, "dev"), DIGEST)).plan == plan
    for other in (StackRef(tmp_path, "prod"), StackRef(tmp_path / "other", "dev")):
        with pytest.raises(CallerError, match="for another stack") as caught:
            await store.get_for(other, DIGEST)
        assert caught.value.argument == "plan_digest"


def test_stacks_get_the_variables_the_operator_names_and_no_others() -> None:
    environ = {"AWS_REGION": "x", "AWS_KEY": "y", "HOME": "z", "KUBECONFIG": "k"}
    assert granted_environment("AWS_*, KUBECONFIG,", environ) == {
        "AWS_REGION": "x",
        "AWS_KEY": "y",
        "KUBECONFIG": "k",
    }
    assert granted_environment(None, environ) == {}


def test_plugins_are_found_by_version_the_newest_first_and_on_the_path(tmp_path: Path) -> None:
    for version in ("1.9.0", "1.10.0"):
        folder = tmp_path / "plugins" / f"resource-aws-v{version}"
        folder.mkdir(parents=True)
        (folder / "pulumi-resource-aws").touch(mode=0o755)
    environ = {"PULUMI_HOME": str(tmp_path), "PATH": str(tmp_path / "bin")}
    assert "1.10.0" in str(find_plugin("aws", "", environ))
    assert "1.9.0" in str(find_plugin("aws", "v1.9.0", environ))
    assert find_plugin("aws", "2.0.0", environ) is None
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "pulumi-resource-gcp").touch(mode=0o755)
    assert find_plugin("gcp", "", environ) == tmp_path / "bin" / "pulumi-resource-gcp"


def test_functions_keep_secrets_secret_and_unknowns_unknown(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("content")
    cases = [
        ("fn::join", [",", ["a", 1, True, None, {"x": 1}]], 'a,1,true,,{"x":1}'),
        ("fn::split", [",", "a,b"], ["a", "b"]),
        ("fn::select", [1, ["a", "b"]], "b"),
        ("fn::fromJSON", '{"a": 1}', {"a": 1}),
        ("fn::toBase64", "abc", "YWJj"),
        ("fn::fromBase64", "YWJj", "abc"),
        ("fn::readFile", "f", "content"),
        ("fn::toJSON", {"a": secret("x")}, secret('{"a":"x"}')),
        ("fn::join", ["", ["a", UNKNOWN_VALUE]], UNKNOWN_VALUE),
        ("fn::secret", "x", secret("x")),
    ]
    for name, argument, expected in cases:
        assert call_function(name, argument, tmp_path) == expected
    for name, argument in [
        ("fn::select", [9, ["a"]]),
        ("fn::fromBase64", "?"),
        ("fn::readFile", "../x"),
        ("fn::readFile", "none"),
        ("fn::join", 3),
    ]:
        with pytest.raises(ProviderFailed, match=name):
            call_function(name, argument, tmp_path)


def test_references_are_read_with_their_way_to_the_value() -> None:
    assert pieces_of('a ${b.c[0]["d e"]} $${x}') == [
        "a ",
        Reference("b", ("c", 0, "d e"), 'b.c[0]["d e"]'),
        " ",
        "${",
        "x}",
    ]
    assert list(names_in({"k": ["${a}", {"${b.c}": 1}]})) == ["a", "b"]
    for wrong in ("${}", "${a", "${a..b}", "${[0]}"):
        with pytest.raises(ProviderFailed):
            pieces_of(wrong)


def test_durations_are_read_as_go_writes_them() -> None:
    assert duration_seconds("1h30m5s") == 5405
    assert duration_seconds("") == 0
    with pytest.raises(ValueError, match="is no duration"):
        duration_seconds("soon")
