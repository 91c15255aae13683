"""Compose and Kubernetes files: each fault is found, and its repaired twin is closed."""

from __future__ import annotations

from ipaddress import ip_address
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lint_folder import Case, written

from postlatch.audit.lint.compose import lint
from postlatch.audit.lint.problem import LintError
from postlatch.audit.values import Verdict

COMPOSE = """\
services:
  mail:
    image: ghcr.io/docker-mailserver/docker-mailserver:14
    environment:
      - PERMIT_DOCKER=none
    ports:
      - "25:25"
      - "587:587"
networks:
  default:
    enable_ipv6: true
"""
NO_IPV6 = "networks:\n  default:\n    enable_ipv6: true\n"
MAILU = """\
services:
  front:
    image: ghcr.io/mailu/nginx:2024.06
    environment:
      SUBNET: 192.168.203.0/24
      REAL_IP_FROM: 10.0.0.9
      PROXY_PROTOCOL: mail
    ports: ["25:25"]
networks: {default: {enable_ipv6: true}}
"""
SERVICE = """\
apiVersion: v1
kind: Service
metadata: {name: mail}
spec:
  type: LoadBalancer
  externalTrafficPolicy: Local
  ports: [{port: 25, targetPort: 25}]
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: mail}
spec:
  template:
    spec:
      containers:
        - name: postfix
          image: example.org/postfix
          env:
            - {name: RELAYNETS, value: "10.42.0.0/16"}
"""


def _compose(old: str, new: str, text: str = COMPOSE) -> dict[str, str]:
    assert old in text
    return {"compose.yaml": text.replace(old, new)}


def _kube(old: str, new: str) -> dict[str, str]:
    assert old in SERVICE
    return {"mail.yaml": SERVICE.replace(old, new)}


GOOD = {"compose.yaml": COMPOSE}
PERMIT = "PERMIT_DOCKER=none"
CASES = [
    Case(
        "permit and no IPv6",
        {"compose.yaml": COMPOSE.replace(PERMIT, "PERMIT_DOCKER=network").replace(NO_IPV6, "")},
        "compose.masked-relay",
        "unknown",
        GOOD,
    ),
    Case("permit", _compose(PERMIT, "PERMIT_DOCKER=connected-networks"), "compose.permit-docker", "closed", GOOD),
    Case("no IPv6", _compose(NO_IPV6, ""), "compose.masked", "closed", _compose('"25:25"', '"0.0.0.0:25:25"')),
    Case(
        "published on IPv6",
        {"compose.yaml": COMPOSE.replace(PERMIT, "PERMIT_DOCKER=host").replace('"25:25"', '"[::]:25:25"').replace(NO_IPV6, "")},
        "compose.masked-relay",
        "open",
        GOOD,
    ),
    Case(
        "wide networks",
        _compose(PERMIT, "RELAYNETS=0.0.0.0/0"),
        "compose.networks",
        "open",
        _compose(PERMIT, "RELAYNETS=192.0.2.1"),
    ),
    Case("wide list", _compose(PERMIT, "RELAY_NETWORKS=:192.0.2.0/24:0.0.0.0/0"), "compose.networks", "open", GOOD),
    Case("wide mynetworks", _compose(PERMIT, "POSTFIX_mynetworks=[::]/0 127.0.0.0/8"), "compose.networks", "open", GOOD),
    Case(
        "PROXY from everyone", _compose("10.0.0.9", "0.0.0.0/0", MAILU), "compose.proxy-header", "open", {"compose.yaml": MAILU}
    ),
    Case(
        "PROXY on a published port",
        _compose(PERMIT, "POSTFIX_smtpd_upstream_proxy_protocol=haproxy"),
        "compose.proxy-header",
        "unknown",
        GOOD,
    ),
    Case(
        "rootless Podman",
        _compose("    ports:", "    network_mode: slirp4netns\n    ports:", COMPOSE.replace(PERMIT, "MYNETWORKS=10.0.2.0/24")),
        "compose.masked-relay",
        "open",
        _compose("    ports:", "    network_mode: host\n    ports:", COMPOSE.replace(PERMIT, "MYNETWORKS=10.0.2.0/24")),
    ),
    Case(
        "an image that trusts",
        {"compose.yaml": "services:\n  smtp:\n    image: bytemark/smtp\n    ports: ['25:25']\n"},
        "compose.masked-relay",
        "unknown",
        {"compose.yaml": "services:\n  smtp:\n    image: bytemark/smtp\n    ports: ['127.0.0.1:25:25']\n"},
    ),
    Case(
        "not said",
        _compose("ghcr.io/docker-mailserver/docker-mailserver:14", "x", COMPOSE.replace(PERMIT, "A=b")),
        "compose.not-said",
        "unknown",
        GOOD,
    ),
    Case(
        "cluster policy",
        _kube("externalTrafficPolicy: Local", "externalTrafficPolicy: Cluster"),
        "compose.masked-relay",
        "unknown",
        {"mail.yaml": SERVICE},
    ),
    Case("no policy", _kube("  externalTrafficPolicy: Local\n", ""), "compose.masked-relay", "unknown", {"mail.yaml": SERVICE}),
    Case(
        "host port",
        _kube("image: example.org/postfix", "ports: [{containerPort: 25, hostPort: 25}]"),
        "compose.masked-relay",
        "unknown",
        _kube("      containers:", "      hostNetwork: true\n      containers:"),
    ),
    Case(
        "a chart's values",
        {"values.yaml": "subnet: 10.42.0.0/16\nfront:\n  externalService: {type: LoadBalancer}\n"},
        "compose.masked-relay",
        "unknown",
        {"values.yaml": "subnet: 10.42.0.0/16\nfront:\n  externalService:\n    externalTrafficPolicy: Local\n"},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=[case.name for case in CASES])
def test_a_fault_is_found_and_its_repair_is_closed(case: Case, tmp_path: Path) -> None:
    result = lint(written(tmp_path / "bad", case.files), None)
    assert result.verdict == case.verdict, result
    assert case.finding in {finding.id for finding in result.findings}, result.findings
    repaired = lint(written(tmp_path / "good", case.repaired), None)
    assert repaired.verdict is Verdict.CLOSED, repaired
    assert case.finding not in {finding.id for finding in repaired.findings}


def test_the_finding_names_the_line_of_the_port(tmp_path: Path) -> None:
    finding = lint(written(tmp_path, _compose(NO_IPV6, "")), None).findings[0]
    assert (finding.id, finding.line) == ("compose.masked", 7)


def test_a_proxy_annotation_keeps_addresses(tmp_path: Path) -> None:
    annotated = (
        "metadata:\n  name: mail\n  annotations:\n    service.beta.kubernetes.io/aws-load-balancer-proxy-protocol: '*'\n"
    )
    files = _kube(
        "metadata: {name: mail}\nspec:\n  type: LoadBalancer\n  externalTrafficPolicy: Local\n",
        annotated + "spec:\n  type: LoadBalancer\n",
    )
    assert lint(written(tmp_path, files), None).verdict is Verdict.CLOSED


def test_variables_come_from_the_files_beside(tmp_path: Path) -> None:
    text = "services:\n  m:\n    env_file: mail.env\n    ports: ['${PORT:-25}:25']\n    environment: {MYNETWORKS: '${NETS}'}\n"
    files = {"compose.yml": text, ".env": "NETS=0.0.0.0/0\n", "mail.env": "PERMIT_DOCKER=host\n"}
    result = lint(written(tmp_path, files), None)
    assert result.verdict is Verdict.OPEN
    assert any(finding.file.endswith("mail.env") for finding in result.findings)


def test_one_client_is_asked_for_alone(tmp_path: Path) -> None:
    folder = written(tmp_path, _compose(PERMIT, "RELAYNETS=192.0.2.0/25,2001:db8::/32"))
    assert lint(folder, ip_address("192.0.2.4")).verdict is Verdict.OPEN
    assert lint(folder, ip_address("192.0.2.200")).verdict is Verdict.CLOSED


def test_merged_keys_are_looked_up(tmp_path: Path) -> None:
    text = "x-env: &env {RELAYNETS: 0.0.0.0/0}\nservices:\n  m:\n    environment:\n      <<: *env\n    ports: ['25:25']\n"
    assert lint(written(tmp_path, {"compose.yaml": text}), None).verdict is Verdict.OPEN


def test_aliases_of_aliases_do_not_grow(tmp_path: Path) -> None:
    bomb = "a0: &a0 {x: 1}\n" + "".join(f"a{n}: &a{n} {{<<: [{', '.join([f'*a{n - 1}'] * 9)}]}}\n" for n in range(1, 30))
    bomb += "services: {m: {environment: *a29, ports: ['25:25']}}\n"
    with pytest.raises(LintError, match="too large"):
        lint(written(tmp_path, {"compose.yaml": bomb}), None)


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: [", 1),
        ("a:\n\tb: 1\n", 2),
        ("[" * 4000, None),
        ("- &a [*a]\n- *b\n", 2),
        ("x: !!python/object:os.system {}", None),
    ],
)
def test_what_is_no_yaml_is_an_error_or_says_nothing(text: str, line: int | None, tmp_path: Path) -> None:
    folder = written(tmp_path, {"compose.yaml": text})
    try:
        result = lint(folder, None)
    except LintError as error:
        assert line is None or error.line == line  # noqa: PT017  # a value that is never constructed is no error
    else:
        assert result.verdict is Verdict.CLOSED


def test_a_hundred_thousand_lines_are_too_many_or_judged(tmp_path: Path) -> None:
    with pytest.raises(LintError, match="larger than 1 MiB"):
        lint(written(tmp_path, {"compose.yaml": "services:\n" + "  # comment\n" * 100_000}), None)


_LINES = st.one_of(
    st.sampled_from(
        [*COMPOSE.split("\n"), *SERVICE.split("\n"), "  <<: *a", "&a", "- *a", "---", "  hostPort: x", "  - target: 25"]
    ),
    st.text(max_size=16),
)


@settings(max_examples=120, deadline=None)
@given(st.lists(_LINES, max_size=25))
def test_any_text_gives_a_result_or_an_error(tmp_path_factory: pytest.TempPathFactory, lines: list[str]) -> None:
    text = "\n".join(lines).encode("utf-8", "replace").decode()
    try:
        result = lint(written(tmp_path_factory.mktemp("yaml"), {"compose.yaml": text}), None)
    except LintError:
        return
    assert result.verdict in Verdict
    assert all(finding.message.isascii() and len(finding.message) <= 500 for finding in result.findings)
